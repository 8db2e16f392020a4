"""The leaderboard: every system, task and measure with its interval and its test against baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from matchlib.data.schema import TASKS, DataError
from matchlib.retrieval.alignment import by_job, compare_with
from matchlib.retrieval.corpus import Corpus, HitsByTask
from matchlib.retrieval.metrics import (
    compare_systems,
    qrels_from_labels,
    score_queries,
    unanswerable,
)
from matchlib.retrieval.systems import score_matrix
from matchlib.stats import holm

SYSTEM_LABELS = {"stage1": "stage 1", "pretrained": "the pretrained encoder"}
"""How a headline calls a system."""
JUDGMENT_LABELS = {
    "true_fit": "who truly fits",
    "graded": "graded labels",
    "observed": "the labels left for the test",
}
"""The sets of judgments that a headline may rest on, the one furthest from the labels first."""
COMPLETE = ("true_fit",)
"""Sets of judgments that list every positive there is: all pairs are judged, so Judged@k says nothing."""

_IS_P_VALUE = pa.Check.in_range(0, 1)
_AT_LEAST_1 = pa.Check.ge(1)
SCHEMA = pa.DataFrameSchema(
    {
        "judgments": pa.Column(str),
        "system": pa.Column(str),
        "task": pa.Column(str, pa.Check.isin(TASKS)),
        "measure": pa.Column(str),
        "value": pa.Column(float),
        "low": pa.Column(float, nullable=True),
        "high": pa.Column(float, nullable=True),
        "n": pa.Column(float, _AT_LEAST_1, nullable=True, coerce=True),
        "n_clusters": pa.Column(float, nullable=True, coerce=True),
        "baseline": pa.Column(str, nullable=True),
        "difference": pa.Column(float, nullable=True),
        "difference_low": pa.Column(float, nullable=True),
        "difference_high": pa.Column(float, nullable=True),
        "p": pa.Column(float, _IS_P_VALUE, nullable=True),
        "p_holm": pa.Column(float, _IS_P_VALUE, nullable=True),
    }
)
"""leaderboard.csv: one row a set of judgments, system, task, measure and baseline; the
difference and its test are empty where the system is the baseline itself."""
KEY = ["judgments", "system", "task", "measure", "baseline"]
"""Columns that tell the rows of a leaderboard apart."""


def write_leaderboard(board: pd.DataFrame, path: Path) -> None:
    """Check a leaderboard against SCHEMA and write it as CSV. Raises ValueError on a repeated row."""
    SCHEMA.validate(board)
    repeated = board[board.duplicated(KEY)]
    if len(repeated):
        raise ValueError(f"the leaderboard holds {repeated.iloc[0][KEY].to_dict()} twice")
    board.to_csv(path, index=False)


def build_leaderboard(
    rankings: Mapping[str, Mapping[str, pd.DataFrame]],
    judgments: Mapping[str, pd.DataFrame],
    *,
    measures: Sequence[str],
    baselines: Sequence[str],
    clusters: Mapping[str, pd.Series] | None,
    facts: Mapping[str, object],
) -> pd.DataFrame:
    """Score every system in every task by every set of judgments, and test it against each baseline.

    rankings: system -> task -> ranking; judgments: see `corpus.judgment_sets`; measures: names of
    ir_measures; clusters: task -> query_id -> cluster, or None; facts: columns to repeat, e.g.
    dataset, seed. Returns the facts' columns and those of SCHEMA: one row a baseline, and one for a
    baseline itself.
    """
    if absent := set(baselines) - set(rankings):
        systems = ", ".join(rankings)
        raise DataError(f"baseline {sorted(absent)[0]!r} is not among the systems {systems}")
    tables = []
    for name, pairs in judgments.items():
        told = measures_of(name, measures)
        for task in next(iter(rankings.values())):
            scores = _score_systems(rankings, pairs, task, told)
            cluster_of_query = None if clusters is None else clusters[task]
            table = _compare_with_each(scores, baselines, cluster_of_query)
            tables.append(table.assign(judgments=name, task=task))
    board = pd.concat(tables, ignore_index=True).assign(**facts)
    adjusted = adjust_for_multiplicity(board)
    return adjusted[[*facts, *SCHEMA.columns]]


def count_left_out(
    judgments: Mapping[str, pd.DataFrame], *, tasks: Sequence[str] = TASKS
) -> pd.DataFrame:
    """Queries with labels but no positive, which no measure is taken of, by task and judgments."""
    rows = []
    for name, pairs in judgments.items():
        for task in tasks:
            n_left_out = unanswerable(qrels_from_labels(pairs, task))
            rows.append({"judged by": name, "task": task, "queries left out": n_left_out})
    return pd.DataFrame(rows)


def add_rows(board: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard with further rows before its own; of their columns those that it has."""
    return pd.concat([rows, board], ignore_index=True)[board.columns]


