"""The pieces of text on a page as lines: words apart by spaces, cells by tabs, columns one after
the other.

The order is that in which the page draws its text, which is mostly the order of reading. Where two
columns are drawn row by row, so that their lines would mix, the left one is read first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from matchlib.documents.pdf_page import LEAST_GAP, LEAST_OVERLAP, Piece, compose

_CELL_GAP = 2.0
"""Font sizes between pieces of a line that are cells of a table, or of two columns."""
_SAME_LINE = 0.55
_BINS = 200
_LEAST_ROWS = 5
_MAX_SPLITS = 4
_LEAST_LETTERS_A_LINE = 14
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")


@dataclass
class Segment:
    """A part of a line without a gap; starts_line: whether it begins a new line, else a tab parts
    it from the last."""

    text: str
    x0: float
    x1: float
    y: float
    size: float
    starts_line: bool
    is_level: bool = True


def segments(pieces: Iterable[Piece]) -> list[Segment]:
    """Join pieces, in the order in which they are drawn, to segments of lines."""
    found: list[Segment] = []
    line: list[Piece] = []
    low = high = 0.0
    for piece in pieces:
        if not piece.text:
            continue
        if line and _continues(line[-1], piece, low, high):
            across = _across(line[0], piece)
            low = min(low, across)
            high = max(high, across)
            line.append(piece)
            continue
        found += _split_line(line)
        line = [piece]
        low = high = 0.0
    found += _split_line(line)
    return found


def _across(first: Piece, piece: Piece) -> float:
    """How far a piece stands above the baseline of a line's first piece."""
    cos, sin = first.direction
    return (piece.y - first.y) * cos - (piece.x - first.x) * sin


def _continues(last: Piece, piece: Piece, low: float, high: float) -> bool:
    """Whether a piece stands on the line of the last one; low, high: where the baselines of that
    line lie."""
    cos, sin = last.direction
    if cos * piece.direction[0] + sin * piece.direction[1] < 0.99:
        return False
    step = (piece.y - last.end_y) * cos - (piece.x - last.end_x) * sin
    allowed = _SAME_LINE * (last.size + piece.size) / 2
    return abs(step) <= allowed and high - low <= 2 * allowed


def _split_line(line: list[Piece]) -> list[Segment]:
    """The segments of one line, and the spaces between its pieces."""
    found: list[Segment] = []
    if not line:
        return found
    if any(_RIGHT_TO_LEFT.search(piece.text) for piece in line):
        return [_right_to_left(line)]
    cos, sin = line[0].direction
    texts: list[str] = []
    current: list[Piece] = []
    for piece in line:
        if current:
            last = current[-1]
            gap = (piece.x - last.end_x) * cos + (piece.y - last.end_y) * sin
            size = max(min(last.size, piece.size), 0.1)
            if gap > _CELL_GAP * size or gap < -_CELL_GAP * size - abs(last.end_x - last.x):
                found.append(_segment("".join(texts), current, starts_line=not found))
                texts, current = [], []
            elif gap < -LEAST_OVERLAP * size and (both := compose(texts[-1], piece.text)):
                texts[-1] = both
                current.append(piece)
                continue
            elif gap > LEAST_GAP * size or gap < -size:
                texts.append(" ")
        texts.append(piece.text)
        current.append(piece)
    found.append(_segment("".join(texts), current, starts_line=not found))
    return [segment for segment in found if segment.text.strip()]


def _segment(text: str, pieces: list[Piece], *, starts_line: bool) -> Segment:
    return Segment(
        text=re.sub(" {2,}", " ", text).strip(),
        x0=min(min(piece.x, piece.end_x) for piece in pieces),
        x1=max(max(piece.x, piece.end_x) for piece in pieces),
        y=pieces[0].y,
        size=max(piece.size for piece in pieces),
        starts_line=starts_line,
        is_level=pieces[0].direction[0] > 0.99,
    )


def _right_to_left(line: list[Piece]) -> Segment:
    """A line of Hebrew or Arabic, drawn from left to right as it looks, in the order of reading."""
    ordered = sorted(line, key=lambda piece: min(piece.x, piece.end_x))
    as_drawn = ordered[0].text
    for last, piece in pairwise(ordered):
        size = max(min(last.size, piece.size), 0.1)
        if piece.x - last.end_x > LEAST_GAP * size:
            as_drawn += " "
        as_drawn += piece.text
    turned: list[str] = []
    for number, run in enumerate(_LATIN_RUN.split(as_drawn)):
        is_latin = number % 2 == 1
        turned.append(run if is_latin else run[::-1].translate(_MIRRORED))
    return _segment("".join(reversed(turned)), line, starts_line=True)


_LATIN_RUN = re.compile("([A-Za-z0-9\u00c0-\u024f][A-Za-z0-9\u00c0-\u024f.,:/@+%-]*)")


def in_columns(found: list[Segment], width: float) -> list[Segment]:
    """The segments with columns that are drawn row by row read one after the other."""
    return _in_columns(found, width, _MAX_SPLITS)


def _in_columns(found: list[Segment], width: float, splits: int) -> list[Segment]:
    gutter = _gutter(found, width) if splits else None
    if gutter is None:
        return found
    ordered: list[Segment] = []
    left: list[Segment] = []
    right: list[Segment] = []

    def end_band() -> None:
        for column in (left, right):
            if column:
                column[0].starts_line = True
            ordered.extend(_in_columns(column.copy(), width, splits - 1))
            column.clear()

    for segment in found:
        if segment.x1 <= gutter:
            segment.starts_line = segment.starts_line or bool(right) and not left
            left.append(segment)
        elif segment.x0 >= gutter:
            segment.starts_line = True
            right.append(segment)
        else:
            end_band()
            ordered.append(segment)
    end_band()
    return ordered


