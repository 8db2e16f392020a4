"""Experiences: what a job demands ("two years as a release coordinator") and what a resume shows.

A job's statements are read by patterns, a resume's by its dated rows (`resume_parts.dated_rows`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import Stemmer
from scipy.optimize import linear_sum_assignment

from matchlib.data.normal import plain
from matchlib.hrtasks.resume_parts import (
    DatedRow,
    content_words,
    dated_rows,
    split_lines,
    statements,
)

NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MAX_YEARS = 60
MIN_TITLE_OVERLAP = 0.5
"""Share of a title's words that a demand and a row must have in common to be of one experience."""

_STEMMER = Stemmer.Stemmer("english")
_NUMBER = rf"(?P<number>\d{{1,2}}(?:\.5)?|{'|'.join(NUMBER_WORDS)})"
_YEARS = re.compile(
    rf"(?<![\d.])\b{_NUMBER}\s*(?:\(\d+\)\s*)?(?:\+|plus|or more|full)?[\s-]*(?:years?|yrs?)\b[’']?s?",
    re.I,
)
_LEAD_IN = re.compile(
    r"\b(?:as|(?:role|position|capacity|job|post|duties) (?:of|as)|working (?:in|with)|"
    r"experience (?:in|of|with|as)|(?:years?|yrs?)[’']? (?:of|in)|supervising|in)\b\s*:?\s*"
    r"(?:(?:an?|the|being|other)\b\s*)?",
    re.I,
)
_TITLE_END = re.compile(
    r"[.;:!?](?:\s|$)|,?\s+(?:with|where|which|who|preferably|focus+ing|focused|emphasi[sz]ing|"
    r"speciali[sz]ing|dealing|working|involving|required|is|for|at least|or equivalent|or related|"
    r"to|and prior|must|related|is necessary)\b|\s+(?:role|position|job|capacity|experience)\b"
    r"|\s+in (?:an?|the)\s",
    re.I,
)
_FILLER = re.compile(
    r"^(?:[\s*•–—\-\d.)]*)(?:(?:minimum|prior|previous|previously|working|work|experience|relevant|"
    r"professional|proven|practical|hands-on|similar|of|in|as|an?|the|practicing|other|or more)\b\s*)*",
    re.I,
)


@dataclass(frozen=True)
class Experience:
    """A title with a length; years: NaN where the text names none; quote: the statement."""

    title: str
    years: float
    quote: str = ""


def demanded_experiences(job: str) -> list[Experience]:
    """The experiences that a job demands by a number of years, in order, each once."""
    found: dict[tuple[str, float], Experience] = {}
    for line in plain(job).splitlines():
        for statement in statements(line):
            for demand in _demands_of(statement):
                found.setdefault((demand.title.lower(), demand.years), demand)
    return list(found.values())


def _demands_of(statement: str) -> list[Experience]:
    spans = list(_YEARS.finditer(statement))
    demands = []
    for number, span in enumerate(spans):
        begin = spans[number - 1].end() if number else 0
        stop = spans[number + 1].start() if number + 1 < len(spans) else len(statement)
        title = _title_of(statement[span.end() : stop]) or _title_of(
            statement[begin : span.start()]
        )
        years = _as_number(span["number"])
        if title and years <= MAX_YEARS:
            demands.append(Experience(title, years, statement))
    return demands


def _title_of(clause: str) -> str:
    """The title that a clause names: behind the last word that leads to one, before what explains
    it."""
    lead_in = _LEAD_IN.search(clause)
    if lead_in is None:
        return ""
    text = clause[lead_in.end() :]
    inner = re.search(r"\bas (?:an?|the)\s+", text, re.I)
    if inner:
        text = text[inner.end() :]
    text = _FILLER.sub("", text)
    end = _TITLE_END.search(text)
    if end:
        text = text[: end.start()]
    return text.strip(" .,;:-–—*•")


def _as_number(text: str) -> float:
    if text.lower() in NUMBER_WORDS:
        return float(NUMBER_WORDS.index(text.lower()) + 1)
    return float(text)


def shown_experiences(resume: str, *, this_year: int | None = None) -> list[Experience]:
    """The experiences that a resume dates, in order.

    this_year: what "present" means; None takes the latest year of the resume.
    """
    rows = dated_rows(split_lines(resume))
    latest = max((_year(row.end) or 0 for row in rows), default=0)
    now = this_year or latest
    return [Experience(row.title, _length(row, now), row.quote) for row in rows]


def _year(point: str) -> float | None:
    if not point[:4].isdigit():
        return None
    month = int(point[5:7]) if len(point) > 4 else 0
    return int(point[:4]) + month / 12


def _length(row: DatedRow, now: int) -> float:
    start = _year(row.start)
    end = _year(row.end) or now
    if start is None or end < start:
        return float("nan")
    return round(end - start, 2)


def title_overlap(first: str, second: str) -> float:
    """F1 of the stems of the content words of two titles; 0 where one has none."""
    a, b = _stems(first), _stems(second)
    if not a or not b:
        return 0.0
    return 2 * len(a & b) / (len(a) + len(b))


@lru_cache(maxsize=20_000)
def _stems(text: str) -> frozenset[str]:
    return frozenset(_STEMMER.stemWords(content_words(text)))


def overlaps(demands: Sequence[Experience], shown: Sequence[Experience]) -> np.ndarray:
    """(demands, shown) how much two experiences are alike: the overlap of their titles, or the share
    of the shown title's words that the demand's statement has, if that is more."""
    table = np.zeros((len(demands), len(shown)))
    for i, demand in enumerate(demands):
        words = _stems(demand.quote)
        for j, row in enumerate(shown):
            title = _stems(row.title)
            within = len(title & words) / len(title) if title else 0.0
            table[i, j] = max(title_overlap(demand.title, row.title), 0.9 * within)
    return table


def align(demands: Sequence[Experience], shown: Sequence[Experience]) -> list[tuple[int, int]]:
    """Pairs of positions in the two lists, one to one, so that the sum of `overlaps` is largest;
    pairs with less than MIN_TITLE_OVERLAP are left out."""
    if not demands or not shown:
        return []
    table = overlaps(demands, shown)
    rows, columns = linear_sum_assignment(-table)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(i, j) for i, j in pairs if table[i, j] >= MIN_TITLE_OVERLAP]
