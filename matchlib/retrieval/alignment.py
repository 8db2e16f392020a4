"""Alignment: agreement with an annotator's preferences, by job, and nDCG beside it.

Source: RankPO (arXiv 2503.10723) reports the share of judged pairs that an encoder orders as the
annotator does, beside nDCG@20 on rule labels. Deviations: jobs count equally, intervals, ties are
left out or count half, coverage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.metrics import (
    qrels_from_labels,
    rank,
    score_queries,
)
from matchlib.retrieval.search import bm25_rows
from matchlib.stats import mean_interval, paired_randomisation

Part = Mapping[str, pd.DataFrame]
"""Tables jobs and resumes of one split; scores are (J, R) arrays in their order."""
PAIR = ["job_id", "resume_a", "resume_b"]


@dataclass(frozen=True)
class PairSet:
    """Pairs of resumes to judge. source: top (from stage 1's best candidates), uniform (from all
    resumes) or given (by a file); pairs: job_id, resume_a, resume_b and, where known, ranks."""

    split: str
    source: str
    pairs: pd.DataFrame


@dataclass(frozen=True)
class TestSet:
    """Test pairs of one source.

    preferences: of the test annotator; second_opinion: of the training annotator on the same pairs,
    or None.
    """

    source: str
    preferences: pd.DataFrame
    second_opinion: pd.DataFrame | None = None


def score_all(encoder: Encoder, part: Part) -> np.ndarray:
    """(J, R) cosines of every job and resume."""
    jobs = encoder.encode_jobs(list(part["jobs"]["text"]))
    resumes = encoder.encode_resumes(list(part["resumes"]["text"]))
    return jobs @ resumes.T


def score_bm25(part: Part) -> np.ndarray:
    """(J, R) BM25 scores of every resume for every job."""
    rows = bm25_rows(list(part["jobs"]["text"]), list(part["resumes"]["text"]))
    return np.stack(list(rows))


def decided(preferences: pd.DataFrame) -> pd.DataFrame:
    """The preferences that are no ties."""
    return preferences[preferences["preferred"] != "tie"]


def compare_with(preferences: pd.DataFrame, scores: np.ndarray, part: Part) -> pd.DataFrame:
    """The decided preferences with `right`: 1 where scores order the pair as the annotator does, .5
    where they tie, else 0."""
    pairs = decided(preferences)
    job = row_numbers(part["jobs"]["job_id"], pairs["job_id"])
    a = row_numbers(part["resumes"]["resume_id"], pairs["resume_a"])
    b = row_numbers(part["resumes"]["resume_id"], pairs["resume_b"])
    gap = scores[job, a] - scores[job, b]
    sign = np.where(pairs["preferred"] == "a", 1, -1)
    same_order = (gap * sign > 0).astype(float)
    return pairs.assign(right=np.where(gap == 0, 0.5, same_order))


def row_numbers(ids: pd.Series, wanted: pd.Series) -> np.ndarray:
    """(n,) position of each wanted id among ids. Raises KeyError on an id that is not there."""
    return pd.Series(range(len(ids)), index=ids).loc[wanted].to_numpy()


def by_job(rows: pd.DataFrame) -> pd.Series:
    """The share of pairs of each job in the right order; their mean is the alignment, in which jobs
    count equally."""
    return rows.groupby("job_id")["right"].mean()


def summarise(
    rows: pd.DataFrame,
    preferences: pd.DataFrame,
    clusters: pd.Series | None = None,
) -> dict[str, float]:
    """A system's alignment from the rows of `compare_with`.

    clusters: job_id -> cluster, where jobs are alike. Returns alignment with its 95% interval over
    jobs or their clusters, n_jobs, n_clusters, n_pairs (decided), coverage (decided share of all
    pairs), with_ties (ties of the annotator count as half), and position_balanced (mean of the
    shares where a and where b is preferred: .5 for a system that always says a). In all of them
    jobs count equally.
    """
    shares = by_job(rows)
    groups = None if clusters is None else clusters.reindex(shares.index).to_numpy()
    interval = mean_interval(shares.to_numpy(), groups)
    a_preferred = by_job(rows[rows["preferred"] == "a"]).mean()
    b_preferred = by_job(rows[rows["preferred"] == "b"]).mean()
    n_pairs = preferences.groupby("job_id").size()
    of_job = rows.groupby("job_id")["right"].agg(["sum", "size"])
    of_job = of_job.reindex(n_pairs.index, fill_value=0)
    n_ties = n_pairs - of_job["size"]
    with_ties = (of_job["sum"] + n_ties / 2) / n_pairs
    return {
        "alignment": interval["value"],
        "low": max(0.0, interval["low"]),
        "high": min(1.0, interval["high"]),
        "n_jobs": len(shares),
        "n_clusters": interval["n_clusters"],
        "n_pairs": len(rows),
        "coverage": len(rows) / len(preferences),
        "with_ties": with_ties.mean(),
        "position_balanced": float(np.mean([a_preferred, b_preferred])),
    }


def always_a(preferences: pd.DataFrame) -> pd.DataFrame:
    """The rows of `compare_with` of a system that always prefers the first position."""
    pairs = decided(preferences)
    return pairs.assign(right=(pairs["preferred"] == "a").astype(float))


def annotator_agreement(annotator: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of `compare_with` of one annotator against another on the same pairs; the
    annotator's own ties count as half."""
    choices = annotator[[*PAIR, "preferred"]]
    both = decided(other).merge(choices, on=PAIR, suffixes=("", "_annotator"))
    agrees = (both["preferred_annotator"] == both["preferred"]).astype(float)
    right = agrees.mask(both["preferred_annotator"] == "tie", 0.5)
    return both.assign(right=right).drop(columns="preferred_annotator")


