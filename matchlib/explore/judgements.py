"""A reader's judgements: which of two resumes fits a job better, in a table that notebook 05 reads
(annotator: file)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from matchlib.data.files import read_rows
from matchlib.data.schema import DataError
from matchlib.ranking.rank import write_through

COLUMNS = ("job_id", "resume_a", "resume_b", "preferred", "annotator")
PREFERRED = ("a", "b", "tie")


def read_judgements(path: Path) -> pd.DataFrame:
    """The judgements of a CSV, all as text; empty where there is no such file."""
    if path.suffix.lower() != ".csv":
        raise DataError(f"{path}: judgements are kept as CSV; name a file that ends in .csv")
    if not path.exists() or not path.stat().st_size:
        return pd.DataFrame(columns=list(COLUMNS), dtype=str)
    rows = [row for _, row in read_rows(path)]
    frame = pd.DataFrame(rows, columns=None if rows else list(COLUMNS), dtype=str)
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}, so this is no table of judgements; name another "
            f"file, or add it"
        )
    return frame


def save_judgement(
    path: Path, *, job_id: str, resume_a: str, resume_b: str, preferred: str, annotator: str
) -> str:
    """Add one judgement to a CSV, beside and renamed; returns what was done in a sentence.

    An earlier judgement of the same pair by the same annotator, in either order, is replaced. Other
    columns of the file stay. Ids stay as they are: one that begins with = has to be found again.
    """
    if preferred not in PREFERRED:
        raise DataError(f"preferred is {preferred!r}; it is one of {', '.join(PREFERRED)}")
    if resume_a == resume_b:
        raise DataError(f"both resumes are {resume_a!r}; choose two")
    annotator = annotator.strip()
    if not annotator:
        raise DataError("annotator is empty; say whose judgement it is")
    judged = read_judgements(path)
    is_same = judged["job_id"].eq(job_id) & judged["annotator"].eq(annotator)
    is_same &= _pair_keys(judged["resume_a"], judged["resume_b"]).eq(_pair_key(resume_a, resume_b))
    new = dict(zip(COLUMNS, (job_id, resume_a, resume_b, preferred, annotator), strict=True))
    if "confidence" in judged:
        new["confidence"] = "100"  # what 05 takes where the column is absent
    kept = judged[~is_same]
    table = pd.concat([kept, pd.DataFrame([new])], ignore_index=True).fillna("")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_through(path, lambda beside: table.to_csv(beside, index=False))
    winner = {"a": resume_a, "b": resume_b, "tie": "neither"}[preferred]
    replaced = ", in place of an earlier one of the same pair" if is_same.any() else ""
    return f"Saved: {winner} for {job_id}{replaced}. Judgements in {path}: {len(table):,}."


def _pair_key(resume_a: str, resume_b: str) -> str:
    """One key for a pair in either order."""
    return "\0".join(sorted([resume_a, resume_b]))


def _pair_keys(resumes_a: pd.Series, resumes_b: pd.Series) -> pd.Series:
    keys = [_pair_key(a, b) for a, b in zip(resumes_a, resumes_b, strict=True)]
    return pd.Series(keys, index=resumes_a.index, dtype=str)
