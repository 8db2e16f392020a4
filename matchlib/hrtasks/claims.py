"""A check for invented facts: is every claim of an edited resume stated by the original?

The job is no evidence. Facts are checked by rules: skills, titles, employers, dates, years of
experience, numbers, degrees, names and contact details; one that the original does not state is
unsupported, and an edit that holds one should not be used. A statement in other words than those of
the original is only reported, because rules cannot tell a paraphrase from an invention.

What counts as stated is narrow: the original's own words in one list item or clause (in any case,
singular or plural), or, for a skill of the graph, any of its known phrases for the skill's name. A
name does not state an alias: who knows accounting software need not know QuickBooks. A shorter span
of time than the original's is reported, too: the original does not state it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from matchlib.data.normal import plain
from matchlib.data.skills import load_graph
from matchlib.extraction.facts import NUMBER_WORDS, TITLE_PREFIX, PhraseMatcher
from matchlib.hrtasks.resume_parts import (
    MAX_ITEM_WORDS,
    DatedRow,
    Line,
    content_words,
    dated_rows,
    list_items,
    skill_core,
    split_at_and,
    split_lines,
    statements,
    text_parts,
    tokens,
)

CLAIM_KINDS = (
    "skill",
    "title",
    "employer",
    "dates",
    "years",
    "number",
    "degree",
    "contact",
    "name",
)
_DETAILS = ("name", "number")
MIN_STATEMENT_WORDS = 4
"""Content words from which on a statement is compared with the original."""
MIN_SHARED_WORDS = 0.5
"""Share of a statement's content words that the original has, below which it is reported."""
MAX_GAP = 2
"""Words, at most, that stand between the words of a skill in the original."""
MAX_TITLE_WORDS = 8
"""Words, at most, of a title or an employer; longer parts of a row are statements."""
RANK_WORDS = frozenset(
    "junior senior principal chief director manager supervisor executive president vp cto ceo cfo "
    "head lead".split()
)

_DEGREE_LEVELS = {
    "doctorate": r"ph\.?\s?d\.?|d\.?phil\.?|doctorates?|doctoral|doctor of|juris doctor|j\.d\.",
    "master": r"masters?(?:'s)?(?= degree| of| in|$|[,.])|master's|m\.?\s?sc\.?|m\.?b\.?a\.?|m\.?eng\.?"
    r"|m\.s\.|m\.a\.|m\.?tech|postgraduate|graduate-school",
    "bachelor": r"bachelors?(?:'s)?|b\.?\s?sc\.?|b\.?eng\.?|b\.s\.|b\.a\.|b\.?tech|undergraduate"
    r"|first university degree",
    "associate": r"associate(?:'s)? degree|associate of",
    "vocational": r"diplomas?|apprenticeships?|vocational|technical college",
    "certificate": r"certificates?|certifications?",
    "school": r"high school|school leaving|schooling|ged",
}
_DEGREE = re.compile(
    "|".join(
        rf"(?P<{level}>(?<!\w)(?:{words})(?!\w))" for level, words in _DEGREE_LEVELS.items()
    ),
    re.I,
)
_UPPER_DEGREE = {"BA": "bachelor", "BS": "bachelor", "MS": "master", "MA": "master"}
_EDUCATION_LABEL = re.compile(r"^(?:education|degree|studies|qualification)s?\s*:", re.I)
_CONTACT = re.compile(
    r"[\w.%+'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,6}"
    r"|(?:https?://|www\.|linkedin\.com|github\.com)[^\s<>\"]{1,300}"
    r"|(?<![\w.])\+?\(?\d(?:[ ().-]{0,2}\d){7,14}(?!\w)",
    re.I,
)
_NUMBER = re.compile(r"(?<![\w.,])[$€£]?\d{1,15}(?:[.,]\d{1,15}){0,5}(?:\+|\s?%|(?:k|m|bn)\b)?", re.I)
_YEARS = re.compile(
    rf"\b(\d{{1,2}}|{'|'.join(NUMBER_WORDS)})\s?\+?(?:\s?-\s?|\s)(?:years?|yrs?)\b", re.I
)
_CAPITALISED = re.compile(r"(?<!\w)[A-ZÀ-Þ][\w'+#]*(?:[.&/-][A-ZÀ-Þ][\w'+#]*)*")
_LIST_SIGN = re.compile(r";\s")


@dataclass(frozen=True)
class Claim:
    """One fact that a resume states.

    kind: of CLAIM_KINDS; value: the fact; quote: the statement that holds it; context: the dates
    that a title or employer belongs to, the position that dates belong to, or "".
    """

    kind: str
    value: str
    quote: str
    context: str = ""


