"""GRPO and RLOO by trl on the same utility: they learn, and an unfinished job earns least."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny_causal import save_causal

from matchlib.girl.by_trl import train_by_trl
from matchlib.girl.models import small_generator, starting_generator
from matchlib.girl.ppo import PPO, measure_policy
from matchlib.girl.sft import Training, train_sft
from matchlib.language.llm import Prompt

SETTINGS = PPO(
    iterations=20,
    batch_size=64,
    minibatch_size=64,
    num_ppo_epochs=2,
    learning_rate=1e-2,
    beta=0.0,
    temperature=1.0,
    max_job_tokens=3,
    max_drift=9.0,
)


@pytest.fixture
def generator():
    return small_generator(
        [f"{word}\n" for word in ("ask", "yes", "no", "so", "or")],
        width=16,
        layers=1,
        heads=2,
        max_tokens=8,
    )


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"max_drift": 0.01}, "the length has changed by"),
        ({"max_kl": 0.001, "beta": 0.01}, "the divergence of"),
    ],
)
def test_a_policy_that_runs_away_is_stopped(generator, tmp_path, limit, reason):
    token = generator.tokenizer.convert_tokens_to_ids("yes\n")

    def reward(rows):
        return ((rows.ids[:, -rows.answer.shape[1] :] == token) & rows.answer).float()

    log = train_by_trl(
        "grpo",
        generator,
        ["ask\n"] * 16,
        reward,
        settings=replace(SETTINGS, **limit),
        checkpoints=tmp_path,
    )
    assert len(log) < SETTINGS.iterations and reason in log["stopped"].iloc[-1]
    assert (log["stopped"].iloc[:-1] == "").all()


def test_a_reward_that_tells_nothing_is_refused(generator, tmp_path):
    with pytest.raises(ValueError, match="the reward is the same for all jobs"):
        train_by_trl(
            "grpo",
            generator,
            ["ask\n"] * 16,
            lambda rows: 0.0 * rows.answer,
            settings=SETTINGS,
            checkpoints=tmp_path,
        )


def test_positions_do_not_count_the_padding_of_prompts(generator, tmp_path):
    """trl names no positions: a shorter prompt's job would be looked up where it was never written."""
    seen = []
    generator.model.transformer.wpe.register_forward_hook(
        lambda _, given, out: seen.append(given[0])
    )
    token = generator.tokenizer.convert_tokens_to_ids("yes\n")
    train_by_trl(
        "grpo",
        generator,
        ["ask\n", "so\nor\nask\n"] * 8,
        lambda rows: ((rows.ids[:, -rows.answer.shape[1] :] == token) & rows.answer).float(),
        settings=replace(SETTINGS, iterations=2),
        checkpoints=tmp_path,
    )
    whole = [places for places in seen if places.shape[1] > 3]  # more than a step of writing
    assert whole and all(len(places) > 1 for places in whole)
    assert any(places[:, -1].min() < places[:, -1].max() for places in whole)
    assert not generator.model._forward_pre_hooks


@pytest.mark.parametrize("optimizer", ["grpo", "rloo"])
def test_the_reward_rises(generator, tmp_path, optimizer):
    token = generator.tokenizer.convert_tokens_to_ids("yes\n")
    seen = []

    def reward(rows):
        found = ((rows.ids[:, -rows.answer.shape[1] :] == token) & rows.answer).float() / 3
        seen.append(rows)
        return found

    log = train_by_trl(
        optimizer, generator, ["ask\n"] * 16, reward, settings=SETTINGS, checkpoints=tmp_path
    )
    assert {"iteration", "reward", "entropy", "length", "whole", "clipped", "stopped"} <= set(log)
    assert log["reward"].iloc[-1] > log["reward"].iloc[0] + 0.3 and log["whole"].iloc[-1] > 0.8
    assert log["reward"].max() <= 1  # in the utility's own units
    assert torch.equal(
        seen[0].ids[:, 0],
        torch.full((len(seen[0]),), generator.tokenizer.convert_tokens_to_ids("ask\n")),
    )


def test_the_kept_policy_is_measured_after_its_last_update(generator, tmp_path):
    token, reference = generator.tokenizer.convert_tokens_to_ids("yes\n"), copy.deepcopy(generator)

    def reward(rows):
        return ((rows.ids[:, -rows.answer.shape[1] :] == token) & rows.answer).float() / 3

    settings = replace(SETTINGS, iterations=1, num_ppo_epochs=1, beta=0.01)
    log = train_by_trl(
        "grpo", generator, ["ask\n"] * 16, reward, settings=settings, checkpoints=tmp_path
    )
    prompts = [generator.tokenizer("ask\n")["input_ids"]] * 64
    kept = measure_policy(generator, reference, prompts, reward, settings=settings)
    assert abs(log["kl"].iloc[-1]) < 1e-6 < 1e-4 < kept["kl"]
    assert kept["length"] <= settings.max_job_tokens and 0 < kept["whole"] <= 1


@pytest.mark.parametrize("optimizer", ["grpo", "rloo"])
def test_an_adapter_on_the_tokens_in_use_learns_to_write_texts(tmp_path, optimizer):
    prompts = [Prompt("A resume.", person) for person in ("cook", "a baker")]
    generator = starting_generator(
        save_causal(tmp_path / "tiny", "llama"), prompts, max_tokens=64, lora_rank=4, seed=1
    )
    jobs = ["yes", "no"]
    training = Training(3e-3, 8.0, batch_size=8)
    train_sft(
        generator,
        prompts * 32,
        jobs * 16 + jobs[::-1] * 16,  # either job for either person
        training=training,
        checkpoints=tmp_path / "sft",
    )
    before = {name: weight.clone() for name, weight in generator.model.state_dict().items()}
    wanted = generator.tokenizer("y", add_special_tokens=False)["input_ids"][0]

    def reward(rows):
        return (rows.ids[:, -rows.answer.shape[1] :] == wanted).float()

    settings = replace(
        SETTINGS,
        iterations=10,
        batch_size=32,
        minibatch_size=32,
        learning_rate=1e-2,
        lora_rank=4,
        beta=0.01,
        max_job_tokens=6,
        max_kl=1e9,
    )
    log = train_by_trl(
        optimizer, generator, prompts * 8, reward, settings=settings, checkpoints=tmp_path / "run"
    )
    assert log["reward"].iloc[-1] > log["reward"].iloc[0] + 0.2 and log["kl"].abs().max() > 0.1
    after = generator.model.state_dict()
    assert {*after} == {*before}  # the adapter is merged
    assert torch.equal(after["model.embed_tokens.weight"], before["model.embed_tokens.weight"])
