"""PDF files: the text that a reader of the pages sees, the values of a form among it; what is not
read is told by page.

A page whose text is a picture, or is drawn in fonts that do not say which letters they show, holds
no usable text: it is left out and named, and the file only where no page is left.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject

from matchlib.data.document_check import has_word
from matchlib.data.schema import DataError
from matchlib.documents.extract import FEW_LETTERS, Extract, count_letters
from matchlib.documents.pdf_fonts import UNREADABLE, looks_like_text
from matchlib.documents.pdf_layout import Segment, in_columns, put_fields, segments, text_of
from matchlib.documents.pdf_page import (
    Budget,
    PageContent,
    Piece,
    TooMuch,
    apply,
    page_matrix,
    page_turn,
    read_page,
    visible_box,
)

MAX_PAGES = 100
MAX_FIELDS = 5_000
_PICTURE = "no usable text, only a picture of it; run OCR on the file"
_CURVES = "no usable text: its letters are drawn as curves; run OCR on the file"
_NO_LETTERS = "no usable text: its fonts do not say which letters they show; print it to a new PDF, or run OCR on it"
_NO_WORD = "no usable text: not one letter or digit of it is seen"
_SOME_LETTERS = (
    "letters that its fonts do not name cannot be read; print it to a new PDF, or run OCR on it"
)
_TOO_MUCH = "too much drawing to read; print it to a new PDF"
_MIN_CURVES = 1_500
_LEAST_PICTURE = 0.5
_HALF = 0.5
_IN_WORD = re.compile(
    rf"(?<=\w){UNREADABLE}|{UNREADABLE}(?=\w)|(?<={UNREADABLE}){UNREADABLE}|"
    rf"{UNREADABLE}(?={UNREADABLE})"
)
_WORD_UNREAD = re.compile(rf"(?<!\S){UNREADABLE}+(?!\S)")
_PRIVATE = re.compile("(?<=\\w)[\ue000-\uf8ff]|[\ue000-\uf8ff](?=\\w)|[\ue000-\uf8ff]{2,}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_HIDDEN_FLAGS = 2 | 32
_PASSWORD = 1 << 13
_PUSH_BUTTON = 1 << 16
_REMARKS = frozenset(
    ("/Text", "/Highlight", "/Underline", "/Squiggly", "/StrikeOut", "/Caret", "/Ink")
)
_XFA_NOTICE = re.compile(
    r"(?i)please wait|if this message is not eventually replaced|adobe reader \d+ or later"
)


@dataclass
class _Page:
    """What was read of a page; problem: why nothing of it is used, or ""."""

    text: str = ""
    problem: str = ""
    unread: int = 0
    halves: int = 0
    hidden: dict[str, int] = field(default_factory=dict)
    remarks: int = 0
    is_recognised: bool = False


def read_pdf(file: Path) -> Extract:
    """The text of a PDF; raises DataError where none of it can be used."""
    logging.getLogger("pypdf").setLevel(
        logging.CRITICAL
    )  # its warnings on harmless faults go to stderr by the dozen
    try:
        reader = PdfReader(file)
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError(f"{file}: encrypted; save it without a password")
        count = len(reader.pages)
        if count > MAX_PAGES:
            raise DataError(f"{file}: {count:,} pages, more than {MAX_PAGES}; is it a document?")
        budget = Budget(off_layers=_off_layers(reader))
        pages = [_read(reader, number, budget) for number in range(count)]
        others = _other_parts(reader, pages)
    except DataError:
        raise
    except Exception as problem:  # a parser of hostile files raises whatever it trips over
        raise DataError(
            f"{file}: not a PDF that can be read ({_short(problem)}); export it again"
        ) from None
    text = "\n".join(page.text for page in pages if page.text and not page.problem)
    missing = _missing(pages) + others
    if not has_word(text):
        raise DataError(f"{file}: {_why_nothing(pages, missing)}")
    return Extract(text, missing)


def _why_nothing(pages: list[_Page], missing: list[str]) -> str:
    if missing:
        return "; ".join(missing)
    return "no text: its pages are blank" if pages else "no text: it has no pages"


def _read(reader: PdfReader, number: int, budget: Budget) -> _Page:
    """One page; what goes wrong on it does not spoil the others."""
    try:
        page = reader.pages[number]
        content = read_page(page, budget)
        _judge_doubtful_fonts(content)
        return _page_text(page, content)
    except TooMuch:
        return _Page(problem=_TOO_MUCH)
    except Exception as problem:
        return _Page(problem=f"damaged ({_short(problem)}); export the file again")


def _judge_doubtful_fonts(content: PageContent) -> None:
    """Take back the letters of fonts that name none, where what was guessed is no text."""
    by_font: dict[int, list[Piece]] = defaultdict(list)
    for piece in content.pieces:
        if piece.font is not None and piece.font.is_doubtful:
            by_font[id(piece.font)].append(piece)
    for pieces in by_font.values():
        if not looks_like_text(" ".join(piece.text for piece in pieces)):
            for piece in pieces:
                piece.text = re.sub(r"\S", UNREADABLE, piece.text)


def _page_text(page: Any, content: PageContent) -> _Page:
    found = _Page()
    shown = _shown(content, found)
    fields = _fields(page, content, found)
    lines = in_columns(segments(shown), content.width)
    text = text_of(put_fields(lines, fields))
    found.unread = len(_IN_WORD.findall(text)) + sum(map(len, _PRIVATE.findall(text)))
    text = _whole_characters(text, found)
    letters = count_letters(text)
    if found.unread > _HALF * (letters + found.unread):
        found.problem = _NO_LETTERS
    elif (
        content.picture_share >= _LEAST_PICTURE
        and letters < FEW_LETTERS
        and not found.is_recognised
    ):
        found.problem = _PICTURE
    elif content.n_curves >= _MIN_CURVES and letters < FEW_LETTERS:
        found.problem = _CURVES
    elif not has_word(text):
        if content.has_drawing and content.picture_share > 0:
            found.problem = _PICTURE
        elif text.strip() or found.hidden:
            found.problem = _NO_WORD
    found.text = _WORD_UNREAD.sub("", text) if UNREADABLE in text else text
    return found


def _shown(content: PageContent, found: _Page) -> list[Piece]:
    """The pieces that a reader sees; the letters of the others are counted by the reason."""
    seen = [piece for piece in content.pieces if not piece.hidden]
    recognised = [
        piece for piece in content.pieces if piece.is_ocr and piece.hidden == "without a colour"
    ]
    n_seen = sum(count_letters(piece.text) for piece in seen)
    if recognised and content.picture_share >= _LEAST_PICTURE and n_seen < FEW_LETTERS:
        for piece in recognised:
            piece.hidden = ""
        found.is_recognised = True
    shown = []
    for piece in content.pieces:
        if not piece.hidden:
            shown.append(piece)
        elif letters := count_letters(piece.text):
            found.hidden[piece.hidden] = found.hidden.get(piece.hidden, 0) + letters
    return shown


def _whole_characters(text: str, found: _Page) -> str:
    """The text with halves of surrogate pairs joined; halves without the other become UNREADABLE
    and are counted."""
    if not _SURROGATE.search(text):
        return text
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    found.halves = joined.count(UNREADABLE) - text.count(UNREADABLE)
    return joined


# ---- forms and notes
# ------------------------------------------------------------------------------------


def _fields(page: Any, content: PageContent, found: _Page) -> list[Segment]:
    """The values of form fields and the notes that are written on the page itself, where they
    stand."""
    annotations = page.get("/Annots")
    annotations = annotations.get_object() if annotations is not None else None
    if not isinstance(annotations, ArrayObject):
        return []
    to_page = page_matrix(visible_box(page), page_turn(page))
    fields = []
    for reference in annotations[:MAX_FIELDS]:
        annotation = reference.get_object()
        if not isinstance(annotation, DictionaryObject):
            continue
        flags = annotation.get("/F", 0)
        kind = annotation.get("/Subtype")
        if isinstance(flags, int) and flags & _HIDDEN_FLAGS:
            continue
        text = ""
        if kind == "/Widget":
            text = _field_value(annotation)
        elif kind == "/FreeText":
            text = _string(annotation.get("/Contents"))
        elif kind in _REMARKS:
            found.remarks += has_word(_string(annotation.get("/Contents")))
        if text.strip():
            fields.append(_field_segment(annotation, text.strip(), to_page))
    return fields


def _field_segment(annotation: DictionaryObject, text: str, to_page: Any) -> Segment:
    try:
        x0, y0, x1, y1 = (float(side) for side in annotation["/Rect"].get_object())
    except Exception:
        x0 = y0 = x1 = y1 = 0.0
    left, bottom = apply(to_page, min(x0, x1), min(y0, y1))
    right, top = apply(to_page, max(x0, x1), max(y0, y1))
    height = abs(top - bottom)
    size = min(max(height * 0.7, 4.0), 14.0)
    baseline = max(top, bottom) - size if height > 2 * size else min(top, bottom) + 0.25 * height
    return Segment(text, min(left, right), max(left, right), baseline, size, starts_line=True)


def _field_value(widget: DictionaryObject) -> str:
    """What a form field shows: a text, the choice of a list, a tick."""
    kind = _inherited(widget, "/FT")
    flags = _inherited(widget, "/Ff")
    flags = int(flags) if isinstance(flags, int) else 0
    value = _inherited(widget, "/V")
    if kind == "/Tx":
        return "" if flags & _PASSWORD else _string(value)
    if kind == "/Ch":
        chosen = value if isinstance(value, ArrayObject) else [value]
        return ", ".join(filter(None, (_shown_choice(widget, _string(one)) for one in chosen)))
    if kind == "/Btn" and not flags & _PUSH_BUTTON:
        state = widget.get("/AS")
        return "[x]" if state not in (None, "/Off") else ""
    return ""


def _shown_choice(widget: DictionaryObject, value: str) -> str:
    options = _inherited(widget, "/Opt")
    for option in options if isinstance(options, ArrayObject) else []:
        option = option.get_object()
        if isinstance(option, ArrayObject) and len(option) > 1 and _string(option[0]) == value:
            return _string(option[1])
    return value


def _inherited(widget: DictionaryObject, key: str) -> Any:
    for _ in range(20):
        if key in widget:
            return widget[key]
        above = widget.get("/Parent")
        above = above.get_object() if above is not None else None
        if not isinstance(above, DictionaryObject):
            return None
        widget = above
    return None


def _string(value: Any) -> str:
    if value is None:
        return ""
    value = value.get_object() if hasattr(value, "get_object") else value
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if hasattr(value, "get_data"):  # a long text is a stream
        value = value.get_data().decode("latin-1")
    return re.sub(r"\r\n?", "\n", str(value)) if isinstance(value, str) else ""


# ---- the file as a whole
# --------------------------------------------------------------------------------


def _off_layers(reader: PdfReader) -> frozenset:
    """Object numbers of the layers that are not shown."""
    try:
        default = reader.root_object["/OCProperties"].get_object()["/D"].get_object()
        off = default.get("/OFF", ArrayObject()).get_object()
        numbers = {reference.idnum for reference in off}
        if default.get("/BaseState") == "/OFF":
            every = reader.root_object["/OCProperties"].get_object()["/OCGs"].get_object()
            on = {reference.idnum for reference in default.get("/ON", ArrayObject()).get_object()}
            numbers |= {reference.idnum for reference in every} - on
        return frozenset(numbers)
    except Exception:  # none, or broken: all are shown
        return frozenset()


def _other_parts(reader: PdfReader, pages: list[_Page]) -> list[str]:
    """Sentences on what a PDF holds beside its pages."""
    told = []
    try:
        root = reader.root_object
        form = root.get("/AcroForm")
        form = form.get_object() if form is not None else DictionaryObject()
        has_fields = bool(form.get("/Fields", ArrayObject()).get_object())
        notice = any(_XFA_NOTICE.search(page.text) for page in pages)
        if "/XFA" in form and (notice or not has_fields):
            told.append(
                "an XFA form, of which only a notice is read; open it in its program and print it to a PDF"
            )
        names = root.get("/Names", DictionaryObject()).get_object()
        attached = "/EmbeddedFiles" in names
        if "/Collection" in root or attached:
            told.append("files are attached to it, which are not read; save them beside it")
    except Exception:  # broken, so no reader shows it
        return told
    return told


def _missing(pages: list[_Page]) -> list[str]:
    """Sentences on what is not read, each with its pages."""
    told = []
    by_problem: dict[str, list[int]] = defaultdict(list)
    for number, page in enumerate(pages, start=1):
        if page.problem:
            by_problem[page.problem].append(number)
    for problem, numbers in by_problem.items():
        told.append(f"{_pages(numbers)}: {problem}")
    used = [(number, page) for number, page in enumerate(pages, start=1) if not page.problem]
    unread = [number for number, page in used if page.unread]
    if unread:
        count = sum(page.unread for _, page in used)
        told.append(f"{_pages(unread)}: {count:,} {_SOME_LETTERS}")
    halves = [number for number, page in used if page.halves]
    if halves:
        count = sum(page.halves for _, page in used)
        told.append(
            f"{_pages(halves)}: {count:,} characters are halves of a surrogate pair, because a font names its "
            f"letters wrongly, and cannot be read"
        )
    hidden = [number for number, page in enumerate(pages, start=1) if page.hidden]
    if hidden:
        by_reason: dict[str, int] = defaultdict(int)
        for page in pages:
            for reason, count in page.hidden.items():
                by_reason[reason] += count
        told.append(
            f"{_pages(hidden)}: {sum(by_reason.values()):,} hidden characters are left out "
            f"({', '.join(by_reason)}): a reader does not see them"
        )
    remarks = sum(page.remarks for page in pages)
    if remarks:
        told.append(f"{remarks:,} comments are left out: they are remarks on the text")
    return told


def _pages(numbers: list[int]) -> str:
    """ "page 2", "pages 2, 4-6"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    told = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    return f"{'page' if len(numbers) == 1 else 'pages'} {told}"


def _short(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:80]}".rstrip(": ")
