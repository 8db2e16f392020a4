"""GIRL's third stage by any optimiser, and figures of the policy that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from matchlib.data.schema import DataError
from matchlib.girl.by_trl import TRAINERS, train_by_trl
from matchlib.girl.models import CausalGenerator, Sequences, decode_jobs, prompt_ids
from matchlib.girl.ppo import PPO, Reward, measure_policy, train_ppo
from matchlib.language.llm import Prompt

OPTIMIZERS = ("ppo", *TRAINERS)
LEARNING_RATE_SHARE = 0.2
"""The policy's learning rate in notebook 06, as a share of SFT's."""


def require_known(*optimizers: str) -> None:
    """Raise DataError unless each optimiser is one of OPTIMIZERS, named once."""
    for optimizer in optimizers:
        if optimizer not in OPTIMIZERS:
            raise DataError(f"optimizer {optimizer!r} is not one of {', '.join(OPTIMIZERS)}")
        if optimizers.count(optimizer) > 1:
            raise DataError(f"optimizer {optimizer!r} is named twice; leave it out once")


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


class Observed:
    """A reward that also looks at the jobs that it is asked about, for a judge that plays no part in
    training: mean true fits of the batches, one an iteration."""

    def __init__(
        self,
        reward: Reward,
        generator: CausalGenerator,
        prompts: Sequence[str | Prompt],
        true_fit: Callable[[list[int], list[str]], np.ndarray] | None,
    ):
        """true_fit: numbers of prompts and texts -> true fits; None where no truth is known."""
        self.reward = reward
        self.tokenizer = generator.tokenizer
        self.number_of_prompt = {}
        for number, prompt in enumerate(prompts):
            self.number_of_prompt[tuple(prompt_ids(self.tokenizer, prompt))] = number
        self.true_fit = true_fit
        self.means: list[float] = []

    def __call__(self, rows: Sequences) -> Tensor:
        """The reward."""
        if self.true_fit is not None:
            self.means.append(float(np.mean(self._true_fits(rows))))
        return self.reward(rows)

    def _true_fits(self, rows: Sequences) -> np.ndarray:
        n_prompt = rows.ids.shape[1] - rows.answer.shape[1]
        numbers = []
        for ids, attention in zip(rows.ids, rows.attention, strict=True):
            given = ids[:n_prompt][attention[:n_prompt].bool()]
            numbers.append(self.number_of_prompt[tuple(given.tolist())])
        return self.true_fit(numbers, decode_jobs(self.tokenizer, rows))

    def column(self, n_rows: int) -> list[float]:
        """The means for a log of n_rows; NaN for iterations before a killed run went on."""
        missing = [float("nan")] * max(0, n_rows - len(self.means))
        return [*missing, *self.means][:n_rows]


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


def fit_curves(best_of: pd.DataFrame, logs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The lines of `plots.plot_true_fit`: system, kl, value, low, high, n_clusters.

    best_of: of `candidates.best_of_curve`; logs: of the policies, with a column true_fit, whose
    iterations have no interval.
    """
    lines = [best_of.assign(system="SFT, best of n")]
    for name, log in logs.items():
        lines.append(pd.DataFrame({"kl": log["kl"], "value": log["true_fit"], "system": name}))
    columns = ["system", "kl", "value", "low", "high", "n_clusters"]
    return pd.concat(lines, ignore_index=True)[columns]


def kept_points(measured: pd.DataFrame, fits: pd.DataFrame) -> pd.DataFrame:
    """The kept weights of policies in `plots.plot_true_fit`: system, kl, value, low, high.

    measured: of `compare_policies`; fits: of `written_jobs.fit_by_arm`, whose sampled arms count.
    """
    by_arm = fits.set_index("arm")
    points = measured[measured["weights"] != "sft"].set_index("weights")["kl"]
    sampled = by_arm.loc[[f"{name} sampled" for name in points.index], ["value", "low", "high"]]
    return sampled.set_index(points.index).assign(kl=points).rename_axis("system").reset_index()
