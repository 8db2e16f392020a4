"""An editor that imitates the file's edits: fine-tuning on RJDB's references, for its fabrication
figure.

RJDB (arXiv 2311.06383) trains editors on its matched resumes, which state what the unmatched ones
lack. What such an editor writes must be checked by `claims`; it is here to be measured, not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from matchlib.data.schema import DataError
from matchlib.girl.models import load_generator, write_jobs
from matchlib.girl.sft import Training, train_sft
from matchlib.hrtasks.rjdb_rows import HrRow
from matchlib.language.llm import Prompt
from matchlib.language.prompts import prompt_from


def edit_prompt(row: HrRow, *, max_words: int) -> Prompt:
    """The job and the unmatched resume of a row, to be edited."""
    return prompt_from("hrtasks_edit", max_words=max_words, job=row.job, resume=row.unmatched)


def imitated_edits(
    train: Sequence[HrRow],
    test: Sequence[HrRow],
    *,
    base_model: str,
    training: Training,
    max_words: int,
    max_new_tokens: int,
    checkpoints: Path,
) -> tuple[list[str], pd.DataFrame, str]:
    """Fine-tune a causal model on (job, unmatched resume) -> matched resume, and edit the test rows.

    base_model: hub id or folder. Returns the edited resumes (greedy), the training log, and a
    sentence on what was left out or cut. Raises DataError without a model.
    """
    if not base_model:
        raise DataError(
            "imitate_rjdb needs a causal model to fine-tune; set base_model to a hub id or a folder"
        )
    generator = load_generator(base_model, precision="auto" if training.lora_rank else "float32")
    prompts = [edit_prompt(row, max_words=max_words) for row in train]
    log, n_long = train_sft(
        generator,
        prompts,
        [row.matched for row in train],
        training=training,
        checkpoints=checkpoints,
    )
    edits, share_cut = write_jobs(
        generator,
        [edit_prompt(row, max_words=max_words) for row in test],
        max_job_tokens=max_new_tokens,
        batch_size=8,
    )
    note = (
        f"{len(train) - n_long} of {len(train)} triples taught the imitating editor ({n_long} too "
        f"long); {share_cut:.0%} of its edits did not end within {max_new_tokens} tokens"
    )
    return edits, log, note
