"""Mitigations, which change what groups get from a ranking, and a table of what each costs.

None of them optimises the measure that judges it here, the recall gap among the qualified, and none
makes a ranking fair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from matchlib.analysis.bias import (
    DEFAULT_STRATA,
    AuditSettings,
    audit_ranking,
    codes_of,
    count_flags,
    groups_of,
)
from matchlib.data.schema import DataError
from matchlib.retrieval.metrics import compare_systems, qrels_from_labels, score_queries

UNTREATED = "untreated"
"""Name of the ranking that mitigations are compared with."""
BOARD_COLUMNS = ["system", "task", "measure", "judgments", "value"]


@dataclass(frozen=True)
class TreatedRanking:
    """A ranking after a mitigation; strength: 0 of the untreated ranking, 1 of a full treatment."""

    mitigation: str
    strength: float
    ranking: pd.DataFrame

    @property
    def label(self) -> str:
        """The mitigation, with its strength."""
        return f"{self.mitigation} at {self.strength:g}"


@dataclass(frozen=True)
class Eraser:
    """The least change of embeddings after which no linear model tells groups apart (`fit_eraser`).

    mean: (D,); projection: (D, D), applied to deviations from the mean.
    """

    mean: np.ndarray
    projection: np.ndarray

    def project(self, embeddings: np.ndarray) -> np.ndarray:
        """(n, D) float64, no longer of length one: what LEACE leaves of the embeddings."""
        return self.mean + (embeddings - self.mean) @ self.projection.T

    def erase(self, embeddings: np.ndarray, *, strength: float = 1.0) -> np.ndarray:
        """(n, D) float32 of length one, so that rankings stay by cosine.

        strength: 0 changes nothing, 1 erases, between the two are mixed.
        """
        mixed = (1 - strength) * embeddings + strength * self.project(embeddings)
        lengths = np.linalg.norm(mixed, axis=1, keepdims=True)
        return (mixed / lengths).astype(np.float32)


def fit_eraser(
    embeddings: np.ndarray,
    groups: Sequence[str],
    *,
    strata: np.ndarray | None = None,
) -> Eraser:
    """Fit linear concept erasure (LEACE) on training embeddings.

    embeddings: (n, D); groups: (n,); strata: (n,) codes; with them only what tells groups apart
    within strata is erased, so that an occupation with few women keeps its place. On the embeddings
    it was fitted on, the covariance with the groups (within strata) is zero; on others it is small
    where n is well above D.
    Source: LEACE, Belrose et al. 2023 (arXiv 2306.03819), theorem 4.3: x - W^+ P W (x - mean), W
    the whitening of x, P the projection onto W cov(x, z); deviation: z may be centred within
    strata. Raises DataError on one group.
    """
    membership = pd.get_dummies(pd.Series(list(groups)), dtype=float)
    if membership.shape[1] < 2:
        raise DataError(
            f"all embeddings belong to {list(membership)}; there is no direction between groups "
            f"to erase"
        )
    expected = membership.mean()
    if strata is not None:
        expected = membership.groupby(np.asarray(strata)).transform("mean")
    z = (membership - expected).to_numpy()
    mean = embeddings.mean(axis=0, dtype=np.float64)
    centred = embeddings - mean
    roots, directions = _principal_directions(centred)
    whitened_covariance = (directions / roots).T @ (centred.T @ z) / len(centred)
    left, singular, _ = np.linalg.svd(whitened_covariance, full_matrices=False)
    concept = left[:, singular > 1e-8 * max(singular.max(), 1e-8)]
    erased = (directions * roots) @ concept @ concept.T @ (directions / roots).T
    return Eraser(mean, np.eye(len(mean)) - erased)


def _principal_directions(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(d,) standard deviations and (D, d) directions, without those in which nothing varies."""
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    rounding = np.finfo(np.float32).eps
    varies = variances > variances.max() * len(variances) * rounding
    return np.sqrt(variances[varies]), directions[:, varies]


def expected_shares(
    ranking: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    column: str,
    cutoff: int,
    strata: Sequence[str] = DEFAULT_STRATA,
) -> pd.DataFrame:
    """(query_id x group) shares of each query's top if its strata were given and groups random.

    The share of a group among all candidates of a stratum, averaged over the strata of the top.
    """
    ids = ranking["candidate_id"].unique()
    people = resumes.set_index("resume_id", drop=False).loc[ids]
    membership = pd.get_dummies(groups_of(people, column), dtype=float)
    share_in_stratum = membership.groupby(codes_of(people, strata)).transform("mean")
    top = ranking[ranking["rank"] <= cutoff]
    shares = share_in_stratum.loc[top["candidate_id"]]
    return shares.groupby(top["query_id"].to_numpy()).mean().rename_axis("query_id")


