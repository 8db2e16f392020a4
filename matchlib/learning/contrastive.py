"""Stage 1: train an encoder on accepted pairs with ConFit v2's loss, on the
SentenceTransformerTrainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer

from matchlib.data.schema import DataError
from matchlib.learning.losses import ConFitLoss
from matchlib.learning.pairs import MIN_TRAIN_PAIRS, Pairs
from matchlib.learning.training import Settings, fit
from matchlib.learning.validation import TwoSidedEvaluator
from matchlib.retrieval.alignment import row_numbers, score_all
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.metrics import (
    qrels_from_labels,
    rank,
    score_queries,
)
from matchlib.retrieval.search import search_dense


def why_untrainable(encoder: Encoder, pairs: Pairs, valid_labels: pd.DataFrame) -> str:
    """Why nothing can be trained, in a sentence; "" if it can."""
    if encoder.is_endpoint:
        return f"{encoder.model_name_or_path} runs elsewhere, so it cannot be trained here."
    if len(pairs.rows) < MIN_TRAIN_PAIRS:
        return (
            f"{len(pairs.rows):,} accepted training pairs are fewer than the {MIN_TRAIN_PAIRS} that "
            f"training needs."
        )
    if not (valid_labels["label"] == 1).any():
        return "There is no accepted validation pair to choose a model by."
    return ""


class RankingEvaluator(TwoSidedEvaluator):
    """Validation nDCG@10, the mean of both directions, on the accepted pairs of the validation
    split."""

    def __init__(
        self,
        jobs: pd.DataFrame,
        resumes: pd.DataFrame,
        labels: pd.DataFrame,
        *,
        job_prompt: str = "",
        resume_prompt: str = "",
    ):
        self.jobs = jobs[jobs["job_id"].isin(labels["job_id"])]
        self.resumes = resumes[resumes["resume_id"].isin(labels["resume_id"])]
        self.labels = labels
        super().__init__(
            self.jobs["text"],
            self.resumes["text"],
            job_prompt=job_prompt,
            resume_prompt=resume_prompt,
        )
        self.primary_metric = "ndcg"

    def measure(self, job_vectors: np.ndarray, resume_vectors: np.ndarray) -> dict[str, float]:
        """ndcg_rank_resumes, ndcg_rank_jobs, and ndcg, their mean."""
        job_ids = list(self.jobs["job_id"])
        resume_ids = list(self.resumes["resume_id"])
        hits = search_dense(job_vectors, resume_vectors)
        rankings = {"rank_resumes": rank(job_ids, resume_ids, hits.positions, hits.scores)}
        hits = search_dense(resume_vectors, job_vectors)
        rankings["rank_jobs"] = rank(resume_ids, job_ids, hits.positions, hits.scores)
        scores = {}
        for task, ranking in rankings.items():
            qrels = qrels_from_labels(self.labels, task)
            values = score_queries(ranking, qrels, ["nDCG@10"])
            scores[f"ndcg_{task}"] = float(values["value"].mean())
        scores["ndcg"] = float(np.mean(list(scores.values())))
        return scores


def train_contrastive(
    model: SentenceTransformer,
    pairs: Pairs,
    *,
    settings: Settings,
    checkpoints: Path,
    evaluator: RankingEvaluator | None = None,
    job_prompt: str = "",
    resume_prompt: str = "",
) -> pd.DataFrame:
    """Train `model` in place on accepted pairs; the details, the checkpoints and the log are those
    of `training.fit`.

    Started by `accelerate launch`, each process takes its share of every batch; see
    `distributed.train_on_processes`.
    Returns the log: step, loss, learning_rate, ndcg, ndcg_rank_resumes, ndcg_rank_jobs.
    Raises DataError with fewer than 2 pairs and FloatingPointError if the loss diverges.
    """
    if len(pairs.rows) < 2:
        raise DataError(
            f"{len(pairs.rows)} accepted pairs to train on; at least 2 are needed, check labels and split"
        )
    loss = ConFitLoss(
        model,
        torch.tensor(pairs.positives),
        n_jobs=len(pairs.job_texts),
        n_resumes=len(pairs.resume_texts),
        temperature=settings.temperature,
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


def rank_changes(
    before: Encoder,
    after: Encoder,
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    labels: pd.DataFrame,
) -> pd.DataFrame:
    """The rank of each accepted resume for its job before and after, from the largest rise to the
    largest fall.

    Returns a frame rank before, rank after, job, resume (texts).
    """
    accepted = labels[labels["label"] == 1]
    pairs = accepted.merge(jobs[["job_id", "text"]], on="job_id").merge(
        resumes[["resume_id", "text"]],
        on="resume_id",
        suffixes=("_job", "_resume"),
    )
    job = row_numbers(jobs["job_id"], pairs["job_id"])
    resume = row_numbers(resumes["resume_id"], pairs["resume_id"])
    part = {"jobs": jobs, "resumes": resumes}
    ranks = []
    for encoder in (before, after):
        scores = score_all(encoder, part)[job]
        own = scores[np.arange(len(pairs)), resume]
        n_better = (scores > own[:, None]).sum(axis=1)
        ranks.append(n_better + 1)
    rank_before, rank_after = ranks
    table = pd.DataFrame(
        {
            "rank before": rank_before,
            "rank after": rank_after,
            "job": pairs["text_job"],
            "resume": pairs["text_resume"],
        }
    )
    order = np.argsort(np.log(rank_after / rank_before), kind="stable")
    return table.iloc[order].reset_index(drop=True)
