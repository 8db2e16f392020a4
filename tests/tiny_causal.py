"""A tiny causal model whose tokens are bytes, made on the spot."""

import torch
from tokenizers import Tokenizer, processors
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)


def save_causal(folder, family="gpt2", *, chat_template=None, context=2048, **special_tokens):
    """A random causal model whose tokens are bytes, with <start> before a text and <end> after an answer."""
    torch.manual_seed(0)
    bytes_only = Tokenizer(BPE())
    bytes_only.pre_tokenizer = ByteLevel(add_prefix_space=False)
    bytes_only.decoder = ByteLevelDecoder()
    special = ["<start>", "<end>"]
    alphabet = ByteLevel.alphabet()
    bytes_only.train_from_iterator(
        ["a"],
        BpeTrainer(
            vocab_size=256 + len(special), special_tokens=special, initial_alphabet=alphabet
        ),
    )
    bytes_only.post_processor = processors.TemplateProcessing(
        single="<start> $A", special_tokens=[("<start>", 0)]
    )
    names = {"bos_token": "<start>", "eos_token": "<end>"} | special_tokens
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_only, **names)
    tokenizer.chat_template = chat_template
    sizes = {"vocab_size": 258, "bos_token_id": 0, "eos_token_id": 1}
    if family == "gpt2":
        config = GPT2Config(**sizes, n_embd=32, n_layer=2, n_head=2, n_positions=context)
        model = GPT2LMHeadModel(config)
    else:
        config = LlamaConfig(
            **sizes,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=context,
        )
        model = LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)  # likelihoods that differ
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
