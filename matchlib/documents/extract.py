"""What a reader of one file hands back: its text, and what the text lacks."""

from __future__ import annotations

from dataclasses import dataclass, field

FEW_LETTERS = 100
"""A page that is a picture, or drawn as curves, and has fewer letters beside it holds no usable
text: a footer such as "Scanned with AnyScanner", a page number, a stamp."""


@dataclass(frozen=True)
class Extract:
    """text: what a reader of the document sees; missing: a sentence for each kind of loss, without
    the file's name."""

    text: str
    missing: list[str] = field(default_factory=list)


def count_letters(text: str) -> int:
    """Letters and digits of a text."""
    return sum(map(str.isalnum, text))


def say_hidden(count: int, what: str) -> str:
    """The sentence on text that a reader of the page does not see."""
    return f"{count:,} hidden characters are left out ({what}): a reader does not see them"
