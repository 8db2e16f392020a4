"""Causal models that read a resume and write a job: a small one trained from scratch, or any of
transformers.

Everything here works on token ids. A prompt is tokenised by the model's chat template where it has
one, a job as plain text followed by the end token.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from peft import LoraConfig, PeftModel
from torch.utils.hooks import RemovableHandle
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from matchlib.girl.records import word_tokenizer
from matchlib.language.llm import Prompt
from matchlib.language.vocabulary import trim_vocabulary
from matchlib.retrieval.models import (
    EncoderError,
    choose_precision,
    ensure_pad_token,
    find_model,
    whole_weights,
)


class CausalGenerator(NamedTuple):
    """A causal model and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True)
class Sequences:
    """Prompts followed by jobs; prompts are padded on the left, jobs on the right.

    ids, attention: (B, P + T); answer: (B, T) bool, True on the job's tokens with its end token;
    ended: (B,) bool.
    """

    ids: torch.Tensor
    attention: torch.Tensor
    answer: torch.Tensor
    ended: torch.Tensor

    def __getitem__(self, rows: torch.Tensor) -> Sequences:
        return Sequences(
            self.ids[rows],
            self.attention[rows],
            self.answer[rows],
            self.ended[rows],
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def positions(self) -> torch.Tensor:
        """(B, P + T) positions that do not count the padding."""
        return (self.attention.cumsum(1) - 1).clamp(min=0)


def small_generator(
    texts: Sequence[str],
    *,
    width: int = 64,
    layers: int = 3,
    heads: int = 4,
    max_tokens: int = 64,
    seed: int = 1,
) -> CausalGenerator:
    """An untrained GPT-2 for compact records: one token a line of `texts`, weights drawn by seed.

    Attention starts with queries equal to keys and outputs inverse to values (mimetic
    initialisation, Trockman and Kolter 2023, arXiv 2305.09828), so that a token first attends to
    equal tokens. Without it the model rarely learns that a job asks for the skills of the resume.
    """
    tokenizer = word_tokenizer(texts)
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=max_tokens,
            n_embd=width,
            n_layer=layers,
            n_head=heads,
            n_inner=2 * width,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            initializer_range=0.05,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        for block in model.transformer.h:
            query = _random_rotation(width)
            value = _random_rotation(width)
            block.attn.c_attn.weight.copy_(torch.cat([query, query, value], dim=1))
            block.attn.c_proj.weight.copy_(value.T)
    return CausalGenerator(model, tokenizer)


def _random_rotation(size: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(size, size))[0]


def load_generator(name: str, *, device: str = "", precision: str = "auto") -> CausalGenerator:
    """A causal model by any name that `find_model` takes; device: "" picks a GPU where there is one;
    precision: see `choose_precision`.

    Raises EncoderError for a model that cannot be found, needs remote code or has no end token.
    """
    folder = find_model(name)
    with whole_weights(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.eos_token_id is None:
        raise EncoderError(
            f"{name} has no end token, so what it writes would never end; take another base_model"
        )
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = choose_precision(precision, device)
    with whole_weights(folder):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    ensure_pad_token(name, tokenizer, model)
    return CausalGenerator(model.to(device), tokenizer)


def has_chat_template(base_model: str) -> bool:
    """Whether a causal model, by any name that `find_model` takes, has a chat template; one without
    follows no instructions."""
    return AutoTokenizer.from_pretrained(find_model(base_model)).chat_template is not None


def starting_generator(
    base_model: str,
    texts: Sequence[str | Prompt],
    *,
    max_tokens: int,
    lora_rank: int,
    seed: int,
    tokens_in_use: bool = True,
) -> CausalGenerator:
    """The generator to start from: base_model, or a small one made for `texts` without one.

    texts: all prompts and jobs. tokens_in_use: cut base_model's vocabulary down to theirs, see
    `language.vocabulary`, for all stages: most of a small model's work is its vocabulary.
    """
    if not base_model:
        return small_generator(texts, max_tokens=max_tokens, seed=seed)
    # updates in bfloat16 alone would lose small steps
    model, tokenizer = load_generator(base_model, precision="float32")
    if tokens_in_use:
        as_texts = [prompt_text(tokenizer, text) for text in texts]
        tokenizer = trim_vocabulary(model, tokenizer, as_texts).tokenizer
    return CausalGenerator(model, tokenizer)


def lora(rank: int, task: str = "CAUSAL_LM") -> LoraConfig:
    """A low-rank adapter on every linear layer but a new head (LoRA, arXiv 2106.09685; alpha = 2
    rank)."""
    heads = ["classifier", "score"] if task == "TOKEN_CLS" else None
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        task_type=task,
        exclude_modules=heads,
    )


def merge_adapter(adapted: PeftModel) -> None:
    """Merge an adapter into the weights of its model, which can then be trained like any other."""
    adapted.merge_and_unload().requires_grad_(True)


def count_without_padding(model: PreTrainedModel) -> RemovableHandle:
    """Make a model use positions that do not count the padding where a caller gives none, until the
    handle is removed.

    trl's GRPO pads prompts on the left and passes no positions. A model with absolute positions
    would then compute probabilities at other positions than those at which it sampled.
    """
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    def add_positions(_, args, kwargs):
        mask = kwargs.get("attention_mask")
        is_missing = kwargs.get("position_ids") is None
        if takes_positions and is_missing and mask is not None:
            n_tokens = kwargs["input_ids"].shape[1]
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            kwargs["position_ids"] = positions[:, -n_tokens:]
        return args, kwargs

    return model.register_forward_pre_hook(add_positions, with_kwargs=True)


def copy_generator(generator: CausalGenerator) -> CausalGenerator:
    """A generator with a copy of the weights and the same tokenizer."""
    return CausalGenerator(copy.deepcopy(generator.model), generator.tokenizer)


def conversation(
    tokenizer: PreTrainedTokenizerBase, prompt: str | Prompt
) -> str | list[dict[str, str]]:
    """A record as it is; a prompt as messages where there is a chat template, else its two parts as
    text."""
    if isinstance(prompt, str):
        return prompt
    if tokenizer.chat_template is None:
        return f"{prompt.system}\n\n{prompt.user}\n\n"
    return [
        {"role": "system", "content": prompt.system},
        {"role": "user", "content": prompt.user},
    ]


def prompt_text(tokenizer: PreTrainedTokenizerBase, prompt: str | Prompt) -> str:
    """The text of a record or a prompt, with the chat template's own words where there is one."""
    messages = conversation(tokenizer, prompt)
    if isinstance(messages, str):
        return messages
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str | Prompt) -> list[int]:
    """Token ids of a record or a prompt, see `conversation`."""
    messages = conversation(tokenizer, prompt)
    if isinstance(messages, str):
        return tokenizer(messages)["input_ids"]
    encoded = tokenizer.apply_chat_template(
        messages,
        add_generation_prompt=True,
        return_dict=True,
    )
    return encoded["input_ids"]


