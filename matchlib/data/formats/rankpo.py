"""RankPO (arXiv 2503.10723): academic adverts and talents, positives by rules, preferences by a
language model."""

from __future__ import annotations

import hashlib
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from matchlib.data.document_check import why_no_document
from matchlib.data.files import read_objects
from matchlib.data.row_log import Reading, RowLog, Tables
from matchlib.data.schema import DataError
from matchlib.data.splits import drop_near_duplicates_across, settle_splits

FIELDS = ("keyword", "title", "abstract")
MARKUP = ("fields", "raw")
_TAG = re.compile(r"</?([A-Za-z][\w:.-]*)(?:\s[^<>]*)?/?>|<!--.*?-->", re.DOTALL)
_BLOCK = re.compile("p|br|div|li|ol|ul|h[1-6]|tr|table|sec|title|list-item|disp-formula")
_INLINE = re.compile(
    "a|b|i|u|em|strong|small|span|font|su[bp]|inf|scp?|italic|bold|underline|code|pre|img|hr|t[dh]|"
    "tbody|thead|abstract|alternatives|inline-formula|tex-math|named-content|ext-link|xref|list|label|"
    "graphic|roman|sans-serif|monospace|annotation(?:-xml)?|semantics"
)
_MATHML = re.compile(
    "m(?:i|o|n|s|text|row|sup|sub|subsup|sqrt|root|frac|over|under|underover|space|stack|table|tr|td|"
    "style|padded|fenced|enclose|phantom|multiscripts|prescripts|ath)"
)


def strip_tags(text: str) -> str:
    """A text without HTML, MathML and JATS tags, entities as characters, runs of spaces as one.

    What only looks like a tag stays: p < .05, <Actinopterygii>.
    """
    lines = (" ".join(line.split()) for line in _TAG.sub(_replace_tag, unescape(text)).splitlines())
    return "\n".join(line for line in lines if line)


def _replace_tag(tag: re.Match) -> str:
    prefix, _, name = (tag[1] or "i").lower().rpartition(":")
    if _BLOCK.fullmatch(name):
        return "\n"
    return "" if prefix or _INLINE.fullmatch(name) or _MATHML.fullmatch(name) else tag[0]


def parse_talent(text: str) -> dict[str, list[str]]:
    """Parse `<keyword>a<sep>b</keyword><title>..</title><abstract>..</abstract>` into keyword,
    title, abstract lists.

    The first tag of a field opens it, the last closes it, so that a stray <title> within an
    abstract stays inside.
    Raises ValueError naming the field that is missing or not closed.
    """
    found, place = {}, 0
    for i, name in enumerate(FIELDS):
        start = text.find(f"<{name}>", place)
        limit = text.find(f"<{FIELDS[i + 1]}>", start) if i + 1 < len(FIELDS) else len(text)
        end = text.rfind(f"</{name}>", start, limit if limit >= 0 else len(text))
        if start < 0 or end < 0:
            raise ValueError(f"no <{name}>...</{name}>")
        pieces = (
            " ".join(strip_tags(piece).split())
            for piece in text[start + len(name) + 2 : end].split("<sep>")
        )
        found[name] = [piece for piece in pieces if piece]
        place = end
    return found


def talent_text(fields: dict[str, list[str]]) -> str:
    """A talent as a document: keywords, then every work's title and abstract."""
    works = [
        f"{title}\n{abstract}".strip()
        for title, abstract in zip(fields["title"], fields["abstract"], strict=False)
    ]
    works += fields["title"][len(works) :] + fields["abstract"][len(works) :]
    return "\n".join(["## keywords", "; ".join(fields["keyword"]), "## works", *works])


def read_rankpo(
    path: Path, *, markup: str = "fields", valid: float = 0.1, test: float = 0.2, seed: int = 1
) -> Reading:
    """Read a folder with train*.jsonl (query, positives, negatives) and annotated*.jsonl (two
    passages and a choice).

    markup: fields parses talents and strips tags; raw keeps every text as it is. valid, test:
    shares of train's queries; annotated pairs are test, and so is all of train if test is 1. A
    passage of several queries belongs to the latest split; labels that then cross are dropped and
    counted.
    Tables: jobs, resumes (with keywords), labels (source rule), preferences (a or b, confidence,
    annotator).
    """
    if markup not in MARKUP:
        raise DataError(f"markup {markup!r} is not one of {', '.join(MARKUP)}")
    if not (valid >= 0 and test > 0 and (valid + test < 1 or test == 1)):
        raise DataError(
            f"valid_share {valid} and test_share {test} must leave something to train on, or test_share "
            f"be 1"
        )
    log, texts = RowLog(), _Texts(markup)
    labels = _read_train(_only(path, "train*.jsonl"), texts, log)
    preferences = _read_annotated(_only(path, "annotated*.jsonl"), texts, log)
    queries = list(dict.fromkeys(labels["job_id"]))
    share = np.random.default_rng(seed).permutation(len(queries)) / len(queries)
    split = dict(
        zip(
            queries,
            np.select([share < test, share < test + valid], ["test", "valid"], "train"),
            strict=True,
        )
    )
    tables = {
        **texts.tables(),
        "labels": labels.assign(split=labels["job_id"].map(split)),
        "preferences": preferences,
    }
    tables, notes = settle_splits(tables)
    tables, near = drop_near_duplicates_across(tables)
    return Reading(
        tables,
        [
            f"RankPO: {len(tables['jobs']):,} adverts, {len(tables['resumes']):,} talents, "
            f"{len(preferences):,} annotated pairs",
            *notes,
            *near,
        ],
        log.files,
        log.left_out,
    )


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern)) if folder.is_dir() else []
    if len(found) != 1:
        raise DataError(
            f"{folder}: {len(found)} files are called {pattern}, one is due; path is the folder of "
            f"RankPO's train and annotated files"
        )
    return found[0]