def measures_of(judgments: str, measures: Sequence[str]) -> list[str]:
    """The measures, each once, that say something about a set of judgments."""
    unique = dict.fromkeys(measures)
    if judgments in COMPLETE:
        return [measure for measure in unique if not measure.startswith("Judged")]
    return list(unique)


def _score_systems(
    rankings: Mapping[str, Mapping[str, pd.DataFrame]],
    pairs: pd.DataFrame,
    task: str,
    measures: Sequence[str],
) -> pd.DataFrame:
    qrels = qrels_from_labels(pairs, task)
    tables = []
    for system, by_task in rankings.items():
        scores = score_queries(by_task[task], qrels, measures)
        tables.append(scores.assign(system=system))
    return pd.concat(tables)


def _compare_with_each(
    scores: pd.DataFrame,
    baselines: Sequence[str],
    clusters: pd.Series | None,
) -> pd.DataFrame:
    """`compare_systems` with every baseline, one below the other."""
    tables = []
    for baseline in baselines:
        table = compare_systems(scores, baseline=baseline, clusters=clusters)
        tables.append(table.assign(baseline=baseline))
    return pd.concat(tables)


def adjust_for_multiplicity(board: pd.DataFrame) -> pd.DataFrame:
    """The board with p_holm: Holm's adjustment within each set of judgments, task and measure.

    All pairs of a system and a baseline are one family; a pair of two baselines counts once.
    """
    family = ["judgments", "task", "measure"]
    board = board.assign(pair=_pair_names(board["system"], board["baseline"]))
    tests = board.dropna(subset="p").drop_duplicates([*family, "pair"])
    p_by_family = tests.groupby(family)["p"]
    adjusted = p_by_family.transform(lambda p: holm(p.to_numpy(float)))
    keys = [*family, "pair"]
    p_holm = tests[keys].assign(p_holm=adjusted)
    return board.merge(p_holm, how="left", on=keys).drop(columns="pair")


def _pair_names(first: pd.Series, second: pd.Series) -> list[str]:
    """The two of each row in alphabetical order, so that a pair has one name both ways round."""
    names = []
    for pair in zip(first, second, strict=True):
        names.append(" and ".join(sorted(pair)))
    return names


def alignment_rows(
    systems: Mapping[str, HitsByTask],
    corpus: Corpus,
    preferences: Mapping[str, pd.DataFrame],
    *,
    baselines: Sequence[str],
    clusters: Mapping[str, pd.Series] | None,
    facts: Mapping[str, object],
) -> pd.DataFrame:
    """Rows of the leaderboard with alignment as the measure: agreement with preferences, a job a query.

    preferences: name of the set of pairs -> preferences. The judgments are "judge", the measure
    "alignment, <name>".
    """
    part = {"jobs": corpus.jobs, "resumes": corpus.resumes}
    cluster_of_job = None if clusters is None else clusters["rank_resumes"]
    tables = []
    for name, rows in preferences.items():
        scores = []
        for system, hits in systems.items():
            compared = compare_with(rows, score_matrix(hits, corpus), part)
            agreement = by_job(compared).rename("value")
            values = agreement.rename_axis("query_id").reset_index()
            scores.append(values.assign(system=system, measure=f"alignment, {name}"))
        tables.append(_compare_with_each(pd.concat(scores), baselines, cluster_of_job))
    board = pd.concat(tables, ignore_index=True)
    board = board.assign(**facts, judgments="judge", task="rank_resumes")
    return adjust_for_multiplicity(board)


def frontier_rows(kept: pd.DataFrame, facts: Mapping[str, object]) -> pd.DataFrame:
    """Rows of the leaderboard from `alignment.at_equal_alignment`, for the ledger to read.

    A system is a curve; the measure names the two that are compared, in alphabetical order.
    """
    measures = []
    for pair in _pair_names(kept["curve"], kept["against"]):
        measures.append(f"nDCG@20 at equal alignment: {pair}")
    rows = pd.DataFrame({"system": kept["curve"], "value": kept["ndcg"]})
    return rows.assign(**facts, judgments="rule", task="rank_resumes", measure=measures)