def find_claims(text: str) -> list[Claim]:
    """The facts that a resume states, each once, in the order of the text within a kind.

    Skills are the items of lists of skills and the graph's phrases anywhere. Text without any words
    states nothing.
    """
    lines = split_lines(text)
    found = [
        *_row_claims(dated_rows(lines)),
        *_line_claims(lines),
    ]
    return list(dict.fromkeys(found))


def unsupported_claims(edited: str, original: str) -> list[Claim]:
    """The facts of an edited resume that the original does not state; none should be published.

    Where another fact of a statement is unsupported, the names and numbers in it are not listed
    again.
    """
    evidence = _Evidence(original)
    unsupported = [claim for claim in find_claims(edited) if not evidence.supports(claim)]
    told: dict[str, set[str]] = defaultdict(set)
    for claim in unsupported:
        if claim.kind not in _DETAILS:
            told[claim.quote].update(tokens(claim.value))
    return [
        claim
        for claim in unsupported
        if claim.kind not in _DETAILS or not told[claim.quote].issuperset(tokens(claim.value))
    ]


def unsupported_statements(edited: str, original: str) -> list[str]:
    """Statements of the edited resume whose words are largely not in the original: for a person to
    check.

    Those of MIN_STATEMENT_WORDS content words and more, of which the original has less than
    MIN_SHARED_WORDS.
    """
    known = set(tokens(original))
    found = []
    for line in split_lines(edited):
        for statement in statements(line.text):
            words = set(content_words(statement))
            n_shared = len(words & known)
            if len(words) >= MIN_STATEMENT_WORDS and n_shared < MIN_SHARED_WORDS * len(words):
                found.append(statement)
    return list(dict.fromkeys(found))


# ---- what a resume claims
# ---------------------------------------------------------------------


def _row_claims(rows: Iterable[DatedRow]) -> Iterator[Claim]:
    for row in rows:
        parts = row.parts
        position = parts[0] if parts else ""
        yield Claim("dates", row.dates, row.quote, position)
        for number, part in enumerate(parts):
            if len(tokens(part)) <= MAX_TITLE_WORDS:
                kind = "employer" if number else "title"
                yield Claim(kind, part, row.quote, row.dates)


def _line_claims(lines: list[Line]) -> Iterator[Claim]:
    for line in lines:
        if line.is_heading:
            continue
        for statement in statements(line.text):
            yield from _skill_claims(statement, line.section)
            yield from _title_claims(statement, line.section)
            yield from _degree_claims(statement, line.section)
            for contact in _CONTACT.finditer(statement):
                yield Claim("contact", contact[0].rstrip(".,;)"), statement)
            yield from _number_claims(statement)
            yield from _name_claims(statement)


def _skill_claims(statement: str, section: str) -> Iterator[Claim]:
    is_list = section == "skills" or len(_LIST_SIGN.findall(statement)) > 1
    if is_list:
        for item in list_items(statement):
            n_words = len(skill_core(item))
            # a list between semicolons may hold deeds of many words
            if 0 < n_words <= (MAX_ITEM_WORDS if section == "skills" else 2 * MAX_ITEM_WORDS):
                yield Claim("skill", item, statement)
    for phrase, _ in _graph_phrases(statement):
        yield Claim("skill", phrase, statement)


def _graph_phrases(statement: str) -> Iterator[tuple[str, str]]:
    """(phrase, skill name) of the graph's skills in a statement."""
    words = tokens(statement)
    for match in _skill_matcher().find(words):
        if not match.is_title:
            yield " ".join(words[match.start : match.end]), match.value


def _title_claims(statement: str, section: str) -> Iterator[Claim]:
    """Positions without dates: short statements of an experience section, words of rank, known
    titles."""
    words = tokens(statement)
    for match in _skill_matcher().find(words):
        if match.is_title:
            yield Claim("title", " ".join(words[match.start : match.end]), statement)
    for word in RANK_WORDS.intersection(words):
        yield Claim("title", word, statement)
    is_short = len(words) <= MAX_TITLE_WORDS
    capitals = [word for word in statement.split() if word[0].isupper()]
    is_in_title_case = len(capitals) > 1 and len(capitals) >= len(content_words(statement)) - 1
    if section == "experience" and is_short and is_in_title_case and not re.search(r"\d", statement):
        yield Claim("title", statement, statement)


def _degree_claims(statement: str, section: str) -> Iterator[Claim]:
    """Degrees with their subject; context: the level."""
    is_education = section == "education" or _EDUCATION_LABEL.match(statement)
    for clause in re.split(r"[;|,]|\s-\s", statement):
        level = _degree_level(clause)
        if level and (is_education or level not in ("vocational", "certificate", "school")):
            value = clause.strip(" .-*#") if is_education else level
            yield Claim("degree", value, statement, level)


