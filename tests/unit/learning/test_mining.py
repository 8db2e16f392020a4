"""Miners against brute force, ties and masks included; bands of samples against the binomial; what must never come."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matchlib.data.schema import DataError
from matchlib.learning import mining
from matchlib.learning.mining import (
    band,
    dense_rows,
    keyword_rows,
    runner_ups,
    sampled_runner_ups,
)
from matchlib.retrieval.search import search_bm25


def whole_numbers(rng, n, dim=3):
    """Embeddings whose products are exact in any order of adding up, and often equal."""
    return rng.integers(-2, 3, (n, dim)).astype(np.float32)


def brute_band(scores, masked, low, high):
    """Candidates of the band in order, by sorting everything that is not masked."""
    free = [c for c in range(len(scores)) if c not in set(masked)]
    order = sorted(free, key=lambda c: (-scores[c], c))
    start, stop = int(low * len(order)), int(high * len(order))
    if low > 0 or start == stop:
        start = max(start, 1)
    return order[start : max(stop, start + 1)]


@pytest.mark.parametrize("seed", range(20))
def test_exact_bands_are_brute_forces_ties_and_masks_included(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(mining, "BLOCK_BYTES", 4 * 60 * 3)  # three queries at a time
    queries, candidates = whole_numbers(rng, 7), whole_numbers(rng, 60)
    masks = [rng.choice(60, rng.integers(0, 30), replace=False) for _ in queries]
    low, high = sorted(rng.choice(20, 2, replace=False) / 20)
    picks = runner_ups(
        dense_rows(queries, candidates), low=low, high=high, n=60, rng=rng, masks=masks
    )
    scores = queries @ candidates.T
    for q, found in picks.groupby("query"):
        wanted = brute_band(scores[q], masks[q], low, high)
        assert found["candidate"].tolist() == wanted
        assert found["score"].tolist() == scores[q, wanted].tolist()
        n = 60 - len(masks[q])
        assert found["rank"].tolist() == list(
            range(found["rank"].min(), found["rank"].min() + len(wanted))
        )
        assert found["percentile"].tolist() == (found["rank"] / n).tolist()
    assert picks["query"].nunique() == 7


def test_a_pool_is_the_whole_world_of_its_query():
    rng = np.random.default_rng(0)
    queries, candidates = whole_numbers(rng, 4), whole_numbers(rng, 80)
    pools = [rng.choice(80, 40, replace=False) for _ in queries]
    picks = runner_ups(
        dense_rows(queries, candidates), low=0.1, high=0.5, n=40, rng=rng, pools=pools
    )
    outside = [np.setdiff1d(np.arange(80), pool) for pool in pools]
    same = runner_ups(
        dense_rows(queries, candidates), low=0.1, high=0.5, n=40, rng=rng, masks=outside
    )
    pd.testing.assert_frame_equal(picks, same)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.98), st.floats(0.001, 1))
def test_no_known_positive_and_no_own_text_ever(seed, low, width):
    rng = np.random.default_rng(seed)
    words = ["cook", "nurse", "driver", "clerk", "smith"]
    jobs = pd.DataFrame({"job_id": [f"j{i}" for i in range(9)], "text": rng.choice(words, 9)})
    resumes = pd.DataFrame(
        {
            "resume_id": [f"r{i}" for i in range(30)],
            "text": [f"{rng.choice(words)}{rng.choice(['', ' 1', ' 2'])}" for _ in range(30)],
        }
    )
    labels = pd.DataFrame(
        {
            "job_id": rng.choice(jobs["job_id"], 12),
            "resume_id": rng.choice(resumes["resume_id"], 12),
            "label": rng.integers(0, 2, 12),
        }
    ).drop_duplicates(["job_id", "resume_id"])
    masks = mining.known_positives(jobs, "job_id", resumes, "resume_id", labels)
    vectors = (
        rng.standard_normal((9, 4)).astype(np.float32),
        rng.standard_normal((30, 4)).astype(np.float32),
    )
    how = {"low": low, "high": min(1.0, low + width), "n": 5, "rng": rng, "masks": masks}
    text_of, job_text = resumes.set_index("resume_id")["text"], jobs.set_index("job_id")["text"]
    accepted = labels[labels["label"] == 1]
    taboo = {
        (job_text[job], text_of[resume])
        for job, resume in zip(accepted["job_id"], accepted["resume_id"], strict=True)
    } | {(text, text) for text in words}
    rows = dense_rows(*vectors)
    for picks in (
        runner_ups(rows, **how),
        sampled_runner_ups(*vectors, **how, sample=30, block=4),
        mining.top_ranked(rows, k=3, n=2, rng=rng, masks=masks),
        mining.random_candidates(rows, n=4, rng=rng, masks=masks),
    ):
        assert len(picks)
        assert not taboo & set(
            zip(
                jobs["text"].to_numpy()[picks["query"]],
                resumes["text"].to_numpy()[picks["candidate"]],
                strict=True,
            )
        )
        assert not picks.duplicated(["query", "candidate"]).any()


def test_a_sample_errs_by_the_binomial():
    rng = np.random.default_rng(0)
    queries, candidates = (rng.standard_normal((n, 8)).astype(np.float32) for n in (300, 20_000))
    picks = sampled_runner_ups(
        queries, candidates, low=0.03, high=0.04, n=1, rng=rng, sample=2_000, block=10
    )
    true = np.array(
        [
            (candidates @ queries[q] >= score).mean()
            for q, score in zip(picks["query"], picks["score"], strict=True)
        ]
    )
    error = true - picks["percentile"]
    expected = np.sqrt(0.035 * 0.965 / 2_000)
    assert abs(error.mean()) < 4 * expected / np.sqrt(30)  # 30 blocks share a draw each
    assert error.std() == pytest.approx(expected, rel=0.3)
    assert np.allclose(
        picks["score"], (queries[picks["query"]] * candidates[picks["candidate"]]).sum(1), atol=1e-4
    )


def test_a_sample_of_everything_is_the_exact_band():
    rng = np.random.default_rng(3)
    queries, candidates = whole_numbers(rng, 6), whole_numbers(rng, 90)
    masks = [rng.choice(90, 7, replace=False) for _ in queries]
    how = {"low": 0.2, "high": 0.4, "n": 90, "masks": masks}
    exact = runner_ups(dense_rows(queries, candidates), **how, rng=rng)
    sampled = sampled_runner_ups(queries, candidates, **how, rng=rng, sample=500, block=4)
    pd.testing.assert_frame_equal(exact.drop(columns="rank"), sampled.drop(columns="rank"))


@pytest.mark.parametrize("n", range(2, 60))
def test_small_pools_give_the_nearest_band_and_never_the_best(n):
    start, stop = band(n, 0.03, 0.04)
    assert 1 <= start < stop <= n and stop - start <= max(1, 0.01 * n + 1)
    assert abs(start - 0.035 * n) <= 2


def test_what_cannot_be_mined_is_refused():
    ones = np.ones((3, 2), dtype=np.float32)
    how = {"n": 1, "rng": np.random.default_rng(0)}
    with pytest.raises(DataError, match="1 candidates are left .* at least 2: bring larger pools"):
        runner_ups(dense_rows(ones, ones), low=0.0, high=0.5, masks=[np.array([0, 1])] * 3, **how)
    for low, high in ((0.4, 0.3), (-0.1, 0.2), (0.2, 1.2), (0.1, 0.1)):
        with pytest.raises(DataError, match="the band .* is none"):
            runner_ups(dense_rows(ones, ones), low=low, high=high, **how)
    broken = ones.copy()
    broken[1, 0] = np.nan
    with pytest.raises(ValueError, match="embedding 1 is not finite"):
        dense_rows(ones, broken)
    with pytest.raises(ValueError, match="embedding 1 is not finite"):
        sampled_runner_ups(ones, broken, low=0.0, high=0.5, **how)
    with pytest.raises(ValueError, match="query 0 has a score that is not finite"):
        runner_ups(lambda: iter([np.array([1, np.nan, 2])]), low=0.0, high=0.5, **how)


def test_keywords_top_is_the_searchs():
    jobs = ["a cook who grills fish", "night nurse with children"]
    resumes = [
        "grilled fish for years",
        "nurse at night",
        "drives a bus",
        "cook and fish monger",
        "children's nurse",
    ]
    hits = search_bm25(jobs, resumes, depth=2)
    picks = mining.top_ranked(keyword_rows(jobs, resumes), k=2, n=2, rng=np.random.default_rng(0))
    assert picks["candidate"].to_numpy().reshape(2, 2).tolist() == hits.positions.tolist()
    table = mining.as_table(picks, ["j0", "j1"], list("abcde"), task="rank_resumes", miner="bm25")
    assert table.columns.tolist() == [
        "query_id",
        "candidate_id",
        "task",
        "score",
        "rank",
        "percentile",
        "miner",
    ]
    assert table["query_id"].tolist() == ["j0", "j0", "j1", "j1"] and set(
        table["candidate_id"]
    ) <= set("abcde")


def test_random_candidates_are_uniform():
    rng = np.random.default_rng(0)
    rows = dense_rows(*(rng.standard_normal((n, 2)).astype(np.float32) for n in (4_000, 20)))
    picks = mining.random_candidates(rows, n=1, rng=rng)
    counts = np.bincount(picks["rank"], minlength=21)[1:]
    assert (
        len(picks) == 4_000 and counts.min() > 140 and counts.max() < 265
    )  # 200 expected, standard error 14
