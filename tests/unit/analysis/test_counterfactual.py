"""Overlap of rankings by hand and in its limits, and what moves between two rankings."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis.counterfactual import compare_rankings, rank_biased_overlap
from matchlib.data.schema import DataError


def ranked(*orders, scores=None):
    return pd.DataFrame(
        [
            (f"j{j}", c, i, -float(i))
            for j, order in enumerate(orders)
            for i, c in enumerate(order, start=1)
        ],
        columns=["query_id", "candidate_id", "rank", "score"],
    )


def test_overlap_by_hand():
    """abcd against bacx: agreement 0, 1, 1, 3/4 at depths 1 to 4, p = .5."""
    overlap = rank_biased_overlap(ranked("abcd"), ranked("bacx"), persistence=0.5)
    weights = [0.5, 0.25, 0.125, 0.0625]
    expected = 0.75 * weights[3] + 0 * weights[0] + weights[1] + weights[2] + 0.75 * weights[3]
    assert overlap["j0"] == pytest.approx(expected)


def test_overlap_in_its_limits():
    same = ranked("abcde", "xyz")
    assert rank_biased_overlap(same, same.sample(frac=1, random_state=1)).tolist() == pytest.approx(
        [1, 1]
    )
    assert rank_biased_overlap(ranked("abc"), ranked("xyz"))["j0"] == 0
    assert rank_biased_overlap(ranked("abcdef"), ranked("abcxyz"), depth=3)["j0"] == pytest.approx(
        1
    )
    top, tail = (
        rank_biased_overlap(ranked("abcdefgh"), ranked(other))["j0"]
        for other in ("bacdefgh", "abcdefhg")
    )
    assert top < tail < 1  # a change at the top weighs more
    with pytest.raises(DataError, match="same queries"):
        rank_biased_overlap(same, same[same["query_id"] == "j0"])


def test_what_moved_is_told_by_group():
    """b passes a for the first job only: b gains half a place on average and .5 in score."""
    before, after = ranked("abcd", "abcd"), ranked("bacd", "abcd")
    after.loc[after["candidate_id"].eq("b") & after["query_id"].eq("j0"), "score"] = -1.0
    after.loc[after["candidate_id"].eq("a") & after["query_id"].eq("j0"), "score"] = -2.0
    found = compare_rankings(
        before, after, k=1, groups=pd.Series({"a": "x", "b": "y", "c": "y", "d": "x"})
    )
    values = found.set_index(["measure", "group"])
    assert values.loc[("top 1 kept", "all"), "value"] == 0.5
    assert (
        values.loc[("score shift", "y"), "value"] == 0.25
        and values.loc[("score shift", "x"), "value"] == -0.25
    )
    assert (
        values.loc[("places up", "y"), "value"] == 0.25 and values.loc[("places up", "y"), "n"] == 2
    )
    half = 12.706205 * np.std([0.5, 0], ddof=1) / np.sqrt(2)
    assert values.loc[("score shift", "y"), "high"] == pytest.approx(0.25 + half)
