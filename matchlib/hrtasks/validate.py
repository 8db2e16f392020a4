"""Why a written document is not used: checks of form, and of what it must and must not say.

The checks are of words: a skill in words that the graph does not have counts as absent, and one
that is denied ("no Java yet") as present. Either way the triple is rejected, not kept by mistake.
A filtered skill must be absent in every form of its words: a bricklayer's resume does not lack
bricklaying.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain

import numpy as np
import Stemmer
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
    "experience_absent": "an experience is absent, or its period or years do not stand beside it",
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
_STEMMER = Stemmer.Stemmer("english")
_PERSON = re.compile(r"(?<=\w{4})(?:ist|er|or|i)$")
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


@dataclass(frozen=True)
class Mention:
    """Characters start to end of a text, which name these skills and occupations."""

    start: int
    end: int
    ids: frozenset[str]


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
        self.occupations: set[str] = set()
        self._short: set[str] = set()
        self._exact = _Phrases()
        self._forms = _Phrases()
        for graph in graphs:
            self.occupations |= set(graph.occupations)
            for id, phrase in _phrases(graph):
                tokens = [_singular(token.lower()) for token in _TOKEN.findall(plain(phrase))]
                self._exact.add(tokens, id)
                self._forms.add([_word_family(token) for token in tokens], id)
                if len(phrase) <= MAX_GUARDED_CHARACTERS:
                    self._short.add(phrase)

    def find(self, text: str) -> dict[str, str]:
        """id -> the words of the first mention, of all skills and occupations in a text."""
        text = plain(text)
        found: dict[str, str] = {}
        for mention in self.mentions(text):
            for id in mention.ids:
                found.setdefault(id, text[mention.start : mention.end])
        return found

    def mentions(self, text: str) -> list[Mention]:
        """Every mention in a text, in order. The text must be `plain`."""
        spans, tokens = _tokens(text)
        found = []
        last = 0
        for first in range(len(tokens)):
            # of the phrases that begin here, the longest, if it ends behind all earlier ones
            ends = self._exact.ends(tokens, first)[:1]
            for end_token in ends:
                if end_token <= last:
                    continue
                last = end_token
                start, end = spans[first][0], spans[end_token - 1][1]
                if self._is_whole(text, start, end):
                    ids = self._exact.ids[tuple(tokens[first:end_token])]
                    found.append(Mention(start, end, frozenset(ids)))
        return found

    def find_forms(self, text: str) -> dict[str, str]:
        """id -> words, of all that a text names in any form of the words, inside longer phrases, too.

        "AWS" is found in "AWS engineer", and bricklaying in "bricklayer". In another form a single
        word counts inside titles alone (who "signed" a letter does not know sign language), and
        several words do not count inside a phrase of another skill.
        """
        text = plain(text)
        spans, tokens = _tokens(text)
        families = [_word_family(token) for token in tokens]
        mentions = self.mentions(text)
        found: dict[str, str] = {}
        for first in range(len(tokens)):
            for end_token in self._forms.ends(families, first):
                start, end = spans[first][0], spans[end_token - 1][1]
                if not self._is_whole(text, start, end):
                    continue
                ids = self._exact.ids.get(tuple(tokens[first:end_token]), set())
                around = [one for one in mentions if one.start <= start and end <= one.end]
                in_title = any(one.ids & self.occupations for one in around)
                if in_title or (not around and end_token - first > 1):
                    ids = ids | self._forms.ids[tuple(families[first:end_token])]
                for id in ids:
                    found.setdefault(id, text[start:end])
        return found

    def _is_whole(self, text: str, start: int, end: int) -> bool:
        """Whether text[start:end] is a name of its own, not a part of one such as C++ or R&D."""
        if text[end : end + 1] in ("+", "#"):
            return False
        if end - start > MAX_GUARDED_CHARACTERS:
            return True
        return text[start:end] in self._short and not _is_joined(text, start, end)


class _Phrases:
    """Phrases as tokens, and the ids that each names."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, ...], set[str]] = {}
        self._lengths: dict[str, list[int]] = {}

    def add(self, tokens: list[str], id: str) -> None:
        if not tokens:
            return
        self.ids.setdefault(tuple(tokens), set()).add(id)
        lengths = self._lengths.get(tokens[0], [])
        self._lengths[tokens[0]] = sorted({*lengths, len(tokens)}, reverse=True)

    def ends(self, tokens: list[str], first: int) -> list[int]:
        """Where the phrases that begin at a token end, the longest first."""
        ends = [first + length for length in self._lengths.get(tokens[first], ())]
        return [end for end in ends if end <= len(tokens) and tuple(tokens[first:end]) in self.ids]


def _tokens(text: str) -> tuple[list[tuple[int, int]], list[str]]:
    """Characters of each token, and the tokens in the form that is compared."""
    spans = [token.span() for token in _TOKEN.finditer(text)]
    return spans, [_singular(text[start:end].lower()) for start, end in spans]


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


@lru_cache(maxsize=50_000)
def _word_family(token: str) -> str:
    """What the forms of a word share: "radiographer" and "radiography", "welder" and "welding"."""
    if token.startswith("engineer"):
        return "engineer"  # the stem is that of engine, which is another word
    return _PERSON.sub("", _STEMMER.stemWord(token))


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
    forms = finder.find_forms(text)
    for skill in expected.skills:
        if skill not in found:
            return Rejection("skill_absent", skill)
    for skill in expected.absent_skills:
        if skill in forms:
            return Rejection("filtered_skill_present", f"{skill}: {forms[skill]}")
    text = plain(text)
    mentions = finder.mentions(text)
    titles = [mention for mention in mentions if mention.ids & finder.occupations]
    for occupation, position in expected.positions:
        time = _time_pattern(position, expected.states_periods)
        if not any(
            occupation in title.ids
            for match in time.finditer(text)
            for title in _titles_beside(match, text, titles)
        ):
            return Rejection("experience_absent", str(position))
    for occupation in expected.absent_occupations:
        if occupation in found:
            return Rejection("filtered_experience_present", f"{occupation}: {found[occupation]}")
    return None


def _time_pattern(position: Position, states_periods: bool) -> re.Pattern:
    """A position's period, or its number of years in digits or words."""
    if states_periods:
        return re.compile(rf"\b{position.start}\s*(?:-|–|—|to|until)\s*{position.end}\b")
    names = [word for word, n in NUMBER_WORDS.items() if n == position.years]
    number = "|".join([str(position.years), *names])
    # "3+ years", "three (3) years", "3 or more years"
    return re.compile(
        rf"(?i)\b(?:{number})\b\W{{0,3}}(?:\(\d+\)\s*)?(?:or more |plus )?(?:years?|yrs?)\b"
    )


def _titles_beside(time: re.Match, text: str, titles: list[Mention]) -> list[Mention]:
    """The last title before a time and the first one behind it, in its line if there are any."""
    line_start = text.rfind("\n", 0, time.start()) + 1
    line_end = text.find("\n", time.end())
    line_end = len(text) if line_end < 0 else line_end
    in_line = [title for title in titles if line_start <= title.start < line_end]
    candidates = in_line or titles
    before = [title for title in candidates if title.end <= time.start()]
    behind = [title for title in candidates if title.start >= time.end()]
    return before[-1:] + behind[:1]


def copied_from(text: str, other: str) -> float:
    """Jaccard similarity (0 to 1) of two texts' runs of three words."""
    own = shingles(text)
    others = shingles(other)
    shared = len(np.intersect1d(own, others, assume_unique=True))
    return shared / (len(own) + len(others) - shared)
