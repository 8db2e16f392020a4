"""What a table may hold, and the sentence when it holds something else."""

import pandas as pd
import pytest

from matchlib.data import document_check
from matchlib.data.schema import DataError, check_references, check_table

TABLES = {
    "jobs": {"job_id": ["1", "2"], "text": ["a", "b"]},
    "resumes": {"resume_id": ["1", "2"], "text": ["a", "b"]},
    "labels": {
        "job_id": ["1", "1"],
        "resume_id": ["1", "2"],
        "label": [1, 0],
        "split": ["train", "test"],
        "source": ["rule", "file"],
    },
    "pools": {
        "task": ["rank_jobs"] * 2,
        "query_id": ["1", "1"],
        "candidate_id": ["1", "2"],
        "label": [-1, 1],
    },
    "preferences": {
        "job_id": ["1", "1"],
        "resume_a": ["1", "2"],
        "resume_b": ["2", "1"],
        "preferred": ["a", "tie"],
        "confidence": [100.0, 0.0],
        "annotator": ["gpt 4", "x"],
    },
    "impressions": {
        "request_id": ["1", "1"],
        "recruiter_id": ["a", "a"],
        "role": ["hiring manager"] * 2,
        "job_id": ["1", "1"],
        "resume_id": ["1", "2"],
        "position": [1, 2],
        "shown_at": pd.to_datetime(["2024-01-01", "2024-01-02"]).astype("datetime64[us]"),
        "clicked": [1, 0],
        "converted": [0, 0],
        "relevance": [0.5, 1.0],
    },
}


@pytest.mark.parametrize("name", TABLES)
def test_a_valid_table_comes_back_unchanged_with_its_further_columns(name):
    frame = pd.DataFrame(TABLES[name]).assign(further=[1, None])
    pd.testing.assert_frame_equal(check_table(name, frame), frame)


@pytest.mark.parametrize(
    "name, column", [(name, column) for name, table in TABLES.items() for column in table]
)
def test_every_column_is_needed(name, column):
    with pytest.raises(
        DataError, match=f"^table {name}: column '{column}' is missing; found .*; rename it"
    ):
        check_table(name, pd.DataFrame(TABLES[name]).drop(columns=column))


@pytest.mark.parametrize(
    "name, column, value, problem",
    [
        ("jobs", "job_id", "1", "a duplicate; keep one"),
        ("resumes", "resume_id", "1", "a duplicate; keep one"),
        ("jobs", "job_id", " ", "no id"),
        ("jobs", "job_id", "a b", "an id with a space"),
        ("jobs", "job_id", None, "a missing value"),
        ("jobs", "text", None, "a missing value"),
        ("jobs", "text", " \n", "no text"),
        ("jobs", "text", "a\0b", "a null byte"),
        ("jobs", "text", "x" * 1_000_001, "more than 1,000,000 characters"),
        ("labels", "resume_id", "1", "a duplicate; keep one"),
        ("labels", "label", 2, r"not one of \[0, 1\]"),
        ("labels", "label", -1, r"not one of \[0, 1\]"),
        ("labels", "source", "web", "not one of"),
        ("labels", "split", "dev", "not one of .*'train', 'valid', 'test'"),
        ("pools", "label", 2, "not one of"),
        ("pools", "task", "x", "not one of"),
        ("pools", "candidate_id", "1", "a duplicate"),
        ("preferences", "preferred", "c", "not one of"),
        ("preferences", "confidence", 101.0, "in_range"),
        ("impressions", "position", 0, "greater_than_or_equal_to"),
        ("impressions", "role", "", "an empty value"),
        ("impressions", "clicked", 3, "not one of"),
    ],
)
def test_a_wrong_value_is_named_with_its_row(name, column, value, problem):
    frame = pd.DataFrame(TABLES[name])
    frame.loc[1, column] = value
    with pytest.raises(DataError, match=rf"^table {name}: row [12]: \w+ = .*{problem}") as caught:
        check_table(name, frame)
    assert len(str(caught.value)) < 300
    if "duplicate" not in problem:
        assert f": row 2: {column} = " in str(caught.value)


def test_ids_that_are_numbers_are_a_wrong_type():
    with pytest.raises(DataError, match="job_id = .*wrong type"):
        check_table("jobs", pd.DataFrame({"job_id": [1, 2], "text": ["a", "b"]}))


def test_a_text_of_the_largest_size_passes():
    check_table(
        "jobs", pd.DataFrame({"job_id": ["1"], "text": ["x" * document_check.MAX_CHARACTERS]})
    )


def test_lines_of_a_file_are_named_instead_of_rows_and_all_are_counted():
    frame = pd.DataFrame(
        {"job_id": ["1", "", ""], "text": ["a", "b", "c"]}, index=pd.Index([2, 7, 9], name="line")
    )
    with pytest.raises(DataError, match=r"^jobs.csv:7: job_id = '': no id.*\(2 rows in all\)$"):
        check_table("jobs", frame, source="jobs.csv")


def test_a_repeated_index_still_names_the_row():
    frame = pd.DataFrame({"job_id": ["1", "2", ""], "text": ["a", "b", "c"]}, index=[0, 1, 1])
    with pytest.raises(DataError, match="row [23]: job_id = ''"):
        check_table("jobs", frame)


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_table_raises(name):
    with pytest.raises(DataError, match=f"table {name}: no rows"):
        check_table(name, pd.DataFrame(TABLES[name]).iloc[:0])


@pytest.mark.parametrize(
    "table, column, kind",
    [
        ("labels", "job_id", "job"),
        ("labels", "resume_id", "resume"),
        ("preferences", "resume_a", "resume"),
        ("preferences", "resume_b", "resume"),
        ("preferences", "job_id", "job"),
    ],
)
def test_references_to_unknown_documents_are_named(table, column, kind):
    tables = {
        name: pd.DataFrame(TABLES[name]) for name in ("jobs", "resumes", "labels", "preferences")
    }
    check_references(tables)
    check_references({name: tables[name] for name in ("jobs", "resumes", "labels")})
    tables[table].loc[1, column] = "99"
    with pytest.raises(
        DataError, match=f"^{table}: row 2: {column} '99' is in no {kind} row .*; add it or drop"
    ):
        check_references(tables)
    tables[table].index = pd.Index([2, 5], name="line")
    with pytest.raises(DataError, match=f"^my.csv:5: {column} '99'"):
        check_references(tables, source="my.csv")
