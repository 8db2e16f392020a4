"""The arms of the experiment: what each system is allowed to know, and its scores on the test.

Every arm hands out a frame with the columns click (if looked at), conversion (if clicked) and
"click and conversion", row for row with the test log; a baseline that knows one order uses it for
all three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from matchlib.data.schema import DataError
from matchlib.talent.experts import ExpertsConfig
from matchlib.talent.logs import Log, mature_outcomes
from matchlib.talent.ranker import Ranker, RankerSettings, fit_ranker

BLIND = {"role_input": False, "role_gate": False}
INPUT = {"role_input": True, "role_gate": False}
GATE = {"role_input": False, "role_gate": True}
BOTH = {"role_input": True, "role_gate": True}

NEURAL_ARMS: dict[str, dict] = {
    "shared bottom, blind": {"n_experts": 1, **BLIND},
    "shared bottom, role as input": {"n_experts": 1, **INPUT},
    "MMoE, blind": BLIND,
    "MMoE, role as input": INPUT,
    "MMoE, role in the gate": GATE,
    "MMoE, role in both": BOTH,
    "PLE": {"n_experts": 2, "own_experts": 1, **BOTH},
    "PEPNet's gate": {"n_experts": 1, "input_gate": True, **BLIND},
}
"""arm -> what differs from ExpertsConfig's defaults."""
MAIN_ARM = "MMoE, role in both"
ONE_PER_ROLE = "a model for each role"
SHUFFLED = "roles shuffled in training"
PERMUTED = "roles permuted at test"


@dataclass(frozen=True)
class Split:
    """A log's training and test rows."""

    train: Log
    test: Log


def baseline_scores(split: Split, *, maturity_days: float, seed: int) -> dict[str, pd.DataFrame]:
    """Scores of the arms that are not ours: production order (NaN in random order), keyword search, logistic regression
    without role and with role x feature crosses, gradient boosting with the role."""
    test = split.test
    found = {}
    if (test.impressions["position"] > 0).any():
        # in random order the position is nobody's choice
        is_chosen = (test.impressions["ordering"] != "random").to_numpy()
        place = test.impressions["position"].to_numpy(float)
        found["production order"] = _one_order(np.where(is_chosen, -place, np.nan))
    if "text similarity" in test.features:
        found["keyword search"] = _one_order(test.features["text similarity"].to_numpy(float))
    for name, with_roles in (("logistic, blind", False), ("logistic, role crosses", True)):
        found[name] = _logistic(split, with_roles=with_roles, maturity_days=maturity_days)
    found["gradient boosting"] = _boosting(split, maturity_days=maturity_days, seed=seed)
    return found


def _one_order(score: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"click": score, "conversion": score, "click and conversion": score})


