"""Groups of one protected column and of several at once: who they are, what could be found, what was.

One permutation test answers for all groups together: people are permuted within strata, and the
largest standardised gap of any group is compared with the largest of every permutation. Only if it
is beyond them are single groups read, each against the largest gap of those that are left
(step-down max-T), so that the chance of naming any group where groups do not matter stays at 5%,
however many groups there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from matchlib.analysis.bias import (
    FLAG_LEVEL,
    MAX_AUTOMATIC_GROUPS,
    MIN_GROUP_SIZE,
    AuditSettings,
    codes_of,
)
from matchlib.data import privacy
from matchlib.data.missing import NOT_STATED, is_missing
from matchlib.data.schema import DataError

SELECTION, STANDING = "selection rate", "standing"
"""Share of a person's pools in whose top they are, and mean place in them (0 last, 1 first)."""
POWER = 0.8
MAX_GROUPS_OF_COLUMN = 50
"""A column with more values, or with more than half as many values as people, is free text."""
SMALL_SHARE = 0.02
"""Groups below it are listed; 6 RCNY 5-301(d) lets an auditor leave them out."""
AUDITED, SMALL, TOO_FEW = "audited", "under the smallest share, left out", "too few"
NOT_POOLED, UNKNOWN = "in no pool", "not stated, not a group"
FOUND_LOWER, FOUND_HIGHER = "found: lower", "found: higher"
NOT_FINDABLE = "could not have been found"
GROUP_COLUMNS = ["column", "group", "people", "share", "status"]
POWER_COLUMNS = ["column", "group", "people", "compared", "outcome"]
POWER_COLUMNS += ["smallest_gap", "gap_to_find", "findable"]
RESULT_COLUMNS = [*POWER_COLUMNS[:5], "gap", "low", "high", "z", "p", "p_adjusted"]
RESULT_COLUMNS += ["smallest_gap", "only_here", "finding"]
_JOINED = " × "
_MAX_PERMUTED = 5_000_000  # values in memory


@dataclass(frozen=True, kw_only=True)
class GroupSettings:
    """Which groups are audited, and which gaps are worth finding.

    max_columns: columns that an intersection combines at most; min_group_size: fewest people;
    exclude_under: share of the people below which a group is left out (0: none is); relative_gap:
    of the selection rate that chance gives, what is worth finding (a fifth, as in the four-fifths
    rule); standing_gap: the same of the mean place, as a share of the pool.
    """

    max_columns: int = 3
    min_group_size: int = MIN_GROUP_SIZE
    exclude_under: float = 0.0
    relative_gap: float = 0.2
    standing_gap: float = 0.05


@dataclass(frozen=True)
class ProtectedGroups:
    """table: GROUP_COLUMNS, every group; membership: (people, audited groups) bool, by resume_id,
    its columns (column, group)."""

    table: pd.DataFrame
    membership: pd.DataFrame

    @property
    def smallest(self) -> str:
        """The smallest audited group in words."""
        audited = self.table[self.table["status"] == AUDITED]
        if audited.empty:
            return "no group is large enough to be audited"
        row = audited.loc[audited["people"].idxmin()]
        return f"the smallest audited group is {row['column']}: {row['group']}, {row['people']:,} people"


@dataclass(frozen=True)
class PermutedGaps:
    """Every group's gap and what permuted groups give, before anything is read from it.

    observed: (G, K) summed outcome beyond the stratum's mean; spread: (G, K) its exact standard
    deviation under permutation; weight: (G,) what a gap of 1 adds to the sum; drift: (G,) what a
    squared gap adds to the permuted variance; largest: (P, G * K) absolute standardised sums of the
    permutations; groups: (column, group); people: (G,); compared: (G,) share of a group with anyone
    of another group in the stratum; gaps_to_find: outcome -> gap.
    """

    observed: np.ndarray
    spread: np.ndarray
    weight: np.ndarray
    drift: np.ndarray
    largest: np.ndarray
    groups: list[tuple[str, str]]
    people: np.ndarray
    compared: np.ndarray
    gaps_to_find: dict[str, float]

    @property
    def outcomes(self) -> list[str]:
        """The outcomes, in the order of K."""
        return list(self.gaps_to_find)


