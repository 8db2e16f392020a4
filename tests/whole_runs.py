"""Commands of whole runs, for the tests of notebooks."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MATCHLIB = [sys.executable, "-m", "matchlib.cli"]
CANARY = "sk-canary-5f1d0c"


def run(*arguments, environment=None, **options):
    return subprocess.run(
        arguments,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        text=True,
        capture_output=True,
        **options,
    )


def papermill(notebook, out_dir, *parameters, cwd=".", environment=None):
    flags = [word for name, value in parameters for word in ("-p", name, str(value))]
    out_dir.mkdir(parents=True, exist_ok=True)
    return run(
        sys.executable,
        "-m",
        "papermill",
        f"notebooks/{notebook}.ipynb",
        str(out_dir / "out.ipynb"),
        "-p",
        "out_dir",
        str(out_dir),
        *flags,
        "--no-progress-bar",
        "-k",
        "python3",
        "--cwd",
        cwd,
        environment=environment,
    )
