"""Word files: everything that a reader of the printed page sees, once; what is not read is told.

Read: the body with its tables, text boxes, content controls, fields, diagrams, charts and embedded
texts; the headers and footers that are shown; the notes at the foot and the end. Deleted and
moved-away text is not there any more, and placeholders are no content. Comments are remarks on a
document, not a part of it. The parts are read as XML without a library for Word files: those refuse
files that Word opens (a relation to "NULL", the strict form of the format).
"""

from __future__ import annotations

import email
import email.policy
import io
import posixpath
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree  # comes with python-docx

from matchlib.data.document_check import has_word
from matchlib.data.schema import DataError
from matchlib.documents.extract import FEW_LETTERS, Extract, count_letters, say_hidden
from matchlib.documents.markup import decode_page, read_markup
from matchlib.documents.word_styles import Look, Styles, is_on, is_shaded, local, value

MAX_UNPACKED = 100_000_000
"""Bytes of XML that a Word file may hold once unpacked; a larger one is a decompression bomb."""
MAX_DEPTH = 2
"""Word files inside a Word file that are opened."""
_OLD_FILE = b"\xd0\xcf\x11\xe0"
_EMU_OF_TWIP = 635
_A4_TWIPS = (11906, 16838)
_HALF_A_PAGE = 0.5
_SPACES = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_GONE = frozenset(("del", "moveFrom"))
_CHECKED = "[x]"
_WINGDINGS = {
    0x28: "☎",
    0x2A: "✉",
    0x6F: "☐",
    0x71: "☐",
    0x78: "☒",
    0xA8: "☐",
    0xFB: "✗",
    0xFC: "✓",
    0xFD: "☒",
    0xFE: "☑",
}
_BULLET = "•"


def read_word(file: Path) -> Extract:
    """The text of a .docx, .docm, .dotx or .dotm file; raises DataError where nothing of it can be
    read."""
    content = file.read_bytes()
    try:
        return _read(content, str(file), depth=0)
    except DataError:
        raise
    except RuntimeError:  # of zipfile
        raise DataError(f"{file}: encrypted; save it without a password") from None
    except Exception as problem:  # a parser of hostile files raises whatever it trips over
        told = " ".join(str(problem).split())[:80]
        raise DataError(
            f"{file}: not a DOCX that can be read ({type(problem).__name__}: {told}); save it again"
        ) from None


def _read(content: bytes, name: str, *, depth: int) -> Extract:
    if content.startswith(_OLD_FILE):
        raise DataError(
            f"{name}: not a DOCX: it is encrypted, or of Word before 2007 (.doc); save it as .docx without "
            f"a password"
        )
    if content.startswith(b"{\\rtf"):
        raise DataError(f"{name}: not a DOCX but RTF; save it as .docx")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        package = _Package(archive, name, depth)
        reading = _Document(package)
        text = reading.read()
    missing = reading.missing()
    if reading.picture_share >= _HALF_A_PAGE:
        if count_letters(text) < FEW_LETTERS:
            raise DataError(f"{name}: no usable text, only a picture of a page; run OCR on it")
        missing.append(
            "a picture as large as half a page or more is not read; if it shows text, run OCR on it"
        )
    if missing and not has_word(text):
        raise DataError(f"{name}: no usable text; {'; '.join(missing)}")
    return Extract(text, missing)