def rerank_to_shares(
    ranking: pd.DataFrame,
    groups: pd.Series,
    targets: pd.DataFrame,
    *,
    cutoff: int,
    strength: float = 1.0,
) -> pd.DataFrame:
    """Reorder so that down to every rank i <= cutoff each group has its share of the ranks.

    groups: candidate_id -> group; targets: query_id x group shares. A group gets at least
    floor(strength * its share * i) ranks, or has no more candidates. Within a group the order
    stays; strength 0 changes nothing. Returns query_id, candidate_id, rank. The group is used to
    rank people: whether that is lawful or right is not a question of this function.
    Source: DetGreedy, Geyik, Ambler, Kenthapadi (arXiv 1905.01989), algorithm 1; deviation: instead
    of upper bounds a look ahead, so that the floors hold for any number of groups; with two the
    order is the same.
    """
    columns = ["query_id", "candidate_id", "rank"]
    ordered = ranking[columns].sort_values(["query_id", "rank"])
    group_names = list(targets.columns)
    group_codes = pd.Index(group_names).get_indexer(groups.reindex(ordered["candidate_id"]))
    if (group_codes < 0).any():
        candidate = ordered["candidate_id"].iloc[group_codes.argmin()]
        raise DataError(
            f"candidate {candidate!r} has no group among {group_names}; give every candidate one "
            f"and every group a share"
        )
    query_shares = strength * targets.reindex(ordered["query_id"].unique()).to_numpy()
    if np.isnan(query_shares).any():
        raise DataError("a query has no target shares; give every ranked query its own")
    # sorted by query, so each query's rows are one slice, in the order of query_shares
    is_first = ordered["query_id"].ne(ordered["query_id"].shift())
    starts = np.flatnonzero(is_first)
    ends = [*starts[1:], len(ordered)]
    orders = []
    for start, end, shares in zip(starts, ends, query_shares, strict=True):
        own_order = _reorder_greedily(group_codes[start:end], shares, cutoff)
        orders.append(start + own_order)
    reordered = ordered.iloc[np.concatenate(orders)]
    return reordered.assign(rank=ordered["rank"].to_numpy()).reset_index(drop=True)


def _reorder_greedily(
    groups: np.ndarray,
    shares: np.ndarray,
    cutoff: int,
) -> np.ndarray:
    """(n,) new order of candidates (n,), whose groups are codes into shares, given best first."""
    n_groups = len(shares)
    waiting = [list(np.flatnonzero(groups == group)) for group in range(n_groups)]
    last = min(cutoff, len(groups))
    owed = _ranks_owed(shares, last, [len(members) for members in waiting])
    placed = []
    n_placed = np.zeros(n_groups)
    for i in range(last):
        must_be_next = _groups_due(np.maximum(owed[i:] - n_placed, 0))
        heads = []
        for group, members in enumerate(waiting):
            if members and must_be_next[group]:
                heads.append((members[0], group))
        best, group = min(heads)
        waiting[group].pop(0)
        placed.append(best)
        n_placed[group] += 1
    rest = np.setdiff1d(np.arange(len(groups)), placed)
    return np.concatenate([placed, rest]).astype(int)


def _ranks_owed(
    shares: np.ndarray,
    last: int,
    group_sizes: list[int],
) -> np.ndarray:
    """(last, G) ranks that each group must have down to each rank; no more than it has members."""
    floors = np.floor(np.outer(np.arange(1, last + 1), shares) + 1e-9)
    return np.minimum(floors, group_sizes)


def _groups_due(missing: np.ndarray) -> np.ndarray:
    """(G,) bool: the next candidate must be of one of these groups.

    missing: (ranks left, G) ranks that groups still miss down to each rank. All groups are due as
    long as some rank is free; where all ranks down to some rank are owed, those they are owed to.
    """
    ranks_left = np.arange(1, len(missing) + 1)
    is_full = missing.sum(axis=1) >= ranks_left
    if not is_full.any():
        return np.ones(missing.shape[1], bool)
    return missing[is_full.argmax()] > 0


def compare_mitigations(
    treated: Sequence[TreatedRanking],
    resumes: pd.DataFrame,
    judgment_sets: Mapping[str, pd.DataFrame],
    *,
    column: str,
    group: str,
    settings: AuditSettings,
    measure: str = "nDCG@10",
    depth: int = 100,
) -> pd.DataFrame:
    """What each mitigation does to one group's recall gap and to quality, against every judgment
    set.

    treated: the first is untreated; group: whose gap is followed, chosen before looking and the
    same everywhere, so that the sign of gap - gap_expected can be averaged over seeds; measure: of
    quality; depth: ranks that it sees, no fewer than its cutoff.

    Returns mitigation, strength, judgments (the judgment set), group, gap, gap_low, gap_high,
    gap_expected (with groups permuted within strata), excess (gap - gap_expected, signed), chance
    (the mean of |excess| where groups do not matter), p, then measure, value, low, high, change,
    change_low, change_high (paired, against untreated), cost (-change / untreated), n: queries,
    n_clusters, note: "too few" where there is no gap. Raises DataError if nobody is in the group.
    """
    audits = []
    for one in treated:
        audit = audit_ranking(one.ranking, resumes, judgment_sets, column=column, settings=settings)
        audits.append(audit)
    known_groups = audits[0]["group"].unique()
    if group not in known_groups:
        raise DataError(f"group {group!r} is not in {column}; it has {', '.join(known_groups)}")
    rows = []
    for judgments, judged_pairs in judgment_sets.items():
        qrels = qrels_from_labels(judged_pairs, "rank_resumes")
        quality = _score_treated(treated, qrels, measure, depth, settings.clusters)
        untreated_value = quality.loc[treated[0].label, "value"]
        for one, audit in zip(treated, audits, strict=True):
            gap = _gap_of(audit, judgments, group)
            row = {
                "mitigation": one.mitigation,
                "strength": one.strength,
                "judgments": judgments,
                "group": group,
            }
            row.update(_gap_columns(gap))
            row["measure"] = measure
            row.update(_quality_columns(quality.loc[one.label], untreated_value))
            row["note"] = gap["note"]
            rows.append(row)
    return pd.DataFrame(rows)


