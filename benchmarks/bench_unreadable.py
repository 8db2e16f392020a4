"""Claim: files that cannot be read among 10,000 are each listed with a reason, and all others are
ranked."""

import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pandas as pd
from typer.testing import CliRunner

from matchlib.cli import app
from matchlib.data.market.simulation import Market

N_FILES = 10_000
N_OF_EACH = 10


def write_empty(path: Path) -> None:
    path.with_suffix(".txt").touch()


def write_binary(path: Path) -> None:
    path.with_suffix(".txt").write_bytes(bytes(range(256)) * 20)


def write_latin_1(path: Path) -> None:
    path.with_suffix(".md").write_bytes("Köchin in Zürich".encode("latin-1"))


def write_spaces(path: Path) -> None:
    path.with_suffix(".txt").write_text("\u200b \u3164\n...\n", encoding="utf-8")


def write_no_pdf(path: Path) -> None:
    path.with_suffix(".pdf").write_text("This was renamed.")


def write_cut_pdf(path: Path) -> None:
    path.with_suffix(".pdf").write_bytes(b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R")


def write_no_word_file(path: Path) -> None:
    path.with_suffix(".docx").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))  # the old .doc, renamed


def write_empty_zip(path: Path) -> None:
    with zipfile.ZipFile(path.with_suffix(".docx"), "w"):
        pass


def write_other_type(path: Path) -> None:
    path.with_suffix(".odt").write_text("A type that is not read.")


def write_broken_link(path: Path) -> None:
    path.with_suffix(".txt").symlink_to(path.with_suffix(".gone"))


UNREADABLE = (
    write_empty,
    write_binary,
    write_latin_1,
    write_spaces,
    write_no_pdf,
    write_cut_pdf,
    write_no_word_file,
    write_empty_zip,
    write_other_type,
    write_broken_link,
)


def write_folder(folder: Path) -> tuple[set[str], set[str]]:
    """Write the resumes; returns the ids of those that can be read, and the names of the files that
    cannot."""
    market = Market(1)
    n_readable = N_FILES - N_OF_EACH * len(UNREADABLE)
    (folder / "resumes").mkdir()
    resumes = market.resumes(n_readable, "test")
    for row in resumes.itertuples():
        (folder / "resumes" / f"{row.resume_id}.txt").write_text(row.text[:200], encoding="utf-8")
    for write in UNREADABLE:
        for number in range(N_OF_EACH):
            write(folder / "resumes" / f"{write.__name__}_{number}")
    market.jobs(20, "test").to_csv(folder / "jobs.csv", index=False)
    names = {path.name for path in (folder / "resumes").iterdir()}
    return set(resumes["resume_id"]), {name for name in names if name.startswith("write_")}


def rank(folder: Path, *options: str):
    """Rank every resume for every job by the packaged encoder."""
    command = [
        "rank",
        "--model",
        "all-MiniLM-L6-v2",
        "--jobs",
        str(folder / "jobs.csv"),
        "--resumes",
        str(folder / "resumes"),
        "--out",
        str(folder / "ranked.csv"),
        "--top",
        str(N_FILES),
        "--no-explain",
    ]
    return CliRunner().invoke(app, [*command, *options])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        readable, unreadable = write_folder(folder)
        started = time.monotonic()
        result = rank(folder)
        seconds = time.monotonic() - started
        ranked = pd.read_csv(folder / "ranked.csv", dtype=str, keep_default_na=False)
        strict = rank(folder, "--strict")
    entries = [line for line in result.output.splitlines() if line.startswith("left out: ")]
    places = [entry.removeprefix("left out: ").split(": ")[0] for entry in entries]
    listed = {Path(place.split(", line ")[0]).name for place in places}
    per_job = ranked.groupby("job_id")["resume_id"].agg(set)
    complete = (per_job == readable).all() and len(per_job) == 20
    print(
        f"{len(unreadable)} of {N_FILES:,} files cannot be read: {len(listed & unreadable)} listed, "
        f"{len(listed - unreadable)} others listed, all {len(readable):,} others ranked for every job: {complete}; "
        f"exit {result.exit_code}, with --strict {strict.exit_code}; {seconds:.0f} s"
    )
    sys.exit(listed != unreadable or not complete or (result.exit_code, strict.exit_code) != (0, 2))
