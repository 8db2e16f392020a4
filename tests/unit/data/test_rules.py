"""Rules on hand-made rows, their composition, and pair selection against brute force."""

import numpy as np
import pandas as pd
import pytest

from matchlib.data import rules
from matchlib.data.rules import BY_NAME
from matchlib.data.schema import DataError

PLACES = {"city": "", "region": "", "remote": "no"}


def jobs(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame([{"job_id": f"j{i}", **row} for i, row in enumerate(rows)])


def resumes(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame([{"resume_id": f"r{i}", **row} for i, row in enumerate(rows)])


def holds(rule: rules.Rule, job: dict, resume: dict) -> bool:
    found = rule.holds(jobs(job), resumes(resume))
    assert found.shape == (1, 1) and found.dtype == bool
    assert rule.fires(jobs(job).iloc[0], resumes(resume).iloc[0]) == found[0, 0]
    return bool(found[0, 0])


def why(rule: rules.Rule, job: dict, resume: dict) -> str:
    return rule.why(jobs(job).iloc[0], resumes(resume).iloc[0])


@pytest.mark.parametrize(
    "job, resume, fits, reason",
    [
        ({"city": "Leeds"}, {"city": "Leeds"}, True, "both in Leeds"),
        ({"city": "Leeds"}, {"city": "Derby"}, False, "Leeds against Derby"),
        ({"city": ""}, {"city": ""}, False, " against "),  # two unknown places are not one place
        (
            {**PLACES, "city": "Leeds", "region": "Yorkshire"},
            {**PLACES, "city": "Bradford", "region": "Yorkshire"},
            True,
            "Leeds and Bradford are both in Yorkshire",
        ),
        (
            {**PLACES, "city": "Leeds"},
            {**PLACES, "city": "Derby"},
            False,
            "Leeds against Derby",
        ),  # both regions unknown
        ({**PLACES, "city": "Leeds", "remote": "yes"}, {**PLACES, "city": "Derby"}, True, "remote"),
        ({**PLACES, "city": "Leeds"}, {**PLACES, "city": "Derby", "remote": "yes"}, True, "remote"),
    ],
)
def test_same_place(job, resume, fits, reason):
    assert holds(rules.same_place(), job, resume) is fits
    assert why(rules.same_place(), job, resume) == reason


@pytest.mark.parametrize(
    "job, resume, fits",
    [
        ("Leeds (UK)", "Leeds", True),
        ("Leeds, England", "LEEDS", True),
        ("Leeds - UK", "leeds", True),
        ("Sao Paulo", "São Paulo", True),
        ("Sao Paulo", "Sa\u0303o Paulo", True),
        ("Łódź", "Lodz", True),
        ("Tromsø", "Tromso", True),
        ("Weißenfels", "Weissenfels", True),
        ("St. Louis", "St Louis", True),
        ("Stratford-upon-Avon", "Stratford upon Avon", True),
        ("10115 Berlin", "Berlin", True),
        ("Leeds LS1 4AP", "Leeds", True),
        ("Ｌeeds", "Leeds", True),
        ("Leeds\u00a0", "Leeds", True),
        ("Cambridge, UK", "Cambridge, MA", False),
        ("Cambridge (UK)", "Cambridge, uk", True),
        ("Leeds", "Leedstown", False),
        ("York", "New York", False),
        ("北京", "北京", True),
        ("北京", "南京", False),
        ("(UK)", "(UK)", True),
        ("Leeds (UK)", "Derby (UK)", False),
        ("", "(UK)", False),
    ],
)
def test_a_city_is_one_however_it_is_spelled(job, resume, fits):
    rule = rules.same_place()
    assert holds(rule, {"city": job}, {"city": resume}) is fits
    assert holds(rule, {"city": resume}, {"city": job}) is fits
    assert why(rule, {"city": job}, {"city": resume}).startswith("both in ") is fits


def test_cities_that_cannot_meet_are_counted():
    found = rules.describe_unmatched_cities(
        jobs(
            {"city": "Leeds (UK)"},
            {"city": "Cambridge, UK"},
            {"city": "Munich"},
            {"city": "Munich"},
            {"city": ""},
        ),
        resumes({"city": "Leeds"}, {"city": "Cambridge, MA"}, {"city": "München"}),
    )
    assert [sentence.split(" (e.g.")[0] for sentence in found] == [
        "3 of 5 jobs have a city that none of the resumes has",
        "2 of 3 resumes have a city that none of the jobs has",
        "1 pairs of cities differ in region or country alone and do not meet",
    ]
    assert "'Cambridge, UK' and 'Cambridge, MA'" in found[2]


def test_cities_that_meet_need_no_word():
    assert (
        rules.describe_unmatched_cities(jobs({"city": "Leeds"}), resumes({"city": "LEEDS (UK)"}))
        == []
    )
    assert rules.describe_unmatched_cities(jobs({"city": ""}), resumes({"city": "Leeds"})) == []


@pytest.mark.parametrize(
    "job, resume, shared",
    [
        ("Python; Git", "Git;Python", 2),
        ("Python; Git", "Git; Git", 1),
        ("Python", "python", 0),
        ("", "", 0),
        (" ; ", "Python", 0),
        ("C", "C++; C#", 0),
        ("bank reconciliation; VAT", "VAT; bank", 1),
    ],
)
def test_area_overlap_counts_shared_items(job, resume, shared):
    for minimum in (1, 2):
        rule = rules.area_overlap(minimum=minimum)
        assert holds(rule, {"skills": job}, {"skills": resume}) is (shared >= minimum)
    assert why(rules.area_overlap(), {"skills": job}, {"skills": resume}).startswith(
        f"{shared} shared skills"
    )


def test_area_overlap_on_another_column_names_the_items():
    rule = rules.area_overlap(minimum=1, column="areas")
    assert (
        why(rule, {"areas": "law; art"}, {"areas": "art; law; music"})
        == "2 shared areas (art, law)"
    )


@pytest.mark.parametrize(
    "job, resume, levels, fits",
    [
        ("junior", "middle", 1, True),
        ("junior", "senior", 1, False),
        ("junior", "senior", 2, True),
        ("lead", "senior", 1, True),
        ("lead", "lead", 0, True),
        ("junior", "middle", 0, False),
        ("", "junior", 3, False),
        ("junior", "boss", 3, False),
        ("boss", "boss", 3, False),
    ],
)
def test_seniority_within_never_fits_an_unknown_one(job, resume, levels, fits):
    assert (
        holds(rules.seniority_within(levels=levels), {"seniority": job}, {"seniority": resume})
        is fits
    )


@pytest.mark.parametrize(
    "job, resume, fits",
    [
        ("bachelor", "master", True),
        ("master", "bachelor", False),
        ("", "none", True),
        ("none", "", True),
        ("", "", True),
        ("bachelor", "", False),
        ("Diplom", "doctorate", False),
        ("bachelor", "Diplom", False),
    ],
)
def test_degree_at_least(job, resume, fits):
    assert holds(rules.degree_at_least(), {"degree": job}, {"degree": resume}) is fits


@pytest.mark.parametrize(
    "job, resume, fits, reason",
    [
        (
            "driving licence; DBS",
            "DBS; driving licence; forklift",
            True,
            "has every hard constraint",
        ),
        ("driving licence; DBS", "DBS", False, "lacks driving licence"),
        ("", "", True, "has every hard constraint"),
        ("", "DBS", True, "has every hard constraint"),
        ("DBS", "", False, "lacks DBS"),
        ("DBS; DBS", "DBS", True, "has every hard constraint"),
    ],
)
def test_hard_constraints(job, resume, fits, reason):
    rule = rules.hard_constraints()
    assert holds(rule, {"hard_constraints": job}, {"hard_constraints": resume}) is fits
    assert why(rule, {"hard_constraints": job}, {"hard_constraints": resume}) == reason


def random_sides(
    seed: int, n_jobs: int = 13, n_resumes: int = 17
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)

    def row() -> dict:
        return {
            "city": rng.choice(["Leeds", "Bradford", "Derby", ""]),
            "region": rng.choice(["Yorkshire", ""]),
            "remote": rng.choice(["yes", "no", "no"]),
            "seniority": rng.choice(["junior", "middle", "lead", ""]),
            "skills": "; ".join(rng.choice(list("abcdef"), rng.integers(0, 4), replace=False)),
            "degree": rng.choice(["none", "bachelor", ""]),
            "hard_constraints": rng.choice(["", "x", "x; y"]),
        }

    return jobs(*(row() for _ in range(n_jobs))), resumes(*(row() for _ in range(n_resumes)))


ALL_RULES = rules.rules_by_name(["place", "skills", "seniority", "degree", "hard_constraints"])


def test_composition_is_boolean_algebra():
    sides = random_sides(0)
    a, b = rules.same_place(), rules.seniority_within()
    first, second = a.holds(*sides), b.holds(*sides)
    assert 0 < (first & second).sum() < (first | second).sum() < first.size
    np.testing.assert_array_equal((a & b).holds(*sides), first & second)
    np.testing.assert_array_equal((a | b).holds(*sides), first | second)
    np.testing.assert_array_equal((~a).holds(*sides), ~first)
    np.testing.assert_array_equal((~(a & b)).holds(*sides), (~a | ~b).holds(*sides))


def test_composed_rules_say_why():
    job, near = {"city": "Leeds", "degree": "bachelor"}, {"city": "Leeds", "degree": "none"}
    far = {"city": "Derby", "degree": "master"}
    a, b = rules.same_place(), rules.degree_at_least()
    assert why(a & b, job, near) == "both in Leeds; asks bachelor, has none"
    assert why(a | b, job, near) == "both in Leeds"  # the one that fired
    assert why(a | b, job, far) == "asks bachelor, has master"
    assert why(~a, job, far) == "not (Leeds against Derby)"
    assert (a & b).name == "same place and degree" and (a | b).name == "(same place or degree)"


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("block", [1, 5, 512])
def test_labels_by_rule_equal_brute_force(name, block):
    rule, sides = BY_NAME[name](), random_sides(1, 9, 11)
    expected = [
        (job["job_id"], resume["resume_id"])
        for _, job in sides[0].iterrows()
        for _, resume in sides[1].iterrows()
        if rule.fires(job, resume)
    ]
    found = rules.label_by_rules([name], *sides, block=block)
    assert list(zip(found["job_id"], found["resume_id"], strict=True)) == expected
    assert 0 < len(expected) < 9 * 11


def test_no_pair_of_a_rule_is_an_empty_frame():
    sides = jobs({"city": "a"}), resumes({"city": "b"})
    found = rules.label_by_rules(["place"], *sides)
    assert found.empty and list(found.columns) == ["job_id", "resume_id", "label", "source"]


@pytest.mark.parametrize(
    "name, column",
    [
        ("place", "city"),
        ("skills", "skills"),
        ("seniority", "seniority"),
        ("degree", "degree"),
        ("hard_constraints", "hard_constraints"),
    ],
)
@pytest.mark.parametrize("table", ["jobs", "resumes"])
def test_a_missing_column_is_named_with_its_table(name, column, table):
    sides = dict(zip(("jobs", "resumes"), random_sides(2), strict=True))
    sides[table] = sides[table].drop(columns=column)
    with pytest.raises(
        DataError, match=f"^{table}: the rule needs a column '{column}'; found .*; map one"
    ):
        rules.rules_by_name([name])[name].holds(**sides)


def test_rules_by_name_adds_all_of_several():
    assert list(rules.rules_by_name([])) == [] and list(rules.rules_by_name(["place"])) == ["place"]
    sides = random_sides(3)
    both = rules.rules_by_name(["place", "degree"])
    np.testing.assert_array_equal(
        both["all"].holds(*sides), both["place"].holds(*sides) & both["degree"].holds(*sides)
    )
    with pytest.raises(DataError, match="rule 'salary' is not one of place, skills"):
        rules.rules_by_name(["place", "salary"])


@pytest.mark.parametrize("block", [4, 512])
def test_audit_rules_counts(block):
    sides = random_sides(4)
    kinds = {
        "accepted": pd.DataFrame({"job_id": ["j0", "j5", "j12"], "resume_id": ["r3", "r0", "r16"]}),
        "rejected": pd.DataFrame({"job_id": [], "resume_id": []}),
    }
    table = rules.audit_rules(ALL_RULES, *sides, kinds, block=block).set_index("rule")
    assert list(table.index) == list(ALL_RULES)
    assert list(table.columns) == ["all pairs, %", "accepted, %", "rejected, %"]
    for name, rule in ALL_RULES.items():
        fires = rule.holds(*sides)
        assert table.loc[name, "all pairs, %"] == pytest.approx(100 * fires.mean())
        assert table.loc[name, "accepted, %"] == pytest.approx(
            100 * np.mean([fires[0, 3], fires[5, 0], fires[12, 16]])
        )
    assert table["rejected, %"].isna().all()


def test_shared_items_equals_sets():
    sides = random_sides(5)
    expected = [
        [len(set(rules.split_items(a)) & set(rules.split_items(b))) for b in sides[1]["skills"]]
        for a in sides[0]["skills"]
    ]
    np.testing.assert_array_equal(
        rules.shared_items(sides[0]["skills"], sides[1]["skills"]), expected
    )
