"""A resume as sections, statements, list items and dated rows, in the forms that claims are
compared in.

Nothing here judges; `claims` and `editor` read a resume through the same functions, so that a copy
of a text always reads the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from matchlib.data.normal import plain

SECTION_WORDS = {
    "skills": {
        *("skill", "skills", "competencies", "competences", "technologies", "tools", "strengths"),
        *(
            "requirements",
            "must",
            "nice",
            "plus",
            "bring",
            "desirable",
            "requisitos",
            "anforderungen",
        ),
        *("expertise", "abilities", "habilidades", "competencias", "compétences", "kenntnisse"),
    },
    "experience": {
        *("experience", "experiences", "employment", "career", "history", "experiencia"),
        *("expérience", "berufserfahrung", "did"),
    },
    "education": {
        *("education", "qualification", "qualifications", "academic", "studies", "degree"),
        *("training", "educación", "formación", "formation", "ausbildung", "educational"),
    },
    "personal": {"personal", "contact", "details", "information", "kontakt", "contacto"},
    "other": {
        *("summary", "profile", "objective", "about", "projects", "certifications", "certificates"),
        *("awards", "languages", "interests", "hobbies", "references", "publications", "licenses"),
        *("achievements", "volunteering", "responsibilities", "duties", "overview", "licences"),
    },
}
"""Words of headings, by the section that they open; the first section with such a word is meant.
A job's requirements are its skills, unless their heading names another section ("Required
experience")."""
HEADING_FILLERS = frozenset(
    re.findall(
        r"\S+",
        """
        a an and & of the my our key core technical professional personal work job relevant additional
        background set what i required preferred desired essential minimum to have you we need needed
        """,
    )
)
MAX_HEADING_WORDS = 4
STOP_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
        a an and are as at be been by for from had has have held i in into is it its me my of on or our
        out over per so such than that the their them these they this those through to under until up
        using via was we were where which while who with within without would you your also all any
        both each etc between during since till including
        """,
    )
)
WRAPPERS = frozenset(
    re.findall(
        r"\S+",
        """
        ability able abilities adept advanced background basic capable capability capacity certified
        command competence competency competent comprehensive conversant deep demonstrated depth
        developed effective efficient excellent exceptional experience experienced expert expertise
        expertly extensive familiar familiarity fluency fluent good grasp great hands hand high highly
        intermediate know knowledge knowledgeable level outstanding practical primary professional
        proficiency proficient proven skill skilled skillful skills solid sound specialised specialized
        strong superior thorough understanding use used user versed very well working years year
        beginner native secondary
        """,
    )
)
"""Words around a skill that say how well it is known, not what it is."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MAX_ITEM_WORDS = 6
"""Words, at most, of an item that is a skill's name; a longer one is a statement."""

_TOKEN = re.compile(r"[^\W_]+(?:[+#]+(?!\w))?")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-ZÀ-Þ•])")
_MARKS = re.compile(r"^[\s#*•·–—\-_>|:]+|[\s*•–—\-_:|]+$|\s#+$")
_NUMBERING = re.compile(r"^\(?\d{1,2}[.)](?=\s|[A-Z])\s*")
_PART_END = re.compile(r"[,;•|()\[\]\t\n]|[.!?](?=\s|$)")
_ITEM_END = re.compile(r"[,;•|\t]|\s/\s")
_AND = re.compile(r"\s+(?:and|or|&)\s+|\s*/\s*")  # R&D is one word
_LABEL = re.compile(r"^([^:.;,]{1,40}):\s+(?=\S)")
_PARENTHESIS = re.compile(r"\(([^()]{1,80})\)")
_YEAR = r"(?:19|20)\d\d"
_MONTH = rf"(?:(?:{'|'.join(MONTHS)})[a-z]{{0,6}}\.?|\d{{1,2}}\s?[/.])"
_POINT = rf"(?:{_MONTH}\s?,?\s?)?{_YEAR}"
_NOW = r"(?:present|current|currently|now|today|ongoing|date)"
_RANGE = re.compile(
    rf"[(\[]?\s?(?:\b(?:from|between|during)\s)?\(?(?<![\w.])(?P<start>{_POINT})\s?"
    rf"(?:-|–|—|~|\bto\b|\band\b|\buntil\b|\btill\b|\bthrough\b)\s?(?:to\s)?(?P<end>{_POINT}|{_NOW})\b\s?[)\]]?"
    rf"|\b(?:since)\s(?P<since>{_POINT})\b",
    re.I,
)
_LEAD_IN = re.compile(
    r"^.{0,80}?\b(?:as|role of|position of|title:|role:|position:)\s+(?:an?\s|the\s)?", re.I
)
_EMPLOYER_SIGN = re.compile(r"\s+(?:[-–—|@]|at)\s+|\s*[|;,()]\s*")


