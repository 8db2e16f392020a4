"""Plans of shards: what lies where, what stays where it is, and how losses are told."""

import json

import pandas as pd
import pytest

from matchlib.data.schema import DataError
from matchlib.documents.plan import plan_shards, read_plan
from matchlib.documents.read import read_documents


@pytest.fixture
def folder(tmp_path):
    """Seven texts, and a table of eleven rows."""
    folder = tmp_path / "resumes"
    folder.mkdir()
    for number in range(7):
        (folder / f"b{number}.txt").write_text(f"Cook number {number}")
    write_rows(folder / "a.jsonl", range(11))
    return folder


def write_rows(path, numbers):
    path.write_text(
        "".join(json.dumps({"id": f"r{n}", "text": f"Nurse {n}"}) + "\n" for n in numbers)
    )


def ids_by_shard(plan):
    return [
        plan.read(shard).tables["resumes"]["resume_id"].tolist() for shard in range(plan.n_shards)
    ]


def test_the_shards_together_are_what_read_documents_reads(folder):
    plan, losses = plan_shards(folder, "resumes", documents_per_shard=4)
    whole = read_documents(folder, "resumes").tables["resumes"]
    parts = [plan.read(shard).tables["resumes"] for shard in range(plan.n_shards)]
    assert [len(part) for part in parts] == [4, 4, 4, 4, 2]
    columns = ["resume_id", "text"]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True)[columns], whole[columns])
    assert losses.left_out.empty


def test_a_plan_is_the_same_again_and_after_it_was_written(folder, tmp_path):
    plan, _ = plan_shards(folder, "resumes", documents_per_shard=4)
    again, _ = plan_shards(folder, "resumes", previous=plan)
    plan.save(tmp_path)
    stored = read_plan(tmp_path)
    for other in (again, stored):
        pd.testing.assert_frame_equal(other.units, plan.units)
        assert [other.hash_of(s) for s in range(5)] == [plan.hash_of(s) for s in range(5)]
    assert not list(tmp_path.glob("*.part"))


def test_added_changed_and_removed_documents_change_their_own_shard_alone(folder):
    plan, _ = plan_shards(folder, "resumes", documents_per_shard=4)
    hashes = [plan.hash_of(shard) for shard in range(plan.n_shards)]

    def changed_shards():
        now, _ = plan_shards(folder, "resumes", previous=plan)
        fresh = [now.hash_of(shard) for shard in range(now.n_shards)]
        return [n for n, value in enumerate(fresh) if value not in hashes], now

    # sorted before all others, and yet in the last shard, which has room for two
    for number in range(3):
        (folder / f"0{number}.txt").write_text("new")
    changed, now = changed_shards()
    assert changed == [4, 5] and ids_by_shard(now)[4:] == [["00", "01", "b5", "b6"], ["02"]]
    for number in range(3):
        (folder / f"0{number}.txt").unlink()
    (folder / "b0.txt").write_text("changed")
    assert changed_shards()[0] == [2]
    (folder / "b0.txt").write_text("Cook number 0")
    write_rows(folder / "a.jsonl", range(13))
    changed, now = changed_shards()
    assert changed == [2, 4] and ids_by_shard(now)[4] == ["r12", "b5", "b6"]
    write_rows(folder / "a.jsonl", range(11))
    for name in ("b5", "b6"):
        (folder / f"{name}.txt").unlink()
    changed, now = changed_shards()
    assert changed == [4] and ids_by_shard(now)[4] == []


def test_what_cannot_be_read_is_left_out_of_its_shard_with_a_reason(folder):
    (folder / "c.pdf").write_bytes(b"%PDF")
    (folder / "d.csv").write_text('id,text\nx1,"Cook"\nx2\nx3,Nurse\n')
    (folder / "e.csv").write_text("name\nx\n")
    plan, _ = plan_shards(folder, "resumes", documents_per_shard=30)
    reading = plan.read(0)
    reasons = dict(
        zip(reading.left_out["file"].map(lambda f: f[-5:]), reading.left_out["reason"], strict=True)
    )
    assert "not a PDF" in reasons["c.pdf"]
    assert "1 fields where the heading has 2" in reasons["d.csv"]
    assert "no column 'resume_id'" in reasons["e.csv"]
    assert len(reading.tables["resumes"]) == 20


def test_some_documents_are_read_again(folder):
    plan, _ = plan_shards(folder, "resumes", documents_per_shard=4)
    wanted = pd.DataFrame(
        {"id": ["r5", "b2", "gone"], "file": ["a.jsonl", "b2.txt", "z.txt"], "line": [6, 0, 0]}
    )
    found = plan.read_some(wanted).set_index("resume_id")["text"].to_dict()
    assert found == {"r5": "Nurse 5", "b2": "Cook number 2"}


def test_a_plan_is_refused_that_is_torn_or_was_made_otherwise(folder, tmp_path):
    plan, _ = plan_shards(folder, "resumes", documents_per_shard=4)
    with pytest.raises(DataError, match="documents a shard of these shards are 4, now 5"):
        plan_shards(folder, "resumes", documents_per_shard=5, previous=plan)
    with pytest.raises(DataError, match="kind of document"):
        plan_shards(folder, "jobs", previous=plan)
    with pytest.raises(DataError, match="no plan.parquet"):
        read_plan(tmp_path)
    plan.save(tmp_path)
    whole = (tmp_path / "plan.parquet").read_bytes()
    (tmp_path / "plan.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a plan of shards .* remove it"):
        read_plan(tmp_path)
