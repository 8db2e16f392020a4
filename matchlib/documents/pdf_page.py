"""One page of a PDF: the pieces of text that its operators draw, where they stand and whether a
reader sees them.

Text is hidden that is drawn in no colour or in that of its ground, too small, off the page, cut
away, in a layer that is off, or covered by a box. Text without a colour over a picture of a page is
what OCR read on it, and is the text.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pypdf import PageObject
from pypdf.generic import ArrayObject, ContentStream, DictionaryObject, NullObject, StreamObject

from matchlib.documents.pdf_fonts import UNREADABLE, Glyph, PdfFont

MAX_CONTENT = 10_000_000
"""Bytes of drawing operators that a page may have; a drawing of a town has more, a resume has a
thousandth."""
MAX_CONTENT_OF_FILE = 40_000_000
MAX_FORMS = 5_000
MAX_FORM_DEPTH = 12
MAX_SHAPES = 10_000
"""Filled shapes of a page that are looked at; with more, what lies under its text is unknown."""
CELLS = 128
"""The page is seen as CELLS x CELLS cells, of which each has a ground: its colour, or unknown."""
SAME_COLOUR = 0.06
SMALLEST = 1.5
"""Points; smaller letters cannot be read on the page."""
LEAST_GAP = 0.11
"""Font sizes between two letters that make a space; kerning moves letters by less."""
LEAST_OVERLAP = 0.2
"""Font sizes by which a letter is moved back over an accent, which it then bears."""
ACCENTS = {
    "¨": "\u0308",
    "´": "\u0301",
    "`": "\u0300",
    "ˆ": "\u0302",
    "˜": "\u0303",
    "ˇ": "\u030c",
    "¯": "\u0304",
    "˘": "\u0306",
    "˙": "\u0307",
    "˚": "\u030a",
    "˝": "\u030b",
    "¸": "\u0327",
    "˛": "\u0328",
    "^": "\u0302",
    "~": "\u0303",
}
_IDENTITY = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
_UNKNOWN = math.nan
Matrix = tuple[float, float, float, float, float, float]
Box = tuple[float, float, float, float]


class TooMuch(Exception):
    """The page has more drawing than is read."""


@dataclass
class Piece:
    """A string as it was drawn: baseline from (x, y) to (end_x, end_y) in points from the visible
    page's lower left corner; direction of the baseline (cos, sin); hidden: why a reader does not
    see it, or ""."""

    text: str
    x: float
    y: float
    end_x: float
    end_y: float
    size: float
    direction: tuple[float, float]
    hidden: str = ""
    is_ocr: bool = False
    font: PdfFont | None = None
    order: int = 0
    colour: tuple[float, float, float] | None = None


@dataclass
class State:
    """The graphics state, as far as it matters to text."""

    matrix: Matrix = _IDENTITY
    font: PdfFont | None = None
    size: float = 1.0
    character_space: float = 0.0
    word_space: float = 0.0
    stretch: float = 1.0
    leading: float = 0.0
    rise: float = 0.0
    mode: int = 0
    fill: tuple[float, float, float] | None = (0.0, 0.0, 0.0)
    stroke: tuple[float, float, float] | None = (0.0, 0.0, 0.0)
    fill_space: int = 1
    stroke_space: int = 1
    alpha: float = 1.0
    is_plain: bool = True  # drawn over what is below, not mixed with it
    clip: Box | None = None

    def copy(self) -> State:
        return State(**self.__dict__)


@dataclass
class PageContent:
    """What a page draws."""

    width: float
    height: float
    pieces: list[Piece] = field(default_factory=list)
    picture_share: float = 0.0
    n_curves: int = 0
    has_drawing: bool = False


@dataclass
class Budget:
    """Bytes of operators that are still read of a file, and the fonts that it has used."""

    left: int = MAX_CONTENT_OF_FILE
    fonts: dict[Any, PdfFont | None] = field(default_factory=dict)
    off_layers: frozenset = frozenset()


def multiply(a: Matrix, b: Matrix) -> Matrix:
    """The matrix that applies a, then b."""
    return (
        a[0] * b[0] + a[1] * b[2],
        a[0] * b[1] + a[1] * b[3],
        a[2] * b[0] + a[3] * b[2],
        a[2] * b[1] + a[3] * b[3],
        a[4] * b[0] + a[5] * b[2] + b[4],
        a[4] * b[1] + a[5] * b[3] + b[5],
    )


def apply(m: Matrix, x: float, y: float) -> tuple[float, float]:
    """Where a matrix takes a point."""
    return m[0] * x + m[2] * y + m[4], m[1] * x + m[3] * y + m[5]


def box_of(m: Matrix, corners: Box) -> Box:
    """The upright box around a box that a matrix was applied to."""
    x0, y0, x1, y1 = corners
    points = [apply(m, x, y) for x, y in ((x0, y0), (x0, y1), (x1, y0), (x1, y1))]
    xs = [x for x, _ in points]
    ys = [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def overlap(a: Box, b: Box | None) -> Box:
    """What two boxes share; its sides are the wrong way round where that is nothing."""
    if b is None:
        return a
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def read_page(page: PageObject, budget: Budget) -> PageContent:
    """Interpret a page's operators. Raises TooMuch where the page or the file draws more than is
    read."""
    x0, y0, x1, y1 = visible_box(page)
    turn = page_turn(page)
    to_page = page_matrix((x0, y0, x1, y1), turn)
    width, height = (x1 - x0, y1 - y0) if turn in (0, 180) else (y1 - y0, x1 - x0)
    content = PageContent(width, height)
    drawer = _Drawer(content, budget, page.pdf)
    state = State(matrix=to_page)
    stream = page.get("/Contents")
    if stream is not None and not isinstance(stream.get_object(), NullObject):
        drawer.draw(stream, _resources(page), state, depth=0)
    drawer.finish()
    return content


def visible_box(page: PageObject) -> Box:
    """The part of a page that is shown."""
    media = [float(side) for side in page.mediabox]
    crop = [float(side) for side in page.cropbox]
    boxes = [
        (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])) for b in (media, crop)
    ]
    shared = overlap(*boxes)
    if shared[2] - shared[0] > 1 and shared[3] - shared[1] > 1:
        return shared
    return (
        boxes[0]
        if boxes[0][2] - boxes[0][0] > 1 and boxes[0][3] - boxes[0][1] > 1
        else (0.0, 0.0, 612.0, 792.0)
    )


def page_turn(page: PageObject) -> int:
    """By how many degrees a page is shown turned, clockwise."""
    try:
        return int(page.rotation) % 360 // 90 * 90
    except (TypeError, ValueError):
        return 0


def page_matrix(box: Box, turn: int) -> Matrix:
    """From the space of a page to that of the page as it is shown, its lower left corner at 0, 0."""
    x0, y0, x1, y1 = box
    if turn == 90:
        return 0, -1, 1, 0, -y0, x1
    if turn == 180:
        return -1, 0, 0, -1, x1, y1
    if turn == 270:
        return 0, 1, -1, 0, y1, -x0
    return 1, 0, 0, 1, -x0, -y0


def _resources(holder: DictionaryObject) -> DictionaryObject:
    """A page's resources, its own or inherited."""
    for _ in range(50):
        found = holder.get("/Resources")
        found = found.get_object() if found is not None else None
        if isinstance(found, DictionaryObject):
            return found
        above = holder.get("/Parent")
        above = above.get_object() if above is not None else None
        if not isinstance(above, DictionaryObject):
            break
        holder = above
    return DictionaryObject()


