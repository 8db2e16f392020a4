"""HyRE by a local model that is tuned: supervised fine-tuning (SFT) on accepted training pairs, then
direct preference optimisation (DPO) on its own texts (ConFit v2, arXiv 2502.12361, section 3.2).

The model is tuned once a fold: the one that writes for the documents of a fold learned from the
accepted pairs of the others, so that no document's text comes from a model that was shown its answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from matchlib.data.schema import DataError
from matchlib.girl.cost import Speed, Work, measure_speed
from matchlib.girl.models import (
    CausalGenerator,
    check_context_length,
    copy_generator,
    decode_jobs,
    job_ids,
    load_generator,
    prompt_ids,
    prompt_text,
    sample,
)
from matchlib.girl.sft import Training, train_sft
from matchlib.language.hyre import (
    TUNED,
    Copies,
    Side,
    accepted_in_training,
    is_copy,
    text_frame,
)
from matchlib.language.llm import Answer, Keep, LanguageModel, Prompt, Sampling
from matchlib.language.prompts import form
from matchlib.language.vocabulary import trim_vocabulary
from matchlib.learning.training import last_whole_checkpoint
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.gguf import only_one
from matchlib.tuning.dpo import TARGETS, preferences, train_dpo

logger = logging.getLogger(__name__)
MAX_WORDS = 300
"""Longer documents are cut in prompts."""


def write_batch() -> int:
    """Texts written at a time."""
    return 128 if torch.cuda.is_available() else 32


@dataclass(frozen=True)
class Tuning:
    """How to tune.

    sft, dpo: both trainings; beta: of DPO, how closely it keeps to the SFT model; n_candidates:
    texts that the SFT model samples for each training document, at temperature; target: to what the
    preferred one of them is nearest by the encoder, see `preferences`; max_new_tokens: of a text;
    folds: see the module, 1 lets a document's writer learn from its own pair; n_pairs: accepted
    pairs used at most, 0 for all.
    """

    sft: Training
    dpo: Training
    beta: float = 0.1
    n_candidates: int = 4
    temperature: float = 1.0
    target: str = "accepted"
    max_new_tokens: int = 128
    folds: int = 2
    n_pairs: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise DataError(f"dpo_target {self.target!r} is not one of {', '.join(TARGETS)}")
        if self.n_candidates < 2:
            raise DataError(f"n_candidates is {self.n_candidates}; DPO compares two at least")
        if self.folds < 1:
            raise DataError(f"folds is {self.folds}; take 1 at least, 2 to keep own answers out")


@dataclass(frozen=True)
class Fold:
    """The documents of one writer: number; written: ids of the documents that it writes for; pairs:
    accepted training pairs (own id, other id) that it learns from."""

    number: int
    written: list[str]
    pairs: list[tuple[str, str]]

    @property
    def taught(self) -> list[str]:
        """Ids of the documents of its pairs, each once."""
        return list(dict.fromkeys(own_id for own_id, _ in self.pairs))


@dataclass
class Step:
    """One step's work: name; fold; tokens: computed (prompts and texts) or written; seconds."""

    name: str
    fold: int
    tokens: int
    seconds: float


