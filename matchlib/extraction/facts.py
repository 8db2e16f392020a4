"""Extract facts from a document's text: skills, years, place, level, degree and occupation.

Skills and titles are found by the *seen* wording of the skill graph (names, aliases, evidence
phrases), levels and degrees by the seen wording of the simulated market and a few everyday words,
years, places and sections by patterns. With an encoder, statements in words that the graph lacks are
assigned to the skills of the document's occupation that they are similar to, and words whose most
similar known phrase means remote work count as such. No structured column and no held-out wording is read, so that the extracted
facts can be compared with the truth. A fact that is not found is "" (years: NaN).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from matchlib.data.market.config import CITIES, REGIONS
from matchlib.data.market.wording import SLOTS
from matchlib.data.normal import mapped
from matchlib.data.skills import DEGREES, LEVELS, Graph, load_graph
from matchlib.extraction.polarity import DENIED, HELD, WANTED, Place

if TYPE_CHECKING:
    from matchlib.retrieval.encoder import Encoder

FACT_COLUMNS = (
    "skills",
    "nice_skills",
    "years",
    "city",
    "remote",
    "seniority",
    "degree",
    "occupation",
    "title",
    "denied_skills",
    "not_read",
)
EVERYDAY_WORDS = {
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
"""Words for levels and degrees that adverts use, beside the seen wording of the market."""
NUMBER_WORDS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
OTHER_HEADER_PHRASES = (
    "email me",
    "email address",
    "home address",
    "current address",
    "contact details",
    "phone number",
    "home phone",
    "mobile",
    "date of birth",
    "nationality",
    "curriculum vitae",
    "job title",
    "job summary",
    "career objective",
    "professional summary",
    "looking for a position",
    "looking for a new challenge",
    "self-employed",
    "full time",
    "part time",
    "permanent contract",
)
"""What headers say that is neither place, title, level nor remote work."""
MAX_HEADER_LINES = 5
"""Lines, at most, of a document's header, which holds place, level and title; a heading ends it."""
MAX_PART_WORDS = 6
"""Words, at most, of a part of a header that may say remote work."""
MIN_PRECISION = 0.7
"""Least share of correct skills among those matched by similarity alone, when each phrase of the
graph is left out in turn."""
MIN_LIST_ITEMS = 3
"""Items of one line, at least, that make a list."""
SHARE_OF_SKILLS = 0.5
LISTED_SHARE_OF_SKILLS = 0.8
"""Assumed shares of statements without a known phrase that are skills of the occupation: of all, and
of the items of a list that names a known skill."""
LEVEL_BOUNDARIES = (0.6, 1.5, 2.8)
"""Boundaries between the levels, in years divided by the years typical of the occupation's middle
level (the rule by which the simulated market sets levels)."""
TITLE_PREFIX = "occupation:"

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
"""Words of headings. A line in capitals with another word is a heading only by its position, see
`_is_caps_heading`."""

