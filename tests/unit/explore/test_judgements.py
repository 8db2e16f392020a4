"""A reader's judgements: saved once a pair, and read by notebook 05's own reader."""

from pathlib import Path

import pytest

from matchlib.data.schema import DataError
from matchlib.explore.judgements import COLUMNS, read_judgements, save_judgement
from matchlib.language.judge import read_preferences, read_sets


def save(path, resume_a="a", resume_b="b", preferred="a", **changes):
    given = {"job_id": "j", "annotator": "ann"} | changes
    return save_judgement(path, resume_a=resume_a, resume_b=resume_b, preferred=preferred, **given)


def test_a_judgement_is_added_and_a_new_one_of_the_pair_replaces_it(tmp_path):
    path = tmp_path / "new" / "p.csv"
    assert save(path) == f"Saved: a for j. Judgements in {path}: 1."
    assert save(path, "a", "c", "tie").startswith("Saved: neither for j. ")
    told = save(path, "b", "a", "a")  # the same pair in the other order
    assert told.startswith("Saved: b for j, in place of an earlier one of the same pair.")
    save(path, annotator="bo")
    save(path, job_id="k")
    rows = read_judgements(path)
    assert rows.values.tolist() == [
        ["j", "a", "c", "tie", "ann"],
        ["j", "b", "a", "a", "ann"],
        ["j", "a", "b", "a", "bo"],
        ["k", "a", "b", "a", "ann"],
    ]
    assert [one.name for one in path.parent.iterdir()] == ["p.csv"]  # nothing is left beside it


def test_ids_stay_as_they_are_written(tmp_path):
    path = tmp_path / "p.csv"
    for resume in ("=1+1", 'a,"b"', "007", "NA", "1e5"):
        save(path, resume, "other")
    assert read_judgements(path)["resume_a"].tolist() == ["=1+1", 'a,"b"', "007", "NA", "1e5"]


def test_columns_of_an_earlier_table_stay(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(
        "job_id,resume_a,resume_b,preferred,confidence,annotator,note\nj,x,y,b,70,bo,hm\n"
    )
    save(path)
    rows = read_judgements(path)
    assert rows["note"].tolist() == ["hm", ""] and rows["confidence"].tolist() == ["70", "100"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"preferred": "c"}, "preferred is 'c'; it is one of a, b, tie"),
        ({"resume_b": "a"}, "both resumes are 'a'; choose two"),
        ({"annotator": " "}, "annotator is empty"),
    ],
)
def test_what_is_no_judgement_is_refused_and_leaves_the_table(tmp_path, given, sentence):
    path = tmp_path / "p.csv"
    save(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=sentence):
        save(path, **given)
    assert path.read_bytes() == before


def test_a_file_that_is_no_table_of_judgements_is_left_alone(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("job_id,resume_id,label\nj,a,1\n")
    with pytest.raises(DataError, match="no column resume_a, resume_b, preferred, annotator"):
        save(path)
    with pytest.raises(DataError, match="ends in .csv"):
        read_judgements(tmp_path / "p.parquet")
    assert read_judgements(tmp_path / "none.csv").columns.tolist() == list(COLUMNS)


def test_notebook_05_reads_the_table(tmp_path, small_tables):
    """By the reader that `annotator: file` has, with the jobs and resumes of a market."""
    tables = {name: small_tables[name] for name in ("jobs", "resumes")}
    path = tmp_path / "p.csv"
    for split in ("train", "test"):
        jobs, resumes = (frame[frame["split"] == split] for frame in tables.values())
        job = jobs["job_id"].iloc[0]
        one, two, three = resumes["resume_id"].iloc[:3]
        save(path, one, two, "a", job_id=job)
        save(path, one, three, "tie", job_id=job)
        save(path, two, one, "a", job_id=job)  # another mind: no contradiction is left
    preferences, left_out = read_preferences(path, tables)
    assert left_out == {} and len(preferences) == 4
    assert preferences["confidence"].tolist() == [100.0] * 4
    assert set(preferences["annotator"]) == {"ann"}
    by_split = {one.split: one for one in read_sets(Path(path), tables)}
    assert set(by_split) == {"train", "test"}
    winners = by_split["test"].preferences.query("preferred == 'a'")["resume_a"]
    assert winners.tolist() == [two]
