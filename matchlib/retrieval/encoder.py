"""Text encoders: a sentence-transformers model or an endpoint, whole texts or passages, and a cache
of vectors."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matchlib.retrieval.disk_cache import use_cache
from matchlib.retrieval.endpoint import Endpoint
from matchlib.retrieval.models import (
    OFFLINE_MODEL,
    EncoderError,
    find_model,
    hash_model,
    load_model,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)
POOLINGS = ("mean", "cls", "lasttoken")
PASSAGES = ("mean", "max")
PRECISIONS = ("float32", "bfloat16", "float16")
ENDPOINT = "endpoint:"
"""A model_name_or_path that starts so is a model of the OpenAI-compatible endpoint that the environment
names."""
BATCH_SIZE = 16
"""Texts a forward pass on a processor: small batches of like lengths pad least, and two cores are full
at 16."""
GPU_TOKENS = 65_536
"""Tokens a forward pass on a GPU, were every text as long as the model reads."""
KEPT_AT_ONCE = 4_096
"""Texts encoded between two writes to the cache; an endpoint's are written after every request."""


@dataclass(frozen=True)
class Encoder:
    """An embedding model with everything that decides its vectors.

    model_name_or_path: "all-MiniLM-L6-v2" (packaged, works offline), a local folder, a hub id, or
    "endpoint:<model>".
    max_tokens: texts are cut there (None: the model's own limit); of an endpoint, words as
    `data.words` counts them.
    passages: "mean" or "max" cuts texts into passages of max_tokens instead and pools their
    vectors; None does not.
    pooling: of the tokens; None keeps the model's own. job_prompt, resume_prompt: put before every
    text or passage, e.g. "query: " and "passage: " for E5. device: None picks a GPU where there is
    one. precision: float32, bfloat16 or float16. cache_dir: where vectors are kept; None keeps
    none. revision: commit of a hub id.
    """

    model_name_or_path: str = OFFLINE_MODEL
    max_tokens: int | None = 256
    pooling: str | None = None
    job_prompt: str = ""
    resume_prompt: str = ""
    device: str | None = None
    precision: str = "float32"
    cache_dir: Path | None = field(default_factory=lambda: default_cache_dir())
    revision: str | None = None
    passages: str | None = None

    def __post_init__(self):
        for name, known in (
            ("pooling", POOLINGS),
            ("precision", PRECISIONS),
            ("passages", PASSAGES),
        ):
            if getattr(self, name) not in (*known, *(() if name == "precision" else (None,))):
                raise EncoderError(f"{name} {getattr(self, name)!r} is not one of {known}")

    @property
    def is_endpoint(self) -> bool:
        """Whether a service encodes; such a model cannot be trained here."""
        return self.model_name_or_path.startswith(ENDPOINT)

    @property
    def runs_on(self) -> str:
        """The device, or "endpoint"."""
        return "endpoint" if self.is_endpoint else str(self.model.device)

    @cached_property
    def folder(self) -> Path:
        """The folder with the model's files; a hub id is fetched once. Refuses models that need
        remote code."""
        return find_model(self.model_name_or_path, revision=self.revision)

    @cached_property
    def model(self) -> SentenceTransformer:
        """The loaded model; loading waits until a text is not in the cache."""
        return load_model(
            self.folder,
            pooling=self.pooling,
            max_tokens=self.max_tokens,
            device=self.device,
            precision=self.precision,
        )

    @cached_property
    def endpoint(self) -> Endpoint:
        """The service behind an "endpoint:" model; its address and key come from the environment."""
        return Endpoint(self.model_name_or_path.removeprefix(ENDPOINT), max_words=self.max_tokens)

    @cached_property
    def key(self) -> str:
        """Hash of everything but the text that decides a vector: weights, length, pooling,
        precision."""
        of_model = self.endpoint.key if self.is_endpoint else hash_model(self.folder)
        parts = [of_model, self.max_tokens, self.pooling, self.precision]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def encode_jobs(self, texts: list[str]) -> np.ndarray:
        """(n, dim) float32 unit vectors of job texts."""
        return self._encode(texts, self.job_prompt)

    def encode_resumes(self, texts: list[str]) -> np.ndarray:
        """(n, dim) float32 unit vectors of resume texts."""
        return self._encode(texts, self.resume_prompt)

    def _encode(self, texts: list[str], prompt: str) -> np.ndarray:
        if not texts:
            raise ValueError("no texts to encode")
        if self.passages is None:
            return self._vectors([prompt + text for text in texts])
        cut = {text: self._cut(text, prompt) for text in dict.fromkeys(texts)}
        pieces = list(dict.fromkeys(prompt + piece for found in cut.values() for piece in found))
        vectors = dict(zip(pieces, self._vectors(pieces), strict=True))
        pool = np.mean if self.passages == "mean" else np.max
        pooled = {
            text: pool([vectors[prompt + piece] for piece in found], axis=0)
            for text, found in cut.items()
        }
        matrix = np.stack([pooled[text] for text in texts])
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)

    def _cut(self, text: str, prompt: str) -> list[str]:
        """A text's passages: consecutive, none overlapping, each as long as the model reads in one
        go."""
        if self.is_endpoint:
            return self.endpoint.cut(text)
        return cut_into_passages(self.model, text, prompt)

    def _vectors(self, texts: list[str]) -> np.ndarray:
        encode = (
            self.endpoint.embed if self.is_endpoint else lambda missing: embed(self.model, missing)
        )
        if self.cache_dir is None:
            return encode(texts)
        cache = EmbeddingCache(self.cache_dir / f"{self.key}.sqlite")
        return cache.fetch(
            texts, encode, at_once=self.endpoint.batch_size if self.is_endpoint else KEPT_AT_ONCE
        )


