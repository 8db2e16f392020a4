"""Reading: what a document says of skills, years, place, level, degree and occupation, from its
text alone.

Skills and titles are known by the *seen* wording of the skill graph (names, aliases, evidence
phrases), levels and degrees by the seen wording of the market and a few words of everyday adverts,
years, places and sections by patterns. With an encoder, a statement in words that the graph lacks
counts as the nearest skill of the document's occupation, if it is near enough, and so do words for
remote work. No structured column is looked at and no held-out wording, so that what is derived from
it can be judged against truth. What is not found is "" (years: NaN).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from matchlib.data.market import REGIONS
from matchlib.data.normal import mapped
from matchlib.data.skills import DEGREES, LEVELS, load_graph
from matchlib.data.wording import SLOTS

if TYPE_CHECKING:
    from matchlib.retrieval.encoder import Encoder

COLUMNS = (
    "skills",
    "nice_skills",
    "years",
    "city",
    "remote",
    "seniority",
    "degree",
    "occupation",
    "title",
)
MORE_WORDS = {
    "junior": ("jr", "trainee", "intern", "graduate role"),
    "middle": ("mid level", "midlevel"),
    "senior": ("sr",),
    "lead": ("leading role",),
    "none": ("high school diploma",),
    "vocational": ("vocational training", "diploma"),
    "bachelor": ("bachelor", "bachelors", "bsc", "beng"),
    "master": ("master of", "master s", "masters degree", "msc", "meng", "mba"),
    "doctorate": ("ph d", "doctor of"),
}
"""Everyday words for levels and degrees beside the market's seen ones."""
NUMBERS = {
    word: n
    for n, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=1
    )
}
HEAD_LINES = 5
"""Lines, at most, of a document's head, where place, level and title stand; a heading ends it
sooner."""
PRECISION = 0.7
"""Share of skills told by likeness alone that is right when the graph's own phrases are left out in
turn."""
LEVEL_STEPS = (0.6, 1.5, 2.8)
"""Years over the years typical of the occupation's middle level, where the levels part (the
market's own law)."""
TITLE = "occupation:"

HEADINGS = frozenset(
    re.findall(
        r"\w+",
        """
    skills skill competencies competences strengths expertise abilities tools technologies technology stack
    languages language experience history employment career work working education training qualifications
    qualification certifications certificates certification licences licenses profile summary objective about
    overview introduction projects project achievements accomplishments awards publications interests hobbies
    activities volunteering references contact details requirements required responsibilities duties tasks benefits
    offer role position job company team us me we you your my our what who the a of in and for must have need bring
    will do key core technical professional personal main relevant selected other additional further soft hard
    academic information background experiencia laboral profesional formación académica educación idiomas
    habilidades competencias conocimientos perfil requisitos funciones datos personales contacto referencias
    objetivo sobre mí y de expérience expériences professionnelle professionnelles formations compétences langues
    profil missions coordonnées berufserfahrung ausbildung kenntnisse fähigkeiten sprachen anforderungen aufgaben
    lebenslauf und persönliche daten""",
    )
)
"""Words of headings. A line in capitals that holds another is one only if it stands like one:
`_is_caps_heading`."""

