"""GRPO by trl on the same utility: it learns, and an unfinished job earns least."""

import pytest
import torch

from matchlib.girl.grpo import train_grpo
from matchlib.girl.models import small_writer
from matchlib.girl.ppo import PPO

SETTINGS = PPO(iterations=20, batch_size=64, minibatch_size=64, epochs=2, learning_rate=1e-2, beta=0.0, temperature=1.0,
               max_job_tokens=3)


@pytest.fixture
def writer():
    return small_writer([f"{word}\n" for word in ("ask", "yes", "no", "so", "or")], width=16, layers=1, heads=2,
                        max_tokens=8)


def test_the_reward_rises(writer, tmp_path):
    token = writer.tokenizer.convert_tokens_to_ids("yes\n")
    seen = []

    def reward(rows):
        found = ((rows.ids[:, -rows.answer.shape[1]:] == token) & rows.answer).float() / 3
        seen.append(rows)
        return found
    log = train_grpo(writer, ["ask\n"] * 16, reward, settings=SETTINGS, checkpoints=tmp_path)
    assert {"iteration", "reward", "entropy", "length", "whole", "clipped", "stopped"} <= set(log)
    assert log["reward"].iloc[-1] > log["reward"].iloc[0] + 0.3 and log["whole"].iloc[-1] > 0.8
    assert torch.equal(seen[0].ids[:, 0], torch.full((len(seen[0]),), writer.tokenizer.convert_tokens_to_ids("ask\n")))
