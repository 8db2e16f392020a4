"""How likely a causal model finds given continuations of prompts, in batches."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

MAX_SCORES = 2**28
"""Scores of next tokens (rows x continuation tokens x vocabulary) held at once: 1 GB in float32."""


class Likelihood(NamedTuple):
    """log_probability: natural, summed over the continuation's tokens; n_tokens: how many these are."""

    log_probability: float
    n_tokens: int


class TokenSequence(NamedTuple):
    """ids: of a prompt and its continuation; n_continuation: how many of the last are the latter."""

    ids: list[int]
    n_continuation: int


class _Row(NamedTuple):
    """What the model reads for a sequence: all its tokens but the last. Continuations that differ in
    the last token alone, such as "Choice: A" and "Choice: B", share a row."""

    inputs: tuple[int, ...]
    n_continuation: int


def score_sequences(
    model: PreTrainedModel,
    sequences: Sequence[TokenSequence],
    *,
    pad: int,
    batch_size: int,
) -> list[Likelihood]:
    """The likelihood of each continuation given its prompt.

    Every sequence has a token before its continuation. pad: any id with an embedding; padding is on
    the left, masked and not counted in the positions, so that a result depends on its batch by
    rounding alone (1e-5 in float32, 1e-1 in bfloat16).
    """
    import torch

    sequences_of_row: dict[_Row, list[int]] = defaultdict(list)
    for number, sequence in enumerate(sequences):
        row = _Row(tuple(sequence.ids[:-1]), sequence.n_continuation)
        sequences_of_row[row].append(number)
    found: dict[int, Likelihood] = {}
    vocabulary = model.get_output_embeddings().weight.shape[0]
    for batch in _batches(list(sequences_of_row), batch_size, vocabulary):
        scores = _next_token_scores(model, batch, pad)
        for row, row_scores in zip(batch, scores, strict=True):
            n = row.n_continuation
            log_probabilities = row_scores[-n:].float().log_softmax(dim=-1)
            for number in sequences_of_row[row]:
                targets = torch.tensor(sequences[number].ids[-n:], device=log_probabilities.device)
                of_targets = log_probabilities.gather(1, targets[:, None])
                found[number] = Likelihood(float(of_targets.sum()), n)
    return [found[number] for number in range(len(sequences))]


def _batches(rows: list[_Row], batch_size: int, vocabulary: int) -> Iterator[list[_Row]]:
    """Rows of like length together, the longest first, with at most MAX_SCORES scores a batch."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: len(row.inputs), reverse=True):
        widest = max([one.n_continuation for one in [*batch, row]])
        is_full = len(batch) == batch_size or (len(batch) + 1) * widest * vocabulary > MAX_SCORES
        if batch and is_full:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _next_token_scores(model: PreTrainedModel, batch: list[_Row], pad: int) -> torch.Tensor:
    """(B, T, V) scores of the next token at the last T tokens, T the longest continuation's."""
    import torch

    width = max(len(row.inputs) for row in batch)
    n_scores = max(row.n_continuation for row in batch)
    ids = torch.full((len(batch), width), pad)
    attention = torch.zeros_like(ids)
    for number, row in enumerate(batch):
        ids[number, width - len(row.inputs) :] = torch.tensor(row.inputs)
        attention[number, width - len(row.inputs) :] = 1
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model  # PEFT's wrapper
    takes = inspect.signature(bare.forward).parameters
    options = {}
    if "position_ids" in takes:
        options["position_ids"] = (attention.cumsum(dim=1) - 1).clamp(min=0).to(model.device)
    if "logits_to_keep" in takes:  # scores of all positions of a large vocabulary take gigabytes
        options["logits_to_keep"] = n_scores
    with torch.inference_mode():
        out = model(
            input_ids=ids.to(model.device),
            attention_mask=attention.to(model.device),
            use_cache=False,
            **options,
        )
    return out.logits[:, -n_scores:]
