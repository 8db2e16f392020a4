"""Mutated files of every reader: tables that pass their schemas, or one sentence with file and remedy; nothing else."""

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_formats import DEFAULTS, write_confit, write_fit, write_rankpo, write_talentclef
from test_melo import write_melo

from matchlib.data.readers import read_source
from matchlib.data.schema import SCHEMAS, DataError, check_table

CASES = 100
"""Mutated inputs a source; seven sources."""
BITS = [
    b"\0",
    b"\xff\xfe",
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b"\t",
    b"\n",
    b"\r",
    b"null",
    b"NaN",
    b"1e999",
    b"\\ud800",
    b"-1",
    b"",
    b" ",
    "护".encode(),
    "é".encode("cp1252"),
    b"true",
    b"9" * 5000,
    b"[" * 2000,
]
tried = []


def write_rjdb(folder):
    folder.mkdir()
    (folder / "a.jsonl").write_text(
        "".join(
            f'{{"Job-Description": "job {i * 7} a", "Resume-matched": "good {i}", "Resume-unmatched": "poor {i}"}}\n'
            for i in range(6)
        )
    )
    return folder / "a.jsonl"


def write_files(folder):
    folder.mkdir()
    for name, row in (
        ("jobs", "j{0},cook {0} {1}"),
        ("resumes", "r{0},I cook {1} {0}"),
        ("labels", "j{0},r{0},1"),
    ):
        head = {
            "jobs": "job_id,text",
            "resumes": "resume_id,text",
            "labels": "job_id,resume_id,label",
        }[name]
        (folder / f"{name}.csv").write_text(
            "\n".join([head, *(row.format(i, i * i) for i in range(30))]) + "\n"
        )
    return folder


def make(source, folder):
    """A valid input of a source; returns the parameters that read it."""
    folder.mkdir(exist_ok=True)
    if source == "files":
        place = write_files(folder / "f")
        return {
            f"{name}_file": str(place / f"{name}.csv") for name in ("jobs", "resumes", "labels")
        }
    if source == "fit":
        return {"path": str(write_fit(folder / "a.csv"))}
    if source == "rjdb":
        return {
            "path": str(write_rjdb(folder / "r")),
            "train_rows": 2,
            "valid_rows": 1,
            "test_rows": 1,
        }
    writers = {"rankpo": write_rankpo, "confit": write_confit}
    writers |= {"talentclef": write_talentclef, "melo": write_melo}
    return {"path": str(writers[source](folder / source)), "test_share": 1.0}


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One of: cut, insert, replace or remove bytes; repeat, drop or swap lines; another encoding; nothing at all."""
    lines = content.splitlines(keepends=True)
    at, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    kind = rng.randrange(8)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + rng.choice(BITS) + content[at:]
    if kind == 2:
        return content[:at] + rng.choice(BITS) + content[min(end, at + 8) :]
    if kind == 3:
        return b"".join(lines + rng.choices(lines, k=2)) if lines else b""
    if kind == 4:
        return b"".join(line for line in lines if rng.random() < 0.7)
    if kind == 5:
        return b"".join(rng.sample(lines, len(lines)))
    if kind == 6:
        return content.decode().encode(
            rng.choice(["utf-16", "utf-16-le", "gb18030", "utf-8-sig"]), "replace"
        )
    return rng.choice([b"", b"\n", b"{}", b"[]", b"null\n"])


@pytest.mark.parametrize(
    "source", ["files", "fit", "rjdb", "rankpo", "confit", "talentclef", "melo"]
)
def test_mutated_files_give_tables_or_one_sentence(source, tmp_path):
    parameters = make(source, tmp_path / "valid")
    try:
        read_source(DEFAULTS | {"source": source} | parameters)
    except DataError as problem:
        assert "no accepted pair" in str(problem)

    @settings(
        max_examples=CASES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32))
    def check(seed):
        rng = random.Random(seed)
        case = tmp_path / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(tmp_path / "valid", case)
        file = rng.choice(sorted(path for path in case.rglob("*") if path.is_file()))
        file.write_bytes(mutate(file.read_bytes(), rng))
        changed = {
            key: value.replace(str(tmp_path / "valid"), str(case))
            if isinstance(value, str)
            else value
            for key, value in parameters.items()
        }
        before = sorted(case.rglob("*"))
        tried.append(source)
        try:
            reading = read_source(DEFAULTS | {"source": source} | changed)
        except DataError as problem:
            sentence = str(problem)
            assert "\n" not in sentence and len(sentence) < 2_000 and ";" in sentence, sentence
        else:
            for name in set(reading.tables) & set(SCHEMAS):
                check_table(name, reading.tables[name])
            assert (
                reading.files["rows"] == reading.files["read"] + reading.files["left out"]
            ).all()
        assert sorted(case.rglob("*")) == before, "a reader wrote something"

    check()
    assert tried.count(source) >= CASES
    assert Path(tmp_path / "valid").exists()
