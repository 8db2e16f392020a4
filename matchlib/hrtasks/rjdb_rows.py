"""Rows of RJDB (arXiv 2311.06383) with their gold fields: what the job asks for, what was filtered.

`data.formats.rjdb` reads the texts alone, as a matching data set. Here every field is read, of
RJDB's own file and of files that `hrtasks.generate` writes.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from matchlib.data.files import read_objects
from matchlib.data.row_log import RowLog
from matchlib.data.schema import DataError

logger = logging.getLogger(__name__)

TEXT_KEYS = ("Job-Description", "Resume-matched", "Resume-unmatched")
KEPT = "the same job experience as before"
"""RJDB's words for an unmatched resume that keeps every experience."""
FAULTS = {
    "dict_for_list": "a dict where a list is due; its keys are taken",
    "unequal_lists": "Experiences, titles with periods and years differ in number",
    "period_unparsed": "an experience that is not of the form 'title (2012 - 2015)'",
    "filter_unparsed": "an experience filter in unknown words",
    "unknown_skill_filtered": "a filtered skill that Skills does not name",
    "unknown_experience_filtered": "a filtered experience that no title with a period names",
}
"""What may be wrong with a row that is read all the same: machine key -> sentence."""

_PERIOD = re.compile(r"(?P<title>.*) \((?P<start>\d{4}) - (?P<end>\d{4})\)", re.DOTALL)
_REPLACED = re.compile(r'instead of "(?P<old>.*)" use "(?P<new>.*)"', re.DOTALL)
_DROPPED = re.compile(r'without including "(?P<old>.*)"', re.DOTALL)


@dataclass(frozen=True)
class Position:
    """An experience with its period in calendar years; start and end None if it states none."""

    title: str
    start: int | None
    end: int | None

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read "title (2012 - 2015)"."""
        found = _PERIOD.fullmatch(text)
        if not found:
            return cls(text, None, None)
        return cls(found["title"], int(found["start"]), int(found["end"]))

    @property
    def years(self) -> int | None:
        """Length of the period in years."""
        if self.start is None or self.end is None:
            return None
        return self.end - self.start

    def __str__(self) -> str:
        if self.start is None:
            return self.title
        return f"{self.title} ({self.start} - {self.end})"


@dataclass(frozen=True)
class ExperienceFilter:
    """What the unmatched resume does to an experience of the matched one.

    kind: "none", "shortened" (old and new have one title), "dropped", or "unparsed"; old: the
    position concerned; new: what stands in its place, None where nothing does. RJDB drops an
    experience without a substitute, `hrtasks.generate` with one.
    """

    kind: str
    old: Position | None = None
    new: Position | None = None

    @property
    def title(self) -> str:
        """The title that the filter concerns, "" if none."""
        return self.old.title if self.old else ""

    def __str__(self) -> str:
        """In RJDB's words, which `parse_filter` reads."""
        if self.old is None:
            return KEPT
        if self.new is None:
            return f'without including "{self.old}"'
        return f'instead of "{self.old}" use "{self.new}"'


@dataclass(frozen=True)
class HrRow:
    """One triple with its gold fields.

    experiences: titles; years: of each experience; positions: titles with periods, newest first;
    filtered_skills: those that the unmatched resume lacks; faults: keys of FAULTS; words_in_job,
    words_in_matched: of each skill, where the text names it by another word (files of
    `hrtasks.generate`).
    In a row with the fault unequal_lists, years go with positions but not with experiences.
    """

    job: str
    matched: str
    unmatched: str
    skills: tuple[str, ...]
    experiences: tuple[str, ...]
    years: tuple[int, ...]
    positions: tuple[Position, ...]
    filtered_skills: tuple[str, ...]
    filtered_experience: ExperienceFilter
    faults: tuple[str, ...] = ()
    words_in_job: Mapping[str, str] = field(default_factory=dict)
    words_in_matched: Mapping[str, str] = field(default_factory=dict)

    @property
    def job_skills(self) -> tuple[str, ...]:
        """The skills in the job's words, as far as they are known."""
        return tuple(self.words_in_job.get(skill, skill) for skill in self.skills)

    @property
    def matched_skills(self) -> tuple[str, ...]:
        """The skills in the matched resume's words, as far as they are known."""
        return tuple(self.words_in_matched.get(skill, skill) for skill in self.skills)

    @property
    def job_filtered_skills(self) -> tuple[str, ...]:
        """The filtered skills in the job's words, as far as they are known."""
        return tuple(self.words_in_job.get(skill, skill) for skill in self.filtered_skills)


