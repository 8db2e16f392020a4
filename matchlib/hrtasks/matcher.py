"""The matcher: does a resume meet what a job demands? A probability, from named features.

Features are compared with bins of the training rows, and a logistic regression adds them up; it
needs no seed, and its probabilities are calibrated in the large by construction.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer

from matchlib.data.schema import DataError
from matchlib.data.words import words
from matchlib.hrtasks.baselines import Predict, labelled_pairs, n_lines
from matchlib.hrtasks.facts import FEATURES, DemandedSkill, JobFacts, pair_features
from matchlib.hrtasks.phrases import PhraseClassifier
from matchlib.hrtasks.rjdb_rows import HrRow
from matchlib.stats import auc_parts, mean_interval, share_interval

N_BINS = 8
MIN_PROBABILITY = 0.03
"""Phrases that are a demanded skill with less than this are left out of the features."""
N_FOLDS = 4
N_OTHER_JOBS = 3
TRUSTED = ["numpy.dtype"]
"""Types in a saved model, beside those that skops knows."""


class Matcher:
    """A classifier of pairs with the phrase classifier that reads its jobs."""

    def __init__(self, model: Pipeline, phrases: PhraseClassifier):
        self.model = model
        self.phrases = phrases

    def predict(self, jobs: Sequence[str], resumes: Sequence[str]) -> np.ndarray:
        """(n,) probability that each resume meets its job's demands; .5, which decides nothing, where
        no demand can be read in the job, or the resume has no words."""
        facts = job_facts(jobs, self.phrases.find(jobs))
        rows = [pair_features(job, resume) for job, resume in zip(facts, resumes, strict=True)]
        p = self.model.predict_proba(np.array(rows))[:, 1]
        says_something = [
            job.states_a_demand and bool(resume.strip())
            for job, resume in zip(facts, resumes, strict=True)
        ]
        return np.where(says_something, p, 0.5)

    def save(self, folder: Path) -> None:
        """Write the model (skops, which holds no code) and its phrase classifier."""
        self.phrases.save(folder)
        skops.io.dump(self.model, folder / "matcher.skops")
        (folder / "features.json").write_text(json.dumps(FEATURES), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Matcher:
        """Read what `save` wrote. Raises DataError where there is none."""
        if not (folder / "matcher.skops").is_file():
            raise DataError(f"{folder}: no matcher.skops; name a model of a stage of 08_hr_tasks")
        known = folder / "features.json"
        if not known.is_file() or tuple(json.loads(known.read_text())) != FEATURES:
            raise DataError(
                f"{folder}: its matcher was trained by another version of matchlib, on other features; "
                f"run the stage again"
            )
        model = skops.io.load(folder / "matcher.skops", trusted=TRUSTED)
        return cls(model, PhraseClassifier.load(folder))

    def weights(self) -> pd.DataFrame:
        """What each feature can move: feature, and the spread of its bins' weights in log odds."""
        bins, regression = self.model[0], self.model[1]
        start = 0
        rows = []
        for name, n_bins in zip(FEATURES, bins.n_bins_, strict=True):
            weights = regression.coef_[0, start : start + n_bins]
            rows.append({"feature": name, "log odds": float(np.ptp(weights)), "bins": int(n_bins)})
            start += n_bins
        return pd.DataFrame(rows).sort_values("log odds", ascending=False, ignore_index=True)


def job_facts(jobs: Sequence[str], found: Sequence[Sequence[DemandedSkill]]) -> list[JobFacts]:
    """The demands of each job, with the skills that are likely enough."""
    facts = []
    for job, skills in zip(jobs, found, strict=True):
        likely = [skill for skill in skills if skill.probability >= MIN_PROBABILITY]
        facts.append(JobFacts.of(job, likely))
    return facts


def cross_fitted_skills(
    jobs: Sequence[str], skills: Sequence[Sequence[str]], *, seed: int
) -> list[list[DemandedSkill]]:
    """The candidates of each training job by a phrase classifier that was trained on other jobs."""
    found: list[list[DemandedSkill]] = [[] for _ in jobs]
    for fold in range(min(N_FOLDS, len(jobs))):
        own = [i for i in range(len(jobs)) if i % N_FOLDS == fold]
        others = [i for i in range(len(jobs)) if i % N_FOLDS != fold]
        phrases = PhraseClassifier.train(
            [jobs[i] for i in others], [skills[i] for i in others], seed=seed
        )
        for i, of_job in zip(own, phrases.find([jobs[i] for i in own]), strict=True):
            found[i] = of_job
    return found


