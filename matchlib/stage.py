"""The contract between notebooks: a stage is a folder that is finished when it holds a manifest.

A notebook opens one Stage, reads its inputs through it, writes into it, and finishes it. Nothing else passes
between notebooks.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import random
import resource
import shutil
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from matchlib import __version__
from matchlib.pipeline import (
    ParameterError,
    check_parameters,
    code_hash,
    find_root,
    git_state,
    input_stages,
    named_files,
    notebook_parameters,
    stage_inputs,
)
from matchlib.recipes import how_to_make

PACKAGES = ("numpy", "pandas", "torch", "transformers", "sentence-transformers", "faiss-cpu", "bm25s", "ir-measures")
_OPEN: dict[Path, Any] = {}


class StageError(RuntimeError):
    """A stage that is missing, unfinished, damaged or in use: which, and what to do."""


def is_finished(folder: Path) -> bool:
    """True if a folder holds a manifest of a stage; another tool's manifest.json is none."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and {"parameters", "inputs", "files"} <= manifest.keys()


class Finished:
    """A finished stage, its files checked against the manifest."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        manifest_file = self.folder / "manifest.json"
        if not manifest_file.exists():
            raise StageError(f"{self.folder} is not a finished stage; {how_to_make(self.folder)}")
        self.manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
        for name, facts in self.manifest["files"].items():
            path = self.folder / name
            if not path.exists() or path.stat().st_size != facts["bytes"] or file_hash(path) != facts["sha256"]:
                raise StageError(f"{path} is not the file that {self.folder.name} wrote; remove {manifest_file}, "
                                 f"then {how_to_make(self.folder)}")

    def table(self, name: str) -> pd.DataFrame:
        """Read the table `name`.parquet."""
        return pd.read_parquet(self.path(f"{name}.parquet"))

    def splits(self, *names: str) -> dict[str, dict[str, pd.DataFrame]]:
        """{split: {name: rows}} of the named tables that the stage wrote; splits without a job are left out."""
        tables = {name: self.table(name) for name in names if self.has(name)}
        return {split: {name: frame[frame["split"] == split].reset_index(drop=True) for name, frame in tables.items()}
                for split in ("train", "valid", "test") if (tables["jobs"]["split"] == split).any()}

    def has(self, name: str) -> bool:
        """True if the stage wrote a table, a file or a folder `name`."""
        return any(file in (name, f"{name}.parquet") or file.startswith(f"{name}/") for file in self.manifest["files"])

    def input(self, name: str) -> Finished:
        """The finished stage that this one read as `name`."""
        return Finished(self.folder / self.manifest["inputs"][name]["path"])

    def path(self, name: str) -> Path:
        """Path of a file or folder that the stage wrote."""
        path = self.folder / name
        if not path.exists():
            raise StageError(f"{self.folder.name} wrote no {name}; it wrote {', '.join(self.manifest['files'])}")
        return path


class Stage:
    """One notebook's work in progress.

    name: the notebook's, e.g. "02_contrastive"; namespace: the notebook's globals(), from which the parameters
    of its parameters cell are taken and checked by name and type.
    Opening moves to the repository's root, loads and checks the inputs, removes what an earlier run left, seeds
    random and numpy from the parameter `seed`, sends log messages to log.txt, and starts the clock. `settings` are the
    parameters that name no stage: what results depend on, wherever a run keeps its folders.
    """

    def __init__(self, name: str, namespace: Mapping[str, Any]):
        os.chdir(find_root())
        self.notebook = Path("notebooks") / f"{name}.ipynb"
        defaults = notebook_parameters(self.notebook)
        self.parameters = {key: namespace[key] for key in defaults}
        check_parameters(name, self.parameters, defaults)
        self.folder = Path(self.parameters.pop("out_dir"))
        self.name = self.folder.name
        if not self.name.startswith(name):
            raise ParameterError(f"out_dir {str(self.folder)!r} must end in {name} or {name}-<arm>, so that reports "
                                 f"can tell the stages apart")
        folders = input_stages(self.parameters, defaults)
        self.settings = {key: value for key, value in self.parameters.items() if key not in folders}
        self.inputs = {key: _open_input(key, folder) for key, folder in stage_inputs(self.parameters, defaults).items()}
        self._take_folder()
        random.seed(self.parameters.get("seed", 1))
        np.random.seed(self.parameters.get("seed", 1))
        self._log = _log_to(self.folder / "log.txt")
        self.started = time.monotonic()

    def _take_folder(self) -> None:
        """Lock the folder for this process, then remove the manifest first and every other stale file."""
        for key, value in self.parameters.items():
            for file in named_files(key, value):
                if self.folder.resolve() in Path(file).resolve().parents:
                    raise StageError(f"{key}: {file} lies in the folder that this stage writes anew; copy it elsewhere "
                                     f"and name the copy")
        self.folder.mkdir(parents=True, exist_ok=True)
        if earlier := _OPEN.pop(self.folder.resolve(), None):
            earlier.close()  # the cell was run again in the same kernel
        lock = (self.folder / ".lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StageError(f"{self.folder} is being written by another process; wait for it or stop it") from None
        _OPEN[self.folder.resolve()] = lock
        (self.folder / "manifest.json").unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.name == ".lock" or path.suffix == ".ipynb":  # papermill is writing the executed notebook
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def __getitem__(self, name: str) -> Finished:
        """The finished stage behind an input parameter."""
        return self.inputs[name]

    @property
    def checkpoints(self) -> Path:
        """Folder beside the stage that survives a kill; one for each set of parameters, inputs and code."""
        parts = [self.parameters, {key: value.manifest["id"] for key, value in self.inputs.items()},
                 code_hash(self.notebook)]
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
        return self.folder.with_name(f"{self.name}.ckpt") / key

    def path(self, name: str) -> Path:
        """Where to write a file of this stage."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_table(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table as `name`.parquet."""
        frame.reset_index(drop=True).to_parquet(self.path(f"{name}.parquet"), index=False)

    def finish(self, metrics: Mapping[str, Any], *, headline: str, device: str = "cpu") -> dict[str, Any]:
        """Hash the files and write manifest.json last, by rename; without it the stage does not exist.

        metrics: numbers or strings for the index; headline: the stage's answer in one sentence.
        Returns the manifest.
        """
        logging.getLogger().removeHandler(self._log)
        self._log.close()
        files = {str(path.relative_to(self.folder)): {"bytes": path.stat().st_size, "sha256": file_hash(path)}
                 for path in sorted(self.folder.rglob("*"))
                 if path.is_file() and path.name != ".lock" and path.suffix != ".ipynb"}
        inputs = {key: {"stage": value.manifest["stage"], "id": value.manifest["id"],
                        "path": os.path.relpath(value.folder, self.folder)} for key, value in self.inputs.items()}
        commit, dirty = git_state()
        # what the stage holds, whenever and wherever it was made: the log has the time in it
        content = {name: facts for name, facts in files.items() if name != "log.txt"}
        manifest = {
            "stage": self.name, "run": self.folder.parent.name, "notebook": self.notebook.stem,
            "parameters": self.parameters, "inputs": inputs, "files": files, "sources": hash_sources(self.parameters),
            "id": hashlib.sha256(json.dumps([self.name, content], sort_keys=True).encode()).hexdigest(),
            "metrics": {key: value.item() if isinstance(value, np.generic) else value
                        for key, value in metrics.items()},
            "headline": headline, "device": device,
            "code": {"version": __version__, "commit": commit, "dirty": dirty, "hash": code_hash(self.notebook)},
            "packages": {name: metadata.version(name) for name in PACKAGES},
            "python": sys.version.split()[0], "seconds": round(time.monotonic() - self.started, 1),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        beside = self.folder / "manifest.json.part"
        beside.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        beside.rename(self.folder / "manifest.json")
        shutil.rmtree(self.folder.with_name(f"{self.name}.ckpt"), ignore_errors=True)
        _OPEN.pop(self.folder.resolve()).close()
        return manifest


def file_hash(path: Path) -> str:
    """sha256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_sources(parameters: Mapping[str, Any]) -> dict[str, str]:
    """sha256 of every file, and of the files of every data folder, that a parameter names, by parameter."""
    hashes = {}
    for key, value in parameters.items():
        files = named_files(key, value)
        if len(files) == 1:
            hashes[key] = file_hash(Path(files[0]))
        elif files:
            hashes[key] = hashlib.sha256("".join(file_hash(Path(file)) for file in files).encode()).hexdigest()
    return hashes


def _open_input(parameter: str, folder: str) -> Finished:
    try:
        return Finished(folder)
    except StageError as problem:
        raise StageError(f"{parameter}: {problem}") from None


def _log_to(path: Path) -> logging.Handler:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("matchlib").setLevel(logging.INFO)
    return handler
