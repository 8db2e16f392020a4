"""Features of an impression from what is known of its job and resume, and from earlier hires.

The paper publishes no features; these are the plain ones. The same code serves signals that were
extracted from texts and signals that are known to be true, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

from matchlib.data.market.config import REGIONS
from matchlib.data.rules import split_items
from matchlib.data.skills import DEGREES, LEVELS, load_graph
from matchlib.extraction.facts import FACT_COLUMNS

SUMMARY_SKILLS = 3
"""Skills of a resume that a list of results shows."""
SIGNAL_COLUMNS = tuple(
    column for column in FACT_COLUMNS if column not in ("title", "denied_skills", "not_read")
)
"""What is known of a document: lists joined by "; ", "" or NaN where nothing is known."""
HIRE_FEATURES = (
    "hires have the skills",
    "years above hires",
    "hires of the occupation",
    "hires",
)
_REGION_OF = {city.casefold(): region for region, cities in REGIONS.items() for city in cities}


def text_features(
    impressions: pd.DataFrame, jobs: pd.DataFrame, resumes: pd.DataFrame
) -> pd.DataFrame:
    """What a keyword search knows: similarity of the texts, of the summary, and lengths.

    jobs, resumes: id and text. Returns (rows, 4).
    """
    job, resume = _row_numbers(impressions, jobs, resumes)
    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english")
    of_resumes = vectorizer.fit_transform(resumes["text"])
    of_jobs = vectorizer.transform(jobs["text"])
    first_lines = vectorizer.transform(resumes["text"].str.split("\n").str[0])
    n_words = resumes["text"].str.count(r"\S+").to_numpy()
    return pd.DataFrame(
        {
            "text similarity": _paired_products(of_jobs, of_resumes, job, resume),
            "first line similarity": _paired_products(of_jobs, first_lines, job, resume),
            "words of the resume": np.log1p(n_words[resume]),
            "words of the job": np.log1p(jobs["text"].str.count(r"\S+").to_numpy()[job]),
        },
        dtype="float32",
    )


def signal_features(
    impressions: pd.DataFrame, jobs: pd.DataFrame, resumes: pd.DataFrame
) -> pd.DataFrame:
    """What the signals of a job and a resume say of their pair; unknown signals have a column of
    their own.

    jobs, resumes: id and SIGNAL_COLUMNS. Returns (rows, features).
    """
    job, resume = _row_numbers(impressions, jobs, resumes)
    skills = _SkillNumbers([jobs["skills"], jobs["nice_skills"], resumes["skills"]])
    must, nice = skills.multi_hot(jobs["skills"]), skills.multi_hot(jobs["nice_skills"])
    of_resumes = skills.multi_hot(resumes["skills"])
    in_summary = skills.multi_hot(resumes["skills"], first=SUMMARY_SKILLS)
    found = {
        "must-haves": _share(must, of_resumes, job, resume),
        "nice-to-haves": _share(nice, of_resumes, job, resume),
        "must-haves in the summary": _share(must, in_summary, job, resume),
        "number of must-haves": must.sum(axis=1)[job],
        "number of skills": of_resumes.sum(axis=1)[resume],
    }
    found |= _gap("seniority", LEVELS, jobs, resumes, job, resume)
    found |= _gap("degree", DEGREES, jobs, resumes, job, resume)
    asked, years = _known(jobs["years"])[job], _known(resumes["years"])[resume]
    ratio = years / np.maximum(asked, 1)
    found["years against asked"] = np.nan_to_num(np.clip(ratio, 0, 3), nan=1.0)
    found["years"] = np.nan_to_num(np.log1p(years))
    found["years unknown"] = np.isnan(ratio)
    found |= _same_place(jobs, resumes, job, resume)
    found |= _same_occupation(jobs, resumes, job, resume)
    return pd.DataFrame(found, dtype="float32")


def hire_features(
    impressions: pd.DataFrame, hires: pd.DataFrame, resumes: pd.DataFrame
) -> pd.DataFrame:
    """How alike a resume is to those hired for the job before it was shown.

    hires: job_id, resume_id, hired_at; only those dated before an impression's shown_at count, and
    the resume itself does not.
    Returns (rows, 4): the mean share of earlier hires that have a skill of the resume, difference of
    years from theirs, share of the same occupation, log of their number.
    """
    skills = _SkillNumbers([resumes["skills"]])
    hot = skills.multi_hot(resumes["skills"])
    number = {name: i for i, name in enumerate(resumes["resume_id"])}
    years = np.nan_to_num(_known(resumes["years"]))
    occupation = resumes["occupation"].to_numpy()
    shown = impressions["resume_id"].map(number).to_numpy()
    hires = hires[hires["resume_id"].isin(number)].sort_values("hired_at", kind="stable")
    by_job = {job_id: rows for job_id, rows in hires.groupby("job_id")}
    found = np.zeros((len(impressions), 4), dtype="float32")
    for job_id, rows in impressions.groupby("job_id").indices.items():
        if job_id not in by_job:
            continue
        of_job = by_job[job_id]
        hired = of_job["resume_id"].map(number).to_numpy()
        # strictly before: a hire of this very impression is an outcome
        n_before = np.searchsorted(
            of_job["hired_at"].to_numpy(), impressions["shown_at"].to_numpy()[rows], side="left"
        )
        counts = np.vstack([np.zeros(hot.shape[1]), np.cumsum(hot[hired], axis=0)])
        sums = np.concatenate([[0], np.cumsum(years[hired])])
        candidates = shown[rows]
        own = hot[candidates]
        # the resume itself, where it was hired before: its own past is no likeness to others
        is_before = np.arange(len(hired))[None, :] < n_before[:, None]
        n_itself = ((candidates[:, None] == hired[None, :]) & is_before).sum(axis=1)
        n_others = n_before - n_itself
        n = np.maximum(n_others, 1)
        of_others = counts[n_before] - n_itself[:, None] * own
        liked = (own * of_others / n[:, None]).sum(axis=1) / np.maximum(own.sum(axis=1), 1)
        mean_years = (sums[n_before] - n_itself * years[candidates]) / n
        is_same = occupation[candidates][:, None] == occupation[hired][None, :]
        n_same = (is_same & is_before).sum(axis=1) - n_itself
        has_hires = n_others > 0
        found[rows, 0] = liked
        found[rows, 1] = np.where(has_hires, years[candidates] - mean_years, 0) / 10
        found[rows, 2] = n_same / n
        found[rows, 3] = np.log1p(n_others)
    return pd.DataFrame(found, columns=list(HIRE_FEATURES))


def hires_of_log(impressions: pd.DataFrame) -> pd.DataFrame:
    """The conversions of a log as hires: job_id, resume_id, hired_at."""
    hired = impressions[impressions["converted"] == 1]
    return hired[["job_id", "resume_id"]].assign(hired_at=hired["converted_at"])


def permute_signals(
    jobs: pd.DataFrame, hires: pd.DataFrame, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The jobs with the signals, and the hires, of other jobs: what is left is about the resume
    alone."""
    order = np.random.default_rng(seed).permutation(len(jobs))
    mixed = jobs.copy()
    columns = [name for name in SIGNAL_COLUMNS if name in jobs]
    mixed[columns] = jobs[columns].to_numpy()[order]
    job_ids = jobs["job_id"].to_numpy()
    goes_to = dict(zip(job_ids[order], job_ids, strict=True))
    return mixed, hires.assign(job_id=hires["job_id"].map(goes_to))


