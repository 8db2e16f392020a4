"""`matchlib extract`: finds skills and experiences in documents, and writes one JSON object for each.

Skills come from a stage of 08_hr_tasks: its tagger, which reads sentences, or its phrase classifier,
which reads the layout of jobs. Experiences come from patterns and dates, whatever the model.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from matchlib.data.schema import DataError
from matchlib.hrtasks.experiences import demanded_experiences, shown_experiences
from matchlib.hrtasks.phrases import PhraseClassifier, find_candidates
from matchlib.hrtasks.scores import normal_phrase
from matchlib.stage import Finished

if TYPE_CHECKING:
    from matchlib.hrtasks.tagger import Span, Tagger

SOURCES = ("tagger", "phrases")
EXPERIENCES = {"job": demanded_experiences, "resume": shown_experiences}
"""Kinds of documents, and what finds their experiences."""
AT_ONCE = 64
"""Documents that a model reads between two writes."""


@dataclass(frozen=True)
class FoundSpan:
    """Characters start to end of a document's text, and the text there.

    score: the model's probability; source: of SOURCES.
    """

    start: int
    end: int
    text: str
    kind: str
    score: float
    source: str


Finder = Callable[[Sequence[str]], list[list[FoundSpan]]]


@dataclass
class ExtractionCounts:
    """What was written."""

    documents: int = 0
    spans: int = 0
    experiences: int = 0
    without_span: int = 0


# ---- models
# ---------------------------------------------------------------------


def choose_source(model: Path, by: str) -> str:
    """Which of SOURCES finds the skills: the one named, else the tagger where there is one.

    model: the folder of a stage of 08_hr_tasks, or of a tagger; by: of SOURCES, or "".
    Raises DataError where the folder holds no such model; nothing is loaded.
    """
    if by and by not in SOURCES:
        raise DataError(f"--by {by!r} is neither {' nor '.join(SOURCES)}")
    if not model.is_dir():
        raise DataError(
            f"--model {model}: no such folder; name a stage of 08_hr_tasks, or the folder of a tagger"
        )
    held = [source for source in SOURCES if _holds(model, source)]
    if not held:
        raise DataError(
            f"--model {model} holds no tagger and no phrase classifier; name a finished stage of "
            f"08_hr_tasks, or the folder of a tagger"
        )
    if by and by not in held:
        raise DataError(f"--model {model} holds no model for --by {by}, only {held[0]}")
    return by or held[0]


def _holds(model: Path, source: str) -> bool:
    if source == "phrases":
        return (model / "matcher" / "phrases.json").is_file()
    return _is_tagger(model) or _is_tagger(model / "tagger")


def _is_tagger(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def open_finder(model: Path, source: str, *, threshold: float) -> Finder:
    """What finds the skills of texts, by the model of a source that `choose_source` gave.

    threshold: probability above which a word or a phrase is part of a skill.
    """
    if source == "phrases":
        return phrase_finder(open_phrases(model), threshold=threshold)
    return tagger_finder(_open_tagger(model), threshold=threshold)


def open_phrases(model: Path) -> PhraseClassifier:
    """The phrase classifier of a finished stage of 08_hr_tasks.

    Raises DataError where there is none, or where it was trained by other code.
    """
    if not _holds(model, "phrases"):
        raise DataError(
            f"--model {model} holds no phrase classifier; name a finished stage of 08_hr_tasks"
        )
    phrases = PhraseClassifier.load(Finished(model).path("matcher"))
    try:
        phrases.find(["You bake bread in a bakery."])
    except ValueError as problem:  # another number of features
        raise DataError(
            f"--model {model}: its phrase classifier was trained by another version of matchlib; "
            f"run the stage again"
        ) from problem
    return phrases


def _open_tagger(model: Path) -> Tagger:
    """The tagger of a stage, with windows as long as it was trained on, or of a plain folder."""
    from matchlib.hrtasks.tagger import Tagger

    if _is_tagger(model):
        return Tagger(str(model))
    stage = Finished(model)
    max_tokens = stage.manifest["parameters"]["max_tokens"]
    return Tagger(str(stage.path("tagger")), max_tokens=max_tokens)


# ---- spans
# ---------------------------------------------------------------------


def tagger_finder(tagger: Tagger, *, threshold: float) -> Finder:
    """Spans of the tagger, cut at the ends of lines, which it does not see; parts without a letter
    are left out."""

    def find(texts: Sequence[str]) -> list[list[FoundSpan]]:
        found = tagger.find(texts, threshold=threshold)
        return [
            [part for span in spans for part in _parts_by_line(text, span)]
            for text, spans in zip(texts, found, strict=True)
        ]

    return find


def _parts_by_line(text: str, span: Span) -> Iterator[FoundSpan]:
    for line in re.finditer(r"[^\n]+", text[span.start : span.end]):
        written = line[0].strip()
        if not re.search(r"[^\W\d_]", written):
            continue
        start = span.start + line.start() + line[0].index(written)
        end = start + len(written)
        yield FoundSpan(start, end, written, span.kind, round(span.score, 4), "tagger")


def phrase_finder(phrases: PhraseClassifier, *, threshold: float) -> Finder:
    """Every place of every phrase that is a skill; phrases may overlap ("Excel", "Excel macros")."""

    def find(texts: Sequence[str]) -> list[list[FoundSpan]]:
        return [
            sorted(_places(phrases, text, threshold), key=lambda span: (span.start, span.end))
            for text in texts
        ]

    return find


def _places(phrases: PhraseClassifier, text: str, threshold: float) -> Iterator[FoundSpan]:
    candidates = find_candidates(text)
    for skill in phrases.find([text])[0]:
        if skill.probability <= threshold:
            continue
        for place in candidates[normal_phrase(skill.name)]:
            end = place.start + len(place.text)
            score = round(skill.probability, 4)
            yield FoundSpan(place.start, end, place.text, "skill", score, "phrases")


# ---- documents
# ---------------------------------------------------------------------


def write_extraction(
    documents: pd.DataFrame, find: Finder, *, kind: str, out: Path, with_text: bool
) -> ExtractionCounts:
    """Write one JSON object for each document, in their order, beside and renamed.

    documents: a table of `read_documents`; kind: of EXPERIENCES; with_text: whether the text that
    the offsets index is written, too.
    """
    from matchlib.ranking.rank import write_through

    counts = ExtractionCounts()

    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            for row in _extracted(documents, find, kind=kind, with_text=with_text):
                counts.documents += 1
                counts.spans += len(row["spans"])
                counts.experiences += len(row["experiences"])
                counts.without_span += not row["spans"]
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    write_through(out, write)
    return counts


def _extracted(
    documents: pd.DataFrame, find: Finder, *, kind: str, with_text: bool
) -> Iterator[dict[str, Any]]:
    names = documents[f"{kind}_id"].tolist()
    texts = documents["text"].tolist()
    for start in range(0, len(texts), AT_ONCE):
        some = texts[start : start + AT_ONCE]
        for name, text, spans in zip(names[start : start + AT_ONCE], some, find(some), strict=True):
            row: dict[str, Any] = {"document": name}
            if with_text:
                row["text"] = text
            row["spans"] = [asdict(span) for span in spans]
            row["experiences"] = _experiences(text, kind)
            yield row


def _experiences(text: str, kind: str) -> list[dict[str, Any]]:
    """Title, years (None where the text names none) and the statement of each experience."""
    found = []
    for one in EXPERIENCES[kind](text):
        years = None if math.isnan(one.years) else one.years
        found.append({"title": one.title, "years": years, "quote": one.quote})
    return found
