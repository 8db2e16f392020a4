"""Hard negatives by name, both directions, and how false and how hard they are where the truth is
known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.learning import mining
from matchlib.retrieval.alignment import row_numbers
from matchlib.retrieval.encoder import Encoder
from matchlib.stats import share_interval

MINERS = (
    "runner_ups",
    "sampled_runner_ups",
    "bm25",
    "random",
    "rejected",
)


@dataclass(frozen=True)
class Direction:
    """One task's queries and candidates of the training split.

    query_vectors, candidate_vectors: one (n, dim) matrix an encoder; masks: (Q,) candidates that
    are no negatives;
    rejected: (query, candidate) positions of the rejected pairs.
    """

    task: str
    query_ids: Sequence[str]
    candidate_ids: Sequence[str]
    query_texts: list[str]
    candidate_texts: list[str]
    query_vectors: list[np.ndarray]
    candidate_vectors: list[np.ndarray]
    masks: list[np.ndarray]
    rejected: np.ndarray


def directions(train: Mapping[str, pd.DataFrame], encoders: Sequence[Encoder]) -> list[Direction]:
    """Both tasks on jobs, resumes and labels of the training split; only documents that a label
    names ask.

    Raises DataError, with the document's id, on an embedding that is not finite or of another
    length.
    """
    documents = {
        "jobs": train["jobs"].reset_index(drop=True),
        "resumes": train["resumes"].reset_index(drop=True),
    }
    jobs, resumes = documents["jobs"], documents["resumes"]
    vectors = {"jobs": [], "resumes": []}
    for encoder in encoders:
        of_jobs = check_vectors(encoder.encode_jobs(list(jobs["text"])), jobs["job_id"])
        of_resumes = check_vectors(
            encoder.encode_resumes(list(resumes["text"])),
            resumes["resume_id"],
            dim=of_jobs.shape[1],
        )
        vectors["jobs"].append(of_jobs)
        vectors["resumes"].append(of_resumes)
    return [
        _direction(
            "rank_resumes",
            "jobs",
            "resumes",
            documents,
            vectors,
            train["labels"],
        ),
        _direction(
            "rank_jobs",
            "resumes",
            "jobs",
            documents,
            vectors,
            train["labels"],
        ),
    ]


def _direction(
    task: str,
    query_side: str,
    candidate_side: str,
    documents: Mapping[str, pd.DataFrame],
    vectors: Mapping[str, list[np.ndarray]],
    labels: pd.DataFrame,
) -> Direction:
    query_id = query_side.removesuffix("s") + "_id"
    candidate_id = candidate_side.removesuffix("s") + "_id"
    candidates = documents[candidate_side]
    labelled = np.flatnonzero(documents[query_side][query_id].isin(labels[query_id]))
    queries = documents[query_side].iloc[labelled].reset_index(drop=True)
    rejected = labels[labels["label"] == 0]
    rejected_queries = row_numbers(queries[query_id], rejected[query_id])
    rejected_candidates = row_numbers(candidates[candidate_id], rejected[candidate_id])
    return Direction(
        task=task,
        query_ids=list(queries[query_id]),
        candidate_ids=list(candidates[candidate_id]),
        query_texts=list(queries["text"]),
        candidate_texts=list(candidates["text"]),
        query_vectors=[matrix[labelled] for matrix in vectors[query_side]],
        candidate_vectors=vectors[candidate_side],
        masks=mining.known_positives(queries, query_id, candidates, candidate_id, labels),
        rejected=np.column_stack([rejected_queries, rejected_candidates]),
    )


def describe_directions(part: Sequence[Direction]) -> pd.DataFrame:
    """One row a direction: task, queries, candidates, masked a query (mean), rejected pairs."""
    rows = []
    for direction in part:
        n_masked = sum(len(mask) for mask in direction.masks)
        row = {
            "task": direction.task,
            "queries": len(direction.query_ids),
            "candidates": len(direction.candidate_ids),
            "masked a query": n_masked / len(direction.masks),
            "rejected pairs": len(direction.rejected),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def refuse_ignored(miner: str, members: Mapping[str, str]) -> None:
    """Raise DataError if further encoders were named for a miner that takes one encoder, or none."""
    if members and miner != "runner_ups":
        raise DataError(
            f"member_stages names {', '.join(members)}, but the miner {miner!r} does not read them, so "
            f"they would be ignored; set member_stages: {{}}, or miner: runner_ups"
        )


@dataclass(frozen=True)
class Band:
    """Where runner-ups are drawn from; see `mining.runner_ups`.

    low, high: shares of a query's candidates; scope: query, or all pairs together.
    """

    low: float
    high: float
    scope: str = "query"


CONFIT_V2_BAND = Band(0.03, 0.04)


def mine(
    part: Sequence[Direction],
    miner: str,
    *,
    band: Band = CONFIT_V2_BAND,
    n: int = 1,
    seed: int = 1,
    sample: int = 8192,
    bm25_top: int = 10,
) -> pd.DataFrame:
    """n hard negatives for every query of every direction, by one of MINERS, as the table of
    `mining.as_table`.

    band: of runner_ups and sampled_runner_ups; sample: candidates of sampled_runner_ups, which
    takes the first encoder; bm25_top: ranks that bm25 draws from. With several encoders runner_ups
    take the mean of their percentiles.
    """
    if miner not in MINERS:
        raise DataError(f"miner {miner!r} is not one of {', '.join(MINERS)}")
    rng = np.random.default_rng(seed)
    name = miner
    if "runner_ups" in miner:
        name = f"{miner} {100 * band.low:g}-{100 * band.high:g}%"
    tables = []
    for direction in part:
        drawing = {"n": n, "rng": rng, "masks": direction.masks}
        by_encoder = []
        for queries, candidates in zip(
            direction.query_vectors,
            direction.candidate_vectors,
            strict=True,
        ):
            by_encoder.append(mining.dense_rows(queries, candidates))
        rows = by_encoder[0]
        if miner == "sampled_runner_ups":
            picks = mining.sampled_runner_ups(
                direction.query_vectors[0],
                direction.candidate_vectors[0],
                low=band.low,
                high=band.high,
                sample=sample,
                **drawing,
            )
        elif miner == "runner_ups":
            if len(by_encoder) > 1:
                rows = mining.ensemble_rows(by_encoder)
            picks = mining.runner_ups(
                rows,
                low=band.low,
                high=band.high,
                scope=band.scope,
                **drawing,
            )
        elif miner == "bm25":
            keywords = mining.keyword_rows(direction.query_texts, direction.candidate_texts)
            picks = mining.top_ranked(keywords, k=bm25_top, **drawing)
        elif miner == "random":
            picks = mining.random_candidates(rows, **drawing)
        else:
            picks = _rejected(direction, rows)
        tables.append(
            mining.as_table(
                picks,
                direction.query_ids,
                direction.candidate_ids,
                task=direction.task,
                miner=name,
            )
        )
    return pd.concat(tables, ignore_index=True)


def false_negatives(
    mined: pd.DataFrame,
    truth: pd.DataFrame,
    part: Sequence[Direction],
    clusters: Mapping[str, pd.Series] | None = None,
) -> pd.DataFrame:
    """How many of the mined negatives truly fit, and how hard they are for the first encoder of
    `part`.

    truth: job_id, resume_id of every true fit; clusters: task -> query_id -> cluster, where queries
    are alike; without it the negatives of one query are one. Returns miner, task, n, n_clusters,
    false_share, low, high (95%, of `share_interval`), cosine (the encoder's mean, whatever the
    miner scored by), percentile (mean of the miner's), one row a miner and task.
    """
    fits = set(zip(truth["job_id"], truth["resume_id"], strict=True))
    rows, vectors = [], {}
    for direction in part:
        vectors[direction.task] = (
            dict(
                zip(
                    direction.query_ids,
                    direction.query_vectors[0],
                    strict=True,
                )
            ),
            dict(
                zip(
                    direction.candidate_ids,
                    direction.candidate_vectors[0],
                    strict=True,
                )
            ),
        )
    for (miner, task), picks in mined.groupby(["miner", "task"], sort=False):
        job_side, resume_side = (
            ("query_id", "candidate_id") if task == "rank_resumes" else ("candidate_id", "query_id")
        )
        pairs = zip(picks[job_side], picks[resume_side], strict=True)
        false = np.array([pair in fits for pair in pairs], dtype=float)
        alike = picks["query_id"] if clusters is None else picks["query_id"].map(clusters[task])
        interval = share_interval(false, alike.to_numpy())
        asking, asked = vectors[task]
        cosines = [
            asking[q] @ asked[c]
            for q, c in zip(picks["query_id"], picks["candidate_id"], strict=True)
        ]
        rows.append(
            {
                "miner": miner,
                "task": task,
                "n": len(picks),
                "n_clusters": interval["n_clusters"],
                "false_share": interval["value"],
                "low": interval["low"],
                "high": interval["high"],
                "cosine": float(np.mean(cosines)),
                "percentile": picks["percentile"].mean(),
            }
        )
    return pd.DataFrame(rows)


def false_share_over_tasks(compared: pd.DataFrame) -> float:
    """Share of false negatives in all rows of `false_negatives`, each weighed by its n."""
    n_false = compared["false_share"] * compared["n"]
    return float(n_false.sum() / compared["n"].sum())


def check_vectors(vectors: np.ndarray, ids: Sequence[str], *, dim: int | None = None) -> np.ndarray:
    """The vectors; raises DataError with the id of the first that is not finite, or if they are not
    of length dim."""
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise DataError(
            f"the embedding of {list(ids)[broken[0]]!r} is not finite; the model or its precision is "
            f"broken, so nothing is mined"
        )
    if vectors.shape[1] != (dim or vectors.shape[1]) or len(vectors) != len(ids):
        raise DataError(
            f"{len(vectors)} embeddings of length {vectors.shape[1]} for {len(ids)} documents and length "
            f"{dim}; clear the cache of embeddings and encode again"
        )
    return vectors


def _rejected(direction: Direction, rows: mining.Rows) -> pd.DataFrame:
    """The rejected pairs themselves, with the encoder's scores and ranks."""
    place = pd.DataFrame(direction.rejected, columns=["query", "candidate"]).drop_duplicates()
    by_query = place.groupby("query")["candidate"].agg(np.array).to_dict()
    parts = []
    for query, row in enumerate(rows()):
        if query in by_query:
            ranks = mining.ranks_of(row)[by_query[query]]
            candidates = by_query[query]
            parts.append(mining.Picks(query, candidates, row[candidates], ranks, len(row)))
    return mining.as_frame(parts)
