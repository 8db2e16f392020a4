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

import numpy as np
import pandas as pd
from scipy import stats

from matchlib.analysis.bias import audit, groups_of
from matchlib.analysis.mitigation import expected_shares, fit_eraser, frontier, rerank_to_shares
from matchlib.data.market import Market

JOBS, RESUMES, TRAIN, K, NOISE, RESUME_NOISE, PROXY_NOISE, RANK = (
    200,
    600,
    1_000,
    10,
    0.1,
    0.1,
    0.3,
    64,
)
BIASES, MITIGATED_BIAS = (0.025, 0.05, 0.1), 0.1
STRENGTHS = (0.5, 0.75, 1.0)
MITIGATED = 6


def world(seed, occupations):
    """(jobs, resumes, true scores, channels, rng) of a segregated market."""
    market = Market(seed, segregation=1.0, occupations=occupations)
    jobs, resumes = market.jobs(JOBS, "test"), market.resumes(RESUMES, "test")
    score, rng = market.channels(jobs, resumes)["true_score"], np.random.default_rng(seed)
    fits = score > np.quantile(score, 0.99)
    seen = (fits & (rng.random(fits.shape) < 0.3)) | (rng.random(fits.shape) < 0.0005)
    return (
        market,
        jobs,
        resumes,
        score,
        {"observed": pairs(jobs, resumes, seen), "true_fit": pairs(jobs, resumes, fits)},
        rng,
    )


def pairs(jobs, resumes, mask):
    j, r = np.nonzero(mask)
    return pd.DataFrame(
        {"job_id": jobs["job_id"].to_numpy()[j], "resume_id": resumes["resume_id"].to_numpy()[r]}
    )


def ranked(jobs, resumes, score):
    order = np.argsort(-score, axis=1)
    return pd.DataFrame(
        {
            "query_id": np.repeat(jobs["job_id"].to_numpy(), len(resumes)),
            "candidate_id": resumes["resume_id"].to_numpy()[order].ravel(),
            "rank": np.tile(np.arange(1, len(resumes) + 1), len(jobs)),
        }
    )


def woman(resumes):
    return (resumes["gender"] == "woman").to_numpy().astype(float)


def size_and_power(n_null, n_biased, occupations):
    """Share of audits with any flag, by bias, and the median seconds of one."""
    flagged, seconds = {bias: [] for bias in (0.0, *BIASES)}, []
    for seed in range(max(n_null, n_biased)):
        _, jobs, resumes, score, channels, rng = world(seed, occupations)
        noise = NOISE * rng.normal(size=score.shape) + RESUME_NOISE * rng.normal(size=RESUMES)
        for bias in flagged:
            if seed < (n_biased if bias else n_null):
                ranking = ranked(jobs, resumes, score + noise - bias * woman(resumes))
                start = time.perf_counter()
                found = audit(
                    ranking,
                    resumes,
                    channels,
                    column="gender",
                    k=K,
                    n_permutations=500,
                    seed=seed,
                    clusters=jobs.set_index("job_id")["occupation"],
                )
                seconds.append(time.perf_counter() - start)
                flagged[bias].append(found["flag"].any())
    rows = []
    for bias, flags in flagged.items():
        exact = stats.binomtest(int(sum(flags)), len(flags)).proportion_ci()
        rows.append(
            {
                "bias": bias,
                "audits": len(flags),
                "flagged": np.mean(flags),
                "low": exact.low,
                "high": exact.high,
            }
        )
    return pd.DataFrame(rows), float(np.median(seconds))


def biased_encoder(market, jobs, resumes, rng, bias):
    """Job and resume embeddings (training resumes first) whose inner product is true score + noise
    - bias * woman."""
    people = pd.concat([market.resumes(TRAIN, "train"), resumes], ignore_index=True)
    score = market.channels(jobs, people)["true_score"]
    score = (
        score + NOISE * rng.normal(size=score.shape) + RESUME_NOISE * rng.normal(size=len(people))
    )
    left, values, right = np.linalg.svd(score, full_matrices=False)
    left, right = left[:, :RANK] * np.sqrt(values[:RANK]), right[:RANK].T * np.sqrt(values[:RANK])
    proxy = woman(people) - 0.5 + PROXY_NOISE * rng.normal(size=len(people))
    turn = np.linalg.qr(rng.normal(size=(RANK + 1, RANK + 1)))[0]
    of_jobs, of_people = (
        np.column_stack([left, np.full(len(left), -bias)]),
        np.column_stack([right, proxy]),
    )
    return people[:TRAIN], of_jobs @ turn, of_people @ turn


def mitigated(seed, occupations, bias):
    """The frontier of one world."""
    market, jobs, resumes, _, channels, rng = world(seed, occupations)
    train, of_jobs, of_people = biased_encoder(market, jobs, resumes, rng, bias)
    base = ranked(jobs, resumes, of_jobs @ of_people[TRAIN:].T)
    rankings = {("untreated", 0.0): base}
    for name, strata in (
        ("erasure", None),
        ("erasure within occupations", train["occupation"].to_numpy()),
    ):
        eraser = fit_eraser(of_people[:TRAIN], train["gender"], strata=strata)
        rankings |= {
            (name, strength): ranked(
                jobs, resumes, of_jobs @ eraser.erase(of_people[TRAIN:], strength=strength).T
            )
            for strength in STRENGTHS
        }
    targets = expected_shares(base, resumes, column="gender", k=K)
    groups = groups_of(resumes.set_index("resume_id"), "gender")
    rankings |= {
        ("reranking", strength): rerank_to_shares(base, groups, targets, k=K, strength=strength)
        for strength in STRENGTHS
    }
    return frontier(
        rankings,
        resumes,
        channels,
        column="gender",
        group="woman",
        k=K,
        n_permutations=200,
        clusters=jobs.set_index("job_id")["occupation"],
    ).assign(seed=seed)


def main(n_null=400, n_biased=200, occupations=14):
    rates, seconds = size_and_power(n_null, n_biased, occupations)
    print(f"{occupations} occupations; a flag is any measure with p_holm < .05")
    print(rates.round(3).to_string(index=False))
    print(
        f"one audit of {JOBS} x {RESUMES} with 500 permutations: {seconds:.2f} s (median)",
        flush=True,
    )
    tables = pd.concat(
        [mitigated(1_000 + i, occupations, MITIGATED_BIAS) for i in range(MITIGATED)]
    )
    # signed excesses are averaged first, so that their noise is not counted as a gap
    shown = ["gap", "excess", "chance", "value", "cost"]
    mean = tables.groupby(["channel", "mitigation", "strength"])[shown].mean()
    base = mean.xs("untreated", level="mitigation").droplevel("strength")
    mean["excess_left"] = (
        mean["excess"] / base["excess"].reindex(mean.index.get_level_values(0)).to_numpy()
    )
    print(
        f"women's recall at {K} less men's, nDCG@10 and its relative cost, means of {MITIGATED} worlds with bias "
        f"{MITIGATED_BIAS}\n{mean.round(3).to_string()}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
