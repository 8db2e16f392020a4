"""The contract between notebooks: a stage is a folder that is finished when it holds a manifest.

A notebook opens one Stage, reads its inputs through it, writes into it, and finishes it. Nothing
else passes between notebooks.
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
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from matchlib import __version__
from matchlib.manifest import read_manifest
from matchlib.pipeline import (
    ParameterError,
    RunPlan,
    StagePlan,
    check_parameters,
    find_root,
    injected_names,
    named_files,
    notebook_inputs,
    notebook_parameters,
    stage_inputs,
)
from matchlib.provenance import code_hash, git_state
from matchlib.recipes import how_to_make

PACKAGES = (
    "numpy",
    "pandas",
    "torch",
    "transformers",
    "sentence-transformers",
    "faiss-cpu",
    "bm25s",
    "ir-measures",
)
JOURNAL = ".stage"
"""The file in which a stage lists what it writes: a folder without it, or with other files, is not
the stage's own."""
_OPEN: dict[Path, Any] = {}


class StageError(RuntimeError):
    """A stage that is missing, unfinished, damaged or in use: which, and what to do."""


class UnfinishedError(StageError):
    """A stage that has to be made, and can be without a loss: it or a file of it is missing."""


def is_finished(folder: Path) -> bool:
    """True if a folder holds a manifest of a stage; another tool's manifest.json is none."""
    try:
        read_manifest(folder)
    except (OSError, ValueError):
        return False
    return True


