"""GIRL's second stage: the utility U(resume, job), learned from pairs of jobs for one resume (arXiv
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
    PretrainedConfig,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)
from transformers.modeling_layers import GenericForTokenClassification
from transformers.models.auto.modeling_auto import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING

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
)
from matchlib.girl.records import parse_job
from matchlib.girl.sft import Training, run
from matchlib.language.llm import Prompt
from matchlib.stats import mean_interval


def reward_model(generator: CausalGenerator, *, seed: int = 1) -> PreTrainedModel:
    """A model that gives each token a scalar: the generator's weights, with a head drawn by seed."""
    config = copy.deepcopy(generator.model.config)
    config.num_labels = 1
    config.classifier_dropout = 0.0
    config.mean_length = 1.0
    torch.manual_seed(seed)
    model = _token_classifier(generator.model, config)
    model.base_model.load_state_dict(generator.model.base_model.state_dict())
    return model.to(generator.model.device)


def _token_classifier(causal: PreTrainedModel, config: PretrainedConfig) -> PreTrainedModel:
    """The family's model with a head for each token; transformers has none for some, Gemma 3 among
    them, and a class by which all others are made."""
    if type(config) in MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING:
        return AutoModelForTokenClassification.from_config(config)
    bases = [base for base in type(causal).__mro__ if base.__name__.endswith("PreTrainedModel")]
    name = f"{bases[0].__name__.removesuffix('PreTrainedModel')}ForTokenClassification"
    classifier = type(name, (GenericForTokenClassification, bases[0]), {})
    classifier.config_class = type(config)  # type: ignore[attr-defined]
    return classifier(config)


def utilities(model: PreTrainedModel, rows: Sequences) -> torch.Tensor:
    """(B, T) the contribution of each of the job's tokens to U; a row's sum is its U."""
    output = model(
        input_ids=rows.ids,
        attention_mask=rows.attention,
        position_ids=rows.positions,
    )
    of_job = output.logits[:, -rows.answer.shape[1] :, 0]
    return of_job * rows.answer / model.config.mean_length


def _tokenise(tokenizer, pairs: pd.DataFrame) -> Dataset:
    columns = {
        "prompt": [prompt_ids(tokenizer, prompt) for prompt in pairs["prompt"]],
        "chosen": [job_ids(tokenizer, job) for job in pairs["chosen"]],
        "rejected": [job_ids(tokenizer, job) for job in pairs["rejected"]],
    }
    return Dataset.from_dict(columns)


class _PairwiseTrainer(Trainer):
    """The trainer with the pairwise loss."""

    def compute_loss(
        self,
        model,
        inputs,
        return_outputs=False,
        num_items_in_batch=None,
    ):
        scores = utilities(model, inputs["rows"]).sum(1)
        half = len(scores) // 2
        loss = -logsigmoid(scores[:half] - scores[half:]).mean()
        return (loss, {"scores": scores}) if return_outputs else loss