class _Grounds:
    """What lies under each cell of a page: a colour, or unknown (nan), and when a box last covered
    it."""

    def __init__(self, width: float, height: float):
        self._scale_x = CELLS / max(width, 1.0)
        self._scale_y = CELLS / max(height, 1.0)
        self._colours = np.ones((CELLS, CELLS, 3), dtype=np.float32)
        self._covered = np.zeros((CELLS, CELLS), dtype=np.int64)
        self._pictured = np.zeros((CELLS, CELLS), dtype=bool)
        self._n_shapes = 0

    def paint(
        self, box: Box, colour: tuple[float, float, float] | None, order: int, *, covers: bool
    ) -> None:
        """A shape: cells wholly inside a rectangle take its colour, those at its edge are unknown
        from now on."""
        self._n_shapes += 1
        outer = self._outer(box)
        if outer is None or self._n_shapes > MAX_SHAPES:
            return
        if self._n_shapes == MAX_SHAPES:
            self._colours[:] = _UNKNOWN
            return
        inner = self._inner(box)
        if colour is None or inner is None:
            self._colours[outer] = _UNKNOWN
            return
        for edge in _edges(outer, inner):
            cells = self._colours[edge]
            is_other = ~np.all(np.abs(cells - np.float32(colour)) < SAME_COLOUR, axis=-1)
            cells[is_other] = _UNKNOWN
        self._colours[inner] = colour
        if covers:
            self._covered[inner] = order

    def picture(self, box: Box) -> None:
        """A picture: what is on it, nobody knows here."""
        outer = self._outer(box)
        if outer is not None:
            self._colours[outer] = _UNKNOWN
            inner = self._inner(box)
            if inner is not None:
                self._pictured[inner] = True

    @property
    def picture_share(self) -> float:
        return float(self._pictured.mean())

    def colour_at(self, x: float, y: float) -> np.ndarray:
        return self._colours[self._cell(x, y)]

    def covered_at(self, x: float, y: float) -> int:
        return int(self._covered[self._cell(x, y)])

    def _cell(self, x: float, y: float) -> tuple[int, int]:
        column = min(max(int(x * self._scale_x), 0), CELLS - 1)
        row = min(max(int(y * self._scale_y), 0), CELLS - 1)
        return row, column

    def _outer(self, box: Box) -> tuple[slice, slice] | None:
        x0, y0, x1, y1 = self._in_cells(box)
        x0, y0, x1, y1 = math.floor(x0), math.floor(y0), math.floor(x1) + 1, math.floor(y1) + 1
        return self._slices(x0, y0, x1, y1)

    def _inner(self, box: Box) -> tuple[slice, slice] | None:
        x0, y0, x1, y1 = self._in_cells(box)
        return self._slices(
            math.ceil(x0 - 0.01), math.ceil(y0 - 0.01), math.floor(x1 + 0.01), math.floor(y1 + 0.01)
        )

    def _in_cells(self, box: Box) -> Box:
        def cut(number: float) -> float:
            return min(max(number, -1.0), CELLS + 1.0) if number == number else 0.0

        return (
            cut(box[0] * self._scale_x),
            cut(box[1] * self._scale_y),
            cut(box[2] * self._scale_x),
            cut(box[3] * self._scale_y),
        )

    @staticmethod
    def _slices(x0: int, y0: int, x1: int, y1: int) -> tuple[slice, slice] | None:
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, CELLS), min(y1, CELLS)
        return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None


