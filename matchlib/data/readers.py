"""Readers: from files to the tables of schema.py. Every refusal names file, line and remedy."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from matchlib.data.market import Market
from matchlib.data.schema import DataError, check_references, check_table
from matchlib.data.splits import check_splits, drop_near_duplicates_across, split_tables

csv.field_size_limit(2**31 - 1)  # a field of any length is read; schema.MAX_CHARACTERS then says what is too long

Tables = dict[str, pd.DataFrame]


def read_source(parameters: Mapping[str, Any]) -> tuple[Tables, list[str]]:
    """Read what notebook 01's parameters name; return the tables and notes on what was dropped and why.

    Raises DataError on the first thing that cannot be used.
    """
    readers = {"market": _read_market, "rjdb": _read_rjdb, "files": _read_files}
    source = parameters["source"]
    if source not in readers:
        raise DataError(f"source {source!r} is not one of {', '.join(readers)}")
    tables, notes = readers[source](parameters)
    for name, frame in tables.items():
        if name != "truth":
            check_table(name, frame, source=f"{source}: {name}")
    check_references(tables, source=source)
    check_splits(tables["labels"])
    return tables, notes


def _read_market(p: Mapping[str, Any]) -> tuple[Tables, list[str]]:
    market = Market(p["seed"], **p["dials"])
    sizes = {split: (p[f"{split}_jobs"], p[f"{split}_resumes"]) for split in ("train", "valid", "test")}
    if min(min(pair) for pair in sizes.values()) < 1:
        raise DataError(f"market: every split needs jobs and resumes, got {sizes}; set train_jobs and the like above 0")
    return market.tables(sizes), [f"simulated market, fingerprint {market.fingerprint[:12]}"]


def _read_rjdb(p: Mapping[str, Any]) -> tuple[Tables, list[str]]:
    tables = read_rjdb(Path(p["path"]), rows={"train": p["train_rows"], "valid": p["valid_rows"],
                                              "test": p["test_rows"]})
    tables, dropped = drop_near_duplicates_across(tables)
    return tables, [f"{len(tables['jobs']):,} rows of {p['path']}",
                    f"{dropped:,} training or validation rows dropped: near-duplicates of a later split"]


def _read_files(p: Mapping[str, Any]) -> tuple[Tables, list[str]]:
    tables = {name: _read_by_line(Path(p[f"{name}_file"]), name, p[f"{name}_columns"], p["encoding"])
              for name in ("jobs", "resumes", "labels")}
    check_references(tables, source=p["labels_file"])
    tables = {name: frame.reset_index(drop=True) for name, frame in tables.items()}
    notes = [f"{name}: {len(frame):,} rows of {p[f'{name}_file']}" for name, frame in tables.items()]
    if (tables["labels"]["split"] != "train").any():
        notes.append(f"the split column of {p['labels_file']} is not used: documents are split, labels follow them")
    tables, report = split_tables(tables, valid=p["valid_share"], test=p["test_share"], seed=p["seed"])
    return tables, notes + report


# ---- generic files -------------------------------------------------------------------------------------


def read_table(path: Path, name: str, *, columns: Mapping[str, Any] | None = None,
               encoding: str = "utf-8") -> pd.DataFrame:
    """Read a CSV, TSV, JSONL or Parquet file as table `name` (jobs, resumes, labels, pools).

    columns: table column -> file column, or a list of file columns to join into one text under their names as
    headings; columns not mentioned keep their names. Labels get source "file", and split "train" if they have none.
    Raises DataError with file, line and remedy; nothing is dropped.
    """
    return _read_by_line(path, name, columns, encoding).reset_index(drop=True)


def _read_by_line(path: Path, name: str, columns: Mapping[str, Any] | None, encoding: str) -> pd.DataFrame:
    """read_table's frame, indexed by the lines of the file."""
    rows = list(read_rows(path, encoding=encoding))
    if not rows:
        raise DataError(f"{path}: no rows; expected a heading and at least one row")
    frame = pd.DataFrame([row for _, row in rows], index=pd.Index([line for line, _ in rows], name="line"), dtype=str)
    frame = frame.fillna("")  # a JSON object may lack a key
    frame = _map_columns(frame, columns or {}, path)
    if name in ("labels", "pools") and "label" in frame:
        allowed = ("0", "1") if name == "labels" else ("-1", "0", "1")
        for line, value in frame["label"].items():
            if value not in allowed:
                raise DataError(f"{path}:{line}: label {value!r} is not one of {', '.join(allowed)}"
                                + ("; unlabelled pairs belong in a pool, not in labels" if name == "labels" else ""))
        frame["label"] = frame["label"].astype(int)
    if name == "labels":
        frame = frame.assign(source="file", **({} if "split" in frame else {"split": "train"}))
    return check_table(name, frame, source=str(path))


