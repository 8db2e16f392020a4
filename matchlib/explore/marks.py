"""A job's and a resume's text as HTML in which requirements are marked.

Texts come from strangers: all of it is escaped, and the only tags are our own.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping

import pandas as pd

from matchlib.data.normal import mapped
from matchlib.data.rules import split_items
from matchlib.extraction.facts import phrase_matcher, tokenize
from matchlib.reports.text import cut_text, show_invisible

MET, MISSING = "met", "missing"
MAX_CHARACTERS = 20_000
"""Characters of a text that are shown; a browser stays quick."""
STYLE = """<style>
mark.met { background: #b7e4c7; color: #000; }
mark.missing { background: #ffd6a5; color: #000; text-decoration: underline dotted 2px; }
.explored pre { white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere; padding: .5em;
  max-height: 24em; overflow: auto; border: 1px solid #999; }
.explored table { border-collapse: collapse; }
.explored td, .explored th { text-align: left; padding: .1em .6em; vertical-align: top; line-height: 1.4; }
.explored .lists th, .explored .other { white-space: nowrap; }
</style>"""
FACTS = ("matched_skills", "denied_skills", "not_stated_skills")
FACTS += ("required_years", "resume_years", "place", "resume_not_read")


def escaped(text: str) -> str:
    """Text as HTML that shows it and does nothing; invisible characters are written out."""
    return html.escape(show_invisible(str(text)), quote=True)


def first_line(text: str, *, max_characters: int) -> str:
    """The first line of a text that is not blank, cut with an ellipsis: what a list shows of it."""
    line = " ".join(text.strip().split("\n", 1)[0].split())
    return line if len(line) <= max_characters else f"{line[: max_characters - 1]}…"


def marked_text(text: str, statuses: Mapping[str, str]) -> str:
    """A text as escaped HTML, with <mark class="met"> or "missing" around phrases of the skills named.

    statuses: skill of the graph -> MET or MISSING. A skill that is in a text by similarity alone has
    no phrase there, and no mark.
    """
    text = cut_text(text, max_characters=MAX_CHARACTERS, max_lines=MAX_CHARACTERS)
    pieces = []
    position = 0
    for start, end, skill in skill_places(text):
        if skill not in statuses or start < position:
            continue
        pieces.append(escaped(text[position:start]))
        pieces.append(f'<mark class="{statuses[skill]}">{escaped(text[start:end])}</mark>')
        position = end
    pieces.append(escaped(text[position:]))
    return "".join(pieces)


def skill_places(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, skill) of every known phrase of a skill in a text, in order."""
    plain = mapped(text)
    line_start = 0
    for line in plain.text.split("\n"):
        words = tokenize(line)
        places = _word_places(line, words)
        if len(places) == len(words):
            for match in phrase_matcher("skill").find(words):
                if not match.is_title:
                    start, end = places[match.start][0], places[match.end - 1][1]
                    yield *plain.span(line_start + start, line_start + end), match.value
        line_start += len(line) + 1


def _word_places(line: str, words: list[str]) -> list[tuple[int, int]]:
    """Start and end of every word of `tokenize`; between two of them stands no character of a word.

    Fewer than words where lower case has another length, as in Turkish.
    """
    lowered = line.lower()
    places: list[tuple[int, int]] = []
    if len(lowered) != len(line):
        return places
    position = 0
    for word in words:
        start = lowered.index(word, position)
        position = start + len(word)
        places.append((start, position))
    return places


def pair_html(job_text: str, resume_text: str, reasons: Mapping) -> str:
    """A pair as escaped HTML: what the texts say for and against it, and both texts marked.

    reasons: one row of `analysis.explain.explain_pairs`.
    """
    met = dict.fromkeys(split_items(reasons["matched_skills"]), MET)
    not_met = [*split_items(reasons["denied_skills"]), *split_items(reasons["not_stated_skills"])]
    missing = dict.fromkeys(not_met, MISSING)
    rows = []
    for name in FACTS:
        value = reasons[name]
        is_known = not pd.isna(value) and value != ""
        told = escaped(value) if is_known else "<i>none found</i>"
        rows.append(f"<tr><th>{name.replace('_', ' ')}</th><td>{told}</td></tr>")
    nearest = [f"<li>{escaped(part)}</li>" for part in reasons["nearest"].split(" | ") if part]
    return (
        f"<table>{''.join(rows)}</table>"
        f"<details><summary>most similar statements</summary><ul>{''.join(nearest)}</ul></details>"
        f"<b>Job</b><pre>{marked_text(job_text, met | missing)}</pre>"
        f"<b>Resume</b><pre>{marked_text(resume_text, met)}</pre>"
    )
