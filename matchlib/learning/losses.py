"""The losses, as functions of embeddings or scores; no trainer, no tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn


def softmax_loss(scores: Tensor, *, masked: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of each row's own candidate, the diagonal, against all candidates of the
    row.

    scores: (B, C) logits, C >= B, row i's positive in column i; masked: (B, C) bool, True leaves a
    candidate out.
    Returns a scalar; log C for equal scores. Raises ValueError if a positive is masked.
    """
    if masked is not None:
        if masked.diagonal().any():
            raise ValueError(
                "a row's own positive is masked; only other candidates may be false negatives"
            )
        scores = scores.masked_fill(masked, -torch.inf)
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def confit_loss(
    jobs: Tensor,
    resumes: Tensor,
    hard_jobs: Tensor,
    hard_resumes: Tensor,
    *,
    temperature: float,
    masked_jobs: Tensor | None = None,
    masked_resumes: Tensor | None = None,
) -> Tensor:
    """Half the loss of finding each resume's job plus half the loss of finding each job's resume.

    jobs, resumes: (B, dim) unit vectors of accepted pairs; hard_jobs (Hj, dim), hard_resumes (Hr,
    dim): hard negatives, which every row sees (Hj, Hr may be 0). masked_jobs: (B, B + Hj) bool, row
    = resume, True where the job is a false negative of that resume; masked_resumes: (B, B + Hr)
    bool, row = job.
    Source: ConFit v2 (arXiv 2502.12361), L = L_R + L_J, halved as in the authors' code. Deviation:
    the masks.
    """
    to_jobs = resumes @ torch.cat([jobs, hard_jobs]).T / temperature
    to_resumes = jobs @ torch.cat([resumes, hard_resumes]).T / temperature
    return (
        softmax_loss(to_jobs, masked=masked_jobs) + softmax_loss(to_resumes, masked=masked_resumes)
    ) / 2


