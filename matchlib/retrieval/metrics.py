"""Rankings and their metrics: one value a query, then intervals and paired tests over queries or
clusters.

A ranking is a frame query_id, candidate_id, rank (1 is best); qrels are a frame query_id,
candidate_id, label (1 relevant, 0 judged and not, -1 unlabelled).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import ir_measures
import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.stats import mean_interval, paired_randomisation

MEASURES = ("nDCG@10", "R@10", "RR", "AP")
TIES = ("hash", "trec")


def tie_break(ids: Sequence[str], *, seed: int = 0) -> np.ndarray:
    """(n,) uint64 keys that order equal scores by a seeded hash of the id, never by the id itself."""
    salt = str(seed).encode()
    return np.array(
        [
            int.from_bytes(hashlib.blake2b(i.encode(), digest_size=8, salt=salt).digest())
            for i in ids
        ],
        dtype=np.uint64,
    )


def rank(
    query_ids: Sequence[str],
    candidate_ids: Sequence[str],
    positions: np.ndarray,
    scores: np.ndarray,
    *,
    depth: int | None = None,
    seed: int = 0,
    ties: str = "hash",
) -> pd.DataFrame:
    """Order each query's hits by score, ties by a seeded hash of the candidate id.

    positions, scores: (Q, K) index into candidate_ids (-1: no hit) and its score. ties: hash; or trec,
    for figures published of runs that were scored by trec_eval: see `_trec_order`.
    Returns a frame query_id, candidate_id, rank, score with at most `depth` rows a query.
    Raises ValueError on a NaN score or a candidate that a query holds twice, DataError on other ties.
    """
    if ties not in TIES:
        raise DataError(f"ties {ties!r} is not one of {', '.join(TIES)}")
    document_ids = np.asarray(candidate_ids, dtype=object)
    keys = tie_break(candidate_ids, seed=seed)
    hit = positions >= 0
    if np.isnan(scores[hit]).any():
        raise ValueError("scores hold NaN; the model or its input is broken, so nothing is ranked")
    kept, kept_scores = [], []
    for query, found, score in zip(query_ids, positions, scores, strict=True):
        found, score = found[found >= 0], score[found >= 0]
        if len(np.unique(found)) < len(found):
            raise ValueError(f"query {query}: a candidate appears twice in its hits")
        if ties == "trec":
            order = _trec_order(document_ids[found], found, score, depth)
        else:
            order = np.lexsort((keys[found], -score))[:depth]
        kept.append(found[order])
        kept_scores.append(score[order])
    lengths = [len(found) for found in kept]
    return pd.DataFrame(
        {
            "query_id": np.repeat(np.asarray(query_ids, dtype=object), lengths),
            "candidate_id": document_ids[np.concatenate(kept)],
            "rank": np.concatenate([np.arange(1, n + 1) for n in lengths]),
            "score": np.concatenate(kept_scores),
        }
    )


TREC_DECIMALS = 5


def _trec_order(
    ids: np.ndarray, positions: np.ndarray, scores: np.ndarray, depth: int | None
) -> np.ndarray:
    """The order that trec_eval gives a run of the best `depth` with scores of 5 decimals: equal scores
    by id, descending; which of equal scores are among the best is decided by position, ascending.

    Source: MELO's scorer, Avature/melo-benchmark.
    """
    best = np.lexsort((positions, -scores))[:depth]
    id_rank = np.unique(ids[best], return_inverse=True)[1]
    rounded = np.round(scores[best].astype(float), TREC_DECIMALS)
    return best[np.lexsort((-id_rank, -rounded))]


def qrels_from_labels(labels: pd.DataFrame, task: str) -> pd.DataFrame:
    """Turn pairs (job_id, resume_id and label, default 1) into qrels of a task: rank_resumes or
    rank_jobs.

    Pools, or anything else with a column task, are qrels already: those of the task are returned.
    """
    if "task" in labels:
        return labels.loc[
            labels["task"] == task, ["query_id", "candidate_id", "label"]
        ].reset_index(drop=True)
    query, candidate = (
        ("job_id", "resume_id") if task == "rank_resumes" else ("resume_id", "job_id")
    )
    return pd.DataFrame(
        {
            "query_id": labels[query],
            "candidate_id": labels[candidate],
            "label": labels.get("label", 1),
        }
    )


def score_queries(
    ranking: pd.DataFrame, qrels: pd.DataFrame, measures: Sequence[str] = MEASURES
) -> pd.DataFrame:
    """One value a query and measure: a frame query_id, measure, value.

    Scores are -rank, so that no scorer breaks ties its own way. A query of the qrels that the
    ranking does not answer scores 0; a query without a positive has no value and is left out (count
    it with `unanswerable`).
    measures: names of ir_measures, e.g. nDCG@10, R@10, RR, AP, Judged@10. Raises DataError on one
    that is unknown, and ValueError if a query holds a candidate twice.
    Source: ir_measures with its pytrec_eval provider; Judged@k with its own.
    """
    relevant = qrels[qrels["label"] > 0]
    if relevant.empty:
        raise DataError(
            "no query has a positive label, so no measure has a value; check the labels"
        )
    queries = set(relevant["query_id"])
    judged = _nested(qrels[qrels["query_id"].isin(queries) & (qrels["label"] >= 0)], "label")
    run = _nested(
        ranking[ranking["query_id"].isin(queries)].assign(score=lambda r: -r["rank"].astype(float)),
        "score",
    )
    parsed = {name: _parse_measure(name) for name in measures}
    rows = []
    plain = {measure for measure in parsed.values() if ir_measures.pytrec_eval.supports(measure)}
    for provider, chosen in (
        (ir_measures.pytrec_eval, plain),
        (ir_measures.judged, {*parsed.values()} - plain),
    ):
        if chosen:
            values = {
                (value.query_id, value.measure): value.value
                for value in provider.iter_calc(chosen, judged, run)
            }
            # two names may mean one measure: RR and MRR
            rows += [
                (query, name, value)
                for (query, measure), value in values.items()
                for name in measures
                if parsed[name] == measure
            ]
    answered = pd.DataFrame(rows, columns=["query_id", "measure", "value"]).set_index(
        ["query_id", "measure"]
    )
    full = pd.MultiIndex.from_product(
        [sorted(queries), list(measures)], names=["query_id", "measure"]
    )
    return answered.reindex(full, fill_value=0.0).reset_index()


def _parse_measure(name: str):
    try:
        measure = ir_measures.parse_measure(name)
    except (NameError, ValueError, SyntaxError):
        measure = None
    if measure is None or not (
        ir_measures.pytrec_eval.supports(measure) or ir_measures.judged.supports(measure)
    ):
        raise DataError(
            f"measure {name!r} is not one of pytrec_eval's in ir_measures, such as {', '.join(MEASURES)}, "
            f"nor Judged@10"
        )
    return measure


def unanswerable(qrels: pd.DataFrame) -> int:
    """Number of queries in the qrels without a positive label."""
    return int((qrels.groupby("query_id")["label"].max() < 1).sum())


def _nested(frame: pd.DataFrame, column: str) -> dict[str, dict]:
    """{query: {candidate: value}}; ir_measures takes dicts 7 times faster than frames."""
    nested: dict[str, dict] = {}
    for query, candidate, value in zip(
        frame["query_id"], frame["candidate_id"], frame[column].tolist(), strict=True
    ):
        nested.setdefault(query, {})[candidate] = value
    if sum(map(len, nested.values())) < len(frame):
        twice = frame[frame.duplicated(["query_id", "candidate_id"])].iloc[0]
        raise ValueError(
            f"query {twice['query_id']}: candidate {twice['candidate_id']} appears twice; keep one"
        )
    return nested


def compare_systems(
    scores: pd.DataFrame, *, baseline: str, clusters: pd.Series | None = None, seed: int = 0
) -> pd.DataFrame:
    """Summarise every system and test it against a baseline on the same queries.

    scores: frame system, query_id, measure, value; clusters: query_id -> cluster.
    Returns system, measure, value, low, high, n, n_clusters, difference, difference_low,
    difference_high, p (the last four NaN in the baseline's own rows).
    """
    tables = []
    for measure, part in scores.groupby("measure", sort=False):
        values = part.pivot(index="query_id", columns="system", values="value")
        if values.isna().any(axis=None):
            raise ValueError(f"{measure}: the systems were not scored on the same queries")
        groups = None if clusters is None else clusters.reindex(values.index).to_numpy()
        for system in part["system"].unique():
            row = {"system": system, "measure": measure}
            row |= mean_interval(values[system].to_numpy(), groups, bounds=(0, 1))
            if system != baseline:
                row |= _compare(values[system], values[baseline], groups, seed=seed)
            tables.append(row)
    return pd.DataFrame(tables).reindex(columns=COMPARISON)


COMPARISON = ["system", "measure", "value", "low", "high", "n", "n_clusters"]
COMPARISON += ["difference", "difference_low", "difference_high", "p"]
"""Columns of `compare_systems`."""


def _compare(
    values: pd.Series, of_baseline: pd.Series, groups: np.ndarray | None, *, seed: int
) -> dict[str, float]:
    gap = mean_interval((values - of_baseline).to_numpy(), groups)
    p = paired_randomisation(values.to_numpy(), of_baseline.to_numpy(), groups, seed=seed)
    return {
        "difference": gap["value"],
        "difference_low": gap["low"],
        "difference_high": gap["high"],
        "p": p,
    }


def score_by_group(
    ranking: pd.DataFrame,
    qrels: pd.DataFrame,
    groups: pd.Series,
    measures: Sequence[str] = MEASURES,
    *,
    clusters: pd.Series | None = None,
) -> pd.DataFrame:
    """Score a ranking of each group's candidates among themselves, e.g. of men and of women.

    groups: candidate_id -> group; clusters: query_id -> cluster. Returns a frame group, measure,
    value, low, high, n (queries with a positive in the group), n_clusters, without_positive (judged
    queries that have none there), and
    value_with_empty: the mean over all judged queries, those without a positive as 0, as
    TalentCLEF's scorer has it.
    """
    rows = []
    for group in sorted(set(groups)):
        members = set(groups.index[groups == group])
        part = ranking[ranking["candidate_id"].isin(members)]
        part = part.assign(rank=part.groupby("query_id")["rank"].rank().astype(int))
        judged = qrels[qrels["candidate_id"].isin(members)]
        if not (judged["label"] > 0).any():
            continue
        empty = unanswerable(judged)
        for measure, scores in score_queries(part, judged, measures).groupby("measure", sort=False):
            alike = None if clusters is None else clusters.reindex(scores["query_id"]).to_numpy()
            interval = mean_interval(scores["value"].to_numpy(), alike, bounds=(0, 1))
            rows.append(
                {
                    "group": group,
                    "measure": measure,
                    **interval,
                    "without_positive": empty,
                    "value_with_empty": scores["value"].sum() / (interval["n"] + empty),
                }
            )
    return pd.DataFrame(
        rows,
        columns=[
            "group",
            "measure",
            "value",
            "low",
            "high",
            "n",
            "n_clusters",
            "without_positive",
            "value_with_empty",
        ],
    )


def score_groups(
    rankings: Mapping[str, Mapping[str, pd.DataFrame]],
    qrels: pd.DataFrame,
    groups: pd.Series,
    measures: Sequence[str],
    *,
    clusters: pd.Series | None = None,
) -> pd.DataFrame:
    """`score_by_group` of every system's ranking of resumes, with a column system.

    rankings: system -> task -> ranking; qrels: of rank_resumes.
    """
    tables = []
    for system, by_task in rankings.items():
        table = score_by_group(by_task["rank_resumes"], qrels, groups, measures, clusters=clusters)
        tables.append(table.assign(system=system))
    return pd.concat(tables)
