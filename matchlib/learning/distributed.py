"""Train on several GPUs (or processes of one CPU): the same training, started by `accelerate
launch`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_model as load_weights
from safetensors.torch import save_model as save_weights
from sentence_transformers import SentenceTransformer

from matchlib.learning.contrastive import RankingEvaluator, train_contrastive
from matchlib.learning.pairs import Pairs
from matchlib.learning.training import Settings
from matchlib.retrieval.models import load_model

VALIDATION = ("jobs", "resumes", "labels")


def train_on_processes(
    model: SentenceTransformer,
    pairs: Pairs,
    *,
    processes: int,
    settings: Settings,
    checkpoints: Path,
    evaluator: RankingEvaluator | None = None,
    job_prompt: str = "",
    resume_prompt: str = "",
) -> pd.DataFrame:
    """`contrastive.train_contrastive` on `processes` processes; with 1 it is just that.

    A GPU a process, or on a CPU gloo. Vectors and numbers are gathered, so that every row sees the
    negatives and the masks of the whole batch: loss and gradients are those of one process
    (floating-point order aside).
    Raises RuntimeError with the first error of the processes if they fail.
    """
    how = {
        "settings": settings,
        "checkpoints": checkpoints,
        "job_prompt": job_prompt,
        "resume_prompt": resume_prompt,
    }
    if processes == 1:
        return train_contrastive(model, pairs, evaluator=evaluator, **how)
    on_cpu = model.device.type == "cpu"
    if not on_cpu and torch.cuda.device_count() < processes:
        raise ValueError(
            f"processes is {processes}, but {torch.cuda.device_count()} GPUs are visible; lower it"
        )
    folder = checkpoints / "processes"
    _write_job(folder, model, pairs, settings, evaluator, (job_prompt, resume_prompt), processes)
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--num_processes",
        str(processes),
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_port",
        "0",
        "--multi_gpu",  # on a CPU too: accelerate's --cpu starts a single process
        "-m",
        "matchlib.learning.distributed",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = re.search(r"^(?:\[rank\d+\]: )?(\w+Error: .*)", done.stderr, re.MULTILINE)
        raise RuntimeError(
            f"training on {processes} processes failed: {why[1] if why else done.stderr[-2000:]}"
        )
    load_weights(model, folder / "trained.safetensors", device=str(model.device))
    log = pd.read_json(folder / "log.json", orient="table").reset_index(drop=True)
    shutil.rmtree(folder)
    return log


def _write_job(
    folder: Path,
    model: SentenceTransformer,
    pairs: Pairs,
    settings: Settings,
    evaluator: RankingEvaluator | None,
    prompts: tuple[str, str],
    processes: int,
) -> None:
    """Everything that a process needs to train, on disk: the model, the pairs, the validation
    tables, the settings."""
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    np.savez(folder / "pairs.npz", rows=pairs.rows, positives=pairs.positives)
    if evaluator is not None:
        for name in VALIDATION:
            getattr(evaluator, name).to_parquet(folder / f"{name}.parquet", index=False)
    job = {
        "settings": asdict(settings),
        "prompts": prompts,
        "device": model.device.type,
        "processes": processes,
        "job_texts": pairs.job_texts,
        "resume_texts": pairs.resume_texts,
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")


def _train(folder: Path) -> None:
    """What each process runs: read the job, train; the first process writes weights and log."""
    from accelerate import PartialState

    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    state = PartialState(cpu=job["device"] == "cpu")
    if state.num_processes != job["processes"]:
        raise RuntimeError(
            f"{job['processes']} processes were asked for, {state.num_processes} were started"
        )
    numbers = np.load(folder / "pairs.npz")
    pairs = Pairs(job["job_texts"], job["resume_texts"], numbers["rows"], numbers["positives"])
    job_prompt, resume_prompt = job["prompts"]
    evaluator = None
    if (folder / "labels.parquet").exists():
        tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in VALIDATION}
        evaluator = RankingEvaluator(**tables, job_prompt=job_prompt, resume_prompt=resume_prompt)
    model = load_model(folder / "model", device=str(state.device))
    log = train_contrastive(
        model,
        pairs,
        settings=Settings(**job["settings"]),
        checkpoints=folder.parent,
        evaluator=evaluator,
        job_prompt=job_prompt,
        resume_prompt=resume_prompt,
    )
    if state.is_main_process:
        save_weights(model, str(folder / "trained.safetensors"))
        log.to_json(folder / "log.json", orient="table", double_precision=15)
    state.destroy_process_group()


if __name__ == "__main__":
    _train(Path(sys.argv[1]))