def preference_loss(
    margins: Tensor,
    reference: Tensor | None = None,
    *,
    loss_type: str = "sigmoid",
    beta: float = 2.0,
    temperature: float = 0.1,
    gamma: float = 0.0,
    label_smoothing: float = 0.0,
    sft_weight: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Weighted mean loss of preferring one candidate to another, by the margin of their scores.

    margins: (B,) score of the chosen minus score of the rejected candidate (cosines); reference:
    (B,) the same margins by a frozen encoder, taken off first, or None (reference-free, SimRankPO).
    With a = margins - reference and z = a / temperature - gamma, and e the label_smoothing: loss_type sigmoid
    is -(1 - e) log sig(beta z) - e log sig(-beta z), hinge max(0, 1 - beta z). sft_weight adds the
    two-way softmax of the margins alone, -log sig(margins / temperature).
    weights: (B,) of each pair, e.g. the annotator's confidence. Returns a scalar. Raises ValueError
    on another loss_type and on hinge with label_smoothing, which it does not have.
    Source: RankPO (arXiv 2503.10723) and its code; `OBJECTIVES` names the special cases.
    """
    if loss_type not in ("sigmoid", "hinge"):
        raise ValueError(f"loss_type {loss_type!r} is neither sigmoid nor hinge")
    if loss_type == "hinge" and label_smoothing:
        raise ValueError(
            f"loss_type 'hinge' has no label smoothing, so label_smoothing: {label_smoothing} would be ignored; set "
            f"label_smoothing: 0.0, or loss_type: sigmoid"
        )
    z = (margins if reference is None else margins - reference) / temperature - gamma
    if loss_type == "hinge":
        losses = F.relu(1 - beta * z)
    else:
        losses = -(1 - label_smoothing) * F.logsigmoid(beta * z) - label_smoothing * F.logsigmoid(-beta * z)
    losses = losses + sft_weight * F.softplus(-margins / temperature) if sft_weight else losses
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()


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
        {"loss_type": "sigmoid", "beta": 1.0, "gamma": 0.0, "label_smoothing": 0.0, "sft_weight": 0.0},
        uses_reference=False,
    ),
    "dpo": Objective({"loss_type": "sigmoid", "gamma": 0.0, "label_smoothing": 0.0, "sft_weight": 0.0}),
}
"""SimRankPO is RankPO without a reference and else the same. SFT is the two-way softmax, of which a
sft_weight would be the same again. DPO-style has no margin gamma."""


def false_negatives(
    queries: Tensor, candidates: Tensor, positives: Tensor, n_candidates: int
) -> Tensor:
    """Which candidates of a batch must not count as a query's negatives.

    queries: (B,) int, candidates: (B + H,) int, row i's positive is candidates[i]; equal texts
    share a number.
    positives: (P,) int64, every known positive as query * n_candidates + candidate.
    Returns (B, B + H) bool: True for the positive seen again (the same job twice, the same text)
    and for any other known positive of the query; the diagonal is False.
    """
    pairs = queries[:, None] * n_candidates + candidates[None, :]
    masked = torch.isin(pairs, positives) | (
        candidates[None, :] == candidates[: len(queries), None]
    )
    masked[torch.arange(len(queries)), torch.arange(len(queries))] = False
    return masked


class KnownPositives(nn.Module):
    """The accepted pairs of training, kept as numbers on the loss's device, and the masks that
    follow from them.

    pairs: (P, 2) int64 tensor of (job, resume) numbers; n_jobs, n_resumes: how many numbers there
    are.
    """

    def __init__(self, pairs: Tensor, *, n_jobs: int, n_resumes: int):
        super().__init__()
        self.n_jobs, self.n_resumes = n_jobs, n_resumes
        job, resume = pairs.T
        self.register_buffer("job_major", job * n_resumes + resume, persistent=False)
        self.register_buffer("resume_major", resume * n_jobs + job, persistent=False)

    def masks(
        self, job: Tensor, resume: Tensor, hard_job: Tensor, hard_resume: Tensor
    ) -> dict[str, Tensor]:
        """masked_jobs and masked_resumes of `confit_loss` for the numbers of a batch's documents."""
        return {
            "masked_jobs": false_negatives(
                resume, torch.cat([job, hard_job]), self.resume_major, self.n_jobs
            ),
            "masked_resumes": false_negatives(
                job, torch.cat([resume, hard_resume]), self.job_major, self.n_resumes
            ),
        }


Labels = Mapping[str, Mapping[str, Tensor]]
"""What `pairs.PairCollator` says of a batch: {"place": {column: (B,)}, "number": {column: (B,)}},
-1 for none."""


def in_every_row(labels: Labels, name: str, *, what: str = "place") -> Tensor:
    """(B,) the places (or the numbers) of a column that every row must have. Raises ValueError if a
    row has none."""
    column = labels[what][name]
    missing = int((column < 0).sum())
    if missing:
        raise ValueError(
            f"{missing} of the batch's {len(column)} rows have no {name} (-1), which the loss reads in "
            f"every row; only hard negatives may be dropped, so build the pairs with a {name} in each"
        )
    return column


def _pairs_of(labels: Labels, what: str) -> list[Tensor]:
    """job and resume of every row, then the hard jobs and the hard resumes that the batch kept."""
    kept = [labels[what][name] for name in ("hard_job", "hard_resume")]
    return [
        *(in_every_row(labels, name, what=what) for name in ("job", "resume")),
        *(column[column >= 0] for column in kept),
    ]


class ConFitLoss(nn.Module):
    """ConFit v2's loss on the batches of `pairs.PairCollator`, for the SentenceTransformerTrainer.

    model: a SentenceTransformer; known_positives, n_jobs, n_resumes: as `KnownPositives` takes
    them. See `confit_loss` for the formula and the source.
    """

    def __init__(
        self,
        model: nn.Module,
        known_positives: Tensor,
        *,
        n_jobs: int,
        n_resumes: int,
        temperature: float,
    ):
        super().__init__()
        self.model, self.temperature = model, temperature
        self.known = KnownPositives(known_positives, n_jobs=n_jobs, n_resumes=n_resumes)

    def forward(self, sentence_features: list[dict[str, Tensor]], labels: Labels) -> Tensor:
        """sentence_features: chunks of documents; labels: of CONTRASTIVE_COLUMNS. Returns a scalar."""
        vectors = torch.cat(
            [self.model(chunk)["sentence_embedding"] for chunk in sentence_features]
        )
        vectors = F.normalize(vectors, dim=-1)
        jobs, resumes, hard_jobs, hard_resumes = (
            gather_rows(vectors[place]) for place in _pairs_of(labels, "place")
        )
        masks = self.known.masks(*(gather_rows(number) for number in _pairs_of(labels, "number")))
        loss = confit_loss(
            jobs, resumes, hard_jobs, hard_resumes, temperature=self.temperature, **masks
        )
        if not torch.isfinite(loss):
            raise FloatingPointError(
                "the loss is not finite; lower the learning rate, or look for broken weights"
            )
        processes = distributed.get_world_size() if distributed.is_initialized() else 1
        # each process has the gradient of its own vectors; they are averaged, and their sum is
        # wanted
        return loss + (processes - 1) * (loss - loss.detach())


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all processes, in order of their rank; with one process, the rows themselves.

    rows: (n, ...), n may differ by process and be 0. Returns (sum of n, ...), of which only this
    process's own rows carry a gradient.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return rows
    lengths = [
        torch.zeros(1, dtype=torch.int64, device=rows.device)
        for _ in range(distributed.get_world_size())
    ]
    distributed.all_gather(lengths, torch.tensor([len(rows)], device=rows.device))
    padded = rows.new_zeros((max(int(n) for n in lengths), *rows.shape[1:]))
    padded[: len(rows)] = rows.detach()
    shares = [torch.empty_like(padded) for _ in lengths]
    distributed.all_gather(shares, padded)
    gathered = [share[: int(n)] for share, n in zip(shares, lengths, strict=True)]
    gathered[distributed.get_rank()] = rows
    return torch.cat(gathered)


class PreferenceLoss(nn.Module):
    """`preference_loss` on batches of `preferences.PreferencePairs`.

    model: a SentenceTransformer; settings: keywords of `preference_loss`; reference (or None) and
    weights: (N,).
    contrastive_weight: weight of `confit_loss` on stage-1 pairs, without hard negatives and with
    known positives masked; it goes beyond the paper and holds what stage 1 learned.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Mapping[str, Any],
        *,
        reference: Tensor | None,
        weights: Tensor,
        contrastive_weight: float = 0.0,
        contrastive_temperature: float = 0.05,
        known: KnownPositives | None = None,
    ):
        super().__init__()
        self.model, self.settings, self.known = model, settings, known
        self.contrastive_weight, self.contrastive_temperature = contrastive_weight, contrastive_temperature
        self.register_buffer("reference", reference, persistent=False)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, sentence_features: list[dict[str, Tensor]], labels: Labels) -> Tensor:
        """sentence_features: chunks of documents; labels: of PREFERENCE_COLUMNS. Returns a scalar."""
        vectors = torch.cat(
            [self.model(chunk)["sentence_embedding"] for chunk in sentence_features]
        )
        vectors = F.normalize(vectors, dim=-1)
        jobs, chosen, rejected = (
            vectors[in_every_row(labels, name)] for name in ("job", "chosen", "rejected")
        )
        number = in_every_row(labels, "preference", what="number")
        reference = None if self.reference is None else self.reference[number]
        margins = (jobs * (chosen - rejected)).sum(dim=-1)
        loss = preference_loss(margins, reference, weights=self.weights[number], **self.settings)
        if self.contrastive_weight:
            loss = loss + self.contrastive_weight * self._contrastive_term(vectors, labels)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                "the loss is not finite; lower the learning rate, or look for broken weights"
            )
        return loss

    def _contrastive_term(self, vectors: Tensor, labels: Labels) -> Tensor:
        jobs, resumes = (
            vectors[in_every_row(labels, name)] for name in ("contrastive_job", "contrastive_resume")
        )
        job, resume = (labels["number"][name] for name in ("contrastive_job", "contrastive_resume"))
        masks = self.known.masks(job, resume, job[:0], resume[:0])
        return confit_loss(
            jobs, resumes, vectors[:0], vectors[:0], temperature=self.contrastive_temperature, **masks
        )
