"""GGUF models: converted once, whole or not at all, and refused with a sentence. A GGUF file that transformers can
load is written here; reading it takes the package gguf, of the extra matchlib[lm]."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from matchlib.girl.models import load_generator
from matchlib.language.llm import LanguageModel, Prompt, Sampling
from matchlib.language.local import Local
from matchlib.retrieval import gguf as ours
from matchlib.retrieval.model_files import EncoderError, file_hash
from matchlib.retrieval.models import find_model, hash_model

needs_gguf = pytest.mark.skipif(
    find_spec("gguf") is None, reason="the package gguf (extra matchlib[lm]) is not installed"
)
needs_extra = pytest.mark.skipif(
    find_spec(ours.PACKAGE) is None, reason="the extra matchlib[lm] is not installed"
)
STARTED = """
import sys, time
from pathlib import Path
from matchlib.retrieval import gguf

def slow(file, name, folder):
    (folder / "model.safetensors").write_bytes(bytes(1_000))
    print("writing", flush=True)
    time.sleep(60)

gguf._write_safetensors = slow
gguf.model_from_gguf(sys.argv[1])
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MATCHLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gguf"


def small_tokenizer():
    tokens = Tokenizer(BPE())
    tokens.pre_tokenizer = ByteLevel(add_prefix_space=False)
    special = ["<start>", "<end>"]
    alphabet = ByteLevel.alphabet()
    tokens.train_from_iterator(
        ["the nurse and the night"] * 9,
        BpeTrainer(vocab_size=270, special_tokens=special, initial_alphabet=alphabet),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token="<start>", eos_token="<end>", pad_token="<start>"
    )


@pytest.fixture
def dequantised(monkeypatch):
    """What transformers would make of a GGUF file, in its place; the list of names that were converted."""
    converted = []

    def make(file, name):
        torch.manual_seed(0)
        converted.append(name)
        tokenizer = small_tokenizer()
        config = GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=16,
            n_layer=1,
            n_head=1,
            eos_token_id=1,
            bos_token_id=0,
        )
        return GPT2LMHeadModel(config).bfloat16(), tokenizer

    monkeypatch.setattr(ours, "dequantise", make)
    return converted


@pytest.fixture
def any_gguf(tmp_path):
    """It begins as a GGUF file does."""
    file = tmp_path / "model" / "any.gguf"
    file.parent.mkdir()
    file.write_bytes(b"GGUF" + bytes(range(200)))
    return file


def test_a_file_and_its_folder_are_converted_once_under_the_files_hash(
    any_gguf, cache, dequantised
):
    folder = find_model(str(any_gguf))
    assert folder == cache / file_hash(any_gguf)
    assert find_model(str(any_gguf.parent)) == folder and dequantised == [str(any_gguf)]
    assert sorted(path.name for path in cache.iterdir()) == [
        folder.name,
        f"{folder.name}.lock",
    ]
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16
    any_gguf.write_bytes(any_gguf.read_bytes() + b"another")
    assert find_model(str(any_gguf)) != folder and len(dequantised) == 2