def describe_columns(resumes: pd.DataFrame, named: Sequence[str]) -> pd.DataFrame:
    """Which columns can be audited: column, groups, not_stated, audited, reason.

    named: columns, or none for all whose names say that they are protected. Not audited are columns
    with one group and columns of free text. Raises DataError if a named column is missing.
    """
    columns = list(named) or privacy.protected_columns(resumes.columns)
    rows = []
    for column in columns:
        if column not in resumes:
            raise DataError(
                f"resumes have no column {column!r} to audit; they have {', '.join(resumes.columns)}"
            )
        missing = is_missing(resumes[column])
        n_groups = resumes[column][~missing].astype(str).str.strip().nunique()
        reason = ""
        if n_groups < 2:
            reason = f"{n_groups} group: an audit compares at least two"
        elif not named and n_groups > MAX_AUTOMATIC_GROUPS:
            reason = f"more than {MAX_AUTOMATIC_GROUPS} groups: name it to have it audited"
        elif n_groups > min(MAX_GROUPS_OF_COLUMN, (~missing).sum() / 2):
            reason = "free text: name bands or groups in a column of its own"
        row = {"column": column, "groups": n_groups, "not_stated": int(missing.sum())}
        rows.append(row | {"audited": not reason, "reason": reason})
    return pd.DataFrame(rows, columns=["column", "groups", "not_stated", "audited", "reason"])


def age_bands(ages: pd.Series, edges: Sequence[int] = (40,)) -> pd.Series:
    """Ages in years as bands, e.g. "under 40" and "40 and over"; "" where an age is not a number.

    edges: rising; the default is the age from which the United States protect workers (ADEA).
    """
    years = pd.to_numeric(ages, errors="coerce")
    names = [f"under {edges[0]}"]
    names += [f"{low} to {high - 1}" for low, high in zip(edges, edges[1:], strict=False)]
    names += [f"{edges[-1]} and over"]
    bands = pd.cut(years, [-np.inf, *edges, np.inf], right=False, labels=names)
    return bands.astype(object).where(bands.notna(), "")


def protected_groups(
    resumes: pd.DataFrame,
    columns: Sequence[str],
    *,
    pooled: pd.Series,
    settings: GroupSettings,
) -> ProtectedGroups:
    """All groups of the columns and of their intersections, counted, and those that are audited.

    resumes: resume_id and the columns; pooled: ids of the people whom the ranking holds. Shares are
    of the pooled people whose values are stated. A person whose value is not stated is in no group
    of that column, is counted, and stays among those whom others are compared with.
    """
    people = resumes.set_index("resume_id")
    is_pooled = people.index.isin(pooled)
    rows = []
    membership = {}
    for n_columns in range(1, min(settings.max_columns, len(columns)) + 1):
        for chosen in combinations(columns, n_columns):
            name = _JOINED.join(chosen)
            groups = _joined_groups(people, chosen)
            known = is_pooled & (groups != NOT_STATED)
            rows += _group_rows(name, groups, is_pooled, settings)
            for group in sorted(groups[known].unique()):
                membership[name, group] = (groups == group)[is_pooled]
    table = pd.DataFrame(rows, columns=GROUP_COLUMNS)
    audited = table[table["status"] == AUDITED]
    kept = {key: membership[key] for key in zip(audited["column"], audited["group"], strict=True)}
    frame = pd.DataFrame(kept, index=people.index[is_pooled])
    return ProtectedGroups(table, frame)


