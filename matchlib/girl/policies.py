"""GIRL's third stage by any optimiser, and figures of the policy that it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from matchlib.data.schema import DataError
from matchlib.girl.by_trl import TRAINERS, train_by_trl
from matchlib.girl.models import CausalGenerator, prompt_ids
from matchlib.girl.ppo import PPO, Reward, measure_policy, train_ppo
from matchlib.language.llm import Prompt

OPTIMIZERS = ("ppo", *TRAINERS)
LEARNING_RATE_SHARE = 0.2
"""The policy's learning rate in notebook 06, as a share of SFT's."""


def require_known(optimizer: str) -> None:
    """Raise DataError unless the optimiser is one of OPTIMIZERS."""
    if optimizer not in OPTIMIZERS:
        raise DataError(f"optimizer {optimizer!r} is not one of {', '.join(OPTIMIZERS)}")


def train_policy(
    optimizer: str,
    policy: CausalGenerator,
    prompts: Sequence[str | Prompt],
    reward: Reward,
    *,
    settings: PPO,
    checkpoints: Path,
) -> pd.DataFrame:
    """Train the policy in place; returns the log, see `ppo.train_ppo` and `by_trl.train_by_trl`."""
    require_known(optimizer)
    if optimizer in TRAINERS:
        return train_by_trl(
            optimizer, policy, prompts, reward, settings=settings, checkpoints=checkpoints
        )
    ids = [prompt_ids(policy.tokenizer, prompt) for prompt in prompts]
    return train_ppo(policy, ids, reward, settings=settings, checkpoints=checkpoints)


def compare_policies(
    generators: Mapping[str, CausalGenerator],
    *,
    reference: CausalGenerator,
    prompts: Sequence[str | Prompt],
    reward: Reward,
    settings: PPO,
) -> pd.DataFrame:
    """`ppo.measure_policy` of several generators: a row each, named in the column `weights`."""
    ids = [prompt_ids(reference.tokenizer, prompt) for prompt in prompts]
    rows = []
    for name, generator in generators.items():
        figures = measure_policy(generator, reference, ids, reward, settings=settings)
        rows.append({"weights": name, **figures})
    return pd.DataFrame(rows)
