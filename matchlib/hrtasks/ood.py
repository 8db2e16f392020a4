"""Files of other people's marked texts: how far an extractor carries where it was not trained.

Three shapes of JSON Lines are read: tokens with BIO tags (SkillSpan, Green, Kompetencer), a text
with entities as character spans (resumes of dotin), a sentence with labels that quote it (sentences
with ESCO labels, Decorte et al. 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from matchlib.data.files import read_objects
from matchlib.data.row_log import RowLog
from matchlib.data.schema import DataError
from matchlib.hrtasks.tagger import Span, TaggedText, spans_of_tags

KIND = "skill"
SKILL_TYPES = ("Job Specific Skills", "Soft Skills", "Tech Tools", "Skill")
"""Types of entities that are skills; of BIO tags with types, those that end so."""


@dataclass(frozen=True)
class MarkedFile:
    """A file's texts; test_split: see `split_marked`; examples: numbers of texts to learn from, or
    None for those of all files (long documents take long to learn from)."""

    texts: list[TaggedText]
    test_split: str = ""
    examples: list[int] | None = None


def read_files(ood_files: Mapping[str, str | Mapping[str, Any]]) -> dict[str, MarkedFile]:
    """Read every named file.

    ood_files: name -> path, or {path: ..., test_split: ..., examples: [...]}. Raises DataError on
    other keys.
    """
    known = ("path", "test_split", "examples")
    found = {}
    for name, about in ood_files.items():
        about = {"path": about} if isinstance(about, str) else dict(about)
        if unknown := sorted({*about} - {*known}):
            raise DataError(f"ood_files: {name}: {unknown[0]!r} is not one of {', '.join(known)}")
        path = Path(about.pop("path"))
        found[name] = MarkedFile(read_marked(path), **about)
    return found


def read_marked(path: Path, *, log: RowLog | None = None) -> list[TaggedText]:
    """Read sentences or documents with skills marked; skill and knowledge spans are one kind.

    log: takes rows that cannot be read. Raises DataError where none can.
    """
    log = log or RowLog()
    found = []
    for line, row in read_objects(path):
        log.saw(path)
        marked = _marked(row)
        if marked is None:
            log.leave_out(path, line, "neither tokens with tags, nor text with entities or labels")
        elif fault := _fault(marked):
            log.leave_out(path, line, fault)
        else:
            found.append(replace(marked, split=str(row.get("split", ""))))
    if not found:
        raise DataError(
            f"{path}: no row has tokens with tags_skill or tags, a text with entities, or a sentence "
            f"with labels"
        )
    return found


def _marked(row: dict[str, Any]) -> TaggedText | None:
    if "tokens" in row:
        columns = [row[name] for name in ("tags_skill", "tags_knowledge") if name in row]
        if not columns and "tags" in row:
            columns = [_only_skills(row["tags"])]
        if not columns or any(len(tags) != len(row["tokens"]) for tags in columns):
            return None
        marked = [spans_of_tags(row["tokens"], tags, kind=KIND) for tags in columns]
        spans = [span for one in marked for span in one.spans]
        return TaggedText(marked[0].text, tuple(sorted(set(spans), key=lambda s: s.start)))
    if "entities" in row and "text" in row:
        spans = [
            Span(start, end, KIND) for start, end, type in row["entities"] if type in SKILL_TYPES
        ]
        return TaggedText(row["text"], tuple(spans))
    if "labels" in row and "sentence" in row:
        return TaggedText(row["sentence"], _quoted(row["sentence"], row["labels"]))
    return None


def _only_skills(tags: Sequence[str]) -> list[str]:
    return [tag if tag[2:] in SKILL_TYPES else "O" for tag in tags]


def _quoted(sentence: str, labels: Sequence[dict[str, Any]]) -> tuple[Span, ...]:
    spans = set()
    for label in labels:
        quote = label.get("span") or ""
        start = sentence.find(quote)
        if quote and start >= 0:
            spans.add(Span(start, start + len(quote), KIND))
    return tuple(sorted(spans, key=lambda span: span.start))


def _fault(marked: TaggedText) -> str:
    for span in marked.spans:
        if not 0 <= span.start < span.end <= len(marked.text):
            return f"a span {span.start} to {span.end} outside its text"
    return ""


def split_marked(
    texts: Sequence[TaggedText], *, n_train: int, test_split: str, seed: int
) -> tuple[list[TaggedText], list[TaggedText]]:
    """Up to n_train texts to learn from, drawn by a seed, and those to test on.

    test_split: the file's own split that is the test; the others are learned from. "": a half of
    the texts is the test. The test is the same for every n_train. Raises DataError where the file
    has no such split.
    """
    order = np.random.default_rng(seed).permutation(len(texts))
    if test_split:
        splits = sorted({text.split for text in texts})
        if test_split not in splits:
            raise DataError(f"no text is of split {test_split!r}; the file has {', '.join(splits)}")
        test = [text for text in texts if text.split == test_split]
        learned = [texts[i] for i in order if texts[i].split != test_split]
    else:
        half = len(texts) // 2
        test = [texts[i] for i in order[:half]]
        learned = [texts[i] for i in order[half:]]
    return learned[:n_train], test
