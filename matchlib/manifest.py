"""The manifest that a stage leaves in its folder when it has finished: how it is read and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
_SECTIONS = ("parameters", "inputs", "files", "metrics", "code")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in a stage's folder, with what it leaves unsaid filled in.

    Raises FileNotFoundError if there is none, and ValueError with its path if it is torn or another
    tool's.
    """
    path = Path(folder).resolve() / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path}: not readable as JSON ({problem}); rerun the stage") from problem
    if not isinstance(manifest, dict):
        raise ValueError(
            f"{path}: expected an object, got {type(manifest).__name__}; rerun the stage"
        )
    unsaid = {  # no other stage and no check of files needs these
        "run": path.parent.parent.name,
        "metrics": {},
        "code": {},
        "headline": None,
        "seconds": None,
        "device": "device unknown",
        "finished_at": "time unknown",
    }
    manifest = unsaid | manifest
    if not isinstance(manifest.get("stage"), str):
        raise ValueError(f"{path}: names no stage; rerun the stage")
    for section in _SECTIONS:
        if not isinstance(manifest.get(section), dict):
            raise ValueError(f"{path}: {section} should be an object; rerun the stage")
    for name, facts in manifest["files"].items():
        if not isinstance(facts, dict) or not {"bytes", "sha256"} <= facts.keys():
            raise ValueError(f"{path}: {name} has no bytes and sha256; rerun the stage")
    return manifest
