"""Search: BM25, dense, and hybrids of the two, over the whole corpus or a pool a query."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import Stemmer
from sklearn.feature_extraction.text import TfidfVectorizer, strip_accents_unicode

from matchlib.data.schema import DataError
from matchlib.data.words import spaced, token_pattern

# where JAX is installed, bm25s starts it, and it would take three quarters of the GPU's memory from
# everything else
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
import bm25s

STOP_WORDS = (
    "english",
    "german",
    "dutch",
    "french",
    "spanish",
    "portuguese",
    "italian",
    "russian",
    "swedish",
    "norwegian",
    "turkish",
)
RRF_K = 60
"""Constant of reciprocal rank fusion (Cormack, Clarke, Buettcher, SIGIR 2009)."""


@dataclass(frozen=True)
class Hits:
    """The best candidates of every query.

    positions: (Q, K) int index into the candidates, -1 where a query has fewer than K; scores: (Q,
    K) float32.
    """

    positions: np.ndarray
    scores: np.ndarray


def search_bm25(
    queries: Sequence[str],
    candidates: Sequence[str],
    *,
    depth: int | None = None,
    pools: list[np.ndarray] | None = None,
    language: str = "english",
    segment: str = "characters",
    k1: float = 1.5,
    b: float = 0.75,
) -> Hits:
    """Rank candidates by BM25 (bm25s, Lucene's form) with stop words and stemming.

    depth: hits a query (None: all); pools: (Q,) lists of candidate positions to choose from.
    language: english, spanish, german, ... (stemming by Snowball; stop words where bm25s has them).
    segment: how Chinese and other scripts without spaces are cut, see `data.words.spaced`.
    """
    rows = bm25_rows(queries, candidates, language=language, segment=segment, k1=k1, b=b)
    return best_of(rows, len(queries), len(candidates), depth, pools)


def bm25_rows(
    queries: Sequence[str],
    candidates: Sequence[str],
    *,
    language: str = "english",
    segment: str = "characters",
    k1: float = 1.5,
    b: float = 0.75,
) -> Iterator[np.ndarray]:
    """(N,) float32 BM25 scores of all candidates, a query at a time; options as in search_bm25."""
    if language not in Stemmer.algorithms():
        raise DataError(f"language {language!r} is not one of {', '.join(Stemmer.algorithms())}")
    options = {
        "stopwords": language if language in STOP_WORDS else [],
        "stemmer": Stemmer.Stemmer(language),
    }
    tokens, index = _tokens(candidates, segment, options), bm25s.BM25(k1=k1, b=b)
    if not any(tokens):
        raise DataError(
            "no candidate holds a word that BM25 counts; are the texts empty, or only stop words?"
        )
    index.index(tokens, show_progress=False)
    return (
        index.get_scores(asked) if asked else np.zeros(len(candidates), dtype=np.float32)
        for asked in _tokens(queries, segment, options)
    )


def bm25_words_rows(queries: Sequence[str], candidates: Sequence[str]) -> Iterator[np.ndarray]:
    """(N,) float32 BM25 scores, a query at a time, of words as they stand between spaces, without
    capital letters and accents: no stop words, no stems.

    Source: MELO's BM25 (rank_bm25's BM25Okapi: Robertson's weights of words, k1 1.5, b .75).
    """
    tokens = [_plain_words(text) for text in candidates]
    index = bm25s.BM25(method="robertson", k1=1.5, b=0.75)
    index.index(tokens, show_progress=False)
    return (index.get_scores(_plain_words(query)) for query in queries)


def _plain_words(text: str) -> list[str]:
    return strip_accents_unicode(text.lower()).split(" ")


def tf_idf_rows(
    queries: Sequence[str], candidates: Sequence[str], *, analyzer: str
) -> Iterator[np.ndarray]:
    """(N,) float32 cosines of TF-IDF vectors, a query at a time, without capital letters and accents.

    analyzer: word, or char for runs of 1 to 3 characters. Source: MELO's two TF-IDF baselines, which
    are scikit-learn's vectoriser with its default weights, fitted on the candidates.
    """
    lengths = (1, 3) if analyzer == "char" else (1, 1)
    vectorizer = TfidfVectorizer(
        analyzer=analyzer, ngram_range=lengths, strip_accents="unicode", dtype=np.float32
    )
    indexed = vectorizer.fit_transform(candidates)
    asked = vectorizer.transform(queries)
    return ((indexed @ asked[[row]].T).toarray().ravel() for row in range(asked.shape[0]))


def _tokens(texts: Sequence[str], segment: str, options: dict) -> list[list[str]]:
    return bm25s.tokenize(
        [spaced(text, segment=segment) for text in texts],
        token_pattern=token_pattern(),
        return_ids=False,
        show_progress=False,
        **options,
    )


def search_dense(
    queries: np.ndarray,
    candidates: np.ndarray,
    *,
    depth: int | None = None,
    pools: list[np.ndarray] | None = None,
) -> Hits:
    """Rank candidates by inner product (cosine of unit vectors) with faiss, exactly.

    queries (Q, dim), candidates (N, dim) float32; depth: hits a query (None: all); pools as in
    search_bm25.
    Raises ValueError on a NaN, which faiss would turn into a query without hits.
    """
    if np.isnan(queries).any() or np.isnan(candidates).any():
        raise ValueError(
            "embeddings hold NaN; the model or its input is broken, so nothing is searched"
        )
    if pools is not None:
        scores = (candidates @ query for query in queries)
        return best_of(scores, len(queries), len(candidates), depth, pools)
    import faiss

    index = faiss.IndexFlatIP(candidates.shape[1])
    index.add(np.ascontiguousarray(candidates, dtype=np.float32))
    scores, positions = index.search(
        np.ascontiguousarray(queries, dtype=np.float32),
        min(depth or len(candidates), len(candidates)),
    )
    return Hits(positions, scores)


def best_of(
    scores: Iterable[np.ndarray],
    n_queries: int,
    n_candidates: int,
    depth: int | None = None,
    pools: list[np.ndarray] | None = None,
) -> Hits:
    """Keep each query's best `depth` of its pool (None: all); scores: (Q, N), a row at a time in
    memory."""
    widest = max((len(pool) for pool in pools), default=0) if pools is not None else n_candidates
    width = min(depth or widest, widest)
    positions, best = (
        np.full((n_queries, width), -1),
        np.full((n_queries, width), -np.inf, dtype=np.float32),
    )
    for q, row in enumerate(scores):
        pool = np.asarray(pools[q]) if pools is not None else np.arange(n_candidates)
        order = pool[np.argsort(-row[pool], kind="stable")[:width]]
        positions[q, : len(order)], best[q, : len(order)] = order, row[order]
    return Hits(positions, best)


def fuse_by_rank(systems: Sequence[Hits], n_candidates: int, *, k: int = RRF_K) -> Hits:
    """Reciprocal rank fusion: score = sum over systems of 1 / (k + rank); ties within a system
    share a rank."""
    return _fuse(
        [_reciprocal_ranks(hits, n_candidates, k) for hits in systems],
        np.ones(len(systems)),
        systems,
    )


def fuse_by_weight(systems: Sequence[Hits], n_candidates: int, weights: Sequence[float]) -> Hits:
    """Weighted sum of the systems' scores, each standardised over a query's hits; a missing hit
    gets the least."""
    return _fuse(
        [_standardised(hits, n_candidates) for hits in systems],
        np.asarray(weights, dtype=float),
        systems,
    )


def _fuse(scores: list[np.ndarray], weights: np.ndarray, systems: Sequence[Hits]) -> Hits:
    total = sum(w * s for w, s in zip(weights, scores, strict=True)).astype(np.float32)
    found = np.zeros(total.shape, dtype=bool)
    for hits in systems:
        row, column = np.nonzero(hits.positions >= 0)
        found[row, hits.positions[row, column]] = True
    total[~found] = -np.inf
    width = int(found.sum(1).max())
    order = np.argsort(-total, axis=1, kind="stable")[:, :width]
    best = np.take_along_axis(total, order, axis=1)
    return Hits(np.where(np.isneginf(best), -1, order), best)


def _reciprocal_ranks(hits: Hits, n_candidates: int, k: int) -> np.ndarray:
    out = np.zeros((len(hits.positions), n_candidates))
    for q, (found, scores) in enumerate(zip(hits.positions, hits.scores, strict=True)):
        found, scores = found[found >= 0], scores[found >= 0]
        better = np.searchsorted(np.sort(-scores), -scores, side="left")
        out[q, found] = 1.0 / (k + 1 + better)
    return out


def _standardised(hits: Hits, n_candidates: int) -> np.ndarray:
    out = np.zeros((len(hits.positions), n_candidates))
    for q, (found, scores) in enumerate(zip(hits.positions, hits.scores, strict=True)):
        found, scores = found[found >= 0], scores[found >= 0].astype(float)
        if not len(found):
            continue
        standard = (scores - scores.mean()) / (scores.std() or 1.0)
        out[q] = standard.min()
        out[q, found] = standard
    return out
