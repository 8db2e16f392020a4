"""`matchlib rank --vectors`: candidates whose vectors `matchlib embed` has left on disk; only the
texts of those that are listed are read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.documents.plan import ShardPlan, read_plan
from matchlib.ranking.rank import (
    BLOCK,
    Ranker,
    RankRequest,
    describe_cut_texts,
    encode_texts,
    require,
    task_queries,
    write_list,
)
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.metrics import rank
from matchlib.retrieval.models import EncoderError
from matchlib.retrieval.search import Hits
from matchlib.retrieval.shards import ShardedVectors, VectorSource, text_hash

FIRST_LOOK = 4
"""Times as many candidates as are listed that are read first to find those that meet rules."""
LOOKED_AT = 1_024
"""Best candidates of a query that are read for this at most."""


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
    float16. Where rules must hold, a query's best LOOKED_AT candidates are read at most. Raises
    DataError or EncoderError if a shard cannot be used, or the folder is of the other kind of
    document or of another encoder.
    """
    query_side = task_queries(request.task)
    side = "resumes" if query_side == "jobs" else "jobs"
    plan, vectors = open_stored(folder, ranker.encoder, side)
    yield f"model: {ranker.name}; bias audit: {ranker.audit}"
    n_left_out = sum(len(shard.left_out) for shard in vectors.shards)
    yield (
        f"{folder}: {len(vectors):,} {plan.name} in {plan.n_shards:,} shards; {n_left_out:,} were left "
        f"out when they were embedded"
    )
    encoder = ranker.encoder
    encode = encoder.encode_jobs if query_side == "jobs" else encoder.encode_resumes
    query_vectors = encode_texts(encode, queries["text"].tolist(), query_side)
    n_hits = max(request.top, LOOKED_AT) if request.rules else request.top
    hits = vectors.top_k(query_vectors, n_hits)
    if request.rules:
        hits, notes = _best_that_hold(hits, plan, vectors, queries, request)
        yield from notes
    listed, positions = vectors.listed(hits.positions)
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
        tables[plan.name] = read_again(plan, listed)
        if n_changed := _count_changed(tables[plan.name], listed, plan):
            yield (
                f"{n_changed:,} of the {len(listed):,} listed {plan.name} have changed since they were embedded; "
                f"run matchlib embed again"
            )
    yield from write_list(
        **tables, ranking=ranking, ranker=ranker, request=request, out=out, trec=trec
    )


def open_stored(folder: Path, encoder: Encoder, name: str) -> tuple[ShardPlan, ShardedVectors]:
    """The plan and the vectors of a folder that `matchlib embed` has made.

    name: jobs or resumes. Raises DataError or EncoderError if a shard cannot be used, or the
    vectors are of the other kind of document or not by this encoder.
    """
    plan = read_plan(folder)
    if plan.name != name:
        raise DataError(
            f"{folder} holds {plan.name}, and vectors of {name} are needed; name vectors of the other kind of "
            f"document, or the other --direction"
        )
    vectors = ShardedVectors.open(folder, plan.n_shards)
    source = VectorSource.of(encoder, plan.name)
    if not vectors.source.fits(source):
        raise EncoderError(
            f"{folder}: its vectors are of {vectors.source.describe()}, the model here is "
            f"{source.describe()}; name the model that made them, or embed the documents again with --out "
            f"elsewhere"
        )
    return plan, vectors


