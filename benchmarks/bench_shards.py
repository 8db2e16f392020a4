"""Sharded vectors: 1,000,000 documents ranked for 1,000 queries, bands of 10,000 queries in
many, cost by shards, and memory.

Usage: OMP_NUM_THREADS=2 python benchmarks/bench_shards.py [shards] [documents a shard] [folder].
The default, 20 shards of 50,000, needs 3 GB of free disk in the folder (default: the system's for
temporary files), 200 shards 10.3 GB; they are given back. Vectors are simulated, each shard by its own seed and around
a centre of its own, as where documents arrive by branch: bands of one shard would not be those of
all. Each figure is of a process of its own, with its peak memory; wall and processor seconds.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from matchlib.learning.mining import sampled_runner_ups
from matchlib.retrieval.shards import ShardedVectors, VectorSource, embed_shard, shard_name

DIM, LOW, HIGH, CHECKED = 384, 0.03, 0.04, 200
QUERIES = 2**32
"""Seed of the queries, which is no shard's."""
SOURCE = VectorSource("simulated", "simulated", "", "", "resumes")


def unit(n, seed, centre_seed=None):
    """(n, DIM) float32 unit vectors with a part that all share, and one that a shard shares."""
    vectors = np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32) + 0.5
    if centre_seed is not None:
        centre = np.random.default_rng(centre_seed).standard_normal(DIM, dtype=np.float32)
        vectors += 0.5 * centre
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make(folder, first, end, size):
    """Shards first..end of simulated vectors, by the way that real ones are made."""
    for number in range(first, end):
        names = [f"r{number}-{row}" for row in range(size)]
        frame = pd.DataFrame({"id": names, "text": names, "file": "simulated", "line": range(size)})
        whole = unit(size, number, centre_seed=number)

        def encode(texts, whole=whole):
            return whole[[int(text.split("-")[1]) for text in texts]]

        embed_shard(
            folder / shard_name(number), frame, source=SOURCE, encode=encode, input_hash=str(number)
        )


def rank(folder, n_shards, n_queries):
    """Seconds to open and to rank, of the best 20 of the first shards."""
    started = time.perf_counter()
    vectors = ShardedVectors.open(folder, n_shards)
    opened = time.perf_counter()
    hits = vectors.top_k(unit(n_queries, QUERIES), 20)
    vectors.documents_at(np.unique(hits.positions))
    return {
        "documents": len(vectors),
        "open": opened - started,
        "rank": time.perf_counter() - opened,
    }


def bands(folder, n_shards, n_queries):
    """Seconds to open and to draw two runner-ups a query; keeps the picks of the first queries."""
    started = time.perf_counter()
    vectors = ShardedVectors.open(folder, n_shards)
    opened = time.perf_counter()
    picks = sampled_runner_ups(
        unit(n_queries, QUERIES),
        vectors,
        low=LOW,
        high=HIGH,
        n=2,
        rng=np.random.default_rng(0),
    )
    seconds = time.perf_counter() - opened
    picks[picks["query"] < CHECKED].to_parquet(folder / "picks.parquet")
    return {"documents": len(vectors), "open": opened - started, "bands": seconds}


def check(folder, n_shards):
    """How far the picks' true percentiles, over all vectors, lie from their band and their estimates."""
    vectors = ShardedVectors.open(folder, n_shards)
    picks = pd.read_parquet(folder / "picks.parquet")
    queries = unit(10_000, QUERIES)[:CHECKED]
    of_pick = picks["query"].to_numpy()
    scores = picks["score"].to_numpy()
    n_above = np.zeros(len(picks))
    for _, block in vectors.blocks():
        in_block = queries @ block.T
        for query in range(CHECKED):
            at = np.flatnonzero(of_pick == query)
            n_above[at] += (in_block[query] > scores[at, None]).sum(axis=1)
    true = n_above / len(vectors)
    off_band = np.maximum(np.maximum(LOW - true, true - HIGH), 0)
    off_estimate = np.abs(true - picks["percentile"].to_numpy())
    return {
        "picks": len(picks),
        "within a point of the band": float((off_band <= 0.01).mean()),
        "farthest from the band": float(off_band.max()),
        "estimate off at most": float(off_estimate.max()),
        "inside the band": float((off_band == 0).mean()),
    }


def worker(*call):
    """What a call in a process of its own returns, with wall and processor seconds and peak MB."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--call", json.dumps(call)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1]) | {"wall": time.perf_counter() - started}


def run_call(name, folder, *arguments):
    returned = globals()[name](Path(folder), *arguments) or {}
    used = resource.getrusage(resource.RUSAGE_SELF)
    measured = {
        "processor": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }
    print(json.dumps(returned | measured))


def shown(facts):
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:.4g}"
        for name, value in facts.items()
    )


def main(n_shards=20, size=50_000, folder=None):
    needed = n_shards * size * (DIM * 2 + 60)
    free = shutil.disk_usage(folder or tempfile.gettempdir()).free
    if free < needed + 2e9:
        sys.exit(
            f"{needed / 1e9:.1f} GB and 2 GB to spare are needed, {free / 1e9:.1f} GB are free"
        )
    with tempfile.TemporaryDirectory(dir=folder) as name:
        half = n_shards // 2
        for first, end in ((0, half), (half, n_shards)):
            print(
                f"shards {first}..{end - 1} written: {shown(worker('make', name, first, end, size))}",
                flush=True,
            )
        one_million = max(1, min(n_shards, 1_000_000 // size))
        print(f"1,000 queries: {shown(worker('rank', name, one_million, 1_000))}", flush=True)
        print(
            f"bands of 10,000 queries: {shown(worker('bands', name, n_shards, 10_000))}", flush=True
        )
        print(f"exact percentiles: {shown(worker('check', name, n_shards))}", flush=True)
        for part in (8, 4, 2, 1):
            counted = max(1, n_shards // part)
            print(
                f"{counted} shards, 100 queries: {shown(worker('rank', name, counted, 100))}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]:
        run_call(*json.loads(sys.argv[2]))
    else:
        numbers = [int(text) for text in sys.argv[1:3]]
        main(*numbers, *sys.argv[3:4])
