"""Train the reader of polarity: `python -m matchlib.extraction.train_polarity` writes polarity.npz.

Logistic regression on the vectors of `polarity_model.place_vectors` of polarity_sentences.csv: sentences of
several writers, and "plain" lines, which hold what they name whatever words stand nearby.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from matchlib.extraction.polarity import POLARITIES
from matchlib.extraction.polarity_model import (
    WEIGHTS,
    Place,
    context_of,
    place_vectors,
)
from matchlib.retrieval.models import OFFLINE_MODEL, find_model, load_model

SENTENCES = Path(__file__).parent / "polarity_sentences.csv"
C = 0.001
"""Inverse strength of the penalty, on standardised vectors."""
PLAIN, PLAIN_WEIGHT = "plain", 3
SMALLEST_SCALE = 1e-3
"""Some dimensions of the encoder are always the same."""


def read_places(path: Path) -> tuple[list[Place], np.ndarray, np.ndarray]:
    """Places, polarities (n,) and writers (n,) of a CSV with writer, polarity, skill, sentence.

    A skill stands where it is first written, in any case. Raises ValueError where it is not.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    places = []
    for row in rows:
        start = row["sentence"].lower().index(row["skill"].lower())
        places.append((row["sentence"], start, start + len(row["skill"])))
    polarities = np.array([row["polarity"] for row in rows])
    return places, polarities, np.array([row.get("writer", "") for row in rows])


def fit(
    vectors: np.ndarray, polarities: Sequence[str], weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (4, dim) and intercepts (4,) in the order of POLARITIES, for vectors (n, dim) as they
    are; weights (n,): of the rows."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = vectors.mean(axis=0), np.maximum(vectors.std(axis=0), SMALLEST_SCALE)
    numbers = [POLARITIES.index(polarity) for polarity in polarities]
    classifier = LogisticRegression(C=C, max_iter=1_000)
    classifier.fit((vectors - mean) / scale, numbers, sample_weight=weights)
    coefficients = classifier.coef_ / scale
    return coefficients, classifier.intercept_ - coefficients @ mean


def train() -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and intercepts of `fit` for all sentences; seconds."""
    places, polarities, writers = read_places(SENTENCES)
    encoder = load_model(find_model(OFFLINE_MODEL))
    vectors = place_vectors(encoder, [context_of(place) for place in places])
    return fit(vectors, polarities, np.where(writers == PLAIN, PLAIN_WEIGHT, 1.0))


def main() -> None:
    """Train, and write the weights."""
    coefficients, intercepts = train()
    np.savez_compressed(
        WEIGHTS, coefficients=coefficients.astype(np.float16), intercepts=intercepts
    )


if __name__ == "__main__":
    main()
