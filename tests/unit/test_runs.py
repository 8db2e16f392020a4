"""A run that is asked to end takes its processes with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, subprocess, sys
from matchlib import runs
from matchlib.pipeline import RunPlan
plan = RunPlan("t", [])
environment = os.environ | {runs.RUN_MARK: str(plan.folder.resolve())}
with runs._ended_with_us(plan):
    subprocess.run([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"], env=environment)
"""


def test_sigterm_ends_what_a_run_started(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdout.readline() == "up\n"
        children = psutil.Process(started.pid).children(recursive=True)
        assert children
        started.send_signal(signal.SIGTERM)
        assert started.wait(timeout=40) == 128 + signal.SIGTERM
    deadline = time.monotonic() + 10
    while any(child.is_running() for child in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(child.is_running() for child in children)
