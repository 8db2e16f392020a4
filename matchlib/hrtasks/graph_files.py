"""Skill-occupation graphs from ESCO's or O*NET's own downloads, for generating triples.

The graphs are reduced: these files have no typical years, no degrees and no deeds that imply a
skill. Degrees stay "", all years are TYPICAL_YEARS, all sizes 1, and nothing is made up for the
rest.
"""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from matchlib.data.row_log import RowLog
from matchlib.data.schema import DataError
from matchlib.data.skills import Graph, Occupation, Skill, load_graph

logger = logging.getLogger(__name__)

WORDINGS = ("seen", "held_out")
TYPICAL_YEARS = 3
"""Typical years of a middle level, where a file has none."""
MIN_IMPORTANCE = 3.0
"""O*NET's importance (1 to 5) from which a skill is essential: 3 is "important"."""
ENDINGS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
ESCO_FILES = {
    "occupations_en": ("conceptUri", "preferredLabel", "altLabels", "iscoGroup"),
    "skills_en": ("conceptUri", "preferredLabel", "altLabels"),
    "occupationSkillRelations_en": ("occupationUri", "relationType", "skillUri"),
}
ONET_FILES = {
    "Occupation Data": ("O*NET-SOC Code", "Title"),
    "Skills": ("O*NET-SOC Code", "Element ID", "Element Name", "Scale ID", "Data Value"),
    "Technology Skills": ("O*NET-SOC Code", "Example", "Hot Technology"),
}


def graphs_from(graph_folder: str = "", *, log: RowLog | None = None) -> dict[str, Graph]:
    """The packaged graph, or that of a folder with ESCO's or O*NET's files, by wording.

    Wordings are "seen" and "held_out". Of ESCO's other labels every second one is held out; O*NET
    has none, so there both graphs are the same. log: takes the rows that are left out, such as a
    relation to an unknown skill; they are counted in the program's log too.
    Raises DataError if the folder holds neither, or a file or column is missing.
    """
    if not graph_folder:
        return {wording: load_graph(wording) for wording in WORDINGS}
    folder = Path(graph_folder)
    log = log or RowLog()
    seen = _read(folder, "seen", log)
    for reason, n in Counter(log.left_out["reason"].str.split(":").str[0]).items():
        logger.warning("%s: %s rows left out: %s", folder, n, reason)
    if not seen.skills:
        raise DataError(f"{folder}: no occupation has a known skill; are the files of one version?")
    # the same rows are left out again
    return {"seen": seen, "held_out": _read(folder, "held_out", RowLog())}


def _read(folder: Path, wording: str, log: RowLog) -> Graph:
    if _find(folder, "occupations_en"):
        return _read_esco(folder, wording, log)
    if _find(folder, "Occupation Data"):
        return _read_onet(folder, log)
    raise DataError(
        f"{folder}: neither ESCO's occupations_en.csv nor O*NET's Occupation Data.txt is there; "
        f"unpack the download into this folder, or leave graph_folder empty"
    )


@dataclass
class _Relations:
    """Skills of occupations, as lines of files name them."""

    essential: dict[str, dict[str, None]] = field(default_factory=dict)
    optional: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, occupation: str, skill: str, *, is_essential: bool) -> None:
        """Add a relation; one that is essential anywhere is essential."""
        side = self.essential if is_essential else self.optional
        side.setdefault(occupation, {})[skill] = None

    def occupation(self, id: str, name: str, *, family: str, titles: tuple[str, ...]) -> Occupation:
        """The occupation with its skills."""
        essential = tuple(self.essential.get(id, ()))
        optional = [skill for skill in self.optional.get(id, ()) if skill not in essential]
        return Occupation(
            id=id,
            name=name,
            family=family,
            titles=titles,
            degree="",
            years=TYPICAL_YEARS,
            essential=essential,
            optional=tuple(optional),
            size=1.0,
        )


def _read_esco(folder: Path, wording: str, log: RowLog) -> Graph:
    tables = {name: _Table.read(folder, name, columns) for name, columns in ESCO_FILES.items()}
    skills = {}
    for _, row in tables["skills_en"].rows(log, "conceptUri"):
        names = _labels(row["altLabels"], wording) or (row["preferredLabel"],)
        skills[row["conceptUri"]] = Skill(row["conceptUri"], row["preferredLabel"], names, ())
    occupations = {
        row["conceptUri"]: row for _, row in tables["occupations_en"].rows(log, "conceptUri")
    }
    relations = _Relations()
    table = tables["occupationSkillRelations_en"]
    for line, row in table.rows(log):
        if row["skillUri"] not in skills:
            log.leave_out(table.path, line, f"a relation to an unknown skill: {row['skillUri']!r}")
        elif row["occupationUri"] not in occupations:
            unknown = row["occupationUri"]
            log.leave_out(table.path, line, f"a relation of an unknown occupation: {unknown!r}")
        else:
            is_essential = row["relationType"] == "essential"
            relations.add(row["occupationUri"], row["skillUri"], is_essential=is_essential)
    found = []
    for id, row in occupations.items():
        name = row["preferredLabel"]
        titles = _labels(row["altLabels"], wording) or (name,)
        family = f"ISCO {row['iscoGroup'][:2]}"
        found.append(relations.occupation(id, name, family=family, titles=titles))
    return _graph(found, skills)


