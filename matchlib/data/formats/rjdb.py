"""RJDB (arXiv 2311.06383): one job, its matched and its unmatched resume a row of JSON Lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from matchlib.data.document_check import TEXT_FAULTS, first_fault
from matchlib.data.files import read_objects
from matchlib.data.row_log import Reading, RowLog, Tables
from matchlib.data.schema import DataError
from matchlib.data.splits import drop_near_duplicates_across


def read_rjdb(path: Path, *, rows: Mapping[str, int]) -> Reading:
    """Read RJDB's JSON Lines; splits by row number.

    rows: {"train": n, "valid": n, "test": n}, taken from the top in that order; rows that lack a
    text are left out before that. Tables: jobs, resumes, labels (1 matched, 0 unmatched, source
    file) and preferences (matched against unmatched, annotator rjdb). Source: arXiv 2311.06383,
    data/*.jsonl of the authors' repository.
    """
    fields = ("Job-Description", "Resume-matched", "Resume-unmatched")
    splits = [split for split, n in rows.items() for _ in range(n)]
    log, found = RowLog(), []
    for line, row in read_objects(path):
        log.saw(path)
        texts = [row.get(name) for name in fields]
        reasons = [
            first_fault(TEXT_FAULTS, text if isinstance(text, str) else "") for text in texts
        ]
        if any(reasons):
            at = next(i for i, reason in enumerate(reasons) if reason)
            log.leave_out(path, line, f"{fields[at]}: {reasons[at]}")
        elif len(found) == len(splits):
            log.leave_out(path, line, "beyond the rows asked for")
        else:
            found.append((f"{len(found):05d}", splits[len(found)], *texts))
    if not found:
        raise DataError(f"{path}:1: no row with {', '.join(fields)}; is this a file of RJDB?")
    if len(found) < len(splits):
        raise DataError(
            f"{path}: {len(found):,} rows, but {len(splits):,} are asked for; lower train_rows, "
            f"valid_rows or test_rows"
        )
    tables, notes = drop_near_duplicates_across(
        _rjdb_tables(pd.DataFrame(found, columns=["n", "split", "job", "matched", "unmatched"]))
    )
    return Reading(tables, [f"{len(found):,} rows of {path}", *notes], log.files, log.left_out)


def _rjdb_tables(rows: pd.DataFrame) -> Tables:
    job_id, n = "job-" + rows["n"], rows["n"]
    matched, unmatched = "resume-" + n + "-m", "resume-" + n + "-u"
    resumes = [
        pd.DataFrame({"resume_id": ids, "text": rows[kind], "split": rows["split"]})
        for ids, kind in ((matched, "matched"), (unmatched, "unmatched"))
    ]
    labels = [
        pd.DataFrame(
            {
                "job_id": job_id,
                "resume_id": ids,
                "label": label,
                "split": rows["split"],
                "source": "file",
            }
        )
        for ids, label in ((matched, 1), (unmatched, 0))
    ]
    preferences = pd.DataFrame(
        {
            "job_id": job_id,
            "resume_a": matched,
            "resume_b": unmatched,
            "preferred": "a",
            "confidence": 100.0,
            "annotator": "rjdb",
            "split": rows["split"],
        }
    )
    return {
        "jobs": pd.DataFrame({"job_id": job_id, "text": rows["job"], "split": rows["split"]}),
        "resumes": pd.concat(resumes, ignore_index=True),
        "labels": pd.concat(labels, ignore_index=True),
        "preferences": preferences,
    }
