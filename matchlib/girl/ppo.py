"""GIRL's third stage: proximal policy optimisation (arXiv 1707.06347) of the generator against U
(arXiv 2307.02157).

Each token gets the penalty -beta log(pi / pi_sft) and a reward: its contribution to the utility, or
all of the utility at the last token. A critic on the policy's hidden states, generalised advantages,
clipped losses for both; the critic alone is trained first; beta follows the divergence.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from peft import get_peft_model
from torch import Tensor, nn

from matchlib.girl.models import (
    CausalGenerator,
    Sequences,
    check_context_length,
    lora,
    merge_adapter,
    sample,
)

logger = logging.getLogger(__name__)

Reward = Callable[[Sequences], Tensor]
"""(B, T) contribution of each token of sampled sequences to their utility; NaN in rows of which the
text is no job."""


@dataclass(frozen=True)
class PPO:
    """Settings; divergences in nats a job.

    beta: of the penalty, at the start; target_kl: the divergence to which beta is steered, 0 leaves
    beta alone.
    dense_reward: each token is rewarded with its contribution to the utility; the paper rewards the
    last token with their sum.
    warmup: iterations in which only the critic learns. accumulation: parts in which a minibatch is
    computed.
    max_kl, max_drift: limits of the divergence and of the relative change of the jobs' mean length.
    Training stops beyond them and restores the iteration before; the weights after the last update
    are checked, too.
    """

    iterations: int = 100
    batch_size: int = 128
    minibatch_size: int = 32
    accumulation: int = 1
    num_ppo_epochs: int = 2
    learning_rate: float = 1e-3
    critic_learning_rate: float = 1e-2
    clip: float = 0.2
    value_clip: float = 0.2
    beta: float = 0.03
    target_kl: float = 12.0
    gamma: float = 1.0
    lam: float = 0.95
    warmup: int = 3
    temperature: float = 0.7
    dense_reward: bool = True
    max_job_tokens: int = 24
    max_kl: float = 40.0
    max_drift: float = 0.2
    lora_rank: int = 0
    seed: int = 1


@dataclass
class Rollout:
    """Sampled sequences with what was known when they were sampled: (B, T) each, zero where there
    is no answer."""

    rows: Sequences
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


def gae(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    *,
    gamma: float,
    lam: float,
) -> tuple[Tensor, Tensor]:
    """Generalised advantages (arXiv 1506.02438) and returns, (B, T) each; nothing flows over the
    end of an answer."""
    advantages = torch.zeros_like(rewards)
    following = 0.0
    value_after = 0.0
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * value_after - values[:, t]
        following = (delta + gamma * lam * following) * mask[:, t]
        value_after = values[:, t] * mask[:, t]
        advantages[:, t] = following
    return advantages, (advantages + values) * mask


def policy_loss(
    log_probs: Tensor,
    old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip: float,
) -> tuple[Tensor, Tensor]:
    """The clipped surrogate, a mean over the answers' tokens, and the share of tokens that the clip
    holds back."""
    ratio = torch.exp(log_probs - old)
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    loss = mean_of(torch.maximum(unclipped, clipped), mask)
    share_clipped = mean_of((clipped > unclipped).float(), mask)
    return loss, share_clipped


def value_loss(
    values: Tensor,
    old: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    clip: float,
) -> Tensor:
    """Half the squared error of values, or of values clipped to within `clip` of the old ones,
    whichever is larger."""
    clipped = old + (values - old).clamp(-clip, clip)
    error = (values - returns) ** 2
    clipped_error = (clipped - returns) ** 2
    return 0.5 * mean_of(torch.maximum(error, clipped_error), mask)


def mean_of(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the positions of a mask."""
    return (values * mask).sum() / mask.sum()


