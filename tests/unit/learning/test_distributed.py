"""Two processes on one CPU (gloo) against one process with the whole batch."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from matchlib.learning.contrastive import RankingEvaluator
from matchlib.learning.distributed import train_on_processes
from matchlib.learning.losses import ConFitLoss
from matchlib.learning.pairs import CONTRASTIVE_COLUMNS, build_pairs
from matchlib.learning.training import Settings
from matchlib.retrieval.models import load_model

GRADIENTS = """
import os, sys, torch
from torch.nn.parallel import DistributedDataParallel
from matchlib.learning.losses import ConFitLoss
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
job = torch.load(sys.argv[1], weights_only=False)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8))
class Named(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, features):
        return {"sentence_embedding": self.net(features["x"])}
wrapped = DistributedDataParallel(Named(model))
loss = ConFitLoss(wrapped, job["positives"], n_jobs=job["n_jobs"], n_resumes=job["n_resumes"], temperature=0.05)
value = loss([{"x": job["vectors"][rank]}], job["labels"][rank])
value.backward()
torch.save({"loss": value.item(), "gradients": [p.grad for p in model.parameters()]}, f"{sys.argv[1]}.{rank}")
torch.distributed.destroy_process_group()
"""


@pytest.fixture
def still_model_folder(tiny_model_folder, tmp_path):
    """The tiny model without dropout, so that two processes can do what one does."""
    folder = shutil.copytree(tiny_model_folder, tmp_path / "still")
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def train_pairs(tables):
    train = {
        name: tables[name][tables[name]["split"] == "train"]
        for name in ("jobs", "resumes", "labels")
    }
    return build_pairs(train["jobs"], train["resumes"], train["labels"], seed=0)


def labels_of(rows):
    """A batch's labels of rows (B, 4) whose documents stand in the order job, resume, hard job, hard resume; and the
    list of these."""
    documents = [(side % 2, n) for side in range(4) for n in rows[:, side].tolist() if n >= 0]
    places, seen = torch.full_like(rows, -1), 0
    for side in range(4):
        has = rows[:, side] >= 0
        places[has, side] = torch.arange(seen, seen + int(has.sum()))
        seen += int(has.sum())
    names = [column.name for column in CONTRASTIVE_COLUMNS]
    labels = {
        what: dict(zip(names, table.T, strict=True))
        for what, table in (("place", places), ("number", rows))
    }
    return labels, documents


def test_two_processes_have_the_loss_and_the_gradients_of_one_with_the_whole_batch(
    tmp_path, small_tables
):
    pairs = train_pairs(small_tables)
    rows = torch.tensor(pairs.rows[:12])
    rows[6, 2:] = rows[7, 2:] = -1  # uneven: the processes have different numbers of hard negatives
    generator = torch.Generator().manual_seed(1)
    texts = {(side, n): torch.randn(16, generator=generator) for side in (0, 1) for n in range(500)}
    shares = [labels_of(rows[:6]), labels_of(rows[6:])]
    assert len({(labels["number"]["hard_job"] >= 0).sum().item() for labels, _ in shares}) == 2
    job = {
        "positives": torch.tensor(pairs.positives),
        "n_jobs": len(pairs.job_texts),
        "n_resumes": len(pairs.resume_texts),
        "labels": [labels for labels, _ in shares],
        "vectors": [torch.stack([texts[d] for d in documents]) for _, documents in shares],
    }
    torch.save(job, tmp_path / "job")
    (tmp_path / "gradients.py").write_text(GRADIENTS)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            "2",
            str(tmp_path / "gradients.py"),
            str(tmp_path / "job"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    found = [torch.load(f"{tmp_path / 'job'}.{rank}") for rank in range(2)]

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8))
    labels, documents = labels_of(rows)
    net_of = torch.nn.Module()
    net_of.forward = lambda features: {"sentence_embedding": net(features["x"])}
    loss = ConFitLoss(
        net_of, job["positives"], n_jobs=job["n_jobs"], n_resumes=job["n_resumes"], temperature=0.05
    )
    value = loss([{"x": torch.stack([texts[d] for d in documents])}], labels)
    value.backward()
    for rank in range(2):
        assert found[rank]["loss"] == pytest.approx(value.item(), abs=1e-5)
        for ours, whole in zip(found[rank]["gradients"], net.parameters(), strict=True):
            torch.testing.assert_close(ours, whole.grad, atol=1e-5, rtol=1e-5)
    assert value.item() > 1, "a loss near 0 would compare nothing"


def test_a_training_on_two_processes_ends_where_one_ends(
    tmp_path, small_tables, still_model_folder
):
    pairs = train_pairs(small_tables)
    pairs = type(pairs)(pairs.job_texts, pairs.resume_texts, pairs.rows[:32], pairs.positives)
    valid = {
        name: small_tables[name][small_tables[name]["split"] == "valid"]
        for name in ("jobs", "resumes", "labels")
    }
    settings = Settings(
        num_train_epochs=2, batch_size=8, learning_rate=1e-3, hard_negatives=8, evaluations=2
    )
    ends = []
    for processes in (1, 2):
        model = load_model(still_model_folder, device="cpu")
        log = train_on_processes(
            model,
            pairs,
            processes=processes,
            settings=settings,
            checkpoints=tmp_path / str(processes),
            evaluator=RankingEvaluator(**valid),
        )
        ends.append((model.state_dict(), log))
    (one, one_log), (two, two_log) = ends
    assert len(one_log) > 4 and one_log["step"].tolist() == two_log["step"].tolist()
    torch.testing.assert_close(
        torch.tensor(one_log["loss"].dropna().to_numpy()),
        torch.tensor(two_log["loss"].dropna().to_numpy()),
        atol=1e-4,
        rtol=1e-4,
    )
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-4, rtol=1e-3, msg=name)
    assert not (tmp_path / "2" / "processes").exists()


def test_a_batch_that_cannot_be_shared_is_refused_with_the_processes_own_words(
    tmp_path, small_tables, still_model_folder
):
    model = load_model(still_model_folder, device="cpu")
    with pytest.raises(RuntimeError, match="batch_size 7 cannot be shared by 2 processes"):
        train_on_processes(
            model,
            train_pairs(small_tables),
            processes=2,
            settings=Settings(num_train_epochs=1, batch_size=7),
            checkpoints=tmp_path,
        )
