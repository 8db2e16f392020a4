"""Markup: the text that a reader of an HTML page sees, and whether a text is HTML at all."""

from __future__ import annotations

import re
from html.entities import html5

from lxml import etree

from matchlib.documents.extract import Extract, count_letters, say_hidden


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BLOCKS = _names(
    "address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption "
    "figure footer form h1 h2 h3 h4 h5 h6 header hr html legend li main menu nav ol optgroup option p pre section "
    "summary table tbody tfoot thead tr ul"
)
_CELLS = frozenset(("td", "th"))
_INLINE = _names(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i img input ins kbd label mark nobr q rp rt ruby s "
    "samp select small span strike strong sub sup textarea time tt u var wbr"
)
_UNSEEN = _names(
    "applet audio canvas datalist embed head iframe link meta noembed noframes noscript object param script source "
    "style svg template title track video"
)
_TABLE_PARTS = _names("col colgroup")
_KNOWN = _BLOCKS | _CELLS | _INLINE | _UNSEEN | _TABLE_PARTS
_NAME = "|".join(sorted(_KNOWN, key=len, reverse=True))
_OFFICE = r"[a-z][a-z0-9]{0,9}:[a-z]+"  # <o:p> of Word, <st1:place>
_TAG_START = rf"/?(?:{_NAME}|{_OFFICE})(?=[\s/>])"
_NO_TAG = re.compile(rf"<(?!{_TAG_START}|!--|!doctype\b|!\[|\?xml\b)", re.IGNORECASE)
_CLOSING = re.compile(rf"</({_NAME})\s*>", re.IGNORECASE)
_OPENING = re.compile(rf"<({_NAME})(?:\s[^<>]*)?>", re.IGNORECASE)
_ALONE = re.compile(
    r"<(?:br|hr)\s*/?>|<(?:img|input|meta|link)\s[^<>]+>|<!doctype\s+html", re.IGNORECASE
)
_SEVERAL = re.compile(r"<(?:p|li|div|tr|td)(?:\s[^<>]*)?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CHARSET = re.compile(rb"(?i)charset\s*=\s*[\"']?([-\w]+)")
_SPACES = re.compile(r"[ \t\r\n\f]+")
_ROUNDS = 3
"""How often a text is unpacked: "&amp;amp;nbsp;" was escaped three times."""
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0(?:\.0+)?\s*(?:;|$)|"
    r"font-size\s*:\s*[01](?:\.\d+)?\s*(?:px|pt)?\s*(?:;|!|$)|text-indent\s*:\s*-\d{3,}|"
    r"(?:left|top)\s*:\s*-\d{3,}",
    re.IGNORECASE,
)
_WHITE = re.compile(
    r"(?<![-\w])color\s*:\s*(?:white|#fff(?:fff)?|transparent|rgba?\(\s*255\s*,\s*255\s*,\s*255[^)]*\))(?![\w#])",
    re.IGNORECASE,
)
_BACKGROUND = re.compile(r"background(?:-color|-image)?\s*:", re.IGNORECASE)
_NO_TEXT_INPUTS = _names(
    "hidden password submit button reset image file checkbox radio range color"
)
_CONTROLS = dict.fromkeys([*range(9), 0xB, 0xC, *range(0xE, 0x20), 0x7F], " ")
"""Libxml2 ends a text at some of them."""


def read_markup(text: str) -> Extract:
    """The text of an HTML page, or of a part of one, as a reader sees it; what is hidden is
    counted.

    Blocks part lines and cells stand apart by tabs. Scripts, styles and elements that are hidden
    go. "<" that begins no tag of HTML ("a < b", "<name@example.com>") stays.
    """
    if not text.strip():
        return Extract("")
    guarded = _NO_TAG.sub("&lt;", text.translate(_CONTROLS))
    parser = etree.HTMLParser(
        huge_tree=True, remove_comments=True, remove_pis=True, no_network=True, encoding="utf-8"
    )
    root = etree.fromstring(
        b"<!doctype html><body>" * (not _has_body(text)) + guarded.encode(), parser
    )
    if root is None:
        return Extract("")
    walk = _Walk()
    walk.read(root)
    hidden = [say_hidden(walk.hidden, "HTML that is not shown or white")] if walk.hidden else []
    return Extract(_tidy("".join(walk.pieces)), hidden)


