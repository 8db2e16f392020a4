"""An editor that fits a resume to a job by selection alone: it reorders, renames and lists what the
resume states, and adds nothing that it does not state.

Every change has a reason and the resume's own words as evidence, and passes the check of `claims`;
one that does not is refused and told. Nothing is dropped. What the job demands and the resume does
not state is listed as missing: it would have to be true before it may be written. Deterministic.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from matchlib.hrtasks.claims import (
    DEGREE_ORDER,
    Claim,
    Evidence,
    degree_level,
    find_claims,
    graph_skill,
)
from matchlib.hrtasks.resume_parts import (
    DatedRow,
    Line,
    content_words,
    list_items,
    skill_name,
    split_lines,
    statements,
    text_parts,
    tokens,
)

CHANGE_KINDS = ("rename", "list", "reorder_items", "reorder_lines", "reorder_sections")
MIN_SHARED_TITLE = 0.5
"""Share of a position's words that a job's statement on years has to hold to be about it."""
_LIST_END = re.compile(r"(;\s+|,\s+)")
_PREFIX = re.compile(r"^\s*(?:[-*•·+–]\s*|\(?\d{1,2}[.)]\s*)?")


@dataclass(frozen=True)
class Change:
    """One change of a resume.

    kind: of CHANGE_KINDS; before, after: the text that changed ("" before where a line is new);
    evidence: the resume's statement that the change rests on.
    """

    kind: str
    before: str
    after: str
    reason: str
    evidence: str


@dataclass(frozen=True)
class Missing:
    """A demand of the job (kind skill, years or degree) that the resume does not state."""

    kind: str
    demand: str
    note: str


@dataclass(frozen=True)
class Edit:
    """An edited resume: its text, the changes made, those refused by the check of claims (with the
    claim), and what is missing."""

    text: str
    changes: list[Change] = field(default_factory=list)
    refused: list[tuple[Change, Claim]] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


def job_skills(job: str) -> list[str]:
    """The skills that a job demands, as it names them, each once: the items of its lists and the
    graph's phrases in its text."""
    names = {}
    for claim in find_claims(job):
        if claim.kind == "skill":
            name = skill_name(claim.value)
            names.setdefault(tuple(tokens(name)), name)
    names.pop((), None)
    return list(names.values())


def coverage(resume: str, job: str, *, skills: Sequence[str] | None = None) -> float:
    """The share of the job's skills that the resume names literally as the job does (plural and case
    aside); NaN where the job names none. skills: see `edit_resume`."""
    named = _named(resume, job_skills(job) if skills is None else skills)
    return sum(named) / len(named) if named else float("nan")


def supported_coverage_gained(edited: str, resume: str, job: str) -> float:
    """The share of the job's skills that the edited resume names literally, the original does not,
    but states in other words; NaN where the job names none.

    Skills that an editor invents or copies from the job are not counted.
    """
    skills = job_skills(job)
    evidence = Evidence(resume)
    before = _named(resume, skills)
    after = _named(edited, skills)
    gained = [
        now and not was and bool(evidence.quote_of_skill(skill))
        for skill, was, now in zip(skills, before, after, strict=True)
    ]
    return sum(gained) / len(gained) if gained else float("nan")


def content_lost(edited: str, resume: str) -> float:
    """The share of the resume's content words (each as often as it occurs) that the edit lacks; 0 of
    a resume without words."""
    original = Counter(content_words(resume))
    lost = original - Counter(content_words(edited))
    return lost.total() / original.total() if original else 0.0


def _named(resume: str, skills: Sequence[str]) -> list[bool]:
    text = " | ".join(f" {' '.join(part)} " for part in text_parts(resume))
    return [f" {' '.join(tokens(skill))} " in text for skill in skills]


def _names_skill(text: str, skill: str) -> bool:
    return _named(text, [skill])[0]


def edit_resume(resume: str, job: str, *, skills: Sequence[str] | None = None) -> Edit:
    """Fit a resume to a job without adding a fact.

    In turn: skills that the resume names by an alias get the job's name (the alias stays, in
    brackets); skills that its other sections state are listed among its skills; items and lines of
    its skills, and its sections, are put in the order of how many of the job's skills they name.
    Personal information stays at the top. A resume or a job without words gives the resume.
    skills: that the job demands, each once; None takes those of `job_skills`.
    """
    evidence = Evidence(resume)
    skills = job_skills(job) if skills is None else list(skills)
    edit = Edit(resume)
    steps = [
        *(partial(_rename, skill=skill) for skill in skills),
        *(partial(_addition, skill=skill, evidence=evidence) for skill in skills),
        *(partial(order, skills=skills) for order in (_item_order, _line_order, _section_order)),
    ]
    for step in steps:
        proposal = step(edit.text)
        if proposal is not None:
            edit = _checked(edit, proposal, evidence)
    missing = [*_missing_skills(skills, evidence), *_missing_years(job, evidence)]
    return replace(edit, missing=[*missing, *_missing_degree(job, resume)])


class _Proposal(NamedTuple):
    """A change and the whole text with it."""

    change: Change
    text: str


