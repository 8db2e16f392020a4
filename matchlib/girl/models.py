"""Causal models that read a resume and write a job: a small one made on the spot, or any of
transformers.

Everything here works on token ids, tokenised in one place: a prompt by the model's chat template
where it has one, a job as plain text with the end token behind it.
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
from matchlib.retrieval.models import EncoderError, find_model, whole_weights


class Writer(NamedTuple):
    """A causal model and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True)
class Sequences:
    """Prompts with jobs behind them, the prompts padded on the left and the jobs on the right.

    ids, attention: (B, P + T); answer: (B, T) bool, True on the job's tokens with its end token;
    ended: (B,) bool.
    """

    ids: torch.Tensor
    attention: torch.Tensor
    answer: torch.Tensor
    ended: torch.Tensor

    def __getitem__(self, rows: torch.Tensor) -> Sequences:
        return Sequences(self.ids[rows], self.attention[rows], self.answer[rows], self.ended[rows])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def positions(self) -> torch.Tensor:
        """(B, P + T) positions that do not count the padding."""
        return (self.attention.cumsum(1) - 1).clamp(min=0)


def small_writer(
    texts: Sequence[str],
    *,
    width: int = 64,
    layers: int = 3,
    heads: int = 4,
    max_tokens: int = 64,
    seed: int = 1,
) -> Writer:
    """An untrained GPT-2 for compact records: a token a line of `texts`, weights drawn by seed.

    Queries start as keys and values as outputs (mimetic initialisation, Trockman and Kolter 2023,
    arXiv 2305.09828), so that a token first looks at its like: without it, that a job asks for what
    the resume holds is hardly ever learned.
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
            looks, says = (torch.linalg.qr(torch.randn(width, width))[0] for _ in range(2))
            block.attn.c_attn.weight.copy_(torch.cat([looks, looks, says], dim=1))
            block.attn.c_proj.weight.copy_(says.T)
    return Writer(model, tokenizer)


def load_writer(name: str, *, device: str = "", precision: str = "auto") -> Writer:
    """A causal model by hub id or folder; device: "" picks a GPU where there is one.

    Raises EncoderError for a model that cannot be found, needs remote code or has no end token.
    """
    folder = find_model(name)
    with whole_weights(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.eos_token_id is None:
        raise EncoderError(
            f"{name} has no end token, so what it writes would never end; take another base_model"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = (
            tokenizer.eos_token
        )  # masks are made from lengths, never from the padding's id
    with whole_weights(folder):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=precision)
    return Writer(model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")), tokenizer)


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


def merged(adapted: PeftModel) -> None:
    """Write an adapter into the weights of its model, which can then be trained like any other."""
    adapted.merge_and_unload().requires_grad_(True)


def count_without_padding(model: PreTrainedModel) -> RemovableHandle:
    """Give a model positions that do not count the padding wherever a caller gives none, until the
    handle is removed.

    trl's GRPO pads prompts on the left and names no positions: a model whose positions are absolute
    would then be asked for the probabilities of words where it never wrote them.
    """
    takes = "position_ids" in inspect.signature(model.forward).parameters

    def fill(_, args, given):
        if takes and given.get("position_ids") is None and given.get("attention_mask") is not None:
            places = (given["attention_mask"].cumsum(1) - 1).clamp(min=0)
            given["position_ids"] = places[:, -given["input_ids"].shape[1] :]
        return args, given

    return model.register_forward_pre_hook(fill, with_kwargs=True)


def copy_of(writer: Writer) -> Writer:
    """The same writer with weights of its own."""
    return Writer(copy.deepcopy(writer.model), writer.tokenizer)


def conversation(
    tokenizer: PreTrainedTokenizerBase, prompt: str | Prompt
) -> str | list[dict[str, str]]:
    """A record as it is; a prompt as messages where there is a chat template, else its two parts as
    text."""
    if isinstance(prompt, str):
        return prompt
    if tokenizer.chat_template is None:
        return f"{prompt.system}\n\n{prompt.user}\n\n"
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str | Prompt) -> list[int]:
    """Token ids of a record or a prompt, see `conversation`."""
    asked = conversation(tokenizer, prompt)
    if isinstance(asked, str):
        return tokenizer(asked)["input_ids"]
    return tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]


def job_ids(tokenizer: PreTrainedTokenizerBase, job: str) -> list[int]:
    """Token ids of a job with the end token."""
    return [*tokenizer(job, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def require_room(model: PreTrainedModel, sequences: Sequence[list[int]], n_more: int = 0) -> None:
    """Raise EncoderError where the longest sequence and n_more tokens do not fit the model's
    positions."""
    room, longest = (
        getattr(model.config, "max_position_embeddings", None),
        max(map(len, sequences)) + n_more,
    )
    if room and longest > room:
        raise EncoderError(
            f"the base model reads {room} tokens, but a prompt with its job takes {longest}; lower "
            f"max_words, max_tokens or max_job_tokens, or take a model that reads more"
        )


def join(
    prompts: Sequence[list[int]], jobs: Sequence[list[int]], *, pad: int, device: torch.device | str
) -> Sequences:
    """Prompts and jobs (ids with their end token) as padded tensors."""
    left, right = max(map(len, prompts)), max(map(len, jobs))
    ids = torch.full((len(prompts), left + right), pad)
    attention, answer = torch.zeros_like(ids), torch.zeros((len(prompts), right), dtype=torch.bool)
    for row, (prompt, job) in enumerate(zip(prompts, jobs, strict=True)):
        start, end = left - len(prompt), left + len(job)
        ids[row, start:end] = torch.tensor([*prompt, *job])
        attention[row, start:end], answer[row, : len(job)] = 1, True
    ended = torch.ones(len(prompts), dtype=torch.bool)
    return Sequences(*(tensor.to(device) for tensor in (ids, attention, answer, ended)))


@torch.no_grad()
def sample(
    writer: Writer, prompts: Sequence[list[int]], *, max_job_tokens: int, temperature: float = 1.0
) -> Sequences:
    """One job for each prompt, drawn from the model's own distribution (temperature 0: its
    likeliest tokens).

    The model's own generation settings (top_p, repetition penalties) are not used: PPO needs to
    know the distribution.
    """
    model, tokenizer = writer
    padded = join(prompts, [[] for _ in prompts], pad=tokenizer.pad_token_id, device=model.device)
    draw = (
        {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        if temperature
        else {"do_sample": False}
    )
    settings = GenerationConfig(
        max_new_tokens=max_job_tokens,
        repetition_penalty=1.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **draw,
    )
    ids = model.generate(
        input_ids=padded.ids, attention_mask=padded.attention, generation_config=settings
    )
    written = ids[:, padded.ids.shape[1] :]
    ends = written == tokenizer.eos_token_id
    answer = (ends.cumsum(1) - ends.long()) == 0  # up to the first end token, with it
    return Sequences(ids, torch.cat([padded.attention, answer.long()], dim=1), answer, ends.any(1))


def decoded(writer: Writer, rows: Sequences) -> list[str]:
    """The jobs of sequences as texts, without the end token."""
    width = rows.ids.shape[1] - rows.answer.shape[1]
    return [
        writer.tokenizer.decode(row[width:][mask], skip_special_tokens=True)
        for row, mask in zip(rows.ids, rows.answer, strict=True)
    ]


def write_jobs(
    writer: Writer,
    prompts: Sequence[str | Prompt],
    *,
    max_job_tokens: int,
    temperature: float = 0.0,
    seed: int = 1,
    batch_size: int = 128,
) -> tuple[list[str], float]:
    """The job that the model writes for each prompt, and the share of jobs that did not end in
    max_job_tokens."""
    ids = [prompt_ids(writer.tokenizer, prompt) for prompt in prompts]
    require_room(writer.model, ids, max_job_tokens)
    torch.manual_seed(seed)
    writer.model.eval()
    texts, ended = [], 0
    for start in range(0, len(ids), batch_size):
        made = sample(
            writer,
            ids[start : start + batch_size],
            max_job_tokens=max_job_tokens,
            temperature=temperature,
        )
        texts += decoded(writer, made)
        ended += int(made.ended.sum())
    return texts, 1 - ended / len(texts)
