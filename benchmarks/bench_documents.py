"""Claim: every PDF and Word file of a folder is read whole, or what is missing of it is told;
against other readers.

Run: python benchmarks/bench_documents.py FOLDER. The words of each file are compared with those
that `pdftotext` or `pandoc` finds; a file that lacks more than 5% of them without a word on it
fails.
"""

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from matchlib.data.normal import plain
from matchlib.data.schema import DataError
from matchlib.documents.pdf import read_pdf
from matchlib.documents.read import WORD
from matchlib.documents.word import read_word

OTHER_READERS = {
    ".pdf": ["pdftotext", "-q", "{}", "-"],
    ".docx": ["pandoc", "-f", "docx", "-t", "plain", "{}"],
}
MOST_LACKING = 0.05
FEW_WORDS = 5


def words(text: str) -> Counter:
    """Words of a text, however lines break them: hyphens at line ends go."""
    return Counter(re.findall(r"\w+", re.sub(r"[-\u2010]\n", "", plain(text)).lower()))


def other_text(file: Path) -> str | None:
    """The text that the other reader finds; None where that fails."""
    command = [
        part.format(file)
        for part in OTHER_READERS[".pdf" if file.suffix.lower() == ".pdf" else ".docx"]
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def measure(file: Path) -> dict:
    """How a file is read, and how many words of the other reader it lacks."""
    started = time.perf_counter()
    read = read_pdf if file.suffix.lower() == ".pdf" else read_word
    try:
        found = read(file)
        text, told = found.text, "; ".join(found.missing)
        outcome = "read in part" if told else "read whole"
    except DataError as problem:
        text, told, outcome = "", str(problem).removeprefix(f"{file}: "), "left out"
    seconds = time.perf_counter() - started
    other = other_text(file)
    lacking = words(other) - words(text) if other is not None else Counter()
    n_other = sum(words(other).values()) if other is not None else 0
    n_lacking = sum(lacking.values())
    silent = not told and n_lacking > max(MOST_LACKING * n_other, FEW_WORDS)
    return {
        "file": file.name,
        "type": file.suffix.lower(),
        "outcome": outcome,
        "words": n_other,
        "lacking": n_lacking,
        "silent loss": silent,
        "seconds": seconds,
        "told": told,
        "e.g.": " ".join(list(lacking)[:6]),
    }


if __name__ == "__main__":
    missing = [command[0] for command in OTHER_READERS.values() if not shutil.which(command[0])]
    if missing or len(sys.argv) < 2:
        print(
            f"skipped: {', '.join(missing)} not installed"
            if missing
            else "skipped: name a folder of documents"
        )
        sys.exit(0)
    files = [
        file
        for file in sorted(Path(sys.argv[1]).rglob("*"))
        if file.suffix.lower() in (".pdf", *WORD) and file.is_file()
    ]
    if not files:
        print(f"skipped: no PDF or Word file below {sys.argv[1]}")
        sys.exit(0)
    table = pd.DataFrame([measure(file) for file in files])
    print(
        table.groupby(["type", "outcome"])
        .agg(
            files=("file", "count"),
            words=("words", "sum"),
            lacking=("lacking", "sum"),
            silent=("silent loss", "sum"),
            slowest=("seconds", "max"),
        )
        .round(1)
        .to_string()
    )
    silent = table[table["silent loss"]]
    print(
        f"{len(silent)} of {len(table)} files lack more than {MOST_LACKING:.0%} of the other reader's words unsaid"
    )
    print(
        silent[["file", "words", "lacking", "e.g."]].to_string(index=False) if len(silent) else ""
    )
    sys.exit(len(silent) > 0)
