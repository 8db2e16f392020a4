"""Stage 2, RankPO (arXiv 2503.10723): move a stage-1 encoder towards preferences, held back by what
it was."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

from matchlib.data.schema import DataError
from matchlib.learning.losses import OBJECTIVES, KnownPositives, PreferenceLoss, preference_loss
from matchlib.learning.preferences import PreferencePairs, reference_margins
from matchlib.learning.training import Settings, fit
from matchlib.retrieval.alignment import by_job, compare_with, strict_ndcg
from matchlib.retrieval.encoder import Encoder, embed
from matchlib.retrieval.models import load_model


class FrontierEvaluator(SentenceEvaluator):
    """A point of the frontier on validation: alignment with the judge, and nDCG@20 on stage 1's
    labels.

    part: jobs and resumes of the validation split; preferences: judged pairs of it; labels: the
    accepted pairs that stage 1 learns from. floor: the nDCG below which a checkpoint is not chosen
    while another is above; the measure `score` is the alignment, less 1 below the floor.
    """

    def __init__(
        self,
        part: Mapping[str, pd.DataFrame],
        preferences: pd.DataFrame,
        labels: pd.DataFrame,
        *,
        floor: float = 0.0,
        job_prompt: str = "",
        resume_prompt: str = "",
    ):
        super().__init__()
        self.primary_metric = "score"
        self.part, self.preferences, self.labels = part, preferences, labels
        self.floor, self.prompts = floor, (job_prompt, resume_prompt)

    def __call__(
        self, model, output_path=None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        jobs = embed(model, [self.prompts[0] + text for text in self.part["jobs"]["text"]])
        resumes = embed(model, [self.prompts[1] + text for text in self.part["resumes"]["text"]])
        return self.measure(jobs @ resumes.T)

    def measure(self, scores: np.ndarray) -> dict[str, float]:
        """alignment, ndcg and score of (J, R) scores."""
        aligned = by_job(compare_with(self.preferences, scores, self.part)).mean()
        ndcg = strict_ndcg(scores, self.part, self.labels)["value"].mean()
        return {
            "alignment": float(aligned),
            "ndcg": float(ndcg),
            "score": float(aligned - (ndcg < self.floor)),
        }


def why_untrainable(encoder: Encoder, train: pd.DataFrame | None, valid: pd.DataFrame | None) -> str:
    """Why nothing should be trained, in a sentence; "" if nothing stands in the way. train, valid:
    judged pairs."""
    if encoder.is_endpoint:
        return f"{encoder.model_name_or_path} runs elsewhere, so it cannot be trained here."
    for name, judged in (("training", train), ("validation", valid)):
        if judged is None or not (judged["preferred"] != "tie").any():
            return f"There is no decided preference on {name} jobs."
    return ""


def copy_encoder(encoder: Encoder) -> SentenceTransformer:
    """The encoder's model, loaded again: what is trained must not be the frozen reference."""
    return load_model(
        encoder.folder,
        pooling=encoder.pooling,
        max_tokens=encoder.max_tokens,
        device=encoder.device,
    )


def pooled(encoder: Encoder, pooling: str) -> Encoder:
    """The encoder with long texts as passages, pooled by mean or max, or cut; "as set" leaves it as
    it is."""
    return (
        encoder
        if pooling == "as set"
        else replace(encoder, passages=None if pooling == "cut" else pooling)
    )


def require_comparable(model: SentenceTransformer, reference: SentenceTransformer) -> None:
    """Raise ValueError if a reference cannot hold this encoder back: another vocabulary or another
    dimension."""
    ours, theirs = (m.get_embedding_dimension() for m in (model, reference))
    if ours != theirs:
        raise ValueError(
            f"the reference has {theirs} dimensions, the encoder {ours}: take the encoder's own stage 1"
        )
    if model.tokenizer.get_vocab() != reference.tokenizer.get_vocab():
        raise ValueError(
            "the reference has another tokenizer than the encoder: take the encoder's own stage 1"
        )


