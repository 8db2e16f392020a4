"""`matchlib rank`: reads the files, tells what it could not read, writes the list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from matchlib.data.schema import DataError
from matchlib.outputs import check_outputs, is_file_or_free

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
    to_stderr = not is_file_or_free(out)  # the list may go to where the notes go
    for reading in readings:
        typer.echo(reading.notes[0], err=to_stderr)
    for file, line, reason in left_out.itertuples(index=False):
        typer.echo(f"left out: {file}{line and f', line {line}'}: {reason}", err=True)
    missing = pd.concat([reading.missing for reading in readings])
    for file, line, reason in missing.itertuples(index=False):
        typer.echo(f"read in part: {file}{line and f', line {line}'}: {reason}", err=True)
    # after the files were read: a wrong path is told at once
    from matchlib.ranking.rank import RankRequest, open_ranker, rank_files
    from matchlib.ranking.rerank import open_role_ranker

    rules = [name.strip() for name in constraints.split(",") if name.strip()]
    if ranker:
        open_role_ranker(ranker, role)  # a wrong role is told before the encoder works
    request = RankRequest(f"rank_{direction}", top, rules, explain, ranker=ranker, role=role)
    encoder = open_ranker(model, job_prompt=job_prompt, resume_prompt=resume_prompt)
    tables = (readings[0].tables["jobs"], readings[1].tables["resumes"])
    for note in rank_files(*tables, encoder, request, out=out, trec=trec):
        typer.echo(note, err=to_stderr)
    raise typer.Exit(2 if strict and len(left_out) + len(missing) else 0)
