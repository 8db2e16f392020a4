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
        n_parts = [len(encoder.endpoint.cut(text)) for text in whole]
        return np.array(n_parts, dtype=int) > 1
    limit = _max_tokens(encoder)
    n_words = np.array([len(text.split()) for text in whole])
    n_bytes = np.array([len(text.encode()) for text in whole])
    cut = n_words > limit
    may_be_cut = n_bytes + MAX_SPECIAL_TOKENS > limit
    unsure = np.flatnonzero(may_be_cut & ~cut)
    n_tokens = _count_tokens(encoder, [whole[i] for i in unsure])
    cut[unsure] = n_tokens > limit
    return cut


def _max_tokens(encoder: Encoder) -> int:
    """Tokens that the model reads, special ones included; the model is loaded only where its files
    do not say it."""
    own_limit = None
    file = encoder.folder / "sentence_bert_config.json"
    if file.exists():
        settings = json.loads(file.read_text(encoding="utf-8"))
        own_limit = settings.get("max_seq_length")
    if own_limit is None:
        return encoder.model.max_seq_length
    if encoder.max_tokens is None:
        return own_limit
    return min(own_limit, encoder.max_tokens)


def _count_tokens(encoder: Encoder, texts: list[str]) -> np.ndarray:
    """(n,) number of tokens of each whole text, special ones included."""
    file = encoder.folder / "tokenizer.json"
    count = _fast_counter(file) if file.exists() else _counter_of_model(encoder)
    n_tokens: list[int] = []
    for start in range(0, len(texts), AT_ONCE):
        n_tokens += count(texts[start : start + AT_ONCE])
    return np.array(n_tokens, dtype=int)


def _fast_counter(file: Path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: list[str]) -> list[int]:
        encodings = tokenizer.encode_batch_fast(texts)
        return [len(encoding) for encoding in encodings]

    return count


def _counter_of_model(encoder: Encoder):
    tokenizer = encoder.model.tokenizer

    def count(texts: list[str]) -> list[int]:
        encoded = tokenizer(texts, truncation=False, verbose=False)
        return [len(tokens) for tokens in encoded["input_ids"]]

    return count
