"""Where structured rules and the texts themselves disagree about a pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

from matchlib.data.rules import Rule
from matchlib.data.words import spaced, token_pattern

MAX_JOBS, MAX_RESUMES = 1_000, 2_000
SIMILAR = 0.95


@dataclass(frozen=True)
class Agreement:
    """pairs: similarity, kind; summary: pairs and outcomes by rules and similarity; examples:
    disagreements in full."""

    pairs: pd.DataFrame
    summary: pd.DataFrame
    examples: pd.DataFrame


def compare_rules_with_texts(
    rules: dict[str, Rule], tables: dict[str, pd.DataFrame], *, seed: int
) -> Agreement:
    """Compare what the last of `rules` selects with the TF-IDF cosine of the texts.

    tables: jobs, resumes, labels and perhaps truth of one split; at most 1,000 jobs and 2,000
    resumes are drawn. Without rules, the labels take their place: accepted against rejected pairs.
    """
    jobs, resumes = (
        _draw(tables["jobs"], MAX_JOBS, seed),
        _draw(tables["resumes"], MAX_RESUMES, seed),
    )
    similarity = _cosine(jobs["text"], resumes["text"])
    grid = pd.DataFrame(
        {
            "similarity": similarity.ravel(),
            "job": np.repeat(np.arange(len(jobs)), len(resumes)),
            "resume": np.tile(np.arange(len(resumes)), len(jobs)),
        }
    )
    grid = grid.assign(
        job_id=jobs["job_id"].to_numpy()[grid["job"]],
        resume_id=resumes["resume_id"].to_numpy()[grid["resume"]],
    )
    grid = grid.merge(
        tables["labels"][["job_id", "resume_id", "label"]], on=["job_id", "resume_id"], how="left"
    )
    if "truth" in tables:
        grid = grid.merge(
            tables["truth"][["job_id", "resume_id"]].assign(true_fit=1.0),
            how="left",
            on=["job_id", "resume_id"],
        ).fillna({"true_fit": 0.0})
    rule = list(rules.values())[-1] if rules else None
    if rule:
        fires = rule.holds(jobs, resumes).ravel()
        grid["kind"] = np.where(fires, "rules select", "rules reject")
    else:
        grid = grid.dropna(subset=["label"])
        grid["kind"] = grid["label"].map({1.0: "accepted", 0.0: "rejected"})
    grid["texts"] = np.where(
        grid["similarity"] > np.quantile(similarity, SIMILAR), "similar", "unlike"
    )
    return Agreement(
        grid[["similarity", "kind"]], _summary(grid), _examples(grid, jobs, resumes, rule)
    )


def _draw(frame: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    return frame.sample(min(n, len(frame)), random_state=seed).reset_index(drop=True)


def _cosine(jobs: pd.Series, resumes: pd.Series) -> np.ndarray:
    vectors = TfidfVectorizer(
        sublinear_tf=True,
        preprocessor=lambda text: spaced(text.lower()),
        token_pattern=token_pattern(),
    ).fit(pd.concat([jobs, resumes]))
    return (vectors.transform(jobs) @ vectors.transform(resumes).T).toarray()


def _summary(grid: pd.DataFrame) -> pd.DataFrame:
    columns = {
        "pairs": ("similarity", "size"),
        "labelled": ("label", "count"),
        "accepted of labelled": ("label", "mean"),
    }
    if "true_fit" in grid:
        columns["true fits of all"] = ("true_fit", "mean")
    return grid.groupby(["kind", "texts"]).agg(**columns).reset_index()


def _examples(
    grid: pd.DataFrame, jobs: pd.DataFrame, resumes: pd.DataFrame, rule: Rule | None
) -> pd.DataFrame:
    """Three pairs of each disagreement: the first kind with the least alike texts, the other with
    the most alike."""
    ordered = grid.sort_values("similarity", kind="stable")
    good = ordered["kind"].isin(("rules select", "accepted"))
    found = pd.concat([ordered[good].head(3), ordered[~good].tail(3)])
    rows = []
    for pair in found.itertuples():
        job, resume = jobs.iloc[pair.job], resumes.iloc[pair.resume]
        row = {
            "kind": pair.kind,
            "similarity": pair.similarity,
            "why": rule.why(job, resume) if rule else "",
            "job": job["text"],
            "resume": resume["text"],
        }
        rows.append(row)
    return pd.DataFrame(rows)
