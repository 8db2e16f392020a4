"""One page that sorts what a run holds under the headings of the EU AI Act's technical documentation.

It maps and names gaps. It is no technical documentation in the sense of Article 11, assesses no
conformity and certifies nothing.
Source: Regulation (EU) 2024/1689, Annex IV points 1 to 9, Articles 10 to 15.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from matchlib.reports.tables import text_table
from matchlib.reports.text import cut_line

DISCLAIMER = (
    "This page sorts what a run of matchlib holds under the headings of Annex IV and Articles 10 to "
    "15 of Regulation (EU) 2024/1689. It is not the technical documentation that Article 11 asks of "
    "a provider, no conformity was assessed, and it certifies nothing."
)
NOTHING = "nothing"
COLUMNS = ["heading", "this run holds", "missing"]
MAX_CELL = 600


def sort_run(
    manifests: Mapping[str, Mapping[str, Any]],
    *,
    data: str,
    model: str,
    audit: Sequence[str],
    limits: Sequence[str],
) -> pd.DataFrame:
    """COLUMNS: a row for each of Annex IV's nine points and each of the Articles 10 to 15.

    manifests: of the stages that were read, by name; data, model: which of them made the tables and
    the encoder; audit: its findings in sentences, none if nothing was audited; limits: sentences.
    What a run does not hold is "nothing", and every row says what is missing.
    """
    tables, trained = manifests[data], manifests[model]
    code = trained["code"]
    state = " with uncommitted changes" if code["dirty"] else ""
    version = f"matchlib {code['version']} at commit {code['commit'] or 'unknown'}{state}"
    parameters = trained["parameters"]
    base_model = parameters.get("model_name_or_path") or "not stated"
    found = "; ".join(audit) or "not audited"
    cards = [name for name in ("croissant.json", "card.md") if name in tables["files"]]
    data_card = f"data card {', '.join(cards)}" if cards else "no data card"
    has_card = any(name.endswith("README.md") for name in trained["files"])
    model_card = "the encoder's model card (README.md)" if has_card else "no model card"
    packages = ", ".join(f"{name} {number}" for name, number in trained["packages"].items())
    rows = [
        (
            "Annex IV 1: general description",
            f"{version}; Python {trained['python']}; {packages}; ran on {trained['device']}",
            "intended purpose, provider, versions on the market, hardware it is meant for, user "
            "interface, instructions for use",
        ),
        (
            "Annex IV 2: elements and development",
            f"pretrained model {base_model}; {_said(parameters)}; trained in {trained['stage']}, id "
            f"{trained['id'][:12]}, on data with id {tables['id'][:12]}",
            "reasons for design choices, computational resources in total, assessment of human "
            "oversight, signed test reports, cybersecurity measures",
        ),
        (
            "Annex IV 3: monitoring, functioning, control",
            f"audit by group: {found}; limits: {'; '.join(limits) or NOTHING}",
            "accuracy for the persons it is meant for, foreseeable misuse, specifications of input, "
            "how people interpret its output",
        ),
        (
            "Annex IV 4: performance metrics",
            f"{trained['headline']} {_said(trained['metrics'])}",
            "why these measures suit the intended purpose",
        ),
        ("Annex IV 5: risk management (Article 9)", NOTHING, "the whole system of risk management"),
        (
            "Annex IV 6: changes through the lifecycle",
            f"{version}; parameters and hashes of every file in each stage's manifest",
            "a log of changes to a system in use",
        ),
        ("Annex IV 7: harmonised standards", NOTHING, "a list, or the solutions in their place"),
        ("Annex IV 8: EU declaration of conformity", NOTHING, "the declaration (Article 47)"),
        ("Annex IV 9: post-market monitoring", NOTHING, "the plan (Article 72)"),
        (
            "Article 10: data and data governance",
            f"{data_card}; {tables['headline']} source: "
            f"{tables['parameters'].get('source', 'not stated')}; {_said(tables['metrics'])}; groups: {found}",
            "whether the data represent the people and places of use; origin and legal basis of "
            "protected columns (10(5)); bias that labels and truth share",
        ),
        (
            "Article 11: technical documentation",
            "this page, and what it points at",
            "the documentation itself, kept up to date and for ten years (Article 18)",
        ),
        (
            "Article 12: record-keeping",
            f"manifests and logs of {', '.join(manifests)}, with inputs, parameters and hashes",
            "automatic logs of events while the system is in use",
        ),
        (
            "Article 13: transparency to deployers",
            f"{model_card}; limits: {'; '.join(limits) or NOTHING}",
            "instructions for use; contact of a provider; expected lifetime and maintenance",
        ),
        (
            "Article 14: human oversight",
            NOTHING,
            "who oversees, by which means, and how to disregard, override or stop the system",
        ),
        (
            "Article 15: accuracy, robustness, cybersecurity",
            f"{trained['headline']} Audit: {found}",
            "accuracy declared in instructions; robustness against errors and feedback loops in use; "
            "attacks on data and model",
        ),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _said(values: Mapping[str, Any]) -> str:
    """Numbers and words of a mapping in one line; lists, mappings and empty values are left out."""
    parts = []
    for name, value in values.items():
        if isinstance(value, (int, float, str)) and value != "":
            parts.append(f"{name} {value}")
    return ", ".join(parts)


def as_markdown(frame: pd.DataFrame) -> str:
    """The page as Markdown: a section a heading; untrusted characters escaped."""
    parts = ["# Technical file", DISCLAIMER]
    for heading, held, missing in frame[COLUMNS].to_numpy():
        parts += [f"## {_plain(heading)}", f"This run holds: {_plain(held)}"]
        parts.append(f"Missing: {_plain(missing)}.")
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """One line in which Markdown and HTML mean nothing."""
    line = html.escape(cut_line(text, max_characters=MAX_CELL), quote=False)
    for character in "\\`*_[]|#<":
        line = line.replace(character, f"\\{character}")
    return line


def as_html(frame: pd.DataFrame) -> str:
    """The page as HTML that loads nothing and runs nothing."""
    table = text_table(frame, max_text=MAX_CELL).html
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        "<title>Technical file</title><style>body{font:16px/1.5 sans-serif;max-width:70rem;margin:2rem "
        "auto;padding:0 1rem}td,th{border:1px solid #999;padding:.4rem;text-align:left;"
        "vertical-align:top}table{border-collapse:collapse}</style></head>"
        f"<body><h1>Technical file</h1><p>{html.escape(DISCLAIMER)}</p>{table}</body></html>\n"
    )