def _degree_level(clause: str) -> str:
    match = _DEGREE.search(clause)
    if match:
        return match.lastgroup
    for word in re.findall(r"[A-Z]{2}(?!\w)", clause):
        if word in _UPPER_DEGREE and re.search(rf"\b{word}\b(?= in | of |\.?$| or )", clause):
            return _UPPER_DEGREE[word]
    return ""


def _number_claims(statement: str) -> Iterator[Claim]:
    for match in _YEARS.finditer(statement):
        yield Claim("years", str(_number_of_years(match[1])), statement)
    without = _YEARS.sub(" ", _CONTACT.sub(" ", statement))
    for match in _NUMBER.finditer(without):
        yield Claim("number", match[0].replace(" ", ""), statement)


def _number_of_years(text: str) -> int:
    return NUMBER_WORDS.get(text.lower()) or int(text)


def _name_claims(statement: str) -> Iterator[Claim]:
    """Capitalised words beside the first: employers, schools, products, people, places."""
    first = re.search(r"\w", statement)
    for match in _CAPITALISED.finditer(statement):
        inside = match[0][1:]
        is_mark = any(letter.isupper() or letter.isdigit() for letter in inside)
        if match.start() > first.start() or is_mark:
            yield Claim("name", match[0], statement)


# ---- what the original states
# ---------------------------------------------------------------------


class _Evidence:
    """What an original resume states, indexed; `supports` answers for one claim.

    Each answer is kept: a text of many pages repeats its claims.
    """

    def __init__(self, text: str):
        self.text = plain(text).lower()
        self.lines = split_lines(text)
        self.words = set(tokens(text))
        self.parts = [tuple(part) for part in dict.fromkeys(map(tuple, text_parts(text)))]
        self.parts_by_word = _positions(self.parts)
        self.rows = defaultdict(list)
        self.all_rows = dated_rows(self.lines)
        for row in self.all_rows:
            self.rows[row.start[:4], row.end[:4]].append(row)
        self.statements = [part for line in self.lines for part in statements(line.text)]
        self.phrases = defaultdict(set)
        self.levels = defaultdict(list)
        self.years = set()
        self.words_by_number = defaultdict(set)
        self.single_items = set()
        self._read_statements()
        self.answers: dict[tuple[str, str, str, str], bool] = {}

    def _read_statements(self) -> None:
        for statement in dict.fromkeys(self.statements):
            for phrase, skill in _graph_phrases(statement):
                self.phrases[skill].add(phrase)
            level_of_clause = [
                _degree_level(clause) for clause in re.split(r"[;|,]|\s-\s", statement)
            ]
            for level in filter(None, level_of_clause):
                self.levels[level].append(frozenset(tokens(statement)))
            for claim in _number_claims(statement):
                if claim.kind == "years":
                    self.years.add(claim.value)
                else:
                    self.words_by_number[claim.value].update(content_words(statement))
            for item in list_items(statement):
                for piece in (item, *split_at_and(item)):
                    core = skill_core(piece)
                    if len(core) == 1:
                        self.single_items.add(core[0])

    def supports(self, claim: Claim) -> bool:
        """Whether the original states the fact."""
        by_statement = claim.quote if claim.kind in ("number", "title", "dates") else ""
        key = (claim.kind, claim.value, claim.context, by_statement)
        if key not in self.answers:
            self.answers[key] = getattr(self, f"_supports_{claim.kind}")(claim)
        return self.answers[key]

    def _supports_skill(self, claim: Claim) -> bool:
        if self._states_skill(claim.value):
            return True
        pieces = split_at_and(claim.value)
        return len(pieces) > 1 and all(self._states_skill(piece) for piece in pieces)

    def _states_skill(self, skill: str) -> bool:
        core = tuple(skill_core(skill)) or tuple(tokens(skill))
        if len(core) == 1 and len(core[0]) == 1:  # the C of "John C. Smith" is no language
            return core[0] in self.single_items
        if self._states_phrase(core):
            return True
        name = _skill_names().get(core)
        if name is not None:
            return bool(self.phrases[name])
        alias_of = _skill_aliases().get(core)
        return alias_of is not None and any(
            _is_acronym(core, phrase.split()) for phrase in self.phrases[alias_of]
        )

    def _states_phrase(self, words: tuple[str, ...]) -> bool:
        """Whether one part of the original holds the words close together, in any order."""
        needed = {word for word in content_words(" ".join(words))} or set(words)
        if not needed <= self.words:
            return False
        rarest = min(needed, key=lambda word: len(self.parts_by_word[word]))
        return any(
            _smallest_window(self.parts[at], needed) <= len(words) + MAX_GAP
            for at in self.parts_by_word[rarest]
        )

    def _supports_title(self, claim: Claim) -> bool:
        needed = set(content_words(claim.value))
        if not claim.context:
            if claim.value in RANK_WORDS:
                return claim.value in self.words
            return self._one_part_has(needed)
        rows = self._same_dates(claim.context) or self.all_rows
        return any(needed <= row.words for row in rows) or (not rows and self._one_part_has(needed))

    def _supports_employer(self, claim: Claim) -> bool:
        needed = set(content_words(claim.value))
        rows = self._same_dates(claim.context)
        return any(needed <= row.words for row in rows) if rows else needed <= self.words

    def _supports_dates(self, claim: Claim) -> bool:
        """Whether the same span stands beside the position; a position under other dates is no
        evidence."""
        return bool(self._same_dates(claim.value))

    def _same_dates(self, dates: str) -> list[DatedRow]:
        start, _, end = dates.partition(" - ")
        return [
            row
            for row in self.rows.get((start[:4], end[:4]), ())
            if row.start.startswith(start) and row.end.startswith(end)
        ]

    def _one_part_has(self, needed: set[str]) -> bool:
        if not needed <= self.words:
            return False
        return any(needed <= set(tokens(statement)) for statement in self.statements)

    def _supports_years(self, claim: Claim) -> bool:
        return claim.value in self.years

    def _supports_number(self, claim: Claim) -> bool:
        if claim.value not in self.words_by_number:
            return False
        words = set(content_words(claim.quote)) - {claim.value}
        return not words or not words.isdisjoint(self.words_by_number[claim.value])

    def _supports_degree(self, claim: Claim) -> bool:
        words = set(content_words(_DEGREE.sub(" ", claim.value))) - {"degree", "education"}
        return any(words <= stated for stated in self.levels[claim.context])

    def _supports_contact(self, claim: Claim) -> bool:
        return claim.value.lower() in self.text

    def _supports_name(self, claim: Claim) -> bool:
        return self.words.issuperset(tokens(claim.value))


