"""Training a mixture of experts on a log, and scoring with it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from matchlib.data.schema import DataError
from matchlib.talent.experts import Batch, Experts, ExpertsConfig
from matchlib.talent.logs import Log, mature_outcomes

ROWS_AT_ONCE = 2_000
"""Rows of a scoring step, few enough for the processor's cache."""
EXAMINATION_LEARNING_RATE = 0.05
"""Of one number a position, which must travel far in few steps."""


@dataclass(frozen=True)
class RankerSettings:
    """How a ranker is trained. maturity_days: rows shown less than this before the end of training
    say nothing about conversions."""

    num_train_epochs: int = 12
    batch_size: int = 512
    learning_rate: float = 1e-2
    gate_learning_rate: float = 1e-2
    weight_decay: float = 1.0
    maturity_days: float = 15.0


@dataclass
class Ranker:
    """A trained ranker: one model, or one for each role.

    models: role -> model, or "" -> the model of all; mean, scale: (F,) of the features in training.
    """

    models: dict[str, Experts]
    config: ExpertsConfig
    feature_names: list[str]
    roles: list[str]
    mean: np.ndarray
    scale: np.ndarray

    def score(
        self, features: pd.DataFrame, roles: pd.Series, *, without_expert: int | None = None
    ) -> pd.DataFrame:
        """Probabilities row by row: click (if looked at), conversion (if clicked), both, relevance.

        features: with the columns of training; roles: (rows,) names. Raises DataError on a missing
        feature, or a role that training did not see.
        """
        x, role = self._inputs(features, roles)
        logits = torch.full((len(x), len(self.config.tasks)), math.nan)
        with torch.no_grad():
            for name, model in self.models.items():
                rows = np.flatnonzero(roles.to_numpy() == name) if name else np.arange(len(x))
                for start in range(0, len(rows), ROWS_AT_ONCE):
                    part = slice(start, start + ROWS_AT_ONCE)  # a view, where all are scored
                    part = rows[part] if name else part
                    logits[part] = model(x[part], role[part], without_expert=without_expert)
        p = torch.sigmoid(logits).numpy().astype(float)
        found = pd.DataFrame(p, columns=list(self.config.tasks))
        if "conversion" in found:
            found["click and conversion"] = found["click"] * found["conversion"]
        return found

    def gate_weights(self, features: pd.DataFrame, roles: pd.Series) -> np.ndarray:
        """(rows, tasks, experts) weights that the gates give; of one model for all roles."""
        x, role = self._inputs(features, roles)
        with torch.no_grad():
            return self.models[""].gates(x, role).numpy()

    def examined(self) -> np.ndarray:
        """(positions,) probability that a position is looked at, as learned."""
        model = next(iter(self.models.values()))
        with torch.no_grad():
            n = len(model.drops) + 1
            return model.log_examined(torch.arange(n)).exp().numpy()

    def _inputs(
        self, features: pd.DataFrame, roles: pd.Series
    ) -> tuple[torch.Tensor, torch.Tensor]:
        missing = [name for name in self.feature_names if name not in features]
        if missing:
            raise DataError(
                f"the ranker reads a feature {missing[0]!r} that is not there; it needs "
                f"{', '.join(self.feature_names)}"
            )
        codes, names = pd.factorize(roles)
        unseen = sorted({*names} - {*self.roles})
        if unseen:
            raise DataError(
                f"role {unseen[0]!r} was not in training; the roles are {', '.join(self.roles)}"
            )
        values = features[self.feature_names].to_numpy(dtype="float32")
        x = np.ascontiguousarray((values - self.mean) / self.scale)
        number = np.array([self.roles.index(name) for name in names], dtype="int64")[codes]
        return torch.from_numpy(x), torch.from_numpy(number)

    def n_parameters(self) -> int:
        """Trained numbers, of all models."""
        return sum(p.numel() for model in self.models.values() for p in model.parameters())

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and settings (JSON)."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {}
        for name, model in self.models.items():
            for key, value in model.state_dict().items():
                weights[f"{name}|{key}"] = value.contiguous()
        save_file(weights, folder / "ranker.safetensors")
        about = {
            "config": asdict(self.config),
            "features": self.feature_names,
            "roles": self.roles,
            "models": list(self.models),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
        }
        (folder / "ranker.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def load_ranker(folder: Path) -> Ranker:
    """Read what `Ranker.save` wrote. Raises DataError where there is no ranker."""
    file = folder / "ranker.json"
    if not file.is_file():
        raise DataError(f"{folder}: no ranker.json; name a folder of a stage of 07_talent_search")
    about = json.loads(file.read_text(encoding="utf-8"))
    config = ExpertsConfig(**{**about["config"], "tasks": tuple(about["config"]["tasks"])})
    weights = load_file(folder / "ranker.safetensors")
    models = {}
    for name in about["models"]:
        state = {
            key.partition("|")[2]: value
            for key, value in weights.items()
            if key.partition("|")[0] == name
        }
        n_positions = len(state["drops"]) + 1 if "drops" in state else 1
        model = Experts(
            config,
            n_features=len(about["features"]),
            n_roles=len(about["roles"]),
            n_positions=n_positions,
        )
        model.load_state_dict(state)
        models[name] = model.eval()
    return Ranker(
        models,
        config,
        about["features"],
        about["roles"],
        np.array(about["mean"], dtype="float32"),
        np.array(about["scale"], dtype="float32"),
    )


def fit_ranker(
    train: Log,
    config: ExpertsConfig,
    settings: RankerSettings,
    *,
    seed: int = 1,
    one_per_role: bool = False,
    log_examined: np.ndarray | None = None,
) -> tuple[Ranker, pd.DataFrame]:
    """Train on a log; returns the ranker and the mean loss of each task by epoch.

    one_per_role: a model for each role, trained on its rows alone. log_examined: (rows,) known, for
    examination "known". Tasks without an outcome are left out. Training ends at the last moment of
    the log: later conversions are not known.
    """
    if config.examination != "none" and not (train.impressions["position"] > 0).any():
        config = replace(config, examination="none")
    if config.examination == "known" and log_examined is None:
        raise DataError('examination "known" needs the probabilities that rows were examined')
    config = replace(config, tasks=_tasks_with_outcomes(train, config.tasks))
    roles = sorted(train.impressions["role"].unique())
    values = train.features.to_numpy(dtype="float32")
    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1).astype("float32")
    batch = _batch(train, (values - mean) / scale, roles, settings, log_examined)
    n_positions = int(batch.position.max()) + 1
    models, losses = {}, []
    for name in roles if one_per_role else [""]:
        rows = torch.arange(len(values))
        if name:
            rows = torch.from_numpy(np.flatnonzero(train.impressions["role"] == name))
        torch.manual_seed(seed)
        model = Experts(
            config, n_features=values.shape[1], n_roles=len(roles), n_positions=n_positions
        )
        # as many steps as a model of all roles makes, on a share of the rows
        epochs = round(settings.num_train_epochs * len(values) / len(rows))
        own = replace(settings, num_train_epochs=epochs)
        losses.append(_train(model, batch.rows(rows), own, seed).assign(model=name))
        models[name] = model.eval()
    ranker = Ranker(models, config, list(train.features.columns), roles, mean, scale)
    return ranker, pd.concat(losses, ignore_index=True)


