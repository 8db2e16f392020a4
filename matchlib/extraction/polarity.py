"""What is read of a skill in a resume, held, denied, wanted, or unknown (somebody else has it), and when.

The words around the skill are read (`polarity_reader`) with the name of the skill taken out, so that it
counts for nothing. In resumes nearly all that is named is held, so that only an improbable "held" gives
way to another polarity. English only; benchmarks/bench_polarity.py says how good it is.
"""

from __future__ import annotations

import re

import numpy as np

HELD, DENIED, WANTED, UNKNOWN = "held", "denied", "wanted", "unknown"
POLARITIES = (HELD, DENIED, WANTED, UNKNOWN)
REACH, REACH_CHARACTERS = 10, 120
"""Whole words, and characters, on either side that are read: a line of a PDF may hold a whole page,
and a word may be an address of any length."""
DENIED_BELOW, OTHER_BELOW = 0.7, 0.03
"""A place is denied where held is less probable than the first, wanted or unknown where it is less
probable than the second. The second is low since resumes are full of what looks like a wish or like
somebody else's skill ("training", "team"). Both were chosen on writers left out of the training and on
resumes that are not in the repository (LOG.md)."""
STAND_IN = "Excel"
"""What stands in place of the skill, and is one token."""

Place = tuple[str, int, int]
"""A statement, and where in it the skill begins and ends."""
_LONGER_WORD = re.compile(r"[^\W\d_][\w+#/-]{3,}")
_ITEM_END = re.compile(r"\t|\s{2,}|\s[•·▪●*]\s|\.\s")


def context_of(place: Place) -> Place:
    """The words around a skill, within its item or sentence and REACH, with STAND_IN for the skill."""
    statement, start, end = place
    before, after = statement[:start], statement[end:]
    for match in _ITEM_END.finditer(before):
        before = statement[match.end() : start]
    if match := _ITEM_END.search(after):
        after = after[: match.start()]
    if len(before) > REACH_CHARACTERS:
        before = re.sub(r"^\S+", "", before[-REACH_CHARACTERS:]).lstrip()
    if len(after) > REACH_CHARACTERS:
        after = re.sub(r"\S+$", "", after[:REACH_CHARACTERS]).rstrip()
    before_words = before.rsplit(maxsplit=REACH)
    if len(before_words) > REACH:
        before = before[len(before_words[0]) :].lstrip()
    after_words = after.split(maxsplit=REACH)
    if len(after_words) > REACH:
        after = after[: -len(after_words[-1])].rstrip()
    return before + STAND_IN + after, len(before), len(before) + len(STAND_IN)


def words_of(line: str) -> list[Place]:
    """The places of the words of four letters and more."""
    return [(line, *word.span()) for word in _LONGER_WORD.finditer(line)]


def decide(probabilities: np.ndarray) -> list[str]:
    """The polarity of each row of probabilities (n, 4), in the order of POLARITIES: the likeliest of the
    other three where HELD is less probable than the threshold of that one, else HELD.

    Raises ValueError where a probability is no number.
    """
    if not np.isfinite(probabilities).all():
        raise ValueError("the reader of polarity gave probabilities that are no numbers")
    others = 1 + probabilities[:, 1:].argmax(axis=1)
    is_denied = others == POLARITIES.index(DENIED)
    thresholds = np.where(is_denied, DENIED_BELOW, OTHER_BELOW)
    chosen = np.where(probabilities[:, 0] >= thresholds, 0, others)
    return [POLARITIES[i] for i in chosen]
