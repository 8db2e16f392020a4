"""What a model's folder must hold: each of its files is looked at before a library loads something
else instead.

Libraries are lenient: without a tokenizer every word is unknown, without some of the weights these
are drawn at random, and a pickle is loaded where there is no safetensors file. All of that ends
with status 0 and a wrong ranking.
"""

from __future__ import annotations

import hashlib
import json
import struct
from importlib import import_module
from pathlib import Path
from typing import Any

TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
SETTINGS_FILES = (
    "config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
LFS_POINTER = b"version https://git-lfs.github.com/spec"
AGAIN = "copy or save the model again, with all its files"
MIN_SAME_TOKENS = 0.9
"""Share of vocab.txt that tokenizer.json must number alike; below it, they are of two models."""


class EncoderError(ValueError):
    """A model that cannot be used: which one, why, and what to use instead."""


def file_hash(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, default: dict | list) -> Any:
    """What a JSON file holds, or the default where there is none. Raises EncoderError if it is of
    another form."""
    if not path.exists():
        return default
    refuse_pointer(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, type(default)):
        raise EncoderError(
            f"{path} ({path.stat().st_size} bytes) is damaged: it holds no JSON of the form that a "
            f"model's has; {AGAIN}"
        )
    return value


def check_files(name: str, folder: Path) -> None:
    """Raise EncoderError where a model needs remote code or pickles, or lacks a file or a part of
    one."""
    modules = _read_modules(folder)
    _refuse_remote_code(name, folder, modules)
    if not any(folder.rglob("*.safetensors")):
        raise EncoderError(
            f"{name} holds no .safetensors file ({folder}); matchlib loads no pickled weights: save the "
            f"model again with save_pretrained, or choose another"
        )
    for file in sorted(folder.rglob("*.safetensors")):
        weight_names(file)
    for place in sorted({folder, *(folder / module["path"] for module in modules)}):
        for file in SETTINGS_FILES:
            if (place / file).exists():
                _check_json(place / file)
    _check_shards(name, folder)
    transformers = [
        folder / module["path"] for module in modules if module["type"].endswith(".Transformer")
    ]
    for place in transformers if modules else [folder]:
        _check_transformer(name, place)
    _check_modules(name, folder, modules)


def weight_names(file: Path) -> set[str]:
    """Names of the weights in a safetensors file. Raises EncoderError if the file is not whole."""
    refuse_pointer(file)
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        header = opened.read(length) if 0 < length <= size - 8 else b""
    try:
        weights = json.loads(header)
        weights.pop("__metadata__", None)
        end = max((facts["data_offsets"][1] for facts in weights.values()), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError):
        raise EncoderError(
            f"{file} ({size:,} bytes) is damaged: it does not begin as a safetensors file does; "
            f"{AGAIN}"
        ) from None
    if size != 8 + length + end:
        raise EncoderError(
            f"{file} has {size:,} bytes, but by its own header {8 + length + end:,}: it was cut off or "
            f"written over; {AGAIN}"
        )
    return set(weights)


def check_adapter(folder: Path) -> None:
    """Raise EncoderError unless a folder holds a whole PEFT adapter without pickles."""
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / file).exists():
            raise EncoderError(
                f"{folder} holds no adapter (no {file}); name the folder that save_pretrained of PEFT "
                f"wrote, with its weights as safetensors"
            )
    if not read_json(folder / "adapter_config.json", {}).get("peft_type"):
        raise EncoderError(
            f"{folder / 'adapter_config.json'} names no peft_type, so the folder is not a whole "
            f"adapter; copy or save it again"
        )
    weight_names(folder / "adapter_model.safetensors")


def _check_json(file: Path) -> None:
    """Raise EncoderError if a file is no JSON: libraries do without one of settings that they
    cannot read."""
    refuse_pointer(file)
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise EncoderError(
            f"{file} ({file.stat().st_size} bytes) is damaged: it holds no JSON; {AGAIN}"
        ) from None


def refuse_pointer(file: Path) -> None:
    """Raise EncoderError if a file is what Git LFS leaves in the place of one that was not fetched."""
    with file.open("rb") as opened:
        is_pointer = opened.read(len(LFS_POINTER)) == LFS_POINTER
    if is_pointer:
        raise EncoderError(
            f"{file} is a Git LFS pointer, not the file itself; fetch the files with: git lfs pull"
        )


def _read_modules(folder: Path) -> list[dict]:
    """The entries of modules.json, [] where there is none. Raises EncoderError unless each has a
    type and a path."""
    modules = read_json(folder / "modules.json", [])
    for module in modules:
        if (
            not isinstance(module, dict)
            or not isinstance(module.get("type"), str)
            or not isinstance(module.get("path"), str)
        ):
            raise EncoderError(
                f"{folder / 'modules.json'} is damaged: {module!r} has no type or no path; {AGAIN}"
            )
    return modules


def _refuse_remote_code(name: str, folder: Path, modules: list[dict]) -> None:
    for place in ["", *(module["path"] for module in modules)]:
        config = read_json(folder / place / "config.json", {})
        architecture = (config.get("architectures") or [""])[0]
        if "auto_map" in config and not hasattr(
            import_module("transformers"), architecture
        ):  # seconds to import
            raise EncoderError(
                f"{name} needs remote code ({architecture or 'its own class'} is not in transformers), "
                f"which matchlib never runs; choose a model that transformers supports"
            )
    for module in modules:
        if not module["type"].startswith("sentence_transformers."):
            raise EncoderError(
                f"{name} needs remote code ({module['type']} in modules.json), which matchlib never "
                f"runs; choose a model of sentence-transformers' own modules"
            )