def overview(
    board: pd.DataFrame,
    *,
    judgments: str,
    task: str,
    baseline: str,
    measures: Sequence[str],
) -> pd.DataFrame:
    """One row a system, for reading: each measure's value with its interval, the first one's test, n."""
    is_asked = board["judgments"].eq(judgments) & board["task"].eq(task)
    part = board[is_asked & board["baseline"].eq(baseline)]
    measured = set(part["measure"])
    measures = [measure for measure in measures if measure in measured]
    primary = measures[0]
    cells = []
    for row in part.itertuples():
        cells.append(f"{row.value:.3f} {_interval(row.low, row.high)}")
    text = part.assign(cell=cells)
    by_system = text.pivot(index="system", columns="measure", values="cell")
    tests = part[part["measure"] == primary].set_index("system")
    table = by_system.join(tests[["difference", "p", "p_holm", "n", "n_clusters"]])
    in_order = table.loc[part["system"].unique()].reset_index()
    test_columns = ["difference", "p", "p_holm"]
    return in_order[["system", primary, *test_columns, *measures[1:], "n", "n_clusters"]]


def beside_published(
    board: pd.DataFrame,
    published: pd.DataFrame,
    *,
    task: str,
    measures: Sequence[str],
) -> pd.DataFrame:
    """One row a system, ours with intervals and the published ones without, the best first.

    published: of `published.read_published`, figures of this very test. Judged by observed labels.
    Returns system, origin (here, or published) and the measures as text.
    """
    is_asked = board["judgments"].eq("observed") & board["task"].eq(task)
    own = board[is_asked].drop_duplicates(["system", "measure"]).assign(origin="here")
    others = published[published["task"] == task].assign(origin="published")
    rows = pd.concat([own, others])
    rows = rows[rows["measure"].isin(measures)]
    cells = []
    for row in rows.itertuples():
        interval = "" if np.isnan(row.low) else f" {_interval(row.low, row.high)}"
        cells.append(f"{row.value:.3f}{interval}")
    by_system = rows.assign(cell=cells).set_index(["system", "origin", "measure"])
    table = by_system["cell"].unstack("measure").reindex(columns=list(measures))
    order = by_system["value"].unstack("measure")[measures[0]].sort_values(ascending=False)
    return table.loc[order.index].rename_axis(columns=None).reset_index()


def primary_judgments(board: pd.DataFrame) -> str:
    """The set of judgments furthest from the labels that a leaderboard has."""
    present = set(board["judgments"])
    return next(name for name in JUDGMENT_LABELS if name in present)


def headline(board: pd.DataFrame, *, measure: str, system: str = "stage1") -> str:
    """The answer in words: a system against every baseline, by task, on `primary_judgments`."""
    judgments = primary_judgments(board)
    is_own = board["system"].eq(system) & board["measure"].eq(measure)
    part = board[is_own & board["judgments"].eq(judgments)]
    compared = part[part["baseline"] != system]
    clauses = []
    for task, rows in compared.groupby("task", sort=False):
        gaps = []
        for row in rows.itertuples():
            interval = _interval(row.difference_low, row.difference_high, "+")
            gaps.append(f"{row.difference:+.3f} {interval} over {row.baseline}")
        value = rows["value"].iloc[0]
        does = task.replace("_", "s ")  # "ranks resumes"
        clauses.append(f"{value:.3f} when it {does}, {' and '.join(gaps)}")
    judged_by = JUDGMENT_LABELS[judgments]
    name = SYSTEM_LABELS.get(system, system)
    return (
        f"Judged by {judged_by}, {name} reaches {measure} {'; '.join(clauses)} (95% intervals). "
        f"One run: a difference on these queries, not a verdict."
    )


def _interval(low: float, high: float, sign: str = "") -> str:
    """An interval in brackets; one query has none."""
    if np.isnan(low):
        return "(no interval)"
    return f"[{low:{sign}.3f}, {high:{sign}.3f}]"


def key_figures(board: pd.DataFrame, *, measure: str) -> dict[str, float]:
    """{"<system>.<task>": value} of one measure on `primary_judgments`; stage 1 and its rivals first."""
    judgments = primary_judgments(board)
    part = board[board["measure"].eq(measure) & board["judgments"].eq(judgments)]
    once = part.drop_duplicates(["system", "task"])
    values = once.set_index(["system", "task"])["value"]
    present = list(once["system"].unique())
    first = [system for system in ("stage1", "pretrained", "bm25") if system in present]
    others = [system for system in present if system not in first]
    figures = {}
    for system in first + others:
        for task in part["task"].unique():
            figures[f"{system}.{task}"] = round(values[system, task], 4)
    return figures
