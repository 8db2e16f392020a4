"""Agreement with preferences: alignment by job, what slots do to it, and nDCG beside it.

Source: RankPO (arXiv 2503.10723) reports the share of judged pairs that an encoder orders as the
judge does, beside nDCG@20 on rule labels. Deviations: jobs count equally, intervals, ties out of
the count or as half, coverage.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.metrics import qrels_from_labels, rank, score_queries
from matchlib.retrieval.search import bm25_rows
from matchlib.stats import mean_interval, paired_randomisation

Part = Mapping[str, pd.DataFrame]
"""Tables jobs and resumes of one split; scores are (J, R) arrays in their order."""


PUBLISHED = pd.DataFrame(
    [
        ("start", "", 0.46, 0.706),
        ("sft", "5e-7", 0.56, 0.69),
        ("rankpo sigmoid", "5e-7", 0.54, 0.70),
        ("sft", "5e-6", 0.65, 0.18),
        ("simrankpo hinge", "5e-6", 0.66, 0.30),
        ("rankpo sigmoid", "5e-6", 0.60, 0.47),
        ("rankpo hinge", "5e-6", 0.64, 0.50),
        ("sft", "1e-5", 0.66, 0.05),
        ("rankpo sigmoid", "1e-5", 0.64, 0.31),
    ],
    columns=["system", "learning_rate", "alignment", "ndcg"],
)
"""RankPO's figure: alignment with the language model and nDCG@20 by its repository, one seed, other
data."""


def score_all(encoder: Encoder, part: Part) -> np.ndarray:
    """(J, R) cosines of every job and resume."""
    return (
        encoder.encode_jobs(list(part["jobs"]["text"]))
        @ encoder.encode_resumes(list(part["resumes"]["text"])).T
    )


def score_bm25(part: Part) -> np.ndarray:
    """(J, R) BM25 scores of every resume for every job."""
    return np.stack(list(bm25_rows(list(part["jobs"]["text"]), list(part["resumes"]["text"]))))


def compare_with(preferences: pd.DataFrame, scores: np.ndarray, part: Part) -> pd.DataFrame:
    """The decided preferences with `right`: 1 where scores order the pair as the judge does, .5
    where they tie, else 0."""
    decided = preferences[preferences["preferred"] != "tie"]
    job, a, b = positions(decided, part)
    gap = scores[job, a] - scores[job, b]
    sign = np.where(decided["preferred"] == "a", 1, -1)
    right = np.where(gap == 0, 0.5, (gap * sign > 0).astype(float))
    return decided.assign(right=right)


def positions(pairs: pd.DataFrame, part: Part) -> tuple[np.ndarray, ...]:
    """(n,) row numbers of each pair's job, resume_a and resume_b."""
    ids = part["jobs"]["job_id"], part["resumes"]["resume_id"]
    row_of, column_of = (pd.Series(range(len(column)), index=column) for column in ids)
    return (
        row_of.loc[pairs["job_id"]].to_numpy(),
        column_of.loc[pairs["resume_a"]].to_numpy(),
        column_of.loc[pairs["resume_b"]].to_numpy(),
    )


def by_job(rows: pd.DataFrame) -> pd.Series:
    """Each job's share of pairs ordered rightly; their mean is the alignment, in which jobs count
    equally."""
    return rows.groupby("job_id")["right"].mean()


def summarise(
    rows: pd.DataFrame, preferences: pd.DataFrame, clusters: pd.Series | None = None
) -> dict[str, float]:
    """A system's alignment from the rows of `compare_with`.

    clusters: job_id -> cluster, where jobs are alike. Returns alignment with its 95% interval over
    jobs or their clusters, n_jobs, n_clusters, n_pairs (decided), coverage (decided share of all
    pairs), with_ties (ties of the judge count as half), and slot_balanced (mean of the shares where
    a and where b is preferred: a system that always says a gets .5). In all of them jobs count
    equally.
    """
    shares = by_job(rows)
    groups = None if clusters is None else clusters.reindex(shares.index).to_numpy()
    interval = mean_interval(shares.to_numpy(), groups)
    decided = len(rows) / len(preferences)
    halves = [by_job(rows[rows["preferred"] == slot]).mean() for slot in "ab"]
    asked = preferences.groupby("job_id").size()
    found = rows.groupby("job_id")["right"].agg(["sum", "size"]).reindex(asked.index, fill_value=0)
    with_ties = (found["sum"] + (asked - found["size"]) / 2) / asked
    return {
        "alignment": interval["value"],
        "low": max(0.0, interval["low"]),
        "high": min(1.0, interval["high"]),
        "n_jobs": len(shares),
        "n_clusters": interval["n_clusters"],
        "n_pairs": len(rows),
        "coverage": decided,
        "with_ties": with_ties.mean(),
        "slot_balanced": float(np.mean(halves)),
    }


