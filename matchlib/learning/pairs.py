"""Training pairs as numbers, and the collator that turns them into batches of tokenised documents."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer

from matchlib.data.schema import TASKS

JOB_RESUME = (0, 1, 0, 1)
"""Which column of Pairs.rows is a job (0) and which a resume (1)."""


@dataclass(frozen=True)
class Pairs:
    """Accepted pairs as numbers of distinct texts.

    job_texts, resume_texts: distinct texts; rows: (n, 4) int64 of job, resume, hard job, hard resume (-1: none);
    positives: (P, 2) int64, every known accepted (job, resume).
    """
    job_texts: list[str]
    resume_texts: list[str]
    rows: np.ndarray
    positives: np.ndarray


def build_pairs(jobs: pd.DataFrame, resumes: pd.DataFrame, labels: pd.DataFrame, *, seed: int,
                mined: pd.DataFrame | None = None) -> Pairs:
    """Number the training texts and draw each accepted pair's hard negatives.

    labels: rows of one split; label 1 makes a pair, label 0 a hard negative of its job and of its resume.
    mined: a table of `learning.mining`, whose negatives replace the rejected pairs, as in ConFit v2.
    Equal texts share a number, so that an employer's repost is never its own negative.
    """
    hard = _hard_negatives(labels, mined)
    job_number, job_texts = _number(jobs, "job_id", pd.concat([labels["job_id"], hard["job_id"]]))
    resume_number, resume_texts = _number(resumes, "resume_id", pd.concat([labels["resume_id"], hard["resume_id"]]))

    def numbers(rows: pd.DataFrame) -> np.ndarray:
        return np.column_stack([job_number.loc[rows["job_id"]], resume_number.loc[rows["resume_id"]]])
    accepted = numbers(labels[labels["label"] == 1])
    known = set(map(tuple, accepted))
    jobs_of, resumes_of = defaultdict(list), defaultdict(list)
    for job, resume, task in zip(*numbers(hard).T, hard["task"], strict=True):
        if (job, resume) not in known and task == "rank_resumes":
            resumes_of[job].append(resume)
        elif (job, resume) not in known:
            jobs_of[resume].append(job)
    rng = np.random.default_rng(seed)
    hard_jobs, hard_resumes = _draw(jobs_of, accepted[:, 1], rng), _draw(resumes_of, accepted[:, 0], rng)
    rows = np.column_stack([accepted, hard_jobs, hard_resumes]).astype(np.int64)
    return Pairs(job_texts, resume_texts, rows, np.unique(accepted, axis=0))


def _hard_negatives(labels: pd.DataFrame, mined: pd.DataFrame | None) -> pd.DataFrame:
    """job_id, resume_id and the task a negative is for; a rejected pair is one for both."""
    if mined is None:
        rejected = labels.loc[labels["label"] == 0, ["job_id", "resume_id"]]
        return pd.concat([rejected.assign(task=task) for task in TASKS])
    turned = mined["task"] == "rank_jobs"
    return pd.DataFrame({"job_id": mined["query_id"].mask(turned, mined["candidate_id"]),
                         "resume_id": mined["candidate_id"].mask(turned, mined["query_id"]), "task": mined["task"]})


def _number(frame: pd.DataFrame, id_column: str, ids: pd.Series) -> tuple[pd.Series, list[str]]:
    used = frame[frame[id_column].isin(ids)]
    codes, texts = pd.factorize(used["text"])
    return pd.Series(codes, index=used[id_column]), list(texts)


def _draw(options: dict[int, list[int]], queries: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of each query's options, -1 where it has none."""
    return np.array([rng.choice(options[q]) if q in options else -1 for q in queries], dtype=np.int64)


@dataclass
class PairCollator:
    """Turns rows of Pairs into chunks of tokenised documents, shortest first, so that little is padded.

    A document that occurs twice in a batch is encoded once. sides: the leading columns of a row that are documents,
    jobs (0) or resumes (1); the third and fourth are dropped beyond `hard_negatives` a batch, and what follows the
    documents is passed on. The batch's `label` is (B, documents + columns): the rows of the concatenated chunks that
    hold each document, then the row itself (-1: none). Of Pairs as they are: 8 columns, job, resume, hard job, hard
    resume, then their numbers.
    """
    model: SentenceTransformer
    pairs: Pairs
    hard_negatives: int
    chunk_size: int = 16
    job_prompt: str = ""
    resume_prompt: str = ""
    sides: tuple[int, ...] = JOB_RESUME
    valid_label_columns: list[str] = field(default_factory=lambda: ["label"])
    padded_tokens: int = 0
    real_tokens: int = 0

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        numbers = np.array([feature["label"] for feature in features])
        for side in (2, 3):
            with_negative = np.flatnonzero(numbers[:, side] >= 0)
            numbers[with_negative[self.hard_negatives:], side] = -1
        of_row = [list(zip(self.sides, row, strict=False)) for row in numbers]
        documents = list(dict.fromkeys(document for row in of_row for document in row if document[1] >= 0))
        documents.sort(key=lambda document: len(self._text(*document)))
        place = {document: i for i, document in enumerate(documents)}
        rows = [[place.get(document, -1) for document in row] for row in of_row]
        batch = {"label": torch.tensor(np.column_stack([rows, numbers]))}
        for start in range(0, len(documents), self.chunk_size):
            texts = [self._text(*document) for document in documents[start:start + self.chunk_size]]
            for key, value in self.model.preprocess(texts).items():
                batch[f"chunk{start:06d}_{key}"] = value
            mask = batch[f"chunk{start:06d}_attention_mask"]
            self.padded_tokens += mask.numel()
            self.real_tokens += int(mask.sum())
        return batch

    def _text(self, side: int, number: int) -> str:
        if side == 0:
            return self.job_prompt + self.pairs.job_texts[number]
        return self.resume_prompt + self.pairs.resume_texts[number]
