"""Training pairs as numbers, and the collator that turns them into batches of tokenised documents."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer

from matchlib.data.schema import TASKS, DataError

MIN_TRAIN_PAIRS = 16
"""With fewer accepted pairs a validation figure after training is chance."""


@dataclass(frozen=True)
class Column:
    """One column of Pairs.rows.

    side: "job" or "resume" if the column numbers a text of that side, "" for another number that
    the loss reads.
    required: every row has one; in the other columns -1 stands for none. droppable: a hard
    negative, of which a batch keeps `hard_negatives` and drops the rest; what is required is never
    dropped.
    """

    name: str
    side: str = ""
    required: bool = True
    droppable: bool = False

    def __post_init__(self) -> None:
        if self.required and self.droppable:
            raise DataError(
                f"column {self.name} is both required and droppable; a column that batches drop from must "
                f"be required=False"
            )


CONTRASTIVE_COLUMNS = (
    Column("job", "job"),
    Column("resume", "resume"),
    Column("hard_job", "job", required=False, droppable=True),
    Column("hard_resume", "resume", required=False, droppable=True),
)


@dataclass(frozen=True)
class Pairs:
    """Training rows as numbers of distinct texts.

    job_texts, resume_texts: distinct texts; rows: (n, len(columns)) int64, -1 for none; positives:
    (P, 2) int64, every known accepted (job, resume); columns: what the columns of rows are.
    Raises DataError if a row lacks what its column requires, or numbers a text that is not there.
    """

    job_texts: list[str]
    resume_texts: list[str]
    rows: np.ndarray
    positives: np.ndarray
    columns: tuple[Column, ...] = CONTRASTIVE_COLUMNS

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape[1] != len(self.columns):
            raise DataError(
                f"rows of shape {self.rows.shape} do not fit the {len(self.columns)} columns "
                f"{', '.join(column.name for column in self.columns)}; give each column its numbers"
            )
        for column in self.columns:
            numbers = self.numbers(column.name)
            missing = np.flatnonzero(numbers < 0)
            if column.required and len(missing):
                raise DataError(
                    f"{len(missing):,} of {len(numbers):,} rows have no {column.name} (-1), the first is "
                    f"row {missing[0]}; every row needs one: fill these rows or leave them out"
                )
            if not column.side or not len(numbers):
                continue
            n_texts = len(self.job_texts if column.side == "job" else self.resume_texts)
            if numbers.max() >= n_texts:
                raise DataError(
                    f"column {column.name} names {column.side} {numbers.max()}, but there are {n_texts} "
                    f"{column.side} texts; number the texts from 0"
                )

    def numbers(self, name: str) -> np.ndarray:
        """(n,) int64, the column called `name`; -1 where a row has none."""
        names = [column.name for column in self.columns]
        return self.rows[:, names.index(name)]


def build_pairs(
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    seed: int,
    mined: pd.DataFrame | None = None,
    per_job: int = 0,
) -> Pairs:
    """Number the training texts and draw each accepted pair's hard negatives.

    labels: rows of one split; label 1 makes a pair, label 0 a hard negative of its job and of its
    resume.
    mined: a table of `learning.mining`, whose negatives replace the rejected pairs, as in ConFit
    v2. Equal texts share a number, so that an employer's repost is never its own negative.
    per_job: at most so many accepted pairs of a job become rows, drawn by seed; all of them mask. 0
    takes all.
    """
    hard = _hard_negatives(labels, mined)
    accepted = labels[labels["label"] == 1]
    used_jobs = pd.concat([labels["job_id"], hard["job_id"]])
    used_resumes = pd.concat([labels["resume_id"], hard["resume_id"]])
    job_number, job_texts = _number(jobs, "job_id", used_jobs)
    resume_number, resume_texts = _number(resumes, "resume_id", used_resumes)
    accepted_jobs = job_number.loc[accepted["job_id"]].to_numpy()
    accepted_resumes = resume_number.loc[accepted["resume_id"]].to_numpy()
    positives = set(zip(accepted_jobs, accepted_resumes, strict=True))
    hard_jobs_of = defaultdict(list)
    hard_resumes_of = defaultdict(list)
    for job, resume, task in zip(
        job_number.loc[hard["job_id"]].to_numpy(),
        resume_number.loc[hard["resume_id"]].to_numpy(),
        hard["task"],
        strict=True,
    ):
        if (job, resume) in positives:
            continue
        if task == "rank_resumes":
            hard_resumes_of[job].append(resume)
        else:
            hard_jobs_of[resume].append(job)
    rng = np.random.default_rng(seed)
    hard_jobs = _draw(hard_jobs_of, accepted_resumes, rng)
    hard_resumes = _draw(hard_resumes_of, accepted_jobs, rng)
    accepted_pairs = np.column_stack([accepted_jobs, accepted_resumes])
    known = np.unique(accepted_pairs, axis=0)
    rows = np.column_stack([accepted_pairs, hard_jobs, hard_resumes]).astype(np.int64)
    if per_job:
        drawn = accepted["job_id"].reset_index(drop=True).sample(frac=1, random_state=seed)
        kept = drawn.groupby(drawn).head(per_job).index
        rows = rows[np.sort(kept)]
    return Pairs(job_texts, resume_texts, rows, known)


def _hard_negatives(labels: pd.DataFrame, mined: pd.DataFrame | None) -> pd.DataFrame:
    """job_id, resume_id and the task a negative is for; a rejected pair is one for both."""
    if mined is None:
        rejected = labels.loc[labels["label"] == 0, ["job_id", "resume_id"]]
        return pd.concat([rejected.assign(task=task) for task in TASKS])
    turned = mined["task"] == "rank_jobs"
    return pd.DataFrame(
        {
            "job_id": mined["query_id"].mask(turned, mined["candidate_id"]),
            "resume_id": mined["candidate_id"].mask(turned, mined["query_id"]),
            "task": mined["task"],
        }
    )


def _number(frame: pd.DataFrame, id_column: str, ids: pd.Series) -> tuple[pd.Series, list[str]]:
    used = frame[frame[id_column].isin(ids)]
    codes, texts = pd.factorize(used["text"])
    return pd.Series(codes, index=used[id_column]), list(texts)


def _draw(
    options: dict[int, list[int]],
    queries: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """One of each query's options, -1 where it has none."""
    drawn = np.full(len(queries), -1, dtype=np.int64)
    for i, query in enumerate(queries):
        if query in options:
            drawn[i] = rng.choice(options[query])
    return drawn


