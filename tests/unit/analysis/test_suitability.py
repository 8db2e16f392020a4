"""Requirements that a resume does not meet: only known facts count."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis.suitability import Facts, facts_from_texts, unmet_requirements

SUITABLE = {
    "skills": "SQL; Python",
    "nice_skills": "",
    "years": 5,
    "city": "Leeds",
    "region": "Yorkshire",
    "remote": "no",
    "seniority": "middle",
}
JOB = SUITABLE | {"nice_skills": "Git"}
EXETER = {"city": "Exeter", "region": "South West"}


def unmet(resume):
    facts = Facts(
        jobs=pd.DataFrame([JOB], index=["j"]),
        resumes=pd.DataFrame([resume], index=["r"]),
    )
    pairs = pd.DataFrame({"job_id": ["j"], "resume_id": ["r"]})
    return unmet_requirements(pairs, facts).iloc[0]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"city": "Bradford"},
        EXETER | {"remote": "yes"},
        {"city": "", "region": ""},
        {"seniority": ""},
        {"seniority": "senior"},
        {"years": np.nan},
        {"skills": "SQL"},
    ],
)
def test_a_pair_without_a_known_breach_is_suitable(change):
    assert unmet(SUITABLE | change)["reasons"] == ""


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (EXETER, "place: Leeds against Exeter"),
        ({"seniority": "lead"}, "level: middle against lead"),
        ({"years": 3}, "years: 3 of 5"),
        ({"skills": ""}, "skills: 0 of 2 found, not found: SQL, Python"),
        (EXETER | {"years": 3}, "place: Leeds against Exeter; years: 3 of 5"),
    ],
)
def test_a_breach_is_a_reason(change, reasons):
    assert unmet(SUITABLE | change)["reasons"] == reasons


def test_shares_of_skills():
    found = unmet(SUITABLE | {"skills": "SQL; Git"})
    assert found["missing_skills"] == "Python"
    assert found["required_share"] == 0.5
    assert found["optional_share"] == 1


def test_facts_from_texts_have_ids_and_regions():
    jobs = pd.DataFrame({"job_id": ["j"], "text": ["Data analyst in Leeds."]})
    resumes = pd.DataFrame({"resume_id": ["r"], "text": ["Data analyst in Atlantis."]})
    facts = facts_from_texts(jobs, resumes)
    assert facts.jobs.loc["j", "region"] == "Yorkshire"
    assert facts.resumes.loc["r", "region"] == ""