def _tasks_with_outcomes(train: Log, tasks: tuple[str, ...]) -> tuple[str, ...]:
    kept = []
    for task in tasks:
        column = {"click": "clicked", "conversion": "converted"}.get(task, task)
        if column in train.impressions and train.impressions[column].nunique() > 1:
            kept.append(task)
    return tuple(kept)


def _batch(
    log: Log,
    values: np.ndarray,
    roles: list[str],
    settings: RankerSettings,
    log_examined: np.ndarray | None,
) -> Batch:
    impressions = log.impressions
    until = impressions["shown_at"].max() if "shown_at" in impressions else None
    converted, is_mature = mature_outcomes(
        impressions, until=until, maturity_days=settings.maturity_days
    )
    role = impressions["role"].map({name: i for i, name in enumerate(roles)})
    relevance = impressions.get("relevance", pd.Series(0.0, index=impressions.index))
    if log_examined is None:
        log_examined = np.zeros(len(impressions))

    def number(column) -> torch.Tensor:
        return torch.from_numpy(np.array(column, dtype="float32"))

    return Batch(
        number(values),
        torch.from_numpy(np.array(role, dtype="int64")),
        torch.from_numpy(np.array((impressions["position"] - 1).clip(lower=0), dtype="int64")),
        number(impressions["clicked"]),
        number(converted),
        number(relevance),
        number(is_mature),
        number(log_examined),
    )


def _train(model: Experts, rows: Batch, settings: RankerSettings, seed: int) -> pd.DataFrame:
    """Adam on the sum of the tasks' losses; returns epoch and the mean loss of each task."""
    groups = _parameter_groups(model, settings)
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    n = len(rows.role)
    n_steps = settings.num_train_epochs * math.ceil(n / settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in groups],
        total_steps=max(2, n_steps),
    )
    shuffle = torch.Generator().manual_seed(seed)
    history = []
    for epoch in range(settings.num_train_epochs):
        totals: dict[str, float] = {}
        for index in torch.randperm(n, generator=shuffle).split(settings.batch_size):
            losses = model.losses(rows.rows(index))
            optimizer.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()
            optimizer.step()
            schedule.step()
            for task, loss in losses.items():
                totals[task] = totals.get(task, 0.0) + float(loss.detach()) * len(index) / n
        history.append({"epoch": epoch + 1, **totals})
    return pd.DataFrame(history)


def _parameter_groups(model: Experts, settings: RankerSettings) -> list[dict]:
    """Gates and examination learn at rates of their own; examination and the gates' biases by role,
    which are no slopes, are not pulled to zero."""
    groups: list[dict[str, Any]] = [
        {"params": [], "lr": settings.learning_rate},
        {"params": [], "lr": settings.gate_learning_rate},
        {"params": [], "lr": EXAMINATION_LEARNING_RATE, "weight_decay": 0.0},
        {"params": [], "lr": settings.gate_learning_rate, "weight_decay": 0.0},
    ]
    for name, parameter in model.named_parameters():
        number = {"gate": 1, "drops": 2, "gate_bias": 3}.get(name, 0)
        groups[number]["params"].append(parameter)
    return [group for group in groups if group["params"]]
