"""Contrasts: what a system that reads the job gets, and what one that only counts lines gets."""

import numpy as np
import pandas as pd
import pytest

from matchlib.retrieval.contrasts import compare_contrasts
from matchlib.retrieval.corpus import Corpus
from matchlib.retrieval.search import Hits
from matchlib.retrieval.systems import line_count

N = 30


@pytest.fixture
def corpus() -> Corpus:
    jobs = pd.DataFrame({"job_id": [f"j{i}" for i in range(N)], "text": "a job"})
    lines = ["matched" + "\nline" * (i % 3) for i in range(N)] + ["other\nline"] * N
    ids = [f"r{i}-m" for i in range(N)] + [f"r{i}-u" for i in range(N)]
    return Corpus(jobs, pd.DataFrame({"resume_id": ids, "text": lines}))


@pytest.fixture
def preferences() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "job_id": [f"j{i}" for i in range(N)],
            "resume_a": [f"r{i}-m" for i in range(N)],
            "resume_b": [f"r{i}-u" for i in range(N)],
            "preferred": "a",
        }
    )
    swap = np.arange(N) % 2 == 1
    frame.loc[swap, ["resume_a", "resume_b"]] = frame.loc[swap, ["resume_b", "resume_a"]].to_numpy()
    return frame.assign(preferred=np.where(swap, "b", "a"))


def as_hits(scores: np.ndarray) -> dict[str, Hits]:
    order = np.argsort(-scores, axis=1, kind="stable")
    return {"rank_resumes": Hits(order, np.take_along_axis(scores, order, axis=1))}


def row(system, corpus, preferences, *, seed=0) -> pd.Series:
    table = compare_contrasts({"it": system}, corpus, preferences, seed=seed)
    assert table["system"].tolist() == ["length", "it"]
    return table.set_index("system").loc["it"]


def test_an_oracle_gets_every_own_pair_and_half_of_the_others(corpus, preferences):
    scores = np.zeros((N, 2 * N))
    scores[np.arange(N), np.arange(N)] = 1.0
    found = row(as_hits(scores), corpus, preferences)
    assert (found["n"], found["own"], found["other"], found["own_minus_other"]) == (
        N,
        1.0,
        0.5,
        0.5,
    )
    # a third of the matched resumes have more lines than the unmatched; the others are the hard ones
    assert (found["hard_n"], found["hard"]) == (20, 1.0)


def test_a_system_of_length_alone_gains_nothing_over_another_job(corpus, preferences):
    for seed in range(5):
        found = row(line_count(corpus), corpus, preferences, seed=seed)
        assert (
            found["own_minus_other"]
            == found["own_minus_other_low"]
            == found["own_minus_other_high"]
            == 0.0
        )
        assert found["own"] == pytest.approx((10 + 10 / 2) / N)
        assert found["hard"] == 0.25  # half of the hard ones tie


def test_the_length_row_is_what_the_length_system_gets(corpus, preferences):
    table = compare_contrasts({"it": line_count(corpus)}, corpus, preferences, seed=0).drop(
        columns="system"
    )
    pd.testing.assert_series_equal(table.iloc[0], table.iloc[1], check_names=False)


def test_swapping_sides_and_permuting_rows_changes_own_by_nothing(corpus, preferences):
    scores = np.random.default_rng(0).normal(size=(N, 2 * N))
    swapped = preferences.rename(columns={"resume_a": "resume_b", "resume_b": "resume_a"})
    swapped["preferred"] = swapped["preferred"].map({"a": "b", "b": "a"})
    kinds = ["own", "own_low", "hard", "hard_n"]
    expected = row(as_hits(scores), corpus, preferences)[kinds].tolist()
    assert row(as_hits(scores), corpus, swapped)[kinds].tolist() == expected
    permuted = row(as_hits(scores), corpus, preferences.sample(frac=1, random_state=1))
    assert permuted[kinds].tolist() == pytest.approx(expected)


def test_the_other_job_is_never_the_own_one(corpus, preferences):
    # one job holds 10 of the 30 pairs; a system that always wins for the own job and always loses elsewhere
    busy = preferences.assign(job_id=["j0"] * 10 + preferences["job_id"].tolist()[10:])
    scores = np.zeros((N, 2 * N))
    scores[:, N:] = 1.0
    for pair in busy.itertuples():
        job, best = int(pair.job_id[1:]), pair.resume_a if pair.preferred == "a" else pair.resume_b
        scores[job, int(best[1:].split("-")[0])] = 2.0
    for seed in range(5):
        found = row(as_hits(scores), corpus, busy, seed=seed)
        assert (found["own"], found["other"]) == (1.0, 0.0)


def test_ties_between_annotators_are_left_out_and_unretrieved_resumes_tie(corpus, preferences):
    tied = preferences.assign(preferred=["tie"] * 10 + preferences["preferred"].tolist()[10:])
    nothing = {"rank_resumes": Hits(np.full((N, 1), -1), np.full((N, 1), -np.inf))}
    found = row(nothing, corpus, tied)
    assert (found["n"], found["own"], found["own_minus_other"]) == (20, 0.5, 0.0)


def test_without_hard_pairs_their_figure_is_unknown(corpus, preferences):
    easy = preferences[[i % 3 == 2 for i in range(N)]]
    found = row(line_count(corpus), corpus, easy)
    assert found["hard_n"] == 0 and np.isnan(found["hard"]) and found["own"] == 1.0
