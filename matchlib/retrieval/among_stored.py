"""How an encoder ranks a test job's resumes among all resumes whose vectors are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from matchlib.data.schema import DataError
from matchlib.retrieval.corpus import Corpus
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.metrics import rank, score_queries
from matchlib.retrieval.shards import ShardedVectors
from matchlib.stats import mean_interval

DEPTH = 1_000
"""Candidates of a query that are ranked; a positive further down counts as not found."""


def score_among_stored(
    test: Corpus,
    ranking: pd.DataFrame,
    encoder: Encoder,
    vectors: ShardedVectors,
    qrels: pd.DataFrame,
    *,
    measures: Sequence[str],
    clusters: Mapping[str, pd.Series] | None = None,
) -> pd.DataFrame:
    """An encoder's figures for test jobs among the test's resumes and among all stored ones.

    ranking: of the encoder, rank_resumes, among the test's resumes; vectors: of the same encoder;
    qrels: of rank_resumes; clusters: as of `Corpus.clusters`. Stored resumes without a label count
    as not fitting, as everywhere. Returns measure, among, candidates, n, value, low, high (95%).
    Raises DataError unless every positive resume is stored: it could not be found.
    """
    positives = qrels.loc[qrels["label"] > 0, "candidate_id"].unique()
    stored = vectors.find(positives, [])["id"]
    if missing := sorted(set(positives) - set(stored)):
        raise DataError(
            f"{len(missing):,} of {len(positives):,} resumes that fit a test job are not among the stored ones, "
            f"first {missing[0]!r}; embed the resumes of the data too, under the same ids"
        )
    hits = vectors.top_k(encoder.encode_jobs(test.jobs["text"].tolist()), DEPTH)
    documents, numbers = vectors.listed(hits.positions)
    among_all = rank(test.jobs["job_id"].tolist(), documents["id"].tolist(), numbers, hits.scores)
    ranking_among = {"test": ranking, "all stored": among_all}
    n_candidates = {"test": len(test.resumes), "all stored": len(vectors)}
    rows = []
    for among, ranked in ranking_among.items():
        for measure, values in score_queries(ranked, qrels, measures).groupby("measure"):
            cluster_of_query = None
            if clusters is not None:
                cluster_of_query = clusters["rank_resumes"].reindex(values["query_id"]).to_numpy()
            interval = mean_interval(values["value"].to_numpy(), cluster_of_query)
            row = {"measure": measure, "among": among, "candidates": n_candidates[among]}
            figures = {key: interval[key] for key in ("value", "low", "high")}
            rows.append(row | {"n": len(values)} | figures)
    order = {measure: place for place, measure in enumerate(measures)}
    table = pd.DataFrame(rows)
    return table.sort_values(
        "measure", key=lambda column: column.map(order), kind="stable", ignore_index=True
    )