def _edges(outer: tuple[slice, slice], inner: tuple[slice, slice]) -> list[tuple[slice, slice]]:
    """The cells of the outer rectangle that the inner one does not hold: those above, below, left
    and right of it."""
    rows, columns = outer
    inner_rows, inner_columns = inner
    found = [
        (slice(rows.start, inner_rows.start), columns),
        (slice(inner_rows.stop, rows.stop), columns),
        (inner_rows, slice(columns.start, inner_columns.start)),
        (inner_rows, slice(inner_columns.stop, columns.stop)),
    ]
    return [edge for edge in found if edge[0].start < edge[0].stop and edge[1].start < edge[1].stop]


class _Drawer:
    """Carries out the operators of a page and of the forms that it draws."""

    def __init__(self, content: PageContent, budget: Budget, pdf: Any):
        self.content = content
        self.budget = budget
        self.pdf = pdf
        self.grounds = _Grounds(content.width, content.height)
        self.page_box = (0.0, 0.0, content.width, content.height)
        self.order = 0
        self.spent = 0
        self.n_forms = 0
        self.smallest = min(SMALLEST, 0.002 * max(content.width, content.height))
        self._parsed: dict[int, list] = {}
        self._drawn: set[tuple] = set()
        self._off = 0  # layers that are off, of those that are open

    def draw(self, stream: Any, resources: DictionaryObject, state: State, *, depth: int) -> None:
        """Carry out a content stream."""
        operations = self._operations(stream)
        run = _Run(self, resources, state, depth)
        for operands, operator in operations:
            self.order += 1
            action = _ACTIONS.get(operator)
            if action is None:
                continue
            try:
                action(run, operands)
            except (TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError):
                continue  # an operator with wrong operands does nothing
        self._off -= run.open_off_layers()

    def _operations(self, stream: Any) -> list:
        key = id(stream.get_object())
        if key in self._parsed:
            operations, size = self._parsed[key]
        else:
            content = ContentStream(stream, self.pdf, "bytes")
            size = len(content.get_data())
            if self.spent + size > MAX_CONTENT or size > self.budget.left:
                raise TooMuch
            operations = content.operations
            self._parsed[key] = operations, size
        self.spent += size + 50
        self.budget.left -= size + 50
        if self.spent > MAX_CONTENT or self.budget.left < 0:
            raise TooMuch
        return operations

    def font(self, resources: DictionaryObject, name: str) -> PdfFont | None:
        fonts = resources["/Font"].get_object()
        reference = fonts.raw_get(name)
        key = getattr(reference, "idnum", None) or id(reference.get_object())
        if key not in self.budget.fonts:
            try:
                self.budget.fonts[key] = PdfFont(reference.get_object())
            except Exception:  # a font that is broken: its text cannot be read
                self.budget.fonts[key] = None
        return self.budget.fonts[key]

    def add(self, piece: Piece) -> None:
        """Keep a piece, but once where it is drawn twice in a place, as programs do to make it
        bold."""
        unit = max(piece.size, 1.0) / 4
        place = (piece.text, round(piece.x / unit), round(piece.y / unit), bool(piece.hidden))
        if piece.text.strip() and place in self._drawn:
            return
        self._drawn.add(place)
        self.content.pieces.append(piece)

    def finish(self) -> None:
        """Look at what was drawn over the text afterwards."""
        self.content.picture_share = self.grounds.picture_share
        for piece in self.content.pieces:
            if not piece.hidden and all(
                self.grounds.covered_at(x, y) > piece.order for x, y in _samples(piece)
            ):
                piece.hidden = "covered"


