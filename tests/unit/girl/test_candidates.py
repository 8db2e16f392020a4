"""Best of n: what the utility chooses among samples, and how often that is the best."""

import numpy as np
import pandas as pd
import pytest
import torch

from matchlib.girl.candidates import (
    best_of,
    best_of_curve,
    best_of_divergence,
    choice_accuracy,
    share_without_job,
    write_candidates,
)
from matchlib.girl.models import prompt_ids, sample, small_generator

WORDS = [f"{word}\n" for word in ("one", "two", "three", "four", "resume:", "job:")]
PROMPTS = [f"resume:\n{word}job:\n" for word in WORDS[:4]]
SAMPLING = {"max_job_tokens": 3, "temperature": 1.0, "seed": 3}


@pytest.fixture
def generator():
    return small_generator(WORDS, width=32, layers=2, heads=2, max_tokens=16)


def test_the_best_is_chosen_by_the_utility_among_whole_jobs(generator):
    token = generator.tokenizer.convert_tokens_to_ids("two\n")

    def negative(rows):  # the fewer "two" the better, all below 0
        written = rows.ids[:, -rows.answer.shape[1] :]
        return -1.0 * rows.answer - 5.0 * ((written == token) & rows.answer)

    shortest = write_candidates(generator, PROMPTS * 5, negative, n=64, batch_size=256, **SAMPLING)
    assert len(shortest) == 20 * 64 and share_without_job(shortest) == 0
    assert best_of(shortest, 64)["text"].tolist() == [""] * 20
    found = write_candidates(generator, PROMPTS, lambda rows: -negative(rows), n=32, **SAMPLING)
    best = best_of(found, 32)["text"]
    torch.manual_seed(3)
    rows = sample(
        generator,
        [prompt_ids(generator.tokenizer, prompt) for prompt in PROMPTS for _ in range(32)],
        max_job_tokens=3,
        temperature=1.0,
    )
    for i, text in enumerate(best):  # the same draws, looked through one by one
        whole = [j for j in range(32 * i, 32 * (i + 1)) if rows.ended[j]]
        top = max(whole, key=lambda j: float(-negative(rows).sum(1)[j]))
        ids = rows.ids[top, -3:][rows.answer[top]]
        assert text == generator.tokenizer.decode(ids, skip_special_tokens=True)


def test_where_no_job_is_whole_one_is_chosen_and_counted(generator):
    found = write_candidates(
        generator, PROMPTS, lambda rows: torch.full(rows.answer.shape, torch.nan), n=2, **SAMPLING
    )
    assert len(best_of(found, 2)) == 4 and share_without_job(found) == 1.0


def drawn(utility, true_fit, n_prompts=1):
    n = len(utility) // n_prompts
    return pd.DataFrame(
        {
            "prompt": np.repeat(np.arange(n_prompts), n),
            "draw": np.tile(np.arange(n), n_prompts),
            "text": "",
            "utility": utility,
            "true_fit": true_fit,
        }
    )


def test_ties_of_the_truth_are_all_right_and_ties_of_the_utility_share():
    truth = [0.9, 0.9, 0.1, 0.1]
    clusters = np.array(["a", "b"])
    for utility, expected in (
        ([1, 2, 0, 0], 1.0),  # either of the two best
        ([0, 0, 0, 0], 0.5),  # ties with all: a random choice
        ([3, 0, 3, 0], 0.5),
        ([0, 0, 1, 0], 0.0),
        ([-np.inf] * 4, 0.5),
    ):
        found = choice_accuracy(drawn(utility * 2, truth * 2, 2), clusters).set_index("choice")
        assert found.loc["right choice", "value"] == expected
        assert found.loc["random choice", "value"] == 0.5
        assert found.loc["difference", "value"] == expected - 0.5
    nothing = choice_accuracy(drawn([1, 2, 3, 4] * 2, [0.2] * 8, 2), clusters)
    assert nothing["n"].tolist() == [0] * 3 and nothing["all equal"].tolist() == [2] * 3


def test_the_curve_is_over_the_first_draws_and_rises_with_a_true_utility():
    rng = np.random.default_rng(0)
    truth = rng.random(200 * 16)
    curve = best_of_curve(drawn(truth, truth, 200), np.arange(200))
    assert curve["n"].tolist() == [1, 2, 4, 8, 16] and curve["value"].is_monotonic_increasing
    for n, value in zip(curve["n"], curve["value"], strict=True):
        assert value == pytest.approx(n / (n + 1), abs=0.05)  # the mean of the largest of n
    noise = best_of_curve(drawn(rng.random(200 * 16), truth, 200), np.arange(200))
    assert ((noise["low"] < 0.5) & (noise["high"] > 0.5)).sum() >= 4
    assert curve["kl"].iloc[0] == 0 and best_of_divergence(16) == pytest.approx(1.835, abs=1e-3)
