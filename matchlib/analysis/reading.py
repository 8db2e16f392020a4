"""Reading: what a document says of skills, years, place, level, degree and occupation, from its text alone.

Skills and titles are known by the *seen* wording of the skill graph (names, aliases, evidence phrases), levels and
degrees by the seen wording of the market and a few words of everyday adverts, years, places and sections by patterns.
No structured column is looked at and no held-out wording, so that what is derived from it can be judged against truth.
What is not found is "" (years: NaN): the reader never guesses from what it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from matchlib.data.market import REGIONS
from matchlib.data.skills import DEGREES, LEVELS, load_graph
from matchlib.data.wording import SLOTS

COLUMNS = ("skills", "nice_skills", "years", "city", "remote", "seniority", "degree", "occupation", "title")
MORE_WORDS = {"junior": ("jr", "trainee", "intern", "graduate role"), "middle": ("mid level", "midlevel"),
              "senior": ("sr",), "lead": ("leading role",), "none": ("high school diploma",),
              "vocational": ("vocational training", "diploma"), "bachelor": ("bachelor", "bachelors", "bsc", "beng"),
              "master": ("master of", "master s", "masters degree", "msc", "meng", "mba"),
              "doctorate": ("ph d", "doctor of")}
"""Everyday words for levels and degrees beside the market's seen ones."""
NUMBERS = {word: n for n, word in enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
                                             "ten"), start=1)}
HEAD_LINES = 5
"""Lines, at most, of a document's head, where place, level and title stand; a heading ends it sooner."""
TITLE = "occupation:"

_TOKEN = re.compile(r"[^\W_]+|[+#]")
_CUT = re.compile(r"\n|;|[•▪●‣]|(?<=[.!?])\s+(?=[A-ZÀ-Þ])")
_BULLET = re.compile(r"^[\s*·–—-]+|\s+$")
_HEADING = re.compile(r"#{1,6} |[^.;,]{1,40}:$")
_NICE = re.compile(r"nice[ -]to[ -]have|\b(?:a|is a|big) plus\b|\bbonus\b|\bpreferred\b|\badvantageous?\b|\boptional", re.I)
_YEARS = re.compile(rf"\b(\d{{1,2}}|{'|'.join(NUMBERS)})(?: ?[-–] ?\d{{1,2}})?\+?(?: or more)? ?(?:years?|yrs?)\b"
                    rf"(?! (?:old|ago|of age|contract))", re.I)
_LAST = re.compile(r"\b(?:last|past|next|every|within|after|aged?|over the) $", re.I)
_REMOTE = re.compile(r"\bremote (?:possible|work(?:ing)?|jobs?|roles?|position|option|first|friendly)\b|\bremotely\b"
                     r"|\b(?:fully|100%|or) remote\b|\(remote\)|\bwork(?:ing)? from home\b|\bhappy to relocate\b", re.I)
_PLACE = r"([A-ZÀ-Þ][\w'’-]+(?:[ -](?:(?:upon|on|de|la|sur|am|of|the) )?[A-ZÀ-Þ][\w'’-]+){0,2})"
_IN_PLACE = re.compile(rf"(?:\b(?:based|living|located|resident|lives?|office|home) in|\b(?:[Ll]ocation|[Cc]ity|[Pp]lace|"
                       rf"[Aa]ddress|[Bb]ased) ?:|\bour(?= [A-ZÀ-Þ][\w'’ -]+ (?:office|team|site|branch)\b)) ?{_PLACE}"
                       rf"|{_PLACE}-based\b")


class Piece(NamedTuple):
    """One statement of a document: a sentence, a list item or a line; `head` where it stands there."""
    text: str
    head: bool
    nice: bool


class Found(NamedTuple):
    """tokens[start:end] is a listed phrase that means `value`."""
    start: int
    end: int
    value: str


class Phrases:
    """A list of phrases and what they mean, found in texts at word boundaries, in any case, the longest first."""

    def __init__(self, meanings: Iterable[tuple[str, str]]):
        self.by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for phrase, value in meanings:
            tokens = tuple(tokenize(phrase))
            self.by_first.setdefault(tokens[0], []).append((tokens, value))
        for listed in self.by_first.values():
            listed.sort(key=lambda entry: -len(entry[0]))

    def find(self, tokens: list[str]) -> list[Found]:
        """The phrases in the tokens of a text, none overlapping."""
        found, at = [], 0
        while at < len(tokens):
            hit = next(((phrase, value) for phrase, value in self.by_first.get(tokens[at], ())
                        if tuple(tokens[at:at + len(phrase)]) == phrase), None)
            if hit:
                found.append(Found(at, at + len(hit[0]), hit[1]))
            at += len(hit[0]) if hit else 1
        return found


