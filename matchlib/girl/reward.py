"""GIRL's second stage: U(resume, job), learned from pairs of jobs for one resume (arXiv
2307.02157).

U is the sum of a scalar that a causal model gives each of the job's tokens, over the mean length of
the training jobs; the loss is -log sigmoid(U+ - U-). Deviations: from one scalar at the last token,
as usual, a small model does not learn to match the two sides; and the mean of the scalars rises
where a job drops its requirements and keeps title and place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from peft import get_peft_model
from torch.nn.functional import logsigmoid
from transformers import (
    AutoModelForTokenClassification,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from matchlib.girl.job_pairs import OUTCOME_KINDS
from matchlib.girl.models import (
    CausalGenerator,
    Sequences,
    check_context_length,
    decode_jobs,
    job_ids,
    join,
    lora,
    merge_adapter,
    prompt_ids,
    sample,
)
from matchlib.girl.records import parse_job
from matchlib.girl.sft import Training, run
from matchlib.language.llm import Prompt
from matchlib.stats import mean_interval


def reward_model(generator: CausalGenerator, *, seed: int = 1) -> PreTrainedModel:
    """A model with a scalar a token that starts as the generator is; its head is drawn by seed."""
    config = copy.deepcopy(generator.model.config)
    config.num_labels, config.classifier_dropout, config.mean_length = 1, 0.0, 1.0
    torch.manual_seed(seed)
    model = AutoModelForTokenClassification.from_config(config)
    model.base_model.load_state_dict(generator.model.base_model.state_dict())
    return model.to(generator.model.device)


def utilities(model: PreTrainedModel, rows: Sequences) -> torch.Tensor:
    """(B, T) what each of the job's tokens adds to U; a row's sum is its U."""
    scores = model(
        input_ids=rows.ids, attention_mask=rows.attention, position_ids=rows.positions
    ).logits[..., 0]
    return scores[:, -rows.answer.shape[1] :] * rows.answer / model.config.mean_length


def _tokenise(tokenizer, pairs: pd.DataFrame) -> dict[str, list[list[int]]]:
    return {"prompt": [prompt_ids(tokenizer, prompt) for prompt in pairs["prompt"]]} | {
        side: [job_ids(tokenizer, job) for job in pairs[side]] for side in ("chosen", "rejected")
    }


class _Pairs(Trainer):
    """The trainer with the pairwise loss."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        scores = utilities(model, inputs["rows"]).sum(1)
        half = len(scores) // 2
        loss = -logsigmoid(scores[:half] - scores[half:]).mean()
        return (loss, {"scores": scores}) if return_outputs else loss


