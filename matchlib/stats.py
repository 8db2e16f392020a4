"""Intervals and tests: of means and shares over clusters, of paired systems, over seeds.

Rows that share a cluster (an occupation, a query) are not independent: every interval here takes the
cluster as the unit, and returns how many there are.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

N_RESAMPLES = 10_000
UPPER_TAIL = 0.975
"""The quantile at which a two-sided interval of 95% ends."""
MAX_SIGNS = 20_000_000
"""Signs drawn at a time: 160 MB as floats."""
ROUNDING = 1e-12
"""Differences that are nearer to each other than this are equal."""


def mean_interval(
    values: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    bounds: tuple[float, float] | None = None,
) -> dict[str, float]:
    """Mean with a 95% t-interval, widened where rows of a cluster are alike.

    values: (n,); clusters: (n,) labels, or None for independent rows; bounds: the interval is cut
    there, e.g. (0, 1) for a share.
    Returns value, low, high (NaN with fewer than two clusters), n (rows), n_clusters. The interval
    is the cluster-robust one: the variance of the summed residuals of clusters, with clusters - 1
    degrees of freedom; without clusters the ordinary t-interval.
    """
    values = np.asarray(values, dtype=float)
    mean = values.mean()
    n = len(values)
    residual_sums = _cluster_sums(values - mean, clusters)
    n_clusters = len(residual_sums)
    low = np.nan
    high = np.nan
    if n_clusters > 1:
        variance_of_sum = (residual_sums**2).sum() * n_clusters / (n_clusters - 1)
        standard_error = np.sqrt(variance_of_sum) / n
        half_width = stats.t.ppf(UPPER_TAIL, n_clusters - 1) * standard_error
        low = mean - half_width
        high = mean + half_width
    if bounds is not None:
        low, high = np.clip([low, high], *bounds).tolist()
    return {"value": mean, "low": low, "high": high, "n": n, "n_clusters": n_clusters}


def share_interval(hits: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """A share with its 95% Wilson interval at the effective sample size of clustered rows.

    hits: (n,) 0 or 1; clusters: (n,) labels of rows that are alike. Returns as `mean_interval`. The
    effective size is what independent rows would need for the same cluster-robust error; where all
    rows agree there is no error to go by, and every cluster counts once. The interval has a width
    at 0 and 1, too.
    Source: Korn and Graubard (Survey Methodology 24, 1998), with Wilson's (1927) interval in place
    of the exact one.
    """
    found = mean_interval(hits, clusters)
    share = found["value"]
    n_clusters = found["n_clusters"]
    standard_error = 0.0
    if n_clusters > 1:
        half_width = found["high"] - share
        standard_error = half_width / stats.t.ppf(UPPER_TAIL, n_clusters - 1)
    n_effective = n_clusters
    if standard_error > 0:
        n_effective = min(share * (1 - share) / standard_error**2, len(hits))
    low, high = _wilson_interval(share, n_effective)
    return found | {"low": low, "high": high}


def _wilson_interval(share: float, n: float) -> tuple[float, float]:
    """Wilson's (1927) 95% interval of a share of n independent rows."""
    z = stats.norm.ppf(UPPER_TAIL)
    shrinkage = 1 + z**2 / n
    middle = (share + z**2 / (2 * n)) / shrinkage
    variance = share * (1 - share) / n + z**2 / (4 * n**2)
    half_width = z * np.sqrt(variance) / shrinkage
    return max(middle - half_width, 0.0), min(middle + half_width, 1.0)