def _map_columns(frame: pd.DataFrame, columns: Mapping[str, Any], path: Path) -> pd.DataFrame:
    mapped = {}
    for new, old in columns.items():
        if not old:
            raise DataError(f"{path}: {new} is mapped to no column; name one of {', '.join(map(repr, frame.columns))}")
        for column in [old] if isinstance(old, str) else old:
            if column not in frame:
                raise DataError(f"{path}: column {column!r}, mapped to {new}, is not in the file; "
                                f"it has {', '.join(map(repr, frame.columns))}")
        mapped[new] = frame[old] if isinstance(old, str) else _join_fields(frame[old])
    used = {column for old in columns.values() for column in ([old] if isinstance(old, str) else old)}
    rest = {column: frame[column] for column in frame if column not in used and column not in mapped}
    return pd.DataFrame({**mapped, **rest}, index=frame.index)


def _join_fields(fields: pd.DataFrame) -> pd.Series:
    """One text of several fields, each under its name: "## title\\n...", as ConFit v2 writes documents."""
    return fields.apply(lambda row: "\n".join(f"## {name}\n{value}" for name, value in row.items() if value), axis=1)


def read_rows(path: Path, *, encoding: str = "utf-8") -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row) of a .csv, .tsv, .jsonl or .parquet file; every value is text, none is missing."""
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise DataError(f"{path}: ending {path.suffix!r} is not one of {', '.join(readers)}")
    _require_file(path)
    yield from readers[path.suffix](path, encoding)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path, which is relative to the repository")


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield numbered lines, each decoded alone so that a wrong byte is named by its line."""
    _require_file(path)
    codec = "utf-8-sig" if encoding.lower().replace("-", "") == "utf8" else encoding
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff") and "16" not in encoding:
            raise DataError(f"{path}:1: the file is UTF-16; save it as UTF-8, or set encoding: utf-16")
    try:
        with path.open(encoding=codec, newline="") as file:
            number = 0
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise DataError(f"{path}:{number}: a null byte; the file is binary or damaged, export it again")
                yield number, line
    except UnicodeDecodeError as problem:
        raise DataError(f"{path}:{_line_of_bad_byte(path, codec)}: byte 0x{problem.object[problem.start]:02x} is not "
                        f"{encoding}; save the file as UTF-8, or set encoding (often cp1252 or gb18030)") from None
    except UnicodeError as problem:  # a UTF-16 file without its mark
        raise DataError(f"{path}:1: not {encoding} ({problem}); save the file as UTF-8, or set encoding") from None
    except LookupError:
        raise DataError(f"{path}: encoding {encoding!r} is unknown; use utf-8, utf-16, cp1252, gb18030, ...") from None


def _line_of_bad_byte(path: Path, codec: str) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode(codec)
            except UnicodeDecodeError:
                return number
    return 1


def _read_csv(path: Path, encoding: str) -> Iterator[tuple[int, dict[str, str]]]:
    delimiter = "\t" if path.suffix == ".tsv" else ","
    reader = csv.reader((line for _, line in _lines(path, encoding)), delimiter=delimiter, strict=True)
    line = 1
    try:
        names = [name.strip() for name in next(reader, [])]
        if len(set(names)) < len(names) or "" in names:
            raise DataError(f"{path}:1: the heading has an empty or a repeated column name: {names}; "
                            f"give every column a name of its own")
        while True:
            line = reader.line_num + 1
            values = next(reader, None)
            if values is None:
                return
            if values and len(values) != len(names):
                raise DataError(f"{path}:{line}: {len(values)} fields where the heading has {len(names)}; "
                                f"quote fields that hold {'tabs' if delimiter == chr(9) else 'commas'}")
            if values:
                yield line, dict(zip(names, values, strict=True))
    except csv.Error as problem:
        raise DataError(f"{path}:{line}: broken row ({problem}); check its quotes") from None


