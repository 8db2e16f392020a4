"""Whether reasons hold: groundedness, coverage and faithfulness, without a judge.

A reason is a skill that a job asks for, with the resume's statement that says it. It is grounded if
the person has the skill and the statement names it, by the simulated market's truth and all its
wording, also that which the reader of texts never saw. It is faithful if the ranker's score falls
more without the statements than without as many others (comprehensiveness: DeYoung and others,
ERASER, arXiv 1911.03429). The reader of texts and the ranker share no formula: rules and the
pretrained encoder read, any system scores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache

import numpy as np
import pandas as pd

from matchlib.analysis.score_parts import resume_statements, score_parts, without
from matchlib.data.rules import split_items
from matchlib.data.skills import load_graph
from matchlib.extraction.facts import (
    PhraseMatcher,
    extract_with_evidence,
    tokenize,
)
from matchlib.retrieval.encoder import Encoder
from matchlib.stats import mean_interval

NAMED, SIMILAR = "named", "only similar"
CARRIES, CLOSEST = "carries the score", "closest to the job"
N_CARRYING = 2
"""Statements that are named because the score rests on them."""
N_CLOSEST = 3
"""Statements that are named because they alone are most similar to the whole job."""
REASON_COLUMNS = ["job_id", "resume_id", "skill", "statement", "how"]
N_DRAWS = 5
"""Random sets of statements that are removed from each resume; their mean effect counts."""

PairScores = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""(n job texts, n resume texts) -> (n,) scores of the pairs."""


def find_reasons(
    pairs: pd.DataFrame, jobs: pd.DataFrame, resumes: pd.DataFrame, *, encoder: Encoder | None
) -> pd.DataFrame:
    """The reasons for each pair (job_id, resume_id): job_id, resume_id, skill, statement, how (NAMED
    or SIMILAR). Skills are those that the job's text requires and the resume's holds."""
    job_texts = jobs.set_index("job_id")["text"].loc[pairs["job_id"].unique()]
    resume_texts = resumes.set_index("resume_id")["text"].loc[pairs["resume_id"].unique()]
    job_facts, _ = extract_with_evidence(job_texts.tolist(), encoder=encoder)
    _, found = extract_with_evidence(resume_texts.tolist(), encoder=encoder, only_held=True)
    required = dict(zip(job_texts.index, job_facts["skills"].map(split_items), strict=True))
    evidence = dict(zip(resume_texts.index, found, strict=True))
    rows = []
    for job_id, resume_id in pairs[["job_id", "resume_id"]].itertuples(index=False):
        for skill in required[job_id]:
            if skill in evidence[resume_id]:
                statement, is_similar = evidence[resume_id][skill]
                how = SIMILAR if is_similar else NAMED
                rows.append((job_id, resume_id, skill, statement, how))
    return pd.DataFrame(rows, columns=REASON_COLUMNS)


def check_grounding(reasons: pd.DataFrame, resumes: pd.DataFrame) -> pd.Series:
    """Whether each reason's person has the skill and its statement names it in any wording.

    resumes: with the market's column skills.
    """
    has = resumes.set_index("resume_id")["skills"].map(lambda names: set(split_items(names)))
    is_grounded = [
        row.skill in has[row.resume_id] and row.skill in _skills_named(row.statement)
        for row in reasons.itertuples()
    ]
    return pd.Series(is_grounded, index=reasons.index, dtype=bool)


def score_grounding(
    pairs: pd.DataFrame,
    reasons: pd.DataFrame,
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    clusters: pd.Series | None = None,
) -> pd.DataFrame:
    """measure, how, value, low, high, n: groundedness of reasons, and coverage: the share of the
    skills that the job truly requires and the person truly has that have a reason.

    95% intervals over clusters, job_id -> what makes jobs alike; None: every job is one.
    """
    cluster_of = _clusters_of_jobs(jobs, clusters)
    rows = []
    grounded = check_grounding(reasons, resumes)
    required = jobs.set_index("job_id")["skills"].map(split_items)
    has = resumes.set_index("resume_id")["skills"].map(lambda names: set(split_items(names)))
    shared = [
        (row.job_id, row.resume_id, skill)
        for row in pairs.itertuples()
        for skill in required[row.job_id]
        if skill in has[row.resume_id]
    ]
    for how in (NAMED, SIMILAR):
        own = reasons["how"] == how
        if own.any():
            of_reasons = mean_interval(
                grounded[own].to_numpy(float),
                reasons.loc[own, "job_id"].map(cluster_of).to_numpy(),
                bounds=(0, 1),
            )
            rows.append({"measure": "groundedness", "how": how, **of_reasons})
        keys = set(
            reasons.loc[own, ["job_id", "resume_id", "skill"]].itertuples(index=False, name=None)
        )
        if shared:
            is_covered = np.array([key in keys for key in shared], dtype=float)
            of_shared = np.array([cluster_of[job_id] for job_id, _, _ in shared])
            covered = mean_interval(is_covered, of_shared, bounds=(0, 1))
            rows.append({"measure": "coverage", "how": how, **covered})
    return pd.DataFrame(rows)


def find_carrying_statements(
    pairs: pd.DataFrame, jobs: pd.DataFrame, resumes: pd.DataFrame, encoder: Encoder
) -> pd.DataFrame:
    """The N_CARRYING statements of each pair's resume without which, one at a time, the encoder's
    score falls most: the columns of `find_reasons`, skill ""."""
    job_texts = jobs.set_index("job_id")["text"]
    resume_texts = resumes.set_index("resume_id")["text"]
    rows = []
    for job_id, resume_id in pairs[["job_id", "resume_id"]].itertuples(index=False):
        parts = score_parts(job_texts[job_id], resume_texts[resume_id], encoder)
        for statement, _ in parts.statements[:N_CARRYING]:
            rows.append((job_id, resume_id, "", statement.strip(), CARRIES))
    return pd.DataFrame(rows, columns=REASON_COLUMNS)