def decode_page(content: bytes, encoding: str = "") -> str:
    """Bytes of a web page as text: by their mark, as UTF-8, by the encoding that they name, else as
    Windows' Latin.

    encoding: tried where they are not UTF-8 and name none.
    """
    for mark, marked in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if content.startswith(mark):
            return content.decode(marked, "replace")
    named = _CHARSET.search(content[:4096])
    for candidate in ("utf-8", named[1].decode() if named else encoding or "cp1252"):
        try:
            return content.decode(candidate)
        except (UnicodeDecodeError, LookupError):
            continue
    return content.decode("cp1252", "replace")


def strip_markup(text: str) -> Extract:
    """A text without markup if it holds some, else the text itself; entities are decoded in both.

    Texts that were escaped before they were stored ("&lt;p&gt;", "&amp;nbsp;") are unpacked first.
    Plain text is left
    alone: a lone "<b>", "C++ <vector>" or "a < b" is none, tags must be closed or part lines (<br>,
    <li>).
    """
    missing: list[str] = []
    for _ in range(_ROUNDS):
        before = text
        if is_markup(text):
            found = read_markup(text)
            text = found.text
            missing += found.missing
        text = _ENTITY.sub(_decoded, text)
        if text == before:
            break
    return Extract(text, missing)


def is_markup(text: str) -> bool:
    """Whether a text holds tags of HTML that a person would not write: closed ones, line breaks,
    several blocks."""
    if "<" not in text:
        return False
    if _ALONE.search(text) or len(_SEVERAL.findall(text)) > 1:
        return True
    closed = {match[1].lower() for match in _CLOSING.finditer(text)}
    return any(match[1].lower() in closed for match in _OPENING.finditer(text))


def _has_body(text: str) -> bool:
    return re.search(r"<(?:html|body|head)[\s>]", text, re.IGNORECASE) is not None


def _decoded(entity: re.Match) -> str:
    name = entity[1]
    if not name.startswith("#"):
        return html5.get(f"{name};", entity[0])
    code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    if code < 32 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return " "
    if 0x80 <= code <= 0x9F:  # written by programs that mean Windows' characters
        return bytes([code]).decode("cp1252", "replace")
    return chr(code)


class _Walk:
    """Collects the pieces of a page in order, without recursion: a page may be nested thousands
    deep."""

    def __init__(self):
        self.pieces: list[str] = []
        self.hidden = 0
        self._unseen_depth = (
            0  # below a script and the like, whose text nobody took for a hidden one
        )
        self._hidden_depth = 0
        self._shown_depth = (
            0  # below an element with a background of its own, white is a colour as others are
        )
        self._pre_depth = 0

    def read(self, root: etree._Element) -> None:
        for event, node in etree.iterwalk(root, events=("start", "end")):
            if event == "start":
                self._enter(node)
            else:
                self._leave(node)

    def _enter(self, node: etree._Element) -> None:
        tag = _tag(node)
        if tag in _UNSEEN:
            self._unseen_depth += 1
            return
        self._shown_depth += _has_background(node)
        if self._is_hidden(node):
            self._hidden_depth += 1
        self._pre_depth += tag == "pre"
        if tag in _BLOCKS:
            self.pieces.append("\n")
        elif tag in _CELLS:
            self.pieces.append("\t")
        if tag == "input" and node.get("type", "text").lower() not in _NO_TEXT_INPUTS:
            self._add(node.get("value", ""))
        self._add(node.text)

    def _leave(self, node: etree._Element) -> None:
        tag = _tag(node)
        if tag in _UNSEEN:
            self._unseen_depth -= 1
        else:
            if self._is_hidden(node):
                self._hidden_depth -= 1
            self._shown_depth -= _has_background(node)
            self._pre_depth -= tag == "pre"
            if tag in _BLOCKS:
                self.pieces.append("\n")
        self._add(node.tail)

    def _is_hidden(self, node: etree._Element) -> bool:
        if node.get("hidden") is not None:
            return True
        style = node.get("style", "")
        if _HIDING.search(style):
            return True
        is_white = _WHITE.search(style) or node.get("color", "").lower() in (
            "white",
            "#fff",
            "#ffffff",
        )
        return bool(is_white) and not self._shown_depth

    def _add(self, text: str | None) -> None:
        if not text or self._unseen_depth:
            return
        if self._hidden_depth:
            self.hidden += count_letters(text)
            return
        self.pieces.append(text if self._pre_depth else _SPACES.sub(" ", text))


def _tag(node: etree._Element) -> str:
    return node.tag.lower() if isinstance(node.tag, str) else ""


def _has_background(node: etree._Element) -> bool:
    return bool(node.get("bgcolor")) or bool(_BACKGROUND.search(node.get("style", "")))


def _tidy(text: str) -> str:
    """Lines without spaces around them; lines without text go."""
    lines = (line.strip(" \t\xa0") for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