def _checked(edit: Edit, proposal: _Proposal, evidence: Evidence) -> Edit:
    """The edit with a change, or with the change refused where a claim of the text is unsupported."""
    unsupported = evidence.unsupported(proposal.text)
    if unsupported:
        return replace(edit, refused=[*edit.refused, (proposal.change, unsupported[0])])
    return replace(edit, text=proposal.text, changes=[*edit.changes, proposal.change])


# ---- what may change
# ---------------------------------------------------------------------


def _rename(text: str, *, skill: str) -> _Proposal | None:
    """An item of the list of skills gets the job's name; its own stays in brackets."""
    if _names_skill(text, skill):
        return None
    for line in _list_lines(text):
        item = _item_with_alias(line.text, skill)
        if item:
            after = f"{skill} ({item})"
            change = Change("rename", item, after, f"the job calls {item} {skill}", line.text)
            return _Proposal(change, _with_line(text, line, line.text.replace(item, after, 1)))
    return None


def _item_with_alias(line: str, skill: str) -> str:
    """The name of a line's item that the graph knows as another name of the skill, or ""."""
    known = graph_skill(skill)
    if not known:
        return ""
    for statement in statements(line):
        for item in list_items(statement):
            name = skill_name(item)
            is_same = graph_skill(name) == known and Evidence(name).quote_of_alias(skill)
            if is_same and name in line:
                return name
    return ""


def _addition(text: str, *, skill: str, evidence: Evidence) -> _Proposal | None:
    """A skill that other parts of the resume state joins its list of skills."""
    listed = "\n".join(line.text for line in _list_lines(text))
    statement = evidence.quote_of_skill(skill)
    if not statement or _names_skill(listed, skill) or statement in _education(text):
        return None
    reason = f"the job asks for {skill}; the resume states it, but does not list it"
    return _with_item(text, skill, reason, statement)


def _education(text: str) -> set[str]:
    """Statements on education: a degree in engineering is no skill in engineering."""
    lines = [line for line in split_lines(text) if line.section == "education"]
    return {statement for line in lines for statement in statements(line.text)}


def _with_item(text: str, skill: str, reason: str, evidence: str) -> _Proposal:
    """The text with one more skill in its list, in the list's own form."""
    listed = _list_lines(text)
    if not listed:
        heading = "## Skills" if re.search(r"(?m)^#+ ", text) else "Skills"
        change = Change("list", "", skill, reason, evidence)
        return _Proposal(change, f"{text.rstrip()}\n\n{heading}\n- {skill}")
    last = listed[-1]
    prefix = _PREFIX.match(last.text)[0]
    separator = "; " if "; " in last.text else ", "
    if separator in last.text and not prefix.strip():
        body = last.text.rstrip()
        end = "." if body.endswith(".") else ""
        after = f"{body.removesuffix('.')}{separator}{skill}{end}"
        change = Change("list", last.text, after, reason, evidence)
        return _Proposal(change, _with_line(text, last, after))
    number = re.search(r"\d+", prefix)
    if number:
        prefix = prefix.replace(number[0], str(int(number[0]) + 1))
    change = Change("list", "", skill, reason, evidence)
    return _Proposal(change, _with_line(text, last, f"{last.text}\n{prefix}{skill}"))


def _item_order(text: str, *, skills: list[str]) -> _Proposal | None:
    """Items of plain lists: those that the job asks for first."""
    before = []
    after = []
    edited = text
    for line in _list_lines(text):
        ordered = _ordered_items(line.text, skills)
        if ordered != line.text:
            before.append(line.text)
            after.append(ordered)
            edited = _with_line(edited, line, ordered)
    if not before:
        return None
    reason = "skills that the job asks for come first"
    change = Change("reorder_items", "\n".join(before), "\n".join(after), reason, after[0])
    return _Proposal(change, edited)


def _ordered_items(line: str, skills: list[str]) -> str:
    """A line's list with the named skills first; a line that is no plain list stays as it is."""
    prefix = re.match(r"^\s*(?:[-*•·+–]\s*|\(?\d{1,2}[.)]\s*)?(?:[\w &]{1,40}:\s+)?", line)[0]
    body = line[len(prefix) :]
    end = re.search(r"[.\s]*$", body)[0]
    pieces = _LIST_END.split(body.removesuffix(end))
    items = pieces[0::2]
    separators = pieces[1::2]
    is_plain = len(set(separators)) == 1 and "(" not in body and not re.search(r"[.:]\s", body)
    if not is_plain or re.match(r"(?:and|or|&)\s", items[-1]):
        return line
    ordered = sorted(items, key=lambda item: not any(_named(item, skills)))
    return prefix + separators[0].join(ordered) + end


