"""Stage 1: train an encoder on accepted pairs with ConFit v2's loss, on the SentenceTransformerTrainer."""

from __future__ import annotations

import json
import logging
import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from torch.utils.data import RandomSampler
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

from matchlib.data.schema import DataError
from matchlib.learning.losses import ConFitLoss
from matchlib.retrieval.encoder import Encoder, embed
from matchlib.retrieval.evaluation import qrels_from_labels, rank, score_queries
from matchlib.retrieval.search import search_dense

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How to train; the paper's values are lr 1e-5, 10 epochs, batch 4 x 2 pairs, warm-up .05, weight decay .01,
    temperature .01 (E5) or .05 (Jina), at most 2 hard negatives a batch and side."""
    learning_rate: float = 1e-5
    epochs: float = 10.0
    batch_size: int = 8
    temperature: float = 0.05
    hard_negatives: int = 2
    frozen_layers: int = 0
    warmup: float = 0.05
    weight_decay: float = 0.01
    evaluations: int = 4
    seed: int = 1
    chunk_size: int = 16


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


def build_pairs(jobs: pd.DataFrame, resumes: pd.DataFrame, labels: pd.DataFrame, *, seed: int) -> Pairs:
    """Number the training texts and draw each accepted pair's hard negatives from the rejected pairs.

    labels: rows of one split; label 1 makes a pair, label 0 a hard negative of its job and of its resume.
    Equal texts share a number, so that an employer's repost is never its own negative.
    """
    job_number, job_texts = _number(jobs, "job_id", labels)
    resume_number, resume_texts = _number(resumes, "resume_id", labels)
    numbers = np.column_stack([job_number.loc[labels["job_id"]], resume_number.loc[labels["resume_id"]]])
    accepted = numbers[(labels["label"] == 1).to_numpy()]
    if len(accepted) < 2:
        raise DataError(f"{len(accepted)} accepted pairs to train on; at least 2 are needed, check labels and split")
    known = set(map(tuple, accepted))
    rejected = [pair for pair in map(tuple, numbers[(labels["label"] == 0).to_numpy()]) if pair not in known]
    rng = np.random.default_rng(seed)
    jobs_of, resumes_of = defaultdict(list), defaultdict(list)
    for job, resume in rejected:
        jobs_of[resume].append(job)
        resumes_of[job].append(resume)
    hard_jobs, hard_resumes = _draw(jobs_of, accepted[:, 1], rng), _draw(resumes_of, accepted[:, 0], rng)
    return Pairs(job_texts, resume_texts, np.column_stack([accepted, hard_jobs, hard_resumes]),
                 np.unique(accepted, axis=0))


def _number(frame: pd.DataFrame, id_column: str, labels: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    used = frame[frame[id_column].isin(labels[id_column])]
    codes, texts = pd.factorize(used["text"])
    return pd.Series(codes, index=used[id_column]), list(texts)


def _draw(options: dict[int, list[int]], queries: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of each query's options, -1 where it has none."""
    return np.array([rng.choice(options[q]) if q in options else -1 for q in queries], dtype=np.int64)


