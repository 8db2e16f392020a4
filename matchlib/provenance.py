"""What code made a result: the hash that decides what is made again, and the commit."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from matchlib.pipeline import code_cells, find_root

_FILE_NAME = re.compile(r"(\w{0,60})(\.(?:json|toml|csv|txt|yaml))")


@cache
def code_hash(notebook: Path) -> str:
    """Hash of what a notebook computes: its code cells, the matchlib modules they import, and their
    data files.

    Modules are followed through their imports. What is hashed are syntax trees without docstrings,
    so comments, docstrings, formatting, outputs and text cells rerun nothing.
    """
    root = find_root()
    source = code_cells(root / notebook)
    digest = hashlib.sha256(_parse(source).meaning.encode())
    for module, module_source in sorted(_imported_modules(source, root, {}).items()):
        digest.update(_parse(module_source).meaning.encode())
        for file in sorted(data_files(module, module_source)):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Source:
    """What a file of code says: its meaning (a hash), the modules that it imports, and its strings
    that are file names, as (stem, suffix)."""

    meaning: str
    imports: tuple[str, ...]
    file_names: tuple[tuple[str, str], ...]


@cache  # every notebook reaches the same modules
def _parse(source: str) -> _Source:
    tree = ast.parse(source)
    imports: list[str] = []
    file_names: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports += _imported_names(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            match = _FILE_NAME.fullmatch(node.value)
            if match:
                file_names.append((match[1], match[2]))
        # docstrings, and notes below a constant, are no part of the meaning
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [statement for statement in body if not _is_lone_string(statement)]
    meaning = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _Source(meaning, tuple(imports), tuple(file_names))


def _imported_names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not node.module:
        return []
    return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]


def _is_lone_string(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Expr):
        return False
    return isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)


def _imported_modules(source: str, root: Path, seen: dict[Path, str]) -> dict[Path, str]:
    """Files and sources of the matchlib modules that a source imports, directly or not.

    Reports are left out: how a page looks changes no result.
    """
    for name in _parse(source).imports:
        path = root / (name.replace(".", "/") + ".py")
        is_ours = name.startswith("matchlib.") and not name.startswith("matchlib.reports")
        if is_ours and path not in seen and path.exists():
            seen[path] = path.read_text(encoding="utf-8")
            _imported_modules(seen[path], root, seen)
    return seen


def data_files(module: Path, source: str) -> Iterator[Path]:
    """The files beside a module that it names: "skills.json", or ".toml" for the one of its own
    name."""
    for stem, suffix in _parse(source).file_names:
        file = module.with_name(f"{stem or module.stem}{suffix}")
        if file.is_file():
            yield file


def git_state() -> tuple[str | None, bool | None]:
    """(commit, whether tracked files have uncommitted changes) of the repository; (None, None)
    outside git.

    Untracked files do not count: logs, downloads and tables of one's own change no code, and
    `code_hash` sees every module that a notebook imports, tracked or not.
    """
    try:
        status = _git("status", "--porcelain", "--untracked-files=no")
        return _git("rev-parse", "HEAD"), bool(status)
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None, None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=find_root(),
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    )
    return done.stdout.strip()
