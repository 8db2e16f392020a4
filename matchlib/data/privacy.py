"""Hide what identifies a person or tells the gender: find the spans, replace them, count them.

E-mails, links, street addresses and gendered words are found by the regular expressions below,
phone numbers by `phonenumbers` (a port of Google's libphonenumber), given names by the name lists
of `faker` and the evidence around them. English, Spanish and Chinese are covered; French and German
in street addresses and name lists only.

Limits. Only given names are hidden: surnames, initials, user names and hosts stay. Grammatical
gender stays (ingeniera), so do pronouns all in capitals (HE is also higher education) and proxies:
clubs, schools, years of service. Rare names without evidence are missed; a place or firm that bears
a given name is sometimes hidden. Redaction lowers the risk; it certifies nothing.
"""

from __future__ import annotations

import json
import re
import unicodedata
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from matchlib.data.names import LOCALES
from matchlib.data.normal import mapped, plain
from matchlib.data.schema import DataError

KINDS = ("email", "phone", "link", "address", "name", "gendered")
REGIONS = (
    "US",
    "GB",
    "ES",
    "CN",
)  # whose national phone numbers are known; one with + is known from everywhere
_WORDS = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
AMBIGUOUS, ORGANISATIONS, OCCUPATIONS, FIRMS = (
    frozenset(_WORDS[kind]) for kind in ("ambiguous", "organisations", "occupations", "firms")
)
PROTECTED = tuple(_WORDS["protected"])


class Span(NamedTuple):
    """text[start:end] holds one item of `kind`."""

    start: int
    end: int
    kind: str