@pytest.mark.parametrize("harm", ["weights", "record", "tokenizer is gone"])
def test_a_damaged_conversion_is_made_again_with_a_note(any_gguf, dequantised, caplog, harm):
    folder = find_model(str(any_gguf))
    before = hash_model(folder)
    weights = folder / "model.safetensors"
    if harm == "weights":
        content = bytearray(weights.read_bytes())
        content[-5] ^= 1  # one bit
        weights.write_bytes(content)
    elif harm == "record":
        (folder / ours.RECORD).write_text("[")
    else:
        (folder / "tokenizer.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert find_model(str(any_gguf)) == folder
    assert hash_model(folder) == before and len(dequantised) == 2
    assert "was damaged since" in caplog.text and "it is made again" in caplog.text


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_conversion_leaves_no_model_and_does_not_block_the_next(
    any_gguf, cache, dequantised, how
):
    started = subprocess.Popen(
        [sys.executable, "-c", STARTED, str(any_gguf)], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout.readline() == "writing\n"
    started.send_signal(how)
    assert started.wait(30) != 0
    started.stdout.close()
    folder = cache / file_hash(any_gguf)
    assert not folder.exists() and folder.with_name(folder.name + ".part").exists()
    assert find_model(str(any_gguf)) == folder and dequantised == [str(any_gguf)]
    assert not folder.with_name(folder.name + ".part").exists()


def test_of_two_processes_one_converts(any_gguf, cache):
    code = (
        STARTED.replace("time.sleep(60)", "time.sleep(2)")
        .replace("gguf.model_from_gguf", "print('found', gguf.model_from_gguf")
        .rstrip()
        + ")"
    )
    started = []
    for _ in range(2):
        command = [sys.executable, "-c", code, str(any_gguf)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    said = "".join(process.communicate(timeout=60)[0] for process in started)
    assert said.count("writing") == 1 and said.count("found") == 2
    assert [process.returncode for process in started] == [0, 0]


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_one_sentence_and_leaves_nothing(any_gguf, cache, dequantised, monkeypatch):
    monkeypatch.setattr(GPT2LMHeadModel, "save_pretrained", full)
    with pytest.raises(EncoderError, match="cannot be written .*No space left.*MATCHLIB_CACHE"):
        find_model(str(any_gguf))
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_a_disk_that_is_full_while_safetensors_writes(any_gguf, dequantised, monkeypatch):
    from safetensors import SafetensorError

    def fail(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device")

    monkeypatch.setattr(GPT2LMHeadModel, "save_pretrained", fail)
    with pytest.raises(EncoderError, match="cannot be written .*No space left.*free some space"):
        find_model(str(any_gguf))


def test_a_cache_that_cannot_be_made_is_one_sentence(any_gguf, tmp_path, dequantised, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MATCHLIB_CACHE", str(tmp_path / "file"))
    with pytest.raises(EncoderError, match="cannot be written .*another folder"):
        find_model(str(any_gguf))


def test_what_is_no_gguf_file_is_one_sentence(tmp_path, any_gguf, dequantised):
    (tmp_path / "page.gguf").write_bytes(b"<html>")
    with pytest.raises(EncoderError, match=r"page.gguf \(6 bytes\) is no GGUF file: .*b'<htm'"):
        find_model(str(tmp_path / "page.gguf"))
    (tmp_path / "lfs.gguf").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(EncoderError, match="is a Git LFS pointer"):
        find_model(str(tmp_path / "lfs.gguf"))
    with pytest.raises(EncoderError, match="there is no file .*none.gguf"):
        find_model(str(tmp_path / "none.gguf"))
    any_gguf.with_name("other.gguf").write_bytes(any_gguf.read_bytes())
    with pytest.raises(EncoderError, match=r"holds 2 GGUF files \(any.gguf, other.gguf\); name"):
        find_model(str(any_gguf.parent))
    assert not dequantised


def test_without_the_packages_the_sentence_says_what_to_install(any_gguf, monkeypatch):
    monkeypatch.setattr(ours, "find_spec", lambda name: None)
    with pytest.raises(EncoderError, match=r"gemma-3-270m .* not installed: pip install 'matchlib"):
        find_model("gemma-3-270m")
    monkeypatch.setattr("transformers.modeling_gguf_pytorch_utils.is_gguf_available", lambda: False)
    write_llama(any_gguf) if find_spec("gguf") else any_gguf.write_bytes(small_header())
    with pytest.raises(
        EncoderError, match=r"any.gguf is a GGUF file, which takes the package gguf .*matchlib\[lm"
    ):
        find_model(str(any_gguf))


def small_header():
    """Version 3, no tensors, one entry: general.architecture is llama."""
    key = b"general.architecture"
    numbers = [(3).to_bytes(4, "little"), (0).to_bytes(8, "little"), (1).to_bytes(8, "little")]
    entry = [len(key).to_bytes(8, "little"), key, (8).to_bytes(4, "little")]
    value = [(5).to_bytes(8, "little"), b"llama"]
    return b"".join([b"GGUF", *numbers, *entry, *value])


def write_llama(file, architecture="llama", leave_out=""):
    """A random llama of one layer as a GGUF file of 16-bit floats; the model that it holds."""
    from gguf import GGUFWriter

    torch.manual_seed(1)
    tokenizer = small_tokenizer()
    n_tokens = len(tokenizer)
    config = LlamaConfig(
        vocab_size=n_tokens,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config).half()
    writer = GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(32)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(n_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    by_number = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_token_list([token for token, _ in by_number])
    writer.add_token_types([3 if number < 2 else 1 for _, number in by_number])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "model.layers.0.input_layernorm.weight": "blk.0.attn_norm.weight",
        "model.layers.0.post_attention_layernorm.weight": "blk.0.ffn_norm.weight",
        "model.layers.0.self_attn.q_proj.weight": "blk.0.attn_q.weight",
        "model.layers.0.self_attn.k_proj.weight": "blk.0.attn_k.weight",
        "model.layers.0.self_attn.v_proj.weight": "blk.0.attn_v.weight",
        "model.layers.0.self_attn.o_proj.weight": "blk.0.attn_output.weight",
        "model.layers.0.mlp.gate_proj.weight": "blk.0.ffn_gate.weight",
        "model.layers.0.mlp.up_proj.weight": "blk.0.ffn_up.weight",
        "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
    }
    for name, weight in model.named_parameters():
        if names[name] != leave_out:
            array = weight.detach().float() if weight.ndim == 1 else weight.detach()
            writer.add_tensor(names[name], for_llama_cpp(name, array).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model, tokenizer


def for_llama_cpp(name, weight):
    """llama.cpp keeps the rows of queries and keys in another order (one head here)."""
    if "q_proj" in name or "k_proj" in name:
        n_rows, n_columns = weight.shape
        weight = weight.reshape(2, n_rows // 2, n_columns).swapaxes(0, 1)
        return weight.reshape(n_rows, n_columns).contiguous()
    return weight


@needs_gguf
def test_a_gguf_model_gives_the_scores_of_the_model_that_was_written(any_gguf):
    model, tokenizer = write_llama(any_gguf)
    folder = find_model(str(any_gguf))
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    read = AutoTokenizer.from_pretrained(folder)
    text = "the nurse of the night ward, été"
    ids = read(text, add_special_tokens=False)["input_ids"]
    assert ids == tokenizer(text)["input_ids"] and len(ids) < len(text)
    with torch.no_grad():
        expected = model.float()(torch.tensor([ids])).logits
        torch.testing.assert_close(loaded(torch.tensor([ids])).logits, expected)
    assert expected.std() > 0
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.float16, "as in the file"


@needs_gguf
def test_everything_that_takes_a_causal_model_takes_a_gguf_file(any_gguf):
    write_llama(any_gguf)
    local = Local(str(any_gguf), device="cpu")
    answers = LanguageModel(local, sampling=Sampling(max_tokens=4)).complete(
        [Prompt("the", "nurse"), Prompt("a longer", "prompt for the night")]
    )
    assert all(answer.completion_tokens or answer.problem for answer in answers)
    assert local.score([Prompt("the", "nurse")], ["night"])[0].log_probability < 0
    generator = load_generator(str(any_gguf), device="cpu")
    assert generator.model.dtype == torch.float32, "16-bit floats are slow on a processor"
    assert generator.model.config.vocab_size == 270 and generator.tokenizer.eos_token == "<end>"


@needs_gguf
@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_a_torn_gguf_file_is_one_sentence(any_gguf, cache, share):
    write_llama(any_gguf)
    content = any_gguf.read_bytes()
    any_gguf.write_bytes(content[: int(share * len(content))])
    with pytest.raises(EncoderError, match="was cut off or is damaged; copy it again") as caught:
        find_model(str(any_gguf))
    assert "\n" not in str(caught.value)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@needs_gguf
def test_an_architecture_that_transformers_does_not_know_is_named(any_gguf):
    write_llama(any_gguf, architecture="rwkv6")
    with pytest.raises(EncoderError, match="architecture 'rwkv6', which transformers cannot"):
        find_model(str(any_gguf))


@needs_gguf
def test_a_gguf_file_without_some_weights_is_refused(any_gguf):
    write_llama(any_gguf, leave_out="blk.0.ffn_up.weight")
    with pytest.raises(EncoderError, match="mlp.up_proj.weight, which would be drawn at random"):
        find_model(str(any_gguf))


@needs_extra
def test_the_packaged_model_comes_with_its_terms(cache, dequantised, caplog):
    with caplog.at_level(logging.WARNING):
        folder = find_model("gemma-3-270m")
        again = find_model("gemma-3-270m")
    assert again == folder == cache / ours.PACKAGED_LM_SHA256
    assert caplog.text.count("Gemma terms of use") == 1
    assert "GEMMA_TERMS.html" in caplog.text and (folder / "GEMMA_TERMS.html").stat().st_size > 1e4
    assert dequantised == ["gemma-3-270m"] and not list(folder.glob("*.gguf"))
