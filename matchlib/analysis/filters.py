"""Filters against unsuitable candidates, and what they cost elsewhere.

The open suggestion of ConFit v2 (arXiv 2502.12361, error analysis): keyword methods and hard
constraints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from matchlib.analysis.errors import KEYS, shortcomings
from matchlib.data.rules import rules_by_name
from matchlib.data.schema import TASKS, DataError
from matchlib.retrieval.evaluation import compare_systems, qrels_from_labels, score_queries
from matchlib.retrieval.search import Hits

READS = {"place": "city", "seniority": "seniority", "degree": "degree", "skills": "skills"}
"""The fact that each rule reads and that a text may not tell."""


def meets(asked: pd.DataFrame, held: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """(J, R) bool: no named rule (data.rules) is broken as far as is known; what a text does not
    say breaks none.

    asked, held: facts of jobs and resumes, see `errors.with_regions`. Raises DataError on a rule
    that no text tells.
    """
    fits = np.ones((len(asked), len(held)), dtype=bool)
    if unread := [name for name in names if name not in READS]:
        raise DataError(
            f"constraint {unread[0]!r} cannot be read from texts; choose from {', '.join(READS)}"
        )
    for name in names:
        rule, fact = rules_by_name([name])[name], READS[name]
        unknown = (asked[fact] == "").to_numpy()[:, None] | (held[fact] == "").to_numpy()[None, :]
        fits &= rule.holds(asked, held) | unknown
    return fits


def demote(hits: Hits, holds: np.ndarray) -> Hits:
    """Hits whose candidates that do not meet a constraint come after all that do; among each, the
    order stays.

    holds: (Q, C) bool, by position of the candidate.
    """
    meets = np.take_along_axis(holds, np.maximum(hits.positions, 0), axis=1)
    real = hits.scores[hits.positions >= 0]
    drop = float(real.max() - real.min()) + 1 if len(real) else 1.0
    return Hits(hits.positions, np.where(meets, hits.scores, hits.scores - drop))


def compare_filters(
    rankings: Mapping[str, Mapping[str, pd.DataFrame]],
    channels: Mapping[str, pd.DataFrame],
    facts: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    *,
    baseline: str,
    clusters: Mapping[str, pd.Series] | None,
    k: int = 10,
) -> pd.DataFrame:
    """Each system's share of unsuitable candidates among its k best, by each way to know it, and
    its nDCG.

    rankings: system -> task -> ranking; channels: name -> judged pairs; facts: how it is known ->
    (asked, held).
    Returns task, channel, system, "unsuitable, <how>", nDCG@10, n, n_clusters, low, high, and
    difference, with its interval and p, to the baseline.
    """
    rows = []
    for task in TASKS:
        query, candidate = KEYS if task == "rank_resumes" else KEYS[::-1]
        bad = {}
        for system, by_task in rankings.items():
            best = (
                by_task[task]
                .rename(columns={"query_id": query, "candidate_id": candidate})
                .query("rank <= @k")
            )
            bad[system] = {
                f"unsuitable, {how}": (shortcomings(best, *known)["reasons"] != "").mean()
                for how, known in facts.items()
            }
        for channel, pairs in channels.items():
            qrels = qrels_from_labels(pairs, task)
            scores = pd.concat(
                [
                    score_queries(by_task[task], qrels, ["nDCG@10"]).assign(system=system)
                    for system, by_task in rankings.items()
                ]
            )
            table = compare_systems(scores, baseline=baseline, clusters=clusters and clusters[task])
            kept = [
                "n",
                "n_clusters",
                "low",
                "high",
                "difference",
                "difference_low",
                "difference_high",
                "p",
            ]
            for row in table.to_dict("records"):
                rows.append(
                    {
                        "task": task,
                        "channel": channel,
                        "system": row["system"],
                        **bad[row["system"]],
                        "nDCG@10": row["value"],
                        **{name: row[name] for name in kept},
                    }
                )
    return pd.DataFrame(rows)
