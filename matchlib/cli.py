"""The command line: matchlib run | sweep | verify | report | check | rank."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated

import pandas as pd
import psutil
import typer
import yaml

from matchlib.data.schema import DataError
from matchlib.failures import why_failed
from matchlib.pipeline import (
    ParameterError,
    RunPlan,
    StagePlan,
    find_root,
    input_stages,
    notebook_parameters,
    parse_yaml,
    plan_run,
    read_params,
)
from matchlib.retrieval.models import EncoderError
from matchlib.stage import StageError, prepare_run, why_outdated
from matchlib.sweep import unfold

UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)
RUN_MARK = "MATCHLIB_RUN"
"""Environment variable that every process of a run carries, so that a later run finds what a kill
left behind."""

ORIGIN = "# made from "
"""Begins a run's params.yaml, before the params file that it was made from."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run the notebooks, check data and results, render reports.",
)
ParamsFile = Annotated[Path, typer.Argument(help="params/*.yaml")]
RunName = Annotated[
    str, typer.Option("--run", help="name of the run's folder in reports/; default: the file's")
]
TextColumns = Annotated[
    list[str], typer.Option(help="columns of table files that make the text; default: text")
]
IdColumn = Annotated[
    str,
    typer.Option(help="column of table files with the id; default: job_id or resume_id, else id"),
]
Prompt = Annotated[
    str,
    typer.Option(help='put before every text, e.g. "query: " for E5; default: the model\'s own'),
]
Changes = Annotated[
    list[str], typer.Option("--set", "-s", help="section.parameter=value, over the file")
]


def main() -> None:
    """Run the app; errors that a user can mend are one sentence on stderr and exit status 1."""
    try:
        app()
    except (ParameterError, DataError, EncoderError, StageError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise SystemExit(1) from None
    except OSError as problem:
        if problem.errno not in UNWRITABLE:
            raise
        typer.echo(
            f"error: {problem.filename or 'a file'}: {problem.strerror}; free some space, or "
            f"work in a copy of this repository that can be written, and set the environment variable "
            f"MATCHLIB_CACHE to a folder for the cache",
            err=True,
        )
        raise SystemExit(1) from None


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


@app.command()
def run(
    params: ParamsFile,
    run_name: RunName = "",
    changes: Changes = None,
    cores: Annotated[int, typer.Option(help="stages at a time; default: all processors")] = 0,
    profile: Annotated[Path, typer.Option(help="Snakemake profile")] = Path("profiles/default"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="only say what would be made, and why")
    ] = False,
) -> None:
    """Run all stages of a params file that are missing or out of date, then render the reports."""
    params = params.resolve()
    os.chdir(find_root())
    plan = load_plan(params, run_name, changes)
    if dry_run:
        _say_what_would_run(plan)
        return
    plan.folder.mkdir(parents=True, exist_ok=True)
    lock = (plan.folder / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ParameterError(
            f"{plan.folder} is being run by another matchlib run; wait for it or stop it"
        ) from None
    origin = origin_of_run(plan, params)
    _end_leftovers(plan)
    outdated = why_outdated(plan)
    for folder, reasons in outdated.items():
        for reason in reasons if (Path(folder) / "manifest.json").exists() else ():
            typer.echo(f"made again: {_without_remedy(reason)}")
    prepare_run(plan)
    resolved = plan.folder / "params.yaml"
    sections = yaml.safe_dump({"run": plan.run, **{s.name: _for_file(s) for s in plan.stages}})
    _write_if_other(resolved, f"{ORIGIN}{origin}\n{sections}")
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--profile",
        str(profile),
        "--cores",
        str(cores or os.cpu_count()),
        "--nolock",  # the lock above outlives no kill; Snakemake's would
        "--rerun-triggers",
        "software-env",  # none of them: no rule names an environment
        "--config",
        f"params={resolved}",
        "started_by=matchlib run",
    ]
    if forced := [*(f"{folder}/manifest.json" for folder in outdated), *_stale_index(plan)]:
        command += ["--forcerun", *forced]
    started = time.time()
    status = subprocess.run(
        command, env=os.environ | {RUN_MARK: str(plan.folder.resolve())}
    ).returncode
    if status:
        for reason in why_failed(plan, since=started):
            typer.echo(f"error: {reason}", err=True)
        raise typer.Exit(status)
    typer.echo(f"report: {plan.folder / 'index.html'}")


@app.command()
def sweep(
    params: ParamsFile,
    run_name: RunName = "",
    changes: Changes = None,
    cores: Annotated[int, typer.Option(help="stages at a time; default: all processors")] = 0,
    profile: Annotated[Path, typer.Option(help="Snakemake profile")] = Path("profiles/default"),
) -> None:
    """Run every arm of a params file with a sweep; arms share what does not vary, and a killed
    sweep goes on."""
    if not read_params(params).get("sweep"):
        raise ParameterError(f"{params} has no sweep: section; run it with: matchlib run {params}")
    run(params, run_name, changes, cores, profile)


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


