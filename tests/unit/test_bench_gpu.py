"""`make bench-gpu` runs unchanged on a processor, with tiny sizes whose figures mean nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]


def test_the_gpu_benchmark_runs_on_a_processor(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "bench_gpu.py", tmp_path / "table.csv"],
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(tmp_path / "table.csv")
    parts = (
        "encoding",
        "stage 1",
        "RankPO",
        "mining",
        "GIRL's SFT",
        "writing",
        "GIRL's PPO",
        "GIRL's GRPO",
    )
    assert all(table["what"].str.startswith(part).any() for part in parts)
    assert (
        (table["rate"] > 0).all()
        and (table["peak_gib"] > 0).all()
        and table["hardware"].notna().all()
    )
