"""Intervals and tests: of means and shares over clusters, of paired systems, over seeds.

Rows that share a cluster (an occupation, a query) are not independent: every interval here takes the
cluster as the unit, and returns how many there are.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

N_RESAMPLES = 10_000
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
    sums = _cluster_sums(values - mean, clusters)
    n_clusters = len(sums)
    low, high = np.nan, np.nan
    if n_clusters > 1:
        error = np.sqrt((sums**2).sum() * n_clusters / (n_clusters - 1)) / len(values)
        half = stats.t.ppf(0.975, n_clusters - 1) * error
        low, high = mean - half, mean + half
    if bounds is not None:
        low, high = np.clip([low, high], *bounds).tolist()
    return {"value": mean, "low": low, "high": high, "n": len(values), "n_clusters": n_clusters}


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
    share, n_clusters = found["value"], found["n_clusters"]
    error = 0.0
    if n_clusters > 1:
        error = (found["high"] - share) / stats.t.ppf(0.975, n_clusters - 1)
    n = n_clusters
    if error > 0:
        n = min(share * (1 - share) / error**2, len(hits))
    z = stats.norm.ppf(0.975)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return found | {"low": max(middle - half, 0.0), "high": min(middle + half, 1.0)}


def paired_randomisation(
    first: np.ndarray,
    second: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> float:
    """Two-sided p that the mean difference of paired values arises by swapping systems at random.

    first, second: (n,) values of the same queries; whole clusters swap together. Never 0: (hits +
    1) / (n + 1).
    Source: Fisher's randomisation test as in Smucker, Allan, Carterette (CIKM 2007).
    """
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    sums = _cluster_sums(differences, clusters)
    rng = np.random.default_rng(seed)
    observed = abs(sums.sum())
    hits = 0
    block = max(1, min(1_000, 20_000_000 // len(sums)))  # 160 MB of signs as floats
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        signs = rng.integers(0, 2, size=(size, len(sums)), dtype=np.int8) * 2 - 1
        hits += int((np.abs(signs @ sums) >= observed - 1e-12).sum())
    return (hits + 1) / (n_resamples + 1)


def _cluster_sums(values: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    if clusters is None:
        return values
    if pd.isna(clusters).any():
        raise ValueError("a query has no cluster; give every query one, or none at all")
    return pd.Series(values).groupby(np.asarray(clusters)).sum().to_numpy()


def paired_difference(differences: np.ndarray, *, null: float = 0.0) -> dict[str, float]:
    """Mean of one difference a seed, its 95% t-interval, and two-sided p of a true mean of `null`.

    differences: (S,). Returns estimate, low, high, p, seeds; NaN with one seed.
    """
    n = len(differences)
    mean = float(np.mean(differences))
    low, high, p = np.nan, np.nan, np.nan
    if n > 1 and np.ptp(differences) < ROUNDING:
        low, high, p = mean, mean, float(abs(mean - null) < ROUNDING)
    elif n > 1:
        test = stats.ttest_1samp(differences, null)
        interval = test.confidence_interval(0.95)
        low, high, p = float(interval.low), float(interval.high), float(test.pvalue)
    return {"estimate": mean, "low": low, "high": high, "p": p, "seeds": n}


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment (1979) of (n,) p-values; NaN stays."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
