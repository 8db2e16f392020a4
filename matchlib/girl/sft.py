"""GIRL's first stage: fine-tune a causal model to write the job that accepted a resume (arXiv
2307.02157)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path

import pandas as pd
import torch
from datasets import Dataset, disable_progress_bars
from transformers import PreTrainedModel, Trainer
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging
from trl import SFTConfig, SFTTrainer

from matchlib.girl.models import (
    CausalGenerator,
    check_context_length,
    job_ids,
    lora,
    merge_adapter,
    prompt_ids,
    prompt_text,
)
from matchlib.language.llm import Prompt
from matchlib.language.vocabulary import trim_vocabulary
from matchlib.learning.training import last_whole_checkpoint

logger = getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """How to train a generator or a reward model.

    lora_rank: 0 trains the weights themselves;
    max_tokens: of a prompt and its job, longer ones are left out and counted;
    trim_vocabulary: SFT on the tokens in use alone, see `language.vocabulary`: faster where the
    vocabulary is large, with a loss that shares no probability among the other tokens."""

    learning_rate: float = 5e-3
    num_train_epochs: float = 4.0
    batch_size: int = 32
    lora_rank: int = 0
    max_tokens: int = 1_024
    seed: int = 1
    trim_vocabulary: bool = False

    def arguments(self, device: torch.device) -> dict:
        """Keywords that the trainers of transformers and trl share. On a CPU trl's own would raise,
        or cost 11 times."""
        on_cpu = device.type == "cpu"
        return {
            "learning_rate": self.learning_rate,
            "num_train_epochs": self.num_train_epochs,
            "seed": self.seed,
            "per_device_train_batch_size": self.batch_size,
            "warmup_steps": 0.05,
            "weight_decay": 0.01,
            "use_cpu": on_cpu,
            "bf16": not on_cpu and torch.cuda.is_bf16_supported(),
            "report_to": "none",
            "activation_checkpointing": False,
            "disable_tqdm": True,
            "logging_nan_inf_filter": False,
            "save_strategy": "epoch",
            "save_total_limit": 1,
            "dataloader_pin_memory": not on_cpu,
        }


def train_sft(
    generator: CausalGenerator,
    prompts: Sequence[str | Prompt],
    jobs: Sequence[str],
    *,
    training: Training,
    checkpoints: Path,
) -> tuple[pd.DataFrame, int]:
    """Train the generator in place on matched (prompt, job) pairs; the loss counts the job's tokens
    only.

    A killed run goes on from its last checkpoint. Returns the log (step, loss, learning_rate) and
    the number of pairs left out because they are longer than training.max_tokens. Raises
    FloatingPointError if the loss diverges.
    """
    if not training.trim_vocabulary:
        return _train_sft(generator, prompts, jobs, training=training, checkpoints=checkpoints)
    model, tokenizer = generator
    texts = [*(prompt_text(tokenizer, prompt) for prompt in prompts), *jobs]
    trimmed = trim_vocabulary(model, tokenizer, texts)
    try:
        small = CausalGenerator(model, trimmed.tokenizer)
        return _train_sft(small, prompts, jobs, training=training, checkpoints=checkpoints)
    finally:
        trimmed.restore()


def _train_sft(
    generator: CausalGenerator,
    prompts: Sequence[str | Prompt],
    jobs: Sequence[str],
    *,
    training: Training,
    checkpoints: Path,
) -> tuple[pd.DataFrame, int]:
    pairs = [
        (
            prompt_ids(generator.tokenizer, prompt),
            job_ids(generator.tokenizer, job),
        )
        for prompt, job in zip(prompts, jobs, strict=True)
    ]
    short = [
        (prompt, job) for prompt, job in pairs if len(prompt) + len(job) <= training.max_tokens
    ]
    if not short:
        raise ValueError(
            f"no pair fits in {training.max_tokens} tokens; raise max_tokens or lower max_words"
        )
    check_context_length(generator.model, [prompt + job for prompt, job in short])
    rows = Dataset.from_dict(
        {
            "input_ids": [prompt + job for prompt, job in short],
            "completion_mask": [[0] * len(prompt) + [1] * len(job) for prompt, job in short],
        }
    )
    disable_progress_bars()  # of datasets: a notebook shows results
    steps = -(-len(short) // training.batch_size)
    config = SFTConfig(
        output_dir=str(checkpoints),
        max_length=None,
        completion_only_loss=True,
        logging_steps=max(1, steps // 4),
        **training.arguments(generator.model.device),
    )
    adapter = lora(training.lora_rank) if training.lora_rank else None
    torch.manual_seed(training.seed)  # trl draws the adapter before it sets its seed
    trainer = SFTTrainer(
        model=generator.model,
        args=config,
        train_dataset=rows,
        processing_class=generator.tokenizer,
        peft_config=adapter,
    )
    log = run(trainer, generator.model, checkpoints)
    if adapter is not None:
        merge_adapter(trainer.model)
    return log, len(pairs) - len(short)


def first_and_last_loss(
    logs: Mapping[str, pd.DataFrame], left_out: Mapping[str, int]
) -> pd.DataFrame:
    """A row for each training: stage, first loss, last loss, pairs left out.

    logs, left_out: what `train_sft` returns, by name of the stage.
    """
    rows = []
    for name, log in logs.items():
        rows.append(
            {
                "stage": name,
                "first loss": log["loss"].iloc[0],
                "last loss": log["loss"].iloc[-1],
                "pairs left out": left_out[name],
            }
        )
    return pd.DataFrame(rows)


def run(
    trainer: Trainer,
    model: PreTrainedModel,
    checkpoints: Path,
    *,
    columns: Sequence[str] = ("step", "loss", "learning_rate"),
) -> pd.DataFrame:
    """Train `model`, from the last checkpoint where there is one; return these columns of the log,
    NaN where absent.

    Raises FloatingPointError if the loss diverges.
    """
    trainer.remove_callback(PrinterCallback)
    logging.disable_progress_bar()
    last = last_whole_checkpoint(checkpoints)
    logger.info(
        "training on %d rows%s",
        len(trainer.train_dataset),
        f", from {Path(last).name}" if last else "",
    )
    trainer.train(resume_from_checkpoint=last)
    model.__dict__.pop(
        "forward", None
    )  # trl's and accelerate's wrapper: a copy of the model would call the original
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    if not all(math.isfinite(entry["loss"]) for entry in steps):
        raise FloatingPointError(
            f"the loss is not finite; lower learning_rate. The last checkpoint is in {checkpoints}"
        )
    return pd.DataFrame(steps).reindex(columns=[*columns])
