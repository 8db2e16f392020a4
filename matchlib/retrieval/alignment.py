"""Agreement with preferences: alignment by job, what slots do to it, and nDCG beside it.

Source: RankPO (arXiv 2503.10723) reports the share of judged pairs that an encoder orders as the judge does, beside
nDCG@20 on rule labels. Deviations: jobs count equally, intervals, ties out of the count or as half, coverage.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from matchlib.retrieval.evaluation import mean_interval, qrels_from_labels, rank, score_queries


def compare_with(preferences: pd.DataFrame, scores: np.ndarray, jobs: pd.DataFrame,
                 resumes: pd.DataFrame) -> pd.DataFrame:
    """The decided preferences with `right`: 1 where scores order the pair as the judge does, .5 where they tie, else 0.

    scores: (J, R), rows and columns in the order of jobs and resumes.
    """
    decided = preferences[preferences["preferred"] != "tie"]
    job, a, b = positions(jobs, resumes, decided)
    gap = scores[job, a] - scores[job, b]
    sign = np.where(decided["preferred"] == "a", 1, -1)
    right = np.where(gap == 0, 0.5, (gap * sign > 0).astype(float))
    return decided.assign(right=right)


def positions(jobs: pd.DataFrame, resumes: pd.DataFrame, pairs: pd.DataFrame) -> tuple[np.ndarray, ...]:
    """(n,) row numbers of each pair's job, resume_a and resume_b."""
    row_of, column_of = (pd.Series(range(len(ids)), index=ids) for ids in (jobs["job_id"], resumes["resume_id"]))
    return (row_of.loc[pairs["job_id"]].to_numpy(), column_of.loc[pairs["resume_a"]].to_numpy(),
            column_of.loc[pairs["resume_b"]].to_numpy())


def by_job(rows: pd.DataFrame) -> pd.Series:
    """Each job's share of pairs ordered rightly; their mean is the alignment, in which jobs count equally."""
    return rows.groupby("job_id")["right"].mean()


def summarise(rows: pd.DataFrame, preferences: pd.DataFrame, clusters: pd.Series | None = None) -> dict[str, float]:
    """A system's alignment from the rows of `compare_with`.

    clusters: job_id -> cluster, where jobs are alike. Returns alignment with its 95% interval over jobs, n_jobs,
    n_pairs (decided), coverage (decided share of all pairs), with_ties (ties of the judge count as half), and
    slot_balanced (mean of the shares where a and where b is preferred: a system that always says a gets .5).
    """
    shares = by_job(rows)
    groups = None if clusters is None else clusters.reindex(shares.index).to_numpy()
    interval = mean_interval(shares.to_numpy(), groups)
    decided = len(rows) / len(preferences)
    halves = [rows.loc[rows["preferred"] == slot, "right"].mean() for slot in "ab"]
    return {"alignment": interval["value"], "low": max(0.0, interval["low"]), "high": min(1.0, interval["high"]),
            "n_jobs": len(shares), "n_pairs": len(rows), "coverage": decided,
            "with_ties": decided * rows["right"].mean() + (1 - decided) / 2, "slot_balanced": float(np.mean(halves))}


def always_a(preferences: pd.DataFrame) -> pd.DataFrame:
    """The rows of `compare_with` of who always prefers the first slot."""
    decided = preferences[preferences["preferred"] != "tie"]
    return decided.assign(right=(decided["preferred"] == "a").astype(float))


def agreement(judge: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of `compare_with` of one judge against another on the same pairs; the judge's own ties count as half."""
    keys = ["job_id", "resume_a", "resume_b"]
    both = other[other["preferred"] != "tie"].merge(judge[[*keys, "preferred"]], on=keys, suffixes=("", "_judge"))
    right = (both["preferred_judge"] == both["preferred"]).astype(float).mask(both["preferred_judge"] == "tie", 0.5)
    return both.assign(right=right).drop(columns="preferred_judge")


def mcnemar(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, float]:
    """Exact McNemar test of two systems on the same pairs: only_first, only_second, p (two-sided).

    first, second: rows of `compare_with` in the same order. Pairs that a system ties on are left out.
    """
    a, b = first["right"].to_numpy(), second["right"].to_numpy()
    only_first, only_second = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    n = only_first + only_second
    p = stats.binomtest(only_first, n).pvalue if n else 1.0
    return {"only_first": only_first, "only_second": only_second, "p": float(p)}


def strict_ndcg(scores: np.ndarray, jobs: pd.DataFrame, resumes: pd.DataFrame, labels: pd.DataFrame, *,
                k: int = 20) -> pd.DataFrame:
    """nDCG@k of each job (query_id, value) with all its positives in the ideal ranking."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    ranking = rank(list(jobs["job_id"]), list(resumes["resume_id"]), order, np.take_along_axis(scores, order, axis=1))
    return score_queries(ranking, qrels_from_labels(labels, "rank_resumes"), [f"nDCG@{k}"])[["query_id", "value"]]


def retrieved_ndcg(scores: np.ndarray, jobs: pd.DataFrame, resumes: pd.DataFrame, labels: pd.DataFrame, *,
                   k: int = 20) -> pd.DataFrame:
    """nDCG@k as RankPO's repository computes it: the ideal ranking counts only the positives retrieved in the top k.

    Never below `strict_ndcg`: thirty positives of which three stand at ranks 1 to 3 give 1.
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    positives = set(zip(labels.loc[labels["label"] == 1, "job_id"], labels.loc[labels["label"] == 1, "resume_id"],
                        strict=True))
    with_positive = {job for job, _ in positives}
    ids, discount = resumes["resume_id"].to_numpy(), 1 / np.log2(np.arange(2, k + 2))
    rows = []
    for job, found in zip(jobs["job_id"], order, strict=True):
        if job in with_positive:
            gains = np.array([(job, ids[place]) in positives for place in found], dtype=float)
            ideal = discount[:int(gains.sum())].sum()
            rows.append((job, float(gains @ discount[:len(gains)] / ideal) if ideal else 0.0))
    return pd.DataFrame(rows, columns=["query_id", "value"])


def frontier(text_fit: np.ndarray, rule: np.ndarray, measure, *, steps: int = 11) -> pd.DataFrame:
    """The limit: orders by lambda * rule + (1 - lambda) * text_fit, from reading only to ruling only.

    text_fit, rule: (J, R), known on the market; measure: scores -> Mapping of measures. Returns lambda and these.
    """
    rows: list[Mapping[str, float]] = []
    for share in np.linspace(0, 1, steps):
        mixed = share * rule + (1 - share) * text_fit
        rows.append({"lambda": share, **measure(mixed)})
    return pd.DataFrame(rows)
