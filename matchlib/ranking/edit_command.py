"""`matchlib edit`: reads a job and a resume, fits the resume to the job, and shows every change."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matchlib.data.schema import DataError
from matchlib.documents.read import TABLES, read_documents
from matchlib.hrtasks.editor import (
    Change,
    Missing,
    content_lost,
    coverage,
    edit_resume,
    job_skills,
)
from matchlib.hrtasks.resume_parts import skill_name, split_lines, tokens
from matchlib.outputs import check_outputs, is_file_or_free

CHANGE_LABELS = {
    "rename": "Skill named as in the job",
    "list": "Skill added to the list",
    "reorder_items": "Skills reordered",
    "reorder_lines": "Lines reordered",
    "reorder_sections": "Sections reordered",
}
MISSING_LABELS = {"skill": "Skill", "years": "Years", "degree": "Degree"}


MIN_PROBABILITY = 0.5
"""Above it, a phrase of the job that a model knows is served as a demanded skill."""


def edit_command(
    *,
    job: Path,
    resume: Path,
    out: Path,
    model: Path | None = None,
    encoding: str = "",
) -> dict[str, Any]:
    """The content of the page (edit.html.j2) on one resume fitted to one job.

    job, resume: documents of the types that `read_documents` reads; out: where the page will be
    written, checked before anything is read; model: a stage of 08_hr_tasks, whose phrase classifier
    names demanded skills in addition to those of the rules. No model writes: every change passes the
    same check of claims.
    Raises DataError where a file cannot be read or holds no words, where out would replace an input,
    and where the model has no phrase classifier.
    """
    inputs = {"--job": job, "--resume": resume} | ({"--model": model} if model else {})
    check_outputs({"--out": out}, inputs)
    if not is_file_or_free(out):
        raise DataError(f"--out {out} is not a file; name one, e.g. edits.html")
    job_text, job_notes = _read_one(job, "jobs", encoding)
    resume_text, resume_notes = _read_one(resume, "resumes", encoding)
    by_rules = job_skills(job_text)
    by_model = _more_skills(model, job_text, by_rules) if model else []
    skills = [*by_rules, *by_model]
    edit = edit_resume(resume_text, job_text, skills=skills)
    return {
        "job_name": job.name,
        "resume_name": resume.name,
        "model_name": str(model or ""),
        "by_model": by_model,
        "notes": [*job_notes, *resume_notes],
        "wordings": [_wording(change) for change in edit.changes if not _is_order(change)],
        "orders": [_order(change) for change in edit.changes if _is_order(change)],
        "refused": [
            {
                "label": CHANGE_LABELS[change.kind],
                "after": change.after,
                "claim": f"{claim.kind}: {claim.value}",
            }
            for change, claim in edit.refused
        ],
        "missing": [_missing(item, by_model) for item in edit.missing],
        "coverage_before": _percent(coverage(resume_text, job_text, skills=skills)),
        "coverage_after": _percent(coverage(edit.text, job_text, skills=skills)),
        "content_lost": _percent(content_lost(edit.text, resume_text)),
        "lines": _lines(edit.text, resume_text),
    }


def _more_skills(model: Path, job: str, known: list[str]) -> list[str]:
    """The skills that a stage's phrase classifier finds in a job beside the known ones, the likeliest
    first."""
    from matchlib.ranking.extract_command import open_phrases

    taken = {tuple(tokens(name)) for name in known}
    names = {}
    for skill in open_phrases(model).find([job])[0]:
        name = skill_name(skill.name)
        words = tuple(tokens(name))
        if skill.probability > MIN_PROBABILITY and words and words not in taken:
            names.setdefault(words, name)
    return list(names.values())


def _read_one(path: Path, name: str, encoding: str) -> tuple[str, list[str]]:
    """The text of the one document of a file, and what could not be read of it."""
    if path.suffix.lower() in TABLES or path.is_dir():
        raise DataError(f"{path}: a table or a folder; name the file of one document")
    reading = read_documents(path, name, encoding=encoding)
    notes = [f"{row.file}: {row.reason}" for row in reading.missing.itertuples(index=False)]
    return reading.tables[name]["text"].iloc[0], notes


def _percent(share: float) -> str:
    return "unknown (the job lists none)" if math.isnan(share) else f"{share:.0%}"


def _missing(item: Missing, by_model: list[str]) -> dict[str, str]:
    is_guess = item.kind == "skill" and item.demand in by_model
    note = f"{item.note}; found in the job by the model" if is_guess else item.note
    return {"label": MISSING_LABELS[item.kind], "demand": item.demand, "note": note}


def _is_order(change: Change) -> bool:
    return change.kind.startswith("reorder_")


def _wording(change: Change) -> dict[str, Any]:
    """A change that adds words: the text after it in pieces (text, is new)."""
    return {
        "label": CHANGE_LABELS[change.kind],
        "pieces": _pieces(change.before, change.after),
        "evidence": change.evidence,
    }


def _pieces(before: str, after: str) -> list[tuple[str, bool]]:
    """What a change adds around the text that was there; the text before is never shortened."""
    kept = before.rstrip().removesuffix(".")
    if not kept or kept not in after:
        return [(after, True)]
    head, _, tail = after.partition(kept)
    return [piece for piece in ((head, True), (kept, False), (tail, True)) if piece[0]]


def _order(change: Change) -> dict[str, Any]:
    """A change that moves lines or items: both orders, a line each."""
    return {
        "label": CHANGE_LABELS[change.kind],
        "reason": change.reason,
        "before": _bare(change.before),
        "after": _bare(change.after),
    }


def _bare(text: str) -> list[str]:
    """Lines without the signs of Markdown headings."""
    return [line.lstrip("# ") for line in text.splitlines()]


def _lines(text: str, original: str) -> list[dict[str, Any]]:
    """The lines of the edited resume: text, is_heading, and whether its words are new (is_new)."""
    known = set(original.splitlines())
    headings = {line.number for line in split_lines(text) if line.is_heading}
    return [
        {"text": line, "is_heading": at in headings, "is_new": bool(line) and line not in known}
        for at, line in enumerate(text.splitlines())
    ]
