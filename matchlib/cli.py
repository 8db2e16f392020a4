"""The command line: matchlib run | sweep | verify | claims | report | check | embed | rank | extract |
edit."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from matchlib.claims import CONFIRMED, chosen, read_claims, record
from matchlib.claims import verify as verify_runs
from matchlib.data.schema import DataError
from matchlib.pipeline import (
    ParameterError,
    find_root,
    notebook_parameters,
    read_params,
)
from matchlib.provenance import git_state
from matchlib.ranking.command import rank
from matchlib.ranking.embed_command import embed
from matchlib.retrieval.models import EncoderError
from matchlib.runs import describe_outdated, load_plan, start
from matchlib.stage import StageError, why_outdated

UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)
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
        for line in describe_outdated(plan):
            typer.echo(line)
        return
    status = start(plan, params, cores=cores, profile=profile, say=typer.echo)
    if status.reasons:
        for reason in status.reasons:
            typer.echo(f"error: {reason}", err=True)
    if status.code:
        raise typer.Exit(status.code)
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


claims_app = typer.Typer(invoke_without_command=True, help="List claims, or run what shows them.")
app.add_typer(claims_app, name="claims")


@claims_app.callback()
def list_claims(context: typer.Context) -> None:
    """List what claims.yaml says, or verify it."""
    if context.invoked_subcommand:
        return
    os.chdir(find_root())
    for claim in read_claims():
        figure = f"{claim.expected:+.3f}, no interval"
        if claim.interval:
            low, high = claim.interval
            figure = f"{claim.expected:+.3f} [{low:+.3f}, {high:+.3f}]"
        baseline = claim.figure.row.get("baseline") if claim.verdict else None
        against = f" (against {baseline})" if baseline else ""
        typer.echo(
            f"{claim.id}  {claim.paper}: {claim.claim}{against}. {figure} "
            f"({claim.verdict or 'one run'}), {claim.minutes:g} min, {claim.confirmed}"
        )
    typer.echo(
        "\nFigure [95% interval] (verdict over market seeds, after Holm's adjustment), minutes, commit "
        "and hardware of the last confirmation. matchlib claims verify C7 runs what shows one."
    )


@claims_app.command("verify")
def verify_claims(
    ids: Annotated[list[str], typer.Argument(help="e.g. C7; none: all that are short")] = None,
    minutes: Annotated[float, typer.Option(help="without ids: what takes so long at most")] = 5.0,
    changes: Changes = None,
    cores: Annotated[int, typer.Option(help="stages at a time; default: all processors")] = 0,
    profile: Annotated[Path, typer.Option(help="Snakemake profile")] = Path("profiles/default"),
    keep: Annotated[str, typer.Option("--record", help="hardware; note commit and this")] = "",
) -> None:
    """Run what claims rest on, and say of each whether it is confirmed, changed or broken."""
    os.chdir(find_root())
    commit, is_dirty = git_state()
    if keep and (is_dirty or not commit):
        raise ParameterError("--record notes a commit, and files here are not committed")
    picked = chosen(read_claims(), ids or [], minutes=minutes)
    outcomes = verify_runs(picked, changes=changes, cores=cores, profile=profile, say=typer.echo)
    for outcome in outcomes:
        typer.echo(f"{outcome.claim.id} {outcome.status}: {outcome.detail}")
    if keep:
        record(outcomes, f"{commit[:7]}, {keep}")
    raise typer.Exit(0 if all(one.status == CONFIRMED for one in outcomes) else 1)


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
    from matchlib.data.summary import describe, select_split
    from matchlib.learning.pairs import MIN_TRAIN_PAIRS

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
    n_pairs = int((select_split(tables, "train")["labels"]["label"] == 1).sum())
    if n_pairs < MIN_TRAIN_PAIRS and any(s.notebook.stem == "02_contrastive" for s in plan.stages):
        typer.echo(
            f"note: {n_pairs} accepted training pairs; 02_contrastive leaves its encoder untrained below "
            f"{MIN_TRAIN_PAIRS}, unless its labels are rule"
        )
    typer.echo(f"ok: the data can be used ({time.monotonic() - started:.1f} s)")


app.command()(embed)
app.command()(rank)


@app.command()
def extract(  # noqa: PLR0913 - one argument an option
    model: Annotated[Path, typer.Option(help="a stage of 08_hr_tasks, or a tagger's folder")],
    documents: Annotated[Path, typer.Option(help="folder or file: .txt .md .html .pdf .docx")],
    out: Annotated[Path, typer.Option(help="JSONL file to write, one line for each document")],
    kind: Annotated[str, typer.Option(help="what the documents are: job or resume")] = "resume",
    by: Annotated[
        str, typer.Option(help="what finds skills: tagger or phrases; default: tagger if there")
    ] = "",
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="probability above which a word is of a skill")
    ] = 0.5,
    with_text: Annotated[
        bool, typer.Option("--with-text", help="also write the text that start and end index")
    ] = False,
    strict: Annotated[
        bool, typer.Option(help="exit with 2 if any document was left out, or read in part")
    ] = False,
    encoding: Annotated[str, typer.Option(help="of files that are not UTF-8, e.g. cp1252")] = "",
) -> None:
    """Find skills and experiences in documents of your own; what cannot be read is named."""
    from matchlib.documents.read import read_documents
    from matchlib.outputs import check_outputs, is_file_or_free
    from matchlib.ranking import extract_command

    if kind not in extract_command.EXPERIENCES:
        raise DataError(f"--kind {kind!r} is neither job nor resume")
    check_outputs({"--out": out}, {"--documents": documents, "--model": model})
    source = extract_command.choose_source(model, by)
    reading = read_documents(documents, f"{kind}s", encoding=encoding)
    to_stderr = not is_file_or_free(out)  # the lines may go to where the notes go
    typer.echo(reading.notes[0], err=to_stderr)
    for file, line, reason in reading.left_out.itertuples(index=False):
        typer.echo(f"left out: {file}{line and f', line {line}'}: {reason}", err=True)
    for file, line, reason in reading.missing.itertuples(index=False):
        typer.echo(f"read in part: {file}{line and f', line {line}'}: {reason}", err=True)
    finder = extract_command.open_finder(model, source, threshold=threshold)
    counts = extract_command.write_extraction(
        reading.tables[f"{kind}s"], finder, kind=kind, out=out, with_text=with_text
    )
    typer.echo(
        f"{out}: {counts.documents:,} documents, {counts.spans:,} spans by {source} "
        f"({counts.without_span:,} documents without one), {counts.experiences:,} experiences; "
        f"{len(reading.left_out):,} left out",
        err=to_stderr,
    )
    raise typer.Exit(2 if strict and len(reading.left_out) + len(reading.missing) else 0)


@app.command()
def edit(
    job: Annotated[Path, typer.Option(help="one document: .txt .md .html .pdf .docx")],
    resume: Annotated[Path, typer.Option(help="the same")],
    out: Annotated[Path, typer.Option(help="HTML page to write")],
    model: Annotated[
        Path,
        typer.Option(help="a stage of 08_hr_tasks: also serve the skills that it finds in the job"),
    ] = None,
    encoding: Annotated[str, typer.Option(help="of files that are not UTF-8, e.g. cp1252")] = "",
) -> None:
    """Fit a resume to a job without adding a fact; the page shows each change, its evidence and
    what is missing."""
    from matchlib.ranking.edit_command import edit_command
    from matchlib.reports.page import write_page

    content = edit_command(job=job, resume=resume, out=out, model=model, encoding=encoding)
    write_page(out, "edit.html.j2", **content)
    for note in content["notes"]:
        typer.echo(f"read in part: {note}", err=True)
    typer.echo(
        f"{out}: {len(content['wordings']) + len(content['orders'])} changes, "
        f"{len(content['missing'])} demands of the job missing"
    )


if __name__ == "__main__":
    main()