def _line_order(text: str, *, skills: list[str]) -> _Proposal | None:
    """Lines of the section of skills: those that name most of the job's skills first."""
    listed = [line for line in _list_lines(text) if line.section == "skills"]
    prefixes = [_PREFIX.match(line.text)[0] for line in listed]
    if len(listed) < 2 or len({bool(prefix.strip()) for prefix in prefixes}) > 1:
        return None  # lines without a bullet may go on with the one above
    bodies = [line.text[len(prefix) :] for line, prefix in zip(listed, prefixes, strict=True)]
    if not prefixes[0].strip() and any(len(tokens(body)) > 4 for body in bodies):
        return None
    ordered = sorted(bodies, key=lambda body: -sum(_named(body, skills)))
    if ordered == bodies:
        return None
    lines = text.splitlines()
    for line, prefix, body in zip(listed, prefixes, ordered, strict=True):
        lines[line.number] = prefix + body
    change = Change(
        "reorder_lines",
        "\n".join(line.text for line in listed),
        "\n".join(lines[line.number] for line in listed),
        "lines of skills that name most of what the job asks for come first",
        ordered[0],
    )
    return _Proposal(change, "\n".join(lines))


def _section_order(text: str, *, skills: list[str]) -> _Proposal | None:
    """Sections of skills, experience and education: those that name most of the job's skills first."""
    blocks = _blocks(text)
    movable = [
        at
        for at, block in enumerate(blocks)
        if block.section in ("skills", "experience", "education")
    ]
    ordered = sorted(movable, key=lambda at: -sum(_named(blocks[at].text, skills)))
    if ordered == movable:
        return None
    new = list(blocks)
    for position, at in zip(movable, ordered, strict=True):
        new[position] = blocks[at]
    headings = [[block.heading for block in order if block.heading] for order in (blocks, new)]
    change = Change(
        "reorder_sections",
        "\n".join(headings[0]),
        "\n".join(headings[1]),
        "sections that name most of the job's skills come first",
        blocks[ordered[0]].heading,
    )
    texts = [block.text.strip("\n") for block in new if block.text.strip()]
    return _Proposal(change, "\n\n".join(texts))


@dataclass(frozen=True)
class _Block:
    """A section of a text: its kind, its heading ("" before the first) and its whole text."""

    section: str
    heading: str
    text: str


def _blocks(text: str) -> list[_Block]:
    headings = [line for line in split_lines(text) if line.is_heading]
    lines = text.splitlines()
    starts = [heading.number for heading in headings]
    blocks = [_Block("header", "", "\n".join(lines[: starts[0] if starts else len(lines)]))]
    for heading, end in zip(headings, [*starts, len(lines)][1:], strict=True):
        body = "\n".join(lines[heading.number : end])
        blocks.append(_Block(heading.section, heading.text, body))
    return blocks


def _list_lines(text: str) -> list[Line]:
    """The lines of the sections of skills; without such a section, lists between semicolons."""
    lines = [line for line in split_lines(text) if not line.is_heading]
    in_section = [line for line in lines if line.section == "skills"]
    return in_section or [line for line in lines if line.text.count("; ") > 1]


def _with_line(text: str, line: Line, new: str) -> str:
    lines = text.splitlines()
    lines[line.number] = new
    return "\n".join(lines)


# ---- what is missing
# ---------------------------------------------------------------------


def _missing_skills(skills: list[str], evidence: Evidence) -> Iterator[Missing]:
    for skill in skills:
        if not evidence.quote_of_skill(skill):
            yield Missing("skill", skill, "the resume does not state it")


def _missing_years(job: str, evidence: Evidence) -> Iterator[Missing]:
    """Years that the job asks for and neither the positions nor the words of the resume give."""
    for claim in find_claims(job):
        if claim.kind != "years":
            continue
        about = [row for row in evidence.all_rows if _is_about(row, claim.quote)]
        years = max((_full_years(row, evidence) for row in about), default=0)
        stated = 0 if about else max(map(int, evidence.years), default=0)
        if max(years, stated) < int(claim.value):
            note = f"the resume states {max(years, stated)} years" if about or stated else ""
            yield Missing("years", claim.quote, note or "the resume dates no such position")


def _is_about(row: DatedRow, statement: str) -> bool:
    words = set(content_words(row.parts[0])) if row.parts else set()
    return bool(words) and len(words & set(tokens(statement))) >= MIN_SHARED_TITLE * len(words)


def _full_years(row: DatedRow, evidence: Evidence) -> int:
    """The years of a position; one that lasts ends with the resume's last year."""
    ends = [other.end for other in evidence.all_rows if other.end != "present"]
    last = row.end if row.end != "present" else max([row.start, *ends])
    return max(0, int(last[:4]) - int(row.start[:4]))


def _missing_degree(job: str, resume: str) -> Iterator[Missing]:
    """The first statement of the job on an academic degree that no degree of the resume reaches."""
    held = max(_levels(resume), default=0)
    for line in split_lines(job):
        for statement in statements(line.text):
            asked = min(_levels(statement), default=0)
            if asked >= DEGREE_ORDER.index("associate") and asked > held:
                best = DEGREE_ORDER[held] or "none"
                yield Missing("degree", statement, f"the highest degree of the resume: {best}")
                return


def _levels(text: str) -> list[int]:
    clauses = re.split(r"[;|,\n]|\s(?:-|or|and)\s", text)
    levels = [DEGREE_ORDER.index(degree_level(clause)) for clause in clauses]
    return [level for level in levels if level]