def _joined_groups(people: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Each person's group in all columns; "not stated" where any is."""
    texts = people[columns[0]].astype(str).str.strip()
    missing = is_missing(people[columns[0]])
    for column in columns[1:]:
        texts = texts + _JOINED + people[column].astype(str).str.strip()
        missing |= is_missing(people[column])
    return texts.mask(missing, NOT_STATED)


def _group_rows(
    name: str, groups: pd.Series, is_pooled: np.ndarray, settings: GroupSettings
) -> list[dict[str, object]]:
    """A row of GROUP_COLUMNS for every group of a column or an intersection, the largest first."""
    sizes = groups[is_pooled].value_counts()
    n_known = sizes.drop(NOT_STATED, errors="ignore").sum()
    rows = []
    for group, size in sizes.items():
        share = size / n_known if n_known else np.nan
        status = AUDITED
        if group == NOT_STATED:
            status = UNKNOWN
            share = size / is_pooled.sum()
        elif size < settings.min_group_size:
            status = TOO_FEW
        elif share < settings.exclude_under:
            status = SMALL
        rows.append(dict(zip(GROUP_COLUMNS, (name, group, size, share, status), strict=True)))
    for group in sorted(set(groups) - set(sizes.index) - {NOT_STATED}):
        rows.append(dict(zip(GROUP_COLUMNS, (name, group, 0, 0.0, NOT_POOLED), strict=True)))
    return rows


def summarise_groups(table: pd.DataFrame) -> str:
    """What a table of groups says in one sentence: audited, left out for which reason."""
    counts = table["status"].value_counts()
    under = table[(table["share"] < SMALL_SHARE) & ~table["status"].isin([UNKNOWN, NOT_POOLED])]
    parts = [f"{counts.get(AUDITED, 0)} groups audited"]
    for status in (TOO_FEW, SMALL, NOT_POOLED):
        if status in counts:
            parts.append(f"{counts[status]} {status}")
    parts.append(f"{len(under)} under {SMALL_SHARE:.0%} of the people")
    unknown = table[table["status"] == UNKNOWN]
    for row in unknown[~unknown["column"].str.contains(_JOINED)].itertuples():
        parts.append(f"{row.people:,} people with {row.column} not stated")
    return "; ".join(parts)


def person_outcomes(ranking: pd.DataFrame, cutoff: int) -> pd.DataFrame:
    """What each person got, by candidate_id: SELECTION beyond chance, STANDING, chance (of selection).

    ranking: query_id, candidate_id, rank of whole pools. Means over the pools that hold the person;
    chance is cutoff / pool size.
    """
    sizes = ranking.groupby("query_id")["rank"].transform("size").to_numpy()
    chance = np.minimum(cutoff / sizes, 1)
    rank = ranking["rank"].to_numpy()
    pairs = pd.DataFrame(
        {
            SELECTION: (rank <= cutoff) - chance,
            STANDING: (sizes - rank) / np.maximum(sizes - 1, 1),
            "chance": chance,
        }
    )
    return pairs.groupby(ranking["candidate_id"].to_numpy()).mean()


def permute_groups(
    ranking: pd.DataFrame,
    resumes: pd.DataFrame,
    groups: ProtectedGroups,
    *,
    audit: AuditSettings,
    settings: GroupSettings,
) -> PermutedGaps:
    """The gaps of all groups and of people permuted within strata, for both outcomes.

    Groups without anyone to be compared with are left out; with none left there is nothing to read.
    Raises DataError without permutations.
    """
    outcomes = person_outcomes(ranking, audit.cutoff)
    outcomes = outcomes.loc[groups.membership.index]
    people = resumes.set_index("resume_id", drop=False).loc[outcomes.index]
    strata = codes_of(people, audit.strata)
    gaps_to_find = {
        SELECTION: settings.relative_gap * float(outcomes["chance"].mean()),
        STANDING: settings.standing_gap,
    }
    return permute_outcomes(
        outcomes[list(gaps_to_find)],
        strata,
        groups.membership,
        gaps_to_find=gaps_to_find,
        n_permutations=audit.n_permutations,
        seed=audit.seed,
    )


def permute_outcomes(
    outcomes: pd.DataFrame,
    strata: np.ndarray,
    membership: pd.DataFrame,
    *,
    gaps_to_find: dict[str, float],
    n_permutations: int,
    seed: int,
) -> PermutedGaps:
    """`permute_groups` of any outcomes: (R, K), strata (R,) codes, membership (R, G) bool.

    A group's gap is the mean over strata of the difference between its members and all others of
    the stratum, each stratum weighted by n (1 - n / N), as in a regression with strata as fixed
    effects. Groups without anyone to be compared with are left out.
    """
    if n_permutations < 1:
        raise DataError("n_permutations is 0; the test of all groups needs 100 or more")
    values = outcomes.to_numpy(float)
    values = values - pd.DataFrame(values).groupby(strata).transform("mean").to_numpy()
    is_member = membership.to_numpy(float)
    in_group, stratum_size = _stratum_sizes(is_member, strata)
    contrast = in_group * (stratum_size - in_group) / stratum_size  # (S, G)
    weight = contrast.sum(axis=0)
    kept = weight > 0
    squares = pd.DataFrame(values**2).groupby(strata).sum().to_numpy()  # (S, K)
    per_square = contrast / np.maximum(stratum_size - 1, 1)
    variance = per_square.T @ squares  # (G, K)
    spread = np.sqrt(np.where(variance > 0, variance, np.inf))[kept]
    compared = (in_group * (in_group < stratum_size)).sum(axis=0) / is_member.sum(axis=0)
    members = is_member[:, kept]
    largest = _permuted_gaps(values, strata, members, spread, n_permutations, seed)
    groups = [key for key, is_kept in zip(membership.columns, kept, strict=True) if is_kept]
    return PermutedGaps(
        observed=members.T @ values,
        spread=spread,
        weight=weight[kept],
        drift=(per_square * contrast).sum(axis=0)[kept],
        largest=largest,
        groups=groups,
        people=members.sum(axis=0).astype(int),
        compared=compared[kept],
        gaps_to_find=gaps_to_find,
    )


def _stratum_sizes(is_member: np.ndarray, strata: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S, G) members and (S, 1) people of every stratum."""
    in_group = pd.DataFrame(is_member).groupby(strata).sum().to_numpy()
    sizes = pd.Series(strata).value_counts().sort_index().to_numpy()
    return in_group, sizes[:, None].astype(float)


def _permuted_gaps(
    values: np.ndarray,
    strata: np.ndarray,
    is_member: np.ndarray,
    spread: np.ndarray,
    n_permutations: int,
    seed: int,
) -> np.ndarray:
    """(P, G * K) absolute standardised sums, people's outcomes permuted within strata."""
    rng = np.random.default_rng(seed)
    n_people, n_outcomes = values.shape
    by_stratum = np.argsort(strata, kind="stable")
    ordered = values[by_stratum]
    codes = strata[by_stratum]
    members = is_member[by_stratum].T
    block_size = max(1, _MAX_PERMUTED // (n_people * n_outcomes))
    blocks = []
    for start in range(0, n_permutations, block_size):
        size = min(block_size, n_permutations - start)
        # strata are whole numbers: sorting stratum + random permutes within each
        order = np.argsort(codes + rng.random((size, n_people)), axis=1)
        sums = np.stack([members @ ordered[order, k].T for k in range(n_outcomes)], axis=2)
        standardised = np.abs(sums) / spread[:, None, :]
        blocks.append(standardised.transpose(1, 0, 2).reshape(size, -1))
    return np.concatenate(blocks)


def smallest_gaps(permuted: PermutedGaps, *, power: float = POWER) -> pd.DataFrame:
    """The smallest gap that each group could show, before any result is read: POWER_COLUMNS.

    smallest_gap: a true gap of that size is named in `power` of audits like this one, of all groups
    together at 5%; it rests on the spread of outcomes within strata and on the groups' sizes, not
    on what a group got. inf: no gap could be. findable: smallest_gap <= gap_to_find.
    """
    if not permuted.groups:
        return pd.DataFrame(columns=POWER_COLUMNS)
    critical = _critical_value(permuted)
    quantile = stats.norm.ppf(power)
    rows = []
    for g, (column, group) in enumerate(permuted.groups):
        for k, (outcome, gap_to_find) in enumerate(permuted.gaps_to_find.items()):
            gap = _smallest_gap(
                critical,
                quantile,
                spread=permuted.spread[g, k],
                weight=permuted.weight[g],
                drift=permuted.drift[g],
            )
            values = (column, group, permuted.people[g], permuted.compared[g], outcome)
            rows.append((*values, gap, gap_to_find, gap <= gap_to_find))
    return pd.DataFrame(rows, columns=POWER_COLUMNS)


def _critical_value(permuted: PermutedGaps) -> float:
    """What the largest standardised gap of all groups stays below in 95% of permutations."""
    return float(np.quantile(permuted.largest.max(axis=1), 1 - FLAG_LEVEL))


def _smallest_gap(
    critical: float, quantile: float, *, spread: float, weight: float, drift: float
) -> float:
    """The gap with gap * weight = critical * sqrt(spread^2 + drift gap^2) + quantile * spread: it
    widens the permuted spread itself."""
    a = weight**2 - critical**2 * drift
    if a <= 0 or not np.isfinite(spread):
        return np.inf
    b = -2 * weight * quantile * spread
    c = (quantile**2 - critical**2) * spread**2
    return float((-b + np.sqrt(b**2 - 4 * a * c)) / (2 * a))


def read_gaps(permuted: PermutedGaps) -> pd.DataFrame:
    """The gaps of all groups with their test: RESULT_COLUMNS, the smallest adjusted p first.

    gap: of a group's members less the others of their strata; low, high: 95%, of one gap alone; p:
    of one alone, two-sided; p_adjusted: step-down max-T over all groups and outcomes. only_here:
    named, and no named group of fewer columns that it belongs to explains it. finding: FOUND_LOWER,
    FOUND_HIGHER, that the gap worth finding could not have been found where it is smaller than the
    smallest, else that there is no gap of the smallest size or more, at POWER.
    Source: Westfall and Young 1993, algorithm 4.1; where groups do not matter for anybody the
    smallest adjusted p is that of the one test of all groups.
    """
    if not permuted.groups:
        return pd.DataFrame(columns=RESULT_COLUMNS)
    rows = smallest_gaps(permuted)
    weight = np.repeat(permuted.weight, len(permuted.outcomes))
    spread = permuted.spread.ravel()
    observed = permuted.observed.ravel()
    z = observed / spread
    n_as_far = (permuted.largest >= np.abs(z) - 1e-9).sum(axis=0)
    rows["gap"] = observed / weight
    half_width = stats.norm.ppf(0.975) * np.where(np.isfinite(spread), spread, np.nan) / weight
    rows["low"] = rows["gap"] - half_width
    rows["high"] = rows["gap"] + half_width
    rows["z"] = z
    rows["p"] = (n_as_far + 1) / (len(permuted.largest) + 1)
    rows["p_adjusted"] = step_down(np.abs(z), permuted.largest)
    rows["finding"] = [_finding(row) for row in rows.itertuples()]
    rows["only_here"] = _only_here(rows)
    rows = rows.sort_values(["p_adjusted", "p"], kind="stable", ignore_index=True)
    return rows[RESULT_COLUMNS]


def step_down(observed: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """(m,) adjusted p of observed statistics (m,), large ones against the null; permuted: (P, m).

    Each is compared with the largest of those that are not larger than it.
    """
    order = np.argsort(-observed, kind="stable")
    # the largest of all tests that are not yet named, from the last to the first
    largest = np.maximum.accumulate(permuted[:, order[::-1]], axis=1)[:, ::-1]
    n_as_large = (largest >= observed[order] - 1e-9).sum(axis=0)
    adjusted = np.maximum.accumulate((n_as_large + 1) / (len(permuted) + 1))
    result = np.empty(len(observed))
    result[order] = adjusted
    return result


def _finding(row) -> str:
    if row.p_adjusted < FLAG_LEVEL:
        return FOUND_LOWER if row.gap < 0 else FOUND_HIGHER
    if not row.findable:
        return f"not named; a gap of {row.gap_to_find:.3f} {NOT_FINDABLE}"
    return f"not named; no gap of {row.smallest_gap:.3f} or more, at {POWER:.0%} power"


def _only_here(rows: pd.DataFrame) -> pd.Series:
    """(n,) True for a named group none of whose wider groups is named with the same sign."""
    named = rows[rows["finding"].isin([FOUND_LOWER, FOUND_HIGHER])]
    flags = pd.Series(False, index=rows.index)
    for row in named.itertuples():
        own = _parts(row)
        same = named[(named["outcome"] == row.outcome) & (named["finding"] == row.finding)]
        flags[row.Index] = not any(_parts(other) < own for other in same.itertuples())
    return flags


def _parts(row) -> frozenset[tuple[str, str]]:
    """(column, group) of all columns that an intersection joins."""
    columns = row.column.split(_JOINED)
    return frozenset(zip(columns, row.group.split(_JOINED), strict=False))


def read_wider_strata(permuted: dict[str, PermutedGaps]) -> pd.DataFrame:
    """The columns' own groups in wider strata: column, group, outcome, gap, low, high, p_adjusted,
    finding.

    permuted: column -> gaps within the strata that were widened for it. Each column has strata of
    its own, so p_adjusted of a column is multiplied by the number of columns (Bonferroni).
    """
    parts = []
    for one in permuted.values():
        results = read_gaps(one)
        results["p_adjusted"] = (results["p_adjusted"].astype(float) * len(permuted)).clip(upper=1)
        unnamed = results["p_adjusted"] >= FLAG_LEVEL
        results["finding"] = results["finding"].mask(unnamed, "not named")
        parts.append(results)
    columns = ["column", "group", "outcome", "gap", "low", "high", "p_adjusted", "finding"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)[columns]


def summarise_gaps(results: pd.DataFrame) -> str:
    """What the audit of all groups found, in one sentence, and what it could not have found."""
    if results.empty:
        return "no group of enough people has anyone to be compared with: nothing could have been found"
    smallest_p = results["p_adjusted"].min()
    blind = []
    for outcome, rows in results.groupby("outcome", sort=False):
        n_blind = rows["finding"].str.endswith(NOT_FINDABLE).sum()
        if n_blind:
            blind.append(f"in {outcome} for {n_blind} of {len(rows)} groups")
    blind_part = f"; a gap worth finding {NOT_FINDABLE} {', '.join(blind)}" if blind else ""
    if smallest_p >= FLAG_LEVEL:
        return f"no group is named (one test of all: p {smallest_p:.3f}){blind_part}"
    named = []
    for row in results[results["only_here"]].itertuples():
        named.append(f"{row.group} ({row.column}): {row.outcome} {row.gap:+.3f}")
    return f"named (one test of all: p {smallest_p:.3f}): {'; '.join(named)}{blind_part}"
