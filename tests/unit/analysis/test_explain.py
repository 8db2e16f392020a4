"""Explanations: skills, years, places and the most similar statements of the given pairs."""

import pandas as pd
import pytest

from matchlib.analysis.explain import (
    EXPLANATION_COLUMNS,
    MAX_REQUIREMENTS,
    explain_pairs,
    requirements,
    side_by_side,
)
from matchlib.retrieval.encoder import Encoder

JOBS = pd.DataFrame(
    {
        "job_id": ["j1", "j2"],
        "text": [
            "Data analyst in Leeds.\nSenior role, 3+ years.\n## Requirements\nSQL; Tableau\n## Nice to have\nPython",
            "Nothing that anyone knows",
        ],
    }
)
RESUMES = pd.DataFrame(
    {
        "resume_id": ["r1", "r2", "r3"],
        "city": ["Hull", "Hull", "Hull"],
        "text": [
            "Data analyst with 6 years of experience, living in Leeds.\n## Experience\nTableau; Python",
            "Data analyst with 1 years of experience, living in Exeter.\n## Experience\nSQL; Tableau",
            "Nobody",
        ],
    }
)


@pytest.fixture(scope="module")
def encoder(tiny_model_folder, tmp_path_factory):
    return Encoder(str(tiny_model_folder), None, cache_dir=tmp_path_factory.mktemp("cache"))


def explain(encoder, *pairs):
    frame = pd.DataFrame(pairs, columns=["job_id", "resume_id"])
    return explain_pairs(frame, JOBS, RESUMES, encoder)


def test_a_pair_is_explained_from_its_texts(encoder):
    explained = explain(encoder, ("j1", "r1"), ("j1", "r2"), ("j1", "r3"), ("j2", "r1"))
    assert list(explained) == list(EXPLANATION_COLUMNS)
    expected = pd.DataFrame(
        [
            [
                "Tableau; Python",
                "",
                "SQL",
                3,
                6,
                "both in Leeds",
                "",
                "Tableau <- Tableau | Python <- Python",
            ],
            [
                "SQL; Tableau",
                "",
                "",
                3,
                1,
                "Leeds against Exeter",
                "",
                "SQL <- SQL | Tableau <- Tableau",
            ],
            ["", "", "SQL; Tableau", 3, None, "", "", ""],
            ["", "", "", None, 6, "", "", ""],
        ],
        columns=list(EXPLANATION_COLUMNS[:-1]),
    ).astype({"required_years": "Int64", "resume_years": "Int64"})
    pd.testing.assert_frame_equal(explained.drop(columns="nearest"), expected)


def test_each_requirement_has_the_most_similar_statement(encoder):
    explained = explain(encoder, ("j1", "r1"))
    sql, tableau, python = explained["nearest"][0].split(" | ")
    assert sql.startswith("SQL <- ")
    assert tableau == "Tableau <- Tableau (1.00)"  # the same words
    assert python == "Python <- Python (1.00)"


def test_the_order_of_pairs_changes_nothing(encoder):
    pairs = [("j1", "r2"), ("j2", "r3"), ("j1", "r1")]
    forwards = explain(encoder, *pairs)
    backwards = explain(encoder, *reversed(pairs))
    pd.testing.assert_frame_equal(forwards, backwards[::-1].reset_index(drop=True))


def test_pairs_are_shown_side_by_side():
    shown = side_by_side(pd.DataFrame({"job_id": ["a", "b"], "required_years": [1, 2]}))
    assert list(shown) == ["", "pair 0", "pair 1"]
    assert shown.to_numpy().tolist() == [["job id", "a", "b"], ["required years", 1, 2]]


def test_requirements_are_the_statements_under_headings():
    assert list(requirements(JOBS["text"][0])) == ["SQL", "Tableau", "Python"]
    assert requirements("Cook wanted") == {"Cook wanted": "Cook wanted"}
    assert requirements("") == {}


def test_the_number_of_requirements_is_limited():
    many = "; ".join(f"thing {n}" for n in range(50))
    assert len(requirements(f"## We need\n{many}")) == MAX_REQUIREMENTS
