"""Contrasts: two resumes for one job, of which one is known to fit better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    """Share of preferences that each system orders correctly: for the pair's own job, for a random
    other job (the control), and on hard pairs.

    preferences: job_id, resume_a, resume_b, preferred (a or b; ties are left out). Hard: the better
    resume has no more lines than the other. Returns one row a system: n, own, own_low, own_high,
    other, own_minus_other with its interval, hard_n, hard, hard_low, hard_high; "length" stands for
    the number of lines alone.
    """
    decided = preferences[preferences["preferred"] != "tie"]
    pairs = _ordered_pairs(corpus, decided)
    other_job = _other_jobs(pairs.job, n_jobs=len(corpus.jobs), seed=seed)
    lines = count_lines(corpus.resumes["text"])
    is_hard = lines[pairs.better] <= lines[pairs.worse]
    cluster_of_pair = decided["job_id"]
    if clusters is not None:
        cluster_of_pair = decided["job_id"].map(clusters)
    cluster_of_pair = cluster_of_pair.to_numpy()
    by_length = _wins(lines[pairs.better], lines[pairs.worse])
    # length does not depend on the job, so that its control is itself
    length = _row(by_length, by_length, is_hard, cluster_of_pair)
    rows = [{"system": "length", **length}]
    for system, hits in systems.items():
        scores = score_matrix(hits, corpus)
        own = _wins(scores[pairs.job, pairs.better], scores[pairs.job, pairs.worse])
        control = _wins(scores[other_job, pairs.better], scores[other_job, pairs.worse])
        row = _row(own, control, is_hard, cluster_of_pair)
        rows.append({"system": system, **row})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _OrderedPairs:
    """job, better, worse: (n,) positions in the corpus of each preference's job and resumes."""

    job: np.ndarray
    better: np.ndarray
    worse: np.ndarray


def _ordered_pairs(corpus: Corpus, decided: pd.DataFrame) -> _OrderedPairs:
    job = _positions(corpus.jobs["job_id"], decided["job_id"])
    a = _positions(corpus.resumes["resume_id"], decided["resume_a"])
    b = _positions(corpus.resumes["resume_id"], decided["resume_b"])
    a_wins = (decided["preferred"] == "a").to_numpy()
    better = np.where(a_wins, a, b)
    worse = np.where(a_wins, b, a)
    return _OrderedPairs(job, better, worse)


def _other_jobs(
    job: np.ndarray,
    *,
    n_jobs: int,
    seed: int,
) -> np.ndarray:
    """(n,) another job for every pair.

    Sorted by jobs in random order and shifted by the number of pairs of the job that has most, no
    pair gets its own job again.
    """
    rng = np.random.default_rng(seed)
    random_place = rng.permutation(n_jobs)
    order = np.argsort(random_place[job], kind="stable")
    most_pairs = np.bincount(job).max()
    other = np.empty_like(job)
    other[order] = job[np.roll(order, most_pairs)]
    return other


def _row(
    own: np.ndarray,
    control: np.ndarray,
    is_hard: np.ndarray,
    clusters: np.ndarray,
) -> dict[str, float]:
    row: dict[str, float] = {"n": len(own), "n_clusters": len(np.unique(clusters))}
    row |= _interval_columns("own", own, clusters, least=0)
    row |= _interval_columns("own_minus_other", own - control, clusters, least=-1)
    row |= _interval_columns("hard", own[is_hard], clusters[is_hard], least=0)
    row["other"] = control.mean()
    row["hard_n"] = int(is_hard.sum())
    return row


def _interval_columns(
    name: str,
    values: np.ndarray,
    clusters: np.ndarray,
    *,
    least: float,
) -> dict[str, float]:
    """Mean and 95% interval, cut to what is possible: least (0 of a share, -1 of a difference) to
    1; NaN without values."""
    interval = {"value": np.nan, "low": np.nan, "high": np.nan}
    if len(values):
        interval = mean_interval(values, clusters)
    return {
        name: interval["value"],
        f"{name}_low": np.clip(interval["low"], least, 1),
        f"{name}_high": np.clip(interval["high"], least, 1),
    }


def _wins(better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """(n,) 1 where the better one scores higher, .5 on a tie, else 0."""
    is_higher = (better > worse).astype(float)
    return np.where(better == worse, 0.5, is_higher)


def _positions(ids: pd.Series, wanted: pd.Series) -> np.ndarray:
    position_of = pd.Series(range(len(ids)), index=ids)
    return position_of.loc[wanted].to_numpy()
