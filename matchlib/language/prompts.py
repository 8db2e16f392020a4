"""Prompts: texts of prompts.toml, filled with documents that are marked off as data."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from matchlib.data.words import cut_at_words
from matchlib.language.llm import Prompt

TEMPLATES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
FORMS = TEMPLATES.pop("forms")
"""What a model that follows no instructions fills in, see `form`."""
FORM_END = "====="
"""Stands after each filled form of `few_shot_form`."""


def few_shot(
    name: str,
    examples: Sequence[tuple[str, str]],
    target: str,
    *,
    max_words: int,
) -> Prompt:
    """A prompt of TEMPLATES with pairs (query text, accepted candidate's text) as examples, and the
    query to answer.

    max_words: every document is cut there (a word is about 1.3 tokens of English; each Chinese
    character is one).
    """
    template = _template(name)
    shown = []
    for query, candidate in examples:
        example = _fill(
            template["example"],
            query=fence(query, max_words=max_words),
            candidate=fence(candidate, max_words=max_words),
        )
        shown.append(example)
    user = _fill(
        template["user"],
        examples="\n\n".join(shown) + "\n",
        target=fence(target, max_words=max_words),
    )
    return Prompt(template["system"], user)


def few_shot_form(
    name: str,
    examples: Sequence[tuple[str, str]],
    target: str,
    *,
    max_words: int,
) -> Prompt:
    """The same examples and query for a model that follows no instructions: filled forms of FORMS, and
    one to fill in. FORM_END ends each, and so the answer."""
    parts = _parts(FORMS[name])
    forms = []
    for query, candidate in [*examples, (target, "")]:
        filled = _fill(parts["user"], document=_plain(query, max_words))
        forms.append(f"{filled}\n\n{_plain(candidate, max_words)}")
    return Prompt(parts["system"], f"\n\n{FORM_END}\n\n".join(forms).rstrip(), stop=FORM_END)


def _plain(text: str, max_words: int) -> str:
    """A text cut at max_words that holds no FORM_END."""
    return re.sub(r"={5,}", "====", cut_at_words(text, max_words)[0])


def prompt_from(name: str, *, max_words: int, **documents: str) -> Prompt:
    """A prompt of TEMPLATES with its documents filled in by their names there, each cut at
    max_words."""
    template = _template(name)
    fenced = {field: fence(text, max_words=max_words) for field, text in documents.items()}
    return Prompt(template["system"], _fill(template["user"], **fenced))


def form(name: str, document: str, *, max_words: int) -> Prompt:
    """A prompt of FORMS for a model that is tuned on it, with its one document cut at max_words.

    The document is not marked off: such a model follows no instructions, it continues a form, and
    marks would cost a fifth of its tokens.
    """
    parts = _parts(FORMS[name])
    document = cut_at_words(document, max_words)[0]
    return Prompt(parts["system"], _fill(parts["user"], document=document))


def _template(name: str) -> dict[str, str]:
    return _parts(TEMPLATES[name])


def _parts(template: Mapping[str, str]) -> dict[str, str]:
    return {part: text.strip("\n") for part, text in template.items()}


def _fill(template: str, **fields: str) -> str:
    """Fill {names} in one pass, so that braces inside a document stay what they are."""
    return re.sub(r"\{(\w+)\}", lambda match: fields[match[1]], template)


def fence(text: str, *, max_words: int) -> str:
    """The text between marks with its own hash, which no text can contain: nothing inside can end the
    document.

    What looks like one of our marks is changed, so that a document cannot open or close another.
    """
    cut = cut_at_words(text, max_words)[0]
    defused = re.sub(r"<(?=\s*/?\s*document\b)", "(", cut, flags=re.I)
    mark = hashlib.sha256(defused.encode()).hexdigest()[:12]
    return f"<document {mark}>\n{defused}\n</document {mark}>"