class Finished:
    """A finished stage, its files checked against the manifest."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        manifest_file = self.folder / "manifest.json"
        if not manifest_file.exists():
            raise UnfinishedError(
                f"{self.folder} is not a finished stage; {how_to_make(self.folder)}"
            )
        try:
            self.manifest = read_manifest(self.folder)
        except ValueError:
            raise UnfinishedError(
                f"{manifest_file} ({manifest_file.stat().st_size} bytes) is damaged or no manifest "
                f"of a stage; {how_to_make(self.folder)}"
            ) from None
        for name, facts in self.manifest["files"].items():
            path = self.folder / name
            if not path.exists():
                raise UnfinishedError(
                    f"{path}, which {self.folder.name} wrote, is missing; {how_to_make(self.folder)}"
                )
            if path.stat().st_size != facts["bytes"] or file_hash(path) != facts["sha256"]:
                raise StageError(
                    f"{path} is not the file that {self.folder.name} wrote; copy it if the change is "
                    f"yours, remove {manifest_file}, then {how_to_make(self.folder)}"
                )

    def table(self, name: str) -> pd.DataFrame:
        """Read the table `name`.parquet."""
        return pd.read_parquet(self.path(f"{name}.parquet"))

    def splits(self, *names: str) -> dict[str, dict[str, pd.DataFrame]]:
        """{split: {name: rows}} of the named tables that the stage wrote; splits without a job are
        left out."""
        tables = {name: self.table(name) for name in names if self.has(name)}
        return {
            split: {
                name: frame[frame["split"] == split].reset_index(drop=True)
                for name, frame in tables.items()
            }
            for split in ("train", "valid", "test")
            if (tables["jobs"]["split"] == split).any()
        }

    def has(self, name: str) -> bool:
        """True if the stage wrote a table, a file or a folder `name`."""
        return any(
            file in (name, f"{name}.parquet") or file.startswith(f"{name}/")
            for file in self.manifest["files"]
        )

    def input(self, name: str) -> Finished:
        """The finished stage that this one read as `name`."""
        return Finished(self.folder / self.manifest["inputs"][name]["path"])

    @property
    def inputs(self) -> dict[str, Finished]:
        """The finished stages that this one read, by name."""
        return {name: self.input(name) for name in self.manifest["inputs"]}

    def path(self, name: str) -> Path:
        """Path of a file or folder that the stage wrote."""
        path = self.folder / name
        if not path.exists():
            raise StageError(
                f"{self.folder.name} wrote no {name}; it wrote {', '.join(self.manifest['files'])}"
            )
        return path


class Stage:
    """One notebook's work in progress.

    name: the notebook's, e.g. "02_contrastive"; namespace: the notebook's globals(), from which the
    parameters of its parameters cell are taken and checked by name and type; inputs: the parameters
    that name the stages which it reads. Runs are planned by that list, which
    `pipeline.notebook_inputs` reads from the notebook's source. Opening moves to the repository's
    root, loads and checks the inputs, removes what an earlier run left, seeds random and numpy from
    the parameter `seed`, sends log messages to log.txt, and starts the clock. `settings` are the
    parameters that name no stage: what results depend on, wherever a run keeps its folders.
    """

    def __init__(self, name: str, namespace: Mapping[str, Any], *, inputs: Sequence[str] = ()):
        os.chdir(find_root())
        self.notebook = Path("notebooks") / f"{name}.ipynb"
        defaults = notebook_parameters(self.notebook)
        check_parameters(
            name, {key: namespace.get(key) for key in injected_names(namespace)}, defaults
        )
        self.parameters = {key: namespace[key] for key in defaults}
        check_parameters(name, self.parameters, defaults)
        self.folder = Path(self.parameters.pop("out_dir"))
        self.name = self.folder.name
        if not self.name.startswith(name):
            raise ParameterError(
                f"out_dir {str(self.folder)!r} must end in {name} or {name}-<arm>, so that reports "
                f"can tell the stages apart"
            )
        if set(inputs) != set(notebook_inputs(self.notebook)):
            raise ParameterError(
                f"{self.notebook} was changed since it was opened: its inputs are "
                f"{', '.join(notebook_inputs(self.notebook))}; open it again"
            )
        self.settings = {key: value for key, value in self.parameters.items() if key not in inputs}
        folders = stage_inputs(self.parameters, self.notebook)
        self.inputs = {key: _open_input(key, folder) for key, folder in folders.items()}
        self._take_folder()
        random.seed(self.parameters.get("seed", 1))
        np.random.seed(self.parameters.get("seed", 1))
        self._log = _log_to(self.folder / "log.txt")
        self.started = time.monotonic()

    def _take_folder(self) -> None:
        """Lock the folder for this process, then remove the manifest first and every other stale
        file.

        Only what a stage of this name listed in its journal or manifest is removed; with other
        files in it the folder is somebody else's. Hidden files stay, and are no part of the stage.
        """
        for key, value in self.parameters.items():
            for file in named_files(key, value):
                if self.folder.resolve() in Path(file).resolve().parents:
                    raise StageError(
                        f"{key}: {file} lies in the folder that this stage writes anew; copy it elsewhere "
                        f"and name the copy"
                    )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _own_files(self.folder)  # a folder of somebody else's gets no lock either
            if earlier := _OPEN.pop(self.folder.resolve(), None):
                earlier.close()  # the cell was run again in the same kernel
            lock = (self.folder / ".lock").open("a")
        except OSError as problem:
            raise StageError(
                f"{self.folder} cannot be written ({problem.strerror}); free some space, or work in "
                f"a copy of this repository that can be written, and set the environment variable "
                f"MATCHLIB_CACHE to a folder for the cache"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StageError(
                f"{self.folder} is being written by another process; wait for it or stop it"
            ) from None
        _OPEN[self.folder.resolve()] = lock
        stale = _own_files(self.folder)
        _write_journal(self.folder, [self.name, *sorted(stale)])
        (self.folder / "manifest.json").unlink(missing_ok=True)
        for name in stale:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(
                missing_ok=True
            )
        self._written = {"log.txt"}
        _write_journal(self.folder, [self.name, "log.txt"])

    def __getitem__(self, name: str) -> Finished:
        """The finished stage behind an input parameter."""
        return self.inputs[name]

    @property
    def checkpoints(self) -> Path:
        """Folder beside the stage that survives a kill; one for each set of parameters, inputs and
        code."""
        parts = [
            self.parameters,
            {key: value.manifest["id"] for key, value in self.inputs.items()},
            code_hash(self.notebook),
        ]
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
        return self.folder.with_name(f"{self.name}.ckpt") / key

    def path(self, name: str) -> Path:
        """Where to write a file of this stage."""
        path = self.folder / name
        own = Path(name).parts[0]
        if own not in self._written:
            self._written.add(own)
            with (self.folder / JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(f"{own}\n")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_table(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table as `name`.parquet."""
        frame.reset_index(drop=True).to_parquet(self.path(f"{name}.parquet"), index=False)

    def finish(
        self, metrics: Mapping[str, Any], *, headline: str, device: str = "cpu"
    ) -> dict[str, Any]:
        """Hash the files and write manifest.json last, by rename; without it the stage does not
        exist.

        metrics: numbers or strings for the index; headline: the stage's answer in one sentence.
        Returns the manifest.
        """
        logging.getLogger().removeHandler(self._log)
        self._log.close()
        files = {
            str(path.relative_to(self.folder)): {
                "bytes": path.stat().st_size,
                "sha256": file_hash(path),
            }
            for name in sorted(self._written)
            for path in _files_of(self.folder / name)
        }
        inputs = {
            key: {
                "stage": value.manifest["stage"],
                "id": value.manifest["id"],
                "path": os.path.relpath(value.folder, self.folder),
            }
            for key, value in self.inputs.items()
        }
        commit, dirty = git_state()
        # what the stage holds, whenever and wherever it was made: the log has the time in it
        content = {name: facts for name, facts in files.items() if name != "log.txt"}
        manifest = {
            "stage": self.name,
            "run": self.folder.parent.name,
            "notebook": self.notebook.stem,
            "parameters": self.parameters,
            "inputs": inputs,
            "files": files,
            "sources": hash_sources(self.parameters),
            "id": hashlib.sha256(
                json.dumps([self.name, content], sort_keys=True).encode()
            ).hexdigest(),
            "metrics": {
                key: value.item() if isinstance(value, np.generic) else value
                for key, value in metrics.items()
            },
            "headline": headline,
            "device": device,
            "code": {
                "version": __version__,
                "commit": commit,
                "dirty": dirty,
                "hash": code_hash(self.notebook),
            },
            "packages": {name: metadata.version(name) for name in PACKAGES},
            "python": sys.version.split()[0],
            "seconds": round(time.monotonic() - self.started, 1),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        beside = self.folder / "manifest.json.part"
        beside.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        beside.rename(self.folder / "manifest.json")
        shutil.rmtree(self.folder.with_name(f"{self.name}.ckpt"), ignore_errors=True)
        _OPEN.pop(self.folder.resolve()).close()
        return manifest


def _files_of(path: Path) -> list[Path]:
    return (
        sorted(file for file in path.rglob("*") if file.is_file())
        if path.is_dir()
        else [path] * path.is_file()
    )


def _write_journal(folder: Path, lines: list[str]) -> None:
    beside = folder / f"{JOURNAL}.part"
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(folder / JOURNAL)


def _own_files(folder: Path) -> set[str]:
    """Names of what a stage of this name left in the folder; StageError where it holds anything
    else.

    Hidden files and notebooks, one of which papermill is writing, are neither.
    """
    own = {f"{folder.name}.html"}
    journal = folder / JOURNAL
    lines = (
        journal.read_text(encoding="utf-8", errors="replace").splitlines()
        if journal.exists()
        else []
    )
    stage, *names = lines or [""]  # of zero bytes after a kill or on a full disk
    if stage == folder.name:
        own |= {*names, "manifest.json"}
    if is_finished(folder) and (manifest := read_manifest(folder)).get("stage") == folder.name:
        own |= {*(Path(name).parts[0] for name in manifest["files"]), "manifest.json"}
    own |= {f"{name}.part" for name in own}  # what a kill leaves
    others = sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in own and path.suffix != ".ipynb" and not path.name.startswith(".")
    )
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise StageError(
            f"{folder} holds {', '.join(others[:3])}{more}, which the stage {folder.name} did not write, "
            f"and the stage writes its folder anew; move that elsewhere, or remove it"
        )
    return {name for name in own if os.path.lexists(folder / name)}