def refuse_ignored(
    objective: str, loss_settings: Mapping[str, Any], *, reference: str = ""
) -> None:
    """Raise DataError if a setting was given that the objective ignores: one away from its default
    and from what the objective fixes.

    loss_settings: keywords of `losses.preference_loss`; reference: the name of a chosen reference,
    "" for none.
    """
    if objective not in OBJECTIVES:
        raise DataError(f"objective {objective!r} is not one of {', '.join(OBJECTIVES)}")
    chosen = OBJECTIVES[objective]
    defaults = {
        name: one.default for name, one in inspect.signature(preference_loss).parameters.items()
    }
    for name, value in loss_settings.items():
        if name in chosen.fixed and value not in (chosen.fixed[name], defaults[name]):
            others = ", ".join(other for other, one in OBJECTIVES.items() if name not in one.fixed)
            raise DataError(
                f"objective {objective!r} fixes {name} at {chosen.fixed[name]!r}, so {name}: {value!r} "
                f"would be ignored; leave {name} at its default {defaults[name]!r}, or choose an objective "
                f"that uses it: {others}"
            )
    if loss_settings.get("loss_type") == "hinge" and loss_settings.get("label_smoothing"):
        raise DataError(
            f"loss_type 'hinge' has no label smoothing, so label_smoothing: {loss_settings['label_smoothing']!r} would be "
            f"ignored; set label_smoothing: 0.0, or loss_type: sigmoid"
        )
    if reference and not chosen.uses_reference:
        others = ", ".join(other for other, one in OBJECTIVES.items() if one.uses_reference)
        raise DataError(
            f"objective {objective!r} has no reference, so the reference {reference!r} would be ignored; "
            f"leave it out, or choose an objective that uses one: {others}"
        )


def train_rankpo(
    model: SentenceTransformer,
    preferences: PreferencePairs,
    *,
    objective: str,
    settings: Settings,
    loss_settings: Mapping[str, Any],
    checkpoints: Path,
    reference: Encoder | None = None,
    contrastive_weight: float = 0.0,
    evaluator: FrontierEvaluator | None = None,
    job_prompt: str = "",
    resume_prompt: str = "",
) -> pd.DataFrame:
    """Train `model` in place on decided preferences; checkpoints, resuming and the log are those of
    `training.fit`.

    objective: a key of `losses.OBJECTIVES`; loss_settings: keywords of `losses.preference_loss`, of
    which the objective may fix some. reference: the frozen encoder, whose margins are computed
    once, before training; objectives with a reference need it, others refuse it. contrastive_weight: weight of
    the contrastive term. Raises ValueError on what does not fit together, see `refuse_ignored`.
    """
    refuse_ignored(objective, loss_settings, reference=reference.model_name_or_path if reference else "")
    margins, pairs = None, preferences.pairs
    if OBJECTIVES[objective].uses_reference:
        if reference is None:
            without = ", ".join(name for name, one in OBJECTIVES.items() if not one.uses_reference)
            raise ValueError(
                f"objective {objective!r} needs a reference, and none is given; give the encoder's own "
                f"stage 1, or choose an objective without: {without}"
            )
        require_comparable(model, reference.model)
        margins = torch.tensor(reference_margins(reference, pairs))
    if contrastive_weight and (pairs.numbers("contrastive_job") < 0).any():
        raise ValueError("contrastive_weight needs stage-1 pairs in the rows; build them with contrastive_pairs=")
    known = KnownPositives(
        torch.tensor(pairs.positives),
        n_jobs=len(pairs.job_texts),
        n_resumes=len(pairs.resume_texts),
    )
    used = {
        **loss_settings,
        **OBJECTIVES[objective].fixed,
    }  # what differs was refused above, but for defaults
    loss = PreferenceLoss(
        model,
        used,
        reference=margins,
        contrastive_weight=contrastive_weight,
        known=known,
        weights=torch.tensor(preferences.weights),
        contrastive_temperature=settings.temperature,
    )
    return fit(
        model,
        pairs,
        loss,
        settings=settings,
        checkpoints=checkpoints,
        evaluator=evaluator,
        job_prompt=job_prompt,
        resume_prompt=resume_prompt,
    )
