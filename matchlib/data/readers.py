"""Readers: from files to the tables of schema.py. Every refusal names file, line and remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from matchlib.data.files import Spoiled, read_rows
from matchlib.data.formats.confit import read_confit
from matchlib.data.formats.fit import read_fit
from matchlib.data.formats.melo import read_melo
from matchlib.data.formats.rankpo import read_rankpo
from matchlib.data.formats.rjdb import read_rjdb
from matchlib.data.formats.talentclef import read_talentclef
from matchlib.data.market.simulation import Market
from matchlib.data.normal import composed
from matchlib.data.privacy import protected_columns, redact_tables
from matchlib.data.row_log import Reading, RowLog
from matchlib.data.schema import DataError, check_references, check_table
from matchlib.data.splits import check_splits, split_tables


def read_source(parameters: Mapping[str, Any]) -> Reading:
    """Read what notebook 01's parameters name, redact it if asked, check it.

    Raises DataError on the first thing that cannot be used; rows of published data that do not fit
    are left out and listed in the Reading.
    """
    readers = {
        "market": _read_market,
        "files": _read_files,
        "rjdb": _read_rjdb,
        "rankpo": _read_rankpo,
        "confit": _read_confit,
        "talentclef": _read_talentclef,
        "melo": _read_melo,
        "fit": _read_fit,
    }
    source = parameters["source"]
    if source not in readers:
        raise DataError(f"source {source!r} is not one of {', '.join(readers)}")
    reading = readers[source](parameters)
    if parameters["redact"]:
        tables, report = redact_tables(reading.tables, parameters["redact"])
        reading = replace(reading, tables=tables, redacted=report)
    tables = reading.tables
    for name, frame in tables.items():
        if name != "truth":
            check_table(name, frame, source=f"{source}: {name}")
    check_references(tables, source=source)
    check_splits(tables["labels"])
    return reading


def _read_market(p: Mapping[str, Any]) -> Reading:
    market = Market(p["seed"], **p["market_settings"])
    sizes = {
        split: (p[f"{split}_jobs"], p[f"{split}_resumes"]) for split in ("train", "valid", "test")
    }
    if min(min(pair) for pair in sizes.values()) < 1:
        raise DataError(
            f"market: every split needs jobs and resumes, got {sizes}; set train_jobs and the like above 0"
        )
    return Reading(
        market.tables(sizes), [f"simulated market, fingerprint {market.fingerprint[:12]}"]
    )


def _read_rjdb(p: Mapping[str, Any]) -> Reading:
    return read_rjdb(
        Path(p["path"]), rows={split: p[f"{split}_rows"] for split in ("train", "valid", "test")}
    )


def _read_rankpo(p: Mapping[str, Any]) -> Reading:
    return read_rankpo(
        Path(p["path"]),
        markup=p["markup"],
        valid=p["valid_share"],
        test=p["test_share"],
        seed=p["seed"],
    )


def _read_confit(p: Mapping[str, Any]) -> Reading:
    return read_confit(
        Path(p["path"]), protected_in_text=p["protected_in_text"], encoding=p["encoding"]
    )


def _read_talentclef(p: Mapping[str, Any]) -> Reading:
    return read_talentclef(Path(p["path"]), language=p["language"])


def _read_melo(p: Mapping[str, Any]) -> Reading:
    return read_melo(
        Path(p["path"]),
        judged_by=p["melo_test"],
        titles=p["melo_titles"],
        valid=p["valid_share"],
        seed=p["seed"],
    )


def _read_fit(p: Mapping[str, Any]) -> Reading:
    return _split(
        read_fit(Path(p["path"]), potential_fit=p["potential_fit"], encoding=p["encoding"]), p
    )


def _read_files(p: Mapping[str, Any]) -> Reading:
    for name in ("jobs_file", "resumes_file", "labels_file"):
        if not p[name]:
            raise DataError(
                f"{name} is empty; source: files needs jobs, resumes and decisions on some of their "
                f"pairs. Without decisions, matchlib rank ranks jobs and resumes"
            )
    if not p["protected_in_text"]:
        for name in ("jobs", "resumes"):
            _refuse_protected(p[f"{name}_columns"].get("text", "text"), name)
    tables = {
        name: _read_by_line(Path(p[f"{name}_file"]), name, p[f"{name}_columns"], p["encoding"])
        for name in ("jobs", "resumes", "labels")
    }
    check_references(tables, source=p["labels_file"])
    log = RowLog()
    for name, frame in tables.items():
        log.saw(Path(p[f"{name}_file"]), len(frame))
    tables = {name: frame.reset_index(drop=True) for name, frame in tables.items()}
    notes = [
        f"{name}: {len(frame):,} rows of {p[f'{name}_file']}" for name, frame in tables.items()
    ]
    if (tables["labels"]["split"] != "train").any():
        notes.append(
            f"the split column of {p['labels_file']} is not used: documents are split, labels follow them"
        )
    return _split(Reading(tables, notes, log.files, log.left_out), p)


def _split(reading: Reading, p: Mapping[str, Any]) -> Reading:
    tables, notes = split_tables(
        reading.tables, valid=p["valid_share"], test=p["test_share"], seed=p["seed"]
    )
    return replace(reading, tables=tables, notes=[*reading.notes, *notes])


def _refuse_protected(columns: str | list[str], name: str) -> None:
    found = protected_columns([columns] if isinstance(columns, str) else columns)
    if found:
        raise DataError(
            f"{name}_columns: {found[0]!r} is a protected column and would become text that models read; "
            f"take it out of text, or set protected_in_text: true"
        )


# ---- generic files
# -------------------------------------------------------------------------------------


def read_table(
    path: Path, name: str, *, columns: Mapping[str, Any] | None = None, encoding: str = "utf-8"
) -> pd.DataFrame:
    """Read a CSV, TSV, JSONL or Parquet file as table `name` (jobs, resumes, labels, pools).

    columns: table column -> file column, or a list of file columns to join into one text under
    their names as headings; columns not mentioned keep their names. Labels get source "file", and
    split "train" if they have none.
    Raises DataError with file, line and remedy; nothing is dropped.
    """
    return _read_by_line(path, name, columns, encoding).reset_index(drop=True)


def _read_by_line(
    path: Path, name: str, columns: Mapping[str, Any] | None, encoding: str
) -> pd.DataFrame:
    """read_table's frame, indexed by the lines of the file."""
    frame = read_columns(path, columns=columns, encoding=encoding)
    if name in ("labels", "pools") and "label" in frame:
        allowed = ("0", "1") if name == "labels" else ("-1", "0", "1")
        for line, value in frame["label"].items():
            if value not in allowed:
                raise DataError(
                    f"{path}:{line}: label {value[:60]!r} is not one of {', '.join(allowed)}"
                    + (
                        ": write 1 for accepted, 0 for rejected; drop unlabelled pairs"
                        if name == "labels"
                        else ""
                    )
                )
        frame["label"] = frame["label"].astype(int)
    if name == "labels":
        frame = frame.assign(source="file", **({} if "split" in frame else {"split": "train"}))
    return check_table(name, frame, source=str(path))


