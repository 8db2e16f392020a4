"""A sequence-to-sequence student, as in RJDB's paper (arXiv 2311.06383): one encoder-decoder such as
T5 learns every task as text, told apart by a prefix.

It writes freely, so it can invent: its edits are judged by `claims` like all others. Deviation: the
paper trains T5-base on more than 50,000 triples; settings of it are not public. A trained student
is a plain transformers folder (AutoModelForSeq2SeqLM).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    GenerationConfig,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from matchlib.girl.sft import run
from matchlib.hrtasks.rjdb_rows import HrRow
from matchlib.retrieval.models import EncoderError, find_model, whole_weights

PREFIXES = {
    "match": "does the resume match the job?",
    "skills": "list the skills that the job asks for.",
    "explain": "list what the job asks for and the resume lacks.",
    "edit": "edit the resume to match the job.",
}
YES, NO = "yes", "no"
NOTHING = "nothing"
"""What a matched resume lacks."""
SEPARATOR = "; "
EXPERIENCE = "experience: "
"""Before an item of an explanation that is no skill."""
LINE_BREAK = " // "
"""T5's tokenizer makes a space of a line break."""
BATCH_SIZE = 16
"""Texts answered at a time."""


@dataclass(frozen=True)
class Seq2SeqSettings:
    """How a student is trained and asked.

    learning_rate: T5's authors advise 1e-4 to 1e-3; max_source_tokens: of a prefix and its
    documents, of which longer ones are cut, T5 was trained with 512; max_target_tokens: of an
    answer, the longest of which are edited resumes.
    """

    num_train_epochs: float = 5.0
    learning_rate: float = 3e-4
    batch_size: int = 8
    max_source_tokens: int = 512
    max_target_tokens: int = 384
    warmup: float = 0.05
    weight_decay: float = 0.01


@dataclass(frozen=True)
class Example:
    """A task with its documents by name, and the text to write."""

    task: str
    documents: dict[str, str]
    target: str


