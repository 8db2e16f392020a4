"""Overlap of rankings by hand and in its limits, and what moves between two rankings."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis.counterfactual import (
    CONTROL_RBO,
    RBO,
    RBO_BEYOND,
    compare_rankings,
    name_clusters,
    rank_biased_overlap,
    summarise_overlap,
)
from matchlib.data.schema import DataError


def ranked(*orders):
    """A ranking of jobs j0, j1, ...; each order: candidates, best first. A score is minus the rank."""
    parts = []
    for number, candidates in enumerate(orders):
        ranks = np.arange(1, len(candidates) + 1)
        part = pd.DataFrame(
            {
                "query_id": f"j{number}",
                "candidate_id": list(candidates),
                "rank": ranks,
                "score": -ranks.astype(float),
            }
        )
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def test_overlap_by_hand():
    """abcd against bacx, p = .5."""
    overlap = rank_biased_overlap(ranked("abcd"), ranked("bacx"), persistence=0.5)
    agreement = np.array([0, 1, 1, 0.75])  # at depths 1 to 4
    weight = np.array([0.5, 0.25, 0.125, 0.0625])
    expected = agreement[-1] * weight[-1] + (agreement * weight).sum()
    assert overlap["j0"] == pytest.approx(expected)


def test_overlap_of_the_same_order_is_one():
    same = ranked("abcde", "xyz")
    shuffled = same.sample(frac=1, random_state=1)
    assert rank_biased_overlap(same, shuffled).tolist() == pytest.approx([1, 1])


def test_overlap_of_other_candidates_is_zero():
    assert rank_biased_overlap(ranked("abc"), ranked("xyz"))["j0"] == 0


def test_overlap_sees_nothing_below_its_depth():
    overlap = rank_biased_overlap(ranked("abcdef"), ranked("abcxyz"), depth=3)
    assert overlap["j0"] == pytest.approx(1)


def test_a_change_at_the_top_weighs_more():
    before = ranked("abcdefgh")
    changed_top = rank_biased_overlap(before, ranked("bacdefgh"))["j0"]
    changed_end = rank_biased_overlap(before, ranked("abcdefhg"))["j0"]
    assert changed_top < changed_end < 1


def test_rankings_of_other_queries_are_refused():
    both = ranked("abcde", "xyz")
    with pytest.raises(DataError, match="same queries"):
        rank_biased_overlap(both, both[both["query_id"] == "j0"])


@pytest.fixture
def movement():
    """For job 0 of two, b passes a: on average b gains half a place and .5 in score."""
    before = ranked("abcd", "abcd")
    after = ranked("bacd", "abcd")
    groups = pd.Series({"a": "x", "b": "y", "c": "y", "d": "x"})
    compared = compare_rankings(before, after, cutoff=1, groups=groups)
    return compared.set_index(["measure", "group"])


def test_overlap_beyond_the_control_is_what_the_change_costs_more():
    before, swapped = ranked("abcdefgh", "abcdefgh"), ranked("hbcdefga", "abcdefgh")
    control = ranked("bacdefgh", "abcdefgh")
    found = compare_rankings(before, swapped, cutoff=1, control=control).set_index("measure")[
        "value"
    ]
    assert found[RBO_BEYOND] == pytest.approx(found[CONTROL_RBO] - found[RBO])
    assert found[RBO_BEYOND] > 0
    same = compare_rankings(before, swapped, cutoff=1, control=swapped).set_index("measure")[
        "value"
    ]
    assert same[RBO_BEYOND] == 0
    without = compare_rankings(before, swapped, cutoff=1)
    assert RBO_BEYOND not in set(without["measure"])
    assert "without a control" in summarise_overlap(without)
    told = summarise_overlap(compare_rankings(before, swapped, cutoff=1, control=control))
    assert f"gender costs {found[RBO_BEYOND]:.3f} [" in told


def test_the_share_of_the_top_that_stayed(movement):
    assert movement.loc[("top 1 kept", "all"), "value"] == 0.5


def test_movement_is_by_group(movement):
    for measure in ("score shift", "places up"):
        assert movement.loc[(measure, "y"), "value"] == 0.25
        assert movement.loc[(measure, "x"), "value"] == -0.25
        assert movement.loc[(measure, "y"), "n"] == 2


def test_movement_has_an_interval_over_candidates(movement):
    t_quantile = 12.706205  # of one degree of freedom
    half_width = t_quantile * np.std([0.5, 0], ddof=1) / np.sqrt(2)
    high = movement.loc[("score shift", "y"), "high"]
    assert high == pytest.approx(0.25 + half_width)


def test_names_are_clusters_where_every_resume_has_one():
    resumes = pd.DataFrame({"resume_id": ["r0", "r1"], "given_name": ["Kim", "Kim"]})
    assert name_clusters(resumes, "given_name").to_dict() == {"r0": "Kim", "r1": "Kim"}
    assert name_clusters(resumes.assign(given_name=["Kim", ""]), "given_name") is None
    assert name_clusters(resumes, "family_name") is None