def prepare_run(plan: RunPlan) -> None:
    """Make the stages that are there ready for Snakemake, which removes a manifest before it makes
    its stage anew.

    A stage without a journal gets one, since its manifest, which lists the files, goes: copies
    often lack hidden files, and earlier versions wrote none. A manifest of a date in the future
    gets today's: Snakemake takes it for a fault of the clock, and stops.
    """
    for folder in (Path(stage.folder) for stage in plan.stages):
        if not is_finished(folder):
            continue
        if not (folder / JOURNAL).exists():
            manifest = read_manifest(folder)
            names = sorted({Path(name).parts[0] for name in manifest["files"]})
            _write_journal(folder, [str(manifest.get("stage")), *names])
        if (folder / "manifest.json").stat().st_mtime > time.time():
            os.utime(folder / "manifest.json")


def file_hash(path: Path) -> str:
    """sha256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_sources(
    parameters: Mapping[str, Any], known: dict[str, str] | None = None
) -> dict[str, str]:
    """sha256 of every file, and of names and files of every data or model folder, that a parameter
    names, by parameter.

    known: hashes by file that were taken a moment ago, to which those taken now are added.
    """
    known = {} if known is None else known
    hashes = {}
    for key, value in parameters.items():
        files = named_files(key, value)
        known |= {file: file_hash(Path(file)) for file in files if file not in known}
        if files == [value]:
            hashes[key] = known[value]
        elif files:
            parts = [f"{file}\0{known[file]}\0" for file in files]
            hashes[key] = hashlib.sha256(
                "".join(parts).encode("utf-8", "surrogateescape")
            ).hexdigest()
    return hashes


def why_outdated(plan: RunPlan, *, stop: bool = True) -> dict[str, list[str]]:
    """By folder, for every stage of a plan that is missing or was not made of what there is now,
    the reasons.

    A stage is judged by its manifest: its parameters, its code, the content of the files that it
    names and wrote, and the ids of the stages that it read. Dates are not looked at. stop: raise
    StageError where somebody changed a file that a stage wrote, which making it anew would destroy;
    else that is one of the reasons.
    """
    reasons: dict[str, list[str]] = {}
    ids: dict[str, str] = {}
    known: dict[str, str] = {}  # stages often name the same file
    for stage in plan.stages:
        try:
            manifest = Finished(stage.folder).manifest
            found = _differences(stage, manifest, ids, known)
            ids[stage.folder] = manifest["id"]
        except StageError as problem:
            if stop and not isinstance(problem, UnfinishedError):
                raise
            found = [str(problem)]
        except KeyError as missing:
            found = [f"{stage.name}: its manifest has no {missing}; run it again"]
        if found:
            reasons[stage.folder] = found
    return reasons


def _differences(
    stage: StagePlan, manifest: Mapping[str, Any], ids: Mapping[str, str], known: dict[str, str]
) -> list[str]:
    """How a stage's manifest differs from the plan, the code, the files and the stages (id by
    folder) of now.

    known: see `hash_sources`.
    """
    defaults = notebook_parameters(stage.notebook)
    wanted = {**defaults, **stage.parameters}
    inputs = stage_inputs(wanted, stage.notebook)
    wanted.pop("out_dir")
    found = [
        f"{stage.name}: {key} is {manifest['parameters'].get(key)!r}, the params file says {value!r}"
        for key, value in wanted.items()
        if manifest["parameters"].get(key) != value
    ]
    if manifest["code"]["hash"] != code_hash(stage.notebook):
        found.append(f"{stage.name}: was made by other code; run it again")
    before, now = manifest["sources"], hash_sources(wanted, known)
    found += [
        f"{stage.name}: {wanted.get(key)} has changed since; run it again"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    for key, value in manifest["inputs"].items():
        if ids.get(inputs.get(key)) != value["id"]:
            found.append(f"{stage.name}: {value['stage']} was made again since; run it again")
    return found


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