def find_closest_statements(
    pairs: pd.DataFrame, jobs: pd.DataFrame, resumes: pd.DataFrame, encoder: Encoder
) -> pd.DataFrame:
    """The N_CLOSEST statements of each pair's resume whose own vector, without the rest of the resume,
    is most similar to the job's: the columns of `find_reasons`, skill ""."""
    resume_texts = resumes.set_index("resume_id")["text"]
    own_jobs = jobs[jobs["job_id"].isin(pairs["job_id"])]
    vectors = encoder.encode_jobs(list(own_jobs["text"]))
    vector_of = dict(zip(own_jobs["job_id"], vectors, strict=True))
    statements_of = {}
    for resume_id in pairs["resume_id"].unique():
        if statements := resume_statements(resume_texts[resume_id]):
            statements_of[resume_id] = statements, encoder.encode_resumes(statements)
    rows = []
    for job_id, resume_id in pairs[["job_id", "resume_id"]].itertuples(index=False):
        if resume_id not in statements_of:
            continue
        statements, own_vectors = statements_of[resume_id]
        cosines = own_vectors @ vector_of[job_id]
        for i in np.argsort(-cosines, kind="stable")[:N_CLOSEST]:
            rows.append((job_id, resume_id, "", statements[i].strip(), CLOSEST))
    return pd.DataFrame(rows, columns=REASON_COLUMNS)


def score_faithfulness(
    reasons: pd.DataFrame,
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    score: PairScores,
    *,
    seed: int,
) -> pd.DataFrame:
    """One row for each pair with a reason and enough other statements: job_id, resume_id, n_removed,
    drop (of the score without the reasons' statements), random_drop (mean over N_DRAWS draws of as
    many others), like_drop (of as many others of nearest length), and whether the first is larger:
    is_faithful (than random_drop), is_faithful_at_length (than like_drop)."""
    rng = np.random.default_rng(seed)
    job_texts = jobs.set_index("job_id")["text"]
    resume_texts = resumes.set_index("resume_id")["text"]
    named = reasons.groupby(["job_id", "resume_id"])["statement"].agg(set)
    rows, variants = [], []
    for key, statements in named.items():
        text = resume_texts[key[1]]
        others = [one for one in resume_statements(text) if one.strip() not in statements]
        if len(others) < len(statements):
            continue
        rows.append((*key, len(statements)))
        variants += [text, without(text, statements)]
        variants.append(without(text, _of_like_length(statements, others)))
        for _ in range(N_DRAWS):
            drawn = rng.choice(len(others), len(statements), replace=False)
            variants.append(without(text, [others[i] for i in drawn]))
    found = pd.DataFrame(rows, columns=["job_id", "resume_id", "n_removed"])
    n_variants = 3 + N_DRAWS
    of_jobs = np.repeat(job_texts.loc[found["job_id"]].to_numpy(), n_variants)
    scores = np.empty((0, n_variants))
    if len(found):
        scores = score(list(of_jobs), variants).reshape(len(found), n_variants)
    found["drop"] = scores[:, 0] - scores[:, 1]
    found["like_drop"] = scores[:, 0] - scores[:, 2]
    found["random_drop"] = scores[:, 0] - scores[:, 3:].mean(axis=1)
    found["is_faithful"] = found["drop"] > found["random_drop"]
    found["is_faithful_at_length"] = found["drop"] > found["like_drop"]
    return found


def _of_like_length(statements: Collection[str], others: Sequence[str]) -> list[str]:
    """For each statement another of `others` whose number of words is nearest to its own."""
    left = list(others)
    chosen = []
    for statement in sorted(statements, key=_n_words, reverse=True):
        n_words = _n_words(statement)
        best = min(left, key=lambda other: abs(_n_words(other) - n_words))
        left.remove(best)
        chosen.append(best)
    return chosen


def _n_words(text: str) -> int:
    return len(text.split())


def summarise_faithfulness(
    found: pd.DataFrame, *, clusters: pd.Series | None = None, against: str = "is_faithful"
) -> dict[str, float]:
    """The share of pairs where the column `against` holds, with its 95% interval over clusters (see
    `score_grounding`); chance is a half."""
    cluster_of = _clusters_of_jobs(found, clusters)
    return mean_interval(
        found[against].to_numpy(float),
        found["job_id"].map(cluster_of).to_numpy(),
        bounds=(0, 1),
    )


def _clusters_of_jobs(jobs: pd.DataFrame, clusters: pd.Series | None) -> dict[str, str]:
    """job_id -> cluster."""
    if clusters is None:
        return {job_id: job_id for job_id in jobs["job_id"]}
    return clusters.to_dict()


def encoder_scores(encoder: Encoder) -> PairScores:
    """Cosines of pairs by an encoder."""

    def score(job_texts: Sequence[str], resume_texts: Sequence[str]) -> np.ndarray:
        jobs = encoder.encode_jobs(list(job_texts))
        resumes = encoder.encode_resumes(list(resume_texts))
        return (jobs * resumes).sum(axis=1)

    return score


def _skills_named(statement: str) -> set[str]:
    return {match.value for match in _every_phrase().find(tokenize(statement))}


@cache
def _every_phrase() -> PhraseMatcher:
    """All phrases of all skills, seen and held out."""
    meanings = []
    for wording in ("seen", "held_out"):
        for skill in load_graph(wording).skills.values():
            for phrase in (skill.name, *skill.aliases, *skill.evidence):
                meanings.append((phrase, skill.name))
    return PhraseMatcher(meanings)