_TOKEN = re.compile(r"[^\W_]+|[+#]")
_CUT = re.compile(r";|•|(?<=[.!?])\s+(?=[A-ZÀ-Þ])")  # in plain form, where every bullet is a •
_BULLET = " \t*·–—-"
_LINE = re.compile(r"[^\n]+")
_MARKDOWN, _COLON = re.compile(r"(#{1,6}) "), re.compile(r"[^.;,]{1,40}:$")
_CAPS = re.compile(r"(?=[^\n]*[A-ZÀ-Þ]{3})[A-ZÀ-Þ&/]{1,}(?:\s[A-ZÀ-Þ&/]{1,}){0,4}$")
_CAPS_RANK, _COLON_RANK = 7, 8  # after the six of Markdown
_NICE = re.compile(
    r"nice[ -]to[ -]have|\b(?:a|is a|big) plus\b|\bbonus\b|\bpreferred\b|\badvantageous?\b|\boptional",
    re.I,
)
_MUST = re.compile(
    r"must|requir|you (?:bring|need|have|are)|qualif|skill|experience|histor|work|respons|task|dut[yi]"
    r"|profile|about|summary|education|employment|project|language|tools|stack",
    re.I,
)
_NUMBER = rf"(?:\d{{1,2}}|{'|'.join(NUMBERS)})"
_YEARS = re.compile(
    rf"(?<!\d[.,])\b({_NUMBER})(?:[.,]\d)?(?: ?(?:[-–—~/]|to|or) ?{_NUMBER}(?:[.,]\d)?)? ?\+?"
    rf"(?: or more)?[ \t]?(?:years?|yrs?)\b(?! (?:old|ago|of age|contract))"
    rf"|(?<![\d.,-])\b(?P<months>\d{{1,3}}) ?\+? ?months?'?(?: of)?(?: \w{{1,20}}){{0,2}} experience\b",
    re.I,
)
_LAST = re.compile(r"\b(?:last|past|next|every|within|after|aged?|over the) $", re.I)
_LONGEST_LAST = 12
_REMOTE = re.compile(
    r"\bremote (?:possible|work(?:ing)?|jobs?|roles?|position|option|first|friendly)\b|\bremotely\b"
    r"|\b(?:fully|100%|or) remote\b|\(remote\)|\bwork(?:ing)? from home\b|\bhappy to relocate\b",
    re.I,
)
_NAME = r"[A-ZÀ-Þ][\w'’]{1,30}(?:-[\w'’]{1,30}){0,4}"  # no hyphen in the class: it would be found in many ways
_PLACE = rf"(\b{_NAME}(?: (?:(?:upon|on|de|la|sur|am|of|the) )?{_NAME}){{0,2}})"
_IN_PLACE = re.compile(
    rf"(?:\b(?i:based|living|located|resident|lives?|office|home) in|"
    rf"\b(?i:location|city|place|address|based) ?:|"
    rf"\bour(?= [A-ZÀ-Þ][\w'’ -]{{1,60}} (?:office|team|site|branch)\b)) ?{_PLACE}"
    rf"|{_PLACE}-based\b"
)


class Piece(NamedTuple):
    """One statement of a document: a sentence, a list item or a line.

    text: its plain form (see data.normal); head, listed, nice: whether it stands in the head, under
    a heading, among nice-to-haves; shown: as it is written.
    """

    text: str
    head: bool
    listed: bool
    nice: bool
    shown: str


class Found(NamedTuple):
    """tokens[start:end] is a listed phrase that means `value`."""

    start: int
    end: int
    value: str


class Phrases:
    """A list of phrases and what they mean, found in texts at word boundaries, in any case, the
    longest first."""

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
            hit = next(
                (
                    (phrase, value)
                    for phrase, value in self.by_first.get(tokens[at], ())
                    if tuple(tokens[at : at + len(phrase)]) == phrase
                ),
                None,
            )
            if hit:
                found.append(Found(at, at + len(hit[0]), hit[1]))
            at += len(hit[0]) if hit else 1
        return found


def tokenize(text: str) -> list[str]:
    """Lower-case words, and the signs of C++ and C#; hyphens and apostrophes part words."""
    return _TOKEN.findall(text.lower())


def cut(text: str) -> list[Piece]:
    """The statements of a document without its headings: lines, list items, sentences.

    What stands under a heading of nice-to-haves is nice, and so is what stands under a later
    heading of unknown sense: adverts name first what they need. A heading of lesser rank
    ("Databases:" below "## Requirements") that says neither leaves the sense as it is.
    """
    form = mapped(text)
    lines = [line for line in _LINE.finditer(form.text) if line[0].strip()]
    pieces: list[Piece] = []
    nice, head, rank = False, True, 0
    for number, line in enumerate(lines):
        head = head and number < HEAD_LINES
        if own_rank := _heading_rank(lines, number):
            if _NICE.search(line[0]):
                nice = True
            elif _MUST.search(line[0]):
                nice = False
            elif own_rank <= rank:  # 0 before the first heading, which is never nice
                nice = True
            head, rank = head and not number, _rank_in_force(rank, own_rank, line[0])
            continue
        for start, end in _parts(line):
            part = form.text[start:end]
            shown = text[slice(*form.span(start, end))]
            pieces.append(Piece(part, head, rank > 0, nice or bool(_NICE.search(part)), shown))
    return pieces