def _outcomes(train: Log, maturity_days: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """clicked, converted, and the rows that teach conversion: clicked and mature."""
    clicked = train.impressions["clicked"].to_numpy()
    until = train.impressions["shown_at"].max() if "shown_at" in train.impressions else None
    converted, is_mature = mature_outcomes(
        train.impressions, until=until, maturity_days=maturity_days
    )
    return clicked, converted, (clicked == 1) & is_mature


def _logistic(split: Split, *, with_roles: bool, maturity_days: float) -> pd.DataFrame:
    """Logistic regression; the log of the position is a feature in training, 0 when scoring."""
    scaler = StandardScaler().fit(split.train.features.to_numpy())
    roles = sorted(split.train.impressions["role"].unique())

    def inputs(log: Log, position: np.ndarray) -> np.ndarray:
        x = scaler.transform(log.features.to_numpy())
        parts = [x, np.log1p(position)[:, None]]
        if with_roles:
            for role in roles:
                is_role = (log.impressions["role"] == role).to_numpy()[:, None]
                parts += [x * is_role, is_role]
        return np.hstack(parts)

    at = (split.train.impressions["position"].to_numpy() - 1).clip(min=0)
    x = inputs(split.train, at)
    x_test = inputs(split.test, np.zeros(len(split.test.features)))
    return _two_models(
        lambda: LogisticRegression(C=0.1, max_iter=500), x, x_test, split.train, maturity_days
    )


def _boosting(split: Split, *, maturity_days: float, seed: int) -> pd.DataFrame:
    """Gradient boosting on features, role and position; position is the first when scoring."""
    roles = sorted(split.train.impressions["role"].unique())
    number = {name: i for i, name in enumerate(roles)}

    def inputs(log: Log, position: np.ndarray) -> np.ndarray:
        role = log.impressions["role"].map(number).to_numpy(float)
        return np.column_stack([log.features.to_numpy(), position, role])

    x = inputs(split.train, split.train.impressions["position"].to_numpy(float))
    first = np.full(len(split.test.features), x[:, -2].min())
    return _two_models(
        lambda: HistGradientBoostingClassifier(
            max_iter=120,
            learning_rate=0.05,
            max_leaf_nodes=15,
            categorical_features=[x.shape[1] - 1],
            random_state=seed,
        ),
        x,
        inputs(split.test, first),
        split.train,
        maturity_days,
    )


def _two_models(make, x: np.ndarray, x_test: np.ndarray, train: Log, maturity_days: float):
    """A model of clicks on all rows, and one of conversions on the clicked and mature ones."""
    clicked, converted, teaches = _outcomes(train, maturity_days)
    click = make().fit(x, clicked).predict_proba(x_test)[:, 1]
    conversion = np.full(len(x_test), np.nan)
    if len(np.unique(converted[teaches])) == 2:
        conversion = make().fit(x[teaches], converted[teaches]).predict_proba(x_test)[:, 1]
    return pd.DataFrame(
        {"click": click, "conversion": conversion, "click and conversion": click * conversion}
    )


def neural_scores(
    split: Split,
    *,
    settings: RankerSettings,
    layout: dict,
    seed: int,
    arms: dict[str, dict] | None = None,
    log_examined: np.ndarray | None = None,
) -> tuple[dict[str, pd.DataFrame], dict[str, Ranker], pd.DataFrame]:
    """Train every arm once, with as many epochs on the same rows.

    layout: ExpertsConfig settings of all arms; what an arm says itself comes first. log_examined:
    (training rows,) for examination "known". Returns scores by arm, rankers by arm, and the losses by arm, epoch and task.
    """
    scores, rankers, losses = {}, {}, []
    test_roles = split.test.impressions["role"]
    for arm, own in (NEURAL_ARMS if arms is None else arms).items():
        ranker, history = fit_ranker(
            split.train,
            ExpertsConfig(**{**layout, **own}),
            settings,
            seed=seed,
            log_examined=log_examined,
        )
        rankers[arm] = ranker
        scores[arm] = ranker.score(split.test.features, test_roles)
        losses.append(history.assign(arm=arm))
    return scores, rankers, pd.concat(losses, ignore_index=True)


def choose_networks(names: list[str]) -> dict[str, dict]:
    """The named NEURAL_ARMS and the main arm, or all; DataError on a name that is none."""
    unknown = sorted({*names} - {*NEURAL_ARMS})
    if unknown:
        raise DataError(f"network {unknown[0]!r} is not one of {'; '.join(NEURAL_ARMS)}")
    wanted = {*names, MAIN_ARM} if names else {*NEURAL_ARMS}
    return {name: own for name, own in NEURAL_ARMS.items() if name in wanted}


def role_controls(
    split: Split, ranker: Ranker, *, settings: RankerSettings, layout: dict, seed: int
) -> dict[str, pd.DataFrame]:
    """Arms that tell whether the role itself matters: a model for each role, roles shuffled among
    the recruiters in training, roles permuted at test in `ranker`."""
    rng = np.random.default_rng(seed)
    test_roles = split.test.impressions["role"]
    found = {}
    config = ExpertsConfig(**{**layout, **NEURAL_ARMS["shared bottom, blind"]})
    per_role, _ = fit_ranker(split.train, config, settings, seed=seed, one_per_role=True)
    found[ONE_PER_ROLE] = per_role.score(split.test.features, test_roles)
    shuffled = split.train.impressions.assign(role=_shuffled_roles(split.train.impressions, rng))
    mixed, _ = fit_ranker(
        Log(shuffled, split.train.features, split.train.exclusions, split.train.limits),
        ExpertsConfig(**{**layout, **NEURAL_ARMS[MAIN_ARM]}),
        settings,
        seed=seed,
    )
    found[SHUFFLED] = mixed.score(split.test.features, test_roles)
    found[PERMUTED] = ranker.score(
        split.test.features, permute_roles(split.test.impressions, seed=seed)
    )
    return found


def _shuffled_roles(impressions: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """(rows,) the role of another recruiter for each recruiter; by rows where none is named."""
    if "recruiter_id" not in impressions:
        return rng.permutation(impressions["role"].to_numpy())
    of_recruiter = impressions.drop_duplicates("recruiter_id").set_index("recruiter_id")["role"]
    mixed = pd.Series(rng.permutation(of_recruiter.to_numpy()), index=of_recruiter.index)
    return impressions["recruiter_id"].map(mixed).to_numpy()


def permute_roles(impressions: pd.DataFrame, *, seed: int) -> pd.Series:
    """(rows,) roles, each replaced by one of the other roles, request by request."""
    roles = sorted(impressions["role"].unique())
    if len(roles) < 2:
        return impressions["role"]
    rng = np.random.default_rng(seed)
    requests, _ = pd.factorize(impressions.get("request_id", pd.Series(range(len(impressions)))))
    step = rng.integers(1, len(roles), size=requests.max() + 1)[requests]
    number = impressions["role"].map({name: i for i, name in enumerate(roles)}).to_numpy()
    return pd.Series(np.array(roles)[(number + step) % len(roles)], index=impressions.index)
