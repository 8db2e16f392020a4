"""Signals of job descriptions and resumes: what a text says, each item with the words that say it.

Source: arXiv 2512.00004 extracts fine-grained signals by a language model; its schema is not
public, this one is our choice. Offline our own reader fills it; a service fills it by json_schema.
An item whose quote does not occur in the text is dropped and counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from matchlib.data.rules import split_items
from matchlib.data.schema import DataError
from matchlib.data.skills import load_graph
from matchlib.extraction.facts import (
    extract_facts,
    phrase_matcher,
    split_segments,
    tokenize,
)
from matchlib.language.llm import LanguageModel
from matchlib.language.prompts import prompt_from

GENERATORS = ("reader", "service", "local")
SCHEMA_VERSION = 1
"""Part of the schema's title, and so of every cached answer's key."""
MAX_ITEMS = 20
MAX_YEARS = 60
"""Years of experience beyond which a number is taken for something else."""
MAX_WORDS = 800
"""Words of a document that a language model is shown."""
SLOTS = ("skills", "nice_skills", "years", "city", "seniority", "degree", "occupation")
"""Slots that can be scored against a table of the truth."""


class Item(BaseModel):
    """A value and its evidence."""

    model_config = ConfigDict(extra="forbid")
    value: str = Field(max_length=120)
    quote: str = Field(max_length=300)


class Level(Item):
    """Seniority: one of our four levels."""

    value: Literal["junior", "middle", "senior", "lead"]


class Degree(Item):
    """Education: one of our five degrees."""

    value: Literal["none", "vocational", "bachelor", "master", "doctorate"]


class Years(BaseModel):
    """Years of experience, asked for or had."""

    model_config = ConfigDict(extra="forbid")
    value: float = Field(ge=0, le=MAX_YEARS)
    quote: str = Field(max_length=300)


class Signals(BaseModel):
    """What one document says. Of a resume, must_have_skills are its skills."""

    model_config = ConfigDict(extra="forbid", title=f"signals_{SCHEMA_VERSION}")
    must_have_skills: list[Item] = Field(max_length=MAX_ITEMS)
    nice_to_have_skills: list[Item] = Field(max_length=MAX_ITEMS)
    tools: list[Item] = Field(max_length=MAX_ITEMS)
    responsibilities: list[Item] = Field(max_length=MAX_ITEMS)
    hard_constraints: list[Item] = Field(max_length=MAX_ITEMS)
    title: Item | None
    domain: Item | None
    city: Item | None
    remote: Item | None
    seniority: Level | None
    degree: Degree | None
    years: Years | None


@dataclass(frozen=True)
class Extraction:
    """signals: one a text, None where the answer was not valid; counts: valid, invalid, items,
    items dropped for a quote that is not in the text."""

    signals: list[Signals | None]
    counts: dict[str, int]


def read_signals(texts: Sequence[str], *, only_held: bool = False) -> Extraction:
    """Signals by our own reader: phrases of the skill graph and patterns.

    only_held: of resumes: what people say they lack or want is left out, see `facts.extract_facts`.

    Tools, responsibilities and hard constraints need a language model; they stay empty.
    """
    facts = extract_facts(texts, only_held=only_held)
    found = [
        _with_quotes(text, row) for text, row in zip(texts, facts.to_dict("records"), strict=True)
    ]
    return _checked(found, texts)


def extract_signals(
    texts: Sequence[str], generator: str, model: LanguageModel | None, *, only_held: bool = False
) -> Extraction:
    """Signals by our own reader (only_held: see `read_signals`), or by the language model of a service
    or one that runs here.

    Raises DataError on a generator that is none.
    """
    if generator not in GENERATORS:
        raise DataError(f"generator {generator!r} is not one of {', '.join(GENERATORS)}")
    return read_signals(texts, only_held=only_held) if model is None else ask_signals(texts, model)


def ask_signals(texts: Sequence[str], model: LanguageModel) -> Extraction:
    """Signals by a language model: a service by its json_schema, a local model by its prompt."""
    model.sampling = replace(model.sampling, json_schema=strict_schema(), max_tokens=2048)
    prompts = [prompt_from("signals", max_words=MAX_WORDS, text=text) for text in texts]
    answers = model.complete(prompts)
    found = [None if answer.problem else _parse(answer.text) for answer in answers]
    return _checked(found, texts)


def strict_schema() -> str:
    """The schema as JSON in the strict form: every property required, no other allowed."""
    schema = Signals.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        part["required"] = list(part["properties"])
        part["additionalProperties"] = False
    return json.dumps(schema, sort_keys=True)


def _parse(text: str) -> Signals | None:
    """An answer as signals; None where it is not valid. A fence around the JSON is taken off."""
    body = re.sub(r"^\s*```(?:json)?|```\s*$", "", text)
    try:
        return Signals.model_validate_json(body)
    except ValidationError:
        return None


def _checked(found: list[Signals | None], texts: Sequence[str]) -> Extraction:
    """Only items whose quotes occur in their text, with counts of what was dropped."""
    counts = {"documents": len(texts), "invalid": 0, "items": 0, "items without a quote": 0}
    kept: list[Signals | None] = []
    for signals, text in zip(found, texts, strict=True):
        if signals is None:
            counts["invalid"] += 1
            kept.append(None)
            continue
        squeezed = _squeeze(text)
        values = {}
        for name in Signals.model_fields:
            value = getattr(signals, name)
            items = value if isinstance(value, list) else [value] if value else []
            quoted = [item for item in items if _squeeze(item.quote) in squeezed and item.quote]
            counts["items"] += len(items)
            counts["items without a quote"] += len(items) - len(quoted)
            values[name] = quoted if isinstance(value, list) else (quoted or [None])[0]
        kept.append(Signals(**values))
    return Extraction(kept, counts)


def _squeeze(text: str) -> str:
    return " ".join(text.split()).casefold()


def _with_quotes(text: str, facts: dict) -> Signals:
    """Facts of our reader with the statements that say them."""
    segments = split_segments(text)
    skill_quotes: dict[str, str] = {}
    for segment in segments:
        for match in phrase_matcher("skill").find(tokenize(segment.text)):
            skill_quotes.setdefault(match.value, segment.original.strip()[:300])
    header = [segment.original.strip()[:300] for segment in segments if segment.in_header]

    def skills(column: str) -> list[Item]:
        names = [name for name in split_items(facts[column]) if name in skill_quotes]
        return [Item(value=name, quote=skill_quotes[name]) for name in names[:MAX_ITEMS]]

    def quoted(kind, value: object, pattern: str):
        quote = next((line for line in header if re.search(pattern, line, re.I)), "")
        if not quote:
            every = [segment.original.strip()[:300] for segment in segments]
            quote = next((line for line in every if re.search(pattern, line, re.I)), "")
        return kind(value=value, quote=quote) if quote else None

    title = facts["title"]
    level, degree, years = facts["seniority"], facts["degree"], facts["years"]
    return Signals(
        must_have_skills=skills("skills"),
        nice_to_have_skills=skills("nice_skills"),
        tools=[],
        responsibilities=[],
        hard_constraints=[],
        title=Item(value=title, quote=header[0]) if title and header else None,
        domain=None,
        city=quoted(Item, facts["city"], re.escape(facts["city"])) if facts["city"] else None,
        remote=quoted(Item, "yes", "remote|home|relocat") if facts["remote"] == "yes" else None,
        seniority=_phrase_item(Level, "seniority", level, segments),
        degree=_phrase_item(Degree, "degree", degree, segments),
        years=quoted(Years, years, r"\d|" + "year") if 0 <= years <= MAX_YEARS else None,
    )


def _phrase_item(kind, name: str, value: str, segments) -> Item | None:
    for segment in segments:
        if value in {match.value for match in phrase_matcher(name).find(tokenize(segment.text))}:
            return kind(value=value, quote=segment.original.strip()[:300])
    return None


def signal_table(ids: pd.Series, found: Sequence[Signals | None]) -> pd.DataFrame:
    """Signals as the columns that features read (see `features.SIGNAL_COLUMNS`).

    ids: (n,) of the documents, kept as they are named. Titles become occupations of the graph.
    """
    occupations = _occupation_of_title()
    rows = []
    for signals in found:
        one = signals or Signals.model_construct(must_have_skills=[], nice_to_have_skills=[])
        title = _value(one, "title")
        rows.append(
            {
                "skills": "; ".join(item.value for item in one.must_have_skills),
                "nice_skills": "; ".join(item.value for item in one.nice_to_have_skills),
                "years": np.nan if _value(one, "years") is None else _value(one, "years"),
                "city": _value(one, "city") or "",
                "remote": "yes" if _value(one, "remote") else "no",
                "seniority": _value(one, "seniority") or "",
                "degree": _value(one, "degree") or "",
                "occupation": occupations.get((title or "").casefold(), ""),
            }
        )
    return pd.DataFrame(rows, index=ids.index).assign(**{str(ids.name): ids})


def _value(signals: Signals, name: str):
    item = getattr(signals, name, None)
    return item.value if item else None


def _occupation_of_title() -> dict[str, str]:
    found = {}
    for occupation in load_graph("seen").occupations.values():
        for title in (occupation.name, *occupation.titles):
            found.setdefault(title.casefold(), occupation.id)
    return found


def score_signals(extracted: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """How right the extraction is: slot, precision, recall, F1, hallucinated (share of what was
    extracted that is wrong), abstained (share of what is true that has no value).

    extracted, truth: row for row, with the columns of SLOTS. The last row, "all", is over all
    items.
    """
    rows, total = [], np.zeros(3)
    for slot in SLOTS:
        n_right = n_found = n_true = n_silent = 0
        for own, true in zip(extracted[slot], truth[slot], strict=True):
            own_items, true_items = _items(slot, own), _items(slot, true)
            n_right += len(own_items & true_items)
            n_found += len(own_items)
            n_true += len(true_items)
            n_silent += len(true_items) if not own_items else 0
        total += (n_right, n_found, n_true)
        rows.append(
            {
                "slot": slot,
                **_scores(n_right, n_found, n_true),
                "abstained": n_silent / max(n_true, 1),
            }
        )
    rows.append({"slot": "all", **_scores(*total), "abstained": np.nan})
    return pd.DataFrame(rows)


def _items(slot: str, value: object) -> set:
    if slot in ("skills", "nice_skills"):
        return set(split_items(str(value)))
    if slot == "years":
        return set() if pd.isna(value) else {float(value)}
    return {str(value)} if value else set()


def _scores(n_right: float, n_found: float, n_true: float) -> dict[str, float]:
    precision, recall = n_right / max(n_found, 1), n_right / max(n_true, 1)
    f1 = 2 * n_right / max(n_found + n_true, 1)
    scores = {"precision": precision, "recall": recall, "F1": f1, "hallucinated": 1 - precision}
    if not n_found + n_true:
        scores = dict.fromkeys(scores, np.nan)  # a slot that nothing has
    return scores
