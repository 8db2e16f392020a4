"""Embeddings by an OpenAI-compatible service (OpenAI, vLLM, text-embeddings-inference, Ollama,
...)."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property

import numpy as np

from matchlib.data.words import cut_at_words
from matchlib.retrieval.models import EncoderError
from matchlib.retrieval.openai_client import (
    RETRIES,
    openai_client,
    status_reason,
)


class Endpoint:
    """One embedding model of the service that OPENAI_BASE_URL names, with the key in
    OPENAI_API_KEY.

    max_words: texts are cut there, since the service's tokens are unknown here (None: they are sent
    whole). Time-outs, refused connections, 408, 409, 429 and 5xx are tried again with growing
    pauses (the client's own).
    """

    batch_size = 64

    def __init__(self, model: str, *, max_words: int | None = None):
        self.model = model
        self.max_words = max_words

    @cached_property
    def client(self):
        """The openai client. Raises EncoderError without a key; a local service takes any."""
        return openai_client(EncoderError, retries=RETRIES)

    @property
    def key(self) -> str:
        """Hash of the service's address and the model's name; who renames a model keeps its old
        vectors."""
        name = json.dumps([str(self.client.base_url), self.model])
        return hashlib.sha256(name.encode()).hexdigest()

    def cut(self, text: str) -> list[str]:
        """A text's passages of max_words words each; at least one."""
        return [text] if self.max_words is None else cut_at_words(text, self.max_words)

    def embed(self, texts: list[str]) -> np.ndarray:
        """(n, dim) float32 unit vectors; one request for `batch_size` texts. Raises EncoderError on
        any refusal."""
        shown = [self.cut(text)[0] for text in texts]
        vectors = []
        for start in range(0, len(shown), self.batch_size):
            vectors.append(self._request(shown[start : start + self.batch_size]))
        dimensions = {part.shape[1] for part in vectors}
        if len(dimensions) > 1:
            raise EncoderError(
                f"{self.model}: the service gave vectors of different lengths; is the model loaded "
                f"twice?"
            )
        matrix = np.concatenate(vectors)
        norms = np.linalg.norm(matrix, axis=1, keepdims=True)
        if not np.isfinite(matrix).all() or (norms == 0).any():
            raise EncoderError(
                f"{self.model}: the service gave vectors that are not finite or are 0; nothing is kept"
            )
        return (matrix / norms).astype(np.float32)

    def _request(self, texts: list[str]) -> np.ndarray:
        import openai

        try:
            answer = self.client.embeddings.create(
                model=self.model,
                input=texts,
                encoding_format="float",
            )
        except openai.APIConnectionError as problem:
            raise EncoderError(
                f"no answer from {self.client.base_url} ({type(problem).__name__}); check "
                f"OPENAI_BASE_URL and the network"
            ) from None
        except openai.APIStatusError as problem:
            raise EncoderError(
                f"{self.client.base_url} refused to embed with {self.model} "
                f"({status_reason(problem)}); check the model's name, OPENAI_API_KEY and max_tokens"
            ) from None
        found = sorted(answer.data, key=lambda item: item.index)
        if [item.index for item in found] != list(range(len(texts))):
            raise EncoderError(
                f"{self.model}: {len(found)} vectors came back for {len(texts)} texts; nothing is kept"
            )
        return np.array([item.embedding for item in found], dtype=np.float64)
