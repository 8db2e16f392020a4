"""The mixture of experts, its losses, and what may not happen to them."""

import numpy as np
import pytest
import torch

from matchlib.talent.experts import Batch, Experts, ExpertsConfig, log_of_complement

N, F, ROLES, POSITIONS = 40, 6, 3, 5


def make(seed=0, **settings):
    torch.manual_seed(seed)
    config = ExpertsConfig(**{"n_experts": 3, "width": 8, **settings})
    return Experts(config, n_features=F, n_roles=ROLES, n_positions=POSITIONS)


def batch(seed=0, n=N, **columns):
    rng = torch.Generator().manual_seed(seed)
    clicked = (torch.rand(n, generator=rng) < 0.4).float()
    converted = clicked * (torch.rand(n, generator=rng) < 0.5).float()
    values = {
        "features": torch.randn(n, F, generator=rng),
        "role": torch.randint(ROLES, (n,), generator=rng),
        "position": torch.randint(POSITIONS, (n,), generator=rng),
        "clicked": clicked,
        "converted": converted,
        "relevance": torch.rand(n, generator=rng),
        "is_mature": torch.ones(n),
        "log_examined": torch.zeros(n),
    }
    return Batch(**{**values, **columns})


def test_batched_experts_equal_a_loop_over_experts():
    model, rows = make(), batch()
    x = torch.cat([rows.features, torch.nn.functional.one_hot(rows.role, ROLES).float()], dim=1)
    weights = model.gates(rows.features, rows.role)
    mixed = torch.zeros(N, 3, 8)
    for expert in range(3):
        hidden = torch.nn.functional.silu(
            x @ model.expert_in[expert] + model.expert_in_bias[expert]
        )
        out = model.norm(hidden @ model.expert_out[expert] + model.expert_out_bias[expert])
        mixed += weights[:, :, expert, None] * out[:, None, :]
    expected = []
    for task in range(3):
        tower = torch.nn.functional.silu(
            mixed[:, task] @ model.tower_in[task] + model.tower_in_bias[task]
        )
        expected.append(tower @ model.tower_out[task] + model.tower_out_bias[task])
    torch.testing.assert_close(model(rows.features, rows.role), torch.cat(expected, dim=1))


def test_gates_add_up_to_one_and_see_the_role_only_where_they_may():
    rows = batch()
    other_role = (rows.role + 1) % ROLES
    for role_gate in (True, False):
        model = make(role_gate=role_gate)
        weights = model.gates(rows.features, rows.role)
        torch.testing.assert_close(weights.sum(dim=2), torch.ones(N, 3))
        changed = (model.gates(rows.features, other_role) != weights).any()
        assert bool(changed) == role_gate


def test_a_blind_model_gives_every_role_the_same():
    model, rows = make(role_input=False, role_gate=False), batch()
    other = (rows.role + 1) % ROLES
    torch.testing.assert_close(model(rows.features, rows.role), model(rows.features, other))
    for aware in (
        {"role_input": True, "role_gate": False},
        {"role_input": False, "role_gate": True},
    ):
        model = make(**aware)
        assert not torch.equal(model(rows.features, rows.role), model(rows.features, other))


def test_own_experts_serve_their_task_alone():
    model, rows = make(n_experts=2, own_experts=1), batch()
    weights = model.gates(rows.features, rows.role)
    assert weights.shape == (N, 3, 5)
    own = weights[:, :, 2:]
    is_own = torch.eye(3, dtype=torch.bool)
    assert (own[:, ~is_own] == 0).all() and (own[:, is_own] > 0).all()


def test_examination_falls_from_the_first_position():
    model = make()
    with torch.no_grad():
        model.drops.copy_(torch.randn(POSITIONS - 1))
        log_examined = model.log_examined(torch.arange(POSITIONS + 3))
    assert log_examined[0] == 0
    assert (log_examined[1:POSITIONS] < log_examined[: POSITIONS - 1]).all()
    assert (log_examined[POSITIONS:] == log_examined[POSITIONS - 1]).all()  # beyond what was seen


