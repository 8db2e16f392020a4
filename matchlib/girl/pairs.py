"""Hard pairs for GIRL's reward model: one resume, two jobs, of which it should prefer one.

Every job is preferred exactly as often as it is refused, so that nothing can be learned from a job
alone. Deviation from GIRL (arXiv 2307.02157), which takes mismatched jobs at random: a resume tells
those apart by occupation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.feature_extraction.text import TfidfVectorizer

from matchlib.data.rules import split_items
from matchlib.data.skills import LEVELS
from matchlib.girl.records import job_record

OUTCOME_KINDS = ("recruiter", "neighbour", "stranger")
PERTURBATIONS = ("skill", "nice", "fewer", "years", "place", "level")
FORBIDDEN, WANTED = 1e3, -10.0  # costs beside cosine distances, which lie in [0, 1]


def outcome_pairs(
    jobs: pd.DataFrame,
    labels: pd.DataFrame,
    texts: pd.Series,
    *,
    cluster_by: str = "",
    strangers: float = 0.0,
    block: int = 1_000,
    seed: int = 1,
) -> pd.DataFrame:
    """Each accepted pair against another job: one that refused this resume where there is one, else
    a near neighbour.

    texts: job_id -> text, compared by TF-IDF. cluster_by: column of jobs by whose values neighbours
    are looked for, in blocks of at most `block` accepted pairs. strangers: share of the pairs,
    drawn by seed, that are set against an unlike job, too. Minimum-cost assignments give every job
    as many refusals as acceptances. Returns resume_id, chosen, rejected (job ids), kind: recruiter
    (the refusal is a label), neighbour or stranger (no label). What only an accepted job could be
    set against is left out.
    """
    accepted = labels[labels["label"] == 1].reset_index(drop=True)
    taken, refused = (
        labels[labels["label"] == value].groupby("resume_id")["job_id"].agg(set) for value in (1, 0)
    )
    drawn = accepted.sample(frac=strangers, random_state=seed)
    if cluster_by:
        groups = accepted["job_id"].map(jobs.set_index("job_id")[cluster_by])
        accepted = accepted.loc[groups.sort_values(kind="stable").index]
    words, rows = TfidfVectorizer(token_pattern=r"[^\n]+").fit(texts), []
    for near, pairs in ((True, accepted), (False, drawn)):
        for start in range(0, len(pairs), block):
            part = pairs.iloc[start : start + block].reset_index(drop=True)
            vectors = words.transform(texts.loc[part["job_id"]])
            likeness = (vectors @ vectors.T).toarray()
            rows.append(
                _assign(
                    part, 1 - likeness if near else likeness, taken, refused if near else {}, near
                )
            )
    return pd.concat(rows, ignore_index=True)


def _assign(
    part: pd.DataFrame, cost: np.ndarray, taken: Mapping, refused: Mapping, near: bool
) -> pd.DataFrame:
    """Every accepted pair against another's job at the least cost, refused ones first and taken
    ones never."""
    ids, places = part["job_id"].to_numpy(), part.groupby("job_id").indices
    for i, resume in enumerate(part["resume_id"]):
        for known, price in ((taken, FORBIDDEN), (refused, WANTED)):
            cost[i, [place for job in known.get(resume, ()) for place in places.get(job, ())]] += (
                price
            )
    row, column = linear_sum_assignment(cost)
    price = cost[row, column]
    found = pd.DataFrame(
        {
            "resume_id": part["resume_id"].to_numpy()[row],
            "chosen": ids[row],
            "rejected": ids[column],
            "kind": np.where(price < 0, "recruiter", "neighbour" if near else "stranger"),
        }
    )
    return found[price < FORBIDDEN / 2]


def perturbed_pairs(
    jobs: pd.DataFrame, resumes: pd.DataFrame, *, numbers: Mapping[str, int], seed: int
) -> pd.DataFrame:
    """Jobs with one thing changed, each beside a resume that prefers the job as it is and one that
    prefers the change.

    skill: a requirement swapped for another of the title's, of which each holds one and not the
    other; nice: the same with what is welcome; fewer: a requirement dropped that the one holds and
    the other does not; years: raised beyond the one's, not beyond the other's; place: another city,
    where the other lives; level: two steps and more, to the other's. Both resumes have the job's
    title. What the records say decides, no outcome and no truth.
    numbers: kind -> jobs, drawn by seed; twice as many pairs. Returns resume_id, chosen and
    rejected (records), kind.
    Raises ValueError on an unknown kind.
    """
    rng = np.random.default_rng(seed)
    seekers = {title: part.to_dict("records") for title, part in resumes.groupby("title")}
    asked = (jobs["skills"] + "; " + jobs["nice_skills"]).map(split_items)
    asked = jobs.assign(item=asked).explode("item").groupby("title")["item"].unique()
    rows, pool = [], [job for job in jobs.to_dict("records") if job["title"] in seekers]
    if unknown := set(numbers) - set(PERTURBATIONS):
        raise ValueError(f"perturbation {min(unknown)!r} is not one of {', '.join(PERTURBATIONS)}")
    for kind, number in numbers.items():
        made = 0
        for i in rng.permutation(len(pool)) if number else ():
            if made == number:
                break
            job, found = pool[i], None
            changed = _perturb(job, kind, asked[job["title"]], rng)
            if changed is not None:
                found = _two_seekers(job, changed, kind, seekers[job["title"]], rng)
            if found is not None:
                texts = job_record(job), job_record(changed)
                rows += [
                    (found[0]["resume_id"], *texts, kind),
                    (found[1]["resume_id"], *texts[::-1], kind),
                ]
                made += 1
    return pd.DataFrame(rows, columns=["resume_id", "chosen", "rejected", "kind"])


def _perturb(job: Mapping, kind: str, skills: np.ndarray, rng: np.random.Generator) -> dict | None:
    """The job with one thing of this kind changed; None where there is nothing to change it to."""
    must, nice = split_items(job["skills"]), split_items(job["nice_skills"])
    if kind in ("skill", "nice"):
        column, items = ("skills", must) if kind == "skill" else ("nice_skills", nice)
        others = sorted(set(skills) - set(must) - set(nice))
        if not others or not items:
            return None
        items[rng.integers(len(items))] = rng.choice(others)
        return {**job, column: "; ".join(items)}
    if kind == "fewer":
        must.pop(rng.integers(len(must)))
        return {**job, "skills": "; ".join(must)} if must else None
    if kind == "years":
        return {**job, "min_years": job["min_years"] + int(rng.integers(1, 6))}
    if kind == "place":
        return {**job, "city": ""}  # the other seeker's
    levels = [
        level for i, level in enumerate(LEVELS) if abs(i - LEVELS.index(job["seniority"])) >= 2
    ]
    return {**job, "seniority": str(rng.choice(levels))}


def _two_seekers(
    job: Mapping, changed: dict, kind: str, seekers: list[dict], rng: np.random.Generator
) -> tuple[dict, dict] | None:
    """A resume that prefers the job and one that prefers the change, which may take the other's
    city; None if none."""
    if kind == "place":
        sides = [
            [s for s in seekers if s["city"] == job["city"]],
            [s for s in seekers if s.get("region", s["city"]) != job.get("region", job["city"])],
        ]
    elif kind == "level":
        sides = [
            [s for s in seekers if s["seniority"] == row["seniority"]] for row in (job, changed)
        ]
    elif kind == "years":
        sides = [
            [s for s in seekers if job["min_years"] <= s["years"] < changed["min_years"]],
            [s for s in seekers if s["years"] >= changed["min_years"]],
        ]
    else:
        asked = [
            set(split_items(row["skills"] + "; " + row["nice_skills"])) for row in (job, changed)
        ]
        old, new = asked[0] - asked[1], asked[1] - asked[0]
        held = [set(split_items(s["skills"])) for s in seekers]
        sides = [
            [s for s, h in zip(seekers, held, strict=True) if a <= h and not b & h]
            for a, b in ((old, new), (new, old))
        ]
    if not all(sides):
        return None
    one, other = (side[rng.integers(len(side))] for side in sides)
    if kind == "place":
        changed["city"] = other["city"]
    return one, other


def hard_pairs(
    part: Mapping[str, pd.DataFrame],
    labels: pd.DataFrame,
    prompts: pd.Series,
    texts: pd.Series,
    *,
    changed: Mapping[str, float],
    cluster_by: str = "",
    strangers: float = 0.25,
    seed: int = 1,
) -> pd.DataFrame:
    """Both kinds as texts: resume_id, prompt, chosen, rejected, kind.

    part: jobs and resumes; labels: of the resumes to learn from; prompts, texts: by id. changed:
    perturbation -> jobs for each accepted pair; {} where jobs are no records. cluster_by,
    strangers: see `outcome_pairs`.
    """
    outcomes = outcome_pairs(
        part["jobs"], labels, texts, cluster_by=cluster_by, strangers=strangers, seed=seed
    )
    outcomes = outcomes.assign(
        **{side: outcomes[side].map(texts) for side in ("chosen", "rejected")}
    )
    numbers = {kind: round(share * (labels["label"] == 1).sum()) for kind, share in changed.items()}
    seekers = part["resumes"][part["resumes"]["resume_id"].isin(labels["resume_id"])]
    both = pd.concat(
        [outcomes, perturbed_pairs(part["jobs"], seekers, numbers=numbers, seed=seed)],
        ignore_index=True,
    )
    return both.assign(prompt=both["resume_id"].map(prompts))
