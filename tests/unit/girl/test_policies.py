"""Which third stages there are, what is seen of them while they train, and their points in the figure."""

import numpy as np
import pandas as pd
import pytest

from matchlib.data.schema import DataError
from matchlib.girl.models import decode_jobs, job_ids, join, prompt_ids, small_generator
from matchlib.girl.policies import Observed, fit_curves, kept_points, require_known

WORDS = [f"{word}\n" for word in ("one", "two", "three", "resume:", "job:")]
PROMPTS = [f"resume:\n{word}job:\n" for word in WORDS[:2]] + ["resume:\none\ntwo\njob:\n"]


def test_an_unknown_or_repeated_optimizer_is_refused():
    require_known("ppo", "grpo", "rloo")
    with pytest.raises(DataError, match="optimizer 'dpo' is not one of ppo, grpo, rloo"):
        require_known("ppo", "dpo")
    with pytest.raises(DataError, match="'grpo' is named twice"):
        require_known("grpo", "grpo")


def test_the_truth_is_noted_for_the_right_resumes_and_the_reward_is_untouched():
    generator = small_generator(WORDS, width=16, layers=1, heads=2, max_tokens=16)
    asked = []

    def true_fit(numbers, texts):
        asked.append((numbers, texts))
        return np.array([0.0, 0.5, 1.0])

    def reward(rows):
        return 2.0 * rows.answer

    observed = Observed(reward, generator, PROMPTS, true_fit)
    rows = join(
        [prompt_ids(generator.tokenizer, PROMPTS[i]) for i in (2, 0, 1)],  # of unlike lengths
        [job_ids(generator.tokenizer, job) for job in ("three\n", "", "one\ntwo\n")],
        pad=generator.tokenizer.pad_token_id,
        device="cpu",
    )
    assert observed(rows).equal(reward(rows))
    assert asked == [([2, 0, 1], decode_jobs(generator.tokenizer, rows))]
    assert asked[0][1] == ["three\n", "", "one\ntwo\n"]
    observed(rows)
    assert observed.column(2) == [0.5, 0.5] and observed.column(1) == [0.5]
    column = observed.column(3)  # a killed run went on: its first iteration was not seen
    assert np.isnan(column[0]) and column[1:] == [0.5, 0.5]
    assert np.isnan(Observed(reward, generator, PROMPTS, None).column(2)).all()


def test_points_of_the_figure_are_of_sampled_jobs():
    best_of = pd.DataFrame({"n": [1, 2], "kl": [0.0, 0.2], "value": 0.4, "low": 0.3, "high": 0.5})
    best_of["n_clusters"] = 4
    log = pd.DataFrame({"kl": [0.0, 1.0], "true_fit": [0.4, 0.6]})
    curves = fit_curves(best_of, {"ppo": log, "rloo": log})
    assert curves["system"].tolist() == 2 * ["SFT, best of n"] + 2 * ["ppo"] + 2 * ["rloo"]
    assert curves["low"].notna().tolist() == [True] * 2 + [False] * 4
    measured = pd.DataFrame({"weights": ["sft", "ppo", "rloo"], "kl": [0.0, 3.0, 2.0]})
    arms = pd.DataFrame(
        {
            "arm": ["ppo greedy", "ppo sampled", "rloo greedy", "rloo sampled"],
            "value": [0.9, 0.6, 0.8, 0.5],
            "low": 0.1,
            "high": 1.0,
        }
    )
    points = kept_points(measured, arms).set_index("system")
    assert points["kl"].to_dict() == {"ppo": 3.0, "rloo": 2.0}
    assert points["value"].to_dict() == {"ppo": 0.6, "rloo": 0.5}
