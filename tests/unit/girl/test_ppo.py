"""PPO: its parts against values by hand, the whole on a task with a known optimum."""

import copy

import pytest
import torch

from matchlib.girl.models import CausalGenerator, join, sample, small_generator
from matchlib.girl.ppo import PPO, forward, gae, measure_policy, policy_loss, train_ppo, value_loss

LINES = [f"{word}\n" for word in ("ask", "yes", "no", "so", "or")]
TASK = PPO(
    iterations=12,
    batch_size=48,
    minibatch_size=24,
    learning_rate=1e-2,
    warmup=1,
    max_job_tokens=3,
    target_kl=0.0,
    beta=0.0,
    temperature=1.0,
    max_kl=100.0,
    max_drift=10.0,
)


@pytest.fixture
def generator():
    return small_generator(LINES, width=16, layers=1, heads=2, max_tokens=8)


def count_of(word, generator):
    """A reward: the share of the answer's tokens that are `word`."""
    token = generator.tokenizer.convert_tokens_to_ids(f"{word}\n")

    def reward(rows):
        found = (rows.ids[:, -rows.answer.shape[1] :] == token) & rows.answer
        return found.float() / 3

    return reward


def task(generator):
    return [[generator.tokenizer.convert_tokens_to_ids("ask\n")]] * 4, count_of("yes", generator)


