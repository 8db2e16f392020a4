"""The audit's size and power on simulated rankings, its time, and what mitigations cost on a
simulated biased encoder.

Usage: python benchmarks/bench_audit.py [null audits] [audits a bias] [occupations]. Nothing is
trained. Each world is a market of its own with segregated occupations, 200 jobs and 600 resumes; a
ranker scores true_score + noise (one draw a pair, one a resume) - bias * woman. `observed` labels
are a sparse draw of the true fits. The encoder of the second part is made from the true scores (a
low-rank factorisation, rotated) and one noisy coordinate that holds the gender.
"""

import sys
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from matchlib.analysis.bias import AuditSettings, audit_ranking, groups_of
from matchlib.analysis.mitigation import (
    UNTREATED,
    TreatedRanking,
    compare_mitigations,
    expected_shares,
    fit_eraser,
    rerank_to_shares,
)
from matchlib.data.market.simulation import Market

N_JOBS = 200
N_RESUMES = 600
N_TRAIN = 1_000
CUTOFF = 10
PAIR_NOISE = 0.1
RESUME_NOISE = 0.1
PROXY_NOISE = 0.3
RANK = 64  # of the biased encoder's score matrix
BIASES = (0.025, 0.05, 0.1)
MITIGATED_BIAS = 0.1
STRENGTHS = (0.5, 0.75, 1.0)
N_MITIGATED_WORLDS = 6


@dataclass(frozen=True)
class World:
    """A segregated market: its documents, true scores (J, R), judgment sets, and its random state."""

    market: Market
    jobs: pd.DataFrame
    resumes: pd.DataFrame
    scores: np.ndarray
    judgment_sets: dict[str, pd.DataFrame]
    rng: np.random.Generator

    @property
    def clusters(self) -> pd.Series:
        return self.jobs.set_index("job_id")["occupation"]


def make_world(seed, occupations, segregation=1.0):
    market = Market(seed, segregation=segregation, occupations=occupations)
    jobs = market.jobs(N_JOBS, "test")
    resumes = market.resumes(N_RESUMES, "test")
    scores = market.channels(jobs, resumes)["true_score"]
    rng = np.random.default_rng(seed)
    fits = scores > np.quantile(scores, 0.99)
    is_labelled = rng.random(fits.shape) < 0.3
    is_mislabelled = rng.random(fits.shape) < 0.0005
    judgment_sets = {
        "observed": pairs_where((fits & is_labelled) | is_mislabelled, jobs, resumes),
        "true_fit": pairs_where(fits, jobs, resumes),
    }
    return World(market, jobs, resumes, scores, judgment_sets, rng)


def pairs_where(mask, jobs, resumes):
    """The pairs of a (J, R) bool array."""
    job, resume = np.nonzero(mask)
    return pd.DataFrame(
        {
            "job_id": jobs["job_id"].to_numpy()[job],
            "resume_id": resumes["resume_id"].to_numpy()[resume],
        }
    )


def rank_by(scores, jobs, resumes):
    """The ranking of resumes by (J, R) scores."""
    order = np.argsort(-scores, axis=1)
    return pd.DataFrame(
        {
            "query_id": np.repeat(jobs["job_id"].to_numpy(), len(resumes)),
            "candidate_id": resumes["resume_id"].to_numpy()[order].ravel(),
            "rank": np.tile(np.arange(1, len(resumes) + 1), len(jobs)),
        }
    )


def is_woman(resumes):
    return (resumes["gender"] == "woman").to_numpy().astype(float)


def measure_size_and_power(n_null, n_biased, occupations):
    """Share of audits with any flag, by bias, and the median seconds of one."""
    has_flag = {bias: [] for bias in (0.0, *BIASES)}
    seconds = []
    for seed in range(max(n_null, n_biased)):
        world = make_world(seed, occupations)
        pair_noise = PAIR_NOISE * world.rng.normal(size=world.scores.shape)
        resume_noise = RESUME_NOISE * world.rng.normal(size=N_RESUMES)
        noisy_scores = world.scores + (pair_noise + resume_noise)
        settings = AuditSettings(
            cutoff=CUTOFF,
            n_permutations=500,
            seed=seed,
            clusters=world.clusters,
        )
        for bias, flags in has_flag.items():
            n_audits = n_biased if bias else n_null
            if seed >= n_audits:
                continue
            scores = noisy_scores - bias * is_woman(world.resumes)
            ranking = rank_by(scores, world.jobs, world.resumes)
            start = time.perf_counter()
            audit = audit_ranking(
                ranking,
                world.resumes,
                world.judgment_sets,
                column="gender",
                settings=settings,
            )
            seconds.append(time.perf_counter() - start)
            flags.append(audit["flag"].any())
    rates = [flag_rate(bias, flags) for bias, flags in has_flag.items()]
    return pd.DataFrame(rates), float(np.median(seconds))