def train_reward(
    model: PreTrainedModel,
    tokenizer,
    pairs: pd.DataFrame,
    *,
    training: Training,
    checkpoints: Path,
) -> tuple[pd.DataFrame, int]:
    """Train U in place on pairs (prompt, chosen, rejected: texts).

    Returns the log and the number of pairs left out because one side is longer than
    training.max_tokens: cutting would hide what they differ in. Raises FloatingPointError if the
    loss diverges.
    """
    rows = _tokenise(tokenizer, pairs)
    lengths = [_longest_side(row) for row in rows]
    rows = rows.select(np.flatnonzero(np.array(lengths) <= training.max_tokens))
    if not len(rows):
        raise ValueError(
            f"no pair fits in {training.max_tokens} tokens; raise max_tokens or lower max_words"
        )
    check_context_length(model, [row["prompt"] + row["chosen"] for row in rows])
    check_context_length(model, [row["prompt"] + row["rejected"] for row in rows])

    def collate(batch: list[dict]) -> dict:
        prompts = [row["prompt"] for row in batch]
        chosen = [row["chosen"] for row in batch]
        rejected = [row["rejected"] for row in batch]
        sequences = join(
            prompts + prompts,
            chosen + rejected,
            pad=tokenizer.pad_token_id,
            device=model.device,
        )
        return {"rows": sequences}

    model.config.mean_length = float(np.mean([len(job) for job in rows["chosen"]]))
    steps = -(-len(rows) // training.batch_size)
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        remove_unused_columns=False,
        logging_steps=max(1, steps // 8),
        **training.arguments(model.device),
    )
    adapted = model
    if training.lora_rank:
        adapted = get_peft_model(model, lora(training.lora_rank, "TOKEN_CLS"))
    trainer = _PairwiseTrainer(
        model=adapted,
        args=arguments,
        train_dataset=rows,
        data_collator=collate,
    )
    log = run(trainer, model, checkpoints)
    if training.lora_rank:
        merge_adapter(adapted)
    return log, len(pairs) - len(rows)


def _longest_side(row: dict) -> int:
    return len(row["prompt"]) + max(len(row["chosen"]), len(row["rejected"]))


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
    values = []
    for start in range(0, len(prompts), batch_size):
        batch = slice(start, start + batch_size)
        rows = join(
            [prompt_ids(tokenizer, prompt) for prompt in prompts[batch]],
            [job_ids(tokenizer, job) for job in jobs[batch]],
            pad=tokenizer.pad_token_id,
            device=model.device,
        )
        values.append(utilities(model, rows).sum(1).float().cpu())
    return torch.cat(values).numpy()


def token_reward(
    model: PreTrainedModel, tokenizer, *, records: bool
) -> Callable[[Sequences], torch.Tensor]:
    """The reward of each token of sampled sequences, (B, T), for `ppo.train_ppo`: its contribution
    to the utility.

    records: a line that was written before gets 0, so that repeating it gains nothing, and a text
    that is no record is NaN.
    """

    @torch.no_grad()
    def reward(rows: Sequences) -> torch.Tensor:
        values = utilities(model.eval(), rows).float()
        if not records:
            return values
        written = rows.ids[:, -rows.answer.shape[1] :]
        is_equal = written[:, :, None] == written[:, None, :]
        is_repeated = is_equal.tril(-1).any(2)  # a token is a line
        is_record = [parse_job(text) is not None for text in decode_jobs(tokenizer, rows)]
        is_other = ~torch.tensor(is_record, device=values.device)[:, None]
        return values.masked_fill(is_repeated, 0.0).masked_fill(is_other, torch.nan)

    return reward


LEARNING_RATE_SHARE = 0.4
"""The utility's learning rate in notebook 06, as a share of SFT's."""


def margins(model: PreTrainedModel, tokenizer, pairs: pd.DataFrame) -> np.ndarray:
    """(n,) U(chosen) - U(rejected) of pairs."""
    prompts = list(pairs["prompt"])
    chosen = score(model, tokenizer, prompts, list(pairs["chosen"]))
    rejected = score(model, tokenizer, prompts, list(pairs["rejected"]))
    return chosen - rejected


def job_only_ablation(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs with one prompt for all: what can be learned from jobs alone."""
    return pairs.assign(prompt="job:\n")


def accuracy(pairs: pd.DataFrame, margin: np.ndarray, clusters: pd.Series) -> pd.DataFrame:
    """Share of pairs in the right order, over all and by kind, ties as half: kind, n, value, low,
    high, n_clusters. clusters: by resume_id, for the intervals.
    """
    right = np.where(margin == 0, 0.5, margin > 0)
    cluster_of_pair = clusters.loc[pairs["resume_id"]].to_numpy()
    rows = []
    for kind in ("all", *pairs["kind"].unique()):
        here = (pairs["kind"] == kind).to_numpy() | (kind == "all")
        interval = mean_interval(right[here], cluster_of_pair[here])
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
    """`accuracy` of a model that saw no resume, for each kind of OUTCOME_KINDS; no total.

    Corrupted pairs come twice, the second time reversed, so any function of jobs orders exactly half
    of them correctly: in a total they would hide what the other kinds reveal.
    """
    by_kind = accuracy(pairs, margin, clusters)
    return by_kind[by_kind["kind"].isin(OUTCOME_KINDS)].reset_index(drop=True)


def margin_calibration(
    pairs: pd.DataFrame,
    margin: np.ndarray,
    clusters: pd.Series,
    *,
    bins: int = 5,
) -> pd.DataFrame:
    """Predicted against observed accuracy, of pairs in equal parts by the size of the margin: n,
    predicted (mean sigmoid), right, low, high. clusters: by resume_id, for the intervals.
    """
    size = np.abs(margin)
    predictions = pd.DataFrame(
        {
            "predicted": 1 / (1 + np.exp(-size)),
            "right": margin > 0,
            "cluster": clusters.loc[pairs["resume_id"]].to_numpy(),
        }
    )
    part_of_pair = pd.qcut(size, bins, labels=False, duplicates="drop")
    rows = []
    for _, part in predictions.groupby(part_of_pair):
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
    """Spearman's correlation of margins with the difference in words of chosen and rejected.

    Within pairs, because the loss does not fix the level of U of a resume. NaN where all differences
    are the same.
    """
    chosen_words = pairs["chosen"].str.split().str.len()
    rejected_words = pairs["rejected"].str.split().str.len()
    difference = (chosen_words - rejected_words).reset_index(drop=True)
    return float(difference.corr(pd.Series(margins), method="spearman"))
