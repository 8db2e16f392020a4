"""Does a ranking order pairs rightly whose order is known, for every group, and abstain on ties?"""

from __future__ import annotations

import pandas as pd

from matchlib.data.market.validity import SUPERIOR, TIE
from matchlib.stats import mean_interval

VALIDITY_COLUMNS = ["measure", "group", "value", "low", "high", "n", "n_clusters", "chance"]
ORDERED, ABSTAINED, TIE_WON = "ordered rightly", "abstained on ties", "placed first in ties"
ALL = "all"


def score_known_pairs(
    pairs: pd.DataFrame,
    ranking: pd.DataFrame,
    groups: pd.Series,
    *,
    tolerance: float,
    clusters: pd.Series | None = None,
) -> pd.DataFrame:
    """How a ranking treats pairs of known order and ties: VALIDITY_COLUMNS, intervals over clusters.

    pairs: job_id, first, second, relation (`market.validity.known_pairs`); ranking: query_id,
    candidate_id, score of whole pools; groups: candidate_id -> group; tolerance: of a difference of
    scores, in standard deviations of the job's scores, below which the ranking is said to abstain;
    clusters: query_id -> cluster, else jobs are.

    ORDERED: the share of superior pairs whose better person has the higher score, by the group of
    the better person (chance .5); ABSTAINED: the share of ties within the tolerance, by the group
    of either person; TIE_WON: of ties between two groups, the share that places the group's person
    first, a score that is equal counting half (chance .5, whatever the group). Pairs of which the
    ranking does not hold both are left out.
    """
    scored = _scored_pairs(pairs, ranking, clusters)
    first_group = groups.reindex(scored["first"]).to_numpy()
    second_group = groups.reindex(scored["second"]).to_numpy()
    scored = scored.assign(first_group=first_group, second_group=second_group)
    scored["first_wins"] = (scored["difference"] > 0) + 0.5 * (scored["difference"] == 0)
    scored["is_close"] = (scored["difference"].abs() <= tolerance).astype(float)
    superior = scored[scored["relation"] == SUPERIOR]
    tied = scored[scored["relation"] == TIE]
    rows = []
    for group in [ALL, *sorted(groups.unique())]:
        is_all = group == ALL
        better = superior if is_all else superior[superior["first_group"] == group]
        rows.append(_row(ORDERED, group, better["first_wins"], better["cluster"], 0.5))
        own = (tied["first_group"] == group) | (tied["second_group"] == group) | is_all
        rows.append(_row(ABSTAINED, group, tied["is_close"][own], tied["cluster"][own]))
        if is_all:
            continue
        mixed = tied[own & (tied["first_group"] != tied["second_group"])]
        is_first = mixed["first_group"] == group
        wins = mixed["first_wins"].where(is_first, 1 - mixed["first_wins"])
        rows.append(_row(TIE_WON, group, wins, mixed["cluster"], 0.5))
    return pd.DataFrame(rows, columns=VALIDITY_COLUMNS)


def _scored_pairs(
    pairs: pd.DataFrame, ranking: pd.DataFrame, clusters: pd.Series | None
) -> pd.DataFrame:
    """The pairs with the difference of their scores, in standard deviations, and the cluster."""
    spread = ranking.groupby("query_id")["score"].std()
    scores = ranking.set_index(["query_id", "candidate_id"])["score"]
    values = {}
    for side in ("first", "second"):
        keys = pd.MultiIndex.from_frame(pairs[["job_id", side]])
        values[side] = scores.reindex(keys).to_numpy()
    difference = (values["first"] - values["second"]) / spread.reindex(pairs["job_id"]).to_numpy()
    cluster = pairs["job_id"] if clusters is None else pairs["job_id"].map(clusters)
    return pairs.assign(difference=difference, cluster=cluster).dropna(subset="difference")


def _row(
    measure: str, group: str, values: pd.Series, clusters: pd.Series, chance: float = float("nan")
) -> dict[str, object]:
    row = {"measure": measure, "group": group, "n": len(values), "chance": chance}
    if len(values):
        row |= mean_interval(values.to_numpy(), clusters.to_numpy(), bounds=(0, 1))
    return row
