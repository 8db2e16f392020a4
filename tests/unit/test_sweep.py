"""Sweeps: what is repeated, what is shared, what collects the arms."""

import pytest

from matchlib.pipeline import ParameterError, plan_run
from matchlib.sweep import unfold

BASE = {
    "run": "x",
    "01_data_rules": {"seed": 1},
    "02_contrastive": {"num_train_epochs": 1.0},
    "04_runner_up_mining": {"encoder": "02_contrastive"},
    "02_contrastive-rum": {"mined_stage": "04_runner_up_mining", "num_train_epochs": 2.0},
    "11_leaderboard": {"shuffled": "", "arm_stages": {"rum": "02_contrastive-rum"}},
}
BANDS = {
    "stages": ["04_runner_up_mining", "02_contrastive-rum"],
    "over": [{"top": {"04_runner_up_mining": {"low": 0.0, "high": 0.01}}, "band": {}}],
}


def test_arms_share_what_does_not_vary_and_one_leaderboard_collects_them():
    plan = {
        stage.name: stage
        for stage in plan_run(unfold(BASE | {"sweep": [BANDS]}, source="p")).stages
    }
    assert set(plan) == {"01_data_rules", "02_contrastive", "11_leaderboard"} | {
        f"{stage}-{arm}" for stage in BANDS["stages"] for arm in ("top", "band")
    }
    assert plan["04_runner_up_mining-top"].parameters["high"] == 0.01
    assert "high" not in plan["04_runner_up_mining-band"].parameters
    assert plan["02_contrastive-rum-top"].inputs == [
        "reports/x/01_data_rules",
        "reports/x/04_runner_up_mining-top",
    ]
    assert plan["02_contrastive-rum-top"].parameters["num_train_epochs"] == 2.0
    assert plan["11_leaderboard"].parameters["arm_stages"] == {
        f"rum-{arm}": f"reports/x/02_contrastive-rum-{arm}" for arm in ("top", "band")
    }


def test_values_are_crossed_and_whole_worlds_repeated():
    everything = [name for name in BASE if name != "run"]
    worlds = {
        "stages": everything,
        "over": [
            {"market": {}, "null": {"01_data_rules": {"market_settings": {"detail": 2}}}},
            {s: {"01_data_rules": {"seed": s}} for s in (1, 2)},
        ],
    }
    plan = {
        stage.name: stage
        for stage in plan_run(
            unfold(
                BASE
                | {
                    "sweep": [
                        BANDS | {},
                        worlds
                        | {
                            "stages": [
                                "01_data_rules",
                                "02_contrastive",
                                "04_runner_up_mining-top",
                                "04_runner_up_mining-band",
                                "02_contrastive-rum-top",
                                "02_contrastive-rum-band",
                                "11_leaderboard",
                            ]
                        },
                    ]
                },
                source="p",
            )
        ).stages
    }
    assert len(plan) == 7 * 4
    assert plan["01_data_rules-null-2"].parameters["seed"] == 2
    assert plan["01_data_rules-null-2"].parameters["market_settings"] == {"detail": 2}
    assert plan["02_contrastive-rum-top-null-2"].inputs == [
        "reports/x/01_data_rules-null-2",
        "reports/x/04_runner_up_mining-top-null-2",
    ]
    board = plan["11_leaderboard-market-1"].parameters
    assert board["data"] == "reports/x/01_data_rules-market-1"
    assert board["arm_stages"] == {
        f"rum-{arm}": f"reports/x/02_contrastive-rum-{arm}-market-1" for arm in ("top", "band")
    }


def test_a_change_to_the_notebooks_own_section_goes_to_its_arms():
    stages = ["02_contrastive", "04_runner_up_mining", "02_contrastive-rum", "11_leaderboard"]
    over = [
        {"short": {"02_contrastive": {"num_train_epochs": 0.2}}},
        {2: {"02_contrastive-rum": {"seed": 2}}},
    ]
    plan = {
        stage.name: stage.parameters
        for stage in plan_run(
            unfold(BASE | {"sweep": [{"stages": stages, "over": over}]}, source="p")
        ).stages
    }
    assert [plan[f"02_contrastive{arm}-short-2"]["num_train_epochs"] for arm in ("", "-rum")] == [
        0.2,
        0.2,
    ]
    assert (
        plan["02_contrastive-rum-short-2"]["seed"] == 2
        and "seed" not in plan["02_contrastive-short-2"]
    )
    # left out, it still speaks for its arms
    over = [{"few": {"02_contrastive": None}}, {2: {"02_contrastive": {"seed": 2}}}]
    raw = BASE | {
        "04_runner_up_mining": {"encoder": ""},
        "11_leaderboard": {"stage1": "02_contrastive-rum", "shuffled": ""},
    }
    plan = unfold(raw | {"sweep": [{"stages": stages, "over": over}]}, source="p")
    assert plan["02_contrastive-rum-few-2"]["seed"] == 2 and "02_contrastive-few-2" not in plan


def test_an_arm_leaves_out_what_it_sets_to_null():
    stages = ["02_contrastive", "04_runner_up_mining", "02_contrastive-rum", "11_leaderboard"]
    over = [{"all": {}, "few": {"04_runner_up_mining": None, "02_contrastive-rum": None}}]
    plan = {
        stage.name: stage
        for stage in plan_run(
            unfold(BASE | {"sweep": [{"stages": stages, "over": over}]}, source="p")
        ).stages
    }
    assert set(plan) == {
        "01_data_rules",
        *(f"{stage}-all" for stage in stages),
        "02_contrastive-few",
        "11_leaderboard-few",
    }
    assert plan["11_leaderboard-few"].parameters["arm_stages"] == {}
    assert list(plan["11_leaderboard-all"].parameters["arm_stages"]) == ["rum"]


@pytest.mark.parametrize(
    "entry, sentence",
    [
        ({"stages": []}, "needs stages .a list. and over"),
        ({"stages": ["03_none"], "over": []}, "varies '03_none', but the file has no such section"),
        (
            {"stages": ["02_contrastive-rum"], "over": [{"a": {"01_data_rules": {"seed": 2}}}]},
            "changes '01_data_rules', which is not among its stages",
        ),
        ({"stages": "02_contrastive", "over": []}, "expected a list of sections"),
        ({"stages": [], "over": {}}, "a list of mappings"),
        ({"stages": [], "over": [{"a": 3}]}, "a list of mappings"),
        (
            {"stages": ["11_leaderboard"], "over": [{"1": {}, 1: {}}]},
            "makes the section 11_leaderboard-1 twice",
        ),
    ],
)
def test_wrong_forms_are_refused(entry, sentence):
    with pytest.raises(ParameterError, match=sentence):
        unfold(BASE | {"sweep": [entry]}, source="p")
