"""Direct preference optimisation (DPO, arXiv 2305.18290) of a causal model, by TRL, on pairs of its own
texts of which an encoder prefers one (ConFit v2,
arXiv 2502.12361)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from matchlib.data.schema import DataError
from matchlib.girl.models import (
    CausalGenerator,
    check_context_length,
    job_ids,
    lora,
    merge_adapter,
    prompt_ids,
)
from matchlib.girl.sft import Training, run
from matchlib.language.llm import Prompt

TARGETS = ("accepted", "centroid", "query")
LOG_COLUMNS = ("step", "loss", "rewards/accuracies", "rewards/margins", "learning_rate")


def preferences(
    own: pd.Series,
    candidates: Mapping[str, Sequence[str]],
    accepted: Mapping[str, Sequence[str]],
    *,
    target: str,
    encode: Callable[[list[str]], np.ndarray],
    encode_own: Callable[[list[str]], np.ndarray],
) -> pd.DataFrame:
    """Of each document's candidate texts the one nearest to the target (chosen) and the farthest
    (rejected): own_id, chosen, rejected, chosen_similarity, rejected_similarity.

    own: text by id; candidates, accepted: texts by its id. target: accepted, the document's nearest
    accepted text; centroid, the mean vector of these; query, the document itself. encode,
    encode_own: unit vectors of candidates and of documents. Documents with fewer than two different
    candidates have no row.
    """
    rows = []
    for own_id, text in own.items():
        texts = list(candidates[own_id])
        if len(texts) < 2:
            continue
        vectors = encode(texts)
        targets = encode_own([text]) if target == "query" else encode(list(accepted[own_id]))
        if target == "centroid":
            targets = targets.mean(axis=0, keepdims=True)
        similarity = (vectors @ targets.T).max(axis=1)
        best, worst = int(similarity.argmax()), int(similarity.argmin())
        if best != worst:
            found = texts[best], texts[worst], similarity[best], similarity[worst]
            rows.append((own_id, *found))
    names = ["own_id", "chosen", "rejected", "chosen_similarity", "rejected_similarity"]
    return pd.DataFrame(rows, columns=names)


class _DPOTrainer(DPOTrainer):
    """TRL's trainer on token ids: it would tokenise a prompt together with its text, which may merge
    tokens across the border that SFT keeps apart."""

    def _prepare_dataset(self, dataset, *_):
        return dataset


def train_dpo(
    generator: CausalGenerator,
    prompts: Sequence[str | Prompt],
    chosen: Sequence[str],
    rejected: Sequence[str],
    *,
    training: Training,
    beta: float,
    checkpoints: Path,
) -> pd.DataFrame:
    """Train the generator in place to prefer the chosen text of each prompt to the rejected one (DPO,
    arXiv 2305.18290); the reference is the generator as it comes.

    training.lora_rank must be above 0: without the adapter the model is its own reference. Pairs
    longer than training.max_tokens are left out. Returns the log: LOG_COLUMNS. Raises
    FloatingPointError if the loss diverges.
    """
    model, tokenizer = generator
    if not training.lora_rank:
        raise DataError(
            "DPO takes an adapter, beside which the model is its own reference: set lora_rank"
        )
    rows = []
    for prompt, better, worse in zip(prompts, chosen, rejected, strict=True):
        row = {
            "prompt_ids": prompt_ids(tokenizer, prompt),
            "chosen_ids": job_ids(tokenizer, better),
            "rejected_ids": job_ids(tokenizer, worse),
        }
        longest = max(len(row["chosen_ids"]), len(row["rejected_ids"]))
        if len(row["prompt_ids"]) + longest <= training.max_tokens:
            rows.append(row)
    if not rows:
        raise DataError(
            f"DPO has no pair of two different finished texts within {training.max_tokens} tokens; "
            f"raise n_candidates, max_new_tokens or sft_epochs, so that the model ends its texts"
        )
    check_context_length(model, [row["prompt_ids"] + row["chosen_ids"] for row in rows])
    n_steps = -(-len(rows) // training.batch_size)
    config = DPOConfig(
        output_dir=str(checkpoints),
        max_length=None,
        beta=beta,
        logging_steps=max(1, n_steps // 4),
        **training.arguments(model.device),
    )
    torch.manual_seed(training.seed)  # trl draws the adapter before it sets its seed
    trainer = _DPOTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora(training.lora_rank),
    )
    log = run(trainer, model, checkpoints, columns=LOG_COLUMNS)
    merge_adapter(trainer.model)
    return log
