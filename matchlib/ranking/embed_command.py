"""`matchlib embed`: documents to vectors on disk, a shard at a time, each of which can be a job of
its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from matchlib.data.row_log import printable
from matchlib.data.schema import DataError
from matchlib.ranking.command import Prompt, describe_losses

NAMED = 20
"""Documents left out of a shard that are printed; all are in its shard.json."""
BYTES_A_DOCUMENT = 3_000
"""Most that a document takes on disk: 1,024 float16 and its place, and the same again while a shard
is replaced."""


def embed(  # noqa: PLR0913 - one argument an option
    documents: Annotated[
        Path,
        typer.Argument(help="file or folder: .txt .md .html .pdf .docx .csv .tsv .jsonl .parquet"),
    ],
    model: Annotated[
        str, typer.Option(help="a stage's folder, an encoder's folder, a hub id, endpoint:<model>")
    ],
    out: Annotated[Path, typer.Option(help="folder of vectors to make, or to bring up to date")],
    kind: Annotated[str, typer.Option(help="what the documents are: job or resume")] = "resume",
    shard: Annotated[
        str, typer.Option(help="i/n: only the i-th of n equal parts of the shards, i from 1")
    ] = "1/1",
    documents_per_shard: Annotated[
        int, typer.Option(min=0, help="0: as the folder was made, 50,000 for a new one")
    ] = 0,
    text: Annotated[
        list[str], typer.Option(help="columns of table files that make the text; default: text")
    ] = None,
    id_column: Annotated[
        str,
        typer.Option("--id", help="column of the id; default: job_id or resume_id, else id"),
    ] = "",
    prompt: Prompt = None,
    encoding: Annotated[str, typer.Option(help="of files that are not UTF-8, e.g. cp1252")] = "",
    strict: Annotated[
        bool, typer.Option(help="exit with 2 if any document was left out, or read in part")
    ] = False,
) -> None:
    """Embed documents into shards on disk for `matchlib rank --vectors`; only what is new or has
    changed is encoded."""
    if kind not in ("job", "resume"):
        raise DataError(f"--kind {kind!r} is neither job nor resume")
    part = _part(shard)
    columns = {f"{kind}_id": id_column, "text": text}
    plan, losses = make_plan(
        documents,
        f"{kind}s",
        out,
        documents_per_shard=documents_per_shard,
        columns=columns,
        encoding=encoding,
    )
    for line in _describe_losses(losses.left_out, "left out"):
        typer.echo(line, err=True)
    n_lost = len(losses.left_out)
    from matchlib.ranking.rank import open_ranker

    encoder = replace(open_ranker(model, **{f"{kind}_prompt": prompt}).encoder, cache_dir=None)
    for number in range(part[0] - 1, plan.n_shards, part[1]):
        n_lost += embed_one(plan, number, encoder, out, say=lambda line: typer.echo(line, err=True))
    typer.echo(f"{out}: {plan.n_shards:,} shards, of which this was part {shard}", err=True)
    raise typer.Exit(2 if strict and n_lost else 0)


def _part(shard: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of:
        raise DataError(f"--shard {shard!r} is not i/n with i from 1 to n, such as 3/20")
    return number, of


def make_plan(documents: Path, name: str, out: Path, **how):
    """The plan of the shards of `out`, which goes on from the one that is there, and what it could
    not enter; it is written where it is new. how: as in `plan_shards`."""
    from matchlib.documents.plan import PLAN, plan_shards, read_plan

    if out.exists() and not out.is_dir():
        raise DataError(f"--out {out} is a file; name a folder")
    if documents.is_dir() and documents.resolve() in [out.resolve(), *out.resolve().parents]:
        raise DataError(
            f"--out {out} lies in the folder of the documents and would become a part of it; name a "
            f"folder elsewhere"
        )
    previous = read_plan(out) if (out / PLAN).exists() else None
    plan, losses = plan_shards(documents, name, previous=previous, **how)
    out.mkdir(parents=True, exist_ok=True)
    plan.save(out)
    return plan, losses


def embed_one(plan, number: int, encoder, out: Path, *, say: Callable[[str], object]) -> int:
    """Bring one shard up to date; returns how many documents it leaves out or has in part.

    A shard that is finished, of the same documents and of the same encoder is left as it is.
    """
    from matchlib.retrieval import shards

    folder = out / shards.shard_name(number)
    source = shards.VectorSource.of(encoder, plan.name)
    input_hash = plan.hash_of(number)
    made = shards.finished_shard(folder, source, say)
    if made is not None and made.input_hash == input_hash:
        say(f"{folder.name}: {made.documents:,} documents, unchanged")
        return len(made.left_out) + len(made.missing)
    reading = plan.read(number)
    table = reading.tables[plan.name]
    documents = pd.DataFrame(
        {
            "id": table[plan.key].to_numpy(),
            "text": table["text"].to_numpy(),
            "file": table["file"].to_numpy(),
            "line": [line or 0 for line in table.index],
        }
    )
    _require_space(out, len(documents))
    encode = encoder.encode_jobs if plan.name == "jobs" else encoder.encode_resumes
    made = shards.embed_shard(
        folder,
        documents,
        source=source,
        encode=encode,
        input_hash=input_hash,
        left_out=reading.left_out,
        missing=reading.missing,
    )
    for losses, what in ((reading.left_out, "left out"), (reading.missing, "read in part")):
        for line in _describe_losses(losses, what):
            say(line)
    say(
        f"{folder.name}: {made.documents:,} documents, {made.encoded:,} encoded, {made.reused:,} kept, "
        f"{len(made.left_out):,} left out, {made.seconds:.1f} s"
    )
    return len(made.left_out) + len(made.missing)


def _describe_losses(losses: pd.DataFrame, what: str) -> Iterator[str]:
    yield from describe_losses(losses.head(NAMED), what)
    if len(losses) > NAMED:
        yield f"{what}: {len(losses) - NAMED:,} more, which shard.json names"


def _require_space(out: Path, n_documents: int) -> None:
    """Raise DataError, before anything is encoded, where the disk has no room for a shard."""
    needed = n_documents * BYTES_A_DOCUMENT
    free = shutil.disk_usage(out).free
    if free < needed:
        raise DataError(
            f"{printable(out)}: {free / 1e6:,.0f} MB are free, a shard of {n_documents:,} documents may take "
            f"{needed / 1e6:,.0f}; free some space and run this again: finished shards are kept"
        )