@dataclass
class TunedWriter:
    """Tunes a causal model and lets it write the hypothetical texts of one side of the tables.

    generator: sft or sft_dpo. After `write`: logs (by step and fold), preferences (own_id, chosen,
    rejected, similarity of each), steps, counts.
    """

    tables: Mapping[str, pd.DataFrame]
    side: Side
    generator: str
    base_model: str
    encoder: Encoder
    tuning: Tuning
    checkpoints: Path
    cache: Path | None = None
    logs: dict[str, pd.DataFrame] = field(default_factory=dict)
    preferences: pd.DataFrame = field(default_factory=pd.DataFrame)
    steps: list[Step] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.generator not in TUNED:
            raise DataError(f"generator {self.generator!r} is not one of {', '.join(TUNED)}")
        if not self.base_model:
            raise DataError(
                f"generator {self.generator!r} tunes a causal model; set base_model to a hub id, a "
                f"folder, a GGUF file or gemma-3-270m"
            )

    @cached_property
    def folds(self) -> list[Fold]:
        """Documents and their accepted pairs by fold; near copies of a document are in its fold."""
        return make_folds(
            self.tables,
            self.side,
            n=self.tuning.folds,
            n_pairs=self.tuning.n_pairs,
            seed=self.tuning.seed,
        )

    @cached_property
    def _prompts(self) -> dict[str, Prompt]:
        own = self.tables[self.side.own]
        prompts = {}
        for own_id, text in zip(own[self.side.own_id], own["text"], strict=True):
            prompts[own_id] = form(self.side.prompt, text, max_words=MAX_WORDS)
        return prompts

    @cached_property
    def _other_text(self) -> dict[str, str]:
        other = self.tables[self.side.other]
        return dict(zip(other[self.side.other_id], other["text"], strict=True))

    @cached_property
    def _base(self) -> CausalGenerator:
        """The base model with the tokens of all own documents and of the pairs alone."""
        precision = "auto" if self.tuning.sft.lora_rank else "float32"
        model, tokenizer = load_generator(self.base_model, precision=precision)
        texts = [prompt_text(tokenizer, prompt) for prompt in self._prompts.values()]
        texts += {self._other_text[other_id] for fold in self.folds for _, other_id in fold.pairs}
        before = model.num_parameters()
        small = trim_vocabulary(model, tokenizer, texts).tokenizer
        logger.info("%d of %d weights on the tokens in use", model.num_parameters(), before)
        return CausalGenerator(model, small)

    def estimate(self) -> pd.DataFrame:
        """What the run will take, by the speed of one batch each: step, tokens, tokens_per_second,
        minutes; what an earlier run left in checkpoints and cache is not counted off."""
        speed = self._speed
        n_pairs = sum(len(fold.pairs) for fold in self.folds)
        n_taught = sum(len(fold.taught) for fold in self.folds)
        pair_tokens = sum(sum(self._pair_lengths(fold)) for fold in self.folds) / n_pairs
        work = [Work("SFT", trained=n_pairs * pair_tokens * self.tuning.sft.num_train_epochs)]
        if self.generator == "sft_dpo":
            tokens = 2 * n_taught * pair_tokens * self.tuning.dpo.num_train_epochs
            work += [
                self._writing("candidates", n_taught * self.tuning.n_candidates),
                Work("DPO", trained=tokens, read=tokens),  # the reference reads what is trained on
            ]
        work.append(self._writing("writing", len(self._prompts)))
        return _work(
            [(step.step, step.trained + step.written, speed.seconds(step)) for step in work]
        )

    def _writing(self, step: str, n_texts: int) -> Work:
        tokenizer = self._base.tokenizer
        prompt_tokens = np.mean(
            [len(prompt_ids(tokenizer, text)) for text in self._prompts.values()]
        )
        pairs = self.folds[0].pairs
        lengths = [len(job_ids(tokenizer, self._other_text[other_id])) for _, other_id in pairs]
        return Work(step, read=n_texts * prompt_tokens, written=n_texts * np.mean(lengths))

    def spent(self) -> pd.DataFrame:
        """What the steps took, over all folds, without what came from checkpoints or the cache:
        step, tokens, tokens_per_second, minutes."""
        steps = pd.DataFrame([vars(step) for step in self.steps])
        total = steps.groupby("name", sort=False)[["tokens", "seconds"]].sum()
        return _work(list(total.itertuples(name=None)))

    def write(self) -> pd.DataFrame:
        """The hypothetical texts: own_id, source_id, text.

        A text that did not end, and one that copies a candidate with which its document has a label
        (a near copy, or 12 words in a row), is left out and counted.
        """
        self.counts = {"unfinished texts": 0, "copies of own candidates": 0}
        preferred = []
        written: dict[str, str] = {}
        for fold in self.folds:
            generator = copy_generator(self._base)
            self._train_sft(generator, fold)
            if self.generator == "sft_dpo":
                pairs = self._preferences(generator, fold)
                preferred.append(pairs.assign(fold=fold.number))
                self._train_dpo(generator, pairs, fold)
            prompts = [self._prompts[own_id] for own_id in fold.written]
            texts = self._complete(generator, prompts, "writing", fold, temperature=0.0, draw=0)
            written |= dict(zip(fold.written, texts, strict=True))
        if preferred:
            self.preferences = pd.concat(preferred, ignore_index=True)
        return self._without_own_candidates(written)

    def _train_sft(self, generator: CausalGenerator, fold: Fold) -> None:
        prompts = [self._prompts[own_id] for own_id, _ in fold.pairs]
        texts = [self._other_text[other_id] for _, other_id in fold.pairs]
        tokens = sum(self._pair_lengths(fold)) * self.tuning.sft.num_train_epochs
        folder = self._sft_folder(generator, prompts, texts)
        if last_whole_checkpoint(folder):
            tokens = 0  # of which an earlier run computed some or all
        with self._timed("SFT", fold, tokens), only_one(folder.with_suffix(".lock")):
            log, n_long = train_sft(
                generator, prompts, texts, training=self.tuning.sft, checkpoints=folder
            )
        self.logs[f"SFT, fold {fold.number}"] = log
        self.counts["pairs that were too long"] = (
            self.counts.get("pairs that were too long", 0) + n_long
        )

    def _sft_folder(
        self, generator: CausalGenerator, prompts: Sequence[Prompt], texts: Sequence[str]
    ) -> Path:
        """Checkpoints of an SFT, beside the cache and by all that it depends on: sft and sft_dpo, and
        every setting of DPO, start from the same one."""
        key = [
            GeneratorBackend(generator, 1).key,
            prompts,
            texts,
            asdict(self.tuning.sft),
            metadata.version("trl"),
        ]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        parent = self.cache.parent / "tuned" if self.cache else self.checkpoints
        parent.mkdir(parents=True, exist_ok=True)
        return parent / f"sft-{name}"

    def _preferences(self, generator: CausalGenerator, fold: Fold) -> pd.DataFrame:
        prompts = [self._prompts[own_id] for own_id in fold.taught]
        candidates: dict[str, list[str]] = {own_id: [] for own_id in fold.taught}
        for draw in range(self.tuning.n_candidates):
            texts = self._complete(
                generator,
                prompts,
                "candidates",
                fold,
                temperature=self.tuning.temperature,
                draw=draw,
            )
            for own_id, text in zip(fold.taught, texts, strict=True):
                if text and text not in candidates[own_id]:
                    candidates[own_id].append(text)
        accepted: dict[str, list[str]] = {}
        for own_id, other_id in fold.pairs:
            accepted.setdefault(own_id, []).append(self._other_text[other_id])
        own = self.tables[self.side.own].set_index(self.side.own_id)["text"]
        is_jobs = self.side.own == "jobs"
        encode = self.encoder.encode_resumes if is_jobs else self.encoder.encode_jobs
        encode_own = self.encoder.encode_jobs if is_jobs else self.encoder.encode_resumes
        return preferences(
            own[fold.taught],
            candidates,
            accepted,
            target=self.tuning.target,
            encode=encode,
            encode_own=encode_own,
        )

    def _train_dpo(self, generator: CausalGenerator, pairs: pd.DataFrame, fold: Fold) -> None:
        prompts = [self._prompts[own_id] for own_id in pairs["own_id"]]
        tokenizer = generator.tokenizer
        tokens = 0
        for prompt, chosen, rejected in zip(
            prompts, pairs["chosen"], pairs["rejected"], strict=True
        ):
            both = len(job_ids(tokenizer, chosen)) + len(job_ids(tokenizer, rejected))
            tokens += 2 * len(prompt_ids(tokenizer, prompt)) + both
        with self._timed("DPO", fold, tokens * self.tuning.dpo.num_train_epochs):
            log = train_dpo(
                generator,
                prompts,
                list(pairs["chosen"]),
                list(pairs["rejected"]),
                training=self.tuning.dpo,
                beta=self.tuning.beta,
                checkpoints=self.checkpoints / f"dpo-{fold.number}",
            )
        self.logs[f"DPO, fold {fold.number}"] = log

    def _complete(
        self,
        generator: CausalGenerator,
        prompts: Sequence[Prompt],
        step: str,
        fold: Fold,
        *,
        temperature: float,
        draw: int,
    ) -> list[str]:
        """A text for each prompt, "" where it did not end; kept in the cache as they come."""
        seed = 1000 * self.tuning.seed + draw
        sampling = Sampling(temperature, self.tuning.max_new_tokens, seed=seed)
        backend = GeneratorBackend(generator, write_batch())
        model = LanguageModel(backend, sampling=sampling, cache=self.cache)
        start = time.monotonic()
        answers = model.complete(prompts)
        seconds = time.monotonic() - start
        self.steps.append(Step(step, fold.number, model.usage.completion_tokens, seconds))
        if step == "writing":
            self.counts["unfinished texts"] += sum(bool(answer.problem) for answer in answers)
        return ["" if answer.problem else answer.text.strip() for answer in answers]

    def _without_own_candidates(self, written: Mapping[str, str]) -> pd.DataFrame:
        labels = self.tables["labels"]
        labelled = labels.groupby(self.side.own_id)[self.side.other_id].agg(list).to_dict()
        rows = []
        for own_id in self.tables[self.side.own][self.side.own_id]:
            text = written[own_id]
            candidates = [self._other_text[other_id] for other_id in labelled.get(own_id, [])]
            if text and is_copy(text, candidates):
                self.counts["copies of own candidates"] += 1
                text = ""
            rows.append((own_id, "", text))
        return text_frame(rows)

    @contextmanager
    def _timed(self, name: str, fold: Fold, tokens: float):
        start = time.monotonic()
        yield
        self.steps.append(Step(name, fold.number, int(tokens), time.monotonic() - start))
        logger.info("%s, fold %d: %.0f s", name, fold.number, self.steps[-1].seconds)

    def _pair_lengths(self, fold: Fold) -> list[int]:
        tokenizer = self._base.tokenizer
        lengths = []
        for own_id, other_id in fold.pairs:
            answer = job_ids(tokenizer, self._other_text[other_id])
            lengths.append(len(prompt_ids(tokenizer, self._prompts[own_id])) + len(answer))
        return lengths

    @cached_property
    def _speed(self) -> Speed:
        pairs = self.folds[0].pairs
        prompts = [self._prompts[own_id] for own_id, _ in pairs]
        texts = [self._other_text[other_id] for _, other_id in pairs]
        return measure_speed(self._base, prompts, texts, lora_rank=self.tuning.sft.lora_rank)


