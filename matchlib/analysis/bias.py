"""The audit of a ranking: what each group of people gets from it, with intervals and tests.

A figure here describes one ranking on one test. None certifies that a ranking is fair, and no flag
does not mean no harm: a small group, or a bias that the labels share, goes unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from matchlib.data import privacy
from matchlib.data.missing import NOT_STATED, is_missing
from matchlib.data.schema import DataError
from matchlib.retrieval.metrics import qrels_from_labels
from matchlib.stats import holm, mean_interval, paired_randomisation

DEFAULT_STRATA = ("occupation", "seniority")
MIN_GROUP_SIZE = 20
"""Fewest members of a group, or qualified pairs, for which a figure is given."""
MAX_AUTOMATIC_GROUPS = 10
"""Groups that a protected column may have to be audited without being named."""
FLAG_LEVEL = 0.05
FOUR_FIFTHS = 0.8
AUDIT_COLUMNS = [
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
_RANK_PARTS = ("top", "exposure")
_MAX_LABELS_IN_MEMORY = 5_000_000  # permuted labels


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """How to audit a ranking.

    cutoff: ranks that count as the top; strata: columns of the resumes within which groups are
    permuted; clusters: query_id -> what makes queries alike; min_group_size: fewest members of a
    group, or qualified pairs, for which a figure is given; n_permutations: of groups; seed: of the
    permutations.
    """

    cutoff: int
    strata: Sequence[str] = DEFAULT_STRATA
    clusters: pd.Series | None = None
    min_group_size: int = MIN_GROUP_SIZE
    n_permutations: int = 1_000
    seed: int = 0


@dataclass(frozen=True)
class _Measure:
    """A measure; judgment_set: the one that it is taken against, "" if against none."""

    name: str
    judgment_set: str = ""

    def label(self, cutoff: int) -> str:
        name = self.name
        if name == "share of the top":
            name = f"share of the top {cutoff}"
        elif name == "recall":
            name = f"recall at {cutoff}"
        return f"{name}, {self.judgment_set}" if self.judgment_set else name

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest possible value."""
        if self.name == "recall gap":
            return -1, 1
        if self.name == "selection ratio":
            return 0, np.inf
        return 0, 1


@dataclass(frozen=True)
class _Estimate:
    """value: NaN if there is none; influence: (Q,) what each query adds to its error, None if there
    is no value; n: members that it rests on."""

    value: float
    influence: np.ndarray | None
    n: int


_NO_ESTIMATE = _Estimate(np.nan, None, 0)
_NO_FIGURE = {"value": np.nan, "low": np.nan, "high": np.nan}


@dataclass(frozen=True)
class _Totals:
    """Sums from which all measures are computed, since every measure is a ratio of sums.

    A part is a weight of each pair: "pool", "top", "exposure", and for each judgment set
    "qualified, <set>" and "hit, <set>" (qualified and in the top).

    by_group: part -> (Q, G) sums over a group's candidates.
    by_resume: part -> (R,) sums over queries; of top and exposure less what a random rank in the
    same pool would give, so that being in more pools adds nothing.
    from_pools: top and exposure -> (G,) what the pools alone would give a group.
    groups: (R,) codes into group_names; strata: (R,) codes; clusters: (Q,) or None.
    """

    by_group: dict[str, np.ndarray]
    by_resume: dict[str, np.ndarray]
    from_pools: dict[str, np.ndarray]
    groups: np.ndarray
    group_names: list[str]
    strata: np.ndarray
    clusters: np.ndarray | None
    judgment_sets: list[str]


def columns_to_audit(resumes: pd.DataFrame, protected_columns: Sequence[str]) -> list[str]:
    """The named columns; if none is named, those whose names say that they are protected and that
    have 2 to MAX_AUTOMATIC_GROUPS groups."""
    if protected_columns:
        return list(protected_columns)
    columns = []
    for column in privacy.protected_columns(resumes.columns):
        groups = resumes[column].mask(is_missing(resumes[column]), NOT_STATED)
        if 2 <= groups.nunique() <= MAX_AUTOMATIC_GROUPS:
            columns.append(column)
    return columns


