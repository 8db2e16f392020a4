"""Normal forms: one place where the many ways to write the same text in Unicode become one.

`composed` is what enters by the door: ids, columns and documents are compared and shown in it.
`plain` is what is matched, redacted and compared for duplicates: it also folds what a reader does
not see or does not tell apart. `mapped` is `plain` with the place in the text that each of its
characters comes from, so that the text itself can be shown or changed. All three take time linear
in the length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

MOST_MARKS = 30
"""Combining marks that one letter may bear (UAX #15, Stream-Safe Text Format): sorting them takes
quadratic time."""
_FOLDED = {
    "wide",
    "narrow",
    "compat",
    "font",
    "noBreak",
    "initial",
    "medial",
    "final",
    "isolated",
    "vertical",
    "small",
    "square",
}
"""Kinds of compatibility characters that mean what they decompose to; 10⁶ is not 106, and ½ is not
1⁄2."""
_VISIBLE_FORMATS = frozenset("؀؁؂؃؄؅۝܏࢐࢑࣢\U000110bd\U000110cd")
"""Of the category of format characters, but drawn: signs before Arabic and Syriac numbers."""
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
) | frozenset(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
"""Of other categories, but not drawn: joiners, fillers, variation selectors."""
_ALIKE = {
    "\u2800": " ",
    "-": "\u2010\u2011\u2012\u2212\u02d7\u2043\u058a",
    "—": "―⸺⸻",
    "'": "‘’‛ʼʹ′´`＇",
    "•": "◦○●■□▪▫▸►➢➤❖✓✔✦\uf0b7\uf0a7\uf0d8\uf0fc\uf076",
    "\n": "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029",
}
_SAME = {"\u2800": " "} | {
    other: one for one, others in _ALIKE.items() if one != "\u2800" for other in others
}
_JAMO = "\u1161-\u1175\u11a8-\u11c2"  # vowels and finals that compose with the letter before them
_LETTER = r"[^\W\d_]"
_SPACED_LINE = re.compile(
    rf"(?m)^{_LETTER}(?: {_LETTER})+(?: {{2,}}{_LETTER}(?: {_LETTER})*)*(?=:? *$)"
)
_SPACED_WORD = re.compile(
    rf"(?:(?<=[\n\t])|(?<=  )|(?<!.))(?:{_LETTER} ){{3,}}{_LETTER}(?= ?:|  |[\t\n]|\Z)"
)
_SHORTEST_SPACED = 4
_SOFT_BREAK = re.compile(r"\u00ad[ \t\u200b]{0,8}\r?\n[ \t]{0,8}(?=\w)")
_LINE_END = re.compile(r"\r\n?")
_GAP = re.compile(r"\t[ \t]*| {2,}(?:\t[ \t]*)?| \t[ \t]*")

Edit = tuple[int, int, str]
"""text[start:end] becomes the string."""


def composed(text: str) -> str:
    """The text in Unicode's composed form (NFC), in which most texts are written: "e" and an accent
    are "é"."""
    if text.isascii():
        return text
    if not _too_many_marks().search(text):
        return unicodedata.normalize("NFC", text)
    pieces = _too_many_marks().split(text)
    return "".join(unicodedata.normalize("NFC", piece) for piece in pieces)


def plain(text: str) -> str:
    """The text as it is matched: composed, and without what a reader does not see or does not tell
    apart.

    Ligatures, full-width and mathematical letters, presentation forms and digits of every script
    become plain letters and digits; characters that are not drawn (soft hyphens, joiners, controls)
    go; spaces of every kind are a space, three or more of them or a tab (a gap between columns) one
    tab, hyphens of every kind "-", apostrophes "'", bullets "•", line ends of every kind a newline;
    words with a space between all letters are joined.
    """
    for edits in _STAGES:
        # translate does the same as _character_edits, in the interpreter's own loop
        text = text.translate(_TABLE) if edits is _character_edits else _edited(text, edits(text))
    return text


@dataclass(frozen=True)
class Mapped:
    """text: the plain form; starts, ends: where in the original each of its characters begins and
    ends."""

    text: str
    starts: list[int] | range
    ends: list[int] | range

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The place in the original of text[start:end], which is not empty."""
        return self.starts[start], self.ends[end - 1]


def mapped(text: str) -> Mapped:
    """The plain form of a text and where its characters come from."""
    found = Mapped(text, range(len(text)), range(1, len(text) + 1))
    if plain(text) == text:
        return found
    for edits in _STAGES:
        found = _edited_map(found, list(edits(found.text)))
    return found


def _edited(text: str, edits: Iterator[Edit]) -> str:
    pieces, position = [], 0
    for start, end, new in edits:
        pieces += text[position:start], new
        position = end
    return "".join([*pieces, text[position:]]) if pieces else text


def _edited_map(before: Mapped, edits: list[Edit]) -> Mapped:
    if not edits:
        return before
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for start, end, new in edits:
        starts += before.starts[position:start]
        ends += before.ends[position:start]
        starts += [before.starts[start]] * len(new)
        ends += [before.ends[end - 1]] * len(new)
        position = end
    starts += before.starts[position:]
    ends += before.ends[position:]
    return Mapped(_edited(before.text, iter(edits)), starts, ends)


# ---- the stages, each told as edits
# ---------------------------------------------------------------------


def _soft_break_edits(text: str) -> Iterator[Edit]:
    """A word that is parted by a soft hyphen at the end of a line is one word."""
    for match in _SOFT_BREAK.finditer(text):
        yield match.start(), match.end(), ""


def _character_edits(text: str) -> Iterator[Edit]:
    for at, character in enumerate(text):
        new = _TABLE[ord(character)]
        if new != character:
            yield at, at + 1, new


def _mark_edits(text: str) -> Iterator[Edit]:
    """A letter and its marks become one character where there is one; marks beyond MOST_MARKS go."""
    if text.isascii():
        return
    for match in _marked().finditer(text):
        new = unicodedata.normalize("NFC", match[0][: MOST_MARKS + 1])
        if new != match[0]:
            yield match.start(), match.end(), new


def _line_end_edits(text: str) -> Iterator[Edit]:
    for match in _LINE_END.finditer(text):
        yield match.start(), match.end(), "\n"


def _letter_spacing_edits(text: str) -> Iterator[Edit]:
    """Lines of which every word has a space between its letters, and such words between gaps."""
    lines = [
        match for match in _SPACED_LINE.finditer(text) if _n_letters(match) >= _SHORTEST_SPACED
    ]
    inside = [match.span() for match in lines]
    for match in _SPACED_WORD.finditer(text):
        while inside and inside[0][1] <= match.start():
            yield from _joined(text, *inside.pop(0))
        if not inside or match.end() <= inside[0][0]:
            yield from _joined(text, *match.span())
    for span in inside:
        yield from _joined(text, *span)


def _n_letters(match: re.Match) -> int:
    return len(match[0]) - match[0].count(" ")


def _joined(text: str, start: int, end: int) -> Iterator[Edit]:
    for gap in re.compile(" +").finditer(text, start, end):
        yield gap.start(), gap.end(), "" if len(gap[0]) == 1 else " "


def _gap_edits(text: str) -> Iterator[Edit]:
    for match in _GAP.finditer(text):
        new = "\t" if "\t" in match[0] or len(match[0]) > 2 else " "
        if new != match[0]:
            yield match.start(), match.end(), new


_STAGES: tuple[Callable[[str], Iterator[Edit]], ...] = (
    _soft_break_edits,
    _character_edits,
    _mark_edits,
    _line_end_edits,
    _letter_spacing_edits,
    _gap_edits,
)


# ---- single characters
# ----------------------------------------------------------------------------------


class _Table(dict):
    """Code point -> its plain form; each is found out once."""

    def __missing__(self, code: int) -> str:
        self[code] = _fold(chr(code))
        return self[code]


def _fold(character: str) -> str:
    if character in _SAME:
        return _SAME[character]
    if character in "\t\n\r":
        return character
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    if (
        category == "Cc"
        or character in _INVISIBLE
        or (category == "Cf" and character not in _VISIBLE_FORMATS)
    ):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    kind = unicodedata.decomposition(character).partition(">")[0]
    if kind.removeprefix("<") in _FOLDED and kind.startswith("<"):
        meant = unicodedata.normalize("NFKC", character)
        if not meant.startswith(" "):  # an accent that stands alone is no space
            return "".join(map(_fold, meant)) if meant != character else character
    return unicodedata.normalize("NFC", character)


_TABLE = _Table()


@cache
def _marks() -> str:
    """The combining marks of all scripts, as the inside of a character class."""
    codes = [
        code for code in range(0x300, 0x1F000) if unicodedata.category(chr(code)).startswith("M")
    ]
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


@cache
def _too_many_marks() -> re.Pattern:
    """The place after MOST_MARKS marks that still another one follows."""
    return re.compile(rf"(?<=[{_marks()}]{{{MOST_MARKS}}})(?=[{_marks()}])")


@cache
def _marked() -> re.Pattern:
    return re.compile(rf"(?s).[{_marks()}{_JAMO}]+")
