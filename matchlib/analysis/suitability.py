"""Which requirements of a job a resume does not meet, from facts of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from matchlib.data.market.config import CITIES
from matchlib.data.rules import split_items
from matchlib.data.skills import LEVELS
from matchlib.extraction.facts import extract_facts
from matchlib.retrieval.encoder import Encoder

PAIR_KEYS = ["job_id", "resume_id"]
MIN_REQUIRED_SHARE = 0.5
"""Share of a job's required skills below which a resume is unsuitable; accepted ones lack some."""


@dataclass(frozen=True)
class Facts:
    """Facts of jobs and of resumes, by id: skills, nice_skills, years, city, region, remote,
    seniority. A fact that is not known is "" (years: NaN)."""

    jobs: pd.DataFrame
    resumes: pd.DataFrame


def facts_from_columns(jobs: pd.DataFrame, resumes: pd.DataFrame) -> Facts:
    """The facts that the tables' own columns hold."""
    return Facts(
        jobs=jobs.set_index("job_id").rename(columns={"min_years": "years"}),
        resumes=resumes.set_index("resume_id").assign(nice_skills=""),
    )


def facts_from_texts(
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    encoder: Encoder | None = None,
) -> Facts:
    """The facts that `facts.extract_facts` finds in the texts; regions of cities that the market
    knows."""
    return Facts(
        jobs=_extract_by_id(jobs.set_index("job_id")["text"], encoder, only_held=False),
        resumes=_extract_by_id(resumes.set_index("resume_id")["text"], encoder, only_held=True),
    )


def _extract_by_id(texts: pd.Series, encoder: Encoder | None, *, only_held: bool) -> pd.DataFrame:
    facts = extract_facts(list(texts), encoder=encoder, only_held=only_held)
    facts["region"] = facts["city"].map(dict(CITIES)).fillna("")
    return facts.set_index(texts.index)


def unmet_requirements(pairs: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """What makes each pair (job_id, resume_id) unsuitable, row by row; unknown facts never do.

    Returns reasons ("place: Leeds against Exeter; skills: 1 of 3 found, not found: SQL, Git"; "" if
    the pair is suitable), missing_skills (required, "; "-separated), required_share and optional_share (of the
    required and of the optional skills that the resume has; NaN where the job names none).
    """
    jobs = facts.jobs.to_dict("index")
    resumes = facts.resumes.to_dict("index")
    rows = []
    for job_id, resume_id in pairs[PAIR_KEYS].to_numpy():
        rows.append(_compare(jobs[job_id], resumes[resume_id]))
    columns = ["reasons", "missing_skills", "required_share", "optional_share"]
    return pd.DataFrame(rows, columns=columns, index=pairs.index)


def _compare(job: Mapping, resume: Mapping) -> dict[str, object]:
    resume_skills = split_items(f"{resume['skills']}; {resume['nice_skills']}")
    required = split_items(job["skills"])
    optional = split_items(job["nice_skills"])
    missing = [skill for skill in required if skill not in resume_skills]
    required_share = np.nan
    if required:
        required_share = 1 - len(missing) / len(required)
    optional_share = np.nan
    if optional:
        optional_share = len(set(optional).intersection(resume_skills)) / len(optional)
    reasons = [
        _place_reason(job, resume),
        _level_reason(job, resume),
        _years_reason(job, resume),
    ]
    if required_share < MIN_REQUIRED_SHARE:  # False where it is NaN
        n_matched = len(required) - len(missing)
        reasons.append(
            f"skills: {n_matched} of {len(required)} found, not found: {', '.join(missing)}"
        )
    return {
        "reasons": "; ".join(filter(None, reasons)),
        "missing_skills": "; ".join(missing),
        "required_share": required_share,
        "optional_share": optional_share,
    }


def _place_reason(job: Mapping, resume: Mapping) -> str:
    is_remote = "yes" in (job["remote"], resume["remote"])
    is_unknown = not job["city"] or not resume["city"]
    is_same_city = job["city"] == resume["city"]
    is_same_region = job["region"] and job["region"] == resume["region"]
    if is_remote or is_unknown or is_same_city or is_same_region:
        return ""
    return f"place: {job['city']} against {resume['city']}"


def _level_reason(job: Mapping, resume: Mapping) -> str:
    """A reason if both levels are known and lie two or more apart."""
    if job["seniority"] not in LEVELS or resume["seniority"] not in LEVELS:
        return ""
    distance = LEVELS.index(job["seniority"]) - LEVELS.index(resume["seniority"])
    if abs(distance) <= 1:
        return ""
    return f"level: {job['seniority']} against {resume['seniority']}"


def _years_reason(job: Mapping, resume: Mapping) -> str:
    if resume["years"] < job["years"]:  # False where one is NaN
        return f"years: {resume['years']:.0f} of {job['years']:.0f}"
    return ""
