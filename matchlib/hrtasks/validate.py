"""Why a written document is not used: checks of form, and of what it must and must not say.

The checks are of words: a skill in words that the graph does not have counts as absent, and one
that is denied ("no Java yet") as present. Either way the triple is rejected, not kept by mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np
from bm25s import stopwords

from matchlib.data.normal import plain
from matchlib.data.skills import Graph
from matchlib.data.splits import shingles
from matchlib.data.words import words
from matchlib.extraction.facts import NUMBER_WORDS
from matchlib.hrtasks.rjdb_rows import Position
from matchlib.language.llm import Answer
from matchlib.language.prompts import TEMPLATES

REASONS = {
    "empty": "the answer is empty",
    "refused": "the model refused to answer",
    "truncated": "the answer was cut at its limit of tokens",
    "json": "JSON or a code block where a document is due",
    "too_short": "the document has too few words",
    "other_language": "the document is not in English",
    "copied": "the document copies the instructions or another document of its triple",
    "skill_absent": "a skill that the document must name is absent",
    "filtered_skill_present": "a skill that was kept out of the document is in it",
    "experience_absent": "an experience, or its period or years, is absent",
    "filtered_experience_present": "an experience that was kept out of the document is in it",
    "near_duplicate": "a document is a near copy of one of an earlier triple",
}
"""Machine key of a rejection -> sentence, in the order of the checks."""
MIN_WORDS = 30
COPIED_RUN = 12
"""Consecutive words of the instructions that a document does not hold by chance."""
MAX_OTHER_SCRIPT = 0.2
MIN_STOP_WORDS = 3
MAX_GUARDED_CHARACTERS = 2
PROMPTS = ("hrtasks_job", "hrtasks_resume")

# as extraction.facts.tokenize, whose tokens have no places; and the start of a new list item,
# heading or paragraph, which no phrase spans
_TOKEN = re.compile(r"[^\W_]+|[+#]|\n(?=\s*(?:[-*•#]|\d+[.)]|\n))")
_JSON = re.compile(r'```|[{\[]\s*"[^"\n]*"\s*[:,\]}]')
_ENGLISH = frozenset(stopwords.STOPWORDS_EN_PLUS)
_OTHER_LANGUAGES = {
    language: frozenset(listed) - _ENGLISH
    for language, listed in (
        ("German", stopwords.STOPWORDS_GERMAN),
        ("French", stopwords.STOPWORDS_FRENCH),
        ("Spanish", stopwords.STOPWORDS_SPANISH),
        ("Italian", stopwords.STOPWORDS_ITALIAN),
        ("Portuguese", stopwords.STOPWORDS_PORTUGUESE),
        ("Dutch", stopwords.STOPWORDS_DUTCH),
        ("Swedish", stopwords.STOPWORDS_SWEDISH),
        ("Danish", stopwords.STOPWORDS_DANISH),
        ("Norwegian", stopwords.STOPWORDS_NORWEGIAN),
        ("Turkish", stopwords.STOPWORDS_TURKISH),
    )
}


@dataclass(frozen=True)
class Expected:
    """What one document must say and must not say, by ids of the graph.

    positions: (occupation id, position) that it must state: a resume with the period, a job (where
    states_periods is False) with the number of years.
    """

    skills: tuple[str, ...]
    absent_skills: tuple[str, ...] = ()
    positions: tuple[tuple[str, Position], ...] = ()
    absent_occupations: tuple[str, ...] = ()
    states_periods: bool = True


@dataclass(frozen=True)
class Rejection:
    """reason: a key of REASONS; detail: what was found, such as the skill."""

    reason: str
    detail: str = ""


class GraphFinder:
    """Finds a graph's skills and occupations in texts, under their names and every other wording.

    Phrases are found at word boundaries and in any case, with or without a plural s. "C" is not
    found in "C++", "C#" or "CSS". Phrases of one or two letters are found only in the case of the
    graph and not joined to a word by a sign: "R" is not in "R&D", nor "Go" in "go-to". A phrase
    inside a longer phrase of the graph counts as the longer one: "AWS engineer" is a title. Of
    phrases that overlap, both are found: "Docker, image recognition" with "Docker image". None goes
    across list items.
    """

    def __init__(self, graphs: Iterable[Graph]):
        self._short: set[str] = set()
        self._ids: dict[tuple[str, ...], set[str]] = {}
        for graph in graphs:
            for id, phrase in _phrases(graph):
                tokens = tuple(_singular(token.lower()) for token in _TOKEN.findall(plain(phrase)))
                self._ids.setdefault(tokens, set()).add(id)
                if len(phrase) <= MAX_GUARDED_CHARACTERS:
                    self._short.add(phrase)
        lengths: dict[str, set[int]] = {}
        for tokens in filter(None, self._ids):
            lengths.setdefault(tokens[0], set()).add(len(tokens))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}

    def find(self, text: str, *, nested: bool = False) -> dict[str, str]:
        """id -> the words of the first mention, of all skills and occupations in a text.

        nested: phrases inside longer ones are found, too, such as "AWS" in "AWS engineer".
        """
        text = plain(text)
        spans = [token.span() for token in _TOKEN.finditer(text)]
        tokens = [_singular(text[start:end].lower()) for start, end in spans]
        found: dict[str, str] = {}
        last = 0
        for first in range(len(tokens)):
            ends = self._ends(tokens, first)
            if not nested:
                ends = [end for end in ends[:1] if end > last]
            for end_token in ends:
                last = end_token
                start, end = spans[first][0], spans[end_token - 1][1]
                if self._is_whole(text, start, end):
                    for id in self._ids[tuple(tokens[first:end_token])]:
                        found.setdefault(id, text[start:end])
        return found

    def _ends(self, tokens: list[str], first: int) -> list[int]:
        """Where the phrases that begin at a token end, the longest first."""
        ends = [first + length for length in self._lengths.get(tokens[first], ())]
        return [end for end in ends if end <= len(tokens) and tuple(tokens[first:end]) in self._ids]

    def _is_whole(self, text: str, start: int, end: int) -> bool:
        """Whether text[start:end] is a name of its own, not a part of one such as C++ or R&D."""
        if text[end : end + 1] in ("+", "#"):
            return False
        if end - start > MAX_GUARDED_CHARACTERS:
            return True
        return text[start:end] in self._short and not _is_joined(text, start, end)


def _phrases(graph: Graph) -> Iterator[tuple[str, str]]:
    """(id, phrase) of all skills and occupations."""
    for skill in graph.skills.values():
        for phrase in (skill.name, *skill.aliases, *skill.evidence):
            yield skill.id, phrase
    for occupation in graph.occupations.values():
        for title in (occupation.name, *occupation.titles):
            yield occupation.id, title


def _singular(token: str) -> str:
    """A token without its plural s; what it makes of other words, it makes on both sides."""
    if len(token) > 3 and token.endswith("s") and not token.endswith("ss"):
        return token[:-1]
    return token


def _is_joined(text: str, start: int, end: int) -> bool:
    """Whether signs join text[start:end] to a word before or after it."""
    before = re.search(r"\w[&\-'.]$", text[max(0, start - 2) : start])
    after = re.match(r"[&\-'.]\w", text[end : end + 2])
    return bool(before or after)


def form_fault(answer: Answer) -> Rejection | None:
    """What is wrong with an answer whatever it should say: no text, no prose, no English."""
    if answer.problem:
        return Rejection(answer.problem, answer.finish)
    if found := _JSON.search(answer.text):
        return Rejection("json", found[0])
    if language := other_language(answer.text):
        return Rejection("other_language", language)
    found_words = words(answer.text)
    if len(found_words) < MIN_WORDS:
        return Rejection("too_short", f"{len(found_words)} words of {MIN_WORDS}")
    if copied := _instructions_in(found_words):
        return Rejection("copied", copied)
    return None


def other_language(text: str) -> str:
    """The language or script of a text that is not English, "" of one that is or is too short."""
    letters = [letter for letter in text if letter.isalpha()]
    if sum(letter > "\u024f" for letter in letters) > MAX_OTHER_SCRIPT * len(letters):
        return "not in Latin letters"
    found = words(text)
    n_english = sum(word in _ENGLISH for word in found)
    most = max(n_english, MIN_STOP_WORDS - 1)
    for language, stop_words in _OTHER_LANGUAGES.items():
        if sum(word in stop_words for word in found) > most:
            return language
    return ""


def _instructions_in(found: list[str]) -> str:
    """The first run of words that comes from the instructions, or ""."""
    for run in _runs(found):
        if run in _runs_of_instructions():
            return " ".join(run)
    return ""


@cache
def _runs_of_instructions() -> frozenset[tuple[str, ...]]:
    texts = [text for prompt in PROMPTS for text in TEMPLATES[prompt].values()]
    return frozenset(chain.from_iterable(_runs(words(text)) for text in texts))


def _runs(found: list[str]) -> Iterator[tuple[str, ...]]:
    for start in range(len(found) - COPIED_RUN + 1):
        yield tuple(found[start : start + COPIED_RUN])


def content_fault(text: str, expected: Expected, finder: GraphFinder) -> Rejection | None:
    """What a document lacks or should not have.

    A skill inside a title does not count as stated, but must not be there if it was filtered.
    """
    found = finder.find(text)
    mentioned = finder.find(text, nested=True)
    for skill in expected.skills:
        if skill not in found:
            return Rejection("skill_absent", skill)
    for skill in expected.absent_skills:
        if skill in mentioned:
            return Rejection("filtered_skill_present", f"{skill}: {mentioned[skill]}")
    for occupation, position in expected.positions:
        if occupation not in found or not _states_time(text, position, expected.states_periods):
            return Rejection("experience_absent", str(position))
    for occupation in expected.absent_occupations:
        if occupation in found:
            return Rejection("filtered_experience_present", f"{occupation}: {found[occupation]}")
    return None


def _states_time(text: str, position: Position, states_periods: bool) -> bool:
    """Whether a text states a position's period, or its number of years in digits or words."""
    if states_periods:
        period = rf"\b{position.start}\s*(?:-|–|—|to|until)\s*{position.end}\b"
        return bool(re.search(period, plain(text)))
    names = [word for word, n in NUMBER_WORDS.items() if n == position.years]
    number = "|".join([str(position.years), *names])
    # "3+ years", "three (3) years", "3 or more years"
    years = rf"(?i)\b(?:{number})\b\W{{0,3}}(?:\(\d+\)\s*)?(?:or more |plus )?(?:years?|yrs?)\b"
    return bool(re.search(years, text))


def copied_from(text: str, other: str) -> float:
    """Jaccard similarity (0 to 1) of two texts' runs of three words."""
    own = shingles(text)
    others = shingles(other)
    shared = len(np.intersect1d(own, others, assume_unique=True))
    return shared / (len(own) + len(others) - shared)
