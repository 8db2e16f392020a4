"""The alternative third stage: group relative policy optimisation by trl, on the same utility (arXiv 2402.03300)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from matchlib.girl.models import Writer, conversation, join, lora, merged, prompt_ids, require_room
from matchlib.girl.ppo import PPO, Reward
from matchlib.girl.sft import run
from matchlib.language.llm import Prompt

COLUMNS = {"reward": "reward", "kl": "kl", "entropy": "entropy", "completions/mean_length": "length",
           "completions/clipped_ratio": "whole", "clip_ratio/region_mean": "clipped", "loss": "policy_loss"}


def train_grpo(writer: Writer, prompts: Sequence[str | Prompt], reward: Reward, *, settings: PPO, checkpoints: Path,
               generations: int = 8) -> pd.DataFrame:
    """Train the writer in place; no critic: a job's advantage is its utility beside those of `generations` others.

    settings: those of PPO that GRPO has, too (not its critic's, nor target_kl and the limits). What does not end, or is
    no job, gets one unit less than the worst of its batch. Returns a log like that of `ppo.train_ppo`.
    """
    model, tokenizer = writer
    ids = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    require_room(writer, ids, settings.max_job_tokens)
    shown = [conversation(tokenizer, prompt) for prompt in prompts]
    known = {_key(prompt): own for prompt, own in zip(shown, ids, strict=True)}

    def judge(prompts, completions, completion_ids, **_) -> list[float]:
        rows = join([known[_key(prompt)] for prompt in prompts], completion_ids,
                    pad=tokenizer.pad_token_id, device=model.device)
        utilities = reward(rows).sum(1).float().cpu()
        whole = torch.tensor([own[-1] == tokenizer.eos_token_id for own in completion_ids]) & ~utilities.isnan()
        worst = utilities[whole].min() if whole.any() else torch.tensor(0.0)
        return torch.where(whole, utilities, worst - 1).tolist()

    steps = settings.batch_size // settings.minibatch_size
    on_cpu = model.device.type == "cpu"
    config = GRPOConfig(
        output_dir=str(checkpoints), max_steps=settings.iterations * settings.epochs * steps, seed=settings.seed,
        per_device_train_batch_size=settings.minibatch_size, steps_per_generation=steps, num_iterations=settings.epochs,
        num_generations=generations, max_completion_length=settings.max_job_tokens, beta=settings.beta,
        epsilon=settings.clip, temperature=settings.temperature, top_k=0, top_p=1.0,
        learning_rate=settings.learning_rate, lr_scheduler_type="constant", logging_steps=settings.epochs * steps,
        use_cpu=on_cpu, bf16=not on_cpu and torch.cuda.is_bf16_supported(), activation_checkpointing=False,
        report_to="none", disable_tqdm=True, save_steps=max(1, settings.iterations // 4) * settings.epochs * steps,
        save_total_limit=1, dataloader_pin_memory=not on_cpu)
    adapter = lora(settings.lora_rank) if settings.lora_rank else None
    trainer = GRPOTrainer(model=model, reward_funcs=judge, args=config, processing_class=tokenizer, peft_config=adapter,
                          train_dataset=Dataset.from_dict({"prompt": shown}))
    log = run(trainer, model, checkpoints, columns=["step", *COLUMNS])
    if adapter is not None:
        merged(trainer.model)
    model.eval()
    log = log.rename(columns=COLUMNS).assign(iteration=range(len(log)), stopped="")
    return log.assign(whole=1 - log["whole"]).drop(columns="step")


def _key(shown: str | list[dict[str, str]]) -> str:
    return shown if isinstance(shown, str) else "\0".join(message["content"] for message in shown)
