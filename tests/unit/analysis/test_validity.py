"""Pairs of known order and ties: of the market by their channels, scored by hand."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis import validity
from matchlib.data.market.config import RULE_WEIGHT, TEXT_WEIGHT
from matchlib.data.market.simulation import Market
from matchlib.data.market.validity import SUPERIOR, TIE, known_pairs


@pytest.fixture(scope="module")
def world():
    market = Market(1, occupations=4)
    jobs, resumes = market.jobs(12, "test"), market.resumes(60, "test")
    pairs = known_pairs(market, jobs, resumes, pairs_per_job=10)
    return market, jobs, resumes, pairs


def test_pairs_are_what_the_channels_say(world):
    market, jobs, resumes, pairs = world
    channels = market.channels(jobs, resumes)
    at_job = pd.Index(jobs["job_id"]).get_indexer(pairs["job_id"])
    first, second = (
        pd.Index(resumes["resume_id"]).get_indexer(pairs[side]) for side in ("first", "second")
    )
    rule = channels["rule"][at_job, first] - channels["rule"][at_job, second]
    fit = channels["text_fit"][at_job, first] - channels["text_fit"][at_job, second]
    is_tie = (pairs["relation"] == TIE).to_numpy()
    assert is_tie.sum() > 20 and (~is_tie).sum() > 20
    assert np.allclose(rule[is_tie], 0) and np.allclose(fit[is_tie], 0, atol=1e-8)
    assert (rule[~is_tie] >= 0).all() and (fit[~is_tie] >= 0).all()
    assert (RULE_WEIGHT * rule + TEXT_WEIGHT * fit)[~is_tie].min() >= 0.2 - 1e-9
    people = pairs.melt(["job_id", "relation"], ["first", "second"], value_name="person")
    assert not people.duplicated(["job_id", "relation", "person"]).any()


def test_the_truth_orders_every_pair_and_abstains_on_every_tie(world):
    market, jobs, resumes, pairs = world
    channels = market.channels(jobs, resumes)
    scores = RULE_WEIGHT * channels["rule"] + TEXT_WEIGHT * channels["text_fit"]
    n = len(resumes)
    ranking = pd.DataFrame(
        {
            "query_id": np.repeat(jobs["job_id"].to_numpy(), n),
            "candidate_id": np.tile(resumes["resume_id"], len(jobs)),
            "score": np.round(scores, 9).ravel(),
        }
    )
    groups = resumes.set_index("resume_id")["gender"]
    found = validity.score_known_pairs(pairs, ranking, groups, tolerance=1e-6)
    by_measure = found[found["group"] == validity.ALL].set_index("measure")["value"]
    assert by_measure[validity.ORDERED] == 1
    assert by_measure[validity.ABSTAINED] == 1
    won = found[found["measure"] == validity.TIE_WON]
    assert (won["value"] == 0.5).all()


def test_groups_by_hand():
    pairs = pd.DataFrame(
        [
            ("j0", "a", "b", SUPERIOR),
            ("j0", "c", "d", SUPERIOR),
            ("j0", "a", "c", TIE),
            ("j1", "a", "c", TIE),
            ("j1", "b", "a", TIE),
            ("j1", "a", "missing", TIE),
        ],
        columns=["job_id", "first", "second", "relation"],
    )
    scores = {"j0": [4, 3, 1, 2], "j1": [1, 1, 5, 0]}
    ranking = pd.concat(
        pd.DataFrame({"query_id": job, "candidate_id": list("abcd"), "score": values})
        for job, values in scores.items()
    )
    groups = pd.Series({"a": "m", "b": "m", "c": "f", "d": "f"})
    found = validity.score_known_pairs(pairs, ranking, groups, tolerance=0.5)
    value = found.set_index(["measure", "group"])["value"]
    assert value[validity.ORDERED, "all"] == 0.5
    assert value[validity.ORDERED, "m"] == 1  # a before b
    assert value[validity.ORDERED, "f"] == 0  # c behind d
    assert value[validity.ABSTAINED, "all"] == pytest.approx(1 / 3)  # b and a
    assert value[validity.ABSTAINED, "f"] == 0
    assert value[validity.TIE_WON, "f"] == 0.5  # behind a in j0, before in j1
    assert found.set_index(["measure", "group"]).loc[(validity.TIE_WON, "m"), "n"] == 2