def encoder_from(parameters: Mapping[str, Any], folder: Path | None = None) -> Encoder:
    """The encoder that the parameters of notebook 02 describe; folder: the one it trained, which
    has its own limits."""
    p = parameters
    how = {
        "job_prompt": p["job_prompt"],
        "resume_prompt": p["resume_prompt"],
        "device": p["device"] or None,
        "precision": p["precision"],
        "passages": p["passages"] or None,
    }
    if folder is not None:
        return Encoder(str(folder), None, None, **how)
    return Encoder(
        p["model_name_or_path"],
        p["max_tokens"],
        p["pooling"] or None,
        revision=p["revision"] or None,
        **how,
    )


def trained_encoder(stage: Any) -> Encoder:
    """The encoder that a finished stage trained: of notebook 02, or of one that went on from it
    (its input stage1).

    Raises EncoderError if the stage trains none.
    """
    origin = stage
    while "model_name_or_path" not in origin.manifest["parameters"]:
        if "stage1" not in origin.manifest["inputs"]:
            raise EncoderError(
                f"{stage.folder} trains no encoder; name the folder of a 02_contrastive or 05_rankpo"
            )
        origin = origin.input("stage1")
    return encoder_from(origin.manifest["parameters"], stage.path("encoder"))


def cut_into_passages(model: SentenceTransformer, text: str, prompt: str = "") -> list[str]:
    """Consecutive passages of a text, each with the prompt as long as the model reads in one go; at
    least one."""
    tokenizer = model.tokenizer
    if not tokenizer.is_fast:
        raise EncoderError(
            "this model's tokenizer does not tell where tokens lie, so texts cannot be cut into "
            "passages; leave passages out, or choose a model with a fast tokenizer"
        )
    width = (
        model.max_seq_length
        - tokenizer.num_special_tokens_to_add()
        - len(tokenizer.tokenize(prompt))
    )
    if width < 1:
        raise EncoderError(
            f"the prompt {prompt!r} leaves no room for a text in {model.max_seq_length} tokens"
        )
    places = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
        "offset_mapping"
    ]
    ends = [
        places[min(start + width, len(places)) - 1][1] for start in range(0, len(places), width)
    ]
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)] or [text]


def default_cache_dir() -> Path:
    """Where embeddings are kept: $MATCHLIB_CACHE, or .cache/embeddings in the working folder."""
    return Path(os.environ.get("MATCHLIB_CACHE", ".cache")) / "embeddings"


