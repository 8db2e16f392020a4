"""What every training of an encoder shares: settings, checkpoints, resuming, and the choice of the
best checkpoint."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from peft import LoraConfig, LoraModel
from safetensors.torch import load_file, load_model, save_model
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.evaluation import (
    SentenceEvaluator,
)
from torch.utils.data import RandomSampler
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

from matchlib.learning.card import write_card
from matchlib.learning.pairs import PairCollator, Pairs

logger = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Settings:
    """How to train; the paper's values are lr 1e-5, 10 epochs, batch 4 x 2 pairs, warm-up .05,
    weight decay .01, temperature .01 (E5) or .05 (Jina), at most 2 hard negatives a batch and side.

    batch_size, hard_negatives: of the whole batch, over all processes. lora_rank: 0 trains the
    weights themselves.
    gradient_checkpointing: computes activations twice instead of keeping them, for long texts and
    small GPUs.
    bf16: mixed precision on a GPU or processor (AMX) that has it; off, training is in float32, so that
    figures compare.
    """

    learning_rate: float = 1e-5
    num_train_epochs: float = 10.0
    batch_size: int = 8
    temperature: float = 0.05
    hard_negatives: int = 2
    frozen_layers: int = 0
    warmup: float = 0.05
    weight_decay: float = 0.01
    evaluations: int = 4
    seed: int = 1
    chunk_size: int = 16
    lora_rank: int = 0
    gradient_checkpointing: bool = False
    bf16: bool = False


class EpochSampler(DefaultBatchSampler):
    """Random batches drawn anew from seed and epoch, so that a resumed run sees the batches it
    would have seen."""

    def __iter__(self):
        self.generator.manual_seed(self.seed + self.epoch)
        yield from super().__iter__()

    def __init__(
        self,
        dataset,
        batch_size: int,
        drop_last: bool,
        generator: torch.Generator,
        seed: int,
        **_,
    ):
        super().__init__(
            RandomSampler(dataset, generator=generator),
            batch_size=batch_size,
            drop_last=drop_last,
        )
        self.generator = generator
        self.seed = seed


class _Trainer(SentenceTransformerTrainer):
    """The trainer without model cards, which quote training texts, and with checkpoints of weights
    alone, which load into the model being trained with or without an adapter."""

    def add_model_card_callback(self, default_args_dict: dict) -> None:
        pass

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, str(folder / WEIGHTS))

    def _load_from_checkpoint(self, checkpoint: str) -> None:
        load_model(
            self.model,
            Path(checkpoint) / WEIGHTS,
            device=str(self.model.device),
        )


def fit(
    model: SentenceTransformer,
    pairs: Pairs,
    loss: torch.nn.Module,
    *,
    settings: Settings,
    checkpoints: Path,
    evaluator: SentenceEvaluator | None = None,
    job_prompt: str = "",
    resume_prompt: str = "",
) -> pd.DataFrame:
    """Train `model` in place by `loss` on batches of `pairs`; leave it with the checkpoint that
    validates best.

    The pretrained model is evaluated as step 0 but is no checkpoint: training may end below it, and
    the log says so. With settings.lora_rank the adapter is merged into the weights at the end, so
    that any loader reads the model.

    evaluator: returns its measures by name; the checkpoint with the highest `primary_metric` is
    kept.
    checkpoints: a folder kept between runs; a run that was killed goes on from its last checkpoint,
    bit for bit.
    Returns the log: a frame step, loss, learning_rate and the evaluator's measures (NaN where a row
    has none).
    Raises FloatingPointError if the loss diverges.
    """
    adapter = _add_lora(model, settings.lora_rank) if settings.lora_rank else None
    if settings.frozen_layers:
        freeze_layers(model, settings.frozen_layers)
    if settings.gradient_checkpointing:
        model[0].auto_model.activation_checkpointing_enable()
    last = last_whole_checkpoint(checkpoints)
    arguments = _arguments(settings, len(pairs.rows), checkpoints, model, evaluator, last)
    collator = PairCollator(
        model,
        pairs,
        -(-settings.hard_negatives // arguments.world_size),
        settings.chunk_size,
        job_prompt,
        resume_prompt,
    )
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict({"label": pairs.rows.tolist()}),
        loss=loss,
        data_collator=collator,
        evaluator=evaluator,
    )
    trainer.remove_callback(PrinterCallback)  # the log is returned, not printed
    logger.info(
        "training on %d pairs%s",
        len(pairs.rows),
        f", going on from {Path(last).name}" if last else "",
    )
    trainer.train(resume_from_checkpoint=last)
    if evaluator is not None:
        _check_best(model, Path(trainer.state.best_model_checkpoint))
    if settings.gradient_checkpointing:
        model[0].auto_model.activation_checkpointing_disable()
    if adapter is not None:
        adapter.merge_and_unload()
    return pd.DataFrame([_log_row(entry) for entry in trainer.state.log_history]).dropna(thresh=2)


def _add_lora(model: SentenceTransformer, rank: int) -> LoraModel:
    """Add a low-rank adapter to every linear layer (LoRA, arXiv 2106.09685; alpha = 2 rank,
    dropout .05)."""
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.05,
        target_modules="all-linear",
    )
    return LoraModel(model[0].auto_model, {"default": config}, "default")


def _arguments(
    settings: Settings,
    n_pairs: int,
    checkpoints: Path,
    model: SentenceTransformer,
    evaluator: SentenceEvaluator | None,
    last: str | None,
) -> SentenceTransformerTrainingArguments:
    if model.device.index and not torch.distributed.is_initialized():
        raise ValueError(
            f"training uses the first GPU it sees, not {model.device}; set CUDA_VISIBLE_DEVICES="
            f"{model.device.index} and device: cuda"
        )
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if settings.batch_size % processes:
        raise ValueError(
            f"batch_size {settings.batch_size} cannot be shared by {processes} processes; "
            f"make it a multiple"
        )
    steps = max(
        1,
        round(settings.num_train_epochs * -(-n_pairs // settings.batch_size)),
    )
    every = max(1, steps // max(settings.evaluations, 1))
    on_cpu = model.device.type == "cpu"
    has_bf16 = torch.cpu._is_amx_tile_supported() if on_cpu else torch.cuda.is_bf16_supported()
    if settings.bf16 and not has_bf16:
        raise ValueError(
            f"bf16 is set, but training runs on {model.device}, which is no GPU or processor (AMX) with "
            f"bfloat16; set bf16: false"
        )
    choice_of_best = {}
    if evaluator is not None:
        choice_of_best = {
            "eval_strategy": "steps",
            "eval_steps": every,
            "eval_on_start": last is None,
            "load_best_model_at_end": True,
            "greater_is_better": True,
            "metric_for_best_model": f"eval_{evaluator.primary_metric}",
        }
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size // processes,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        seed=settings.seed,
        data_seed=settings.seed,
        use_cpu=on_cpu,
        bf16=settings.bf16,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        logging_steps=max(1, every // 5),
        logging_nan_inf_filter=False,
        report_to="none",
        batch_sampler=EpochSampler,
        disable_tqdm=True,
        dataloader_pin_memory=not on_cpu,
        **choice_of_best,
    )
    if processes == 1 and arguments.n_gpu > 1:
        # DataParallel would split batches, and each part would see its own masks only
        arguments._n_gpu = 1
    return arguments


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; torn ones, left by a kill, are removed."""
    for checkpoint in folder.glob("checkpoint-*"):
        try:  # the trainer writes this file last
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            logger.warning("removing the unfinished %s", checkpoint)
            shutil.rmtree(checkpoint)
    return get_last_checkpoint(folder) if folder.is_dir() else None