def _score_treated(
    treated: Sequence[TreatedRanking],
    qrels: pd.DataFrame,
    measure: str,
    depth: int,
    clusters: pd.Series | None,
) -> pd.DataFrame:
    """A row of `compare_systems` for each ranking, by its label."""
    parts = []
    for one in treated:
        visible = one.ranking[one.ranking["rank"] <= depth]
        scores = score_queries(visible, qrels, [measure])
        parts.append(scores.assign(system=one.label))
    compared = compare_systems(pd.concat(parts), baseline=treated[0].label, clusters=clusters)
    return compared.set_index("system")


def _gap_of(
    audit: pd.DataFrame,
    judgments: str,
    group: str,
) -> pd.Series:
    """The audit's row of a group's recall gap."""
    is_gap = audit["measure"] == f"recall gap, {judgments}"
    return audit[is_gap].set_index("group").loc[group]


def _gap_columns(gap: pd.Series) -> dict[str, object]:
    return {
        "gap": gap["value"],
        "gap_low": gap["low"],
        "gap_high": gap["high"],
        "gap_expected": gap["expected"],
        "excess": gap["value"] - gap["expected"],
        "chance": gap["chance"],
        "p": gap["p"],
    }


def _quality_columns(score: pd.Series, untreated_value: float) -> dict[str, object]:
    return {
        "value": score["value"],
        "low": score["low"],
        "high": score["high"],
        "change": score["difference"],
        "change_low": score["difference_low"],
        "change_high": score["difference_high"],
        "cost": -score["difference"] / untreated_value,
        "n": score["n"],
        "n_clusters": score["n_clusters"],
    }


def leaderboard_rows(
    audits: pd.DataFrame,
    compared: pd.DataFrame,
    counterfactual: pd.DataFrame,
) -> pd.DataFrame:
    """What the ledger reads of a run: BOARD_COLUMNS.

    audits: of `bias.audit_systems`; compared: of `compare_mitigations`; counterfactual: of
    `compare_rankings` with a column system; each may be empty. Of every test the excess of a group,
    its value less the expected one; of every system the number of flags; of every mitigation
    ("reranking", "reranking at 0.5", "untreated") the signed excess of the recall gap and the
    quality; of every system how many places a group rises when its words are swapped.
    """
    rows = [
        *_audit_rows(audits),
        *_mitigation_rows(compared),
        *_counterfactual_rows(counterfactual),
    ]
    board = pd.DataFrame(rows, columns=BOARD_COLUMNS)
    board["task"] = "rank_resumes"
    return board.dropna(subset="value")


def _audit_rows(audits: pd.DataFrame) -> list[dict[str, object]]:
    if audits.empty:
        return []
    rows = []
    for test in audits.dropna(subset="expected").to_dict("records"):
        row = {
            "system": test["system"],
            "measure": f"excess of {test['group']}: {test['measure']}",
            "judgments": "audit",
            "value": test["value"] - test["expected"],
        }
        rows.append(row)
    for system, audit in audits.groupby("system", sort=False):
        n_flags = float(count_flags(audit))
        row = {"system": system, "measure": "flags", "judgments": "audit", "value": n_flags}
        rows.append(row)
    return rows


def _mitigation_rows(compared: pd.DataFrame) -> list[dict[str, object]]:
    rows = []
    for treated in compared.to_dict("records"):
        system = treated["mitigation"]
        full_strength = 0.0 if system == UNTREATED else 1.0
        if treated["strength"] != full_strength:
            system = f"{system} at {treated['strength']:g}"
        excess = {
            "system": system,
            "measure": f"excess of {treated['group']}: recall gap",
            "judgments": treated["judgments"],
            "value": treated["excess"],
        }
        quality = {
            "system": system,
            "measure": treated["measure"],
            "judgments": treated["judgments"],
            "value": treated["value"],
        }
        rows.extend([excess, quality])
    return rows


def _counterfactual_rows(counterfactual: pd.DataFrame) -> list[dict[str, object]]:
    if counterfactual.empty:
        return []
    rows = []
    places = counterfactual[counterfactual["measure"] == "places up"]
    for shift in places.to_dict("records"):
        row = {
            "system": shift["system"],
            "measure": f"places up when swapped: {shift['group']}",
            "judgments": "swapped",
            "value": shift["value"],
        }
        rows.append(row)
    return rows
