"""Whole runs of the smoke profile: by matchlib and Snakemake, by plain papermill, through kills and bad input."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
import yaml
from tiny_causal import save_causal
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from matchlib.data.market.simulation import Market
from matchlib.girl.records import views
from matchlib.runs import RUN_MARK
from matchlib.stage import Finished

ROOT = Path(__file__).parents[2]
MATCHLIB = [sys.executable, "-m", "matchlib.cli"]
CANARY = "sk-canary-5f1d0c"
STAGES = [
    "01_data_rules",
    "02_contrastive",
    "02_contrastive-shuffled",
    "02_contrastive-applicants",
    "02_contrastive-knn",
    "02_contrastive-rum",
    "02_contrastive-rule",
    "03_hyre",
    "04_runner_up_mining",
    "05_rankpo",
    "06_girl",
    "07_talent_search",
    "08_hr_tasks",
    "09_error_analysis",
    "10_bias_analysis",
    "11_leaderboard",
    "12_ledger",
    "13_diagnostics",
]
SYSTEMS = {
    "bm25",
    "bm25_length",
    "pretrained",
    "shuffled",
    "stage1",
    "hybrid",
    "hybrid_rrf",
    "applicants",
    "rum",
    "knn",
    "rule",
    "rankpo",
}
BASELINES = 3


def run(*arguments, environment=None, **options):
    return subprocess.run(
        arguments,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        text=True,
        capture_output=True,
        **options,
    )


@pytest.fixture(scope="module")
def names():
    """Names of this module's runs; their folders are removed afterwards."""
    stem = f"test-{os.getpid()}"
    found = {kind: f"{stem}-{kind}" for kind in ("smoke", "killed", "plain", "own", "bad")}
    yield found
    for name in found.values():
        shutil.rmtree(ROOT / "reports" / name, ignore_errors=True)


