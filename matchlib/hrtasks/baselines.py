"""Baselines of matching, which see less than the matcher: each is trained on rows and hands out a
function of jobs and resumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from matchlib.data.words import words
from matchlib.hrtasks.facts import FEATURES, JobFacts, pair_features
from matchlib.hrtasks.rjdb_rows import HrRow

Rows = Sequence[HrRow]
Predict = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""(n,) probabilities of n jobs and n resumes."""
Numbers = Callable[[str, str], Sequence[float]]


def train_baselines(train: Rows, *, seed: int) -> dict[str, Predict]:
    """Line rule, resume only, word overlap, years' deficit, and the matcher's features of experience
    by gradient boosting: all that it reads but skills, and the number of lines."""
    return {
        "line rule": _regression(train, lambda job, resume: [n_lines(resume)]),
        "resume only": _resume_only(train),
        "word overlap": _regression(train, _overlap),
        "years' deficit": _regression(train, _deficit),
        "experience features, boosted": _boosted(train, seed=seed),
    }


def labelled_pairs(rows: Rows) -> tuple[list[str], list[str], np.ndarray]:
    """Jobs, resumes and labels: the matched and the unmatched resume of each row in turn."""
    jobs = [row.job for row in rows for _ in range(2)]
    resumes = [resume for row in rows for resume in (row.matched, row.unmatched)]
    return jobs, resumes, np.tile([1, 0], len(rows))


def n_lines(text: str) -> int:
    """Lines that are not blank."""
    return sum(bool(line.strip()) for line in text.splitlines())


@lru_cache(maxsize=20_000)
def _without_skills(job: str, resume: str) -> np.ndarray:
    return pair_features(JobFacts.of(job, ()), resume)


def _overlap(job: str, resume: str) -> list[float]:
    return [_without_skills(job, resume)[FEATURES.index("share of the job's words in the resume")]]


def _deficit(job: str, resume: str) -> list[float]:
    found = _without_skills(job, resume)
    names = ("largest deficit of years", "missing experiences")
    return [found[FEATURES.index(name)] for name in names]


def _table(numbers: Numbers, jobs: Sequence[str], resumes: Sequence[str]) -> np.ndarray:
    return np.array([numbers(job, resume) for job, resume in zip(jobs, resumes, strict=True)])


def _regression(train: Rows, numbers: Numbers) -> Predict:
    jobs, resumes, labels = labelled_pairs(train)
    model = LogisticRegression().fit(_table(numbers, jobs, resumes), labels)
    return lambda jobs, resumes: model.predict_proba(_table(numbers, jobs, resumes))[:, 1]


def _resume_only(train: Rows) -> Predict:
    """TF-IDF of the resume and logistic regression: no job is read."""
    model = make_pipeline(
        TfidfVectorizer(tokenizer=words, lowercase=False, token_pattern=None, sublinear_tf=True),
        LogisticRegression(C=3.0, max_iter=1000),
    )
    _, resumes, labels = labelled_pairs(train)
    model.fit(resumes, labels)
    return lambda jobs, resumes: model.predict_proba(resumes)[:, 1]


def _boosted(train: Rows, *, seed: int) -> Predict:
    def numbers(job: str, resume: str) -> np.ndarray:
        return np.append(_without_skills(job, resume), n_lines(resume))

    jobs, resumes, labels = labelled_pairs(train)
    model = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, random_state=seed)
    model.fit(_table(numbers, jobs, resumes), labels)
    return lambda jobs, resumes: model.predict_proba(_table(numbers, jobs, resumes))[:, 1]
