"""What one GPU does: encoding, training, RankPO, GIRL's three stages, mining. One table with the
hardware's name.

Usage: python benchmarks/bench_gpu.py [table.csv]; `make bench-gpu`. Under ten minutes on a
data-centre GPU; on a processor the same code runs with tiny sizes, whose figures mean nothing.
Every row is the median of its repeats, after one that is not counted. The generators have random
weights of Qwen2's form: speed does not depend on what they know.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.trainers import WordLevelTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from matchlib.data.market.simulation import Market
from matchlib.girl.by_trl import train_by_trl
from matchlib.girl.models import CausalGenerator, load_generator, prompt_ids, sample
from matchlib.girl.ppo import PPO, train_ppo
from matchlib.girl.records import views
from matchlib.girl.sft import Training, train_sft
from matchlib.learning.contrastive import train_contrastive
from matchlib.learning.mining import sampled_runner_ups
from matchlib.learning.pairs import build_pairs
from matchlib.learning.preferences import build_preference_pairs
from matchlib.learning.rankpo import PreferenceObjective, copy_encoder, train_rankpo
from matchlib.learning.training import Settings
from matchlib.retrieval.encoder import Encoder, batch_size
from matchlib.retrieval.models import find_model, load_model

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"


@dataclass(frozen=True)
class Sizes:
    """How much work each row is; generators: name -> (width, layers, heads)."""

    documents: int
    repeats: int
    pairs: int
    batch: int
    preferences: int
    generators: dict[str, tuple[int, int, int]]
    written: int
    written_at_once: int
    job_tokens: int
    sft_epochs: float
    iterations: int
    queries: int
    candidates: int


GPU_SIZES = Sizes(
    documents=12_000,
    repeats=2,
    pairs=2_048,
    batch=256,
    preferences=1_024,
    generators={"0.1 billion": (768, 10, 12), "0.5 billion": (1_024, 32, 16)},
    written=256,
    written_at_once=128,
    job_tokens=160,
    sft_epochs=10.0,
    iterations=3,
    queries=100_000,
    candidates=1_000_000,
)
CPU_SIZES = Sizes(
    documents=24,
    repeats=1,
    pairs=8,
    batch=8,
    preferences=4,
    generators={"tiny": (64, 2, 4)},
    written=16,
    written_at_once=8,
    job_tokens=64,
    sft_epochs=40.0,
    iterations=1,
    queries=200,
    candidates=2_000,
)
SIZES = GPU_SIZES if ON_GPU else CPU_SIZES
TRAIN_EPOCHS = 3.0
"""Of stage 1, so that start-up and saving count little."""


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of some work, the GPU's queue included."""
    synchronise()
    started = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - started


def synchronise() -> None:
    if ON_GPU:
        torch.cuda.synchronize()


def peak_gib() -> float:
    """The most memory held since the last call, GiB: of the GPU, or of the process where there is
    none."""
    if not ON_GPU:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    peak = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return peak


class Table:
    """Rows of the result, printed as they come."""

    def __init__(self, hardware: str, target: str) -> None:
        self.rows: list[dict] = []
        self.hardware = hardware
        self.target = target

    def add(self, what: str, rate: float, unit: str, detail: str = "") -> None:
        row = {"what": what, "rate": rate, "unit": unit, "peak_gib": peak_gib(), "detail": detail}
        self.rows.append(row)
        if self.target:  # after every row: a run that is cut off leaves what it measured
            pd.DataFrame(self.rows).assign(hardware=self.hardware).to_csv(self.target, index=False)
        print(f"{what}: {rate:,.1f} {unit}; peak {row['peak_gib']:.1f} GiB; {detail}", flush=True)