def test_scoring_does_not_know_the_position():
    rows = batch()
    for examination in ("none", "monotone", "known"):
        model = make(examination=examination)
        torch.testing.assert_close(
            model(rows.features, rows.role, rows.position), model(rows.features, rows.role)
        )
    model = make(examination="feature")
    first = torch.zeros(N, dtype=torch.long)
    torch.testing.assert_close(
        model(rows.features, rows.role, first), model(rows.features, rows.role)
    )


@pytest.mark.parametrize("p", [1e-30, 1e-6, 0.3, 0.5, 0.9, 1 - 1e-6])
def test_the_complement_keeps_its_digits(p):
    found = log_of_complement(torch.tensor(np.log(p), dtype=torch.float64))
    assert float(found) == pytest.approx(np.log1p(-p), rel=1e-6)


def test_the_loss_of_esmm_is_that_of_the_product():
    model, rows = make(examination="none"), batch()
    logits = model(rows.features, rows.role).double()
    p = torch.sigmoid(logits[:, 0]) * torch.sigmoid(logits[:, 1])
    expected = torch.nn.functional.binary_cross_entropy(p, rows.converted.double())
    assert model.losses(rows)["conversion"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_conversion_after_clicks_reads_clicked_rows_only():
    model, rows = make(conversion_mode="clicks"), batch()
    before = model.losses(rows)["conversion"]
    flipped = torch.where(rows.clicked == 1, rows.converted, 1 - rows.converted)
    torch.testing.assert_close(model.losses(rows._replace(converted=flipped))["conversion"], before)


@pytest.mark.parametrize("mode", ["esmm", "clicks", "ipw", "dr"])
def test_immature_rows_say_nothing_about_conversions(mode):
    model, rows = make(conversion_mode=mode), batch()
    mature = (torch.arange(N) < 25).float()
    before = model.losses(rows._replace(is_mature=mature))["conversion"]
    changed = torch.where(mature == 1, rows.converted, 1 - rows.converted)
    after = model.losses(rows._replace(is_mature=mature, converted=changed))["conversion"]
    torch.testing.assert_close(after, before)
    none = model.losses(rows._replace(is_mature=torch.zeros(N)))
    assert torch.isfinite(none["conversion"])


def test_inverse_propensity_weighs_a_click_by_how_rare_it_was():
    model = make(conversion_mode="ipw", examination="known")
    rows = batch()
    seen_half = rows._replace(log_examined=torch.full((N,), float(np.log(0.5))))
    ratio = model.losses(seen_half)["conversion"] / model.losses(rows)["conversion"]
    assert 1.5 < ratio.item() <= 2.001  # the largest weights are cut


def test_the_ways_to_learn_conversions_are_different_ones():
    gradients = {}
    for mode in ("esmm", "clicks", "ipw", "dr"):
        model, rows = make(conversion_mode=mode), batch()
        model.losses(rows)["conversion"].backward()
        gradients[mode] = model.tower_out.grad[1].clone()
    for mode, other in (("dr", "ipw"), ("ipw", "clicks"), ("clicks", "esmm")):
        assert (gradients[mode] - gradients[other]).abs().max() > 1e-3


def test_a_batch_of_one_and_rows_without_clicks_train():
    model = make()
    for rows in (batch(n=1), batch(clicked=torch.zeros(N), converted=torch.zeros(N))):
        losses = model.losses(rows)
        torch.stack(list(losses.values())).sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_loss_that_is_not_finite_names_its_task():
    rows = batch()
    relevance = rows.relevance.clone()
    relevance[0] = float("nan")
    with pytest.raises(FloatingPointError, match="task relevance is not finite"):
        make().losses(rows._replace(relevance=relevance))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"examination": "often"}, "examination 'often' is not one of none, feature"),
        ({"conversion_mode": "x"}, "conversion_mode 'x' is not one of esmm"),
        ({"tasks": ("click", "salary")}, "task 'salary' is not one of click"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ExpertsConfig(**settings)
