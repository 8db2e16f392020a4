"""The same resume with the gender of its words swapped, and how much a ranking moves when only that
changes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.stats import mean_interval


def rank_biased_overlap(
    before: pd.DataFrame, after: pd.DataFrame, *, persistence: float = 0.9, depth: int = 100
) -> pd.Series:
    """query_id -> overlap of two rankings of the same query: 1 the same order, 0 nothing in common
    to `depth`.

    before, after: query_id, candidate_id, rank. persistence: chance that a reader goes on to the
    next rank; at .9 the first ten ranks carry 86% of the weight. Queries with fewer than `depth`
    candidates are compared to their end.
    Source: Webber, Moffat, Zobel (ACM TOIS 28(4), 2010), the extrapolated form for lists of one
    length (eq. 30).
    Raises DataError if the two answer different queries.
    """
    ranks = [
        frame[frame["rank"] <= depth].set_index(["query_id", "candidate_id"])["rank"]
        for frame in (before, after)
    ]
    sizes = [rank.groupby(level="query_id").size() for rank in ranks]
    if not sizes[0].equals(sizes[1]):
        raise DataError(
            "the two rankings do not hold the same queries with as many candidates each; rank the same "
            "jobs and resumes twice"
        )
    both = pd.concat(ranks, axis=1, join="inner").max(
        axis=1
    )  # the depth from which both lists hold a candidate
    values = {}
    for query, size in sizes[0].items():
        found = both.loc[[query]].to_numpy(int) if query in both.index.get_level_values(0) else []
        depths = np.arange(1, size + 1)
        agreement = np.bincount(found, minlength=size + 1)[1:].cumsum() / depths
        weight = persistence**depths
        values[query] = (
            agreement[-1] * weight[-1]
            + (1 - persistence) / persistence * (agreement * weight).sum()
        )
    return pd.Series(values, name="rbo").rename_axis("query_id")


def compare_rankings(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    k: int,
    groups: pd.Series | None = None,
    clusters: pd.Series | None = None,
    candidate_clusters: pd.Series | None = None,
    persistence: float = 0.9,
    depth: int = 100,
) -> pd.DataFrame:
    """What moved between two rankings of the same texts but for one change, e.g. swapped gender
    terms.

    before, after: query_id, candidate_id, rank, score; groups: candidate_id -> group; clusters:
    query_id -> cluster;
    candidate_clusters: candidate_id -> what candidates share, e.g. their given name, which is what
    was swapped.
    Returns measure, group ("all"), value, low, high (95%), n, n_clusters: rank-biased overlap and
    the share of the top k that stayed, over queries or their clusters; score shift, in the score's
    units, and shift in places (positive: further up), by group, over candidates or their clusters,
    each a mean over queries.
    """
    overlap = rank_biased_overlap(before, after, persistence=persistence, depth=depth)
    top = [frame.loc[frame["rank"] <= k, ["query_id", "candidate_id"]] for frame in (before, after)]
    stayed = top[0].merge(top[1]).groupby("query_id").size().reindex(overlap.index, fill_value=0)
    stayed = stayed / top[0].groupby("query_id").size()
    of_query = None if clusters is None else clusters.reindex(overlap.index).to_numpy()
    rows = [
        {
            "measure": name,
            "group": "all",
            **mean_interval(values.reindex(overlap.index).to_numpy(), of_query),
        }
        for name, values in (("rank-biased overlap", overlap), (f"top {k} kept", stayed))
    ]
    pairs = before.merge(after, on=["query_id", "candidate_id"], suffixes=("", "_after"))
    shifts = (
        pd.DataFrame(
            {
                "score shift": pairs["score_after"] - pairs["score"],
                "places up": pairs["rank"] - pairs["rank_after"],
            }
        )
        .groupby(pairs["candidate_id"])
        .mean()
    )
    of_candidate = (
        pd.Series("all", index=shifts.index) if groups is None else groups.reindex(shifts.index)
    )
    for name in shifts:
        for group, part in shifts.groupby(of_candidate):
            alike = (
                None
                if candidate_clusters is None
                else candidate_clusters.reindex(part.index).to_numpy()
            )
            rows.append(
                {"measure": name, "group": group, **mean_interval(part[name].to_numpy(), alike)}
            )
    return pd.DataFrame(rows)
