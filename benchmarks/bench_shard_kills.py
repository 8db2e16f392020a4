"""Claim: a sharded run that is killed 20 times ends at the same ids, vectors and ranked list as one
left alone.

Usage: python benchmarks/bench_shard_kills.py [kills]. 800 resumes of the market in 40 shards are
embedded by the packaged model; SIGKILL strikes after a random time, and the next call goes on. The
time counts from the moment at which the first shard of a call is made, so that most strike while
shards are encoded and written. When all shards are finished some are torn, and it goes on.
"""

import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from matchlib.data.market.simulation import Market

MODEL, N_SHARDS, SIZE = "all-MiniLM-L6-v2", 40, 20


def command(*arguments):
    return [sys.executable, "-m", "matchlib.cli", *map(str, arguments)]


def embedding(place, out):
    documents = ("embed", place / "resumes.csv", "--documents-per-shard", SIZE)
    return command(*documents, "--model", MODEL, "--out", out)


def result_of(place, out):
    """Hashes of vectors and ids, and of the ranked list."""
    ranked = out.with_suffix(".csv")
    options = ("--jobs", place / "jobs.csv", "--vectors", out, "--out", ranked, "--no-explain")
    subprocess.run(command("rank", "--model", MODEL, *options), check=True, capture_output=True)
    files = [ranked]
    for name in ("vectors.npy", "ids.parquet"):
        files += sorted(out.glob(f"*/{name}"))
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def strike(place, out, rng):
    """Kill one call; how many shards it had made, or None if it had ended before."""
    call = subprocess.Popen(embedding(place, out), stderr=subprocess.PIPE, text=True)
    line = "not started"
    while line and "encoded" not in line:
        line = call.stderr.readline()
    time.sleep(rng.expovariate(1 / 0.5))
    if call.poll() is not None:
        call.communicate()
        return None
    call.send_signal(signal.SIGKILL)
    return 1 + call.communicate()[1].count("encoded")


def main(kills=20, seed=1):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        market = Market(1)
        market.jobs(20, "test").to_csv(place / "jobs.csv", index=False)
        market.resumes(N_SHARDS * SIZE, "test").to_csv(place / "resumes.csv", index=False)
        undisturbed = place / "undisturbed"
        subprocess.run(embedding(place, undisturbed), check=True, capture_output=True)
        expected = result_of(place, undisturbed)
        out = place / "killed"
        progress, n_torn = [], 0
        while len(progress) < kills:
            made = strike(place, out, rng)
            if made is not None:
                progress.append(made)
            if len(list(out.glob("*/shard.json"))) == N_SHARDS:
                for shard in rng.sample(sorted(out.glob("[0-9]*")), N_SHARDS // 2):
                    file = shard / rng.choice(["vectors.npy", "ids.parquet", "shard.json"])
                    file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])
                    n_torn += 1
        subprocess.run(embedding(place, out), check=True, capture_output=True)
        is_same = result_of(place, out) == expected
    print(
        f"{kills} kills, shards made before each: {progress}, {n_torn} shards torn: the hashes of "
        f"{len(expected)} files are {'the same' if is_same else 'NOT the same'} as undisturbed"
    )
    sys.exit(not is_same)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