def test_advantages_equal_those_by_hand():
    rewards, values = torch.tensor([[1.0, 0.0, 2.0, 9.0]]), torch.tensor([[0.5, 1.0, 0.25, 7.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    advantages, returns = gae(rewards, values, mask, gamma=0.5, lam=0.8)
    third = 2.0 - 0.25
    second = (0.0 + 0.5 * 0.25 - 1.0) + 0.4 * third
    first = (1.0 + 0.5 * 1.0 - 0.5) + 0.4 * second
    assert advantages.tolist()[0] == pytest.approx([first, second, third, 0.0])
    assert returns.tolist()[0] == pytest.approx([first + 0.5, second + 1.0, third + 0.25, 0.0])


def test_with_lambda_one_the_return_is_what_comes():
    rewards, mask = torch.tensor([[1.0, 2.0, 4.0]]), torch.ones(1, 3)
    returns = gae(rewards, torch.randn(1, 3), mask, gamma=1.0, lam=1.0)[1]
    assert returns.tolist()[0] == pytest.approx([7.0, 6.0, 4.0])


def test_the_clipped_losses_equal_those_by_hand():
    old, mask = torch.zeros(1, 4), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    ratio = torch.tensor([[1.5, 0.5, 1.1, 9.0]])
    advantages = torch.tensor([[2.0, -1.0, 3.0, 5.0]])
    loss, clipped = policy_loss(ratio.log(), old, advantages, mask, clip=0.2)
    assert loss.item() == pytest.approx(
        -(1.2 * 2 - 0.8 * 1 + 1.1 * 3) / 3
    ) and clipped.item() == pytest.approx(2 / 3)
    values, before, returns = (
        torch.tensor([x])
        for x in ([1.0, 0.1, 0.0, 9.0], [0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 2.0, 0.0])
    )
    loss = value_loss(values, before, returns, mask, clip=0.2)
    assert loss.item() == pytest.approx(0.5 * (0.8**2 + 0.1**2 + 2.0**2) / 3)


def test_probabilities_do_not_depend_on_the_padding(generator):
    prompts, jobs = [[3], [3, 4, 5]], [[4, 5, 1], [6, 1]]
    together = forward(generator.model, join(prompts, jobs, pad=0, device="cpu"), temperature=1.0)[
        0
    ]
    for row, (prompt, job) in enumerate(zip(prompts, jobs, strict=True)):
        alone = forward(
            generator.model, join([prompt], [job], pad=0, device="cpu"), temperature=1.0
        )[0]
        assert together[row, : len(job)].tolist() == pytest.approx(alone[0].tolist(), abs=1e-5)
        assert together[row, len(job) :].abs().sum() == 0


def test_sampling_marks_the_answer_up_to_its_end(generator):
    torch.manual_seed(0)
    rows = sample(generator, [[3], [3, 4]] * 20, max_job_tokens=4)
    end = generator.tokenizer.eos_token_id
    for ids, answer, ended in zip(rows.ids[:, 2:], rows.answer, rows.ended, strict=True):
        written = ids[answer].tolist()
        assert (end in written) == bool(ended) and written.count(end) == int(ended)
        assert written[-1] == end if ended else len(written) == rows.answer.shape[1]
    assert 0 < rows.ended.float().mean() < 1


@pytest.mark.parametrize("dense", [True, False])
def test_the_reward_rises_to_its_optimum(generator, tmp_path, dense):
    settings = PPO(**{**vars(TASK), "iterations": 40, "dense_reward": dense, "learning_rate": 5e-3})
    log = train_ppo(generator, *task(generator), settings=settings, checkpoints=tmp_path)
    assert (
        log["reward"].iloc[0] < 0.4 and log["reward"].iloc[-3:].mean() > 0.6
    )  # the best is 2 of 3, and the end
    assert (log["stopped"] == "").all() and log["whole"].iloc[-1] > 0.9


def test_a_large_penalty_keeps_the_policy_where_it_was(generator, tmp_path):
    free = copy.deepcopy(generator)
    kl = {}
    for name, model, beta in (("free", free, 0.0), ("held", generator, 50.0)):
        log = train_ppo(
            model,
            *task(generator),
            checkpoints=tmp_path / name,
            settings=PPO(**{**vars(TASK), "beta": beta, "learning_rate": 3e-3}),
        )
        kl[name] = log["kl"].iloc[-1]
    assert kl["free"] > 0.3 and abs(kl["held"]) < 0.1


def test_the_actor_stands_still_while_the_critic_warms_up(generator, tmp_path):
    before = copy.deepcopy(generator.model.state_dict())
    log = train_ppo(
        generator,
        *task(generator),
        settings=PPO(**{**vars(TASK), "iterations": 2, "warmup": 2}),
        checkpoints=tmp_path,
    )
    assert all(
        torch.equal(value, before[name]) for name, value in generator.model.state_dict().items()
    )
    assert log["value_loss"].iloc[1] < log["value_loss"].iloc[0]


def test_a_killed_run_goes_on_as_if_it_had_not_been(generator, tmp_path):
    again = copy.deepcopy(generator)
    settings = PPO(**{**vars(TASK), "iterations": 6, "target_kl": 0.5, "beta": 0.1})
    whole = train_ppo(
        generator, *task(generator), settings=settings, checkpoints=tmp_path / "whole"
    )
    prompts, reward = task(again)
    calls = []

    def stops(rows):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return reward(rows)

    other = copy.deepcopy(again)
    with pytest.raises(KeyboardInterrupt):
        train_ppo(again, prompts, stops, settings=settings, checkpoints=tmp_path / "killed")
    resumed = train_ppo(other, prompts, reward, settings=settings, checkpoints=tmp_path / "killed")
    assert resumed.equals(whole)
    assert all(
        torch.equal(a, b)
        for a, b in zip(other.model.parameters(), generator.model.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("limit", "reason"), [({"max_kl": 0.05}, "divergence"), ({"max_drift": 0.01}, "length")]
)
def test_a_policy_that_runs_away_is_stopped_and_brought_back(generator, tmp_path, limit, reason):
    again = copy.deepcopy(generator)
    log = train_ppo(
        generator,
        *task(generator),
        settings=PPO(**{**vars(TASK), **limit, "learning_rate": 3e-2}),
        checkpoints=tmp_path,
    )
    assert reason in log["stopped"].iloc[-1] and (log["stopped"].iloc[:-1] == "").all()
    assert 1 < len(log) < TASK.iterations
    train_ppo(
        again,
        *task(again),
        checkpoints=tmp_path / "before",
        settings=PPO(**{**vars(TASK), "learning_rate": 3e-2, "iterations": len(log) - 2}),
    )  # what the last good row was measured on
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.model.parameters(), generator.model.parameters(), strict=True)
    )


def test_the_last_update_is_held_to_the_limits(generator, tmp_path):
    """A log's rows are measured before their update: one iteration has no row that could stop it."""
    before = copy.deepcopy(generator.model.state_dict())
    log = train_ppo(
        generator,
        *task(generator),
        checkpoints=tmp_path,
        settings=PPO(
            **{**vars(TASK), "iterations": 1, "warmup": 0, "learning_rate": 3e-2, "max_kl": 0.05}
        ),
    )
    assert (
        log["stopped"].iloc[0] == "" and "divergence" in log["stopped"].iloc[-1] and len(log) == 2
    )
    assert all(
        torch.equal(value, before[name]) for name, value in generator.model.state_dict().items()
    )


def test_the_kept_policy_is_measured_and_not_the_one_before_its_last_update(generator, tmp_path):
    reference, (prompts, reward) = copy.deepcopy(generator), task(generator)
    settings = PPO(**{**vars(TASK), "iterations": 1, "warmup": 0, "learning_rate": 3e-2})
    log = train_ppo(generator, prompts, reward, settings=settings, checkpoints=tmp_path)
    assert log["kl"].iloc[-1] == pytest.approx(0.0, abs=1e-6)  # before the only update
    kept = measure_policy(generator, reference, prompts * 16, reward, settings=settings)
    torch.manual_seed(settings.seed)
    jobs = [
        rows
        for start in (0, 48)
        if len(
            rows := sample(
                generator, (prompts * 16)[start : start + 48], max_job_tokens=3, temperature=1.0
            )
        )
    ]
    parts = [
        forward(model, rows, temperature=1.0)[0].sum().item()
        for rows in jobs
        for model in (generator.model, reference.model)
    ]
    assert (
        kept["kl"] == pytest.approx((parts[0] - parts[1] + parts[2] - parts[3]) / 64, abs=1e-4)
        and kept["kl"] > 0.05
    )
    ended = torch.cat([rows.ended for rows in jobs])
    assert kept["whole"] == pytest.approx(ended.float().mean().item())
    totals = torch.cat([reward(rows).sum(1) for rows in jobs])
    assert kept["reward"] == pytest.approx(totals[ended].mean().item(), abs=1e-6)
    assert kept["length"] == pytest.approx(sum(rows.answer.sum().item() for rows in jobs) / 64)
    still = measure_policy(reference, reference, prompts * 16, reward, settings=settings)
    assert still["kl"] == 0.0 and still["reward"] < kept["reward"]


def test_what_cannot_be_learned_from_is_refused(generator, tmp_path):
    prompts, _ = task(generator)
    with pytest.raises(ValueError, match="the same for all jobs"):
        train_ppo(
            generator,
            prompts,
            lambda rows: rows.answer / rows.answer.sum(1, keepdim=True),
            settings=TASK,
            checkpoints=tmp_path,
        )
    for value, error, words in (
        (torch.inf, FloatingPointError, "reward is not finite"),
        (torch.nan, ValueError, "0% are whole"),
    ):
        with pytest.raises(error, match=words):
            train_ppo(
                generator,
                prompts,
                lambda rows, value=value: torch.full(rows.answer.shape, value),
                settings=TASK,
                checkpoints=tmp_path,
            )
    with pytest.raises(ValueError, match="reads 8 tokens"):
        train_ppo(
            generator,
            [[3] * 6],
            lambda rows: torch.randn(rows.answer.shape),
            settings=TASK,
            checkpoints=tmp_path,
        )


@pytest.mark.filterwarnings(
    "ignore:fan_in_fan_out"
)  # peft sees GPT-2's Conv1D and sets what it needs
def test_an_adapter_is_its_own_reference(generator, tmp_path):
    start = copy.deepcopy(generator.model.state_dict())
    log = train_ppo(
        generator,
        *task(generator),
        settings=PPO(**{**vars(TASK), "lora_rank": 2}),
        checkpoints=tmp_path,
    )
    assert abs(log["kl"].iloc[0]) < 1e-6 < log["kl"].iloc[-1]
    assert isinstance(generator, CausalGenerator) and set(generator.model.state_dict()) == set(
        start
    )
    assert not all(
        torch.equal(value, start[name]) for name, value in generator.model.state_dict().items()
    )
