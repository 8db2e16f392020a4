"""A step of RankPO against a plain triplet step on the same texts: at most 1.1 times its time, no
second model.

The plain step is sentence-transformers' trainer with TripletLoss on (job, chosen, rejected). Both
train 4 of 6 layers frozen; whoever goes first alternates. The reference's margins are computed
once, before the clock starts: they are reported apart.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import TripletDistanceMetric, TripletLoss

from matchlib.data.market.simulation import Market
from matchlib.learning.preferences import build_preference_pairs, reference_margins
from matchlib.learning.rankpo import PreferenceObjective, copy_encoder, train_rankpo
from matchlib.learning.training import Settings, freeze_layers
from matchlib.retrieval.encoder import Encoder

N_PAIRS, BATCH, ROUNDS, BAR = 96, 16, 7, 1.1

market = Market(1, detail=6)
part = {"jobs": market.jobs(N_PAIRS), "resumes": market.resumes(2 * N_PAIRS)}
ids = part["resumes"]["resume_id"].to_numpy()
preferences = pd.DataFrame(
    {
        "job_id": part["jobs"]["job_id"],
        "resume_a": ids[::2],
        "resume_b": ids[1::2],
        "preferred": "a",
        "confidence": 100.0,
    }
)
rows = build_preference_pairs(part, preferences)
stage1 = Encoder(max_tokens=256, device="cpu", cache_dir=None)
triplets = Dataset.from_dict(
    {
        "job": list(part["jobs"]["text"]),
        "chosen": list(part["resumes"]["text"][::2]),
        "rejected": list(part["resumes"]["text"][1::2]),
    }
)


def ours(folder: Path) -> float:
    """Seconds of one epoch of RankPO, without the reference's one pass."""
    model = copy_encoder(stage1)
    settings = Settings(num_train_epochs=1, batch_size=BATCH, frozen_layers=4, evaluations=1)
    started = time.perf_counter()
    train_rankpo(
        model,
        rows,
        PreferenceObjective("rankpo", reference=stage1),
        settings=settings,
        checkpoints=folder,
    )
    return time.perf_counter() - started - margin_seconds


def plain(folder: Path) -> float:
    """Seconds of one epoch of the trainer as it comes, with its triplet loss."""
    model = copy_encoder(stage1)
    freeze_layers(model, 4)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-5,
        warmup_steps=0.05,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    loss = TripletLoss(model, distance_metric=TripletDistanceMetric.COSINE, triplet_margin=0.1)
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=triplets, loss=loss
    )
    started = time.perf_counter()
    trainer.train()
    return time.perf_counter() - started


reference_margins(stage1, rows)  # loads the model
started = time.perf_counter()
reference_margins(stage1, rows)
margin_seconds = time.perf_counter() - started
ratios = []
for turn in range(ROUNDS):
    with tempfile.TemporaryDirectory() as folder:
        calls = [lambda at: ours(at / "ours"), lambda at: plain(at / "plain")]
        seconds = [call(Path(folder)) for call in calls[:: -1 if turn % 2 else 1]][
            :: -1 if turn % 2 else 1
        ]
        ratios.append(seconds[0] / seconds[1])
ratio = statistics.median(ratios)
print(
    f"rankpo: {ratio:.2f} times a plain triplet step (bar {BAR}; rounds {', '.join(f'{r:.2f}' for r in ratios)}); "
    f"the reference takes {margin_seconds:.1f} s once, where an epoch takes {seconds[0]:.1f} s"
)
sys.exit(ratio > BAR)
