"""Running the stages of a plan by Snakemake, one run of a folder at a time."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from matchlib.failures import why_failed
from matchlib.pipeline import (
    ParameterError,
    RunPlan,
    StagePlan,
    input_stages,
    parse_yaml,
    plan_run,
    read_params,
)
from matchlib.stage import prepare_run, why_outdated
from matchlib.sweep import unfold

RUN_MARK = "MATCHLIB_RUN"
"""Environment variable that every process of a run carries, so that a later run finds what a kill
left behind."""

ORIGIN = "# made from "
"""Begins a run's params.yaml, before the params file that it was made from."""


@dataclass(frozen=True)
class Status:
    """How a run ended: Snakemake's exit status, and why each failed stage did."""

    code: int
    reasons: list[str] = field(default_factory=list)


def load_plan(params: Path, run: str = "", changes: list[str] | None = None) -> RunPlan:
    """Read a params file, apply `section.parameter=value` changes, and check it against the
    notebooks."""
    raw = read_params(params)
    for change in changes or []:
        place, _, value = change.partition("=")
        section, _, name = place.partition(".")
        if section not in raw or section in ("run", "sweep") or not name or "=" not in change:
            raise ParameterError(
                f"--set {change}: write section.parameter=value with a section of {params}"
            )
        raw[section] = {**(raw[section] or {}), name: parse_yaml(value, f"--set {change}")}
    if run:
        raw["run"] = run
    return plan_run(unfold(raw, source=str(params)), source=str(params))


def start(
    plan: RunPlan, params: Path, *, cores: int, profile: Path, say: Callable[[str], object]
) -> Status:
    """Make the stages of a plan that are missing or out of date, and its pages.

    params: the file that the plan was made from; cores: stages at a time, 0 for all processors;
    profile: Snakemake's; say: takes what the user should know on the way.
    Raises ParameterError where the folder is being run, or holds the run of another params file.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    # held until this process ends
    lock = (plan.folder / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ParameterError(
            f"{plan.folder} is being run by another matchlib run; wait for it or stop it"
        ) from None
    resolved = plan.folder / "params.yaml"
    origin = origin_of_run(plan, params)
    if n_ended := _end_leftovers(plan):
        say(f"ended {n_ended} processes that an earlier run left behind")
    outdated = why_outdated(plan)
    for folder, reasons in outdated.items():
        if (Path(folder) / "manifest.json").exists():
            for reason in reasons:
                say(f"made again: {_without_remedy(reason)}")
    prepare_run(plan)
    sections = {"run": plan.run}
    for stage in plan.stages:
        sections[stage.name] = _for_file(stage)
    _write_if_other(resolved, f"{ORIGIN}{origin}\n{yaml.safe_dump(sections)}")
    forced = [f"{folder}/manifest.json" for folder in outdated] + _stale_index(plan)
    if not forced:
        say(f"nothing has changed: {len(plan.stages)} stages and their pages are as they were made")
        return Status(0)
    command = _snakemake(resolved, forced, cores=cores, profile=profile)
    started = time.time()
    environment = os.environ | {RUN_MARK: str(plan.folder.resolve())}
    with _ended_with_us(plan):
        code = subprocess.run(command, env=environment).returncode
    lock.close()
    return Status(code, why_failed(plan, since=started) if code else [])


def _snakemake(resolved: Path, forced: list[str], *, cores: int, profile: Path) -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--profile", str(profile)]
    command += ["--cores", str(cores or os.cpu_count())]
    command += ["--nolock"]  # our lock outlives no kill; Snakemake's would
    command += ["--rerun-triggers", "software-env"]  # none of them: no rule names an environment
    command += ["--config", f"params={resolved}", "started_by=matchlib run"]
    command += ["--forcerun", *forced]
    return command


def origin_of_run(plan: RunPlan, params: Path) -> Path:
    """The params file that a run is made from; ParameterError where it was made from another that
    is still there."""
    resolved = plan.folder / "params.yaml"
    if not resolved.exists():
        return _from_here(params)
    first_line = resolved.read_text(encoding="utf-8").partition("\n")[0]
    origin = (
        Path(first_line.removeprefix(ORIGIN))
        if first_line.startswith(ORIGIN)
        else _from_here(params)
    )
    if resolved.samefile(params):
        return origin
    if origin.exists() and not origin.samefile(params):
        raise ParameterError(
            f"{plan.folder} holds the run of {origin}, and {_from_here(params)} would replace it; "
            f"give one of the two a name of its own: --run NAME, or run: NAME in the file"
        )
    return _from_here(params)


def _from_here(path: Path) -> Path:
    """A path below the working folder relative to it, others as they are."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _without_remedy(reason: str) -> str:
    """A reason why a stage is outdated, without what to do: the run that says it does that."""
    return re.sub("; (run it again|(make it with|no params file|params/).*)$", "", reason)


def describe_outdated(plan: RunPlan) -> Iterator[str]:
    """What a run would make, and why, a sentence at a time."""
    reasons = why_outdated(plan)
    for stage in plan.stages:  # inputs come before their users
        again = [Path(folder).name for folder in stage.inputs if folder in reasons]
        if again and stage.folder not in reasons:
            reasons[stage.folder] = [f"{stage.name}: reads {', '.join(again)}"]
    for folder, found in reasons.items():
        name = Path(folder).name
        told = [_without_remedy(reason).removeprefix(f"{name}: ") for reason in found]
        yield f"would make {name}: {'; '.join(told)}"
    yield f"{len(reasons)} of {len(plan.stages)} stages would be made"


def _stale_index(plan: RunPlan) -> list[str]:
    """The run's index page in a list, unless it was made of what there is now."""
    from matchlib.reports.overview import is_rendered

    return [] if is_rendered(plan.folder) else [f"{plan.folder}/index.html"]


def _for_file(stage: StagePlan) -> dict:
    """A stage's parameters as a params file holds them: no out_dir, inputs by their section's name."""
    inputs = input_stages(stage.parameters, stage.notebook)
    section = {}
    for key, value in stage.parameters.items():
        if key != "out_dir":
            section[key] = _section_names(value) if key in inputs else value
    return section


def _section_names(value: str | dict) -> str | dict:
    """The section behind a stage's folder, or behind each of a dict of folders."""
    if isinstance(value, dict):
        return {key: _section_names(below) for key, below in value.items()}
    return Path(value).name


def _write_if_other(path: Path, text: str) -> None:
    """Write a text file beside and renamed, unless it holds the text already."""
    if path.exists() and path.read_bytes() == text.encode():
        return
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


@contextmanager
def _ended_with_us(plan: RunPlan) -> Iterator[None]:
    """On SIGTERM, as of `kill` or a cluster, end the run's processes too: Snakemake would first finish
    what it does."""

    def end(signum: int, frame: object) -> None:
        _end_leftovers(plan)
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_leftovers(plan: RunPlan) -> int:
    """End processes of an earlier, killed run of the same folder, so that nothing writes beside
    this one; returns how many."""
    mark = str(plan.folder.resolve())
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_MARK) == mark and process.pid != os.getpid():
                process.kill()
                left.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue  # not ours, or gone already
    if left:
        psutil.wait_procs(left, timeout=30)
    return len(left)