def train_matcher(
    rows: Sequence[HrRow],
    skills: Sequence[Sequence[str]],
    *,
    seed: int,
) -> tuple[Matcher, list[list[DemandedSkill]]]:
    """Train on the matched and the unmatched resume of each row.

    skills: of each job, the words that name them. Returns the matcher, and the demanded skills of
    the training jobs as classifiers trained on other jobs find them. Raises DataError on fewer rows
    than folds.
    """
    if len(rows) < 2 * N_FOLDS:
        raise DataError(f"{len(rows)} training rows; a matcher needs {2 * N_FOLDS} or more")
    jobs = [row.job for row in rows]
    found = cross_fitted_skills(jobs, skills, seed=seed)
    features, labels = [], []
    for row, facts in zip(rows, job_facts(jobs, found), strict=True):
        for resume, label in ((row.matched, 1), (row.unmatched, 0)):
            features.append(pair_features(facts, resume))
            labels.append(label)
    model = make_pipeline(
        KBinsDiscretizer(N_BINS, strategy="quantile", quantile_method="averaged_inverted_cdf"),
        LogisticRegression(C=0.1, max_iter=2000),
    )
    with warnings.catch_warnings():
        # features with few values, or one, have fewer bins; nothing is lost
        warnings.filterwarnings("ignore", message="Bins whose width|Feature \\d+ is constant")
        model.fit(np.array(features), np.array(labels))
    phrases = PhraseClassifier.train(jobs, skills, seed=seed)
    return Matcher(model, phrases), found


# ---- judging


def judge_matching(p: np.ndarray, rows: Sequence[HrRow]) -> list[dict[str, object]]:
    """Accuracy at .5, AUC, and how often the matched resume is above the unmatched one; the last two
    also on rows whose matched resume has no more lines and words.

    p: (2 n,) of the matched and the unmatched resume of each row. Intervals are by row.
    """
    label = np.tile([1, 0], len(rows))
    row_of = np.repeat(np.arange(len(rows)), 2)
    is_right = (p > 0.5) == label
    first = _is_first(p)
    not_longer = np.array([_is_not_longer(row) for row in rows])
    both = np.repeat(not_longer, 2)
    found: list[dict[str, object]] = [
        {"measure": "accuracy", **share_interval(is_right, row_of)},
        {"measure": "AUC", **mean_interval(auc_parts(label, p), row_of, bounds=(0, 1))},
        {"measure": "matched above unmatched", **mean_interval(first, bounds=(0, 1))},
    ]
    if not_longer.sum() > 1:
        hard = f", not longer ({int(not_longer.sum())} rows)"
        auc = auc_parts(label[both], p[both])
        found += [
            {"measure": f"AUC{hard}", **mean_interval(auc, row_of[both], bounds=(0, 1))},
            {
                "measure": f"matched above unmatched{hard}",
                **mean_interval(first[not_longer], bounds=(0, 1)),
            },
        ]
    return found


def _is_first(p: np.ndarray) -> np.ndarray:
    """(n,) 1 where the matched resume of a row is likelier, .5 on ties, 0 where it is less likely."""
    return (1 + np.sign(p[::2] - p[1::2])) / 2


def _is_not_longer(row: HrRow) -> bool:
    fewer_words = len(words(row.matched)) <= len(words(row.unmatched))
    return fewer_words and n_lines(row.matched) <= n_lines(row.unmatched)


def own_minus_other(
    predict: Predict, rows: Sequence[HrRow], p: np.ndarray, *, seed: int
) -> list[dict[str, float]]:
    """How often the matched resume is above the unmatched one for its own job, minus the same for
    the jobs of N_OTHER_JOBS other rows: what the resumes alone cannot raise.

    p: as in `judge_matching`, for the own jobs. A tie, frequent for jobs that ask for neither, is a
    half.
    """
    n = len(rows)
    shifts = np.random.default_rng(seed).permutation(np.arange(1, n))[:N_OTHER_JOBS]
    _, resumes, _ = labelled_pairs(rows)
    of_others = []
    for shift in shifts:
        jobs = [rows[(i + shift) % n].job for i in range(n) for _ in range(2)]
        of_others.append(_is_first(predict(jobs, resumes)))
    other = np.mean(of_others, axis=0)
    return [
        {"measure": "matched above unmatched, other jobs", **mean_interval(other, bounds=(0, 1))},
        {"measure": "own job minus other jobs", **mean_interval(_is_first(p) - other)},
    ]


def calibration_table(p: np.ndarray, label: np.ndarray, n_bins: int = 10) -> pd.DataFrame:
    """Predicted and actual share by tenths of the predictions: predicted, actual, n."""
    order = np.argsort(p)
    rows = []
    for part in np.array_split(order, n_bins):
        if len(part):
            rows.append({"predicted": p[part].mean(), "actual": label[part].mean(), "n": len(part)})
    return pd.DataFrame(rows)