def job_ids(tokenizer: PreTrainedTokenizerBase, job: str) -> list[int]:
    """Token ids of a job with the end token."""
    return [
        *tokenizer(job, add_special_tokens=False)["input_ids"],
        tokenizer.eos_token_id,
    ]


def check_context_length(
    model: PreTrainedModel,
    sequences: Sequence[list[int]],
    n_more: int = 0,
) -> None:
    """Raise EncoderError where the longest sequence and n_more tokens exceed the model's context
    length."""
    context_length = getattr(model.config, "max_position_embeddings", None)
    longest = max(map(len, sequences)) + n_more
    if context_length and longest > context_length:
        raise EncoderError(
            f"the base model reads {context_length} tokens, but a prompt with its job takes {longest}; lower "
            f"max_words, max_tokens or max_job_tokens, or take a model that reads more"
        )


def join(
    prompts: Sequence[list[int]],
    jobs: Sequence[list[int]],
    *,
    pad: int,
    device: torch.device | str,
) -> Sequences:
    """Prompts and jobs (ids with their end token) as padded tensors."""
    n = len(prompts)
    longest_prompt = max(map(len, prompts))
    longest_job = max(map(len, jobs))
    ids = torch.full((n, longest_prompt + longest_job), pad)
    attention = torch.zeros_like(ids)
    answer = torch.zeros((n, longest_job), dtype=torch.bool)
    for row, (prompt, job) in enumerate(zip(prompts, jobs, strict=True)):
        start = longest_prompt - len(prompt)
        end = longest_prompt + len(job)
        ids[row, start:end] = torch.tensor([*prompt, *job])
        attention[row, start:end] = 1
        answer[row, : len(job)] = True
    ended = torch.ones(n, dtype=torch.bool)
    return Sequences(
        ids.to(device),
        attention.to(device),
        answer.to(device),
        ended.to(device),
    )


