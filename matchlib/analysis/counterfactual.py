"""How much a ranking moves when one thing in the texts changes, such as swapped gender terms."""

from __future__ import annotations

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.stats import mean_interval

MOVEMENT_COLUMNS = [
    "measure",
    "group",
    "value",
    "low",
    "high",
    "n",
    "n_clusters",
]
RBO = "rank-biased overlap"
CONTROL_RBO = "rank-biased overlap, control"
RBO_BEYOND = "overlap lost beyond the control"


def rank_biased_overlap(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    persistence: float = 0.9,
    depth: int = 100,
) -> pd.Series:
    """query_id -> overlap of two rankings of the same query: 1 the same order, 0 nothing in common.

    before, after: query_id, candidate_id, rank. persistence: probability that a reader goes on to
    the next rank; at .9 the first ten ranks have 86% of the weight. depth: ranks that are compared;
    a query with fewer candidates is compared to its end.
    Source: Webber, Moffat, Zobel (ACM TOIS 28(4), 2010), the extrapolated form for lists of one
    length (eq. 30).
    Raises DataError if the two answer different queries.
    """
    keys = ["query_id", "candidate_id"]
    ranks_before = before[before["rank"] <= depth].set_index(keys)["rank"]
    ranks_after = after[after["rank"] <= depth].set_index(keys)["rank"]
    list_sizes = ranks_before.groupby(level="query_id").size()
    sizes_after = ranks_after.groupby(level="query_id").size()
    if not list_sizes.equals(sizes_after):
        raise DataError(
            "the two rankings do not hold the same queries with as many candidates each; rank the "
            "same jobs and resumes twice"
        )
    common = pd.concat([ranks_before, ranks_after], axis=1, join="inner")
    depth_in_both = common.max(axis=1)  # from which both lists hold the candidate
    depths_by_query = {}
    for query, depths in depth_in_both.groupby(level="query_id"):
        depths_by_query[query] = depths.to_numpy(int)
    overlaps = {}
    for query, size in list_sizes.items():
        depths = depths_by_query.get(query, [])
        overlaps[query] = _extrapolated_overlap(depths, size, persistence)
    return pd.Series(overlaps, name="rbo").rename_axis("query_id")


def _extrapolated_overlap(
    depths_in_both: np.ndarray,
    size: int,
    persistence: float,
) -> float:
    """depths_in_both: for each common candidate the depth from which both lists hold it."""
    depths = np.arange(1, size + 1)
    n_new = np.bincount(depths_in_both, minlength=size + 1)[1:]
    agreement = n_new.cumsum() / depths
    weight = persistence**depths
    tail = agreement[-1] * weight[-1]
    scale = (1 - persistence) / persistence
    return tail + scale * (agreement * weight).sum()


def compare_rankings(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    cutoff: int,
    groups: pd.Series | None = None,
    clusters: pd.Series | None = None,
    candidate_clusters: pd.Series | None = None,
    control: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """What moved between two rankings of the same texts but for one change.

    before, after: query_id, candidate_id, rank, score; groups: candidate_id -> group; clusters:
    query_id -> cluster; candidate_clusters: candidate_id -> what candidates share, e.g. their given
    name, if that is what was swapped; control: the ranking after a change that should not matter.

    Returns MOVEMENT_COLUMNS, group "all" where a measure has no groups: rank-biased overlap and the
    share of the top that stayed, over queries or their clusters; with a control its overlap, and what the
    change cost beyond it (positive: the change moved more than the control did); score shift, in the score's unit,
    and places up, by group, over candidates or their clusters, each a mean over queries.
    """
    overlap = rank_biased_overlap(before, after)
    kept_share = _kept_share(before, after, cutoff).reindex(overlap.index)
    query_clusters = None
    if clusters is not None:
        query_clusters = clusters.reindex(overlap.index).to_numpy()
    measures = {RBO: overlap, f"top {cutoff} kept": kept_share}
    if control is not None:
        measures[CONTROL_RBO] = rank_biased_overlap(before, control).reindex(overlap.index)
        measures[RBO_BEYOND] = measures[CONTROL_RBO] - overlap
    rows = []
    for measure, values in measures.items():
        interval = mean_interval(values.to_numpy(), query_clusters)
        rows.append({"measure": measure, "group": "all", **interval})

    shifts = _candidate_shifts(before, after)
    candidate_groups = pd.Series("all", index=shifts.index)
    if groups is not None:
        candidate_groups = groups.reindex(shifts.index)
    for measure in shifts:
        for group, values in shifts[measure].groupby(candidate_groups):
            own_clusters = None
            if candidate_clusters is not None:
                own_clusters = candidate_clusters.reindex(values.index)
                own_clusters = own_clusters.to_numpy()
            interval = mean_interval(values.to_numpy(), own_clusters)
            rows.append({"measure": measure, "group": group, **interval})
    return pd.DataFrame(rows)


def summarise_overlap(movement: pd.DataFrame) -> str:
    """The overlap after a swap beside that of its control, from `compare_rankings`, in words."""
    rows = movement.set_index("measure")
    told = f"rank-biased overlap {rows.loc[RBO, 'value']:.3f}"
    if RBO_BEYOND not in rows.index:
        return f"{told}, without a control, since no text holds a given name"
    beyond = rows.loc[RBO_BEYOND]
    return (
        f"{told}, and {rows.loc[CONTROL_RBO, 'value']:.3f} for other names of the same gender, beyond "
        f"which gender costs {beyond['value']:.3f} [{beyond['low']:.3f}, {beyond['high']:.3f}]"
    )


def _kept_share(
    before: pd.DataFrame,
    after: pd.DataFrame,
    cutoff: int,
) -> pd.Series:
    """query_id -> share of the top that is in both rankings."""
    keys = ["query_id", "candidate_id"]
    top_before = before.loc[before["rank"] <= cutoff, keys]
    top_after = after.loc[after["rank"] <= cutoff, keys]
    top_size = top_before.groupby("query_id").size()
    n_kept = top_before.merge(top_after).groupby("query_id").size()
    return n_kept.reindex(top_size.index, fill_value=0) / top_size


def _candidate_shifts(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Each candidate's mean score shift and places up, over queries."""
    pairs = before.merge(after, on=["query_id", "candidate_id"], suffixes=("", "_after"))
    shifts = pd.DataFrame(
        {
            "score shift": pairs["score_after"] - pairs["score"],
            "places up": pairs["rank"] - pairs["rank_after"],
        }
    )
    return shifts.groupby(pairs["candidate_id"]).mean()


def name_clusters(resumes: pd.DataFrame, name_column: str) -> pd.Series | None:
    """resume_id -> name, for `compare_rankings`; None unless every resume has a name."""
    if name_column not in resumes or (resumes[name_column] == "").any():
        return None
    return resumes.set_index("resume_id")[name_column]
