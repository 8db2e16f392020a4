# Embedding a corpus as a graph: `parts` jobs, each of which brings its part of the shards up to date.
#   snakemake -s shards.smk --profile profiles/slurm --config documents=resumes/ model=all-MiniLM-L6-v2 \
#     out=vectors/resumes kind=resume parts=20
# Further settings: documents_per_shard, text, id, prompt and encoding as matchlib embed has them, and mem_mb, runtime
# (minutes) and threads of a job. All may stand in a YAML file, --configfile; a prompt with a colon has to.
# What a part has done before it keeps, see docs/clusters.md; --forceall looks for changed documents again.
import shlex
import sys

if missing := {"documents", "model", "out"} - config.keys():
    sys.exit(f"shards.smk needs {', '.join(sorted(missing))}: --config documents=resumes/ model=all-MiniLM-L6-v2 out=vectors/resumes")
PARTS = int(config.get("parts", 1))
OUT = config["out"].rstrip("/")
OPTIONS = [("--model", config["model"]), ("--out", OUT), ("--kind", config.get("kind", "resume"))]
for setting in ("documents_per_shard", "text", "id", "prompt", "encoding"):
    values = config.get(setting, [])
    if isinstance(values, dict):
        sys.exit(f"{setting} was read as {values}: Snakemake takes a colon for a mapping; write it in a file, --configfile")
    for value in values if isinstance(values, list) else [values]:
        OPTIONS.append((f"--{setting.replace('_', '-')}", value))


rule all:
    input:
        [f"{OUT}/parts/{part}-of-{PARTS}.txt" for part in range(1, PARTS + 1)],


rule embed:
    output:
        f"{OUT}/parts/{{part}}-of-{PARTS}.txt",
    params:
        command=lambda wildcards: shlex.join(
            map(
                str,
                [sys.executable, "-m", "matchlib.cli", "embed", config["documents"], "--shard", f"{wildcards.part}/{PARTS}"]
                + [text for option in OPTIONS for text in option],
            )
        ),
    # for clusters: a retry asks for more
    resources:
        mem_mb=lambda wildcards, attempt: attempt * int(config.get("mem_mb", 4000)),
        runtime=lambda wildcards, attempt: attempt * int(config.get("runtime", 240)),
    threads: int(config.get("threads", 1))
    shell:
        "OMP_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-{threads}}} TOKENIZERS_PARALLELISM=false {params.command} > {output}.part 2>&1 "
        "&& mv {output}.part {output} || {{ cat {output}.part >&2; exit 1; }}"