def _labels(field: str, wording: str) -> tuple[str, ...]:
    """ESCO's other labels, one a line: the even ones are seen, the odd ones held out."""
    labels = [label.strip() for label in field.splitlines() if label.strip()]
    return tuple(labels[int(wording == "held_out") :: 2])


def _read_onet(folder: Path, log: RowLog) -> Graph:
    """Skills by importance, and technology skills, of which hot ones are essential."""
    tables = {name: _Table.read(folder, name, columns) for name, columns in ONET_FILES.items()}
    code = "O*NET-SOC Code"
    occupations = {row[code]: row["Title"] for _, row in tables["Occupation Data"].rows(log, code)}
    skills: dict[str, Skill] = {}
    relations = _Relations()
    for line, row in tables["Skills"].rows(log):
        if row["Scale ID"] != "IM":
            continue  # the other scale is the level; each skill has a row of both
        if not _is_known(row[code], occupations, tables["Skills"].path, line, log):
            continue
        importance = pd.to_numeric(row["Data Value"], errors="coerce")
        if pd.isna(importance):
            reason = f"an importance that is no number: {row['Data Value']!r}"
            log.leave_out(tables["Skills"].path, line, reason)
            continue
        id = row["Element ID"]
        name = row["Element Name"]
        skills[id] = Skill(id, name, (name,), ())
        relations.add(row[code], id, is_essential=importance >= MIN_IMPORTANCE)
    for line, row in tables["Technology Skills"].rows(log):
        if _is_known(row[code], occupations, tables["Technology Skills"].path, line, log):
            name = row["Example"]
            skills[name] = Skill(name, name, (name,), ())
            relations.add(row[code], name, is_essential=row["Hot Technology"] == "Y")
    found = []
    for id, title in occupations.items():
        family = f"SOC {id[:2]}"
        found.append(relations.occupation(id, title, family=family, titles=(title,)))
    return _graph(found, skills)


def _is_known(code: str, occupations: dict, path: Path, line: int, log: RowLog) -> bool:
    if code in occupations:
        return True
    log.leave_out(path, line, f"a skill of an unknown occupation: {code!r}")
    return False


def _graph(occupations: Iterable[Occupation], skills: dict[str, Skill]) -> Graph:
    """The graph of the occupations that have skills, and of those skills."""
    with_skills = {}
    used: set[str] = set()
    for occupation in occupations:
        own = {*occupation.essential, *occupation.optional}
        if own:
            with_skills[occupation.id] = occupation
            used |= own
    names = sorted({occupation.family for occupation in with_skills.values()})
    families = {name: {"name": name, "industry": name} for name in names}
    return Graph(families, with_skills, {id: skills[id] for id in skills if id in used})


@dataclass(frozen=True)
class _Table:
    """A file's rows as text."""

    path: Path
    frame: pd.DataFrame

    @classmethod
    def read(cls, folder: Path, name: str, columns: tuple[str, ...]) -> _Table:
        """Read name.csv, .tsv or .txt. Raises DataError if none is there or a column is missing."""
        path = _find(folder, name)
        if path is None:
            raise DataError(
                f"{folder}: {name} is missing (as .csv, .tsv or .txt); copy it here, too"
            )
        separator = ENDINGS[path.suffix]
        # O*NET's tab-separated files quote nothing, and a title may hold a quotation mark
        quoting = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
        try:
            frame = pd.read_csv(
                path,
                sep=separator,
                dtype=str,
                keep_default_na=False,
                quoting=quoting,
                encoding="utf-8-sig",
            )
        except (ValueError, OSError) as problem:  # parser, encoding and empty file
            raise DataError(
                f"{path}: not a table that can be read ({problem}); download it again"
            ) from None
        missing = [column for column in columns if column not in frame]
        if missing:
            raise DataError(
                f"{path}: no column {missing[0]!r}, only {', '.join(map(str, frame.columns))}; is this "
                f"the original download, in English?"
            )
        return cls(path, frame)

    def rows(self, log: RowLog, id_column: str = "") -> Iterator[tuple[int, dict[str, str]]]:
        """(number below the heading, row) of every row; one without an id, or with an id that is
        taken, is left out."""
        taken = set()
        log.saw(self.path, len(self.frame))
        for number, row in enumerate(self.frame.to_dict("records"), start=1):
            if id_column and (not row[id_column] or row[id_column] in taken):
                log.leave_out(
                    self.path, number, f"an id that is empty or taken: {row[id_column]!r}"
                )
                continue
            if id_column:
                taken.add(row[id_column])
            yield number, row


def _find(folder: Path, name: str) -> Path | None:
    for ending in ENDINGS:
        path = folder / f"{name}{ending}"
        if path.is_file():
            return path
    return None