def _samples(piece: Piece) -> list[tuple[float, float]]:
    """Places inside the letters of a piece: near its beginning, in its middle and near its end."""
    cos, sin = piece.direction
    up_x, up_y = -sin * piece.size * 0.3, cos * piece.size * 0.3
    shares = (0.1, 0.5, 0.9)
    return [
        (
            piece.x + share * (piece.end_x - piece.x) + up_x,
            piece.y + share * (piece.end_y - piece.y) + up_y,
        )
        for share in shares
    ]


class _Run:
    """The carrying out of one content stream: its stack of states, its text matrices and its path."""

    def __init__(self, drawer: _Drawer, resources: DictionaryObject, state: State, depth: int):
        self.drawer = drawer
        self.resources = resources
        self.state = state
        self.depth = depth
        self.stack: list[State] = []
        self.text: Matrix = _IDENTITY
        self.line: Matrix = _IDENTITY
        self.path: list[Box] = []
        self.path_is_boxes = True
        self.points: list[tuple[float, float]] = []
        self.clips = False
        self.marks: list[tuple[str, int, bool]] = []

    def open_off_layers(self) -> int:
        return sum(is_off for _, _, is_off in self.marks)

    # ---- graphics state

    def save(self, _: list) -> None:
        if len(self.stack) < 10_000:
            self.stack.append(self.state.copy())

    def restore(self, _: list) -> None:
        if self.stack:
            self.state = self.stack.pop()

    def concatenate(self, operands: list) -> None:
        self.state.matrix = multiply(_matrix(operands), self.state.matrix)

    def set_parameters(self, operands: list) -> None:
        found = self.resources["/ExtGState"].get_object()[operands[0]].get_object()
        if "/ca" in found:
            self.state.alpha = float(found["/ca"])
        if "/BM" in found:
            mode = found["/BM"]
            mode = mode[0] if isinstance(mode, ArrayObject) else mode
            self.state.is_plain = mode in ("/Normal", "/Compatible")
        if "/Font" in found:
            font, size = found["/Font"].get_object()
            self.state.size = float(size)
            self.state.font = PdfFont(font.get_object())

    # ---- colours

    def fill_numbers(self, operands: list) -> None:
        self.state.fill = _colour(operands)

    def stroke_numbers(self, operands: list) -> None:
        self.state.stroke = _colour(operands)

    def fill_space(self, operands: list) -> None:
        self.state.fill_space = self._n_channels(operands[0])
        self.state.fill = (0.0, 0.0, 0.0) if self.state.fill_space else None

    def stroke_space(self, operands: list) -> None:
        self.state.stroke_space = self._n_channels(operands[0])
        self.state.stroke = (0.0, 0.0, 0.0) if self.state.stroke_space else None

    def fill_in_space(self, operands: list) -> None:
        self.state.fill = _colour(operands) if len(operands) == self.state.fill_space else None

    def stroke_in_space(self, operands: list) -> None:
        self.state.stroke = _colour(operands) if len(operands) == self.state.stroke_space else None

    def _n_channels(self, name: str) -> int:
        """How many numbers make a colour of a space; 0 where they say nothing without it."""
        plain = {"/DeviceGray": 1, "/DeviceRGB": 3, "/DeviceCMYK": 4, "/CalGray": 1, "/CalRGB": 3}
        if name in plain:
            return plain[name]
        space = self.resources["/ColorSpace"].get_object()[name].get_object()
        if isinstance(space, ArrayObject):
            if space[0] == "/ICCBased":
                return int(space[1].get_object()["/N"])
            return plain.get(space[0], 0)
        return plain.get(space, 0)

    # ---- paths

    def rectangle(self, operands: list) -> None:
        x, y, width, height = map(float, operands[:4])
        self.path.append(
            (min(x, x + width), min(y, y + height), max(x, x + width), max(y, y + height))
        )

    def move(self, operands: list) -> None:
        self._end_of_points()
        self.points = [(float(operands[0]), float(operands[1]))]

    def line_to(self, operands: list) -> None:
        self.points.append((float(operands[0]), float(operands[1])))
        self.drawer.content.n_curves += 1

    def curve_to(self, operands: list) -> None:
        numbers = list(map(float, operands))
        self.points += list(zip(numbers[::2], numbers[1::2], strict=True))
        self.path_is_boxes = False
        self.drawer.content.n_curves += 1

    def _end_of_points(self) -> None:
        if len(self.points) > 1:
            xs = [x for x, _ in self.points]
            ys = [y for _, y in self.points]
            corners = set(self.points)
            is_box = len(corners) == 4 and len(set(xs)) == 2 and len(set(ys)) == 2
            self.path_is_boxes = self.path_is_boxes and is_box
            self.path.append((min(xs), min(ys), max(xs), max(ys)))
        self.points = []

    def clip_by_path(self, _: list) -> None:
        self.clips = True

    def fill_path(self, _: list) -> None:
        self._paint(self.state.fill)

    def stroke_path(self, _: list) -> None:
        self._end_of_points()
        if self.path:
            self.drawer.content.has_drawing = True
        self._end_path()

    def end_path(self, _: list) -> None:
        self._end_path()

    def _paint(self, colour: tuple[float, float, float] | None) -> None:
        self._end_of_points()
        state = self.state
        if self.path and state.alpha > 0.01 and not self.drawer._off:
            self.drawer.content.has_drawing = True
            is_one_box = len(self.path) == 1 and self.path_is_boxes and _is_upright(state.matrix)
            known = colour if is_one_box and state.alpha > 0.99 and state.is_plain else None
            for box in self.path if len(self.path) <= 50 else [_around(self.path)]:
                shown = overlap(box_of(state.matrix, box), state.clip)
                if shown[0] < shown[2] and shown[1] < shown[3]:
                    self.drawer.grounds.paint(
                        shown, known, self.drawer.order, covers=known is not None
                    )
        self._end_path()

    def _end_path(self) -> None:
        self._end_of_points()
        if self.clips and self.path:
            self.state.clip = overlap(
                box_of(self.state.matrix, _around(self.path)), self.state.clip
            )
        self.path = []
        self.path_is_boxes = True
        self.clips = False

    def shade(self, _: list) -> None:
        self.drawer.content.has_drawing = True
        box = overlap(self.drawer.page_box, self.state.clip)
        self.drawer.grounds.paint(box, None, self.drawer.order, covers=False)

    # ---- pictures and forms

    def inline_picture(self, _: list) -> None:
        self._picture()

    def _picture(self) -> None:
        if self.state.alpha > 0.01 and not self.drawer._off:
            self.drawer.content.has_drawing = True
            self.drawer.grounds.picture(
                overlap(box_of(self.state.matrix, (0, 0, 1, 1)), self.state.clip)
            )

    def do(self, operands: list) -> None:
        found = self.resources["/XObject"].get_object()[operands[0]].get_object()
        if found.get("/Subtype") == "/Image":
            self._picture()
            return
        drawer = self.drawer
        drawer.n_forms += 1
        if (
            not isinstance(found, StreamObject)
            or self.depth >= MAX_FORM_DEPTH
            or self._is_off(found.get("/OC"))
        ):
            return
        if drawer.n_forms > MAX_FORMS:
            raise TooMuch
        state = self.state.copy()
        if "/Matrix" in found:
            state.matrix = multiply(_matrix(found["/Matrix"].get_object()), state.matrix)
        if "/BBox" in found:
            box = tuple(float(side) for side in found["/BBox"].get_object())
            state.clip = overlap(box_of(state.matrix, box), state.clip)
        own = found.get("/Resources")
        own = own.get_object() if own is not None else self.resources
        drawer.draw(found, own, state, depth=self.depth + 1)

    # ---- marked content

    def begin_mark(self, operands: list) -> None:
        """Begin a marked piece: it may belong to a layer, or say in other words what it shows."""
        is_off = False
        said = ""
        if len(operands) > 1:
            properties = operands[1]
            if isinstance(properties, str):
                properties = (
                    self.resources.get("/Properties", DictionaryObject())
                    .get_object()
                    .get(properties)
                )
                if operands[0] == "/OC":
                    is_off = self._is_off(properties)
            properties = properties.get_object() if properties is not None else None
            if isinstance(properties, DictionaryObject):
                said = properties.get("/ActualText", "")
                said = _pdf_text(said)
        self.marks.append((said, len(self.drawer.content.pieces), is_off))
        self.drawer._off += is_off

    def end_mark(self, _: list) -> None:
        if not self.marks:
            return
        said, first, is_off = self.marks.pop()
        self.drawer._off -= is_off
        pieces = self.drawer.content.pieces[first:] if said else []
        if any(
            UNREADABLE in piece.text for piece in pieces
        ):  # else what is drawn counts, not what is said of it
            pieces[0].text = said
            for piece in pieces[1:]:
                piece.text = ""

    def _is_off(self, layer: Any) -> bool:
        if layer is None or not self.drawer.budget.off_layers:
            return False
        own = getattr(layer, "idnum", None)
        if own in self.drawer.budget.off_layers:
            return True
        found = layer.get_object()
        groups = found.get("/OCGs") if isinstance(found, DictionaryObject) else None
        if groups is None:
            own = getattr(getattr(found, "indirect_reference", None), "idnum", None)
            return own in self.drawer.budget.off_layers
        groups = groups if isinstance(groups, ArrayObject) else [groups]
        numbers = [getattr(group, "idnum", None) for group in groups]
        return bool(numbers) and all(number in self.drawer.budget.off_layers for number in numbers)

    # ---- text

    def begin_text(self, _: list) -> None:
        self.text = self.line = _IDENTITY

    def set_font(self, operands: list) -> None:
        self.state.size = float(operands[1])
        try:
            self.state.font = self.drawer.font(self.resources, operands[0])
        except (KeyError, AttributeError, TypeError):
            self.state.font = None

    def set_character_space(self, operands: list) -> None:
        self.state.character_space = float(operands[0])

    def set_word_space(self, operands: list) -> None:
        self.state.word_space = float(operands[0])

    def set_stretch(self, operands: list) -> None:
        self.state.stretch = float(operands[0]) / 100

    def set_leading(self, operands: list) -> None:
        self.state.leading = float(operands[0])

    def set_rise(self, operands: list) -> None:
        self.state.rise = float(operands[0])

    def set_mode(self, operands: list) -> None:
        self.state.mode = int(operands[0])

    def next_line(self, operands: list) -> None:
        self._go(float(operands[0]), float(operands[1]))

    def next_line_and_leading(self, operands: list) -> None:
        self.state.leading = -float(operands[1])
        self._go(float(operands[0]), float(operands[1]))

    def next_line_by_leading(self, _: list) -> None:
        self._go(0.0, -self.state.leading)

    def _go(self, x: float, y: float) -> None:
        self.line = multiply((1, 0, 0, 1, x, y), self.line)
        self.text = self.line

    def set_text_matrix(self, operands: list) -> None:
        self.text = self.line = _matrix(operands)

    def show(self, operands: list) -> None:
        self._show([operands[0]])

    def show_adjusted(self, operands: list) -> None:
        self._show(operands[0])

    def show_on_next_line(self, operands: list) -> None:
        self.next_line_by_leading([])
        self._show([operands[0]])

    def show_spaced_on_next_line(self, operands: list) -> None:
        self.state.word_space = float(operands[0])
        self.state.character_space = float(operands[1])
        self.next_line_by_leading([])
        self._show([operands[2]])

    def _show(self, items: list) -> None:
        """Draw strings with moves between them; a move as wide as a space is one."""
        state = self.state
        font = state.font
        start = multiply(self.text, state.matrix)
        letters: list[str] = []
        advance = 0.0
        inked_from = inked_to = None  # without the moves before the first and after the last letter
        is_vertical = font is not None and font.is_vertical
        gap = 0.0
        for item in items:
            if isinstance(item, int | float):
                move = -float(item) / 1000 * state.size * (1.0 if is_vertical else state.stretch)
                advance += move
                gap += -float(item) / 1000
                continue
            if not isinstance(item, bytes):
                continue
            if letters and gap > LEAST_GAP and letters[-1][-1:] not in (" ", ""):
                letters.append(" ")
            glyphs = font.glyphs(item) if font else [_NO_GLYPH] * len(item)
            parts_words = _parts_words(state, len(glyphs))
            for at, glyph in enumerate(glyphs):
                if at and parts_words:
                    letters.append(" ")
                both = (
                    compose(letters[-1], glyph.text)
                    if letters and not at and gap < -LEAST_OVERLAP
                    else ""
                )
                if both:
                    letters[-1] = both
                else:
                    letters.append(glyph.text)
                stretch = 1.0 if is_vertical else state.stretch
                width = (1.0 if is_vertical else glyph.width) * state.size * stretch
                inked_from = advance if inked_from is None else inked_from
                inked_to = advance + width
                advance += width + state.character_space * stretch
                if glyph.is_space:
                    advance += state.word_space * stretch
            gap = 0.0
        text = "".join(letters)
        if text:
            begin = (0.0, -inked_from) if is_vertical else (inked_from, 0.0)
            end = (0.0, -inked_to) if is_vertical else (inked_to, 0.0)
            self._add(text, start, begin, end)
        move = (0.0, -advance) if is_vertical else (advance, 0.0)
        self.text = multiply((1, 0, 0, 1, *move), self.text)

    def _add(
        self, text: str, matrix: Matrix, begin: tuple[float, float], end: tuple[float, float]
    ) -> None:
        state = self.state
        x, y = apply(matrix, begin[0], begin[1] + state.rise)
        end_x, end_y = apply(matrix, end[0], end[1] + state.rise)
        size = (
            abs(state.size)
            * math.hypot(matrix[2], matrix[3])
            * (state.font.height if state.font else 1.0)
        )
        length = math.hypot(end_x - x, end_y - y)
        along = (matrix[0] * math.copysign(1, state.size), matrix[1] * math.copysign(1, state.size))
        norm = math.hypot(*along) or 1.0
        direction = (along[0] / norm, along[1] / norm)
        if end[1]:
            direction = ((end_x - x) / (length or 1.0), (end_y - y) / (length or 1.0))
        colour = state.stroke if state.mode % 4 == 1 else state.fill
        piece = Piece(
            text,
            x,
            y,
            end_x,
            end_y,
            size,
            direction,
            font=state.font,
            order=self.drawer.order,
            colour=colour,
        )
        piece.hidden = self._why_hidden(piece)
        piece.is_ocr = state.mode == 3
        if text.strip() or not piece.hidden:
            self.drawer.add(piece)

    def _why_hidden(self, piece: Piece) -> str:
        state = self.state
        drawer = self.drawer
        if drawer._off:
            return "in a layer that is off"
        if state.mode == 3:
            return "without a colour"
        if state.alpha < 0.02 and state.mode % 4 != 1:
            return "transparent"
        if piece.size < drawer.smallest:
            return "too small"
        box = (
            min(piece.x, piece.end_x) - 0.5 * piece.size,
            min(piece.y, piece.end_y) - 0.3 * piece.size,
            max(piece.x, piece.end_x) + 0.5 * piece.size,
            max(piece.y, piece.end_y) + 0.8 * piece.size,
        )
        on_page = overlap(box, drawer.page_box)
        if on_page[0] >= on_page[2] or on_page[1] >= on_page[3]:
            return "off the page"
        in_clip = overlap(box, state.clip)
        if in_clip[0] >= in_clip[2] or in_clip[1] >= in_clip[3]:
            return "cut away"
        if piece.colour is not None and state.mode < 4 and self._has_colour_of_ground(piece):
            return "in the colour of the page"
        return ""

    def _has_colour_of_ground(self, piece: Piece) -> bool:
        for x, y in _samples(piece):
            ground = self.drawer.grounds.colour_at(x, y)
            if not np.all(
                np.abs(ground - np.float32(piece.colour)) < SAME_COLOUR
            ):  # nan: unknown, so seen
                return False
        return True


