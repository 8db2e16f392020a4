"""Kill a smoke run at random moments, let the next run finish, compare its figures with an
undisturbed run's.

Usage: python benchmarks/bench_kills.py [kills] [seed]. Over a minute a kill, so `make bench` leaves
it out; one line a kill, and a last line that says how many of them survived.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from matchlib.runs import RUN_MARK
from matchlib.stage import Finished

WORDS = {
    "group": "",
    "papermill": "papermill",
    "kernel": "ipykernel_launcher",
    "snakemake": "snakemake",
}
RUN = Path("reports/kills").resolve()
COMMAND = [sys.executable, "-m", "matchlib.cli", "run", "params/smoke.yaml", "--run"]


def of_run(word):
    """Processes that carry the run's mark and whose command line holds the word."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_MARK) == str(RUN) and word in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def figures(run):
    """What an undisturbed run and a recovered one must share: every stage's content id."""
    return {
        path.parent.name: Finished(path.parent).manifest["id"]
        for path in sorted(run.glob("*/manifest.json"))
    }


def kill(kind, started):
    """SIGKILL the chosen processes of the run; return how many there were."""
    chosen = of_run(WORDS[kind]) + ([psutil.Process(started.pid)] if kind == "group" else [])
    for process in chosen:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    return len(chosen)


def main(kills=50, seed=1):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"MATCHLIB_CACHE": cache}
        start = time.monotonic()
        subprocess.run(
            [*COMMAND, "kills-undisturbed"], env=environment, check=True, capture_output=True
        )
        whole = time.monotonic() - start
    expected, survived, struck = figures(RUN.with_name("kills-undisturbed")), 0, 0
    print(f"undisturbed: {whole:.0f} s, {len(expected)} stages", flush=True)
    while struck < kills:
        kind, moment = list(WORDS)[struck % len(WORDS)], rng.uniform(1, whole)
        shutil.rmtree(RUN, ignore_errors=True)
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {"MATCHLIB_CACHE": cache}
            start = time.monotonic()
            started = subprocess.Popen(
                [*COMMAND, RUN.name],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            time.sleep(moment)
            while not (killed := kill(kind, started)) and started.poll() is None:
                time.sleep(0.2)  # no papermill or kernel just now: strike the next one
            if not killed:  # the run had ended; such a draw is not counted
                whole = min(whole, time.monotonic() - start)
                continue
            if kind != "group":
                started.wait()  # what does not depend on the killed stage runs to its end
            whole_after = all(Finished(path.parent) for path in RUN.glob("*/manifest.json"))
            done = subprocess.run(
                [*COMMAND, RUN.name], env=environment, capture_output=True, text=True
            )
        same = done.returncode == 0 and whole_after and figures(RUN) == expected
        struck, survived = struck + 1, survived + same
        print(
            f"{struck:3d} {kind:9s} at {moment:5.1f} s, {killed:2d} processes: {'same' if same else 'DIFFERENT'}",
            flush=True,
        )
        if not same:
            print(done.stdout[-1000:], done.stderr[-2000:], figures(RUN), expected, flush=True)
    print(f"{survived} of {kills} runs recovered with equal figures")
    raise SystemExit(survived < kills)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
