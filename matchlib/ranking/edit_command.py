"""`matchlib edit`: reads a job and a resume, fits the resume to the job, and shows every change."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matchlib.data.schema import DataError
from matchlib.documents.read import TABLES, read_documents
from matchlib.hrtasks.editor import Change, content_lost, coverage, edit_resume
from matchlib.outputs import check_outputs, is_file_or_free

CHANGE_LABELS = {
    "rename": "Skill named as in the job",
    "list": "Skill added to the list",
    "reorder_items": "Skills reordered",
    "reorder_lines": "Lines reordered",
    "reorder_sections": "Sections reordered",
}
MISSING_LABELS = {"skill": "Skill", "years": "Years", "degree": "Degree"}


def edit_command(
    *,
    job: Path,
    resume: Path,
    out: Path,
    model: str = "",
    encoding: str = "",
) -> dict[str, Any]:
    """The content of the page (edit.html.j2) on one resume fitted to one job.

    job, resume: documents of the types that `read_documents` reads; out: where the page will be
    written, checked before anything is read.
    Raises DataError where a file cannot be read or holds no words, where out would replace an input,
    and where a model is named: the editor selects and needs none.
    """
    if model:
        raise DataError(
            f"--model {model}: this editor selects from the resume and runs no model; leave --model out"
        )
    check_outputs({"--out": out}, {"--job": job, "--resume": resume})
    if not is_file_or_free(out):
        raise DataError(f"--out {out} is not a file; name one, e.g. edits.html")
    job_text, job_notes = _read_one(job, "jobs", encoding)
    resume_text, resume_notes = _read_one(resume, "resumes", encoding)
    edit = edit_resume(resume_text, job_text)
    return {
        "job_name": job.name,
        "resume_name": resume.name,
        "notes": [*job_notes, *resume_notes],
        "changes": [_row(change) for change in edit.changes],
        "refused": [
            _row(change) | {"claim": f"{claim.kind}: {claim.value}"}
            for change, claim in edit.refused
        ],
        "missing": [
            {"label": MISSING_LABELS[item.kind], "demand": item.demand, "note": item.note}
            for item in edit.missing
        ],
        "coverage_before": _percent(coverage(resume_text, job_text)),
        "coverage_after": _percent(coverage(edit.text, job_text)),
        "content_lost": _percent(content_lost(edit.text, resume_text)),
        "text": edit.text,
    }


def _read_one(path: Path, name: str, encoding: str) -> tuple[str, list[str]]:
    """The text of the one document of a file, and what could not be read of it."""
    if path.suffix.lower() in TABLES or path.is_dir():
        raise DataError(f"{path}: a table or a folder; name the file of one document")
    reading = read_documents(path, name, encoding=encoding)
    notes = [f"{row.file}: {row.reason}" for row in reading.missing.itertuples(index=False)]
    return reading.tables[name]["text"].iloc[0], notes


def _percent(share: float) -> str:
    return "unknown (the job lists none)" if math.isnan(share) else f"{share:.0%}"


def _row(change: Change) -> dict[str, str]:
    return {
        "label": CHANGE_LABELS[change.kind],
        "before": change.before,
        "after": change.after,
        "reason": change.reason,
        "evidence": change.evidence,
    }