def _positions(parts: list[tuple[str, ...]]) -> dict[str, list[int]]:
    positions = defaultdict(list)
    for at, part in enumerate(parts):
        for word in set(part):
            positions[word].append(at)
    return positions


def _smallest_window(words: tuple[str, ...], needed: set[str]) -> float:
    """The length of the shortest run of words that holds all the needed ones; inf where none does."""
    last: dict[str, int] = {}
    shortest = float("inf")
    for position, word in enumerate(words):
        if word in needed:
            last[word] = position
            if len(last) == len(needed):
                shortest = min(shortest, position - min(last.values()) + 1)
    return shortest


def _is_acronym(first: Iterable[str], second: Iterable[str]) -> bool:
    """Whether one of two phrases consists of the initials of the other's words."""
    first = list(first)
    second = list(second)
    if len(first) > len(second):
        first, second = second, first
    return len(first) == 1 < len(second) and first[0] == "".join(word[0] for word in second)


class _ResumePhrases(PhraseMatcher):
    """A PhraseMatcher whose phrases are tokenized as resumes are here: C++ is one word."""

    def __init__(self, meanings: Iterable[tuple[str, str]]):
        self.by_first_token = defaultdict(list)
        for phrase, value in meanings:
            words = tuple(tokens(phrase))
            self.by_first_token[words[0]].append((words, value))
        for candidates in self.by_first_token.values():
            candidates.sort(key=lambda candidate: -len(candidate[0]))


@cache
def _skill_matcher() -> PhraseMatcher:
    """The graph's skills; its titles are among them, so that no skill is found inside a title."""
    graph = load_graph("seen")
    meanings = []
    for occupation in graph.occupations.values():
        for title in (occupation.name, *occupation.titles):
            meanings.append((title, TITLE_PREFIX + occupation.id))
    for skill in graph.skills.values():
        for phrase in (skill.name, *skill.aliases, *skill.evidence):
            meanings.append((phrase, skill.name))
    return _ResumePhrases(meanings)


@cache
def _skill_names() -> dict[tuple[str, ...], str]:
    """Tokens of a skill's name -> the name."""
    return {tuple(tokens(skill.name)): skill.name for skill in load_graph("seen").skills.values()}


@cache
def _skill_aliases() -> dict[tuple[str, ...], str]:
    """Tokens of a skill's alias -> the skill's name."""
    aliases = {}
    for skill in load_graph("seen").skills.values():
        for alias in skill.aliases:
            aliases[tuple(tokens(alias))] = skill.name
    return aliases
