"""The estimate of a run: tokens that follow from the sizes, and a model that is left as it was."""

import time

import pytest
import torch
from tiny_causal import save_causal

from matchlib.girl.cost import Clock, Speed, Work, measure_speed, peak_memory_gb, start_clock
from matchlib.girl.models import load_generator
from matchlib.girl.ppo import PPO
from matchlib.language.llm import Prompt

PROMPTS = [Prompt("resume", "cook"), Prompt("resume", "a baker")] * 8
JOBS = ["a cook's job", "baker"] * 8


@pytest.fixture
def generator(tmp_path):
    return load_generator(save_causal(tmp_path / "tiny", "llama"), device="cpu")


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_measuring_leaves_the_model_as_it_was(generator, lora_rank):
    before = {name: weight.clone() for name, weight in generator.model.state_dict().items()}
    speed = measure_speed(generator, PROMPTS, JOBS, lora_rank=lora_rank)
    assert min(speed.trained, speed.read, speed.written) > 0
    after = generator.model.state_dict()
    assert {*after} == {*before}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(weight.requires_grad for weight in generator.model.parameters())
    assert all(weight.grad is None for weight in generator.model.parameters())


def test_the_steps_are_those_of_the_notebook_and_more_of_a_thing_costs_more(generator):
    numbers = {"test pairs": 10, "judged": 4, "recommended": 3, "measured": 5}

    def clock(epochs=1.0, iterations=2, optimizers=("ppo", "rloo"), **changed):
        return start_clock(
            generator,
            PROMPTS,
            JOBS,
            optimizers=optimizers,
            settings=PPO(iterations=iterations, batch_size=8),
            epochs={"sft": epochs, "utility": 1.0},
            numbers=numbers | changed,
        )

    def tokens(one):
        return {work.step: work.tokens for work in one.steps}

    base = tokens(clock())
    names = ["sft", "utility", "jobs alone", "ppo", "rloo", "measuring", "writing", "best of n"]
    assert [*base] == names
    assert tokens(clock(epochs=2.0))["sft"] == 2 * base["sft"]
    assert tokens(clock(iterations=6))["rloo"] == pytest.approx(3 * base["rloo"])
    assert tokens(clock(judged=8))["best of n"] == 2 * base["best of n"]
    assert tokens(clock(optimizers=("ppo",)))["writing"] == pytest.approx(base["writing"] * 3 / 4)


def test_minutes_stand_beside_their_estimates():
    clock = Clock([Work("sft", trained=600), Work("writing", read=60, written=60)], Speed(10, 2, 1))
    assert clock.estimate()["estimated minutes"].tolist() == [1.0, 1.5, 2.5]
    for _ in range(2):
        with clock.timed("sft"):
            time.sleep(0.01)
    spent = clock.spent().set_index("step")
    assert 0.02 / 60 <= spent.loc["sft", "minutes"] < 0.1 and spent.loc["all", "tokens"] == 720
    assert spent.loc["sft", "tokens_per_second"] <= 600 / 0.02
    assert 0.01 < peak_memory_gb() < 1e3