def _gutter(found: list[Segment], width: float) -> float | None:
    """Where a gap runs down between two columns of running text that are drawn row by row; None:
    nowhere."""
    level = [segment for segment in found if segment.is_level]
    if len(level) < 2 * _LEAST_ROWS or width <= 0:
        return None
    x0 = np.array([segment.x0 for segment in level]) / width * _BINS
    x1 = np.array([segment.x1 for segment in level]) / width * _BINS
    first_bin = np.clip(x0.astype(int), 0, _BINS)
    end_bin = np.clip(np.ceil(x1).astype(int), 0, _BINS)
    first_inside = int(x0.min()) + 1
    end_inside = max(int(x1.max()) - 1, 1)
    inside = slice(first_inside, end_inside)
    n_crossing = _count_crossing(first_bin, end_bin)[inside]
    if not len(n_crossing) or n_crossing.min() > 0.25 * len(level):
        return None
    bins = np.arange(_BINS)
    n_left = np.searchsorted(np.sort(end_bin), bins, side="right")
    n_not_right = np.searchsorted(np.sort(first_bin), bins, side="left")
    n_right = len(level) - n_not_right
    balance = np.minimum(n_left, n_right)[inside] - n_crossing
    best = int(balance.argmax())
    if balance[best] < _LEAST_ROWS:
        return None
    equally_good = np.flatnonzero(balance == balance[best])
    middle = int(equally_good[len(equally_good) // 2])
    if n_crossing[middle] == n_crossing[best]:
        best = middle
    gutter = (first_inside + best + 0.5) / _BINS * width
    return gutter if _mixes_columns(level, gutter) else None


def _count_crossing(first_bin: np.ndarray, end_bin: np.ndarray) -> np.ndarray:
    """(_BINS,) how many segments each bin of the page's width is part of."""
    change = np.zeros(_BINS + 2, dtype=int)
    np.add.at(change, first_bin, 1)
    np.add.at(change, np.maximum(end_bin, first_bin + 1), -1)
    return np.cumsum(change)[:_BINS]


def _mixes_columns(level: list[Segment], gutter: float) -> bool:
    """Whether lines left and right of a gap take turns and are running text, not the cells of a
    table."""
    left = [segment for segment in level if segment.x1 <= gutter]
    right = [segment for segment in level if segment.x1 > gutter and segment.x0 >= gutter]
    n_turns = 0
    for last, segment in pairwise(level):
        to_right = last.x1 <= gutter <= segment.x0 and segment.x1 > gutter
        to_left = segment.x1 <= gutter <= last.x0 and last.x1 > gutter
        n_turns += to_right or to_left
    if n_turns < max(2 * _LEAST_ROWS - 2, 1.2 * min(len(left), len(right))):
        return False
    return _is_running_text(left) and _is_running_text(right)


def _is_running_text(column: list[Segment]) -> bool:
    n_letters = [sum(map(str.isalpha, segment.text)) for segment in column]
    has_letters = float(np.median(n_letters)) >= _LEAST_LETTERS_A_LINE
    n_labels = sum(segment.text.endswith(":") for segment in column)
    return has_letters and n_labels <= 0.2 * len(column)


def put_fields(found: list[Segment], fields: list[Segment]) -> list[Segment]:
    """The segments with the values of a form's fields put after what stands left of them, else at
    the end."""
    rows: dict[int, list[int]] = {}
    for at, segment in enumerate(found):
        row = math.floor(segment.y / _ROW)
        if len(rows.setdefault(row, [])) < _MAX_A_ROW:
            rows[row].append(at)
    after: dict[int, list[Segment]] = {}
    for new in fields:
        place = _left_of(new, found, rows)
        after.setdefault(place, []).append(new)
    ordered: list[Segment] = []
    for at, segment in enumerate(found):
        ordered.append(segment)
        for new in sorted(after.get(at, []), key=lambda field: field.x0):
            new.starts_line = False
            ordered.append(new)
    rest = sorted(after.get(-1, []), key=lambda field: (-round(field.y / _ROW), field.x0))
    return ordered + rest


_ROW = 12.0
_MAX_A_ROW = 200


def _left_of(new: Segment, found: list[Segment], rows: dict[int, list[int]]) -> int:
    """Number of the segment whose end is nearest left of a field on its row, else of a label above
    it; -1: none."""
    middle = math.floor(new.y / _ROW)
    near: list[int] = []
    for row in range(middle - 2, middle + 4):
        near.extend(rows.get(row, []))
    best = -1
    least = math.inf
    for number in near:
        distance = _distance_to_field(found[number], new)
        if distance < least:
            best = number
            least = distance
    return best


def _distance_to_field(segment: Segment, new: Segment) -> float:
    """Smallest where the segment is beside the field, larger where it is above it; else inf."""
    size = max(segment.size, new.size)
    height = segment.y - new.y
    is_left = segment.x0 <= new.x0 + 2
    if is_left and abs(height) < 0.8 * size:
        return abs(new.x0 - segment.x1)
    is_aligned = abs(segment.x0 - new.x0) < 30
    if is_aligned and 0 < height < 2.2 * size:
        return 200 + height
    return math.inf


def text_of(found: list[Segment]) -> str:
    """The segments as lines of text."""
    pieces: list[str] = []
    for segment in found:
        if pieces:
            pieces.append("\n" if segment.starts_line else "\t")
        pieces.append(segment.text)
    return "".join(pieces)
