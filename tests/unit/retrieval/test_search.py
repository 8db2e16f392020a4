"""BM25 against its formula, dense search against numpy, fusion by hand."""

import math
from collections import Counter

import bm25s
import numpy as np
import pytest
import Stemmer

from matchlib.data.schema import DataError
from matchlib.retrieval.search import (
    Hits,
    bm25_words_rows,
    fuse_by_rank,
    fuse_by_weight,
    search_bm25,
    search_dense,
    tf_idf_rows,
)

CORPUS = [
    "Python developer, Django and Flask",
    "Nurse for a children's ward",
    "Flask Flask Flask",
    "Developing pipelines in Python; Python tests",
    "Warehouse worker",
    "the and of",
]
QUERIES = ["python developers", "flask", "a nurse developing python", "Flask Flask python"]


def bm25_by_hand(query: str, *, k1: float = 1.5, b: float = 0.75) -> np.ndarray:
    """Lucene's BM25: idf = ln(1 + (N - df + .5) / (df + .5)), times tf / (tf + k1 (1 - b + b length / mean))."""

    def tokens(text):
        return bm25s.tokenize(
            [text],
            stopwords="en",
            stemmer=Stemmer.Stemmer("english"),
            return_ids=False,
            show_progress=False,
        )[0]

    documents = [Counter(tokens(text)) for text in CORPUS]
    mean = sum(d.total() for d in documents) / len(documents)
    scores = np.zeros(len(CORPUS))
    for word in tokens(query):
        df = sum(word in d for d in documents)
        idf = math.log(1 + (len(CORPUS) - df + 0.5) / (df + 0.5))
        scores += [
            idf * d[word] / (d[word] + k1 * (1 - b + b * d.total() / mean)) for d in documents
        ]
    return scores


def in_order(hits: Hits, n: int) -> np.ndarray:
    """(Q, N) scores by candidate; NaN where there was no hit."""
    out = np.full((len(hits.positions), n), np.nan)
    for row, found, scores in zip(out, hits.positions, hits.scores, strict=True):
        row[found[found >= 0]] = scores[found >= 0]
    return out


@pytest.mark.parametrize("k1, b", [(1.5, 0.75), (0.9, 0.4)])
def test_bm25_equals_the_formula(k1, b):
    hits = search_bm25(QUERIES, CORPUS, k1=k1, b=b)
    expected = np.array([bm25_by_hand(query, k1=k1, b=b) for query in QUERIES])
    np.testing.assert_allclose(in_order(hits, len(CORPUS)), expected, rtol=1e-5, atol=1e-7)
    assert (np.diff(hits.scores, axis=1) <= 0).all()
    assert (expected > 0).any(axis=1).all()


def test_bm25_keeps_the_best_to_a_depth():
    full, cut = search_bm25(QUERIES, CORPUS), search_bm25(QUERIES, CORPUS, depth=2)
    assert cut.positions.shape == (4, 2)
    np.testing.assert_array_equal(cut.positions, full.positions[:, :2])
    assert search_bm25(QUERIES, CORPUS, depth=99).positions.shape == (4, 6)


def test_a_query_without_a_known_word_scores_every_candidate_0():
    hits = search_bm25(["zebra quagga", "the of", ""], CORPUS)
    assert hits.positions.shape == (3, 6) and (hits.scores == 0).all()


def test_a_corpus_without_a_countable_word_raises():
    with pytest.raises(DataError, match="stop words"):
        search_bm25(["nurse"], ["the of", "and"])


@pytest.mark.parametrize("search", ["bm25", "dense"])
def test_pools_restrict_the_candidates_and_keep_their_scores(search):
    pools = [np.array([5, 3]), np.array([], dtype=int), np.array([1, 0, 2]), np.array([4])]
    rng = np.random.default_rng(0)
    sides = (QUERIES, CORPUS) if search == "bm25" else rng.normal(size=(2, 6, 8)).astype(np.float32)
    run = search_bm25 if search == "bm25" else search_dense
    queries = sides[0][:4]
    full = in_order(run(queries, sides[1]), 6)
    for depth in (None, 2):
        hits = run(queries, sides[1], pools=pools, depth=depth)
        assert hits.positions.shape[1] == (depth or 3)
        for q, pool in enumerate(pools):
            best = sorted(pool, key=lambda i, q=q: (-full[q, i], list(pools[q]).index(i)))[:depth]
            found = hits.positions[q][hits.positions[q] >= 0]
            assert found.tolist() == best
            np.testing.assert_allclose(hits.scores[q, : len(best)], full[q, best], rtol=1e-5)
            assert np.isneginf(hits.scores[q, len(best) :]).all()


def test_dense_equals_argsort_of_inner_products():
    rng = np.random.default_rng(1)
    queries, candidates = (rng.normal(size=(n, 24)).astype(np.float32) for n in (7, 300))
    scores = queries.astype(float) @ candidates.astype(float).T
    hits = search_dense(queries, candidates)
    np.testing.assert_array_equal(hits.positions, np.argsort(-scores, axis=1))
    np.testing.assert_allclose(hits.scores, -np.sort(-scores, axis=1), atol=1e-4)
    np.testing.assert_array_equal(
        search_dense(queries, candidates, depth=5).positions, hits.positions[:, :5]
    )
    assert search_dense(queries, candidates, depth=1000).positions.shape == (7, 300)


