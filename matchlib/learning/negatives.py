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
from matchlib.retrieval.shards import ShardedVectors, VectorsWithout, text_hash
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

    query_vectors, candidate_vectors: (n, dim) by the encoder that mines; masks: (Q,) candidates
    that are no negatives; rejected: (query, candidate) positions of the rejected pairs.
    """

    task: str
    query_ids: Sequence[str]
    candidate_ids: Sequence[str]
    query_texts: list[str]
    candidate_texts: list[str]
    query_vectors: np.ndarray
    candidate_vectors: np.ndarray
    masks: list[np.ndarray]
    rejected: np.ndarray


def directions(train: Mapping[str, pd.DataFrame], encoder: Encoder) -> list[Direction]:
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
    job_vectors = check_vectors(encoder.encode_jobs(list(jobs["text"])), jobs["job_id"])
    resume_vectors = check_vectors(
        encoder.encode_resumes(list(resumes["text"])),
        resumes["resume_id"],
        dim=job_vectors.shape[1],
    )
    vectors = {"jobs": job_vectors, "resumes": resume_vectors}
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
    vectors: Mapping[str, np.ndarray],
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
        query_vectors=vectors[query_side][labelled],
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


@dataclass(frozen=True)
class Band:
    """Where runner-ups are drawn from, as shares of a query's candidates; see `mining.runner_ups`."""

    low: float
    high: float


CONFIT_V2_BAND = Band(0.03, 0.04)
COMPARED_BANDS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.2, 0.4)
"""Ends of the bands that notebook 04 compares; the fourth is the paper's."""
BM25_TOP = 10
"""Ranks from which bm25 draws."""


def mine(
    part: Sequence[Direction],
    miner: str,
    *,
    band: Band = CONFIT_V2_BAND,
    n: int = 1,
    seed: int = 1,
) -> pd.DataFrame:
    """n hard negatives for every query of every direction, by one of MINERS, as the table of
    `mining.as_table`.

    band: of runner_ups and sampled_runner_ups.
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
        rows = mining.dense_rows(direction.query_vectors, direction.candidate_vectors)
        if miner == "sampled_runner_ups":
            picks = mining.sampled_runner_ups(
                direction.query_vectors,
                direction.candidate_vectors,
                low=band.low,
                high=band.high,
                **drawing,
            )
        elif miner == "runner_ups":
            picks = mining.runner_ups(
                rows,
                low=band.low,
                high=band.high,
                **drawing,
            )
        elif miner == "bm25":
            keywords = mining.keyword_rows(direction.query_texts, direction.candidate_texts)
            picks = mining.top_ranked(keywords, k=BM25_TOP, **drawing)
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


def mine_stored(
    direction: Direction,
    vectors: ShardedVectors,
    resumes: pd.DataFrame,
    *,
    miner: str,
    band: Band = CONFIT_V2_BAND,
    n: int = 1,
    seed: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """n resumes for every job of a direction, from the band of all resumes whose vectors are stored.

    resumes: the tables' (resume_id, text, split). Those that are not of the training split count
    for nothing here, nor do other stored ones with their text; masked are a job's own, as in
    `mine`, by id and by text. Memory leaves out the number of stored resumes, see
    `mining.sampled_runner_ups`. Returns the table of `mine`, and id, file, line, text_hash of the
    drawn documents. Raises DataError for a miner that looks at every candidate, and where a
    stored resume has the id of another text of the tables.
    """
    if miner != "sampled_runner_ups":
        raise DataError(
            f"miner {miner!r} looks at every candidate; to mine from stored vectors set miner: "
            f"sampled_runner_ups, or leave resume_vectors out"
        )
    hashes = resumes["text"].map(text_hash)
    known = vectors.find(resumes["resume_id"], hashes)
    hash_of_id = dict(zip(resumes["resume_id"], hashes, strict=True))
    is_other = [
        hash_of_id.get(row.id, row.text_hash) != row.text_hash for row in known.itertuples()
    ]
    if any(is_other):
        raise DataError(
            f"{sum(is_other):,} stored resumes have an id of the tables and another text, first "
            f"{known['id'][is_other].iloc[0]!r}; embed the tables' own texts, or give the others ids of their own"
        )
    held_out = resumes[resumes["split"] != "train"]
    is_held_out = known["id"].isin(held_out["resume_id"])
    is_held_out |= known["text_hash"].isin(set(hashes[held_out.index]))
    others = VectorsWithout(vectors, known["position"][is_held_out].to_numpy(dtype=int))
    positions_of_hash = known.groupby("text_hash")["position"].agg(list).to_dict()
    hash_of_candidate = [hash_of_id[name] for name in direction.candidate_ids]
    masks = []
    for mask in direction.masks:
        masked = []
        for candidate in mask:
            masked += positions_of_hash.get(hash_of_candidate[candidate], [])
        masks.append(others.numbers(np.unique(np.array(masked, dtype=int))))
    picks = mining.sampled_runner_ups(
        direction.query_vectors,
        others,
        low=band.low,
        high=band.high,
        n=n,
        rng=np.random.default_rng(seed),
        masks=masks,
    )
    documents, numbers = vectors.listed(others.positions(picks["candidate"]))
    mined = mining.as_table(
        picks.assign(candidate=numbers),
        direction.query_ids,
        documents["id"].tolist(),
        task=direction.task,
        miner=f"{miner} {100 * band.low:g}-{100 * band.high:g}%",
    )
    return mined, documents


def false_negatives(
    mined: pd.DataFrame,
    truth: pd.DataFrame,
    part: Sequence[Direction],
    clusters: Mapping[str, pd.Series] | None = None,
) -> pd.DataFrame:
    """How many of the mined negatives truly fit, and how hard they are for the encoder of `part`.

    truth: job_id, resume_id of every true fit; clusters: task -> query_id -> cluster, where queries
    are alike; without it the negatives of one query are one. Returns miner, task, n, n_clusters,
    false_share, low, high (95%, of `share_interval`), cosine (the encoder's mean, whatever the
    miner scored by), percentile (mean of the miner's), one row a miner and task.
    """
    fits = set(zip(truth["job_id"], truth["resume_id"], strict=True))
    rows = []
    query_vectors, candidate_vectors = {}, {}
    for direction in part:
        task = direction.task
        query_vectors[task] = dict(zip(direction.query_ids, direction.query_vectors, strict=True))
        candidate_vectors[task] = dict(
            zip(direction.candidate_ids, direction.candidate_vectors, strict=True)
        )
    for (miner, task), picks in mined.groupby(["miner", "task"], sort=False):
        job_side, resume_side = "query_id", "candidate_id"
        if task == "rank_jobs":
            job_side, resume_side = resume_side, job_side
        pairs = zip(picks[job_side], picks[resume_side], strict=True)
        false = np.array([pair in fits for pair in pairs], dtype=float)
        alike = picks["query_id"] if clusters is None else picks["query_id"].map(clusters[task])
        interval = share_interval(false, alike.to_numpy())
        cosines = []
        for query, candidate in zip(picks["query_id"], picks["candidate_id"], strict=True):
            cosines.append(query_vectors[task][query] @ candidate_vectors[task][candidate])
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
