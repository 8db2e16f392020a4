"""Resumes with one planted invention, to measure how many a check of claims finds.

Rows and employers are found by patterns of their own, sections by the parser that the check uses, and
skills go into lists: what is measured is inventions of these shapes. All plants are made up: no
employer here exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from matchlib.hrtasks.resume_parts import Line, split_lines

EMPLOYERS = (
    "Norvik Systems",
    "Calder & Voss Ltd",
    "Tamarin Logistics",
    "Hollin Group",
    "Quelt GmbH",
)
METRICS = (
    "cut costs by {n}%",
    "raised sales by {n} percent",
    "led a team of {n} people",
    "saved ${n},000 a year",
)
_RANGE = re.compile(r"((?:19|20)\d\d)(\s*(?:-|–|—|to|and|until)\s*)((?:19|20)\d\d)")
_YEARS = re.compile(r"\b(\d{1,2})(?= ?\+? years?\b)", re.I)
_EMAIL = re.compile(r"[\w.+-]+@[\w.-]+\w")
_BULLET = re.compile(r"^\s*(?:[-*•+]|\d{1,2}[.)])\s*")
_EMPLOYER = re.compile(r"(?<= at )[A-Z][\w&' ]{2,40}(?=[ ,(.])|(?<= - )[A-Z][\w&' ]{2,40}(?= \()")
_HIGHER_DEGREE = {
    "bachelor's": "Master's",
    "bachelor’s": "Master's",
    "bachelors": "Masters",
    "bachelor": "Master",
    "bsc": "MSc",
    "b.sc.": "M.Sc.",
    "b.s.": "M.S.",
    "master's": "Doctoral",
    "master’s": "Doctoral",
    "masters": "Doctorate",
    "master": "Doctor",
    "msc": "PhD",
}
_DEGREE = re.compile(
    r"(?<!\w)(?:" + "|".join(re.escape(word) for word in _HIGHER_DEGREE) + r")(?!\w)", re.I
)


@dataclass(frozen=True)
class Donors:
    """Skills and titles of other people that are planted, as written."""

    skills: Sequence[str]
    titles: Sequence[str]


def plant(resume: str, kind: str, donors: Donors, rng: Random) -> str | None:
    """The resume with one invention of a kind of PLANTS, or None where it has no place for it.

    A planted skill or title is one that the resume does not name literally, in any case.
    """
    return PLANTS[kind](resume, donors, rng)


def shuffle_resume(resume: str, rng: Random) -> str:
    """The resume with its sections in another order, and the entries of each section, too.

    An entry is a line, and with it the lines below that have no bullet where the section has
    bullets. Nothing is added or left out.
    """
    sections: list[list[str]] = [[]]
    headings = {line.number for line in split_lines(resume) if line.is_heading}
    for number, line in enumerate(resume.splitlines()):
        if number in headings:
            sections.append([])
        sections[-1].append(line)
    header, *rest = sections
    rng.shuffle(rest)
    shuffled = list(header)
    for section in rest:
        shuffled.extend(_shuffled_section(section, rng))
    return "\n".join(shuffled)


def _shuffled_section(section: list[str], rng: Random) -> list[str]:
    heading, *lines = section
    has_bullets = any(_BULLET.match(line) for line in lines)
    entries: list[list[str]] = []
    for line in lines:
        if entries and has_bullets and not _BULLET.match(line):
            entries[-1].append(line)
        else:
            entries.append([line])
    rng.shuffle(entries)
    shuffled = [heading]
    for entry in entries:
        shuffled.extend(entry)
    return shuffled


def _added_skill(resume: str, donors: Donors, rng: Random) -> str | None:
    skill = _foreign(donors.skills, resume, rng)
    lines = [line for line in split_lines(resume) if line.section == "skills"]
    lines = [line for line in lines if not line.is_heading]
    if skill is None:
        return None
    if not lines:
        lines = [line for line in split_lines(resume) if "; " in line.text]
        return _replaced(resume, lines[0], f"{lines[0].text}; {skill}") if lines else None
    line = rng.choice(lines)
    bullet = _BULLET.match(line.text)
    if bullet is None:
        return _replaced(resume, line, f"{line.text.rstrip(' .')}, {skill}")
    wrapper = rng.choice(("", "", "Proficient in ", "Strong knowledge of "))
    return _replaced(resume, line, f"{line.text}\n{bullet[0]}{wrapper}{skill}")


def _lengthened_years(resume: str, donors: Donors, rng: Random) -> str | None:
    spans = [match for match in _RANGE.finditer(resume) if match[1] <= match[3]]
    if spans:
        span = rng.choice(spans)
        more = rng.randint(1, 4)
        start = int(span[1]) - more
        end = int(span[3]) + more
        longer = rng.choice((f"{start}{span[2]}{span[3]}", f"{span[1]}{span[2]}{end}"))
        return resume[: span.start()] + longer + resume[span.end() :]
    years = _YEARS.search(resume)
    if years is None:
        return None
    return resume[: years.start()] + str(int(years[1]) + 3) + resume[years.end() :]


def _swapped_dates(resume: str, donors: Donors, rng: Random) -> str | None:
    """Two positions exchange their dates."""
    spans = list({match[0]: match for match in _RANGE.finditer(resume)}.values())
    if len(spans) < 2:
        return None
    first, second = sorted(rng.sample(spans, 2), key=lambda span: span.start())
    between = resume[first.end() : second.start()]
    return f"{resume[: first.start()]}{second[0]}{between}{first[0]}{resume[second.end() :]}"


def _added_job(resume: str, donors: Donors, rng: Random) -> str | None:
    title = _foreign(donors.titles, resume, rng)
    lines = _experience_lines(resume)
    if title is None or not lines:
        return None
    line = lines[-1]
    bullet = _BULLET.match(line.text)
    mark = bullet[0] if bullet else ""
    starts = [int(match[1]) for match in _RANGE.finditer(resume)]
    end = min(starts, default=2012)
    dates = f"{end - rng.randint(1, 5)} - {end}"
    entry = rng.choice(
        (
            f"{title} ({dates})",
            f"{title} - {rng.choice(EMPLOYERS)} ({dates})",
            f"{title} at {rng.choice(EMPLOYERS)}, {dates}",
            f"Worked as a {title} from {dates.replace(' - ', ' to ')}.",
        )
    )
    return _replaced(resume, line, f"{line.text}\n{mark}{entry}")


def _changed_employer(resume: str, donors: Donors, rng: Random) -> str | None:
    employer = rng.choice(EMPLOYERS)
    found = _EMPLOYER.search(resume)
    if found:
        return resume[: found.start()] + employer + resume[found.end() :]
    lines = [line for line in _experience_lines(resume) if _RANGE.search(line.text)]
    if not lines:
        lines = _experience_lines(resume)
        return (
            _replaced(resume, lines[0], f"{lines[0].text}\nEmployer: {employer}") if lines else None
        )
    line = rng.choice(lines)
    dates = _RANGE.search(line.text)
    before = line.text[: dates.start()].rstrip(" (,")
    return _replaced(resume, line, f"{before} at {employer} ({dates[0]})")


def _changed_degree(resume: str, donors: Donors, rng: Random) -> str | None:
    found = _DEGREE.search(resume)
    if found:
        higher = _HIGHER_DEGREE[found[0].lower()]
        return resume[: found.start()] + higher + resume[found.end() :]
    lines = [line for line in split_lines(resume) if line.section == "education"]
    if not lines:
        return None
    return _replaced(resume, lines[-1], f"{lines[-1].text}\nPhD in Applied Physics")


def _added_number(resume: str, donors: Donors, rng: Random) -> str | None:
    lines = _experience_lines(resume)
    if not lines:
        return None
    line = rng.choice(lines)
    metric = rng.choice(METRICS).format(n=rng.randint(11, 89))
    return _replaced(resume, line, f"{line.text.rstrip(' .')}, {metric}")


def _raised_title(resume: str, donors: Donors, rng: Random) -> str | None:
    lines = [line for line in _experience_lines(resume) if _RANGE.search(line.text)]
    if not lines:
        return None
    line = rng.choice(lines)
    bullet = _BULLET.match(line.text)
    mark = bullet[0] if bullet else ""
    rank = rng.choice(("Principal", "Senior", "Chief"))
    if rank.lower() in line.text.lower():
        return None
    return _replaced(resume, line, f"{mark}{rank} {line.text[len(mark) :]}")


def _changed_contact(resume: str, donors: Donors, rng: Random) -> str | None:
    found = _EMAIL.search(resume)
    if found is None:
        return None
    return f"{resume[: found.start()]}hello.{found[0]}{resume[found.end() :]}"


def _experience_lines(resume: str) -> list[Line]:
    return [
        line for line in split_lines(resume) if line.section == "experience" and not line.is_heading
    ]


def _foreign(pool: Sequence[str], resume: str, rng: Random) -> str | None:
    """One of the pool that the resume does not name literally."""
    low = resume.lower()
    candidates = [item for item in pool if item.strip() and item.lower() not in low]
    return rng.choice(candidates) if candidates else None


def _replaced(resume: str, line: Line, new: str) -> str:
    lines = resume.splitlines()
    lines[line.number] = new
    return "\n".join(lines)


PLANTS: dict[str, Callable[[str, Donors, Random], str | None]] = {
    "added_skill": _added_skill,
    "lengthened_years": _lengthened_years,
    "swapped_dates": _swapped_dates,
    "added_job": _added_job,
    "raised_title": _raised_title,
    "changed_employer": _changed_employer,
    "changed_degree": _changed_degree,
    "added_number": _added_number,
    "changed_contact": _changed_contact,
}
