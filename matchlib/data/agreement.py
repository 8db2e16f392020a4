"""Where structured rules and the texts themselves disagree about a pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

from matchlib.data.rules import Rule
from matchlib.data.words import spaced, token_pattern

MAX_JOBS = 1_000
MAX_RESUMES = 2_000
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
    jobs = _draw(tables["jobs"], MAX_JOBS, seed)
    resumes = _draw(tables["resumes"], MAX_RESUMES, seed)
    similarity = _cosine(jobs["text"], resumes["text"])
    grid = _grid(similarity, jobs, resumes)
    labels = tables["labels"][["job_id", "resume_id", "label"]]
    grid = grid.merge(labels, on=["job_id", "resume_id"], how="left")
    if "truth" in tables:
        true_fits = tables["truth"][["job_id", "resume_id"]].assign(true_fit=1.0)
        grid = grid.merge(true_fits, on=["job_id", "resume_id"], how="left")
        grid["true_fit"] = grid["true_fit"].fillna(0.0)
    rule = list(rules.values())[-1] if rules else None
    if rule:
        fires = rule.holds(jobs, resumes).ravel()
        grid["kind"] = np.where(fires, "rules select", "rules reject")
    else:
        grid = grid.dropna(subset=["label"])
        grid["kind"] = grid["label"].map({1.0: "accepted", 0.0: "rejected"})
    is_similar = grid["similarity"] > np.quantile(similarity, SIMILAR)
    grid["texts"] = np.where(is_similar, "similar", "unlike")
    return Agreement(
        pairs=grid[["similarity", "kind"]],
        summary=_summary(grid),
        examples=_examples(grid, jobs, resumes, rule),
    )


def _grid(similarity: np.ndarray, jobs: pd.DataFrame, resumes: pd.DataFrame) -> pd.DataFrame:
    """All pairs: similarity, job and resume (positions), job_id, resume_id."""
    job = np.repeat(np.arange(len(jobs)), len(resumes))
    resume = np.tile(np.arange(len(resumes)), len(jobs))
    return pd.DataFrame(
        {
            "similarity": similarity.ravel(),
            "job": job,
            "resume": resume,
            "job_id": jobs["job_id"].to_numpy()[job],
            "resume_id": resumes["resume_id"].to_numpy()[resume],
        }
    )


def _draw(frame: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    return frame.sample(min(n, len(frame)), random_state=seed).reset_index(drop=True)


def _cosine(jobs: pd.Series, resumes: pd.Series) -> np.ndarray:
    vectorizer = TfidfVectorizer(
        sublinear_tf=True,
        preprocessor=lambda text: spaced(text.lower()),
        token_pattern=token_pattern(),
    )
    vectorizer.fit(pd.concat([jobs, resumes]))
    cosines = vectorizer.transform(jobs) @ vectorizer.transform(resumes).T
    return cosines.toarray()


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
    is_selected = ordered["kind"].isin(("rules select", "accepted"))
    selected_unlike = ordered[is_selected].head(3)
    rejected_alike = ordered[~is_selected].tail(3)
    rows = []
    for pair in pd.concat([selected_unlike, rejected_alike]).itertuples():
        job = jobs.iloc[pair.job]
        resume = resumes.iloc[pair.resume]
        row = {
            "kind": pair.kind,
            "similarity": pair.similarity,
            "why": rule.why(job, resume) if rule else "",
            "job": job["text"],
            "resume": resume["text"],
        }
        rows.append(row)
    return pd.DataFrame(rows)