class _Texts:
    """Adverts and talents by id; a text that came before keeps its first id."""

    def __init__(self, markup: str):
        self.markup = markup
        self.known: dict[str, dict[str, tuple[str, dict]]] = {"job": {}, "resume": {}}
        self.names: dict[str, set[str]] = {"job": set(), "resume": set()}

    def add(self, side: str, raw: Any, name: Any = None) -> str:
        """Parse a text and return its id. Raises ValueError where it cannot be used."""
        if not isinstance(raw, str) or not raw.strip():
            raise ValueError("no text")
        if raw in self.known[side]:
            return self.known[side][raw][0]
        columns = {"text": raw}
        if self.markup == "fields":
            fields = parse_talent(raw) if side == "resume" else {}
            columns = (
                {"text": talent_text(fields), "keywords": "; ".join(fields["keyword"])}
                if fields
                else {"text": strip_tags(raw)}
            )
        if name is None:
            name = f"{side}-{hashlib.sha256(raw.encode()).hexdigest()[:12]}"
        if not isinstance(name, str):
            raise ValueError(f"id {str(name)[:40]!r} is no text")
        if reason := why_no_document(name, columns["text"]):
            raise ValueError(reason)
        if name in self.names[side]:
            raise ValueError(f"id {name[:60]!r} has another text elsewhere")
        self.names[side].add(name)
        self.known[side][raw] = (name, columns)
        return name

    def tables(self) -> Tables:
        """jobs and resumes."""
        return {
            f"{side}s": pd.DataFrame(
                [{f"{side}_id": name, **columns} for name, columns in known.values()]
            )
            for side, known in self.known.items()
        }


def _read_train(path: Path, texts: _Texts, log: RowLog) -> pd.DataFrame:
    rows: dict[tuple[str, str], int] = {}
    for line, row in read_objects(path):
        log.saw(path)
        try:
            job = texts.add("job", row.get("query"))
        except ValueError as problem:
            log.leave_out(path, line, f"query: {problem}")
            continue
        for name, label in (("positives", 1), ("negatives", 0)):
            passages = row.get(name)
            if not isinstance(passages, list):
                log.leave_out_part(path, line, f"{name} is no list")
                continue
            for i, passage in enumerate(passages, start=1):
                try:
                    pair = (job, texts.add("resume", passage))
                except ValueError as problem:
                    log.leave_out_part(path, line, f"{name} {i}: {problem}")
                    continue
                if pair in rows:
                    log.leave_out_part(
                        path, line, f"{name} {i}: the same pair again; the first is kept"
                    )
                else:
                    rows[pair] = label
    if 1 not in rows.values():
        raise DataError(
            f"{path}:1: no query with a positive passage ({len(log.entries):,} rows or parts left out); "
            f"is this RankPO's training file?"
        )
    return pd.DataFrame(
        [(*pair, label, "rule") for pair, label in rows.items()],
        columns=["job_id", "resume_id", "label", "source"],
    )


def _read_annotated(path: Path, texts: _Texts, log: RowLog) -> pd.DataFrame:
    rows = []
    for line, row in read_objects(path):
        log.saw(path)
        try:
            confidence = row.get("confidence_score")
            if row.get("preferred") not in ("A", "B"):
                raise ValueError(
                    f"preferred is {str(row.get('preferred'))[:20]!r}, neither 'A' nor 'B'"
                )
            if (
                isinstance(confidence, bool)
                or not isinstance(confidence, int | float)
                or not 0 <= confidence <= 100
            ):
                raise ValueError(
                    f"confidence_score {str(confidence)[:20]!r} is not a number from 0 to 100"
                )
            job = texts.add("job", row.get("query"), row.get("query_id"))
            pair = [
                texts.add("resume", row.get(f"passage{i}"), row.get(f"passage_id{i}"))
                for i in (1, 2)
            ]
            if pair[0] == pair[1]:
                raise ValueError("both passages are the same")
            rows.append(
                (
                    job,
                    *pair,
                    row["preferred"].lower(),
                    float(confidence),
                    str(row.get("model") or "unknown"),
                    row.get("passage_rank1"),
                    row.get("passage_rank2"),
                )
            )
        except ValueError as problem:
            log.leave_out(path, line, str(problem))
    if not rows:
        raise DataError(
            f"{path}:1: no annotated pair can be used ({len(log.entries):,} left out); is this RankPO's "
            f"annotated file?"
        )
    return pd.DataFrame(
        rows,
        columns=[
            "job_id",
            "resume_a",
            "resume_b",
            "preferred",
            "confidence",
            "annotator",
            "rank_a",
            "rank_b",
        ],
    ).assign(split="test")