def read_columns(
    path: Path,
    *,
    columns: Mapping[str, Any] | None = None,
    encoding: str = "utf-8",
    spoiled: Spoiled | None = None,
    lines: tuple[int, int] | None = None,
) -> pd.DataFrame:
    """The rows of a file as text, indexed by its lines, columns mapped as in read_table; no schema
    is checked.

    spoiled: see `files.read_rows`. lines: first line and end of the rows to keep; no other row is in
    memory."""
    if lines is None:
        rows = list(read_rows(path, encoding=encoding, spoiled=spoiled))
    else:
        rows = _rows_within(path, lines, encoding, spoiled)
    if not rows:
        raise DataError(f"{path}: no rows; expected a heading and at least one row")
    frame = pd.DataFrame(
        [row for _, row in rows], index=pd.Index([line for line, _ in rows], name="line"), dtype=str
    )
    return _map_columns(frame.fillna(""), columns or {}, path)  # a JSON object may lack a key


def _rows_within(
    path: Path, lines: tuple[int, int], encoding: str, spoiled: Spoiled | None
) -> list[tuple[int, dict[str, str]]]:
    """(line, row) from a first line on, up to an end; spoiled hears of these lines alone."""
    first, end = lines

    def spoiled_within(line: int, reason: str) -> None:
        if spoiled and first <= line < end:
            spoiled(line, reason)

    rows = []
    for line, row in read_rows(path, encoding=encoding, spoiled=spoiled_within):
        if line >= end:
            break
        if line >= first:
            rows.append((line, row))
    return rows


def _map_columns(frame: pd.DataFrame, columns: Mapping[str, Any], path: Path) -> pd.DataFrame:
    mapped = {}
    for new, old in columns.items():
        if not old:
            raise DataError(
                f"{path}: {new} is mapped to no column; name one of {', '.join(map(repr, frame.columns))}"
            )
        old = composed(old) if isinstance(old, str) else [composed(column) for column in old]
        for column in [old] if isinstance(old, str) else old:
            if column not in frame:
                several = "; name several one by one" if "," in column else ""
                raise DataError(
                    f"{path}: column {column!r}, mapped to {new}, is not in the file; "
                    f"it has {', '.join(map(repr, frame.columns))}{several}"
                )
        mapped[new] = frame[old] if isinstance(old, str) else _join_fields(frame[old])
    used = {
        composed(column)
        for old in columns.values()
        for column in ([old] if isinstance(old, str) else old)
    }
    rest = {
        column: frame[column] for column in frame if column not in used and column not in mapped
    }
    return pd.DataFrame({**mapped, **rest}, index=frame.index)


def _join_fields(fields: pd.DataFrame) -> pd.Series:
    """One text of several fields, each under its name: "## title\\n...", as ConFit v2 writes
    documents."""
    return fields.apply(
        lambda row: "\n".join(f"## {name}\n{value}" for name, value in row.items() if value), axis=1
    )
