"""Contrasts: two resumes for one job, of which one is known to fit better."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from matchlib.retrieval.corpus import Corpus, HitsByTask
from matchlib.retrieval.systems import count_lines, score_matrix
from matchlib.stats import mean_interval


def compare_contrasts(
    systems: Mapping[str, HitsByTask],
    corpus: Corpus,
    preferences: pd.DataFrame,
    *,
    seed: int,
    clusters: pd.Series | None = None,
) -> pd.DataFrame:
    """Share of preferences that each system orders rightly for the own job, for a random other job,
    and on hard pairs.

    preferences: job_id, resume_a, resume_b, preferred (a or b; ties are left out). Hard: the better
    resume has no more lines than the other. Returns one row a system: n, own, own_low, own_high,
    other, own_minus_other with its interval, hard_n, hard, hard_low, hard_high; "length" stands for
    the number of lines alone.
    """
    decided = preferences[preferences["preferred"] != "tie"]
    job = _positions(corpus.jobs["job_id"], decided["job_id"])
    a, b = (_positions(corpus.resumes["resume_id"], decided[f"resume_{side}"]) for side in "ab")
    a_wins = (decided["preferred"] == "a").to_numpy()
    better, worse = np.where(a_wins, a, b), np.where(a_wins, b, a)
    lines = count_lines(corpus.resumes["text"])
    hard = lines[better] <= lines[worse]
    # Sorted by jobs in random order and shifted by the busiest job's pairs, no pair meets its own
    # job again.
    order = np.argsort(
        np.random.default_rng(seed).permutation(len(corpus.jobs))[job], kind="stable"
    )
    other = np.empty_like(job)
    other[order] = job[np.roll(order, np.bincount(job).max())]
    alike = (decided["job_id"] if clusters is None else decided["job_id"].map(clusters)).to_numpy()
    by_length = _wins(lines[better], lines[worse])
    rows = [{"system": "length", **_row(by_length, by_length, hard, alike)}]
    for system, hits in systems.items():
        scores = score_matrix(hits, corpus)
        own, control = (_wins(scores[j, better], scores[j, worse]) for j in (job, other))
        rows.append({"system": system, **_row(own, control, hard, alike)})
    return pd.DataFrame(rows)


def _row(
    own: np.ndarray, control: np.ndarray, hard: np.ndarray, alike: np.ndarray
) -> dict[str, float]:
    row = {"n": len(own), "n_clusters": len(np.unique(alike))}
    chosen = {
        "own": (own, alike),
        "own_minus_other": (own - control, alike),
        "hard": (own[hard], alike[hard]),
    }
    for name, (values, groups) in chosen.items():
        interval = {"value": np.nan, "low": np.nan, "high": np.nan}
        if len(values):
            interval = mean_interval(values, groups)
        least = (
            -1 if name == "own_minus_other" else 0
        )  # no share lies outside [0, 1], no difference outside [-1, 1]
        low, high = np.clip([interval["low"], interval["high"]], least, 1)
        row |= {name: interval["value"], f"{name}_low": low, f"{name}_high": high}
    return row | {"other": control.mean(), "hard_n": int(hard.sum())}


def _wins(better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """(n,) 1 where the better one scores higher, .5 on a tie, else 0."""
    return np.where(better == worse, 0.5, (better > worse).astype(float))


def _positions(ids: pd.Series, wanted: pd.Series) -> np.ndarray:
    return pd.Series(range(len(ids)), index=ids).loc[wanted].to_numpy()