def _check_shards(name: str, folder: Path) -> None:
    for index in sorted(folder.rglob("*.safetensors.index.json")):
        places = read_json(index, {}).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise EncoderError(f"{index} is damaged: it has no weight_map; {AGAIN}")
        for shard in sorted(set(places.values())):
            if not (index.parent / shard).exists():
                raise EncoderError(f"{name} lacks {shard}, which {index.name} names; {AGAIN}")
            wanted = {weight for weight, place in places.items() if place == shard}
            if lost := sorted(wanted - weight_names(index.parent / shard)):
                raise EncoderError(
                    f"{index.parent / shard} lacks {some(lost)}, which {index.name} places there; "
                    f"{AGAIN}"
                )


def _check_transformer(name: str, place: Path) -> None:
    """Raise EncoderError where a folder lacks the settings, the weights or the tokenizer of a
    transformer."""
    if not read_json(place / "config.json", {}).get("model_type"):
        raise EncoderError(
            f"{name}: {place / 'config.json'} is missing or names no model_type, so the folder is not a "
            f"whole model; {AGAIN}"
        )
    if not any((place / file).exists() for file in WEIGHT_FILES):
        others = sorted(
            file.name for file in place.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".ckpt")
        )
        what = (
            f"only {some(others)}, and matchlib loads no pickled weights"
            if others
            else "and no other weights"
        )
        raise EncoderError(
            f"{name} has no model.safetensors in {place}, {what}; save the model again with "
            f"save_pretrained, or choose another"
        )
    if not any((place / file).exists() for file in TOKENIZER_FILES):
        raise EncoderError(
            f"{name} has no tokenizer ({', '.join(TOKENIZER_FILES)} are all missing in {place}), and "
            f"would read every word as unknown; {AGAIN}"
        )
    for file in TOKENIZER_FILES:
        if (place / file).exists():
            _check_tokenizer_file(place / file)
    _compare_vocabularies(place)


def _check_tokenizer_file(file: Path) -> None:
    if file.stat().st_size == 0:
        raise EncoderError(
            f"{file} is empty, so the model would read every word as unknown; {AGAIN}"
        )
    refuse_pointer(file)
    if file.suffix == ".json":
        content = read_json(file, {})
        if file.name == "tokenizer.json" and not isinstance(content.get("model"), dict):
            raise EncoderError(f"{file} is damaged: it names no tokenizer's model; {AGAIN}")


def _compare_vocabularies(place: Path) -> None:
    """Raise EncoderError if tokenizer.json and vocab.txt, both there, give other numbers to most
    tokens."""
    if not (place / "vocab.txt").exists():
        return
    vocabulary = read_json(place / "tokenizer.json", {}).get("model", {}).get("vocab")
    if not isinstance(vocabulary, dict):
        return
    tokens = (place / "vocab.txt").read_text(encoding="utf-8", errors="replace").split("\n")
    tokens = [token.rstrip("\r") for token in tokens if token]
    same = sum(vocabulary.get(token) == number for number, token in enumerate(tokens))
    if same < MIN_SAME_TOKENS * max(len(tokens), len(vocabulary)):
        raise EncoderError(
            f"{place}: vocab.txt ({len(tokens):,} tokens) and tokenizer.json ({len(vocabulary):,}) are "
            f"of two models: only {same:,} tokens have the same number; {AGAIN}"
        )


def _check_modules(name: str, folder: Path, modules: list[dict]) -> None:
    """Raise EncoderError where modules.json names a module whose files are missing or whose width
    does not fit."""
    width, of = None, ""
    for module in modules:
        kind = module["type"].rpartition(".")[2]
        path = module["path"]
        if kind in ("Pooling", "Dense") and not (folder / path / "config.json").exists():
            raise EncoderError(f"{name} lacks {path}, which its own files name; {AGAIN}")
        if kind == "Dense" and not (folder / path / "model.safetensors").exists():
            raise EncoderError(
                f"{name} has no model.safetensors in {path}, and matchlib loads no pickled weights; "
                f"save the model again with save_pretrained, or choose another"
            )
        config = read_json(folder / path / "config.json", {})
        takes = _first(
            config,
            {
                "Pooling": ("embedding_dimension", "word_embedding_dimension"),
                "Dense": ("in_features",),
            }.get(kind, ()),
        )
        if width is not None and takes is not None and takes != width:
            raise EncoderError(
                f"{name}: {path} takes vectors of {takes} numbers, but {of} gives {width}, so they are "
                f"of two models; {AGAIN}"
            )
        if kind == "Transformer":
            width, of = (
                _first(config, ("hidden_size", "dim", "d_model", "n_embd")),
                path or "the transformer",
            )
        elif kind == "Dense":
            width, of = _first(config, ("out_features",)), path
        elif kind == "Pooling":
            width, of = _pooled_width(config), path


def _pooled_width(config: dict) -> int | None:
    """Numbers in a pooled vector; None where the settings do not say: of several poolings, one
    follows the other."""
    width = _first(config, ("embedding_dimension", "word_embedding_dimension"))
    modes = [key for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    one = len(modes) == 1 or isinstance(config.get("pooling_mode"), str)
    return width if one else None


def _first(config: dict, keys: tuple[str, ...]) -> int | None:
    return next((config[key] for key in keys if isinstance(config.get(key), int)), None)


def some(names: list[str]) -> str:
    """The first three names and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