_TOKEN = re.compile(r"[^\W_]+|[+#]")
# in plain form (data.normal) every bullet is a •
_SEGMENT_END = re.compile(r";|•|(?<=[.!?])\s+(?=[A-ZÀ-Þ])")
_BULLETS = " \t*·–—-"
_LINE = re.compile(r"[^\n]+")
_MARKDOWN_HEADING = re.compile(r"(#{1,6}) ")
_COLON_HEADING = re.compile(r"[^.;,]{1,40}:$")
_CAPS_HEADING = re.compile(r"(?=[^\n]*[A-ZÀ-Þ]{3})[A-ZÀ-Þ&/]{1,}(?:\s[A-ZÀ-Þ&/]{1,}){0,4}$")
_CAPS_LEVEL = 7  # after the six levels of Markdown
_COLON_LEVEL = 8
_OPTIONAL = re.compile(
    r"nice[ -]to[ -]have|\b(?:a|is a|big) plus\b|\bbonus\b|\bpreferred\b|\badvantageous?\b|\boptional",
    re.I,
)
_REQUIRED = re.compile(
    r"must|requir|you (?:bring|need|have|are)|qualif|skill|experience|histor|work|respons|task|dut[yi]"
    r"|profile|about|summary|education|employment|project|language|tools|stack",
    re.I,
)
_NUMBER = rf"(?:\d{{1,2}}|{'|'.join(NUMBER_WORDS)})"
_YEARS = re.compile(
    rf"(?<!\d[.,])\b({_NUMBER})(?:[.,]\d)?(?: ?(?:[-–—~/]|to|or) ?{_NUMBER}(?:[.,]\d)?)? ?\+?"
    rf"(?: or more)?[ \t]?(?:years?|yrs?)\b(?! (?:old|ago|of age|contract))"
    rf"|(?<![\d.,-])\b(?P<months>\d{{1,3}}) ?\+? ?months?'?(?: of)?(?: \w{{1,20}}){{0,2}} experience\b",
    re.I,
)
_NOT_EXPERIENCE = re.compile(r"\b(?:last|past|next|every|within|after|aged?|over the) $", re.I)
_LONGEST_NOT_EXPERIENCE = 12
_REMOTE = re.compile(
    r"\bremote (?:possible|work(?:ing)?|jobs?|roles?|position|option|first|friendly)\b|\bremotely\b"
    r"|\b(?:fully|100%|or) remote\b|\(remote\)|\bwork(?:ing)? from home\b|\bhappy to relocate\b",
    re.I,
)
# no hyphen in the class: the pattern would match one name in many ways, slowly
_NAME = r"[A-ZÀ-Þ][\w'’]{1,30}(?:-[\w'’]{1,30}){0,4}"
_PLACE = rf"(\b{_NAME}(?: (?:(?:upon|on|de|la|sur|am|of|the) )?{_NAME}){{0,2}})"
_PLACE_AFTER_CUE = re.compile(
    rf"(?:\b(?i:based|living|located|resident|lives?|office|home) in|"
    rf"\b(?i:location|city|place|address|based) ?:|"
    rf"\bour(?= [A-ZÀ-Þ][\w'’ -]{{1,60}} (?:office|team|site|branch)\b)) ?{_PLACE}"
    rf"|{_PLACE}-based\b"
)


class Segment(NamedTuple):
    """One statement of a document: a sentence, a list item or a line.

    text: in plain form (see data.normal); original: as it is written; in_header: it stands in the
    document's header; under_heading: below a heading; is_optional: it is nice to have; line: number
    of its line among those that are not blank.
    """

    text: str
    original: str
    in_header: bool
    under_heading: bool
    is_optional: bool
    line: int


class Evidence(NamedTuple):
    """The statement of a text that says a skill, as it is written; is_similar: it names no known
    phrase and is only similar to the skill's."""

    statement: str
    is_similar: bool


class PhraseMatch(NamedTuple):
    """tokens[start:end] is a known phrase that means `value`."""

    start: int
    end: int
    value: str

    @property
    def is_title(self) -> bool:
        """True if the phrase is a job title, not a skill."""
        return self.value.startswith(TITLE_PREFIX)


class PhraseMatcher:
    """Known phrases and what they mean, found in texts at word boundaries, in any case.

    Where two phrases start at the same word, the longer one is found.
    """

    def __init__(self, meanings: Iterable[tuple[str, str]]):
        self.by_first_token: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for phrase, value in meanings:
            tokens = tuple(tokenize(phrase))
            self.by_first_token.setdefault(tokens[0], []).append((tokens, value))
        for candidates in self.by_first_token.values():
            candidates.sort(key=lambda candidate: -len(candidate[0]))

    def find(self, tokens: list[str]) -> list[PhraseMatch]:
        """The phrases in the tokens of a text, none overlapping."""
        matches = []
        position = 0
        while position < len(tokens):
            match = self._match_at(tokens, position)
            if match is None:
                position += 1
            else:
                matches.append(match)
                position = match.end
        return matches

    def _match_at(self, tokens: list[str], start: int) -> PhraseMatch | None:
        for phrase, value in self.by_first_token.get(tokens[start], ()):
            end = start + len(phrase)
            if tuple(tokens[start:end]) == phrase:
                return PhraseMatch(start, end, value)
        return None


def tokenize(text: str) -> list[str]:
    """Lower-case words, and the signs of C++ and C#; hyphens and apostrophes separate words."""
    return _TOKEN.findall(text.lower())


