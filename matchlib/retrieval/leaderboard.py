"""Systems on a corpus in both directions, tuned where they have a weight, and the table that
compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from matchlib.data.schema import TASKS, DataError
from matchlib.retrieval.alignment import by_job, compare_with
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.metrics import compare_systems, qrels_from_labels, rank, score_queries
from matchlib.retrieval.search import (
    Hits,
    best_of,
    fuse_by_rank,
    fuse_by_weight,
    search_bm25,
    search_dense,
)
from matchlib.stats import holm

WEIGHTS = tuple(round(0.1 * i, 1) for i in range(11))
SYSTEM_NAMES = {"stage1": "stage 1", "raw": "the untrained encoder"}
BothWays = dict[str, Hits]
"""A system's hits for each task: rank_resumes (jobs ask) and rank_jobs (resumes ask)."""


@dataclass(frozen=True)
class Corpus:
    """The jobs and resumes of one split; each side is searched with the other, or where there are
    pools (task, query_id, candidate_id), each query's own pool is."""

    jobs: pd.DataFrame
    resumes: pd.DataFrame
    pools: pd.DataFrame | None = None

    @classmethod
    def of_split(cls, tables: Mapping[str, pd.DataFrame], split: str) -> Corpus:
        """The documents of one split of a set of tables; pools belong to the test split."""
        return cls(
            *(
                tables[name][tables[name]["split"] == split].reset_index(drop=True)
                for name in ("jobs", "resumes")
            ),
            tables.get("pools") if split == "test" else None,
        )

    def pool(self, task: str) -> list[np.ndarray] | None:
        """(Q,) positions of every query's candidates, none for a query without a pool; None: all
        candidates."""
        if self.pools is None or not (self.pools["task"] == task).any():
            return None
        queries, query_id, candidates, candidate_id = self.sides(task)
        rows = self.pools[self.pools["task"] == task]
        place = pd.Series(range(len(candidates)), index=candidates[candidate_id])
        found = place.reindex(rows["candidate_id"])
        if found.isna().any():
            raise DataError(
                f"{task}: candidate {found.index[found.isna()][0]!r} of a pool is not in the test split"
            )
        by_query = found.astype(int).groupby(rows["query_id"].to_numpy()).agg(list).to_dict()
        return [np.array(by_query.get(query, []), dtype=int) for query in queries[query_id]]

    def sides(self, task: str) -> tuple[pd.DataFrame, str, pd.DataFrame, str]:
        """(queries, their id column, candidates, their id column) of a task."""
        jobs, resumes = (self.jobs, "job_id"), (self.resumes, "resume_id")
        return (*jobs, *resumes) if task == "rank_resumes" else (*resumes, *jobs)

    def clusters(self, column: str) -> dict[str, pd.Series] | None:
        """task -> query_id -> value of a column that both tables must have; None if column is ""."""
        if not column:
            return None
        if column not in self.jobs or column not in self.resumes:
            raise DataError(
                f"jobs and resumes do not both have a column {column!r} to cluster queries by; set "
                f"cluster_by: '' to take queries as independent"
            )
        return {
            "rank_resumes": self.jobs.set_index("job_id")[column],
            "rank_jobs": self.resumes.set_index("resume_id")[column],
        }

    def rank(self, hits: BothWays, *, depth: int | None = None) -> dict[str, pd.DataFrame]:
        """A ranking for each task, ties by a hash of the id."""
        rankings = {}
        for task, found in hits.items():
            queries, query_id, candidates, candidate_id = self.sides(task)
            rankings[task] = rank(
                list(queries[query_id]),
                list(candidates[candidate_id]),
                found.positions,
                found.scores,
                depth=depth,
            )
        return rankings


def bm25(corpus: Corpus, *, language: str = "english", segment: str = "characters") -> BothWays:
    """BM25 both ways; language and segment as in `search_bm25`."""
    return {
        task: search_bm25(
            list(queries["text"]),
            list(candidates["text"]),
            pools=corpus.pool(task),
            language=language,
            segment=segment,
        )
        for task in TASKS
        for queries, _, candidates, _ in [corpus.sides(task)]
    }