def mixed_texts(n: int) -> list[str]:
    """n resumes of 40 to 400 tokens, long and short ones alternating."""
    parts = [list(Market(1, detail=detail).stream_resumes(-(-n // 3))) for detail in (0, 8, 30)]
    return [row["text"] for rows in zip(*parts, strict=True) for row in rows][:n]


def bench_encoding(table: Table) -> None:
    """Documents a second, cut at 256 tokens, without the cache; beside it the tokenizer alone."""
    texts = mixed_texts(SIZES.documents)
    tokenizer = Encoder(max_tokens=256, cache_dir=None).model.tokenizer
    spent = seconds(lambda: tokenizer(texts, truncation=True, max_length=256))
    table.add("tokenising alone", len(texts) / spent, "documents/s", "all processor cores")
    for precision in ("float32", "bfloat16", "float16") if ON_GPU else ("float32",):
        encoder = Encoder(max_tokens=256, precision=precision, cache_dir=None)
        encoder.encode_resumes(texts[:256])
        spent = [
            seconds(lambda model=encoder: model.encode_resumes(texts)) for _ in range(SIZES.repeats)
        ]
        table.add(
            f"encoding, {precision}",
            len(texts) / statistics.median(spent),
            "documents/s",
            f"{len(texts):,} documents of 40 to 400 tokens, cut at 256, {batch_size(encoder.model)} a batch",
        )


def labelled_pairs() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Jobs, resumes and labels: each job accepts one resume and rejects another, long texts."""
    market = Market(1, detail=30)
    jobs, resumes = market.jobs(SIZES.pairs), market.resumes(2 * SIZES.pairs)
    ids = resumes["resume_id"].to_numpy()
    halves = [
        pd.DataFrame({"job_id": jobs["job_id"], "resume_id": ids[start::2], "label": label})
        for start, label in ((0, 1), (1, 0))
    ]
    return jobs, resumes, pd.concat(halves, ignore_index=True)


def bench_contrastive(table: Table, folder: Path) -> None:
    """Accepted pairs a second in stage 1, all weights trained, without and with hard negatives."""
    jobs, resumes, labels = labelled_pairs()
    pairs = build_pairs(jobs, resumes, labels, seed=1)
    for max_tokens in (128, 256) if ON_GPU else (64,):
        for bf16 in (False, True) if ON_GPU else (False,):
            for share in (0.0, 1.0):
                model = load_model(
                    find_model("all-MiniLM-L6-v2"), max_tokens=max_tokens, device=DEVICE
                )
                settings = Settings(
                    num_train_epochs=TRAIN_EPOCHS,
                    batch_size=SIZES.batch,
                    hard_negatives=int(share * SIZES.batch),
                    evaluations=1,
                    chunk_size=256 if ON_GPU else 16,
                    bf16=bf16,
                )
                place = folder / f"contrastive-{max_tokens}-{bf16}-{share}"
                spent = seconds(
                    lambda how=settings, at=place, trained=model: train_contrastive(
                        trained, pairs, settings=how, checkpoints=at
                    )
                )
                texts = 3 if share else 2  # each job accepts one resume and rejects one
                table.add(
                    f"stage 1, {max_tokens} tokens, {'bfloat16' if bf16 else 'float32'}, {texts} texts a pair",
                    TRAIN_EPOCHS * len(pairs.rows) / spent,
                    "pairs/s",
                    f"{len(pairs.rows):,} pairs, batches of {SIZES.batch}, saving included",
                )


def bench_rankpo(table: Table, folder: Path) -> None:
    """Steps of RankPO a second, three texts a pair, the reference's one pass left out."""
    market = Market(1, detail=30)
    part = {
        "jobs": market.jobs(SIZES.preferences),
        "resumes": market.resumes(2 * SIZES.preferences),
    }
    ids = part["resumes"]["resume_id"].to_numpy()
    preferences = pd.DataFrame(
        {
            "job_id": part["jobs"]["job_id"],
            "resume_a": ids[::2],
            "resume_b": ids[1::2],
            "preferred": "a",
            "confidence": 100.0,
        }
    )
    rows = build_preference_pairs(part, preferences)
    stage1 = Encoder(max_tokens=256, device=DEVICE, cache_dir=None)
    batch = min(32, SIZES.preferences)
    for bf16 in (False, True) if ON_GPU else (False,):
        model = copy_encoder(stage1)
        settings = Settings(num_train_epochs=1, batch_size=batch, evaluations=1, bf16=bf16)
        spent = seconds(
            lambda how=settings, trained=model: train_rankpo(
                trained,
                rows,
                PreferenceObjective("simrankpo"),
                settings=how,
                checkpoints=folder / f"rankpo-{how.bf16}",
            )
        )
        table.add(
            f"RankPO, 256 tokens, {'bfloat16' if bf16 else 'float32'}",
            SIZES.preferences / batch / spent,
            "steps/s",
            f"batches of {batch} pairs; the reference's scores are computed once, before",
        )


def words_of(texts: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of the words of some texts: a processor computes no loss over 30,000 words in a
    test's time."""
    words = Tokenizer(WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.train_from_iterator(texts, WordLevelTrainer(special_tokens=["[PAD]", "[UNK]", "[SEP]"]))
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="[UNK]",
        pad_token="[PAD]",
        eos_token="[SEP]",
        sep_token="[SEP]",
    )


def random_generator(folder: Path, texts: list[str], width: int, layers: int, heads: int) -> Path:
    """A causal model of Qwen2's form with random weights; on a GPU with the packaged encoder's
    vocabulary."""
    if ON_GPU:
        tokenizer = AutoTokenizer.from_pretrained(
            find_model("all-MiniLM-L6-v2"), eos_token="[SEP]", model_max_length=2_048
        )
    else:
        tokenizer = words_of(texts)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        intermediate_size=4 * width,
        max_position_embeddings=2_048,
        eos_token_id=tokenizer.sep_token_id,
        bos_token_id=None,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def bench_generator(table: Table, folder: Path, name: str, form: tuple[int, int, int]) -> None:
    """Tokens a second of one generator: written, and learned by SFT, PPO and GRPO."""
    market = Market(1)
    views_of = views(
        market.jobs(SIZES.written, "train"),
        market.resumes(SIZES.written, "train"),
        form="text",
        max_words=200,
    )
    prompts, texts = (list(part) for part in views_of)
    generator = load_generator(
        str(random_generator(folder / f"{name}-model", [*map(str, prompts), *texts], *form))
    )
    asked = [prompt_ids(generator.tokenizer, prompt) for prompt in prompts]
    label = f"{name} ({generator.model.num_parameters() / 1e6:,.0f} million weights)"
    training = Training(
        3e-4 if ON_GPU else 3e-3,
        num_train_epochs=SIZES.sft_epochs,
        batch_size=min(32, SIZES.written // 4),
        max_tokens=2_000,
    )
    spent = seconds(
        lambda: train_sft(
            generator, prompts, texts, training=training, checkpoints=folder / f"{name}-sft"
        )
    )
    learned = sum(map(len, asked)) + sum(
        len(generator.tokenizer(text)["input_ids"]) for text in texts
    )
    table.add(
        f"GIRL's SFT, {label}",
        SIZES.sft_epochs * learned / spent,
        "tokens/s",
        f"prompt and job, {training.batch_size} a step, saving included",
    )

    def write() -> int:
        starts = range(0, len(asked), SIZES.written_at_once)
        parts = [
            sample(
                generator,
                asked[start : start + SIZES.written_at_once],
                max_job_tokens=SIZES.job_tokens,
            )
            for start in starts
        ]
        return sum(int(part.answer.sum()) for part in parts)

    tokens: list[int] = []
    spent = seconds(lambda: tokens.append(write()))
    table.add(
        f"writing, {label}", tokens[0] / spent, "tokens/s", f"{SIZES.written_at_once} jobs at once"
    )
    settings = PPO(
        iterations=SIZES.iterations,
        batch_size=SIZES.written_at_once,
        minibatch_size=SIZES.written_at_once // 4,
        num_ppo_epochs=1,
        learning_rate=1e-6,
        warmup=0,
        max_job_tokens=SIZES.job_tokens,
        max_kl=1e9,
        max_drift=1e9,
    )
    stages = [
        ("PPO", train_ppo, asked),
        ("GRPO by trl", partial(train_by_trl, "grpo"), prompts),
        ("RLOO by trl", partial(train_by_trl, "rloo"), prompts),
    ]
    for stage, train, given in stages:
        policy = CausalGenerator(
            load_generator(str(folder / f"{name}-model")).model, generator.tokenizer
        )
        policy.model.load_state_dict(generator.model.state_dict())
        logs: list[pd.DataFrame] = []
        spent = seconds(
            lambda how=train, at=stage, what=given, model=policy, kept=logs: kept.append(
                how(model, what, odd_tokens, settings=settings, checkpoints=folder / f"{name}-{at}")
            )
        )
        lengths = float(logs[0]["length"].mean())
        table.add(
            f"GIRL's {stage}, {label}",
            settings.iterations * settings.batch_size * lengths / spent,
            "tokens/s written and learned from",
            f"{settings.batch_size} jobs of {lengths:.0f} tokens an iteration",
        )


def odd_tokens(rows) -> torch.Tensor:
    """(B, T) a reward that costs nothing to compute: a token with an odd number earns .1."""
    n = rows.answer.shape[1]
    return 0.1 * (rows.ids[:, -n:] % 2).float() * rows.answer


def bench_mining(table: Table) -> None:
    """Seconds to draw runner-ups from sampled bands, on the processor."""
    rng = np.random.default_rng(0)

    def unit(n: int) -> np.ndarray:
        vectors = rng.standard_normal((n, 384), dtype=np.float32) + 0.5
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    queries, candidates = unit(SIZES.queries), unit(SIZES.candidates)
    spent = seconds(
        lambda: sampled_runner_ups(queries, candidates, low=0.03, high=0.04, n=2, rng=rng)
    )
    table.add(
        "mining, sampled 3-4% band",
        SIZES.queries / spent,
        "queries/s",
        f"{SIZES.queries:,} queries, {SIZES.candidates:,} candidates, 384 dimensions, on the processor, in "
        f"{spent:.1f} s",
    )


def main(target: str = "") -> None:
    """Run every row; a row that fails is named at the end and makes the exit status 1."""
    hardware = (
        torch.cuda.get_device_name() if ON_GPU else platform.processor() or platform.machine()
    )
    print(
        f"{hardware}, {os.cpu_count()} processor cores, torch {torch.__version__}, transformers "
        f"{transformers.__version__}",
        flush=True,
    )
    table, failed = Table(hardware, target), []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        parts: dict[str, Callable[[], None]] = {
            "encoding": lambda: bench_encoding(table),
            "stage 1": lambda: bench_contrastive(table, place),
            "RankPO": lambda: bench_rankpo(table, place),
            "mining": lambda: bench_mining(table),
        }
        for model, form in SIZES.generators.items():
            parts[model] = lambda model=model, form=form: bench_generator(table, place, model, form)
        for part, work in parts.items():
            try:
                work()
            except (RuntimeError, ValueError, FloatingPointError) as error:
                failed.append(f"{part}: {type(error).__name__}: {error}")
                print(f"FAILED {failed[-1]}", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main(*sys.argv[1:])
