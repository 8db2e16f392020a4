"""What makes a row a document: the one check of ids and texts that every reader uses."""

from __future__ import annotations

import re
from collections.abc import Callable, Container

from matchlib.data.normal import plain

MAX_CHARACTERS = 1_000_000
"""Longest text of a document; a longer one is a file that was pasted whole."""

_ROUNDED = re.compile(r"\d(?:[.,]\d+)?E\+\d+")
"""What spreadsheets make of a long number: 9912140633506421 becomes 9.91214E+15, as do others like
it."""


def has_word(text: str) -> bool:
    """Whether anything is left to read but signs, spaces and what is not drawn."""
    # a Hangul filler is a letter, but not drawn
    return any(plain(letter[0]) for letter in re.finditer(r"[^\W_]", text))


def _is_long(text: str) -> bool:
    return len(text) > MAX_CHARACTERS


Fault = tuple[Callable[[str], object], str]

TEXT_FAULTS: list[Fault] = [
    (lambda text: not has_word(text), "no text, not one letter or digit; fill it or leave it out"),
    (
        lambda text: "\0" in text,
        "a null byte in the text; the file is binary or damaged, export it again",
    ),
    (_is_long, f"more than {MAX_CHARACTERS:,} characters; cut it to the document itself"),
]
ID_FAULTS: list[Fault] = [
    (lambda name: not name.strip(), "no id; give every row one"),
    (re.compile(r"\s").search, "an id with a space, which TREC runs cannot hold; replace it by _"),
    (
        _ROUNDED.fullmatch,
        "an id that a spreadsheet has rounded; format the column as text and export it again",
    ),
]


def why_no_document(name: str, text: str, taken: Container[str] = ()) -> str:
    """Why a row cannot be a document, "" if it can.

    name: its id; taken: ids of earlier documents.
    """
    if reason := first_fault(ID_FAULTS, name):
        return reason
    if name in taken:
        return "its id is taken by an earlier document, which is kept; rename one of them"
    return first_fault(TEXT_FAULTS, text)


def first_fault(faults: list[Fault], value: str) -> str:
    """The reason of the first fault that a value has, "" if it has none."""
    return next((reason for is_faulty, reason in faults if is_faulty(value)), "")
