"""ConFit v2's folder (arXiv 2502.12361): jobs and resumes as CSV, labels as JSON Lines, ranking
pools as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from matchlib.data.document_check import why_no_document
from matchlib.data.files import read_json, read_objects, read_rows
from matchlib.data.privacy import protected_columns
from matchlib.data.row_log import Reading, RowLog
from matchlib.data.schema import DataError
from matchlib.data.splits import drop_near_duplicates_across, settle_splits

FILES = {
    "jobs": "*job*.csv",
    "resumes": "*resume*.csv",
    "train": "train*.jsonl",
    "valid": "valid*.jsonl",
    "test": "test*.jsonl",
    "rank_jobs": "rank_job.json",
    "rank_resumes": "rank_resume.json",
}
IDS = {"jobs": ("jd_no", "job_id"), "resumes": ("user_id", "resume_id")}
COLUMNS = {
    "工作名称": "title",
    "工作城市": "city",
    "居住城市": "city",
    "job_title": "title",
    "city": "city",
    "年龄": "age",
    "性别": "gender",
    "age": "age",
    "gender": "gender",
}
"""Columns of the files, in Chinese or English, that are kept beside the text under our names."""


def read_confit(path: Path, *, protected_in_text: bool = False, encoding: str = "utf-8") -> Reading:
    """Read ConFit's folder; the authors' split is kept, and pools keep 1, 0 and -1 apart.

    A document's text is every column but its id and, unless protected_in_text, the protected ones,
    each under its own heading. A document belongs to the latest split that names it; labels that
    then cross are dropped and counted, and training documents that are near-copies of a later
    split's are too.
    Tables: jobs, resumes, labels (source recruiter) and, where the files are there, pools.
    """
    files, log = _find(path), RowLog()
    documents = {
        name: _documents(files[name], name, log, protected_in_text, encoding)
        for name in ("jobs", "resumes")
    }
    known = {name: set(frame[IDS[name][1]]) for name, frame in documents.items()}
    labels = _labels(files, known, log)
    pools = pd.concat(
        [
            _pools(files[task], task, known, log)
            for task in ("rank_jobs", "rank_resumes")
            if task in files
        ]
        or [_pool_frame([])],
        ignore_index=True,
    )
    tables = {**documents, "labels": labels} | ({"pools": pools} if len(pools) else {})
    tables, notes = settle_splits(tables)
    tables, near = drop_near_duplicates_across(tables)
    return Reading(
        tables,
        [
            f"ConFit: {len(documents['jobs']):,} jobs, {len(documents['resumes']):,} resumes, "
            f"{len(labels):,} labels, {len(pools):,} pool entries",
            *notes,
            *near,
        ],
        log.files,
        log.left_out,
    )


def _find(folder: Path) -> dict[str, Path]:
    """The folder's files by role; pools may be absent."""
    found = {}
    for role, pattern in FILES.items():
        matches = sorted(folder.glob(pattern)) if folder.is_dir() else []
        if len(matches) == 1:
            found[role] = matches[0]
        elif matches or not role.startswith("rank_"):
            raise DataError(
                f"{folder}: {len(matches)} files are called {pattern}, one is due; path is the folder of "
                f"ConFit's data set"
            )
    return found


def _documents(
    path: Path, name: str, log: RowLog, protected_in_text: bool, encoding: str
) -> pd.DataFrame:
    rows, seen, id_column, hidden = [], set(), IDS[name][1], None
    for line, row in read_rows(path, encoding=encoding):
        log.saw(path)
        key = next((column for column in IDS[name] if column in row), None)
        if key is None:
            raise DataError(
                f"{path}:1: neither {' nor '.join(IDS[name])} is a column; found {', '.join(row)}"
            )
        if hidden is None:
            hidden = set() if protected_in_text else set(protected_columns(row))
        text = "\n".join(
            f"## {column}\n{value}"
            for column, value in row.items()
            if value.strip() and column != key and column not in hidden
        )
        if reason := why_no_document(row[key], text, seen):
            log.leave_out(path, line, reason)
            continue
        seen.add(row[key])
        rows.append(
            {
                id_column: row[key],
                "text": text,
                **{COLUMNS[column]: value for column, value in row.items() if column in COLUMNS},
            }
        )
    if not rows:
        raise DataError(
            f"{path}:1: no row can be used ({len(log.entries):,} left out); give rows an id and a text"
        )
    return pd.DataFrame(rows)