_NO_GLYPH = Glyph(text=UNREADABLE, width=0.5, is_space=False)


def _parts_words(state: State, n_glyphs: int) -> bool:
    """Whether the space between the glyphs of a string parts words: programs that place letters one
    by one write two of two words as one string so. In a longer string, letters apart are a style of
    headings."""
    least = LEAST_GAP if n_glyphs <= 3 else 0.6
    return state.character_space > least * abs(state.size) > 0


def compose(first: str, second: str) -> str:
    """The letter that an accent and a letter drawn over each other make; "" where they make none."""
    for accent, letter in ((first, second), (second, first)):
        if accent[-1:] in ACCENTS and letter[:1].isalpha() and accent and letter:
            both = unicodedata.normalize("NFC", letter[0] + ACCENTS[accent[-1]])
            if len(both) == 1:
                return accent[:-1] + both + letter[1:] if accent is first else letter[:-1] + both
    return ""


def _matrix(operands: list) -> Matrix:
    a, b, c, d, e, f = (float(number) for number in operands[:6])
    return a, b, c, d, e, f


def _colour(operands: list) -> tuple[float, float, float] | None:
    """Red, green and blue of one, three or four numbers; None of anything else."""
    numbers = [float(number) for number in operands]
    if len(numbers) == 1:
        return numbers[0], numbers[0], numbers[0]
    if len(numbers) == 3:
        return numbers[0], numbers[1], numbers[2]
    if len(numbers) == 4:
        cyan, magenta, yellow, black = numbers
        return (1 - min(1, cyan + black), 1 - min(1, magenta + black), 1 - min(1, yellow + black))
    return None