@dataclass
class _Package:
    """The parts of a Word file, each read as often as it is named but unpacked within a limit for
    all."""

    archive: zipfile.ZipFile
    name: str
    depth: int
    unpacked: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self):
        self._sizes = {info.filename: info.file_size for info in self.archive.infolist()}
        xml = sum(size for part, size in self._sizes.items() if part.endswith((".xml", ".rels")))
        if xml > MAX_UNPACKED:
            raise DataError(
                f"{self.name}: {xml:,} bytes unpacked, more than {MAX_UNPACKED:,}; save the text alone"
            )
        # some programs write "Word/Document.xml" and name "word/document.xml"
        self._by_lower = {part.lower(): part for part in self._sizes}

    def has(self, part: str) -> bool:
        return part.lower() in self._by_lower

    def load(self, part: str) -> bytes:
        """The bytes of a part."""
        own = self._by_lower[part.lower()]
        self.unpacked += self._sizes[own]
        if self.unpacked > MAX_UNPACKED:
            raise DataError(
                f"{self.name}: more than {MAX_UNPACKED:,} bytes unpacked; save the text alone"
            )
        return self.archive.read(own)

    def parse(self, part: str) -> etree._Element | None:
        """The root of a part; where its XML or its packing is damaged, what comes before the fault."""
        try:
            content = self.load(part)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            self.faults.append(f"the part {part} is damaged and not read; save the file again")
            return None
        options = {
            "resolve_entities": False,
            "no_network": True,
            "remove_comments": True,
            "remove_pis": True,
        }
        try:
            return etree.fromstring(content, etree.XMLParser(**options))
        except etree.XMLSyntaxError as problem:
            self.faults.append(
                f"the XML of {part} is damaged ({problem.msg}), and text after that may be missing; "
                f"save the file again"
            )
            return etree.fromstring(content, etree.XMLParser(recover=True, **options))

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Relation id -> (last word of its type, part that it names); those that name no part are
        left out."""
        folder, base = posixpath.split(part)
        rels = f"{folder}/_rels/{base}.rels".lstrip("/")
        if not self.has(rels):
            return {}
        root = self.parse(rels)
        found = {}
        for relation in () if root is None else root.iter("{*}Relationship"):
            target = relation.get("Target", "")
            if relation.get("TargetMode") == "External":
                continue
            target = posixpath.normpath(
                target.lstrip("/") if target.startswith("/") else f"{folder}/{target}"
            )
            kind = relation.get("Type", "").rsplit("/", 1)[-1]
            found[relation.get("Id", "")] = (kind, target.lstrip("/"))
        return found

    def main_part(self) -> str:
        for kind, target in self.relations("").values():
            if kind == "officeDocument" and self.has(target):
                return target
        if self.has("word/document.xml"):
            return "word/document.xml"
        raise DataError(f"{self.name}: not a DOCX: it holds no Word document; save it again")


class _Document:
    """Reads the parts of one Word file in the order of the page: headers, body, notes, footers."""

    def __init__(self, package: _Package):
        self.package = package
        self.main = package.main_part()
        self.relations = package.relations(self.main)
        self.styles = Styles(self._part_of_kind("styles"))
        self.hidden = 0
        self.comments: set[str] = set()
        self.unread: dict[str, int] = {}
        self.picture_share = 0.0
        self.page_area = _A4_TWIPS[0] * _A4_TWIPS[1] * _EMU_OF_TWIP**2
        self._embedded: list[str] = []
        self._seen: set[str] = set()

    def read(self) -> str:
        root = self.package.parse(self.main)
        body = None if root is None else root.find("{*}body")
        if body is None:
            raise DataError(
                f"{self.package.name}: not a DOCX: its main part is no Word document; save it again"
            )
        sections = list(body.iter("{*}sectPr"))
        for size in body.iterfind(".//{*}sectPr/{*}pgSz"):
            width, height = _number(value(size, "w")), _number(value(size, "h"))
            if width and height:
                self.page_area = width * height * _EMU_OF_TWIP**2
        has_background = root.find("{*}background") is not None
        is_on_picture = any(
            anchor.get("behindDoc") in ("1", "true") for anchor in root.iter("{*}anchor")
        )
        walk = _Walk(self, self.relations, has_backdrop=has_background or is_on_picture)
        text = [walk.read(body)]
        for kind, ids in (("footnotes", walk.footnotes), ("endnotes", walk.endnotes)):
            text.append(self._notes(kind, ids))
        headers = self._shown(sections, "headerReference")
        footers = self._shown(sections, "footerReference")
        return "\n".join(piece for piece in [*headers, *text, *footers] if piece)

    def missing(self) -> list[str]:
        """Sentences on what was not read."""
        told = list(dict.fromkeys(self.package.faults))
        if self.hidden:
            told.append(say_hidden(self.hidden, "marked hidden, white or too small to see"))
        if self.comments:
            told.append(
                f"{len(self.comments):,} comments are left out: they are remarks on the text"
            )
        for what, count in self.unread.items():
            told.append(f"{count:,} {what}")
        return [*told, *dict.fromkeys(self._embedded)]

    def count_unread(self, what: str) -> None:
        self.unread[what] = self.unread.get(what, 0) + 1

    def _part_of_kind(self, kind: str) -> etree._Element | None:
        for found, target in self.relations.values():
            if found == kind and self.package.has(target):
                return self.package.parse(target)
        return None

    def _shown(self, sections: list[etree._Element], name: str) -> list[str]:
        """The headers or footers that some page shows, each text once."""
        settings = self._part_of_kind("settings")
        even = None if settings is None else settings.find("{*}evenAndOddHeaders")
        shows_even = even is not None and is_on(even)
        current: dict[str, str] = {}
        texts: list[str] = []
        for section in sections:
            for reference in section.iterfind(f"{{*}}{name}"):
                current[value(reference, "type") or "default"] = value(reference, "id") or ""
            title = section.find("{*}titlePg")
            kinds = (
                ["first"] * (title is not None and is_on(title))
                + ["default"]
                + ["even"] * shows_even
            )
            for kind in kinds:
                _, part = self.relations.get(current.get(kind, ""), ("", ""))
                if not part or part in self._seen or not self.package.has(part):
                    continue
                self._seen.add(part)
                root = self.package.parse(part)
                if root is not None:
                    texts.append(
                        _Walk(self, self.package.relations(part), has_backdrop=False).read(root)
                    )
        return list(dict.fromkeys(texts))

    def _notes(self, kind: str, ids: list[str]) -> str:
        root = self._part_of_kind(kind) if ids else None
        if root is None:
            return ""
        notes = {value(note, "id"): note for note in root}
        part = next(target for found, target in self.relations.values() if found == kind)
        relations = self.package.relations(part)
        texts = []
        for number in dict.fromkeys(ids):
            if number in notes:
                texts.append(_Walk(self, relations, has_backdrop=False).read(notes[number]))
        return "\n".join(texts)

    def embedded_text(self, part: str) -> str:
        """The text of a part in another format that the page shows (altChunk)."""
        if not self.package.has(part) or part in self._seen:
            return ""
        self._seen.add(part)
        content = self.package.load(part)
        found = _embedded(content, part, self.package)
        self._embedded += found.missing
        return found.text

    def drawing_text(self, part: str) -> str:
        """The text of a diagram's or chart's part: its paragraphs, and the names of its categories
        and series."""
        if not self.package.has(part):
            return ""
        root = self.package.parse(part)
        lines = []
        for node in () if root is None else root.iter("{*}p", "{*}strCache"):
            if local(node) == "strCache":
                lines.append(" ".join(point.text or "" for point in node.iter("{*}v")))
            else:
                lines.append("".join(piece.text or "" for piece in node.iter("{*}t")))
        return "\n".join(dict.fromkeys(line for line in lines if line.strip()))


def _embedded(content: bytes, part: str, package: _Package) -> Extract:
    if content.startswith(b"PK"):
        if package.depth >= MAX_DEPTH:
            return Extract(
                "",
                [
                    f"the embedded document {part} is not read: it lies too deep; save it as one document"
                ],
            )
        try:
            return _read(content, package.name, depth=package.depth + 1)
        except Exception as problem:
            told = str(problem).removeprefix(f"{package.name}: ")[:120]
            return Extract(
                "", [f"the embedded document {part} is not read ({told}); save it as one document"]
            )
    if content.lstrip().startswith(b"{\\rtf"):
        return Extract(
            "",
            [f"the embedded RTF text {part} is not read; open the file in Word and save it again"],
        )
    if re.search(rb"(?i)^mime-version:", content[:2000], re.MULTILINE):
        message = email.message_from_bytes(content, policy=email.policy.default)
        texts = [piece for piece in message.walk() if piece.get_content_maintype() == "text"]
        pages = [piece for piece in texts if piece.get_content_subtype() == "html"] or texts
        content = b"\n".join(piece.get_payload(decode=True) or b"" for piece in pages)
    text = decode_page(content)
    if re.search(r"<[a-zA-Z!/]", text):
        return read_markup(text)
    return Extract(text)


class _Walk:
    """Goes through one part and collects its text, paragraph by paragraph.

    A paragraph inside another (of a text box) comes after that one, as in the order of their
    beginnings.
    """

    def __init__(
        self, document: _Document, relations: dict[str, tuple[str, str]], *, has_backdrop: bool
    ):
        self.document = document
        self.relations = relations
        self.footnotes: list[str] = []
        self.endnotes: list[str] = []
        self._lines: list[list[str]] = []
        self._open: list[list[str]] = []
        self._paragraph_styles: list[str] = []
        self._run_is_hidden: list[bool] = []
        self._backdrops = int(has_backdrop)  # what is white can be seen on a shaded ground
        self._fields: list[bool] = []  # of each open field: whether its result has begun
        self._has_fields = True
        self._n_instructions = 0  # open fields whose result has not begun
        self._extent: list[float] = []

    def read(self, root: etree._Element) -> str:
        """The text below a node."""
        begins = sum(value(part, "fldCharType") == "begin" for part in root.iter("{*}fldChar"))
        ends = sum(value(part, "fldCharType") == "end" for part in root.iter("{*}fldChar"))
        self._has_fields = begins == ends  # one that never ends would swallow the rest
        walker = etree.iterwalk(root, events=("start", "end"))
        for event, node in walker:
            name = local(node)
            if event == "end":
                self._leave(node, name)
            elif self._is_skipped(node, name):
                walker.skip_subtree()
            else:
                self._enter(node, name)
        return "\n".join("".join(line) for line in self._lines)

    def _is_skipped(self, node: etree._Element, name: str) -> bool:
        if name in _GONE:
            return local(node.getparent()) != "rPr"
        if name == "sdt":
            placeholder = node.find("{*}sdtPr/{*}showingPlcHdr")
            return placeholder is not None and is_on(placeholder)
        if name == "Fallback":  # a text box's copy for old programs
            return local(node.getparent()[0]) == "Choice"
        return False

    def _enter(self, node: etree._Element, name: str) -> None:
        action = _ENTER.get(name)
        if action:
            action(self, node)

    def _leave(self, node: etree._Element, name: str) -> None:
        if name == "p" and _is_word(node):
            self._open.pop()
            self._paragraph_styles.pop()
            self._backdrops -= self._paragraph_has_backdrop(node)
        elif name == "r" and _is_word(node):
            self._run_is_hidden.pop()
        elif name in _GROUNDS:
            self._backdrops -= self._has_backdrop(node, name)
        elif name in ("inline", "anchor"):
            self._extent.pop()

    # ---- paragraphs, runs and what stands in them

    def _enter_paragraph(self, node: etree._Element) -> None:
        if not _is_word(node):
            self._add("\n")  # of a drawing, inside a paragraph of the text
            return
        line: list[str] = []
        self._lines.append(line)
        self._open.append(line)
        style = node.find("{*}pPr/{*}pStyle")
        self._paragraph_styles.append("" if style is None else value(style, "val") or "")
        self._backdrops += self._paragraph_has_backdrop(node)

    def _paragraph_has_backdrop(self, node: etree._Element) -> bool:
        properties = node.find("{*}pPr")
        style = None if properties is None else properties.find("{*}pStyle")
        named = "" if style is None else value(style, "val") or ""
        return is_shaded(properties) or self.document.styles.look("", named).is_shaded

    def _enter_run(self, node: etree._Element) -> None:
        if not _is_word(node):
            return
        properties = node.find("{*}rPr")
        style = None if properties is None else properties.find("{*}rStyle")
        paragraph_style = self._paragraph_styles[-1] if self._paragraph_styles else ""
        look = self.document.styles.look(
            "" if style is None else value(style, "val") or "", paragraph_style
        )
        look = look.changed_by(Look.of(properties))
        self._run_is_hidden.append(
            look.is_hidden(on_backdrop=self._backdrops > 0 or look.is_shaded)
        )

    def _add(self, text: str) -> None:
        if self._n_instructions:
            return  # the instruction of a field, not its result
        if self._run_is_hidden and self._run_is_hidden[-1]:
            self.document.hidden += count_letters(text)
        elif self._open:
            self._open[-1].append(text)
        elif text.strip():
            self._lines.append([text])

    def _add_text(self, node: etree._Element) -> None:
        self._add(node.text or "")

    def _add_space(self, node: etree._Element) -> None:
        if local(node.getparent()) == "r":  # a tab may also be a property of a paragraph
            self._add(_SPACES[local(node)])

    def _add_symbol(self, node: etree._Element) -> None:
        code = int(value(node, "char") or "0", 16) & 0xFFFF
        font = (value(node, "font") or "").lower()
        self._add(_symbol(code, font))

    # ---- fields

    def _enter_field_part(self, node: etree._Element) -> None:
        kind = value(node, "fldCharType")
        if kind == "begin":
            form = node.find("{*}ffData")
            if form is not None:
                self._add(_form_value(form))
            self._fields.append(False)
            self._n_instructions += self._has_fields
        elif kind == "separate" and self._fields:
            self._n_instructions -= self._has_fields and not self._fields[-1]
            self._fields[-1] = True
        elif kind == "end" and self._fields:
            self._n_instructions -= self._has_fields and not self._fields.pop()

    # ---- grounds on which white can be seen

    def _enter_ground(self, node: etree._Element) -> None:
        self._backdrops += self._has_backdrop(node, local(node))

    def _has_backdrop(self, node: etree._Element, name: str) -> bool:
        if name == "txbxContent":
            return True  # a shape may be filled
        properties = node.find(f"{{*}}{name}Pr")
        if is_shaded(properties):
            return True
        style = None if properties is None else properties.find("{*}tblStyle")
        return style is not None and self.document.styles.shades(value(style, "val") or "")

    # ---- what other parts hold

    def _enter_chunk(self, node: etree._Element) -> None:
        _, part = self.relations.get(value(node, "id") or "", ("", ""))
        text = self.document.embedded_text(part) if part else ""
        if text:
            self._lines.append([text])

    def _enter_diagram(self, node: etree._Element) -> None:
        self._add_part(value(node, "dm"))

    def _enter_chart(self, node: etree._Element) -> None:
        self._add_part(value(node, "id"))

    def _add_part(self, relation: str | None) -> None:
        _, part = self.relations.get(relation or "", ("", ""))
        text = self.document.drawing_text(part) if part else ""
        if text:
            self._add(f"\n{text}\n")

    def _enter_old_word_art(self, node: etree._Element) -> None:
        self._add(node.get("string", ""))

    def _enter_footnote(self, node: etree._Element) -> None:
        self.footnotes.append(value(node, "id") or "")

    def _enter_endnote(self, node: etree._Element) -> None:
        self.endnotes.append(value(node, "id") or "")

    def _enter_comment(self, node: etree._Element) -> None:
        self.document.comments.add(value(node, "id") or "")

    def _enter_object(self, node: etree._Element) -> None:
        if node.find("{*}OLEObject") is not None:
            self.document.count_unread(
                "embedded objects (a table, a PDF) are not read; paste their text"
            )

    # ---- pictures

    def _enter_drawing(self, node: etree._Element) -> None:
        extent = node.find("{*}extent")
        area = 0.0
        if extent is not None:
            area = _number(extent.get("cx")) * _number(extent.get("cy"))
        self._extent.append(area)

    def _enter_picture(self, node: etree._Element) -> None:
        if self._extent:
            share = self._extent[-1] / self.document.page_area
            self.document.picture_share = max(self.document.picture_share, share)

    def _enter_old_picture(self, node: etree._Element) -> None:
        style = node.getparent().get("style", "") if node.getparent() is not None else ""
        sides = re.findall(r"(?:^|;)\s*(?:width|height)\s*:\s*([\d.]{1,12})pt", style)
        if len(sides) == 2:
            twips = float(sides[0]) * float(sides[1]) * 20**2
            share = twips * _EMU_OF_TWIP**2 / self.document.page_area
            self.document.picture_share = max(self.document.picture_share, share)


_GROUNDS = frozenset(("tbl", "tc", "txbxContent"))
_ENTER = {
    "p": _Walk._enter_paragraph,
    "r": _Walk._enter_run,
    "t": _Walk._add_text,
    "sym": _Walk._add_symbol,
    **dict.fromkeys(_SPACES, _Walk._add_space),
    **dict.fromkeys(_GROUNDS, _Walk._enter_ground),
    "fldChar": _Walk._enter_field_part,
    "altChunk": _Walk._enter_chunk,
    "relIds": _Walk._enter_diagram,
    "chart": _Walk._enter_chart,
    "textpath": _Walk._enter_old_word_art,
    "footnoteReference": _Walk._enter_footnote,
    "endnoteReference": _Walk._enter_endnote,
    "commentReference": _Walk._enter_comment,
    "object": _Walk._enter_object,
    "inline": _Walk._enter_drawing,
    "anchor": _Walk._enter_drawing,
    "blip": _Walk._enter_picture,
    "imagedata": _Walk._enter_old_picture,
}
"""What begins with an element, by its name: the transitional and the strict form differ in the
namespace alone."""


def _is_word(node: etree._Element) -> bool:
    return "wordprocessingml" in node.tag


def _symbol(code: int, font: str) -> str:
    low = code & 0xFF if 0xF000 <= code <= 0xF0FF else code
    if font.startswith("wingdings"):
        return _WINGDINGS.get(low, _BULLET)
    if font == "symbol":
        from pypdf._codecs import charset_encoding

        known = charset_encoding["/Symbol"][low] if low < 256 else ""
        return known if known.isprintable() and known else _BULLET
    return chr(code) if code < 0xD800 else _BULLET


def _form_value(form: etree._Element) -> str:
    """What a form field of old Word shows that is no text of its own: a choice, a tick."""
    box = form.find("{*}checkBox")
    if box is not None:
        state = box.find("{*}checked")
        state = box.find("{*}default") if state is None else state
        return f"{_CHECKED} " if state is not None and is_on(state) else ""
    choices = form.find("{*}ddList")
    if choices is None:
        return ""
    entries = [value(entry, "val") or "" for entry in choices.iterfind("{*}listEntry")]
    chosen = choices.find("{*}result")
    index = int(_number(value(chosen, "val"))) if chosen is not None else 0
    return entries[index] if 0 <= index < len(entries) else ""


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
