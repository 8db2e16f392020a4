"""Hard negatives from an encoder's own ranking: runner-up mining (ConFit v2, arXiv 2502.12361, 3.3)
and its baselines.

Scores come as rows: a function that starts an iteration over the (N,) scores of one query after the
other, so that a (Q, N) matrix is never in memory. Every miner returns a frame of numbers,
`as_table` turns them into ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.retrieval.search import bm25_rows

Rows = Callable[[], Iterable[np.ndarray]]
BLOCK_BYTES = 2**27
"""Scores that are held at once by dense_rows."""


class Picks(NamedTuple):
    """What was drawn for one query: positions, scores and ranks of candidates, among n_candidates."""

    query: int
    candidates: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    n_candidates: int


def dense_rows(queries: np.ndarray, candidates: np.ndarray) -> Rows:
    """Inner products of queries (Q, dim) and candidates (N, dim), computed by blocks of queries,
    yielded one by one."""
    _require_finite(queries, candidates)
    size = max(1, BLOCK_BYTES // (4 * len(candidates)))

    def rows() -> Iterator[np.ndarray]:
        for start in range(0, len(queries), size):
            yield from queries[start : start + size] @ candidates.T

    return rows


def keyword_rows(queries: Sequence[str], candidates: Sequence[str], **options: str) -> Rows:
    """BM25 scores; options as in `search_bm25`."""
    return lambda: bm25_rows(queries, candidates, **options)


def runner_ups(
    rows: Rows,
    *,
    low: float,
    high: float,
    n: int,
    rng: np.random.Generator,
    masks: Sequence[np.ndarray] | None = None,
    pools: Sequence[np.ndarray] | None = None,
) -> pd.DataFrame:
    """Draw n candidates a query, without repeats, from its percentile band low..high of all that
    are not masked.

    The band of a query with c candidates is ranks int(low c) .. int(high c) - 1, counted from 0,
    equal scores in the order of the candidates; where that is empty or, by rounding, the top one,
    the nearest rank below the top (a pool of 20 has no 3-4%, but never its best candidate instead).
    A query with fewer than 2 candidates raises DataError.
    masks: (Q,) positions that may not be drawn and do not count; pools: (Q,) positions to choose
    from.
    Returns query, candidate (positions), score, rank (from 1), percentile (rank / c).
    """
    check_band(low, high)
    parts = []
    for query, positions, scores in _unmasked(rows, masks, pools):
        start, stop = band(len(scores), low, high)
        in_band = _best(scores, stop)[start:]
        drawn = _draw(len(in_band), n, rng)
        chosen = in_band[drawn]
        ranks = start + drawn + 1
        parts.append(Picks(query, positions[chosen], scores[chosen], ranks, len(scores)))
    return as_frame(parts)


def _draw(n_candidates: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """At most n different numbers below n_candidates, sorted."""
    n_drawn = min(n, n_candidates)
    return np.sort(rng.choice(n_candidates, n_drawn, replace=False, shuffle=False))


def sampled_runner_ups(  # noqa: PLR0913 (runner_ups' own, and the size of the sample)
    queries: np.ndarray,
    candidates: np.ndarray,
    *,
    low: float,
    high: float,
    n: int,
    rng: np.random.Generator,
    masks: Sequence[np.ndarray] | None = None,
    sample: int = 8192,
    block: int = 1024,
) -> pd.DataFrame:
    """runner_ups of a uniform draw of `sample` candidates for every `block` of queries; the cost
    leaves out N.

    A rank band of a uniform sample is a uniform draw of about the same band of the whole: a pick
    that stands at percentile p of m sampled candidates stands at p +- sqrt(p (1 - p) / m) of all
    (one standard error of the binomial; p = .035, m = 8192: .0020), so with m = 8192 hardly one in
    a million lies a whole point off the band. queries (Q, dim), candidates (N, dim) float32; masks
    as in runner_ups. Memory beyond them: sample x (dim + block) numbers. Returns runner_ups' frame;
    score is exact, rank (among all) and percentile are the sample's estimates.
    """
    check_band(low, high)
    if sample < 2:
        raise DataError(f"sample is {sample}; at least 2 candidates must be drawn")
    _require_finite(queries)
    parts = []
    for first in range(0, len(queries), block):
        drawn = np.sort(
            rng.choice(
                len(candidates),
                min(sample, len(candidates)),
                replace=False,
            )
        )
        here = slice(first, first + block)
        masks_here = None
        if masks is not None:
            masks_here = [_positions_in(drawn, mask) for mask in masks[here]]
        rows = dense_rows(queries[here], np.ascontiguousarray(candidates[drawn]))
        picks = runner_ups(rows, low=low, high=high, n=n, rng=rng, masks=masks_here)
        parts.append(
            picks.assign(
                query=picks["query"] + first,
                candidate=drawn[picks["candidate"]],
                rank=np.ceil(picks["percentile"] * len(candidates)).astype(int),
            )
        )
    return pd.concat(parts, ignore_index=True)


def top_ranked(
    rows: Rows,
    *,
    k: int,
    n: int,
    rng: np.random.Generator,
    masks: Sequence[np.ndarray] | None = None,
    pools: Sequence[np.ndarray] | None = None,
) -> pd.DataFrame:
    """Draw n of the k best candidates of every query, masked ones left out; columns as in
    runner_ups."""
    parts = []
    for query, positions, scores in _unmasked(rows, masks, pools):
        best = _best(scores, min(k, len(scores)))
        drawn = _draw(len(best), n, rng)
        chosen = best[drawn]
        parts.append(
            Picks(
                query,
                positions[chosen],
                scores[chosen],
                drawn + 1,
                len(scores),
            )
        )
    return as_frame(parts)


def random_candidates(
    rows: Rows,
    *,
    n: int,
    rng: np.random.Generator,
    masks: Sequence[np.ndarray] | None = None,
    pools: Sequence[np.ndarray] | None = None,
) -> pd.DataFrame:
    """Draw n candidates of every query from all that are not masked; columns as in runner_ups."""
    parts = []
    for query, positions, scores in _unmasked(rows, masks, pools):
        drawn = _draw(len(scores), n, rng)
        ranks = ranks_of(scores)[drawn]
        parts.append(
            Picks(
                query,
                positions[drawn],
                scores[drawn],
                ranks,
                len(scores),
            )
        )
    return as_frame(parts)


def known_positives(
    queries: pd.DataFrame,
    query_id: str,
    candidates: pd.DataFrame,
    candidate_id: str,
    labels: pd.DataFrame,
) -> list[np.ndarray]:
    """(Q,) candidates that are no negatives of a query, for `masks`: accepted by it or by a query
    with its text, any with the text of such a candidate, and any with the query's own text.

    queries, candidates: jobs and resumes or the reverse; labels: job_id, resume_id, label.
    """
    accepted = labels[labels["label"] == 1]
    text_of_query = queries.set_index(query_id)["text"]
    text_of_candidate = candidates.set_index(candidate_id)["text"]
    accepted = accepted[accepted[query_id].isin(text_of_query.index)]
    accepted = accepted[accepted[candidate_id].isin(text_of_candidate.index)]
    accepted_texts = pd.DataFrame(
        {
            "query": text_of_query.loc[accepted[query_id]].to_numpy(),
            "candidate": text_of_candidate.loc[accepted[candidate_id]].to_numpy(),
        }
    )
    texts_of_query = accepted_texts.groupby("query")["candidate"].agg(set).to_dict()
    positions_of_text = candidates.groupby("text").indices
    masks = []
    for text in queries["text"]:
        positions = [np.empty(0, dtype=int)]
        for excluded in texts_of_query.get(text, set()) | {text}:
            if excluded in positions_of_text:
                positions.append(positions_of_text[excluded])
        masks.append(np.sort(np.concatenate(positions)))
    return masks


def as_table(
    picks: pd.DataFrame,
    query_ids: Sequence[str],
    candidate_ids: Sequence[str],
    *,
    task: str,
    miner: str,
) -> pd.DataFrame:
    """The one table of every miner: query_id, candidate_id, task, score, rank, percentile, miner;
    never text."""
    return pd.DataFrame(
        {
            "query_id": np.asarray(query_ids, dtype=object)[picks["query"]],
            "candidate_id": np.asarray(candidate_ids, dtype=object)[picks["candidate"]],
            "task": task,
            **{name: picks[name].to_numpy() for name in ("score", "rank", "percentile")},
            "miner": miner,
        }
    )


def band(n: int, low: float, high: float) -> tuple[int, int]:
    """First rank and end, from 0, of the percentile band of n candidates; never empty, see
    runner_ups."""
    if n < 2:
        raise DataError(
            f"{n} candidates are left to mine from; runner-ups need at least 2: bring larger pools, or "
            f"leave the query out"
        )
    start, stop = int(low * n), int(high * n)
    if low > 0 or stop <= start:  # the top is in the band by rounding only
        start = min(max(start, 1), n - 1)
    return start, max(stop, start + 1)


def check_band(low: float, high: float) -> None:
    """Raise DataError unless 0 <= low < high <= 1."""
    if not 0 <= low < high <= 1:
        raise DataError(
            f"the band {low}..{high} is none; low and high are shares of the candidates, 0 <= low < high "
            f"<= 1, such as 0.03 and 0.04"
        )


def _unmasked(rows: Rows, masks, pools) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(query, positions, scores) of what may be drawn. Raises ValueError on a score that is not
    finite."""
    everything = np.empty(0, dtype=int)
    for query, row in enumerate(rows()):
        if len(everything) != len(row):
            everything = np.arange(len(row))
        mask = masks[query] if masks else ()
        positions = everything
        if pools is not None:
            positions = np.sort(pools[query])
            positions = positions[~np.isin(positions, mask)] if len(mask) else positions
        elif len(mask):
            positions = np.delete(everything, mask)
        scores = row if len(positions) == len(row) else row[positions]
        if not np.isfinite(scores @ scores):  # a tenth of the cost of looking at each
            raise ValueError(
                f"query {query} has a score that is not finite; nothing is mined from a broken model"
            )
        yield query, positions, scores


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k best scores, best first, equal ones in their order."""
    if k >= len(scores):
        return np.argsort(-scores, kind="stable")[:k]
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    good = np.flatnonzero(scores >= least)  # k, and more where scores are equal
    return good[np.argsort(-scores[good], kind="stable")[:k]]


def ranks_of(row: np.ndarray) -> np.ndarray:
    """(N,) ranks from 1, equal scores in their order."""
    ranks = np.empty(len(row), dtype=int)
    ranks[np.argsort(-row, kind="stable")] = np.arange(1, len(row) + 1)
    return ranks


def _positions_in(drawn: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The row numbers of the masked positions among the sorted drawn ones."""
    if not len(mask):
        return mask
    at = np.minimum(np.searchsorted(drawn, mask), len(drawn) - 1)
    return at[drawn[at] == mask]


def as_frame(parts: Sequence[Picks]) -> pd.DataFrame:
    """runner_ups' frame from the picks of every query."""
    sizes = [len(part.candidates) for part in parts]
    frame = pd.DataFrame(
        {
            "query": np.repeat([part.query for part in parts], sizes).astype(int),
            "candidate": _concatenate([part.candidates for part in parts], int),
            "score": _concatenate([part.scores for part in parts], np.float32),
            "rank": _concatenate([part.ranks for part in parts], int),
        }
    )
    n_candidates = np.repeat([part.n_candidates for part in parts], sizes)
    return frame.assign(percentile=frame["rank"] / n_candidates)


def _concatenate(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype=dtype), *arrays])


def _require_finite(*matrices: np.ndarray) -> None:
    for matrix in matrices:
        broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
        if len(broken):
            raise ValueError(
                f"embedding {int(broken[0])} is not finite; the model or its input is broken, so "
                f"nothing is mined"
            )
