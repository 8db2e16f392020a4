"""Reasons, whether they hold, and the parts of a score, against hand computation."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis import grounding
from matchlib.analysis.score_parts import PART_COLUMNS, describe_parts, score_parts
from matchlib.extraction.facts import tokenize

JOBS = pd.DataFrame(
    {
        "job_id": ["j1", "j2"],
        "text": [
            "Data analyst in Leeds.\n## Requirements\nSQL; Tableau",
            "Data analyst in Hull.\n## Requirements\nPython",
        ],
        "skills": ["SQL; Tableau", "Python"],
    }
)
RESUMES = pd.DataFrame(
    {
        "resume_id": ["r1", "r2"],
        "text": [
            "Data analyst, Leeds.\n## Skills\nSQL; walking; reading; cooking",
            "Data analyst, Hull.\n## Skills\nPython; no SQL; walking",
        ],
        "skills": ["SQL; Tableau", "Excel"],
    }
)
PAIRS = pd.DataFrame({"job_id": ["j1", "j1", "j2"], "resume_id": ["r1", "r2", "r2"]})


class WordCounts:
    """An encoder whose product counts words that both texts hold."""

    words = ("sql", "tableau", "python", "walking")

    def encode(self, texts):
        return np.array([[float(word in tokenize(text)) for word in self.words] for text in texts])

    encode_jobs = encode_resumes = encode


@pytest.fixture(scope="module")
def reasons():
    return grounding.find_reasons(PAIRS, JOBS, RESUMES, encoder=None)


def test_reasons_are_required_skills_that_a_statement_holds(reasons):
    assert reasons.to_numpy().tolist() == [
        ["j1", "r1", "SQL", "SQL", grounding.NAMED],
        ["j2", "r2", "Python", "Python", grounding.NAMED],
    ]


def test_a_reason_is_grounded_if_the_person_has_the_skill_and_the_statement_names_it(reasons):
    # r2's own column says Excel alone, so that its Python is not grounded
    assert grounding.check_grounding(reasons, RESUMES).tolist() == [True, False]
    other = reasons.assign(statement=["walking", "Python"])
    assert grounding.check_grounding(other, RESUMES).tolist() == [False, False]
    unseen = reasons.head(1).assign(skill="A/B testing", statement="ran randomised online trials")
    people = RESUMES.assign(skills="A/B testing")
    assert grounding.check_grounding(unseen, people).tolist() == [True]


def test_coverage_is_of_the_skills_that_job_and_person_truly_share(reasons):
    scores = grounding.score_grounding(PAIRS, reasons, JOBS, RESUMES).set_index(["measure", "how"])
    assert scores.loc[("groundedness", grounding.NAMED), ["value", "n"]].tolist() == [0.5, 2]
    # shared: SQL and Tableau of j1 and r1; SQL has a reason
    assert scores.loc[("coverage", grounding.NAMED), ["value", "n"]].tolist() == [0.5, 2]
    assert scores.loc[("coverage", grounding.SIMILAR), "value"] == 0


def test_a_reason_is_faithful_if_the_score_falls_more_without_it_than_without_others(reasons):
    def found(word):
        def score(jobs, resumes):
            return np.array([float(word in tokenize(text)) for text in resumes])

        return grounding.score_faithfulness(reasons, JOBS, RESUMES, score, seed=1)

    by_sql = found("sql").set_index("resume_id")
    assert by_sql.loc["r1", ["drop", "random_drop", "is_faithful"]].tolist() == [1, 0, True]
    assert not by_sql.loc["r2", "is_faithful"]  # its reason is Python, which does not count here
    assert grounding.summarise_faithfulness(found("sql"))["value"] == 0.5
    assert not found("nothing")["is_faithful"].any()
    by_length = grounding.summarise_faithfulness(found("sql"), against="is_faithful_at_length")
    assert by_length["value"] == 0.5
    assert grounding.score_faithfulness(reasons.head(0), JOBS, RESUMES, None, seed=1).empty


def test_parts_and_the_rest_add_up_and_the_hint_is_what_is_missing():
    parts = score_parts(JOBS["text"][0], RESUMES["text"][0], WordCounts())
    assert parts.score == 1
    assert parts.requirements == [("SQL", 1.0), ("Tableau", 0.0)]
    assert parts.rest == 0
    assert parts.statements[0] == ("SQL", 1.0)
    assert [part for _, part in parts.statements[1:]] == [0, 0, 0]
    assert parts.hint == ("Tableau", 1.0)


def test_parts_in_words():
    told = describe_parts(PAIRS.head(1), JOBS, RESUMES, WordCounts())
    assert list(told) == list(PART_COLUMNS)
    row = told.iloc[0]
    assert row["requirement_parts"] == "SQL: +1.000 | Tableau: +0.000 | all else: +0.000"
    assert row["carried_by"].startswith("SQL: +1.000 | ")
    assert row["hint"] == "Tableau: +1.000, if it were true"
    nothing_asked = JOBS.assign(text="")
    assert describe_parts(PAIRS.head(1), nothing_asked, RESUMES, WordCounts())["hint"][0] == ""


def test_carrying_statements_are_those_whose_removal_costs_most():
    found = grounding.find_carrying_statements(PAIRS.head(1), JOBS, RESUMES, WordCounts())
    assert found["statement"].tolist()[0] == "SQL" and len(found) == grounding.N_CARRYING


def test_others_of_like_length_are_taken_once_each():
    others = ["a", "two words", "three words now", "four words are here"]
    assert grounding._of_like_length({"one two three", "one two"}, others) == [
        "three words now",
        "two words",
    ]
    assert grounding._of_like_length({"x", "y"}, others) == ["a", "two words"]


def test_closest_statements_are_those_that_alone_are_like_the_job():
    found = grounding.find_closest_statements(PAIRS.tail(1), JOBS, RESUMES, WordCounts())
    assert found["statement"].tolist()[0] == "Python"
    assert set(found["how"]) == {grounding.CLOSEST} and len(found) == grounding.N_CLOSEST
    empty = RESUMES.assign(text="")
    assert grounding.find_closest_statements(PAIRS, JOBS, empty, WordCounts()).empty
