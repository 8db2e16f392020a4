"""The hard test set: each query's positives among distractors that keywords like, beside the same
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


def distractor_pool(
    keywords: pd.DataFrame, qrels: pd.DataFrame, kind: str, *, n: int, seed: int
) -> pd.DataFrame:
    """query_id, candidate_id: every query's positives, and n of its other candidates.

    keywords: BM25's full ranking; kind: hard takes the n best of it, random draws n.
    """
    positives = qrels.loc[qrels["label"] > 0, ["query_id", "candidate_id"]].drop_duplicates()
    asked = keywords[keywords["query_id"].isin(positives["query_id"])]
    marked = asked.merge(positives, on=["query_id", "candidate_id"], how="left", indicator=True)
    others = marked.loc[marked["_merge"] == "left_only", ["query_id", "candidate_id", "rank"]]
    if kind == "random":
        others = others.assign(rank=np.random.default_rng(seed).permutation(len(others)))
    chosen = others.sort_values(["query_id", "rank"], kind="stable").groupby("query_id").head(n)
    return pd.concat([positives, chosen[["query_id", "candidate_id"]]], ignore_index=True)


def within(ranking: pd.DataFrame, pool: pd.DataFrame) -> pd.DataFrame:
    """The ranking of the pool's candidates alone, in the same order."""
    kept = ranking.merge(pool, on=["query_id", "candidate_id"]).sort_values(
        ["query_id", "rank"], kind="stable"
    )
    return kept.assign(rank=kept.groupby("query_id").cumcount() + 1)


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
            values = score_queries(within(ranking, pool), qrels, [measure]).set_index("query_id")[
                "value"
            ]
            alike = None if clusters is None else clusters.reindex(values.index).to_numpy()
            interval = mean_interval(values.to_numpy(), alike)
            rows[system] |= {
                "n_queries": len(values),
                "n_clusters": interval["n_clusters"],
                kind: interval["value"],
                f"{kind}_low": interval["low"],
                f"{kind}_high": interval["high"],
            }
    table = pd.DataFrame(rows.values())
    for kind in KINDS:
        table[f"{kind}_place"] = table[kind].rank(ascending=False, method="min").astype(int)
    return table.sort_values("hard", ascending=False, kind="stable").reset_index(drop=True)