def _work(rows: Sequence[tuple[str, float, float]]) -> pd.DataFrame:
    """step, tokens, tokens_per_second, minutes of steps with their tokens and seconds."""
    frame = pd.DataFrame(rows, columns=["step", "tokens", "seconds"])
    frame["tokens"] = frame["tokens"].astype(int)
    frame["tokens_per_second"] = frame["tokens"] / frame["seconds"]
    frame["minutes"] = frame["seconds"] / 60
    return frame.drop(columns="seconds")


def tuned_writer(
    generator: str,
    tables: Mapping[str, pd.DataFrame],
    side: Side,
    *,
    base_model: str,
    encoder: Encoder,
    tuning: Tuning,
    checkpoints: Path,
) -> TunedWriter | None:
    """The writer of a generator of hyre.TUNED, None for the others. What it samples and writes is
    kept in $MATCHLIB_CACHE/answers.sqlite, or .cache/answers.sqlite in the working folder."""
    if generator not in TUNED:
        return None
    cache = Path(os.environ.get("MATCHLIB_CACHE", ".cache")) / "answers.sqlite"
    return TunedWriter(tables, side, generator, base_model, encoder, tuning, checkpoints, cache)


def make_folds(
    tables: Mapping[str, pd.DataFrame], side: Side, *, n: int, n_pairs: int, seed: int
) -> list[Fold]:
    """All documents of one side in n random folds, near copies in the same one; each with the
    accepted training pairs of the other folds (with one fold: of all)."""
    copies = Copies.of(tables, side)
    accepted = accepted_in_training(tables["labels"])
    if n_pairs and n_pairs < len(accepted):
        accepted = accepted.sample(n_pairs, random_state=seed)
    pairs = list(zip(accepted[side.own_id], accepted[side.other_id], strict=True))
    own_ids = list(tables[side.own][side.own_id])
    groups = list(dict.fromkeys(copies.own[own_id] for own_id in own_ids))
    places = np.random.default_rng(seed).permutation(len(groups))
    fold_of_group = {group: place % n for group, place in zip(groups, places, strict=True)}
    folds = []
    for number in range(n):
        written = [own_id for own_id in own_ids if fold_of_group[copies.own[own_id]] == number]
        taught = []
        for own_id, other_id in pairs:
            if n == 1 or fold_of_group[copies.own[own_id]] != number:
                taught.append((own_id, other_id))
        if not taught:
            raise DataError(
                f"fold {number + 1} of {n} has no accepted training pair to learn from; bring more "
                f"labels, or lower folds"
            )
        folds.append(Fold(number, written, taught))
    return folds