@pytest.mark.parametrize("side", [0, 1])
def test_dense_refuses_nan(side):
    sides = [np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)]
    sides[side][1, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        search_dense(*sides)


# ---- fusion --------------------------------------------------------------------------------------------

FIRST = Hits(np.array([[2, 0, 1, -1]]), np.array([[9.0, 5.0, 5.0, -np.inf]], dtype=np.float32))
SECOND = Hits(np.array([[0, 3]]), np.array([[0.8, 0.1]], dtype=np.float32))


def test_fuse_by_rank_is_the_formula():
    fused = fuse_by_rank([FIRST, SECOND], 6)
    # 0 and 1 tie in the first system and share rank 2; 4 and 5 were found by neither
    expected = {0: 1 / 62 + 1 / 61, 2: 1 / 61, 1: 1 / 62, 3: 1 / 62}
    assert fused.positions[0, :2].tolist() == [0, 2] and set(fused.positions[0, 2:]) == {1, 3}
    for candidate, score in zip(fused.positions[0], fused.scores[0], strict=True):
        assert score == pytest.approx(expected[candidate], rel=1e-6)
    assert fuse_by_rank([FIRST, SECOND], 6, k=0).scores[0, 0] == pytest.approx(1 / 2 + 1)


def test_fuse_by_rank_ignores_the_order_of_systems_and_of_hits():
    shuffled = Hits(FIRST.positions[:, [3, 1, 0, 2]], FIRST.scores[:, [3, 1, 0, 2]])
    np.testing.assert_allclose(
        in_order(fuse_by_rank([SECOND, shuffled], 6), 6),
        in_order(fuse_by_rank([FIRST, SECOND], 6), 6),
    )


def random_hits(seed: int, *, depth: int = 12, scale: float = 1.0, shift: float = 0.0) -> Hits:
    scores = np.random.default_rng(seed).normal(size=(5, 12)).astype(np.float32) * scale + shift
    order = np.argsort(-scores, axis=1)[:, :depth]
    return Hits(order, np.take_along_axis(scores, order, axis=1))


def test_fuse_by_weight_0_and_1_reproduce_each_system():
    first, second = random_hits(0), random_hits(1, scale=100, shift=-7)
    np.testing.assert_array_equal(
        fuse_by_weight([first, second], 12, [1, 0]).positions, first.positions
    )
    np.testing.assert_array_equal(
        fuse_by_weight([first, second], 12, [0, 1]).positions, second.positions
    )


def test_fuse_by_weight_does_not_depend_on_the_scale_of_a_system():
    first, second = random_hits(0), random_hits(1)
    scaled = Hits(second.positions, second.scores * 40 + 3)
    np.testing.assert_allclose(
        fuse_by_weight([first, scaled], 12, [0.3, 0.7]).scores,
        fuse_by_weight([first, second], 12, [0.3, 0.7]).scores,
        atol=1e-4,
    )


def test_fuse_by_weight_by_hand_gives_a_missing_hit_the_least():
    fused = in_order(fuse_by_weight([FIRST, SECOND], 6, [0.5, 0.5]), 6)[0]
    mean, spread = np.mean([9, 5, 5]), np.std([9, 5, 5])
    first = {c: (s - mean) / spread for c, s in {2: 9, 0: 5, 1: 5, 3: 5}.items()}
    second = {0: 1.0, 3: -1.0, 1: -1.0, 2: -1.0}
    expected = [(first[c] + second[c]) / 2 for c in range(4)]
    np.testing.assert_allclose(fused, [*expected, np.nan, np.nan], atol=1e-6)


def test_fusion_copes_with_a_query_that_one_system_cannot_answer_and_with_equal_scores():
    silent = Hits(np.full((1, 2), -1), np.full((1, 2), -np.inf, dtype=np.float32))
    level = Hits(np.array([[3, 1]]), np.array([[0.1, 0.1]], dtype=np.float32))
    for fused in (fuse_by_rank([silent, level], 4), fuse_by_weight([silent, level], 4, [0.5, 0.5])):
        assert sorted(fused.positions[0]) == [1, 3] and np.isfinite(fused.scores).all()
        assert fused.scores[0, 0] == fused.scores[0, 1]


def test_plain_words_are_weighed_as_robertson_has_it():
    names = ["ward nurse", "nurse", "Café cook", "school cook", "bus driver", "ward  cook"]
    documents = [name.lower().replace("é", "e").split(" ") for name in names]
    mean = sum(map(len, documents)) / len(documents)
    for query in ("Ward nurse", "cafe cook cook", "nurses", ""):
        expected = np.zeros(len(names))
        for word in query.lower().split(" "):
            df = sum(word in document for document in documents)
            idf = max(0.0, math.log((len(names) - df + 0.5) / (df + 0.5)))
            for i, document in enumerate(documents):
                tf = document.count(word)
                norm = 1.5 * (1 - 0.75 + 0.75 * len(document) / mean)
                expected[i] += idf * tf / (tf + norm) if df else 0
        (scores,) = bm25_words_rows([query], names)
        assert scores == pytest.approx(expected, abs=1e-6), query


def test_tf_idf_of_words_and_of_characters_by_hand():
    names = ["ward nurse", "nurse"]
    idf_ward = math.log(3 / 2) + 1
    (scores,) = tf_idf_rows(["Nurse"], names, analyzer="word")
    assert scores == pytest.approx([1 / math.hypot(idf_ward, 1), 1.0], abs=1e-6)
    (scores,) = tf_idf_rows(["nurses"], names, analyzer="word")
    assert not scores.any()
    (scores,) = tf_idf_rows(["nurses"], names, analyzer="char")
    assert scores[1] > scores[0] > 0
