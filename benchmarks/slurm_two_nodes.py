"""A Slurm cluster of two simulated nodes on this machine: the smoke run and a sharded corpus on it,
undisturbed and with cancelled jobs and a killed node, against the same without a cluster.

As root, on Debian, with two cores and 4 GB (an hour; `--only shards` a quarter of one):

  apt-get install slurmctld slurmd slurm-client munge
  pip install 'matchlib[slurm]'
  python benchmarks/slurm_two_nodes.py

Exits with 0 if all figures, ids, vectors and lists are the same and every disturbance struck. It
writes /etc/slurm/slurm.conf and takes it away at the end; a machine that has one already is left
alone. What is compared, was cancelled and took how long is printed; the runs stay in reports/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil

from matchlib.data.market.simulation import Market

ROOT = Path(__file__).parents[1]
CONFIG = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
PLUGIN = "snakemake_executor_plugin_slurm"
NODES = ("node1", "node2")
MODEL, N_PARTS, N_SHARDS, SIZE = "all-MiniLM-L6-v2", 10, 60, 100
"""Of the sharded corpus: resumes of the market, SIZE in a shard, in N_PARTS cluster jobs."""
CONF = """
ClusterName=matchlib
SlurmctldHost={host}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmctldPort=7817
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
SlurmdLogFile={folder}/%n.log
StateSaveLocation={folder}/slurmctld
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
SlurmdTimeout=10
SlurmdParameters=config_overrides
KillWait=5
MinJobAge=3600
MpiDefault=none
NodeName=node[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[7818-7819] CPUs=1 RealMemory=64000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
CHANGES_OF_PROFILE = {
    "cpus_per_task=4": "cpus_per_task=1",
    "jobs: 100": "jobs: 100\nseconds-between-status-checks: 5\n"
    "slurm-init-seconds-before-status-checks: 5\nslurm-status-command: squeue",
}
"""This cluster has nodes of one processor and keeps no accounts. Its nodes claim 64 GB each, so that
a retry, which asks for more memory, finds a place."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--params", default="params/smoke.yaml", help="of the run")
    parser.add_argument("--only", choices=["run", "shards"], help="one of the two; default: both")
    options = parser.parse_args()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if find_spec(PLUGIN) is None:
        missing.append(f"{PLUGIN} (pip install 'matchlib[slurm]')")
    if missing or os.geteuid() != 0 or CONFIG.exists():
        print(
            f"skipped: {', '.join(missing) or 'nothing'} missing, user {os.geteuid()} (root is needed), "
            f"{CONFIG} {'exists' if CONFIG.exists() else 'is free'}"
        )
        return 1
    # one thread everywhere, as a node has: sums of several are rounded otherwise
    os.environ["OMP_NUM_THREADS"] = "1"
    passed = []
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        profile = write_profile(folder)
        with cluster(folder):
            if options.only != "run":
                passed.append(compare_shards(folder, profile))
            if options.only != "shards":
                passed.append(compare_runs(folder, profile, options.params))
    return int(not all(passed))


def compare_runs(folder: Path, profile: Path, params: str) -> bool:
    """A run alone, on the cluster, and on the cluster with a cancelled job and a killed node; whether
    all metrics of all manifests are the same."""
    expected = {}
    is_good = True
    for how in ("alone", "cluster", "disturbed"):
        run = f"slurm-{how}"
        shutil.rmtree(ROOT / "reports" / run, ignore_errors=True)
        command = ["matchlib.cli", "run", params, "--run", run]
        command += ["--cores", "1"] if how == "alone" else ["--profile", profile]
        started = time.monotonic()
        process = start(command, ROOT / "reports" / f"{run}.log")
        if how == "disturbed":
            steps = [cancel_job, partial(kill_node, folder)]
            is_good &= disturb(process, steps)
        code = process.wait()
        found = figures(run)
        expected = expected or found
        is_same = code == 0 and found == expected
        is_good &= is_same
        print(
            f"run {how}: exit {code}, {len(found)} stages, {time.monotonic() - started:.0f} s; figures as alone: "
            f"{is_same}{differences(expected, found)}",
            flush=True,
        )
    return is_good


def compare_shards(folder: Path, profile: Path) -> bool:
    """A corpus embedded alone, on the cluster, and on the cluster with five cancelled jobs and a killed
    node; whether vectors, ids and the list ranked from them are the same, byte by byte."""
    market = Market(1)
    market.jobs(50, "test").to_csv(folder / "jobs.csv", index=False)
    documents = folder / "resumes.csv"
    market.resumes(N_SHARDS * SIZE, "test").to_csv(documents, index=False)
    expected = {}
    is_good = True
    for how in ("alone", "cluster", "disturbed"):
        out = folder / "vectors" / how
        size = ["--documents-per-shard", SIZE]
        command = ["matchlib.cli", "embed", documents, "--model", MODEL, "--out", out, *size]
        if how != "alone":
            config = {"documents": documents, "model": MODEL, "out": out, "parts": N_PARTS}
            config |= {"documents_per_shard": SIZE}
            command = ["snakemake", "-s", "shards.smk", "--profile", profile, "--config"]
            command += [f"{name}={value}" for name, value in config.items()]
        started = time.monotonic()
        process = start(command, folder / f"{how}.log")
        if how == "disturbed":
            # early in a job's life, while it loads the model, and late, while it encodes
            steps = [partial(cancel_job, at_least=seconds) for seconds in (5, 12, 17, 21, 25)]
            steps.insert(2, partial(kill_node, folder))
            is_good &= disturb(process, steps, out)
        code = process.wait()
        seconds = time.monotonic() - started
        found = hashes(folder, out)
        expected = expected or found
        is_same = code == 0 and found == expected
        is_good &= is_same
        print(
            f"shards {how}: exit {code}, {finished(out)} of {N_SHARDS} shards, {seconds:.0f} s; {len(found)} files as "
            f"alone: {is_same}",
            flush=True,
        )
    return is_good


def finished(out: Path) -> int:
    """How many shards are finished."""
    return len(list(out.glob("*/shard.json")))


def hashes(folder: Path, out: Path) -> dict[str, str]:
    """File -> hash of the ids and vectors of every shard, and of the list ranked from them."""
    ranked = out.with_suffix(".csv")
    options = ["--jobs", folder / "jobs.csv", "--vectors", out, "--out", ranked, "--no-explain"]
    command = ["matchlib.cli", "rank", "--model", MODEL, *options]
    start(command, out.with_suffix(".log")).wait()
    found = {}
    if ranked.exists():
        found["ranked.csv"] = hashlib.sha256(ranked.read_bytes()).hexdigest()
    for name in ("ids.parquet", "vectors.npy"):
        for file in out.glob(f"*/{name}"):
            found[str(file.relative_to(out))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def differences(expected: dict[str, dict], found: dict[str, dict]) -> str:
    """The stages and metrics in which two runs differ, to print."""
    names = []
    for stage in expected.keys() | found.keys():
        one, other = expected.get(stage, {}), found.get(stage, {})
        names += [
            f"{stage} {key}" for key in one.keys() | other.keys() if one.get(key) != other.get(key)
        ]
    return f" ({', '.join(sorted(names))})" if names else ""


def write_profile(folder: Path) -> Path:
    """profiles/slurm with the settings of this cluster."""
    text = (ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8")
    for old, new in CHANGES_OF_PROFILE.items():
        if old not in text:
            raise ValueError(f"profiles/slurm/config.yaml has no {old!r} to change")
        text = text.replace(old, new)
    profile = folder / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text(text, encoding="utf-8")
    return profile


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """munge, slurmctld and two slurmd, until the block ends."""
    munge = folder / "munge"
    for name in ("munge", "slurmctld", *NODES):
        (folder / name).mkdir()
    (munge / "key").write_bytes(os.urandom(1024))
    (munge / "key").chmod(0o400)
    folder.chmod(0o755)
    CONFIG.parent.mkdir(exist_ok=True)
    CONFIG.write_text(
        CONF.format(host=socket.gethostname().split(".")[0], folder=folder),
        encoding="utf-8",
    )
    try:
        options = {"key-file": "key", "socket": "socket", "pid-file": "pid"}
        options |= {"log-file": "log", "seed-file": "seed"}
        call("munged", "--force", *(f"--{name}={munge / file}" for name, file in options.items()))
        call("slurmctld")
        for node in NODES:
            call("slurmd", "-N", node)
        wait_until(lambda: output("sinfo", "-h", "-o", "%T %D") == "idle 2", "two idle nodes")
        yield
    finally:
        CONFIG.unlink()
        daemons = []
        for file in (*folder.glob("*.pid"), munge / "pid"):
            if file.exists() and psutil.pid_exists(int(file.read_text())):
                daemons.append(psutil.Process(int(file.read_text())))
                daemons[-1].terminate()
        psutil.wait_procs(daemons, timeout=30)  # they write to the folder until they end


def start(module: Sequence[object], log: Path) -> subprocess.Popen:
    """Start a module of Python with its arguments; what it prints goes to the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        command = [sys.executable, "-m", *map(str, module)]
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)