def always_a(preferences: pd.DataFrame) -> pd.DataFrame:
    """The rows of `compare_with` of who always prefers the first slot."""
    decided = preferences[preferences["preferred"] != "tie"]
    return decided.assign(right=(decided["preferred"] == "a").astype(float))


def agreement(judge: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of `compare_with` of one judge against another on the same pairs; the judge's own
    ties count as half."""
    keys = ["job_id", "resume_a", "resume_b"]
    both = other[other["preferred"] != "tie"].merge(
        judge[[*keys, "preferred"]], on=keys, suffixes=("", "_judge")
    )
    right = (
        (both["preferred_judge"] == both["preferred"])
        .astype(float)
        .mask(both["preferred_judge"] == "tie", 0.5)
    )
    return both.assign(right=right).drop(columns="preferred_judge")


def compare_pairs(
    first: pd.DataFrame, second: pd.DataFrame, clusters: pd.Series | None = None
) -> dict[str, float]:
    """Paired test of two systems on the same pairs, in which the pairs of a cluster change sides
    together.

    first, second: rows of `compare_with` in the same order; clusters: job_id -> cluster, where jobs
    are alike; without it the pairs of a job are one. Returns only_first, only_second (pairs that
    one system alone has right), p (two-sided, randomisation over clusters), n_clusters. McNemar's
    test takes pairs as independent, which those of one job or occupation are not.
    """
    a, b = first["right"].to_numpy(), second["right"].to_numpy()
    groups = first["job_id"] if clusters is None else first["job_id"].map(clusters)
    return {
        "only_first": int(((a == 1) & (b == 0)).sum()),
        "only_second": int(((a == 0) & (b == 1)).sum()),
        "p": paired_randomisation(a, b, groups.to_numpy()),
        "n_clusters": groups.nunique(),
    }


def strict_ndcg(
    scores: np.ndarray, part: Part, labels: pd.DataFrame, *, k: int = 20
) -> pd.DataFrame:
    """nDCG@k of each job (query_id, value) with all its positives in the ideal ranking."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    ranking = rank(
        list(part["jobs"]["job_id"]),
        list(part["resumes"]["resume_id"]),
        order,
        np.take_along_axis(scores, order, axis=1),
    )
    return score_queries(ranking, qrels_from_labels(labels, "rank_resumes"), [f"nDCG@{k}"])[
        ["query_id", "value"]
    ]


