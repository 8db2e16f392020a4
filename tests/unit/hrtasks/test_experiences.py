"""Experiences that a job demands and a resume shows."""

import numpy as np
import pytest

from matchlib.data.normal import plain
from matchlib.hrtasks.experiences import (
    Experience,
    align,
    demanded_experiences,
    shown_experiences,
    title_overlap,
)


@pytest.mark.parametrize(
    ("statement", "title", "years"),
    [
        ("- Minimum 3 years of experience working as a Survey Researcher.", "Survey Researcher", 3),
        ("2+ years as Lead MDM Consultant", "Lead MDM Consultant", 2),
        ("* A minimum of one-year as a service desk engineer", "service desk engineer", 1),
        ("Working experience as a fitness worker for at least 1 year.", "fitness worker", 1),
        ("- 4 years of experience as a UI Lead with Angular", "UI Lead", 4),
        ("5 years’ experience as a Magento Developer.", "Magento Developer", 5),
    ],
)
def test_a_demand_has_a_title_and_years(statement, title, years):
    (found,) = demanded_experiences(f"## Required Experience\n{statement}\n")
    assert (found.title, found.years) == (title, years)
    assert found.quote in plain(statement)


def test_two_demands_in_one_statement_keep_their_years():
    job = "2 years as a Release Manager with a prior 3 years experience as a Mobile Tester."
    found = [(one.title, one.years) for one in demanded_experiences(job)]
    assert found == [("Release Manager", 2), ("Mobile Tester", 3)]


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "We are 25 years old.", "A team of 12.", "Seit 3 Jahren Bäcker", "x" * 5000],
)
def test_what_is_no_demand_is_none(text):
    assert demanded_experiences(text) == []


def test_a_resume_shows_dated_rows_and_present_is_its_latest_year():
    resume = (
        "## Experience\n- Baker (2012 - 2015)\n- Cook (2016 - present)\n- Waiter (2018 - 2020)\n"
    )
    found = {one.title: one.years for one in shown_experiences(resume)}
    assert found == {"Baker": 3, "Cook": 4, "Waiter": 2}
    assert {one.title: one.years for one in shown_experiences(resume, this_year=2026)}["Cook"] == 10


def test_dates_that_run_backwards_have_no_length():
    (found,) = shown_experiences("## Experience\n- Baker (2015 - 2012)\n")
    assert np.isnan(found.years)


def test_titles_are_compared_by_stems():
    assert title_overlap("Interpreters and translators", "translator, interpreter") == 1
    assert title_overlap("Baker", "Banker") == 0 == title_overlap("", "Baker")
    assert title_overlap("Senior Baker", "Baker") == pytest.approx(2 / 3)


def test_demands_and_rows_are_paired_one_to_one():
    demands = [Experience("Baker", 3, "3 years as a Baker"), Experience("Senior Baker", 2, "")]
    shown = [Experience("Senior Baker", 1), Experience("Baker", 3), Experience("Pilot", 9)]
    assert sorted(align(demands, shown)) == [(0, 1), (1, 0)]
    assert align([], shown) == [] == align(demands, [])
    assert align(demands[:1], [Experience("Pilot", 9)]) == []