def _labels(files: dict[str, Path], known: dict[str, set[str]], log: RowLog) -> pd.DataFrame:
    rows: dict[tuple[str, str], tuple[int, str]] = {}
    for split in ("train", "valid", "test"):
        path = files[split]
        for line, row in read_objects(path):
            log.saw(path)
            pair = tuple(_first(row, IDS[name]) for name in ("jobs", "resumes"))
            if _label(row.get("satisfied"), (0, 1)) is None:
                log.leave_out(
                    path, line, f"satisfied is {str(row.get('satisfied'))[:20]!r}, neither 0 nor 1"
                )
            elif reason := _unknown(pair, known):
                log.leave_out(path, line, reason)
            elif pair in rows:
                log.leave_out(path, line, "the same pair again; the first is kept")
            else:
                rows[pair] = (int(row["satisfied"]), split)
    if not rows:
        raise DataError(
            f"{files['train']}:1: no label of a known job and resume in any split ({len(log.entries):,} "
            f"rows left out); do the files belong together?"
        )
    return pd.DataFrame(
        [(*pair, label, split, "recruiter") for pair, (label, split) in rows.items()],
        columns=["job_id", "resume_id", "label", "split", "source"],
    )


def _first(row: dict[str, Any], names: tuple[str, ...]) -> str:
    return str(next((row[name] for name in names if name in row), ""))


def _label(value: Any, allowed: tuple[int, ...]) -> int | None:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and value in allowed
        else None
    )


def _unknown(pair: tuple[str, ...], known: dict[str, set[str]]) -> str:
    for name, value in zip(("jobs", "resumes"), pair, strict=True):
        if value not in known[name]:
            return f"its {name[:-1]} is in no row of the {name} file"
    return ""


def _pools(path: Path, task: str, known: dict[str, set[str]], log: RowLog) -> pd.DataFrame:
    """One row a candidate of a query; a place is named query[position]."""
    query_side, candidate_side = (
        ("jobs", "resumes") if task == "rank_resumes" else ("resumes", "jobs")
    )
    key = {"jobs": "jd_nos", "resumes": "user_ids"}[candidate_side]
    rows = []
    for query, pool in read_json(path).items():
        candidates, labels = (
            pool.get(name) if isinstance(pool, dict) else None for name in (key, "satisfied")
        )
        if (
            not isinstance(candidates, list)
            or not isinstance(labels, list)
            or len(candidates) != len(labels)
        ):
            log.saw(path)
            log.leave_out(path, query, f"{key} and satisfied are not two lists of one length")
            continue
        log.saw(path, len(candidates))
        seen = set()
        for i, (candidate, label) in enumerate(zip(candidates, labels, strict=True)):
            if query not in known[query_side]:
                reason = f"its query is in no row of the {query_side} file"
            elif str(candidate) not in known[candidate_side]:
                reason = f"the candidate is in no row of the {candidate_side} file"
            elif _label(label, (-1, 0, 1)) is None:
                reason = f"satisfied is {str(label)[:20]!r}, none of -1, 0, 1"
            else:
                reason = "the candidate comes a second time" if str(candidate) in seen else ""
            if reason:
                log.leave_out(path, f"{query}[{i}]", reason)
            else:
                seen.add(str(candidate))
                rows.append((task, query, str(candidate), label))
    return _pool_frame(rows)


def _pool_frame(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["task", "query_id", "candidate_id", "label"])
