"""ConFit v2's contrastive loss (arXiv 2502.12361), and the masks for false negatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn

from matchlib.learning.losses.batches import (
    Labels,
    embed_chunks,
    in_every_row,
    require_finite,
)


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
    finding_jobs = softmax_loss(to_jobs, masked=masked_jobs)
    finding_resumes = softmax_loss(to_resumes, masked=masked_resumes)
    return (finding_jobs + finding_resumes) / 2


def false_negatives(
    queries: Tensor,
    candidates: Tensor,
    positives: Tensor,
    n_candidates: int,
) -> Tensor:
    """Which candidates of a batch must not count as a query's negatives.

    queries: (B,) int, candidates: (B + H,) int, row i's positive is candidates[i]; equal texts
    share a number.
    positives: (P,) int64, every known positive as query * n_candidates + candidate, ascending.
    Returns (B, B + H) bool: True for the positive seen again (the same job twice, the same text)
    and for any other known positive of the query; the diagonal is False.
    """
    n = len(queries)
    pairs = queries[:, None] * n_candidates + candidates[None, :]
    is_own_positive = candidates[None, :] == candidates[:n, None]
    # not torch.isin, which sorts all positives at every step: 20 times slower with 400,000
    place = torch.searchsorted(positives, pairs).clamp(max=len(positives) - 1)
    masked = (positives[place] == pairs) | is_own_positive
    masked[torch.arange(n), torch.arange(n)] = False
    return masked


class KnownPositives(nn.Module):
    """The accepted pairs of training, kept as numbers on the loss's device, and the masks that
    follow from them.

    pairs: (P, 2) int64 tensor of (job, resume) numbers; n_jobs, n_resumes: how many numbers there
    are.
    """

    def __init__(self, pairs: Tensor, *, n_jobs: int, n_resumes: int):
        super().__init__()
        self.n_jobs = n_jobs
        self.n_resumes = n_resumes
        job, resume = pairs.T
        job_major = job * n_resumes + resume
        resume_major = resume * n_jobs + job
        self.register_buffer("job_major", job_major.sort().values, persistent=False)
        self.register_buffer("resume_major", resume_major.sort().values, persistent=False)

    def masks(
        self,
        job: Tensor,
        resume: Tensor,
        hard_job: Tensor,
        hard_resume: Tensor,
    ) -> dict[str, Tensor]:
        """masked_jobs and masked_resumes of `confit_loss` for the numbers of a batch's documents."""
        all_jobs = torch.cat([job, hard_job])
        all_resumes = torch.cat([resume, hard_resume])
        return {
            "masked_jobs": false_negatives(resume, all_jobs, self.resume_major, self.n_jobs),
            "masked_resumes": false_negatives(job, all_resumes, self.job_major, self.n_resumes),
        }


def _all_rows(labels: Labels, what: str) -> list[Tensor]:
    """job and resume of every row, then the hard jobs and the hard resumes that the batch kept."""
    hard_job = labels[what]["hard_job"]
    hard_resume = labels[what]["hard_resume"]
    return [
        in_every_row(labels, "job", what=what),
        in_every_row(labels, "resume", what=what),
        hard_job[hard_job >= 0],
        hard_resume[hard_resume >= 0],
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
        self.model = model
        self.temperature = temperature
        self.known = KnownPositives(known_positives, n_jobs=n_jobs, n_resumes=n_resumes)

    def forward(self, sentence_features: list[dict[str, Tensor]], labels: Labels) -> Tensor:
        """sentence_features: chunks of documents; labels: of CONTRASTIVE_COLUMNS. Returns a scalar."""
        vectors = embed_chunks(self.model, sentence_features)
        places = _all_rows(labels, "place")
        numbers = _all_rows(labels, "number")
        masks = self.known.masks(*(gather_rows(number) for number in numbers))
        loss = confit_loss(
            *(gather_rows(vectors[place]) for place in places),
            temperature=self.temperature,
            **masks,
        )
        require_finite(loss)
        processes = distributed.get_world_size() if distributed.is_initialized() else 1
        # gradients of processes are averaged, where their sum is needed
        return loss + (processes - 1) * (loss - loss.detach())


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all processes, in order of their rank; with one process, the rows themselves.

    rows: (n, ...), n may differ by process and be 0. Returns (sum of n, ...), of which only this
    process's own rows carry a gradient.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return rows
    no_length = torch.zeros(1, dtype=torch.int64, device=rows.device)
    lengths = [no_length.clone() for _ in range(distributed.get_world_size())]
    distributed.all_gather(lengths, torch.tensor([len(rows)], device=rows.device))
    padded = rows.new_zeros((max(int(n) for n in lengths), *rows.shape[1:]))
    padded[: len(rows)] = rows.detach()
    shares = [torch.empty_like(padded) for _ in lengths]
    distributed.all_gather(shares, padded)
    gathered = [share[: int(n)] for share, n in zip(shares, lengths, strict=True)]
    gathered[distributed.get_rank()] = rows
    return torch.cat(gathered)
