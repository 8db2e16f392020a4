"""Runner-up mining: sampled against exact and against faiss' exact top 4%; growth with the corpus; memory.

Usage: python benchmarks/bench_mining.py [queries] [candidates]. Random unit vectors with a common part, so that
scores spread as an encoder's do. Prints seconds, ratios, how far picks lie from their band, and peak memory.
"""

import resource
import sys
import time

import faiss
import numpy as np

from matchlib.learning.mining import dense_rows, runner_ups, sampled_runner_ups

LOW, HIGH, DIM, MANY = 0.03, 0.04, 384, 1_000_000


def unit(n, rng):
    vectors = rng.standard_normal((n, DIM), dtype=np.float32) + 0.5
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def seconds(call, rounds=3):
    """The fastest of some rounds, and the result."""
    times, result = [], None
    for _ in range(rounds):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return min(times), result


def exact_top(queries, candidates):
    index = faiss.IndexFlatIP(DIM)
    index.add(candidates)
    return index.search(queries, int(HIGH * len(candidates)))


def main(n_queries=4_000, n_candidates=40_000):
    rng = np.random.default_rng(0)
    queries, candidates = unit(n_queries, rng), unit(n_candidates, rng)
    how = {"low": LOW, "high": HIGH, "n": 2}
    peer, _ = seconds(lambda: exact_top(queries, candidates), rounds=1)
    exact, _ = seconds(lambda: runner_ups(dense_rows(queries, candidates), **how, rng=rng), rounds=1)
    sampled, picks = seconds(lambda: sampled_runner_ups(queries, candidates, **how, rng=rng))
    print(f"{n_queries:,} x {n_candidates:,} x {DIM}: faiss' top {HIGH:.0%} {peer:.1f} s, exact band {exact:.1f} s "
          f"({peer / exact:.1f}), sampled band {sampled:.1f} s ({peer / sampled:.1f} times faster than faiss)")
    scores = picks["score"].to_numpy()
    true = np.array([(candidates @ queries[q] > s).mean() for q, s in zip(picks["query"], scores, strict=True)])
    near, inside = (((true >= LOW - e) & (true <= HIGH + e)).mean() for e in (0.01, 0))
    print(f"within one point of the band: {near:.2%} of {len(true):,} picks; inside it {inside:.1%}; "
          f"mean {true.mean():.4f}")
    large = unit(MANY, rng)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown, _ = seconds(lambda: sampled_runner_ups(queries, large, **how, rng=rng))
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    print(f"sampled at {MANY:,} candidates: {grown:.1f} s ({grown / sampled:.2f} of {n_candidates:,}); memory grew by "
          f"{extra:.2f} GB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
