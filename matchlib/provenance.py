"""What code made a result: the hash that decides what is made again, and the commit."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
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
    digest = hashlib.sha256(_meaning(source).encode())
    for module in sorted(_imported_modules(source, root, set())):
        module_source = module.read_text(encoding="utf-8")
        digest.update(_meaning(module_source).encode())
        for file in sorted(data_files(module, module_source)):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _meaning(source: str) -> str:
    """The syntax tree of a source as text, without docstrings and strings that stand alone (notes
    on a constant)."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [statement for statement in body if not _is_lone_string(statement)]
    return ast.dump(tree)


def _is_lone_string(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Expr):
        return False
    return isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)


def _imported_modules(source: str, root: Path, seen: set[Path]) -> set[Path]:
    """Files of the matchlib modules that a source imports, directly or not.

    Reports are left out: how a page looks changes no result.
    """
    for name in _imported_names(source):
        path = root / (name.replace(".", "/") + ".py")
        is_ours = name.startswith("matchlib.") and not name.startswith("matchlib.reports")
        if is_ours and path.exists() and path not in seen:
            seen.add(path)
            _imported_modules(path.read_text(encoding="utf-8"), root, seen)
    return seen


def _imported_names(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def data_files(module: Path, source: str) -> Iterator[Path]:
    """The files beside a module that it names: "skills.json", or ".toml" for the one of its own
    name."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if match := _FILE_NAME.fullmatch(node.value):
            stem, suffix = match.groups()
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
