"""A data card of a stage's tables in Croissant's form (MLCommons, version 1.0), which searches for data
sets and loaders read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api import types

_TERMS = (
    "citeAs column extract field fileObject fileProperty fileSet format includes isLiveDataset jsonPath key "
    "md5 parentField path recordSet references regex repeated replace samplingRate separator source subField "
    "transform equivalentProperty"
)
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS.split()},
}
"""Croissant's own JSON-LD context, of version 1.0."""
MARKET = (
    "A simulated labour market: jobs, resumes, and recruiters' noisy, biased and sparse decisions about "
    "who fits, with the truth beside them (truth). Made by a program; no person and no employer in it "
    "exists. For research on methods: effects measured here are not effects on people."
)
FILES = "Jobs, resumes and labels as they were read by notebook 01, from the source {source}."
MARKET_LICENSE = "https://www.apache.org/licenses/LICENSE-2.0"


def write_card(
    path: Path, tables: Mapping[str, pd.DataFrame], parameters: Mapping[str, Any], *, version: str
) -> None:
    """Write the card of tables that lie as <name>.parquet beside it.

    parameters: of notebook 01, which tell the source and the seed; version: of the data, e.g. the
    package's. Licences of other people's data are theirs to state, so that only the market has one.
    """
    source = parameters["source"]
    card: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"matchlib-{source}",
        "description": MARKET if source == "market" else FILES.format(source=source),
        "version": version,
    }
    if source == "market":
        settings = json.dumps(parameters["market_settings"], sort_keys=True)
        card["license"] = MARKET_LICENSE
        card["description"] += f" Seed {parameters['seed']}, settings {settings}."
        card["citeAs"] = "matchlib, see CITATION.cff"
        card["rai:dataLimitations"] = "Simulated; what holds here may not hold for people."
    card["distribution"] = [_file(path.parent / f"{name}.parquet") for name in tables]
    card["recordSet"] = [_records(name, frame) for name, frame in tables.items()]
    path.write_text(json.dumps(card, indent=1), encoding="utf-8")


def _file(path: Path) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _records(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    fields = []
    for column in frame:
        field = {
            "@type": "cr:Field",
            "@id": f"{name}/{column}",
            "name": column,
            "dataType": _data_type(frame[column]),
            "source": {"fileObject": {"@id": f"{name}.parquet"}, "extract": {"column": column}},
        }
        fields.append(field)
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _data_type(values: pd.Series) -> str:
    if types.is_bool_dtype(values):
        return "sc:Boolean"
    if types.is_integer_dtype(values):
        return "sc:Integer"
    if types.is_float_dtype(values):
        return "sc:Float"
    return "sc:DateTime" if types.is_datetime64_any_dtype(values) else "sc:Text"
