# A run as a graph: one rule a stage, its manifest the one declared output, the HTML a rule of its own.
# matchlib run params/demo.yaml starts it, and names the manifests to make anew: what a stage was made of is in its
# manifest, and content decides, not dates, since a restored file has an old one. So Snakemake's own triggers are off.
import shlex
import sys
from pathlib import Path

from matchlib.pipeline import plan_run, read_params, rule_names

if config.get("started_by") != "matchlib run":
    sys.exit("Snakemake by itself does not see what has changed; start with: matchlib run params/<file>.yaml --profile DIR")
PLAN = plan_run(read_params(Path(config["params"])))
WAITING, BESIDE = PLAN.count_waiting(), PLAN.count_beside()
MANIFESTS = [f"{stage.folder}/manifest.json" for stage in PLAN.stages]
INDEX = f"{PLAN.folder}/index.html"


rule all:
    default_target: True
    input:
        INDEX,


for stage, name in zip(PLAN.stages, rule_names(PLAN), strict=True):

    rule:
        name:
            name
        input:
            [f"{folder}/manifest.json" for folder in stage.inputs],
        output:
            f"{stage.folder}/manifest.json",
        log:
            f"{PLAN.folder}/logs/{stage.name}.txt",
        params:
            # a function's value may hold braces, which in a text are wildcards
            command=lambda wildcards, stage=stage: stage.command,
        priority: WAITING[stage.folder]
        # for clusters: a retry asks for more
        resources:
            mem_mb=lambda wildcards, attempt, stage=stage: attempt * stage.cluster_needs()["mem_mb"],
            runtime=lambda wildcards, attempt, stage=stage: attempt * stage.cluster_needs()["runtime"],
        # two one-thread trainings on two cores are 1.2 times faster than one after the other with two
        threads: max(1, workflow.cores // (1 + BESIDE[stage.folder]))
        shell:
            # faiss and torch share OpenMP: its thread count is set once, before either is loaded
            "OMP_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-{threads}}} TOKENIZERS_PARALLELISM=false PYTHONWARNINGS='ignore:IProgress not found' {params.command} > {log} 2>&1"


rule report:
    input:
        MANIFESTS,
    output:
        INDEX,
    params:
        command=lambda wildcards: f"{shlex.quote(sys.executable)} -m matchlib.cli report -- {PLAN.run}",
    shell:
        "{params.command}"