def split_segments(text: str) -> list[Segment]:
    """The statements of a document without its headings: lines, list items, sentences.

    What stands under a heading of nice-to-haves is optional, and so is what stands under a later
    heading that says neither required nor optional: adverts name first what they need. Such a
    heading of a lower level ("Databases:" below "## Requirements") changes nothing.
    """
    plain = mapped(text)
    lines = [line for line in _LINE.finditer(plain.text) if line[0].strip()]
    segments: list[Segment] = []
    is_optional = False
    in_header = True
    section_level = 0  # 0 before the first heading
    for number, line in enumerate(lines):
        if number >= MAX_HEADER_LINES:
            in_header = False
        level = _heading_level(lines, number)
        if level:
            is_optional = _section_is_optional(line[0], level, section_level, is_optional)
            section_level = _level_that_ends_section(line[0], level, section_level)
            in_header = in_header and number == 0
            continue
        for start, end in _segment_spans(line):
            part = plain.text[start:end]
            segment = Segment(
                text=part,
                original=text[slice(*plain.span(start, end))],
                in_header=in_header,
                under_heading=section_level > 0,
                is_optional=is_optional or bool(_OPTIONAL.search(part)),
                line=number,
            )
            segments.append(segment)
    return segments


def _section_is_optional(
    heading: str,
    level: int,
    section_level: int,
    was_optional: bool,
) -> bool:
    if _OPTIONAL.search(heading):
        return True
    if _REQUIRED.search(heading):
        return False
    starts_new_section = level <= section_level  # never true of the first heading
    return was_optional or starts_new_section


def _level_that_ends_section(
    heading: str,
    level: int,
    section_level: int,
) -> int:
    """The level at or above which a later heading that says neither ends this section."""
    says_which = bool(_OPTIONAL.search(heading) or _REQUIRED.search(heading))
    if says_which or not section_level:
        return level
    return min(section_level, level)


def _segment_spans(line: re.Match) -> Iterator[tuple[int, int]]:
    """Start and end of each segment of a line in the text, without bullets; each holds a word."""
    starts = [0]
    ends = []
    for separator in _SEGMENT_END.finditer(line[0]):
        ends.append(separator.start())
        starts.append(separator.end())
    ends.append(len(line[0]))
    for start, end in zip(starts, ends, strict=True):
        without_bullet = line[0][start:end].lstrip(_BULLETS)
        if re.search(r"\w", without_bullet):
            first = line.start() + end - len(without_bullet)
            yield first, first + len(without_bullet.rstrip())


def _heading_level(lines: list[re.Match], number: int) -> int:
    """The level of a heading: 1 to 6 "# Skills", then "SKILLS", then "Skills:"; 0 of other lines."""
    line = lines[number][0].strip()
    markdown = _MARKDOWN_HEADING.match(line)
    if markdown:
        return len(markdown[1])
    if _COLON_HEADING.match(line):
        return _COLON_LEVEL
    if _CAPS_HEADING.match(line) and _is_caps_heading(lines, number):
        return _CAPS_LEVEL
    return 0


def _is_caps_heading(lines: list[re.Match], number: int) -> bool:
    """Whether a line in capitals is a heading rather than an item (SQL, GIT) or a name.

    A line with words of HEADINGS only is a heading; a line with a known skill or title is not. Any
    other line is a heading by its position: it is the first line or follows a blank one, a line
    stands directly below it, and that line is not in capitals, too.
    """
    line = lines[number]
    words = tokenize(line[0])
    if not words:
        return False
    if HEADINGS.issuperset(words) or _OPTIONAL.search(line[0]):
        return True
    if phrase_matcher("skill").find(words):
        return False
    has_gap_above = number == 0 or line.start() - lines[number - 1].end() > 1
    has_text_below = number + 1 < len(lines) and lines[number + 1].start() - line.end() == 1
    if not (has_gap_above and has_text_below):
        return False
    line_below = lines[number + 1][0].strip()
    is_list_of_capitals = _CAPS_HEADING.match(line_below) and not HEADINGS.issuperset(
        tokenize(line_below)
    )
    return not is_list_of_capitals


_own_graph: Graph | None = None


