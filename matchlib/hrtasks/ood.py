"""Files of other people's marked texts: how far an extractor carries where it was not trained.

Three shapes of JSON Lines are read: tokens with BIO tags (SkillSpan, Green, Kompetencer), a text
with entities as character spans (resumes of dotin), a sentence with labels that quote it (sentences
with ESCO labels, Decorte et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
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
            found.append(marked)
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
    texts: Sequence[TaggedText], *, n_train: int, seed: int
) -> tuple[list[TaggedText], list[TaggedText]]:
    """Up to n_train texts to learn from, and the others, drawn by a seed.

    The test is the same for every n_train up to a half of the texts.
    """
    order = np.random.default_rng(seed).permutation(len(texts))
    half = len(texts) // 2
    train = [texts[i] for i in order[half:]][:n_train]
    return train, [texts[i] for i in order[:half]]
