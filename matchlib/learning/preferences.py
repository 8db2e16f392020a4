"""Pairs of resumes to have judged, and judged pairs as the rows that a training reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.learning.pairs import Column, Pairs
from matchlib.retrieval.encoder import Encoder

SCHEMES = ("uniform", "near", "far")
PREFERENCE_COLUMNS = (
    Column("job", "job"),
    Column("chosen", "resume"),
    Column("rejected", "resume"),
    Column("contrastive_job", "job", required=False),
    Column("contrastive_resume", "resume", required=False),
    Column("preference"),
)
"""The columns of PreferencePairs.pairs.rows; none is droppable: a batch has all of every row."""


def sample_pairs(
    scores: np.ndarray,
    part: Mapping[str, pd.DataFrame],
    *,
    top_k: int,
    scheme: str,
    per_job: int,
    seed: int,
    both_positive: bool = False,
) -> pd.DataFrame:
    """Draw pairs of each job's candidates, in random slots, none twice.

    part: jobs, resumes and labels of one split; scores: (J, R) of these, by stage 1; candidates are
    each job's top_k, or all with top_k 0. scheme: uniform draws both from these; near at most a
    tenth of their ranks apart; far one from the best and one from the worst quarter. both_positive:
    allow pairs of which the job accepted both. A job with too few candidates gives fewer pairs.
    Returns job_id, resume_a, resume_b, rank_a, rank_b (1 is best).
    Raises DataError on another scheme, or fewer than 4 candidates.
    """
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, : top_k or None]
    job_ids, resume_ids = list(part["jobs"]["job_id"]), list(part["resumes"]["resume_id"])
    n_candidates = ranked.shape[1]
    if scheme not in SCHEMES:
        raise DataError(f"scheme {scheme!r} is not one of {', '.join(SCHEMES)}")
    if n_candidates < 4:
        raise DataError(
            f"{n_candidates} candidates a job are too few to draw pairs from; raise top_k"
        )
    positives = defaultdict(set)
    if not both_positive:
        accepted = part["labels"][part["labels"]["label"] == 1]
        for job, resume in zip(accepted["job_id"], accepted["resume_id"], strict=True):
            positives[job].add(resume)
    rng, rows = np.random.default_rng(seed), []
    for job, order in zip(job_ids, ranked, strict=True):
        taken: set[frozenset] = set()
        for first, second in _draw_ranks(n_candidates, scheme, 8 * per_job, rng):
            a, b = resume_ids[order[first]], resume_ids[order[second]]
            if len(taken) == per_job:
                break
            if frozenset((a, b)) not in taken and not {a, b} <= positives[job]:
                taken.add(frozenset((a, b)))
                rows.append((job, a, b, first + 1, second + 1))
    return pd.DataFrame(rows, columns=["job_id", "resume_a", "resume_b", "rank_a", "rank_b"])


def _draw_ranks(n: int, scheme: str, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """(at most n_draws, 2) different ranks from 0, in random order."""
    first = rng.integers(0, n, n_draws)
    if scheme == "uniform":
        second = rng.integers(0, n, n_draws)
    elif scheme == "near":
        second = first + rng.integers(1, max(2, n // 10 + 1), n_draws) * rng.choice(
            (-1, 1), n_draws
        )
    else:
        first, second = rng.integers(0, n // 4, n_draws), n - 1 - rng.integers(0, n // 4, n_draws)
    ranks = rng.permuted(np.column_stack([first, second]), axis=1)
    return ranks[(ranks[:, 0] != ranks[:, 1]) & (ranks >= 0).all(axis=1) & (ranks < n).all(axis=1)]


@dataclass(frozen=True)
class PreferencePairs:
    """Decided preferences as numbers.

    pairs: rows (n, 6) int64 of PREFERENCE_COLUMNS, in which `preference` is the row's number and
    the contrastive_pairs ones are
    -1 without a contrastive term; positives are the contrastive_pairs stage-1 pairs. weights: (n,) float32.
    """

    pairs: Pairs
    weights: np.ndarray


def build_preference_pairs(
    part: Mapping[str, pd.DataFrame],
    preferences: pd.DataFrame,
    *,
    by_confidence: bool = False,
    contrastive_pairs: pd.DataFrame | None = None,
    seed: int = 1,
) -> PreferencePairs:
    """Number the texts of decided preferences; ties are left out.

    part: jobs and resumes. by_confidence: weigh pairs by confidence / 100 instead of equally.
    contrastive_pairs: the pairs that stage 1 learned from (job_id, resume_id), of which each row gets one at
    random, of its own job where it has any.
    Raises DataError if all preferences are ties.
    """
    decided = preferences[preferences["preferred"] != "tie"].reset_index(drop=True)
    if decided.empty:
        raise DataError(
            f"all {len(preferences):,} preferences are ties: nothing can be learned from them"
        )
    a_wins = decided["preferred"] == "a"
    contrastive_pairs = pd.DataFrame(columns=["job_id", "resume_id"]) if contrastive_pairs is None else contrastive_pairs
    codes, job_texts = _number(
        part["jobs"].set_index("job_id")["text"], decided["job_id"], contrastive_pairs["job_id"]
    )
    numbers, resume_texts = _number(
        part["resumes"].set_index("resume_id")["text"],
        decided["resume_a"].where(a_wins, decided["resume_b"]),
        decided["resume_b"].where(a_wins, decided["resume_a"]),
        contrastive_pairs["resume_id"],
    )
    known = np.column_stack([codes[1], numbers[2]]).astype(np.int64)
    drawn = _draw_contrastive(codes[0], known, seed)
    rows = np.column_stack([codes[0], *numbers[:2], drawn, np.arange(len(decided))]).astype(
        np.int64
    )
    weights = (
        decided["confidence"].to_numpy(np.float32) / 100
        if by_confidence
        else np.ones(len(decided), np.float32)
    )
    pairs = Pairs(job_texts, resume_texts, rows, np.unique(known, axis=0), PREFERENCE_COLUMNS)
    return PreferencePairs(pairs, weights)


def _draw_contrastive(jobs: np.ndarray, known: np.ndarray, seed: int) -> np.ndarray:
    """(n, 2) one of `known` for each row: of the row's own job, whose text is in the batch anyway,
    or else any."""
    if not len(known):
        return np.full((len(jobs), 2), -1)
    rng, of_job = np.random.default_rng(seed), defaultdict(list)
    for place, job in enumerate(known[:, 0]):
        of_job[job].append(place)
    return known[
        [rng.choice(of_job[job]) if job in of_job else rng.integers(len(known)) for job in jobs]
    ]


def _number(text_of: pd.Series, *columns: pd.Series) -> tuple[list[np.ndarray], list[str]]:
    """Each column of ids as numbers of distinct texts, and the texts."""
    texts = text_of.loc[pd.concat(columns)]
    codes, distinct = pd.factorize(texts)
    ends = np.cumsum([len(column) for column in columns])
    return np.split(codes, ends[:-1]), list(distinct)


def reference_margins(encoder: Encoder, pairs: Pairs) -> np.ndarray:
    """(n,) float32 score of the chosen minus score of the rejected resume by a frozen encoder, once
    for all steps."""
    jobs, resumes = encoder.encode_jobs(pairs.job_texts), encoder.encode_resumes(pairs.resume_texts)
    job, chosen, rejected = (pairs.numbers(name) for name in ("job", "chosen", "rejected"))
    return np.einsum("ij,ij->i", jobs[job], resumes[chosen] - resumes[rejected])