def known_graph() -> Graph:
    """The graph whose phrases are known: that of `use_graph`, else the packaged one's seen wording."""
    return load_graph("seen") if _own_graph is None else _own_graph


def use_graph(graph: Graph | None) -> None:
    """Read texts by another graph from now on, in this process; None: by the packaged one.

    Without occupations no title is known, no occupation and no level is inferred, and nothing is
    found by similarity, which seeks among the skills of an occupation.
    """
    global _own_graph
    _own_graph = graph
    for cached in (
        phrase_matcher,
        _votes_by_skill,
        _skill_numbers_by_occupation,
        _header_vectors,
        _skill_vectors,
        similarity_threshold,
    ):
        cached.cache_clear()


@cache
def phrase_matcher(kind: str) -> PhraseMatcher:
    """The known phrases of a kind: "skill", "seniority" or "degree".

    A skill's phrases mean its name. Titles are among them and mean "occupation:" and an id, so that
    no skill is found inside a title. A phrase of a level or degree means its value.
    """
    if kind == "skill":
        return PhraseMatcher([*_title_phrases(), *_skill_phrases()])
    values = {"seniority": LEVELS, "degree": DEGREES}[kind]
    meanings = []
    for value in values:
        for phrase in (*SLOTS["seen"][value], *EVERYDAY_WORDS[value]):
            meanings.append((phrase, value))
    return PhraseMatcher(meanings)


def _title_phrases() -> Iterator[tuple[str, str]]:
    for occupation in known_graph().occupations.values():
        for title in (occupation.name, *occupation.titles):
            yield title, TITLE_PREFIX + occupation.id


def _skill_phrases() -> Iterator[tuple[str, str]]:
    """(phrase, skill name) of every skill, in the graph's order."""
    for skill in known_graph().skills.values():
        for phrase in (skill.name, *skill.aliases, *skill.evidence):
            yield phrase, skill.name


def extract_facts(
    texts: Sequence[str], *, encoder: Encoder | None = None, only_held: bool = False
) -> pd.DataFrame:
    """What each text says: a frame with FACT_COLUMNS, in the form of the simulated market's tables.

    skills, nice_skills: names of the graph's skills, "; "-separated; nice_skills are those under a
    heading or in a sentence of nice-to-haves. years: the first number beside "years", NaN where
    there is none. remote: "yes" or "no". seniority, degree: of LEVELS and DEGREES; a level that is
    not named is inferred from years and occupation (LEVEL_BOUNDARIES). occupation, title: id and
    name of the graph's occupation; without a known title it is inferred from the skills.
    only_held: for texts in which people speak of themselves: skills that they say they lack, want or
    saw in others count for nothing (see `polarity`), and the first two are the denied_skills. An advert
    looks for what it names ("We want somebody with SQL"), so that there all that is named counts.
    not_read: "5 of 9 statements": below the header, without anything that the
    graph knows; "" where there are none.
    encoder: also finds skills and remote work by similarity, see `match_skills_by_similarity`;
    without it only known phrases count.
    """
    return extract_with_evidence(texts, encoder=encoder, only_held=only_held)[0]


def extract_with_evidence(
    texts: Sequence[str], *, encoder: Encoder | None = None, only_held: bool = False
) -> tuple[pd.DataFrame, list[dict[str, Evidence]]]:
    """`extract_facts`, and for each text the first statement that says each skill that it holds."""
    statements = [statements_of(text) for text in texts]
    polarities = read_polarities(statements) if only_held else {}
    documents = [_read_document(own, polarities) for own in statements]
    if encoder is not None:
        _add_similar_phrases(documents, encoder, only_held=only_held)
    rows = [_fact_row(document) for document in documents]
    return pd.DataFrame(rows, columns=list(FACT_COLUMNS)), [one.evidence for one in documents]


