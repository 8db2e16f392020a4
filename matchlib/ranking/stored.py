"""`matchlib rank --vectors`: candidates whose vectors `matchlib embed` has left on disk; only the
texts of those that are listed are read again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from matchlib.data.normal import plain
from matchlib.data.schema import DataError
from matchlib.documents.plan import ShardPlan, read_plan
from matchlib.ranking.rank import (
    Ranker,
    RankRequest,
    describe_cut_texts,
    encode_texts,
    task_queries,
    write_list,
)
from matchlib.retrieval.metrics import rank
from matchlib.retrieval.models import EncoderError
from matchlib.retrieval.shards import ShardedVectors, VectorSource


def rank_stored(
    queries: pd.DataFrame,
    folder: Path,
    ranker: Ranker,
    request: RankRequest,
    *,
    out: Path,
    trec: Path | None = None,
) -> Iterator[str]:
    """Rank the documents of a folder of vectors for queries (job_id or resume_id, text), and write
    `out`; yields what was done, a sentence at a time.

    The list is that of `rank_files` but for cosines nearer than .001, since vectors are stored as
    float16. Raises DataError or EncoderError if a shard cannot be used, the folder is of the other
    kind of document or of another encoder, or rules must hold, which need columns in memory.
    """
    if request.rules:
        raise DataError(
            "--require compares columns of all documents in memory, so it does not go with --vectors; "
            "leave it out, or name the documents themselves"
        )
    plan = read_plan(folder)
    query_side = task_queries(request.task)
    if plan.name == query_side:
        raise DataError(
            f"{folder} holds {plan.name}, which are the queries here; name the other --direction, or "
            f"vectors of the other kind of document"
        )
    vectors = ShardedVectors.open(folder, plan.n_shards)
    source = VectorSource.of(ranker.encoder, plan.name)
    if not vectors.source.fits(source):
        raise EncoderError(
            f"{folder}: its vectors are of {vectors.source.describe()}, --model is {source.describe()}; "
            f"name the model that made them, or embed the documents again with --out elsewhere"
        )
    yield f"model: {ranker.name}; bias audit: {ranker.audit}"
    n_left_out = sum(len(shard.left_out) for shard in vectors.shards)
    yield (
        f"{folder}: {len(vectors):,} {plan.name} in {plan.n_shards:,} shards; {n_left_out:,} were left "
        f"out when they were embedded"
    )
    encoder = ranker.encoder
    encode = encoder.encode_jobs if query_side == "jobs" else encoder.encode_resumes
    query_vectors = encode_texts(encode, queries["text"].tolist(), query_side)
    hits = vectors.top_k(query_vectors, request.top)
    listed, positions = _number_listed(vectors, hits.positions)
    query_ids = queries[f"{query_side.removesuffix('s')}_id"].tolist()
    ranking = rank(query_ids, listed["id"].tolist(), positions, hits.scores)
    tables = {
        query_side: queries,
        plan.name: pd.DataFrame({plan.key: listed["id"], "text": ""}),
    }
    yield from describe_cut_texts(
        **tables | {plan.name: tables[plan.name].iloc[:0]}, encoder=encoder
    )
    if request.explain or request.ranker:
        tables[plan.name] = _read_again(plan, listed)
        if n_changed := _count_changed(tables[plan.name], listed, plan):
            yield (
                f"{n_changed:,} of the {len(listed):,} listed {plan.name} have changed since they were embedded; "
                f"run matchlib embed again"
            )
    yield from write_list(
        **tables, ranking=ranking, ranker=ranker, request=request, out=out, trec=trec
    )


def _number_listed(vectors: ShardedVectors, positions):
    """The documents that any query lists (id, file, line, text_hash), and (Q, K) the row of each
    hit among them."""
    flat = pd.Series(positions.ravel())
    rows, listed = pd.factorize(flat, sort=True)
    return vectors.documents_at(listed.to_numpy()), rows.reshape(positions.shape)


def _read_again(plan: ShardPlan, listed: pd.DataFrame) -> pd.DataFrame:
    table = plan.read_some(listed)
    gone = listed[~listed["id"].isin(table[plan.key])]
    if len(gone):
        raise DataError(
            f"{len(gone):,} of {len(listed):,} listed {plan.name} are no longer where they were embedded "
            f"from, first {gone['id'].iloc[0]!r} in {plan.folder / gone['file'].iloc[0]}; run matchlib "
            f"embed again, or add --no-explain"
        )
    return table


def _count_changed(table: pd.DataFrame, listed: pd.DataFrame, plan: ShardPlan) -> int:
    now = table.set_index(plan.key)["text"].loc[listed["id"]]
    hashes = [hashlib.sha256(plain(text).encode()).digest()[:16] for text in now]
    return sum(a != b for a, b in zip(hashes, listed["text_hash"], strict=True))
