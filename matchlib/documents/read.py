"""Documents: a file or a folder of texts, web pages, tables, PDF and Word files as one table;
losses are listed.

One file is one document, but for tables (.csv, .tsv, .jsonl, .parquet), of which every row is one.
Nothing is guessed: a file that is damaged, empty, encrypted, scanned without text or of another
type is left out with its reason; of one that is read in part (a scanned page, hidden text,
comments), what is missing is told. Texts that are HTML lose their tags. Hidden files and the lock
files of office programs (.name, ~$name) are no documents.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from matchlib.data.document_check import why_no_document
from matchlib.data.files import how_to_save, read_text
from matchlib.data.normal import composed
from matchlib.data.privacy import protected_columns
from matchlib.data.readers import read_columns
from matchlib.data.row_log import Reading, RowLog, printable
from matchlib.data.schema import DataError
from matchlib.documents.extract import Extract
from matchlib.documents.markup import decode_page, read_markup, strip_markup

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
WORD = (".docx", ".docm", ".dotx", ".dotm")
PAGES = (".html", ".htm")
MAX_BYTES = (
    dict.fromkeys(TABLES, 500_000_000)
    | dict.fromkeys((".txt", ".md", *PAGES), 4_000_000)
    | dict.fromkeys((".pdf", *WORD), 20_000_000)
)
"""Largest file of each type that is opened; the keys are the types that can be read."""
_HIDDEN = (".", "~$")


def read_documents(
    path: Path, name: str, *, columns: Mapping[str, Any] | None = None, encoding: str = ""
) -> Reading:
    """Read a file, or every file below a folder, as the table `name` ("jobs" or "resumes").

    The table has job_id or resume_id, text, file, and the other columns of table files ("" where
    there is none). A document's id is its path below the folder without the ending; files that
    differ in the ending alone keep it (cv.pdf and cv.docx). Spaces in ids become "_", which TREC
    files need. columns: table column -> column of the table files or a list of such to join into
    one text; an id column may also be called "id". encoding: tried on texts and tables that are not
    UTF-8; "" tries none.
    Returns a Reading: its left_out lists every file (and every row of a table, by line) that could
    not be used, its missing what the documents that are used lack.
    Raises DataError if there is no such path or not one document could be read.
    """
    key = f"{name.removesuffix('s')}_id"
    columns = checked_columns(name, columns or {})
    log = RowLog()
    rows = []
    files = list_files(path, log)
    ids = document_ids(files, path if path.is_dir() else path.parent)
    for file in files:
        rows += rows_of_file(file, ids[file], key, columns, encoding, log)
    if not rows:
        raise _no_document(path, name, len(files), log)
    table = usable_rows(rows, key, log)
    if table.empty:
        raise _no_document(path, name, len(files), log)
    return Reading(
        {name: table.reset_index(drop=True)},
        [f"{name}: {len(table):,} documents from {printable(path)}"],
        log.files,
        log.left_out,
        missing=log.missing,
    )


def checked_columns(name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of read_documents that are named, a list of one as its name.

    Raises DataError where a protected column would become text.
    """
    named = {}
    for new, old in columns.items():
        if old:
            named[new] = _listed(old)[0] if len(_listed(old)) == 1 else old
    if found := protected_columns(_listed(named.get("text", []))):
        raise DataError(
            f"{name}: {found[0]!r} is a protected column and would become text that models read; "
            f"take it out of the text columns"
        )
    return named


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def rows_of_file(
    file: Path,
    document_id: str,
    key: str,
    columns: Mapping[str, Any],
    encoding: str,
    log: RowLog,
    *,
    lines: tuple[int, int] | None = None,
) -> list[tuple[int | str, dict[str, Any]]]:
    """(line, row) of each row of a table, or the one row of a document; log counts them.

    lines: first line and end of the rows of a table to keep, which then may be of any size.
    """
    is_table = file.suffix.lower() in TABLES
    try:
        if not is_table:
            _check_name(document_id)
        if lines is None:
            _check_size(file)
        if is_table:
            found, spoiled = _read_table(file, key, columns, encoding, lines)
        else:
            found = [("", {key: document_id, "text": _read(file, encoding)})]
            spoiled = []
    except (DataError, OSError) as problem:  # OSError: no right to read it, a broken disk
        log.saw(file)
        told = printable(problem).removeprefix(printable(file))  # ": reason" or ":line: reason"
        line, reason = re.fullmatch(r"(?::(\d+))?(?:: )?(.*)", told, re.DOTALL).groups("")
        log.leave_out(file, line, f"the whole file: {reason}" if is_table else reason)
        return []
    log.saw(file, len(found) + len(spoiled))
    for line, reason in spoiled:
        log.leave_out(file, line, reason)
    rows = []
    for line, row in found:
        document = row["text"]
        if not isinstance(document, Extract):
            document = strip_markup(document)
        for loss in document.missing:
            log.read_in_part(file, line, loss)
        rows.append((line, {**row, "text": document.text, "file": printable(file)}))
    return rows


def _no_document(path: Path, name: str, n_files: int, log: RowLog) -> DataError:
    if not log.entries:
        return DataError(
            f"{printable(path)}: no file in this folder; put the {name} there, or name another one"
        )
    first = log.entries[0]
    if path.is_file():
        line = f", line {first.line}" if first.line else ""
        reason = first.reason.removeprefix("the whole file: ")
        return DataError(f"{printable(path)}{line}: {reason}")
    return DataError(
        f"{printable(path)}: none of its {n_files} files could be read as {name}; "
        f"{first.file}: {first.reason}"
    )