def read_triples(path: Path, *, log: RowLog | None = None) -> list[HrRow]:
    """Read every row of RJDB's JSON Lines, in order.

    log: takes rows that cannot be read, and the faults of those that can. Without it they are only
    counted in the program's log. Raises DataError if no row can be read.
    """
    log = log or RowLog()
    rows: list[HrRow] = []
    n_faults: Counter[str] = Counter()

    def spoil(line: int, reason: str) -> None:
        log.saw(path)
        log.leave_out(path, line, reason)

    for line, fields in read_objects(path, spoiled=spoil):
        try:
            row = parse_row(fields)
        except DataError as problem:
            spoil(line, str(problem))
            continue
        log.saw(path)
        for fault in row.faults:
            log.leave_out_part(path, line, FAULTS[fault])
        n_faults.update(row.faults)
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: no row with {', '.join(TEXT_KEYS)}; is this a file of RJDB?")
    n_left_out = int(log.files["left out"].sum())
    if n_left_out:
        logger.warning("%s: %s rows cannot be read", path, n_left_out)
    for fault, n in n_faults.items():
        logger.info("%s: %s rows with %s", path, n, FAULTS[fault])
    return rows


def parse_row(fields: Mapping[str, Any]) -> HrRow:
    """One object of RJDB's JSON Lines.

    Raises DataError where a text is missing or empty, or the nesting is another.
    """
    texts = [_text(fields, key) for key in TEXT_KEYS]
    filtered = fields.get("Filtered-information")
    timeline = fields.get("Experiences-years")
    if not isinstance(filtered, dict):
        raise DataError("Filtered-information is no object; each row needs Skills and Experience")
    if not _is_timeline(timeline):
        raise DataError(
            "Experiences-years is not [[phrases, titles with periods], reference year, years]"
        )
    (_, titles), _, years = timeline
    faults = _Faults()
    positions = tuple(Position.parse(title) for title in faults.as_list(titles))
    experience_filter = parse_filter(str(filtered.get("Experience") or ""))
    row = HrRow(
        *texts,
        skills=faults.as_list(fields.get("Skills")),
        experiences=faults.as_list(fields.get("Experiences")),
        years=tuple(int(n) for n in years),
        positions=positions,
        filtered_skills=faults.as_list(filtered.get("Skills")),
        filtered_experience=experience_filter,
        words_in_job=_words_in(fields, TEXT_KEYS[0]),
        words_in_matched=_words_in(fields, TEXT_KEYS[1]),
    )
    faults.check(row)
    return replace(row, faults=tuple(sorted(faults.found)))


def parse_filter(text: str) -> ExperienceFilter:
    """What RJDB's words for an experience filter say; kind "unparsed" if they are none of its."""
    text = text.strip()
    if text in ("", KEPT):
        return ExperienceFilter("none")
    if found := _REPLACED.fullmatch(text):
        old = Position.parse(found["old"])
        new = Position.parse(found["new"])
        kind = "shortened" if old.title == new.title else "dropped"
        return ExperienceFilter(kind, old, new)
    if found := _DROPPED.fullmatch(text):
        return ExperienceFilter("dropped", Position.parse(found["old"]))
    return ExperienceFilter("unparsed")


class _Faults:
    """Collects the faults of one row."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def as_list(self, value: Any) -> tuple[str, ...]:
        """A list of texts, or the keys of a dict, which is a fault."""
        if isinstance(value, dict):
            self.found.add("dict_for_list")
        elif not isinstance(value, list):
            raise DataError(f"a {type(value).__name__} where a list of texts is due")
        return tuple(str(item) for item in value)

    def check(self, row: HrRow) -> None:
        """Compare the lists of a row with one another."""
        if len({len(row.experiences), len(row.positions), len(row.years)}) > 1:
            self.found.add("unequal_lists")
        if any(position.start is None for position in row.positions):
            self.found.add("period_unparsed")
        if row.filtered_experience.kind == "unparsed":
            self.found.add("filter_unparsed")
        if not set(row.filtered_skills) <= set(row.skills):
            self.found.add("unknown_skill_filtered")
        concerned = row.filtered_experience.old
        if concerned is not None and concerned not in row.positions:
            self.found.add("unknown_experience_filtered")


def _text(fields: Mapping[str, Any], key: str) -> str:
    text = fields.get(key)
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{key} is missing or empty; each row needs {', '.join(TEXT_KEYS)}")
    return text


def _words_in(fields: Mapping[str, Any], document: str) -> dict[str, str]:
    context = fields.get("Context") or {}
    return dict(context.get("words", {}).get(document, {}))


def _is_timeline(value: Any) -> bool:
    """Whether a value is nested as [[phrases, titles], year, years]."""
    if not isinstance(value, Sequence) or len(value) != 3:
        return False
    parts, _, years = value
    are_numbers = isinstance(years, list) and all(isinstance(n, int) for n in years)
    return isinstance(parts, list) and len(parts) == 2 and are_numbers
