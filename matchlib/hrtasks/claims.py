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
from functools import cache, lru_cache

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
    root_of_verb,
    roots_of_noun,
    skill_core,
    split_at_and,
    split_lines,
    statements,
    text_parts,
    token_spans,
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
    re.findall(
        r"\S+",
        """
        junior senior principal chief director manager supervisor executive president vp cto ceo cfo
        head lead
        """,
    )
)

_DEGREE_LEVELS = {
    "doctorate": r"ph\.?\s?d\.?|d\.?phil\.?|doctorates?|doctoral|doctor(?= of| degree)|juris doctor|j\.d\.",
    "master": r"master(?:s|s'|'s)?(?= degree| of| in|$|[,.])|masters?'s?|m\.?\s?sc\.?|m\.?b\.?a\.?|m\.?eng\.?"
    r"|m\.s\.|m\.a\.|m\.?tech|postgraduate|graduate-school",
    "bachelor": r"bachelors?'?s?|b\.?\s?sc\.?|b\.?eng\.?|b\.s\.|b\.a\.|b\.?tech|undergraduate"
    r"|first university degree",
    "associate": r"associate(?:'s)? degree|associate of",
    "vocational": r"diplomas?|apprenticeships?|vocational|technical college",
    "certificate": r"certificates?|certifications?",
    "school": r"high school|school leaving|schooling|ged",
}
DEGREE_ORDER = ("", *reversed(_DEGREE_LEVELS))
"""Levels of degrees, the lowest first."""
_DEGREE = re.compile(
    "|".join(rf"(?P<{level}>(?<!\w)(?:{words})(?!\w))" for level, words in _DEGREE_LEVELS.items()),
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
_NUMBER = re.compile(
    r"(?<![\w.,])[$€£]?\d{1,15}(?:[.,]\d{1,15}){0,5}(?:\+|\s?%|(?:k|m|bn)\b)?", re.I
)
_YEARS = re.compile(
    rf"\b(\d{{1,2}}|{'|'.join(NUMBER_WORDS)})\s?\+?(?:\s?-\s?|\s)(?:years?|yrs?)\b", re.I
)
_CAPITALISED = re.compile(r"(?<!\w)[A-ZÀ-Þ][\w'+#]*(?:[.&/-][A-ZÀ-Þ][\w'+#]*)*")
_CLAUSE_END = re.compile(r"[;|,]|\s-\s")
_VERB = "~"
"""Before the root of a verb in an index of words."""
_DENIED = re.compile(
    r"\b(?:not|no|without|except|excluding|lacks?|lacking|never|instead of|other than)\b[^,;.()]*",
    re.I,
)
"""A word that denies what follows it, and what follows."""
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

    Names and numbers that are part of an unsupported fact, or of a skill, are not listed again.
    """
    return Evidence(original).unsupported(edited)


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
    """(phrase as written, skill name) of the graph's skills in a statement in plain form."""
    spans = token_spans(statement)
    for match in _skill_matcher().find(tokens(statement)):
        if not match.is_title:
            yield statement[spans[match.start][0] : spans[match.end - 1][1]], match.value


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
    if (
        section == "experience"
        and is_short
        and is_in_title_case
        and not re.search(r"\d", statement)
    ):
        yield Claim("title", statement, statement)


def _degree_claims(statement: str, section: str) -> Iterator[Claim]:
    """Degrees with their subject; context: the level."""
    is_education = section == "education" or _EDUCATION_LABEL.match(statement)
    for clause in _CLAUSE_END.split(statement):
        level = degree_level(clause)
        if level and (is_education or level not in ("vocational", "certificate", "school")):
            value = clause.strip(" .-*#") if is_education else level
            yield Claim("degree", value, statement, level)


def degree_level(clause: str) -> str:
    """The level (of DEGREE_ORDER) of the first degree that a clause names, or ""."""
    match = _DEGREE.search(clause)
    if match and match.lastgroup:
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


class Evidence:
    """What an original resume states, indexed to compare several edits with it.

    What the original literally claims is supported, whatever the rules make of it.
    """

    def __init__(self, text: str):
        self.text = plain(text).lower()
        self.lines = split_lines(text)
        self.words = set(tokens(text))
        self.claims = set(find_claims(text))
        self.all_rows = dated_rows(self.lines)
        self.rows = defaultdict(list)
        for row in self.all_rows:
            self.rows[row.start[:4], row.end[:4]].append(row)
        self.statements = list(
            dict.fromkeys(part for line in self.lines for part in statements(line.text))
        )
        self.statement_of_part = {}
        for statement in self.statements:
            for part in text_parts(_DENIED.sub("", statement)):
                self.statement_of_part.setdefault(tuple(part), statement)
        self.parts = list(self.statement_of_part)
        self.parts_by_word = _positions(self.parts)
        self.words_of_statements = [frozenset(tokens(part)) for part in self.statements]
        self.phrases = defaultdict(dict)  # skill name -> tokens of a phrase -> its statement
        self.levels = defaultdict(list)
        self.years = set()
        self.words_by_number = defaultdict(set)
        self.items = set()
        self.single_letters = {}  # an item of one letter -> its statement
        for statement in self.statements:
            self._read(statement)
        self.answers: dict[tuple[str, ...], bool] = {}  # long texts repeat their claims

    def _read(self, statement: str) -> None:
        for phrase, skill in _graph_phrases(_DENIED.sub("", statement)):
            self.phrases[skill][tuple(tokens(phrase))] = statement
        words = frozenset(tokens(statement))
        for level in {degree_level(clause) for clause in _CLAUSE_END.split(statement)}:
            self.levels[level].append(words)
        for claim in _number_claims(statement):
            if claim.kind == "years":
                self.years.add(claim.value)
            else:
                self.words_by_number[claim.value].update(_content_set(statement))
        for item in list_items(statement):
            self.items.add(tuple(tokens(item)))
            for piece in (item, *split_at_and(item)):
                core = "".join(skill_core(piece))
                if len(core) == 1:
                    self.single_letters[core] = statement

    def unsupported(self, edited: str) -> list[Claim]:
        """See `unsupported_claims`."""
        told: dict[str, set[str]] = defaultdict(set)
        found = []
        for claim in find_claims(edited):
            is_supported = self.supports(claim)
            if not is_supported:
                found.append(claim)
            if not is_supported or claim.kind == "skill":  # its words were judged with it
                told[claim.quote].update(tokens(claim.value) if claim.kind not in _DETAILS else ())
        return [
            claim
            for claim in found
            if claim.kind not in _DETAILS or not told[claim.quote].issuperset(tokens(claim.value))
        ]

    def supports(self, claim: Claim) -> bool:
        """Whether the original states the fact."""
        if claim in self.claims:
            return True
        statement = claim.quote if claim.kind == "number" else ""
        key = (claim.kind, claim.value, claim.context, statement)
        if key not in self.answers:
            self.answers[key] = getattr(self, f"_supports_{claim.kind}")(claim)
        return self.answers[key]

    def _supports_skill(self, claim: Claim) -> bool:
        is_item = tuple(tokens(claim.value)) in self.items  # "shipped without delay" is one, too
        if self.quote_of_skill(claim.value) or (is_item and len(claim.value) > 1):
            return True
        pieces = split_at_and(claim.value)
        return len(pieces) > 1 and all(self.quote_of_skill(piece) for piece in pieces)

    def quote_of_skill(self, skill: str) -> str:
        """The statement of the original that states a skill, or ""."""
        core = tuple(skill_core(skill)) or tuple(tokens(skill))
        if not core:
            return ""
        if len(core) == 1 and len(core[0]) == 1:  # the C of "John C. Smith" is no language
            return self.single_letters.get(core[0], "")
        return self._quote_of_words(core) or self.quote_of_alias(skill)

    def _quote_of_words(self, words: tuple[str, ...]) -> str:
        """The part of the original that holds the words close together, in any order."""
        needed = set(content_words(" ".join(words))) or set(words)
        places = {word: self._places_of(word) for word in needed}
        rarest = min(places.values(), key=len)
        for at in rarest:
            part = self.parts[at]
            if _smallest_window(part, needed) <= len(words) + MAX_GAP:
                return self.statement_of_part[part]
        return ""

    def _places_of(self, word: str) -> list[int]:
        """The parts that hold a word or a verb that means it."""
        places = self.parts_by_word.get(word, [])
        for root in roots_of_noun(word):
            places = [*places, *self.parts_by_word.get(_VERB + root, [])]
        return places

    def quote_of_alias(self, skill: str) -> str:
        """The statement that names a skill by a phrase that the graph knows for it, or ""."""
        core = tuple(skill_core(skill))
        name = _skill_names().get(core)
        if name is not None:
            return next(iter(self.phrases[name].values()), "")
        for phrase, statement in self.phrases[_skill_phrases().get(core)].items():
            if phrase == core or _is_acronym(core, phrase):
                return statement
        return ""

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
        return any(needed <= words for words in self.words_of_statements)

    def _supports_years(self, claim: Claim) -> bool:
        return claim.value in self.years

    def _supports_number(self, claim: Claim) -> bool:
        if claim.value not in self.words_by_number:
            return False
        words = _content_set(claim.quote) - {claim.value}
        return not words or not words.isdisjoint(self.words_by_number[claim.value])

    def _supports_degree(self, claim: Claim) -> bool:
        words = set(content_words(_DEGREE.sub(" ", claim.value))) - {"degree", "education"}
        return any(words <= stated for stated in self.levels[claim.context])

    def _supports_contact(self, claim: Claim) -> bool:
        return claim.value.lower() in self.text

    def _supports_name(self, claim: Claim) -> bool:
        return self.words.issuperset(tokens(claim.value))


@lru_cache(maxsize=10_000)
def _content_set(statement: str) -> frozenset[str]:
    # kept: a long statement of many numbers is asked for with each of them
    return frozenset(content_words(statement))


def _positions(parts: list[tuple[str, ...]]) -> dict[str, list[int]]:
    """Word, or root of a verb behind _VERB -> the parts that hold it."""
    positions = defaultdict(list)
    for at, part in enumerate(parts):
        for key in {key for word in part for key in _keys(word)}:
            positions[key].append(at)
    return positions


def _keys(word: str) -> list[str]:
    root = root_of_verb(word)
    return [word, _VERB + root] if root else [word]


def _smallest_window(words: tuple[str, ...], needed: set[str]) -> float:
    """The length of the shortest run of words that holds all the needed ones; inf where none does."""
    meant_by = {}
    for word in needed:
        for key in (word, *(_VERB + root for root in roots_of_noun(word))):
            meant_by[key] = word
    last: dict[str, int] = {}
    shortest = float("inf")
    for position, word in enumerate(words):
        for key in _keys(word):
            if key in meant_by:
                last[meant_by[key]] = position
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


def graph_skill(phrase: str) -> str:
    """The name of the graph's skill that a phrase names, by its name or an alias; "" of others."""
    words = tuple(tokens(phrase))
    return _skill_names().get(words) or _skill_phrases().get(words, "")


@cache
def _skill_names() -> dict[tuple[str, ...], str]:
    """Tokens of a skill's name -> the name."""
    return {tuple(tokens(skill.name)): skill.name for skill in load_graph("seen").skills.values()}


@cache
def _skill_phrases() -> dict[tuple[str, ...], str]:
    """Tokens of an alias or an evidence phrase -> the skill's name."""
    phrases = {}
    for skill in load_graph("seen").skills.values():
        for phrase in (*skill.aliases, *skill.evidence):
            phrases[tuple(tokens(phrase))] = skill.name
    return phrases