def flag_rate(bias, flags):
    """The share of audits with a flag, with its exact interval."""
    interval = stats.binomtest(int(sum(flags)), len(flags)).proportion_ci()
    return {
        "bias": bias,
        "audits": len(flags),
        "flagged": np.mean(flags),
        "low": interval.low,
        "high": interval.high,
    }


def make_biased_encoder(world, bias):
    """(training resumes, job embeddings, resume embeddings, training resumes first).

    Their inner product is true score + noise - bias * woman.
    """
    train = world.market.resumes(N_TRAIN, "train")
    people = pd.concat([train, world.resumes], ignore_index=True)
    scores = world.market.channels(world.jobs, people)["true_score"]
    scores = scores + PAIR_NOISE * world.rng.normal(size=scores.shape)
    scores = scores + RESUME_NOISE * world.rng.normal(size=len(people))
    left, values, right = np.linalg.svd(scores, full_matrices=False)
    scale = np.sqrt(values[:RANK])
    job_factors = left[:, :RANK] * scale
    resume_factors = right[:RANK].T * scale
    gender = is_woman(people) - 0.5 + PROXY_NOISE * world.rng.normal(size=len(people))
    rotation, _ = np.linalg.qr(world.rng.normal(size=(RANK + 1, RANK + 1)))
    job_vectors = np.column_stack([job_factors, np.full(len(left), -bias)])
    resume_vectors = np.column_stack([resume_factors, gender])
    return people[:N_TRAIN], job_vectors @ rotation, resume_vectors @ rotation


def mitigate(seed, occupations, bias):
    """`compare_mitigations` of one world."""
    world = make_world(seed, occupations)
    train, job_vectors, resume_vectors = make_biased_encoder(world, bias)
    train_vectors = resume_vectors[:N_TRAIN]
    test_vectors = resume_vectors[N_TRAIN:]
    untreated = rank_by(job_vectors @ test_vectors.T, world.jobs, world.resumes)
    treated = [TreatedRanking(UNTREATED, 0.0, untreated)]
    strata_of_erasure = {
        "erasure": None,
        "erasure within occupations": train["occupation"].to_numpy(),
    }
    for name, strata in strata_of_erasure.items():
        eraser = fit_eraser(train_vectors, train["gender"], strata=strata)
        for strength in STRENGTHS:
            erased = eraser.erase(test_vectors, strength=strength)
            ranking = rank_by(job_vectors @ erased.T, world.jobs, world.resumes)
            treated.append(TreatedRanking(name, strength, ranking))
    targets = expected_shares(untreated, world.resumes, column="gender", cutoff=CUTOFF)
    groups = groups_of(world.resumes.set_index("resume_id"), "gender")
    for strength in STRENGTHS:
        ranking = rerank_to_shares(untreated, groups, targets, cutoff=CUTOFF, strength=strength)
        treated.append(TreatedRanking("reranking", strength, ranking))
    settings = AuditSettings(cutoff=CUTOFF, n_permutations=200, clusters=world.clusters)
    compared = compare_mitigations(
        treated,
        world.resumes,
        world.judgment_sets,
        column="gender",
        group="woman",
        settings=settings,
    )
    return compared.assign(seed=seed)


def main(n_null=400, n_biased=200, occupations=14):
    rates, seconds = measure_size_and_power(n_null, n_biased, occupations)
    print(f"{occupations} occupations; a flag is any measure with p_holm < .05")
    print(rates.round(3).to_string(index=False))
    print(
        f"one audit of {N_JOBS} x {N_RESUMES} with 500 permutations: {seconds:.2f} s (median)",
        flush=True,
    )
    tables = []
    for number in range(N_MITIGATED_WORLDS):
        tables.append(mitigate(1_000 + number, occupations, MITIGATED_BIAS))
    # signed excesses are averaged first, so that their noise is not counted as a gap
    shown = ["gap", "excess", "chance", "value", "cost"]
    means = pd.concat(tables).groupby(["judgments", "mitigation", "strength"])[shown].mean()
    untreated = means.xs(UNTREATED, level="mitigation").droplevel("strength")
    untreated_excess = untreated["excess"].reindex(means.index.get_level_values(0))
    means["excess_left"] = means["excess"] / untreated_excess.to_numpy()
    print(
        f"women's recall at {CUTOFF} less men's, nDCG@10 and its relative cost, means of "
        f"{N_MITIGATED_WORLDS} worlds with bias {MITIGATED_BIAS}\n{means.round(3).to_string()}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