@dataclass
class _Document:
    """What is found in one text.

    required_skills, optional_skills: names as keys, in the order of the text; not_held: name ->
    polarity of skills that the text names otherwise than as held; evidence: skill -> the first
    statement that says it; n_statements: below the header; n_similar: of the unmatched, those
    that were found by similarity; unmatched: segments
    without a known phrase, listed: of them, whether they stand in a list that names a known skill;
    header_parts: the comma-separated parts of the header of two words or more.
    """

    required_skills: dict[str, None] = field(default_factory=dict)
    optional_skills: dict[str, None] = field(default_factory=dict)
    not_held: dict[str, str] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    n_statements: int = 0
    n_similar: int = 0
    occupation: str = ""
    unmatched: list[Segment] = field(default_factory=list)
    listed: list[bool] = field(default_factory=list)
    header_parts: list[str] = field(default_factory=list)
    years: float = np.nan
    city: str = ""
    is_remote: bool = False
    seniority: str = ""
    degree: str = ""

    @property
    def not_read(self) -> str:
        """How many statements below the header name nothing that is known."""
        n_unread = len(self.unmatched) - self.n_similar
        return f"{n_unread} of {self.n_statements} statements" if n_unread else ""

    @property
    def all_skills(self) -> list[str]:
        return [*self.required_skills, *self.optional_skills]

    def add_mentions(self, statement: Statement, polarities: Mapping[Place, str]) -> bool:
        """Add the skills that a statement names, held or not; whether there is any. A place that is not
        in polarities is held."""
        for skill, place in statement.skills():
            polarity = polarities.get(place, HELD)
            if polarity == HELD:
                self.add_skill(skill, statement.segment, is_similar=False)
            else:
                self.not_held.setdefault(skill, polarity)
        return not all(match.is_title for match in statement.matches)

    def add_skill(self, name: str, segment: Segment, *, is_similar: bool) -> None:
        skills = self.optional_skills if segment.is_optional else self.required_skills
        skills[name] = None
        self.evidence.setdefault(name, Evidence(segment.original.strip(), is_similar))


class Statement(NamedTuple):
    """A segment, its tokens, and the phrases that are known among them."""

    segment: Segment
    words: list[str]
    matches: list[PhraseMatch]

    def skills(self) -> Iterator[tuple[str, Place]]:
        """Each skill that it names, and where."""
        spans = [token.span() for token in _TOKEN.finditer(self.segment.text.lower())]
        for match in self.matches:
            if not match.is_title:
                start, end = spans[match.start][0], spans[match.end - 1][1]
                yield match.value, (self.segment.text, start, end)


def statements_of(text: str) -> list[Statement]:
    """The statements of a document with the phrases that they hold."""
    found = []
    for segment in split_segments(text):
        words = tokenize(segment.text)
        found.append(Statement(segment, words, phrase_matcher("skill").find(words)))
    return found


def read_polarities(documents: Iterable[Sequence[Statement]]) -> dict[Place, str]:
    """The polarity of every place of a skill in the statements of documents."""
    from matchlib.extraction.polarity_reader import polarities_of

    places: dict[Place, None] = {}
    for statements in documents:
        for statement in statements:
            places.update((place, None) for _, place in statement.skills())
    return dict(zip(places, polarities_of(list(places)), strict=True))


def _read_document(statements: Sequence[Statement], polarities: Mapping[Place, str]) -> _Document:
    """The facts that known phrases and patterns give."""
    segments = [statement.segment for statement in statements]
    document = _Document()
    words_without_titles = []
    lines_with_skills = set()
    for statement in statements:
        segment, words, matches = statement
        titles = [match for match in matches if match.is_title]
        if document.add_mentions(statement, polarities):
            lines_with_skills.add(segment.line)
        if segment.in_header and titles and not document.occupation:
            document.occupation = titles[0].value.removeprefix(TITLE_PREFIX)
        if not segment.in_header and not matches:
            document.unmatched.append(segment)
        words = list(words)
        for title in reversed(titles):
            words[title.start : title.end] = ["|"]  # a high school teacher has no school degree
        words_without_titles.append(words)
    if not document.occupation:
        document.occupation = infer_occupation(document.all_skills)
    document.n_statements = sum(not segment.in_header for segment in segments)
    lists = _lines_of_lists(segments) & lines_with_skills
    document.listed = [segment.line in lists for segment in document.unmatched]

    header = "\n".join(segment.text for segment in segments if segment.in_header)
    header_words = []
    for segment, words in zip(segments, words_without_titles, strict=True):
        if segment.in_header:
            header_words.append(words)
    document.header_parts = _short_parts(header)
    document.years = _find_years(segments)
    document.city = _find_city(header)
    document.is_remote = bool(_REMOTE.search(header))
    document.seniority = _first_value("seniority", header_words)
    document.degree = _first_value("degree", words_without_titles)
    return document