def _say_what_would_run(plan: RunPlan) -> None:
    reasons = why_outdated(plan)
    for stage in plan.stages:  # inputs come before their users
        again = [Path(folder).name for folder in stage.inputs if folder in reasons]
        if again and stage.folder not in reasons:
            reasons[stage.folder] = [f"{stage.name}: reads {', '.join(again)}"]
    for folder, found in reasons.items():
        name = Path(folder).name
        told = "; ".join(_without_remedy(reason).removeprefix(f"{name}: ") for reason in found)
        typer.echo(f"would make {name}: {told}")
    typer.echo(f"{len(reasons)} of {len(plan.stages)} stages would be made")


def _stale_index(plan: RunPlan) -> list[str]:
    """The run's index page in a list, unless it was made of what there is now."""
    from matchlib.reports.overview import is_rendered

    return [] if is_rendered(plan.folder) else [f"{plan.folder}/index.html"]


def _for_file(stage: StagePlan) -> dict:
    """A stage's parameters as a params file holds them: no out_dir, inputs by their section's name."""
    inputs = input_stages(stage.parameters, stage.notebook)

    def shorten(value):
        if isinstance(value, dict):
            return {key: shorten(below) for key, below in value.items()}
        return Path(value).name

    return {
        key: shorten(value) if key in inputs else value
        for key, value in stage.parameters.items()
        if key != "out_dir"
    }


def _write_if_other(path: Path, text: str) -> None:
    """Write a text file beside and renamed, unless it holds the text already."""
    if path.exists() and path.read_bytes() == text.encode():
        return
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _end_leftovers(plan: RunPlan) -> None:
    """End processes of an earlier, killed run of the same folder, so that nothing writes beside
    this one."""
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
        typer.echo(f"ended {len(left)} processes that an earlier run left behind")


@app.command()
def verify(params: ParamsFile, run_name: RunName = "", changes: Changes = None) -> None:
    """Compare every stage's manifest with the params file, the code and the files on disk."""
    params = params.resolve()
    os.chdir(find_root())
    plan = load_plan(params, run_name, changes)
    problems = [reason for reasons in why_outdated(plan, stop=False).values() for reason in reasons]
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    typer.echo(f"{plan.folder}: {len(plan.stages)} stages, {len(problems)} problems")
    raise typer.Exit(1 if problems else 0)


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="one run to render, or several to compare")],
    zipped: Annotated[
        bool, typer.Option("--zip", help="put the pages into one file to mail")
    ] = False,
) -> None:
    """Render a run's notebooks and index as HTML; with several runs, compare them side by side."""
    from matchlib.reports import render

    os.chdir(find_root())
    runs = [run.rstrip("/").removeprefix("reports/") for run in runs]  # as the shell completes them
    folders = [Path("reports") / run for run in runs]
    for folder in folders:
        if not any(folder.glob("*/manifest.json")):
            known = sorted(
                {path.parent.parent.name for path in Path("reports").glob("*/*/manifest.json")}
            )
            raise ParameterError(
                f"{folder} holds no finished stage; the runs are {', '.join(known) or 'none'}"
            )
    if len(folders) > 1:
        page = render.compare_runs(folders, Path("reports") / f"{'_vs_'.join(runs)}.html")
        typer.echo(render.zip_pages([page], page.with_suffix(".zip")) if zipped else page)
        return
    pages, notes = render.render_run(folders[0])
    for note in notes:
        typer.echo(note, err=True)
    page = render.zip_pages(pages, folders[0].with_suffix(".zip")) if zipped else pages[0]
    typer.echo(page)


@app.command()
def check(params: ParamsFile) -> None:
    """Validate the data that a params file names and print what was found; nothing is run or
    written."""
    from matchlib.data.readers import read_source
    from matchlib.data.rules import describe_unmatched_cities, rules_by_name
    from matchlib.data.splits import require_no_leaks
    from matchlib.data.summary import describe

    params = params.resolve()
    os.chdir(find_root())
    plan = load_plan(params, "check")  # a file may have any name where nothing is run
    stage = next((s for s in plan.stages if s.notebook.stem == "01_data_rules"), None)
    if stage is None:
        raise ParameterError(f"{params}: no section 01_data_rules, so there is no data to check")
    started = time.monotonic()
    parameters = {**notebook_parameters(stage.notebook), **stage.parameters}
    reading = read_source(parameters)
    tables = reading.tables
    for rule in rules_by_name(parameters["rule_names"]).values():
        rule.holds(
            tables["jobs"].head(1), tables["resumes"].head(1)
        )  # raises where a column is missing
    require_no_leaks(tables)
    cities = (
        describe_unmatched_cities(tables["jobs"], tables["resumes"])
        if "place" in parameters["rule_names"]
        else []
    )
    for line in [*reading.notes, *describe(tables), *cities]:
        typer.echo(line)
    for row in reading.reasons().to_dict("records"):
        typer.echo(
            f"left out: {row['rows']:,} rows of {row['file']}: {row['reason']} (lines {row['lines']})"
        )
    typer.echo(f"ok: the data can be used ({time.monotonic() - started:.1f} s)")