@pytest.fixture(scope="module")
def smoke(names):
    """A finished smoke run, made with an API key in the environment; returns its folder."""
    done = run(
        *MATCHLIB,
        "run",
        "params/smoke.yaml",
        "--run",
        names["smoke"],
        environment={"OPENAI_API_KEY": CANARY},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert CANARY not in done.stdout + done.stderr
    return ROOT / "reports" / names["smoke"]


def test_every_stage_is_finished_and_rendered(smoke):
    for stage in STAGES:
        assert Finished(smoke / stage).manifest["headline"]
        assert (smoke / stage / f"{stage}.html").stat().st_size < 1_000_000
    index = (smoke / "index.html").read_text()
    assert all(f"{stage}/{stage}.html" in index for stage in STAGES)
    assert not list(smoke.glob("*.ckpt"))


OTHER_CLUSTERS = {
    "07_talent_search/arms.csv": "GAUC by recruiter is over recruiters",
    **{
        f"08_hr_tasks/{name}.csv": "rows are triples, each drawn alone from a graph of 112 occupations"
        for name in (
            *("matching", "skills", "experiences", "explanation", "edits", "fabrications"),
            *("shortcuts", "ood", "learning_curve"),
        )
    },
    "12_ledger/ledger.csv": "rows are market seeds, which are independent draws",
    "12_ledger/values.csv": "rows are market seeds",
    "10_bias_analysis/slices.csv": "a slice may hold one occupation: its jobs are taken as independent",
    "10_bias_analysis/counterfactual.csv": "places and scores are over people, or over the names that they share",
}
N_OCCUPATIONS = 4  # of the smoke run's market


def test_every_interval_tells_its_clusters(smoke):
    """Rows of one occupation are alike: a table with an interval says over how many clusters it was taken."""
    tables = 0
    for file in sorted(smoke.glob("*/*.csv")):
        frame = pd.read_csv(file)
        intervals = [column for column in frame if re.search(r"(^|[_ ])low$", column)]
        if not intervals or str(file.relative_to(smoke)) in OTHER_CLUSTERS:
            continue
        tables += 1
        assert "n_clusters" in frame, f"{file}: intervals without n_clusters"
        known = frame.dropna(subset=[intervals[0]])["n_clusters"]
        assert known.between(2, N_OCCUPATIONS).all(), f"{file}: {sorted(known.unique())}"
    assert tables >= 8


@pytest.mark.parametrize(
    "page", ["index.html", "05_rankpo", "09_error_analysis", "10_bias_analysis"]
)
def test_pages_of_a_run_hold_in_a_browser(smoke, browser, page):
    file = smoke / page if page == "index.html" else smoke / page / f"{page}.html"
    backgrounds = {False: "rgb(255, 255, 255)", True: "rgb(20, 23, 27)"}
    for width, dark in ((1400, False), (1400, True), (375, False), (375, True)):
        browser.open(file, width=width, dark=dark, settle_seconds=0.2)
        assert not [
            url for url in browser.requested if not url.startswith(("data:", smoke.as_uri()))
        ]
        assert (
            browser.evaluate("getComputedStyle(document.body).backgroundColor") == backgrounds[dark]
        )
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
    levels = browser.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map(h => +h.tagName[1])"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    said = browser.evaluate("[...document.images].map(image => image.alt)")
    assert said and all(said) and not any("described by" in text for text in said)
    assert browser.evaluate("document.scripts.length") == 0


def test_leaderboard_has_every_system_both_ways_by_both_sets_of_judgments(smoke):
    board = pd.read_csv(smoke / "11_leaderboard" / "leaderboard.csv")
    assert {
        "dataset",
        "label_source",
        "judgments",
        "system",
        "task",
        "measure",
        "value",
        "low",
        "high",
        "n",
        "seed",
        "baseline",
        "p",
    } <= set(board.columns)
    judged, curves = (board[board["judgments"] == name] for name in ("judge", "rule"))
    assert (
        set(judged["system"]) == SYSTEMS and len(judged) == len(SYSTEMS) * 2 * BASELINES
    )  # top and uniform
    assert set(judged["measure"]) == {"alignment, top", "alignment, uniform"}
    assert curves.empty  # one curve has none to be compared with
    points = pd.read_csv(smoke / "11_leaderboard" / "frontier.csv")
    assert points["curve"].tolist() == ["rankpo sigmoid with replay held to 10%"]
    assert points["alignment"].between(0, 1).all()
    board = board[board["judgments"].isin(["observed", "true_fit"])]
    assert set(board["system"]) == SYSTEMS
    cells = board[["system", "task", "judgments", "measure", "baseline"]]
    assert (
        len(cells.drop_duplicates()) == len(board) == len(SYSTEMS) * 2 * (4 + 3) * BASELINES
    )  # Judged@10: observed
    assert board["value"].between(0, 1).all()
    assert board["p"].isna().sum() == BASELINES * 2 * (
        4 + 3
    )  # only a baseline against itself has no test


def test_no_secret_is_in_any_file(smoke):
    files = [
        path
        for folder in (smoke, ROOT / ".snakemake")
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert len(files) > 20
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]


def jobs_to_run(smoke, *, params=None):
    """Names of the stages that would run now."""
    done = run(*MATCHLIB, "run", str(params or smoke / "params.yaml"), "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"^would make (\S+): ", done.stdout, re.MULTILINE))


def test_nothing_changed_reruns_nothing_and_one_parameter_reruns_its_stage(smoke, tmp_path):
    assert jobs_to_run(smoke) == set()
    done = run(*MATCHLIB, "run", str(smoke / "params.yaml"))
    assert done.returncode == 0 and "nothing has changed: " in done.stdout
    params = yaml.safe_load((smoke / "params.yaml").read_text())
    params["11_leaderboard"]["bm25_language"] = "german"
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(params))
    assert jobs_to_run(smoke, params=tmp_path / "changed.yaml") == {
        "11_leaderboard",
        "12_ledger",
        "13_diagnostics",
    }


def test_snakemake_by_itself_says_how_to_start(smoke):
    """It would take dates for changes, and its own record for the truth."""
    done = run(
        sys.executable,
        "-m",
        "snakemake",
        "--profile",
        "profiles/default",
        "--cores",
        "1",
        "-n",
        "--config",
        f"params={smoke / 'params.yaml'}",
    )
    assert (
        done.returncode != 0
        and "start with: matchlib run params/<file>.yaml" in done.stdout + done.stderr
    )


def test_saving_a_notebook_with_outputs_reruns_nothing(smoke):
    path = ROOT / "notebooks" / "11_leaderboard.ipynb"
    before = path.read_bytes()
    notebook = json.loads(before)
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["saved in JupyterLab"]}]
    try:
        path.write_text(json.dumps(notebook))
        assert jobs_to_run(smoke) == set()
    finally:
        path.write_bytes(before)