def compare_pairs(
    first: pd.DataFrame,
    second: pd.DataFrame,
    clusters: pd.Series | None = None,
) -> dict[str, float]:
    """Paired test of two systems on the same pairs, in which the pairs of a cluster change sides
    together.

    first, second: rows of `compare_with` in the same order; clusters: job_id -> cluster, where jobs
    are alike; without it a job is a cluster. Returns only_first, only_second (pairs that one system
    alone has right), p (two-sided, randomisation over clusters), n_clusters. McNemar's test takes
    pairs as independent, which those of one job or occupation are not.
    """
    of_first = first["right"].to_numpy()
    of_second = second["right"].to_numpy()
    groups = first["job_id"] if clusters is None else first["job_id"].map(clusters)
    return {
        "only_first": int(((of_first == 1) & (of_second == 0)).sum()),
        "only_second": int(((of_second == 1) & (of_first == 0)).sum()),
        "p": paired_randomisation(of_first, of_second, groups.to_numpy()),
        "n_clusters": groups.nunique(),
    }


def compare_pairs_with(
    compared: Mapping[str, pd.DataFrame],
    baseline: str,
    clusters: pd.Series | None = None,
) -> pd.DataFrame:
    """`compare_pairs` of every system against a baseline: system, against and the test.

    compared: system -> rows of `compare_with`, all on the same pairs.
    """
    rows = []
    for system, right in compared.items():
        if system != baseline:
            test = compare_pairs(right, compared[baseline], clusters)
            rows.append({"system": system, "against": baseline, **test})
    return pd.DataFrame(rows)


def flipped_pairs(
    compared: Mapping[str, pd.DataFrame],
    system: str,
    baseline: str,
    *,
    gained: bool,
) -> pd.DataFrame:
    """The pairs that the system has right and the baseline wrong, or with gained=False the
    reverse."""
    is_right = compared[system]["right"] == gained
    was_right = compared[baseline]["right"] == (not gained)
    return compared[system][is_right & was_right]


def strict_ndcg(
    scores: np.ndarray, part: Part, labels: pd.DataFrame, *, k: int = 20
) -> pd.DataFrame:
    """nDCG@k of each job (query_id, value) with all its positives in the ideal ranking."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    top_scores = np.take_along_axis(scores, order, axis=1)
    job_ids = list(part["jobs"]["job_id"])
    resume_ids = list(part["resumes"]["resume_id"])
    ranking = rank(job_ids, resume_ids, order, top_scores)
    qrels = qrels_from_labels(labels, "rank_resumes")
    return score_queries(ranking, qrels, [f"nDCG@{k}"])[["query_id", "value"]]


def retrieved_ndcg(
    scores: np.ndarray, part: Part, labels: pd.DataFrame, *, k: int = 20
) -> pd.DataFrame:
    """nDCG@k as RankPO's repository computes it: the ideal ranking counts only the positives
    retrieved in the top k.

    Never below `strict_ndcg`: thirty positives of which three have ranks 1 to 3 give 1.
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    accepted = labels[labels["label"] == 1].groupby("job_id")["resume_id"].agg(set)
    resume_ids = part["resumes"]["resume_id"].to_numpy()
    discount = 1 / np.log2(np.arange(2, k + 2))
    rows = []
    for job, top in zip(part["jobs"]["job_id"], order, strict=True):
        if job not in accepted:
            continue
        gains = np.isin(resume_ids[top], list(accepted[job])).astype(float)
        dcg = gains @ discount[: len(gains)]
        ideal = discount[: int(gains.sum())].sum()
        rows.append((job, float(dcg / ideal) if ideal else 0.0))
    return pd.DataFrame(rows, columns=["query_id", "value"])


