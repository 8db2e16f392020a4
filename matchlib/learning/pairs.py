"""Training pairs as numbers, and the collator that turns them into batches of tokenised documents."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer

from matchlib.data.schema import TASKS, DataError


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
            texts = {"job": self.job_texts, "resume": self.resume_texts}.get(column.side)
            if texts is not None and len(numbers) and numbers.max() >= len(texts):
                raise DataError(
                    f"column {column.name} names {column.side} {numbers.max()}, but there are {len(texts)} "
                    f"{column.side} texts; number the texts from 0"
                )

    def numbers(self, name: str) -> np.ndarray:
        """(n,) int64, the column called `name`; -1 where a row has none."""
        return self.rows[:, [column.name for column in self.columns].index(name)]


def build_pairs(
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    seed: int,
    mined: pd.DataFrame | None = None,
) -> Pairs:
    """Number the training texts and draw each accepted pair's hard negatives.

    labels: rows of one split; label 1 makes a pair, label 0 a hard negative of its job and of its
    resume.
    mined: a table of `learning.mining`, whose negatives replace the rejected pairs, as in ConFit
    v2. Equal texts share a number, so that an employer's repost is never its own negative.
    """
    hard = _hard_negatives(labels, mined)
    job_number, job_texts = _number(jobs, "job_id", pd.concat([labels["job_id"], hard["job_id"]]))
    resume_number, resume_texts = _number(
        resumes, "resume_id", pd.concat([labels["resume_id"], hard["resume_id"]])
    )

    def numbers(rows: pd.DataFrame) -> np.ndarray:
        return np.column_stack(
            [job_number.loc[rows["job_id"]], resume_number.loc[rows["resume_id"]]]
        )

    accepted = numbers(labels[labels["label"] == 1])
    known = set(map(tuple, accepted))
    jobs_of, resumes_of = defaultdict(list), defaultdict(list)
    for job, resume, task in zip(*numbers(hard).T, hard["task"], strict=True):
        if (job, resume) not in known and task == "rank_resumes":
            resumes_of[job].append(resume)
        elif (job, resume) not in known:
            jobs_of[resume].append(job)
    rng = np.random.default_rng(seed)
    hard_jobs, hard_resumes = (
        _draw(jobs_of, accepted[:, 1], rng),
        _draw(resumes_of, accepted[:, 0], rng),
    )
    rows = np.column_stack([accepted, hard_jobs, hard_resumes]).astype(np.int64)
    return Pairs(job_texts, resume_texts, rows, np.unique(accepted, axis=0))


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
    options: dict[int, list[int]], queries: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One of each query's options, -1 where it has none."""
    return np.array(
        [rng.choice(options[q]) if q in options else -1 for q in queries], dtype=np.int64
    )


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
        rows = np.array([feature["label"] for feature in features])
        numbers = {column.name: rows[:, i] for i, column in enumerate(self.pairs.columns)}
        for column in self.pairs.columns:
            if column.droppable:
                with_negative = np.flatnonzero(numbers[column.name] >= 0)
                numbers[column.name][with_negative[self.hard_negatives :]] = -1
        sides = {column.name: column.side for column in self.pairs.columns if column.side}
        of_row = [
            [(side, numbers[name][i]) for name, side in sides.items()] for i in range(len(rows))
        ]
        documents = list(
            dict.fromkeys(document for row in of_row for document in row if document[1] >= 0)
        )
        documents.sort(key=lambda document: len(self._text(*document)))
        place = {document: i for i, document in enumerate(documents)}
        places = {
            name: [place.get((side, number), -1) for number in numbers[name]]
            for name, side in sides.items()
        }
        batch = {
            "label": {
                "place": {name: torch.tensor(found) for name, found in places.items()},
                "number": {name: torch.tensor(column) for name, column in numbers.items()},
            }
        }
        for start in range(0, len(documents), self.chunk_size):
            texts = [
                self._text(*document) for document in documents[start : start + self.chunk_size]
            ]
            for key, value in self.model.preprocess(texts).items():
                batch[f"chunk{start:06d}_{key}"] = value
            mask = batch[f"chunk{start:06d}_attention_mask"]
            self.padded_tokens += mask.numel()
            self.real_tokens += int(mask.sum())
        return batch

    def _text(self, side: str, number: int) -> str:
        if side == "job":
            return self.job_prompt + self.pairs.job_texts[number]
        return self.resume_prompt + self.pairs.resume_texts[number]