def audit_systems(
    rankings: Mapping[str, pd.DataFrame],
    resumes: pd.DataFrame,
    judgment_sets: Mapping[str, pd.DataFrame],
    *,
    columns: Sequence[str],
    settings: AuditSettings,
) -> pd.DataFrame:
    """`audit_ranking` of every system for every protected column: AUDIT_COLUMNS, column, system.

    rankings: system -> ranking.
    """
    audits = []
    for column in columns:
        for system, ranking in rankings.items():
            audit = audit_ranking(ranking, resumes, judgment_sets, column=column, settings=settings)
            audits.append(audit.assign(column=column, system=system))
    if not audits:
        return pd.DataFrame(columns=["column", "system", *AUDIT_COLUMNS])
    return pd.concat(audits, ignore_index=True)


def audit_ranking(
    ranking: pd.DataFrame,
    resumes: pd.DataFrame,
    judgment_sets: Mapping[str, pd.DataFrame],
    *,
    column: str,
    settings: AuditSettings,
) -> pd.DataFrame:
    """What each group in `column` gets from a ranking of resumes, and what it would get by chance.

    ranking: query_id, candidate_id, rank of whole pools; resumes: resume_id, `column` (empty: "not
    stated"), strata; judgment_sets: name -> pairs (job_id, resume_id, label default 1) of who is
    qualified. Returns AUDIT_COLUMNS.

    Measures: share of the pool, of the top, of the exposure (1 / log2(1 + rank), each query's sums
    to one), and of the qualified; selection rate, and its ratio to that of the group selected most,
    with the four-fifths rule (a description: with no bias it flags many a small audit); recall
    among the qualified, and its gap to all others (equal opportunity). Rates are of all pairs
    together, their intervals (95%) over queries or clusters of them (linearised ratios).
    n: the group's candidates, or qualified pairs; of shares and gaps, which involve two sides, the
    smaller side's. Below min_group_size there is no figure.

    Tested are share of the top, share of exposure and recall gap. p: two-sided, from permuting
    groups within strata, the same permutations for all measures; expected: their mean, in which
    what the pools alone give is held fixed; chance: their mean distance from it, which is the size
    of |value - expected| where groups do not matter; p_holm: Holm over all p, those of two groups,
    which mirror each other, counted once; flag: p_holm < .05. People whose stratum holds no other
    group are not permuted: comparable is the share of a group that can be; if it is 0 there is no
    test.

    The null hypothesis is that given the strata neither the order nor who counts as qualified
    depends on the group. A recall gap against biased labels may show the labels' bias. Where pools
    differ in size it may show which people stand in small pools, of which more reach the top.
    Raises DataError on what cannot be audited.
    """
    totals = _compute_totals(ranking, resumes, judgment_sets, column=column, settings=settings)
    permuted = _permute_groups(totals, settings)
    rows = []
    for group, group_name in enumerate(totals.group_names):
        comparable = _comparable_share(totals, group)
        estimates = _estimate_measures(totals, group, settings.min_group_size)
        for measure, estimate in estimates.items():
            row = {
                "measure": measure.label(settings.cutoff),
                "group": group_name,
                "n": estimate.n,
                "comparable": comparable,
                "note": "",
            }
            row.update(_interval(estimate, measure, totals.clusters))
            if estimate.n < settings.min_group_size:
                row.update(_NO_FIGURE)
                row["note"] = "too few"
            elif measure.name == "selection ratio" and estimate.value < FOUR_FIFTHS:
                row["note"] = "under four fifths"
            elif measure in permuted and not comparable:
                row["note"] = "nobody to compare with"
            elif measure in permuted:
                row.update(_permutation_test(permuted[measure][:, group]))
            rows.append(row)
    return _add_flags(pd.DataFrame(rows).reindex(columns=AUDIT_COLUMNS))


