"""The claims of a sweep name what its worlds train."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from matchlib.retrieval.verdicts import judge
from matchlib.runs import load_plan
from matchlib.talent.arms import MAIN_ARM, ONE_PER_ROLE, PERMUTED, SHUFFLED, choose_networks
from matchlib.talent.experiment import ABLATIONS, answer, build_features, compare

SWEEP = Path("params/sweeps/talent_claims.yaml")
BASELINES = ("logistic, blind", "logistic, role crosses", "gradient boosting", "keyword search")


def test_every_claim_can_be_judged_with_what_its_worlds_train():
    claims = yaml.safe_load(SWEEP.read_text())["12_ledger"]["claims"]
    asked = {(c.get("measure", ""), c.get("judgments", "")) for c in claims} - {("", "")}
    asked = [("rank correlation, click", "truth"), *sorted(asked)]
    rows = []
    for stage in load_plan(SWEEP).stages:
        name, _, seed = stage.name.rpartition("-")
        if not name.startswith("07_talent_search-"):
            continue
        world = name.removeprefix("07_talent_search-")
        arms = {*choose_networks(stage.parameters["networks"]), *stage.parameters["ablations"]}
        assert {*stage.parameters["ablations"]} <= {*ABLATIONS}
        for arm in (*arms, *BASELINES, ONE_PER_ROLE, SHUFFLED, PERMUTED):
            rows += [(world, seed, arm, m, j, 0.5 + int(seed) / 100) for m, j in asked]
    columns = ["world", "seed", "system", "measure", "judgments", "value"]
    judged = judge(claims, pd.DataFrame(rows, columns=columns))
    assert len(judged) == len(claims) and judged["seeds"].eq(6).all()


def test_unknown_signals_are_refused():
    with pytest.raises(ValueError, match="signals 'all' is not one of none, extracted, true"):
        build_features(pd.DataFrame(), {}, pd.DataFrame(), signals="all", use_hires=True, seed=1)


def test_the_headline_tells_the_contrasts_and_a_collapse():
    compared = pd.DataFrame(
        [
            (
                "MMoE, role as input",
                "MMoE, blind",
                "truth",
                "rank correlation, click",
                0.1,
                0.05,
                0.15,
            ),
            (MAIN_ARM, "MMoE, role as input", "truth", "rank correlation, click", 0.0, -0.1, 0.1),
        ],
        columns=["first", "second", "judgments", "measure", "value", "low", "high"],
    )
    judged = pd.DataFrame(
        [(MAIN_ARM, "logged order", "AUC, click", 0.7, 0.6, 0.8)],
        columns=["arm", "judgments", "measure", "value", "low", "high"],
    )
    for largest, words in (
        (0.3, "Rank correlation, click, truth: knowing the recruiter's role"),
        (0.99, "collapsed"),
    ):
        headline, metrics = answer(compared, pd.DataFrame({"largest": [largest]}), judged)
        assert words in headline and "role +0.100 [+0.050, +0.150]" in headline
    assert metrics == {"logged_order.auc_click": 0.7}
    alone, _ = answer(compared.head(0), pd.DataFrame({"largest": [0.3]}), judged)
    assert alone.startswith(
        "AUC of clicks 0.700 [0.600, 0.800] (logged order); arms were not compared"
    )


def test_a_log_without_requests_compares_nothing():
    log = pd.DataFrame({"clicked": [0, 1], "ordering": "production"})
    score = pd.DataFrame({"click": [0.1, 0.2]})
    assert compare({"a": score, "b": score}, log, None, [("a", "b")]).empty
