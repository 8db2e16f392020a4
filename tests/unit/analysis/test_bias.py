"""The audit by hand, beside fairlearn, under permutation of rows, with and without a planted bias."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from matchlib.analysis.bias import (
    audit,
    audit_by_unit,
    audit_slices,
    codes_of,
    count_flags,
    summarise,
)
from matchlib.data.schema import DataError


def ranked(orders):
    """A ranking from {query: candidates, best first}."""
    return pd.DataFrame(
        [(q, c, i) for q, order in orders.items() for i, c in enumerate(order, start=1)],
        columns=["query_id", "candidate_id", "rank"],
    )


def people(groups, **columns):
    return pd.DataFrame(
        {"resume_id": [f"r{i}" for i in range(len(groups))], "gender": list(groups), **columns}
    )


def value(frame, measure, group, column="value"):
    return frame[frame["measure"].eq(measure) & frame["group"].eq(group)][column].item()


@pytest.fixture(scope="module")
def small():
    """Two jobs, four resumes (a, a, b, b): job 1 ranks r0 r1 r2 r3, job 2 r2 r0 r3 r1."""
    ranking = ranked({"j0": ["r0", "r1", "r2", "r3"], "j1": ["r2", "r0", "r3", "r1"]})
    fits = pd.DataFrame({"job_id": ["j0", "j0", "j1", "j1"], "resume_id": ["r0", "r2", "r0", "r3"]})
    return ranking, people("aabb"), {"fit": fits}


def world(*, bias, seed, n_jobs=60, n_people=240, kinds=4):
    """Segregated occupations; the score is a skill, the occupation, noise, less `bias` for a woman."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(kinds, size=n_people)
    woman = rng.random(n_people) < np.linspace(0.1, 0.9, kinds)[kind]
    wanted = rng.integers(kinds, size=n_jobs)
    fit = (
        (wanted[:, None] == kind)
        + 0.3 * rng.normal(size=n_people)
        + 0.3 * rng.normal(size=(n_jobs, n_people))
    )
    score = fit + 0.2 * rng.normal(size=fit.shape) + 0.2 * rng.normal(size=n_people) - bias * woman
    resumes = people(np.where(woman, "woman", "man"), occupation=kind.astype(str))
    jobs = [f"j{i}" for i in range(n_jobs)]
    ranking = ranked(
        {
            job: resumes["resume_id"].to_numpy()[np.argsort(-row)]
            for job, row in zip(jobs, score, strict=True)
        }
    )
    j, r = np.nonzero(fit > np.quantile(fit, 0.97))
    fits = pd.DataFrame(
        {"job_id": np.array(jobs)[j], "resume_id": resumes["resume_id"].to_numpy()[r]}
    )
    return ranking, resumes, {"fit": fits}, pd.Series(wanted.astype(str), index=jobs)


HOW = {"column": "gender", "k": 10, "strata": ["occupation"], "n_permutations": 300}


def test_measures_by_hand(small):
    found = audit(*small, column="gender", k=2, strata=[], smallest=1, n_permutations=0)
    assert value(found, "share of the pool", "a") == 0.5
    assert value(found, "share of the top 2", "a") == 0.75  # r0 r1, r2 r0
    gains = [1 / math.log2(1 + rank) for rank in (1, 2, 3, 4)]
    exposure = (gains[0] + 2 * gains[1] + gains[3]) / sum(gains) / 2
    assert value(found, "share of exposure", "a") == pytest.approx(exposure)
    assert value(found, "share of the qualified, fit", "a") == 0.5
    assert value(found, "recall at 2, fit", "a") == 1 and value(found, "recall at 2, fit", "b") == 0
    assert value(found, "recall gap, fit", "a") == 1 and value(found, "recall gap, fit", "b") == -1
    assert (
        value(found, "selection rate", "a") == 0.75 and value(found, "selection rate", "b") == 0.25
    )
    assert value(found, "selection ratio", "b") == pytest.approx(1 / 3)
    assert value(found, "selection ratio", "b", "note") == "under four fifths"
    assert (
        value(found, "share of the top 2", "a", "n") == 2
        and found["p"].isna().all()
        and not found["flag"].any()
    )


