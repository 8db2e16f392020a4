"""`matchlib rank`: reads the files, tells what it could not read, writes the list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from matchlib.data.schema import DataError
from matchlib.outputs import check_outputs, is_file_or_free

TextColumns = Annotated[
    list[str],
    typer.Option(
        help="column of table files with the text; again for each further one; default: text"
    ),
]
IdColumn = Annotated[
    str,
    typer.Option(help="column of table files with the id; default: job_id or resume_id, else id"),
]
Prompt = Annotated[
    str,
    typer.Option(help='put before every text, e.g. "query: " for E5; default: the model\'s own'),
]


def rank(  # noqa: PLR0913 - one argument an option
    model: Annotated[
        str, typer.Option(help="a stage's folder, an encoder's folder, a hub id, endpoint:<model>")
    ],
    out: Annotated[
        Path, typer.Option(help="CSV file to write; ids that begin with = + - @ get a ' in front")
    ],
    jobs: Annotated[
        Path,
        typer.Option(help="file or folder: .txt .md .html .pdf .docx .csv .tsv .jsonl .parquet"),
    ] = None,
    resumes: Annotated[Path, typer.Option(help="the same")] = None,
    vectors: Annotated[
        Path, typer.Option(help="a folder of matchlib embed, in place of what is ranked")
    ] = None,
    direction: Annotated[
        str, typer.Option(help="rank resumes for each job, or jobs for each resume")
    ] = "resumes",
    top: Annotated[int, typer.Option(min=1, help="candidates listed for each query")] = 20,
    constraints: Annotated[
        str, typer.Option("--require", help="rules that must hold, e.g. place,seniority")
    ] = "",
    keep_not_stated: Annotated[
        bool, typer.Option(help="--require keeps pairs of which one side does not state it")
    ] = False,
    skills_file: Annotated[
        Path, typer.Option(help="skills_en.csv of ESCO's download, in place of the packaged graph")
    ] = None,
    explain: Annotated[
        bool, typer.Option(help="say why: skills, years, place, nearest sentences")
    ] = True,
    score_parts: Annotated[
        bool, typer.Option(help="also say which statements the score comes from; slower")
    ] = False,
    ranker: Annotated[
        str, typer.Option(help="a stage of 07_talent_search: puts the list into a role's order")
    ] = "",
    role: Annotated[str, typer.Option(help="of that ranker, e.g. hiring_manager")] = "",
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
    from matchlib.documents.read import read_documents

    _check_options(direction, explain=explain, score_parts=score_parts)
    given = {"jobs": jobs, "resumes": resumes}
    given = {name: path for name, path in given.items() if path}
    _check_given(given, vectors, direction)
    check_outputs(
        {name: path for name, path in (("--out", out), ("--trec", trec)) if path},
        {f"--{name}": path for name, path in given.items()} | {"--model": Path(model)},
    )
    columns = {
        "jobs": {"job_id": job_id, "text": job_text},
        "resumes": {"resume_id": resume_id, "text": resume_text},
    }
    readings = {}
    for name, path in given.items():
        readings[name] = read_documents(path, name, columns=columns[name], encoding=encoding)
    to_stderr = not is_file_or_free(out)  # the list may go to where the notes go
    for reading in readings.values():
        typer.echo(reading.notes[0], err=to_stderr)
    n_lost = 0
    for losses, what in (("left_out", "left out"), ("missing", "read in part")):
        rows = pd.concat([getattr(reading, losses) for reading in readings.values()])
        n_lost += len(rows)
        for line in describe_losses(rows, what):
            typer.echo(line, err=True)
    # after the files were read: a wrong path is told at once
    from matchlib.ranking.rank import RankRequest, open_ranker, rank_files
    from matchlib.ranking.rerank import open_role_ranker
    from matchlib.ranking.stored import rank_stored

    if skills_file:
        from matchlib.data.formats.esco import read_esco_skills
        from matchlib.extraction.facts import use_graph

        graph = read_esco_skills(skills_file)
        use_graph(graph)
        typer.echo(f"{len(graph.skills):,} skills of {skills_file.name}", err=to_stderr)
    rules = [name.strip() for name in constraints.split(",") if name.strip()]
    if ranker:
        open_role_ranker(ranker, role)  # a wrong role is told before the encoder works
    request = RankRequest(
        f"rank_{direction}",
        top,
        rules,
        explain,
        ranker=ranker,
        role=role,
        keep_not_stated=keep_not_stated,
        score_parts=score_parts,
    )
    encoder = open_ranker(model, job_prompt=job_prompt, resume_prompt=resume_prompt)
    tables = {name: reading.tables[name] for name, reading in readings.items()}
    if vectors:
        (queries,) = tables.values()
        notes = rank_stored(queries, vectors, encoder, request, out=out, trec=trec)
    else:
        notes = rank_files(**tables, ranker=encoder, request=request, out=out, trec=trec)
    for note in notes:
        typer.echo(note, err=to_stderr)
    raise typer.Exit(2 if strict and n_lost else 0)


def describe_losses(losses: pd.DataFrame, what: str) -> Iterator[str]:
    """A line for each document (file, line, reason) that was left out, or read in part."""
    for file, line, reason in losses.itertuples(index=False):
        yield f"{what}: {file}{line and f', line {line}'}: {reason}"


def _check_options(direction: str, *, explain: bool, score_parts: bool) -> None:
    """Raise DataError on a direction that is none, or options that exclude each other."""
    if direction not in ("resumes", "jobs"):
        raise DataError(f"--direction {direction!r} is neither resumes nor jobs")
    if score_parts and not explain:
        raise DataError("--score-parts adds columns that say why; leave --no-explain out")


def _check_given(given: Mapping[str, Path], vectors: Path | None, direction: str) -> None:
    """Raise DataError unless both kinds of document are named, or vectors in place of those that
    are ranked."""
    if not vectors:
        if len(given) < 2:
            raise DataError("--jobs and --resumes are both needed, or --vectors for what is ranked")
        return
    if direction in given:
        raise DataError(f"--vectors takes the place of --{direction}; leave one of the two out")
    if not given:
        queries = "jobs" if direction == "resumes" else "resumes"
        raise DataError(f"--vectors are ranked for --{queries}, which are not named")