def _rank_in_force(rank: int, own_rank: int, line: str) -> int:
    """The rank that a later heading of unknown sense must have to end this section."""
    says = bool(_NICE.search(line) or _MUST.search(line))
    return own_rank if says or not rank else min(rank, own_rank)


def _parts(line: re.Match) -> Iterator[tuple[int, int]]:
    """Where the statements of a line lie in the text, without their bullets; those without a word
    are none."""
    cuts = [match.span() for match in _CUT.finditer(line[0])]
    starts = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(line[0])]
    for start, end in zip(starts, ends, strict=True):
        part = line[0][start:end]
        bare = part.lstrip(_BULLET)
        if re.search(r"\w", bare):
            first = line.start() + end - len(bare)
            yield first, first + len(bare.rstrip())


def _heading_rank(lines: list[re.Match], number: int) -> int:
    """How far below the top a line is a heading: 1 to 6 "# Skills", then "SKILLS", then "Skills:";
    0 if it is none."""
    line = lines[number][0].strip()
    if markdown := _MARKDOWN.match(line):
        return len(markdown[1])
    if _COLON.match(line):
        return _COLON_RANK
    return _CAPS_RANK if _CAPS.match(line) and _is_caps_heading(lines, number) else 0


def _is_caps_heading(lines: list[re.Match], number: int) -> bool:
    """Whether a line in capitals is a heading rather than an item (SQL, GIT) or a name.

    One that holds but words of HEADINGS is; one that holds a known skill or title is not. Any other
    is one only if it stands like one: first of all or after a blank line, with a line directly
    below it, no capitals beside it.
    """
    line = lines[number]
    words = tokenize(line[0])
    if not words or HEADINGS.issuperset(words) or _NICE.search(line[0]):
        return bool(words)
    if phrases("skill").find(words):
        return False
    has_gap_before = number == 0 or line.start() - lines[number - 1].end() > 1
    has_text_below = number + 1 < len(lines) and lines[number + 1].start() - line.end() == 1
    below = lines[number + 1][0].strip() if has_text_below else ""
    heads_list = has_text_below and not (
        _CAPS.match(below) and not HEADINGS.issuperset(tokenize(below))
    )
    return has_gap_before and heads_list


def _is_title(hit: Found) -> bool:
    return hit.value.startswith(TITLE)


@cache
def phrases(kind: str) -> Phrases:
    """The known phrases of a kind. "skill": -> its name, beside titles (-> "occupation:" and an
    id), so that no skill is found inside a title; "seniority" and "degree": -> their value."""
    graph = load_graph("seen")
    if kind == "skill":
        titles = [
            (title, TITLE + o.id)
            for o in graph.occupations.values()
            for title in (o.name, *o.titles)
        ]
        return Phrases(
            titles
            + [
                (phrase, s.name)
                for s in graph.skills.values()
                for phrase in (s.name, *s.aliases, *s.evidence)
            ]
        )
    values = {"seniority": LEVELS, "degree": DEGREES}[kind]
    return Phrases(
        (phrase, value)
        for value in values
        for phrase in (*SLOTS["seen"][value], *MORE_WORDS[value])
    )


def read_facts(texts: Sequence[str], *, encoder: Encoder | None = None) -> pd.DataFrame:
    """What each text says: a frame with COLUMNS, the names and forms being those of the market's
    tables.

    skills, nice_skills: names of the graph's skills, "; "-separated, those under a heading (or in a
    sentence) of nice-to-haves apart. years: the number asked or held first named beside "years",
    NaN where there is none. remote: "yes" or "no". seniority, degree: of LEVELS and DEGREES; a
    level that is not named is told from years and occupation (LEVEL_STEPS). occupation, title: id
    and name of the graph's occupation; one without a known title is told from the skills.
    encoder: also reads skills and remote work by likeness, see `skills_alike`; without one only
    listed phrases count.
    """
    notes = [_read(text) for text in texts]
    if encoder is not None:
        _add_alike(notes, encoder)
    return pd.DataFrame([_row(note) for note in notes], columns=list(COLUMNS))


