"""Documents: a file or a folder of texts, tables, PDF and DOCX files as one table; what cannot be read is listed.

One file is one document, but for tables (.csv, .tsv, .jsonl, .parquet), of which every row is one. Nothing is guessed:
a file that is damaged, empty, encrypted, scanned without text or of another type is left out with its reason. Hidden
files and the lock files of office programs (.name, ~$name) are no documents.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from matchlib.data.files import read_text
from matchlib.data.normal import composed, plain
from matchlib.data.privacy import protected_columns
from matchlib.data.readers import read_columns
from matchlib.data.reading import Reading, RowLog, printable
from matchlib.data.schema import MAX_CHARACTERS, DataError

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
MAX_BYTES = {table: 500_000_000 for table in TABLES} | {".txt": 4_000_000, ".md": 4_000_000, ".pdf": 20_000_000,
                                                          ".docx": 20_000_000}
"""Largest file of each type that is opened; the keys are the types that can be read."""
_HIDDEN = (".", "~$")
MAX_PAGES = 100
MAX_UNPACKED = 100_000_000
"""Bytes that a .docx may hold once unpacked; a larger one is a decompression bomb or full of pictures."""


def read_documents(path: Path, name: str, *, columns: Mapping[str, Any] | None = None,
                   encoding: str = "") -> Reading:
    """Read a file, or every file below a folder, as the table `name` ("jobs" or "resumes").

    The table has job_id or resume_id, text, file, and the other columns of table files ("" where there is none). A
    document's id is its path below the folder without the ending; files that differ in the ending alone keep it (cv.pdf
    and cv.docx). Spaces in ids become "_", which TREC files need. columns: table column -> column of the table files or
    a list of such to join into one text; an id column may also be called "id". encoding: tried on texts and tables that
    are not UTF-8; "" tries none.
    Returns a Reading: its left_out lists every file (and every row of a table, by line) that could not be used.
    Raises DataError if there is no such path or not one document could be read.
    """
    key = f"{name.removesuffix('s')}_id"
    columns = {new: _listed(old)[0] if len(_listed(old)) == 1 else old for new, old in (columns or {}).items() if old}
    if found := protected_columns(_listed(columns.get("text", []))):
        raise DataError(f"{name}: {found[0]!r} is a protected column and would become text that models read; "
                        f"take it out of the text columns")
    log, rows = RowLog(), []
    files = _files(path, log)
    ids = _ids(files, path if path.is_dir() else path.parent)
    for file in files:
        kind = file.suffix.lower()
        try:
            if kind not in TABLES:
                _check_name(ids[file])
            _check_size(file)
            found, spoiled = (_read_table(file, key, columns, encoding) if kind in TABLES else
                              ([("", {key: ids[file], "text": _read(file, encoding)})], []))
        except (DataError, OSError) as problem:  # OSError: no right to read it, a broken disk
            log.saw(file)
            told = printable(problem).removeprefix(printable(file))  # ": reason" or ":line: reason"
            line, reason = re.fullmatch(r"(?::(\d+))?(?:: )?(.*)", told, re.DOTALL).groups("")
            log.leave_out(file, line, f"the whole file: {reason}" if kind in TABLES else reason)
            continue
        log.saw(file, len(found) + len(spoiled))
        for line, reason in spoiled:
            log.leave_out(file, line, reason)
        rows += [(line, {**row, "file": printable(file)}) for line, row in found]
    table = pd.DataFrame([row for _, row in rows], index=[line for line, _ in rows], dtype=str)
    table = _usable(table, key, log) if rows else table
    if table.empty:
        first = f"; {log.entries[0][0]}: {log.entries[0][2]}" if log.entries else ""
        raise DataError(f"{printable(path)}: not one of {len(files)} files could be read as {name}{first}")
    return Reading({name: table}, [f"{name}: {len(table):,} documents from {printable(path)}"], log.files, log.left_out)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _files(path: Path, log: RowLog) -> list[Path]:
    """The files of a folder, hidden ones and lock files aside; folders that are not entered are listed."""
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
            if (Path(folder) / name).is_symlink():  # it may lead back to where it lies, or to all the disk
                left_out(Path(folder) / name, "a link to a folder, which is not entered; copy the folder here")
        files += [Path(folder) / name for name in names if not name.startswith(_HIDDEN)]
    return sorted(files)


def _check_name(name: str) -> None:
    if printable(name) != name:
        raise DataError("its name is not UTF-8, so it cannot be an id; rename the file or its folder")


def _ids(files: list[Path], folder: Path) -> dict[Path, str]:
    """Ids of files; those that share one without the ending keep the ending, all of them, so that order is nothing."""
    full = {file: re.sub(r"\s+", "_", composed(file.relative_to(folder).as_posix())) for file in files}
    short = {file: name.removesuffix(composed(file.suffix)) for file, name in full.items()}
    shared = Counter(short.values())
    return {file: name if shared[short[file]] > 1 else short[file] for file, name in full.items()}


def _check_size(file: Path) -> None:
    limit = MAX_BYTES.get(file.suffix.lower())
    if limit is None:
        raise DataError(f"{file}: ending {file.suffix!r} is not one of {', '.join(MAX_BYTES)}; save it as one of these")
    if not file.is_file():
        raise DataError(f"{file}: not a file, or a link to nowhere; remove it")
    if (size := file.stat().st_size) > limit:
        raise DataError(f"{file}: {size:,} bytes, more than the {limit:,} that a {file.suffix} may have; split it")


def _usable(table: pd.DataFrame, key: str, log: RowLog) -> pd.DataFrame:
    """The rows with a text and an id of their own; the others go to the log."""
    table = table.fillna("")
    table[key] = table[key].str.strip().str.replace(r"\s+", "_", regex=True)
    text = table["text"]
    bare = text.map(_has_no_word)
    scanned = bare & table["file"].str.lower().str.endswith(".pdf")
    reasons = pd.Series("", index=range(len(table)))
    for faulty, reason in (
            (table[key] == "", "no id; give the row one"),
            (text.str.len() > MAX_CHARACTERS, f"more than {MAX_CHARACTERS:,} characters; cut it to the document"),
            (text.str.contains("\0", regex=False), "a null byte in the text; the file is binary or damaged"),
            (bare, "no text: not one letter or digit"),
            (scanned, "no text, only pictures of scanned pages; run OCR on it")):
        reasons[faulty.to_numpy()] = reason
    good = (reasons == "").to_numpy()
    taken = table.loc[good, key].duplicated().to_numpy()
    reasons[np.flatnonzero(good)[taken]] = "its id is taken by an earlier document; rename one of them"
    for line, file, reason in zip(table.index, table["file"], reasons, strict=True):
        if reason:
            log.leave_out(file, line, reason)
    return table[(reasons == "").to_numpy()].reset_index(drop=True)


def _has_no_word(text: str) -> bool:
    """Whether nothing is left to read but signs, spaces and what is not drawn."""
    return not any(plain(letter[0]) for letter in re.finditer(r"[^\W_]", text))  # a Hangul filler is a letter


def _read_table(file: Path, key: str, columns: Mapping[str, Any],
                encoding: str) -> tuple[list[tuple[int, dict[str, str]]], list[tuple[int, str]]]:
    """The lines and rows of a table file, and the lines and reasons of those that are spoiled."""
    spoiled: dict[int, str] = {}  # by line: a file that is read again in another encoding names each once

    def read(encoding: str) -> pd.DataFrame:
        return read_columns(file, columns=columns, encoding=encoding, spoiled=spoiled.__setitem__)
    frame = _decoded(read, encoding)
    found = ", ".join(map(repr, frame.columns))
    if key not in frame and "id" in frame:
        frame = frame.rename(columns={"id": key})
    for column in (key, "text"):
        if column not in frame:
            raise DataError(f"{file}: no column {column!r}; it has {found}; "
                            f"rename it, or name it by --{key.replace('_id', '')}-{'id' if column == key else 'text'}")
    return list(zip(frame.index, frame.to_dict("records"), strict=True)), list(spoiled.items())


def _read(file: Path, encoding: str) -> str:
    kind = file.suffix.lower()
    if kind == ".pdf":
        text = "\n".join(_pdf_pages(file))
    elif kind == ".docx":
        text = "\n".join(_docx_lines(file))
    else:
        text = _decoded(lambda encoding: read_text(file, encoding=encoding), encoding)
    if lone := sum("\ud800" <= character <= "\udfff" for character in text):
        raise DataError(f"{printable(file)}: {lone:,} characters are halves of a surrogate pair, because a font of it "
                        f"names its letters wrongly; print it to a new PDF, or save it as text")
    return composed(text)


def _decoded(read, encoding: str):
    """read("utf-8"), or read(encoding) where that fails and one is named."""
    try:
        return read("utf-8")
    except DataError:
        if not encoding:
            raise
        return read(encoding)


def _pdf_pages(file: Path) -> Iterator[str]:
    import logging

    from pypdf import PdfReader
    from pypdf.errors import DependencyError
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # its warnings on harmless faults go to stderr by the dozen
    try:
        reader = PdfReader(file)
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError(f"{file}: encrypted; save it without a password")
        if len(reader.pages) > MAX_PAGES:
            raise DataError(f"{file}: {len(reader.pages):,} pages, more than {MAX_PAGES}; is it a document?")
        for page in reader.pages:
            yield page.extract_text()
    except DataError:
        raise
    except DependencyError:  # AES, also where only printing is forbidden
        raise DataError(f"{file}: encrypted by AES; save it without a password, or install `cryptography`") from None
    except Exception as problem:  # a parser of hostile files raises whatever it trips over
        raise DataError(f"{file}: not a PDF that can be read ({_short(problem)}); export it again") from None


def _docx_lines(file: Path) -> Iterator[str]:
    """Every paragraph of the page headers and the body, those in tables, text boxes and content controls, too."""
    from docx import Document
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise DataError(f"{file}: {unpacked:,} bytes unpacked, more than {MAX_UNPACKED:,}; save the text alone")
        document = Document(str(file))
        headers = [section.header for section in document.sections]
        for root in [*(header._element for header in headers if not header.is_linked_to_previous),
                     document.element.body]:
            for paragraph in root.iter(f"{_WORD}p"):
                if next(paragraph.iterancestors(_FALLBACK), None) is None:  # a text box's copy for old programs
                    yield _own_text(paragraph)
    except DataError:
        raise
    except Exception as problem:  # as above
        raise DataError(f"{file}: not a DOCX that can be read ({_short(problem)}); save it again") from None


_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_MARKS = {f"{_WORD}tab": "\t", f"{_WORD}br": "\n", f"{_WORD}cr": "\n", f"{_WORD}noBreakHyphen": "-"}


def _own_text(paragraph) -> str:
    """The text of a paragraph's runs without that of the paragraphs inside it, which come by themselves."""
    return "".join(node.text or "" if node.tag == f"{_WORD}t" else _MARKS[node.tag]
                   for node in paragraph.iter(f"{_WORD}t", *_MARKS)
                   if node.getparent().tag == f"{_WORD}r" and next(node.iterancestors(f"{_WORD}p")) is paragraph)


def _short(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:80]}".rstrip(": ")