def check_outputs(outputs: Mapping[str, Path], inputs: Mapping[str, Path]) -> None:
    """Raise DataError where an output cannot be written, or would replace an input or another
    output.

    outputs, inputs: paths by option, e.g. {"--out": ...}. Links are followed, and hard links are
    the same file. Pipes and devices are written as they are.
    """
    files = {name: path for name, path in outputs.items() if _is_file_or_free(path)}
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


def _is_file_or_free(path: Path) -> bool:
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


@app.command()
def rank(  # noqa: PLR0913 - one argument an option
    model: Annotated[
        str, typer.Option(help="a stage's folder, an encoder's folder, a hub id, endpoint:<model>")
    ],
    jobs: Annotated[
        Path,
        typer.Option(help="file or folder: .txt .md .html .pdf .docx .csv .tsv .jsonl .parquet"),
    ],
    resumes: Annotated[Path, typer.Option(help="the same")],
    out: Annotated[
        Path, typer.Option(help="CSV file to write; ids that begin with = + - @ get a ' in front")
    ],
    direction: Annotated[
        str, typer.Option(help="rank resumes for each job, or jobs for each resume")
    ] = "resumes",
    top: Annotated[int, typer.Option(min=1, help="candidates listed for each query")] = 20,
    constraints: Annotated[
        str, typer.Option("--require", help="rules that must hold, e.g. place,seniority")
    ] = "",
    explain: Annotated[
        bool, typer.Option(help="say why: skills, years, place, nearest sentences")
    ] = True,
    trec: Annotated[Path, typer.Option(help="also write a TREC run here")] = None,
    strict: Annotated[
        bool, typer.Option(help="exit with 2 if any document was left out, or read in part")
    ] = False,
    job_text: TextColumns = None,
    job_id: IdColumn = "",
    resume_text: TextColumns = None,
    resume_id: IdColumn = "",
    job_prompt: Prompt = None,
    resume_prompt: Prompt = None,
    encoding: Annotated[str, typer.Option(help="of files that are not UTF-8, e.g. cp1252")] = "",
) -> None:
    """Rank documents of your own with an encoder and write a list that says why; what cannot be
    read is named."""
    from matchlib.data.documents import read_documents

    if direction not in ("resumes", "jobs"):
        raise DataError(f"--direction {direction!r} is neither resumes nor jobs")
    check_outputs(
        {name: path for name, path in (("--out", out), ("--trec", trec)) if path},
        {"--jobs": jobs, "--resumes": resumes, "--model": Path(model)},
    )
    readings = [
        read_documents(
            jobs, "jobs", columns={"job_id": job_id, "text": job_text}, encoding=encoding
        ),
        read_documents(
            resumes,
            "resumes",
            columns={"resume_id": resume_id, "text": resume_text},
            encoding=encoding,
        ),
    ]
    left_out = pd.concat([reading.left_out for reading in readings])
    to_stderr = not _is_file_or_free(out)  # the list may go to where the notes go
    for reading in readings:
        typer.echo(reading.notes[0], err=to_stderr)
    for file, line, reason in left_out.itertuples(index=False):
        typer.echo(f"left out: {file}{line and f', line {line}'}: {reason}", err=True)
    missing = pd.concat([reading.missing for reading in readings])
    for file, line, reason in missing.itertuples(index=False):
        typer.echo(f"read in part: {file}{line and f', line {line}'}: {reason}", err=True)
    # after the files were read: a wrong path is told at once
    from matchlib.rank import RankRequest, open_ranker, rank_files

    rules = [name.strip() for name in constraints.split(",") if name.strip()]
    request = RankRequest(task=f"rank_{direction}", top=top, rules=rules, explain=explain)
    ranker = open_ranker(model, job_prompt=job_prompt, resume_prompt=resume_prompt)
    tables = (readings[0].tables["jobs"], readings[1].tables["resumes"])
    for note in rank_files(*tables, ranker, request, out=out, trec=trec):
        typer.echo(note, err=to_stderr)
    raise typer.Exit(2 if strict and len(left_out) + len(missing) else 0)


if __name__ == "__main__":
    main()
