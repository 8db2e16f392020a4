"""Simulated logs of clicks: their probabilities are what they say they are."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from matchlib.data.market import clicks
from matchlib.data.market.clicks import CLICK_MODELS, ClickConfig, simulate_clicks
from matchlib.data.market.simulation import Market
from matchlib.data.schema import DataError, check_table


@pytest.fixture(scope="module")
def market():
    market = Market(3, occupations=20)
    return market, market.jobs(60), market.resumes(400)


def simulate(market, n_requests=1500, seed=1, **settings):
    return simulate_clicks(
        *market, n_requests=n_requests, config=ClickConfig(**settings), seed=seed
    )


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(market):
    first, second = simulate(market, 200), simulate(market, 200)
    for own, other in zip(first, second, strict=True):
        pd.testing.assert_frame_equal(own, other)
    assert not simulate(market, 200, seed=2).impressions.equals(first.impressions)


def test_the_log_is_the_schemas_table_in_order_of_time(market):
    log = simulate(market, 100).impressions
    check_table("impressions", log)
    assert log["shown_at"].is_monotonic_increasing
    assert not log.duplicated(["request_id", "resume_id"]).any()
    assert (
        log.groupby("request_id")["position"].apply(list).map(lambda p: p == [*range(1, 21)]).all()
    )
    assert log.groupby("recruiter_id")["role"].nunique().max() == 1


@pytest.mark.parametrize("click_model", CLICK_MODELS)
def test_rates_match_the_probabilities_that_the_truth_tells(market, click_model):
    log = simulate(market, 3000, click_model=click_model)
    clicked, p = log.impressions["clicked"].to_numpy(), log.truth["clicked_p"].to_numpy()
    if click_model != "cascade":
        error = np.sqrt((p * (1 - p)).sum()) / len(p)
        assert abs(clicked.mean() - p.mean()) < 4 * error
    for position in (1, 2, 5, 20):
        at = (log.impressions["position"] == position).to_numpy()
        error = np.sqrt((p[at] * (1 - p[at])).sum()) / at.sum()
        # in a cascade the clicks above are averaged out of p: their spread comes on top
        assert abs(clicked[at].mean() - p[at].mean()) < 5 * error


def test_conversions_follow_clicks_and_their_probability(market):
    log = simulate(market, 3000, conversion_delay_days=0.001)
    was_clicked = (log.impressions["clicked"] == 1).to_numpy()
    assert not log.impressions.loc[~was_clicked, "converted"].any()
    p = log.truth["converts_p"].to_numpy()[was_clicked]
    converted = log.impressions["converted"].to_numpy()[was_clicked]
    assert abs(converted.mean() - p.mean()) < 4 * np.sqrt((p * (1 - p)).sum()) / len(p)


def test_a_conversion_after_the_logs_end_is_not_seen(market):
    log = simulate(market, 1000, conversion_delay_days=40.0).impressions
    end = clicks.START + pd.Timedelta(days=clicks.LOG_DAYS)
    assert log["converted_at"].dropna().max() <= end
    assert (log["converted_at"].notna() == (log["converted"] == 1)).all()
    assert (log["converted_at"].dropna() >= log.loc[log["converted"] == 1, "shown_at"]).all()
    late = log["shown_at"] > end - pd.Timedelta(days=20)
    of_clicks = log[log["clicked"] == 1].groupby(late)["converted"].mean()
    assert of_clicks[True] < 0.6 * of_clicks[False]


def test_role_deviations_average_to_zero():
    for deviations in (clicks.CLICK_DEVIATIONS, clicks.CONVERSION_DEVIATIONS):
        assert deviations.shape[0] == len(clicks.ROLES)
        np.testing.assert_allclose(deviations.mean(axis=0), 0, atol=1e-12)


def test_the_random_slice_knows_nothing_of_position_and_the_production_order_does(market):
    log = simulate(market, 3000, random_share=0.5)
    utility = log.truth["click_utility"]
    by_ordering = {
        name: spearmanr(log.impressions["position"][rows], utility[rows]).statistic
        for name, rows in log.impressions.groupby("ordering").groups.items()
    }
    n_random = (log.impressions["ordering"] == "random").sum()
    assert abs(by_ordering["random"]) < 4 / np.sqrt(n_random)
    assert by_ordering["production"] < -0.1


def test_examination_is_recovered_from_the_random_slice(market):
    """In random order the mean liking is the same at every position: clicks tell examination."""
    log = simulate(market, 4000, random_share=1.0, label_noise=0.0).impressions
    share = log.groupby("position")["clicked"].mean()
    for position in (2, 5, 10):
        expected = position ** -ClickConfig().position_bias
        assert share[position] / share[1] == pytest.approx(expected, abs=0.06)


def test_without_a_role_effect_every_role_has_the_same_taste(market):
    log = simulate(market, 400, role_effect=0.0, recruiter_noise=0.0, random_share=0.0)
    merged = log.truth.assign(job=log.impressions["job_id"], role=log.impressions["role"])
    assert merged.groupby(["job", "resume_id"])["click_utility"].agg(np.ptp).max() < 1e-9
    assert merged["role"].nunique() == 4


def test_where_clicks_say_nothing_the_utility_does_not_raise_them(market):
    log = simulate(market, 3000, fit_effect=0.0, position_bias=0.0)
    correlation = spearmanr(log.impressions["clicked"], log.truth["click_utility"]).statistic
    assert abs(correlation) < 4 / np.sqrt(len(log.truth))


def test_hires_date_from_before_the_log(market):
    hires = simulate(market, 50).hires
    assert hires["hired_at"].max() < clicks.START
    assert hires.groupby("job_id").size().eq(clicks.HIRES_PER_JOB).all()


def test_what_cannot_be_simulated_is_refused(market):
    with pytest.raises(
        DataError, match="click_model 'dice' is not one of position, cascade, trust"
    ):
        simulate(market, 10, click_model="dice")
    with pytest.raises(DataError, match="12 resumes are too few"):
        simulate_clicks(
            market[0], market[1], market[2].head(12), n_requests=5, config=ClickConfig()
        )
