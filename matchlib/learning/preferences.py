"""Pairs of resumes to have judged, and judged pairs as the rows that a training reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.learning.pairs import Column, Pairs
from matchlib.retrieval.alignment import PairSet, decided
from matchlib.retrieval.encoder import Encoder

PREFERENCE_COLUMNS = (
    Column("job", "job"),
    Column("chosen", "resume"),
    Column("rejected", "resume"),
    Column("contrastive_job", "job", required=False),
    Column("contrastive_resume", "resume", required=False),
    Column("preference"),
)
"""The columns of the rows of `build_preference_pairs`; none is droppable: a batch has all of every row."""


def sample_pairs(
    scores: np.ndarray,
    part: Mapping[str, pd.DataFrame],
    *,
    top_k: int,
    per_job: int,
    seed: int,
) -> pd.DataFrame:
    """Draw pairs of each job's candidates uniformly, in random order, none twice, and none of two
    resumes that the job accepted.

    part: jobs, resumes and labels of one split; scores: (J, R) of these, by stage 1; candidates are
    each job's top_k, or all with top_k 0. A job with too few candidates gives fewer pairs.
    Returns job_id, resume_a, resume_b, rank_a, rank_b (1 is best).
    Raises DataError on fewer than 4 candidates.
    """
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, : top_k or None]
    n_candidates = ranked.shape[1]
    if n_candidates < 4:
        raise DataError(
            f"{n_candidates} candidates a job are too few to draw pairs from; raise top_k"
        )
    resume_ids = list(part["resumes"]["resume_id"])
    accepted_by_job = _accepted_by_job(part["labels"])
    rng = np.random.default_rng(seed)
    rows = []
    for job, order in zip(part["jobs"]["job_id"], ranked, strict=True):
        accepted = accepted_by_job.get(job, set())
        taken: set[frozenset] = set()
        for first, second in _draw_ranks(n_candidates, 8 * per_job, rng):
            if len(taken) == per_job:
                break
            a = resume_ids[order[first]]
            b = resume_ids[order[second]]
            pair = frozenset((a, b))
            if pair in taken or pair <= accepted:
                continue
            taken.add(pair)
            rows.append((job, a, b, first + 1, second + 1))
    return pd.DataFrame(
        rows,
        columns=["job_id", "resume_a", "resume_b", "rank_a", "rank_b"],
    )


def sample_pair_sets(
    scores: Mapping[str, np.ndarray],
    parts: Mapping[str, Mapping[str, pd.DataFrame]],
    *,
    top_k: int,
    per_job: int,
    test_per_job: int,
    seed: int,
) -> list[PairSet]:
    """The sets to judge: top pairs of train, valid and test, and uniform pairs of test.

    scores, parts: by split; a split that is not there gives no set. per_job: of train;
    test_per_job: of valid and test. See `sample_pairs`.
    """
    wanted = [
        ("train", "top", per_job),
        ("valid", "top", test_per_job),
        ("test", "top", test_per_job),
        ("test", "uniform", test_per_job),
    ]
    sets = []
    for split, source, n_pairs in wanted:
        if split not in parts:
            continue
        pairs = sample_pairs(
            scores[split],
            parts[split],
            top_k=top_k if source == "top" else 0,
            per_job=n_pairs,
            seed=seed,
        )
        sets.append(PairSet(split, source, pairs))
    return sets


def count_pairs(sets: Sequence[PairSet]) -> pd.DataFrame:
    """split, from, pairs, jobs of every set."""
    rows = []
    for one in sets:
        rows.append(
            {
                "split": one.split,
                "from": one.source,
                "pairs": len(one.pairs),
                "jobs": one.pairs["job_id"].nunique(),
            }
        )
    return pd.DataFrame(rows)


def _accepted_by_job(labels: pd.DataFrame) -> dict[str, set[str]]:
    return labels[labels["label"] == 1].groupby("job_id")["resume_id"].agg(set).to_dict()


def _draw_ranks(n: int, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """(at most n_draws, 2) different ranks from 0, in random order."""
    first = rng.integers(0, n, n_draws)
    second = rng.integers(0, n, n_draws)
    ranks = rng.permuted(np.column_stack([first, second]), axis=1)
    return ranks[ranks[:, 0] != ranks[:, 1]]


def build_preference_pairs(
    part: Mapping[str, pd.DataFrame],
    preferences: pd.DataFrame,
    *,
    contrastive_pairs: pd.DataFrame | None = None,
    seed: int = 1,
) -> Pairs:
    """Decided preferences as numbers of texts; ties are left out.

    part: jobs and resumes. contrastive_pairs: the pairs that stage 1 learned from (job_id,
    resume_id), of which each row gets one at random, of its own job where it has any; without them
    its two columns are -1.
    Returns rows (n, 6) int64 of PREFERENCE_COLUMNS, in which `preference` is the row's number; the
    positives are contrastive_pairs.
    Raises DataError if all preferences are ties.
    """
    rows = decided(preferences).reset_index(drop=True)
    if rows.empty:
        raise DataError(
            f"all {len(preferences):,} preferences are ties: nothing can be learned from them"
        )
    if contrastive_pairs is None:
        contrastive_pairs = pd.DataFrame(columns=["job_id", "resume_id"])
    a_wins = rows["preferred"] == "a"
    (job, known_job), job_texts = _number(
        part["jobs"].set_index("job_id")["text"],
        rows["job_id"],
        contrastive_pairs["job_id"],
    )
    (chosen, rejected, known_resume), resume_texts = _number(
        part["resumes"].set_index("resume_id")["text"],
        rows["resume_a"].where(a_wins, rows["resume_b"]),
        rows["resume_b"].where(a_wins, rows["resume_a"]),
        contrastive_pairs["resume_id"],
    )
    known = np.column_stack([known_job, known_resume]).astype(np.int64)
    drawn = _draw_contrastive(job, known, seed)
    numbers = np.column_stack([job, chosen, rejected, drawn, np.arange(len(rows))])
    return Pairs(
        job_texts,
        resume_texts,
        numbers.astype(np.int64),
        np.unique(known, axis=0),
        PREFERENCE_COLUMNS,
    )


def _draw_contrastive(jobs: np.ndarray, known: np.ndarray, seed: int) -> np.ndarray:
    """(n, 2) one of `known` for each row: of the row's own job, whose text is in the batch anyway,
    or else any; -1 where nothing is known."""
    if not len(known):
        return np.full((len(jobs), 2), -1)
    rows_of_job = defaultdict(list)
    for row, job in enumerate(known[:, 0]):
        rows_of_job[job].append(row)
    rng = np.random.default_rng(seed)
    drawn = []
    for job in jobs:
        if job in rows_of_job:
            drawn.append(rng.choice(rows_of_job[job]))
        else:
            drawn.append(rng.integers(len(known)))
    return known[drawn]


def _number(text_of: pd.Series, *columns: pd.Series) -> tuple[list[np.ndarray], list[str]]:
    """Each column of ids as numbers of distinct texts, and the texts."""
    texts = text_of.loc[pd.concat(columns)]
    codes, distinct = pd.factorize(texts)
    ends = np.cumsum([len(column) for column in columns])
    return np.split(codes, ends[:-1]), list(distinct)


def reference_margins(encoder: Encoder, pairs: Pairs) -> np.ndarray:
    """(n,) float32 score of the chosen minus score of the rejected resume by a frozen encoder, once
    for all steps."""
    jobs = encoder.encode_jobs(pairs.job_texts)[pairs.numbers("job")]
    resumes = encoder.encode_resumes(pairs.resume_texts)
    difference = resumes[pairs.numbers("chosen")] - resumes[pairs.numbers("rejected")]
    return np.einsum("ij,ij->i", jobs, difference)
