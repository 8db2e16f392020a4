"""Groups and their intersections: counts by hand, the test beside all permutations, awkward columns."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis import intersections as inter
from matchlib.analysis.bias import AuditSettings, groups_of
from matchlib.data.missing import is_missing
from matchlib.data.schema import DataError


def people(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"resume_id": [f"r{i}" for i in range(n)], **columns})


def groups_in(resumes, columns, **settings):
    settings = inter.GroupSettings(**{"min_group_size": 1} | settings)
    return inter.protected_groups(resumes, columns, pooled=resumes["resume_id"], settings=settings)


def status(table, column, group):
    return table[table["column"].eq(column) & table["group"].eq(group)]["status"].item()


@pytest.mark.parametrize(
    "text", ["", " ", "N/A", "Unknown", "prefer_not to  say", "?", None, np.nan]
)
def test_missing_values_are_known_under_several_spellings(text):
    values = pd.Series(["woman", text, "none"], dtype=object)
    assert is_missing(values).tolist() == [False, True, False]
    groups = groups_of(people(gender=["woman", text, "man"]), "gender")
    assert groups.tolist() == ["woman", "not stated", "man"]


def test_groups_and_intersections_are_counted_with_their_shares():
    resumes = people(gender=["f", "f", "m", "n/a"], ethnicity=["a", "b", "a", "a"])
    table = groups_in(resumes, ["gender", "ethnicity"]).table
    counted = table.set_index(["column", "group"])
    assert counted.loc[("gender", "f"), ["people", "share"]].tolist() == [2, pytest.approx(2 / 3)]
    assert counted.loc[("gender", "not stated"), "people"] == 1
    assert counted.loc[("gender × ethnicity", "f × a"), "people"] == 1
    assert counted.loc[("gender × ethnicity", "not stated"), "people"] == 1
    assert len(table) == 3 + 2 + 4  # m × b has nobody


def test_groups_under_two_percent_are_listed_and_left_out_on_request():
    resumes = people(ethnicity=["a"] * 98 + ["b"] * 51 + ["c"] * 2)
    kept = groups_in(resumes, ["ethnicity"])
    left_out = groups_in(resumes, ["ethnicity"], exclude_under=0.02)
    assert ("ethnicity", "c") in kept.membership
    assert ("ethnicity", "c") not in left_out.membership
    assert status(left_out.table, "ethnicity", "c") == inter.SMALL
    assert "1 under 2% of the people" in inter.summarise_groups(kept.table)
    assert kept.smallest == "the smallest audited group is ethnicity: c, 2 people"


def test_one_person_and_a_group_that_no_pool_holds_are_counted_not_audited():
    resumes = people(ethnicity=["a"] * 5 + ["b"] * 5 + ["c", "d"])
    pooled = resumes["resume_id"].iloc[:11]
    settings = inter.GroupSettings(min_group_size=2)
    groups = inter.protected_groups(resumes, ["ethnicity"], pooled=pooled, settings=settings)
    assert status(groups.table, "ethnicity", "c") == inter.TOO_FEW
    assert status(groups.table, "ethnicity", "d") == inter.NOT_POOLED
    assert len(groups.membership) == 11
    said = inter.summarise_groups(groups.table)
    assert "2 groups audited" in said
    assert "1 in no pool" in said


def test_free_text_and_a_single_group_are_left_out_with_a_reason():
    resumes = people(
        gender=["f", "m"] * 20,
        ethnicity=[f"my mother is from {i}" for i in range(40)],
        religion=["none"] * 40,
    )
    named = ["gender", "ethnicity", "religion"]
    table = inter.describe_columns(resumes, named).set_index("column")
    assert table["audited"].to_dict() == {"gender": True, "ethnicity": False, "religion": False}
    assert "free text" in table.loc["ethnicity", "reason"]
    assert "1 group" in table.loc["religion", "reason"]
    unnamed = inter.describe_columns(resumes, []).set_index("column")
    assert "more than 10 groups" in unnamed.loc["ethnicity", "reason"]
    with pytest.raises(DataError, match="no column 'race'"):
        inter.describe_columns(resumes, ["race"])


def test_the_summary_says_for_each_outcome_what_could_not_have_been_found():
    rows = [
        ("gender", "f", inter.SELECTION, 0.3, inter.NOT_FINDABLE),
        ("gender", "m", inter.SELECTION, 0.3, inter.NOT_FINDABLE),
        ("gender", "f", inter.STANDING, 0.2, "not named"),
        ("gender", "m", inter.STANDING, 0.2, "not named"),
    ]
    columns = ["column", "group", "outcome", "p_adjusted", "finding"]
    said = inter.summarise_gaps(pd.DataFrame(rows, columns=columns).assign(only_here=False))
    assert said == (
        "no group is named (one test of all: p 0.200); a gap worth finding could not have been found "
        "in selection rate for 2 of 2 groups"
    )
    seen = pd.DataFrame(rows[2:], columns=columns).assign(only_here=False)
    assert inter.summarise_gaps(seen) == "no group is named (one test of all: p 0.200)"


def test_thirty_groups_are_one_test(rng):
    resumes = people(ethnicity=[f"g{i % 30}" for i in range(900)])
    groups = groups_in(resumes, ["ethnicity"])
    outcomes = pd.DataFrame({"standing": rng.normal(size=900)}, index=groups.membership.index)
    permuted = permuted_gaps(outcomes, np.zeros(900, int), groups.membership)
    results = inter.read_gaps(permuted)
    assert len(results) == 30
    assert results["p"].min() < 0.1  # of 30 groups one looks unlikely
    assert results["p_adjusted"].min() > 0.05
    assert "no group is named" in inter.summarise_gaps(results)


def permuted_gaps(outcomes, strata, membership, **settings):
    defaults = {"gaps_to_find": dict.fromkeys(outcomes, 0.1), "n_permutations": 2_000, "seed": 1}
    return inter.permute_outcomes(outcomes, strata, membership, **defaults | settings)


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def test_spread_is_that_of_all_permutations():
    values = np.array([0.1, 0.5, 0.2, 0.9])
    index = list("abcd")
    membership = pd.DataFrame({("g", "x"): [True, False, False, False]}, index=index)
    permuted = permuted_gaps(pd.DataFrame({"y": values}, index=index), np.zeros(4, int), membership)
    sums = [order[0] - values.mean() for order in permutations(values)]
    assert permuted.spread[0, 0] == pytest.approx(np.std(sums))
    assert permuted.observed[0, 0] == pytest.approx(0.1 - values.mean())


def test_gap_is_the_difference_within_strata(rng):
    """With strata as fixed effects in a regression."""
    strata = rng.integers(3, size=200)
    is_member = rng.random(200) < np.array([0.2, 0.5, 0.8])[strata]
    outcome = strata + 0.3 * is_member + 0.1 * rng.normal(size=200)
    membership = pd.DataFrame({("g", "x"): is_member})
    permuted = permuted_gaps(pd.DataFrame({"y": outcome}), strata, membership)
    design = np.column_stack([is_member, np.eye(3)[strata]]).astype(float)
    effect = np.linalg.lstsq(design, outcome, rcond=None)[0][0]
    assert inter.read_gaps(permuted)["gap"].item() == pytest.approx(effect)


def test_step_down_by_hand():
    permuted = np.array([[1.0, 0.0], [0.0, 3.0], [2.0, 0.0]])
    adjusted = inter.step_down(np.array([2.5, 1.5]), permuted)
    # 2.5 against the largest of both (1, 3, 2): 1 as large; 1.5 against the second alone (0, 3, 0)
    assert adjusted.tolist() == [2 / 4, 2 / 4]
    assert inter.step_down(np.array([3.5, 1.5]), permuted).tolist() == [1 / 4, 2 / 4]


def make_ranking(scores, resumes):
    jobs = [f"j{i}" for i in range(len(scores))]
    order = np.argsort(-scores, axis=1)
    return pd.DataFrame(
        {
            "query_id": np.repeat(jobs, scores.shape[1]),
            "candidate_id": resumes["resume_id"].to_numpy()[order].ravel(),
            "rank": np.tile(np.arange(1, scores.shape[1] + 1), len(scores)),
        }
    )


def test_a_bias_that_only_an_intersection_shows_is_named(rng):
    gender = np.repeat(["f", "m"], 120)
    ethnicity = np.tile(["a", "b"], 120)
    bias = np.where((gender == "f") == (ethnicity == "b"), -0.5, 0.5)
    resumes = people(gender=gender, ethnicity=ethnicity)
    scores = bias + rng.normal(size=(30, 240)) + 0.5 * rng.normal(size=240)
    ranking = make_ranking(scores, resumes)
    groups = groups_in(resumes, ["gender", "ethnicity"])
    permuted = inter.permute_groups(
        ranking,
        resumes,
        groups,
        audit=AuditSettings(cutoff=10, strata=[], n_permutations=500),
        settings=inter.GroupSettings(),
    )
    results = inter.read_gaps(permuted)
    named = results[results["finding"] == inter.FOUND_LOWER]
    assert set(named["column"]) == {"gender × ethnicity"}
    assert set(named["group"]) == {"f × b", "m × a"}
    assert "f × b" in inter.summarise_gaps(results)


def test_a_named_column_explains_its_intersections(rng):
    gender = np.repeat(["f", "m"], 150)
    resumes = people(gender=gender, ethnicity=np.tile(["a", "b"], 150))
    outcomes = pd.DataFrame({"y": rng.normal(size=300) - 2 * (gender == "f")})
    groups = groups_in(resumes, ["gender", "ethnicity"])
    results = inter.read_gaps(
        permuted_gaps(
            outcomes.set_axis(groups.membership.index), np.zeros(300, int), groups.membership
        )
    )
    named = results[results["finding"] == inter.FOUND_LOWER]
    assert {"f", "f × a", "f × b"} <= set(named["group"])
    assert named[named["only_here"]]["group"].tolist() == ["f"]


def test_outcomes_by_hand():
    resumes = people(gender=["f", "m", "m"])
    ranking = make_ranking(np.array([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0]]), resumes)
    outcomes = inter.person_outcomes(ranking, 1).loc[["r0", "r1", "r2"]]
    assert outcomes[inter.STANDING].tolist() == [0.5, 0.75, 0.25]
    assert outcomes[inter.SELECTION].tolist() == pytest.approx([1 / 6, 1 / 6, -1 / 3])


def test_smallest_gap_shrinks_with_people_and_says_what_could_not_be_found(rng):
    gaps = {}
    for n in (60, 600):
        membership = pd.DataFrame({("g", "x"): np.arange(n) % 2 == 0})
        outcomes = pd.DataFrame({"y": rng.normal(size=n)})
        permuted = permuted_gaps(outcomes, np.zeros(n, int), membership, gaps_to_find={"y": 0.4})
        gaps[n] = inter.smallest_gaps(permuted).iloc[0]
        results = inter.read_gaps(permuted).iloc[0]
        assert results["finding"].endswith("power" if n == 600 else inter.NOT_FINDABLE)
    # the two-sided 5% test of two means: (1.96 + .84) * sqrt(1/300 + 1/300)
    assert gaps[600]["smallest_gap"] == pytest.approx(2.8 * np.sqrt(2 / 300), rel=0.1)
    assert not gaps[60]["findable"]


def test_the_statement_of_power_does_not_depend_on_who_got_what(rng):
    """The same outcomes and sizes, other people in the group: the statement rests on the same figures."""
    outcomes = pd.DataFrame({"y": rng.normal(size=100)})
    stated = []
    for is_member in (np.arange(100) < 30, rng.permutation(100) < 30):
        permuted = permuted_gaps(
            outcomes, np.zeros(100, int), pd.DataFrame({("g", "x"): is_member})
        )
        stated.append([permuted.spread.item(), permuted.weight.item(), permuted.drift.item()])
    assert stated[0] == pytest.approx(stated[1])


def test_wider_strata_pay_for_every_column(rng):
    membership = pd.DataFrame({("g", "x"): np.arange(80) < 40})
    outcomes = pd.DataFrame({"y": rng.normal(size=80) + 0.55 * (np.arange(80) < 40)})
    one = permuted_gaps(outcomes, np.zeros(80, int), membership)
    alone = inter.read_wider_strata({"g": one})["p_adjusted"].item()
    among_three = inter.read_wider_strata({"g": one, "h": one, "i": one})
    assert alone == inter.read_gaps(one)["p_adjusted"].item()
    assert among_three["p_adjusted"].tolist() == [pytest.approx(3 * alone)] * 3
    assert inter.read_wider_strata({}).empty


def test_a_group_alone_in_its_strata_is_not_tested():
    membership = pd.DataFrame({("g", "x"): [True, True, False, False]})
    outcomes = pd.DataFrame({"y": [1.0, 2, 3, 4]})
    permuted = permuted_gaps(outcomes, np.array([0, 0, 1, 1]), membership)
    assert inter.smallest_gaps(permuted).empty
    assert "nothing could have been found" in inter.summarise_gaps(inter.read_gaps(permuted))


def test_without_a_protected_column_there_are_no_groups():
    groups = groups_in(people(skills=["a", "b"]), [])
    assert groups.smallest == "no group is large enough to be audited"
    assert inter.summarise_groups(groups.table).startswith("0 groups audited")
    assert groups.membership.shape == (2, 0)
    outcomes = pd.DataFrame({"y": [1.0, 2.0]}, index=groups.membership.index)
    permuted = permuted_gaps(outcomes, np.zeros(2, int), groups.membership)
    assert inter.smallest_gaps(permuted).empty
    assert "nothing could have been found" in inter.summarise_gaps(inter.read_gaps(permuted))


def test_without_permutations_there_is_no_test():
    membership = pd.DataFrame({("g", "x"): [True, False]})
    with pytest.raises(DataError, match="n_permutations"):
        permuted_gaps(pd.DataFrame({"y": [1.0, 2]}), np.zeros(2, int), membership, n_permutations=0)


def test_age_bands():
    bands = inter.age_bands(pd.Series(["39", "40", "n/a", "71"]), edges=[40, 60])
    assert bands.tolist() == ["under 40", "40 to 59", "", "60 and over"]
