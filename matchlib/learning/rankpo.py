"""Stage 2, RankPO (arXiv 2503.10723): move a stage-1 encoder towards preferences, with a frozen
reference that limits how far it moves."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer

from matchlib.data import rules
from matchlib.data.schema import DataError
from matchlib.learning.losses.confit import KnownPositives
from matchlib.learning.losses.preference import (
    OBJECTIVES,
    PreferenceLoss,
    preference_loss,
)
from matchlib.learning.pairs import Pairs
from matchlib.learning.preferences import reference_margins
from matchlib.learning.training import Settings, fit
from matchlib.learning.validation import TwoSidedEvaluator
from matchlib.retrieval.alignment import (
    Part,
    by_job,
    compare_with,
    decided,
    strict_ndcg,
)
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.models import load_model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreferenceObjective:
    """What stage 2 minimises.

    name: a key of OBJECTIVES; loss_settings: keywords of `preference_loss`, of which the objective
    may fix some; reference: the frozen encoder, which objectives with a reference need and others
    refuse; contrastive_weight: of the contrastive loss on stage-1 pairs.
    """

    name: str
    loss_settings: Mapping[str, Any] = field(default_factory=dict)
    reference: Encoder | None = None
    contrastive_weight: float = 0.0


def stage1_positives(part: Part, parameters: Mapping[str, Any]) -> pd.DataFrame:
    """The pairs that count as accepted for stage 1: all pairs that its rules allow, or the accepted
    labels. parameters: of stage 1."""
    if parameters["labels"] == "rule":
        return rules.label_by_rules(parameters["rule_names"], part["jobs"], part["resumes"])
    return part["labels"].query("label == 1")


def stage1_training_pairs(train: Part, parameters: Mapping[str, Any]) -> pd.DataFrame:
    """The pairs that stage 1 was trained on: of rules only those that it drew."""
    if parameters["labels"] != "rule":
        return stage1_positives(train, parameters)
    return rules.label_by_rules(
        parameters["rule_names"],
        train["jobs"],
        train["resumes"],
        per_job=parameters["rule_pairs"],
        seed=parameters["seed"],
    )


class AlignmentEvaluator(TwoSidedEvaluator):
    """Alignment with the annotator, and nDCG@20 on stage 1's labels.

    part: jobs and resumes of the validation split; preferences: judged pairs of it; labels: the
    pairs that count as accepted for stage 1. floor: the nDCG below which no checkpoint is kept;
    `score`, by which checkpoints are chosen, is the alignment, less 1 below the floor.
    """

    def __init__(
        self,
        part: Part,
        preferences: pd.DataFrame,
        labels: pd.DataFrame,
        *,
        floor: float = 0.0,
        job_prompt: str = "",
        resume_prompt: str = "",
    ):
        super().__init__(
            part["jobs"]["text"],
            part["resumes"]["text"],
            job_prompt=job_prompt,
            resume_prompt=resume_prompt,
        )
        self.primary_metric = "score"
        self.part = part
        self.preferences = preferences
        self.labels = labels
        self.floor = floor

    def measure(self, job_vectors: np.ndarray, resume_vectors: np.ndarray) -> dict[str, float]:
        """alignment, ndcg and score."""
        return self.measure_scores(job_vectors @ resume_vectors.T)

    def measure_scores(self, scores: np.ndarray) -> dict[str, float]:
        """alignment, ndcg and score of (J, R) scores."""
        alignment = by_job(compare_with(self.preferences, scores, self.part)).mean()
        ndcg = strict_ndcg(scores, self.part, self.labels)["value"].mean()
        is_below = ndcg < self.floor
        return {
            "alignment": float(alignment),
            "ndcg": float(ndcg),
            "score": float(alignment - is_below),
        }


def why_untrainable(
    encoder: Encoder,
    train: pd.DataFrame | None,
    valid: pd.DataFrame | None,
) -> str:
    """Why nothing can be trained, in a sentence; "" if it can. train, valid: preferences."""
    if encoder.is_endpoint:
        return f"{encoder.model_name_or_path} runs elsewhere, so it cannot be trained here."
    for name, preferences in (
        ("training", train),
        ("validation", valid),
    ):
        if preferences is None or decided(preferences).empty:
            return f"There is no decided preference on {name} jobs."
    return ""


def copy_encoder(encoder: Encoder) -> SentenceTransformer:
    """The encoder's model, loaded again: training must not change the frozen reference."""
    return load_model(
        encoder.folder,
        pooling=encoder.pooling,
        max_tokens=encoder.max_tokens,
        device=encoder.device,
    )


def with_pooling(encoder: Encoder, pooling: str) -> Encoder:
    """The encoder with long texts split into passages and pooled by mean or max, or cut."""
    return replace(encoder, passages=None if pooling == "cut" else pooling)


def require_comparable(model: SentenceTransformer, reference: SentenceTransformer) -> None:
    """Raise ValueError if the margins of a reference do not fit the encoder: another vocabulary or
    another dimension."""
    own_size = model.get_embedding_dimension()
    reference_size = reference.get_embedding_dimension()
    if own_size != reference_size:
        raise ValueError(
            f"the reference has {reference_size} dimensions, the encoder {own_size}: take the "
            f"encoder's own stage 1"
        )
    if model.tokenizer.get_vocab() != reference.tokenizer.get_vocab():
        raise ValueError(
            "the reference has another tokenizer than the encoder: take the encoder's own stage 1"
        )