def forward(
    model: nn.Module, rows: Sequences, *, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """log-probabilities (B, T) of the answer's tokens, entropies (B, T), hidden states (B, T, H)
    before each token."""
    n = rows.answer.shape[1]
    out = model(
        input_ids=rows.ids,
        attention_mask=rows.attention,
        position_ids=rows.positions,
        logits_to_keep=n + 1,
        output_hidden_states=True,
    )
    logits = torch.log_softmax(out.logits[:, :-1].float() / temperature, dim=-1)
    chosen = logits.gather(2, rows.ids[:, -n:, None])[..., 0]
    entropies = -(logits.exp() * logits).sum(-1)
    return (
        chosen * rows.answer,
        entropies * rows.answer,
        out.hidden_states[-1][:, -n - 1 : -1].float(),
    )


@torch.no_grad()
def measure_policy(
    generator: CausalGenerator,
    reference: CausalGenerator,
    prompts: Sequence[list[int]],
    reward: Reward,
    *,
    settings: PPO,
) -> dict[str, float]:
    """Means over one sampled job for each prompt, of the weights as they are: whatever trained
    them, and after it.

    reference: SFT. Returns reward (of whole jobs), kl (nats a job), entropy (nats a token), length
    (tokens), whole (share): what a row of a training's log says of the weights before an update.
    Sampled by settings.seed.
    """
    torch.manual_seed(settings.seed)
    generator.model.eval()
    reference.model.eval()
    sums = []
    for start in range(0, len(prompts), settings.batch_size):
        rows = sample(
            generator,
            prompts[start : start + settings.batch_size],
            max_job_tokens=settings.max_job_tokens,
            temperature=settings.temperature,
        )
        log_probs, entropies, _ = forward(generator.model, rows, temperature=settings.temperature)
        before = forward(reference.model, rows, temperature=settings.temperature)[0]
        totals = reward(rows).float().sum(1)
        whole = rows.ended & ~totals.isnan()
        sums.append(
            torch.stack(
                [
                    totals[whole].sum(),
                    whole.sum(),
                    (log_probs - before).sum(),
                    entropies.sum(),
                    rows.answer.sum(),
                ]
            )
            .double()
            .cpu()
        )
    reward_sum, n_whole, kl, entropy, tokens = torch.stack(sums).sum(0).tolist()
    return {
        "reward": reward_sum / n_whole if n_whole else float("nan"),
        "kl": kl / len(prompts),
        "entropy": entropy / tokens,
        "length": tokens / len(prompts),
        "whole": n_whole / len(prompts),
    }


def train_ppo(
    generator: CausalGenerator,
    prompts: Sequence[list[int]],
    reward: Reward,
    *,
    settings: PPO,
    checkpoints: Path,
) -> pd.DataFrame:
    """Train the generator in place. Its weights at the start are the reference; with
    settings.lora_rank they need no copy.

    prompts: token ids, drawn anew in each iteration. A killed run goes on from its last iteration.
    A text that does not end, or is no job, gets one standard deviation less than the worst job of
    its batch.
    Returns the log: iteration, reward (mean of whole jobs), kl, entropy, length, whole (share),
    clipped (share), policy_loss, value_loss, beta, stopped ("", or why). A row describes the
    weights before its update; `measure_policy` describes those that are kept. Raises ValueError
    where the reward is constant or few jobs are complete, FloatingPointError where a loss is not
    finite.
    """
    check_context_length(generator.model, prompts, settings.max_job_tokens)
    policy = generator
    if settings.lora_rank:
        policy = CausalGenerator(
            get_peft_model(generator.model, lora(settings.lora_rank)),
            generator.tokenizer,
        )
    trainer = _Trainer(policy, prompts, reward, settings, checkpoints)
    log = trainer.resume()
    while len(log) < settings.iterations and not (log and log[-1]["stopped"]):
        log.append(trainer.iterate(len(log), log[0] if log else None))
        trainer.save(log)
    if (
        log and not log[-1]["stopped"]
    ):  # rows are measured before their update: nothing has looked at the last one
        after = trainer.iterate(len(log), log[0], learn=False)
        log += [after] if after["stopped"] else []
    if settings.lora_rank:
        merge_adapter(policy.model)
    generator.model.eval()
    return pd.DataFrame(log)


class _Trainer:
    """The state of a run: policy, critic, optimiser, penalty, and the last good weights."""

    def __init__(
        self,
        generator: CausalGenerator,
        prompts: Sequence[list[int]],
        reward: Reward,
        settings: PPO,
        checkpoints: Path,
    ):
        self.generator = generator
        self.prompts = prompts
        self.reward = reward
        self.settings = settings
        self.model = generator.model
        self.file = checkpoints / "ppo.pt"
        self.adapter = bool(settings.lora_rank)
        self.reference = self.model if self.adapter else copy.deepcopy(self.model).eval()
        torch.manual_seed(settings.seed)
        size = self.model.get_input_embeddings().weight.shape[1]
        self.critic = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1)).to(
            self.model.device
        )
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": self.trained, "lr": settings.learning_rate},
                {
                    "params": self.critic.parameters(),
                    "lr": settings.critic_learning_rate,
                },
            ],
            weight_decay=0.0,
        )
        self.beta = settings.beta
        self.spread = None
        self.last_good = None

    def iterate(self, i: int, first: dict | None, *, learn: bool = True) -> dict:
        """One round of sampling and, unless the limits or `learn` forbid it, learning; the row of
        the log."""
        torch.manual_seed(self.settings.seed * 100_003 + i)
        rollout, row = self._sample()
        row = {
            "iteration": i,
            **row,
            "stopped": self._limit_exceeded(row, first or row),
        }
        if row["stopped"]:
            logger.warning("PPO stops in iteration %d: %s", i, row["stopped"])
            for parameter, value in zip(self.trained, self.last_good or [], strict=False):
                parameter.data.copy_(value)
        if row["stopped"] or not learn:
            return row | {
                "clipped": 0.0,
                "policy_loss": 0.0,
                "value_loss": 0.0,
            }
        self.last_good = [p.detach().clone() for p in self.trained]
        row |= self._learn(rollout, warmup=i < self.settings.warmup)
        if (
            self.settings.target_kl and i >= self.settings.warmup
        ):  # Ziegler et al. 2019, arXiv 1909.08593
            self.beta *= 1 + 0.1 * min(max(row["kl"] / self.settings.target_kl - 1, -0.2), 0.2)
        return row

    @torch.no_grad()
    def _sample(self) -> tuple[Rollout, dict]:
        how = self.settings
        self.model.eval()
        drawn = torch.randint(len(self.prompts), (how.batch_size,)).tolist()
        rows = sample(
            self.generator,
            [self.prompts[i] for i in drawn],
            max_job_tokens=how.max_job_tokens,
            temperature=how.temperature,
        )
        log_probs, entropies, hidden = forward(self.model, rows, temperature=how.temperature)
        with self.model.disable_adapter() if self.adapter else nullcontext():
            reference = forward(self.reference, rows, temperature=how.temperature)[0]
        mask = rows.answer.float()
        utilities = self.reward(rows).float()
        totals = utilities.sum(1)
        whole = rows.ended & ~totals.isnan()
        penalty = self.beta * (log_probs - reference)
        rewards = self._rewards(utilities, totals, whole, mask) - penalty
        values = self.critic(hidden)[..., 0] * mask
        advantages, returns = gae(rewards, values, mask, gamma=how.gamma, lam=how.lam)
        mean = mean_of(advantages, mask)
        deviation = mean_of((advantages - mean) ** 2, mask).sqrt()
        normalised = (advantages - mean) / (deviation + 1e-8) * mask
        rollout = Rollout(rows, log_probs, values, normalised, returns)
        return rollout, {
            "reward": float(totals[whole].mean()),
            "kl": float((log_probs - reference).sum(1).mean()),
            "entropy": float(mean_of(entropies, mask)),
            "length": float(mask.sum(1).mean()),
            "whole": float(whole.float().mean()),
            "beta": self.beta,
        }

    def _rewards(
        self,
        utilities: Tensor,
        totals: Tensor,
        whole: Tensor,
        mask: Tensor,
    ) -> Tensor:
        """(B, T) utilities in units of their spread at the start; what is no job gets one unit less
        than the worst."""
        if self.spread is None and whole.float().mean() < 0.25:
            raise ValueError(
                f"of the jobs written {whole.float().mean():.0%} are whole and end within "
                f"{self.settings.max_job_tokens} tokens; raise max_job_tokens or train SFT longer"
            )
        if not torch.isfinite(totals[whole]).all():
            raise FloatingPointError(
                "the reward is not finite; train the reward model again with a lower learning_rate"
            )
        if self.spread is None:
            self.spread = float(totals[whole].std())
            if self.spread < 1e-6:
                raise ValueError(
                    "the reward is the same for all jobs, so there is nothing to learn from it; train the "
                    "utility longer, until it orders held-out pairs"
                )
        last = torch.zeros_like(mask)
        last[torch.arange(len(mask)), mask.sum(1).long() - 1] = 1
        worst = (totals[whole].min() / self.spread if whole.any() else 0.0) - 1
        arising = utilities.nan_to_num(0.0) * mask / self.spread
        if not self.settings.dense_reward:
            arising = arising.sum(1, keepdim=True) * last
        return torch.where(
            whole[:, None],
            arising,
            arising + (worst - arising.sum(1, keepdim=True)) * last,
        )

    def _limit_exceeded(self, row: dict, first: dict) -> str:
        if not row["whole"]:
            return "none of the jobs written is complete"
        if row["kl"] > self.settings.max_kl:
            return f"the divergence of {row['kl']:.1f} nats is above {self.settings.max_kl:g}"
        drift = row["length"] / first["length"] - 1
        return (
            f"the length has changed by {drift:+.0%}"
            if abs(drift) > self.settings.max_drift
            else ""
        )

    def _learn(self, rollout: Rollout, *, warmup: bool) -> dict:
        """num_ppo_epochs over the sampled jobs; returns the means of the losses."""
        how = self.settings
        steps = []
        # dropout would give other probabilities than those of the sampling
        self.model.eval()
        for _ in range(how.num_ppo_epochs):
            for batch in torch.randperm(len(rollout.rows)).split(how.minibatch_size):
                self.optimiser.zero_grad()
                for part in batch.chunk(how.accumulation):
                    losses = self._losses(rollout, part)
                    loss = losses["value_loss"] + (0 if warmup else losses["policy_loss"])
                    if not torch.isfinite(loss):
                        raise FloatingPointError(
                            "a loss of PPO is not finite; lower learning_rate. The last "
                            f"good iteration is in {self.file}"
                        )
                    (loss * len(part) / len(batch)).backward()
                    steps.append({name: float(value.detach()) for name, value in losses.items()})
                if warmup:
                    for parameter in self.trained:
                        parameter.grad = None
                nn.utils.clip_grad_norm_([*self.trained, *self.critic.parameters()], 1.0)
                self.optimiser.step()
        return pd.DataFrame(steps).mean().to_dict()

    def _losses(self, rollout: Rollout, part: Tensor) -> dict[str, Tensor]:
        rows = rollout.rows[part]
        log_probs, _, hidden = forward(self.model, rows, temperature=self.settings.temperature)
        mask = rows.answer.float()
        values = self.critic(hidden.detach())[..., 0] * mask
        surrogate, clipped = policy_loss(
            log_probs,
            rollout.log_probs[part],
            rollout.advantages[part],
            mask,
            clip=self.settings.clip,
        )
        return {
            "policy_loss": surrogate,
            "clipped": clipped,
            "value_loss": value_loss(
                values,
                rollout.values[part],
                rollout.returns[part],
                mask,
                clip=self.settings.value_clip,
            ),
        }

    def save(self, log: list[dict]) -> None:
        """Keep the run's state, written beside and renamed."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "settings": asdict(self.settings),
            "log": log,
            "beta": self.beta,
            "spread": self.spread,
            "policy": [p.detach() for p in self.trained],
            "critic": self.critic.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "good": self.last_good,
        }
        torch.save(state, self.file.with_suffix(".part"))
        self.file.with_suffix(".part").rename(self.file)

    def resume(self) -> list[dict]:
        """Take up the state that `save` kept under the same settings; the log so far."""
        if not self.file.exists():
            return []
        state = torch.load(self.file, map_location=self.model.device, weights_only=True)
        if state["settings"] != asdict(self.settings):
            return []
        for parameter, value in zip(self.trained, state["policy"], strict=True):
            parameter.data.copy_(value)
        self.critic.load_state_dict(state["critic"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.beta = state["beta"]
        self.spread = state["spread"]
        self.last_good = state["good"]
        logger.info("PPO goes on after iteration %d", len(state["log"]) - 1)
        return state["log"]
