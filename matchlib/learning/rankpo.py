"""Stage 2, RankPO (arXiv 2503.10723): move a stage-1 encoder towards preferences, held back by what it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

from matchlib.learning.losses import OBJECTIVES, PreferenceLoss
from matchlib.learning.preferences import PREFERENCE_SIDES, PreferencePairs
from matchlib.learning.training import Settings, fit
from matchlib.retrieval.alignment import by_job, compare_with, strict_ndcg
from matchlib.retrieval.encoder import Encoder, embed


class FrontierEvaluator(SentenceEvaluator):
    """A point of the frontier on validation: alignment with the judge, and nDCG@20 on stage 1's labels.

    jobs, resumes: the validation split; preferences: judged pairs of it; labels: the accepted pairs that stage 1
    learns from. floor: the nDCG below which a checkpoint is not chosen while another is above; the measure `score` is
    the alignment, less 1 below the floor.
    """

    def __init__(self, jobs: pd.DataFrame, resumes: pd.DataFrame, preferences: pd.DataFrame, labels: pd.DataFrame, *,
                 floor: float = 0.0, job_prompt: str = "", resume_prompt: str = ""):
        super().__init__()
        self.primary_metric = "score"
        self.jobs, self.resumes, self.preferences, self.labels = jobs, resumes, preferences, labels
        self.floor, self.prompts = floor, (job_prompt, resume_prompt)

    def __call__(self, model, output_path=None, epoch: float = -1, steps: int = -1) -> dict[str, float]:
        jobs = embed(model, [self.prompts[0] + text for text in self.jobs["text"]])
        resumes = embed(model, [self.prompts[1] + text for text in self.resumes["text"]])
        return self.measure(jobs @ resumes.T)

    def measure(self, scores: np.ndarray) -> dict[str, float]:
        """alignment, ndcg and score of (J, R) scores."""
        aligned = by_job(compare_with(self.preferences, scores, self.jobs, self.resumes)).mean()
        ndcg = strict_ndcg(scores, self.jobs, self.resumes, self.labels)["value"].mean()
        return {"alignment": float(aligned), "ndcg": float(ndcg), "score": float(aligned - (ndcg < self.floor))}


def require_same_kind(model: SentenceTransformer, reference: SentenceTransformer) -> None:
    """Raise ValueError if a reference cannot hold this encoder back: another vocabulary or another dimension."""
    ours, theirs = (m.get_embedding_dimension() for m in (model, reference))
    if ours != theirs:
        raise ValueError(f"the reference has {theirs} dimensions, the encoder {ours}: take the encoder's own stage 1")
    if model.tokenizer.get_vocab() != reference.tokenizer.get_vocab():
        raise ValueError("the reference has another tokenizer than the encoder: take the encoder's own stage 1")


def train_rankpo(model: SentenceTransformer, preferences: PreferencePairs, *, objective: str, settings: Settings,
                 loss_settings: Mapping[str, Any], checkpoints: Path, reference: Encoder | None = None,
                 margins: np.ndarray | None = None, replay: float = 0.0, evaluator: FrontierEvaluator | None = None,
                 job_prompt: str = "", resume_prompt: str = "") -> pd.DataFrame:
    """Train `model` in place on decided preferences; checkpoints, resuming and the log are those of `training.fit`.

    objective: a key of `losses.OBJECTIVES`, which overrides loss_settings (keywords of `losses.preference_loss`) where
    it fixes them. margins: (n,) of the frozen reference, from `preferences.reference_margins`; objectives with a
    reference need them. replay: weight of the contrastive term. Raises ValueError on what does not fit together.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective {objective!r} is not one of {', '.join(OBJECTIVES)}")
    fixed = dict(OBJECTIVES[objective])
    anchored = "reference" not in fixed
    fixed.pop("reference", None)
    if anchored and margins is None:
        raise ValueError(f"objective {objective!r} needs the reference's margins")
    if replay and (preferences.pairs.rows[:, 3] < 0).any():
        raise ValueError("replay needs stage-1 pairs in the rows; build them with replayed=")
    pairs = preferences.pairs
    loss = PreferenceLoss(
        model, {**loss_settings, **fixed}, reference=torch.tensor(margins) if anchored else None,
        weights=torch.tensor(preferences.weights), replay=replay, replay_temperature=settings.temperature,
        known_positives=torch.tensor(pairs.positives), n_jobs=len(pairs.job_texts), n_resumes=len(pairs.resume_texts))
    return fit(model, pairs, loss, settings=settings, checkpoints=checkpoints, evaluator=evaluator,
               job_prompt=job_prompt, resume_prompt=resume_prompt, sides=PREFERENCE_SIDES)