def refuse_ignored(
    objective: str,
    loss_settings: Mapping[str, Any],
    *,
    reference: str = "",
) -> None:
    """Raise DataError if a setting was given that the objective ignores: one that differs from its
    default and from what the objective fixes.

    loss_settings: keywords of `preference_loss`; reference: the name of a chosen reference, "" for
    none.
    """
    if objective not in OBJECTIVES:
        raise DataError(f"objective {objective!r} is not one of {', '.join(OBJECTIVES)}")
    chosen = OBJECTIVES[objective]
    parameters = inspect.signature(preference_loss).parameters
    for name, value in loss_settings.items():
        default = parameters[name].default
        if name not in chosen.fixed or value in (
            chosen.fixed[name],
            default,
        ):
            continue
        others = [other for other, one in OBJECTIVES.items() if name not in one.fixed]
        raise DataError(
            f"objective {objective!r} fixes {name} at {chosen.fixed[name]!r}, so {name}: {value!r} "
            f"would be ignored; leave {name} at its default {default!r}, or choose an objective "
            f"that uses it: {', '.join(others)}"
        )
    if reference and not chosen.uses_reference:
        raise DataError(
            f"objective {objective!r} has no reference, so the reference {reference!r} would be ignored; "
            f"leave it out, or choose an objective that uses one: {_names(uses_reference=True)}"
        )


def refuse_taken_names(arms: Iterable[str], objective: str) -> None:
    """Raise DataError where an arm is called like a system that notebook 05 adds itself."""
    own = {"bm25", "pretrained", "stage1", objective}
    for name in arms:
        if name in own:
            raise DataError(
                f"arm_stages: the name {name!r} is taken by a system of this notebook; choose another name"
            )


def _names(*, uses_reference: bool) -> str:
    names = [name for name, one in OBJECTIVES.items() if one.uses_reference == uses_reference]
    return ", ".join(names)


def train_rankpo(
    model: SentenceTransformer,
    pairs: Pairs,
    objective: PreferenceObjective,
    *,
    settings: Settings,
    checkpoints: Path,
    evaluator: AlignmentEvaluator | None = None,
    job_prompt: str = "",
    resume_prompt: str = "",
) -> pd.DataFrame:
    """Train `model` in place on decided preferences; checkpoints, resuming and the log are those of
    `training.fit`.

    pairs: of `preferences.build_preference_pairs`. The reference's margins are computed once,
    before training. Where no checkpoint's nDCG is at the evaluator's floor or above, `model` is left
    as it was at the start. With an evaluator the log has a column `kept`, true in the row whose
    weights `model` has: step 0 is the start. Raises ValueError on what does not fit together, see
    `refuse_ignored`.
    """
    name = objective.reference.model_name_or_path if objective.reference else ""
    refuse_ignored(objective.name, objective.loss_settings, reference=name)
    margins = _reference_margins(model, pairs, objective)
    if objective.contrastive_weight and (pairs.numbers("contrastive_job") < 0).any():
        raise ValueError(
            "contrastive_weight needs stage-1 pairs in the rows; build them with contrastive_pairs="
        )
    known = KnownPositives(
        torch.tensor(pairs.positives),
        n_jobs=len(pairs.job_texts),
        n_resumes=len(pairs.resume_texts),
    )
    loss = PreferenceLoss(
        model,
        # a setting that differs from what is fixed was refused above, unless it is the default
        {**objective.loss_settings, **OBJECTIVES[objective.name].fixed},
        reference=margins,
        contrastive_weight=objective.contrastive_weight,
        contrastive_temperature=settings.temperature,
        known=known,
    )
    start = {name: value.cpu().clone() for name, value in model.state_dict().items()}
    log = fit(
        model,
        pairs,
        loss,
        settings=settings,
        checkpoints=checkpoints,
        evaluator=evaluator,
        job_prompt=job_prompt,
        resume_prompt=resume_prompt,
    )
    if evaluator is None:
        return log
    step = step_to_keep(log, floor=evaluator.floor)
    if step == 0:
        logger.warning(
            "no checkpoint kept validation nDCG at %.3f or above: the start is kept",
            evaluator.floor,
        )
        model.load_state_dict(start)
    return log.assign(kept=log["score"].notna() & (log["step"] == step))


def step_to_keep(log: pd.DataFrame, *, floor: float) -> int:
    """The step of the best aligned checkpoint whose validation nDCG is at `floor` or above; 0, the
    start, where there is none. log: step, alignment, ndcg."""
    holds = log[(log["step"] > 0) & (log["ndcg"] >= floor)]
    if holds.empty:
        return 0
    return int(holds.loc[holds["alignment"].idxmax(), "step"])


def _reference_margins(
    model: SentenceTransformer,
    pairs: Pairs,
    objective: PreferenceObjective,
) -> torch.Tensor | None:
    if not OBJECTIVES[objective.name].uses_reference:
        return None
    if objective.reference is None:
        raise ValueError(
            f"objective {objective.name!r} needs a reference, and none is given; give the encoder's own "
            f"stage 1, or choose an objective without: {_names(uses_reference=False)}"
        )
    require_comparable(model, objective.reference.model)
    return torch.tensor(reference_margins(objective.reference, pairs))