def list_files(path: Path, log: RowLog) -> list[Path]:
    """The files of a folder, hidden ones and lock files aside; folders that are not entered are
    listed."""
    if not path.exists():
        raise DataError(f"{printable(path)}: no such file or folder; check the path")
    if path.is_file():
        return [path]

    def left_out(folder: Path, reason: str) -> None:
        log.saw(folder)
        log.leave_out(folder, "", reason)

    files: list[Path] = []

    def unreadable(problem: OSError) -> None:
        left_out(Path(problem.filename), f"the folder cannot be opened: {problem.strerror}")

    for folder, folders, names in os.walk(path, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith(_HIDDEN))
        for name in folders:
            if (
                Path(folder) / name
            ).is_symlink():  # it may lead back to where it lies, or to all the disk
                left_out(
                    Path(folder) / name,
                    "a link to a folder, which is not entered; copy the folder here",
                )
        files += [Path(folder) / name for name in names if not name.startswith(_HIDDEN)]
    return sorted(files)


def _check_name(name: str) -> None:
    if printable(name) != name:
        raise DataError(
            "its name is not UTF-8, so it cannot be an id; rename the file or its folder"
        )


def document_ids(files: list[Path], folder: Path) -> dict[Path, str]:
    """Ids of files; those that share one without the ending keep the ending, all of them, so that
    order is nothing."""
    full = {
        file: re.sub(r"\s+", "_", composed(file.relative_to(folder).as_posix())) for file in files
    }
    short = {file: name.removesuffix(composed(file.suffix)) for file, name in full.items()}
    shared = Counter(short.values())
    return {file: name if shared[short[file]] > 1 else short[file] for file, name in full.items()}


def _check_size(file: Path) -> None:
    limit = MAX_BYTES.get(file.suffix.lower())
    if limit is None:
        raise DataError(
            f"{file}: ending {file.suffix!r} is not one of {', '.join(MAX_BYTES)}; "
            f"{how_to_save(file.suffix)}"
        )
    if not file.is_file():
        raise DataError(f"{file}: not a file, or a link to nowhere; remove it")
    if (size := file.stat().st_size) > limit:
        raise DataError(
            f"{file}: {size:,} bytes, more than the {limit:,} that a {file.suffix} may have; split it"
        )


def usable_rows(
    rows: list[tuple[int | str, dict[str, str]]], key: str, log: RowLog
) -> pd.DataFrame:
    """A table of the (line, row) with a text and an id of their own, indexed by line; the others go
    to the log."""
    if not rows:
        return pd.DataFrame(columns=[key, "text", "file"], dtype=str)
    lines = [line for line, _ in rows]
    table = pd.DataFrame([row for _, row in rows], index=lines, dtype=str).fillna("")
    table[key] = table[key].str.strip().str.replace(r"\s+", "_", regex=True)
    is_good = []
    taken: set[str] = set()
    rows = zip(table.index, table[key], table["text"], table["file"], strict=True)
    for line, name, text, file in rows:
        reason = why_no_document(name, text, taken)
        if reason:
            log.leave_out(file, line, reason)
        else:
            taken.add(name)
        is_good.append(not reason)
    return table[is_good]


def _read_table(
    file: Path,
    key: str,
    columns: Mapping[str, Any],
    encoding: str,
    lines: tuple[int, int] | None,
) -> tuple[list[tuple[int | str, dict[str, Any]]], list[tuple[int, str]]]:
    """The lines and rows of a table file, and the lines and reasons of those that are spoiled."""
    spoiled: dict[
        int, str
    ] = {}  # by line: a file that is read again in another encoding names each once

    def read(encoding: str) -> pd.DataFrame:
        return read_columns(
            file, columns=columns, encoding=encoding, spoiled=spoiled.__setitem__, lines=lines
        )

    frame = decoded(read, encoding)
    found = ", ".join(map(repr, frame.columns))
    if key not in frame and "id" in frame:
        frame = frame.rename(columns={"id": key})
    for column in (key, "text"):
        if column not in frame:
            raise DataError(
                f"{file}: no column {column!r}; it has {found}; "
                f"rename it, or name it by --{key.replace('_id', '')}-{'id' if column == key else 'text'}"
            )
    return list(zip(frame.index, frame.to_dict("records"), strict=True)), list(spoiled.items())


def _read(file: Path, encoding: str) -> Extract:
    kind = file.suffix.lower()
    if kind == ".pdf":
        from matchlib.documents.pdf import read_pdf

        found = read_pdf(file)
    elif kind in WORD:
        from matchlib.documents.word import read_word

        found = read_word(file)
    elif kind in PAGES:
        found = read_markup(decode_page(file.read_bytes(), encoding))
    else:
        found = strip_markup(decoded(lambda encoding: read_text(file, encoding=encoding), encoding))
    return Extract(composed(found.text), found.missing)


def decoded(read, encoding: str):
    """read("utf-8"), or read(encoding) where that fails and one is named."""
    try:
        return read("utf-8")
    except DataError:
        if not encoding:
            raise
        return read(encoding)