def _lines_of_lists(segments: list[Segment]) -> set[int]:
    n_items = Counter(segment.line for segment in segments)
    return {line for line, n in n_items.items() if n >= MIN_LIST_ITEMS}


def _short_parts(header: str) -> list[str]:
    parts = [part.strip() for part in re.split(r"[,.;:\n]", header)]
    return [part for part in parts if 1 < len(part.split()) <= MAX_PART_WORDS]


def _fact_row(document: _Document) -> dict[str, object]:
    occupation = known_graph().occupations.get(document.occupation)
    seniority = document.seniority
    if not seniority and occupation and not np.isnan(document.years):
        relative_years = document.years / occupation.years
        seniority = LEVELS[int(np.searchsorted(LEVEL_BOUNDARIES, relative_years, side="right"))]
    required = document.required_skills
    held = {*required, *document.optional_skills}
    denied = [
        skill
        for skill, polarity in document.not_held.items()
        if polarity in (DENIED, WANTED) and skill not in held
    ]
    only_optional = [skill for skill in document.optional_skills if skill not in required]
    return {
        "skills": "; ".join(required),
        "nice_skills": "; ".join(only_optional),
        "years": document.years,
        "city": document.city,
        "remote": "yes" if document.is_remote else "no",
        "seniority": seniority,
        "degree": document.degree,
        "occupation": document.occupation,
        "title": occupation.name if occupation else "",
        "denied_skills": "; ".join(denied),
        "not_read": document.not_read,
    }


def infer_occupation(skills: Sequence[str]) -> str:
    """The occupation (id) that needs most of the skills (names).

    An essential skill gives two votes, an optional one gives one. "" where two occupations have as
    many votes, or where the best one has fewer than three.
    """
    votes = Counter()
    for skill in skills:
        votes.update(_votes_by_skill()[skill])
    leaders = votes.most_common(2)
    if not leaders:
        return ""
    occupation, n_votes = leaders[0]
    is_tie = len(leaders) == 2 and leaders[1][1] == n_votes
    return "" if is_tie or n_votes < 3 else occupation


@cache
def _votes_by_skill() -> dict[str, Counter]:
    """Skill name -> occupation id -> votes, in the graph's order of skills."""
    graph = known_graph()
    votes = {skill.name: Counter() for skill in graph.skills.values()}
    for occupation in graph.occupations.values():
        for skill in occupation.essential:
            votes[graph.skills[skill].name][occupation.id] += 2
        for skill in occupation.optional:
            votes[graph.skills[skill].name][occupation.id] += 1
    return votes


def _add_similar_phrases(documents: list[_Document], encoder: Encoder, *, only_held: bool) -> None:
    """Add to the documents the skills and remote work that unmatched words are similar to.

    Skills are sought where the occupation is known. only_held: of those that their statements say are
    held.
    """
    with_occupation = [document for document in documents if document.occupation]
    texts = _distinct_texts(documents, with_occupation)
    if not texts:
        return
    vectors = dict(zip(texts, encoder.encode_resumes(texts), strict=True))
    found: list[tuple[_Document, Segment, str]] = []
    for document in with_occupation:
        matched = match_skills_by_similarity(
            [vectors[segment.text] for segment in document.unmatched],
            document.listed,
            document.occupation,
            set(document.all_skills),
            encoder,
        )
        found.extend(
            (document, segment, skill)
            for segment, skill in zip(document.unmatched, matched, strict=True)
            if skill
        )
    not_held = _statements_not_held(segment.text for _, segment, _ in found) if only_held else ()
    for document, segment, skill in found:
        if segment.text not in not_held:
            document.add_skill(skill, segment, is_similar=True)
            document.n_similar += 1
    remote_vectors, other_vectors = _header_vectors(encoder)
    for document in documents:
        for part in document.header_parts:
            similarity = (remote_vectors @ vectors[part]).max()
            if similarity > (other_vectors @ vectors[part]).max():
                document.is_remote = True


