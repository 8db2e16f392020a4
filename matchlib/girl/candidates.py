"""Best of n: SFT samples several jobs for each resume and the utility chooses one (arXiv 2009.01325).

This needs no third stage and is what a policy has to beat; it samples n jobs for every new resume,
where a policy pays once, in training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from matchlib.girl.models import (
    CausalGenerator,
    Sequences,
    check_context_length,
    decode_jobs,
    prompt_ids,
    sample,
)
from matchlib.language.llm import Prompt
from matchlib.stats import mean_interval

BEST_OF = 16
"""Jobs that SFT samples for a resume in notebook 06, of which the utility chooses one."""
GROUP_SIZE = 4
"""Jobs among which the utility has to find the best, in `choice_accuracy`."""


@torch.no_grad()
def write_candidates(
    generator: CausalGenerator,
    prompts: Sequence[str | Prompt],
    reward: Callable[[Sequences], torch.Tensor],
    *,
    n: int,
    max_job_tokens: int,
    temperature: float,
    seed: int = 1,
    batch_size: int = 512,
) -> pd.DataFrame:
    """n sampled jobs for each prompt, in the order of prompts: prompt (its number), draw, text,
    utility.

    reward: of `reward.token_reward`, on which a policy would be trained; the judge plays no part. A
    job that does not end, or is no record, has the utility -inf.
    """
    ids = [prompt_ids(generator.tokenizer, prompt) for prompt in prompts]
    check_context_length(generator.model, ids, max_job_tokens)
    torch.manual_seed(seed)
    generator.model.eval()
    texts = []
    utilities = []
    n_prompts = max(1, batch_size // n)
    for start in range(0, len(ids), n_prompts):
        repeated = []
        for prompt in ids[start : start + n_prompts]:
            repeated += [prompt] * n
        rows = sample(
            generator,
            repeated,
            max_job_tokens=max_job_tokens,
            temperature=temperature,
        )
        utility = reward(rows).float().sum(1)
        is_incomplete = utility.isnan() | ~rows.ended
        utilities += utility.masked_fill(is_incomplete, -torch.inf).tolist()
        texts += decode_jobs(generator.tokenizer, rows)
    return pd.DataFrame(
        {
            "prompt": np.repeat(np.arange(len(ids)), n),
            "draw": np.tile(np.arange(n), len(ids)),
            "text": texts,
            "utility": utilities,
        }
    )


def best_of(candidates: pd.DataFrame, n: int, *, by: str = "utility") -> pd.DataFrame:
    """For each prompt the row of the first n draws with the highest value in the column `by`; an
    incomplete job only where all n are incomplete."""
    first = candidates[candidates["draw"] < n].reset_index(drop=True)
    return first.loc[first.groupby("prompt")[by].idxmax()].reset_index(drop=True)


def share_without_job(candidates: pd.DataFrame) -> float:
    """Share of prompts without a complete job."""
    return float(np.isneginf(candidates.groupby("prompt")["utility"].max()).mean())


def best_of_divergence(n: int) -> float:
    """The divergence of best of n from the model that samples, in nats: log n - (n - 1) / n, an upper
    bound (arXiv 2401.01879)."""
    return math.log(n) - (n - 1) / n


def best_of_curve(candidates: pd.DataFrame, clusters: np.ndarray) -> pd.DataFrame:
    """Mean true fit of best of 1, 2, 4, ... by the utility: n, kl, value, low, high,
    n_clusters.

    candidates: with a column true_fit; clusters: of prompts, for the intervals.
    """
    rows = []
    n = 1
    while n <= candidates["draw"].max() + 1:
        interval = mean_interval(best_of(candidates, n)["true_fit"], clusters)
        rows.append({"n": n, "kl": best_of_divergence(n), **_bar(interval)})
        n *= 2
    return pd.DataFrame(rows)


def choice_accuracy(
    candidates: pd.DataFrame, clusters: np.ndarray, *, size: int = GROUP_SIZE
) -> pd.DataFrame:
    """How often the utility's first choice of `size` jobs is a truly best one: accuracy, the chance of
    a random choice, and their difference, each with its interval over clusters.

    candidates: with a column true_fit, cut into groups of `size` draws; clusters: of prompts. Of jobs
    that are equally good each is right; a utility that ties chooses among its first ones at random.
    Groups of which all jobs are equally good tell nothing and are left out: n counts the others.
    """
    group = candidates["draw"] // size
    right, chance, cluster = [], [], []
    for (prompt, _), rows in candidates.groupby(["prompt", group]):
        is_best = (rows["true_fit"] >= rows["true_fit"].max() - 1e-9).to_numpy()
        if is_best.all():
            continue
        is_chosen = (rows["utility"] == rows["utility"].max()).to_numpy()
        right.append(is_best[is_chosen].mean())
        chance.append(is_best.mean())
        cluster.append(clusters[prompt])
    n_groups = candidates.groupby(["prompt", group]).ngroups
    values = {
        "right choice": np.array(right),
        "random choice": np.array(chance),
        "difference": np.array(right) - np.array(chance),
    }
    table = []
    for name, value in values.items():
        row = {"choice": name, "n": len(value), "all equal": n_groups - len(value)}
        if len(value):
            row |= _bar(mean_interval(value, np.array(cluster)))
        table.append(row)
    return pd.DataFrame(table)


def _bar(interval: dict[str, float]) -> dict[str, float]:
    return {name: interval[name] for name in ("value", "low", "high", "n_clusters")}
