"""The sheet of Local Law 144 beside hand computation."""

import pandas as pd
import pytest
from scipy import stats

from matchlib.analysis import local_law_144 as ll144

FACTS = {"audit_date": "2026-11-27", "data_source": "a table by hand"}


def applicants(rows):
    """rows: (sex, race, number, selected of them, above the median of them)."""
    people = []
    for sex, race, number, n_selected, n_above in rows:
        for i in range(number):
            score = 1.0 if i < n_above else 0.0
            people.append({"sex": sex, "race": race, "selected": i < n_selected, "score": score})
    return pd.DataFrame(people)


@pytest.fixture(scope="module")
def sheet():
    """40 men, 20 of them selected; 50 women, 15; 10 unknown, all selected; 40 of 100 score 1."""
    table = applicants(
        [
            ("Male", "White", 30, 18, 15),
            ("Male", "Black", 10, 2, 5),
            ("Female", "White", 40, 12, 15),
            ("Female", "Black", 10, 3, 5),
            ("prefer not to say", "White", 10, 10, 0),
        ]
    )
    return ll144.make_sheet(table, **FACTS)


def row(frame, category):
    return frame[frame["Category"] == category].iloc[0]


def test_columns_are_named_as_in_the_rule(sheet):
    assert list(sheet.selection.columns[2:6]) == [
        "# of Applicants",
        "# Selected",
        "Selection Rate",
        "Impact Ratio",
    ]
    assert list(sheet.scoring.columns[2:5]) == ["# of Applicants", "Scoring Rate", "Impact Ratio"]
    assert list(sheet.selection["Categories"].unique()) == [
        "Sex Categories",
        "Race/Ethnicity Categories",
        "Intersectional Categories",
    ]


def test_selection_by_hand(sheet):
    men, women = (row(sheet.selection, name) for name in ("Male", "Female"))
    assert men[["# of Applicants", "# Selected", "Selection Rate"]].tolist() == [40, 20, 0.5]
    assert men["Impact Ratio"] == 1
    assert women["Selection Rate"] == 0.3
    assert women["Impact Ratio"] == pytest.approx(0.6)
    assert women["Note"] == "under four fifths"
    white = row(sheet.selection, "White")  # the unknown sex counts by race: 40 of 80
    assert white[["# of Applicants", "# Selected", "Selection Rate"]].tolist() == [80, 40, 0.5]
    assert row(sheet.selection, "Black")["Impact Ratio"] == pytest.approx(0.25 / 0.5)
    cell = row(sheet.selection, "Male, Black")
    assert cell["Impact Ratio"] == pytest.approx(0.2 / 0.6)


def test_scoring_rate_is_above_the_median_of_all(sheet):
    """60 of 100 have 0: the median is 0, and 40 are above it."""
    assert row(sheet.scoring, "Male")["Scoring Rate"] == 0.5
    assert row(sheet.scoring, "Female")["Scoring Rate"] == 0.4
    assert row(sheet.scoring, "Female")["Impact Ratio"] == pytest.approx(0.8)
    assert row(sheet.scoring, "Female")["Note"] == ""


def test_unknown_applicants_dates_and_source_are_stated(sheet):
    facts = sheet.facts.set_index("item")["value"]
    assert facts["applicants of unknown category, Sex Categories"] == "10"
    assert facts["applicants of unknown category, Race/Ethnicity Categories"] == "0"
    assert facts["applicants of unknown category, Intersectional Categories"] == "10"
    assert facts["date of the bias audit"] == "2026-11-27"
    assert facts["applicants"] == "100"


def test_tests_are_those_of_scipy(sheet):
    women = row(sheet.selection, "Female")
    table = [[15, 35], [20, 20]]
    assert women["Fisher's exact p"] == pytest.approx(stats.fisher_exact(table).pvalue)
    chi = stats.chi2_contingency(table, correction=False).pvalue
    assert women["chi-squared p"] == pytest.approx(chi)
    assert women["permutation p"] == pytest.approx(stats.fisher_exact(table).pvalue, abs=0.02)


def test_categories_under_two_percent_set_no_ratio_on_request():
    rows = [("Male", "a", 60, 30, 30), ("Female", "a", 60, 24, 20), ("X", "a", 2, 2, 2)]
    kept = ll144.make_sheet(applicants(rows), **FACTS)
    left_out = ll144.make_sheet(applicants(rows), **FACTS, exclude_under=0.02)
    assert row(kept.selection, "Female")["Impact Ratio"] == pytest.approx(0.4)
    assert row(left_out.selection, "Female")["Impact Ratio"] == pytest.approx(0.8)
    small = row(left_out.selection, "X")
    assert small[["# of Applicants", "Selection Rate"]].tolist() == [2, 1]
    assert pd.isna(small["Impact Ratio"])
    assert small["Note"] == "under 2% of the data: left out of impact ratios"


def test_without_a_race_there_are_sex_categories_alone():
    table = applicants([("m", "", 10, 5, 5), ("f", "", 10, 5, 5)])
    sheet = ll144.make_sheet(table, **FACTS)
    assert sheet.selection["Categories"].unique().tolist() == ["Sex Categories"]
    facts = sheet.facts.set_index("item")["value"]
    assert facts["applicants of unknown category, Race/Ethnicity Categories"] == "20"


def test_applicants_of_a_ranking_are_people_not_pairs():
    ranking = pd.DataFrame(
        {
            "query_id": ["j0"] * 3 + ["j1"] * 3,
            "candidate_id": ["a", "b", "c", "b", "a", "c"],
            "rank": [1, 2, 3, 1, 2, 3],
        }
    )
    resumes = pd.DataFrame({"resume_id": ["a", "b", "c"], "gender": ["f", "m", "f"]})
    found = ll144.applicants_of_ranking(ranking, resumes, cutoff=1, sex="gender", race="")
    people = found.set_index("resume_id")
    assert people["selected"].to_dict() == {"a": True, "b": True, "c": False}
    assert people["score"].to_dict() == {"a": 0.75, "b": 0.75, "c": 0.0}
    assert ll144.find_column(resumes, ll144.SEX_NAMES) == "gender"
    assert ll144.find_column(resumes, ll144.RACE_NAMES) == ""