@torch.no_grad()
def sample(
    generator: CausalGenerator,
    prompts: Sequence[list[int]],
    *,
    max_job_tokens: int,
    temperature: float = 1.0,
) -> Sequences:
    """One job for each prompt, sampled from the model's distribution (temperature 0: the most
    likely tokens).

    The model's own generation settings (top_p, repetition penalties) are not used, because PPO needs
    the probabilities of the distribution that was sampled from.
    """
    model, tokenizer = generator
    no_jobs = [[] for _ in prompts]
    padded = join(
        prompts,
        no_jobs,
        pad=tokenizer.pad_token_id,
        device=model.device,
    )
    decoding = {"do_sample": False}
    if temperature:
        decoding = {
            "do_sample": True,
            "temperature": temperature,
            "top_k": 0,
            "top_p": 1.0,
        }
    settings = GenerationConfig(
        max_new_tokens=max_job_tokens,
        repetition_penalty=1.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **decoding,
    )
    ids = model.generate(
        input_ids=padded.ids,
        attention_mask=padded.attention,
        generation_config=settings,
    )
    written = ids[:, padded.ids.shape[1] :]
    is_end = written == tokenizer.eos_token_id
    n_ends_before = is_end.cumsum(1) - is_end.long()
    answer = n_ends_before == 0  # up to the first end token, with it
    attention = torch.cat([padded.attention, answer.long()], dim=1)
    return Sequences(ids, attention, answer, is_end.any(1))


def decode_jobs(tokenizer: PreTrainedTokenizerBase, rows: Sequences) -> list[str]:
    """The jobs of sequences as texts, without the end token."""
    written = rows.ids[:, -rows.answer.shape[1] :]
    texts = []
    for ids, mask in zip(written, rows.answer, strict=True):
        texts.append(tokenizer.decode(ids[mask], skip_special_tokens=True))
    return texts


def write_jobs(
    generator: CausalGenerator,
    prompts: Sequence[str | Prompt],
    *,
    max_job_tokens: int,
    temperature: float = 0.0,
    seed: int = 1,
    batch_size: int = 128,
) -> tuple[list[str], float]:
    """The job that the model writes for each prompt, and the share of jobs that did not end in
    max_job_tokens."""
    ids = [prompt_ids(generator.tokenizer, prompt) for prompt in prompts]
    check_context_length(generator.model, ids, max_job_tokens)
    torch.manual_seed(seed)
    generator.model.eval()
    texts = []
    n_ended = 0
    for start in range(0, len(ids), batch_size):
        rows = sample(
            generator,
            ids[start : start + batch_size],
            max_job_tokens=max_job_tokens,
            temperature=temperature,
        )
        texts += decode_jobs(generator.tokenizer, rows)
        n_ended += int(rows.ended.sum())
    return texts, 1 - n_ended / len(texts)