def train_reward(
    model: PreTrainedModel, tokenizer, pairs: pd.DataFrame, *, training: Training, checkpoints: Path
) -> tuple[pd.DataFrame, int]:
    """Train U in place on pairs (prompt, chosen, rejected: texts).

    Returns the log and the number of pairs left out because one side is longer than
    training.max_tokens: cutting would hide what they differ in. Raises FloatingPointError if the
    loss diverges.
    """
    columns = _tokenise(tokenizer, pairs)
    fits = [
        len(prompt) + max(len(chosen), len(rejected)) <= training.max_tokens
        for prompt, chosen, rejected in zip(*columns.values(), strict=True)
    ]
    rows = Dataset.from_dict(columns).select(np.flatnonzero(fits))
    if not len(rows):
        raise ValueError(
            f"no pair fits in {training.max_tokens} tokens; raise max_tokens or lower max_words"
        )

    check_context_length(
        model, [row["prompt"] + row[side] for row in rows for side in ("chosen", "rejected")]
    )

    def collate(batch: list[dict]) -> dict:
        prompts = [row["prompt"] for row in batch]
        jobs = [row[side] for side in ("chosen", "rejected") for row in batch]
        return {"rows": join(prompts * 2, jobs, pad=tokenizer.pad_token_id, device=model.device)}

    model.config.mean_length = float(np.mean([len(job) for job in rows["chosen"]]))
    steps = -(-len(rows) // training.batch_size)
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        remove_unused_columns=False,
        logging_steps=max(1, steps // 8),
        **training.arguments(model.device),
    )
    adapted = (
        get_peft_model(model, lora(training.lora_rank, "TOKEN_CLS"))
        if training.lora_rank
        else model
    )
    log = run(
        _Pairs(model=adapted, args=arguments, train_dataset=rows, data_collator=collate),
        model,
        checkpoints,
    )
    if training.lora_rank:
        merge_adapter(adapted)
    return log, len(pairs) - len(rows)


@torch.no_grad()
def score(
    model: PreTrainedModel,
    tokenizer,
    prompts: Sequence[str | Prompt],
    jobs: Sequence[str],
    *,
    batch_size: int = 128,
) -> np.ndarray:
    """(n,) utilities of texts."""
    model.eval()
    found = []
    for start in range(0, len(prompts), batch_size):
        rows = join(
            [prompt_ids(tokenizer, prompt) for prompt in prompts[start : start + batch_size]],
            [job_ids(tokenizer, job) for job in jobs[start : start + batch_size]],
            pad=tokenizer.pad_token_id,
            device=model.device,
        )
        found.append(utilities(model, rows).sum(1).float().cpu())
    return torch.cat(found).numpy()


def token_reward(
    model: PreTrainedModel, tokenizer, *, records: bool
) -> Callable[[Sequences], torch.Tensor]:
    """What each token of sampled sequences adds to their utility, (B, T), for `ppo.train_ppo`.

    records: a line that a record holds twice adds nothing, so that saying it twice gains nothing,
    and a text of another form is NaN.
    """

    @torch.no_grad()
    def reward(rows: Sequences) -> torch.Tensor:
        found = utilities(model.eval(), rows).float()
        if not records:
            return found
        written = rows.ids[:, -rows.answer.shape[1] :]
        said = (written[:, :, None] == written[:, None, :]).tril(-1).any(2)  # a token is a line
        whole = [
            parse_job(tokenizer.decode(row[mask], skip_special_tokens=True)) is not None
            for row, mask in zip(written, rows.answer, strict=True)
        ]
        return found.masked_fill(said, 0.0).masked_fill(
            ~torch.tensor(whole, device=said.device)[:, None], torch.nan
        )

    return reward


@torch.no_grad()
def write_best_of_n(
    generator: CausalGenerator,
    prompts: Sequence[str | Prompt],
    reward: Callable[[Sequences], torch.Tensor],
    *,
    n: int,
    max_job_tokens: int,
    temperature: float,
    seed: int = 1,
    batch_size: int = 512,
) -> tuple[list[str], float]:
    """Of n sampled jobs for each prompt the one of highest utility (best of n), and the share
    without a whole job.

    reward: as of `token_reward`, so that the choice is by what a policy would have been
    trained on, never by the judge. A job that does not end, or has another form, is chosen only
    where all n are such. What a policy trained against the same utility has to beat, without any
    training (arXiv 2009.01325).
    """
    ids = [prompt_ids(generator.tokenizer, prompt) for prompt in prompts]
    check_context_length(generator.model, ids, max_job_tokens)
    torch.manual_seed(seed)
    generator.model.eval()
    texts, none_whole, each = [], 0, max(1, batch_size // n)
    for start in range(0, len(ids), each):
        part = [own for own in ids[start : start + each] for _ in range(n)]
        rows = sample(generator, part, max_job_tokens=max_job_tokens, temperature=temperature)
        utility = reward(rows).float().sum(1)
        utility = utility.masked_fill(utility.isnan() | ~rows.ended, -torch.inf).view(-1, n)
        best = utility.argmax(1) + n * torch.arange(len(utility), device=utility.device)
        texts += decode_jobs(generator.tokenizer, rows[best])
        none_whole += int(utility.isinf().all(1).sum())
    return texts, none_whole / len(texts)


def margins(model: PreTrainedModel, tokenizer, pairs: pd.DataFrame) -> np.ndarray:
    """(n,) U(chosen) - U(rejected) of pairs."""
    prompts = list(pairs["prompt"])
    return np.subtract(
        *(score(model, tokenizer, prompts, list(pairs[side])) for side in ("chosen", "rejected"))
    )


def job_only_ablation(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs with one prompt for all: what can be learned from jobs alone."""
    return pairs.assign(prompt="job:\n")


def accuracy(pairs: pd.DataFrame, margin: np.ndarray, clusters: pd.Series) -> pd.DataFrame:
    """Share of pairs ordered rightly, by kind and over all, ties as half: kind, n, value, low,
    high, n_clusters.

    clusters: by resume_id; the intervals know them.
    """
    right = np.where(margin == 0, 0.5, margin > 0)
    of_pair = clusters.loc[pairs["resume_id"]].to_numpy()
    kinds = {"all": np.ones(len(pairs), dtype=bool)} | {
        kind: (pairs["kind"] == kind).to_numpy() for kind in pairs["kind"].unique()
    }
    rows = []
    for kind, here in kinds.items():
        interval = mean_interval(right[here], of_pair[here])
        rows.append(
            {
                "kind": kind,
                "n": int(here.sum()),
                "value": interval["value"],
                "low": max(0.0, interval["low"]),
                "high": min(1.0, interval["high"]),
                "n_clusters": interval["n_clusters"],
            }
        )
    return pd.DataFrame(rows)


def accuracy_from_jobs(
    pairs: pd.DataFrame, margin: np.ndarray, clusters: pd.Series
) -> pd.DataFrame:
    """`accuracy` of a model that saw no resume, for each kind of `pairs.OUTCOME_KINDS` alone; no
    total.

    Pairs made from records come twice, the second time turned around, so that any function of jobs
    orders exactly half of them rightly: in a total they would hide what the other kinds give away.
    """
    found = accuracy(pairs, margin, clusters)
    return found[found["kind"].isin(OUTCOME_KINDS)].reset_index(drop=True)


def margin_calibration(
    pairs: pd.DataFrame, margin: np.ndarray, clusters: pd.Series, *, bins: int = 5
) -> pd.DataFrame:
    """Predicted against observed: pairs in equal parts by |margin|, n, predicted (mean sigmoid),
    right, low, high.

    clusters: by resume_id; the intervals know them.
    """
    frame = pd.DataFrame(
        {
            "predicted": 1 / (1 + np.exp(-np.abs(margin))),
            "right": margin > 0,
            "cluster": clusters.loc[pairs["resume_id"]].to_numpy(),
        }
    )
    rows = []
    for _, part in frame.groupby(pd.qcut(np.abs(margin), bins, labels=False, duplicates="drop")):
        interval = mean_interval(part["right"].to_numpy(), part["cluster"].to_numpy())
        rows.append(
            {
                "n": len(part),
                "predicted": part["predicted"].mean(),
                "right": interval["value"],
                "low": max(0.0, interval["low"]),
                "high": min(1.0, interval["high"]),
            }
        )
    return pd.DataFrame(rows)


def length_correlation(pairs: pd.DataFrame, margins: np.ndarray) -> float:
    """Spearman's correlation of margins with how many words chosen has more than rejected (columns
    of pairs: texts).

    Within pairs, because the loss leaves a resume's level of U free. NaN where all differences are
    the same.
    """
    longer = pairs["chosen"].str.split().str.len() - pairs["rejected"].str.split().str.len()
    return float(longer.reset_index(drop=True).corr(pd.Series(margins), method="spearman"))
