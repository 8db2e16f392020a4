"""Train the reader of polarity: `python -m matchlib.extraction.train_polarity` writes polarity.safetensors.

Cross-entropy on polarity_sentences.csv: sentences of several writers, filled templates, and "plain" lines,
which hold what they name whatever words stand nearby. Other words of a plain line are as good a place: some
of them are taken for skills too. About ten minutes of one core.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from matchlib.extraction.polarity import HELD, POLARITIES, Place, context_of, words_of
from matchlib.extraction.polarity_reader import WEIGHTS, PolarityReader
from matchlib.retrieval.model_files import file_hash

SENTENCES = Path(__file__).parent / "polarity_sentences.csv"
EPOCHS, BATCH, LEARNING_RATE, WARM_UP = 6, 32, 1e-3, 0.1
PLAIN, PLAIN_PLACES = "plain", 4
"""Writers of plain lines begin so; further places in each of their lines."""
_CUE = re.compile(
    r"\b(?:no|not|non|never|without|nor|zero|prior|learn\w*)\W+(?:\w+\W+){0,2}$", re.I
)
"""What comes before a word of a plain line that is perhaps not held ("no prior US exposure")."""
SORTED_TOGETHER = 8
"""Batches that are sorted by length at a time, so that little is padding."""


def read_places(path: Path) -> tuple[list[Place], np.ndarray, np.ndarray]:
    """Places, polarities (n,) and writers (n,) of a CSV with writer, polarity, skill, sentence.

    The writer is "" where the file names none. Raises ValueError where a sentence lacks its skill.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    places = [place_of(row["sentence"], row["skill"]) for row in rows]
    polarities = np.array([row["polarity"] for row in rows])
    return places, polarities, np.array([row.get("writer", "") for row in rows])


def place_of(sentence: str, skill: str) -> Place:
    """Where a skill is first written as a word, in any case. Raises ValueError where it is not."""
    found = re.search(rf"(?<!\w){re.escape(skill)}(?!\w)", sentence, re.I)
    if found is None:
        raise ValueError(f"{skill!r} is no word of {sentence!r}")
    return sentence, *found.span()


def fit(
    reader: PolarityReader,
    contexts: Sequence[Place],
    polarities: Sequence[str],
    *,
    epochs: int = EPOCHS,
) -> float:
    """Train the reader's adapters and head in place; the mean loss of the last epoch.

    The order is always the same; dropout draws from torch's generator.
    """
    rng = random.Random(0)
    device = reader.head.weight.device
    numbers = torch.tensor([POLARITIES.index(one) for one in polarities], device=device)
    n_steps = epochs * -(-len(contexts) // BATCH)
    weights = list(reader.tuned_weights().values())
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=n_steps, pct_start=WARM_UP
    )
    reader.train()
    for _ in range(epochs):
        losses = []
        for rows in _batches(contexts, rng):
            loss = nn.functional.cross_entropy(
                reader([contexts[row] for row in rows]), numbers[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return float(np.mean(losses))


def _batches(contexts: Sequence[Place], rng: random.Random) -> list[list[int]]:
    """Rows of each batch of an epoch, in random order, each of contexts of like length."""
    rows = rng.sample(range(len(contexts)), len(contexts))
    size = SORTED_TOGETHER * BATCH
    parts = [
        sorted(rows[i : i + size], key=lambda row: len(contexts[row][0]))
        for i in range(0, len(rows), size)
    ]
    batches = [part[i : i + BATCH] for part in parts for i in range(0, len(part), BATCH)]
    rng.shuffle(batches)
    return batches


def training_places(without: Sequence[str] = ()) -> tuple[list[Place], list[str]]:
    """Contexts and polarities of the sentences of all writers but these, on whom settings are compared,
    and of other places in plain lines."""
    places, polarities, writers = read_places(SENTENCES)
    rng = random.Random(0)
    contexts, chosen = [], []
    for place, polarity, writer in zip(places, polarities, writers, strict=True):
        if writer in without:
            continue
        words = []
        if writer.startswith(PLAIN):
            words = [one for one in words_of(place[0]) if not _CUE.search(place[0][: one[1]])]
        others = rng.sample(words, min(PLAIN_PLACES, len(words)))
        contexts += [context_of(one) for one in [place, *others]]
        chosen += [str(polarity)] + [HELD] * len(others)
    return contexts, chosen


def main() -> None:
    """Train, and write the weights."""
    torch.manual_seed(0)
    reader = PolarityReader()
    contexts, polarities = training_places()
    loss = fit(reader, contexts, polarities)
    weights = {name: one.detach().half() for name, one in reader.tuned_weights().items()}
    save_file(weights, WEIGHTS, metadata={"sentences": file_hash(SENTENCES)})
    print(f"{len(contexts):,} places, loss {loss:.3f}")


if __name__ == "__main__":
    main()
