"""What a page opens with: the question, the one figure that carries the answer, and the limits."""

from __future__ import annotations

import re

from matchlib.reports.cells import Output, has_tag, shown_outputs

KEY_FIGURE = "key-figure"
"""Tag of the code cell whose figure carries the answer; without it the first figure does."""


def find_question(cells: list[dict]) -> str:
    """The paragraph after "**Question.**" in a notebook, "" if it asks none."""
    return _after("Question", cells)


def find_limits(cells: list[dict]) -> str:
    """The first paragraph or list after "**Limits.**" in a notebook, "" if it names none."""
    return _after("Limits", cells)


def _after(word: str, cells: list[dict]) -> str:
    pattern = re.compile(rf"^\*\*{word}\.\*\*\s+(.+?)(?:\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)
    for cell in cells:
        if cell["cell_type"] != "markdown":
            continue
        if found := pattern.search(cell["source"]):
            return found[1].strip()
    return ""


def find_key_figure(cells: list[dict]) -> Output | None:
    """The figure of the cell tagged `key-figure`, else a notebook's first one; None without any."""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    tagged = [cell for cell in code if has_tag(cell, KEY_FIGURE)]
    for cell in tagged or code:
        for output in shown_outputs(cell.get("outputs", [])):
            if output.kind == "image":
                return output
    return None