def test_a_group_that_no_ranking_holds_has_no_rate(small):
    ranking, resumes, channels = small
    away = pd.concat([resumes, pd.DataFrame({"resume_id": ["r9"], "gender": ["c"]})])
    fits = pd.concat([channels["fit"], pd.DataFrame({"job_id": ["j0"], "resume_id": ["r9"]})])
    found = audit(
        ranking, away, {"fit": fits}, column="gender", k=2, strata=[], smallest=0, n_permutations=0
    )
    assert np.isnan(value(found, "selection rate", "c")) and np.isnan(
        value(found, "selection ratio", "c")
    )
    assert (
        value(found, "selection ratio", "b") == pytest.approx(1 / 3)
        and value(found, "recall at 2, fit", "c") == 0
    )


def test_as_many_tests_are_told_as_were_made():
    one = pd.DataFrame(
        {
            "measure": ["share"] * 3 + ["recall gap"] * 3,
            "group": list("abc") * 2,
            "value": 0.3,
            "expected": 0.3,
            "p": [0.5, 0.5, 0.5, 0.5, 0.5, np.nan],
            "p_holm": 1.0,
            "flag": False,
            "comparable": 1.0,
        }
    )
    assert summarise(one).startswith("no flag of 5 tests,")


def test_a_qualified_person_whom_the_ranking_left_out_is_missed(small):
    ranking, resumes, channels = small
    cut = ranking[~(ranking["query_id"].eq("j0") & ranking["candidate_id"].eq("r0"))]
    found = audit(
        cut, resumes, channels, column="gender", k=2, strata=[], smallest=1, n_permutations=0
    )
    assert (
        value(found, "recall at 2, fit", "a") == 0.5
        and value(found, "share of the qualified, fit", "a") == 0.5
    )


