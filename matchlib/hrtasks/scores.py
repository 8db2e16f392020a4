"""Scores of the HR tasks: sets of phrases, spans, experiences; each with an interval by document.

Precision, recall and F1 are over all items of all documents. Their intervals take documents as
independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from matchlib.hrtasks.experiences import Experience, title_overlap
from matchlib.hrtasks.tagger import Span
from matchlib.stats import mean_interval


def normal_phrase(text: str) -> str:
    """Lower case, single spaces: what "exact" compares."""
    return " ".join(text.lower().split())


def score_counts(counts: Sequence[tuple[float, float, float, float]]) -> dict[str, float]:
    """Precision, recall and F1 with their intervals.

    counts: one (right among found, right among true, found, true) a document.
    Returns precision, recall, F1, low, high (of F1), n_found, n_true, n (documents).
    """
    table = np.array(counts, dtype=float).reshape(-1, 4)
    right_found, right_true, found, true = table.T
    precision = right_found.sum() / found.sum() if found.sum() else np.nan
    recall = right_true.sum() / true.sum() if true.sum() else np.nan
    f1 = {"value": np.nan, "low": np.nan, "high": np.nan, "n_clusters": len(table)}
    if not right_found.sum():
        f1["value"] = np.nan if np.isnan(recall) else 0.0
    else:
        of_sum = precision + recall
        value = 2 * precision * recall / of_sum
        # the parts of each document, linearised: the delta method on the two ratios
        in_precision = (right_found - precision * found) / found.mean()
        in_recall = (right_true - recall * true) / true.mean()
        parts = value + 2 * (recall**2 * in_precision + precision**2 * in_recall) / of_sum**2
        f1 = mean_interval(parts, bounds=(0, 1))
    return {
        "precision": precision,
        "recall": recall,
        "F1": f1["value"],
        "low": f1["low"],
        "high": f1["high"],
        "n_found": int(found.sum()),
        "n_true": int(true.sum()),
        "n": len(table),
        "n_clusters": f1["n_clusters"],
    }


def score_phrases(found: Sequence[Sequence[str]], true: Sequence[Sequence[str]]) -> dict:
    """Exact match of the sets of phrases of each document; see `score_counts`."""
    counts = []
    for own, gold in zip(found, true, strict=True):
        own_set = {normal_phrase(text) for text in own}
        gold_set = {normal_phrase(text) for text in gold}
        n_right = len(own_set & gold_set)
        counts.append((n_right, n_right, len(own_set), len(gold_set)))
    return score_counts(counts)


def score_spans(
    found: Sequence[Sequence[Span]], true: Sequence[Sequence[Span]], *, overlapping: bool
) -> dict:
    """Spans of one kind: equal at both ends, or overlapping by a character; see `score_counts`.

    Overlapping, precision is the share of found spans that touch a true one, recall the share of
    true spans that a found one touches.
    """
    counts = []
    for own, gold in zip(found, true, strict=True):
        own_set = {(span.start, span.end) for span in own}
        gold_set = {(span.start, span.end) for span in gold}
        if overlapping:
            right_found = sum(_touches(span, gold_set) for span in own_set)
            right_true = sum(_touches(span, own_set) for span in gold_set)
        else:
            right_found = right_true = len(own_set & gold_set)
        counts.append((right_found, right_true, len(own_set), len(gold_set)))
    return score_counts(counts)


def _touches(span: tuple[int, int], others: set[tuple[int, int]]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in others)


def score_experiences(
    found: Sequence[Sequence[Experience]],
    true: Sequence[Sequence[Experience]],
    *,
    with_years: bool = True,
) -> dict:
    """Soft match of titles, one to one: the credit of a pair is the F1 of the titles' words, and
    with_years 0 where the years differ; see `score_counts`."""
    counts = []
    for own, gold in zip(found, true, strict=True):
        credit = 0.0
        if own and gold:
            table = np.array([[_credit(a, b, with_years) for b in gold] for a in own])
            rows, columns = linear_sum_assignment(-table)
            credit = float(table[rows, columns].sum())
        counts.append((credit, credit, len(own), len(gold)))
    return score_counts(counts)


def _credit(a: Experience, b: Experience, with_years: bool) -> float:
    if with_years and a.years != b.years:
        return 0.0
    return title_overlap(a.title, b.title)