def _statements_not_held(statements: Iterable[str]) -> set[str]:
    from matchlib.extraction.polarity_reader import polarities_of_statements

    distinct = list(dict.fromkeys(statements))
    polarities = polarities_of_statements(distinct)
    return {one for one, polarity in zip(distinct, polarities, strict=True) if polarity != HELD}


def _distinct_texts(documents: list[_Document], with_occupation: list[_Document]) -> list[str]:
    texts = []
    for document in with_occupation:
        texts.extend(segment.text for segment in document.unmatched)
    for document in documents:
        texts.extend(document.header_parts)
    return list(dict.fromkeys(texts))


def match_skills_by_similarity(
    vectors: Sequence[np.ndarray],
    is_listed: Sequence[bool],
    occupation: str,
    known: set[str],
    encoder: Encoder,
) -> list[str]:
    """The skill (name) that each statement of one document means, or "".

    vectors: (dim,) of each statement; is_listed: whether it is an item of a list that names a known
    skill; only skills of the occupation (id) that are not known already are matched. A document
    names a skill once, so statements and skills are assigned to each other one to one, with the
    greatest sum of similarity above `similarity_threshold`; below it nothing is matched.
    """
    phrases = _skill_vectors(encoder)
    skill_names = list(_votes_by_skill())
    matched = [""] * len(vectors)
    candidates = [
        skill
        for skill in _skill_numbers_by_occupation()[occupation]
        if skill_names[skill] not in known
    ]
    if not candidates or not matched:
        return matched
    similarity = phrases.similarity(np.stack(vectors), candidates)
    thresholds = np.where(
        is_listed,
        similarity_threshold(encoder, LISTED_SHARE_OF_SKILLS),
        similarity_threshold(encoder, SHARE_OF_SKILLS),
    )
    gain = np.clip(similarity - thresholds[:, None], 0, None)
    for row, column in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
        if gain[row, column] > 0:
            matched[row] = skill_names[candidates[column]]
    return matched


