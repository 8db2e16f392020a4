"""Skill and experience extractors: token classification on an encoder, spans by BIO labels.

A trained tagger is a plain transformers folder (AutoModelForTokenClassification). RJDB's paper
(arXiv 2311.06383) trains sequence-to-sequence students instead; spans cannot invent words.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback

from matchlib.data.schema import DataError
from matchlib.retrieval.models import find_model

logger = logging.getLogger(__name__)
OVERLAP = 48
"""Tokens that two windows of a long text share."""
IGNORED = -100
"""The label of tokens that the loss leaves out."""


@dataclass(frozen=True)
class Span:
    """Characters start to end of a text, of a kind ("skill", "experience"); score: the mean
    probability of its tokens, 1 where a person marked it."""

    start: int
    end: int
    kind: str
    score: float = 1.0


@dataclass(frozen=True)
class TaggedText:
    """A text and the spans in it, as a person or a rule marked them; split: as its file says."""

    text: str
    spans: tuple[Span, ...]
    split: str = ""


@dataclass(frozen=True)
class TaggerSettings:
    """How a tagger is trained. max_tokens: of a window; frozen_layers: lowest layers that are not
    trained."""

    num_train_epochs: float = 5.0
    learning_rate: float = 1e-4
    batch_size: int = 16
    max_tokens: int = 256
    frozen_layers: int = 0
    warmup: float = 0.1
    weight_decay: float = 0.01


class Tagger:
    """A model of token classification with its tokenizer.

    Raises EncoderError for a model that cannot be found or loaded, DataError for one whose labels
    are not BIO.
    """

    def __init__(self, name: str, *, max_tokens: int = 256, device: str = ""):
        folder = find_model(name)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForTokenClassification.from_pretrained(folder).eval()
        self.labels = [self.model.config.id2label[i] for i in range(self.model.config.num_labels)]
        if "O" not in self.labels or not all(
            x == "O" or x[:2] in ("B-", "I-") for x in self.labels
        ):
            raise DataError(
                f"{name}: the labels {', '.join(self.labels[:4])} are not BIO; name a folder of a "
                f"tagger, e.g. of a stage of 08_hr_tasks"
            )
        self.max_tokens = max_tokens
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)

    def find(
        self, texts: Sequence[str], *, threshold: float = 0.5, batch_size: int = 32
    ) -> list[list[Span]]:
        """The spans of each text, in order.

        threshold: a token belongs to a kind if the probability of its B and I is above it.
        """
        return [
            _spans(text, *scored, self.labels, threshold)
            for text, scored in zip(texts, self._probabilities(texts, batch_size), strict=True)
        ]

    def _probabilities(
        self, texts: Sequence[str], batch_size: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each text its tokens' characters (n, 2) and probabilities (n, labels). A token in two
        windows is taken from the one in which it is farther from an end."""
        encoded = _windows(self.tokenizer, list(texts), self.max_tokens)
        order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i].input_ids))
        found: list[np.ndarray] = [np.empty(0)] * len(encoded)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            inputs = self.tokenizer.pad(
                {"input_ids": [encoded[i].input_ids for i in batch]}, return_tensors="pt"
            ).to(self.device)
            with torch.inference_mode():
                p = self.model(**inputs).logits.float().softmax(-1).cpu().numpy()
            for row, i in enumerate(batch):
                found[i] = p[row, : len(encoded[i].input_ids)]
        best: list[dict[tuple[int, int], tuple[int, np.ndarray]]] = [{} for _ in texts]
        for window, p in zip(encoded, found, strict=True):
            n = len(window.offsets)
            for at, (begin, end) in enumerate(window.offsets):
                if begin == end:
                    continue  # a special token
                depth = min(at, n - at)
                known = best[window.text].get((begin, end))
                if known is None or depth > known[0]:
                    best[window.text][begin, end] = (depth, p[at])
        n_labels = len(self.labels)
        results = []
        for by_token in best:
            ordered = sorted(by_token)
            p = np.array([by_token[key][1] for key in ordered]).reshape(-1, n_labels)
            results.append((np.array(ordered, dtype=int).reshape(-1, 2), p))
        return results

    def save(self, folder: Path) -> None:
        """Write a folder that transformers loads."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class _Window:
    text: int
    input_ids: list[int]
    offsets: list[tuple[int, int]]


def _windows(tokenizer, texts: list[str], max_tokens: int) -> list[_Window]:
    if not texts:
        return []
    encoded = tokenizer(
        texts,
        truncation=True,
        max_length=max_tokens,
        stride=min(OVERLAP, max_tokens // 4),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    parts = zip(
        encoded["overflow_to_sample_mapping"],
        encoded["input_ids"],
        encoded["offset_mapping"],
        strict=True,
    )
    return [_Window(text, list(ids), list(offsets)) for text, ids, offsets in parts]


def _spans(
    text: str, offsets: np.ndarray, p: np.ndarray, labels: list[str], threshold: float
) -> list[Span]:
    """Spans of neighbouring tokens of one kind; a token that begins one more likely than it goes on
    begins a new one."""
    kinds = sorted({label[2:] for label in labels if label != "O"})
    found = []
    for kind in kinds:
        begins = p[:, labels.index(f"B-{kind}")]
        inside = p[:, labels.index(f"I-{kind}")]
        is_part = begins + inside > threshold
        is_first = begins > inside
        start = None
        scores: list[float] = []
        for at in range(len(p) + 1):
            ends = at == len(p) or not is_part[at] or is_first[at]
            if start is not None and ends and not _continues_word(text, offsets, at):
                begin, end = int(offsets[start, 0]), int(offsets[at - 1, 1])
                found.append(Span(begin, end, kind, float(np.mean(scores))))
                start = None
            if at == len(p):
                break
            if start is None and is_part[at] and not _continues_word(text, offsets, at):
                start, scores = at, []
            if start is not None:
                scores.append(float(begins[at] + inside[at]))
    return sorted(found, key=lambda span: (span.start, span.end))


def _continues_word(text: str, offsets: np.ndarray, at: int) -> bool:
    """Whether a token stands in the word of the one before it."""
    if not 0 < at < len(offsets) or offsets[at - 1, 1] != offsets[at, 0]:
        return False
    return text[offsets[at, 0] - 1].isalnum() and text[offsets[at, 0]].isalnum()


def train_tagger(
    documents: Sequence[TaggedText],
    *,
    name: str,
    settings: TaggerSettings,
    seed: int,
    device: str = "",
) -> Tagger:
    """Train token classification on an encoder, or go on with a tagger of the same kinds.

    name: hub id or folder. Raises DataError where no document has a span.
    """
    kinds = sorted({span.kind for document in documents for span in document.spans})
    if not kinds:
        raise DataError("no document has a span; an extractor needs some to learn from")
    labels = ["O", *(f"{part}-{kind}" for kind in kinds for part in "BI")]
    folder = find_model(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(seed)
    model = AutoModelForTokenClassification.from_pretrained(
        folder,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    _freeze(model, settings.frozen_layers)
    rows = _training_rows(documents, tokenizer, labels, settings.max_tokens)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=_arguments(Path(scratch), settings, seed, device),
            train_dataset=rows,
            data_collator=DataCollatorForTokenClassification(tokenizer),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        tagger_folder = Path(scratch) / "tagger"
        model.save_pretrained(tagger_folder)
        tokenizer.save_pretrained(tagger_folder)
        return Tagger(str(tagger_folder), max_tokens=settings.max_tokens, device=device)


def _arguments(folder: Path, settings: TaggerSettings, seed: int, device: str) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.num_train_epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        train_sampling_strategy="group_by_length",
        seed=seed,
        data_seed=seed,
        use_cpu=device == "cpu",
        save_strategy="no",
        logging_strategy="epoch",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=device != "cpu",
    )


def _freeze(model, n_layers: int) -> None:
    if not n_layers:
        return
    base = model.base_model
    layers = base.encoder.layer
    if n_layers > len(layers):
        raise DataError(f"frozen_layers is {n_layers}, but the encoder has {len(layers)} layers")
    for part in (base.embeddings, *layers[:n_layers]):
        part.requires_grad_(False)


def _training_rows(
    documents: Sequence[TaggedText], tokenizer, labels: list[str], max_tokens: int
) -> list[dict[str, list[int]]]:
    number = {label: i for i, label in enumerate(labels)}
    windows = _windows(tokenizer, [document.text for document in documents], max_tokens)
    rows = []
    for window in windows:
        tags = [IGNORED if begin == end else number["O"] for begin, end in window.offsets]
        for span in documents[window.text].spans:
            is_first = True
            for at, (begin, end) in enumerate(window.offsets):
                if begin < end and span.start <= begin and end <= span.end:
                    tags[at] = number[f"{'B' if is_first else 'I'}-{span.kind}"]
                    is_first = False
        rows.append({"input_ids": window.input_ids, "labels": tags})
    return rows


def spans_of_tags(tokens: Sequence[str], tags: Sequence[str], *, kind: str) -> TaggedText:
    """A sentence of tokens with BIO tags as a text (tokens joined by spaces) with spans.

    Every tag but O counts, whatever it is called.
    """
    begins = np.cumsum([0, *(len(token) + 1 for token in tokens)])
    spans: list[Span] = []
    start = None
    for at, tag in enumerate([*tags, "O"]):
        if start is not None and (tag == "O" or tag.startswith("B")):
            spans.append(Span(int(begins[start]), int(begins[at] - 1), kind))
            start = None
        if tag != "O" and start is None:
            start = at
    return TaggedText(" ".join(tokens), tuple(spans))


def texts_of(text: str, spans: Iterable[Span]) -> list[str]:
    """The words of spans, each once, in order."""
    return list(dict.fromkeys(text[span.start : span.end] for span in spans))