def _read_jsonl(path: Path, encoding: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, row in read_objects(path, encoding=encoding):
        yield number, {str(key): _as_text(value) for key, value in row.items()}


def read_objects(path: Path, *, encoding: str = "utf-8") -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON Lines file."""
    for number, line in _lines(path, encoding):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if r"\u" in line:
                json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair is JSON but no text
        except (ValueError, RecursionError) as problem:  # ValueError: also a number of 5,000 digits
            raise DataError(f"{path}:{number}: not JSON ({problem}); one object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: a {type(row).__name__} where an object is due; one object a line")
        yield number, row


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "; ".join(map(_as_text, value))
    if isinstance(value, float) and math.isnan(value):
        return ""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | bool) else str(value)


def _read_parquet(path: Path, encoding: str) -> Iterator[tuple[int, dict[str, str]]]:
    import pyarrow
    from pyarrow import parquet
    try:
        # not by pandas, which turns whole numbers with gaps into floats: id 7 would become "7.0"
        rows = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as problem:
        raise DataError(f"{path}: not a Parquet file ({str(problem)[:80]}); export it again") from None
    for number, row in enumerate(rows, start=1):
        yield number, {str(key): _as_text(value) for key, value in row.items()}


# ---- RJDB ----------------------------------------------------------------------------------------------


def read_rjdb(path: Path, *, rows: Mapping[str, int]) -> Tables:
    """Read RJDB's JSON Lines: one job, its matched and its unmatched resume a row; splits by row number.

    rows: {"train": n, "valid": n, "test": n}, taken from the top in that order.
    Returns jobs, resumes, labels (1 matched, 0 unmatched, source file) and preferences (matched against
    unmatched, annotator rjdb). Source: arXiv 2311.06383, data/*.jsonl of the authors' repository.
    """
    fields = ("Job-Description", "Resume-matched", "Resume-unmatched")
    splits = [split for split, n in rows.items() for _ in range(n)]
    found = []
    for (line, row), split in zip(read_objects(path), splits, strict=False):
        for name in fields:
            if not isinstance(row.get(name), str) or not row[name].strip():
                raise DataError(f"{path}:{line}: {name!r} is missing or empty; is this a file of RJDB?")
        found.append((f"{len(found):05d}", split, *(row[name] for name in fields)))
    if len(found) < len(splits):
        raise DataError(f"{path}: {len(found):,} rows, but {len(splits):,} are asked for; lower train_rows, "
                        f"valid_rows or test_rows")
    return _rjdb_tables(pd.DataFrame(found, columns=["n", "split", "job", "matched", "unmatched"]))


def _rjdb_tables(rows: pd.DataFrame) -> Tables:
    job_id, n = "job-" + rows["n"], rows["n"]
    matched, unmatched = "resume-" + n + "-m", "resume-" + n + "-u"
    resumes = [pd.DataFrame({"resume_id": ids, "text": rows[kind], "split": rows["split"]})
               for ids, kind in ((matched, "matched"), (unmatched, "unmatched"))]
    labels = [pd.DataFrame({"job_id": job_id, "resume_id": ids, "label": label, "split": rows["split"],
                            "source": "file"}) for ids, label in ((matched, 1), (unmatched, 0))]
    preferences = pd.DataFrame({"job_id": job_id, "resume_a": matched, "resume_b": unmatched, "preferred": "a",
                                "confidence": 100.0, "annotator": "rjdb", "split": rows["split"]})
    return {"jobs": pd.DataFrame({"job_id": job_id, "text": rows["job"], "split": rows["split"]}),
            "resumes": pd.concat(resumes, ignore_index=True), "labels": pd.concat(labels, ignore_index=True),
            "preferences": preferences}
