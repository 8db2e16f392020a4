"""Pairs of people whose order for a job is known, and pairs that nothing tells apart."""

from __future__ import annotations

import numpy as np
import pandas as pd

from matchlib.data.market.config import RULE_WEIGHT, TEXT_WEIGHT
from matchlib.data.market.simulation import Market

SUPERIOR, TIE = "superior", "tie"


def known_pairs(
    market: Market,
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    pairs_per_job: int,
    margin: float = 0.2,
    seed: int = 0,
) -> pd.DataFrame:
    """Pairs of resumes for a job: job_id, first, second, relation.

    What a document can show of a pair of job and resume is the rule and the fit of the texts,
    weighted as in the market's true score. relation SUPERIOR: the first has at least `margin` more
    of it, and is no worse in either part; TIE: both have exactly the same, and it is not nothing.
    For each job at most pairs_per_job of each are drawn, without a person twice in a relation.
    """
    rng = np.random.default_rng(seed)
    channels = market.channels(jobs, resumes)
    ids = resumes["resume_id"].to_numpy()
    parts = []
    for job, rule, text_fit in zip(
        jobs["job_id"], channels["rule"], channels["text_fit"], strict=True
    ):
        shuffled = rng.permutation(len(ids))
        first, second = np.array_split(shuffled, 2)
        superior = _superior_pairs(rule, text_fit, first, second, margin)
        tied = _tied_pairs(rule, text_fit, shuffled)
        for relation, pairs in ((SUPERIOR, superior), (TIE, tied)):
            chosen = pairs[:pairs_per_job]
            part = {"job_id": job, "first": ids[chosen[:, 0]], "second": ids[chosen[:, 1]]}
            parts.append(pd.DataFrame(part | {"relation": relation}))
    return pd.concat(parts, ignore_index=True)


def _superior_pairs(
    rule: np.ndarray, text_fit: np.ndarray, first: np.ndarray, second: np.ndarray, margin: float
) -> np.ndarray:
    """(n, 2) pairs of people at the same position of two lists, the better first."""
    second = second[: len(first)]
    first = first[: len(second)]
    difference = RULE_WEIGHT * (rule[first] - rule[second])
    difference = difference + TEXT_WEIGHT * (text_fit[first] - text_fit[second])
    is_reversed = difference < 0
    better = np.where(is_reversed, second, first)
    worse = np.where(is_reversed, first, second)
    dominates = (rule[better] >= rule[worse]) & (text_fit[better] >= text_fit[worse])
    kept = dominates & (np.abs(difference) >= margin)
    return np.column_stack([better, worse])[kept]


def _tied_pairs(rule: np.ndarray, text_fit: np.ndarray, shuffled: np.ndarray) -> np.ndarray:
    """(n, 2) pairs with the same rule and the same fit of texts above 0."""
    people = shuffled[text_fit[shuffled] > 0]
    keys = pd.DataFrame({"rule": rule[people], "fit": np.round(text_fit[people], 9)})
    pairs = []
    for rows in keys.groupby(["rule", "fit"], sort=False).indices.values():
        members = people[rows[: len(rows) // 2 * 2]]
        pairs.append(members.reshape(-1, 2))
    return np.concatenate(pairs) if pairs else np.empty((0, 2), int)