class Seq2SeqStudent:
    """An encoder-decoder with its tokenizer, asked by task.

    name: hub id or folder. Raises EncoderError for a model that cannot be found or loaded, or is no
    encoder-decoder. n_asked, n_cut: inputs so far, and those of them that were too long; n_unended:
    answers that did not end within max_target_tokens.
    """

    def __init__(self, name: str, settings: Seq2SeqSettings | None = None, *, device: str = ""):
        self.settings = settings or Seq2SeqSettings()
        folder = find_model(name)
        with whole_weights(folder):
            config = AutoConfig.from_pretrained(folder)
        if not config.is_encoder_decoder:
            raise EncoderError(
                f"{name} ({config.model_type}) is no encoder-decoder, as seq2seq_model has to be; name "
                f"one such as google-t5/t5-base, or give a causal model as base_model with "
                f"imitate_rjdb: true"
            )
        with whole_weights(folder):
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().to(device)
        self.n_asked = 0
        self.n_cut = 0
        self.n_unended = 0

    @property
    def max_source_tokens(self) -> int:
        """The tokens that the settings allow and the model reads."""
        config = self.model.config
        limits = [self.settings.max_source_tokens, self.tokenizer.model_max_length]
        if getattr(config, "max_position_embeddings", None):
            limits.append(config.max_position_embeddings)  # T5's positions are relative: no limit
        return min(limits)

    @property
    def note(self) -> str:
        """How many inputs and answers were cut."""
        return (
            f"{self.n_cut:,} of {self.n_asked:,} inputs were longer than {self.max_source_tokens} "
            f"tokens, and the ends of their longer documents were cut; {self.n_unended:,} answers did "
            f"not end within {self.settings.max_target_tokens} tokens"
        )

    def predict(self, jobs: Sequence[str], resumes: Sequence[str]) -> np.ndarray:
        """(n,) probability that each resume matches its job: of "yes" against "no"."""
        sources = [
            self._source("match", job=job, resume=resume)
            for job, resume in zip(jobs, resumes, strict=True)
        ]
        likelihoods = self._log_likelihoods(sources, (YES, NO))
        margins = likelihoods[:, 0] - likelihoods[:, 1]
        return 1 / (1 + np.exp(-margins))

    def find_skills(self, jobs: Sequence[str]) -> list[list[str]]:
        """The skills that each job asks for, as the student names them."""
        return [
            as_items(text) for text in self._write([self._source("skills", job=j) for j in jobs])
        ]

    def missing_skills(self, jobs: Sequence[str], resumes: Sequence[str]) -> list[list[str]]:
        """The skills that each job asks for and its resume lacks."""
        sources = [
            self._source("explain", job=job, resume=resume)
            for job, resume in zip(jobs, resumes, strict=True)
        ]
        return [
            [item for item in as_items(text) if not item.startswith(EXPERIENCE.strip())]
            for text in self._write(sources)
        ]

    def edit(self, jobs: Sequence[str], resumes: Sequence[str]) -> list[str]:
        """The resumes, rewritten to match their jobs; nothing checks that they are true."""
        sources = [
            self._source("edit", job=job, resume=resume)
            for job, resume in zip(jobs, resumes, strict=True)
        ]
        return [re.sub(r"\s*(?<!:)//\s*", "\n", text) for text in self._write(sources)]

    def save(self, folder: Path) -> None:
        """Write a folder that transformers loads."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def rows(self, examples: Sequence[Example]) -> list[dict[str, list[int]]]:
        """Examples as token ids. A text to write that is too long is cut; it is counted as asked."""
        rows = []
        for example in examples:
            source = self._source(example.task, **example.documents)
            target = _one_line(example.target)
            rows.append({"input_ids": self._ids(source), "labels": self._target_ids(target)})
        return rows

    def _ids(self, source: str) -> list[int]:
        return self.tokenizer(source, truncation=True, max_length=self.max_source_tokens)[
            "input_ids"
        ]

    def _target_ids(self, text: str) -> list[int]:
        limit = self.settings.max_target_tokens
        return self.tokenizer(text_target=text, truncation=True, max_length=limit)["input_ids"]

    def _source(self, task: str, **documents: str) -> str:
        """Prefix and documents in a line; where they are too long, the longest documents are cut."""
        self.n_asked += 1
        texts = {name: _one_line(text) for name, text in documents.items()}
        encoded = self.tokenizer(
            list(texts.values()),
            add_special_tokens=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        offsets = encoded["offset_mapping"]
        frame = _joined(PREFIXES[task], {name: "" for name in texts})
        room = self.max_source_tokens - len(self.tokenizer(frame)["input_ids"])
        lengths = [len(of_text) for of_text in offsets]
        if sum(lengths) <= room:
            return _joined(PREFIXES[task], texts)
        self.n_cut += 1
        longest = _fair_limit(lengths, room)
        cut = {}
        for (name, text), of_text in zip(texts.items(), offsets, strict=True):
            fits = len(of_text) <= longest
            cut[name] = text if fits else text[: of_text[longest - 1][1] if longest else 0]
        return _joined(PREFIXES[task], cut)

    @torch.inference_mode()
    def _log_likelihoods(self, sources: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        """(sources, answers) log likelihood of each whole answer."""
        table = np.zeros((len(sources), len(answers)))
        for batch, inputs in self._batches(sources):
            encoded = self.model.get_encoder()(**inputs)
            for column, answer in enumerate(answers):
                labels = torch.tensor(self._target_ids(answer), device=self.model.device)
                labels = labels.repeat(len(batch), 1)
                logits = self.model(
                    encoder_outputs=encoded,
                    attention_mask=inputs["attention_mask"],
                    labels=labels,
                ).logits
                losses = cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")
                table[batch, column] = -losses.sum(dim=1).cpu().numpy()
        return table

    @torch.inference_mode()
    def _write(self, sources: Sequence[str]) -> list[str]:
        """The most likely answers, token by token."""
        settings = GenerationConfig(
            max_new_tokens=self.settings.max_target_tokens,
            do_sample=False,
            num_beams=1,
            decoder_start_token_id=self.model.config.decoder_start_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        texts = [""] * len(sources)
        for batch, inputs in self._batches(sources):
            ids = self.model.generate(**inputs, generation_config=settings)
            ended = (ids == self.tokenizer.eos_token_id).any(dim=1)
            self.n_unended += int((~ended).sum())
            decoded = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
            for place, text in zip(batch, decoded, strict=True):
                texts[place] = text.strip()
        return texts

    def _batches(self, sources: Sequence[str]):
        """(places, padded inputs) of texts of about one length."""
        ids = [self._ids(source) for source in sources]
        order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
        for start in range(0, len(order), BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            inputs = self.tokenizer.pad(
                {"input_ids": [ids[place] for place in batch]}, return_tensors="pt"
            )
            yield (
                batch,
                {
                    "input_ids": inputs["input_ids"].to(self.model.device),
                    "attention_mask": inputs["attention_mask"].to(self.model.device),
                },
            )


def examples_of(rows: Sequence[HrRow]) -> list[Example]:
    """Six examples a triple: match and explain with both resumes, skills, and edit."""
    examples = []
    for row in rows:
        skills = SEPARATOR.join(row.job_skills)
        examples.append(Example("skills", {"job": row.job}, skills or NOTHING))
        for resume, label, lacks in (
            (row.matched, YES, NOTHING),
            (row.unmatched, NO, _what_was_filtered(row)),
        ):
            documents = {"job": row.job, "resume": resume}
            examples.append(Example("match", documents, label))
            examples.append(Example("explain", documents, lacks))
        examples.append(Example("edit", {"job": row.job, "resume": row.unmatched}, row.matched))
    return examples


def _what_was_filtered(row: HrRow) -> str:
    items = list(row.job_filtered_skills)
    if row.filtered_experience.old is not None:
        old = row.filtered_experience.old
        years = "" if old.years is None else f", {old.years} years"
        items.append(f"{EXPERIENCE}{old.title}{years}")
    return SEPARATOR.join(items) or NOTHING


def train_seq2seq(
    rows: Sequence[HrRow],
    *,
    name: str,
    settings: Seq2SeqSettings,
    seed: int,
    checkpoints: Path,
    device: str = "",
) -> tuple[Seq2SeqStudent, pd.DataFrame]:
    """Train one student on all tasks of the rows. Returns it and the log (step, loss, learning_rate).

    Every example counts alike, however long its text: by tokens, a resume would outweigh a hundred
    answers of one word. A killed run goes on from its last checkpoint. Raises EncoderError as
    `Seq2SeqStudent` does, FloatingPointError if the loss diverges.
    """
    torch.manual_seed(seed)
    student = Seq2SeqStudent(name, settings, device=device)
    examples = student.rows(examples_of(rows))
    on_cpu = student.model.device.type == "cpu"
    steps = -(-len(examples) // settings.batch_size)
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.num_train_epochs,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        seed=seed,
        data_seed=seed,
        use_cpu=on_cpu,
        # float16 overflows in T5
        bf16=not on_cpu and torch.cuda.is_bf16_supported(),
        logging_steps=max(1, steps // 4),
        logging_nan_inf_filter=False,
        save_strategy="epoch",
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=not on_cpu,
    )
    trainer = Seq2SeqTrainer(
        model=student.model.train(),
        args=arguments,
        train_dataset=examples,
        data_collator=DataCollatorForSeq2Seq(student.tokenizer, model=student.model),
        processing_class=student.tokenizer,
        compute_loss_func=mean_loss_of_examples,
    )
    log = run(trainer, student.model, checkpoints)
    student.model.eval()
    return student, log


def mean_loss_of_examples(outputs, labels: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
    """The mean over examples of the mean loss of their tokens. labels: (B, T), -100 is no token."""
    losses = cross_entropy(outputs.logits.float().transpose(1, 2), labels, reduction="none")
    is_token = labels != -100
    return (losses.sum(dim=1) / is_token.sum(dim=1).clamp(min=1)).mean()


def as_items(text: str) -> list[str]:
    """The items of a list that a student wrote, each once."""
    items = dict.fromkeys(item.strip() for item in text.split(SEPARATOR.strip()))
    return [item for item in items if item and item != NOTHING]


def _one_line(text: str) -> str:
    """A text with its line breaks as words, which every tokenizer keeps."""
    return LINE_BREAK.join(line.strip() for line in text.splitlines() if line.strip())


def _joined(prefix: str, documents: dict[str, str]) -> str:
    return " ".join([prefix, *(f"{name}: {text}" for name, text in documents.items())])


def _fair_limit(lengths: Sequence[int], room: int) -> int:
    """The largest number of tokens of each document so that all fit: short ones leave their rest."""
    limit = max(0, room)
    for number, length in enumerate(sorted(lengths)):
        limit = max(0, room) // (len(lengths) - number)
        if length > limit:
            return limit
        room -= length
    return limit