def dense(corpus: Corpus, encoder: Encoder) -> BothWays:
    """An encoder both ways."""
    jobs = encoder.encode_jobs(list(corpus.jobs["text"]))
    resumes = encoder.encode_resumes(list(corpus.resumes["text"]))
    return {
        "rank_resumes": search_dense(jobs, resumes, pools=corpus.pool("rank_resumes")),
        "rank_jobs": search_dense(resumes, jobs, pools=corpus.pool("rank_jobs")),
    }


def count_lines(texts: pd.Series) -> np.ndarray:
    """(n,) int lines that hold anything; blank ones tell how a file was made, not how long a
    document is."""
    return texts.str.count(r"(?m)^.*\S").to_numpy()


def length(corpus: Corpus) -> BothWays:
    """The trivial system: the candidate with more lines is better, whatever the query."""
    hits = {}
    for task in TASKS:
        queries, _, candidates, _ = corpus.sides(task)
        lines = count_lines(candidates["text"]).astype(np.float32)
        hits[task] = best_of(
            (lines for _ in range(len(queries))), len(queries), len(lines), pools=corpus.pool(task)
        )
    return hits


def mix(corpus: Corpus, first: BothWays, second: BothWays, weight: float | None) -> BothWays:
    """(1 - weight) of the first system's standardised scores and weight of the second's; None:
    reciprocal ranks."""
    mixed = {}
    for task in TASKS:
        systems, n = [first[task], second[task]], len(corpus.sides(task)[2])
        mixed[task] = (
            fuse_by_rank(systems, n)
            if weight is None
            else fuse_by_weight(systems, n, [1 - weight, weight])
        )
    return mixed


def tune_mix(
    corpus: Corpus, first: BothWays, second: BothWays, labels: pd.DataFrame
) -> pd.DataFrame:
    """Validation nDCG@10 of every weight: a frame weight, ndcg (the mean of both tasks)."""
    rows = []
    for weight in WEIGHTS:
        rankings = corpus.rank(mix(corpus, first, second, weight))
        values = [
            score_queries(ranking, qrels_from_labels(labels, task), ["nDCG@10"])["value"].mean()
            for task, ranking in rankings.items()
        ]
        rows.append({"weight": weight, "ndcg": float(np.mean(values))})
    return pd.DataFrame(rows)


def best_weight(tuned: pd.DataFrame) -> float:
    """The weight with the best validation score, the smallest of equals."""
    return float(tuned.loc[tuned["ndcg"].idxmax(), "weight"])


def rows_of_split(tables: Mapping[str, pd.DataFrame], split: str) -> dict[str, pd.DataFrame]:
    """Each table's rows of one split; a table without a column split (pools) whole."""
    rows = {}
    for name, table in tables.items():
        rows[name] = table[table["split"] == split] if "split" in table else table
    return rows


def rows_of_split(tables: Mapping[str, pd.DataFrame], split: str) -> dict[str, pd.DataFrame]:
    """Each table's rows of one split; a table without a column split (pools) whole."""
    rows = {}
    for name, table in tables.items():
        rows[name] = table[table["split"] == split] if "split" in table else table
    return rows


