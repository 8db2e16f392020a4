"""The ledger: claims judged over market seeds by one rule, stated before looking.

A seed's value is a system's mean over both tasks and all queries. Over at least LEAST_SEEDS seeds a paired t-interval
of 95% is taken of system - baseline; several baselines must all be beaten. p-values are Holm-adjusted over the named
claims. "above" holds if the lower bound is over 0, the estimate at least MARGIN and the adjusted p at most .05; it does
not if the upper bound is below MARGIN; "not below" does the same around -MARGIN; all else is undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from matchlib.data.schema import DataError

LEAST_SEEDS = 6
MARGIN = 0.01
KINDS = ("above", "not below")


def seed_values(boards: Mapping[tuple[str, str], pd.DataFrame], *, measure: str, channel: str) -> pd.DataFrame:
    """One row a world, seed and system: the mean of the tasks that have the measure (both, or rank_resumes alone).

    boards: (world, seed) -> leaderboard of `build_leaderboard`; those without the measure give no row.
    Returns world, seed, system, measure, channel, value. Raises DataError if no board has the measure.
    """
    rows = []
    for (world, seed), board in boards.items():
        part = board[board["measure"].eq(measure) & board["channel"].eq(channel)]
        values = part.drop_duplicates(["system", "task"]).groupby("system")["value"].mean()
        rows += [(world, seed, system, measure, channel, value) for system, value in values.items()]
    if not rows:
        known = sorted({name for board in boards.values() for name in board["measure"]})
        raise DataError(f"no board has {measure} against {channel}; they have {', '.join(known)}")
    return pd.DataFrame(rows, columns=["world", "seed", "system", "measure", "channel", "value"])


def paired_difference(differences: np.ndarray) -> dict[str, float]:
    """Mean of one difference a seed, its 95% t-interval and two-sided p; NaN bounds with one seed."""
    n, mean = len(differences), float(np.mean(differences))
    if n < 2:
        return {"estimate": mean, "low": np.nan, "high": np.nan, "p": np.nan, "seeds": n}
    error = float(np.std(differences, ddof=1) / np.sqrt(n))
    half = float(stats.t.ppf(0.975, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return {"estimate": mean, "low": mean - half, "high": mean + half, "p": p, "seeds": n}


def judge(claims: Sequence[Mapping[str, Any]], values: pd.DataFrame) -> pd.DataFrame:
    """Every claim against every of its baselines, by the rule above.

    claims: claim (its sentence), world, system, baselines, kind ("above", by default, or "not below"), baseline_world
    where the baselines stand in another world of the same seeds, measure and channel where values hold several.
    Returns claim, world, system, baseline, kind, estimate, low, high, p, p_holm, seeds, verdict (holds, does not,
    undecided, too few seeds). Raises DataError if a claim names what was not run, or not for the same seeds.
    """
    rows = []
    for claim in claims:
        if claim.get("kind", "above") not in KINDS:
            raise DataError(f"claim {claim['claim']!r}: kind {claim['kind']!r} is not one of {', '.join(KINDS)}")
        other_world = claim.get("baseline_world", claim["world"])
        for baseline in claim["baselines"]:
            gaps = (_of_seeds(values, claim, claim["world"], claim["system"])
                    - _of_seeds(values, claim, other_world, baseline))
            if gaps.isna().any():
                raise DataError(f"claim {claim['claim']!r}: seed {gaps.index[gaps.isna()][0]!r} was run for only one "
                                f"of {claim['system']!r} and {baseline!r}; run it for both")
            told = baseline if other_world == claim["world"] else f"{baseline}, {other_world}"
            rows.append({"claim": claim["claim"], "world": claim["world"], "system": claim["system"], "baseline": told,
                         "kind": claim.get("kind", "above"), **paired_difference(gaps.to_numpy())})
    judged = pd.DataFrame(rows)
    judged["p_holm"] = holm(judged["p"].to_numpy())
    judged["verdict"] = [_verdict(row) for row in judged.itertuples()]
    return judged


def _of_seeds(values: pd.DataFrame, claim: Mapping[str, Any], world: str, system: str) -> pd.Series:
    """seed -> value of a system in a world, by the claim's measure and channel."""
    chosen = values["world"] == world
    for key in ("measure", "channel"):
        chosen &= values[key] == claim.get(key, values[key].iloc[0])
    own = values[chosen & values["system"].eq(system)]
    if own.empty:
        there = ", ".join(dict.fromkeys(values.loc[chosen, "system"])) or "nothing"
        raise DataError(f"claim {claim['claim']!r}: {system!r} was not run in the world {world!r}, which has {there}")
    return own.set_index("seed")["value"]


def verdicts(judged: pd.DataFrame) -> pd.DataFrame:
    """One verdict a claim: the worst that it got against its baselines."""
    order = ["does not", "too few seeds", "undecided", "holds"]
    worst = judged.assign(order=judged["verdict"].map(order.index)).sort_values("order", kind="stable")
    return worst.drop_duplicates("claim").sort_index()[["claim", "world", "verdict"]].reset_index(drop=True)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment (1979); NaN stays."""
    adjusted, known = np.full(len(p), np.nan), np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def _verdict(row) -> str:
    if row.seeds < LEAST_SEEDS:
        return "too few seeds"
    if row.kind == "not below":
        return "holds" if row.low > -MARGIN else "does not" if row.high < -MARGIN else "undecided"
    if row.low > 0 and row.estimate >= MARGIN and row.p_holm <= 0.05:
        return "holds"
    return "does not" if row.high < MARGIN else "undecided"
