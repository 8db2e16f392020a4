"""Fonts of a PDF: which letters the codes of a string show, and which of them nobody can know.

A font need not say which letters it shows. Readers that guess give "6HQLRU" for "Senior"; here a
code that the font says nothing about becomes UNREADABLE.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pypdf._codecs.adobe_glyphs import adobe_glyphs
from pypdf.generic import DictionaryObject, StreamObject
from pypdf.generic._font import Font

UNREADABLE = "\ufffd"
_GLYPHS_OF_FONTS = re.compile(r"/?(?:[a-zA-Z]{1,3}\d+|glyph\d+|cid\d+|index\d+|\.notdef)$")
_CODESPACE = re.compile(rb"begincodespacerange\s*<([0-9A-Fa-f]+)>")
_SYMBOLIC = 4
_MIN_SAMPLE = 12
_VOWELS = frozenset("aeiouyAEIOUY")
_DEFAULT_WIDTH = 0.5


@dataclass(frozen=True)
class Glyph:
    """text: what a code shows; width: in parts of the font size; is_space: whether word spacing
    applies."""

    text: str
    width: float
    is_space: bool


class PdfFont:
    """Turns the bytes of a string into glyphs; is_doubtful: the letters are a guess, see
    `looks_like_text`."""

    def __init__(self, resource: DictionaryObject):
        self._resource = resource
        self._glyphs: dict[int, Glyph] = {}
        self._font = Font.from_font_resource(resource)
        self._is_composite = resource.get("/Subtype") == "/Type0"
        encoding = resource.get("/Encoding")
        encoding = encoding.get_object() if encoding is not None else None
        self._encoding_name = encoding if isinstance(encoding, str) else ""
        self._bytes_a_code = _bytes_a_code(encoding) if self._is_composite else 1
        to_unicode = resource.get("/ToUnicode")
        to_unicode = to_unicode.get_object() if to_unicode is not None else None
        self._has_map = isinstance(to_unicode, StreamObject)
        self._codec = ""
        if (
            self._is_composite
            and isinstance(self._font.encoding, str)
            and self._font.encoding != "utf-16-be"
        ):
            self._codec = self._font.encoding
        self._embedded_map = self._read_embedded_map()
        self.is_doubtful = self._is_doubtful(to_unicode)
        self.is_vertical = self._encoding_name.endswith("-V")
        is_drawn = resource.get("/Subtype") == "/Type3"
        self._scale = _type_3_scale(resource) if is_drawn else 1.0
        self.height = _type_3_height(resource) if is_drawn else 1.0

    def glyphs(self, codes: bytes) -> list[Glyph]:
        """The glyphs of a string."""
        if self._codec and not self._has_map:
            text = codes.decode(self._codec, "replace")
            return [Glyph(letter, self._width(letter), letter == " ") for letter in text]
        step = self._bytes_a_code
        found = []
        for place in range(0, len(codes) - step + 1, step):
            code = int.from_bytes(codes[place : place + step], "big")
            glyph = self._glyphs.get(code)
            if glyph is None:
                glyph = self._glyphs[code] = self._glyph(code)
            found.append(glyph)
        return found

    def _glyph(self, code: int) -> Glyph:
        text = self._text(code)
        if any(letter < " " or "\x7f" <= letter <= "\x9f" for letter in text):
            text = " " if text in ("\t", "\n", "\r") else UNREADABLE
        if "\ufff0" <= text[:1] <= "\uffff":
            text = UNREADABLE
        is_space = code == 32 and self._bytes_a_code == 1
        return Glyph(text, self._width(chr(code) if code < 0x110000 else ""), is_space)

    def _width(self, key: str) -> float:
        try:
            return float(self._font.get_text_width(key)) / 1000 * self._scale
        except (TypeError, ValueError):
            return _DEFAULT_WIDTH

    def _text(self, code: int) -> str:
        key = chr(code) if code < 0x110000 else ""
        if self._has_map and key in self._font.character_map:
            return self._font.character_map[key]
        if self._is_composite:
            return self._composite_text(key, code)
        if code in self._embedded_map:
            return self._embedded_map[code]
        if not self._has_map and key in self._font.character_map:
            return self._font.character_map[key]  # pypdf read it from the embedded font
        if not self._font.interpretable and not self._has_map:
            return UNREADABLE
        encoding = self._font.encoding
        known = encoding.get(code, UNREADABLE) if isinstance(encoding, dict) else UNREADABLE
        if len(known) > 1 and known.startswith("/"):
            return _letters_of_name(known)
        return known

    def _composite_text(self, key: str, code: int) -> str:
        if "UCS2" in self._encoding_name or "UTF16" in self._encoding_name:
            return key
        if code in self._embedded_map:
            return self._embedded_map[code]
        if self.is_doubtful:
            return key
        return UNREADABLE

    def _is_doubtful(self, to_unicode: Any) -> bool:
        """Whether the letters of the font are a guess: it names none, and is not one of the
        standard fonts."""
        if self._has_map:
            return False
        if self._is_composite:
            return to_unicode is not None  # the name Identity-H in the place of a map
        descriptor = _descriptor(self._resource)
        is_embedded = any(key in descriptor for key in ("/FontFile", "/FontFile2", "/FontFile3"))
        flags = descriptor.get("/Flags", 0)
        is_symbolic = isinstance(flags, int) and bool(flags & _SYMBOLIC)
        names_letters = (
            "/Encoding" in self._resource or self._font.character_map or self._embedded_map
        )
        return is_embedded and is_symbolic and not names_letters

    def _read_embedded_map(self) -> dict[int, str]:
        """Code -> letter, by the tables of an embedded TrueType font, where the PDF itself does not
        say."""
        if self._has_map:
            return {}
        try:
            if self._is_composite:
                below = self._resource["/DescendantFonts"].get_object()[0].get_object()
                if not self._encoding_name.startswith("/Identity") or isinstance(
                    below.get("/CIDToGIDMap", "").get_object() if "/CIDToGIDMap" in below else "",
                    StreamObject,
                ):
                    return {}
                return _letters_by_glyph(_descriptor(below))
            if (
                self._encoding_name
                or self._resource.get("/Subtype") != "/TrueType"
                or "/Encoding" in self._resource
            ):
                return {}
            return _letters_by_code(_descriptor(self._resource))
        except Exception:  # the font is broken: nobody can know
            return {}


def looks_like_text(sample: str) -> bool:
    """Whether letters that are a guess make words: control signs, few letters or no vowels say that
    they do not."""
    drawn = [letter for letter in sample if not letter.isspace()]
    if len(drawn) < _MIN_SAMPLE:
        return UNREADABLE not in drawn
    letters = [letter for letter in drawn if letter.isalpha()]
    if drawn.count(UNREADABLE) > 0.05 * len(drawn) or len(letters) < 0.6 * len(drawn):
        return False
    latin = [letter for letter in letters if letter.isascii()]
    if len(latin) < 0.5 * len(letters):
        return True  # another script, of which we know no such measure
    vowels = sum(letter in _VOWELS for letter in latin) / len(latin)
    commonest = Counter(letter.lower() for letter in latin).most_common(1)[0][1] / len(latin)
    return 0.2 <= vowels <= 0.6 and commonest < 0.4


def _letters_of_name(name: str) -> str:
    """The letters that a glyph's name means (Adobe Glyph List Specification): "/f_i.alt" is "fi"."""
    if _GLYPHS_OF_FONTS.match(name) and name not in adobe_glyphs:
        return UNREADABLE
    stem = name.removeprefix("/").partition(".")[0]
    letters = [adobe_glyphs.get(f"/{part}", "") or _letter_of_uni(part) for part in stem.split("_")]
    return "".join(letters) if letters and all(letters) else UNREADABLE