def test_the_interval_of_a_rate_is_the_clustered_one():
    """Twenty queries in clusters of two that are alike know as much as ten."""
    orders = {f"j{i}": (["r0", "r1"] if i // 2 % 2 else ["r1", "r0"]) for i in range(20)}
    options = {"column": "gender", "k": 1, "strata": [], "smallest": 1, "n_permutations": 0}
    clusters = pd.Series({f"j{i}": i // 2 for i in range(20)})
    fits = {"fit": pd.DataFrame({"job_id": ["j0"], "resume_id": ["r0"]})}
    once = audit(
        ranked({f"j{i}": orders[f"j{2 * i}"] for i in range(10)}), people("ab"), fits, **options
    )
    twice = audit(ranked(orders), people("ab"), fits, **options, clusters=clusters)
    for side in ("value", "low", "high"):
        assert value(twice, "share of the top 1", "a", side) == pytest.approx(
            value(once, "share of the top 1", "a", side)
        )
    half = 2.262157 * np.std([0, 1] * 5, ddof=1) / math.sqrt(10)  # t with 9 degrees of freedom
    assert value(once, "share of the top 1", "b", "low") == pytest.approx(0.5 - half, abs=1e-6)


def test_rates_are_fairlearns():
    """Selection and true positive rate of all pairs, by group and industry, as MetricFrame has them."""
    fairlearn = pytest.importorskip("fairlearn.metrics")
    ranking, resumes, channels, wanted = world(bias=0.5, seed=1)
    options = {**HOW, "n_permutations": 0, "smallest": 1}
    found = audit_slices(ranking, wanted, resumes, channels, **options)
    pairs = ranking.merge(
        channels["fit"].assign(fit=1),
        how="left",
        left_on=["query_id", "candidate_id"],
        right_on=["job_id", "resume_id"],
    )
    frame = fairlearn.MetricFrame(
        metrics={
            "selection rate": fairlearn.selection_rate,
            "recall at 10, fit": fairlearn.true_positive_rate,
        },
        y_true=pairs["fit"].fillna(0).astype(int),
        y_pred=(pairs["rank"] <= 10).astype(int),
        sensitive_features=pairs["candidate_id"]
        .map(resumes.set_index("resume_id")["gender"])
        .rename("group"),
        control_features=pairs["query_id"].map(wanted).rename("slice"),
    )
    for (part, group), row in frame.by_group.iterrows():
        own = found[found["slice"].eq(part)]
        for measure in row.index:
            assert value(own, measure, group) == pytest.approx(row[measure])


def test_the_order_of_rows_does_not_matter():
    ranking, resumes, channels, clusters = world(bias=0.3, seed=2)
    first = audit(ranking, resumes, channels, **HOW, clusters=clusters)
    shuffled = [
        frame.sample(frac=1, random_state=3) for frame in (ranking, resumes, channels["fit"])
    ]
    second = audit(*shuffled[:2], {"fit": shuffled[2]}, **HOW, clusters=clusters)
    exact = ["measure", "group", "value", "low", "high", "n"]
    pd.testing.assert_frame_equal(first[exact], second[exact])
    np.testing.assert_allclose(first["p"], second["p"], atol=0.1)  # another draw of permutations


def test_a_planted_bias_is_flagged_and_its_direction_told():
    ranking, resumes, channels, clusters = world(bias=0.6, seed=3)
    found = audit(ranking, resumes, channels, **HOW, clusters=clusters)
    assert set(found[found["flag"]]["measure"]) == {
        "share of the top 10",
        "share of exposure",
        "recall gap, fit",
    }
    for measure in ("share of the top 10", "share of exposure", "recall gap, fit"):
        assert value(found, measure, "woman") < value(found, measure, "woman", "expected")
    assert value(found, "recall gap, fit", "woman", "p") == pytest.approx(1 / 301)
    assert value(found, "recall gap, fit", "woman", "p_holm") == pytest.approx(
        3 / 301
    )  # three tests, not six


def test_segregation_alone_is_not_flagged_within_occupations():
    """Few audits of no bias are flagged, though shares differ; without strata nearly all are."""
    flags = {"within": 0, "without": 0}
    for seed in range(20):
        ranking, resumes, channels, wanted = world(bias=0, seed=seed, n_jobs=40, n_people=160)
        few = ranking[ranking["query_id"].map(wanted).isin(["0", "1"])]  # the jobs that men do
        for name, strata in (("within", ["occupation"]), ("without", [])):
            found = audit(
                few, resumes, channels, **{**HOW, "strata": strata, "n_permutations": 100}
            )
            flags[name] += found["flag"].any()
    assert flags["within"] <= 4 < 18 <= flags["without"]  # P(more than 4 of 20 at .05) is .003


def test_being_in_more_pools_is_no_gift_of_the_ranker():
    """Men apply more often and the order is drawn at random: few audits flag, and chance expects the pools' shares."""
    resumes, flags = people(["man"] * 100 + ["woman"] * 100), 0
    odds = np.repeat([0.6, 0.4], 100) / 100
    for seed in range(30):
        rng = np.random.default_rng(seed)
        pools = {
            f"j{j}": rng.choice(resumes["resume_id"], 30, replace=False, p=odds) for j in range(60)
        }
        fits = pd.DataFrame(
            [(job, resume) for job, pool in pools.items() for resume in rng.choice(pool, 3, False)],
            columns=["job_id", "resume_id"],
        )
        found = audit(
            ranked(pools), resumes, {"fit": fits}, **HOW | {"strata": [], "n_permutations": 100}
        )
        flags += found["flag"].any()
        assert value(found, "share of the top 10", "woman", "expected") == pytest.approx(
            value(found, "share of the pool", "woman"), abs=0.01
        )
    assert flags <= 5  # P(more than 5 of 30 at .05) is .003


def test_who_is_alone_in_a_stratum_is_not_permuted():
    ranking, resumes, channels, _ = world(bias=0.6, seed=3)
    alone = resumes.assign(occupation=resumes["resume_id"])
    found = audit(ranking, alone, channels, **HOW)
    assert (
        (found["comparable"] == 0).all()
        and found["p"].isna().all()
        and not found["flag"].astype(bool).any()
    )
    assert (found["note"] == "nobody to compare with").sum() == 3 * 2
    half = resumes.assign(
        occupation=resumes["occupation"].where(resumes.index % 2 == 0, resumes["resume_id"])
    )
    assert audit(ranking, half, channels, **HOW)["p"].notna().sum() == 3 * 2


def test_permutations_stay_within_strata_and_are_uniform():
    """Two strata of (a, b) and (a, a, b): the expected share of the top is the mean over all labellings."""
    ranking = ranked({"j0": ["r0", "r2", "r3", "r4", "r1"]})
    resumes = people("abaab", occupation=list("xxyyy"))
    found = audit(
        ranking,
        resumes,
        {"fit": pd.DataFrame({"job_id": ["j0"], "resume_id": ["r0"]})},
        column="gender",
        k=2,
        strata=["occupation"],
        smallest=1,
        n_permutations=20_000,
    )
    assert value(found, "share of the top 2", "a", "expected") == pytest.approx(
        (1 / 2 + 2 / 3) / 2, abs=0.01
    )


def test_small_groups_show_no_figure():
    ranking, resumes, channels, _ = world(bias=0.3, seed=4)
    resumes["gender"] = resumes["gender"].where(resumes.index >= 5, "")
    found = audit(ranking, resumes, channels, **HOW)
    few = found[found["group"] == "not stated"]
    assert (few["note"] == "too few").all() and few[
        ["value", "low", "high", "p", "expected"]
    ].isna().all(axis=None)
    assert not few["flag"].any() and (few[few["measure"] == "share of the pool"]["n"] == 5).all()
    assert found[found["group"] == "man"]["value"].notna().all()


def test_one_of_two_groups_too_small_tests_nothing():
    ranking, resumes, channels, _ = world(bias=0.6, seed=4)
    resumes["gender"] = ["woman"] * 6 + ["man"] * (len(resumes) - 6)
    assert audit(ranking, resumes, channels, **HOW)["p"].isna().all()


def test_three_groups_are_each_tested_against_the_others():
    ranking, resumes, channels, _ = world(bias=0.6, seed=5)
    resumes["gender"] = resumes["gender"].where(resumes.index % 3 > 0, "other")
    found = audit(ranking, resumes, channels, **HOW)
    assert found.groupby("measure")["p"].count().loc["recall gap, fit"] == 3
    assert value(found, "share of exposure", "woman", "p_holm") == pytest.approx(9 / 301)


def test_what_cannot_be_audited_is_said(small):
    ranking, resumes, channels = small
    how = {"column": "gender", "k": 2, "strata": []}
    for options, message in (
        ({"column": "age"}, "no column 'age'"),
        ({"k": 4}, "take a smaller k"),
        ({"strata": ["industry"]}, "'industry' to hold fixed"),
    ):
        with pytest.raises(DataError, match=message):
            audit(ranking, resumes, channels, **{**how, **options})
    with pytest.raises(DataError, match="at least two groups"):
        audit(ranking, resumes.assign(gender="a"), channels, **how)
    with pytest.raises(DataError, match="'r3' is not among"):
        audit(ranking, resumes[:3], channels, **how)
    with pytest.raises(DataError, match="'j1' is in no slice"):
        audit_slices(ranking, pd.Series({"j0": "x"}), resumes, channels, **how)


def test_codes_tell_combinations_apart():
    frame = pd.DataFrame({"a": ["x", "x", "y", None, None], "b": ["1", "2", "1", "1", "1"]})
    codes = codes_of(frame, ["a", "b"])
    assert len(set(codes)) == 4 and codes[3] == codes[4] and codes_of(frame, []).tolist() == [0] * 5


def test_an_audit_in_a_sentence():
    ranking, resumes, channels, _ = world(bias=0.6, seed=3)
    told = summarise(audit(ranking, resumes, channels, **HOW))
    assert told.startswith("flagged, of 3 tests, ") and ": share of the top 10 of woman" in told
    assert "of man " not in told
    told = summarise(
        audit(ranking, resumes.assign(occupation=resumes["resume_id"]), channels, **HOW)
    )
    assert told == "nothing could be tested: groups too small, or nobody to compare them with"
    one = pd.DataFrame(
        {
            "measure": "share",
            "group": list("abc"),
            "value": [0.5, 0.3, 0.2],
            "expected": [0.4, 0.3, 0.2],
            "p": [0.01, 0.5, 0.5],
            "p_holm": [0.03, 1.0, 1.0],
            "flag": [True, False, False],
            "comparable": [0.9, 0.8, 1.0],
        }
    )
    assert summarise(one) == (
        "flagged, of 3 tests, 80% or more of each group compared: share of a 0.500, 0.400 expected"
    )  # nobody's own loss is large enough to be flagged
    assert summarise(one.assign(flag=False)) == (
        "no flag of 3 tests, 80% or more of each group compared (smallest adjusted p 0.03)"
    )
    told = summarise(audit(ranking, resumes, channels, **HOW, smallest=1_000))
    assert told.startswith("nothing could be tested")


def test_a_slice_that_holds_one_group_has_a_note():
    ranking = ranked({"j0": ["r0", "r1", "r2", "r3"], "j1": ["r0", "r1", "r4"]})
    fits = {"fit": pd.DataFrame({"job_id": ["j0", "j1"], "resume_id": ["r0", "r1"]})}
    found = audit_slices(
        ranking,
        pd.Series({"j0": "both", "j1": "one"}),
        people("aabba"),
        fits,
        **HOW | {"k": 2, "strata": [], "n_permutations": 10, "smallest": 1},
    )
    alone = found[found["slice"] == "one"]
    assert alone["note"].tolist() == ["no other group"] and alone["group"].tolist() == ["a"]
    assert alone["value"].isna().all() and set(found[found["slice"] == "both"]["group"]) == {
        "a",
        "b",
    }


def test_flags_are_counted_as_tests_are():
    ranking, resumes, channels, wanted = world(bias=0.6, seed=3)
    assert (
        count_flags(audit(ranking, resumes, channels, **HOW)) == 3
    )  # six rows, of which half mirror the others


def named_world(*, name_effect, seed, segregated=False):
    """People of 8 + 8 names; what an order owes to a name is the name's own, not the gender's."""
    rng = np.random.default_rng(seed)
    names = rng.integers(16, size=240)
    kind = rng.integers(3, size=240)
    if segregated:  # women are common in one occupation and rare in another
        leans = np.array([0.1, 0.5, 0.9])[kind]
        names = np.where(
            rng.random(240) < leans, rng.integers(8, size=240), rng.integers(8, 16, size=240)
        )
    kind = kind.astype(str)
    taste = name_effect * rng.normal(size=16)
    score = rng.normal(size=(60, 240)) + taste[names]
    resumes = people(
        np.where(names < 8, "woman", "man"), occupation=kind, given_name=names.astype(str)
    )
    orders = {
        f"j{i}": resumes["resume_id"].to_numpy()[np.argsort(-row)] for i, row in enumerate(score)
    }
    return ranked(orders), resumes


def test_a_test_over_names_speaks_of_names():
    """An encoder that likes single names, not a gender: a test over persons finds a gender, one over names does not."""
    by_person, by_name, quiet = [], [], []
    for seed in range(60):
        ranking, resumes = named_world(name_effect=0.6, seed=seed)
        persons = audit(ranking, resumes, {}, **HOW | {"n_permutations": 200})
        by_person.append(value(persons, "share of the top 10", "woman", "p"))
        names = audit_by_unit(ranking, resumes, unit="given_name", **HOW | {"n_permutations": 200})
        by_name.append(names.set_index("group").loc["woman", "p"])
        ranking, resumes = named_world(name_effect=0.0, seed=seed)
        names = audit_by_unit(ranking, resumes, unit="given_name", **HOW | {"n_permutations": 200})
        quiet.append(names.set_index("group").loc["woman"])
    assert np.mean(np.array(by_person) < 0.05) > 0.4 > 0.15 > np.mean(np.array(by_name) < 0.05)
    covered = [row["low"] < 0 < row["high"] for row in quiet]
    assert np.mean(covered) > 0.85 and np.mean([row["p"] < 0.05 for row in quiet]) < 0.15


@pytest.mark.parametrize("segregated", [False, True])
def test_a_test_over_names_has_its_size_where_occupations_are_segregated(segregated):
    """With names permuted over all strata, 0 of 200 tests had p < .05 under segregation: it could find nothing."""
    rows = []
    for seed in range(150):
        ranking, resumes = named_world(name_effect=0.3, seed=seed, segregated=segregated)
        found = audit_by_unit(ranking, resumes, unit="given_name", **HOW | {"n_permutations": 200})
        rows.append(found.set_index("group").loc["woman"])
    rows = pd.DataFrame(rows)
    assert 0.005 < (rows["p"] < 0.05).mean() < 0.12
    errors = (rows["high"] - rows["low"]) / 2 / stats.t.ppf(0.975, 15)
    assert errors.mean() == pytest.approx(rows["excess"].std(), rel=0.25)


def test_a_test_over_names_adds_up_to_the_audit():
    ranking, resumes = named_world(name_effect=0.6, seed=1)
    names = audit_by_unit(ranking, resumes, unit="given_name", **HOW).set_index("group")
    persons = audit(ranking, resumes, {}, **HOW | {"n_permutations": 3_000})
    gap = value(persons, "share of the top 10", "woman") - value(
        persons, "share of the top 10", "woman", "expected"
    )
    assert names.loc["woman", "excess"] == pytest.approx(gap, abs=0.003)
    assert (
        names["excess"].sum() == pytest.approx(0)
        and names["n_units"].tolist() == [8, 8]
        and names["n"].sum() == 240
    )
    with pytest.raises(DataError, match="no column 'name'"):
        audit_by_unit(ranking, resumes, unit="name", **HOW)
    with pytest.raises(DataError, match="stands in two groups"):
        audit_by_unit(ranking, resumes.assign(given_name="Kim"), unit="given_name", **HOW)
