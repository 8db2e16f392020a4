"""The systems of the leaderboard: keywords, encoders, a trivial rule, and mixtures of two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.retrieval.corpus import Corpus, HitsByTask
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.metrics import qrels_from_labels, score_queries, tie_break
from matchlib.retrieval.search import (
    best_of,
    bm25_words_rows,
    fuse_by_rank,
    fuse_by_weight,
    search_bm25,
    search_dense,
    tf_idf_rows,
)

WEIGHTS = tuple(round(0.1 * i, 1) for i in range(11))
"""Weights of the second system that `tune_mix` tries."""


def bm25(corpus: Corpus, *, language: str = "english", segment: str = "characters") -> HitsByTask:
    """BM25 in the corpus's tasks; language and segment as in `search_bm25`."""
    hits = {}
    for task in corpus.tasks:
        queries, candidates = corpus.sides(task)
        hits[task] = search_bm25(
            queries.texts,
            candidates.texts,
            pools=corpus.pool(task),
            language=language,
            segment=segment,
        )
    return hits


def _chance_rows(queries: Sequence[str], candidates: Sequence[str]) -> Iterator[np.ndarray]:
    """Another random order of the candidates for every query, by its text alone."""
    rng = np.random.default_rng(tie_break(queries))
    return (rng.random(len(candidates), dtype=np.float32) for _ in queries)


FURTHER: dict[str, Callable[[Sequence[str], Sequence[str]], Iterable[np.ndarray]]] = {
    "bm25_words": bm25_words_rows,
    "word_tf_idf": partial(tf_idf_rows, analyzer="word"),
    "char_tf_idf": partial(tf_idf_rows, analyzer="char"),
    "random": _chance_rows,
}
"""Systems that train nothing, by name: MELO's lexical baselines, and chance."""


def further(corpus: Corpus, names: Sequence[str]) -> dict[str, HitsByTask]:
    """What the named systems of FURTHER find. Raises DataError on another name."""
    found = {}
    for name in names:
        if name not in FURTHER:
            raise DataError(f"further system {name!r} is not one of {', '.join(FURTHER)}")
        hits = {}
        for task in corpus.tasks:
            queries, candidates = corpus.sides(task)
            rows = FURTHER[name](queries.texts, candidates.texts)
            n_queries = len(queries.documents)
            n_candidates = len(candidates.documents)
            hits[task] = best_of(rows, n_queries, n_candidates, pools=corpus.pool(task))
        found[name] = hits
    return found


def dense(corpus: Corpus, encoder: Encoder) -> HitsByTask:
    """An encoder in the corpus's tasks: cosine of the documents' vectors."""
    jobs = encoder.encode_jobs(list(corpus.jobs["text"]))
    resumes = encoder.encode_resumes(list(corpus.resumes["text"]))
    hits = {}
    for task in corpus.tasks:
        queries, candidates = (jobs, resumes) if task == "rank_resumes" else (resumes, jobs)
        hits[task] = search_dense(queries, candidates, pools=corpus.pool(task))
    return hits


def count_lines(texts: pd.Series) -> np.ndarray:
    """(n,) int number of lines that are not blank; blank ones say how a file was made."""
    return texts.str.count(r"(?m)^.*\S").to_numpy()


def line_count(corpus: Corpus) -> HitsByTask:
    """The trivial system: the candidate with more lines is better, whatever the query."""
    hits = {}
    for task in corpus.tasks:
        queries, candidates = corpus.sides(task)
        n_queries = len(queries.documents)
        lines = count_lines(candidates.documents["text"]).astype(np.float32)
        scores = (lines for _ in range(n_queries))
        hits[task] = best_of(scores, n_queries, len(lines), pools=corpus.pool(task))
    return hits


