"""The ledger: claims judged over market seeds by one rule.

A seed's value is a system's mean over both tasks and all queries. Over at least LEAST_SEEDS seeds a
paired t-interval of 95% is taken of system - baseline; several baselines must all be beaten. A
claim that something is *above* or *below* is tested against 0, one that something is *not below*
against minus the margin. The margin is in the measure's own unit. All p-values, Holm-adjusted over
the named claims, must be at most .05 for a claim to hold: `_verdict`. "does not" is read from the
interval alone, not adjusted: it says that the effect is below the margin, not that there is none.

Each claim says whether it was planned before its figures (status, since), which null world it has,
and whether it could fail at all: what a setting enforces is listed and not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from matchlib.data.schema import DataError
from matchlib.stats import holm, paired_difference

LEAST_SEEDS = 6
LEVEL = 0.05
NDCG_MARGIN = 0.01
"""The margin of claims about nDCG; those about any other measure name their own."""
KINDS = ("above", "below", "not below")
STATUSES = ("preregistered", "exploratory")
VERDICTS = ["does not", "too few seeds", "undecided", "holds", "a setting"]
"""The worst first."""


def claimed_values(
    leaderboards: Mapping[tuple[str, str], pd.DataFrame],
    claims: Sequence[Mapping[str, Any]],
    *,
    measure: str,
    judgments: str,
) -> pd.DataFrame:
    """`seed_values` of every measure and set of judgments that a claim is about.

    leaderboards: see `seed_values`; measure, judgments: of claims that name none. They come first,
    as `judge` expects.
    """
    wanted = [(measure, judgments)]
    for claim in claims:
        about = (claim.get("measure", measure), claim.get("judgments", judgments))
        if about not in wanted:
            wanted.append(about)
    tables = []
    for claimed_measure, judged_by in wanted:
        tables.append(seed_values(leaderboards, measure=claimed_measure, judgments=judged_by))
    return pd.concat(tables, ignore_index=True)


def seed_values(
    leaderboards: Mapping[tuple[str, str], pd.DataFrame], *, measure: str, judgments: str
) -> pd.DataFrame:
    """One row a world, seed and system: the mean of the tasks that have the measure (both, or
    rank_resumes alone).

    leaderboards: (world, seed) -> leaderboard of `build_leaderboard`; those without the measure
    give no row.
    Returns world, seed, system, measure, judgments, value. Raises DataError if no leaderboard has
    the measure, or if there is none.
    """
    if not leaderboards:
        raise DataError("no leaderboard was given; name stages in leaderboard_stages")
    tables = []
    for (world, seed), board in leaderboards.items():
        part = board[board["measure"].eq(measure) & board["judgments"].eq(judgments)]
        by_task = part.drop_duplicates(["system", "task"])
        values = by_task.groupby("system")["value"].mean().reset_index()
        tables.append(values.assign(world=world, seed=seed))
    found = pd.concat(tables, ignore_index=True)
    if found.empty:
        known = sorted({name for board in leaderboards.values() for name in board["measure"]})
        raise DataError(
            f"no leaderboard has {measure} against {judgments}; they have {', '.join(known)}"
        )
    found = found.assign(measure=measure, judgments=judgments)
    return found[["world", "seed", "system", "measure", "judgments", "value"]]


def judge(claims: Sequence[Mapping[str, Any]], values: pd.DataFrame) -> pd.DataFrame:
    """Every claim against every of its baselines, by the rule above.

    claims: dicts with
      claim         its sentence
      world, system whose value is claimed
      baselines     systems it is compared with, or `against`, a number
      kind          "above" (default), "below" or "not below"
      baseline_world  where the baselines stand in another world of the same seeds
      measure, judgments  where they are not those of the first row of values
      margin        smallest difference that matters, in the measure's unit; .01 where the measure
                    is nDCG
      status, since  "preregistered" or "exploratory", and the date from which the claim has stood
      null_world    the world in which the effect must vanish, or "none"
      could_fail    false where a setting enforces it (default true): listed with the verdict "a
                    setting", not tested
    Returns claim, world, system, baseline, kind, margin, estimate, low, high, p, p_holm, seeds,
    verdict (holds, does not, undecided, too few seeds, a setting), status, since, null_world.
    Raises DataError if a claim lacks one of these or names what was not run, or not for the same
    seeds.
    """
    rows = []
    for claim in claims:
        facts = _facts(claim, values)
        own = _of_seeds(values, claim, claim["world"], claim["system"])
        _check_null_world(claim, values)
        null = -facts["margin"] if facts["kind"] == "not below" else 0.0
        for name, baseline in _baselines(claim, values, own).items():
            gaps = own - baseline
            if gaps.isna().any():
                raise DataError(
                    f"claim {claim['claim']!r}: seed {gaps.index[gaps.isna()][0]!r} was run for only one "
                    f"of {claim['system']!r} and {name!r}; run it for both"
                )
            rows.append(facts | {"baseline": name, **paired_difference(gaps.to_numpy(), null=null)})
    judged = pd.DataFrame(rows)
    tested = judged["could_fail"].to_numpy(bool)
    judged["p_holm"] = holm(judged["p"].where(tested).to_numpy(float))
    judged["verdict"] = [_verdict(row) for row in judged.itertuples()]
    return judged[
        [
            "claim",
            "world",
            "system",
            "baseline",
            "kind",
            "margin",
            "estimate",
            "low",
            "high",
            "p",
            "p_holm",
            "seeds",
            "verdict",
            "status",
            "since",
            "null_world",
        ]
    ]


def _facts(claim: Mapping[str, Any], values: pd.DataFrame) -> dict[str, Any]:
    """What a claim says of itself, checked."""
    name, kind = claim["claim"], claim.get("kind", "above")
    if kind not in KINDS:
        raise DataError(f"claim {name!r}: kind {kind!r} is not one of {', '.join(KINDS)}")
    if claim.get("status") not in STATUSES or not claim.get("since"):
        raise DataError(
            f"claim {name!r} does not say whether it was planned before its figures; give it a status "
            f"({' or '.join(STATUSES)}) and since, a date"
        )
    if not claim.get("null_world"):
        raise DataError(
            f"claim {name!r} names no null_world; name the world in which its effect must vanish, or none"
        )
    if ("baselines" in claim) == ("against" in claim):
        raise DataError(
            f"claim {name!r} needs either baselines (a list of systems) or against (a number)"
        )
    measure = claim.get("measure", values["measure"].iloc[0])
    margin = claim.get("margin", NDCG_MARGIN if "nDCG" in measure else None)
    if not margin or margin < 0:
        raise DataError(
            f"claim {name!r} has no margin for {measure!r}; give it one above 0, in that measure's unit"
        )
    return {
        "claim": name,
        "world": claim["world"],
        "system": claim["system"],
        "kind": kind,
        "margin": float(margin),
        "could_fail": bool(claim.get("could_fail", True)),
        "status": claim["status"],
        "since": str(claim["since"]),
        "null_world": claim["null_world"],
    }


def _baselines(
    claim: Mapping[str, Any], values: pd.DataFrame, own: pd.Series
) -> dict[str, pd.Series]:
    """What a claim is compared with: display name -> seed -> value."""
    if "against" in claim:
        return {f"{claim['against']:g}": pd.Series(float(claim["against"]), index=own.index)}
    world = claim.get("baseline_world", claim["world"])
    where = "" if world == claim["world"] else f", {world}"
    return {
        f"{system}{where}": _of_seeds(values, claim, world, system) for system in claim["baselines"]
    }


def _check_null_world(claim: Mapping[str, Any], values: pd.DataFrame) -> None:
    """Raise DataError if the contrast that is claimed was not run in the null world that the claim
    names."""
    if claim["null_world"] == "none":
        return
    if "baseline_world" in claim:
        raise DataError(
            f"claim {claim['claim']!r} compares two worlds, so that {claim['null_world']!r} cannot be its "
            f"null_world; write none"
        )
    for system in [claim["system"], *claim.get("baselines", [])]:
        _of_seeds(values, claim, claim["null_world"], system)


def _of_seeds(values: pd.DataFrame, claim: Mapping[str, Any], world: str, system: str) -> pd.Series:
    """seed -> value of a system in a world, by the claim's measure and judgments."""
    chosen = values["world"] == world
    for key in ("measure", "judgments"):
        chosen &= values[key] == claim.get(key, values[key].iloc[0])
    own = values[chosen & values["system"].eq(system)]
    if own.empty:
        there = ", ".join(dict.fromkeys(values.loc[chosen, "system"])) or "nothing"
        raise DataError(
            f"claim {claim['claim']!r}: {system!r} was not run in the world {world!r}, which has {there}"
        )
    return own.set_index("seed")["value"]


def worst_verdicts(judged: pd.DataFrame) -> pd.DataFrame:
    """One verdict a claim: the worst that it got against its baselines."""
    ranked = judged.assign(badness=judged["verdict"].map(VERDICTS.index))
    worst = ranked.sort_values("badness", kind="stable").drop_duplicates("claim")
    in_order = worst.sort_index()
    return in_order[["claim", "world", "verdict"]].reset_index(drop=True)


def _verdict(row) -> str:
    """The rule, stated before looking."""
    if not row.could_fail:
        return "a setting"
    if row.seeds < LEAST_SEEDS:
        return "too few seeds"
    significant = row.p_holm <= LEVEL
    if row.kind == "not below":
        if row.low > -row.margin and significant:
            return "holds"
        return "does not" if row.high < -row.margin else "undecided"
    lead, nearest, furthest = row.estimate, row.low, row.high
    if row.kind == "below":
        lead, nearest, furthest = -row.estimate, -row.high, -row.low
    if nearest > 0 and lead >= row.margin and significant:
        return "holds"
    return "does not" if furthest < row.margin else "undecided"
