"""Hard pairs for GIRL's reward model: one resume and two jobs, of which it should prefer one.

Every job is preferred exactly as often as it is rejected, so that nothing can be learned from a job
alone. Deviation from GIRL (arXiv 2307.02157), which takes random jobs as negatives: these can be
told apart by occupation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.feature_extraction.text import TfidfVectorizer

from matchlib.data.rules import split_items
from matchlib.data.skills import LEVELS
from matchlib.girl.records import job_record

OUTCOME_KINDS = ("recruiter", "neighbour", "dissimilar")
CORRUPTIONS = ("skill", "nice", "fewer", "years", "place", "level")
DISSIMILAR_SHARE = 0.25
"""Share of the accepted pairs that are also paired with a dissimilar job."""
FORBIDDEN = 1e3  # cost of a job that the resume was accepted by; cosine distances lie in [0, 1]
WANTED = -10.0  # cost of a job that the resume was refused by


def outcome_pairs(
    jobs: pd.DataFrame,
    labels: pd.DataFrame,
    texts: pd.Series,
    *,
    cluster_by: str = "",
    dissimilar_share: float = 0.0,
    block: int = 1_000,
    seed: int = 1,
) -> pd.DataFrame:
    """Pair each accepted job with another one: a job that refused the resume where there is one,
    else a similar job without a label.

    texts: job_id -> text, compared by TF-IDF. cluster_by: column of jobs within whose values
    similar jobs are looked for, in blocks of at most `block` accepted pairs. dissimilar_share:
    share of the accepted pairs, drawn by seed, that are also paired with a dissimilar job. Minimum
    cost assignments give every job as many rejections as acceptances. An accepted pair for which
    only accepted jobs are left is dropped.
    Returns resume_id, chosen, rejected (job ids), kind: recruiter (the refusal is a label),
    neighbour or dissimilar (no label).
    """
    accepted = labels[labels["label"] == 1].reset_index(drop=True)
    accepted_jobs = _jobs_by_resume(labels, label=1)
    refused_jobs = _jobs_by_resume(labels, label=0)
    drawn = accepted.sample(frac=dissimilar_share, random_state=seed)
    if cluster_by:
        groups = accepted["job_id"].map(jobs.set_index("job_id")[cluster_by])
        accepted = accepted.loc[groups.sort_values(kind="stable").index]
    vectorizer = TfidfVectorizer(token_pattern=r"[^\n]+").fit(texts)
    parts = []
    for part in _blocks(accepted, block):
        similarity = _similarity(vectorizer, texts.loc[part["job_id"]])
        cost = _cost(part, 1 - similarity, accepted_jobs, refused_jobs)
        parts.append(_assign(part, cost, without_label="neighbour"))
    for part in _blocks(drawn, block):
        similarity = _similarity(vectorizer, texts.loc[part["job_id"]])
        cost = _cost(part, similarity, accepted_jobs, {})
        parts.append(_assign(part, cost, without_label="dissimilar"))
    return pd.concat(parts, ignore_index=True)


def _jobs_by_resume(labels: pd.DataFrame, *, label: int) -> pd.Series:
    return labels[labels["label"] == label].groupby("resume_id")["job_id"].agg(set)


def _blocks(pairs: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    starts = range(0, len(pairs), size)
    return [pairs.iloc[start : start + size].reset_index(drop=True) for start in starts]


def _similarity(vectorizer: TfidfVectorizer, texts: pd.Series) -> np.ndarray:
    """(n, n) cosines of texts."""
    vectors = vectorizer.transform(texts)
    return (vectors @ vectors.T).toarray()


def _cost(
    part: pd.DataFrame,
    distance: np.ndarray,
    accepted_jobs: Mapping[str, set[str]],
    refused_jobs: Mapping[str, set[str]],
) -> np.ndarray:
    """(n, n) cost of pairing row i's resume with row j's job: the distance of the two jobs, more
    where j accepted the resume, less where it refused it."""
    rows_of_job = part.groupby("job_id").indices
    for i, resume in enumerate(part["resume_id"]):
        for job in accepted_jobs.get(resume, ()):
            distance[i, rows_of_job.get(job, [])] += FORBIDDEN
        for job in refused_jobs.get(resume, ()):
            distance[i, rows_of_job.get(job, [])] += WANTED
    return distance


def _assign(part: pd.DataFrame, cost: np.ndarray, *, without_label: str) -> pd.DataFrame:
    """Each accepted pair with the job of another row, at the least total cost."""
    row, column = linear_sum_assignment(cost)
    price = cost[row, column]
    job_ids = part["job_id"].to_numpy()
    pairs = pd.DataFrame(
        {
            "resume_id": part["resume_id"].to_numpy()[row],
            "chosen": job_ids[row],
            "rejected": job_ids[column],
            "kind": np.where(price < 0, "recruiter", without_label),
        }
    )
    return pairs[price < FORBIDDEN / 2]


@dataclass(frozen=True)
class _Corruption:
    """A job, the same job with one thing changed, a resume that prefers the first and one that
    prefers the second."""

    job: dict
    changed: dict
    prefers_job: dict
    prefers_changed: dict

    def pairs(self, kind: str) -> list[tuple[str, str, str, str]]:
        """Two rows resume_id, chosen, rejected, kind."""
        job, changed = job_record(self.job), job_record(self.changed)
        return [
            (self.prefers_job["resume_id"], job, changed, kind),
            (self.prefers_changed["resume_id"], changed, job, kind),
        ]


def corrupted_pairs(
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    numbers: Mapping[str, int],
    seed: int,
) -> pd.DataFrame:
    """Jobs with one thing changed, each with a resume that prefers the job as it is and one that
    prefers the change.

    skill: a requirement replaced by another one of the title; each resume has one of the two and
    not the other. nice: the same for a nice-to-have skill. fewer: a requirement dropped that the
    first resume has and the second lacks. years: raised above the first resume's, not above the
    second's. place: another city, in which the second person lives. level: two levels or more, to
    the second person's. Both resumes have the job's title. The records decide the preference, no
    label and no true fit.
    numbers: kind -> number of jobs, drawn by seed; each gives two pairs. Returns resume_id, chosen
    and rejected (records), kind.
    Raises ValueError on an unknown kind.
    """
    if unknown := set(numbers) - set(CORRUPTIONS):
        raise ValueError(f"corruption {min(unknown)!r} is not one of {', '.join(CORRUPTIONS)}")
    rng = np.random.default_rng(seed)
    resumes_by_title = {title: part.to_dict("records") for title, part in resumes.groupby("title")}
    skills_by_title = _skills_by_title(jobs)
    pool = [job for job in jobs.to_dict("records") if job["title"] in resumes_by_title]
    rows = []
    for kind, number in numbers.items():
        made = 0
        for i in rng.permutation(len(pool)) if number else ():
            if made == number:
                break
            title = pool[i]["title"]
            found = _corrupt(
                pool[i],
                kind,
                skills_by_title[title],
                resumes_by_title[title],
                rng,
            )
            if found is not None:
                rows += found.pairs(kind)
                made += 1
    return pd.DataFrame(rows, columns=["resume_id", "chosen", "rejected", "kind"])


def _skills_by_title(jobs: pd.DataFrame) -> pd.Series:
    """All skills that jobs of a title ask for."""
    skills = (jobs["skills"] + "; " + jobs["nice_skills"]).map(split_items)
    return jobs.assign(skill=skills).explode("skill").groupby("title")["skill"].unique()


def _corrupt(
    job: dict,
    kind: str,
    skills: np.ndarray,
    resumes: list[dict],
    rng: np.random.Generator,
) -> _Corruption | None:
    """The job with one thing changed and the two resumes; None where there are none."""
    changed = _change(job, kind, skills, rng)
    if changed is None:
        return None
    first, second = _candidates(job, changed, kind, resumes)
    if not first or not second:
        return None
    prefers_job = first[rng.integers(len(first))]
    prefers_changed = second[rng.integers(len(second))]
    if kind == "place":
        changed["city"] = prefers_changed["city"]
    return _Corruption(job, changed, prefers_job, prefers_changed)


def _change(job: dict, kind: str, skills: np.ndarray, rng: np.random.Generator) -> dict | None:
    """The job with one thing of this kind changed; None where there is nothing to change it to."""
    if kind in ("skill", "nice"):
        return _replace_skill(
            job,
            "skills" if kind == "skill" else "nice_skills",
            skills,
            rng,
        )
    if kind == "fewer":
        must = split_items(job["skills"])
        must.pop(rng.integers(len(must)))
        return {**job, "skills": "; ".join(must)} if must else None
    if kind == "years":
        return {
            **job,
            "min_years": job["min_years"] + int(rng.integers(1, 6)),
        }
    if kind == "place":
        return {
            **job,
            "city": "",
        }  # filled in with the city of the second resume
    own = LEVELS.index(job["seniority"])
    distant = [level for i, level in enumerate(LEVELS) if abs(i - own) >= 2]
    return {**job, "seniority": str(rng.choice(distant))}


def _replace_skill(
    job: dict, column: str, skills: np.ndarray, rng: np.random.Generator
) -> dict | None:
    items = split_items(job[column])
    others = sorted(set(skills) - _skills_of(job))
    if not others or not items:
        return None
    items[rng.integers(len(items))] = rng.choice(others)
    return {**job, column: "; ".join(items)}


def _skills_of(job: Mapping[str, str]) -> set[str]:
    return set(split_items(job["skills"])) | set(split_items(job["nice_skills"]))


def _candidates(
    job: dict, changed: dict, kind: str, resumes: list[dict]
) -> tuple[list[dict], list[dict]]:
    """The resumes that prefer the job, and those that prefer the change."""
    if kind == "place":
        region = job.get("region", job["city"])
        near = [row for row in resumes if row["city"] == job["city"]]
        far = [row for row in resumes if row.get("region", row["city"]) != region]
        return near, far
    if kind == "level":
        own = [row for row in resumes if row["seniority"] == job["seniority"]]
        other = [row for row in resumes if row["seniority"] == changed["seniority"]]
        return own, other
    if kind == "years":
        low, high = job["min_years"], changed["min_years"]
        fewer = [row for row in resumes if low <= row["years"] < high]
        enough = [row for row in resumes if row["years"] >= high]
        return fewer, enough
    removed = _skills_of(job) - _skills_of(changed)
    added = _skills_of(changed) - _skills_of(job)
    return _with_skills(resumes, removed, without=added), _with_skills(
        resumes, added, without=removed
    )


def _with_skills(resumes: list[dict], skills: set[str], *, without: set[str]) -> list[dict]:
    found = []
    for row in resumes:
        held = set(split_items(row["skills"]))
        if skills <= held and not without & held:
            found.append(row)
    return found


def hard_pairs(
    part: Mapping[str, pd.DataFrame],
    labels: pd.DataFrame,
    prompts: pd.Series,
    texts: pd.Series,
    *,
    corruption_weights: Mapping[str, float],
    cluster_by: str = "",
    dissimilar_share: float = DISSIMILAR_SHARE,
    seed: int = 1,
) -> pd.DataFrame:
    """Pairs from outcomes and from corrupted records, as texts: resume_id, prompt, chosen,
    rejected, kind.

    part: jobs and resumes; labels: of its resumes; prompts, texts: by resume_id and job_id.
    corruption_weights: kind of CORRUPTIONS -> changed jobs for each accepted pair; {} where jobs
    are no records. cluster_by, dissimilar_share: see `outcome_pairs`.
    """
    outcomes = outcome_pairs(
        part["jobs"],
        labels,
        texts,
        cluster_by=cluster_by,
        dissimilar_share=dissimilar_share,
        seed=seed,
    )
    outcomes["chosen"] = outcomes["chosen"].map(texts)
    outcomes["rejected"] = outcomes["rejected"].map(texts)
    n_accepted = (labels["label"] == 1).sum()
    numbers = {kind: round(weight * n_accepted) for kind, weight in corruption_weights.items()}
    resumes = part["resumes"][part["resumes"]["resume_id"].isin(labels["resume_id"])]
    corrupted = corrupted_pairs(part["jobs"], resumes, numbers=numbers, seed=seed)
    pairs = pd.concat([outcomes, corrupted], ignore_index=True)
    return pairs.assign(prompt=pairs["resume_id"].map(prompts))