@dataclass(frozen=True)
class Line:
    """One line of a resume: its number, text as written, and the section that it stands in.

    section: a key of SECTION_WORDS, "header" before the first heading; is_heading: it opens one.
    """

    number: int
    text: str
    section: str
    is_heading: bool


@dataclass(frozen=True)
class DatedRow:
    """What a resume says of one span of time.

    title: the words of the position, as written; start, end: "2012", "2012-05" or "present" (end);
    quote: the statement; words: all words of the statement that belong to these dates.
    """

    title: str
    start: str
    end: str
    quote: str
    words: frozenset[str] = field(repr=False)

    @property
    def dates(self) -> str:
        """The span as text: "2012 - 2014"."""
        return f"{self.start} - {self.end}"

    @property
    def parts(self) -> list[str]:
        """The position's parts: its title, then what follows a dash, comma or "at"."""
        parts = [_strip(part) for part in _EMPLOYER_SIGN.split(self.title)]
        return [part for part in parts if content_words(part)]


def tokens(text: str) -> list[str]:
    """Lower-case words without the plural's ending; C, C++ and C# are three words."""
    return [_singular(word.lower()) for word in _TOKEN.findall(plain(text))]


def token_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each of the tokens of a text that is in plain form."""
    return [match.span() for match in _TOKEN.finditer(text)]


def content_words(text: str) -> list[str]:
    """The tokens that carry a meaning: without articles, prepositions and auxiliaries."""
    return [token for token in tokens(text) if token not in _STOPS]


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def root_of_verb(word: str) -> str:
    """The root of a verb's form in -ed or -ing ("managed", "managing": "manag"), "" of other words.

    Forms without an ending have none: an account or a market is no accounting or marketing.
    """
    match = re.fullmatch(r"(\w{4,})(?:ed|ing)", word)
    return match[1] if match else ""


def roots_of_noun(word: str) -> list[str]:
    """The roots of the verbs that a noun in -ing, -ion or -ment names the action of ("automation":
    "automat")."""
    return [
        match[1]
        for ending in ("ing", "ion", "ation", "e?ment")
        if (match := re.fullmatch(rf"(\w{{4,}}?){ending}", word))
    ]


_STOPS = frozenset(_singular(word) for word in STOP_WORDS)
_AROUND = _STOPS | frozenset(_singular(word) for word in WRAPPERS)


def _strip(text: str) -> str:
    return _MARKS.sub("", text).strip(" .,;:()[]{}\t")


def split_lines(text: str) -> list[Line]:
    """The lines of a resume that hold a word, each with its section."""
    lines = []
    section = "header"
    for number, written in enumerate(text.splitlines()):
        if not re.search(r"\w", written):
            continue
        opened = section_of_heading(written)
        if opened:
            section = opened
        lines.append(Line(number, written, section, bool(opened)))
    return lines


def section_of_heading(line: str) -> str:
    """The section that a heading opens, "" of any other line.

    A heading has at most MAX_HEADING_WORDS words, all of them of headings; punctuation of Markdown,
    a colon and "Resume - " do not matter.
    """
    words = re.findall(r"[^\W\d_]+|&", plain(line).lower())
    if not words or len(words) > MAX_HEADING_WORDS or re.search(r"[.,;\d]", line):
        return ""
    known = set().union(*SECTION_WORDS.values())
    if not known.union(HEADING_FILLERS).issuperset(words) or known.isdisjoint(words):
        return ""
    is_named = {name: not its.isdisjoint(words) for name, its in SECTION_WORDS.items()}
    if is_named["experience"] and "skills" not in words:  # "Required experience"
        return "experience"
    return next(name for name in SECTION_WORDS if is_named[name])


def statements(line: str) -> list[str]:
    """The sentences of a line without its bullet or number."""
    without_mark = _NUMBERING.sub("", _MARKS.sub("", plain(line)))
    return [part.strip() for part in _SENTENCE_END.split(without_mark) if re.search(r"\w", part)]


def text_parts(text: str) -> Iterator[list[str]]:
    """Tokens between commas, semicolons, brackets and ends of sentences or lines, with and without
    what stands in brackets."""
    text = plain(text)
    versions = [text]
    if "(" in text:  # "User interface (UI) development" states user interface development
        versions.append(_PARENTHESIS.sub(" ", text))
    for version in versions:
        for part in _PART_END.split(version):
            found = tokens(part)
            if found:
                yield found


def list_items(statement: str) -> list[str]:
    """The items of a list of skills.

    "Languages: Java, C" are Java and C (and the label), "Java: used in three projects" is Java.
    """
    label = _LABEL.match(statement)
    if label is None:
        return _items_of(statement)
    behind = _items_of(statement[label.end() :])
    is_list = all(len(tokens(item)) <= 3 for item in behind)
    if is_list and section_of_heading(label[1]):
        return behind
    return [_strip(label[1]), *behind] if is_list else [_strip(label[1])]


def _items_of(statement: str) -> list[str]:
    inside = _PARENTHESIS.findall(statement)
    outside = _PARENTHESIS.sub(" ", statement)
    found = []
    for text in (outside, *inside):
        found.extend(_strip(item) for item in _ITEM_END.split(text))
    return [item for item in found if re.search(r"\w", item)]


def skill_core(item: str) -> list[str]:
    """The tokens of a skill without words that say how well it is known: "Competent in Windows" and
    "Windows (primary)" are both ["window"]."""
    return tokens(skill_name(item))


def skill_name(item: str) -> str:
    """The name of a skill as written, without brackets and words that say how well it is known."""
    text = re.sub(r"\s{2,}", " ", _PARENTHESIS.sub(" ", plain(item)))
    spans = token_spans(text)
    is_core = [_singular(text[start:end].lower()) not in _AROUND for start, end in spans]
    if True not in is_core:
        return ""
    first = is_core.index(True)
    last = len(spans) - 1 - is_core[::-1].index(True)
    start = spans[first][0]
    return text[start - (text[start - 1 : start] == ".") : spans[last][1]]  # the dot of .NET


def split_at_and(item: str) -> list[str]:
    """The parts of an item that "and", "or", "&" or a slash joins."""
    return [part for part in _AND.split(item) if re.search(r"\w", part)]


def dated_rows(lines: list[Line]) -> list[DatedRow]:
    """What is said of each span of time in a resume.

    The position stands before its dates, else behind them, else on the line above or below.
    """
    rows = []
    for at, line in enumerate(lines):
        if line.section == "education" or not re.search(_YEAR, line.text):
            continue
        for statement in statements(line.text):
            rows.extend(_rows_of_statement(statement, lines, at))
    return rows


def _rows_of_statement(statement: str, lines: list[Line], at: int) -> Iterator[DatedRow]:
    spans = list(_RANGE.finditer(statement))
    for number, span in enumerate(spans):
        begin = spans[number - 1].end() if number else 0
        stop = spans[number + 1].start() if number + 1 < len(spans) else len(statement)
        before = statement[begin : span.start()]
        after = statement[span.end() : stop]
        title = before if content_words(before) else after
        words = frozenset(tokens(before + " " + after))
        if not content_words(title):
            title = _title_beside(lines, at)
            words = frozenset(tokens(title))
        start = _point(span["start"] or span["since"])
        end = _point(span["end"] or "present")
        yield DatedRow(_without_lead_in(title), start, end, statement, words)


def _title_beside(lines: list[Line], at: int) -> str:
    for beside in (at - 1, at + 1):
        if not 0 <= beside < len(lines):
            continue
        line = lines[beside]
        same_section = line.section == lines[at].section and not line.is_heading
        if same_section and not re.search(_YEAR, line.text):
            return line.text
    return ""


def _without_lead_in(title: str) -> str:
    without = _LEAD_IN.sub("", _strip(title), count=1)
    without = re.split(r"(?<=\w)[.;:]\s|,?\s(?:where|which|responsible)\b", without)[0]
    return re.sub(r"\s+(?:from|in|during|between|for)$", "", _strip(without))


def _point(text: str) -> str:
    year = re.search(_YEAR, text)
    if year is None:
        return "present"
    before = text[: year.start()].strip(" /.,").lower()
    if not before:
        return year[0]
    month = int(before) if before.isdigit() else MONTHS.index(before[:3]) + 1
    return f"{year[0]}-{month:02d}"
