"""Where results may be written: never over an input, another output, or a device."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from matchlib.data.schema import DataError


def check_outputs(outputs: Mapping[str, Path], inputs: Mapping[str, Path]) -> None:
    """Raise DataError where an output cannot be written, or would replace an input or another
    output.

    outputs, inputs: paths by option, e.g. {"--out": ...}. Links are followed, and hard links are
    the same file. Pipes and devices are written as they are.
    """
    files = {name: path for name, path in outputs.items() if is_file_or_free(path)}
    for name, path in files.items():
        target = path.resolve()
        if not target.parent.is_dir():
            raise DataError(f"{name} {path}: there is no folder {target.parent}; make it first")
        for other, given in inputs.items():
            if _is_same(target, given):
                raise DataError(
                    f"{name} {path} is what {other} names, and would replace it; name another file"
                )
            if given.is_dir() and given.resolve() in target.parents:
                raise DataError(
                    f"{name} {path} lies in the folder that {other} names, and would become a part of it; "
                    f"name a file elsewhere"
                )
        try:  # before the hours that encoding may take
            with tempfile.TemporaryFile(dir=target.parent):
                pass
        except OSError as problem:
            raise DataError(
                f"{name} {path} cannot be written: {problem.strerror}; name another folder"
            ) from None
    for name, other in combinations(files, 2):
        if _is_same(files[name], files[other]):
            raise DataError(
                f"{name} {files[name]} and {other} {files[other]} are one file, and one would replace the "
                f"other; name two"
            )


def is_file_or_free(path: Path) -> bool:
    """Whether a path is a file or can become one; DataError if it is a folder."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it, e.g. {path / 'ranked.csv'}")
    return not (
        path.is_relative_to("/dev")
        or path.is_relative_to("/proc")
        or (path.exists() and not path.is_file())
    )


def _is_same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()