def retrieved_ndcg(
    scores: np.ndarray, part: Part, labels: pd.DataFrame, *, k: int = 20
) -> pd.DataFrame:
    """nDCG@k as RankPO's repository computes it: the ideal ranking counts only the positives
    retrieved in the top k.

    Never below `strict_ndcg`: thirty positives of which three stand at ranks 1 to 3 give 1.
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    accepted = labels[labels["label"] == 1].groupby("job_id")["resume_id"].agg(set)
    ids, discount = part["resumes"]["resume_id"].to_numpy(), 1 / np.log2(np.arange(2, k + 2))
    rows = []
    for job, found in zip(part["jobs"]["job_id"], order, strict=True):
        if job in accepted:
            gains = np.isin(ids[found], list(accepted[job])).astype(float)
            ideal = discount[: int(gains.sum())].sum()
            rows.append((job, float(gains @ discount[: len(gains)] / ideal) if ideal else 0.0))
    return pd.DataFrame(rows, columns=["query_id", "value"])


def table(
    systems: Mapping[str, np.ndarray],
    tests: Mapping[str, pd.DataFrame],
    teachers: Mapping[str, pd.DataFrame | None],
    part: Part,
    labels: pd.DataFrame,
    clusters: pd.Series | None,
) -> pd.DataFrame:
    """Every system on every judged set: `summarise`, nDCG@20 and its repository's variant on
    labels.

    systems: name -> scores; tests: name -> the examiner's preferences; teachers: the same pairs by
    the teacher, whose agreement with the examiner is the ceiling, or None. "always a" is who looks
    at slots alone.
    """
    ndcg = (
        {
            name: (strict_ndcg(scores, part, labels), retrieved_ndcg(scores, part, labels))
            for name, scores in systems.items()
        }
        if len(labels)
        else {}
    )
    rows = []
    for where, judged in tests.items():
        judges = {"always a": always_a(judged)}
        if teachers.get(where) is not None:
            judges["teacher"] = agreement(teachers[where], judged)
        compared = judges | {
            name: compare_with(judged, scores, part) for name, scores in systems.items()
        }
        for name, right in compared.items():
            row = {"pairs": where, "system": name, **summarise(right, judged, clusters)}
            if name in ndcg:
                queries = ndcg[name][0].set_index("query_id")["value"]
                alike = None if clusters is None else clusters.reindex(queries.index).to_numpy()
                interval = mean_interval(queries.to_numpy(), alike)
                row |= {
                    "nDCG@20": interval["value"],
                    "nDCG@20 low": max(0.0, interval["low"]),
                    "nDCG@20 high": min(1.0, interval["high"]),
                    "as in the repository": ndcg[name][1]["value"].mean(),
                }
            rows.append(row)
    return pd.DataFrame(rows)


def frontier(
    part: Part,
    text_fit: np.ndarray,
    labels: pd.DataFrame,
    tests: Mapping[str, pd.DataFrame],
    *,
    k: int = 20,
) -> pd.DataFrame:
    """What an order can attain: the first 0, 1, .. k places for the rule's pairs, all others by the
    text's fit.

    text_fit: (J, R), known on the market; labels: the rule's pairs, of which each job's best
    fitting come first. nDCG@k sees only how many of the rule's pairs stand in the first k places,
    so an order that spends fewer places on them keeps more of the reader's. Mixing rule and fit
    linearly attains less at every nDCG between the ends.
    Returns pairs, places, alignment, ndcg.
    """
    is_ruled = np.zeros(text_fit.shape, dtype=bool)
    row, column, _ = positions(
        labels.assign(resume_a=labels["resume_id"], resume_b=labels["resume_id"]), part
    )
    is_ruled[row, column] = True
    by_fit = np.where(is_ruled, text_fit, -np.inf)
    place_of_ruled = np.argsort(np.argsort(-by_fit, axis=1, kind="stable"), axis=1)
    above_all = text_fit.max() - text_fit.min() + 1
    rows = []
    for places in range(k + 1):
        first = is_ruled & (place_of_ruled < places)
        scores = text_fit + above_all * first
        ndcg = strict_ndcg(scores, part, labels, k=k)["value"].mean()
        for where, judged in tests.items():
            alignment = by_job(compare_with(judged, scores, part)).mean()
            rows.append({"pairs": where, "places": places, "alignment": alignment, "ndcg": ndcg})
    return pd.DataFrame(rows)


def frontier_points(stages: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, float]]:
    """The test points of finished stages 05: (arm, curve, learning_rate, alignment, ndcg), and
    stage 1's.

    Of each stage's last set of pairs: uniform, or what a file gave. Where stage 1 was not trained,
    the start is raw. Arms that share objective, kind, replay and what they may forget make one
    curve.
    """
    rows, start = [], {}
    for arm, stage in stages.items():
        table, how = pd.read_csv(stage.path("alignment.csv")), stage.manifest["parameters"]
        part = table[table["pairs"] == table["pairs"].iloc[-1]].set_index("system")
        begin = part.loc["stage1" if "stage1" in part.index else "raw"]
        start = {"alignment": begin["alignment"], "ndcg": begin["nDCG@20"]}
        curve = " ".join(
            [
                how["objective"],
                how["loss_type"] if how["objective"] != "sft" else "",
                "with replay" if how["contrastive_weight"] else "",
                f"held to {how['max_ndcg_drop']:.0%}" if how["max_ndcg_drop"] < 1 else "",
            ]
        )
        rows.append(
            {
                "arm": arm,
                "curve": " ".join(curve.split()),
                "learning_rate": how["learning_rate"],
                "alignment": part["alignment"].iloc[-1],
                "ndcg": part["nDCG@20"].iloc[-1],
            }
        )
    return pd.DataFrame(rows).sort_values(["curve", "learning_rate"], kind="stable").reset_index(
        drop=True
    ), start


def at_equal_alignment(
    points: pd.DataFrame, start: Mapping[str, float], *, steps: int = 101
) -> pd.DataFrame:
    """nDCG that two curves keep at equal alignment, for every two: the mean over the alignments
    that both reach.

    points: curve, alignment, ndcg; start: alignment and ndcg of stage 1, where all curves begin.
    Curves of one point are left out: a chord is no curve. A curve is the best nDCG with at least
    that alignment, linear between its points.
    Returns curve, against, ndcg (of the curve), to (the range's end; it starts at stage 1), two
    rows for each two curves; ndcg is NaN where one of them gains no alignment at all.
    """
    curves = {}
    for name, rows in points.groupby("curve", sort=False):
        known = [
            (start["alignment"], start["ndcg"]),
            *zip(rows["alignment"], rows["ndcg"], strict=True),
        ]
        known = sorted(point for point in known if point[0] >= start["alignment"])
        if len(rows) > 1:
            curves[name] = np.array(
                [(x, max(y for other, y in known if other >= x)) for x, _ in known]
            ).T
    rows = []
    for name, against in permutations(curves, 2):
        end = min(curves[name][0, -1], curves[against][0, -1])
        grid = np.linspace(start["alignment"], end, steps)
        ndcg = float(np.interp(grid, *curves[name]).mean()) if end > grid[0] else np.nan
        rows.append({"curve": name, "against": against, "ndcg": ndcg, "to": end})
    return pd.DataFrame(rows, columns=["curve", "against", "ndcg", "to"])


def attainable(limit: pd.DataFrame, ndcg: float) -> float:
    """The highest alignment that `frontier` has at no less than an nDCG, linear between its points."""
    known = limit.sort_values("ndcg", kind="stable")
    best_from_here = known["alignment"][::-1].cummax()[::-1]
    return float(np.interp(ndcg, known["ndcg"], best_from_here))


def answer(
    rows: pd.DataFrame, where: str, *, system: str, baseline: str, limit: pd.DataFrame | None = None
) -> tuple[dict[str, float], str]:
    """Key figures and a sentence: a system's alignment and nDCG@20 against a baseline's, from
    `table`."""
    part = rows[rows["pairs"] == where].set_index("system")
    after, before = part.loc[system], part.loc[baseline]
    metrics = {f"alignment, {name}": round(row["alignment"], 4) for name, row in part.iterrows()}
    sentence = (
        f"On {where} pairs {system} agrees with the examiner in {after['alignment']:.3f} "
        f"[{after['low']:.3f}, {after['high']:.3f}]"
    )
    if system != baseline:
        sentence += f", {baseline} in {before['alignment']:.3f}"
    if "nDCG@20" in rows:
        metrics |= {
            f"nDCG@20, {name}": round(row["nDCG@20"], 4)
            for name, row in part.iterrows()
            if not np.isnan(row["nDCG@20"])
        }
        sentence += (
            f"; nDCG@20 on the rules is {after['nDCG@20']:.3f}, before {before['nDCG@20']:.3f}"
        )
    if limit is not None and system != baseline:
        best = attainable(limit[limit["pairs"] == where], after["nDCG@20"])
        share = (after["alignment"] - before["alignment"]) / (best - before["alignment"])
        metrics["share of the attainable gain"] = round(share, 4)
        sentence += f"; that is {share:.0%} of what an order could gain at that nDCG ({best:.3f})"
    return metrics, sentence + ". One run, no verdict."
