# A run as a graph: one rule a stage, its manifest the one declared output, the HTML a rule of its own.
# Usage: matchlib run params/demo.yaml, or: snakemake --profile profiles/default --config params=params/demo.yaml
import sys
from pathlib import Path

import yaml

from matchlib.pipeline import code_hash, files_hash, plan_run, read_params

PLAN = plan_run(read_params(Path(config.get("params", "params/demo.yaml"))))
WAITING, BESIDE = PLAN.count_waiting(), PLAN.count_beside()
MANIFESTS = [f"{stage.folder}/manifest.json" for stage in PLAN.stages]


rule all:
    default_target: True
    input:
        f"{PLAN.folder}/index.html",


for stage in PLAN.stages:

    rule:
        name:
            stage.name.replace("-", "_").replace(".", "_")
        input:
            [f"{folder}/manifest.json" for folder in stage.inputs] + stage.files,
        output:
            f"{stage.folder}/manifest.json",
        log:
            f"{PLAN.folder}/logs/{stage.name}.txt",
        params:
            command=stage.command,
            code=code_hash(stage.notebook),
        priority: WAITING[stage.folder]
        # two one-thread trainings on two cores are 1.2 times faster than one after the other with two
        threads: max(1, workflow.cores // (1 + BESIDE[stage.folder]))
        shell:
            # faiss and torch share OpenMP: its thread count is set once, before either is loaded
            "OMP_NUM_THREADS={threads} TOKENIZERS_PARALLELISM=false PYTHONWARNINGS='ignore:IProgress not found' {params.command} > {log} 2>&1"


rule report:
    input:
        MANIFESTS,
    output:
        f"{PLAN.folder}/index.html",
    params:
        looks=files_hash(Path("matchlib/reports")),
    shell:
        f"{sys.executable} -m matchlib.cli report {PLAN.run}"
