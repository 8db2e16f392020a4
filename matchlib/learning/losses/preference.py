"""RankPO's loss on preferences (arXiv 2503.10723), and its special cases by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from matchlib.learning.losses.batches import (
    Labels,
    embed_chunks,
    in_every_row,
    require_finite,
)
from matchlib.learning.losses.confit import KnownPositives, confit_loss


def preference_loss(
    margins: Tensor,
    reference: Tensor | None = None,
    *,
    loss_type: str = "sigmoid",
    beta: float = 2.0,
    temperature: float = 0.1,
    gamma: float = 0.0,
) -> Tensor:
    """Mean loss of preferring one candidate to another, by the margin of their scores.

    margins: (B,) score of the preferred minus score of the other candidate (cosines); reference:
    (B,) the same margins by the frozen encoder of stage 1, or None (SimRankPO).
    With m the margin, m_ref the reference's and tau `temperature`,

        z        = (m - m_ref) / tau - gamma
        sigmoid  = -log sig(beta z)
        hinge    = max(0, 1 - beta z)

    Returns a scalar. Raises ValueError on another loss_type.
    Source: RankPO (arXiv 2503.10723), the loss of its second stage as the authors' code computes
    it; beta and temperature are those of their published run. `OBJECTIVES` names the special cases.
    Deviation: their code can also smooth labels, and add a weighted two-way softmax, which here is
    the objective sft alone; their published run uses neither.
    """
    if loss_type not in ("sigmoid", "hinge"):
        raise ValueError(f"loss_type {loss_type!r} is neither sigmoid nor hinge")
    lead = margins if reference is None else margins - reference
    z = lead / temperature - gamma
    if loss_type == "hinge":
        return F.relu(1 - beta * z).mean()
    return -F.logsigmoid(beta * z).mean()


@dataclass(frozen=True)
class Objective:
    """A special case of `preference_loss`: the settings that it fixes, and whether a frozen
    reference is taken off."""

    fixed: Mapping[str, Any] = field(default_factory=dict)
    uses_reference: bool = True


OBJECTIVES = {
    "rankpo": Objective(),
    "simrankpo": Objective(uses_reference=False),
    "sft": Objective(
        {
            "loss_type": "sigmoid",
            "beta": 1.0,
            "gamma": 0.0,
        },
        uses_reference=False,
    ),
    "dpo": Objective(
        {
            "loss_type": "sigmoid",
            "gamma": 0.0,
        }
    ),
}
"""SimRankPO is RankPO without a reference and else the same. SFT is the two-way softmax. DPO-style has
no margin gamma."""


class PreferenceLoss(nn.Module):
    """`preference_loss` on batches of `preferences.build_preference_pairs`.

    model: a SentenceTransformer; settings: keywords of `preference_loss`; reference: (N,) or None.
    contrastive_weight: weight of `confit_loss` on stage-1 pairs, without hard negatives and with
    known positives masked; it goes beyond the paper and holds what stage 1 learned.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Mapping[str, Any],
        *,
        reference: Tensor | None,
        contrastive_weight: float = 0.0,
        contrastive_temperature: float = 0.05,
        known: KnownPositives | None = None,
    ):
        super().__init__()
        self.model = model
        self.settings = settings
        self.known = known
        self.contrastive_weight = contrastive_weight
        self.contrastive_temperature = contrastive_temperature
        self.register_buffer("reference", reference, persistent=False)

    def forward(self, sentence_features: list[dict[str, Tensor]], labels: Labels) -> Tensor:
        """sentence_features: chunks of documents; labels: of PREFERENCE_COLUMNS. Returns a scalar."""
        vectors = embed_chunks(self.model, sentence_features)
        jobs = vectors[in_every_row(labels, "job")]
        chosen = vectors[in_every_row(labels, "chosen")]
        rejected = vectors[in_every_row(labels, "rejected")]
        number = in_every_row(labels, "preference", what="number")
        reference = None if self.reference is None else self.reference[number]
        margins = (jobs * (chosen - rejected)).sum(dim=-1)
        loss = preference_loss(margins, reference, **self.settings)
        if self.contrastive_weight:
            loss = loss + self.contrastive_weight * self._contrastive_term(vectors, labels)
        require_finite(loss)
        return loss

    def _contrastive_term(self, vectors: Tensor, labels: Labels) -> Tensor:
        jobs = vectors[in_every_row(labels, "contrastive_job")]
        resumes = vectors[in_every_row(labels, "contrastive_resume")]
        job = labels["number"]["contrastive_job"]
        resume = labels["number"]["contrastive_resume"]
        masks = self.known.masks(job, resume, job[:0], resume[:0])
        return confit_loss(
            jobs,
            resumes,
            vectors[:0],
            vectors[:0],
            temperature=self.contrastive_temperature,
            **masks,
        )
