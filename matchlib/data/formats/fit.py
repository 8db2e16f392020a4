"""Pairs of texts with a grade: resume_text, job_description_text, label in No Fit, Potential Fit,
Good Fit.

The form of cnamuangtoun/resume-job-description-fit on the Hugging Face hub.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from matchlib.data.document_check import TEXT_FAULTS, first_fault
from matchlib.data.files import read_rows
from matchlib.data.row_log import Reading, RowLog
from matchlib.data.schema import DataError

GRADES = {"No Fit": 0, "Potential Fit": 1, "Good Fit": 2}
COLUMNS = ("resume_text", "job_description_text", "label")
POTENTIAL = {"accepted": 1, "rejected": 0, "left_out": None}
ENDINGS = (".csv", ".jsonl", ".parquet", ".tsv")


def read_fit(path: Path, *, potential_fit: str = "rejected", encoding: str = "utf-8") -> Reading:
    """Read one file, or every table in a folder; equal texts are one job or one resume, named by
    their hash.

    potential_fit: what the middle grade is as a label: accepted, rejected or left_out. The grade
    itself (0, 1, 2) stays as the labels' column `grade`. The published files share resumes between
    train and test, so their own split is not used: split the tables anew. Tables: jobs, resumes,
    labels (source file, no split yet).
    """
    if potential_fit not in POTENTIAL:
        raise DataError(f"potential_fit {potential_fit!r} is not one of {', '.join(POTENTIAL)}")
    log, pairs, texts = RowLog(), {}, {"job": {}, "resume": {}}
    for file in _files(path):
        for line, row in read_rows(file, encoding=encoding):
            if missing := [column for column in COLUMNS if column not in row]:
                raise DataError(
                    f"{file}:{line}: column {missing[0]!r} is missing; found {', '.join(row)}; "
                    f"rename it, or use source: files"
                )
            log.saw(file)
            if reason := _misfit(row, potential_fit):
                log.leave_out(file, line, reason)
                continue
            pair = tuple(
                _number(texts[side], side, row[column])
                for side, column in (("job", "job_description_text"), ("resume", "resume_text"))
            )
            if pair in pairs:
                again = (
                    "again" if pairs[pair] == GRADES[row["label"].strip()] else "with another label"
                )
                log.leave_out(file, line, f"the same pair {again}; the first is kept")
                continue
            pairs[pair] = GRADES[row["label"].strip()]
    if not pairs:
        raise DataError(
            f"{path}: no row can be used ({len(log.entries):,} left out); labels must be one of "
            f"{', '.join(GRADES)}"
        )
    return Reading(
        _tables(pairs, texts, potential_fit),
        [f"{len(pairs):,} pairs of {path}"],
        log.files,
        log.left_out,
    )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if found := sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in ENDINGS and not file.name.startswith(".")
    ):
        return found
    raise DataError(f"{path}: no {', '.join(ENDINGS)} file in the folder; check the path")


def _misfit(row: dict[str, str], potential_fit: str) -> str:
    """Why a row cannot be used; "" if it can."""
    label = row["label"].strip()
    for column in COLUMNS[:2]:
        if reason := first_fault(TEXT_FAULTS, row[column]):
            return f"{column}: {reason}"
    if label not in GRADES:
        return f"label {label[:30]!r} is none of the three grades"
    return (
        "a potential fit, left out as asked"
        if GRADES[label] == 1 and POTENTIAL[potential_fit] is None
        else ""
    )


def _number(known: dict[str, str], side: str, text: str) -> str:
    if text not in known:
        known[text] = f"{side}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return known[text]


def _tables(pairs: dict, texts: dict, potential_fit: str) -> dict[str, pd.DataFrame]:
    grades = list(pairs.values())
    label = {0: 0, 1: POTENTIAL[potential_fit], 2: 1}
    labels = pd.DataFrame(list(pairs), columns=["job_id", "resume_id"]).assign(
        label=[label[grade] for grade in grades], grade=grades, split="train", source="file"
    )
    documents = {
        f"{side}s": pd.DataFrame({f"{side}_id": known.values(), "text": known.keys()})
        for side, known in texts.items()
    }
    return {**documents, "labels": labels}