@dataclass
class PairCollator:
    """Turns rows of Pairs into chunks of tokenised documents, shortest first, so that little is padded.

    A document that occurs twice in a batch is encoded once. The batch's `label` is (B, 8): the rows of the
    concatenated chunks that hold job, resume, hard job, hard resume, then their numbers (-1: none).
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
        numbers = np.array([feature["label"] for feature in features])
        for side in (2, 3):
            with_negative = np.flatnonzero(numbers[:, side] >= 0)
            numbers[with_negative[self.hard_negatives:], side] = -1
        documents = list(dict.fromkeys((column % 2, n) for row in numbers for column, n in enumerate(row) if n >= 0))
        documents.sort(key=lambda document: len(self._text(*document)))
        place = {document: i for i, document in enumerate(documents)}
        rows = [[place.get((column % 2, n), -1) for column, n in enumerate(row)] for row in numbers]
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


class RankingEvaluator(SentenceEvaluator):
    """Validation nDCG@10, the mean of both directions, on the accepted pairs of the validation split."""

    def __init__(self, jobs: pd.DataFrame, resumes: pd.DataFrame, labels: pd.DataFrame, *, job_prompt: str = "",
                 resume_prompt: str = ""):
        super().__init__()
        self.primary_metric = "ndcg"
        self.jobs = jobs[jobs["job_id"].isin(labels["job_id"])]
        self.resumes = resumes[resumes["resume_id"].isin(labels["resume_id"])]
        self.labels, self.prompts = labels, (job_prompt, resume_prompt)
        self.history: list[dict] = []

    def __call__(self, model, output_path=None, epoch: float = -1, steps: int = -1) -> dict[str, float]:
        job_vectors = embed(model, [self.prompts[0] + text for text in self.jobs["text"]])
        resume_vectors = embed(model, [self.prompts[1] + text for text in self.resumes["text"]])
        sides = {"rank_resumes": (self.jobs["job_id"], job_vectors, self.resumes["resume_id"], resume_vectors),
                 "rank_jobs": (self.resumes["resume_id"], resume_vectors, self.jobs["job_id"], job_vectors)}
        scores = {}
        for task, (queries, query_vectors, candidates, candidate_vectors) in sides.items():
            hits = search_dense(query_vectors, candidate_vectors)
            ranking = rank(list(queries), list(candidates), hits.positions, hits.scores)
            values = score_queries(ranking, qrels_from_labels(self.labels, task), ["nDCG@10"])
            scores[f"ndcg_{task}"] = float(values["value"].mean())
        scores["ndcg"] = float(np.mean(list(scores.values())))
        self.history.append({"step": max(steps, 0), **scores})
        return scores


class EpochSampler(DefaultBatchSampler):
    """Random batches drawn anew from seed and epoch, so that a resumed run sees the batches it would have seen."""

    def __iter__(self):
        self.generator.manual_seed(self.seed + self.epoch)
        yield from super().__iter__()

    def __init__(self, dataset, batch_size: int, drop_last: bool, generator: torch.Generator, seed: int, **_):
        super().__init__(RandomSampler(dataset, generator=generator), batch_size=batch_size, drop_last=drop_last)
        self.generator, self.seed = generator, seed


class _Trainer(SentenceTransformerTrainer):
    """The trainer without model cards: they quote training texts, in checkpoints too."""

    def add_model_card_callback(self, default_args_dict: dict) -> None:
        pass

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        self.model.save_pretrained(output_dir or self.args.output_dir, create_model_card=False)


def train_contrastive(model: SentenceTransformer, pairs: Pairs, *, settings: Settings, checkpoints: Path,
                      evaluator: RankingEvaluator | None = None, job_prompt: str = "",
                      resume_prompt: str = "") -> pd.DataFrame:
    """Train `model` in place and leave it with the checkpoint that ranks best on validation.

    The model as it came is evaluated as step 0 but is no checkpoint: training may end below it, and the log says so.

    checkpoints: a folder kept between runs; a run that was killed goes on from its last checkpoint, bit for bit.
    Returns the log: a frame step, loss, learning_rate, ndcg, ndcg_rank_resumes, ndcg_rank_jobs (NaN where a row
    has none). Raises FloatingPointError if the loss diverges.
    """
    if settings.frozen_layers:
        freeze_layers(model, settings.frozen_layers)
    collator = PairCollator(model, pairs, settings.hard_negatives, settings.chunk_size, job_prompt, resume_prompt)
    last = _last_whole_checkpoint(checkpoints)
    loss = ConFitLoss(model, torch.tensor(pairs.positives), n_jobs=len(pairs.job_texts),
                      n_resumes=len(pairs.resume_texts), temperature=settings.temperature)
    trainer = _Trainer(model=model, args=_arguments(settings, len(pairs.rows), checkpoints, model, evaluator, last),
                       train_dataset=Dataset.from_dict({"label": pairs.rows.tolist()}), loss=loss,
                       data_collator=collator, evaluator=evaluator)
    trainer.remove_callback(PrinterCallback)  # the log is returned; a notebook needs no lines of dicts
    logger.info("training on %d pairs%s", len(pairs.rows), f", going on from {Path(last).name}" if last else "")
    trainer.train(resume_from_checkpoint=last)
    if evaluator is not None:
        _check_best(model, Path(trainer.state.best_model_checkpoint))
    return pd.DataFrame([_log_row(entry) for entry in trainer.state.log_history]).dropna(thresh=2)


def _arguments(settings: Settings, n_pairs: int, checkpoints: Path, model: SentenceTransformer,
               evaluator: RankingEvaluator | None, last: str | None) -> SentenceTransformerTrainingArguments:
    if model.device.index:
        raise ValueError(f"training uses the first GPU it sees, not {model.device}; set CUDA_VISIBLE_DEVICES="
                         f"{model.device.index} and device: cuda")
    steps = max(1, round(settings.epochs * -(-n_pairs // settings.batch_size)))
    every = max(1, steps // max(settings.evaluations, 1))
    on_cpu = model.device.type == "cpu"
    bf16 = not on_cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    choose = {} if evaluator is None else {"eval_strategy": "steps", "eval_steps": every, "eval_on_start": last is None,
                                           "load_best_model_at_end": True, "metric_for_best_model": "eval_ndcg",
                                           "greater_is_better": True}
    return SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints), max_steps=steps, per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate, warmup_steps=settings.warmup, weight_decay=settings.weight_decay,
        seed=settings.seed, data_seed=settings.seed, use_cpu=on_cpu, bf16=bf16, save_strategy="steps",
        save_steps=every, save_total_limit=2, logging_steps=max(1, every // 5), logging_nan_inf_filter=False,
        report_to="none", batch_sampler=EpochSampler, disable_tqdm=True, dataloader_pin_memory=not on_cpu, **choose)


def _last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; torn ones, left by a kill, are removed."""
    for checkpoint in folder.glob("checkpoint-*"):
        try:  # the trainer writes this file last
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            logger.warning("removing the unfinished %s", checkpoint)
            shutil.rmtree(checkpoint)
    return get_last_checkpoint(folder) if folder.is_dir() else None


