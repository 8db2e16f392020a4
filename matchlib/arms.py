"""The encoders and systems of a leaderboard, opened from the stages that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from matchlib.data.schema import TASKS
from matchlib.retrieval import systems
from matchlib.retrieval.corpus import Corpus, HitsByTask
from matchlib.retrieval.encoder import Encoder, encoder_from, trained_encoder
from matchlib.stage import Finished

OWN_INPUTS = ("data", "stage1", "shuffled", "judged_stage")
"""Inputs of notebook 11 that are no further arm."""


def open_encoders(inputs: Mapping[str, Finished]) -> dict[str, Encoder]:
    """The encoders that a leaderboard compares, by system: pretrained, shuffled, stage1, then the arms.

    inputs: the leaderboard's input stages by name. Stages that trained nothing have no encoder.
    """
    settings = inputs["stage1"].manifest["parameters"]
    encoders = {"pretrained": encoder_from(settings)}
    for name in ("shuffled", "stage1"):
        if name in inputs and inputs[name].has("encoder"):
            encoders[name] = encoder_from(settings, inputs[name].path("encoder"))
    for name, stage in inputs.items():
        if name not in OWN_INPUTS and stage.has("encoder"):
            encoders[name] = trained_encoder(stage)
    return encoders


def rank_by_encoders(
    encoders: Mapping[str, Encoder],
    inputs: Mapping[str, Finished],
    tables: Mapping[str, pd.DataFrame],
    *,
    tasks: Sequence[str] = TASKS,
) -> dict[str, HitsByTask]:
    """What each encoder finds in the test split, in the tasks asked for.

    An arm searches the texts that it was trained on (03 makes job texts richer), with the same
    queries, candidates and pools as the others.
    """
    hits = {}
    for name, encoder in encoders.items():
        texts = tables
        if name in inputs and name not in OWN_INPUTS:
            own = inputs[name].input("data")
            texts = {**tables, "jobs": own.table("jobs"), "resumes": own.table("resumes")}
        hits[name] = systems.dense(Corpus.of_split(texts, "test", tasks=tasks), encoder)
    return hits


def best_encoder(encoders: Mapping[str, Encoder]) -> str:
    """The system that the mixtures with keywords build on: stage1, or pretrained where nothing was trained."""
    return "stage1" if "stage1" in encoders else "pretrained"


def validation_facts(inputs: Mapping[str, Finished]) -> dict[str, dict[str, float]]:
    """What was known of each trained arm before the test was looked at, by system.

    `validation`: nDCG@10 on validation; `false negatives`: share of the arm's mined negatives that
    truly fit, where the truth is known. Arms that are validated otherwise (05) are left out.
    """
    facts = {}
    for name, stage in inputs.items():
        is_trained = name == "stage1" or name not in OWN_INPUTS
        validation = stage.manifest["metrics"].get("val_ndcg_at_10")
        if not is_trained or validation is None:
            continue
        facts[name] = {"validation": validation}
        if "mined_stage" in stage.manifest["inputs"]:
            mined = stage.input("mined_stage").manifest["metrics"]
            facts[name]["false negatives"] = mined.get("false_negative_share")
    return facts