# Every repetition below is bounded or cannot give back what it took, so that the time grows with
# the length. Only single characters repeat possessively: Python before 3.11.5 errs where a group
# does (cpython issue 106052).
_CAP = "A-ZÀ-ÖØ-ÞŁŚŻŹČŠŽĐĞİŐ"
_HAN = "一-鿿"
_PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(KINDS)})\]")
_EMAIL = re.compile(
    r"(?<![\wÀ-ÿ.%+'-])[\wÀ-ÿ.%+'-]{1,64}+@(?:[a-z0-9-]{1,63}\.){1,6}[a-z]{2,24}", re.I | re.A
)
_URL = r"[!#-;=?-Z_a-z~%]"
_LINK = re.compile(
    rf"(?<![a-z0-9@.-])(?:(?:https?|ftp)://|www\.){_URL}+(?<![.,;:!?)'])"
    rf"|(?<![a-z0-9@.-])(?!(?:asp|vb|ado)\.net)(?:[a-z0-9-]{{1,63}}\.){{1,5}}(?:com|org|net|edu|gov|io|dev|me|co|ai|"
    rf"app|info|eu|uk|ie|es|mx|ar|cn|de|at|ch|fr|it|nl|se|no|dk|pl|in|ca|au|us)/(?:{_URL}*(?<![.,;:!?)']))?",
    re.I,
)
_DIGITS = re.compile(
    r"(?<![a-z0-9$€£¥#/@.,+(-])[+(]{0,2}\d(?:[ \t().–/-]{0,3}\d){6,29}(?![ \t().–/-]{0,3}\d)"
    r"(?: ?(?:ext|x|int)\.? ?\d{1,5})?(?![a-z0-9])",
    re.I,
)
_PHONE_LABEL = re.compile(
    r"(?:phone|tel|mobile|cell|fax|teléfono|móvil|电话|手机|拨打)[\w .:：]{0,12}$", re.I
)
_REFERENCE = re.compile(
    r"(?:\b(?:no|nr|num|numbers?|ref|reference|invoice|order|account|isbn|licen[cs]e|permit|id|"
    r"badge|claim|case|patent|serial|policy|version|factura|registro)|号)[.:#：]?[ #]{0,2}$",
    re.I,
)
_YEAR = r"(?:19|20)\d\d"
_DATE = rf"(?:(?:\d\d?[./-]){{0,2}}{_YEAR}|{_YEAR}(?:[./-]\d\d?){{1,2}}|\d\d?[/.-]\d\d?[/.-]\d\d)"
_AMOUNT = r"\d{1,3}(?:\.\d{3})+"
_NO_PHONE = re.compile(
    rf"{_DATE}(?:[ ./–-]{{1,3}}{_DATE}){{0,5}}|{_YEAR}[ ./–-]{{1,3}}\d\d?[./–-]\d\d?"
    rf"|{_AMOUNT}(?: ?[–-] ?{_AMOUNT})?"
)
_STREET = (
    "street|st|road|rd|avenue|ave|boulevard|blvd|drive|dr|lane|ln|court|ct|crescent|close|terrace|place|pl|way|"
    "square|sq|parkway|pkwy|highway|hwy|gardens|grove|mews|row|hill|circle|cir|trail|quay|alley"
)
_UNIT = (
    r"(?:,? (?:apt|apartment|unit|suite|ste|flat|floor|room|rm)\b\.? ?#?\w{1,5}\b|,? #\w{1,5}\b"
    r"|, \d{1,2}(?:st|nd|rd|th) floor)"
)
_ADDRESS = re.compile(
    "|".join(
        (
            rf"(?:\b(?i:flat|apt\.?|unit|suite) \w{{1,5}}, ?|(?:\bThe )?\b[A-Z][a-z]{{1,20}} (?:House|Cottage|Lodge|Farm), )?"
            rf"(?<![\w$€£.,-])(?<![Ii]n )(?<!ince )\d{{1,5}}[A-Za-z]?(?:-\d{{1,4}})? (?:[NSEW]{{1,2}}\.? )?"
            rf"(?:(?:[{_CAP}][\w'’-]{{0,25}}|\d{{1,3}}(?:st|nd|rd|th))\.? ){{1,4}}(?i:{_STREET})\b(?! Journal)\.?"
            rf"(?: [NSEW]{{1,2}}\b)?(?i:{_UNIT})?",
            r"\b(?i:p\.? ?o\.? box|apartado de correos) \d{1,6}\b",
            rf"\b(?:C/|(?i:calle|avda\.?|avenida|av\.|paseo|plaza|pza\.?|carrer|camino|ronda|travesía|carretera|ctra\.?))"
            rf" ?(?:(?:de|del|la|las|los|el|y|[{_CAP}][\w'’-]{{0,25}}),? ){{1,6}}(?:n\.?[ºo°]? ?)?\d{{1,4}}\b"
            rf"(?:, ?(?:\d{{1,2}} ?[ºª°]\.?|(?i:bajo|ático))(?: (?:[A-H]|(?i:izda?|izq|dcha?|dcho|drcha))\b\.?)?)?",
            rf"(?<![\w.,-])\d{{1,4}}(?: bis| ter)?,? (?i:rue|avenue|boulevard|chemin|allée|quai|impasse) "
            rf"(?:(?:de|du|des|la|le|les) |[dl]['’]){{0,3}}[{_CAP}][\w'’-]{{1,25}}(?: [{_CAP}][\w'’-]{{1,25}}){{0,3}}",
            rf"\b[{_CAP}][\w-]{{3,30}}+(?:(?<=straße)|(?<=strasse)|(?<=weg)|(?<=platz)|(?<=allee)|(?<=gasse)|(?<=str)\.)"
            rf" \d{{1,4}} ?[a-z]?\b",
            rf"(?:(?![省市区县镇乡在于住路街道])[{_HAN}]){{1,8}}(?:路|大?街|大?道|巷|胡同) ?\d{{1,5}}(?:弄|号)"
            rf"(?: ?\d{{1,4}}(?:号楼|号|栋|幢|单元|楼|层|室)){{0,4}}",
        )
    )
)
_MAN = (
    "(?:chair|sales|spokes|business|fore|fire|police|post|fisher|camera|congress|council|alder|trades|crafts|handy|"
    "service|repair|bar|door|watch|work|states|house)"
)
_GENDERED = re.compile(
    r"\b(?=[A-Za-zÉé])(?:"
    + "|".join(
        (
            r"(?:[Hh](?:e|im|is|ers?|imself|erself)|[Ss]he|[Ss]/he|[Éé]l|[Ee]lla(?! [A-Z]))\b",
            r"(?:Mrs?|Ms|Sir|Madam|Ma'am|Sra|Srta|Miss(?= [A-Z])|[Ss]eñor(?:a|es|as|ita)?)\b",
            r"(?i:(?:grand|step|god)?(?:mother|father|mum|mom|dad|husband|wife|wives|widow|widower)s?\b)"
            r"(?! (?:tongue|company|ship|nature))",
            rf"(?i:(?:{_MAN}?wom[ae]n|{_MAN}m[ae]n|girls?|boys?|men|lady|ladies|gentlem[ae]n|alumna|alumnae|alumnus|née)\b)"
            r"(?:['’]s)?",
            r"(?i:(?:(?:waitr|actr|host|steward|seamstr|govern|headmistr|heir)ess(?:es)?|headmasters?)\b)",
            r"(?i:(?:fraternity|sorority|fraternities|sororities|[mp]aternity(?! (?:ward|unit|nurs|care|clinic|hosp)))\b)",
            r"(?i:(?:fe)?males?\b)(?!(?:(?: and| or|/) ?(?:fe)?male)? (?:connect|plug|socket|pin|thread|fitting|adapt|header|"
            r"end|jack|coupling|contact))",
            r"(?:(?<=[Ss]ex: )|(?<=[Gg]ender: )|(?<=[Ss]exo: )|(?<=[Gg]énero: ))[MFHV]\b",
            r"(?i:(?:marido|espos[oa]|hombres?|mujer(?:es)?|varón|varones|madre|padre|masculino|femenino|caballero|viud[oa]|"
            r"maternidad|paternidad)\b)",
        )
    )
    + r")|(?=[先女小太妻丈父母爸妈妇男她他])(?:先生|女士|小姐|太太|妻子|丈夫|父亲|母亲|爸爸|妈妈|妇女|"
    r"男女|[男女]性|男士|她|(?<![其吉排])他(?![人国乡山])|男(?![装鞋科])|(?<![子儿])女(?![装鞋儿]))"
)
_SPANISH = re.compile(r"\b(?:que|por|con|para|una|los|las|del|le|su|el|la|de|en|y)\b")

