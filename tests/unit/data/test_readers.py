"""Files of every form, good and bad. A bad one raises DataError and nothing else, by file, line and remedy."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from matchlib.data.files import read_rows
from matchlib.data.formats.rjdb import read_rjdb
from matchlib.data.readers import read_source, read_table
from matchlib.data.schema import DataError
from matchlib.pipeline import notebook_parameters
from matchlib.retrieval.metrics import rank
from matchlib.retrieval.search import search_bm25

RJDB = Path(__file__).parents[4] / "shared" / "data" / "rjdb" / "sample.jsonl"
DEFAULTS = notebook_parameters(Path("notebooks/01_data_rules.ipynb"))
ROWS = [
    {"job_id": "007", "text": "NA", "city": ""},
    {"job_id": "1e3", "text": 'two\nlines, "quoted"', "city": "nan"},
    {"job_id": "null", "text": "tab\there; 日本語", "city": "Köln"},
    {"job_id": "8", "text": " None ", "city": "\\N"},
]


def write(path: Path, rows: list[dict]) -> Path:
    """Write rows in the form that the ending says."""
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ","
            )
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pd.DataFrame(rows).to_parquet(path)
    return path


def source(parameters: dict):
    """The tables and notes that notebook 01 would have, with its defaults for all that is not given."""
    reading = read_source(DEFAULTS | parameters)
    return reading.tables, reading.notes


def read_bytes(
    tmp_path: Path, name: str, content: bytes | str, table: str = "jobs", **settings
) -> pd.DataFrame:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, table, **settings)


# ---- good files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_ids_and_texts_survive(tmp_path, ending):
    frame = read_table(write(tmp_path / f"jobs.{ending}", ROWS), "jobs")
    assert frame.to_dict("records") == ROWS
    assert frame.index.tolist() == [0, 1, 2, 3] and frame.index.name is None


def test_lines_stay_right_after_quoted_newlines_and_blank_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('job_id,text\n1,"a\nb\nc"\n\n2,d\n', newline="")
    assert [line for line, _ in read_rows(path)] == [2, 6]
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n  \n{"a": 2}\n')
    assert [line for line, _ in read_rows(path)] == [1, 4]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks_do_not_matter(tmp_path, ends, mark):
    frame = read_bytes(
        tmp_path, "a.csv", mark + ends.join(["job_id,text", "1,a", "2,b", ""]).encode()
    )
    assert frame.to_dict("list") == {"job_id": ["1", "2"], "text": ["a", "b"]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252", "latin-1"])
def test_other_encodings_are_read_when_named(tmp_path, encoding):
    content = "job_id,text\n1,Köln\n2,naïve\n".encode(encoding)
    assert read_bytes(tmp_path, "a.csv", content, encoding=encoding)["text"].tolist() == [
        "Köln",
        "naïve",
    ]


def test_chinese_in_gb18030(tmp_path):
    frame = read_bytes(
        tmp_path, "a.tsv", "job_id\ttext\n1\t招聘护士\n".encode("gb18030"), encoding="gb18030"
    )
    assert frame["text"].tolist() == ["招聘护士"]


def test_json_values_become_text(tmp_path):
    row = {
        "job_id": 7,
        "text": "a",
        "n": 1.5,
        "none": None,
        "list": ["x", 2],
        "object": {"é": True},
        "flag": False,
    }
    frame = read_table(write(tmp_path / "a.jsonl", [row]), "jobs")
    assert frame.iloc[0].to_dict() == {
        "job_id": "7",
        "text": "a",
        "n": "1.5",
        "none": "",
        "list": "x; 2",
        "object": '{"é": true}',
        "flag": "false",
    }


def test_a_key_that_one_json_object_lacks_is_empty_and_never_nan(tmp_path):
    rows = '{"job_id": "1", "body": "a", "title": "t"}\n{"job_id": "2", "body": "b"}\n'
    assert read_bytes(tmp_path, "a.jsonl", rows.replace("body", "text"))["title"].tolist() == [
        "t",
        "",
    ]
    joined = read_bytes(tmp_path, "b.jsonl", rows, columns={"text": ["title", "body"]})
    assert joined["text"].tolist() == ["## title\nt\n## body\na", "## body\nb"]


def test_parquet_keeps_whole_numbers_whole_beside_gaps(tmp_path):
    frame = pd.DataFrame(
        {
            "job_id": [7, 8],
            "text": ["a", "b"],
            "years": pd.array([3, None], dtype="Int64"),
            "skills": [["x", "y"], []],
            "pay": [1.5, float("nan")],
            "on": pd.to_datetime(["2024-05-01", None]),
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", "jobs").to_dict("list") == {
        "job_id": ["7", "8"],
        "text": ["a", "b"],
        "years": ["3", ""],
        "skills": ["x; y", ""],
        "pay": ["1.5", ""],
        "on": ["2024-05-01 00:00:00", ""],
    }


def test_columns_are_mapped_joined_and_kept(tmp_path):
    path = write(
        tmp_path / "a.csv",
        [
            {"Nr": "1", "Titel": "Nurse", "text": "old", "body": "nights", "city": "Köln"},
            {"Nr": "2", "Titel": "", "text": "old", "body": "days", "city": ""},
        ],
    )
    frame = read_table(
        path, "jobs", columns={"job_id": "Nr", "text": ["Titel", "body"], "title": "Titel"}
    )
    assert frame.to_dict("list") == {
        "job_id": ["1", "2"],
        "text": ["## Titel\nNurse\n## body\nnights", "## body\ndays"],
        "title": ["Nurse", ""],
        "city": ["Köln", ""],
    }


def test_labels_get_their_split_and_source_unless_the_file_has_a_split(tmp_path):
    rows = [
        {"job_id": "1", "resume_id": "a", "label": "1"},
        {"job_id": "1", "resume_id": "b", "label": "0"},
    ]
    frame = read_table(write(tmp_path / "a.csv", rows), "labels")
    assert frame.to_dict("list") == {
        "job_id": ["1", "1"],
        "resume_id": ["a", "b"],
        "label": [1, 0],
        "source": ["file", "file"],
        "split": ["train", "train"],
    }
    own = [row | {"split": split} for row, split in zip(rows, ("test", "valid"), strict=True)]
    assert read_table(write(tmp_path / "b.csv", own), "labels")["split"].tolist() == [
        "test",
        "valid",
    ]


def test_a_spreadsheets_semicolons_are_understood(tmp_path):
    assert read_bytes(tmp_path, "a.csv", "job_id;text;pay\n1;a, b;1,5\n")["text"].tolist() == [
        "a, b"
    ]
    with pytest.raises(
        DataError,
        match=r"b.csv:2: 3 fields where the heading has 2; quote fields that hold semicolo",
    ):
        read_bytes(tmp_path, "b.csv", "job_id;text\n1;a;b\n")


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;"])
def test_excels_line_that_names_the_separator_is_no_heading(tmp_path, first):
    frame = read_bytes(tmp_path, "a.csv", f"{first}\r\njob_id;text\r\n1;a, b\r\n")
    assert frame.to_dict("list") == {"job_id": ["1"], "text": ["a, b"]}
    with pytest.raises(DataError, match="b.csv:4: 3 fields where the heading has 2"):
        read_bytes(tmp_path, "b.csv", f"{first}\njob_id;text\n1;a\n2;b;c\n")
    bars = read_bytes(tmp_path, "c.csv", "sep=|\njob_id|text\n1|a;b\n")
    assert bars["text"].tolist() == ["a;b"]


@pytest.mark.parametrize(
    "title",
    ["Export of 3 May\n", "Export of 3 May,,\n,,\n", '"Jobs, all"\n\n', "Jobs\n3 May\n", "Jobs;\n"],
)
def test_a_title_above_the_heading_is_named(tmp_path, title):
    rows = "job_id,text,pay\n1,a,2\n2,b,3\n"
    with pytest.raises(
        DataError, match="a.csv:1: the first line, .* is it a title. Delete what stands above"
    ):
        read_bytes(tmp_path, "a.csv", title + (rows.replace(",", ";") if ";" in title else rows))


def test_one_column_of_quoted_commas_is_no_title(tmp_path):
    (tmp_path / "a.csv").write_text('text\n"a, b"\n"c, d"\n')
    assert [row for _, row in read_rows(tmp_path / "a.csv")] == [{"text": "a, b"}, {"text": "c, d"}]


def test_pools_may_hold_unlabelled_pairs(tmp_path):
    rows = [
        {"task": "rank_jobs", "query_id": "1", "candidate_id": str(i), "label": str(i - 1)}
        for i in range(3)
    ]
    assert read_table(write(tmp_path / "a.tsv", rows), "pools")["label"].tolist() == [-1, 0, 1]


# ---- bad files -----------------------------------------------------------------------------------------

LABELS = "job_id,resume_id,label\n"
BAD = {  # name, content, what follows the path, table (default jobs)
    "broken quote at the end": (
        "a.csv",
        'job_id,text\n1,ok\n2,"a\n3,b\n',
        ":3: broken row .*; check its quotes",
    ),
    "text after a quote": (
        "a.csv",
        'job_id,text\n1,"a" b\n',
        ":2: broken row .*; check its quotes",
    ),
    "broken quote in the heading": (
        "a.csv",
        '"job_id,text\n1,a\n',
        ":1: broken row .*; check its quotes",
    ),
    "too many fields": (
        "a.csv",
        'job_id,text\n1,"a\nb"\n2,b,c\n',
        ":4: 3 fields .* has 2; quote fields that hold co",
    ),
    "too few fields": (
        "a.tsv",
        "job_id\ttext\n1\ta\n2\n",
        ":3: 1 fields .* has 2; quote fields that hold tabs",
    ),
    "duplicate id": (
        "a.csv",
        'job_id,text\n0,"a\nb"\n1,b\n1,c\n',
        ":5: job_id = '1': a duplicate; keep one",
    ),
    "empty id": (
        "a.csv",
        "job_id,text\n1,a\n ,b\n",
        ":3: job_id = ' ': no id; give every row one",
    ),
    "id with a space": (
        "a.csv",
        "job_id,text\n1,a\nmy job,b\n",
        ":3: job_id = 'my job': .*; replace it by _",
    ),
    "rounded id": (
        "a.csv",
        "job_id,text\n1,a\n9.91214E+15,b\n",
        ":3: job_id = '9.91214E.15': .*rounded; format",
    ),
    "empty text": (
        "a.csv",
        "job_id,text\n1,a\n2,\n",
        ":3: text = '': no text, not one letter or digit; fill it or leave it out",
    ),
    "empty text in JSON": (
        "a.jsonl",
        '{"job_id": 1, "text": "a"}\n\n{"job_id": 2}\n',
        ":3: text = '': .*leave it out",
    ),
    "missing column": (
        "a.csv",
        "job_id,body\n1,a\n",
        ": column 'text' is missing; found .*body.*; rename it",
    ),
    "repeated column": (
        "a.csv",
        "job_id,text,text\n1,a,b\n",
        ":1: .*repeated column name: .*; give every column",
    ),
    "nameless column": (
        "a.csv",
        "job_id,,text\n0,1,b\n",
        ":1: the heading has an empty .*; give every column",
    ),
    "empty file": ("a.csv", "", ": no rows; expected a heading"),
    "empty JSONL": ("a.jsonl", "\n", ": no rows; expected"),
    "heading only": (
        "a.tsv",
        "job_id\ttext\n",
        ": no rows; expected a heading and at least one row",
    ),
    "cp1252": (
        "a.csv",
        "job_id,text\n1,a\n2,Köln\n".encode("cp1252"),
        ":3: byte 0xf6 is not utf-8; save the file as UTF-8, or set encoding",
    ),
    "cp1252 in JSON": (
        "a.jsonl",
        '{"job_id": 1, "text": "Köln"}'.encode("cp1252"),
        ":1: byte 0xf6 .*; save",
    ),
    "UTF-16": (
        "a.csv",
        "job_id,text\n1,a\n".encode("utf-16"),
        ":1: the file is UTF-16; save it as UTF-8, or set",
    ),
    "UTF-16 without a mark": (
        "a.csv",
        "job_id,text\n1,a\n".encode("utf-16-le"),
        ":1: a null byte; .*export it",
    ),
    "5 MB text": (
        "a.csv",
        "job_id,text\n1,a\n2," + "x" * 5_000_000,
        ":3: text = 'xxx.*1,000,000 characters; cut",
    ),
    "null byte": (
        "a.csv",
        "job_id,text\n1,a\n2,b\0\n",
        ":3: a null byte; the file is .*, export it again",
    ),
    "null byte in JSON": (
        "a.jsonl",
        '{"job_id": 1, "text": "a\\u0000b"}',
        ":1: text = .*null byte.*; .*export",
    ),
    "half a surrogate pair": (
        "a.jsonl",
        '{"job_id": 1, "text": "\\ud83d"}',
        ":1: not JSON .*; one object a line",
    ),
    "JSON list": (
        "a.jsonl",
        '{"job_id": 1, "text": "a"}\n[1]\n',
        ":2: a list where an object is due; one obj",
    ),
    "broken JSON": (
        "a.jsonl",
        '{"job_id": 1, "text": "a"}\n{"job_id": 2,\n',
        ":2: not JSON .*; one object a l",
    ),
    "deep JSON": ("a.jsonl", "[" * 100_000, ":1: not JSON .*; one object a line"),
    "long number": (
        "a.jsonl",
        '{"job_id": ' + "1" * 5_000 + "}",
        ":1: not JSON .*; one object a line",
    ),
    "not Parquet": ("a.parquet", "job_id,text\n1,a\n", ": not a Parquet file .*; export it again"),
    "empty Parquet": ("a.parquet", "", ": not a Parquet file .*; export it again"),
    "unknown ending": (
        "a.xlsx",
        "job_id,text\n1,a\n",
        ": ending '.xlsx' is not one of .csv, .tsv, .jsonl.*; open it in the spread.* save it as CSV",
    ),
    "renamed spreadsheet": (
        "a.csv",
        "PK\x03\x04...",
        ": a spreadsheet that was renamed; .* save it as CSV",
    ),
    "unknown label": (
        "a.csv",
        LABELS + "1,a,1\n1,b,2\n",
        ":3: label '2' is not one of 0, 1: write 1 for acc",
        "labels",
    ),
    "unlabelled label": (
        "a.csv",
        LABELS + "1,a,-1\n",
        ":2: label '-1' is not one of 0, 1: .*; drop unl",
        "labels",
    ),
    "worded label": (
        "a.jsonl",
        '{"job_id": 1, "resume_id": 2, "label": true}',
        ":1: label 'true' is not",
        "labels",
    ),
    "duplicate pair": (
        "a.csv",
        LABELS + "1,a,1\n1,b,1\n1,a,0\n",
        ":4: job_id = '1': a duplicate; keep one",
        "labels",
    ),
    "unknown split": (
        "a.csv",
        "job_id,resume_id,label,split\n1,a,1,train\n1,b,1,dev\n",
        ":3: split = 'dev': .*not one of .*'train', 'valid', 'test'",
        "labels",
    ),
    "labels without a label": (
        "a.csv",
        "job_id,resume_id\n1,a\n",
        ": column 'label' is missing; .*; rename",
        "labels",
    ),
    "unknown pool label": (
        "a.csv",
        "task,query_id,candidate_id,label\nrank_jobs,1,2,5\n",
        ":2: label '5'",
        "pools",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_raise_by_file_line_and_remedy(tmp_path, case):
    name, content, message, *table = BAD[case]
    with pytest.raises(DataError, match="^" + re.escape(str(tmp_path / name)) + message) as caught:
        read_bytes(tmp_path, name, content, *table)
    assert len(str(caught.value)) < 400 + len(str(tmp_path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [("none.csv", "no such file; check the path"), ("folder.csv", "a folder where a table")],
)
def test_a_missing_file_or_a_folder_is_named(tmp_path, name, problem):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / name}: {problem}")):
        read_table(tmp_path / name, "jobs")


@pytest.mark.parametrize(
    "encoding, message",
    [
        ("utf-16", ":1: not utf-16 .*; save the file as UTF-8"),
        ("klingon", ": encoding 'klingon' is unknown; use utf-8"),
        ("hex", ": encoding 'hex' is unknown; use utf-8"),
        ("ascii", ":2: byte 0xc3 is not ascii; save"),
    ],
)
def test_a_wrong_encoding_setting_is_named(tmp_path, encoding, message):
    with pytest.raises(DataError, match=re.escape(str(tmp_path)) + "/a.csv" + message):
        read_bytes(tmp_path, "a.csv", "job_id,text\n1,Köln\n", encoding=encoding)


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"text": "body"}, "column 'body', mapped to text, is not in .*; it has"),
        ({"text": ["text", "tiel"]}, "column 'tiel', mapped to text, is not in"),
        (
            {"text": "title,body"},
            "column .title,body., mapped to text, is not in .*; name several one by one",
        ),
        ({"text": []}, "text is mapped to no column; name one of 'job_id'"),
        ({"text": None}, "text is mapped to no column; name one of 'job_id'"),
    ],
)
def test_a_wrong_column_map_is_named(tmp_path, columns, message):
    with pytest.raises(DataError, match=f"/a.csv: {message}"):
        read_bytes(tmp_path, "a.csv", "job_id,text\n1,a\n", columns=columns)


# ---- sources -------------------------------------------------------------------------------------------


def file_parameters(tmp_path: Path, **changed) -> dict:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 2_000, 20)) for _ in range(120)]
    frames = {
        "jobs": [{"job_id": f"{i:03d}", "text": text} for i, text in enumerate(texts[:60])],
        "resumes": [{"resume_id": f"{i:03d}", "text": text} for i, text in enumerate(texts[60:])],
        "labels": [
            {"job_id": f"{i:03d}", "resume_id": f"{i:03d}", "label": "1"} for i in range(60)
        ],
    }
    frames |= changed
    paths = {
        f"{name}_file": str(write(tmp_path / f"{name}.csv", rows)) for name, rows in frames.items()
    }
    return {
        "source": "files",
        **paths,
        "jobs_columns": {},
        "resumes_columns": {},
        "labels_columns": {},
        "encoding": "utf-8",
        "valid_share": 0.2,
        "test_share": 0.3,
        "seed": 1,
    }


def test_files_are_read_split_and_noted(tmp_path):
    tables, notes = source(file_parameters(tmp_path))
    assert {name: len(frame) for name, frame in tables.items()} == {
        "jobs": 60,
        "resumes": 60,
        "labels": 60,
    }
    assert all(set(frame["split"]) == {"train", "valid", "test"} for frame in tables.values())
    assert tables["jobs"]["job_id"].iloc[7] == "007" and tables["labels"].index.name is None
    assert notes[0] == f"jobs: 60 rows of {tmp_path / 'jobs.csv'}" and len(notes) == 5


def test_a_split_column_of_the_labels_is_checked_and_a_note_says_that_it_is_not_used(tmp_path):
    labels = [
        {"job_id": f"{i:03d}", "resume_id": f"{i:03d}", "label": "1", "split": "test"}
        for i in range(60)
    ]
    tables, notes = source(file_parameters(tmp_path, labels=labels))
    assert set(tables["labels"]["split"]) == {"train", "valid", "test"}
    assert sum("is not used" in note for note in notes) == 1
    labels[41]["split"] = "dev"
    with pytest.raises(DataError, match="labels.csv:43: split = 'dev'"):
        source(file_parameters(tmp_path, labels=labels))


@pytest.mark.parametrize("column, kind", [("job_id", "job"), ("resume_id", "resume")])
def test_a_label_for_an_unknown_document_is_named_by_its_line(tmp_path, column, kind):
    labels = [
        {"job_id": f"{i:03d}", "resume_id": f"{i:03d}", "label": "1", "note": "a\nb"}
        for i in range(60)
    ]
    labels[4][column] = "7"
    with pytest.raises(
        DataError, match=rf"^{tmp_path}/labels.csv:10: {column} '7' is in no {kind} row \(1 .*; add"
    ):
        source(file_parameters(tmp_path, labels=labels))


def test_an_unknown_source_is_named():
    with pytest.raises(DataError, match="source 'web' is not one of market, files, rjdb"):
        source({"source": "web"})


def test_the_market_is_a_source():
    sizes = {
        f"{split}_{side}": 12
        for split in ("train", "valid", "test")
        for side in ("jobs", "resumes")
    }
    tables, notes = source(
        {"source": "market", "seed": 1, "market_settings": {"occupations": 3}, **sizes}
    )
    assert set(tables) == {"jobs", "resumes", "labels", "truth"} and len(tables["jobs"]) == 36
    assert "fingerprint" in notes[0]
    with pytest.raises(DataError, match="unknown setting 'alias_gab'"):
        source({"source": "market", "seed": 1, "market_settings": {"alias_gab": 1}, **sizes})


# ---- RJDB ----------------------------------------------------------------------------------------------


def rjdb_rows(n: int) -> list[dict]:
    return [
        {
            "Job-Description": f"job {i} " + "x " * i,
            "Resume-matched": f"good {i}",
            "Resume-unmatched": f"poor {i}",
            "Skills": {"a": []},
        }
        for i in range(n)
    ]


def test_rjdb_rows_become_tables(tmp_path):
    path = write(tmp_path / "a.jsonl", rjdb_rows(6))
    tables = read_rjdb(path, rows={"train": 3, "valid": 1, "test": 1}).tables
    assert tables["jobs"]["split"].tolist() == ["train"] * 3 + ["valid", "test"]
    text = tables["resumes"].set_index("resume_id")["text"]
    for pair in tables["preferences"].itertuples():
        row = int(pair.job_id.removeprefix("job-"))
        assert (text[pair.resume_a], text[pair.resume_b], pair.preferred) == (
            f"good {row}",
            f"poor {row}",
            "a",
        )
    labels = tables["labels"].merge(tables["resumes"], on=["resume_id", "split"])
    assert (
        len(labels) == 10
        and (labels["text"].str.startswith("good") == (labels["label"] == 1)).all()
    )


@pytest.mark.parametrize(
    "broken", [{"Resume-matched": ""}, {"Resume-matched": None}, {"Resume-matched": ["a"]}]
)
def test_a_broken_rjdb_row_is_left_out_by_line(tmp_path, broken):
    rows = rjdb_rows(5)
    rows[2] |= broken
    path = write(tmp_path / "a.jsonl", rows)
    reading = read_rjdb(path, rows={"train": 4})
    assert reading.left_out.to_dict("records") == [
        {
            "file": str(path),
            "line": "3",
            "reason": "Resume-matched: no text, not one letter or digit; fill it or leave it out",
        }
    ]
    assert reading.files[["rows", "read", "left out"]].to_numpy().tolist() == [[5, 4, 1]]
    path.write_text(path.read_text().replace("\n", "\n{", 1))
    with pytest.raises(DataError, match=re.escape(f"{path}:2: not JSON")):
        read_rjdb(path, rows={"train": 4})


def test_too_few_rjdb_rows_raise(tmp_path):
    path = write(tmp_path / "a.jsonl", rjdb_rows(4))
    with pytest.raises(DataError, match="4 rows, but 5 are asked for; lower train_rows"):
        read_rjdb(path, rows={"train": 3, "test": 2})


@pytest.mark.skipif(
    not RJDB.is_file(), reason="needs the RJDB sample, which is not part of the repository"
)
def test_the_real_rjdb_sample_reads_and_bm25_does_as_published():
    tables, notes = source(
        {"source": "rjdb", "path": str(RJDB), "train_rows": 320, "valid_rows": 80, "test_rows": 200}
    )
    assert [len(tables[name]) for name in ("jobs", "resumes", "labels", "preferences")] == [
        600,
        1200,
        1200,
        600,
    ]
    assert notes[1].startswith("0 training or validation jobs dropped")
    recall = {}
    for pool, resumes in (("matched", tables["resumes"].iloc[:600]), ("both", tables["resumes"])):
        hits = search_bm25(tables["jobs"]["text"].tolist(), resumes["text"].tolist(), depth=20)
        first = rank(
            tables["jobs"]["job_id"].tolist(),
            resumes["resume_id"].tolist(),
            hits.positions,
            hits.scores,
            depth=1,
        )
        own = "resume-" + first["query_id"].str.removeprefix("job-") + "-m"
        recall[pool] = (first["candidate_id"] == own).mean()
    # published on 1,000 rows: .984 and .913; two standard errors on 600 are .01 and .023
    assert recall["matched"] == pytest.approx(0.984, abs=0.012) and recall["both"] == pytest.approx(
        0.913, abs=0.025
    )


def test_every_reader_is_documented_by_its_ending(tmp_path):
    with pytest.raises(DataError) as caught:
        list(read_rows(tmp_path / "a.txt"))
    assert all(ending in str(caught.value) for ending in (".csv", ".tsv", ".jsonl", ".parquet"))


def test_a_first_column_without_a_name_is_pandas_row_number(tmp_path):
    path = tmp_path / "jobs.csv"
    frame = pd.DataFrame({"job_id": ["j1", "j2"], "text": ["welder", "nurse"]})
    frame.to_csv(path)
    assert read_table(path, "jobs")[["job_id", "text"]].equals(frame)
    path.write_text("job_id,,text\n1,2,a b\n")
    with pytest.raises(DataError, match="empty or a repeated column name"):
        read_table(path, "jobs")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels_file": ""}, "labels_file is empty; .*Without decisions, matchlib rank"),
        ({"jobs_file": "notebooks"}, "notebooks: a folder where a table is needed.*matchlib rank"),
    ],
)
def test_people_without_decisions_or_with_a_folder_are_led_to_rank(changes, sentence):
    parameters = DEFAULTS | {name: "a.csv" for name in ("jobs_file", "resumes_file", "labels_file")}
    with pytest.raises(DataError, match=sentence):
        read_source(parameters | {"source": "files"} | changes)
