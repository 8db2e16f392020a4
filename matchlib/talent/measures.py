"""Measures of a ranker on a log, and against the truth of a simulated one.

Measures by request skip requests in which nothing can be ranked, all clicked or none, and say how
many those are.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from matchlib.stats import auc_parts, mean_interval
from matchlib.talent.logs import judged_outcomes

MIN_OF_A_CLASS = 30
"""Rows of each class below which an AUC is not shown."""


def clusters_of(log: pd.DataFrame) -> np.ndarray:
    """(rows,) what makes rows alike: the column cluster (e.g. the occupation of the job) where there
    is one, else the job, else the request, else nothing."""
    for column in ("cluster", "job_id", "request_id"):
        if column in log:
            return log[column].to_numpy()
    return np.arange(len(log))


def interval_by_request(
    by_request: pd.Series,
    log: pd.DataFrame,
    *,
    bounds: tuple[float, float] | None = None,
) -> dict[str, float]:
    """Mean over requests with an interval over the clusters that they belong to.

    by_request: request id -> value; log: the rows with request_id, see `clusters_of`.
    """
    of_request = pd.Series(clusters_of(log), index=log["request_id"].to_numpy())
    of_request = of_request[~of_request.index.duplicated()]
    values = by_request.dropna()
    return mean_interval(values.to_numpy(), of_request[values.index].to_numpy(), bounds=bounds)


def auc(outcome: np.ndarray, score: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """AUC over all rows, with an interval by clusters (see `stats.auc_parts`); as `mean_interval`."""
    return mean_interval(auc_parts(outcome, score), clusters, bounds=(0, 1))


def grouped_auc(
    outcome: np.ndarray,
    score: np.ndarray,
    groups: np.ndarray,
    clusters: np.ndarray | None = None,
) -> dict[str, float]:
    """GAUC: the mean of the AUC of each group, weighted by its rows, as in Zhu et al. (KDD 2017).

    clusters: (rows,) what makes groups alike, one value in a group; None: nothing. Groups with one
    class only have no AUC; they are left out and counted. Returns value, low and high (of the mean
    over groups, each counted once), n_clusters, n_groups, n_dropped; NaN where no group is left.
    """
    by_group = request_aucs(outcome, score, groups)
    sizes = pd.Series(groups).value_counts()
    interval = {"value": np.nan, "low": np.nan, "high": np.nan, "n_clusters": 0}
    if len(by_group):
        own = groups if clusters is None else clusters
        of_group = pd.Series(own, index=groups)
        of_group = of_group[~of_group.index.duplicated()][by_group.index].to_numpy()
        interval = mean_interval(by_group.to_numpy(), of_group, bounds=(0, 1))
        interval["value"] = float(np.average(by_group, weights=sizes[by_group.index]))
    return {**interval, "n_groups": len(by_group), "n_dropped": len(sizes) - len(by_group)}


def request_aucs(outcome: np.ndarray, score: np.ndarray, groups: np.ndarray) -> pd.Series:
    """AUC of each group that has both classes, ties as half."""
    frame = pd.DataFrame({"outcome": outcome, "score": score, "group": groups})
    frame["positive_rank"] = frame.groupby("group")["score"].rank() * frame["outcome"]
    sums = frame.groupby("group").agg(
        n=("outcome", "size"), positives=("outcome", "sum"), ranks=("positive_rank", "sum")
    )
    part = sums[(sums["positives"] > 0) & (sums["positives"] < sums["n"])]
    above = part["ranks"] - part["positives"] * (part["positives"] + 1) / 2
    return above / (part["positives"] * (part["n"] - part["positives"]))


def rank_correlations(truth: np.ndarray, score: np.ndarray, requests: np.ndarray) -> pd.Series:
    """Spearman's correlation of score and truth in each request; requests of one resume, or in
    which one of the two is constant, are left out."""
    frame = pd.DataFrame({"truth": truth, "score": score, "request": requests})
    by_request = frame.groupby("request")
    ranks = by_request[["truth", "score"]].rank()
    ranks["request"] = requests
    centred = ranks[["truth", "score"]] - ranks.groupby("request")[["truth", "score"]].transform(
        "mean"
    )
    products = pd.DataFrame(
        {
            "request": requests,
            "both": centred["truth"] * centred["score"],
            "truth": centred["truth"] ** 2,
            "score": centred["score"] ** 2,
        }
    )
    sums = products.groupby("request").sum()
    size = np.sqrt(sums["truth"] * sums["score"])
    return (sums["both"] / size.where(size > 0)).dropna()


def ndcg_on_truth(
    gain: np.ndarray, score: np.ndarray, requests: np.ndarray, cutoff: int = 10
) -> pd.Series:
    """nDCG of each request with the true probabilities as gains; ties in the score share their
    gain."""
    frame = pd.DataFrame({"gain": gain, "score": score, "request": requests})
    tied = frame.groupby(["request", "score"])["gain"].transform("mean")
    frame["gain_of_tie"] = tied
    found = {}
    for request, rows in frame.groupby("request"):
        discount = 1 / np.log2(np.arange(2, 2 + min(cutoff, len(rows))))
        order = np.argsort(-rows["score"].to_numpy(), kind="stable")[:cutoff]
        best = np.sort(rows["gain"].to_numpy())[::-1][:cutoff]
        ideal = (best * discount).sum()
        if ideal > 0:
            found[request] = (rows["gain_of_tie"].to_numpy()[order] * discount).sum() / ideal
    return pd.Series(found)


def log_loss(outcome: np.ndarray, probability: np.ndarray) -> float:
    """Mean of -log of the probability given to what happened; NaN without rows."""
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    losses = -np.where(outcome == 1, np.log(p), np.log(1 - p))
    return float(losses.mean()) if len(losses) else np.nan


def calibration(outcome: np.ndarray, probability: np.ndarray) -> float:
    """Predicted against actual: the ratio of the sums; 1 is calibrated in the large."""
    return float(probability.sum() / outcome.sum()) if outcome.sum() else np.nan


def relative_auc(value: float, base: float) -> dict[str, float]:
    """Both readings of "relative AUC": of the AUC itself, and of what is above chance."""
    return {
        "relative": value / base - 1,
        "relative above chance": (value - 0.5) / (base - 0.5) - 1,
    }


def judge_scores(
    scores: dict[str, pd.DataFrame],
    log: pd.DataFrame,
    truth: pd.DataFrame | None,
    *,
    maturity_days: float,
) -> pd.DataFrame:
    """Every arm by every measure: arm, judgments, measure, value, low, high, n, n_clusters.

    scores: arm -> click, conversion, "click and conversion", row for row with log. judgments:
    random order (the slice in which the production ranker chose no position), logged order, the same
    by inverse propensity where the log knows it (each row stands for 1 / propensity), truth.
    Rows that an arm does not score (NaN) are left out; conversions are judged on mature rows, a
    measure with fewer than MIN_OF_A_CLASS rows of a class not at all. Intervals are over clusters
    (see `clusters_of`), of GAUC by recruiter over recruiters.
    """
    rows = []
    is_random = (log["ordering"] == "random").to_numpy()
    parts = {"logged order": ~is_random, "random order": is_random}
    outcomes = np.stack(judged_outcomes(log, maturity_days))
    for arm, score in scores.items():
        found: list[tuple[str, str, dict]] = []
        is_scored = score["click"].notna().to_numpy()
        for judgments, rows_of in parts.items():
            part = rows_of & is_scored
            if part.any():
                found += _logged_measures(score[part], log[part], judgments, outcomes[:, part])
                if "propensity" in log:
                    found.append(_weighted_auc(score[part], log[part], judgments))
        if truth is not None:
            found += _true_measures(score[is_scored], truth[is_scored], log[is_scored])
        rows += [
            {"arm": arm, "judgments": judgments, "measure": measure, **interval}
            for judgments, measure, interval in found
        ]
    return pd.DataFrame(rows)


def _logged_measures(
    score: pd.DataFrame,
    log: pd.DataFrame,
    judgments: str,
    outcomes: np.ndarray,
) -> list[tuple[str, str, dict]]:
    clicked = log["clicked"].to_numpy()
    click = score["click"].to_numpy()
    clusters = clusters_of(log)
    found = [(judgments, "AUC, click", auc(clicked, click, clusters))]
    for name, column, alike in (
        ("request", "request_id", clusters),
        ("recruiter", "recruiter_id", None),
    ):
        if column in log:
            value = grouped_auc(clicked, click, log[column].to_numpy(), alike)
            interval = {key: value[key] for key in ("value", "low", "high", "n_clusters")}
            found.append((judgments, f"GAUC by {name}, click", interval))
    if "converted" in log:
        converted, is_mature = outcomes[0], outcomes[1] == 1
        for measure, column, part in (
            ("AUC, click and conversion", "click and conversion", is_mature),
            ("AUC, conversion after a click", "conversion", is_mature & (clicked == 1)),
        ):
            own = converted[part]
            if min(own.sum(), len(own) - own.sum()) >= MIN_OF_A_CLASS:
                values = score[column].to_numpy()[part]
                found.append((judgments, measure, auc(own, values, clusters[part])))
    return found


def _weighted_auc(score: pd.DataFrame, log: pd.DataFrame, judgments: str) -> tuple[str, str, dict]:
    """AUC of clicks in which a row that the logging policy rarely showed counts for more."""
    weights = 1 / log["propensity"].to_numpy()
    parts = auc_parts(log["clicked"].to_numpy(), score["click"].to_numpy(), weights)
    interval = mean_interval(parts, clusters_of(log), bounds=(0, 1))
    return f"{judgments}, by inverse propensity", "AUC, click", interval


def _true_measures(
    score: pd.DataFrame, truth: pd.DataFrame, log: pd.DataFrame
) -> list[tuple[str, str, dict]]:
    requests = log["request_id"].to_numpy()
    targets = {
        "click": truth["click_utility"],
        "conversion": truth["conversion_utility"],
        "click and conversion": truth["attractive"] * truth["converts_p"],
    }
    found = []
    for name, target in targets.items():
        values = score[name].to_numpy()
        if np.isnan(values).all():
            continue
        by_request = rank_correlations(target.to_numpy(), values, requests)
        interval = interval_by_request(by_request, log, bounds=(-1, 1))
        found.append(("truth", f"rank correlation, {name}", interval))
    gain = targets["click and conversion"].to_numpy()
    both = score["click and conversion"].to_numpy()
    if not np.isnan(both).all():
        by_request = ndcg_on_truth(gain, both, requests)
        found.append(("truth", "nDCG@10", interval_by_request(by_request, log, bounds=(0, 1))))
    return found
