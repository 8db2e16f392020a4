"""Multi-gate mixture of experts on clicks, conversions and relevance, aware of recruiters' roles.

The paper (arXiv 2512.00004) publishes neither architecture nor features: the mixture is that of Ma
et al. (KDD 2018), the losses of conversions are those of ESMM (Ma et al., SIGIR 2018) and its
alternatives, examination by position is that of Richardson et al. (WWW 2007). Every combination is
our choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

TASKS = ("click", "conversion", "relevance")
EXAMINATION = ("none", "feature", "monotone", "known")
CONVERSION_MODES = ("esmm", "clicks", "ipw", "dr")
MAX_WEIGHT = 20.0
"""Largest inverse propensity of a clicked row."""


@dataclass(frozen=True)
class ExpertsConfig:
    """A layout. One expert is a shared bottom; several are MMoE; own_experts make it PLE (Tang et
    al., RecSys 2020); input_gate makes it PEPNet's (Chang et al., KDD 2023)."""

    n_experts: int = 8
    own_experts: int = 0  # further ones that serve one task alone
    width: int = 16
    tasks: tuple[str, ...] = TASKS
    role_input: bool = True  # the experts see the role
    role_gate: bool = True  # the gates see the role
    input_gate: bool = False  # the role scales the features
    gate_temperature: float = 1.0
    examination: str = "monotone"
    conversion_mode: str = "esmm"

    def __post_init__(self):
        if self.examination not in EXAMINATION:
            raise ValueError(
                f"examination {self.examination!r} is not one of {', '.join(EXAMINATION)}"
            )
        if self.conversion_mode not in CONVERSION_MODES:
            raise ValueError(
                f"conversion_mode {self.conversion_mode!r} is not one of "
                f"{', '.join(CONVERSION_MODES)}"
            )
        if unknown := sorted({*self.tasks} - {*TASKS}):
            raise ValueError(f"task {unknown[0]!r} is not one of {', '.join(TASKS)}")


class Batch(NamedTuple):
    """Rows of a log: features (B, F), role and position (B,) numbers from 0, outcomes (B,) in
    [0, 1]; is_mature (B,) whether a conversion would have been seen; log_examined (B,) known, or
    zeros."""

    features: Tensor
    role: Tensor
    position: Tensor
    clicked: Tensor
    converted: Tensor
    relevance: Tensor
    is_mature: Tensor
    log_examined: Tensor

    def rows(self, index: Tensor) -> Batch:
        """The rows of an index."""
        return Batch(*(column[index] for column in self))