def _best_that_hold(
    hits: Hits,
    plan: ShardPlan,
    vectors: ShardedVectors,
    queries: pd.DataFrame,
    request: RankRequest,
) -> tuple[Hits, list[str]]:
    """The best `request.top` of each query's hits for which the rules hold, and notes.

    The hits are read from the first on, FIRST_LOOK times as many as are listed and then twice as many
    again, until a query has its list or no hit is left. So a full list is the one that all
    documents would give.
    """
    n_hits = hits.positions.shape[1]
    depths = np.full(len(queries), min(FIRST_LOOK * request.top, n_hits))
    looked_at = pd.DataFrame()
    while True:
        is_new = np.arange(n_hits) < depths[:, None]
        wanted = np.setdiff1d(hits.positions[is_new], looked_at.index.to_numpy(dtype=int))
        looked_at = pd.concat([looked_at, _read_positions(wanted, plan, vectors)]).fillna("")
        kept, notes = _keep_what_holds(hits.positions, depths, looked_at, plan, queries, request)
        is_short = (kept.sum(axis=1) < request.top) & (depths < n_hits)
        if not is_short.any():
            break
        depths[is_short] = np.minimum(2 * depths[is_short], n_hits)
    notes.append(
        f"{len(looked_at):,} of {len(vectors):,} {plan.name} were read to see whether they meet "
        f"{', '.join(request.rules)}"
    )
    n_short = int((kept.sum(axis=1) < request.top).sum())
    if n_short and n_hits < len(vectors):
        notes.append(
            f"{n_short:,} of {len(queries):,} queries have fewer than {request.top} rows: no more of their "
            f"best {n_hits:,} {plan.name} do; others may, further down"
        )
    # best first, what was kept before what was not
    order = np.argsort(~kept, axis=1, kind="stable")[:, : request.top]
    positions = np.where(kept, hits.positions, -1)
    return (
        Hits(
            np.take_along_axis(positions, order, axis=1),
            np.take_along_axis(hits.scores, order, axis=1),
        ),
        notes,
    )


def _keep_what_holds(
    positions: np.ndarray,
    depths: np.ndarray,
    looked_at: pd.DataFrame,
    plan: ShardPlan,
    queries: pd.DataFrame,
    request: RankRequest,
) -> tuple[np.ndarray, list[str]]:
    """(Q, K) whether a hit was looked at and the rules hold for it, and the notes of `require`."""
    side = task_queries(request.task)
    rule, tables, notes = require(
        request.rules,
        **{side: queries, plan.name: looked_at},
        keep_not_stated=request.keep_not_stated,
    )
    kept = np.zeros(positions.shape, dtype=bool)
    for start in range(0, len(queries), BLOCK):
        block = tables[side].iloc[start : start + BLOCK]
        both = tables | {side: block}
        holds = rule.holds(both["jobs"], both["resumes"])
        holds = holds if side == "jobs" else holds.T
        for query, row in enumerate(holds, start):
            hits = positions[query, : depths[query]]
            kept[query, : depths[query]] = row[looked_at.index.get_indexer(hits)]
    return kept, notes


def _read_positions(
    positions: np.ndarray, plan: ShardPlan, vectors: ShardedVectors
) -> pd.DataFrame:
    """The table of the documents at some positions, indexed by them."""
    if not len(positions):
        return pd.DataFrame()
    listed = vectors.documents_at(positions)
    table = read_again(plan, listed).set_index(plan.key, drop=False)
    return table.loc[listed["id"]].set_index(positions)


def read_again(plan: ShardPlan, listed: pd.DataFrame) -> pd.DataFrame:
    """The table of some embedded documents (id, file, line). Raises DataError where one is gone."""
    table = plan.read_some(listed)
    gone = listed[~listed["id"].isin(table[plan.key])]
    if len(gone):
        raise DataError(
            f"{len(gone):,} of {len(listed):,} listed {plan.name} are no longer where they were embedded "
            f"from, first {gone['id'].iloc[0]!r} in {plan.folder / gone['file'].iloc[0]}; run matchlib "
            f"embed again (a list without reasons or rules needs no texts: --no-explain)"
        )
    return table


def _count_changed(table: pd.DataFrame, listed: pd.DataFrame, plan: ShardPlan) -> int:
    now = table.set_index(plan.key)["text"].loc[listed["id"]]
    hashes = [text_hash(text) for text in now]
    return sum(a != b for a, b in zip(hashes, listed["text_hash"], strict=True))
