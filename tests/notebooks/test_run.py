"""Whole runs of the smoke profile: by matchlib and Snakemake, by plain papermill, through kills and bad input."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from whole_runs import CANARY, MATCHLIB, ROOT, papermill, run

from matchlib.runs import RUN_MARK
from matchlib.stage import Finished

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
    "10_bias_analysis/intersections.csv": "gaps are between people, who are permuted within strata",
    "10_bias_analysis/controlled_swaps.csv": "effects are over sets of names, or over people",
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
    n_read = 0
    for folder in (smoke, ROOT / ".snakemake"):
        for path in folder.rglob("*"):
            try:
                content = path.read_bytes()
            except (IsADirectoryError, FileNotFoundError):  # gone: another test runs Snakemake
                continue
            n_read += 1
            assert CANARY.encode() not in content, path
    assert n_read > 20


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
        replace_file(path, json.dumps(notebook).encode())
        assert jobs_to_run(smoke) == set()
    finally:
        replace_file(path, before)


def replace_file(path, content):
    """At once: another test may be reading it."""
    beside = path.with_suffix(".part")
    beside.write_bytes(content)
    beside.replace(path)


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
    *("01_data_rules", "02_contrastive", "02_contrastive-rule"),
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
