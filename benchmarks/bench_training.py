"""Claim: training keeps at least .95 of the bare SentenceTransformerTrainer's speed on the same
pairs, and pads little.

Usage: python benchmarks/bench_training.py [RJDB's *.jsonl]; without it the pairs are the simulated
market's.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from matchlib.data.market.simulation import Market
from matchlib.data.readers import read_rjdb
from matchlib.learning.contrastive import train_contrastive
from matchlib.learning.pairs import PairCollator, build_pairs
from matchlib.learning.training import Settings, freeze_layers
from matchlib.retrieval.models import find_model, load_model

N_PAIRS, BATCH, ROUNDS, SPEED_BAR, PADDING_BAR = 96, 16, 7, 0.95, 1.3
TIMED_PAIRS = 48


def read_pairs() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Jobs, resumes and accepted labels of N_PAIRS pairs, from RJDB or the market."""
    if len(sys.argv) > 1:
        tables = read_rjdb(Path(sys.argv[1]), rows={"train": N_PAIRS, "valid": 0, "test": 0})
    else:
        tables = Market(1, detail=12).tables({"train": (80, 160)})
    labels = tables["labels"].query("label == 1").head(N_PAIRS)
    return tables["jobs"], tables["resumes"], labels


def fresh_model():
    """The packaged encoder, ready to train."""
    model = load_model(find_model("all-MiniLM-L6-v2"), max_tokens=256, device="cpu")
    freeze_layers(model, 4)
    return model


def ours(pairs, folder: Path) -> float:
    """Seconds of one epoch of train_contrastive."""
    model, settings = (
        fresh_model(),
        Settings(num_train_epochs=1, batch_size=BATCH, hard_negatives=0, evaluations=1),
    )
    started = time.perf_counter()
    train_contrastive(model, pairs, settings=settings, checkpoints=folder)
    return time.perf_counter() - started


def bare(texts: Dataset, folder: Path) -> float:
    """Seconds of one epoch of the trainer as it comes, with its own loss in both directions."""
    model = fresh_model()
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
    loss = MultipleNegativesRankingLoss(
        model, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=texts, loss=loss
    )
    started = time.perf_counter()
    trainer.train()
    return time.perf_counter() - started


jobs, resumes, labels = read_pairs()
pairs = build_pairs(jobs, resumes, labels, seed=1)
timed = build_pairs(jobs, resumes, labels.head(TIMED_PAIRS), seed=1)
text_of = {**jobs.set_index("job_id")["text"], **resumes.set_index("resume_id")["text"]}
texts = Dataset.from_dict(
    {
        side: [text_of[i] for i in labels[f"{side}_id"].head(TIMED_PAIRS)]
        for side in ("job", "resume")
    }
)
ratios = []
for turn in range(ROUNDS):  # who goes first alternates, since a busy machine drifts
    with tempfile.TemporaryDirectory() as folder:
        calls = [lambda at: ours(timed, at / "ours"), lambda at: bare(texts, at / "bare")]
        seconds = [call(Path(folder)) for call in calls[:: -1 if turn % 2 else 1]][
            :: -1 if turn % 2 else 1
        ]
        ratios.append(seconds[1] / seconds[0])
collator = PairCollator(fresh_model(), pairs, 0)
for start in range(0, len(pairs.rows), BATCH):
    collator([{"label": row} for row in pairs.rows[start : start + BATCH].tolist()])
padding, ratio = collator.padded_tokens / collator.real_tokens, statistics.median(ratios)
print(
    f"training: {TIMED_PAIRS / seconds[0]:.1f} pairs a second, {ratio:.2f} times the bare trainer (bar {SPEED_BAR}; "
    f"rounds {', '.join(f'{r:.2f}' for r in ratios)}); padded / real tokens {padding:.3f} (bar {PADDING_BAR})"
)
sys.exit(ratio < SPEED_BAR or padding > PADDING_BAR)
