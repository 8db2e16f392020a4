"""The ledger's rule, each of its outcomes, and Holm's adjustment by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from matchlib.data.schema import DataError
from matchlib.retrieval.verdicts import claimed_values, judge, seed_values, worst_verdicts
from matchlib.stats import holm, paired_difference

SEEDS = range(6)


def table(**systems):
    rows = [
        ("market", seed, name, values[seed])
        for name, values in systems.items()
        for seed in range(len(values))
    ]
    frame = pd.DataFrame(rows, columns=["world", "seed", "system", "value"])
    return frame.assign(measure="nDCG@10", judgments="true_fit")


def claim(system, *baselines, kind="above"):
    return {
        "claim": f"{system} {kind} {baselines}",
        "world": "market",
        "system": system,
        "baselines": list(baselines),
        "kind": kind,
        "status": "exploratory",
        "since": "2026-11-26",
        "null_world": "none",
    }


BASE = np.array([0.30, 0.35, 0.31, 0.28, 0.33, 0.32])
WIGGLE = np.array([0.001, -0.001, 0.002, -0.002, 0.001, -0.001])


@pytest.mark.parametrize(
    "gap, kind, verdict",
    [
        (0.05, "above", "holds"),
        (0.004, "above", "does not"),
        (0.0, "above", "does not"),
        (-0.05, "above", "does not"),
        (-0.05, "below", "holds"),
        (-0.004, "below", "does not"),
        (0.05, "below", "does not"),
        (0.0, "not below", "holds"),
        (-0.03, "not below", "does not"),
        (-0.0095, "not below", "undecided"),
    ],
)
def test_the_rule(gap, kind, verdict):
    judged = judge([claim("a", "b", kind=kind)], table(a=BASE + gap + WIGGLE, b=BASE))
    assert judged["verdict"].tolist() == [verdict] and judged["estimate"][0] == pytest.approx(
        gap, abs=1e-9
    )


def test_noise_is_undecided_and_few_seeds_are_too_few():
    noise = np.array([0.1, -0.08, 0.09, -0.05, 0.06, -0.02])
    assert judge([claim("a", "b")], table(a=BASE + noise, b=BASE))["verdict"].tolist() == [
        "undecided"
    ]
    assert judge([claim("a", "b")], table(a=BASE[:5] + 0.1, b=BASE[:5]))["verdict"].tolist() == [
        "too few seeds"
    ]
    assert judge([claim("a", "b")], table(a=BASE[:1] + 0.1, b=BASE[:1]))["verdict"].tolist() == [
        "too few seeds"
    ]


def test_a_claim_must_beat_all_its_baselines():
    values = table(a=BASE + 0.05 + WIGGLE, b=BASE, c=BASE + 0.2 - WIGGLE)
    judged = judge([claim("a", "b", "c"), claim("c", "b")], values)
    assert worst_verdicts(judged)["verdict"].tolist() == ["does not", "holds"]


def test_difference_is_the_textbook_t_interval():
    found = paired_difference(np.array([1.0, 2.0, 3.0, 4.0]))  # s = 1.2910, t(.975, 3) = 3.1824
    assert (found["estimate"], found["low"], found["high"]) == pytest.approx(
        (2.5, 0.4457, 4.5543), abs=1e-4
    )
    assert found["p"] == pytest.approx(0.0305, abs=1e-4)


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, np.nan, 0.03])) == pytest.approx(
        [0.03, 0.06, np.nan, 0.06], nan_ok=True
    )


def test_values_are_the_mean_of_both_tasks_and_what_is_absent_is_named():
    board = pd.DataFrame(
        {
            "system": ["a", "a", "a"],
            "task": ["rank_resumes", "rank_jobs", "rank_jobs"],
            "measure": ["nDCG@10"] * 3,
            "judgments": ["true_fit"] * 3,
            "value": [0.2, 0.4, 0.4],
        }
    )
    values = seed_values({("market", "1"): board}, measure="nDCG@10", judgments="true_fit")
    assert values.to_dict("records") == [
        {
            "world": "market",
            "seed": "1",
            "system": "a",
            "measure": "nDCG@10",
            "judgments": "true_fit",
            "value": pytest.approx(0.3),
        }
    ]
    with pytest.raises(
        DataError, match="no leaderboard has RR against true_fit; they have nDCG@10"
    ):
        seed_values({("market", "1"): board}, measure="RR", judgments="true_fit")
    with pytest.raises(DataError, match="no leaderboard was given; name stages in leaderboard_s"):
        seed_values({}, measure="RR", judgments="true_fit")


def test_values_are_those_of_the_default_and_of_every_claim_once():
    board = pd.DataFrame(
        {
            "system": ["a"] * 3,
            "task": ["rank_resumes"] * 3,
            "measure": ["nDCG@10", "RR", "R@10"],
            "judgments": ["true_fit", "observed", "observed"],
            "value": [0.2, 0.4, 0.6],
        }
    )
    claims = [{}, {"measure": "RR", "judgments": "observed"}] * 2
    leaderboards = {("market", "1"): board, ("market", "2"): board}
    values = claimed_values(leaderboards, claims, measure="nDCG@10", judgments="true_fit")
    assert values["measure"].tolist() == ["nDCG@10", "nDCG@10", "RR", "RR"]
    assert values["seed"].tolist() == ["1", "2", "1", "2"]


def test_claims_that_name_what_was_not_run_are_refused():
    with pytest.raises(DataError, match="'z' was not run in the world 'market', which has a, b"):
        judge([claim("z", "b")], table(a=BASE, b=BASE))
    with pytest.raises(DataError, match="kind 'better' is not one of"):
        judge([claim("a", "b", kind="better")], table(a=BASE, b=BASE))


def test_claims_may_name_their_own_measure():
    above, below = table(a=BASE + 0.1 + WIGGLE, b=BASE), table(a=BASE - 0.1 + WIGGLE, b=BASE)
    values = pd.concat([above, below.assign(measure="RR")])
    judged = judge([claim("a", "b"), claim("a", "b") | {"measure": "RR", "margin": 0.01}], values)
    assert judged["verdict"].tolist() == ["holds", "does not"]


def test_a_baseline_may_stand_in_another_world_of_the_same_seeds():
    values = pd.concat([table(a=BASE + 0.1 + WIGGLE), table(a=BASE).assign(world="null")])
    across = claim("a", "a") | {"baseline_world": "null"}
    judged = judge([across], values)
    assert judged["verdict"].tolist() == ["holds"] and judged["baseline"].tolist() == ["a, null"]
    assert judged["estimate"][0] == pytest.approx(0.1)
    with pytest.raises(DataError, match="seed 5 was run for only one of 'a' and 'a, null'"):
        judge([across], values[~(values["world"].eq("null") & values["seed"].eq(5))])


def test_not_below_is_tested_against_the_margin_and_adjusted():
    """The stored p once tested a difference of 0, and the raw interval alone decided, whatever Holm said."""
    noise = np.array([0.009, -0.009, 0.008, -0.008, 0.007, -0.007])
    values = table(a=BASE + noise, b=BASE)
    alone = judge([claim("a", "b", kind="not below")], values)
    error = np.std(noise, ddof=1) / np.sqrt(6)
    assert alone["p"][0] == pytest.approx(2 * stats.t.sf(0.01 / error, 5))
    assert alone["verdict"].tolist() == ["holds"]
    family = judge([claim("a", "b", kind="not below")] * 4, values)
    assert family["p_holm"].to_numpy() == pytest.approx(4 * alone["p"][0])
    assert set(family["verdict"]) == {"undecided"}


def test_a_margin_is_in_the_unit_of_its_measure():
    values = table(a=BASE + 0.05 + WIGGLE, b=BASE).assign(measure="places up when swapped: woman")
    with pytest.raises(DataError, match="no margin for 'places up when swapped: woman'"):
        judge([claim("a", "b")], values)
    assert judge([claim("a", "b") | {"margin": 12}], values)["verdict"].tolist() == ["does not"]
    assert judge([claim("a", "b") | {"margin": 0.04}], values)["verdict"].tolist() == ["holds"]


def test_a_claim_may_be_against_a_number():
    judged = judge(
        [
            {key: value for key, value in claim("a").items() if key != "baselines"}
            | {"against": 0.2}
        ],
        table(a=BASE),
    )
    assert judged["baseline"].tolist() == ["0.2"]
    assert judged["estimate"][0] == pytest.approx(BASE.mean() - 0.2)


@pytest.mark.parametrize(
    "key, message",
    [
        ("status", "planned before its figures"),
        ("since", "planned before"),
        ("null_world", "names no null_world"),
        ("baselines", "needs either"),
    ],
)
def test_a_claim_says_where_it_comes_from(key, message):
    incomplete = {name: value for name, value in claim("a", "b").items() if name != key}
    with pytest.raises(DataError, match=message):
        judge([incomplete], table(a=BASE, b=BASE))


def test_a_null_world_holds_the_contrast_that_is_claimed():
    values = pd.concat([table(a=BASE + 0.05 + WIGGLE, b=BASE), table(a=BASE).assign(world="null")])
    named = claim("a", "b") | {"null_world": "null"}
    with pytest.raises(DataError, match="'b' was not run in the world 'null', which has a"):
        judge([named], values)
    with pytest.raises(
        DataError, match="compares two worlds, so that 'null' cannot be its null_world; write none"
    ):
        judge([claim("a", "a") | {"null_world": "null", "baseline_world": "null"}], values)
    whole = pd.concat([values, table(b=BASE).assign(world="null")])
    assert judge([named], whole)["verdict"].tolist() == ["holds"]


def test_what_a_setting_enforces_is_listed_and_not_tested():
    settings = claim("a", "b") | {"could_fail": False}
    judged = judge([settings, claim("a", "b")], table(a=BASE + 0.05 + WIGGLE, b=BASE))
    assert judged["verdict"].tolist() == ["a setting", "holds"]
    assert np.isnan(judged["p_holm"][0]) and judged["p_holm"][1] == judged["p"][1]