@dataclass
class GeneratorBackend:
    """A model in memory, as a backend of `LanguageModel`: it continues prompts in batches, the
    longest first, and its key is the hash of its weights and tokens."""

    generator: CausalGenerator
    batch_size: int

    @cached_property
    def key(self) -> str:
        model, tokenizer = self.generator
        digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
        for name, weight in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.detach().float().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        stop: Callable[[], bool],
        keep: Keep,
    ) -> None:
        model, tokenizer = self.generator
        ids = [prompt_ids(tokenizer, prompt) for prompt in prompts]
        if ids:
            check_context_length(model, ids, sampling.max_tokens)
        model.eval()
        order = sorted(range(len(ids)), key=lambda position: -len(ids[position]))
        for start in range(0, len(order), self.batch_size):
            if stop():
                return
            batch = order[start : start + self.batch_size]
            torch.manual_seed(sampling.seed + start)
            rows = sample(
                self.generator,
                [ids[position] for position in batch],
                max_job_tokens=sampling.max_tokens,
                temperature=sampling.temperature,
            )
            texts = decode_jobs(tokenizer, rows)
            lengths = rows.answer.sum(1).tolist()
            for position, text, length, ended in zip(
                batch, texts, lengths, rows.ended, strict=True
            ):
                finish = "stop" if ended else "length"
                keep(position, Answer(text, finish, len(ids[position]), length))
