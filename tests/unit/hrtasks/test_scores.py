"""Scores of phrases, spans and experiences against counts by hand."""

import numpy as np
import pytest

from matchlib.hrtasks.experiences import Experience
from matchlib.hrtasks.scores import (
    score_counts,
    score_experiences,
    score_phrases,
    score_spans,
)
from matchlib.hrtasks.tagger import Span


def test_phrases_are_compared_as_sets_in_normal_form():
    found = [["SQL", "sql ", "Rust"], ["x"]]
    true = [["Sql", "Go", "C"], []]
    scores = score_phrases(found, true)
    assert scores["precision"] == pytest.approx(1 / 3) and scores["recall"] == pytest.approx(1 / 3)
    assert scores["F1"] == pytest.approx(1 / 3)
    assert (scores["n_found"], scores["n_true"], scores["n"]) == (3, 3, 2)


def test_spans_exact_and_overlapping():
    found = [[Span(0, 3, "skill"), Span(5, 9, "skill")]]
    true = [[Span(0, 3, "skill"), Span(7, 12, "skill"), Span(20, 22, "skill")]]
    exact = score_spans(found, true, overlapping=False)
    loose = score_spans(found, true, overlapping=True)
    assert (exact["precision"], exact["recall"]) == (1 / 2, pytest.approx(1 / 3))
    assert (loose["precision"], loose["recall"]) == (1, pytest.approx(2 / 3))
    assert loose["F1"] == pytest.approx(0.8)
    touching = score_spans([[Span(3, 5, "skill")]], [[Span(0, 3, "skill")]], overlapping=True)
    assert touching["F1"] == 0


def test_nothing_found_is_zero_and_nothing_true_is_no_recall():
    assert score_phrases([[]], [["a"]])["F1"] == 0
    assert np.isnan(score_phrases([["a"]], [[]])["recall"])


def test_experiences_get_credit_for_words_of_the_title_and_only_with_the_years():
    found = [[Experience("Senior Baker", 3), Experience("Cook", 1)]]
    true = [[Experience("Baker", 3), Experience("Cook", 2)]]
    with_years = score_experiences(found, true)
    assert with_years["precision"] == pytest.approx((2 / 3) / 2)
    without = score_experiences(found, true, with_years=False)
    assert without["precision"] == pytest.approx((2 / 3 + 1) / 2)


def test_the_interval_of_f1_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = 2 * 0.6 * 0.5 / 1.1  # precision .6, recall .5
    hits = 0
    for _ in range(300):
        right = rng.binomial(6, 0.5, size=120)
        found = right + rng.binomial(4, 0.5, size=120)
        scores = score_counts([(r, r, f, 6) for r, f in zip(right, found, strict=True)])
        hits += scores["low"] <= truth <= scores["high"]
    assert 0.91 <= hits / 300 <= 0.985