def mix(corpus: Corpus, first: HitsByTask, second: HitsByTask, *, weight: float) -> HitsByTask:
    """(1 - weight) of the first system's standardised scores, and weight of the second's."""
    mixed = {}
    for task in corpus.tasks:
        _, candidates = corpus.sides(task)
        systems = [first[task], second[task]]
        mixed[task] = fuse_by_weight(systems, len(candidates.documents), [1 - weight, weight])
    return mixed


def mix_by_rank(corpus: Corpus, first: HitsByTask, second: HitsByTask) -> HitsByTask:
    """Two systems by reciprocal rank fusion, which has no weight to tune."""
    mixed = {}
    for task in corpus.tasks:
        _, candidates = corpus.sides(task)
        mixed[task] = fuse_by_rank([first[task], second[task]], len(candidates.documents))
    return mixed


def tune_mix(
    corpus: Corpus, first: HitsByTask, second: HitsByTask, labels: pd.DataFrame
) -> pd.DataFrame:
    """Validation nDCG@10 of every weight: a frame weight, ndcg (the mean of both tasks)."""
    rows = []
    for weight in WEIGHTS:
        rankings = corpus.rank(mix(corpus, first, second, weight=weight))
        means = []
        for task, ranking in rankings.items():
            scores = score_queries(ranking, qrels_from_labels(labels, task), ["nDCG@10"])
            means.append(scores["value"].mean())
        rows.append({"weight": weight, "ndcg": float(np.mean(means))})
    return pd.DataFrame(rows)


def tune_mixtures(
    corpus: Corpus, encoder: Encoder, labels: pd.DataFrame, *, language: str, segment: str
) -> pd.DataFrame:
    """`tune_mix` of keywords with the number of lines (bm25_length) and with an encoder (hybrid).

    corpus, labels: of validation; language and segment as in `search_bm25`. Returns weight, ndcg,
    system; no row where no pair was accepted.
    """
    if not (labels["label"] == 1).any():
        return pd.DataFrame(columns=["weight", "ndcg", "system"])
    keywords = bm25(corpus, language=language, segment=segment)
    by_length = tune_mix(corpus, keywords, line_count(corpus), labels)
    by_vectors = tune_mix(corpus, keywords, dense(corpus, encoder), labels)
    return pd.concat(
        [by_length.assign(system="bm25_length"), by_vectors.assign(system="hybrid")],
        ignore_index=True,
    )


def best_weights(tuned: pd.DataFrame) -> dict[str, float]:
    """{system: `best_weight`} of a table of `tune_mixtures`."""
    weights = {}
    for system, rows in tuned.groupby("system", sort=False):
        weights[system] = best_weight(rows)
    return weights


def mixtures(
    corpus: Corpus, keywords: HitsByTask, vectors: HitsByTask, *, weights: Mapping[str, float]
) -> dict[str, HitsByTask]:
    """The systems that mix two others: bm25_length and hybrid, where they were tuned, and hybrid_rrf.

    weights: of `best_weights`.
    """
    found = {}
    if "bm25_length" in weights:
        lines = line_count(corpus)
        found["bm25_length"] = mix(corpus, keywords, lines, weight=weights["bm25_length"])
    if "hybrid" in weights:
        found["hybrid"] = mix(corpus, keywords, vectors, weight=weights["hybrid"])
    found["hybrid_rrf"] = mix_by_rank(corpus, keywords, vectors)
    return found


def best_weight(tuned: pd.DataFrame) -> float:
    """The weight with the best validation score, the smallest of equals."""
    return float(tuned.loc[tuned["ndcg"].idxmax(), "weight"])


def score_matrix(hits: HitsByTask, corpus: Corpus) -> np.ndarray:
    """(J, R) scores of rank_resumes; -inf where a resume was not retrieved."""
    found = hits["rank_resumes"]
    scores = np.full((len(corpus.jobs), len(corpus.resumes)), -np.inf)
    row, column = np.nonzero(found.positions >= 0)
    scores[row, found.positions[row, column]] = found.scores[row, column]
    return scores
