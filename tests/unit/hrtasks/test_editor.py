"""The extractive editor: it selects, reorders and renames, and never adds a fact."""

import json
import math
from pathlib import Path

import pytest

from matchlib.data.market.simulation import Market
from matchlib.hrtasks.claims import Claim, Evidence, unsupported_claims
from matchlib.hrtasks.editor import (
    CHANGE_KINDS,
    content_lost,
    coverage,
    edit_resume,
    job_skills,
    supported_coverage_gained,
)

SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "rjdb" / "sample.jsonl"
RESUME = """Dana Petrov
dana@example.org

## Education
BSc in Computer Engineering

## Skills
1. Excel, Word, Python
2. Amazon Web Services

## Experience
- Data analyst - Norfolk Rail (2018 - 2022)
- Automated reports with Airflow and managed two projects
"""
JOB = """Data engineer

## Required Skills
- AWS
- Python
- Kubernetes
- Project management
- Engineering

## Required Experience
- At least 6 years as a data analyst
- Master's degree
"""


def test_the_jobs_skills_are_named_as_the_job_names_them():
    assert job_skills(JOB) == ["AWS", "Python", "Kubernetes", "Project management", "Engineering"]
    assert job_skills("") == []


def test_each_change_rests_on_the_resume():
    edit = edit_resume(RESUME, JOB)
    by_kind = {change.kind: change for change in edit.changes}
    assert set(by_kind) <= set(CHANGE_KINDS)
    assert by_kind["rename"].after == "AWS (Amazon Web Services)"
    assert by_kind["list"].after == "Project management"
    assert by_kind["list"].evidence == "Automated reports with Airflow and managed two projects"
    assert all(change.evidence.strip() in RESUME + edit.text for change in edit.changes)
    assert unsupported_claims(edit.text, RESUME) == []
    assert "Kubernetes" not in edit.text
    assert edit.text.index("## Skills") < edit.text.index("## Education")


def test_what_the_resume_does_not_state_is_missing():
    missing = {(item.kind, item.demand): item.note for item in edit_resume(RESUME, JOB).missing}
    assert set(missing) == {
        ("skill", "Kubernetes"),
        ("years", "At least 6 years as a data analyst"),
        ("degree", "Master's degree"),
    }
    assert "4 years" in missing["years", "At least 6 years as a data analyst"]


@pytest.mark.parametrize("years, is_missing", [(3, False), (4, False), (5, True)])
def test_years_are_missing_where_the_positions_are_shorter(years, is_missing):
    job = f"Required Experience\n- {years} years as a data analyst"
    found = [item.kind for item in edit_resume(RESUME, job).missing]
    assert ("years" in found) is is_missing


def test_items_that_the_job_asks_for_come_first():
    resume = "Skills\nWord, Excel, Python"
    assert edit_resume(resume, JOB).text == "Skills\nPython, Word, Excel"
    sentence = "Skills\nWord, Excel, and Python"
    assert edit_resume(sentence, JOB).text == sentence


def test_numbered_lines_stay_in_the_order_of_their_numbers():
    resume = "Skills\n1. Word\n2. Python"
    assert edit_resume(resume, JOB).text == "Skills\n1. Python\n2. Word"


def test_a_skill_joins_the_list_in_the_lists_form():
    tail = "\nExperience\n- Used Kubernetes daily"
    for skills, listed in (
        ("Skills\n- Word\n- Excel", "- Kubernetes"),
        ("Skills\n1. Word\n2. Excel", "Kubernetes"),
        ("Skills\nWord, Excel, Sage", "Kubernetes, Word, Excel, Sage"),
        ("Summary", "- Kubernetes"),
    ):
        text = edit_resume(skills + tail, JOB).text
        assert listed in text
        assert text.count("Kubernetes") == 2


def test_an_edit_of_an_edit_changes_nothing():
    once = edit_resume(RESUME, JOB).text
    assert edit_resume(once, JOB).text == once
    assert edit_resume(once, JOB).changes == []


def test_a_change_that_the_check_does_not_pass_is_refused_and_told(monkeypatch):
    claim = Claim("skill", "AWS", "AWS")
    monkeypatch.setattr(Evidence, "unsupported", lambda self, text: [claim])
    edit = edit_resume(RESUME, JOB)
    assert edit.text == RESUME
    assert edit.changes == []
    assert len(edit.refused) > 2
    assert {refused for _, refused in edit.refused} == {claim}


@pytest.mark.parametrize("resume, job", [("", JOB), (RESUME, ""), ("x", "y"), ("\n\n", "\n")])
def test_without_words_there_is_nothing_to_edit(resume, job):
    edit = edit_resume(resume, job)
    assert edit.text == resume
    assert edit.changes == []


def test_coverage_counts_literal_names_and_its_gain_supported_ones_only():
    assert coverage(RESUME, JOB) == pytest.approx(2 / 5)  # Python, Engineering
    assert supported_coverage_gained(RESUME, RESUME, JOB) == 0
    pasted = f"{RESUME}\n{JOB}"
    assert coverage(pasted, JOB) == 1
    assert supported_coverage_gained(pasted, RESUME, JOB) == pytest.approx(2 / 5)
    assert unsupported_claims(pasted, RESUME)
    assert math.isnan(coverage(RESUME, ""))


def test_content_lost_is_the_share_of_words_left_out():
    assert content_lost("baker", "baker pilot") == 0.5
    assert content_lost("pilot of baker", "baker pilot") == 0
    assert content_lost("", "") == 0


def test_market_resumes_lose_and_invent_nothing():
    market = Market(1)
    gained = []
    resumes = market.resumes(40, "train")["text"]
    jobs = market.jobs(40, "train")["text"]
    for resume, job in zip(resumes, jobs, strict=True):
        edit = edit_resume(resume, job)
        assert edit.refused == []
        assert content_lost(edit.text, resume) == 0
        assert unsupported_claims(edit.text, resume) == []
        gained.append(supported_coverage_gained(edit.text, resume, job))
    assert max(gained) > 0


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample of RJDB is not here")
def test_rjdb_resumes_gain_lose_nothing_and_invent_nothing():
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()[:10]]
    gained = []
    for row in rows:
        resume = row["Resume-unmatched"]
        edit = edit_resume(resume, row["Job-Description"])
        assert edit == edit_resume(resume, row["Job-Description"])
        assert content_lost(edit.text, resume) == 0
        assert unsupported_claims(edit.text, resume) == []
        gained.append(supported_coverage_gained(edit.text, resume, row["Job-Description"]))
    assert sum(gain for gain in gained if gain > 0) > 0
