"""Files: rows and objects of CSV, TSV, JSON Lines, JSON and Parquet, as text, by line. Refusals
name file and line."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator
from itertools import chain, dropwhile, islice
from pathlib import Path
from typing import Any

import pandas as pd

from matchlib.data.normal import composed
from matchlib.data.schema import DataError

csv.field_size_limit(
    2**31 - 1
)  # a field of any length is read; document_check.MAX_CHARACTERS then says what is too long


Spoiled = Callable[[int, str], None]
"""Takes the line and the reason of a row that cannot be read while the rows after it can."""


def read_rows(
    path: Path, *, encoding: str = "utf-8", spoiled: Spoiled | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row) of a .csv, .tsv, .jsonl or .parquet file; every value is text, none
    is missing.

    spoiled: takes rows with too few or too many fields, and lines that are no JSON; without it they
    raise DataError, as everything else does that leaves no row readable.
    """
    readers = {
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".jsonl": _read_jsonl,
        ".parquet": _read_parquet,
    }
    kind = path.suffix.lower()
    if path.is_dir():
        raise DataError(
            f"{path}: a folder where a table is needed, one of {', '.join(readers)}; matchlib rank "
            f"reads folders of documents"
        )
    if kind not in readers:
        raise DataError(
            f"{path}: ending {path.suffix!r} is not one of {', '.join(readers)}; "
            f"{how_to_save(path.suffix)}"
        )
    require_file(path)
    yield from readers[kind](path, encoding, spoiled or _refuse(path))


def how_to_save(suffix: str) -> str:
    """What to do with a file of an ending that is not read."""
    if suffix.lower() in (".xlsx", ".xls", ".xlsm", ".ods"):
        return "open it in the spreadsheet program and save it as CSV, in UTF-8"
    return "save it as one of these"


def _refuse(path: Path) -> Spoiled:
    def refuse(line: int, reason: str) -> None:
        raise DataError(f"{path}:{line}: {reason}")

    return refuse


def require_file(path: Path) -> None:
    """Raise DataError if there is no such file."""
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; check the path, which is relative to the repository"
        )


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield numbered lines in composed form (see `normal`); a wrong byte is named by its line."""
    require_file(path)
    codec = "utf-8-sig" if encoding.lower().replace("-", "") == "utf8" else encoding
    with path.open("rb") as file:
        beginning = file.read(4)
    if beginning in _SPREADSHEETS:
        raise DataError(
            f"{path}: a spreadsheet that was renamed; {how_to_save('.xlsx')}, in place of renaming it"
        )
    if beginning[:2] in (b"\xff\xfe", b"\xfe\xff") and "16" not in encoding:
        raise DataError(f"{path}:1: the file is UTF-16; save it as UTF-8, or set encoding: utf-16")
    try:
        with path.open(encoding=codec, newline="") as file:
            number = 0
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise DataError(
                        f"{path}:{number}: a null byte; the file is binary or damaged, export it again"
                    )
                yield number, composed(line)
    except UnicodeDecodeError as problem:
        raise DataError(
            f"{path}:{_line_of_bad_byte(path, codec)}: byte 0x{problem.object[problem.start]:02x} is not "
            f"{encoding}; save the file as UTF-8, or set encoding (often cp1252 or gb18030)"
        ) from None
    except UnicodeError as problem:  # a UTF-16 file without its mark
        raise DataError(
            f"{path}:1: not {encoding} ({problem}); save the file as UTF-8, or set encoding"
        ) from None
    except LookupError:
        raise DataError(
            f"{path}: encoding {encoding!r} is unknown; use utf-8, utf-16, cp1252, gb18030, ..."
        ) from None


def _line_of_bad_byte(path: Path, codec: str) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode(codec)
            except UnicodeDecodeError:
                return number
    return 1


def _read_csv(path: Path, encoding: str, spoiled: Spoiled) -> Iterator[tuple[int, dict[str, str]]]:
    lines = (line for _, line in _lines(path, encoding))
    heading = next(lines, "")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(heading)
    n_before = 0
    if instruction := _SEPARATOR_LINE.fullmatch(heading):
        delimiter = instruction[1]
        heading = next(lines, "")
        n_before = 1
    first_lines = list(islice(lines, LOOKED_AHEAD))
    reader = csv.reader(chain([heading], first_lines, lines), delimiter=delimiter, strict=True)
    line = n_before + 1
    try:
        names = [name.strip() for name in next(reader, [])]
        if len(names) > 2 and not names[0] and ROW_NUMBER not in names:
            names[0] = ROW_NUMBER  # pandas writes its row numbers below no name
        _check_heading(names, path, line, first_lines)
        while True:
            line = n_before + reader.line_num + 1
            values = next(reader, None)
            if values is None:
                return
            if values and len(values) != len(names):
                spoiled(
                    line,
                    f"{len(values)} fields where the heading has {len(names)}; quote fields that hold "
                    f"{_CALLED.get(delimiter, repr(delimiter))}",
                )
            elif values:
                yield line, dict(zip(names, values, strict=True))
    except csv.Error as problem:
        raise DataError(f"{path}:{line}: broken row ({problem}); check its quotes") from None


def _check_heading(names: list[str], path: Path, line: int, next_lines: list[str]) -> None:
    """Raise DataError where a file's first line cannot be a heading: a title, or names that are
    empty or repeated."""
    named = [name for name in names if name]
    delimiter = _delimiter("".join(next_lines))
    rows = list(csv.reader(next_lines, delimiter=delimiter))
    table = list(dropwhile(lambda row: len(row) < 2, rows))
    if len(named) == 1 and len(table) > 1 and len({len(row) for row in table}) == 1:
        raise DataError(
            f"{path}:{line}: the first line, {named[0][:60]!r}, is not the heading of the rows below it, "
            f"which have {len(table[0])} columns; is it a title? Delete what stands above the heading"
        )
    if len(set(names)) < len(names) or "" in names:
        raise DataError(
            f"{path}:{line}: the heading has an empty or a repeated column name: {names}; "
            f"give every column a name of its own"
        )


_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How files of Excel begin, new and old, whatever their ending."""
ROW_NUMBER = "row number"
"""The name of a first column that has none."""