def paired_randomisation(
    first: np.ndarray,
    second: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> float:
    """Two-sided p that the mean difference of paired values arises by swapping systems at random.

    first, second: (n,) values of the same queries; whole clusters swap together. Never 0: the
    order that was observed counts as one of them.
    Source: Fisher's randomisation test as in Smucker, Allan, Carterette (CIKM 2007).
    """
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    cluster_sums = _cluster_sums(differences, clusters)
    n_clusters = len(cluster_sums)
    observed = abs(cluster_sums.sum())
    rng = np.random.default_rng(seed)
    n_as_extreme = 0
    block_size = max(1, min(1_000, MAX_SIGNS // n_clusters))
    for start in range(0, n_resamples, block_size):
        size = min(block_size, n_resamples - start)
        is_swapped = rng.integers(0, 2, size=(size, n_clusters), dtype=np.int8)
        signs = is_swapped * 2 - 1
        resampled = np.abs(signs @ cluster_sums)
        n_as_extreme += int((resampled >= observed - ROUNDING).sum())
    return (n_as_extreme + 1) / (n_resamples + 1)


def _cluster_sums(values: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    if clusters is None:
        return values
    if pd.isna(clusters).any():
        raise ValueError("a query has no cluster; give every query one, or none at all")
    return pd.Series(values).groupby(np.asarray(clusters)).sum().to_numpy()


def auc_parts(
    is_positive: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """(n,) the contribution of each row to the AUC: their mean is the AUC, and their spread by
    cluster is its error.

    The contribution of a positive row is the share of negative rows with a lower score (ties
    as half), of a negative row the share of positive rows with a higher one; each is centred on the
    AUC and weighted by the inverse share of its class. NaN where all rows are positive, or none.
    weights: (n,) how many rows each stands for, e.g. its inverse propensity; None: one.
    Source: the structural components of DeLong et al. 1988, summed by cluster as in Obuchowski 1997
    (Biometrics 53).
    """
    is_positive = np.asarray(is_positive) == 1
    weights = np.ones(len(is_positive)) if weights is None else np.asarray(weights, dtype=float)
    if is_positive.all() or not is_positive.any():
        return np.full(len(is_positive), np.nan)
    below = _share_below(score[~is_positive], weights[~is_positive], score)
    above = 1 - _share_below(score[is_positive], weights[is_positive], score)
    share = np.where(is_positive, below, above)
    auc = np.average(share[is_positive], weights=weights[is_positive])
    of_class = np.where(is_positive, weights[is_positive].sum(), weights[~is_positive].sum())
    return auc + (share - auc) * weights * len(is_positive) / of_class


def _share_below(numbers: np.ndarray, weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n,) weighted share of numbers below each value, equal ones as half."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    total = np.concatenate([[0.0], weights[order].cumsum()])
    below = total[np.searchsorted(ordered, values, "left")]
    not_above = total[np.searchsorted(ordered, values, "right")]
    return (below + not_above) / 2 / total[-1]


def paired_difference(differences: np.ndarray, *, null: float = 0.0) -> dict[str, float]:
    """Mean of one difference a seed, its 95% t-interval, and two-sided p of a true mean of `null`.

    differences: (S,). Returns estimate, low, high, p, seeds; NaN with one seed.
    """
    n_seeds = len(differences)
    mean = float(np.mean(differences))
    if n_seeds < 2:
        return {"estimate": mean, "low": np.nan, "high": np.nan, "p": np.nan, "seeds": n_seeds}
    if np.ptp(differences) < ROUNDING:  # all seeds agree, and a t-test would divide by 0
        p = float(abs(mean - null) < ROUNDING)
        return {"estimate": mean, "low": mean, "high": mean, "p": p, "seeds": n_seeds}
    test = stats.ttest_1samp(differences, null)
    interval = test.confidence_interval(0.95)
    return {
        "estimate": mean,
        "low": float(interval.low),
        "high": float(interval.high),
        "p": float(test.pvalue),
        "seeds": n_seeds,
    }


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment (1979) of (n,) p-values; NaN stays."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    smallest_first = known[np.argsort(p[known], kind="stable")]
    n_not_smaller = np.arange(len(known), 0, -1)
    steps = p[smallest_first] * n_not_smaller
    never_falling = np.maximum.accumulate(steps)
    adjusted[smallest_first] = np.minimum(never_falling, 1)
    return adjusted
