"""Measures of rankers against plain loops and known values."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from matchlib.stats import auc_parts, mean_interval
from matchlib.talent.measures import (
    auc,
    calibration,
    grouped_auc,
    interval_by_request,
    judge_scores,
    ndcg_on_truth,
    rank_correlations,
    relative_auc,
    request_aucs,
)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    requests = np.repeat(np.arange(30), 8)
    score = np.round(rng.normal(size=240), 1)  # with ties
    outcome = (rng.random(240) < 1 / (1 + np.exp(1 - score))).astype(int)
    outcome[requests == 3] = 0
    outcome[requests == 4] = 1
    return outcome, score, requests


def test_auc_is_scikit_learns_and_its_interval_holds_it(rows):
    found = auc(*rows)
    assert found["value"] == pytest.approx(roc_auc_score(rows[0], rows[1]))
    assert found["low"] < found["value"] < found["high"] and found["n_clusters"] == 30


def test_a_weighted_auc_counts_a_row_as_often_as_its_weight_says(rows):
    outcome, score, _ = rows
    weights = np.random.default_rng(3).integers(1, 5, size=len(score))
    expected = roc_auc_score(outcome, score, sample_weight=weights)
    parts = auc_parts(outcome, score, weights)
    assert parts.mean() == pytest.approx(expected)
    assert abs(expected - roc_auc_score(outcome, score)) > 1e-4
    assert auc_parts(outcome, score, np.full(len(score), 7.0)) == pytest.approx(
        auc_parts(outcome, score)
    )


def test_intervals_are_over_clusters_of_requests(rows):
    outcome, score, requests = rows
    log = pd.DataFrame({"request_id": requests, "clicked": outcome, "job_id": requests // 2})
    by_request = request_aucs(outcome, score, requests)
    by_job = interval_by_request(by_request, log)
    by_occupation = interval_by_request(by_request, log.assign(cluster=requests // 10))
    assert by_job["value"] == by_occupation["value"] == pytest.approx(by_request.mean())
    of_job = (by_request.index // 2).to_numpy()
    assert by_job["n"] == len(by_request) == 26
    assert by_job["n_clusters"] == len(set(of_job)) and by_occupation["n_clusters"] == 3
    assert by_job["low"] == mean_interval(by_request.to_numpy(), of_job)["low"]


def test_grouped_auc_is_the_weighted_mean_over_groups_with_both_classes(rows):
    outcome, score, requests = rows
    values, sizes = [], []
    for request in np.unique(requests):
        part = requests == request
        if 0 < outcome[part].sum() < part.sum():
            values.append(roc_auc_score(outcome[part], score[part]))
            sizes.append(part.sum())
    found = grouped_auc(outcome, score, requests)
    assert found["value"] == pytest.approx(np.average(values, weights=sizes))
    assert found["n_groups"] == len(values) and found["n_dropped"] == 30 - len(values) >= 2


def test_grouped_auc_without_a_group_of_both_classes_is_nan():
    found = grouped_auc(np.array([1, 1, 0]), np.arange(3.0), np.array([1, 1, 2]))
    assert np.isnan(found["value"]) and found["n_dropped"] == 2


def test_rank_correlations_are_scipys(rows):
    _, score, requests = rows
    truth = score + np.random.default_rng(1).normal(size=len(score))
    found = rank_correlations(truth, score, requests)
    for request in (0, 5, 29):
        part = requests == request
        expected = spearmanr(truth[part], score[part]).statistic
        assert found[request] == pytest.approx(expected)


def test_a_request_of_one_resume_or_of_equal_scores_has_no_correlation():
    found = rank_correlations(
        np.array([1.0, 1.0, 2.0, 3.0]), np.array([5.0, 7.0, 7.0, 8.0]), np.array([0, 1, 1, 1])
    )
    assert list(found.index) == [1]
    equal = rank_correlations(np.arange(3.0), np.ones(3), np.zeros(3))
    assert equal.empty


def test_ndcg_is_one_for_the_best_order_and_shares_gains_of_ties():
    gain, requests = np.array([0.9, 0.5, 0.1, 0.0]), np.zeros(4)
    assert ndcg_on_truth(gain, gain, requests)[0] == pytest.approx(1)
    assert ndcg_on_truth(gain, -gain, requests)[0] < 0.8
    all_tied = ndcg_on_truth(gain, np.zeros(4), requests)[0]
    discount = 1 / np.log2(np.arange(2, 6))
    assert all_tied == pytest.approx(gain.mean() * discount.sum() / (gain * discount).sum())


def test_both_readings_of_relative_auc():
    found = relative_auc(0.66, 0.6)
    assert found["relative"] == pytest.approx(0.1)
    assert found["relative above chance"] == pytest.approx(0.6)


def test_calibration_is_predicted_over_actual():
    assert calibration(np.array([1, 0, 0, 1]), np.full(4, 0.25)) == pytest.approx(0.5)
    assert np.isnan(calibration(np.zeros(3), np.full(3, 0.1)))


def test_every_arm_is_judged_by_slice_and_truth(rows):
    outcome, score, requests = rows
    log = pd.DataFrame(
        {
            "clicked": outcome,
            "converted": outcome * (requests % 2),
            "request_id": requests,
            "recruiter_id": requests % 5,
            "ordering": np.where(requests < 10, "random", "production"),
            "propensity": np.where(requests % 3, 0.5, 0.1),
        }
    )
    columns = ["click", "conversion", "click and conversion"]
    truth = pd.DataFrame({"click_utility": score, "conversion_utility": score})
    truth["attractive"] = truth["converts_p"] = 1 / (1 + np.exp(-score))
    arms = {
        "oracle": pd.DataFrame(np.column_stack([score] * 3), columns=columns),
        "noise": pd.DataFrame(np.random.default_rng(2).normal(size=(240, 3)), columns=columns),
    }
    table = judge_scores(arms, log, truth, maturity_days=0).set_index(
        ["arm", "judgments", "measure"]
    )
    assert table.loc[("oracle", "truth", "rank correlation, click"), "value"] == pytest.approx(1)
    random_part = requests < 10
    assert table.loc[("oracle", "random order", "AUC, click"), "value"] == pytest.approx(
        roc_auc_score(outcome[random_part], score[random_part])
    )
    weighted = table.loc[("oracle", "random order, by inverse propensity", "AUC, click"), "value"]
    assert weighted == pytest.approx(
        roc_auc_score(
            outcome[random_part],
            score[random_part],
            sample_weight=1 / log["propensity"][random_part],
        )
    )
    for measure in ("AUC, click", "GAUC by request, click"):
        interval = table.loc[("noise", "logged order", measure)]
        assert interval["low"] < 0.5 < interval["high"]
    # 10 requests in random order have too few conversions to say anything
    assert ("oracle", "random order", "AUC, conversion after a click") not in table.index


def test_rows_that_an_arm_does_not_score_and_immature_conversions_are_left_out():
    n = 400
    rng = np.random.default_rng(0)
    score = rng.normal(size=n)
    shown_at = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(n), unit="h")
    clicked = np.ones(n, dtype=int)
    clicked[:40] = 0
    converted = (score > 0).astype(int) * clicked
    is_young = np.arange(n) > 200
    converted[is_young] = 0  # they had no time
    log = pd.DataFrame(
        {
            "clicked": clicked,
            "converted": converted,
            "shown_at": shown_at,
            "request_id": np.arange(n) // 4,
            "ordering": np.where(np.arange(n) % 8 < 4, "random", "production"),
        }
    )
    columns = ["click", "conversion", "click and conversion"]
    whole = pd.DataFrame(np.column_stack([score] * 3), columns=columns)
    half = whole.where(log["ordering"] == "production")
    young = (shown_at[-1] - shown_at[200]).total_seconds() / 86_400
    table = judge_scores({"whole": whole, "half": half}, log, None, maturity_days=young)
    by_part = table.set_index(["arm", "judgments", "measure"])["value"]
    assert by_part["whole", "logged order", "AUC, conversion after a click"] == 1
    assert "random order" not in set(table.loc[table["arm"] == "half", "judgments"])


def test_an_intercept_by_role_raises_the_auc_over_all_rows_and_none_within_requests():
    rng = np.random.default_rng(0)
    requests = np.repeat(np.arange(200), 10)
    rate = np.where(requests % 2, 0.5, 0.05)
    outcome = (rng.random(2000) < rate).astype(int)
    score = rng.normal(size=2000)
    assert auc(outcome, score + 5 * rate, requests)["value"] > 0.7
    pd.testing.assert_series_equal(
        request_aucs(outcome, score + 5 * rate, requests), request_aucs(outcome, score, requests)
    )