class Experts(nn.Module):
    """Experts, a gate and a tower for each task, examination by position."""

    def __init__(
        self, config: ExpertsConfig, *, n_features: int, n_roles: int, n_positions: int = 1
    ):
        super().__init__()
        self.config = config
        n_tasks = len(config.tasks)
        n_experts = config.n_experts + config.own_experts * n_tasks
        n_inputs = n_features
        n_inputs += n_roles if config.role_input else 0
        n_inputs += 1 if config.examination == "feature" else 0
        width, half = config.width, max(1, config.width // 2)
        self.n_roles = n_roles
        self.expert_in = _weights(n_experts, n_inputs, width)
        self.expert_in_bias = nn.Parameter(torch.zeros(n_experts, 1, width))
        self.expert_out = _weights(n_experts, width, width)
        self.expert_out_bias = nn.Parameter(torch.zeros(n_experts, 1, width))
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Parameter(torch.zeros(n_tasks, n_features, n_experts))
        # a small start, so that experts do not begin alike
        self.gate_bias = nn.Parameter(0.1 * torch.randn(n_tasks, n_roles, n_experts))
        self.tower_in = _weights(n_tasks, width, half)
        self.tower_in_bias = nn.Parameter(torch.zeros(n_tasks, 1, half))
        self.tower_out = _weights(n_tasks, half, 1)
        self.tower_out_bias = nn.Parameter(torch.full((n_tasks, 1, 1), -1.0))
        if config.input_gate:
            self.feature_gate = nn.Parameter(torch.zeros(n_roles, n_features))
        if config.examination == "monotone":
            self.drops = nn.Parameter(torch.full((max(1, n_positions - 1),), -2.0))
        if config.conversion_mode == "dr":
            self.imputation = nn.Linear(n_features, 1)
        self.register_buffer("may_serve", _may_serve(config))

    def gates(self, features: Tensor, role: Tensor) -> Tensor:
        """(B, tasks, experts) weights of the experts, each row adding up to 1."""
        logits = torch.einsum("bf,tfe->bte", features, self.gate)
        bias_role = role if self.config.role_gate else torch.zeros_like(role)
        logits = logits + self.gate_bias[:, bias_role].transpose(0, 1)
        logits = logits / self.config.gate_temperature
        return logits.masked_fill(~self.may_serve, -math.inf).softmax(dim=-1)

    def forward(
        self,
        features: Tensor,
        role: Tensor,
        position: Tensor | None = None,
        *,
        without_expert: int | None = None,
    ) -> Tensor:
        """(B, tasks) logits: of a click if examined, a conversion if clicked, of relevance.

        position: (B,) for examination "feature"; left out when scoring, as if all stood first.
        without_expert: that expert's output is zero.
        """
        weights = self.gates(features, role)
        hidden = self._experts(features, role, position)
        if without_expert is not None:
            hidden = hidden.clone()
            hidden[without_expert] = 0
        mixed = torch.einsum("bte,ebw->tbw", weights, hidden)
        tower = functional.silu(torch.baddbmm(self.tower_in_bias, mixed, self.tower_in))
        logits = torch.baddbmm(self.tower_out_bias, tower, self.tower_out)
        return logits[:, :, 0].transpose(0, 1)

    def _experts(self, features: Tensor, role: Tensor, position: Tensor | None) -> Tensor:
        """(experts, B, width) outputs."""
        if self.config.input_gate:
            features = features * 2 * torch.sigmoid(self.feature_gate[role])
        inputs = [features]
        if self.config.role_input:
            inputs.append(functional.one_hot(role, self.n_roles).to(features.dtype))
        if self.config.examination == "feature":
            place = torch.zeros_like(role) if position is None else position
            inputs.append(torch.log1p(place.to(features.dtype))[:, None])
        x = torch.cat(inputs, dim=1)
        x = x.expand(len(self.expert_in), -1, -1)
        hidden = functional.silu(torch.baddbmm(self.expert_in_bias, x, self.expert_in))
        return self.norm(torch.baddbmm(self.expert_out_bias, hidden, self.expert_out))

    def log_examined(self, position: Tensor) -> Tensor:
        """(B,) log probability that a position is looked at: 0 for the first, falling from there."""
        falls = functional.softplus(self.drops)
        log_examined = torch.cat([falls.new_zeros(1), -falls.cumsum(0)])
        return log_examined[position.clamp(max=len(falls))]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The mean loss of each task, in log space.

        Raises FloatingPointError with the task's name where one is not finite.
        """
        logits = self(batch.features, batch.role, batch.position)
        found = {}
        log_click = functional.logsigmoid(logits[:, 0])
        if self.config.examination == "monotone":
            log_click = log_click + self.log_examined(batch.position)
        elif self.config.examination == "known":
            log_click = log_click + batch.log_examined
        found["click"] = _log_loss(log_click, batch.clicked).mean()
        for number, task in enumerate(self.config.tasks):
            if task == "conversion":
                found[task] = self._conversion_loss(logits[:, number], log_click, batch)
            elif task == "relevance":
                found[task] = functional.binary_cross_entropy_with_logits(
                    logits[:, number], batch.relevance
                )
        for task, loss in found.items():
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the loss of task {task} is not finite; lower learning_rate, or look for "
                    f"features that are not finite"
                )
        return found

    def _conversion_loss(self, logit: Tensor, log_click: Tensor, batch: Batch) -> Tensor:
        """Of mature rows. esmm: converted among all that were shown; clicks: among those clicked;
        ipw: clicked rows, each counted once for every row like it; dr: all rows with an imputed
        outcome, corrected on the clicked ones (doubly robust; Wang et al., ICML 2019)."""
        mature = batch.is_mature
        log_conversion = functional.logsigmoid(logit)
        if self.config.conversion_mode == "esmm":
            return _mean(_log_loss(log_click + log_conversion, batch.converted), mature)
        loss = _log_loss(log_conversion, batch.converted)
        clicked = mature * batch.clicked
        if self.config.conversion_mode == "clicks":
            return _mean(loss, clicked)
        weight = clicked * torch.exp(-log_click.detach()).clamp(max=MAX_WEIGHT)
        if self.config.conversion_mode == "ipw":
            return (weight * loss).sum() / mature.sum().clamp(min=1)
        log_q = functional.logsigmoid(self.imputation(batch.features)[:, 0])
        q = log_q.exp().detach()
        imputed = _log_loss(log_conversion, q)  # as if the imputed outcome were the outcome
        corrected = imputed + weight * (loss - imputed)
        teaches_imputation = weight * _log_loss(log_q, batch.converted)
        return _mean(corrected, mature) + teaches_imputation.sum() / mature.sum().clamp(min=1)


def log_of_complement(log_p: Tensor) -> Tensor:
    """log(1 - p) from log p < 0 without losing digits (Maechler 2012)."""
    log_p = log_p.clamp(max=-1e-7)
    is_near_one = log_p > -math.log(2)
    # each branch is fed what it can take, since gradients flow through both
    near_one = torch.log(-torch.expm1(torch.where(is_near_one, log_p, -1.0)))
    far = torch.log1p(-torch.exp(torch.where(is_near_one, -1.0, log_p)))
    return torch.where(is_near_one, near_one, far)


def _log_loss(log_p: Tensor, outcome: Tensor) -> Tensor:
    return -(outcome * log_p + (1 - outcome) * log_of_complement(log_p))


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return (values * counted).sum() / counted.sum().clamp(min=1)


def _weights(n: int, n_in: int, n_out: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(n, n_in, n_out) / math.sqrt(max(1, n_in)))


def _may_serve(config: ExpertsConfig) -> Tensor:
    """(tasks, experts) whether a task may use an expert: the shared ones and its own."""
    n_tasks = len(config.tasks)
    owner = torch.arange(n_tasks).repeat_interleave(config.own_experts)
    own = owner[None, :] == torch.arange(n_tasks)[:, None]
    shared = torch.ones(n_tasks, config.n_experts, dtype=torch.bool)
    return torch.cat([shared, own], dim=1)
