"""The alternative third stages, by trl, on the same utility: GRPO, group relative policy optimisation
(arXiv 2402.03300), and RLOO, REINFORCE with a leave-one-out baseline (arXiv 2402.14740).

Both compare a job with others that were sampled for the same resume, where `ppo` asks a critic. Both
give one advantage to all tokens of a job; GRPO clips token by token and adds the divergence to the
loss, RLOO clips the whole job's ratio and takes the divergence off its reward. PPO, which trl no
longer has, differs in two ways that they cannot have: it rewards each token with its own
contribution to the utility, and it steers the penalty towards a fixed divergence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from matchlib.girl.models import (
    CausalGenerator,
    check_context_length,
    conversation,
    count_without_padding,
    join,
    lora,
    merge_adapter,
    prompt_ids,
)
from matchlib.girl.ppo import PPO, Reward
from matchlib.girl.sft import run
from matchlib.language.llm import Prompt

TRAINERS = {"grpo": (GRPOTrainer, GRPOConfig), "rloo": (RLOOTrainer, RLOOConfig)}
LOG_COLUMNS = {
    "reward": "reward",
    "kl": "kl",
    "entropy": "entropy",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "whole",
    "clip_ratio/region_mean": "clipped",
    "loss": "policy_loss",
}


def train_by_trl(
    optimizer: str,
    generator: CausalGenerator,
    prompts: Sequence[str | Prompt],
    reward: Reward,
    *,
    settings: PPO,
    checkpoints: Path,
    generations: int = 8,
) -> pd.DataFrame:
    """Train the generator in place; no critic: a job's advantage is its utility beside those of
    `generations` others.

    optimizer: one of TRAINERS. settings: those of PPO that these have, too (not its critic's, nor
    dense_reward and target_kl). A text that does not end, or is no job, gets one unit less than the
    worst job of its batch. RLOO's rewards are in units of the spread of the first batch, as PPO's,
    so that beta means the same; GRPO divides each group by its own. Beyond max_kl or max_drift it
    stops, where PPO also goes back. Returns a log like that of `ppo.train_ppo`. Raises ValueError
    where the reward is the same for all jobs.
    """
    model, tokenizer = generator
    ids = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    check_context_length(generator.model, ids, settings.max_job_tokens)
    shown = [conversation(tokenizer, prompt) for prompt in prompts]
    known = {_key(prompt): own for prompt, own in zip(shown, ids, strict=True)}
    spreads: list[float] = []

    def judge(prompts, completions, completion_ids, **_) -> list[float]:
        rows = join(
            [known[_key(prompt)] for prompt in prompts],
            completion_ids,
            pad=tokenizer.pad_token_id,
            device=model.device,
        )
        utilities = reward(rows).sum(1).float().cpu()
        whole = (
            torch.tensor([own[-1] == tokenizer.eos_token_id for own in completion_ids])
            & ~utilities.isnan()
        )
        if limits.first is None and whole.sum() > 1 and utilities[whole].std() < 1e-6:
            raise ValueError(
                "the reward is the same for all jobs, so there is nothing to learn from it; train the "
                "utility longer, until it orders held-out pairs"
            )
        if optimizer == "rloo" and not spreads:  # a killed run measures its spread again
            spreads.append(float(utilities[whole].std()) if whole.sum() > 1 else 1.0)
        utilities = utilities / (spreads[0] if spreads else 1.0)
        worst = utilities[whole].min() if whole.any() else torch.tensor(0.0)
        return torch.where(whole, utilities, worst - 1).tolist()

    adapter, limits = (
        lora(settings.lora_rank) if settings.lora_rank else None,
        _Limits(settings),
    )
    if (
        adapter is None and settings.beta
    ):  # trl loads the reference by the model's name, which SFT does not have
        model.save_pretrained(checkpoints / "reference")
        model.config._name_or_path = str(checkpoints / "reference")
    trainer_class, config_class = TRAINERS[optimizer]
    config = _config(
        config_class,
        settings,
        checkpoints,
        generations,
        on_cpu=model.device.type == "cpu",
    )
    trainer = trainer_class(
        model=model,
        reward_funcs=judge,
        args=config,
        processing_class=tokenizer,
        peft_config=adapter,
        train_dataset=Dataset.from_dict({"prompt": shown}),
        callbacks=[limits],
    )
    places = [count_without_padding(own) for own in (model, trainer.ref_model) if own is not None]
    try:
        log = run(trainer, model, checkpoints, columns=["step", *LOG_COLUMNS])
    finally:
        for handle in places:
            handle.remove()
    if adapter is not None:
        merge_adapter(trainer.model)
    model.eval()
    log = log.rename(columns=LOG_COLUMNS).assign(iteration=range(len(log)), stopped="")
    log.loc[log.index[-1], "stopped"] = limits.reason
    kl = (
        log["kl"] * log["length"] if "kl" in log else float("nan")
    )  # trl's is the mean of a token; none with beta 0
    reward_unit = spreads[0] if spreads else 1.0
    log = log.assign(whole=1 - log["whole"], kl=kl, reward=reward_unit * log["reward"])
    return log.drop(columns="step")


def _config(
    config_class: type[GRPOConfig | RLOOConfig],
    settings: PPO,
    checkpoints: Path,
    generations: int,
    *,
    on_cpu: bool,
) -> GRPOConfig | RLOOConfig:
    minibatch_size = min(settings.minibatch_size, settings.batch_size)
    steps = settings.batch_size // minibatch_size
    return config_class(
        output_dir=str(checkpoints),
        max_steps=settings.iterations * settings.num_ppo_epochs * steps,
        seed=settings.seed,
        per_device_train_batch_size=minibatch_size,
        steps_per_generation=steps,
        num_iterations=settings.num_ppo_epochs,
        num_generations=generations,
        max_completion_length=settings.max_job_tokens,
        beta=settings.beta,
        epsilon=settings.clip,
        temperature=settings.temperature,
        top_k=0,
        top_p=1.0,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        logging_steps=settings.num_ppo_epochs * steps,
        use_cpu=on_cpu,
        bf16=not on_cpu and torch.cuda.is_bf16_supported(),
        activation_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        save_steps=max(1, settings.iterations // 4) * settings.num_ppo_epochs * steps,
        save_total_limit=1,
        dataloader_pin_memory=not on_cpu,
        disable_dropout=True,
    )


class _Limits(TrainerCallback):
    """Stops the training beyond the limits of divergence and length; `reason` says why."""

    def __init__(self, settings: PPO):
        self.settings, self.first, self.reason = settings, None, ""

    def on_log(self, args, state, control, logs=None, **_):
        length = (logs or {}).get("completions/mean_length")
        if length is None:
            return
        seen = [
            row["completions/mean_length"]
            for row in state.log_history
            if "completions/mean_length" in row
        ]
        self.first = seen[0]  # that of SFT, also where a killed run goes on
        if (kl := logs.get("kl", 0.0) * length) > self.settings.max_kl:
            self.reason = f"the divergence of {kl:.1f} nats is above {self.settings.max_kl:g}"
        elif abs(length / self.first - 1) > self.settings.max_drift:
            self.reason = f"the length has changed by {length / self.first - 1:+.0%}"
        control.should_training_stop = control.should_training_stop or bool(self.reason)


def _key(shown: str | list[dict[str, str]]) -> str:
    return shown if isinstance(shown, str) else "\0".join(message["content"] for message in shown)
