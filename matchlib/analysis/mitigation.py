"""Three ways to change what the groups get from a ranking, and the table that shows what each
costs.

None of them optimises the measure that judges it here, the recall gap among the qualified; none
makes a ranking fair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from matchlib.analysis.bias import STRATA, audit, codes_of, count_flags, groups_of
from matchlib.data.schema import DataError
from matchlib.retrieval.metrics import compare_systems, qrels_from_labels, score_queries


@dataclass(frozen=True)
class Eraser:
    """The least change of embeddings after which no linear model tells the groups apart
    (`fit_eraser`).

    mean: (D,); kept: (D, D), applied to what deviates from the mean.
    """

    mean: np.ndarray
    kept: np.ndarray

    def project(self, embeddings: np.ndarray) -> np.ndarray:
        """(n, D) float64, no longer of length one: what LEACE leaves of the embeddings."""
        return self.mean + (embeddings - self.mean) @ self.kept.T

    def erase(self, embeddings: np.ndarray, *, strength: float = 1.0) -> np.ndarray:
        """(n, D) float32 of length one, so that rankings stay by cosine; strength 0 changes
        nothing, 1 erases."""
        mixed = (1 - strength) * embeddings + strength * self.project(embeddings)
        return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


def fit_eraser(
    embeddings: np.ndarray, groups: Sequence[str], *, strata: np.ndarray | None = None
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
    z = pd.get_dummies(pd.Series(list(groups)), dtype=float)
    if z.shape[1] < 2:
        raise DataError(
            f"all embeddings belong to {list(z)}; there is no direction between groups to erase"
        )
    z = z - (z.mean() if strata is None else z.groupby(np.asarray(strata)).transform("mean"))
    mean = embeddings.mean(0, dtype=np.float64)
    centred = embeddings - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    spread = (
        values > values.max() * len(values) * np.finfo(np.float32).eps
    )  # directions in which nothing varies
    roots, vectors = np.sqrt(values[spread]), vectors[:, spread]
    whitened = (vectors / roots).T @ (centred.T @ z.to_numpy()) / len(centred)
    left, singular, _ = np.linalg.svd(whitened, full_matrices=False)
    concept = left[:, singular > 1e-8 * max(singular.max(), 1e-8)]
    return Eraser(
        mean, np.eye(len(mean)) - (vectors * roots) @ concept @ concept.T @ (vectors / roots).T
    )


def expected_shares(
    ranking: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    column: str,
    k: int,
    strata: Sequence[str] = STRATA,
) -> pd.DataFrame:
    """(query_id x group) shares that each query's top k would have if strata chose it and groups
    did not matter.

    The share of a group among all candidates of a stratum, averaged over the strata of the top k.
    """
    people = resumes.set_index("resume_id", drop=False).loc[ranking["candidate_id"].unique()]
    shares = (
        pd.get_dummies(groups_of(people, column), dtype=float)
        .groupby(codes_of(people, strata))
        .transform("mean")
    )
    top = ranking[ranking["rank"] <= k]
    return (
        shares.loc[top["candidate_id"]]
        .groupby(top["query_id"].to_numpy())
        .mean()
        .rename_axis("query_id")
    )


def rerank_to_shares(
    ranking: pd.DataFrame,
    groups: pd.Series,
    targets: pd.DataFrame,
    *,
    k: int,
    strength: float = 1.0,
) -> pd.DataFrame:
    """Reorder so that down to every rank i <= k each group holds at least floor(strength * its
    share * i) places.

    groups: candidate_id -> group; targets: query_id x group shares. Within a group the order stays;
    strength 0 changes nothing. A group with too few candidates gives what it has. Returns query_id,
    candidate_id, rank. The group is used to rank people: whether that is lawful or right is not a
    question of this function.
    Source: DetGreedy, Geyik, Ambler, Kenthapadi (arXiv 1905.01989), algorithm 1; deviation: instead
    of upper bounds a look ahead, so that the floors hold for any number of groups; with two the
    order is the same.
    """
    names = list(targets.columns)
    ordered = ranking[["query_id", "candidate_id", "rank"]].sort_values(["query_id", "rank"])
    codes = pd.Index(names).get_indexer(groups.reindex(ordered["candidate_id"]))
    if (codes < 0).any():
        raise DataError(
            f"candidate {ordered['candidate_id'].iloc[codes.argmin()]!r} has no group among {names}; give "
            f"every candidate one and every group a share"
        )
    shares = strength * targets.reindex(ordered["query_id"].unique()).to_numpy()
    if np.isnan(shares).any():
        raise DataError("a query has no target shares; give every ranked query its own")
    # sorted by query, so each query's places are one slice, in the order of shares
    starts = np.flatnonzero(ordered["query_id"].ne(ordered["query_id"].shift()))
    slices = zip(starts, [*starts[1:], len(ordered)], shares, strict=True)
    order = np.concatenate(
        [start + _greedy(codes[start:end], own, k) for start, end, own in slices]
    )
    ranks = ordered["rank"].to_numpy()
    return ordered.iloc[order].assign(rank=ranks).reset_index(drop=True)


def _greedy(groups: np.ndarray, shares: np.ndarray, k: int) -> np.ndarray:
    """(n,) new order of candidates (n,), whose groups are codes into shares, given best first."""
    waiting = [list(np.flatnonzero(groups == g)) for g in range(len(shares))]
    last = min(k, len(groups))
    # (last, G) places owed down to each rank; a group owes no more than it has
    owed = np.minimum(
        np.floor(np.outer(np.arange(1, last + 1), shares) + 1e-9),
        [len(members) for members in waiting],
    )
    placed, counts = [], np.zeros(len(shares))
    for i in range(last):
        missing = np.maximum(owed[i:] - counts, 0)
        full = missing.sum(1) >= np.arange(
            1, last - i + 1
        )  # down to which ranks every place is owed already
        due = missing[full.argmax()] > 0 if full.any() else np.ones(len(shares), bool)
        place, group = min(
            (members[0], g) for g, members in enumerate(waiting) if members and due[g]
        )
        placed.append(waiting[group].pop(0))
        counts[group] += 1
    return np.concatenate([placed, np.setdiff1d(np.arange(len(groups)), placed)]).astype(int)


def frontier(
    rankings: Mapping[tuple[str, float], pd.DataFrame],
    resumes: pd.DataFrame,
    channels: Mapping[str, pd.DataFrame],
    *,
    column: str,
    group: str,
    k: int,
    strata: Sequence[str] = STRATA,
    clusters: pd.Series | None = None,
    measure: str = "nDCG@10",
    depth: int = 100,
    **options,
) -> pd.DataFrame:
    """What each mitigation does to one group's recall gap and to a measure of quality, against
    every channel.

    rankings: (mitigation, strength) -> ranking, the first untreated; group: whose gap is followed,
    named before looking and the same everywhere, so that the sign of gap - gap_expected can be
    averaged over seeds; options as of `bias.audit`. Returns mitigation, strength, channel, group,
    gap, gap_low, gap_high, gap_expected (with groups shuffled within strata), excess (gap -
    gap_expected, signed), chance (the mean of |excess| where groups do not matter), p, then
    measure, value, low, high, change, change_low, change_high (paired, against untreated), cost
    (-change / untreated), n: queries, n_clusters, note: "too few" where there is no gap. depth:
    ranks that the measure sees, no fewer than its cutoff. Raises DataError if nobody is in the
    group.
    """
    audits = {
        key: audit(
            ranking,
            resumes,
            channels,
            column=column,
            k=k,
            strata=strata,
            clusters=clusters,
            **options,
        )
        for key, ranking in rankings.items()
    }
    base = next(iter(rankings))
    if group not in set(audits[base]["group"]):
        known = ", ".join(audits[base]["group"].unique())
        raise DataError(f"group {group!r} is not in {column}; it has {known}")
    rows = []
    for channel, pairs in channels.items():
        qrels = qrels_from_labels(pairs, "rank_resumes")
        scores = [
            score_queries(ranking[ranking["rank"] <= depth], qrels, [measure]).assign(
                system=str(key)
            )
            for key, ranking in rankings.items()
        ]
        quality = compare_systems(
            pd.concat(scores), baseline=str(base), clusters=clusters
        ).set_index("system")
        for key in rankings:
            gaps = audits[key][audits[key]["measure"] == f"recall gap, {channel}"].set_index(
                "group"
            )
            gap, score = gaps.loc[group], quality.loc[str(key)]
            rows.append(
                {
                    "mitigation": key[0],
                    "strength": key[1],
                    "channel": channel,
                    "group": group,
                    "gap": gap["value"],
                    "gap_low": gap["low"],
                    "gap_high": gap["high"],
                    "gap_expected": gap["expected"],
                    "excess": gap["value"] - gap["expected"],
                    "chance": gap["chance"],
                    "p": gap["p"],
                    "measure": measure,
                    "value": score["value"],
                    "low": score["low"],
                    "high": score["high"],
                    "change": score["difference"],
                    "change_low": score["difference_low"],
                    "change_high": score["difference_high"],
                    "cost": -score["difference"] / quality.loc[str(base), "value"],
                    "n": score["n"],
                    "n_clusters": score["n_clusters"],
                    "note": gap["note"],
                }
            )
    return pd.DataFrame(rows)


def board(audits: pd.DataFrame, treated: pd.DataFrame, swapped: pd.DataFrame) -> pd.DataFrame:
    """What the ledger reads of a run: system, task, measure, channel, value.

    audits: of `bias.audit`, swapped: of `compare_rankings`, both with a column system; treated: of
    `frontier`; each may be empty. Of every test the excess of a group, what it got less what it
    would get with groups shuffled, and the number of flags; of every remedy ("reranking",
    "reranking at 0.5", "untreated") the signed excess of the recall gap and the quality; of every
    system how many places a group rises when its words are swapped.
    """
    rows = []
    tests = audits.dropna(subset="expected") if len(audits) else audits
    for row in tests.to_dict("records"):
        rows.append(
            (
                row["system"],
                f"excess of {row['group']}: {row['measure']}",
                "audit",
                row["value"] - row["expected"],
            )
        )
    if len(audits):
        for system, part in audits.groupby("system", sort=False):
            rows.append((system, "flags", "audit", float(count_flags(part))))
    for row in treated.to_dict("records"):
        whole = row["strength"] == (0.0 if row["mitigation"] == "untreated" else 1.0)
        system = row["mitigation"] if whole else f"{row['mitigation']} at {row['strength']:g}"
        rows.append(
            (system, f"excess of {row['group']}: recall gap", row["channel"], row["excess"])
        )
        rows.append((system, row["measure"], row["channel"], row["value"]))
    if len(swapped):
        for row in swapped[swapped["measure"].eq("places up")].to_dict("records"):
            rows.append(
                (row["system"], f"places up when swapped: {row['group']}", "swapped", row["value"])
            )
    table = pd.DataFrame(rows, columns=["system", "measure", "channel", "value"]).assign(
        task="rank_resumes"
    )
    return table.dropna(subset="value")[["system", "task", "measure", "channel", "value"]]
