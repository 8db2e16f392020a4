"""Model cards: what a trained encoder is, in Hugging Face's form, and where its bias audit is
found.

A card is written when the encoder is, before anyone could have audited it, and a finished stage's
folder does not change. So an audit lies in the stage that made it, as AUDIT_FILE, under the hash of
the weights and settings that were
audited: it is found from the encoder in the stages beside its own, and never taken for that of one
trained anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from matchlib.retrieval.models import OFFLINE_MODEL, hash_model

AUDIT_FILE = "audit.json"
UNAUDITED = "unaudited"
"""Nobody has measured for whom the encoder's rankings are worse."""
_LIMITS = """\
It ranks jobs and resumes by the similarity of their texts; a score is no probability and says nothing about a person's worth.
It learned from past decisions, with whatever was unfair in them. It is for research: nobody should be rejected by it
alone.
"""


def write_card(
    folder: Path,
    *,
    base_model: str = "",
    facts: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    log: pd.DataFrame | None = None,
) -> None:
    """Write README.md into an encoder's folder: a YAML header (with `audit: unaudited`) and the
    facts as text.

    facts: what it was trained on, by name; parameters: of the training; log: its frame (see
    training.fit), of which each measure is given for the pretrained encoder and at its highest. What is not given
    is said to be unknown; no text is quoted.
    """
    header = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": [
            "sentence-transformers",
            "feature-extraction",
            "matchlib",
            "resume-job-matching",
        ],
        **_hub_base(base_model),
        "audit": UNAUDITED,
    }
    audit = (
        f"Unaudited when this card was written. An audit that came later lies in `{AUDIT_FILE}` of a stage beside "
        f"this one; `matchlib rank` prints it."
    )
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n",
        "# Encoder for resumes and jobs\n",
        "## Base model\n",
        f"{base_model or 'Unknown.'}\n",
        "## Data\n",
        _listed(facts),
        "## Training\n",
        _listed(parameters),
        "## Figures\n",
        _listed(None if log is None else _figures(log)),
        "## Limits\n",
        _LIMITS,
        "## Bias audit\n",
        f"{audit}\n",
    ]
    (folder / "README.md").write_text("\n".join(parts), encoding="utf-8")


def _hub_base(name: str) -> dict[str, str]:
    """The header's base_model; {} for a folder, since a hub refuses a card whose base is no id."""
    if name == OFFLINE_MODEL:
        return {"base_model": f"sentence-transformers/{name}"}
    try:
        validate_repo_id(name)
    except HFValidationError:
        return {}
    return {} if Path(name).exists() else {"base_model": name}


def _listed(values: Mapping[str, Any] | None) -> str:
    if not values:
        return "Unknown.\n"
    shown = {
        name: f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())
        for name, value in values.items()
    }
    return "".join(f"- {name}: {value or 'none'}\n" for name, value in shown.items())


def _figures(log: pd.DataFrame) -> dict[str, float]:
    figures = {}
    for measure in log.columns.difference(["step", "loss", "learning_rate", "kept"], sort=False):
        values = log.dropna(subset=[measure])
        pretrained = values.loc[values["step"] == 0, measure]
        trained = values.loc[values["step"] > 0, measure]
        if len(pretrained):
            figures[f"validation {measure}, pretrained"] = float(pretrained.max())
        if len(trained):
            figures[f"validation {measure}, highest after"] = float(trained.max())
    return figures


def set_audit(file: Path, encoder: Path, summary: Mapping[str, Any]) -> None:
    """Enter an audit's summary (e.g. {"column": "gender", "flags": 0, "n": 400}) of an encoder's
    folder into `file`.

    file: AUDIT_FILE of the auditing stage, `stage.path("audit.json")`; it may hold the audits of
    several encoders.
    """
    audits = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    beside = file.with_name(f"{file.name}.part")
    beside.write_text(
        json.dumps({**audits, hash_model(encoder): dict(summary)}, indent=1),
        encoding="utf-8",
    )
    beside.rename(file)


def audit_status(encoder: Path) -> str:
    """What is known of an encoder's bias audits: "unaudited", or every summary and where it was
    found.

    Looked for in the finished stages beside the encoder's own, then in the header of its card,
    where whoever publishes an encoder may write it (`audit: {column: gender, flags: 0}`).
    """
    found = sorted(
        file
        for file in encoder.resolve().parent.parent.glob(f"*/{AUDIT_FILE}")
        if (file.parent / "manifest.json").exists()
    )
    own = hash_model(encoder) if found else ""
    summaries = {file: json.loads(file.read_text(encoding="utf-8")).get(own) for file in found}
    if told := [f"{_in_words(summary)} ({file})" for file, summary in summaries.items() if summary]:
        return f"audited: {'; '.join(told)}"
    summary = _header(encoder / "README.md").get("audit")
    return (
        f"audited: {_in_words(summary)} (by its card)"
        if isinstance(summary, Mapping)
        else UNAUDITED
    )


def _in_words(summary: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in summary.items())


def _header(card: Path) -> dict[str, Any]:
    """The YAML header of a card; {} where there is none that can be read."""
    parts = card.read_text(encoding="utf-8").split("---\n", 2) if card.exists() else []
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        header = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return {}
    return header if isinstance(header, dict) else {}
