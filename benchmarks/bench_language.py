"""Claim: batches of 8 answer prompts at least 2 times as fast as one by one, on the packaged language
model, in paired rounds; likelihoods of two choices cost no more than reading the prompt.

Usage: python benchmarks/bench_language.py [name [precision]]; by default gemma-3-270m, of the extra
matchlib[lm], as `Local` loads it. Without the extra nothing is measured. Minutes on two cores.
"""

import resource
import statistics
import sys
import time
from importlib.util import find_spec

from matchlib.data.market.simulation import Market
from matchlib.data.words import cut_at_words
from matchlib.language.judge import CHOICES
from matchlib.language.llm import LanguageModel, Prompt, Sampling
from matchlib.language.local import Local
from matchlib.retrieval.gguf import PACKAGE, PACKAGED_LM

N_PROMPTS = 16
WORDS = 100  # about 150 tokens with the instruction
NEW_TOKENS = 32
BATCH = 8
ROUNDS = 2
MIN_SPEEDUP = 2.0


def make_prompts() -> list[Prompt]:
    resumes = Market(1, detail=6).resumes(N_PROMPTS, "train")["text"]
    system = "You write job advertisements. You are shown a resume and write the job that fits it."
    return [Prompt(system, cut_at_words(text, WORDS)[0]) for text in resumes]


def measure_answers(local: Local, prompts: list[Prompt], batch_size: int) -> tuple[float, int, int]:
    """Seconds, prompt tokens and written tokens of answering all prompts once."""
    local.batch_size = batch_size
    model = LanguageModel(local, sampling=Sampling(max_tokens=NEW_TOKENS))
    start = time.perf_counter()
    model.complete(prompts)
    seconds = time.perf_counter() - start
    return seconds, model.usage.prompt_tokens, model.usage.completion_tokens


def measure_scores(local: Local, prompts: list[Prompt], choices: tuple[str, ...]) -> float:
    """Seconds of scoring the choices after each prompt."""
    local.batch_size = BATCH
    asked = [prompt for prompt in prompts for _ in choices]
    start = time.perf_counter()
    local.score(asked, [*choices] * len(prompts))
    return time.perf_counter() - start


def main() -> bool:
    """True if the median speed-up of batches reaches MIN_SPEEDUP, or nothing can be measured."""
    name = sys.argv[1] if len(sys.argv) > 1 else PACKAGED_LM
    precision = sys.argv[2] if len(sys.argv) > 2 else "auto"
    if name == PACKAGED_LM and find_spec(PACKAGE) is None:
        print(f"not measured: {name} needs pip install 'matchlib[lm]'")
        return True
    start = time.perf_counter()
    local = Local(name, precision=precision)
    found = time.perf_counter() - start
    prompts = make_prompts()
    measure_answers(local, prompts[:1], 1)  # loads the model, and warms it up
    model = local._loaded[1]
    loaded = time.perf_counter() - start - found
    print(
        f"{name}: found in {found:.1f} s, loaded in {loaded:.1f} s, {model.dtype}, {model.device}"
    )
    speedups = []
    for number in range(ROUNDS):
        alone, n_read, n_written = measure_answers(local, prompts, 1)
        batched, _, n_batched = measure_answers(local, prompts, BATCH)
        speedups.append((n_batched / batched) / (n_written / alone))
        print(
            f"round {number + 1}: {len(prompts)} prompts of {n_read / len(prompts):.0f} tokens; alone "
            f"{n_written / alone:.1f} tokens/s written ({alone:.0f} s), in batches of {BATCH} "
            f"{n_batched / batched:.1f} ({batched:.0f} s): {speedups[-1]:.2f} times"
        )
    one = measure_scores(local, prompts, CHOICES[:1])
    two = measure_scores(local, prompts, CHOICES)
    print(
        f"likelihood: {one / len(prompts):.2f} s a prompt for one choice, {two / len(prompts):.2f} two"
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory {memory:.1f} GB; median speed-up {statistics.median(speedups):.2f}")
    return statistics.median(speedups) >= MIN_SPEEDUP


if __name__ == "__main__":
    sys.exit(not main())