def disturb(
    process: subprocess.Popen,
    steps: Sequence[Callable[[set[str]], str]],
    out: Path | None = None,
) -> bool:
    """Do the steps one after the other, each as soon as it can be done; whether all were done before
    the process ended. A step takes the rules that were struck before and returns the one it
    struck, or "" where there is none yet. out: a folder of vectors, in which another shard must be
    finished before the next step."""
    struck: set[str] = set()
    n_finished = -1
    for step in steps:
        rule = ""
        while not rule and process.poll() is None:
            time.sleep(1)
            if out is None or finished(out) > n_finished:
                rule = step(struck)
        if not rule:
            print(f"the run ended after {len(struck)} of {len(steps)} disturbances", flush=True)
            return False
        struck.add(rule)
        n_finished = finished(out) if out else 0
        progress = f", {n_finished} of {N_SHARDS} shards were finished" if out else ""
        print(f"{getattr(step, 'func', step).__name__}: {rule}{progress}", flush=True)
    return True


def running_job(spare: set[str], at_least: int = 3) -> tuple[str, str, str] | None:
    """Id, node and comment (the rule) of a job that has run for some seconds, and is not spared."""
    for line in output("squeue", "-h", "-t", "R", "-o", "%i %N %k %M").splitlines():
        job, node, comment, elapsed = line.split()
        minutes, seconds = map(int, elapsed.split(":")[-2:])
        if 60 * minutes + seconds >= at_least and comment not in spare:
            return job, node, comment
    return None