_WORD = rf"[{_CAP}](?:\.|[A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ'’-]*+)"
_RUN = re.compile(rf"(?<![\w'’-]){_WORD}(?: {{1,2}}{_WORD})*")
_TITLE = r"(?:Mrs?|Ms|Miss|Mx|Dr|Prof|Professor|Sir|Dame|Rev|Sra|Srta|Dra|Dña|Doña|Don)"
_OWNER = re.compile("['’]s$")
_IS_TITLE = re.compile(rf"{_TITLE}\.?")
_AFTER_TITLE = re.compile(rf"(?:\b{_TITLE}|\bdon|\bdoña)\.? $")
_AFTER_PLACE = re.compile(
    r"\b(?:Saint|St|San|Santa|Santo|São|Los|Las|Port|Fort|Mount|Lake|New|Hospital|Instituto|"
    r"Colegio|Universidad|Clínica|Hotel)\.? $"
)
_LABEL = re.compile(
    r"(?:\bname|candidate|applicant|\bnombre(?: y apellidos)?|candidat[oa]) ?[:：] ?$", re.I
)
_FIELD = re.compile(
    r"(?:^|\n)\W{0,3}(?:(?:full|first|given|candidate(?:['’]s)?) )?name ?[:：] ?$", re.I
)
_ROLE = re.compile(r"\b(?:manager|supervisor|refer[a-z]+|contacto?|advis[eo]r) ?[:：] ?$", re.I)
_STATE = re.compile(
    r", ?(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|"
    r"T[NX]|UT|V[AT]|W[AIVY]|UK|USA)\b"
)
_HEADING = re.compile(rf"\s*+({_WORD}(?: {_WORD}){{1,3}})(?! ?&)\s*(?:[\n,|·•(–—/]| - |$)")
_HAN_LABEL = re.compile(r"(?:姓名|联系人|推荐人|负责人|证明人|介绍人) ?[:：] ?$")
_HAN_TITLE = re.compile(r"先生|女士|小姐")