def batch_size(model: SentenceTransformer) -> int:
    """Texts a forward pass: BATCH_SIZE on a processor; on a GPU so many that no batch has more than
    GPU_TOKENS tokens."""
    if model.device.type == "cpu":
        return BATCH_SIZE
    return max(1, GPU_TOKENS // (model.max_seq_length or 512))


def embed(model: SentenceTransformer, texts: list[str]) -> np.ndarray:
    """(n, dim) float32 unit vectors; equal texts are encoded once. Raises EncoderError if any is
    not finite."""
    if not texts:
        raise ValueError("no texts to encode")
    unique = list(dict.fromkeys(texts))
    vectors = model.encode(
        unique,
        batch_size=batch_size(model),
        normalize_embeddings=True,
        show_progress_bar=False,
        convert_to_numpy=True,
    ).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise EncoderError(
            "the model gave embeddings that are not finite; its weights or its precision are broken"
        )
    place = {text: i for i, text in enumerate(unique)}
    return vectors[[place[text] for text in texts]]


class EmbeddingCache:
    """Embeddings on disk, one sqlite file an encoder: text hash -> vector.

    Safe for several processes and kills: a killed run loses the texts since the last write. A
    damaged file is set aside and a damaged row encoded again, with a note in the log. The
    database's user_version is the number of dimensions. Raises DataError as `use_cache` does.
    """

    CREATE = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)"

    def __init__(self, path: Path):
        self.path = path

    def fetch(self, texts: list[str], encode, *, at_once: int | None = None) -> np.ndarray:
        """(n, dim) float32: known texts from disk, the others through encode(list of at_once
        texts), then kept.

        Raises EncoderError if the model gives vectors of another length than it did before.
        """
        if not texts:
            raise ValueError("no texts to encode")
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        known: dict[bytes, bytes] = {}  # stays when the database has to be made anew

        def fill(connection: sqlite3.Connection) -> None:
            known.update(
                self._read(connection, [key for key in dict.fromkeys(keys) if key not in known])
            )
            missing = list(
                {
                    key: text for key, text in zip(keys, texts, strict=True) if key not in known
                }.items()
            )
            step = at_once or KEPT_AT_ONCE
            for start in range(0, len(missing), step):
                part = missing[start : start + step]
                fresh = encode([text for _, text in part])
                rows = [
                    (key, vector.tobytes()) for (key, _), vector in zip(part, fresh, strict=True)
                ]
                known.update(rows)
                self._keep(connection, rows, fresh.shape[1])

        use_cache(self.path, self.CREATE, fill)
        return (
            np.frombuffer(b"".join(known[key] for key in keys), dtype=np.float32)
            .reshape(len(keys), -1)
            .copy()
        )

    def _keep(
        self, connection: sqlite3.Connection, rows: list[tuple[bytes, bytes]], dimensions: int
    ) -> None:
        before = self._dimensions(connection)
        if before and before != dimensions:
            raise EncoderError(
                f"the model gives vectors of {dimensions} numbers, but gave {before} when {self.path} "
                f"was written, so another model has its name now; remove that file"
            )
        with connection:
            connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
            if not before:
                connection.execute(f"PRAGMA user_version = {dimensions:d}")

    @staticmethod
    def _dimensions(connection: sqlite3.Connection) -> int:
        """Of the vectors in the database; 0 if there is none. Where it does not say, what most of
        1,000 have."""
        said = connection.execute("PRAGMA user_version").fetchone()[0]
        if said:
            return said
        lengths = connection.execute(
            "SELECT ifnull(length(vector), 0) FROM vectors LIMIT 1000"
        ).fetchall()
        return max(set(lengths), key=lengths.count)[0] // 4 if lengths else 0

    def _read(self, connection: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, bytes]:
        """Key -> vector of the known ones; rows that hold no vector are removed."""
        n_bytes = 4 * self._dimensions(connection)
        known: dict[bytes, bytes] = {}
        damaged = []
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            for key, vector in connection.execute(
                f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part
            ):
                if _is_vector(vector, n_bytes):
                    known[key] = vector
                else:
                    damaged.append((key,))
        if damaged:
            with connection:
                connection.executemany("DELETE FROM vectors WHERE key = ?", damaged)
            logger.warning(
                "the cache %s held %s damaged vectors, which are made again",
                self.path,
                f"{len(damaged):,}",
            )
        return known


def _is_vector(value: Any, n_bytes: int) -> bool:
    """Whether a value from a database is a vector of so many bytes and of finite numbers."""
    if not isinstance(value, bytes) or len(value) != n_bytes:
        return False
    return bool(np.isfinite(np.frombuffer(value, dtype=np.float32)).all())