@dataclass
class _Note:
    """What was found in one text: skills by whether they are nice to have, the statements that said
    nothing, and the parts of the head."""

    skills: dict[bool, dict[str, None]]
    occupation: str
    unread: list[Piece]
    head: list[str]
    rest: tuple


def _read(text: str) -> _Note:
    pieces, occupation, words_left = cut(text), "", []
    note = _Note({True: {}, False: {}}, "", [], [], ())
    for piece in pieces:
        words = tokenize(piece.text)
        found = phrases("skill").find(words)
        titles = [hit for hit in found if _is_title(hit)]
        note.skills[piece.nice] |= {hit.value: None for hit in found if not _is_title(hit)}
        if piece.head and titles and not occupation:
            occupation = titles[0].value.removeprefix(TITLE)
        if not piece.head and not found:
            note.unread.append(piece)
        for title in reversed(titles):
            words[title.start : title.end] = ["|"]  # a high school teacher is no school leaver
        words_left.append((piece.head, words))
    note.occupation = occupation or likely_occupation([*note.skills[False], *note.skills[True]])
    head = "\n".join(piece.text for piece in pieces if piece.head)
    note.head = [part.strip() for part in re.split(r"[,.;:\n]", head) if " " in part.strip()]
    note.rest = (
        _years(pieces),
        _city(head),
        "yes" if _REMOTE.search(head) else "no",
        _first("seniority", [words for top, words in words_left if top]),
        _first("degree", [words for _, words in words_left]),
    )
    return note


def _row(note: _Note) -> tuple:
    occupation = load_graph("seen").occupations.get(note.occupation)
    years, city, remote, level, degree = note.rest
    if not level and occupation and not np.isnan(years):
        level = LEVELS[int(np.searchsorted(LEVEL_STEPS, years / occupation.years, side="right"))]
    nice = [skill for skill in note.skills[True] if skill not in note.skills[False]]
    return (
        "; ".join(note.skills[False]),
        "; ".join(nice),
        years,
        city,
        remote,
        level,
        degree,
        note.occupation,
        occupation.name if occupation else "",
    )


def likely_occupation(skills: Sequence[str]) -> str:
    """The occupation (id) that needs most of the skills (names), an essential one counting twice an
    optional one.

    "" where two need as many, or where the best needs less than three halves of an essential one.
    """
    votes = Counter()
    for skill in skills:
        votes.update(_voters()[skill])
    best = votes.most_common(2)
    return (
        best[0][0]
        if best and best[0][1] >= 3 and (len(best) < 2 or best[0][1] > best[1][1])
        else ""
    )


@cache
def _voters() -> dict[str, Counter]:
    graph = load_graph("seen")
    voters = {skill.name: Counter() for skill in graph.skills.values()}
    for occupation in graph.occupations.values():
        for skills, weight in ((occupation.essential, 2), (occupation.optional, 1)):
            for skill in skills:
                voters[graph.skills[skill].name][occupation.id] += weight
    return voters


def _add_alike(notes: list[_Note], encoder: Encoder) -> None:
    """Add to the notes what their unread words are like: skills, where the occupation is known, and
    remote work."""
    readable = [note for note in notes if note.occupation]
    texts = list(
        dict.fromkeys(
            [piece.text for note in readable for piece in note.unread]
            + [part for note in notes for part in note.head]
        )
    )
    if not texts:
        return
    vectors = dict(zip(texts, encoder.encode_resumes(texts), strict=True))
    for note in readable:
        like = skills_alike(
            [vectors[piece.text] for piece in note.unread],
            note.occupation,
            {*note.skills[False], *note.skills[True]},
            encoder,
        )
        for piece, skill in zip(note.unread, like, strict=True):
            if skill:
                note.skills[piece.nice][skill] = None
    remote, threshold = _remote_vectors(encoder)
    for note in notes:
        if any((remote @ vectors[part]).max() > threshold for part in note.head):
            note.rest = (*note.rest[:2], "yes", *note.rest[3:])