@cache
def _header_vectors(encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """(R, dim) of the known phrases for remote work, and (O, dim) of what else a header says: the
    market's other phrases, titles and cities."""
    remote = []
    others = [*OTHER_HEADER_PHRASES, *(city for city, _ in CITIES)]
    others.extend(title for title, _ in _title_phrases())
    for kind, phrases in SLOTS["seen"].items():
        same_kind = remote if kind.startswith("remote") else others
        same_kind.extend(_without_placeholders(phrase) for phrase in phrases)
    return encoder.encode_resumes(remote), encoder.encode_resumes(others)


def _without_placeholders(phrase: str) -> str:
    return re.sub(r"{\w+}", "", phrase).strip(" ,.;:")


@cache
def _skill_numbers_by_occupation() -> dict[str, np.ndarray]:
    """Occupation id -> positions of its skills in the graph."""
    graph = known_graph()
    number_of = {skill: number for number, skill in enumerate(graph.skills)}
    numbers = {}
    for occupation in graph.occupations.values():
        own_skills = (*occupation.essential, *occupation.optional)
        numbers[occupation.id] = np.array([number_of[skill] for skill in own_skills])
    return numbers


@dataclass(frozen=True)
class _SkillVectors:
    """skills: (P,) number of the skill that each phrase of the graph means; phrases: (P, dim) their
    vectors; whole: (S, dim) of all phrases of a skill in one text; rest: (P, dim) the same without
    the phrase itself."""

    skills: np.ndarray
    phrases: np.ndarray
    whole: np.ndarray
    rest: np.ndarray

    def similarity(self, statements: np.ndarray, skills: Sequence[int]) -> np.ndarray:
        """(N, len(skills)) of statements (N, dim): the mean of the cosine with a skill's nearest
        phrase and that with all its phrases in one text."""
        nearest = [(statements @ self.phrases[self.skills == skill].T).max(1) for skill in skills]
        return (np.stack(nearest, axis=1) + statements @ self.whole[skills].T) / 2

    def similarity_left_out(self) -> np.ndarray:
        """(P, S) the same of each phrase of the graph as if the graph lacked it."""
        cosines = self.phrases @ self.phrases.T
        np.fill_diagonal(cosines, -1)
        nearest = [cosines[:, self.skills == skill].max(1) for skill in range(len(self.whole))]
        with_whole = self.phrases @ self.whole.T
        own = np.arange(len(self.skills)), self.skills
        with_whole[own] = (self.phrases * self.rest).sum(1)
        return (np.stack(nearest, axis=1) + with_whole) / 2


@cache
def _skill_vectors(encoder: Encoder) -> _SkillVectors:
    skill_numbers = []
    phrases = []
    whole = []
    rest = []
    for number, skill in enumerate(known_graph().skills.values()):
        own = (skill.name, *skill.aliases, *skill.evidence)
        whole.append("; ".join(own))
        for phrase in own:
            skill_numbers.append(number)
            phrases.append(phrase)
            rest.append("; ".join(other for other in own if other != phrase))
    return _SkillVectors(
        skills=np.array(skill_numbers),
        phrases=encoder.encode_resumes(phrases),
        whole=encoder.encode_resumes(whole),
        rest=encoder.encode_resumes(rest),
    )


@cache
def similarity_threshold(encoder: Encoder, share_of_skills: float = SHARE_OF_SKILLS) -> float:
    """The least similarity from which a statement counts as a skill: the one with MIN_PRECISION.

    Calibrated on the graph alone, for each encoder. Every phrase of the graph is left out in turn
    and compared with the skills of every occupation. In the occupations of its skill it should
    match that skill, in the others nothing; the former have the weight `share_of_skills` in all. 1
    where no similarity reaches MIN_PRECISION.
    """
    vectors = _skill_vectors(encoder)
    similarity = vectors.similarity_left_out()
    weight_outside = (1 - share_of_skills) / share_of_skills
    scores = []
    is_correct = []
    weights = []
    for skills in _skill_numbers_by_occupation().values():
        best_here = similarity[:, skills]
        is_inside = np.isin(vectors.skills, skills)
        outside_weight = weight_outside * is_inside.sum() / (~is_inside).sum()
        scores.append(best_here.max(axis=1))
        is_correct.append(skills[best_here.argmax(axis=1)] == vectors.skills)
        weights.append(np.where(is_inside, 1, outside_weight))
    return _score_with_precision(
        np.concatenate(scores), np.concatenate(is_correct), np.concatenate(weights)
    )


def _score_with_precision(
    scores: np.ndarray,
    is_correct: np.ndarray,
    weights: np.ndarray,
) -> float:
    """The least score (n,) from which on the weighted share of correct ones is MIN_PRECISION."""
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    weights = weights[order]
    precision = np.cumsum(weights * is_correct[order]) / np.cumsum(weights)
    is_last_of_tie = np.diff(scores, append=-np.inf) < 0
    reached = np.flatnonzero((precision >= MIN_PRECISION) & is_last_of_tie)
    return float(scores[reached[-1]]) if len(reached) else 1.0


def _first_value(kind: str, texts: list[list[str]]) -> str:
    """The value of the first known phrase of a kind in tokenized texts, or ""."""
    for words in texts:
        matches = phrase_matcher(kind).find(words)
        if matches:
            return matches[0].value
    return ""


def _find_years(segments: list[Segment]) -> float:
    """Full years of experience: "2.5 years" are 2, "18 months of experience" 1."""
    for segment in segments:
        for match in _YEARS.finditer(segment.text):
            start = max(0, match.start() - _LONGEST_NOT_EXPERIENCE)
            before = segment.text[start : match.start()]
            if not _NOT_EXPERIENCE.search(before):
                return _years_of(match)
    return np.nan


def _years_of(match: re.Match) -> float:
    if match["months"]:
        return float(int(match["months"]) // 12)
    number = match[1].lower()
    return float(NUMBER_WORDS.get(number) or number)


@cache
def _known_cities() -> re.Pattern:
    cities = []
    for region_cities in REGIONS.values():
        cities.extend(region_cities)
    cities.sort(key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(cities)})\b")


def _find_city(header: str) -> str:
    """A place after words such as "based in", else the first city that the market knows."""
    after_cue = _PLACE_AFTER_CUE.search(header)
    if after_cue:
        return after_cue[1] or after_cue[2]
    known = _known_cities().search(header)
    return known[0] if known else ""
