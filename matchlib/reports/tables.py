"""show_table(): a frame as a table in which every cell is text, whatever the text says.

Resumes are written by strangers. Styler, display(HTML(...)) and Markdown would run what they write;
this escapes it, cuts it and spells out the characters that hide or reorder it.
"""

import html
import math
import numbers
import re
from dataclasses import dataclass

import pandas as pd
from tabulate import tabulate

from matchlib.reports.text import cut_text, show_invisible

MAX_CELL_LINES = 12
MAX_COLUMNS = 40
MAX_HEADER_CHARACTERS = 80
MAX_CAPTION_CHARACTERS = 400
MAX_PLAIN_WIDTH = 40
# 2026 is a year and 1234 a seed: a thousands separator would make them quantities
_IDENTIFIER = re.compile(r"(^|[_ ])(id|ids|seed|year)$", re.IGNORECASE)


@dataclass(frozen=True)
class TextTable:
    """A finished table in two representations, of which a notebook shows the richer."""

    html: str
    plain: str

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.plain}

    def __repr__(self) -> str:
        return self.plain


def show_table(
    frame: pd.DataFrame,
    *,
    caption: str | None = None,
    max_rows: int = 40,
    max_text: int = 400,
    number_format: str = "{:.3f}",
) -> None:
    """Display a frame as an escaped table in JupyterLab, under papermill and in a terminal.

    max_rows and max_text (characters a cell) bound what is shown; what is left out is counted.
    number_format applies to floats. Strings are never reformatted.
    """
    from IPython.display import display  # here, so that importing this module stays light

    display(
        text_table(
            frame,
            caption=caption,
            max_rows=max_rows,
            max_text=max_text,
            number_format=number_format,
        )
    )


def text_table(
    frame: pd.DataFrame,
    *,
    caption: str | None = None,
    max_rows: int = 40,
    max_text: int = 400,
    number_format: str = "{:.3f}",
) -> TextTable:
    """What show_table() displays. An unnamed integer index is left out: it only numbers the rows."""
    named = _named_columns(frame.iloc[:max_rows])
    shown = [column for _, column in named[:MAX_COLUMNS]]
    headers = [_header_text(name) for name, _ in named[:MAX_COLUMNS]]
    columns = [
        _column_texts(column, header, max_text, number_format)
        for column, header in zip(shown, headers, strict=True)
    ]
    is_number = [_is_numeric(column) for column in shown]
    rows = list(zip(*columns, strict=True))
    note = _left_out(len(frame), len(named), max_rows)
    caption = None if caption is None else _caption_text(caption)
    return TextTable(
        html=_as_html(headers, rows, is_number, caption, note),
        plain=_as_plain(headers, rows, is_number, caption, note),
    )


def format_value(
    value: object, *, number_format: str = "{:.3f}", is_identifier: bool = False
) -> str:
    """One value as text: floats by number_format, integers with thousands separators, missing as a
    dash."""
    if value is None or value is pd.NA or value is pd.NaT:
        return "–"
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return _float_text(float(value), number_format)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return str(int(value)) if is_identifier else f"{int(value):,}"
    return show_invisible(str(value))


def _float_text(number: float, number_format: str) -> str:
    if math.isnan(number):
        return "–"
    text = number_format.format(number)
    # a learning rate or a p-value of 1e-5 is not 0.000
    if number and math.isfinite(number) and not re.search("[1-9]", text):
        return f"{number:.2g}"
    return text


def _named_columns(frame: pd.DataFrame) -> list[tuple[object, pd.Series | pd.Index]]:
    """The index' levels, unless it only numbers the rows, and the columns, each with its name."""
    index = frame.index
    columns = [(name, frame.iloc[:, position]) for position, name in enumerate(frame.columns)]
    if index.nlevels == 1 and index.name is None and pd.api.types.is_integer_dtype(index):
        return columns
    # not put together as a frame: that guesses types, and the string type takes no lone surrogate
    levels = [
        (index.names[level] or "", index.get_level_values(level)) for level in range(index.nlevels)
    ]
    return levels + columns


def _header_text(name: object) -> str:
    text = " / ".join(map(str, name)) if isinstance(name, tuple) else str(name)
    return cut_text(show_invisible(text), max_characters=MAX_HEADER_CHARACTERS, max_lines=1)


def _caption_text(caption: object) -> str:
    return cut_text(
        show_invisible(str(caption)),
        max_characters=MAX_CAPTION_CHARACTERS,
        max_lines=MAX_CELL_LINES,
    )


def _is_numeric(column: pd.Series | pd.Index) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _column_texts(
    column: pd.Series | pd.Index, header: str, max_text: int, number_format: str
) -> list[str]:
    is_identifier = bool(_IDENTIFIER.search(header))
    return [
        cut_text(
            format_value(value, number_format=number_format, is_identifier=is_identifier),
            max_characters=max_text,
            max_lines=MAX_CELL_LINES,
        )
        for value in column
    ]


def _left_out(row_count: int, column_count: int, max_rows: int) -> str | None:
    notes = []
    if row_count > max_rows:
        notes.append(f"showing {max_rows:,} of {row_count:,} rows")
    if column_count > MAX_COLUMNS:
        notes.append(f"showing {MAX_COLUMNS} of {column_count:,} columns")
    return ", ".join(notes) or None


def _as_html(headers, rows, is_number, caption, note) -> str:
    lines = ["<table>"]
    if caption:
        lines.append(f"<caption>{html.escape(caption)}</caption>")
    lines.append(
        "<thead><tr>" + "".join(map(_html_cell, headers, is_number, ["th"] * len(headers)))
    )
    lines.append("</tr></thead><tbody>")
    for row in rows:
        lines.append("<tr>" + "".join(map(_html_cell, row, is_number, ["td"] * len(row))) + "</tr>")
    lines.append("</tbody></table>")
    if note:
        lines.append(f'<p class="left-out">{html.escape(note)}</p>')
    return "\n".join(lines)


def _html_cell(text: str, is_number: bool, tag: str) -> str:
    # the class is for our report, the style for JupyterLab, which would set every cell to the right
    kind, side = ("number", "right") if is_number else ("text", "left")
    body = html.escape(text).replace("\n", "<br>")
    return f'<{tag} class="{kind}" style="text-align:{side}">{body}</{tag}>'


def _as_plain(headers, rows, is_number, caption, note) -> str:
    # by tabulate, which knows that a Chinese character is two columns wide
    table = tabulate(
        [[_plain_cell(text) for text in row] for row in rows],
        headers=[_plain_cell(text) for text in headers],
        tablefmt="plain",
        colalign=["right" if right else "left" for right in is_number],
        disable_numparse=True,
        preserve_whitespace=True,
    )
    return "\n".join(part for part in (caption, table, note) if part)


def _plain_cell(text: str) -> str:
    line = text.replace("\n", " / ").replace("\t", " ")
    return line if len(line) <= MAX_PLAIN_WIDTH else line[: MAX_PLAIN_WIDTH - 1] + "…"
