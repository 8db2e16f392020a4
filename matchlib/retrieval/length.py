"""Which texts an encoder does not read to their end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from matchlib.retrieval.encoder import Encoder

AT_ONCE = 256
"""Texts tokenized at a time: their number of tokens is kept, not the tokens."""
MAX_SPECIAL_TOKENS = 4
"""Most tokens that a tokenizer puts around a text."""


def is_cut(encoder: Encoder, texts: Sequence[str], *, prompt: str = "") -> np.ndarray:
    """(n,) bool: whether a text with its prompt is longer than the encoder reads, so that its end
    counts for nothing.

    Texts with more words than the encoder reads tokens are cut, those with fewer bytes are not; the
    others are tokenized. Nothing is cut where an encoder reads passages, or an endpoint's service
    takes texts whole.
    """
    whole = [prompt + text for text in texts]
    if encoder.passages is not None:
        return np.zeros(len(whole), dtype=bool)
    if encoder.is_endpoint:
        return np.array([len(encoder.endpoint.cut(text)) > 1 for text in whole], dtype=bool)
    limit = _max_tokens(encoder)
    n_words = np.array([len(text.split()) for text in whole])
    n_bytes = np.array([len(text.encode()) for text in whole])
    cut = n_words > limit
    unsure = np.flatnonzero(~cut & (n_bytes + MAX_SPECIAL_TOKENS > limit))
    cut[unsure] = _count_tokens(encoder, [whole[i] for i in unsure]) > limit
    return cut


def _max_tokens(encoder: Encoder) -> int:
    """Tokens that the model reads, special ones included; the model is loaded only where its files
    do not say it."""
    settings = encoder.folder / "sentence_bert_config.json"
    if settings.exists():
        own_limit = json.loads(settings.read_text(encoding="utf-8")).get("max_seq_length")
        limits = [limit for limit in (own_limit, encoder.max_tokens) if limit is not None]
        if own_limit is not None:
            return min(limits)
    return encoder.model.max_seq_length


def _count_tokens(encoder: Encoder, texts: list[str]) -> np.ndarray:
    """(n,) number of tokens of each whole text, special ones included."""
    file = encoder.folder / "tokenizer.json"
    count = _fast_counter(file) if file.exists() else _counter_of_model(encoder)
    parts = [count(texts[start : start + AT_ONCE]) for start in range(0, len(texts), AT_ONCE)]
    return np.array([n for part in parts for n in part], dtype=int)


def _fast_counter(file: Path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: list[str]) -> list[int]:
        return [len(encoding) for encoding in tokenizer.encode_batch_fast(texts)]

    return count


def _counter_of_model(encoder: Encoder):
    tokenizer = encoder.model.tokenizer

    def count(texts: list[str]) -> list[int]:
        return [
            len(tokens) for tokens in tokenizer(texts, truncation=False, verbose=False)["input_ids"]
        ]

    return count
