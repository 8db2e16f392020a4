"""Runner-up mining: sampled against exact and against faiss' exact top 4%; growth with the corpus;
memory.

Usage: python benchmarks/bench_mining.py [queries] [candidates]. Random unit vectors with a common
part, so that scores spread as an encoder's do. Prints seconds, ratios, how far picks lie from their
band, and peak memory.
"""

import sys
import time
import tracemalloc

import faiss
import numpy as np

from matchlib.learning.mining import dense_rows, runner_ups, sampled_runner_ups

LOW, HIGH, DIM, MANY, ROUNDS = 0.03, 0.04, 384, 1_000_000, 5


def unit(n, rng):
    vectors = rng.standard_normal((n, DIM), dtype=np.float32) + 0.5
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def seconds(call):
    """(seconds, result) of one call."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def exact_top(queries, candidates):
    index = faiss.IndexFlatIP(DIM)
    index.add(candidates)
    return index.search(queries, int(HIGH * len(candidates)))


def main(n_queries=4_000, n_candidates=40_000):
    rng = np.random.default_rng(0)
    queries, candidates = unit(n_queries, rng), unit(n_candidates, rng)
    how = {"low": LOW, "high": HIGH, "n": 2}
    rounds = [
        (
            seconds(lambda: exact_top(queries, candidates))[0],
            seconds(lambda: runner_ups(dense_rows(queries, candidates), **how, rng=rng))[0],
            seconds(lambda: sampled_runner_ups(queries, candidates, **how, rng=rng)),
        )
        for _ in range(ROUNDS)
    ]
    peer, exact, sampled = (
        np.median(column) for column in zip(*((p, e, s) for p, e, (s, _) in rounds), strict=True)
    )
    ratios = sorted(p / s for p, _, (s, _) in rounds)
    picks = rounds[-1][2][1]
    print(
        f"{n_queries:,} x {n_candidates:,} x {DIM}, medians of {ROUNDS} paired rounds: faiss' top {HIGH:.0%} "
        f"{peer:.2f} s, exact band {exact:.2f} s, sampled band {sampled:.2f} s, {np.median(ratios):.2f} times faster "
        f"than faiss ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )
    scores = picks["score"].to_numpy()
    true = np.array(
        [(candidates @ queries[q] > s).mean() for q, s in zip(picks["query"], scores, strict=True)]
    )
    near, inside = (((true >= LOW - e) & (true <= HIGH + e)).mean() for e in (0.01, 0))
    print(
        f"within one point of the band: {near:.2%} of {len(true):,} picks; inside it {inside:.1%}; "
        f"mean {true.mean():.4f}"
    )
    large = unit(MANY, rng)
    pairs = [
        (
            seconds(lambda: sampled_runner_ups(queries, candidates, **how, rng=rng))[0],
            seconds(lambda: sampled_runner_ups(queries, large, **how, rng=rng))[0],
        )
        for _ in range(ROUNDS)
    ]
    tracemalloc.start()
    sampled_runner_ups(queries, large, **how, rng=rng)
    print(
        f"sampled at {MANY:,} candidates: {np.median([b for _, b in pairs]):.2f} s, "
        f"{np.median([b / a for a, b in pairs]):.2f} of the time at {n_candidates:,}; beyond the embeddings it "
        f"held at most {tracemalloc.get_traced_memory()[1] / 2**20:.0f} MB"
    )
    tracemalloc.reset_peak()
    runner_ups(dense_rows(queries, candidates), **how, rng=rng)
    print(
        f"the exact band of {n_queries:,} x {n_candidates:,} held at most "
        f"{tracemalloc.get_traced_memory()[1] / 2**20:.0f} MB; the score matrix would be "
        f"{4 * n_queries * n_candidates / 2**20:.0f} MB"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
