"""What a report shows of a code cell: its parameters, its code, its outputs in one bounded form
each."""

import ast
import base64
import binascii
import io
import json
import re
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from nbconvert.filters import strip_ansi

from matchlib.reports.clean import clean_html
from matchlib.reports.text import cut_line, cut_text

MAX_OUTPUT_CHARACTERS = 20_000
MAX_OUTPUT_LINES = 200
MAX_HTML_CHARACTERS = 400_000
MAX_IMAGE_CHARACTERS = 4_000_000
MAX_PARAMETER_CHARACTERS = 100_000
MAX_VALUE_CHARACTERS = 300
_IMAGES = ("image/png", "image/jpeg", "image/svg+xml")
_LIMITS = {"text/html": MAX_HTML_CHARACTERS} | dict.fromkeys(_IMAGES, MAX_IMAGE_CHARACTERS)
# markdown from a cell's output is data, so it is shown as written, like the program texts after it
_WRITTEN = (
    "text/markdown",
    "text/plain",
    "text/latex",
    "application/json",
    "application/javascript",
)


@dataclass(frozen=True)
class Parameter:
    """One row of the parameters table; default is None where the run kept it."""

    name: str
    value: str
    default: str | None
    help: str


@dataclass(frozen=True)
class Output:
    """One shown output; kind is html, image, text, messages (stderr) or error; alt: what an image
    shows, in words."""

    kind: str
    body: str
    width: int | None = None
    alt: str = ""


def has_tag(cell: dict, tag: str) -> bool:
    """Whether a cell carries a tag, such as `parameters`."""
    return tag in cell.get("metadata", {}).get("tags", [])


def parameter_rows(cells: list[dict]) -> list[Parameter]:
    """The parameters of a run, injected values in place of defaults; empty where a cell does not
    parse."""
    sources = [_source_by_tag(cells, tag) for tag in ("parameters", "injected-parameters")]
    if max(map(len, sources)) > MAX_PARAMETER_CHARACTERS:
        return []
    try:
        defaults, injected = map(_assignments, sources)
    except (
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ):  # what the parser has against a text
        return []  # the cell is still shown as code
    rows = []
    for name in [*defaults, *(name for name in injected if name not in defaults)]:
        default, help_text = defaults.get(name, ("", ""))
        value = injected.get(name, (default, ""))[0]
        changed = name in injected and _literal(value) != _literal(default)
        default = _shown(default) if changed else None
        rows.append(Parameter(_shown(name), _shown(value), default, _shown(help_text)))
    return rows


def shown_outputs(outputs: list[dict]) -> list[Output]:
    """The outputs of one cell: streams merged and bounded, one representation of each rich output."""
    shown = []
    for output in _merged_streams(outputs):
        if output["output_type"] == "stream":
            kind = "messages" if output.get("name") == "stderr" else "text"
            shown.append(Output(kind, _plain(_after_carriage_returns(output["text"]))))
        elif output["output_type"] == "error":
            shown.append(Output("error", _plain(_traceback(output))))
        else:
            shown.append(_rich_output(output))
    return [output for output in shown if output.body.strip()]


def _source_by_tag(cells: list[dict], tag: str) -> str:
    return "\n".join(cell["source"] for cell in cells if has_tag(cell, tag))


def _assignments(source: str) -> dict[str, tuple[str, str]]:
    """Name -> (value as written, trailing comment)."""
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in _tokens(source)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign) and statement.value:
            target = statement.target
        else:
            continue
        if isinstance(target, ast.Name):
            value = ast.get_source_segment(source, statement.value) or ""
            found[target.id] = (value, comments.get(statement.end_lineno, ""))
    return found


def _tokens(source: str) -> list[tokenize.TokenInfo]:
    try:
        return list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, IndentationError) as error:
        raise SyntaxError(str(error)) from error


def _literal(value: str) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return value


def _shown(value: str) -> str:
    return cut_text(value, max_characters=MAX_VALUE_CHARACTERS, max_lines=20)


def _merged_streams(outputs: list[dict]) -> list[dict]:
    # not nbconvert's preprocessor: its pattern takes quadratic time on one long line
    merged: list[dict] = []
    for output in outputs:
        last = merged[-1] if merged else {}
        is_same_stream = output["output_type"] == "stream" == last.get("output_type")
        if is_same_stream and output.get("name") == last.get("name"):
            merged[-1] = {**last, "text": last["text"] + output["text"]}
        else:
            merged.append(output)
    return merged


def _after_carriage_returns(text: str) -> str:
    """What a terminal would show: a progress bar leaves its last state only."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines)


def _plain(text: str) -> str:
    return cut_text(
        _without_own_places(strip_ansi(text)).rstrip("\n"),
        max_characters=MAX_OUTPUT_CHARACTERS,
        max_lines=MAX_OUTPUT_LINES,
    )


def _without_own_places(text: str) -> str:
    """The text with short names for the environment, the working folder and the home folder: a page is
    mailed, and their paths name a user and a machine."""
    places = {sys.prefix: "<environment>", str(Path.cwd()): ".", str(Path.home()): "~"}
    for place, name in places.items():
        if place != "/":
            text = re.sub(rf"(?<![\w.~/-]){re.escape(place)}(?=/)", name, text)
    return text


def _traceback(output: dict) -> str:
    return "\n".join(output.get("traceback") or [f"{output.get('ename')}: {output.get('evalue')}"])


def _rich_output(output: dict) -> Output:
    data = output["data"]
    left_out = {
        kind: len(data[kind]) for kind, limit in _LIMITS.items() if len(data.get(kind, "")) > limit
    }
    if "text/html" not in left_out:
        body = clean_html(data.get("text/html", ""))
        if body.striptags().strip() or "<img" in body:
            return Output("html", body)
    for mime_type in _IMAGES:
        address = _image_address(data.get(mime_type, ""), mime_type)
        if address and mime_type not in left_out:
            width = output.get("metadata", {}).get(mime_type, {}).get("width")
            said = data.get("text/plain", "")
            alt = (
                cut_line(said, max_characters=400) if said.startswith("Figure. ") else ""
            )  # see plots.in_words
            return Output("image", address, width if isinstance(width, int) else None, alt)
    text = next((data[mime_type] for mime_type in _WRITTEN if data.get(mime_type)), "")
    text = _plain(text if isinstance(text, str) else json.dumps(text, ensure_ascii=False))
    notes = [f"… ({count:,} characters of {kind} left out)" for kind, count in left_out.items()]
    return Output("text", "\n".join([text, *notes]))


def _image_address(content: str, mime_type: str) -> str:
    """A data: address for an img, in which an SVG runs no script; empty where the content is no
    base64."""
    if mime_type == "image/svg+xml":
        encoded = base64.b64encode(content.encode("utf-8", "replace")).decode()
    else:
        encoded = "".join(content.split())
        try:
            base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return ""
    return Markup(f"data:{mime_type};base64,{encoded}") if encoded else ""
