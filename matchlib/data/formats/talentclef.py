"""TalentCLEF 2026, task A: job descriptions (queries), resumes (corpus), judgements (qrels), gender
mappings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from matchlib.data.document_check import why_no_document
from matchlib.data.files import read_fields, read_text
from matchlib.data.normal import composed
from matchlib.data.row_log import Reading, RowLog, printable
from matchlib.data.schema import DataError

LANGUAGES = ("en", "es", "en-es")
GENDERS = {"m": "male", "f": "female", "n": "neutral"}


def read_talentclef(path: Path, *, language: str = "en") -> Reading:
    """Read a task folder: queries/ and corpus/ of one file a document, and qrels.tsv (query 0
    document label).

    path: the folder that holds en/, es/ and en-es/; language: en, es, or en-es (English jobs,
    Spanish resumes). Every document is of the test split: the set is for testing only. Where
    path/mappings_gender/<language> names a resume (document, internal id such as 1_en_m), its
    gender and person (1_en, of whom there may be versions of other genders) become columns, never a
    part of the text.
    Tables: jobs, resumes, labels (source file).
    """
    if language not in LANGUAGES:
        raise DataError(f"language {language!r} is not one of {', '.join(LANGUAGES)}")
    of_jobs, of_resumes = language.split("-")[0], language.split("-")[-1]
    log = RowLog()
    jobs = _documents(path / of_jobs / "queries", "job_id", log)
    resumes = _documents(path / of_resumes / "corpus", "resume_id", log)
    mapping = path / "mappings_gender" / of_resumes / "corpus_mapping.tsv"
    if mapping.is_file():
        internal = _mapping(mapping, set(resumes["resume_id"]), log)
        parts = resumes["resume_id"].map(internal).str.rpartition("_")
        resumes = resumes.assign(
            gender=parts[2].map(GENDERS).fillna("unknown"), person=parts[0].fillna("")
        )
    labels = _labels(
        path / language / "qrels.tsv", set(jobs["job_id"]), set(resumes["resume_id"]), log
    )
    notes = [
        f"TalentCLEF {language}: {len(jobs):,} jobs, {len(resumes):,} resumes, {len(labels):,} judgements, all "
        f"of the test split"
    ]
    tables = {"jobs": jobs, "resumes": resumes, "labels": labels}
    return Reading(tables, notes, log.files, log.left_out)


def _documents(folder: Path, id_column: str, log: RowLog) -> pd.DataFrame:
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; path must hold en/, es/ and en-es/ as TalentCLEF gives them out"
        )
    rows = []
    for file in sorted(
        file for file in folder.iterdir() if not file.name.startswith(".")
    ):  # .DS_Store
        log.saw(folder)
        try:
            text = read_text(file)
        except (DataError, OSError) as problem:
            log.leave_out(folder, file.name, printable(problem).removeprefix(f"{printable(file)}:"))
            continue
        if printable(file.name) != file.name:
            log.leave_out(folder, printable(file.name), "its name, which is its id, is not UTF-8")
        elif reason := why_no_document(file.name, text):
            log.leave_out(folder, file.name, reason)
        else:
            rows.append((composed(file.name), text, "test"))
    if not rows:
        raise DataError(f"{folder}: no document; it must hold one file a document")
    return pd.DataFrame(rows, columns=[id_column, "text", "split"])


def _labels(path: Path, jobs: set[str], resumes: set[str], log: RowLog) -> pd.DataFrame:
    found: dict[tuple[str, str], int] = {}
    for line, (query, _, document, label, *_) in read_fields(path, at_least=4):
        log.saw(path)
        if label not in ("0", "1"):
            log.leave_out(path, line, f"label {label[:20]!r} is neither 0 nor 1")
        elif query not in jobs or document not in resumes:
            log.leave_out(
                path,
                line,
                "the query is in no file" if query not in jobs else "the document is in no file",
            )
        elif (query, document) in found:
            log.leave_out(path, line, "the same pair again; the first is kept")
        else:
            found[query, document] = int(label)
    if not found:
        raise DataError(
            f"{path}: no judgement of a known query and document; do qrels and folders belong together?"
        )
    return pd.DataFrame(
        [(*pair, label, "test", "file") for pair, label in found.items()],
        columns=["job_id", "resume_id", "label", "split", "source"],
    )


def _mapping(path: Path, known: set[str], log: RowLog) -> dict[str, str]:
    """Document -> internal id, which ends in _m, _f or _n."""
    internal = {}
    for line, (document, name, *_) in read_fields(path, at_least=2):
        log.saw(path)
        if document not in known:
            log.leave_out(path, line, "the document is in no file")
        elif name.rpartition("_")[2] not in GENDERS:
            log.leave_out(path, line, f"internal id {name[:30]!r} does not end in _m, _f or _n")
        elif document in internal:
            log.leave_out(path, line, "the same document again; the first is kept")
        else:
            internal[document] = name
    return internal