def cancel_job(spare: set[str], at_least: int = 3) -> str:
    """Cancel a running job; its rule. Each is tried three times, so none is struck twice."""
    found = running_job(spare, at_least)
    if found is None:
        return ""
    job, _, comment = found
    call("scancel", job)
    return comment


def kill_node(folder: Path, spare: set[str]) -> str:
    """Kill a node's daemon and everything that runs there, and start the daemon again once the
    controller has taken the node for dead; the rule that ran there."""
    found = running_job(spare)
    if found is None:
        return ""
    job, node, comment = found
    stop(int((folder / f"{node}.pid").read_text()), signal.SIGKILL)
    for process in psutil.process_iter(["name", "cmdline"]):
        is_step = process.info["name"] == "slurmstepd" and f"[{job}." in " ".join(
            process.info["cmdline"] or []
        )
        try:
            if is_step or process.environ().get("SLURMD_NODENAME") == node:
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it has just ended, or is a kernel thread
    time.sleep(25)  # longer than SlurmdTimeout
    call("slurmd", "-N", node)
    return comment


def figures(run: str) -> dict[str, dict[str, str]]:
    """Stage -> its metrics, each as text, so that NaN is NaN."""
    found = {}
    for file in sorted((ROOT / "reports" / run).glob("*/manifest.json")):
        metrics = json.loads(file.read_text(encoding="utf-8"))["metrics"]
        found[file.parent.name] = {name: str(value) for name, value in metrics.items()}
    return found


def call(*command: str) -> None:
    subprocess.run(command, check=True)


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def stop(pid: int, how: signal.Signals) -> None:
    if psutil.pid_exists(pid):
        os.kill(pid, how)


def wait_until(is_true, what: str, seconds: int = 60) -> None:
    """Raise TimeoutError where it does not become true in time."""
    end = time.time() + seconds
    while not is_true():
        if time.time() > end:
            raise TimeoutError(f"no {what} within {seconds} s")
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
