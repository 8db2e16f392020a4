"""Why a stage of a run did not finish: in the words of its notebook, or of its log."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from matchlib.pipeline import RunPlan

KILLED = ("DeadKernelError", "Kernel died")
"""What nbclient says when a kernel ends by itself or is killed, which leaves no error in the
notebook."""
FULL_DISK = 1_000_000
"""Bytes: a disk with less room is full."""
LOG_TAIL = 20_000
"""Bytes of a log's end that are looked at."""


def why_failed(plan: RunPlan, *, since: float) -> list[str]:
    """One sentence on every stage that ran and did not finish: the notebook's own error, else what
    its log ends with.

    since: time at which the run began, in seconds since 1970; older logs are of earlier runs.
    """
    found = []
    for stage in plan.stages:
        log = plan.folder / "logs" / f"{stage.name}.txt"
        is_of_this_run = (
            log.is_file() and log.stat().st_mtime >= since - 2
        )  # file systems round times
        if (Path(stage.folder) / "manifest.json").exists() or not is_of_this_run:
            continue
        errors = _notebook_errors(Path(stage.folder) / f"{stage.name}.ipynb")
        found += [f"{stage.name}: {error}" for error in errors or [_how_the_log_ends(log)]]
    return found


def _notebook_errors(executed: Path) -> list[str]:
    """The errors in a notebook's outputs; none where it is missing or torn."""
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        return [
            f"{output['ename']}: {output['evalue']}"
            for output in outputs
            if output["output_type"] == "error"
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _how_the_log_ends(log: Path) -> str:
    """What became of a stage whose notebook holds no error: a killed kernel, a killed papermill, or
    its last words."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL))
        text = file.read().decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if shutil.disk_usage(log.parent).free < FULL_DISK:
        # the log, on the same disk, does not get to the end of what went wrong
        return f"its disk is full; free some space, and run it again (see {log})"
    if any(sign in line for line in lines for sign in KILLED):
        return (
            f"its kernel was killed, most often because memory ran out; see {log}, and give the stage more memory: "
            f"fewer stages at a time (--cores 1), a smaller batch, or less data"
        )
    if "Traceback (most recent call last):" in text:
        return f"{lines[-1][:300]} (see {log})"
    return (
        f"it ended without an error, so it was killed, perhaps because memory ran out or the machine went down; "
        f"see {log}, and run it again"
    )