def test_verify_accepts_the_run_and_names_what_was_changed_by_hand(smoke, names):
    command = [*MATCHLIB, "verify", "params/smoke.yaml", "--run", names["smoke"]]
    done = run(*command)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    manifest_file = smoke / "11_leaderboard" / "manifest.json"
    manifest = json.loads(manifest_file.read_text())
    try:
        manifest_file.write_text(
            json.dumps(
                manifest | {"parameters": manifest["parameters"] | {"bm25_language": "german"}}
            )
        )
        done = run(*command)
        assert done.returncode == 1
        assert (
            "11_leaderboard: bm25_language is 'german', the params file says 'english'"
            in done.stderr
        )
    finally:
        manifest_file.write_text(json.dumps(manifest, indent=1))


def test_report_renders_and_refuses_an_unknown_run(smoke, names):
    assert run(*MATCHLIB, "report", names["smoke"]).returncode == 0
    executed = Path("reports", names["smoke"], "01_data_rules", "01_data_rules.ipynb")
    content = executed.read_bytes()
    try:
        executed.unlink()  # as after a run in JupyterLab
        done = run(*MATCHLIB, "report", names["smoke"])
        assert done.returncode == 0 and "no executed 01_data_rules.ipynb" in done.stderr
    finally:
        executed.write_bytes(content)
    done = run(*MATCHLIB, "report", "no-such-run")
    assert (
        done.returncode == 1
        and "holds no finished stage" in done.stderr
        and "Traceback" not in done.stderr
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


def test_notebooks_run_one_by_one_by_plain_papermill(names):
    base = Path("reports") / names["plain"]
    small = [
        ("train_jobs", 24),
        ("train_resumes", 40),
        ("valid_jobs", 8),
        ("valid_resumes", 20),
        ("test_jobs", 12),
        ("test_resumes", 30),
    ]
    # the first one from the notebooks folder, where JupyterLab's kernels start
    done = papermill("01_data_rules", base / "01_data_rules", *small, cwd="notebooks")
    assert done.returncode == 0, done.stderr[-3000:]
    done = papermill(
        "02_contrastive",
        base / "02_contrastive",
        ("data", base / "01_data_rules"),
        ("num_train_epochs", 1.0),
        ("batch_size", 16),
        ("max_tokens", 32),
        ("frozen_layers", 5),
        ("evaluations", 1),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    done = papermill(
        "11_leaderboard",
        base / "11_leaderboard",
        ("data", base / "01_data_rules"),
        ("stage1", base / "02_contrastive"),
        ("shuffled", ""),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    done = papermill(
        "03_hyre", base / "03_hyre", ("data", base / "01_data_rules"), ("generator", "repeat")
    )
    assert done.returncode == 0, done.stderr[-3000:]
    done = papermill(
        "04_runner_up_mining",
        base / "04_runner_up_mining",
        ("data", base / "01_data_rules"),
        ("encoder", base / "02_contrastive"),
        ("miner", "sampled_runner_ups"),
        ("low", 0.1),
        ("high", 0.3),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    mined = pd.read_parquet(ROOT / base / "04_runner_up_mining" / "mined.parquet")
    assert list(mined) == [
        "query_id",
        "candidate_id",
        "task",
        "score",
        "rank",
        "percentile",
        "miner",
    ]
    assert (
        Finished(ROOT / base / "11_leaderboard").manifest["inputs"]["stage1"]["stage"]
        == "02_contrastive"
    )
    done = papermill(
        "03_hyre",
        base / "03_hyre-few_shot",
        ("data", base / "01_data_rules"),
        ("generator", "few_shot"),
        ("language_model", "m"),
        environment={"OPENAI_API_KEY": ""},
    )
    assert (
        done.returncode != 0 and "OPENAI_API_KEY is not set, which a service needs" in done.stderr
    )
    assert not (ROOT / base / "03_hyre-few_shot" / "manifest.json").exists()


def test_files_without_a_gendered_word_are_read_for_errors_and_bias(smoke, names, tmp_path):
    """Own tables with three groups, names and gendered words redacted: nothing to swap, and no market to ask."""
    market, sections = (
        Finished(smoke / "01_data_rules"),
        {"source": "files", "test_share": 1.0, "rule_names": []},
    )
    for name in ("jobs", "resumes", "labels"):
        frame = market.table(name).query("split == 'test'")
        if name == "resumes":
            frame = frame.assign(gender=[("man", "woman", "")[i % 3] for i in range(len(frame))])
        frame[
            frame.columns.intersection(["job_id", "resume_id", "text", "label", "gender"])
        ].to_csv(tmp_path / f"{name}.csv", index=False)
        sections[f"{name}_file"] = str(tmp_path / f"{name}.csv")
    params = {
        "01_data_rules": sections | {"redact": ["name", "gendered"]},
        "02_contrastive": {"max_tokens": 64},
        "09_error_analysis": {"cluster_by": "", "n_sampled": 10},
        "10_bias_analysis": {
            "cluster_by": "",
            "strata": [],
            "min_group_size": 3,
            "n_permutations": 100,
        },
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(params))
    done = run(*MATCHLIB, "run", str(tmp_path / "own.yaml"), "--run", names["own"])
    assert done.returncode == 0, done.stdout + done.stderr
    bias = Finished(ROOT / "reports" / names["own"] / "10_bias_analysis")
    assert "No gender term to swap" in bias.manifest["headline"]
    assert bias.manifest["metrics"]["resumes with gender terms"] == 0
    audits = pd.read_csv(bias.path("audit.csv"))
    assert set(audits["group"]) == {"man", "woman", "not stated"} and audits["p"].notna().any()


def test_notebooks_mine_from_a_corpus_in_shards_and_rank_it(smoke, names, tmp_path):
    """04 draws from people no table knows, 02 trains on them, 11 ranks them too."""
    tables, trained = (
        smoke.relative_to(ROOT) / name for name in ("01_data_rules", "02_contrastive")
    )
    people = Finished(ROOT / tables).table("resumes")[["resume_id", "text"]]
    others = Market(7, occupations=4).resumes(60, "test")[["resume_id", "text"]]
    others["resume_id"] = "other-" + others["resume_id"]
    pd.concat([people, others]).to_csv(tmp_path / "people.csv", index=False)
    vectors, base = tmp_path / "vectors", Path("reports") / names["plain"]
    embed = [*MATCHLIB, "embed", str(tmp_path / "people.csv"), "--out", str(vectors)]
    done = run(*embed, "--model", str(trained), "--documents-per-shard", "50")
    assert done.returncode == 0, done.stderr
    done = papermill(
        "04_runner_up_mining",
        base / "04_runner_up_mining-shards",
        ("data", tables),
        ("encoder", trained),
        ("miner", "sampled_runner_ups"),
        ("resume_vectors", vectors),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    mining = Finished(ROOT / base / "04_runner_up_mining-shards")
    drawn = mining.table("mined_resumes")["resume_id"]
    assert (
        drawn.str.startswith("other-").any()
        and "false_negative_share" not in mining.manifest["metrics"]
    )
    done = papermill(
        "02_contrastive",
        base / "02_contrastive-shards",
        ("data", tables),
        ("mined_stage", base / "04_runner_up_mining-shards"),
        ("max_tokens", 32),
        ("num_train_epochs", 1.0),
        ("evaluations", 1),
        ("frozen_layers", 5),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    done = papermill(
        "11_leaderboard",
        base / "11_leaderboard-shards",
        ("data", tables),
        ("stage1", trained),
        ("shuffled", ""),
        ("ledger_file", ""),
        ("resume_vectors", vectors),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    among = pd.read_csv(ROOT / base / "11_leaderboard-shards" / "among_all.csv").set_index(
        ["measure", "among"]
    )
    found = among["value"].unstack()
    assert (found["all stored"] <= found["test"]).all()
    assert set(among["candidates"]) == {30, len(people) + 60}


def a_reader(prompt):
    """What a language model might answer to HyRE's prompt, to those of judges, and to an annotator's of errors."""
    if "Name one class" in prompt:
        return "The town differs.\nClass: unsuitable"
    if "Which job is better" in prompt:
        first, second = prompt.split("Job A:")[1].split("Job B:")
        return "\n".join(
            f"{c}: {'AB'[len(first) < len(second)]}" for c in ("Detail", "Relevance", "Conciseness")
        )
    if "Which resume fits" not in prompt:
        return "## Experience\nAn invented person who knows the work."
    first, second = prompt.split("Resume A:")[1].split("\n\nWhich resume")[0].split("\n\nResume B:")
    return f"One knows more.\nChoice: {'A' if len(first) >= len(second) else 'B'}\nConfidence: 70"


def test_a_model_is_tuned_to_write_hypothetical_texts(smoke, names, tmp_path):
    """One that has seen eight pairs ends hardly a text: what is counted, and that all else goes on."""
    out = Path("reports") / names["plain"] / "03_hyre-sft"
    done = papermill(
        "03_hyre",
        out,
        ("data", Path("reports") / smoke.name / "01_data_rules"),
        ("generator", "sft"),
        ("base_model", save_causal(tmp_path / "base", "llama", context=1024)),
        ("n_pairs", 8),
        ("max_pair_tokens", 1024),
        ("max_text_tokens", 4),
        ("max_tokens", 64),
        environment={"MATCHLIB_CACHE": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    stage = Finished(ROOT / out)
    metrics = stage.manifest["metrics"]
    n_without = (stage.table("hypothetical")["text"] == "").sum()
    assert metrics["unfinished texts"] + metrics["copies of own candidates"] == n_without > 0
    assert "by sft" in stage.manifest["headline"]


def test_a_service_writes_hypothetical_texts_and_judges_pairs(smoke, names, server, tmp_path):
    server.answer = a_reader
    tables, base = Path("reports") / smoke.name / "01_data_rules", Path("reports") / names["plain"]
    cache = {"MATCHLIB_CACHE": str(tmp_path)}
    done = papermill(
        "03_hyre",
        base / "03_hyre-few_shot",
        ("data", tables),
        ("generator", "few_shot"),
        ("language_model", "m"),
        ("max_tokens", 64),
        environment=cache,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    hyre = Finished(ROOT / base / "03_hyre-few_shot")
    assert (
        "100% of the jobs" in hyre.manifest["headline"]
        and "no language model" not in hyre.manifest["headline"]
    )
    assert hyre.table("jobs")["text"].str.contains("An invented person who knows the work").all()
    done = papermill(
        "05_rankpo",
        base / "05_rankpo",
        ("data", tables),
        ("annotator", "service"),
        ("language_model", "m"),
        ("judge_model", "m"),
        ("stage1", tables.parent / "02_contrastive-rule"),
        ("pairs_per_job", 1),
        ("test_pairs_per_job", 2),
        ("num_train_epochs", 1.0),
        ("frozen_layers", 5),
        ("evaluations", 1),
        ("objective", "sft"),
        ("top_k", 10),
        environment=cache,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    judged = Finished(ROOT / base / "05_rankpo").table("preferences")
    assert set(judged["annotator"]) == {"m"} and (judged["preferred"] != "tie").mean() > 0.8
    done = papermill(
        "09_error_analysis",
        base / "09_error_analysis",
        ("data", tables),
        ("annotator", "service"),
        ("stage1", tables.parent / "02_contrastive"),
        ("language_model", "m"),
        ("n_sampled", 20),
        environment=cache,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    classes = pd.read_csv(ROOT / base / "09_error_analysis" / "classes.csv").set_index("class")[
        "share"
    ]
    assert (classes["unsuitable"] == 1).all()


def untrained_chat_model(folder, texts):
    """A random two-layer GPT-2 with a vocabulary and a chat template of its own, saved as any model is."""
    pieces = ByteLevelBPETokenizer()
    pieces.train_from_iterator(texts, vocab_size=900, special_tokens=["<end>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer, eos_token="<end>", pad_token="<end>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=512,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_a_causal_model_of_a_folder_writes_texts_that_a_service_judges(
    smoke, names, server, tmp_path
):
    server.answer = a_reader
    tables = smoke / "01_data_rules"
    jobs, resumes = (pd.read_parquet(tables / f"{side}.parquet") for side in ("jobs", "resumes"))
    prompts, texts = views(jobs, resumes, form="text", max_words=4)
    untrained_chat_model(
        tmp_path / "untrained", [*texts, *(prompt.system + prompt.user for prompt in prompts)]
    )
    base, model = ROOT / "reports" / names["plain"], tmp_path / "untrained"
    for optimizer, rank in (
        ("ppo", 0),
        ("grpo", 4),
    ):  # all weights, then adapters on what that wrote
        girl = base / f"06_girl-{optimizer}"
        done = papermill(
            "06_girl",
            girl,
            ("data", tables),
            ("base_model", model),
            ("max_words", 4),
            ("max_tokens", 400),
            ("max_job_tokens", 16),
            ("learning_rate", 0.01),
            ("sft_epochs", 12.0),
            ("batch_size", 8),
            ("lora_rank", rank),
            ("reward_epochs", 1.0),
            ("optimizer", optimizer),
            ("iterations", 2),
            ("samples", 32),
            ("judge", "service"),
            ("language_model", "m"),
            ("n_judged", 6),
            ("n_recommended", 20),
            environment={"MATCHLIB_CACHE": str(tmp_path / "cache")},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        written = Finished(girl).table("generated")
        decoded = [
            f"{stage} {how}"
            for stage in ("pretrained", "sft", optimizer)
            for how in ("greedy", "sampled")
        ]
        assert len(written) == 6 and list(written) == ["resume_id", *decoded, "sft best of 16"]
        model = girl / "generator"
    judged = pd.read_csv(girl / "judged.csv")
    assert (
        set(judged["criterion"]) == {"detail", "relevance", "conciseness"}
        and (judged["n"] > 0).all()
    )
    assert set(judged["against"]) == {
        "pretrained greedy",
        "sft greedy",
        "sft sampled",
        "sft best of 16",
        "nearest job",
    }
    assert server.answered > 12
    assert "grpo's net win rate over SFT" in Finished(girl).manifest["headline"]


def test_bad_input_is_one_sentence_and_leaves_no_stage(names, tmp_path):
    (tmp_path / "jobs.csv").write_text("job_id,text\na,cook\na,nurse\n")
    (tmp_path / "resumes.csv").write_text("resume_id,text\nx,I cook\n")
    (tmp_path / "labels.csv").write_text("job_id,resume_id,label\na,x,1\n")
    params = {
        "01_data_rules": {"source": "files", "rule_names": []}
        | {f"{name}_file": str(tmp_path / f"{name}.csv") for name in ("jobs", "resumes", "labels")}
    }
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(params))
    done = run(*MATCHLIB, "check", str(tmp_path / "bad.yaml"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "jobs.csv:3" in done.stderr and "duplicate" in done.stderr
    done = run(*MATCHLIB, "run", str(tmp_path / "bad.yaml"), "--run", names["bad"])
    assert done.returncode != 0
    assert "error: 01_data_rules: DataError:" in done.stderr and "jobs.csv:3" in done.stderr
    assert not (ROOT / "reports" / names["bad"] / "01_data_rules" / "manifest.json").exists()


KILLED = [
    *("01_data_rules", "02_contrastive", "02_contrastive-rule", "03_hyre", "02_contrastive-knn"),
    *("04_runner_up_mining", "05_rankpo", "09_error_analysis"),
]
"""Stages of the run that is killed: enough to have two at a time, trainings and inputs of inputs."""


def of_run(folder):
    """Processes that carry the run's mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_MARK) == str(folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def kill_some(kind, folder, started):
    """SIGKILL all of a run, or only its matchlib, Snakemake, papermill or kernel process."""
    words = {
        "matchlib": "matchlib.cli",
        "snakemake": "snakemake",
        "papermill": "papermill",
        "kernel": "ipykernel_launcher",
    }
    chosen = []
    if kind in ("all", "matchlib") and started.poll() is None:
        chosen.append(started)
    for process in of_run(folder):
        try:
            if kind == "all" or words[kind] in " ".join(process.cmdline()):
                chosen.append(process)
        except psutil.NoSuchProcess:
            continue
    for process in chosen:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(chosen)


def wait_for_a_kernel(folder, started):
    """Until a stage is under way, or the run has ended: planning takes long on a busy machine."""
    for _ in range(240):
        if started.poll() is not None:
            return
        for process in of_run(folder):
            try:
                if "ipykernel_launcher" in " ".join(process.cmdline()):
                    return
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.5)


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_figures(smoke, names, tmp_path):
    folder = ROOT / "reports" / names["killed"]
    params = tmp_path / "some.yaml"
    params.write_text(yaml.safe_dump({"base": str(ROOT / "params/smoke.yaml"), "only": KILLED}))
    command = [*MATCHLIB, "run", str(params), "--run", names["killed"]]
    environment = os.environ | {"MATCHLIB_CACHE": str(tmp_path)}
    rng = random.Random(7)
    # a lost papermill or kernel lets the other stages go on to their end, so these two come last
    for kind in ("all", "matchlib", "snakemake", "papermill", "kernel"):
        started = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for_a_kernel(folder, started)
        time.sleep(rng.uniform(1, 8))
        killed = kill_some(kind, folder, started)
        while not killed and started.poll() is None:
            time.sleep(0.2)  # between two stages there is no kernel
            killed = kill_some(kind, folder, started)
        assert killed, f"the run ended before its {kind} could be killed"
        started.wait(timeout=400)  # what does not depend on a killed stage still runs to its end
        for manifest in folder.glob("*/manifest.json"):
            Finished(manifest.parent)  # what looks finished is whole
    done = run(*command, environment={"MATCHLIB_CACHE": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("05_rankpo/alignment.csv", "05_rankpo/log.csv", "09_error_analysis/classes.csv"):
        assert (folder / name).read_bytes() == (smoke / name).read_bytes()
    assert (
        Finished(folder / "02_contrastive").manifest["id"]
        == Finished(smoke / "02_contrastive").manifest["id"]
    )
