"""The hard test set: each query's positives among distractors that BM25 ranks high, beside the same
among random ones.

Source: ConFit v2 (arXiv 2502.12361), table A7. Distractors that BM25 chose handicap BM25 itself, so
what can be read is how the *order* of the other systems changes, not how far each falls.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from matchlib.retrieval.metrics import score_queries
from matchlib.stats import mean_interval

KINDS = ("random", "hard")
PAIR = ["query_id", "candidate_id"]


def distractor_pool(
    keywords: pd.DataFrame,
    qrels: pd.DataFrame,
    kind: str,
    *,
    n: int,
    seed: int,
) -> pd.DataFrame:
    """query_id, candidate_id: every query's positives, and n of its other candidates.

    keywords: BM25's full ranking; kind: hard takes the n best of it, random draws n.
    """
    positives = qrels.loc[qrels["label"] > 0, PAIR].drop_duplicates()
    has_positive = keywords["query_id"].isin(positives["query_id"])
    marked = keywords[has_positive].merge(positives, on=PAIR, how="left", indicator=True)
    others = marked[marked["_merge"] == "left_only"]
    if kind == "random":
        rng = np.random.default_rng(seed)
        others = others.assign(rank=rng.permutation(len(others)))
    best_first = others.sort_values(["query_id", "rank"], kind="stable")
    chosen = best_first.groupby("query_id").head(n)
    return pd.concat([positives, chosen[PAIR]], ignore_index=True)


def within(ranking: pd.DataFrame, pool: pd.DataFrame) -> pd.DataFrame:
    """The ranking of the pool's candidates alone, in the same order."""
    kept = ranking.merge(pool, on=PAIR)
    kept = kept.sort_values(["query_id", "rank"], kind="stable")
    rank = kept.groupby("query_id").cumcount() + 1
    return kept.assign(rank=rank)


def hard_test(
    rankings: Mapping[str, pd.DataFrame],
    qrels: pd.DataFrame,
    *,
    measure: str,
    n: int,
    seed: int,
    clusters: pd.Series | None = None,
) -> pd.DataFrame:
    """Every system among random and among hard distractors.

    rankings: system -> full ranking of one task, "bm25" among them; clusters: query_id -> cluster,
    where queries are alike. Returns system, n_queries, n_clusters and, for both kinds, the mean,
    its 95% interval and the system's place (1: best): one row a system, best among the hard first.
    """
    rows: dict[str, dict] = {system: {"system": system} for system in rankings}
    for kind in KINDS:
        pool = distractor_pool(rankings["bm25"], qrels, kind, n=n, seed=seed)
        for system, ranking in rankings.items():
            scored = score_queries(within(ranking, pool), qrels, [measure])
            cluster_of_query = None
            if clusters is not None:
                cluster_of_query = clusters.reindex(scored["query_id"]).to_numpy()
            interval = mean_interval(scored["value"].to_numpy(), cluster_of_query)
            rows[system] |= {
                "n_queries": len(scored),
                "n_clusters": interval["n_clusters"],
                kind: interval["value"],
                f"{kind}_low": interval["low"],
                f"{kind}_high": interval["high"],
            }
    table = pd.DataFrame(rows.values())
    for kind in KINDS:
        place = table[kind].rank(ascending=False, method="min")
        table[f"{kind}_place"] = place.astype(int)
    best_first = table.sort_values("hard", ascending=False, kind="stable")
    return best_first.reset_index(drop=True)
