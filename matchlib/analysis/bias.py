"""The audit of a ranking: what each group of people gets from it, how sure that is, and what chance
would do.

A figure here describes one ranking on one test. None certifies that a ranking is fair, and no flag
does not mean no
harm: a small group, or a bias that the labels share, goes unseen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from matchlib.data.schema import DataError
from matchlib.retrieval.metrics import qrels_from_labels
from matchlib.stats import holm, mean_interval, paired_randomisation

STRATA = ("occupation", "seniority")
NOT_STATED = "not stated"
SMALLEST = 20
"""Fewest members of a group, or qualified pairs, that a figure may rest on."""
LEVEL = 0.05
COLUMNS = [
    "measure",
    "group",
    "value",
    "low",
    "high",
    "n",
    "n_clusters",
    "expected",
    "chance",
    "p",
    "p_holm",
    "flag",
    "comparable",
    "note",
]
EARNED = ("top", "exposure")
_AT_ONCE = 5_000_000  # permuted labels held in memory


@dataclass(frozen=True)
class _Table:
    """Everything the measures need: parts[name] (Q, R) summed two ways, since every measure is a
    ratio of sums.

    by_group: name -> (Q, G) sums over a group's candidates; by_resume: name -> (R,) sums over
    queries, of top and exposure less what a place drawn at random from the same pool gives, so that
    being in more pools earns nothing;
    given: top and exposure -> (G,) what the pools alone give a group; groups: (R,) codes into
    names; strata: (R,) codes; clusters: (Q,) or None; channels: who says who is qualified.
    """

    by_group: dict[str, np.ndarray]
    by_resume: dict[str, np.ndarray]
    given: dict[str, np.ndarray]
    groups: np.ndarray
    names: list[str]
    strata: np.ndarray
    clusters: np.ndarray | None
    channels: list[str]


@dataclass(frozen=True)
class _Figure:
    """A value, what each query adds to its error (None: there is no value), and how many members it
    rests on."""

    value: float
    influence: np.ndarray | None
    n: int


def audit(
    ranking: pd.DataFrame,
    resumes: pd.DataFrame,
    channels: Mapping[str, pd.DataFrame],
    *,
    column: str,
    k: int,
    strata: Sequence[str] = STRATA,
    clusters: pd.Series | None = None,
    smallest: int = SMALLEST,
    n_permutations: int = 1_000,
    seed: int = 0,
) -> pd.DataFrame:
    """What each group in `column` gets from a ranking of resumes, beside what it would get if
    groups were shuffled.

    ranking: query_id, candidate_id, rank of whole pools; resumes: resume_id, `column` (empty: "not
    stated"), strata;
    channels: name -> pairs (job_id, resume_id, label default 1) of who is qualified; clusters:
    query_id -> cluster.

    Returns measure, group, value, low, high (95%), n, n_clusters, expected, chance, p, p_holm,
    flag, comparable, note.
    Measures: share of
    the pool, of the top k, of the exposure (1 / log2(1 + rank), each query's sums to one), and of
    the qualified; selection rate, and its ratio to the group selected most, beside the four-fifths
    rule (a description: with no bias it flags many a small audit); recall at k among the qualified,
    and its gap to all others (equal opportunity). Rates are of all pairs together, their intervals
    over queries or clusters of them (linearised ratios).
    n: the group's candidates, or qualified pairs; of shares and gaps, which two sides make, the
    smaller side's. Under `smallest` there is no figure.

    p: two-sided, for share of the top and of exposure and for recall gaps, from permuting groups
    within strata, the same permutations for all; `expected` is their mean, in which what pools
    alone give is held fixed; `chance` is their mean distance from it: what |value - expected| is
    where groups do not matter; Holm over all p, a two-group audit's counted once; flag: p_holm <
    .05. Who is alone in his stratum is not permuted: `comparable` is the share of a group that can
    be; if it is 0 there is no test. The null is that given the strata neither the order nor who
    counts as qualified depends on the group: a recall gap against biased labels may show the
    labels' bias, and where pools differ in size, who stands in small ones, of which more reach the
    top. Raises DataError on what cannot be audited.
    """
    table = _tabulate(
        ranking, resumes, channels, column=column, k=k, strata=strata, clusters=clusters
    )
    rng = np.random.default_rng(seed)
    tests = _permute(table, n_permutations, rng)
    rows = []
    for g, group in enumerate(table.names):
        comparable = _comparable(table, g)
        for (kind, channel), figure in _figures(table, g, smallest).items():
            row = {
                "measure": _name(kind, channel, k),
                "group": group,
                **_interval(figure, table.clusters, kind),
                "n": figure.n,
                "comparable": comparable,
                "note": "",
            }
            if figure.n < smallest:
                row |= {"value": np.nan, "low": np.nan, "high": np.nan, "note": "too few"}
            elif kind == "selection ratio" and figure.value < 0.8:
                row["note"] = "under four fifths"
            elif (kind, channel) in tests and not comparable:
                row["note"] = "nobody to compare with"
            elif (kind, channel) in tests:
                row |= _p_value(tests[kind, channel][:, g])
            rows.append(row)
    return _flagged(pd.DataFrame(rows).reindex(columns=COLUMNS))


def audit_slices(
    ranking: pd.DataFrame,
    slices: pd.Series,
    resumes: pd.DataFrame,
    channels: Mapping[str, pd.DataFrame],
    **options,
) -> pd.DataFrame:
    """The audit of every slice of the queries, e.g. of each industry; p-values explore, so there is
    no flag.

    slices: query_id -> slice; options as of `audit`. A slice whose pools hold one group has a note
    and no figure.
    Returns slice and the columns of `audit` without p_holm, flag.
    """
    of_query = ranking["query_id"].map(slices)
    if of_query.isna().any():
        raise DataError(
            f"query {ranking['query_id'][of_query.isna()].iloc[0]!r} is in no slice; give every query one"
        )
    groups = groups_of(resumes, options["column"]).set_axis(resumes["resume_id"])
    parts = []
    for name, part in ranking.groupby(of_query):
        there = groups.reindex(part["candidate_id"]).dropna().unique()
        alone = pd.DataFrame(
            {"measure": "share of the pool", "group": there, "note": "no other group"}
        )
        found = (
            audit(part, resumes, channels, **options)
            if len(there) > 1
            else alone.reindex(columns=COLUMNS)
        )
        parts.append(found.assign(slice=name))
    frame = pd.concat(parts, ignore_index=True).drop(columns=["p_holm", "flag"])
    return frame[["slice", *frame.columns.drop("slice")]]


def audit_by_unit(
    ranking: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    column: str,
    unit: str,
    k: int,
    strata: Sequence[str] = STRATA,
    n_permutations: int = 1_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of the top k beyond what strata give, tested over units that several resumes share,
    such as given names.

    `audit` permutes persons, so its p speaks of these resumes. Where what shows the group is a
    name, persons of one name are one observation, and p here speaks of names. unit: column of the
    resumes; rows without a unit are left out. Returns group, excess (share of the top k less the
    mean over the group's strata), low, high (95%, over units), p (random signs of the units'
    contributions), n (resumes), n_units: one row a group.

    The excess of a group is the sum over people of (in the group - its share of the stratum) *
    (places in the top - their mean in the stratum), over all places; a unit's contribution is its
    part of that sum, so that a group that is common in some strata and rare in others is compared
    within each. Raises DataError if a unit stands in two groups, or a group has fewer than two
    units.
    """
    if unit not in resumes:
        raise DataError(f"resumes have no column {unit!r}; they have {', '.join(resumes.columns)}")
    named = resumes[resumes[unit].fillna("").astype(str).str.strip() != ""]
    ranked = ranking[ranking["candidate_id"].isin(named["resume_id"])]
    people = named.set_index("resume_id", drop=False).loc[ranked["candidate_id"].unique()]
    groups = groups_of(people, column)
    per_unit = groups.groupby(people[unit]).agg(["nunique", "first"])
    if (per_unit["nunique"] > 1).any():
        raise DataError(
            f"{unit} {per_unit.index[per_unit['nunique'] > 1][0]!r} stands in two groups of {column}; "
            f"leave it out"
        )
    sizes = per_unit["first"].value_counts()
    if sizes.min() < 2:
        raise DataError(
            f"{sizes.idxmin()} has {sizes.min()} units of {unit}; a test over units needs two a group"
        )
    kinds = codes_of(people, strata)
    top = ranked["rank"].le(k).groupby(ranked["candidate_id"]).sum().loc[people.index]
    beyond = (top - top.groupby(kinds).transform("mean")) / top.sum()
    rows = []
    for group in sorted(sizes.index):
        member = (groups == group).astype(float)
        within = member - member.groupby(kinds).transform("mean")
        parts = (within * beyond).groupby(people[unit].to_numpy()).sum().to_numpy()
        own = {"group": group, **_sum_over_units(parts, n_permutations, seed)}
        rows.append(own | {"n": int(member.sum()), "n_units": int(sizes[group])})
    return pd.DataFrame(rows)


def _sum_over_units(parts: np.ndarray, n_resamples: int, seed: int) -> dict[str, float]:
    """The sum of independent contributions (U,), its 95% t-interval, and p of a mean of 0 by random
    signs."""
    n_units, total = len(parts), float(parts.sum())
    half = float(stats.t.ppf(0.975, n_units - 1)) * np.sqrt(
        (parts**2).sum() * n_units / (n_units - 1)
    )
    p = paired_randomisation(parts, np.zeros(n_units), seed=seed, n_resamples=n_resamples)
    return {"excess": total, "low": total - half, "high": total + half, "p": p}


def codes_of(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """(n,) int codes of the rows' combined values of some columns; all 0 where no column is named."""
    if absent := [name for name in columns if name not in frame]:
        raise DataError(
            f"resumes have no column {absent[0]!r} to hold fixed; they have {', '.join(frame.columns)}; "
            f"name others in strata, or none"
        )
    return (
        frame.groupby(list(columns), dropna=False).ngroup().to_numpy()
        if len(columns)
        else np.zeros(len(frame), int)
    )


def groups_of(resumes: pd.DataFrame, column: str) -> pd.Series:
    """Each resume's group as text, empty and missing ones "not stated". Raises DataError if there
    is only one."""
    if column not in resumes:
        raise DataError(
            f"resumes have no column {column!r} to audit; they have {', '.join(resumes.columns)}"
        )
    groups = (
        resumes[column].astype(object).where(resumes[column].notna(), "").astype(str).str.strip()
    )
    groups = groups.replace("", NOT_STATED)
    if groups.nunique() < 2:
        raise DataError(
            f"all resumes have {column} {groups.iloc[0]!r}; an audit compares at least two groups"
        )
    return groups


def _tabulate(ranking, resumes, channels, *, column, k, strata, clusters) -> _Table:
    """Each pair's weights, ranked or qualified, summed by query and group, and by resume."""
    q, queries = pd.factorize(ranking["query_id"])
    sizes = np.bincount(q)
    if k >= sizes.min():
        raise DataError(
            f"k is {k}, but query {queries[sizes.argmin()]!r} ranks {sizes.min()} candidates, so that all "
            f"of them are selected; take a smaller k"
        )
    qrels = {
        name: qrels_from_labels(labelled, "rank_resumes") for name, labelled in channels.items()
    }
    qualified = {
        name: pairs[pairs["label"].gt(0) & pairs["query_id"].isin(queries)]
        for name, pairs in qrels.items()
    }
    ids = pd.concat(
        [ranking["candidate_id"], *(pairs["candidate_id"] for pairs in qualified.values())]
    ).unique()
    people = resumes.set_index("resume_id", drop=False).reindex(ids)
    if people["resume_id"].isna().any():
        raise DataError(
            f"candidate {people.index[people['resume_id'].isna()][0]!r} is not among the resumes"
        )
    groups, names = pd.factorize(groups_of(people, column), sort=True)
    keys = {
        name: pd.Index(queries).get_indexer(pairs["query_id"]) * len(ids)
        + people.index.get_indexer(pairs["candidate_id"])
        for name, pairs in qualified.items()
    }
    ranked = q * len(ids) + people.index.get_indexer(ranking["candidate_id"])
    pairs = np.sort(
        pd.unique(np.concatenate([ranked, *keys.values()]))
    )  # qualified and not ranked: missed
    rank = np.full(len(pairs), np.nan)
    rank[np.searchsorted(pairs, ranked)] = ranking["rank"]
    q, r = np.divmod(pairs, len(ids))
    weights = _weights(
        rank, q, {name: pd.Index(own).get_indexer(pairs) >= 0 for name, own in keys.items()}, k
    )
    shape = len(queries), len(names)
    by_group = {
        name: np.bincount(q * shape[1] + groups[r], weight, shape[0] * shape[1]).reshape(shape)
        for name, weight in weights.items()
    }
    of_place = {
        name: np.bincount(q, weights[name]) / np.bincount(q, weights["pool"]) for name in EARNED
    }
    earned = weights | {
        name: weights[name] - of_place[name][q] * weights["pool"] for name in EARNED
    }
    by_resume = {name: np.bincount(r, weight, len(ids)) for name, weight in earned.items()}
    given = {name: of_place[name] @ by_group["pool"] for name in EARNED}
    return _Table(
        by_group,
        by_resume,
        given,
        groups,
        list(names),
        codes_of(people, strata),
        None if clusters is None else clusters.reindex(queries).to_numpy(),
        list(channels),
    )


def _weights(
    rank: np.ndarray, q: np.ndarray, qualified: Mapping[str, np.ndarray], k: int
) -> dict[str, np.ndarray]:
    """(pairs,) of every part: pool, top, exposure, and for each channel the qualified and those of
    them in the top."""
    top = np.nan_to_num(rank, nan=np.inf) <= k
    exposure = np.nan_to_num(1 / np.log2(1 + rank))
    parts = {
        "pool": ~np.isnan(rank),
        "top": top,
        "exposure": exposure / np.bincount(q, exposure)[q],
    }
    for name, chosen in qualified.items():
        parts |= {f"qualified, {name}": chosen, f"hit, {name}": chosen & top}
    return {name: part.astype(float) for name, part in parts.items()}


def _name(kind: str, channel: str, k: int) -> str:
    shown = {"share of the top": f"share of the top {k}", "recall": f"recall at {k}"}.get(
        kind, kind
    )
    return f"{shown}, {channel}" if channel else shown


def _figures(table: _Table, g: int, smallest: int) -> dict[tuple[str, str], _Figure]:
    """All figures of a group, by (measure, channel); the best selection rate is one that rests on
    enough."""
    parts, sizes = table.by_group, np.bincount(table.groups)
    smaller = min(sizes[g], sizes.sum() - sizes[g])
    of_pool = {
        f"share of {name}": _ratio(parts[part][:, g], parts[part].sum(1), smaller)
        for name, part in (("the pool", "pool"), ("the top", "top"), ("exposure", "exposure"))
    }
    rates = [_ratio(parts["top"][:, h], parts["pool"][:, h], n) for h, n in enumerate(sizes)]
    best = max(rates, key=lambda rate: (rate.n >= smallest, np.nan_to_num(rate.value)))
    figures = {(name, ""): figure for name, figure in of_pool.items()}
    figures |= {
        ("selection rate", ""): rates[g],
        ("selection ratio", ""): _quotient(rates[g], best),
    }
    for channel in table.channels:
        qualified, hit = parts[f"qualified, {channel}"], parts[f"hit, {channel}"]
        own = int(qualified[:, g].sum())
        others = int(qualified.sum()) - own
        share = _ratio(qualified[:, g], qualified.sum(1), min(own, others))
        recall = _ratio(hit[:, g], qualified[:, g], own)
        rest = _ratio(hit.sum(1) - hit[:, g], qualified.sum(1) - qualified[:, g], others)
        figures |= {
            ("share of the qualified", channel): share,
            ("recall", channel): recall,
            ("recall gap", channel): _difference(recall, rest),
        }
    return figures


def _ratio(numerator: np.ndarray, denominator: np.ndarray, n: int) -> _Figure:
    """Sum over sum, both (Q,); the error is the mean of numerator - value * denominator over mean
    denominator."""
    if not denominator.sum():
        return _Figure(np.nan, None, 0)
    value = numerator.sum() / denominator.sum()
    return _Figure(value, (numerator - value * denominator) / denominator.mean(), n)


def _difference(one: _Figure, other: _Figure) -> _Figure:
    if one.influence is None or other.influence is None:
        return _Figure(np.nan, None, 0)
    return _Figure(one.value - other.value, one.influence - other.influence, min(one.n, other.n))


def _quotient(one: _Figure, best: _Figure) -> _Figure:
    if one.influence is None or best.influence is None:
        return _Figure(np.nan, None, 0)
    ratio = one.value / best.value
    return _Figure(ratio, (one.influence - ratio * best.influence) / best.value, one.n)


def _interval(figure: _Figure, clusters: np.ndarray | None, kind: str) -> dict[str, float]:
    """value, low, high, cut where the measure ends: shares and rates at 0 and 1, gaps at -1, ratios
    nowhere above."""
    if figure.influence is None:
        return {"value": np.nan, "low": np.nan, "high": np.nan, "n_clusters": 0}
    spread = mean_interval(figure.influence, clusters)
    ends = {"recall gap": (-1, 1), "selection ratio": (0, np.inf)}.get(kind, (0, 1))
    low, high = (float(np.clip(figure.value + spread[side], *ends)) for side in ("low", "high"))
    return {"value": figure.value, "low": low, "high": high, "n_clusters": spread["n_clusters"]}


def _permute(table: _Table, n: int, rng: np.random.Generator) -> dict[tuple[str, str], np.ndarray]:
    """(1 + n, G) values of every tested measure: as it is, then with groups shuffled within strata."""
    weights = np.column_stack(list(table.by_resume.values()))
    by_stratum, block = (
        np.argsort(table.strata, kind="stable"),
        max(1, _AT_ONCE // len(table.strata)),
    )
    sums = [_group_sums(table.groups[None], weights, len(table.names))]
    for start in range(0, n, block):
        size = min(block, n - start)
        # strata are whole numbers, so the sorted keys shuffle each stratum's members and keep
        # strata together
        order = np.argsort(table.strata + rng.random((size, len(table.strata))), axis=1)
        shuffled = np.empty_like(order)
        shuffled[:, by_stratum] = table.groups[order]
        sums.append(_group_sums(shuffled, weights, len(table.names)))
    part = dict(zip(table.by_resume, np.moveaxis(np.concatenate(sums), 2, 0), strict=True))
    values = {
        (f"share of {name}", ""): (table.given[key] + part[key]) / table.given[key].sum()
        for name, key in (("the top", "top"), ("exposure", "exposure"))
    }
    for channel in table.channels:
        hit, qualified = part[f"hit, {channel}"], part[f"qualified, {channel}"]
        others = qualified.sum(1, keepdims=True) - qualified
        # a shuffle may leave a group without anyone qualified: its recall is 0, not 0 / 0
        rest = (hit.sum(1, keepdims=True) - hit) / np.maximum(others, 1)
        values["recall gap", channel] = hit / np.maximum(qualified, 1) - rest
    return values


def _group_sums(groups: np.ndarray, weights: np.ndarray, n_groups: int) -> np.ndarray:
    """(P, G, M) sums of weights (R, M) over the members of each group, for P labellings (P, R)."""
    return np.stack([(groups == g).astype(float) @ weights for g in range(n_groups)], axis=1)


def _p_value(values: np.ndarray) -> dict[str, float]:
    """Two-sided p of the first value among all, by distance from the mean of the shuffled; never 0."""
    observed, shuffled = values[0], values[1:]
    if not len(shuffled):
        return {}
    expected = shuffled.mean()
    hits = (np.abs(shuffled - expected) >= abs(observed - expected) - 1e-12).sum()
    chance = float(np.abs(shuffled - expected).mean())
    return {"expected": float(expected), "chance": chance, "p": (hits + 1) / (len(shuffled) + 1)}


def _comparable(table: _Table, g: int) -> float:
    """Share of a group's members whose stratum holds a member of another group."""
    kinds = pd.Series(table.groups).groupby(table.strata).transform("nunique").to_numpy()
    return float((kinds[table.groups == g] > 1).mean())


def _flagged(frame: pd.DataFrame) -> pd.DataFrame:
    """With p_holm and flag; of two groups the second mirrors the first, so that each measure is
    counted once."""
    test = _counted_once(frame)
    tests = frame.dropna(subset="p").drop_duplicates(test)
    adjusted = tests[test].assign(p_holm=holm(tests["p"].to_numpy(float)))
    frame = frame.drop(columns=["p_holm", "flag"]).merge(adjusted, how="left", on=test)
    return frame.assign(flag=frame["p_holm"] < LEVEL)[COLUMNS]


def count_flags(audited: pd.DataFrame) -> int:
    """How many tests of an audit are flagged; of two groups the second mirrors the first and is not
    counted again."""
    return len(audited[audited["flag"].astype(bool)].drop_duplicates(_counted_once(audited)))


def _counted_once(audited: pd.DataFrame) -> list[str]:
    """The columns that name a test."""
    return ["measure"] if audited["group"].nunique() == 2 else ["measure", "group"]


def summarise(audited: pd.DataFrame) -> str:
    """An audit in one sentence: what is flagged, by how much and for whom, or that nothing is, of
    how many tests and of what share of the people; or that nothing could be tested.

    audited: of `audit`; of flags, those of groups that got less than expected are named where there
    are any.
    """
    tests = audited.dropna(subset="p")
    if tests.empty:
        return "nothing could be tested: groups too small, or nobody to compare them with"
    n = len(tests.drop_duplicates(_counted_once(audited)))
    among = f"of {n} tests, {tests['comparable'].min():.0%} or more of each group compared"
    flagged = tests[tests["flag"].astype(bool)]
    if flagged.empty:
        return f"no flag {among} (smallest adjusted p {tests['p_holm'].min():.2f})"
    less = flagged[flagged["value"] < flagged["expected"]]
    told = [
        f"{row.measure} of {row.group} {row.value:.3f}, {row.expected:.3f} expected"
        for row in (less if len(less) else flagged).itertuples()
    ]
    return f"flagged, {among}: {'; '.join(told)}"
