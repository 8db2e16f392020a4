"""Explanations: the right skills, years and places, the nearest statements, for the pairs that were asked."""

import pandas as pd
import pytest

from matchlib.analysis.explain import (
    COLUMNS,
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
    return explain_pairs(
        pd.DataFrame(pairs, columns=["job_id", "resume_id"]), JOBS, RESUMES, encoder
    )


def test_a_pair_is_explained_from_its_texts(encoder):
    frame = explain(encoder, ("j1", "r1"), ("j1", "r2"), ("j1", "r3"), ("j2", "r1"))
    assert list(frame) == list(COLUMNS)
    assert frame.drop(columns="nearest").astype(object).where(
        frame.drop(columns="nearest").notna(), None
    ).to_numpy().tolist() == [
        ["Tableau; Python", "SQL", 3, 6, "both in Leeds"],
        ["SQL; Tableau", "", 3, 1, "Leeds against Exeter"],
        ["", "SQL; Tableau", 3, None, ""],
        ["", "", None, 6, ""],
    ]
    nearest = frame["nearest"][0].split(" | ")
    assert [part.split(" <- ")[0] for part in nearest] == ["SQL", "Tableau", "Python"]
    assert nearest[1:] == [
        "Tableau <- Tableau (1.00)",
        "Python <- Python (1.00)",
    ]  # the same words: as near as can be


def test_the_order_of_pairs_changes_nothing(encoder):
    pairs = [("j1", "r2"), ("j2", "r3"), ("j1", "r1")]
    forwards, backwards = explain(encoder, *pairs), explain(encoder, *pairs[::-1])
    pd.testing.assert_frame_equal(forwards, backwards[::-1].reset_index(drop=True))


def test_pairs_stand_beside_one_another():
    shown = side_by_side(pd.DataFrame({"job_id": ["a", "b"], "years_asked": [1, 2]}))
    assert list(shown) == ["", "pair 0", "pair 1"]
    assert shown.to_numpy().tolist() == [["job id", "a", "b"], ["years asked", 1, 2]]


def test_requirements_are_what_stands_under_headings():
    assert list(requirements(JOBS["text"][0])) == ["SQL", "Tableau", "Python"]
    assert requirements("Cook wanted") == {"Cook wanted": "Cook wanted"}
    assert requirements("") == {}
    assert (
        len(requirements("## We need\n" + "; ".join(f"thing {n}" for n in range(50))))
        == MAX_REQUIREMENTS
    )