def skills_alike(
    vectors: Sequence[np.ndarray], occupation: str, known: set[str], encoder: Encoder
) -> list[str]:
    """Of each statement of one document the skill (name) of its occupation (id) that it is most
    like, or "".

    Each skill is given once, the likest first, and none that is known already: a document names a
    skill once. What is near enough is calibrated on the graph alone, for each encoder anew: see
    `nearness`.
    """
    skills, matrix = _skill_vectors(encoder)
    names, found = list(_voters()), [""] * len(vectors)
    columns = [
        column for column in _columns_by_occupation()[occupation] if names[column] not in known
    ]
    if not columns or not found:
        return found
    scores = np.stack(
        [(np.stack(vectors) @ matrix[skills == column].T).max(1) for column in columns], axis=1
    )
    while scores.max() >= nearness(encoder):
        row, column = np.unravel_index(scores.argmax(), scores.shape)
        found[row] = names[columns[column]]
        scores[row], scores[:, column] = -1, -1
    return found


@cache
def _remote_vectors(encoder: Encoder) -> tuple[np.ndarray, float]:
    """(P, dim) vectors of known phrases for remote work, and the cosine beyond which words mean it,
    too: the largest that one of them has with any other phrase that the market words documents
    with."""
    known = [
        phrase.strip(", ")
        for kind in ("remote_job", "remote_resume")
        for phrase in SLOTS["seen"][kind]
    ]
    others = [
        re.sub(r"{\w+}", "", phrase).strip(" ,.;:")
        for kind, phrases in SLOTS["seen"].items()
        for phrase in phrases
        if not kind.startswith("remote")
    ]
    remote = encoder.encode_resumes(known)
    return remote, float((encoder.encode_resumes(others) @ remote.T).max())


@cache
def _columns_by_occupation() -> dict[str, np.ndarray]:
    number = {skill: i for i, skill in enumerate(load_graph("seen").skills)}
    return {
        o.id: np.array([number[skill] for skill in (*o.essential, *o.optional)])
        for o in load_graph("seen").occupations.values()
    }


@cache
def _skill_vectors(encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """(P,) number of the skill that each phrase of the graph means, and (P, dim) its vector."""
    phrases_of = [
        (number, phrase)
        for number, skill in enumerate(load_graph("seen").skills.values())
        for phrase in (skill.name, *skill.aliases, *skill.evidence)
    ]
    return np.array([number for number, _ in phrases_of]), encoder.encode_resumes(
        [phrase for _, phrase in phrases_of]
    )


@cache
def nearness(encoder: Encoder) -> float:
    """The least cosine from which a statement counts as a skill of its occupation: the one with
    PRECISION right.

    Every phrase of the graph is left out in turn and asked of every occupation: of its skill's it
    should be given back, of the others it should be near nothing; the two weigh the same. 1 where
    no cosine reaches PRECISION.
    """
    skills, matrix = _skill_vectors(encoder)
    cosines = matrix @ matrix.T
    np.fill_diagonal(cosines, -1)
    best = np.stack(
        [cosines[:, skills == skill].max(1) for skill in range(skills.max() + 1)], axis=1
    )
    scores, right, weight = [], [], []
    for columns in _columns_by_occupation().values():
        inside = np.isin(skills, columns)
        scores.append(best[:, columns].max(1))
        right.append(columns[best[:, columns].argmax(1)] == skills)
        weight.append(np.where(inside, 1, inside.sum() / (~inside).sum()))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    weight, scores = np.concatenate(weight)[order], np.concatenate(scores)[order]
    precision = np.cumsum(weight * np.concatenate(right)[order]) / np.cumsum(weight)
    reached = np.flatnonzero(
        (precision >= PRECISION) & (np.diff(scores, append=-np.inf) < 0)
    )  # whole ties only
    return float(scores[reached[-1]]) if len(reached) else 1.0


def _first(kind: str, pieces: list[list[str]]) -> str:
    return next((found.value for words in pieces for found in phrases(kind).find(words)), "")


def _years(pieces: list[Piece]) -> float:
    """Full years of experience: "2.5 years" are 2, "18 months of experience" 1."""
    for piece in pieces:
        for match in _YEARS.finditer(piece.text):
            before = piece.text[max(0, match.start() - _LONGEST_LAST) : match.start()]
            if not _LAST.search(before):
                if match["months"]:
                    return float(int(match["months"]) // 12)
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