def find(
    text: str, kinds: Iterable[str] = KINDS, *, regions: tuple[str, ...] = REGIONS
) -> list[Span]:
    """The spans of `kinds` in the text, sorted; of two that would overlap the kind earlier in KINDS
    stays.

    regions: two-letter codes whose national phone numbers are known. Placeholders that `redact`
    left are not found. A listed given name counts, unless the words after it make it a firm or
    place (Carlos Bakery). An AMBIGUOUS one (Mark, Jordan) also needs a surname-like word after it
    and no ", TX", or the evidence that one not listed needs: a title (Dr.), a label (Name:), or a
    listed surname in a first line that looks like a name or after "Supervisor:". A Chinese one
    needs a surname before it, and a title, a label or the list. Found is in the text's plain form
    (see `normal.plain`), so typographic and invisible characters hide nothing; spans are places in
    the text itself.
    Raises DataError on an unknown kind.
    """
    kinds = _checked(kinds)
    spans = _find_in(text, kinds, regions)
    if _ZERO_WIDTH_BREAK.search(
        text
    ):  # what is not drawn may also part two things: "Leeds,\u200b12 High Street"
        parted = _ZERO_WIDTH_BREAK.sub(lambda run: " " * len(run[0]), text)
        spans = _without_overlaps([*spans, *_find_in(parted, kinds, regions)])
    return spans


_ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"
_ZERO_WIDTH_BREAK = re.compile(
    rf"(?<![{_ZERO_WIDTH}])(?:(?<![^\W\d_])[{_ZERO_WIDTH}]++|[{_ZERO_WIDTH}]++(?![^\W\d_]))"
)


def _find_in(text: str, kinds: frozenset[str], regions: tuple[str, ...]) -> list[Span]:
    """The spans of a text by its plain form, so that it does not matter how its characters are
    written."""
    form = mapped(text)
    found = _find_in_plain(form.text, kinds, regions)
    return _without_overlaps([Span(*form.span(start, end), kind) for start, end, kind in found])


def _without_overlaps(spans: list[Span]) -> list[Span]:
    """The spans without those that overlap an earlier one of the list (two halves of a ligature
    do), sorted."""
    kept: list[Span] = []
    starts: list[int] = []
    for span in spans:
        at = bisect(starts, span.start)
        before = kept[at - 1].end if at else 0
        after = starts[at] if at < len(starts) else span.end
        if before <= span.start and span.end <= after:
            kept.insert(at, span)
            starts.insert(at, span.start)
    return kept


def _find_in_plain(text: str, kinds: frozenset[str], regions: tuple[str, ...]) -> list[Span]:
    finders = {
        "email": lambda: _matches(_EMAIL, text),
        "phone": lambda: _phones(text, regions),
        "link": lambda: _matches(_LINK, text),
        "address": lambda: _matches(_ADDRESS, text),
        "name": lambda: _names(text),
        "gendered": lambda: _gendered(text),
    }
    taken, spans = bytearray(len(text)), []
    for start, end in _matches(_PLACEHOLDER, text):
        taken[start:end] = b"\1" * (end - start)
    for kind in (kind for kind in KINDS if kind in kinds):
        for start, end in finders[kind]():
            if taken.find(1, start, end) < 0:
                taken[start:end] = b"\1" * (end - start)
                spans.append(Span(start, end, kind))
    return sorted(spans)


def redact(text: str, kinds: Iterable[str] = KINDS) -> tuple[str, Counter]:
    """The text with every span replaced by its kind in brackets, and how many of each kind were
    replaced.

    Redacting the result changes nothing. Raises DataError on an unknown kind.
    """
    kinds, counts = _checked(kinds), Counter()
    while spans := find(
        text, kinds
    ):  # ends: each round uses up text, because a span never holds a placeholder
        pieces, position = [], 0
        for start, end, kind in spans:
            pieces += text[position:start], f"[{kind}]"
            position = end
        text = "".join(pieces) + text[position:]
        counts.update(span.kind for span in spans)
    return text, counts


