"""The documents of one split, searched from both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from matchlib.data.schema import TASKS, DataError
from matchlib.retrieval.metrics import qrels_from_labels, rank
from matchlib.retrieval.search import Hits

HitsByTask = dict[str, Hits]
"""What a system found, for each task: rank_resumes (jobs are queries), rank_jobs (resumes are)."""


@dataclass(frozen=True)
class Side:
    """The documents that are queries, or candidates, in a task, and the column of their ids."""

    documents: pd.DataFrame
    id_column: str

    @property
    def ids(self) -> list[str]:
        return self.documents[self.id_column].tolist()

    @property
    def texts(self) -> list[str]:
        return self.documents["text"].tolist()


@dataclass(frozen=True)
class Corpus:
    """The jobs and resumes of one split; each side is searched with the other.

    Where there are pools (task, query_id, candidate_id), each query's own pool is searched. tasks:
    which sides search.
    """

    jobs: pd.DataFrame
    resumes: pd.DataFrame
    pools: pd.DataFrame | None = None
    tasks: Sequence[str] = TASKS

    @classmethod
    def of_split(
        cls, tables: Mapping[str, pd.DataFrame], split: str, *, tasks: Sequence[str] = TASKS
    ) -> Corpus:
        """The documents of one split of a set of tables; pools belong to the test split."""
        jobs = tables["jobs"]
        resumes = tables["resumes"]
        return cls(
            jobs=jobs[jobs["split"] == split].reset_index(drop=True),
            resumes=resumes[resumes["split"] == split].reset_index(drop=True),
            pools=tables.get("pools") if split == "test" else None,
            tasks=tasks,
        )

    def sides(self, task: str) -> tuple[Side, Side]:
        """(queries, candidates) of a task."""
        jobs = Side(self.jobs, "job_id")
        resumes = Side(self.resumes, "resume_id")
        return (jobs, resumes) if task == "rank_resumes" else (resumes, jobs)

    def pool(self, task: str) -> list[np.ndarray] | None:
        """(Q,) positions of every query's candidates, none for a query without a pool.

        None where all candidates are searched.
        """
        if self.pools is None:
            return None
        rows = self.pools[self.pools["task"] == task]
        if rows.empty:
            return None
        queries, candidates = self.sides(task)
        position_of = pd.Series(range(len(candidates.ids)), index=candidates.ids)
        positions = position_of.reindex(rows["candidate_id"])
        is_unknown = positions.isna()
        if is_unknown.any():
            unknown = positions.index[is_unknown][0]
            raise DataError(f"{task}: candidate {unknown!r} of a pool is not in the test split")
        query_of_row = rows["query_id"].to_numpy()
        by_query = positions.astype(int).groupby(query_of_row).agg(list)
        return [np.array(by_query.get(query, []), dtype=int) for query in queries.ids]

    def clusters(self, column: str) -> dict[str, pd.Series] | None:
        """Task -> query_id -> value of a column that both tables must have; None if column is ""."""
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

    def rank(
        self, hits: HitsByTask, *, depth: int | None = None, ties: str = "hash"
    ) -> dict[str, pd.DataFrame]:
        """A ranking for each task; depth and ties as in `metrics.rank`."""
        rankings = {}
        for task, found in hits.items():
            queries, candidates = self.sides(task)
            rankings[task] = rank(
                queries.ids,
                candidates.ids,
                found.positions,
                found.scores,
                depth=depth,
                ties=ties,
            )
        return rankings


def rows_of_split(tables: Mapping[str, pd.DataFrame], split: str) -> dict[str, pd.DataFrame]:
    """Each table's rows of one split; a table without a column split (pools) whole."""
    rows = {}
    for name, table in tables.items():
        rows[name] = table[table["split"] == split] if "split" in table else table
    return rows


def judgment_sets(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """What systems are judged by, by name.

    tables: labels and perhaps truth of the test split, and pools.
    Returns observed (labels, or pools where a task has them), graded where the data has grades, and
    true_fit where the truth is known: pairs job_id, resume_id, label (default 1), or qrels.
    """
    observed = tables["labels"]
    if "pools" in tables:
        observed = _with_pools(observed, tables["pools"])
    sets = {"observed": observed}
    if "grade" in tables["labels"]:
        sets["graded"] = tables["labels"].assign(label=tables["labels"]["grade"])
    if "truth" in tables:
        sets["true_fit"] = tables["truth"]
    return sets


def without_equal_texts(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The labels of jobs whose text is no resume's: pairs that equal letters alone do not answer.

    tables: jobs, resumes, labels of one split; capital letters do not count.
    """
    jobs = tables["jobs"]
    is_candidate = jobs["text"].str.lower().isin(set(tables["resumes"]["text"].str.lower()))
    equal = set(jobs["job_id"][is_candidate])
    return tables["labels"][~tables["labels"]["job_id"].isin(equal)]


def _with_pools(labels: pd.DataFrame, pools: pd.DataFrame) -> pd.DataFrame:
    """Qrels of both tasks: the pools, and the labels for a task without pools."""
    parts = [pools]
    for task in TASKS:
        if task not in set(pools["task"]):
            parts.append(qrels_from_labels(labels, task).assign(task=task))
    return pd.concat(parts, ignore_index=True)
