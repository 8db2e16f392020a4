"""Metrics, intervals and tests for rankings, and runs in TREC form.

A ranking is a frame query_id, candidate_id, rank (1 is best); qrels are a frame query_id,
candidate_id, label (1 relevant, 0 judged and not, -1 unlabelled). One value a query, then intervals
over queries or clusters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import ir_measures
import numpy as np
import pandas as pd
from scipy import stats

from matchlib.data.schema import DataError

MEASURES = ("nDCG@10", "R@10", "RR", "AP")
N_RESAMPLES = 10_000


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
) -> pd.DataFrame:
    """Order each query's hits by score, ties by a seeded hash of the candidate id.

    positions, scores: (Q, K) index into candidate_ids (-1: no hit) and its score.
    Returns a frame query_id, candidate_id, rank, score with at most `depth` rows a query.
    Raises ValueError on a NaN score or a candidate that a query holds twice.
    """
    candidate_ids, keys = (
        np.asarray(candidate_ids, dtype=object),
        tie_break(candidate_ids, seed=seed),
    )
    hit = positions >= 0
    if np.isnan(scores[hit]).any():
        raise ValueError("scores hold NaN; the model or its input is broken, so nothing is ranked")
    kept, kept_scores = [], []
    for query, found, score in zip(query_ids, positions, scores, strict=True):
        found, score = found[found >= 0], score[found >= 0]
        if len(np.unique(found)) < len(found):
            raise ValueError(f"query {query}: a candidate appears twice in its hits")
        order = np.lexsort((keys[found], -score))[:depth]
        kept.append(found[order])
        kept_scores.append(score[order])
    lengths = [len(found) for found in kept]
    return pd.DataFrame(
        {
            "query_id": np.repeat(np.asarray(query_ids, dtype=object), lengths),
            "candidate_id": candidate_ids[np.concatenate(kept)],
            "rank": np.concatenate([np.arange(1, n + 1) for n in lengths]),
            "score": np.concatenate(kept_scores),
        }
    )


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


def mean_interval(values: np.ndarray, clusters: np.ndarray | None = None) -> dict[str, float]:
    """Mean with a 95% t-interval, widened where queries of a cluster are alike.

    values: (n,); clusters: (n,) labels or None for independent queries.
    Returns value, low, high, n (queries), n_clusters. The interval is the cluster-robust one: the
    variance of the summed residuals of clusters, with clusters - 1 degrees of freedom; without
    clusters the ordinary t-interval.
    """
    values = np.asarray(values, dtype=float)
    sums = _cluster_sums(values - values.mean(), clusters)
    n_clusters = len(sums)
    if n_clusters < 2:
        return {
            "value": values.mean(),
            "low": np.nan,
            "high": np.nan,
            "n": len(values),
            "n_clusters": n_clusters,
        }
    error = np.sqrt((sums**2).sum() * n_clusters / (n_clusters - 1)) / len(values)
    half = stats.t.ppf(0.975, n_clusters - 1) * error
    return {
        "value": values.mean(),
        "low": values.mean() - half,
        "high": values.mean() + half,
        "n": len(values),
        "n_clusters": n_clusters,
    }


def share_interval(hits: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """A share with its 95% Wilson interval at the effective sample size of clustered rows.

    hits: (n,) 0 or 1; clusters: (n,) labels of rows that are alike. Returns as `mean_interval`. The
    effective size is what independent rows would need for the same cluster-robust error; where all
    rows agree there is no error to go by, and every cluster counts once. The interval has a width
    at 0 and 1, too.
    Source: Korn and Graubard (Survey Methodology 24, 1998), with Wilson's (1927) interval in place
    of the exact one.
    """
    found = mean_interval(hits, clusters)
    share, n_clusters = found["value"], found["n_clusters"]
    error = (found["high"] - share) / stats.t.ppf(0.975, n_clusters - 1) if n_clusters > 1 else 0.0
    n = min(share * (1 - share) / error**2, len(hits)) if error > 0 else n_clusters
    z = stats.norm.ppf(0.975)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return found | {"low": max(middle - half, 0.0), "high": min(middle + half, 1.0)}


def paired_randomisation(
    first: np.ndarray,
    second: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> float:
    """Two-sided p that the mean difference of paired values arises by swapping systems at random.

    first, second: (n,) values of the same queries; whole clusters swap together. Never 0: (hits +
    1) / (n + 1).
    Source: Fisher's randomisation test as in Smucker, Allan, Carterette (CIKM 2007).
    """
    sums = _cluster_sums(np.asarray(first, dtype=float) - np.asarray(second, dtype=float), clusters)
    rng = np.random.default_rng(seed)
    observed, hits = abs(sums.sum()), 0
    block = max(1, min(1_000, 20_000_000 // len(sums)))  # 160 MB of signs as floats
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        signs = rng.integers(0, 2, size=(size, len(sums)), dtype=np.int8) * 2 - 1
        hits += int((np.abs(signs @ sums) >= observed - 1e-12).sum())
    return (hits + 1) / (n_resamples + 1)


def _cluster_sums(values: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    if clusters is None:
        return values
    if pd.isna(clusters).any():
        raise ValueError("a query has no cluster; give every query one, or none at all")
    return pd.Series(values).groupby(np.asarray(clusters)).sum().to_numpy()


def compare_systems(
    scores: pd.DataFrame, *, baseline: str, clusters: pd.Series | None = None, seed: int = 0
) -> pd.DataFrame:
    """Summarise every system and test it against a baseline on the same queries.

    scores: frame system, query_id, measure, value; clusters: query_id -> cluster.
    Returns system, measure, value, low, high, n, n_clusters, difference, difference_low,
    difference_high, p (the last four NaN in the baseline's own rows).
    """
    rows = []
    for measure, part in scores.groupby("measure", sort=False):
        table = part.pivot(index="query_id", columns="system", values="value")
        if table.isna().any(axis=None):
            raise ValueError(f"{measure}: the systems were not scored on the same queries")
        groups = None if clusters is None else clusters.reindex(table.index).to_numpy()
        for system in part["system"].unique():
            row = {
                "system": system,
                "measure": measure,
                **mean_interval(table[system].to_numpy(), groups),
            }
            row |= {
                side: float(np.clip(row[side], 0, 1)) for side in ("low", "high")
            }  # no measure lies outside
            if system != baseline:
                gap = mean_interval((table[system] - table[baseline]).to_numpy(), groups)
                row |= {
                    "difference": gap["value"],
                    "difference_low": gap["low"],
                    "difference_high": gap["high"],
                    "p": paired_randomisation(
                        table[system].to_numpy(), table[baseline].to_numpy(), groups, seed=seed
                    ),
                }
            rows.append(row)
    columns = [
        "system",
        "measure",
        "value",
        "low",
        "high",
        "n",
        "n_clusters",
        "difference",
        "difference_low",
        "difference_high",
        "p",
    ]
    return pd.DataFrame(rows).reindex(columns=columns)


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
            interval = mean_interval(scores["value"].to_numpy(), alike)
            interval |= {side: float(np.clip(interval[side], 0, 1)) for side in ("low", "high")}
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


def write_run(ranking: pd.DataFrame, path: Path, *, tag: str) -> None:
    """Write a ranking in TREC form: `query Q0 document rank score tag`, score = -rank.

    Raises DataError on an id with a space, which the form cannot hold.
    """
    _refuse_spaces(ranking)
    with path.open("w", encoding="utf-8") as file:
        for query, candidate, position in zip(
            ranking["query_id"], ranking["candidate_id"], ranking["rank"], strict=True
        ):
            file.write(f"{query} Q0 {candidate} {position} {-position} {tag}\n")


def read_run(path: Path) -> pd.DataFrame:
    """Read a TREC run; the rank is recomputed from the score (ties by the file's rank). Raises
    DataError by line."""
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            query, _, candidate, position, score, _ = line.decode().split()
            rows.append((number, query, candidate, int(position), float(score)))
        except ValueError:
            raise DataError(
                f"{path}:{number}: not a line of a TREC run (query Q0 document rank score tag): "
                f"{line[:60]!r}"
            ) from None
    frame = pd.DataFrame(
        rows, columns=["line", "query_id", "candidate_id", "rank", "score"]
    ).set_index("line")
    broken = frame["score"].isna() | frame.duplicated(["query_id", "candidate_id"])
    if broken.any():
        raise DataError(
            f"{path}:{broken.idxmax()}: the score is NaN, or the query holds the document twice; "
            f"write the run again"
        )
    frame = frame.sort_values(
        ["query_id", "score", "rank"], ascending=[True, False, True], ignore_index=True
    )
    return frame.assign(rank=frame.groupby("query_id").cumcount() + 1)


def _refuse_spaces(frame: pd.DataFrame) -> None:
    for column in ("query_id", "candidate_id"):
        spaced = frame[column].str.contains(r"\s")
        if spaced.any():
            raise DataError(
                f"{column} {frame[column][spaced].iloc[0]!r} holds a space, which a TREC file cannot; "
                f"replace it by _"
            )


def write_qrels(qrels: pd.DataFrame, path: Path) -> None:
    """Write qrels in TREC form: `query 0 document label`. Raises DataError on an id with a space."""
    _refuse_spaces(qrels)
    with path.open("w", encoding="utf-8") as file:
        for query, candidate, label in zip(
            qrels["query_id"], qrels["candidate_id"], qrels["label"], strict=True
        ):
            file.write(f"{query} 0 {candidate} {label}\n")
