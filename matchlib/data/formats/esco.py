"""ESCO's skills (skills_en.csv of its own download, any version) as a skill graph without occupations."""

from __future__ import annotations

from pathlib import Path

from matchlib.data.files import read_rows
from matchlib.data.normal import plain
from matchlib.data.schema import DataError
from matchlib.data.skills import Graph, Skill

COLUMNS = ("conceptUri", "preferredLabel", "altLabels")
MIN_LETTERS = 2
"""A label of one letter ("C", "R") would be found in every text, and is left out."""


def read_esco_skills(path: Path) -> Graph:
    """The skills of a CSV file with COLUMNS; further columns are not read.

    altLabels holds other names, one a line. A label that names several skills belongs to the first;
    rows with a status other than "released" are left out. Raises DataError on a file of another form.
    """
    skills: dict[str, Skill] = {}
    taken: set[str] = set()
    for _, row in read_rows(path):
        missing = [column for column in COLUMNS if column not in row]
        if missing:
            raise DataError(
                f"{path}: no column {', '.join(missing)}; give skills_<language>.csv of ESCO's download "
                f"(classification, CSV), which has {', '.join(COLUMNS)}"
            )
        if row.get("status", "released") not in ("released", ""):
            continue
        labels = []
        for label in (row["preferredLabel"], *row["altLabels"].split("\n")):
            key = plain(label).strip().lower()
            if len(key) >= MIN_LETTERS and key not in taken:
                taken.add(key)
                labels.append(label.strip())
        if labels and row["preferredLabel"].strip():
            name = row["preferredLabel"].strip().replace(";", ",")
            skills[row["conceptUri"]] = Skill(row["conceptUri"], name, tuple(labels), ())
    if not skills:
        raise DataError(f"{path}: no skill in it; is this the whole file of ESCO's download?")
    return Graph(families={}, occupations={}, skills=skills)