_SEPARATOR_LINE = re.compile(r"""["']?sep=(.)["']?[\r\n]*""", re.IGNORECASE)
"""Excel's own first line of a CSV file, which says what separates its fields and is not a part of
the table."""
LOOKED_AHEAD = 20
"""Lines after the first one that may show it to be a title and no heading."""
_CALLED = {",": "commas", ";": "semicolons", "\t": "tabs"}


def _delimiter(heading: str) -> str:
    """The delimiter that a .csv heading holds most: spreadsheets write semicolons where the comma
    is a decimal sign."""
    return max(_CALLED, key=heading.count)


def _read_jsonl(
    path: Path, encoding: str, spoiled: Spoiled
) -> Iterator[tuple[int, dict[str, str]]]:
    for number, row in read_objects(path, encoding=encoding, spoiled=spoiled):
        yield number, {str(key): _as_text(value) for key, value in row.items()}


def read_objects(
    path: Path, *, encoding: str = "utf-8", spoiled: Spoiled | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON Lines file; spoiled as in `read_rows`."""
    spoiled = spoiled or _refuse(path)
    for number, line in _lines(path, encoding):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if r"\u" in line:
                json.dumps(
                    row, ensure_ascii=False
                ).encode()  # half a surrogate pair is JSON but no text
        except (ValueError, RecursionError) as problem:  # ValueError: also a number of 5,000 digits
            spoiled(number, f"not JSON ({problem}); one object a line")
            continue
        if isinstance(row, dict):
            yield number, _composed_value(row) if r"\u" in line else row
        else:
            spoiled(number, f"a {type(row).__name__} where an object is due; one object a line")


def _composed_value(value: Any) -> Any:
    """A value of a JSON file whose strings were written as escapes, in composed form."""
    if isinstance(value, str):
        return composed(value)
    if isinstance(value, list):
        return [_composed_value(item) for item in value]
    if isinstance(value, dict):
        return {composed(key): _composed_value(item) for key, item in value.items()}
    return value


def read_text(path: Path, *, encoding: str = "utf-8") -> str:
    """A whole text file; line ends become newlines."""
    return (
        "".join(line for _, line in _lines(path, encoding))
        .replace("\r\n", "\n")
        .replace("\r", "\n")
    )


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object."""
    content = read_text(path)
    try:
        value = json.loads(content)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is JSON but no text
    except json.JSONDecodeError as problem:
        raise DataError(
            f"{path}:{problem.lineno}: not JSON ({problem.msg}); export the file again"
        ) from None
    except (ValueError, RecursionError) as problem:
        raise DataError(
            f"{path}:1: not JSON that can be used ({problem}); export the file again"
        ) from None
    if not isinstance(value, dict):
        raise DataError(
            f"{path}:1: a {type(value).__name__} where an object is due; is this the right file?"
        )
    return _composed_value(value) if r"\u" in content else value


def read_fields(
    path: Path, *, at_least: int, separator: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of a file without a heading.

    separator: what stands between fields; None: tabs or spaces. Raises DataError on a line with
    fewer than at_least fields.
    """
    for number, line in _lines(path, "utf-8"):
        fields = [field.strip() for field in line.split(separator)] if line.strip() else []
        if fields and len(fields) < at_least:
            raise DataError(
                f"{path}:{number}: {len(fields)} fields where {at_least} are due; is this the right file?"
            )
        if fields:
            yield number, fields


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "; ".join(map(_as_text, value))
    if isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, bytes):  # a Parquet column of type binary
        return value.decode()
    if isinstance(value, dict | bool):
        return json.dumps(value, ensure_ascii=False, default=_as_text)
    return str(value)


def _read_parquet(
    path: Path, encoding: str, spoiled: Spoiled
) -> Iterator[tuple[int, dict[str, str]]]:
    import pyarrow
    from pyarrow import parquet

    try:
        # not by pandas, which turns whole numbers with gaps into floats: id 7 would become "7.0"
        file = parquet.ParquetFile(path)
        number = 0
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                try:
                    values = {
                        composed(str(key)): composed(_as_text(value)) for key, value in row.items()
                    }
                except UnicodeDecodeError as problem:
                    spoiled(
                        number,
                        f"bytes that are not UTF-8 ({problem.reason}); save the column as text",
                    )
                    continue
                yield number, values
    except (
        UnicodeDecodeError
    ):  # a column of type string whose bytes are not UTF-8: which row, Arrow does not say
        raise DataError(
            f"{path}: a text that is not UTF-8 after row {number:,}; export the file again"
        ) from None
    except (pyarrow.ArrowException, OSError) as problem:
        raise DataError(
            f"{path}: not a Parquet file ({str(problem)[:80]}); export it again"
        ) from None


_ROWS_AT_ONCE = 1_000  # rows of a Parquet file that are unpacked at a time


def without_formulas(texts: pd.Series) -> pd.Series:
    """Texts for a CSV that is opened in a spreadsheet: what it would take for a formula gets a ' in
    front.

    That is what begins with = + - @, a tab or a line end, as OWASP recommends: resumes come from
    strangers, and a formula in one could run on a recruiter's machine.
    """
    return texts.str.replace(r"^(?=[=+\-@\t\r\n])", "'", regex=True)
