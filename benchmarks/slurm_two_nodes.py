"""The smoke run on a Slurm cluster of two simulated nodes on this machine, undisturbed and with a
cancelled job and a killed node, against the same run without a cluster.

As root, on Debian: apt-get install slurmctld slurmd slurm-client munge; pip install 'matchlib[slurm]';
python benchmarks/slurm_two_nodes.py. It writes /etc/slurm/slurm.conf and takes it away at the end; a
machine that has one already is left alone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
CONFIG = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
NODES = ("node1", "node2")
PARAMS = sys.argv[1] if len(sys.argv) > 1 else "params/smoke.yaml"
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
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0 or CONFIG.exists():
        print(
            f"skipped: {', '.join(missing) or 'nothing'} missing, user {os.geteuid()} (root is needed), "
            f"{CONFIG} {'exists' if CONFIG.exists() else 'is free'}"
        )
        return 0
    runs = {"alone": "slurm-alone", "cluster": "slurm-cluster", "disturbed": "slurm-disturbed"}
    for run in runs.values():
        shutil.rmtree(ROOT / "reports" / run, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        profile = write_profile(folder)
        with cluster(folder):
            start(runs["alone"]).wait()
            start(runs["cluster"], profile).wait()
            process = start(runs["disturbed"], profile)
            cancelled = disturb(process, cancel_job)
            killed = disturb(process, lambda: kill_node(folder))
            process.wait()
    expected = figures(runs["alone"])
    print(f"cancelled {cancelled}; killed the node of {killed}")
    for name, run in runs.items():
        same = figures(run) == expected
        print(f"{name}: {len(figures(run))} stages, same figures: {same}")
    is_disturbed = "nothing" not in (cancelled, killed)
    return int(any(figures(run) != expected for run in runs.values()) or not is_disturbed)


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
        for file in (*folder.glob("*.pid"), munge / "pid"):
            if file.exists():
                stop(int(file.read_text()), signal.SIGTERM)


def start(run: str, profile: Path | None = None) -> subprocess.Popen:
    """Start the smoke run under a name of its own; without a profile on this machine alone."""
    command = [sys.executable, "-m", "matchlib.cli", "run", PARAMS, "--run", run]
    if profile:
        command += ["--profile", str(profile)]
    with (ROOT / "reports" / f"{run}.log").open("w") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def disturb(process: subprocess.Popen, do) -> str:
    """Do it as soon as it can be done; "nothing" where the run ends before."""
    while process.poll() is None:
        done = do()
        if done:
            return done
        time.sleep(2)
    return "nothing"


def running_job() -> tuple[str, str, str] | None:
    """Id, node and comment (the rule) of a job that has run for some seconds."""
    for line in output("squeue", "-h", "-t", "R", "-o", "%i %N %k %M").splitlines():
        job, node, comment, elapsed = line.split()
        if elapsed not in ("0:00", "0:01", "0:02"):
            return job, node, comment
    return None


def cancel_job() -> str:
    """Cancel a running job; its rule."""
    found = running_job()
    if found is None:
        return ""
    job, _, comment = found
    call("scancel", job)
    return comment


def kill_node(folder: Path) -> str:
    """Kill a node's daemon and everything that runs there, and start the daemon again once the
    controller has taken the node for dead; the rule that ran there."""
    found = running_job()
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
    return f"{comment} ({node})"


def figures(run: str) -> dict[str, dict]:
    """Stage -> its metrics."""
    found = {}
    for file in sorted((ROOT / "reports" / run).glob("*/manifest.json")):
        found[file.parent.name] = json.loads(file.read_text(encoding="utf-8"))["metrics"]
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
