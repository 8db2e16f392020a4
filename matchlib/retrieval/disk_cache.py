"""Cache databases on disk: one that is damaged is set aside and made anew, what cannot be mended is
one sentence."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from matchlib.data.schema import DataError

LOCK_SECONDS = 60
"""How long to wait for another process that writes; a write takes milliseconds."""
ELSEWHERE = "set the environment variable MATCHLIB_CACHE to another folder"
OTHER_TABLE = ("no such column", "has no column", "columns but", "no such table")
"""What sqlite says of a table with other columns than ours."""
logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class _DamagedError(Exception):
    """A database that cannot be read or is of another form: what sqlite says."""


def use_cache(path: Path, create: str, action: Callable[[sqlite3.Connection], Result]) -> Result:
    """What action(connection) gives; where the database turns out to be damaged, that of a new one.

    create: the CREATE TABLE IF NOT EXISTS statement. The action may be called twice: what it has
    done must not be lost or done again. Raises DataError where the folder cannot be written, the
    disk is full, or another process holds the database.
    """
    for _ in range(2):
        try:
            with _opened(path, create) as connection:
                return action(connection)
        except _DamagedError as problem:
            _set_aside(path, str(problem))
    raise DataError(
        f"the cache {path} was damaged, made anew, and is damaged again; the disk may fail: {ELSEWHERE}"
    )


@contextmanager
def _opened(path: Path, create: str) -> Iterator[sqlite3.Connection]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise DataError(
            f"the cache folder {path.parent} cannot be made ({problem.strerror}); {ELSEWHERE}, one that "
            f"can be written"
        ) from None
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
            with connection:
                connection.execute(create)
            yield connection
    except sqlite3.DatabaseError as problem:
        raise _translated(problem, path) from None


def _translated(problem: sqlite3.DatabaseError, path: Path) -> Exception:
    """The error to raise for one of sqlite's."""
    code = (getattr(problem, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or any(
        sign in str(problem) for sign in OTHER_TABLE
    ):
        return _DamagedError(str(problem))
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return DataError(
            f"the cache {path} cannot be written ({problem}); {ELSEWHERE}, one that can be written"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DataError(
            f"the cache {path} has been locked by another process for {LOCK_SECONDS} s; wait for it or "
            f"stop it, or {ELSEWHERE}"
        )
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return DataError(
            f"the cache {path} cannot be written: {problem} ({_free(path.parent)} free on its disk); free "
            f"some space, or {ELSEWHERE}; what was kept until now is kept"
        )
    return problem


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e6:,.0f} MB"
    except OSError:
        return "an unknown space"


def _set_aside(path: Path, problem: str) -> None:
    """Rename a damaged database, and its journal, which would be played back into the new one."""
    has_other_table = any(sign in problem for sign in OTHER_TABLE)
    if not has_other_table and not _is_damaged(path):
        return  # another process made it anew meanwhile
    for ending in ("", "-journal", "-wal", "-shm"):
        file = path.with_name(path.name + ending)
        if file.exists():
            try:
                os.replace(file, file.with_name(f"{file.name}.damaged"))
            except OSError as failure:
                raise DataError(
                    f"the cache {file} is damaged ({problem}) and cannot be moved aside "
                    f"({failure.strerror}); remove it, or {ELSEWHERE}"
                ) from None
    logger.warning(
        "the cache %s was damaged (%s): it is now %s.damaged, and what it held is made again",
        path,
        problem,
        path.name,
    )


def _is_damaged(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
            tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
            return tables > 0 and connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
    except sqlite3.DatabaseError:
        return True
