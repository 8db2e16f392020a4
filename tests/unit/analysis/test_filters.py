"""Filters: who breaks a constraint comes last, and what that costs is counted."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis import filters
from matchlib.retrieval.search import Hits

FACTS = {
    "skills": "",
    "nice_skills": "",
    "years": 3.0,
    "city": "Leeds",
    "region": "Yorkshire",
    "remote": "no",
    "seniority": "middle",
}


def test_who_does_not_meet_a_constraint_comes_last_in_the_old_order():
    hits = Hits(np.array([[2, 0, 1, -1]]), np.array([[0.9, 0.5, -0.3, -np.inf]]))
    kept = filters.demote(hits, np.array([[True, True, False]]))
    assert kept.positions[0][np.argsort(-kept.scores[0])].tolist() == [0, 1, 2, -1]


def test_what_a_text_does_not_say_breaks_no_constraint():
    asked = pd.DataFrame(
        [FACTS, FACTS | {"city": "", "region": ""}, FACTS | {"seniority": ""}], index=list("abc")
    )
    held = pd.DataFrame(
        [FACTS, FACTS | {"city": "Exeter", "region": "South West"}, FACTS | {"seniority": "lead"}],
        index=list("xyz"),
    )
    assert filters.meets(asked, held, ["place"]).tolist() == [
        [True, False, True],
        [True] * 3,
        [True, False, True],
    ]
    assert filters.meets(asked, held, ["place", "seniority"]).tolist() == [
        [True, False, False],
        [True, True, False],
        [True, False, True],
    ]


def test_a_filter_takes_the_unsuitable_away_and_shows_its_price():
    asked = pd.DataFrame([FACTS], index=["j"])
    held = pd.DataFrame(
        [FACTS, FACTS | {"city": "Exeter", "region": "South West"}, FACTS], index=["a", "far", "b"]
    )
    truth = pd.DataFrame({"job_id": ["j", "j"], "resume_id": ["far", "b"]})

    def ranking(task, order):
        query, candidates = ("j", order) if task == "rank_resumes" else ("far", ["j"])
        return pd.DataFrame(
            {"query_id": query, "candidate_id": candidates, "rank": range(1, len(candidates) + 1)}
        )

    rankings = {
        name: {task: ranking(task, order) for task in ("rank_resumes", "rank_jobs")}
        for name, order in {"plain": ["far", "a", "b"], "filtered": ["a", "b", "far"]}.items()
    }
    table = filters.compare_filters(
        rankings,
        {"true_fit": truth},
        {"known": (asked, held)},
        baseline="plain",
        clusters=None,
        k=2,
    )
    rows = table[table["task"] == "rank_resumes"].set_index("system")
    assert rows["unsuitable, known"].to_dict() == {"plain": 0.5, "filtered": 0.0}
    ideal = 1 + 1 / np.log2(3)
    assert rows["nDCG@10"].to_dict() == pytest.approx(
        {"plain": (1 + 0.5) / ideal, "filtered": (1 / np.log2(3) + 0.5) / ideal}
    )
    assert rows.loc["filtered", "difference"] == pytest.approx((1 / np.log2(3) - 1) / ideal)
