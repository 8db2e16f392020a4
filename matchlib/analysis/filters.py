"""Filters against unsuitable candidates, and what they cost.

The open suggestion of ConFit v2 (arXiv 2502.12361, error analysis): keyword methods and hard
constraints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from matchlib.analysis.errors import CANDIDATE_KEYS, QUERY_KEYS
from matchlib.analysis.suitability import Facts, unmet_requirements
from matchlib.data.rules import rules_by_name
from matchlib.data.schema import TASKS, DataError
from matchlib.retrieval.metrics import compare_systems, qrels_from_labels, score_queries
from matchlib.retrieval.search import Hits

FACT_OF_RULE = {
    "place": "city",
    "seniority": "seniority",
    "degree": "degree",
    "skills": "skills",
}
"""The fact that each rule (data.rules) needs and that a text may not state."""
CONSTRAINTS = ("place", "seniority")
"""The rules whose breach notebook 09 demotes."""


def meets_constraints(facts: Facts, constraints: Sequence[str]) -> np.ndarray:
    """(J, R) bool: the pair breaks none of the rules as far as is known.

    constraints: names of rules (data.rules). A fact that a text does not state breaks no rule.
    Raises DataError on a rule whose fact is not extracted from texts.
    """
    unreadable = [name for name in constraints if name not in FACT_OF_RULE]
    if unreadable:
        raise DataError(
            f"constraint {unreadable[0]!r} cannot be read from texts; choose from "
            f"{', '.join(FACT_OF_RULE)}"
        )
    meets = np.ones((len(facts.jobs), len(facts.resumes)), dtype=bool)
    for name in constraints:
        rule = rules_by_name([name])[name]
        fact = FACT_OF_RULE[name]
        job_unknown = (facts.jobs[fact] == "").to_numpy()
        resume_unknown = (facts.resumes[fact] == "").to_numpy()
        is_unknown = job_unknown[:, None] | resume_unknown[None, :]
        meets &= rule.holds(facts.jobs, facts.resumes) | is_unknown
    return meets


def demote(hits: Hits, meets: np.ndarray) -> Hits:
    """Hits whose candidates that break a constraint come after all others, in the old order.

    meets: (Q, C) bool, by position of the candidate.
    """
    hit_meets = np.take_along_axis(meets, np.maximum(hits.positions, 0), axis=1)
    real_scores = hits.scores[hits.positions >= 0]
    penalty = 1.0
    if len(real_scores):
        penalty = float(real_scores.max() - real_scores.min()) + 1
    return Hits(hits.positions, np.where(hit_meets, hits.scores, hits.scores - penalty))


def compare_filters(
    rankings: Mapping[str, Mapping[str, pd.DataFrame]],
    judgment_sets: Mapping[str, pd.DataFrame],
    facts: Mapping[str, Facts],
    *,
    baseline: str,
    clusters: Mapping[str, pd.Series] | None,
    cutoff: int = 10,
) -> pd.DataFrame:
    """Each system's share of unsuitable candidates in the top `cutoff`, and its nDCG@10.

    rankings: system -> task -> ranking; judgment_sets: name -> judged pairs; facts: source -> facts
    by which candidates are called unsuitable; clusters: task -> query_id -> cluster.
    Returns task, judgments (the judgment set), system, "unsuitable, <source>", nDCG@10, n,
    n_clusters, low, high, and the difference from the baseline with its interval and p.
    """
    rows = []
    for task in TASKS:
        task_rankings = {}
        unsuitable = {}
        for system, by_task in rankings.items():
            ranking = by_task[task]
            top = ranking[ranking["rank"] <= cutoff]
            task_rankings[system] = ranking
            unsuitable[system] = _unsuitable_shares(top, task, facts)
        for judgments, judged_pairs in judgment_sets.items():
            qrels = qrels_from_labels(judged_pairs, task)
            compared = compare_systems(
                _ndcg_by_query(task_rankings, qrels),
                baseline=baseline,
                clusters=None if clusters is None else clusters[task],
            )
            for score in compared.to_dict("records"):
                system = score["system"]
                row = {"task": task, "judgments": judgments, "system": system}
                row.update(unsuitable[system])
                row.update(_score_columns(score))
                rows.append(row)
    return pd.DataFrame(rows)


def _unsuitable_shares(
    top: pd.DataFrame,
    task: str,
    facts: Mapping[str, Facts],
) -> dict[str, float]:
    """The share of unsuitable candidates at the top, by each source of facts."""
    names = {"query_id": QUERY_KEYS[task], "candidate_id": CANDIDATE_KEYS[task]}
    pairs = top.rename(columns=names)
    shares = {}
    for source, known in facts.items():
        is_unsuitable = unmet_requirements(pairs, known)["reasons"] != ""
        shares[f"unsuitable, {source}"] = is_unsuitable.mean()
    return shares


def _ndcg_by_query(
    rankings: Mapping[str, pd.DataFrame],
    qrels: pd.DataFrame,
) -> pd.DataFrame:
    parts = []
    for system, ranking in rankings.items():
        scores = score_queries(ranking, qrels, ["nDCG@10"])
        parts.append(scores.assign(system=system))
    return pd.concat(parts)


def _score_columns(score: Mapping[str, object]) -> dict[str, object]:
    """nDCG@10 and its difference from the baseline, of a row of `compare_systems`."""
    return {
        "nDCG@10": score["value"],
        "n": score["n"],
        "n_clusters": score["n_clusters"],
        "low": score["low"],
        "high": score["high"],
        "difference": score["difference"],
        "difference_low": score["difference_low"],
        "difference_high": score["difference_high"],
        "p": score["p"],
    }