def _letter_of_uni(part: str) -> str:
    match = re.fullmatch(r"uni([0-9A-F]{4})|u([0-9A-F]{4,6})", part)
    code = int(match[1] or match[2], 16) if match else 0
    return chr(code) if 0 < code < 0x110000 else ""


def _bytes_a_code(encoding: Any) -> int:
    if isinstance(encoding, StreamObject):
        match = _CODESPACE.search(encoding.get_data()[:100_000])
        if match:
            return min(max(len(match[1]) // 2, 1), 4)
    return 2


def _descriptor(resource: DictionaryObject) -> DictionaryObject:
    found = resource.get("/FontDescriptor")
    found = found.get_object() if found is not None else None
    return found if isinstance(found, DictionaryObject) else DictionaryObject()


def _type_3_scale(resource: DictionaryObject) -> float:
    """Widths of a type 3 font are in its own units, not in thousandths."""
    try:
        return abs(float(resource["/FontMatrix"].get_object()[0])) * 1000 or 1.0
    except Exception:
        return 1.0


def _type_3_height(resource: DictionaryObject) -> float:
    """Height of the letters of a type 3 font, in parts of the font size."""
    try:
        box = resource["/FontBBox"].get_object()
        height = abs(
            float(resource["/FontMatrix"].get_object()[3]) * (float(box[3]) - float(box[1]))
        )
    except Exception:
        return 1.0
    return height if 0.05 < height < 20 else 1.0


def _true_type(descriptor: DictionaryObject) -> Any:
    from fontTools.ttLib import TTFont

    return TTFont(BytesIO(descriptor["/FontFile2"].get_object().get_data()), lazy=True)


def _letters_by_glyph(descriptor: DictionaryObject) -> dict[int, str]:
    if "/FontFile2" not in descriptor:
        return {}
    font = _true_type(descriptor)
    names = font.getBestCmap() or {}
    return {
        font.getGlyphID(name): chr(code)
        for code, name in sorted(names.items(), reverse=True)
        if code > 32
    }


def _letters_by_code(descriptor: DictionaryObject) -> dict[int, str]:
    """Codes of a simple font: those of its own table, by the names that its glyphs bear."""
    if "/FontFile2" not in descriptor:
        return {}
    font = _true_type(descriptor)
    found = {}
    for table in font["cmap"].tables:
        if (table.platformID, table.platEncID) not in ((1, 0), (3, 0)):
            continue
        for code, name in table.cmap.items():
            letters = adobe_glyphs.get(f"/{name}") or _letter_of_uni(name)
            if letters:
                found[code & 0xFF] = letters
    return found