@dataclass
class PairCollator:
    """Turns rows of Pairs into chunks of tokenised documents, shortest first, so that little is
    padded.

    A document that occurs twice in a batch is encoded once. Of each column of hard negatives a
    batch keeps the first `hard_negatives` and drops the rest; nothing else is dropped. The batch's
    `label` holds two dicts by column name: `place`, (B,) the row of the concatenated chunks that
    holds the document, and `number`, (B,) what Pairs.rows holds (-1 in both: none).
    """

    model: SentenceTransformer
    pairs: Pairs
    hard_negatives: int
    chunk_size: int = 16
    job_prompt: str = ""
    resume_prompt: str = ""
    valid_label_columns: list[str] = field(default_factory=lambda: ["label"])
    padded_tokens: int = 0
    real_tokens: int = 0

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        numbers = self._numbers(np.array([feature["label"] for feature in features]))
        side_of = {column.name: column.side for column in self.pairs.columns if column.side}
        documents = self._documents(numbers, side_of)
        place_of = {document: i for i, document in enumerate(documents)}
        places = {}
        for name, side in side_of.items():
            places[name] = torch.tensor(
                [place_of.get((side, number), -1) for number in numbers[name]]
            )
        batch: dict[str, Any] = {
            "label": {
                "place": places,
                "number": {name: torch.tensor(column) for name, column in numbers.items()},
            }
        }
        for start in range(0, len(documents), self.chunk_size):
            chunk = documents[start : start + self.chunk_size]
            texts = [self._text(side, number) for side, number in chunk]
            for key, value in self.model.preprocess(texts).items():
                batch[f"chunk{start:06d}_{key}"] = value
            mask = batch[f"chunk{start:06d}_attention_mask"]
            self.padded_tokens += mask.numel()
            self.real_tokens += int(mask.sum())
        return batch

    def _numbers(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The batch's columns by name, without the hard negatives that are dropped."""
        numbers = {}
        for i, column in enumerate(self.pairs.columns):
            values = rows[:, i]
            if column.droppable:
                with_negative = np.flatnonzero(values >= 0)
                values[with_negative[self.hard_negatives :]] = -1
            numbers[column.name] = values
        return numbers

    def _documents(
        self, numbers: dict[str, np.ndarray], side_of: dict[str, str]
    ) -> list[tuple[str, int]]:
        """(side, number) of every document of the batch once, the shortest first."""
        documents = {}  # a dict keeps the order
        n_rows = len(next(iter(numbers.values())))
        for i in range(n_rows):
            for name, side in side_of.items():
                number = numbers[name][i]
                if number >= 0:
                    documents[side, number] = None
        return sorted(documents, key=lambda document: len(self._text(*document)))

    def _text(self, side: str, number: int) -> str:
        if side == "job":
            return self.job_prompt + self.pairs.job_texts[number]
        return self.resume_prompt + self.pairs.resume_texts[number]
