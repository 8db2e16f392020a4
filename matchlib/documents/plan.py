"""Which documents each shard of a corpus holds, and reading one shard at a time.

A unit is a file that is one document, or a run of rows of a table file. A unit keeps its shard for
good: new ones go to the last shard while it has room, then to further ones. So adding documents, or
taking some away, changes the shards they lie in and no other.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from matchlib.data.files import read_rows
from matchlib.data.row_log import Reading, RowLog, printable
from matchlib.data.schema import DataError
from matchlib.documents.read import (
    TABLES,
    checked_columns,
    decoded,
    document_ids,
    list_files,
    rows_of_file,
    usable_rows,
)

PLAN = "plan.parquet"
DOCUMENTS_PER_SHARD = 50_000
END = 2**62
"""The end of a run of rows that goes on to the last line of its file."""
_SETTINGS = b"matchlib"
_COLUMNS = ["shard", "file", "id", "first_line", "end_line", "documents"]


@dataclass(frozen=True)
class ShardPlan:
    """The documents of a corpus by shards.

    source: the file or folder they were read from; name: jobs or resumes; columns, encoding: as in
    `read_documents`. units: a frame shard, file (below the source's folder), id (of a file that is
    one document), first_line and end_line (of rows; 0 and 0 of a document), documents. n_shards:
    with those whose documents were all taken away.
    """

    source: Path
    name: str
    columns: Mapping[str, Any]
    encoding: str
    documents_per_shard: int
    n_shards: int
    units: pd.DataFrame

    @property
    def folder(self) -> Path:
        return self.source if self.source.is_dir() else self.source.parent

    @property
    def key(self) -> str:
        """The column of ids: job_id or resume_id."""
        return f"{self.name.removesuffix('s')}_id"

    def read(self, shard: int) -> Reading:
        """The documents of a shard as `read_documents` gives them, indexed by line, with a column
        file below the source's folder.

        None of them need be readable: what is not is in left_out, and the table may be empty.
        """
        log = RowLog()
        rows = []
        for unit in self._units_of(shard).itertuples(index=False):
            rows += self._rows(unit, log)
        table = usable_rows(rows, self.key, log)
        return Reading({self.name: table}, [], log.files, log.left_out, missing=log.missing)

    def read_some(self, documents: pd.DataFrame) -> pd.DataFrame:
        """The documents of some rows of a shard's ids (id, file, line), as far as they are there.

        Only their files are read, one after the other. Returns read_documents' table, in no order.
        """
        log = RowLog()
        found = []
        for file, wanted in documents.groupby("file", sort=False):
            ids = set(wanted["id"])
            units = self._units_by_file.get(file, [])
            for unit in units:
                is_in_unit = wanted["line"].between(unit.first_line, unit.end_line - 1)
                if unit.end_line and not is_in_unit.any():
                    continue
                rows = usable_rows(self._rows(unit, log), self.key, log)
                found.append(rows[rows[self.key].isin(ids)])
        if not found:
            found = [usable_rows([], self.key, log)]
        return pd.concat(found, ignore_index=True).fillna("").drop_duplicates(self.key)

    @cached_property
    def _units_by_file(self) -> dict[str, list]:
        by_file: dict[str, list] = {}
        for unit in self.units.itertuples(index=False):
            by_file.setdefault(unit.file, []).append(unit)
        return by_file

    def hash_of(self, shard: int) -> str:
        """Hash of a shard's documents as they are now: bytes of files, rows of tables, ids, and how
        they are read."""
        digest = hashlib.sha256(json.dumps([self.name, self.columns, self.encoding]).encode())
        for unit in self._units_of(shard).itertuples(index=False):
            file = self.folder / unit.file
            digest.update(f"\0{unit.file}\0{unit.id}\0".encode())
            try:
                digest.update(self._content_hash(file, unit))
            except (DataError, OSError) as problem:
                digest.update(printable(problem).encode())
        return digest.hexdigest()

    def _content_hash(self, file: Path, unit: Any) -> bytes:
        if not unit.end_line:
            with file.open("rb") as content:
                return hashlib.file_digest(content, "sha256").digest()
        digest = hashlib.sha256()

        def add(line: int, row: object) -> None:
            if unit.first_line <= line < unit.end_line:
                digest.update(json.dumps(row).encode())

        for line, row in read_rows(file, encoding=self.encoding or "utf-8", spoiled=add):
            if line >= unit.end_line:
                break
            add(line, row)
        return digest.digest()

    def _units_of(self, shard: int) -> pd.DataFrame:
        return self.units[self.units["shard"] == shard]

    def _rows(self, unit: Any, log: RowLog) -> list[tuple[int | str, dict[str, str]]]:
        file = self.folder / unit.file
        lines = (unit.first_line, unit.end_line) if unit.end_line else None
        rows = rows_of_file(file, unit.id, self.key, self.columns, self.encoding, log, lines=lines)
        return [(line, {**row, "file": printable(unit.file)}) for line, row in rows]

    def save(self, folder: Path) -> None:
        """Write the plan into a folder, beside and renamed."""
        import pyarrow as pa
        from pyarrow import parquet

        settings = {
            "source": str(self.source.resolve()),
            "name": self.name,
            "columns": dict(self.columns),
            "encoding": self.encoding,
            "documents_per_shard": self.documents_per_shard,
            "n_shards": self.n_shards,
        }
        table = pa.Table.from_pandas(self.units, preserve_index=False)
        table = table.replace_schema_metadata({_SETTINGS: json.dumps(settings).encode()})
        beside = folder / f".{PLAN}.{os.uname().nodename}.{os.getpid()}.part"
        try:
            parquet.write_table(table, beside)
            beside.replace(folder / PLAN)
        finally:
            beside.unlink(missing_ok=True)


def read_plan(folder: Path) -> ShardPlan:
    """The plan in a folder of vectors. Raises DataError if there is none, or it is torn."""
    import pyarrow as pa
    from pyarrow import parquet

    path = folder / PLAN
    if not path.is_file():
        raise DataError(
            f"{printable(folder)}: no {PLAN}, so this is no folder of vectors; make one with: "
            f"matchlib embed"
        )
    try:
        table = parquet.read_table(path)
        settings = json.loads(table.schema.metadata[_SETTINGS])
        units = table.to_pandas()[_COLUMNS]
        source = Path(settings.pop("source"))
        return ShardPlan(source=source, units=units, **settings)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as problem:
        raise DataError(
            f"{printable(path)}: not a plan of shards ({str(problem)[:80]}); remove it and run matchlib "
            f"embed again: shards whose documents are the same are kept"
        ) from None


def plan_shards(
    source: Path,
    name: str,
    *,
    documents_per_shard: int = 0,
    previous: ShardPlan | None = None,
    columns: Mapping[str, Any] | None = None,
    encoding: str = "",
) -> tuple[ShardPlan, Reading]:
    """Give every document below `source` a shard; name, columns, encoding as in `read_documents`.

    documents_per_shard: at most, but for a last run of rows that has grown since (0: as in
    previous, else DOCUMENTS_PER_SHARD). previous: an earlier plan, whose units keep their shards.
    The same documents and the same previous plan, or this plan itself as the previous one, give the
    same plan. Returns the plan, and a Reading without tables whose left_out are folders that are
    not entered and files whose name is not UTF-8. Raises DataError if there is no such path or
    nothing in it, or the previous plan was made otherwise.
    """
    columns = checked_columns(name, columns or {})
    size = documents_per_shard or (
        previous.documents_per_shard if previous else DOCUMENTS_PER_SHARD
    )
    if previous:
        _check_same(previous, name, columns, size)
    log = RowLog()
    files = list_files(source, log)
    folder = source if source.is_dir() else source.parent
    ids = document_ids(files, folder)
    units = []
    for file in files:
        below = str(file.relative_to(folder))
        if printable(below) != below:
            log.saw(file)
            log.leave_out(file, "", "its name is not UTF-8; rename the file or its folder")
            continue
        if file.suffix.lower() in TABLES:
            runs = _runs_of_rows(file, size, encoding)
            units += [(below, ids[file], *run) for run in runs]
        else:
            units.append((below, ids[file], 0, 0, 1))
    if not units:
        raise DataError(f"{printable(source)}: not one file, so there is nothing to embed")
    shards = _assign(units, size, previous)
    rows = [(shard, *unit) for shard, unit in zip(shards, units, strict=True)]
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    n_shards = max(max(shards) + 1, previous.n_shards if previous else 0)
    plan = ShardPlan(source, name, columns, encoding, size, n_shards, frame)
    return plan, Reading({}, [], log.files, log.left_out)


def _check_same(
    previous: ShardPlan, name: str, columns: Mapping[str, Any], documents_per_shard: int
) -> None:
    earlier = (previous.name, dict(previous.columns), previous.documents_per_shard)
    now = (name, dict(columns), documents_per_shard)
    for what, old, new in zip(
        ("kind of document", "columns", "documents a shard"), earlier, now, strict=True
    ):
        if old != new:
            raise DataError(
                f"the {what} of these shards are {old}, now {new} are asked for; name another "
                f"--out, or ask for the same"
            )


def _runs_of_rows(file: Path, size: int, encoding: str) -> list[tuple[int, int, int]]:
    """(first line, end, rows) of each run of at most `size` rows of a table; of one that cannot be
    read, one run that then is left out with its reason."""

    def read(encoding: str) -> list[tuple[int, int, int]]:
        starts = []
        n_rows = 0
        for line, _ in read_rows(file, encoding=encoding, spoiled=lambda line, reason: None):
            if n_rows % size == 0:
                starts.append(line)
            n_rows += 1
        starts = [0, *starts[1:]]
        ends = [*starts[1:], END]
        runs = []
        for number, (first, end) in enumerate(zip(starts, ends, strict=True)):
            runs.append((first, end, min(size, n_rows - number * size)))
        return runs

    try:
        return decoded(read, encoding)
    except (DataError, OSError):
        return [(0, END, 1)]


def _assign(units: Sequence[tuple], size: int, previous: ShardPlan | None) -> list[int]:
    """The shard of each unit (file, id, first line, end, documents)."""
    known: dict[tuple[str, int], int] = {}
    last = 0
    if previous is not None:
        earlier = previous.units
        known = dict(
            zip(
                zip(earlier["file"], earlier["first_line"], strict=True),
                earlier["shard"],
                strict=True,
            )
        )
        last = previous.n_shards - 1
    n_in_last = sum(unit[4] for unit in units if known.get((unit[0], unit[2])) == last)
    shards = []
    for file, _, first, _, n_documents in units:
        shard = known.get((file, first))
        if shard is None:
            if n_in_last and n_in_last + n_documents > size:
                last += 1
                n_in_last = 0
            shard = last
            n_in_last += n_documents
        shards.append(int(shard))
    return shards