def alignment_table(
    systems: Mapping[str, np.ndarray],
    tests: Sequence[TestSet],
    part: Part,
    labels: pd.DataFrame,
    clusters: pd.Series | None,
) -> pd.DataFrame:
    """Every system on every test set: `summarise`, and nDCG@20 with the repository's variant on
    labels.

    systems: name -> scores. Two rows are no systems: "always a" looks at positions only, and
    "training annotator" is the agreement of the two annotators, a ceiling.
    """
    on_labels = {}
    if len(labels):
        for name, scores in systems.items():
            on_labels[name] = _ndcg_columns(scores, part, labels, clusters)
    rows = []
    for test in tests:
        compared = {"always a": always_a(test.preferences)}
        if test.second_opinion is not None:
            agreement = annotator_agreement(test.second_opinion, test.preferences)
            compared["training annotator"] = agreement
        for name, scores in systems.items():
            compared[name] = compare_with(test.preferences, scores, part)
        for name, right in compared.items():
            row = {"pairs": test.source, "system": name}
            row |= summarise(right, test.preferences, clusters)
            row |= on_labels.get(name, {})
            rows.append(row)
    return pd.DataFrame(rows)


def _ndcg_columns(
    scores: np.ndarray,
    part: Part,
    labels: pd.DataFrame,
    clusters: pd.Series | None,
) -> dict[str, float]:
    by_query = strict_ndcg(scores, part, labels).set_index("query_id")["value"]
    groups = None if clusters is None else clusters.reindex(by_query.index).to_numpy()
    interval = mean_interval(by_query.to_numpy(), groups)
    return {
        "nDCG@20": interval["value"],
        "nDCG@20 low": max(0.0, interval["low"]),
        "nDCG@20 high": min(1.0, interval["high"]),
        "as in the repository": retrieved_ndcg(scores, part, labels)["value"].mean(),
    }


def attainable_frontier(
    part: Part,
    text_fit: np.ndarray,
    labels: pd.DataFrame,
    tests: Sequence[TestSet],
    *,
    k: int = 20,
) -> pd.DataFrame:
    """The alignment and nDCG that a ranking can attain: the first 0, 1, .. k places hold the rule's
    pairs, all others follow by text fit.

    text_fit: (J, R), known on the market; labels: the rule's pairs; those of a job with the highest
    text fit come first. nDCG@k depends only on how many of the rule's pairs are in the first k
    places, so a ranking that uses fewer places for them keeps more of the annotator's order. A
    linear mixture of rule and fit attains less at every nDCG between the ends.
    Returns pairs, places, alignment, ndcg.
    """
    is_ruled = np.zeros(text_fit.shape, dtype=bool)
    job = row_numbers(part["jobs"]["job_id"], labels["job_id"])
    resume = row_numbers(part["resumes"]["resume_id"], labels["resume_id"])
    is_ruled[job, resume] = True
    fit_of_ruled = np.where(is_ruled, text_fit, -np.inf)
    by_fit = np.argsort(-fit_of_ruled, axis=1, kind="stable")
    place_of_ruled = np.argsort(by_fit, axis=1, kind="stable")
    above_all = text_fit.max() - text_fit.min() + 1
    rows = []
    for places in range(k + 1):
        first = is_ruled & (place_of_ruled < places)
        scores = text_fit + above_all * first
        ndcg = strict_ndcg(scores, part, labels, k=k)["value"].mean()
        for test in tests:
            alignment = by_job(compare_with(test.preferences, scores, part)).mean()
            row = {
                "pairs": test.source,
                "places": places,
                "alignment": alignment,
                "ndcg": ndcg,
            }
            rows.append(row)
    return pd.DataFrame(rows)