def tokenize(text: str) -> list[str]:
    """Lower-case words, and the signs of C++ and C#; hyphens and apostrophes part words."""
    return _TOKEN.findall(text.lower())


def cut(text: str) -> list[Piece]:
    """The statements of a document without its headings: lines, list items, sentences."""
    pieces, nice, head = [], False, True
    for number, line in enumerate(filter(str.strip, text.splitlines())):
        head = head and number < HEAD_LINES
        if _HEADING.match(line.strip()):
            nice, head = bool(_NICE.search(line)), head and not number
            continue
        for part in _CUT.split(line):
            if re.search(r"\w", part := _BULLET.sub("", part)):
                pieces.append(Piece(part, head, nice or bool(_NICE.search(part))))
    return pieces


@cache
def phrases(kind: str) -> Phrases:
    """The known phrases of a kind. "skill": -> its name, beside titles (-> "occupation:" and an id), so that no skill
    is found inside a title; "seniority" and "degree": -> their value."""
    graph = load_graph("seen")
    if kind == "skill":
        titles = [(title, TITLE + o.id) for o in graph.occupations.values() for title in (o.name, *o.titles)]
        return Phrases(titles + [(phrase, s.name) for s in graph.skills.values()
                                 for phrase in (s.name, *s.aliases, *s.evidence)])
    values = {"seniority": LEVELS, "degree": DEGREES}[kind]
    return Phrases((phrase, value) for value in values for phrase in (*SLOTS["seen"][value], *MORE_WORDS[value]))


def read_facts(texts: Sequence[str]) -> pd.DataFrame:
    """What each text says: a frame with COLUMNS, the names and forms being those of the market's tables.

    skills, nice_skills: names of the graph's skills, "; "-separated, those under a heading (or in a sentence) of
    nice-to-haves apart. years: the number asked or held first named beside "years", NaN where there is none. remote:
    "yes" or "no". seniority, degree: of LEVELS and DEGREES. occupation, title: id and name of the graph's occupation.
    """
    return pd.DataFrame([_read(text) for text in texts], columns=list(COLUMNS))


def _read(text: str) -> tuple:
    pieces, occupation, rest = cut(text), "", []
    skills = {True: {}, False: {}}
    for piece in pieces:
        words = tokenize(piece.text)
        found = phrases("skill").find(words)
        titles = [hit for hit in found if hit.value.startswith(TITLE)]
        skills[piece.nice] |= {hit.value: None for hit in found if hit not in titles}
        if piece.head and titles and not occupation:
            occupation = titles[0].value.removeprefix(TITLE)
        for title in reversed(titles):
            words[title.start:title.end] = ["|"]  # a high school teacher is no school leaver
        rest.append((piece.head, words))
    head = "\n".join(piece.text for piece in pieces if piece.head)
    return ("; ".join(skills[False]), "; ".join(s for s in skills[True] if s not in skills[False]), _years(pieces),
            _city(head), "yes" if _REMOTE.search(head) else "no", _first("seniority", [w for top, w in rest if top]),
            _first("degree", [words for _, words in rest]), occupation,
            load_graph("seen").occupations[occupation].name if occupation else "")


def _first(kind: str, pieces: list[list[str]]) -> str:
    return next((found.value for words in pieces for found in phrases(kind).find(words)), "")


def _years(pieces: list[Piece]) -> float:
    for piece in pieces:
        for match in _YEARS.finditer(piece.text):
            if not _LAST.search(piece.text[:match.start()]):
                word = match[1].lower()
                return float(NUMBERS.get(word) or word)
    return np.nan


@cache
def _known_places() -> re.Pattern:
    cities = sorted((city for cities in REGIONS.values() for city in cities), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(cities)})\b")


def _city(head: str) -> str:
    """A place after words such as "based in", else the first city of the market's map."""
    if cued := _IN_PLACE.search(head):
        return cued[1] or cued[2]
    known = _known_places().search(head)
    return known[0] if known else ""
