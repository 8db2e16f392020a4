"""A vocabulary of the tokens in use: the same model on them, and everything else given back as it was."""

import json

import pytest
import torch
from tiny_causal import save_causal
from tokenizers import Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE, Unigram, WordLevel, WordPiece
from tokenizers.pre_tokenizers import ByteLevel, Whitespace
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from matchlib.girl.models import CausalGenerator, job_ids, prompt_ids
from matchlib.girl.sft import Training, train_sft
from matchlib.language.llm import Prompt
from matchlib.language.vocabulary import trim_vocabulary
from matchlib.retrieval.models import EncoderError

CORPUS = [
    "the cook cooked the fish and the baker baked the bread",
    "a driver drives a bus and a warehouse operative stocks the shelves",
    "teachers teach, nurses nurse, welders weld and plumbers plumb",
]
TEXTS = ["the cook cooked", "a driver drives a bus\n"]
SPECIAL = ["<pad>", "<end>", "<start>", "<unk>"]


def tokenizer_of(kind):
    """A tokenizer of about 400 tokens learned from CORPUS, whose special tokens come last."""
    if kind == "bytes":
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = ByteLevel.alphabet()
        trainer = BpeTrainer(vocab_size=400, initial_alphabet=alphabet)
        tokenizer.train_from_iterator(CORPUS * 4, trainer)
    elif kind == "byte_fallback":  # as Gemma's and Llama's
        learned = Tokenizer(BPE())
        learned.normalizer = normalizers.Replace(" ", "▁")
        learned.train_from_iterator(CORPUS * 4, BpeTrainer(vocab_size=150))
        vocabulary = learned.get_vocab()
        merges = [tuple(pair) for pair in json.loads(learned.to_str())["model"]["merges"]]
        for byte in range(256):
            vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
        tokenizer = Tokenizer(BPE(vocabulary, merges, byte_fallback=True))
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
    elif kind == "unigram":
        pieces = {character for text in CORPUS for character in text.replace(" ", "▁")}
        pieces |= {f"▁{word}" for text in CORPUS for word in text.split()}
        scores = [(piece, -float(len(piece) == 1) - 1.0) for piece in sorted(pieces)]
        tokenizer = Tokenizer(Unigram([("<unk>", 0.0), *scores], unk_id=0))
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
    else:
        words = sorted({word for text in CORPUS for word in text.split()})
        vocabulary = {word: number for number, word in enumerate([*words, "<unk>"])}
        tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(SPECIAL)
    start = tokenizer.token_to_id("<start>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A", special_tokens=[("<start>", start)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def model_of(family, tokenizer, *, tied):
    torch.manual_seed(0)
    shared = {
        "vocab_size": len(tokenizer) + 5,  # rows that the tokenizer knows no token for
        "tie_word_embeddings": tied,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": [tokenizer.eos_token_id],
        "pad_token_id": tokenizer.pad_token_id,
    }
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    if family == "gpt2":
        config = GPT2Config(**shared, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0, embd_pdrop=0)
        model = GPT2LMHeadModel(config)
    elif family == "gemma3":
        config = Gemma3TextConfig(
            **shared, **sizes, intermediate_size=64, head_dim=16, num_key_value_heads=1
        )
        model = Gemma3ForCausalLM(config)
    else:
        model = LlamaForCausalLM(LlamaConfig(**shared, **sizes, intermediate_size=64))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return model.eval()


@torch.no_grad()
def scores_of(model, ids):
    return model(torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("kind", ["bytes", "byte_fallback", "unigram", "words"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3"])
@pytest.mark.parametrize("tied", [True, False])
def test_on_kept_tokens_the_model_is_the_same_and_is_given_back(kind, family, tied):
    tokenizer = tokenizer_of(kind)
    model = model_of(family, tokenizer, tied=tied)
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    configs = model.config.to_dict(), model.generation_config.to_dict()
    ids = tokenizer(TEXTS[1])["input_ids"]
    full = scores_of(model, ids)
    trimmed = trim_vocabulary(model, tokenizer, TEXTS)
    small = trimmed.tokenizer
    assert len(trimmed.kept) < len(tokenizer)
    assert len(trimmed.kept) == len(small) == model.get_input_embeddings().weight.shape[0]
    new_ids = small(TEXTS[1])["input_ids"]
    assert trimmed.new_ids(ids) == new_ids and trimmed.old_ids(new_ids) == ids
    torch.testing.assert_close(
        scores_of(model, new_ids), full[:, trimmed.kept], atol=1e-6, rtol=1e-6
    )
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id"):
        assert trimmed.kept[getattr(small, name)] == getattr(tokenizer, name)
    assert model.config.eos_token_id == model.generation_config.eos_token_id
    assert model.config.eos_token_id == [small.eos_token_id]
    assert small.decode(new_ids) == tokenizer.decode(ids)
    is_tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert is_tied == tied
    trimmed.restore()
    assert (model.config.to_dict(), model.generation_config.to_dict()) == configs
    is_tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert is_tied == tied
    assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("kind", ["bytes", "byte_fallback"])
def test_any_other_text_can_still_be_written(kind):
    tokenizer = tokenizer_of(kind)
    small = trim_vocabulary(model_of("llama", tokenizer, tied=True), tokenizer, TEXTS).tokenizer
    for text in [*CORPUS, "Zürich 漢字 🎹"]:
        ids = small(text)["input_ids"]
        assert small.unk_token_id not in ids
        assert small.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("lora_rank", [0, 4])
@pytest.mark.parametrize("tied", [True, False])
def test_training_on_fewer_tokens_changes_nothing_outside_the_kept_rows(lora_rank, tied, tmp_path):
    tokenizer = tokenizer_of("bytes")
    model_of("llama", tokenizer, tied=tied).save_pretrained(tmp_path / "full")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "full")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    generator = CausalGenerator(model, tokenizer)
    prompts = ["the cook", Prompt("a", "driver")]
    jobs = ["cooked", "drives"]
    training = Training(
        1e-2, 8.0, batch_size=2, lora_rank=lora_rank, max_tokens=64, trim_vocabulary=True
    )
    log, _ = train_sft(generator, prompts * 4, jobs * 4, training=training, checkpoints=tmp_path)
    assert log["loss"].iloc[-1] < log["loss"].iloc[0] / 2
    kept = set()
    for prompt, job in zip(prompts, jobs, strict=True):
        kept.update(prompt_ids(tokenizer, prompt) + job_ids(tokenizer, job))
    after = model.state_dict()
    assert {*after} == {*before}
    assert model.name_or_path == str(tmp_path / "full")
    rare = max(tokenizer.get_vocab().items(), key=lambda item: len(item[0]))[1]
    assert rare not in kept
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(after[name][rare], before[name][rare])
        changed = (after[name] != before[name]).any(dim=1).nonzero().flatten().tolist()
        assert bool(changed) == (lora_rank == 0)
        assert len(changed) < len(before[name]) - 50
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(after[name], before[name])
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    ids = again(CORPUS[2])["input_ids"]
    assert ids == tokenizer(CORPUS[2])["input_ids"]
    torch.testing.assert_close(scores_of(loaded, ids), scores_of(model.eval(), ids))


def test_the_loss_on_fewer_tokens_is_the_full_loss_without_the_other_tokens_share(tmp_path):
    tokenizer = tokenizer_of("bytes")
    model = model_of("llama", tokenizer, tied=True)
    prompt, job = "the cook", " cooked"
    ids = prompt_ids(tokenizer, prompt) + job_ids(tokenizer, job)
    n_job = len(job_ids(tokenizer, job))
    scores = scores_of(model, ids)[-n_job - 1 : -1]
    kept = trim_vocabulary(model, tokenizer, [prompt, job])
    expected = torch.nn.functional.cross_entropy(
        scores[:, kept.kept], torch.tensor(kept.new_ids(ids[-n_job:]))
    )
    kept.restore()
    training = Training(1e-9, 1.0, batch_size=1, trim_vocabulary=True)
    log, _ = train_sft(
        CausalGenerator(model, tokenizer), [prompt], [job], training=training, checkpoints=tmp_path
    )
    assert log["loss"].iloc[0] == pytest.approx(expected.item(), abs=1e-4)


def test_a_saved_small_model_is_a_plain_folder(tmp_path):
    folder = save_causal(tmp_path / "full", "llama", context=64)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    trimmed = trim_vocabulary(model, tokenizer, ["cook"])
    model.save_pretrained(tmp_path / "small")
    trimmed.tokenizer.save_pretrained(tmp_path / "small")
    again = AutoTokenizer.from_pretrained(tmp_path / "small")
    assert again("cook")["input_ids"] == trimmed.tokenizer("cook")["input_ids"]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    ids = again("cook")["input_ids"]
    torch.testing.assert_close(scores_of(loaded, ids), scores_of(model, ids))


def test_a_model_that_uses_its_vocabulary_otherwise_is_refused_and_left_as_it_was():
    class Shifted(LlamaForCausalLM):
        def forward(self, input_ids, **rest):
            return super().forward((input_ids * 7) % self.config.vocab_size, **rest)

    tokenizer = tokenizer_of("bytes")
    plain = model_of("llama", tokenizer, tied=True)
    model = Shifted(plain.config)
    model.load_state_dict(plain.state_dict())
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(EncoderError, match="train it with the full vocabulary"):
        trim_vocabulary(model, tokenizer, TEXTS)
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


def test_a_tokenizer_of_an_unknown_type_is_refused():
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordPiece({"cook": 0, "[UNK]": 1}, unk_token="[UNK]"))
    )
    with pytest.raises(EncoderError, match="WordPiece is not known here"):
        trim_vocabulary(model_of("llama", tokenizer_of("words"), tied=True), tokenizer, ["cook"])
