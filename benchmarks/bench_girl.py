"""Tokens a second that GIRL's generator writes and learns, and its peak memory, with a larger
causal model.

Usage: python benchmarks/bench_girl.py [folder or hub id]; without it a random model of Qwen2's
form, of 0.4 billion parameters on a GPU and of 0.01 billion on a CPU. No claim is checked: the
figures are for LOG.md.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from matchlib.data.market.simulation import Market
from matchlib.girl.models import CausalGenerator, load_generator, prompt_ids, sample
from matchlib.girl.records import views
from matchlib.girl.sft import Training, train_sft
from matchlib.retrieval.models import find_model

ON_GPU = torch.cuda.is_available()
N, BATCH, JOB_TOKENS = (512, 64, 256) if ON_GPU else (16, 8, 64)


def random_model(folder: Path) -> Path:
    """A model of the form of Qwen2.5-0.5B, smaller on a CPU, with the packaged encoder's
    vocabulary."""
    tokenizer = AutoTokenizer.from_pretrained(find_model("all-MiniLM-L6-v2"), eos_token="[SEP]")
    width, layers, heads = (896, 24, 14) if ON_GPU else (128, 4, 4)
    torch.manual_seed(0)
    Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=2,
            intermediate_size=5 * width,
            max_position_embeddings=2048,
            eos_token_id=tokenizer.sep_token_id,
            bos_token_id=None,
        )
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of some work, the GPU's queue included."""
    started = time.perf_counter()
    work()
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def write(generator: CausalGenerator, prompts: list[list[int]]) -> int:
    """Write a job for each prompt; the number of tokens written."""
    return sum(
        int(
            sample(
                generator, prompts[start : start + BATCH], max_job_tokens=JOB_TOKENS
            ).answer.sum()
        )
        for start in range(0, len(prompts), BATCH)
    )


def peak() -> str:
    """The most memory that was held so far."""
    if ON_GPU:
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of GPU memory"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB of memory"


with tempfile.TemporaryDirectory() as name:
    place = Path(name)
    generator = load_generator(
        sys.argv[1] if len(sys.argv) > 1 else str(random_model(place / "model"))
    )
    market = Market(1)
    prompts, texts = views(
        market.jobs(N, "train"), market.resumes(N, "train"), form="text", max_words=200
    )
    asked = [prompt_ids(generator.tokenizer, prompt) for prompt in prompts]
    learned = sum(map(len, asked)) + sum(
        len(generator.tokenizer(text)["input_ids"]) for text in texts
    )
    where = torch.cuda.get_device_name() if ON_GPU else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"girl: {generator.model.num_parameters() / 1e9:.2f} billion parameters in {generator.model.dtype} on {where}"
    )
    write(generator, asked[:BATCH])
    tokens = []
    spent = seconds(lambda: tokens.append(write(generator, asked)))
    print(
        f"girl: writes {tokens[0] / spent:,.0f} tokens a second, {BATCH} jobs at once; peak {peak()}"
    )
    for rank in (16, 0):
        training = Training(
            1e-5,
            num_train_epochs=1.0,
            batch_size=max(1, BATCH // 8),
            lora_rank=rank,
            max_tokens=2_000,
        )
        spent = seconds(
            lambda how=training: train_sft(
                generator,
                list(prompts),
                list(texts),
                training=how,
                checkpoints=place / f"sft-{how.lora_rank}",
            )
        )
        print(
            f"girl: {'adapters of rank 16' if rank else 'all weights'} learn {learned / spent:,.0f} tokens a second, "
            f"{training.batch_size} pairs a step, loading and saving included; peak {peak()}"
        )
