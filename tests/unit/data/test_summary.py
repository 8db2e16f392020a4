import pandas as pd
import pytest

from matchlib.data.summary import describe, fits_by_decision, sizes


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    return {
        "jobs": pd.DataFrame(
            {
                "job_id": ["1", "2", "3"],
                "text": ["a b", "a b c d", "x"],
                "city": "Leeds",
                "split": ["train", "train", "test"],
            }
        ),
        "resumes": pd.DataFrame(
            {
                "resume_id": list("abcd"),
                "text": ["one two three"] * 4,
                "split": ["train", "train", "train", "test"],
            }
        ),
        "labels": pd.DataFrame(
            {
                "job_id": ["1", "1", "2", "3"],
                "resume_id": ["a", "b", "c", "d"],
                "label": [1, 0, 1, 1],
                "split": ["train", "train", "train", "test"],
            }
        ),
    }


def test_sizes_by_split(tables):
    table = sizes(tables).set_index("split")
    assert list(table.index) == ["train", "valid", "test"]
    assert table.loc["train"].to_dict() == {
        "jobs": 2,
        "resumes": 3,
        "labels": 3,
        "accepted": 2,
        "labels a job": 1.5,
        "labelled pairs, %": 50.0,
    }
    assert table.loc["test", "labelled pairs, %"] == 100.0
    assert (table.loc["valid"] == 0).all()


def test_sizes_count_true_fits_where_they_are_known(tables):
    truth = pd.DataFrame({"job_id": ["1"], "resume_id": ["a"], "split": ["train"]})
    assert sizes({**tables, "truth": truth})["true fits, %"].tolist() == [
        pytest.approx(100 / 6),
        0,
        0,
    ]


def test_describe_says_the_same_in_lines(tables):
    lines = describe(tables)
    assert lines[0] == "jobs: 3 texts, median 2 words, longest 4; further columns: city"
    assert lines[1] == "resumes: 4 texts, median 3 words, longest 3; further columns: none"
    assert lines[2] == "train: 2 jobs, 3 resumes, 3 labels (2 accepted), 50.000% of pairs labelled"


def test_fits_are_counted_by_decision():
    labels = pd.DataFrame(
        {"job_id": list("aaab"), "resume_id": list("wxyz"), "label": [1, 0, 0, 1]}
    )
    truth = pd.DataFrame({"job_id": list("aab"), "resume_id": list("wxw"), "split": "train"})
    found = fits_by_decision(labels, truth).set_index("decision")
    assert found["pairs"].to_dict() == {"all applicants": 4, "accepted": 2, "rejected": 2}
    assert found["truly_fit"].to_dict() == {"all applicants": 0.5, "accepted": 0.5, "rejected": 0.5}