def _is_upright(m: Matrix) -> bool:
    return (abs(m[1]) < 1e-6 and abs(m[2]) < 1e-6) or (abs(m[0]) < 1e-6 and abs(m[3]) < 1e-6)


def _around(boxes: list[Box]) -> Box:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def _pdf_text(value: Any) -> str:
    if isinstance(value, bytes):
        if value.startswith(b"\xfe\xff"):
            return value[2:].decode("utf-16-be", "replace")
        return value.decode("latin-1")
    return str(value)


_ACTIONS = {
    b"q": _Run.save,
    b"Q": _Run.restore,
    b"cm": _Run.concatenate,
    b"gs": _Run.set_parameters,
    b"g": _Run.fill_numbers,
    b"rg": _Run.fill_numbers,
    b"k": _Run.fill_numbers,
    b"G": _Run.stroke_numbers,
    b"RG": _Run.stroke_numbers,
    b"K": _Run.stroke_numbers,
    b"cs": _Run.fill_space,
    b"CS": _Run.stroke_space,
    b"sc": _Run.fill_in_space,
    b"scn": _Run.fill_in_space,
    b"SC": _Run.stroke_in_space,
    b"SCN": _Run.stroke_in_space,
    b"re": _Run.rectangle,
    b"m": _Run.move,
    b"l": _Run.line_to,
    b"c": _Run.curve_to,
    b"v": _Run.curve_to,
    b"y": _Run.curve_to,
    b"W": _Run.clip_by_path,
    b"W*": _Run.clip_by_path,
    b"f": _Run.fill_path,
    b"F": _Run.fill_path,
    b"f*": _Run.fill_path,
    b"B": _Run.fill_path,
    b"B*": _Run.fill_path,
    b"b": _Run.fill_path,
    b"b*": _Run.fill_path,
    b"S": _Run.stroke_path,
    b"s": _Run.stroke_path,
    b"n": _Run.end_path,
    b"sh": _Run.shade,
    b"INLINE IMAGE": _Run.inline_picture,
    b"Do": _Run.do,
    b"BMC": _Run.begin_mark,
    b"BDC": _Run.begin_mark,
    b"EMC": _Run.end_mark,
    b"BT": _Run.begin_text,
    b"Tf": _Run.set_font,
    b"Tc": _Run.set_character_space,
    b"Tw": _Run.set_word_space,
    b"Tz": _Run.set_stretch,
    b"TL": _Run.set_leading,
    b"Ts": _Run.set_rise,
    b"Tr": _Run.set_mode,
    b"Td": _Run.next_line,
    b"TD": _Run.next_line_and_leading,
    b"T*": _Run.next_line_by_leading,
    b"Tm": _Run.set_text_matrix,
    b"Tj": _Run.show,
    b"TJ": _Run.show_adjusted,
    b"'": _Run.show_on_next_line,
    b'"': _Run.show_spaced_on_next_line,
}