def redact_tables(
    tables: dict[str, pd.DataFrame], kinds: Iterable[str] = KINDS
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Copies of the tables with `text` of jobs and resumes redacted (others unchanged), and the
    report.

    Report: table, kind, found (spans), documents (rows that hold at least one), sorted, also where
    nothing was found.
    Raises DataError on an unknown kind.
    """
    kinds, result, rows = _checked(kinds), dict(tables), []
    for table in sorted({"jobs", "resumes"} & set(tables)):
        done = [redact(text, kinds) for text in tables[table]["text"]]
        result[table] = tables[table].assign(text=[text for text, _ in done])
        rows += [
            (
                table,
                kind,
                sum(count[kind] for _, count in done),
                sum(count[kind] > 0 for _, count in done),
            )
            for kind in sorted(kinds)
        ]
    return result, pd.DataFrame(rows, columns=["table", "kind", "found", "documents"])


def protected_columns(columns: Iterable[str]) -> list[str]:
    """Those of the column names that hold one of PROTECTED as whole words ("birth_date", "Age
    (years)", not "usage").

    Case, accents, spaces, underscores and hyphens do not matter; Chinese words count anywhere in
    the name.
    """
    return [
        column
        for column in columns
        if any(
            word in column if word > "一" else f" {_plain(word)} " in f" {_plain(column)} "
            for word in PROTECTED
        )
    ]


def _plain(name: str) -> str:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain(name))  # birthDate: two words
    return re.sub(r"[\W_]+", " ", _fold(parted)).strip()


def _checked(kinds: Iterable[str]) -> frozenset[str]:
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise DataError(f"kinds: {unknown[0]!r} is not known; choose from {', '.join(KINDS)}")
    return frozenset(kinds)


def _matches(pattern: re.Pattern, text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in pattern.finditer(text))


def _gendered(text: str) -> Iterator[tuple[int, int]]:
    yield from _matches(_GENDERED, text)
    for word in re.finditer(r"\bSr\b", text):  # in English Sr. is senior
        if len(_SPANISH.findall(text[max(0, word.start() - 60) : word.end() + 60])) >= 3:
            yield word.span()


def _phones(text: str, regions: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    for run in _DIGITS.finditer(text):
        before = text[max(0, run.start() - 24) : run.start()].rpartition("\n")[2]
        labelled = bool(_PHONE_LABEL.search(before))
        if labelled or not (_REFERENCE.search(before) or _NO_PHONE.fullmatch(run.group())):
            for start, end in _numbers(run.group(), regions, labelled):
                yield run.start() + start, run.start() + end


@lru_cache(10_000)
def _numbers(digits: str, regions: tuple[str, ...], labelled: bool) -> list[tuple[int, int]]:
    """Valid phone numbers in a short run of digits; after a label ("Tel.") the whole run, if none
    is valid."""
    from phonenumbers import Leniency, PhoneNumberMatcher

    for region in regions:
        if found := [
            (match.start, match.end) for match in PhoneNumberMatcher(digits, region, Leniency.VALID)
        ]:
            return found
    return [(0, len(digits))] if labelled and sum(map(str.isdigit, digits)) <= 15 else []


def _fold(word: str) -> str:
    """Lower case without accents, so that María is Maria."""
    return (
        word.lower()
        if word.isascii()
        else "".join(
            letter
            for letter in unicodedata.normalize("NFKD", word.lower())
            if not unicodedata.combining(letter)
        )
    )


@cache
def _lists(*locales: str) -> tuple[frozenset[str], frozenset[str]]:
    """Given names and surnames of faker (https://github.com/joke2k/faker), folded; it is loaded at
    the first call."""
    people = [import_module(f"faker.providers.person.{locale}").Provider for locale in locales]
    given, surnames = (
        frozenset(
            _fold(word)
            for person in people
            for name in getattr(person, names)
            for word in name.split()
            if not word.islower()
        )
        for names in ("first_names", "last_names")
    )
    return (given | AMBIGUOUS) - OCCUPATIONS, surnames


@cache
def _common_words() -> frozenset[str]:
    return OCCUPATIONS | frozenset(import_module("faker.providers.lorem.en_US").Provider.word_list)


def _names(text: str) -> Iterator[tuple[int, int]]:
    """Spans of given names; the rule is told in `find`."""
    heading, given = _HEADING.match(text), _lists(*LOCALES)[0]
    for run in _RUN.finditer(text):
        found = list(re.finditer("[^ ]+", run.group()))
        words = [word.group() for word in found]
        folded = [_fold(_OWNER.sub("", word)) for word in words]
        before = text[max(0, run.start() - 30) : run.start()]
        at = (
            2 if before.rstrip(" ").endswith("[name]") else 0
        )  # what follows a hidden name are surnames
        evidence = _evidence(before, run, heading)
        while at < len(words):
            n, start = 0, run.start() + found[at].start()
            if _IS_TITLE.fullmatch(words[at]):
                at, evidence = at + 1, "title"
                continue
            if (evidence or folded[at] in given) and not _AFTER_PLACE.search(
                text, max(0, start - 12), start
            ):
                after = text[run.end() : run.end() + 20] if at + 4 > len(words) else ""
                n = _n_given(words[at : at + 5], folded[at : at + 5], evidence, after)
            if n:
                yield (
                    start,
                    run.start()
                    + found[at + n - 1].start()
                    + len(_OWNER.sub("", words[at + n - 1])),
                )
            at, evidence = at + (n + 2 if n else 1), ""
    yield from _han_names(text)


def _evidence(before: str, run: re.Match, heading: re.Match | None) -> str:
    """What says that a run of capitalised words is a person: "title", "field", "label", "role",
    "heading" or ""."""
    for name, pattern in (
        ("title", _AFTER_TITLE),
        ("field", _FIELD),
        ("label", _LABEL),
        ("role", _ROLE),
    ):
        if pattern.search(before):
            return name
    first = heading and heading.start(1) == run.start()
    return (
        "heading"
        if first and not (OCCUPATIONS | ORGANISATIONS) & set(_fold(heading[1]).split())
        else ""
    )


def _n_given(words: list[str], folded: list[str], evidence: str, after: str) -> int:
    """How many of the capitalised words are given names, from the first on; after: the text that
    follows them."""
    given, surnames = _lists(*LOCALES)
    alone, plain = len(words) == 1, _common_words()
    sure = (
        folded[0] in given
        and len(folded[0]) > 2
        and folded[0] not in AMBIGUOUS
        and folded[0] not in plain
    )
    n = 0 if folded[0] not in given else 2 if not alone and folded[1] in given else 1
    if n == len(words) == 2 and folded[1] in surnames:
        n = 1
    if (
        ORGANISATIONS & {*folded[1:4], *re.findall(r"^ ([a-z]+)", after)}
        or " ".join(folded[:2]) in FIRMS
        or (alone and re.match(r" ?&| \d", after))
        or (_STATE.match(after) and (alone or not sure))
        or (_OWNER.search(words[0]) and not (sure and alone and re.match(" [a-z]", after)))
    ):
        return 0
    if alone and evidence == "field":  # a line "Name: Mei"; "Company name: Acme" is a label only
        return n or int(folded[0] not in plain and len(words[0]) > 1)
    if evidence and alone:
        return n if evidence == "label" or (sure and folded[0] not in surnames) else 0
    if evidence and (n or evidence in ("title", "field", "label") or folded[-1] in surnames):
        return n or int(folded[0] not in plain and len(words[0].rstrip(".")) > 1)
    if sure:
        return n if not words[0].isupper() or (not alone and words[1].isupper()) else 0
    return (
        n
        if not alone
        and len(words[1]) > 2
        and words[1].isupper() == words[0].isupper()
        and (folded[1] in surnames or folded[1] not in plain)
        else 0
    )


def _han_names(text: str) -> Iterator[tuple[int, int]]:
    """Given names after a Chinese surname: before a title, after a label ("姓名："), or listed and
    standing alone."""
    given, surnames = _lists("zh_CN")
    for run in re.finditer(rf"[{_HAN}]++", text):
        word, start = run.group(), run.start()
        for title in _HAN_TITLE.finditer(word):
            ends = [
                at
                for at in (title.start() - 2, title.start() - 1)
                if at > 0 and word[at - 1] in surnames
            ]
            yield from ((start + at, start + title.start()) for at in ends[:1])
        at = 2 if word[:2] in surnames and len(word) > 2 else 1
        if (
            word[:at] in surnames
            and 1 <= len(word) - at <= 2
            and (
                word[at:] in given
                or _HAN_LABEL.search(text[max(0, start - 8) : start])
                or re.match(f" ?(?:{_HAN_TITLE.pattern})", text[run.end() : run.end() + 12])
            )
        ):
            yield start + at, run.end()
