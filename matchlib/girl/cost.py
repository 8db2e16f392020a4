"""What GIRL's stages on texts will take, by the time of one batch each, and what they took."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from peft import get_peft_model

from matchlib.girl.candidates import BEST_OF
from matchlib.girl.job_pairs import DISSIMILAR_SHARE
from matchlib.girl.models import (
    CausalGenerator,
    job_ids,
    join,
    lora,
    prompt_ids,
    sample,
)
from matchlib.girl.ppo import PPO
from matchlib.language.llm import Prompt

PROBE_PAIRS = 8
"""Of a batch to estimate how fast a model learns and reads, and 4 times as many to write."""
PROBE_TOKENS = 16
"""Written by a batch to estimate how fast a model writes."""


@dataclass(frozen=True)
class Work:
    """Tokens of one step: trained (a pass forward and one back), read (forward alone, prompts among
    them), written."""

    step: str
    trained: float = 0.0
    read: float = 0.0
    written: float = 0.0

    @property
    def tokens(self) -> float:
        return self.trained + self.read + self.written


@dataclass(frozen=True)
class Speed:
    """Tokens a second, by kind of work."""

    trained: float
    read: float
    written: float

    def seconds(self, work: Work) -> float:
        """The time of some work."""
        return work.trained / self.trained + work.read / self.read + work.written / self.written


def measure_speed(
    generator: CausalGenerator,
    prompts: Sequence[str | Prompt],
    jobs: Sequence[str],
    *,
    lora_rank: int,
) -> Speed:
    """The speed of learning and reading a batch of matched prompts and jobs, the second of two, and of
    writing; an adapter is taken off again."""
    model, tokenizer = generator
    ids = [prompt_ids(tokenizer, prompt) for prompt in prompts[:PROBE_PAIRS]]
    written = [job_ids(tokenizer, job) for job in jobs[:PROBE_PAIRS]]
    rows = join(ids, written, pad=tokenizer.pad_token_id, device=model.device)
    n_tokens = int(rows.attention.sum())
    trained = get_peft_model(model, lora(lora_rank)) if lora_rank else model

    def learn() -> None:
        labels = rows.ids.masked_fill(rows.attention == 0, -100)
        trained(input_ids=rows.ids, attention_mask=rows.attention, labels=labels).loss.backward()

    @torch.no_grad()
    def read() -> None:
        trained(input_ids=rows.ids, attention_mask=rows.attention)

    training = n_tokens / _seconds(learn)
    reading = n_tokens / _seconds(read)
    if lora_rank:
        trained.unload()
    model.requires_grad_(True)
    model.zero_grad()
    batch = 4 * ids  # as large as those of a policy

    def write(n_tokens: int) -> None:
        sample(generator, batch, max_job_tokens=n_tokens)

    # the first token is that of reading the prompts
    seconds = -_seconds(lambda: write(1), times=1)
    seconds += _seconds(lambda: write(1 + PROBE_TOKENS), times=1)
    writing = len(batch) * PROBE_TOKENS / max(seconds, 1e-6)
    return Speed(training, reading, writing)


def _seconds(work: Callable[[], None], *, times: int = 2) -> float:
    """The time that some work takes, the last of several times."""
    for _ in range(times):
        started = time.monotonic()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.monotonic() - started
    return seconds


@dataclass
class Clock:
    """The minutes of named steps beside their estimates."""

    steps: list[Work] = field(default_factory=list)
    speed: Speed | None = None
    minutes: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count what happens inside to a step."""
        started = time.monotonic()
        yield
        spent = (time.monotonic() - started) / 60
        self.minutes[step] = self.minutes.get(step, 0.0) + spent

    def estimate(self) -> pd.DataFrame:
        """step, tokens, estimated minutes; what a killed run left is not counted off."""
        rows = []
        for work in self.steps:
            minutes = self.speed.seconds(work) / 60
            rows.append(
                {"step": work.step, "tokens": int(work.tokens), "estimated minutes": minutes}
            )
        return _with_total(pd.DataFrame(rows))

    def spent(self) -> pd.DataFrame:
        """The estimate beside the minutes that the steps took and their tokens a second."""
        table = self.estimate().iloc[:-1]
        minutes = table["step"].map(self.minutes)
        table = _with_total(table.assign(minutes=minutes))
        return table.assign(tokens_per_second=table["tokens"] / (60 * table["minutes"]))


def _with_total(table: pd.DataFrame) -> pd.DataFrame:
    total = {"step": "all", **table.drop(columns="step").sum().to_dict()}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True)


def peak_memory_gb() -> float:
    """The most memory that was held, in GB: of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def start_clock(
    generator: CausalGenerator,
    prompts: Sequence[str | Prompt],
    jobs: Sequence[str],
    *,
    optimizers: Sequence[str],
    settings: PPO,
    epochs: Mapping[str, float],
    numbers: Mapping[str, int],
) -> Clock:
    """A clock of notebook 06's steps, with their tokens and the speed of one batch each.

    prompts, jobs: the accepted pairs; epochs: of sft and utility; numbers: test pairs (accepted ones),
    and resumes judged, recommended (whose jobs are greedy only) and measured.
    """
    tokenizer = generator.tokenizer
    prompt_tokens = np.mean([len(prompt_ids(tokenizer, prompt)) for prompt in prompts])
    job_tokens = np.mean([len(job_ids(tokenizer, job)) for job in jobs])
    both = prompt_tokens + job_tokens
    n_pairs = (1 + DISSIMILAR_SHARE) * len(prompts)
    n_test_pairs = (1 + DISSIMILAR_SHARE) * numbers["test pairs"]
    steps = [
        Work("sft", trained=len(prompts) * both * epochs["sft"]),
        Work(
            "utility", trained=2 * n_pairs * both * epochs["utility"], read=2 * n_test_pairs * both
        ),
        Work(
            "jobs alone",
            trained=2 * n_pairs * job_tokens * epochs["utility"],
            read=2 * n_test_pairs * job_tokens,
        ),
    ]
    n_jobs = settings.iterations * settings.batch_size
    for optimizer in optimizers:
        steps.append(
            Work(
                optimizer,
                trained=n_jobs * both * settings.num_ppo_epochs,
                # by the utility, the policy and the reference, and before writing
                read=n_jobs * (3 * both + prompt_tokens),
                written=n_jobs * job_tokens,
            )
        )
    n_measured = (1 + len(optimizers)) * numbers["measured"]
    n_written = (2 + len(optimizers)) * (2 * numbers["judged"] + numbers["recommended"])
    n_candidates = BEST_OF * numbers["judged"]
    steps += [
        Work(
            "measuring",
            read=n_measured * (3 * both + prompt_tokens),
            written=n_measured * job_tokens,
        ),
        Work("writing", read=n_written * prompt_tokens, written=n_written * job_tokens),
        Work(
            "best of n",
            read=n_candidates * (both + prompt_tokens),
            written=n_candidates * job_tokens,
        ),
    ]
    speed = measure_speed(generator, prompts, jobs, lora_rank=settings.lora_rank)
    return Clock(steps, speed)
