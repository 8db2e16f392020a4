"""The steps of notebook 07 that need more than a line: features by name, ablations, the answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.talent.arms import BOTH, MAIN_ARM, Split, neural_scores
from matchlib.talent.features import (
    hire_features,
    hires_of_log,
    permute_signals,
    signal_features,
    text_features,
)
from matchlib.talent.logs import Log, judged_outcomes, split_by_time
from matchlib.talent.measures import (
    calibration,
    interval_by_request,
    log_loss,
    rank_correlations,
    request_aucs,
)
from matchlib.talent.ranker import Ranker, RankerSettings

SIGNALS = ("none", "extracted", "true", "permuted")
ABLATIONS: dict[str, dict] = {
    "without relevance": {"tasks": ("click", "conversion")},
    "examination ignored": {"examination": "none"},
    "position as a feature": {"examination": "feature"},
    "examination known": {"examination": "known"},
    "conversion after clicks only": {"conversion_mode": "clicks"},
    "conversion by inverse propensity": {"conversion_mode": "ipw"},
    "conversion doubly robust": {"conversion_mode": "dr"},
    "one expert": {"n_experts": 1},
    "twice the experts": {"n_experts": 16},
}
"""arm -> what differs from the main arm."""
STRONG_BASELINES = ("gradient boosting", "logistic, role crosses")
"""Baselines that know the role; the headline names the one that the main arm gains least over."""


def build_features(
    impressions: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    hires: pd.DataFrame,
    *,
    signals: str,
    use_hires: bool,
    seed: int,
) -> pd.DataFrame:
    """(rows, F) features of a log with texts.

    tables: jobs and resumes (id, text), and the signals of each kind as "jobs, extracted",
    "resumes, true" and so on. hires: job_id, resume_id, hired_at, from before the log; conversions
    of the log are added, and only hires dated before an impression count.
    """
    if signals not in SIGNALS:
        raise DataError(f"signals {signals!r} is not one of {', '.join(SIGNALS)}")
    parts = [text_features(impressions, tables["jobs"], tables["resumes"])]
    if signals == "none":
        return parts[0]
    kind = "true" if signals == "true" else "extracted"
    jobs, resumes = tables[f"jobs, {kind}"], tables[f"resumes, {kind}"]
    every_hire = pd.concat([hires, hires_of_log(impressions)], ignore_index=True)
    if signals == "permuted":
        jobs, every_hire = permute_signals(jobs, every_hire, seed)
    parts.append(signal_features(impressions, jobs, resumes))
    if use_hires:
        parts.append(hire_features(impressions, every_hire, resumes))
    return pd.concat(parts, axis=1)


def split_log(log: Log, *, test_share: float) -> tuple[Split, np.ndarray]:
    """Training and test rows by time, and the mask of the test rows."""
    part = split_by_time(log.impressions, test_share=test_share)
    is_test = part == "test"
    return Split(log.rows(~is_test), log.rows(is_test)), is_test


def ablation_scores(
    split: Split,
    *,
    names: list[str],
    settings: RankerSettings,
    layout: dict,
    seed: int,
    log_examined: np.ndarray | None,
) -> dict[str, pd.DataFrame]:
    """Scores of the main arm with one thing changed."""
    unknown = sorted({*names} - {*ABLATIONS})
    if unknown:
        raise DataError(f"ablation {unknown[0]!r} is not one of {', '.join(ABLATIONS)}")
    arms = {name: {**BOTH, **ABLATIONS[name]} for name in names}
    if not arms:
        return {}
    scores, _, _ = neural_scores(
        split, settings=settings, layout=layout, seed=seed, arms=arms, log_examined=log_examined
    )
    return scores


def compare(
    scores: Mapping[str, pd.DataFrame],
    log: pd.DataFrame,
    truth: pd.DataFrame | None,
    pairs: list[tuple[str, str]],
) -> pd.DataFrame:
    """First arm minus second, request by request: first, second, judgments, measure, value, low,
    high, n, n_clusters.

    AUC of clicks within requests, in the random order where there is one, else as logged: over all
    rows a ranker that only knew how often each role clicks would gain, and reorder nothing. Rank
    correlation with the truth where it is known. The intervals are for these jobs, recruiters and
    trained weights. Without request ids nothing is compared, and no row is returned.
    """
    about = ["first", "second", "judgments", "measure"]
    columns = [*about, "value", "low", "high", "n", "n_clusters"]
    if "request_id" not in log:
        return pd.DataFrame(columns=columns)
    is_random = (log["ordering"] == "random").to_numpy()
    part = is_random if is_random.any() else np.ones(len(log), dtype=bool)
    judgments = "random order" if is_random.any() else "logged order"
    requests = log["request_id"].to_numpy()
    clicked = log["clicked"].to_numpy()[part]
    rows = []
    for first, second in pairs:
        if first not in scores or second not in scores:
            continue
        both = [scores[name]["click"].to_numpy() for name in (first, second)]
        within = [request_aucs(clicked, score[part], requests[part]) for score in both]
        found = {(judgments, "GAUC by request, click"): within[0] - within[1]}
        if truth is not None:
            target = truth["click_utility"].to_numpy()
            by_request = [rank_correlations(target, score, requests) for score in both]
            found["truth", "rank correlation, click"] = by_request[0] - by_request[1]
        for (source, measure), difference in found.items():
            names = dict(zip(about, (first, second, source, measure), strict=True))
            rows.append({**names, **interval_by_request(difference, log)})
    return pd.DataFrame(rows, columns=columns)


def expert_use(ranker: Ranker, log: Log) -> pd.DataFrame:
    """How the main arm uses its experts: task, role, expert, weight (the gate's mean)."""
    weights = ranker.gate_weights(log.features, log.impressions["role"])
    rows = []
    for role in ranker.roles:
        of_role = weights[(log.impressions["role"] == role).to_numpy()].mean(axis=0)
        for number, task in enumerate(ranker.config.tasks):
            for expert, weight in enumerate(of_role[number]):
                rows.append({"task": task, "role": role, "expert": expert + 1, "weight": weight})
    return pd.DataFrame(rows)


def expert_health(ranker: Ranker, log: Log, scores: pd.DataFrame) -> pd.DataFrame:
    """Whether experts share the work: task, entropy (of the mean weights, 1 is even), largest (mean
    weight), dead (share of experts with less than a tenth of an even weight), between_roles (mean
    total variation of the roles' mean weights from the mean of all, 0 where the gate does not tell
    roles apart), knock_out (largest mean change of the probability when one expert is taken
    out)."""
    weights = ranker.gate_weights(log.features, log.impressions["role"])
    n_experts = weights.shape[2]
    changes = []
    for expert in range(n_experts):
        without = ranker.score(log.features, log.impressions["role"], without_expert=expert)
        changes.append((without - scores[without.columns]).abs().mean())
    rows = []
    for number, task in enumerate(ranker.config.tasks):
        mean = weights[:, number].mean(axis=0)
        by_role = pd.DataFrame(weights[:, number]).groupby(log.impressions["role"]).mean()
        used = mean[mean > 0]
        rows.append(
            {
                "task": task,
                "entropy": float(-(used * np.log(used)).sum() / np.log(max(2, n_experts))),
                "largest": float(mean.max()),
                "dead": float((mean < 0.1 / n_experts).mean()),
                "between_roles": float(abs(by_role - mean).sum(axis=1).mean() / 2),
                "knock_out": float(max(change[task] for change in changes)),
            }
        )
    return pd.DataFrame(rows)


def calibration_by_role(
    scores: pd.DataFrame, examined: np.ndarray, log: pd.DataFrame, *, maturity_days: float
) -> pd.DataFrame:
    """Predicted against actual, by role and over all: clicks (with examination at the position
    shown), conversions of mature rows, rows; the log loss of both, and of the share alone (what a
    constant gets).

    examined: (positions,) probabilities, or ones where no examination was learned.
    """
    place = (log["position"].to_numpy() - 1).clip(min=0, max=len(examined) - 1)
    seen = examined[place]
    converted, is_mature = judged_outcomes(log, maturity_days)
    rows = []
    for role in ["all", *sorted(log["role"].unique())]:
        part = np.ones(len(log), dtype=bool) if role == "all" else (log["role"] == role).to_numpy()
        row = {"role": role}
        clicks = (scores["click"].to_numpy() * seen)[part]
        row |= _against_actual("clicks", log["clicked"].to_numpy()[part], clicks)
        if "converted" in log and "click and conversion" in scores:
            mature = part & is_mature
            both = (scores["click and conversion"].to_numpy() * seen)[mature]
            row |= _against_actual("conversions", converted[mature], both)
        rows.append({**row, "rows": int(part.sum())})
    return pd.DataFrame(rows)


def _against_actual(name: str, outcome: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    share = outcome.mean() if len(outcome) else np.nan
    return {
        name: calibration(outcome, probability),
        f"{name}, log loss": log_loss(outcome, probability),
        f"{name}, of the share": log_loss(outcome, np.full(len(outcome), share)),
    }


def leaderboard_rows(judged: pd.DataFrame) -> pd.DataFrame:
    """What the ledger reads of a run: system, task, measure, judgments, value."""
    return pd.DataFrame(
        {
            "system": judged["arm"],
            "task": "rank_resumes",
            "measure": judged["measure"],
            "judgments": judged["judgments"],
            "value": judged["value"],
        }
    )


def answer(
    compared: pd.DataFrame, health: pd.DataFrame, judged: pd.DataFrame
) -> tuple[str, dict[str, float]]:
    """The headline and the metrics of a run: what the role is worth, what the gate adds, and how the
    strongest baseline stands."""
    is_true = compared["judgments"] == "truth"
    shown = compared[is_true] if is_true.any() else compared
    contrasts = [
        ("MMoE, role as input", "MMoE, blind", "knowing the recruiter's role"),
        (MAIN_ARM, "MMoE, role as input", "a gate on the role besides"),
    ]
    strong = shown[(shown["first"] == MAIN_ARM) & shown["second"].isin(STRONG_BASELINES)]
    if len(strong):
        strongest = strong.loc[strong["value"].idxmin(), "second"]
        contrasts.append((MAIN_ARM, strongest, f"the mixture in place of {strongest}"))
    headline = []
    for first, second, text in contrasts:
        rows = shown[(shown["first"] == first) & (shown["second"] == second)]
        for row in rows.itertuples():
            headline.append(f"{text} {row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]")
            judged_by = f"{row.measure}, {row.judgments}"
    if headline:
        headline[0] = f"{judged_by[0].upper()}{judged_by[1:]}: {headline[0]}"
    if (health["largest"] > 0.95).any():
        headline.append("the mixture has collapsed to one expert")
    if not headline:
        best = judged[(judged["arm"] == MAIN_ARM) & (judged["measure"] == "AUC, click")].iloc[0]
        headline.append(
            f"AUC of clicks {best['value']:.3f} [{best['low']:.3f}, {best['high']:.3f}] "
            f"({best['judgments']}); arms were not compared, which takes request ids"
        )
    metrics = {}
    for row in judged[judged["arm"] == MAIN_ARM].itertuples():
        key = f"{row.judgments}.{row.measure}".lower().replace(", ", "_").replace(" ", "_")
        metrics[key.replace("@", "_at_")] = row.value
    return f"{'; '.join(headline)}. One log, one training.", metrics
