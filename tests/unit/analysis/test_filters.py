"""Filters: candidates that break a constraint come last, and the cost is measured."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis import filters
from matchlib.analysis.suitability import Facts
from matchlib.data.schema import DataError
from matchlib.retrieval.search import Hits

KNOWN = {
    "skills": "",
    "nice_skills": "",
    "years": 3.0,
    "city": "Leeds",
    "region": "Yorkshire",
    "remote": "no",
    "seniority": "middle",
}
EXETER = KNOWN | {"city": "Exeter", "region": "South West"}
NO_PLACE = KNOWN | {"city": "", "region": ""}
NO_LEVEL = KNOWN | {"seniority": ""}
LEAD = KNOWN | {"seniority": "lead"}


def test_candidates_that_break_a_constraint_come_last_in_the_old_order():
    hits = Hits(np.array([[2, 0, 1, -1]]), np.array([[0.9, 0.5, -0.3, -np.inf]]))
    demoted = filters.demote(hits, np.array([[True, True, False]]))
    order = np.argsort(-demoted.scores[0])
    assert demoted.positions[0][order].tolist() == [0, 1, 2, -1]


def test_an_unknown_fact_breaks_no_constraint():
    facts = Facts(
        jobs=pd.DataFrame([KNOWN, NO_PLACE, NO_LEVEL], index=list("abc")),
        resumes=pd.DataFrame([KNOWN, EXETER, LEAD], index=list("xyz")),
    )
    assert filters.meets_constraints(facts, ["place"]).tolist() == [
        [True, False, True],
        [True, True, True],
        [True, False, True],
    ]
    assert filters.meets_constraints(facts, ["place", "seniority"]).tolist() == [
        [True, False, False],
        [True, True, False],
        [True, False, True],
    ]


def test_a_constraint_that_no_text_states_is_refused():
    facts = Facts(jobs=pd.DataFrame([KNOWN]), resumes=pd.DataFrame([KNOWN]))
    with pytest.raises(DataError, match="'area' cannot be read from texts; choose from place"):
        filters.meets_constraints(facts, ["area"])


def rankings_of_one_job(candidates):
    """Rankings in both directions; candidates: of job j, best first."""
    resumes = pd.DataFrame(
        {
            "query_id": "j",
            "candidate_id": candidates,
            "rank": range(1, len(candidates) + 1),
        }
    )
    jobs = pd.DataFrame({"query_id": ["far"], "candidate_id": ["j"], "rank": [1]})
    return {"rank_resumes": resumes, "rank_jobs": jobs}


def test_a_filter_removes_unsuitable_candidates_at_a_cost():
    facts = Facts(
        jobs=pd.DataFrame([KNOWN], index=["j"]),
        resumes=pd.DataFrame([KNOWN, EXETER, KNOWN], index=["a", "far", "b"]),
    )
    rankings = {
        "plain": rankings_of_one_job(["far", "a", "b"]),
        "filtered": rankings_of_one_job(["a", "b", "far"]),
    }
    truth = pd.DataFrame({"job_id": ["j", "j"], "resume_id": ["far", "b"]})
    compared = filters.compare_filters(
        rankings,
        {"true_fit": truth},
        {"known": facts},
        baseline="plain",
        clusters=None,
        cutoff=2,
    )
    rows = compared[compared["task"] == "rank_resumes"].set_index("system")
    assert rows["unsuitable, known"].to_dict() == {"plain": 0.5, "filtered": 0.0}
    second = 1 / np.log2(3)
    ideal = 1 + second
    assert rows.loc["plain", "nDCG@10"] == pytest.approx((1 + 0.5) / ideal)
    assert rows.loc["filtered", "nDCG@10"] == pytest.approx((second + 0.5) / ideal)
    assert rows.loc["filtered", "difference"] == pytest.approx((second - 1) / ideal)