def freeze_layers(model: SentenceTransformer, n: int) -> None:
    """Freeze the embeddings and the lowest `n` transformer layers. Raises ValueError if there are
    fewer."""
    backbone = model[0].auto_model
    layers = next(
        (m for m in backbone.modules() if isinstance(m, torch.nn.ModuleList)),
        [],
    )
    if n > len(layers):
        raise ValueError(f"frozen_layers is {n}, but the model has {len(layers)} layers")
    frozen = [backbone.get_input_embeddings(), *layers[:n]]
    if hasattr(backbone, "embeddings"):
        frozen.append(backbone.embeddings)
    for module in frozen:
        module.requires_grad_(False)


def _check_best(model: SentenceTransformer, checkpoint: Path) -> None:
    """Compare the weights with the best checkpoint's: the trainer only logs a failure to load them."""
    saved = load_file(checkpoint / WEIGHTS)
    loaded = model.state_dict()
    if any(not torch.equal(loaded[name].cpu(), value) for name, value in saved.items()):
        raise RuntimeError(
            f"the best checkpoint {checkpoint} was not loaded; remove its folder and train again"
        )


def _log_row(entry: dict) -> dict:
    not_measures = (
        "eval_runtime",
        "eval_samples_per_second",
        "eval_steps_per_second",
        "eval_loss",
    )
    row = {"step": entry["step"]}
    for name in ("loss", "learning_rate"):
        if name in entry:
            row[name] = entry[name]
    for name in sorted(entry):
        if name.startswith("eval_") and name not in not_measures:
            row[name.removeprefix("eval_")] = entry[name]
    return row


def save_encoder(
    model: SentenceTransformer,
    folder: Path,
    *,
    prompts: dict[str, str] | None = None,
    **card: Any,
) -> None:
    """Save a plain sentence-transformers folder, written beside and renamed;
    SentenceTransformer(folder) loads it.

    prompts: kept in the folder by name, for model.encode(..., prompt_name="job"). card: what the
    model card beside the weights says, see `card.write_card`.
    """
    model.prompts |= {name: prompt for name, prompt in (prompts or {}).items() if prompt}
    if model.tokenizer.is_fast:  # the file would keep how the last text was cut and padded
        model.tokenizer.backend_tokenizer.no_truncation()
        model.tokenizer.backend_tokenizer.no_padding()
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(str(beside), create_model_card=False)
    write_card(beside, **card)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