def frontier_points(
    stages: Mapping[str, Any],
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The test points of finished stages 05 (arm, curve, learning_rate, alignment, ndcg), and the
    point where they start: stage 1 or, where it was not trained, the pretrained encoder.

    Of each stage's last set of pairs: uniform, or given by a file. Arms with the same objective,
    loss type, contrastive term and limit of the nDCG drop make one curve.
    """
    rows = []
    start = {}
    for arm, stage in stages.items():
        table = pd.read_csv(stage.path("alignment.csv"))
        parameters = stage.manifest["parameters"]
        of_system = table[table["pairs"] == table["pairs"].iloc[-1]].set_index("system")
        begin = of_system.loc["stage1" if "stage1" in of_system.index else "pretrained"]
        start = {
            "alignment": begin["alignment"],
            "ndcg": begin["nDCG@20"],
        }
        rows.append(
            {
                "arm": arm,
                "curve": _curve_name(parameters),
                "learning_rate": parameters["learning_rate"],
                "alignment": of_system["alignment"].iloc[-1],
                "ndcg": of_system["nDCG@20"].iloc[-1],
            }
        )
    points = pd.DataFrame(rows).sort_values(["curve", "learning_rate"], kind="stable")
    return points.reset_index(drop=True), start


def _curve_name(parameters: Mapping[str, Any]) -> str:
    words = [parameters["objective"]]
    if parameters["objective"] != "sft":
        words.append(parameters["loss_type"])
    if parameters["contrastive_weight"]:
        words.append("with replay")
    if parameters["max_ndcg_drop"] < 1:
        words.append(f"held to {parameters['max_ndcg_drop']:.0%}")
    return " ".join(words)


def at_equal_alignment(
    points: pd.DataFrame,
    start: Mapping[str, float],
    *,
    steps: int = 101,
) -> pd.DataFrame:
    """The nDCG that two curves keep at equal alignment, for every two curves: the mean over the
    alignments that both reach.

    points: curve, alignment, ndcg; start: alignment and ndcg of stage 1, where all curves begin.
    Curves of one point are left out. A curve is the best nDCG with at least that alignment, linear
    between its points.
    Returns curve, against, ndcg (of the curve), to (the range's end; it starts at stage 1), two
    rows for each two curves; ndcg is NaN where one of them gains no alignment.
    """
    curves = {}
    for name, of_curve in points.groupby("curve", sort=False):
        if len(of_curve) > 1:
            curves[name] = _best_ndcg(of_curve, start)
    rows = []
    for name, against in permutations(curves, 2):
        end = min(
            curves[name]["alignment"].iloc[-1],
            curves[against]["alignment"].iloc[-1],
        )
        grid = np.linspace(start["alignment"], end, steps)
        ndcg = np.nan
        if end > grid[0]:
            curve = curves[name]
            ndcg = float(np.interp(grid, curve["alignment"], curve["ndcg"]).mean())
        rows.append({"curve": name, "against": against, "ndcg": ndcg, "to": end})
    return pd.DataFrame(rows, columns=["curve", "against", "ndcg", "to"])


def _best_ndcg(points: pd.DataFrame, start: Mapping[str, float]) -> pd.DataFrame:
    """alignment, ndcg of a curve: at each of its alignments the best nDCG at no lower alignment."""
    known = pd.concat([pd.DataFrame([start]), points], ignore_index=True)[["alignment", "ndcg"]]
    known = known[known["alignment"] >= start["alignment"]]
    known = known.sort_values(["alignment", "ndcg"], kind="stable")
    best = [known.loc[known["alignment"] >= value, "ndcg"].max() for value in known["alignment"]]
    return known.assign(ndcg=best)


def attainable_alignment(limit: pd.DataFrame, ndcg: float) -> float:
    """The highest alignment that `attainable_frontier` has at no less than an nDCG, linear between
    its points."""
    known = limit.sort_values("ndcg", kind="stable")
    best_from_here = known["alignment"][::-1].cummax()[::-1]
    return float(np.interp(ndcg, known["ndcg"], best_from_here))


def answer(
    rows: pd.DataFrame,
    source: str,
    *,
    system: str,
    baseline: str,
    limit: pd.DataFrame | None = None,
) -> tuple[dict[str, float], str]:
    """Key figures and a sentence: a system's alignment and nDCG@20 against a baseline's.

    rows: of `alignment_table`; source: the pairs to report; limit: of `attainable_frontier`.
    """
    of_system = rows[rows["pairs"] == source].set_index("system")
    after = of_system.loc[system]
    before = of_system.loc[baseline]
    metrics = _rounded("alignment", of_system)
    sentence = (
        f"On {source} pairs {system} agrees with the test annotator in {after['alignment']:.3f} "
        f"[{after['low']:.3f}, {after['high']:.3f}]"
    )
    if system != baseline:
        sentence += f", {baseline} in {before['alignment']:.3f}"
    if "nDCG@20" in rows:
        metrics |= _rounded("nDCG@20", of_system.dropna(subset="nDCG@20"))
        sentence += f"; nDCG@20 on stage 1's labels is {after['nDCG@20']:.3f}"
        if system != baseline:
            sentence += f", {baseline}'s {before['nDCG@20']:.3f}"
    if limit is not None and system != baseline:
        best = attainable_alignment(limit[limit["pairs"] == source], after["nDCG@20"])
        attainable = best - before["alignment"]
        if attainable > 0:
            share = (after["alignment"] - before["alignment"]) / attainable
            metrics["share of the attainable gain"] = round(share, 4)
            sentence += f"; that is {share:.0%} of the attainable gain at that nDCG ({best:.3f})"
        else:
            sentence += "; at that nDCG no gain is attainable"
    return metrics, sentence + ". One run, no verdict."


def _rounded(column: str, of_system: pd.DataFrame) -> dict[str, float]:
    return {f"{column}, {name}": round(value, 4) for name, value in of_system[column].items()}