def channels_of(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Who judges the test split, by name: observed labels, or pools where a task has them; graded
    labels where the data has grades; true_fit where the truth is known.

    tables: labels and perhaps truth of the test split, and pools.
    """
    observed = tables["labels"]
    if "pools" in tables:
        pooled = set(tables["pools"]["task"])
        rest = [
            qrels_from_labels(observed, task).assign(task=task)
            for task in TASKS
            if task not in pooled
        ]
        observed = pd.concat([tables["pools"], *rest], ignore_index=True)
    channels = {"observed": observed}
    if "grade" in tables["labels"]:
        channels["graded"] = tables["labels"].assign(label=tables["labels"]["grade"])
    return channels | ({"true_fit": tables["truth"]} if "truth" in tables else {})


def build_leaderboard(
    rankings: Mapping[str, Mapping[str, pd.DataFrame]],
    channels: Mapping[str, pd.DataFrame],
    *,
    measures: Sequence[str],
    baselines: Sequence[str],
    clusters: Mapping[str, pd.Series] | None,
    facts: Mapping[str, object],
    complete: Sequence[str] = ("true_fit",),
) -> pd.DataFrame:
    """Score every system in every task against every channel and test it against each baseline.

    rankings: system -> task -> ranking; channels: name -> pairs (job_id, resume_id, label default
    1);
    clusters: task -> query_id -> cluster, or None; facts: columns to repeat, e.g. dataset,
    label_source, seed;
    complete: channels that list every positive there is, where all pairs are judged and Judged@k is
    left out.
    Returns the facts' columns and channel, system, task, measure, value, low, high, n, n_clusters,
    baseline,
    difference, difference_low, difference_high, p, p_holm (see `corrected`): one row a baseline,
    and one for a baseline itself.
    """
    if absent := set(baselines) - set(rankings):
        raise DataError(
            f"baseline {sorted(absent)[0]!r} is not among the systems {', '.join(rankings)}"
        )
    tables = []
    for channel, pairs in channels.items():
        for task in TASKS:
            qrels = qrels_from_labels(pairs, task)
            wanted = [
                m
                for m in dict.fromkeys(measures)
                if not (channel in complete and m.startswith("Judged"))
            ]
            scores = pd.concat(
                [
                    score_queries(by_task[task], qrels, wanted).assign(system=system)
                    for system, by_task in rankings.items()
                ]
            )
            for baseline in baselines:
                table = compare_systems(
                    scores, baseline=baseline, clusters=clusters and clusters[task]
                )
                tables.append(table.assign(channel=channel, task=task, baseline=baseline))
    board = pd.concat(tables, ignore_index=True).assign(**facts)
    first = [
        *facts,
        "channel",
        "system",
        "task",
        "measure",
        "value",
        "low",
        "high",
        "n",
        "n_clusters",
        "baseline",
    ]
    return corrected(board)[
        [*first, "difference", "difference_low", "difference_high", "p", "p_holm"]
    ]


def corrected(board: pd.DataFrame) -> pd.DataFrame:
    """The board with p_holm: Holm's adjustment over all pairs of system and baseline of one
    channel, task and measure, two baselines' pair counted once."""
    board = board.assign(
        pair=[
            " and ".join(sorted(pair))
            for pair in zip(board["system"], board["baseline"], strict=True)
        ]
    )
    family, key = ["channel", "task", "measure"], ["channel", "task", "measure", "pair"]
    tests = board.dropna(subset="p").drop_duplicates(key)
    tests = tests.assign(
        p_holm=tests.groupby(family)["p"].transform(lambda p: holm(p.to_numpy(float)))
    )
    return board.merge(tests[[*key, "p_holm"]], how="left", on=key).drop(columns="pair")


def published() -> pd.DataFrame:
    """What papers report of their systems on their own data, in percent: paper, system, a column a
    measure."""
    return pd.read_csv(Path(__file__).with_name("published.csv"))


def score_matrix(hits: BothWays, corpus: Corpus) -> np.ndarray:
    """(J, R) scores of rank_resumes; -inf where a resume was not retrieved."""
    found = hits["rank_resumes"]
    scores = np.full((len(corpus.jobs), len(corpus.resumes)), -np.inf)
    row, column = np.nonzero(found.positions >= 0)
    scores[row, found.positions[row, column]] = found.scores[row, column]
    return scores


def alignment_rows(
    systems: Mapping[str, BothWays],
    corpus: Corpus,
    judged: Mapping[str, pd.DataFrame],
    *,
    baselines: Sequence[str],
    clusters: Mapping[str, pd.Series] | None,
    facts: Mapping[str, object],
) -> pd.DataFrame:
    """Rows of `build_leaderboard` with alignment as the measure: agreement with a judge's
    preferences, a job a query.

    judged: name of the set of pairs -> preferences; the channel is judge, the measure "alignment,
    <name>".
    """
    part, tables = {"jobs": corpus.jobs, "resumes": corpus.resumes}, []
    for where, preferences in judged.items():
        scores = pd.concat(
            [
                by_job(compare_with(preferences, score_matrix(hits, corpus), part))
                .rename("value")
                .rename_axis("query_id")
                .reset_index()
                .assign(system=system, measure=f"alignment, {where}")
                for system, hits in systems.items()
            ]
        )
        tables += [
            compare_systems(
                scores, baseline=baseline, clusters=clusters and clusters["rank_resumes"]
            ).assign(baseline=baseline)
            for baseline in baselines
        ]
    return corrected(
        pd.concat(tables, ignore_index=True).assign(**facts, channel="judge", task="rank_resumes")
    )


def frontier_rows(kept: pd.DataFrame, facts: Mapping[str, object]) -> pd.DataFrame:
    """Rows of `build_leaderboard` from `alignment.at_equal_alignment`, for the ledger to read: a
    system is a curve, and the measure names the two that are compared, in the order of the
    alphabet."""
    both = [" and ".join(sorted(pair)) for pair in zip(kept["curve"], kept["against"], strict=True)]
    rows = kept.rename(columns={"curve": "system", "ndcg": "value"})[["system", "value"]]
    return rows.assign(
        **facts,
        channel="rule",
        task="rank_resumes",
        measure=[f"nDCG@20 at equal alignment: {pair}" for pair in both],
    )


def overview(board: pd.DataFrame, *, channel: str, task: str, baseline: str) -> pd.DataFrame:
    """One row a system: the first measure's value with its interval in brackets, its test, the
    other measures', n."""
    part = board[
        board["channel"].eq(channel) & board["task"].eq(task) & board["baseline"].eq(baseline)
    ]
    text = part.assign(
        cell=[
            f"{v:.3f} {_interval(low, high)}"
            for v, low, high in zip(part["value"], part["low"], part["high"], strict=True)
        ]
    )
    measures = list(dict.fromkeys(part["measure"]))
    systems = list(dict.fromkeys(part["system"]))
    table = text.pivot(index="system", columns="measure", values="cell").loc[systems, measures]
    first = part[part["measure"] == measures[0]].set_index("system")
    table = table.join(first[["difference", "p", "p_holm", "n", "n_clusters"]]).reset_index()
    return table[
        ["system", measures[0], "difference", "p", "p_holm", *measures[1:], "n", "n_clusters"]
    ]


def beside_validation(
    board: pd.DataFrame, arms: Mapping[str, Mapping[str, float]], *, measure: str
) -> pd.DataFrame:
    """One row a trained arm, best on validation first, beside what the test says: means of both
    tasks, by channel.

    arms: name -> facts known before the test was looked at, `validation` among them. The choice is
    the first row's; that another row is better on the test is what choosing costs.
    """
    part = board[board["measure"].eq(measure) & board["system"].isin(list(arms))]
    once = part.drop_duplicates(["channel", "system", "task"])
    means = once.pivot_table(index="system", columns="channel", values="value", sort=False)
    known = pd.DataFrame.from_dict(arms, orient="index").rename_axis("system")
    table = known.join(means.add_prefix("test, ")).sort_values(
        "validation", ascending=False, kind="stable"
    )
    return table.reset_index()


def gain_parts(
    board: pd.DataFrame,
    *,
    measure: str,
    system: str = "stage1",
    control: str = "applicants",
    start: str = "raw",
) -> pd.DataFrame:
    """How much of a system's gain over the untrained encoder a control has that never saw a
    decision.

    board: of `build_leaderboard`, with `start` and `control` among its baselines. Returns channel,
    task, the value of all three, by_applying (control - start), by_deciding (system - control),
    deciding_low, deciding_high (95%), p_holm, n (queries), n_clusters.
    """
    part = board[board["measure"] == measure]
    values = part.drop_duplicates(["channel", "task", "system"]).set_index(
        ["channel", "task", "system"]
    )["value"]
    decided = part[part["system"].eq(system) & part["baseline"].eq(control)]
    rows = []
    for row in decided.to_dict("records"):
        three = {
            name: values[row["channel"], row["task"], name] for name in (start, control, system)
        }
        rows.append(
            {
                "channel": row["channel"],
                "task": row["task"],
                **three,
                "by_applying": three[control] - three[start],
                "by_deciding": row["difference"],
                "deciding_low": row["difference_low"],
                "deciding_high": row["difference_high"],
                "p_holm": row["p_holm"],
                "n": row["n"],
                "n_clusters": row["n_clusters"],
            }
        )
    return pd.DataFrame(rows)


def seeds_apart(board: pd.DataFrame, *, measure: str) -> pd.DataFrame:
    """What the training seed alone changes: one row a channel, task and system that was trained
    more than once.

    Trainings of one system are named system, system@2, system@3, ... Returns channel, task, system,
    trainings, mean, lowest, highest, and queries: the mean width of their intervals over queries,
    to compare the spread with.
    """
    once = board[board["measure"] == measure].drop_duplicates(["channel", "task", "system"])
    once = once.assign(
        system=once["system"].str.split("@").str[0], width=once["high"] - once["low"]
    )
    table = (
        once.groupby(["channel", "task", "system"], sort=False)
        .agg(
            trainings=("value", "size"),
            mean=("value", "mean"),
            lowest=("value", "min"),
            highest=("value", "max"),
            queries=("width", "mean"),
        )
        .reset_index()
    )
    return table[table["trainings"] > 1].reset_index(drop=True)


def headline(board: pd.DataFrame, *, measure: str, system: str = "stage1") -> str:
    """The answer in words: a system against every baseline, by task, on the channel furthest from
    the labels."""
    channel = board["channel"].iloc[-1]
    part = board[
        board["system"].eq(system) & board["measure"].eq(measure) & board["channel"].eq(channel)
    ]
    clauses = []
    for task, rows in part[part["baseline"] != system].groupby("task", sort=False):
        gaps = [
            f"{row.difference:+.3f} {_interval(row.difference_low, row.difference_high, '+')} over {row.baseline}"
            for row in rows.itertuples()
        ]
        clauses.append(
            f"{rows['value'].iloc[0]:.3f} when it {task.replace('_', 's ')}, {' and '.join(gaps)}"
        )
    judge = {
        "true_fit": "who truly fits",
        "observed": "the labels left for the test",
        "graded": "graded labels",
    }
    return (
        f"Judged by {judge[channel]}, {SYSTEM_NAMES.get(system, system)} reaches {measure} "
        f"{'; '.join(clauses)} (95% intervals). One run: a difference on these queries, not a verdict."
    )


def _interval(low: float, high: float, sign: str = "") -> str:
    return (
        "(no interval)" if np.isnan(low) else f"[{low:{sign}.3f}, {high:{sign}.3f}]"
    )  # one query has none


def key_figures(board: pd.DataFrame, *, measure: str) -> dict[str, float]:
    """{"system, task": value} of one measure on the channel furthest from the labels, stage 1 and
    its rivals first."""
    part = board[board["measure"].eq(measure) & board["channel"].eq(board["channel"].iloc[-1])]
    values = part.drop_duplicates(["system", "task"]).set_index(["system", "task"])["value"]
    first = [system for system in ("stage1", "raw", "bm25") if system in values.index]
    order = [*first, *(system for system in values.index.unique("system") if system not in first)]
    return {
        f"{system}, {task.replace('_', ' ')}": round(values[system, task], 4)
        for system in order
        for task in TASKS
    }