def _row_numbers(
    impressions: pd.DataFrame, jobs: pd.DataFrame, resumes: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    job = pd.Index(jobs["job_id"]).get_indexer(impressions["job_id"])
    resume = pd.Index(resumes["resume_id"]).get_indexer(impressions["resume_id"])
    if (job < 0).any() or (resume < 0).any():
        raise ValueError("an impression names a job or resume that is in no table")
    return job, resume


def _paired_products(of_jobs, of_resumes, job: np.ndarray, resume: np.ndarray) -> np.ndarray:
    """(rows,) dot products of sparse rows, a block at a time."""
    found = np.empty(len(job), dtype="float32")
    for start in range(0, len(job), 20_000):
        part = slice(start, start + 20_000)
        products = of_jobs[job[part]].multiply(of_resumes[resume[part]])
        found[part] = np.asarray(products.sum(axis=1)).ravel()
    return found


class _SkillNumbers:
    """Numbers of the skills that some lists name."""

    def __init__(self, lists: list[pd.Series]):
        names = {name for column in lists for items in column for name in split_items(items)}
        self.number: Mapping[str, int] = {name: i for i, name in enumerate(sorted(names))}

    def multi_hot(self, column: pd.Series, *, first: int | None = None) -> np.ndarray:
        """(n, skills) 1 where a list names the skill; first: only so many of a list."""
        hot = np.zeros((len(column), max(1, len(self.number))), dtype="float32")
        for row, items in enumerate(column):
            for name in split_items(items)[:first]:
                hot[row, self.number[name]] = 1
        return hot


def _share(
    of_jobs: np.ndarray, of_resumes: np.ndarray, job: np.ndarray, resume: np.ndarray
) -> np.ndarray:
    common = np.empty(len(job), dtype="float32")
    for start in range(0, len(job), 20_000):
        part = slice(start, start + 20_000)
        common[part] = np.einsum("nk,nk->n", of_jobs[job[part]], of_resumes[resume[part]])
    return common / np.maximum(of_jobs.sum(axis=1), 1)[job]


def _known(years: pd.Series) -> np.ndarray:
    return pd.to_numeric(years, errors="coerce").to_numpy(dtype=float)


def _gap(
    column: str,
    order: tuple[str, ...],
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    job: np.ndarray,
    resume: np.ndarray,
) -> dict[str, np.ndarray]:
    """How far above the job a resume is, on an ordered scale; 0 where one is unknown, and said."""
    place = {name: i for i, name in enumerate(order)}
    gap = resumes[column].map(place).to_numpy(float)[resume]
    gap = gap - jobs[column].map(place).to_numpy(float)[job]
    return {
        f"{column} above asked": np.nan_to_num(gap),
        f"{column} too low": np.nan_to_num(gap) < 0,
        f"{column} unknown": np.isnan(gap),
    }


def _same_place(
    jobs: pd.DataFrame, resumes: pd.DataFrame, job: np.ndarray, resume: np.ndarray
) -> dict[str, np.ndarray]:
    cities = [table["city"].fillna("").str.casefold() for table in (jobs, resumes)]
    regions = [names.map(_REGION_OF).fillna(names).to_numpy() for names in cities]
    job_city, resume_city = cities[0].to_numpy()[job], cities[1].to_numpy()[resume]
    is_known = (job_city != "") & (resume_city != "")
    is_remote = (jobs["remote"] == "yes").to_numpy()[job]
    is_remote = is_remote | (resumes["remote"] == "yes").to_numpy()[resume]
    same_region = (regions[0][job] == regions[1][resume]) & is_known
    return {
        "same city": (job_city == resume_city) & is_known,
        "same region or remote": same_region | is_remote,
        "place unknown": ~is_known,
    }


def _same_occupation(
    jobs: pd.DataFrame, resumes: pd.DataFrame, job: np.ndarray, resume: np.ndarray
) -> dict[str, np.ndarray]:
    family = {name: entry.family for name, entry in load_graph().occupations.items()}
    of_job, of_resume = jobs["occupation"].to_numpy()[job], resumes["occupation"].to_numpy()[resume]
    job_family = jobs["occupation"].map(family).fillna("?").to_numpy()[job]
    resume_family = resumes["occupation"].map(family).fillna("").to_numpy()[resume]
    return {
        "same occupation": (of_job == of_resume) & (of_job != ""),
        "same family": job_family == resume_family,
    }
