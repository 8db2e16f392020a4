"""The audit by hand, beside fairlearn, under permutation of rows, with and without planted bias."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from matchlib.analysis.bias import (
    AuditSettings,
    audit_by_name,
    audit_ranking,
    audit_slices,
    audit_systems,
    codes_of,
    columns_to_audit,
    count_flags,
    has_names,
    summarise_audit,
    summarise_tested_columns,
)
from matchlib.data.schema import DataError


def ranked(orders):
    """A ranking from {query: candidates, best first}."""
    parts = []
    for query, candidates in orders.items():
        ranks = range(1, len(candidates) + 1)
        part = pd.DataFrame({"query_id": query, "candidate_id": list(candidates), "rank": ranks})
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def people(groups, **columns):
    ids = [f"r{i}" for i in range(len(groups))]
    return pd.DataFrame({"resume_id": ids, "gender": list(groups), **columns})


def value(audit, measure, group, column="value"):
    is_row = audit["measure"].eq(measure) & audit["group"].eq(group)
    return audit[is_row][column].item()


def settings(**changes):
    """Of worlds with occupations, with few permutations."""
    defaults = {"cutoff": 10, "strata": ["occupation"], "n_permutations": 300}
    return AuditSettings(**defaults | changes)


def audit_gender(ranking, resumes, judgment_sets, **changes):
    return audit_ranking(
        ranking, resumes, judgment_sets, column="gender", settings=settings(**changes)
    )


BY_HAND = {"cutoff": 2, "strata": [], "min_group_size": 1, "n_permutations": 0}


@pytest.fixture(scope="module")
def small():
    """Two jobs, four resumes (a, a, b, b): job 0 ranks r0 r1 r2 r3, job 1 r2 r0 r3 r1."""
    ranking = ranked(
        {
            "j0": ["r0", "r1", "r2", "r3"],
            "j1": ["r2", "r0", "r3", "r1"],
        }
    )
    fits = pd.DataFrame(
        {
            "job_id": ["j0", "j0", "j1", "j1"],
            "resume_id": ["r0", "r2", "r0", "r3"],
        }
    )
    return ranking, people("aabb"), {"fit": fits}


def make_world(*, bias, seed, n_jobs=60, n_people=240, n_occupations=4):
    """Segregated occupations; the score is skill, occupation and noise, less `bias` for a woman.

    Returns ranking, resumes, judgment sets and the jobs' occupations.
    """
    rng = np.random.default_rng(seed)
    occupation = rng.integers(n_occupations, size=n_people)
    share_of_women = np.linspace(0.1, 0.9, n_occupations)[occupation]
    is_woman = rng.random(n_people) < share_of_women
    wanted = rng.integers(n_occupations, size=n_jobs)
    fit = (wanted[:, None] == occupation) + 0.3 * rng.normal(size=n_people)
    fit = fit + 0.3 * rng.normal(size=(n_jobs, n_people))
    score = fit + 0.2 * rng.normal(size=fit.shape) + 0.2 * rng.normal(size=n_people)
    score = score - bias * is_woman
    resumes = people(np.where(is_woman, "woman", "man"), occupation=occupation.astype(str))
    ids = resumes["resume_id"].to_numpy()
    jobs = np.array([f"j{i}" for i in range(n_jobs)])
    ranking = ranked({job: ids[np.argsort(-row)] for job, row in zip(jobs, score, strict=True)})
    job, resume = np.nonzero(fit > np.quantile(fit, 0.97))
    fits = pd.DataFrame({"job_id": jobs[job], "resume_id": ids[resume]})
    return ranking, resumes, {"fit": fits}, pd.Series(wanted.astype(str), index=jobs)


@pytest.fixture(scope="module")
def biased_world():
    return make_world(bias=0.6, seed=3)


def test_shares_by_hand(small):
    audit = audit_gender(*small, **BY_HAND)
    assert value(audit, "share of the pool", "a") == 0.5
    assert value(audit, "share of the top 2", "a") == 0.75  # r0 r1, r2 r0
    assert value(audit, "share of the top 2", "a", "n") == 2
    assert value(audit, "share of the qualified, fit", "a") == 0.5
    gains = [1 / math.log2(1 + rank) for rank in (1, 2, 3, 4)]
    exposure = (gains[0] + 2 * gains[1] + gains[3]) / sum(gains) / 2
    assert value(audit, "share of exposure", "a") == pytest.approx(exposure)


def test_recall_by_hand(small):
    audit = audit_gender(*small, **BY_HAND)
    assert value(audit, "recall at 2, fit", "a") == 1
    assert value(audit, "recall at 2, fit", "b") == 0
    assert value(audit, "recall gap, fit", "a") == 1
    assert value(audit, "recall gap, fit", "b") == -1


def test_selection_by_hand(small):
    audit = audit_gender(*small, **BY_HAND)
    assert value(audit, "selection rate", "a") == 0.75
    assert value(audit, "selection rate", "b") == 0.25
    assert value(audit, "selection ratio", "b") == pytest.approx(1 / 3)
    assert value(audit, "selection ratio", "b", "note") == "under four fifths"


def test_without_permutations_nothing_is_tested(small):
    audit = audit_gender(*small, **BY_HAND)
    assert audit["p"].isna().all()
    assert not audit["flag"].any()


def test_a_group_that_no_ranking_holds_has_no_rate(small):
    ranking, resumes, judgment_sets = small
    unranked = pd.DataFrame({"resume_id": ["r9"], "gender": ["c"]})
    missed = pd.DataFrame({"job_id": ["j0"], "resume_id": ["r9"]})
    audit = audit_gender(
        ranking,
        pd.concat([resumes, unranked]),
        {"fit": pd.concat([judgment_sets["fit"], missed])},
        **BY_HAND | {"min_group_size": 0},
    )
    assert np.isnan(value(audit, "selection rate", "c"))
    assert np.isnan(value(audit, "selection ratio", "c"))
    assert value(audit, "selection ratio", "b") == pytest.approx(1 / 3)
    assert value(audit, "recall at 2, fit", "c") == 0


def test_a_qualified_person_who_is_not_ranked_is_missed(small):
    ranking, resumes, judgment_sets = small
    is_r0 = ranking["query_id"].eq("j0") & ranking["candidate_id"].eq("r0")
    audit = audit_gender(ranking[~is_r0], resumes, judgment_sets, **BY_HAND)
    assert value(audit, "recall at 2, fit", "a") == 0.5
    assert value(audit, "share of the qualified, fit", "a") == 0.5


def test_the_interval_of_a_rate_is_the_clustered_one():
    """Twenty queries in clusters of two that are alike carry as much information as ten."""
    options = BY_HAND | {"cutoff": 1}
    fits = {"fit": pd.DataFrame({"job_id": ["j0"], "resume_id": ["r0"]})}
    orders = {}
    for i in range(20):
        orders[f"j{i}"] = ["r0", "r1"] if i // 2 % 2 else ["r1", "r0"]
    halved = {f"j{i}": orders[f"j{2 * i}"] for i in range(10)}
    clusters = pd.Series({f"j{i}": i // 2 for i in range(20)})
    once = audit_gender(ranked(halved), people("ab"), fits, **options)
    twice = audit_gender(ranked(orders), people("ab"), fits, **options, clusters=clusters)
    for column in ("value", "low", "high"):
        expected = value(once, "share of the top 1", "a", column)
        assert value(twice, "share of the top 1", "a", column) == pytest.approx(expected)
    t_quantile = 2.262157  # of 9 degrees of freedom
    half_width = t_quantile * np.std([0, 1] * 5, ddof=1) / math.sqrt(10)
    low = value(once, "share of the top 1", "b", "low")
    assert low == pytest.approx(0.5 - half_width, abs=1e-6)


def test_rates_are_those_of_fairlearn():
    """Selection and true positive rate of all pairs, by group and slice."""
    fairlearn = pytest.importorskip("fairlearn.metrics")
    ranking, resumes, judgment_sets, occupations = make_world(bias=0.5, seed=1)
    audit = audit_slices(
        ranking,
        occupations,
        resumes,
        judgment_sets,
        column="gender",
        settings=settings(n_permutations=0, min_group_size=1),
    )
    fits = judgment_sets["fit"].rename(columns={"job_id": "query_id", "resume_id": "candidate_id"})
    pairs = ranking.merge(fits.assign(fit=1), how="left", on=["query_id", "candidate_id"])
    gender = resumes.set_index("resume_id")["gender"]
    frame = fairlearn.MetricFrame(
        metrics={
            "selection rate": fairlearn.selection_rate,
            "recall at 10, fit": fairlearn.true_positive_rate,
        },
        y_true=pairs["fit"].fillna(0).astype(int),
        y_pred=(pairs["rank"] <= 10).astype(int),
        sensitive_features=pairs["candidate_id"].map(gender).rename("group"),
        control_features=pairs["query_id"].map(occupations).rename("slice"),
    )
    for (name, group), rates in frame.by_group.iterrows():
        own = audit[audit["slice"] == name]
        for measure, expected in rates.items():
            assert value(own, measure, group) == pytest.approx(expected)


def test_the_order_of_rows_does_not_matter():
    ranking, resumes, judgment_sets, clusters = make_world(bias=0.3, seed=2)
    first = audit_gender(ranking, resumes, judgment_sets, clusters=clusters)
    second = audit_gender(
        ranking.sample(frac=1, random_state=3),
        resumes.sample(frac=1, random_state=3),
        {"fit": judgment_sets["fit"].sample(frac=1, random_state=3)},
        clusters=clusters,
    )
    exact = ["measure", "group", "value", "low", "high", "n"]
    pd.testing.assert_frame_equal(first[exact], second[exact])
    # people are permuted in another order
    np.testing.assert_allclose(first["p"], second["p"], atol=0.1)


TESTED = ("share of the top 10", "share of exposure", "recall gap, fit")


def test_a_planted_bias_is_flagged_in_its_direction(biased_world):
    ranking, resumes, judgment_sets, clusters = biased_world
    audit = audit_gender(ranking, resumes, judgment_sets, clusters=clusters)
    assert set(audit[audit["flag"]]["measure"]) == set(TESTED)
    for measure in TESTED:
        expected = value(audit, measure, "woman", "expected")
        assert value(audit, measure, "woman") < expected
    assert value(audit, "recall gap, fit", "woman", "p") == pytest.approx(1 / 301)
    # three tests, not six
    assert value(audit, "recall gap, fit", "woman", "p_holm") == pytest.approx(3 / 301)


def test_segregation_alone_is_not_flagged_within_occupations():
    """Few audits without bias are flagged, though shares differ; without strata nearly all are."""
    n_flagged = {"within": 0, "without": 0}
    for seed in range(20):
        world = make_world(bias=0, seed=seed, n_jobs=40, n_people=160)
        ranking, resumes, judgment_sets, occupations = world
        is_male_job = ranking["query_id"].map(occupations).isin(["0", "1"])
        for name, strata in (("within", ["occupation"]), ("without", [])):
            audit = audit_gender(
                ranking[is_male_job],
                resumes,
                judgment_sets,
                strata=strata,
                n_permutations=100,
            )
            n_flagged[name] += audit["flag"].any()
    assert n_flagged["within"] <= 4  # P(more than 4 of 20 at .05) is .003
    assert n_flagged["without"] >= 18


def test_being_in_more_pools_is_not_credited_to_the_ranker():
    """Men apply more often and the order is random: few audits are flagged, and the expected shares
    are those of the pools."""
    resumes = people(["man"] * 100 + ["woman"] * 100)
    probability = np.repeat([0.6, 0.4], 100) / 100
    n_flagged = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        pools = {}
        qualified = []
        for i in range(60):
            pools[f"j{i}"] = rng.choice(resumes["resume_id"], 30, replace=False, p=probability)
            chosen = rng.choice(pools[f"j{i}"], 3, replace=False)
            qualified.append(pd.DataFrame({"job_id": f"j{i}", "resume_id": chosen}))
        fits = {"fit": pd.concat(qualified)}
        audit = audit_gender(ranked(pools), resumes, fits, strata=[], n_permutations=100)
        n_flagged += audit["flag"].any()
        expected = value(audit, "share of the top 10", "woman", "expected")
        pool_share = value(audit, "share of the pool", "woman")
        assert expected == pytest.approx(pool_share, abs=0.01)
    assert n_flagged <= 5  # P(more than 5 of 30 at .05) is .003


def test_people_alone_in_their_stratum_are_not_permuted(biased_world):
    ranking, resumes, judgment_sets, _ = biased_world
    alone = resumes.assign(occupation=resumes["resume_id"])
    audit = audit_gender(ranking, alone, judgment_sets)
    assert (audit["comparable"] == 0).all()
    assert audit["p"].isna().all()
    assert not audit["flag"].astype(bool).any()
    assert (audit["note"] == "nobody to compare with").sum() == len(TESTED) * 2


def test_where_half_can_be_compared_all_is_tested(biased_world):
    ranking, resumes, judgment_sets, _ = biased_world
    is_even = resumes.index % 2 == 0
    half_alone = resumes["occupation"].where(is_even, resumes["resume_id"])
    audit = audit_gender(ranking, resumes.assign(occupation=half_alone), judgment_sets)
    assert audit["p"].notna().sum() == len(TESTED) * 2


def test_permutations_stay_within_strata_and_are_uniform():
    """Two strata of (a, b) and (a, a, b): the expected share is the mean over all labellings."""
    ranking = ranked({"j0": ["r0", "r2", "r3", "r4", "r1"]})
    resumes = people("abaab", occupation=list("xxyyy"))
    fits = {"fit": pd.DataFrame({"job_id": ["j0"], "resume_id": ["r0"]})}
    audit = audit_gender(ranking, resumes, fits, cutoff=2, min_group_size=1, n_permutations=20_000)
    expected = value(audit, "share of the top 2", "a", "expected")
    assert expected == pytest.approx((1 / 2 + 2 / 3) / 2, abs=0.01)


def test_small_groups_show_no_figure():
    ranking, resumes, judgment_sets, _ = make_world(bias=0.3, seed=4)
    resumes["gender"] = resumes["gender"].where(resumes.index >= 5, "")
    audit = audit_gender(ranking, resumes, judgment_sets)
    small_group = audit[audit["group"] == "not stated"]
    assert (small_group["note"] == "too few").all()
    figures = ["value", "low", "high", "p", "expected"]
    assert small_group[figures].isna().all(axis=None)
    assert not small_group["flag"].any()
    assert value(audit, "share of the pool", "not stated", "n") == 5
    assert audit[audit["group"] == "man"]["value"].notna().all()


def test_one_of_two_groups_too_small_tests_nothing():
    ranking, resumes, judgment_sets, _ = make_world(bias=0.6, seed=4)
    resumes["gender"] = ["woman"] * 6 + ["man"] * (len(resumes) - 6)
    assert audit_gender(ranking, resumes, judgment_sets)["p"].isna().all()


def test_three_groups_are_each_tested_against_the_others():
    ranking, resumes, judgment_sets, _ = make_world(bias=0.6, seed=5)
    resumes["gender"] = resumes["gender"].where(resumes.index % 3 > 0, "other")
    audit = audit_gender(ranking, resumes, judgment_sets)
    n_tests = audit.groupby("measure")["p"].count()
    assert n_tests["recall gap, fit"] == 3
    assert value(audit, "share of exposure", "woman", "p_holm") == pytest.approx(9 / 301)


@pytest.mark.parametrize(
    ("column", "changes", "message"),
    [
        ("age", {}, "no column 'age'"),
        ("gender", {"cutoff": 4}, "take a smaller cutoff"),
        ("gender", {"strata": ["industry"]}, "'industry' to hold fixed"),
    ],
)
def test_settings_that_cannot_be_audited_are_refused(small, column, changes, message):
    with pytest.raises(DataError, match=message):
        audit_ranking(*small, column=column, settings=settings(**BY_HAND | changes))


def test_people_that_cannot_be_audited_are_refused(small):
    ranking, resumes, judgment_sets = small
    with pytest.raises(DataError, match="at least two groups"):
        audit_gender(ranking, resumes.assign(gender="a"), judgment_sets, **BY_HAND)
    with pytest.raises(DataError, match="'r3' is not among"):
        audit_gender(ranking, resumes[:3], judgment_sets, **BY_HAND)


def test_a_query_without_a_slice_is_refused(small):
    ranking, resumes, judgment_sets = small
    with pytest.raises(DataError, match="'j1' is in no slice"):
        audit_slices(
            ranking,
            pd.Series({"j0": "x"}),
            resumes,
            judgment_sets,
            column="gender",
            settings=settings(**BY_HAND),
        )


def test_codes_tell_combinations_apart():
    frame = pd.DataFrame(
        {
            "a": ["x", "x", "y", None, None],
            "b": ["1", "2", "1", "1", "1"],
        }
    )
    codes = codes_of(frame, ["a", "b"])
    assert len(set(codes)) == 4
    assert codes[3] == codes[4]
    assert codes_of(frame, []).tolist() == [0] * 5


def test_the_summary_names_who_got_less_than_expected(biased_world):
    ranking, resumes, judgment_sets, _ = biased_world
    summary = summarise_audit(audit_gender(ranking, resumes, judgment_sets))
    assert summary.startswith("flagged, of 3 tests, ")
    assert ": share of the top 10 of woman" in summary
    assert "of man " not in summary


def test_the_summary_says_that_nothing_could_be_tested(biased_world):
    ranking, resumes, judgment_sets, _ = biased_world
    alone = resumes.assign(occupation=resumes["resume_id"])
    untested = "nothing could be tested: groups too small, or nobody to compare them with"
    assert summarise_audit(audit_gender(ranking, alone, judgment_sets)) == untested
    too_small = audit_gender(ranking, resumes, judgment_sets, min_group_size=1_000)
    assert summarise_audit(too_small) == untested


def test_the_summary_of_a_gain_and_of_no_flag():
    audit = pd.DataFrame(
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
    # no group's own loss is large enough to be flagged, so the gain is named
    assert summarise_audit(audit) == (
        "flagged, of 3 tests, 80% or more of each group compared: share of a 0.500, 0.400 expected"
    )
    assert summarise_audit(audit.assign(flag=False)) == (
        "no flag of 3 tests, 80% or more of each group compared (smallest adjusted p 0.03)"
    )


def test_the_summary_counts_the_tests_that_were_made():
    audit = pd.DataFrame(
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
    assert summarise_audit(audit).startswith("no flag of 5 tests,")


def test_every_system_is_audited_for_every_column(small):
    ranking, resumes, judgment_sets = small
    audits = audit_systems(
        {"one": ranking, "two": ranking},
        resumes.assign(colour=list("xyxy")),
        judgment_sets,
        columns=["gender", "colour"],
        settings=settings(**BY_HAND | {"n_permutations": 20}),
    )
    cells = audits[["column", "system"]].drop_duplicates().to_numpy().tolist()
    assert cells == [["gender", "one"], ["gender", "two"], ["colour", "one"], ["colour", "two"]]
    assert set(summarise_tested_columns(audits, "two")) == {"gender", "colour"}
    assert summarise_tested_columns(audits, "three") == {}


def test_without_a_column_no_system_is_audited(small):
    ranking, resumes, judgment_sets = small
    audits = audit_systems(
        {"one": ranking}, resumes, judgment_sets, columns=[], settings=settings(**BY_HAND)
    )
    assert audits.empty
    assert {"column", "system", "measure"} <= set(audits)


def test_protected_columns_are_found_by_name_and_number_of_groups():
    resumes = people("ab", colour=["x", "y"])
    assert columns_to_audit(resumes, []) == ["gender"]
    assert columns_to_audit(resumes, ["colour"]) == ["colour"]
    assert columns_to_audit(people("aa"), []) == []


def test_a_slice_with_one_group_has_a_note():
    ranking = ranked({"j0": ["r0", "r1", "r2", "r3"], "j1": ["r0", "r1", "r4"]})
    fits = pd.DataFrame({"job_id": ["j0", "j1"], "resume_id": ["r0", "r1"]})
    audit = audit_slices(
        ranking,
        pd.Series({"j0": "both", "j1": "one"}),
        people("aabba"),
        {"fit": fits},
        column="gender",
        settings=settings(**BY_HAND | {"n_permutations": 10}),
    )
    one_group = audit[audit["slice"] == "one"]
    assert one_group["note"].tolist() == ["no other group"]
    assert one_group["group"].tolist() == ["a"]
    assert one_group["value"].isna().all()
    assert set(audit[audit["slice"] == "both"]["group"]) == {"a", "b"}


def test_of_two_groups_each_flag_counts_once(biased_world):
    ranking, resumes, judgment_sets, _ = biased_world
    audit = audit_gender(ranking, resumes, judgment_sets)
    assert audit["flag"].sum() == 6
    assert count_flags(audit) == 3


def make_named_world(*, name_effect, seed, is_segregated=False):
    """People of 8 + 8 names; the order depends on the name itself, not on the gender."""
    rng = np.random.default_rng(seed)
    name = rng.integers(16, size=240)
    occupation = rng.integers(3, size=240)
    if is_segregated:  # women are common in one occupation and rare in another
        share_of_women = np.array([0.1, 0.5, 0.9])[occupation]
        is_woman = rng.random(240) < share_of_women
        name = np.where(is_woman, rng.integers(8, size=240), rng.integers(8, 16, size=240))
    effect = name_effect * rng.normal(size=16)
    score = rng.normal(size=(60, 240)) + effect[name]
    resumes = people(
        np.where(name < 8, "woman", "man"),
        occupation=occupation.astype(str),
        given_name=name.astype(str),
    )
    ids = resumes["resume_id"].to_numpy()
    orders = {f"j{i}": ids[np.argsort(-row)] for i, row in enumerate(score)}
    return ranked(orders), resumes


def audit_names(ranking, resumes, **changes):
    """The audit over given names, by group."""
    audit = audit_by_name(
        ranking,
        resumes,
        column="gender",
        name_column="given_name",
        settings=settings(n_permutations=200, **changes),
    )
    return audit.set_index("group")


def test_a_test_over_names_is_about_names():
    """An encoder that prefers single names, not a gender: only a test over people flags a gender."""
    p_over_people = []
    p_over_names = []
    for seed in range(60):
        ranking, resumes = make_named_world(name_effect=0.6, seed=seed)
        audit = audit_gender(ranking, resumes, {}, n_permutations=200)
        p_over_people.append(value(audit, "share of the top 10", "woman", "p"))
        p_over_names.append(audit_names(ranking, resumes).loc["woman", "p"])
    assert np.mean(np.array(p_over_people) < 0.05) > 0.4
    assert np.mean(np.array(p_over_names) < 0.05) < 0.15


def test_intervals_over_names_cover_no_effect():
    rows = []
    for seed in range(60):
        ranking, resumes = make_named_world(name_effect=0.0, seed=seed)
        rows.append(audit_names(ranking, resumes).loc["woman"])
    rows = pd.DataFrame(rows)
    is_covered = (rows["low"] < 0) & (rows["high"] > 0)
    assert is_covered.mean() > 0.85
    assert (rows["p"] < 0.05).mean() < 0.15


@pytest.mark.parametrize("is_segregated", [False, True])
def test_a_test_over_names_has_its_size_where_occupations_are_segregated(is_segregated):
    """With names permuted over all strata, 0 of 200 tests had p < .05 under segregation."""
    rows = []
    for seed in range(150):
        ranking, resumes = make_named_world(name_effect=0.3, seed=seed, is_segregated=is_segregated)
        rows.append(audit_names(ranking, resumes).loc["woman"])
    rows = pd.DataFrame(rows)
    assert 0.005 < (rows["p"] < 0.05).mean() < 0.12
    half_widths = (rows["high"] - rows["low"]) / 2
    standard_errors = half_widths / stats.t.ppf(0.975, 15)
    assert standard_errors.mean() == pytest.approx(rows["excess"].std(), rel=0.25)


def test_a_test_over_names_adds_up_to_the_audit():
    ranking, resumes = make_named_world(name_effect=0.6, seed=1)
    over_names = audit_names(ranking, resumes)
    over_people = audit_gender(ranking, resumes, {}, n_permutations=3_000)
    share = value(over_people, "share of the top 10", "woman")
    expected = value(over_people, "share of the top 10", "woman", "expected")
    assert over_names.loc["woman", "excess"] == pytest.approx(share - expected, abs=0.003)
    assert over_names["excess"].sum() == pytest.approx(0)
    assert over_names["n_units"].tolist() == [8, 8]
    assert over_names["n"].sum() == 240


def test_names_that_cannot_be_compared_are_refused():
    ranking, resumes = make_named_world(name_effect=0.6, seed=1)
    with pytest.raises(DataError, match="no column 'given_name'"):
        audit_names(ranking, resumes.drop(columns="given_name"))
    with pytest.raises(DataError, match="stands in two groups"):
        audit_names(ranking, resumes.assign(given_name="Kim"))


def test_whether_any_resume_has_a_name():
    assert has_names(people("ab", given_name=["", "Kim"]), "given_name")
    assert not has_names(people("ab", given_name=["", ""]), "given_name")
    assert not has_names(people("ab"), "given_name")
