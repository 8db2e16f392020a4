"""What a reader gives back: tables, and an account of every row of every file."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

Tables = dict[str, pd.DataFrame]


def printable(value: object) -> str:
    """A path or message as text that can be written: bytes of a file name that are not UTF-8 are
    shown as \\xe9."""
    return _HALF.sub(_escaped, str(value))


_HALF = re.compile("[\ud800-\udfff]")


def _escaped(half: re.Match) -> str:
    code = ord(half[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}"


@dataclass(frozen=True)
class _Entry:
    """A row that does not fit, or (is_part) a part of one."""

    file: str
    line: str
    reason: str
    is_part: bool = False


@dataclass
class RowLog:
    """Counts the rows of files and keeps those that do not fit, by line; nothing is dropped without
    an entry.

    A row of several parts (a query with ten passages) may lose one part and stay.
    """

    rows: Counter = field(default_factory=Counter)
    entries: list[_Entry] = field(default_factory=list)
    losses: list[_Entry] = field(default_factory=list)

    def saw(self, path: Path, n: int = 1) -> None:
        """Count n rows of a file."""
        self.rows[printable(path)] += n

    def leave_out(self, path: Path, line: int | str, reason: str) -> None:
        """Note a row that does not fit: line is its number, or its place in a file without lines."""
        self.entries.append(_Entry(printable(path), str(line), reason))

    def leave_out_part(self, path: Path, line: int | str, reason: str) -> None:
        """Note a part of a row that does not fit; the row itself stays."""
        self.entries.append(_Entry(printable(path), str(line), reason, is_part=True))

    def read_in_part(self, path: Path, line: int | str, what: str) -> None:
        """Note what is missing from the text of a document that is used: a scanned page, hidden
        text."""
        self.losses.append(_Entry(printable(path), str(line), what))

    @property
    def files(self) -> pd.DataFrame:
        """One row a file: file, rows, read, left out, parts left out; rows = read + left out."""
        n_left_out = Counter(entry.file for entry in self.entries if not entry.is_part)
        n_parts = Counter(entry.file for entry in self.entries if entry.is_part)
        rows = []
        for file, n in self.rows.items():
            row = {
                "file": file,
                "rows": n,
                "read": n - n_left_out[file],
                "left out": n_left_out[file],
                "parts left out": n_parts[file],
            }
            rows.append(row)
        columns = ["file", "rows", "read", "left out", "parts left out"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def left_out(self) -> pd.DataFrame:
        """One row an entry: file, line, reason."""
        return _as_frame(self.entries)

    @property
    def missing(self) -> pd.DataFrame:
        """One row for each kind of loss in a document that is used: file, line, reason."""
        return _as_frame(self.losses)


def _as_frame(entries: list[_Entry]) -> pd.DataFrame:
    rows = [asdict(entry) for entry in entries]
    return pd.DataFrame(rows, columns=["file", "line", "reason"])


@dataclass(frozen=True)
class Reading:
    """tables by name; notes: sentences on what was done; files, left_out: the account of the rows
    (see RowLog);
    redacted: what was taken out of the texts, by table and kind (see `privacy.redact_tables`), or
    None;
    missing: what the texts of documents that are used lack (see `RowLog.read_in_part`);
    known: tables whose test documents training may know (a catalogue that is searched), for
    `splits.require_no_leaks`."""

    tables: Tables
    notes: list[str]
    files: pd.DataFrame = field(default_factory=lambda: RowLog().files)
    left_out: pd.DataFrame = field(default_factory=lambda: RowLog().left_out)
    redacted: pd.DataFrame | None = None
    missing: pd.DataFrame = field(default_factory=lambda: RowLog().missing)
    known: tuple[str, ...] = ()

    def reasons(self, examples: int = 3) -> pd.DataFrame:
        """The rows left out by file and reason: file, reason, rows, lines (the first few)."""
        by_reason = self.left_out.groupby(["file", "reason"], sort=False)["line"]
        table = by_reason.agg(rows="count", lines=lambda lines: ", ".join(lines.head(examples)))
        table = table.reset_index()
        return table.sort_values("rows", ascending=False, kind="stable", ignore_index=True)