def freeze_layers(model: SentenceTransformer, n: int) -> None:
    """Freeze the embeddings and the lowest `n` transformer layers. Raises ValueError if there are fewer."""
    backbone = model[0].auto_model
    layers = next((m for m in backbone.modules() if isinstance(m, torch.nn.ModuleList)), [])
    if n > len(layers):
        raise ValueError(f"frozen_layers is {n}, but the model has {len(layers)} layers")
    frozen = [backbone.get_input_embeddings(), *layers[:n]]
    if hasattr(backbone, "embeddings"):
        frozen.append(backbone.embeddings)
    for module in frozen:
        module.requires_grad_(False)


def _check_best(model: SentenceTransformer, checkpoint: Path) -> None:
    """Compare the weights with the best checkpoint's: the trainer only logs a failure to load them."""
    saved = load_file(checkpoint / "model.safetensors")
    loaded = model[0].auto_model.state_dict()
    if any(not torch.equal(loaded[name].cpu(), value) for name, value in saved.items()):
        raise RuntimeError(f"the best checkpoint {checkpoint} was not loaded; remove its folder and train again")


def rank_changes(before: Encoder, after: Encoder, jobs: pd.DataFrame, resumes: pd.DataFrame,
                 labels: pd.DataFrame) -> pd.DataFrame:
    """Where each accepted resume stood and stands in its job's ranking, from the largest rise to the largest fall.

    Returns a frame rank before, rank after, job, resume (texts).
    """
    accepted = labels[labels["label"] == 1]
    pairs = accepted.merge(jobs[["job_id", "text"]], on="job_id").merge(
        resumes[["resume_id", "text"]], on="resume_id", suffixes=("_job", "_resume"))
    job_at = pd.Series(range(len(jobs)), index=jobs["job_id"]).loc[pairs["job_id"]].to_numpy()
    resume_at = pd.Series(range(len(resumes)), index=resumes["resume_id"]).loc[pairs["resume_id"]].to_numpy()
    ranks = []
    for encoder in (before, after):
        scores = encoder.encode_jobs(list(jobs["text"])) @ encoder.encode_resumes(list(resumes["text"])).T
        own = scores[job_at, resume_at]
        ranks.append((scores[job_at] > own[:, None]).sum(axis=1) + 1)
    table = pd.DataFrame({"rank before": ranks[0], "rank after": ranks[1], "job": pairs["text_job"],
                          "resume": pairs["text_resume"]})
    return table.iloc[np.argsort(np.log(ranks[1] / ranks[0]), kind="stable")].reset_index(drop=True)


def _log_row(entry: dict) -> dict:
    names = {"loss": "loss", "learning_rate": "learning_rate", "eval_ndcg": "ndcg",
             "eval_ndcg_rank_resumes": "ndcg_rank_resumes", "eval_ndcg_rank_jobs": "ndcg_rank_jobs"}
    return {"step": entry["step"], **{new: entry[old] for old, new in names.items() if old in entry}}


def save_encoder(model: SentenceTransformer, folder: Path, *, prompts: dict[str, str] | None = None) -> None:
    """Save a plain sentence-transformers folder, written beside and renamed; SentenceTransformer(folder) loads it.

    prompts: kept in the folder by name, for model.encode(..., prompt_name="job").
    """
    model.prompts |= {name: prompt for name, prompt in (prompts or {}).items() if prompt}
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(str(beside), create_model_card=False)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