def audit_slices(
    ranking: pd.DataFrame,
    slices: pd.Series,
    resumes: pd.DataFrame,
    judgment_sets: Mapping[str, pd.DataFrame],
    *,
    column: str,
    settings: AuditSettings,
) -> pd.DataFrame:
    """The audit of every slice of the queries, e.g. of each industry; exploratory, without flags.

    slices: query_id -> slice. A slice whose pools hold one group has a note and no figure.
    Returns slice and AUDIT_COLUMNS without p_holm and flag.
    """
    slice_of_row = ranking["query_id"].map(slices)
    if slice_of_row.isna().any():
        query = ranking["query_id"][slice_of_row.isna()].iloc[0]
        raise DataError(f"query {query!r} is in no slice; give every query one")
    groups = groups_of(resumes, column).set_axis(resumes["resume_id"])
    audits = []
    for name, part in ranking.groupby(slice_of_row):
        own_groups = groups.reindex(part["candidate_id"]).dropna().unique()
        if len(own_groups) > 1:
            audit = audit_ranking(part, resumes, judgment_sets, column=column, settings=settings)
        else:
            audit = pd.DataFrame({"measure": "share of the pool", "group": own_groups})
            audit = audit.assign(note="no other group").reindex(columns=AUDIT_COLUMNS)
        audits.append(audit.assign(slice=name))
    exploratory = [name for name in AUDIT_COLUMNS if name not in ("p_holm", "flag")]
    return pd.concat(audits, ignore_index=True)[["slice", *exploratory]]


NAME_COLUMN = "given_name"
"""Column of the resumes that shows a group and that several people share."""


def audit_by_name(
    ranking: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    column: str,
    name_column: str,
    settings: AuditSettings,
) -> pd.DataFrame:
    """Share of the top beyond what strata give, tested over names that several resumes share.

    `audit_ranking` permutes people, so its p is about these resumes. Where a name is what shows the
    group, people who share it are one observation, and p here is about names. name_column: of the
    resumes, e.g. given names; rows without a name are left out.

    Returns one row a group: group, excess (share of the top less the mean over the group's strata),
    low, high (95%, over names), p (random signs of the names' contributions), n (resumes), n_units
    (names). The excess is the sum over people of (1 if in the group, less its share of the stratum)
    * (ranks in the top, less their mean in the stratum), divided by all ranks in the top. A name's
    contribution is its part of that sum, so that a group that is common in some strata and rare in
    others is compared within each. Raises DataError if a name stands in two groups, or a group has
    fewer than two names.
    """
    people = _named_people(ranking, resumes, name_column)
    names = people[name_column]
    groups = groups_of(people, column)
    n_names = _count_names(groups, names)
    strata = codes_of(people, settings.strata)
    is_top = ranking["rank"] <= settings.cutoff
    n_top = is_top.groupby(ranking["candidate_id"]).sum().loc[people.index]
    expected_top = n_top.groupby(strata).transform("mean")
    excess_top = (n_top - expected_top) / n_top.sum()
    rows = []
    for group in sorted(n_names.index):
        is_member = (groups == group).astype(float)
        beyond_stratum = is_member - is_member.groupby(strata).transform("mean")
        contributions = beyond_stratum * excess_top
        by_name = contributions.groupby(names.to_numpy()).sum()
        row = {"group": group}
        row.update(_sum_over_names(by_name.to_numpy(), settings))
        row["n"] = int(is_member.sum())
        row["n_units"] = int(n_names[group])
        rows.append(row)
    return pd.DataFrame(rows)


def has_names(resumes: pd.DataFrame, name_column: str) -> bool:
    """True if the resumes have that column and any name in it."""
    return name_column in resumes and bool((resumes[name_column] != "").any())


def _named_people(
    ranking: pd.DataFrame,
    resumes: pd.DataFrame,
    name_column: str,
) -> pd.DataFrame:
    """The ranked resumes that have a name, by id."""
    if name_column not in resumes:
        raise DataError(
            f"resumes have no column {name_column!r}; they have {', '.join(resumes.columns)}"
        )
    names = resumes[name_column].fillna("").astype(str).str.strip()
    named = resumes[names != ""].set_index("resume_id", drop=False)
    is_named = ranking["candidate_id"].isin(named["resume_id"])
    return named.loc[ranking["candidate_id"][is_named].unique()]


def _count_names(groups: pd.Series, names: pd.Series) -> pd.Series:
    """Names of each group. Raises DataError if they cannot be compared."""
    group_of_name = groups.groupby(names).agg(["nunique", "first"])
    ambiguous = group_of_name.index[group_of_name["nunique"] > 1]
    if len(ambiguous):
        raise DataError(
            f"{names.name} {ambiguous[0]!r} stands in two groups of {groups.name}; leave it out"
        )
    n_names = group_of_name["first"].value_counts()
    if n_names.min() < 2:
        raise DataError(
            f"{n_names.idxmin()} has {n_names.min()} values of {names.name}; a test over them "
            f"needs two a group"
        )
    return n_names


def _sum_over_names(contributions: np.ndarray, settings: AuditSettings) -> dict[str, float]:
    """The sum of independent contributions (U,), its 95% t-interval, and p of a mean of 0 by random
    signs."""
    n = len(contributions)
    total = float(contributions.sum())
    variance = (contributions**2).sum() * n / (n - 1)
    standard_error = np.sqrt(variance)
    half_width = float(stats.t.ppf(0.975, n - 1)) * standard_error
    p = paired_randomisation(
        contributions,
        np.zeros(n),
        seed=settings.seed,
        n_resamples=settings.n_permutations,
    )
    return {
        "excess": total,
        "low": total - half_width,
        "high": total + half_width,
        "p": p,
    }


def codes_of(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """(n,) int codes of the rows' combined values of some columns; 0 where no column is named."""
    missing = [name for name in columns if name not in frame]
    if missing:
        raise DataError(
            f"resumes have no column {missing[0]!r} to hold fixed; they have "
            f"{', '.join(frame.columns)}; name others in strata, or none"
        )
    if not len(columns):
        return np.zeros(len(frame), int)
    return frame.groupby(list(columns), dropna=False).ngroup().to_numpy()


def groups_of(resumes: pd.DataFrame, column: str) -> pd.Series:
    """Each resume's group as text, missing ones "not stated", however that is spelled
    (`missing.MISSING_SPELLINGS`).

    Raises DataError if there is no such column, or only one group.
    """
    if column not in resumes:
        raise DataError(
            f"resumes have no column {column!r} to audit; they have {', '.join(resumes.columns)}"
        )
    texts = resumes[column].astype(object).astype(str).str.strip()
    groups = texts.mask(is_missing(resumes[column]), NOT_STATED)
    if groups.nunique() < 2:
        raise DataError(
            f"all resumes have {column} {groups.iloc[0]!r}; an audit compares at least two groups"
        )
    return groups


def _compute_totals(
    ranking: pd.DataFrame,
    resumes: pd.DataFrame,
    judgment_sets: Mapping[str, pd.DataFrame],
    *,
    column: str,
    settings: AuditSettings,
) -> _Totals:
    """Each pair's weights, ranked or qualified, summed by query and group, and by resume."""
    queries = pd.Index(ranking["query_id"].unique())
    _check_cutoff(ranking, settings.cutoff)
    qualified = {}
    for name, labels in judgment_sets.items():
        qualified[name] = _qualified_pairs(labels, queries)
    people = _all_candidates(ranking, qualified, resumes)
    groups, group_names = pd.factorize(groups_of(people, column), sort=True)

    ranked_codes = _pair_codes(ranking, queries, people.index)
    qualified_codes = {}
    for name, pairs in qualified.items():
        qualified_codes[name] = _pair_codes(pairs, queries, people.index)
    # a qualified pair that is not ranked counts, too: it was missed
    # pandas' hash tables: faster than numpy's sorts
    judged_codes = np.concatenate([ranked_codes, *qualified_codes.values()])
    all_codes = np.sort(pd.unique(judged_codes))
    query, person = np.divmod(all_codes, len(people))
    ranks = np.full(len(all_codes), np.nan)
    ranks[np.searchsorted(all_codes, ranked_codes)] = ranking["rank"]
    weights = _rank_weights(ranks, query, settings.cutoff)
    for name, codes in qualified_codes.items():
        is_qualified = pd.Index(all_codes).isin(codes).astype(float)
        weights[f"qualified, {name}"] = is_qualified
        weights[f"hit, {name}"] = is_qualified * weights["top"]

    n_queries = len(queries)
    n_groups = len(group_names)
    query_and_group = query * n_groups + groups[person]
    by_group = {}
    for part, weight in weights.items():
        sums = np.bincount(query_and_group, weight, n_queries * n_groups)
        by_group[part] = sums.reshape(n_queries, n_groups)
    from_pools = {}
    beyond_pools = dict(weights)
    pool_sizes = np.bincount(query, weights["pool"])
    for part in _RANK_PARTS:
        per_candidate = np.bincount(query, weights[part]) / pool_sizes
        from_pools[part] = per_candidate @ by_group["pool"]
        beyond_pools[part] = weights[part] - per_candidate[query] * weights["pool"]
    by_resume = {}
    for part, weight in beyond_pools.items():
        by_resume[part] = np.bincount(person, weight, len(people))
    clusters = settings.clusters
    return _Totals(
        by_group=by_group,
        by_resume=by_resume,
        from_pools=from_pools,
        groups=groups,
        group_names=list(group_names),
        strata=codes_of(people, settings.strata),
        clusters=None if clusters is None else clusters.reindex(queries).to_numpy(),
        judgment_sets=list(judgment_sets),
    )


def _check_cutoff(ranking: pd.DataFrame, cutoff: int) -> None:
    pool_sizes = ranking.groupby("query_id", sort=False).size()
    if cutoff >= pool_sizes.min():
        raise DataError(
            f"cutoff is {cutoff}, but query {pool_sizes.idxmin()!r} ranks {pool_sizes.min()} "
            f"candidates, so that all of them are selected; take a smaller cutoff"
        )


def _qualified_pairs(labels: pd.DataFrame, queries: pd.Index) -> pd.DataFrame:
    """The positive pairs of the ranked queries: query_id, candidate_id."""
    qrels = qrels_from_labels(labels, "rank_resumes")
    is_positive = qrels["label"] > 0
    is_ranked = qrels["query_id"].isin(queries)
    return qrels[is_positive & is_ranked]


def _all_candidates(
    ranking: pd.DataFrame,
    qualified: Mapping[str, pd.DataFrame],
    resumes: pd.DataFrame,
) -> pd.DataFrame:
    """The resumes that are ranked or qualified, by id, in that order."""
    id_columns = [ranking["candidate_id"]]
    id_columns.extend(pairs["candidate_id"] for pairs in qualified.values())
    ids = pd.concat(id_columns).unique()
    people = resumes.set_index("resume_id", drop=False).reindex(ids)
    unknown = people.index[people["resume_id"].isna()]
    if len(unknown):
        raise DataError(f"candidate {unknown[0]!r} is not among the resumes")
    return people


def _pair_codes(
    pairs: pd.DataFrame,
    queries: pd.Index,
    people: pd.Index,
) -> np.ndarray:
    """One int for each pair: number of the query * number of people + number of the person."""
    query = queries.get_indexer(pairs["query_id"])
    person = people.get_indexer(pairs["candidate_id"])
    return query * len(people) + person


def _rank_weights(
    ranks: np.ndarray,
    query: np.ndarray,
    cutoff: int,
) -> dict[str, np.ndarray]:
    """(pairs,) weights of pool, top and exposure; 0 of a pair that is not ranked (rank NaN)."""
    is_ranked = ~np.isnan(ranks)
    is_top = np.nan_to_num(ranks, nan=np.inf) <= cutoff
    discount = np.nan_to_num(1 / np.log2(1 + ranks))
    return {
        "pool": is_ranked.astype(float),
        "top": is_top.astype(float),
        "exposure": discount / np.bincount(query, discount)[query],
    }


def _estimate_measures(
    totals: _Totals,
    group: int,
    min_group_size: int,
) -> dict[_Measure, _Estimate]:
    """All measures of a group."""
    sums = totals.by_group
    sizes = np.bincount(totals.groups)
    smaller_side = min(sizes[group], sizes.sum() - sizes[group])
    rates = []
    for other, size in enumerate(sizes):
        n_top = sums["top"][:, other]
        n_ranked = sums["pool"][:, other]
        rates.append(_ratio(n_top, n_ranked, size))
    best_rate = _best_rate(rates, min_group_size)
    estimates = {}
    for measure, part in (
        ("share of the pool", "pool"),
        ("share of the top", "top"),
        ("share of exposure", "exposure"),
    ):
        own = sums[part][:, group]
        all_groups = sums[part].sum(axis=1)
        estimates[_Measure(measure)] = _ratio(own, all_groups, smaller_side)
    estimates[_Measure("selection rate")] = rates[group]
    estimates[_Measure("selection ratio")] = _quotient(rates[group], best_rate)
    for name in totals.judgment_sets:
        qualified = sums[f"qualified, {name}"]
        hit = sums[f"hit, {name}"]
        all_qualified = qualified.sum(axis=1)
        other_qualified = all_qualified - qualified[:, group]
        other_hit = hit.sum(axis=1) - hit[:, group]
        n_own = int(qualified[:, group].sum())
        n_others = int(qualified.sum()) - n_own
        share = _ratio(qualified[:, group], all_qualified, min(n_own, n_others))
        recall = _ratio(hit[:, group], qualified[:, group], n_own)
        other_recall = _ratio(other_hit, other_qualified, n_others)
        estimates[_Measure("share of the qualified", name)] = share
        estimates[_Measure("recall", name)] = recall
        estimates[_Measure("recall gap", name)] = _difference(recall, other_recall)
    return estimates


def _best_rate(rates: list[_Estimate], min_group_size: int) -> _Estimate:
    """The largest selection rate, of the groups that are large enough if there are any."""

    def order(rate: _Estimate) -> tuple[bool, float]:
        return rate.n >= min_group_size, float(np.nan_to_num(rate.value))

    return max(rates, key=order)


def _ratio(
    numerator: np.ndarray,
    denominator: np.ndarray,
    n: int,
) -> _Estimate:
    """Sum over sum, both (Q,).

    The error is the mean of numerator - value * denominator over the mean denominator.
    """
    if not denominator.sum():
        return _NO_ESTIMATE
    value = numerator.sum() / denominator.sum()
    influence = (numerator - value * denominator) / denominator.mean()
    return _Estimate(value, influence, n)


def _difference(one: _Estimate, other: _Estimate) -> _Estimate:
    if one.influence is None or other.influence is None:
        return _NO_ESTIMATE
    n = min(one.n, other.n)
    return _Estimate(one.value - other.value, one.influence - other.influence, n)


def _quotient(one: _Estimate, best: _Estimate) -> _Estimate:
    if one.influence is None or best.influence is None:
        return _NO_ESTIMATE
    ratio = one.value / best.value
    influence = (one.influence - ratio * best.influence) / best.value
    return _Estimate(ratio, influence, one.n)


def _interval(
    estimate: _Estimate,
    measure: _Measure,
    clusters: np.ndarray | None,
) -> dict[str, float]:
    """value, low, high and n_clusters; the interval is cut at the measure's limits."""
    if estimate.influence is None:
        return {**_NO_FIGURE, "n_clusters": 0}
    error = mean_interval(estimate.influence, clusters)
    low = estimate.value + error["low"]
    high = estimate.value + error["high"]
    return {
        "value": estimate.value,
        "low": float(np.clip(low, *measure.limits)),
        "high": float(np.clip(high, *measure.limits)),
        "n_clusters": error["n_clusters"],
    }


def _permute_groups(totals: _Totals, settings: AuditSettings) -> dict[_Measure, np.ndarray]:
    """(1 + n_permutations, G) values of every tested measure: observed, then permuted."""
    weights = np.column_stack(list(totals.by_resume.values()))
    n_groups = len(totals.group_names)
    blocks = []
    for labels in _permuted_labels(totals, settings):
        blocks.append(_sum_by_group(labels, weights, n_groups))
    all_sums = np.concatenate(blocks)
    sums = dict(zip(totals.by_resume, np.moveaxis(all_sums, 2, 0), strict=True))
    values = {}
    for measure, part in (("share of the top", "top"), ("share of exposure", "exposure")):
        from_pools = totals.from_pools[part]
        values[_Measure(measure)] = (from_pools + sums[part]) / from_pools.sum()
    for name in totals.judgment_sets:
        hit = sums[f"hit, {name}"]
        qualified = sums[f"qualified, {name}"]
        other_hit = hit.sum(axis=1, keepdims=True) - hit
        other_qualified = qualified.sum(axis=1, keepdims=True) - qualified
        # a permutation may leave a group without a qualified member: its recall is 0, not 0 / 0
        recall = hit / np.maximum(qualified, 1)
        other_recall = other_hit / np.maximum(other_qualified, 1)
        values[_Measure("recall gap", name)] = recall - other_recall
    return values


def _permuted_labels(totals: _Totals, settings: AuditSettings) -> Iterator[np.ndarray]:
    """Blocks of (P, R) group labels: first the observed ones, then permuted within strata."""
    rng = np.random.default_rng(settings.seed)
    n_people = len(totals.strata)
    by_stratum = np.argsort(totals.strata, kind="stable")
    block_size = max(1, _MAX_LABELS_IN_MEMORY // n_people)
    yield totals.groups[None]
    for start in range(0, settings.n_permutations, block_size):
        size = min(block_size, settings.n_permutations - start)
        # strata are whole numbers: sorting stratum + random keeps strata together and permutes
        # the members of each
        keys = totals.strata + rng.random((size, n_people))
        order = np.argsort(keys, axis=1)
        labels = np.empty_like(order)
        labels[:, by_stratum] = totals.groups[order]
        yield labels


def _sum_by_group(
    labels: np.ndarray,
    weights: np.ndarray,
    n_groups: int,
) -> np.ndarray:
    """(P, G, M) sums of weights (R, M) over the members of each group, for P labellings (P, R)."""
    sums = []
    for group in range(n_groups):
        is_member = (labels == group).astype(float)
        sums.append(is_member @ weights)
    return np.stack(sums, axis=1)


def _permutation_test(values: np.ndarray) -> dict[str, float]:
    """Two-sided test of the first value among all, by distance from the permuted ones' mean.

    p is never 0; without permutations there is no test.
    """
    observed = values[0]
    permuted = values[1:]
    if not len(permuted):
        return {}
    expected = permuted.mean()
    distances = np.abs(permuted - expected)
    n_as_far = (distances >= abs(observed - expected) - 1e-12).sum()
    return {
        "expected": float(expected),
        "chance": float(distances.mean()),
        "p": (n_as_far + 1) / (len(permuted) + 1),
    }


def _comparable_share(totals: _Totals, group: int) -> float:
    """Share of a group's members whose stratum holds a member of another group."""
    groups = pd.Series(totals.groups)
    n_groups_in_stratum = groups.groupby(totals.strata).transform("nunique").to_numpy()
    own_strata = n_groups_in_stratum[totals.groups == group]
    return float((own_strata > 1).mean())


def _add_flags(audit: pd.DataFrame) -> pd.DataFrame:
    """With p_holm and flag; of two groups, which mirror each other, each measure counts once."""
    test_key = _test_key(audit)
    tests = audit.dropna(subset="p").drop_duplicates(test_key)
    p_holm = holm(tests["p"].to_numpy(float))
    adjusted = tests[test_key].assign(p_holm=p_holm)
    audit = audit.drop(columns=["p_holm", "flag"])
    audit = audit.merge(adjusted, how="left", on=test_key)
    audit["flag"] = audit["p_holm"] < FLAG_LEVEL
    return audit[AUDIT_COLUMNS]


def count_flags(audit: pd.DataFrame) -> int:
    """How many tests of an audit are flagged; of two groups, which mirror each other, one counts."""
    flagged = audit[audit["flag"].astype(bool)]
    return len(flagged.drop_duplicates(_test_key(audit)))


def _test_key(audit: pd.DataFrame) -> list[str]:
    """The columns that identify a test."""
    return ["measure"] if audit["group"].nunique() == 2 else ["measure", "group"]


def summarise_audit(audit: pd.DataFrame) -> str:
    """An audit in one sentence: which tests are flagged, of how many.

    Of the flagged tests those of groups that got less than expected are named, if there are any. If
    nothing could be tested the sentence says so.
    """
    tests = audit.dropna(subset="p")
    if tests.empty:
        return "nothing could be tested: groups too small, or nobody to compare them with"
    n_tests = len(tests.drop_duplicates(_test_key(audit)))
    least_compared = tests["comparable"].min()
    share = "all" if least_compared == 1 else f"{least_compared:.0%} or more"
    scope = f"of {n_tests} tests, {share} of each group compared"
    flagged = tests[tests["flag"].astype(bool)]
    if flagged.empty:
        return f"no flag {scope} (smallest adjusted p {tests['p_holm'].min():.2f})"
    disadvantaged = flagged[flagged["value"] < flagged["expected"]]
    named = disadvantaged if len(disadvantaged) else flagged
    findings = []
    for row in named.itertuples():
        findings.append(
            f"{row.measure} of {row.group} {row.value:.3f}, {row.expected:.3f} expected"
        )
    return f"flagged, {scope}: {'; '.join(findings)}"


def summarise_tested_columns(audits: pd.DataFrame, system: str) -> dict[str, str]:
    """column -> `summarise_audit` of one system, for every column with a test.

    audits: of `audit_systems`.
    """
    summaries = {}
    own = audits[audits["system"] == system]
    for column, audit in own.groupby("column", sort=False):
        if audit["p"].notna().any():
            summaries[column] = summarise_audit(audit)
    return summaries
