import base64
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from matchlib import cli, failures, pipeline, provenance, runs
from matchlib.learning.pairs import MIN_TRAIN_PAIRS
from matchlib.pipeline import (
    ParameterError,
    StagePlan,
    notebook_inputs,
    notebook_parameters,
    plan_run,
    read_params,
)
from matchlib.provenance import code_hash, git_state

DEFAULTS = {"rate": 1.0e-5, "size": 8, "names": ["a"], "on": False, "text": ""}


@pytest.mark.parametrize(
    "given", [{"rate": 2}, {"rate": 0.5, "size": 1}, {"names": []}, {"on": True, "text": "x"}]
)
def test_fitting_parameters_pass(given):
    pipeline.check_parameters("here", given, DEFAULTS)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"rat": 1.0}, "unknown parameter 'rat'; did you mean 'rate'"),
        ({"rate": "1e-5"}, "write floats as 1.0e-5"),
        ({"size": 1.5}, "expected a int"),
        ({"size": True}, "a bool"),
        ({"on": 1}, "expected a bool"),
        ({"names": "a"}, "expected a list"),
    ],
)
def test_others_are_refused_with_a_remedy(given, sentence):
    with pytest.raises(ParameterError, match="here") as refusal:
        pipeline.check_parameters("here", given, DEFAULTS)
    assert sentence in str(refusal.value)


def test_yaml_reads_a_bare_exponent_as_text_and_the_check_says_so(tmp_path):
    (tmp_path / "p.yaml").write_text("02_contrastive: {learning_rate: 1e-4}\n01_data_rules:\n")
    with pytest.raises(ParameterError, match="learning_rate is '1e-4'.*1.0e-5"):
        plan_run(read_params(tmp_path / "p.yaml"))


def test_stages_come_after_their_inputs_and_paths_belong_to_the_run():
    plan = plan_run(
        {
            "run": "x",
            "11_leaderboard": None,
            "02_contrastive-shuffled": {"labels": "shuffled"},
            "02_contrastive": {"num_train_epochs": 2.0},
            "01_data_rules": {},
        }
    )
    assert [stage.name for stage in plan.stages] == [
        "01_data_rules",
        "02_contrastive",
        "02_contrastive-shuffled",
        "11_leaderboard",
    ]
    arm = plan.stages[2].parameters
    assert (arm["num_train_epochs"], arm["labels"], arm["data"]) == (
        2.0,
        "shuffled",
        "reports/x/01_data_rules",
    )
    assert arm["out_dir"] == "reports/x/02_contrastive-shuffled"
    assert plan.stages[3].inputs == [
        "reports/x/01_data_rules",
        "reports/x/02_contrastive",
        "reports/x/02_contrastive-shuffled",
    ]


def test_stages_that_do_not_need_each_other_may_run_side_by_side():
    arms = {f"02_contrastive-{arm}": {} for arm in ("shuffled", "a", "b")}
    plan = plan_run(
        {
            "run": "x",
            "01_data_rules": None,
            "02_contrastive": None,
            **arms,
            "04_runner_up_mining": {"encoder": "02_contrastive"},
            "11_leaderboard": {"arm_stages": {"a": "02_contrastive-a"}},
        }
    )
    waiting, beside = plan.count_waiting(), plan.count_beside()
    assert {folder.split("/")[-1]: (waiting[folder], n) for folder, n in beside.items()} == {
        "01_data_rules": (6, 0),
        "02_contrastive": (2, 3),
        "04_runner_up_mining": (0, 4),
        "02_contrastive-shuffled": (1, 4),
        "02_contrastive-a": (1, 4),
        "02_contrastive-b": (0, 5),
        "11_leaderboard": (0, 2),
    }


def test_stages_may_be_named_by_optional_parameters_and_by_dicts():
    raw = {
        "run": "x",
        "01_data_rules": {},
        "02_contrastive": {},
        "04_runner_up_mining": {"encoder": "02_contrastive"},
        "02_contrastive-rum": {"mined_stage": "04_runner_up_mining"},
        "11_leaderboard": {"shuffled": "", "arm_stages": {"rum": "02_contrastive-rum"}},
    }
    plan = {stage.name: stage for stage in plan_run(raw).stages}
    assert plan["02_contrastive"].inputs == ["reports/x/01_data_rules"]
    assert plan["02_contrastive-rum"].inputs == [
        "reports/x/01_data_rules",
        "reports/x/04_runner_up_mining",
    ]
    assert plan["11_leaderboard"].parameters["arm_stages"] == {
        "rum": "reports/x/02_contrastive-rum"
    }
    assert plan["11_leaderboard"].inputs[-1] == "reports/x/02_contrastive-rum"
    for arms, sentence in (
        ({"rum": "02_none"}, "needs the stage '02_none' as arm_stages"),
        ({"stage1": "02_contrastive-rum"}, "the name 'stage1' is taken by another input"),
    ):
        with pytest.raises(ParameterError, match=sentence):
            plan_run(raw | {"11_leaderboard": {"shuffled": "", "arm_stages": arms}})


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"run": "x", "02_contrastive": {}}, "needs the stage '01_data_rules' as data"),
        ({"run": "x", "12_none": {}}, "section '12_none' is no notebook"),
        ({"run": "a/../b", "01_data_rules": {}}, "must be a name of letters"),
    ],
)
def test_plans_that_cannot_run_are_refused(raw, sentence):
    with pytest.raises(ParameterError, match=sentence):
        plan_run(raw)


def test_a_file_may_take_only_some_sections_of_its_base(tmp_path):
    (tmp_path / "base.yaml").write_text(
        "01_data_rules: {seed: 1}\n02_contrastive: {seed: 2}\n03_hyre: {}\n"
    )
    (tmp_path / "own.yaml").write_text(
        "base: base.yaml\nonly: [01_data_rules]\n02_contrastive: {num_train_epochs: 1.0}\n"
    )
    assert read_params(tmp_path / "own.yaml") == {
        "run": "own",
        "01_data_rules": {"seed": 1},
        "02_contrastive": {"seed": 2, "num_train_epochs": 1.0},
    }
    (tmp_path / "own.yaml").write_text("base: base.yaml\nonly: [04_runner_up_mining]\n")
    with pytest.raises(
        ParameterError, match="only names '04_runner_up_mining', which is no section of base.yaml"
    ):
        read_params(tmp_path / "own.yaml")


def test_base_fills_in_section_by_section(tmp_path):
    (tmp_path / "low.yaml").write_text(
        "01_data_rules: {seed: 3, train_jobs: 5}\n02_contrastive: {num_train_epochs: 2.0}\n"
    )
    (tmp_path / "high.yaml").write_text("base: low.yaml\n01_data_rules: {seed: 4}\n")
    assert read_params(tmp_path / "high.yaml") == {
        "run": "high",
        "01_data_rules": {"seed": 4, "train_jobs": 5},
        "02_contrastive": {"num_train_epochs": 2.0},
    }


@pytest.mark.parametrize(
    ("text", "sentence"), [("a: [", "not valid YAML"), ("- a", "expected sections")]
)
def test_broken_params_files_are_refused(tmp_path, text, sentence):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ParameterError, match=sentence):
        read_params(tmp_path / "p.yaml")
    with pytest.raises(
        ParameterError, match="does not exist; params files are in .*such as p.yaml"
    ):
        read_params(tmp_path / "other.yaml")


def test_what_is_taken_for_a_params_file_is_told_where_params_files_are(tmp_path):
    with pytest.raises(ParameterError, match="params, such as demo.yaml"):
        read_params(Path("demo").resolve())
    for name in ("resumes", "jobs.csv"):
        (tmp_path / "resumes").mkdir(exist_ok=True)
        with pytest.raises(ParameterError, match=f"{name} is data, not a params file.*rank"):
            read_params(tmp_path / name)
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(ParameterError, match="found nothing; params/own_data.yaml shows"):
        read_params(tmp_path / "empty.yaml")
    with pytest.raises(ParameterError, match="no notebook; did you mean '01_data_rules'"):
        plan_run({"run": "x", "01_data_rule": {}})


def test_parameters_travel_with_their_types():
    stage = plan_run(
        {"run": "x", "01_data_rules": {"market_settings": {"alias_gap": 0.5}, "rule_names": []}}
    ).stages[0]
    encoded = stage.command.split(" -b ")[1].split()[0]
    assert yaml.safe_load(base64.b64decode(encoded)) == stage.parameters


def make_repository(folder: Path, source="from matchlib.data import rules"):
    (folder / "notebooks").mkdir(parents=True)
    (folder / "Snakefile").touch()
    shutil.copytree(
        Path(pipeline.__file__).parent,
        folder / "matchlib",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    cell = {
        "cell_type": "code",
        "source": [source],
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    (folder / "notebooks" / "n.ipynb").write_text(json.dumps({"cells": [cell]}))
    return folder / "notebooks" / "n.ipynb"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    notebook = make_repository(tmp_path)
    monkeypatch.chdir(tmp_path)
    code_hash.cache_clear()
    yield notebook
    code_hash.cache_clear()


def hash_now(notebook):
    code_hash.cache_clear()
    return code_hash(Path("notebooks") / notebook.name)


def edit_cell(notebook, source):
    content = json.loads(notebook.read_text())
    content["cells"][0]["source"] = [source]
    notebook.write_text(json.dumps(content))


def test_outputs_and_text_cells_rerun_nothing(repository):
    before = hash_now(repository)
    notebook = json.loads(repository.read_text())
    notebook["cells"][0] |= {
        "outputs": [{"output_type": "stream", "name": "stdout", "text": "hi"}],
        "execution_count": 3,
    }
    notebook["cells"].append({"cell_type": "markdown", "source": ["more words"], "metadata": {}})
    repository.write_text(json.dumps(notebook))
    assert hash_now(repository) == before


REWORDED = {
    "a comment": lambda source: source + "# a comment\n",
    "a docstring": lambda source: source.replace('"""', '"""Other words. ', 1),
    "a note on a constant": lambda source: source.replace(
        "TASKS = (", '"""What is ranked."""\nTASKS = (', 1
    ),
    "a line break": lambda source: source.replace(
        "def check_table(name: str, ", "def check_table(\n    name: str, ", 1
    ),
    "quotes": lambda source: source.replace('"rank_resumes"', "'rank_resumes'", 1),
}


@pytest.mark.parametrize("words", REWORDED)
def test_comments_docstrings_and_formatting_rerun_nothing(repository, words):
    before = hash_now(repository)
    module = repository.parents[1] / "matchlib" / "data" / "schema.py"  # imported by rules
    source = module.read_text()
    changed = REWORDED[words](source)
    assert changed != source
    module.write_text(changed)
    assert hash_now(repository) == before
    edit_cell(repository, "from matchlib.data import rules  # a comment")
    assert hash_now(repository) == before


def test_a_changed_constant_reruns_just_what_reaches_it(repository):
    edit_cell(repository, "from matchlib.data import words")
    of_words = hash_now(repository)
    edit_cell(repository, "from matchlib.data import rules")
    of_rules = hash_now(repository)
    module = (
        repository.parents[1] / "matchlib" / "data" / "skills.py"
    )  # imported by rules, not by words
    module.write_text(module.read_text() + "LIMIT = 3\n")
    assert hash_now(repository) != of_rules
    edit_cell(repository, "from matchlib.data import words")
    assert hash_now(repository) == of_words


def test_code_hash_changes_with_a_code_cell_and_with_the_data_files_that_a_module_names(repository):
    before = hash_now(repository)
    folder = repository.parents[1] / "matchlib" / "data"
    (folder / "privacy.json").write_text("{}")  # of a module that is not imported
    assert hash_now(repository) == before
    graph = folder / "skills.json"
    graph.write_text(graph.read_text() + " ")
    after = hash_now(repository)
    assert after != before
    edit_cell(repository, "from matchlib.data import rules\nx = 1")
    assert hash_now(repository) != after


@pytest.mark.parametrize(
    "module, file",
    [
        ("published.py", "published.csv"),
        ("language/prompts.py", "language/prompts.toml"),
        ("data/privacy.py", "data/privacy.json"),
        ("data/skills.py", "data/skills.json"),
    ],
)
def test_every_data_file_of_the_package_counts(module, file):
    package = Path("matchlib").resolve()
    found = provenance.data_files(package / module, (package / module).read_text())
    assert package / file in set(found)


def test_inputs_are_what_a_notebook_declares(tmp_path):
    def write(*sources):
        cells = [
            {
                "cell_type": "code",
                "source": [source],
                "metadata": {"tags": ["parameters"] if not i else []},
            }
            for i, source in enumerate(sources)
        ]
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.ipynb"
        path.write_text(json.dumps({"cells": cells}))
        return path

    parameters = 'out_dir = ""\ndata = "reports/demo/01"\narms = {}\nmined_stage = ""\nseed = 1'
    assert notebook_inputs(write(parameters, 'stage = Stage("x", globals())')) == ()
    notebook = write(parameters, 'stage = Stage("x", globals(), inputs=["data", "arms"])')
    assert notebook_inputs(notebook) == ("data", "arms")
    assert pipeline.input_stages({"arms": {"a": "02_b"}}, notebook) == {
        "data": "01",
        "arms": {"a": "02_b"},
    }
    with pytest.raises(ParameterError, match="the input 'seed' is no parameter that names a stage"):
        notebook_inputs(write(parameters, 'stage = Stage("x", globals(), inputs=["seed"])'))
    with pytest.raises(ParameterError, match="0 cells open a Stage; exactly one must"):
        notebook_inputs(write(parameters, "x = 1"))


def test_only_tracked_files_count_as_uncommitted_changes(repository):
    """A log or a download beside the code made every page say "uncommitted changes"."""
    assert git_state() == (None, None)
    author = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "notebooks"], [*author, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], check=True)
    (repository.parents[1] / "run.log").write_text("a log")
    (repository.parents[1] / "downloads").mkdir()
    (repository.parents[1] / "downloads" / "jobs.csv").write_text("a download")
    commit, dirty = git_state()
    assert len(commit) == 40 and dirty is False
    repository.write_text(repository.read_text() + " ")
    assert git_state() == (commit, True)
    subprocess.run(["git", "add", "-u"], check=True)
    assert git_state() == (commit, True), "staged is not committed"


def test_parameters_cell_must_hold_literals(repository):
    notebook = json.loads(repository.read_text())
    notebook["cells"][0] |= {"metadata": {"tags": ["parameters"]}, "source": ["import os"]}
    repository.write_text(json.dumps(notebook))
    notebook_parameters.cache_clear()
    with pytest.raises(ParameterError, match="not an assignment"):
        notebook_parameters(repository)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "01_data_rules: {seed: 1}\n01_data_rules: {seed: 2}\n",
            "'01_data_rules' stands in line 1 and again in line 2",
        ),
        ("01_data_rules:\n  seed: 1\n  seed: 2\n", "'seed' stands in line 2 and again in line 3"),
        ("01_data_rules: {seed: 1, seed: 2}\n", "'seed' stands in line 1 and again in line 1"),
        (
            "01_data_rules: {market_settings: {a: 1, b: 2, a: 3}}\n",
            "'a' stands in line 1 and again",
        ),
        ("01_data_rules: [seed]\n", "01_data_rules is .*a list; expected a mapping"),
        ("01_data_rules: 3\n", "01_data_rules is 3, a int; expected a mapping"),
        ("1: {}\n", "the key 1 is a int"),
        ("base: p.yaml\n", "leads back to a file"),
        ("base: [a]\n", "path of a params"),
        ("base: other.yaml\nonly: 3\n", "a list of sections"),
        ("run: [a]\n", "expected a name"),
        ("run: yes\n", "expected a name"),
        ("a: 2024-13-45\n", "not valid YAML"),
        ("01_data_rules: &a {market_settings: *a}\n", "not valid YAML"),
        ("01_data_rules: {" + "[" * 5000 + "\n", "not valid YAML"),
        ("sweep: 3\n", "a list of entries"),
    ],
)
def test_settings_of_the_wrong_shape_are_one_sentence(tmp_path, text, sentence):
    """A repeated section silently won, and `check` approved the simulated market; the others were tracebacks."""
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ParameterError, match=sentence):
        plan_run(read_params(tmp_path / "p.yaml"))


def test_files_that_are_based_on_each_other_and_folders_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: ./a.yaml\n")
    with pytest.raises(ParameterError, match="leads back to a file"):
        read_params(tmp_path / "a.yaml")
    with pytest.raises(ParameterError, match=r"cannot be read: Is a directory; .*a.yaml, .*b.yaml"):
        read_params(tmp_path)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"seed": -1}, "a seed is a whole number from 0"),
        ({"seed": 2**32}, "a seed is"),
        ({"rule_names": [["place"]]}, "write one flat list"),
        ({"rule_names": [1]}, "its items are names"),
        ({"jobs_columns": {"text": 0}}, "names of columns"),
        ({"jobs_columns": {"text": ["a", 1]}}, "names of columns"),
        ({"market_settings": {1: 2}}, "its keys are names"),
        ({"test_share": float("nan")}, "a finite number"),
        ({"test_share": float("inf")}, "a finite number"),
        ({1: 2}, "unknown parameter 1"),
    ],
)
def test_values_of_the_wrong_content_are_one_sentence(given, sentence):
    with pytest.raises(ParameterError, match=sentence):
        plan_run({"run": "x", "01_data_rules": given})


@pytest.mark.parametrize("name", ["a" * 300, "..", ".hidden", "-x", "a b", "a/b", "None!"])
def test_names_that_are_no_folder_of_their_own_are_refused(name):
    for raw in ({"run": name, "01_data_rules": {}}, {"run": "x", f"01_data_rules-{name[1:]}/": {}}):
        with pytest.raises(ParameterError, match="must be a name of letters"):
            plan_run(raw)


@pytest.mark.parametrize(
    "change",
    [
        "01_data_rules.seed=[",
        "01_data_rules.seed",
        "01_data_rules=3",
        "run.a=1",
        "01_data_rules.market_settings={a: 1, a: 2}",
        "01_data_rules.seed=",
    ],
)
def test_a_broken_change_is_one_sentence(tmp_path, change):
    from matchlib.runs import load_plan

    (tmp_path / "p.yaml").write_text("01_data_rules: {}\n")
    with pytest.raises(ParameterError, match="01_data_rules|run.a"):
        load_plan(tmp_path / "p.yaml", changes=[change])


def test_stages_whose_names_differ_by_a_dash_have_rules_of_their_own():
    plan = plan_run(
        {"run": "x", "01_data_rules-a-b": {}, "01_data_rules-a_b": {}, "01_data_rules-a.b": {}}
    )
    assert len(set(pipeline.rule_names(plan))) == 3


def test_two_params_files_of_one_name_do_not_share_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = SimpleNamespace(folder=tmp_path / "reports" / "own_data")
    plan.folder.mkdir(parents=True)
    first, second = (tmp_path / project / "own_data.yaml" for project in ("a", "b"))
    for file in (first, second):
        file.parent.mkdir()
        file.touch()
    assert runs.origin_of_run(plan, first) == Path("a/own_data.yaml")
    resolved = plan.folder / "params.yaml"
    resolved.write_text("# made from a/own_data.yaml\nrun: own_data\n")
    assert runs.origin_of_run(plan, first) == Path("a/own_data.yaml")
    assert runs.origin_of_run(plan, resolved) == Path(
        "a/own_data.yaml"
    )  # as the run itself says how to make it again
    with pytest.raises(
        ParameterError, match="own_data holds the run of a/own_data.yaml, and b/own_data.yaml would"
    ):
        runs.origin_of_run(plan, second)
    first.unlink()  # nothing is left that it could be the run of
    assert runs.origin_of_run(plan, second) == Path("b/own_data.yaml")


# ---- why a stage failed --------------------------------------------------------------------------------


ENDED = "Input Notebook: notebooks/01_data_rules.ipynb\nExecuting notebook with kernel: python3\n"
DEAD = (
    ENDED
    + "Traceback (most recent call last):\n  File x\nnbclient.exceptions.DeadKernelError: Kernel died\n"
)
FULL = (
    ENDED
    + "Traceback (most recent call last):\n  File x\nOSError: [Errno 28] No space left on device: 'a.ipynb'\n"
)
FAILED = json.dumps(
    {
        "cells": [
            {"outputs": [{"output_type": "error", "ename": "DataError", "evalue": "jobs.csv:3"}]}
        ]
    }
)


@pytest.mark.parametrize(
    ("log", "notebook", "sentence"),
    [
        (
            DEAD,
            "",
            "its kernel was killed, most often because memory ran out; see reports/x/logs/01_data_rules.txt, and",
        ),
        (DEAD, None, "its kernel was killed"),
        (DEAD, '{"cells": [{"outp', "its kernel was killed"),
        (DEAD, "[]", "its kernel was killed"),
        ("x" * 100_000 + DEAD, "{}", "its kernel was killed"),
        (ENDED, FAILED, "DataError: jobs.csv:3"),
        (DEAD, FAILED, "DataError: jobs.csv:3"),
        (
            FULL,
            "",
            "OSError: [Errno 28] No space left on device: 'a.ipynb' (see reports/x/logs/01_data_rules.txt)",
        ),
        (ENDED, "", "it ended without an error, so it was killed"),
        ("", "", "it ended without an error"),
        (
            "\udcff".encode("utf-8", "surrogateescape").decode("latin-1") + ENDED,
            "",
            "it ended without an error",
        ),
    ],
)
def test_why_a_stage_failed_is_one_sentence_that_names_the_log(
    tmp_path, monkeypatch, log, notebook, sentence
):
    """A killed kernel leaves no error in its notebook, and nothing was said."""
    plan = plan_run({"run": "x", "01_data_rules": {}, "02_contrastive": {}})
    monkeypatch.chdir(tmp_path)
    folder = Path(plan.stages[0].folder)
    folder.mkdir(parents=True)
    (plan.folder / "logs").mkdir()
    (plan.folder / "logs" / "01_data_rules.txt").write_text(log)
    if notebook is not None:
        (folder / "01_data_rules.ipynb").write_text(notebook)
    found = failures.why_failed(plan, since=time.time())
    assert len(found) == 1 and found[0].startswith("01_data_rules: ") and sentence in found[0]
    assert failures.why_failed(plan, since=time.time() + 60) == []  # of an earlier run
    (folder / "manifest.json").write_text("{}")
    assert failures.why_failed(plan, since=time.time()) == []


# ---- paths as people have them -------------------------------------------------------------------------


STRANGE = [
    "a folder",
    "it's",
    'a "quote"',
    "{run}",
    "{{x}}",
    "#1",
    "50%",
    "Lébeß 数据",
    "$HOME",
    "a;b&c",
    "a\\b",
    "*?[x]",
    "-x",
    "a=b,c",
    "a\tb",
    "~",
]


@pytest.mark.parametrize("name", STRANGE)
def test_a_command_takes_a_path_as_it_is(tmp_path, monkeypatch, name):
    """A space in the interpreter's path was status 127, and braces a WildcardError."""
    folder = tmp_path / name
    folder.mkdir()
    python = folder / "python"
    python.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    python.chmod(0o755)
    monkeypatch.setattr(pipeline.sys, "executable", str(python))
    own = {"source": "files", "jobs_file": str(folder / "jobs.csv")}
    stage = plan_run({"run": "x", "01_data_rules": own}).stages[0]
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail; {stage.command}"], capture_output=True, text=True
    )
    words = done.stdout.splitlines()
    assert done.returncode == 0 and words[:3] == [
        "-m",
        "papermill",
        "notebooks/01_data_rules.ipynb",
    ]
    given = yaml.safe_load(base64.b64decode(words[words.index("-b") + 1]))
    assert given["jobs_file"] == str(folder / "jobs.csv")


@pytest.mark.parametrize("name", STRANGE)
def test_params_files_and_data_lie_in_any_folder(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "base.yaml").write_text("01_data_rules: {seed: 3}\n")
    own = {
        "base": "base.yaml",
        "run": "x",
        "01_data_rules": {"source": "files", "jobs_file": str(folder / "jobs.csv")},
    }
    (folder / "own {x}.yaml").write_text(yaml.safe_dump(own, allow_unicode=True))
    (folder / "jobs.csv").write_text("job_id,text\n")
    stage = plan_run(read_params(folder / "own {x}.yaml")).stages[0]
    assert stage.parameters["seed"] == 3
    assert pipeline.named_files("jobs_file", stage.parameters["jobs_file"]) == [
        str(folder / "jobs.csv")
    ]


def test_a_folder_of_vectors_is_known_by_the_manifests_of_its_shards(tmp_path):
    (tmp_path / "00000").mkdir()
    for name in ("00000/shard.json", "00000/vectors.npy", "plan.parquet"):
        (tmp_path / name).write_text("{}")
    named = pipeline.named_files("resume_vectors", str(tmp_path))
    assert named == [str(tmp_path / "00000" / "shard.json")]


def test_a_run_of_a_strange_place_goes_through_snakemake(tmp_path):
    """Snakemake formats what it runs: braces in a value are wildcards, unless it comes from a function."""
    place = tmp_path / "it's {a} clone #1 Lébeß 50% $HOME"
    for name in ("matchlib", "notebooks", "profiles"):
        shutil.copytree(name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy("Snakefile", place)
    (place / "bin {x} ").mkdir()
    python = place / "bin {x} " / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    data = place / "my data {own} #2"
    data.mkdir()
    market = {
        "market_settings": {"occupations": 4, "true_fit_share": 0.05},
        "train_jobs": 24,
        "train_resumes": 40,
        "valid_jobs": 8,
        "valid_resumes": 20,
        "test_jobs": 12,
        "test_resumes": 30,
    }
    (data / "own {x} #3.yaml").write_text(
        yaml.safe_dump({"01_data_rules": market}, allow_unicode=True)
    )
    shown = (
        "import sys; sys.executable = sys.argv.pop(1); from matchlib.cli import main; "
        "sys.argv[0] = 'matchlib'; main()"
    )
    command = [
        sys.executable,
        "-c",
        shown,
        str(python),
        "run",
        str(data / "own {x} #3.yaml"),
        "--run",
        "own",
    ]
    done = subprocess.run(
        [*command, "--cores", "1"],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(place)},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        place / "reports" / "own" / "index.html"
    ).exists() and "report: reports/own/index.html" in done.stdout


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_place_that_cannot_be_written_is_one_sentence_that_names_the_cache(
    monkeypatch, capsys, number
):
    """A read-only checkout was a traceback."""

    def fail():
        raise OSError(number, os.strerror(number), "reports/demo")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert (
        said.startswith(f"error: reports/demo: {os.strerror(number)}; free some space")
        and "MATCHLIB_CACHE" in said
    )
    monkeypatch.setattr(
        cli, "app", lambda: (_ for _ in ()).throw(FileNotFoundError(2, "No such file", "x"))
    )
    with pytest.raises(FileNotFoundError):  # a fault of ours, which is not to be hidden
        cli.main()


def test_a_file_of_any_name_can_be_checked(tmp_path):
    """Its name would name the run's folder, but nothing is run."""
    from matchlib.runs import load_plan

    file = tmp_path / "my params {2} #3.yaml"
    file.write_text("01_data_rules: {}\n")
    with pytest.raises(
        ParameterError, match="must be a name .* or give the run another with --run"
    ):
        load_plan(file)
    assert load_plan(file, "check").stages


@pytest.mark.parametrize(("n", "is_enough"), [(10, False), (40, True)])
def test_check_says_where_the_labels_are_too_few_to_train(
    n, is_enough, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    texts = [f"{i},{chr(97 + i % 26) * 9} {i * 7919}" for i in range(n)]
    (tmp_path / "jobs.csv").write_text("\n".join(["job_id,text", *texts]))
    (tmp_path / "resumes.csv").write_text("\n".join(["resume_id,text", *texts]))
    pairs = [f"{i},{i},1" for i in range(n)]
    (tmp_path / "labels.csv").write_text("\n".join(["job_id,resume_id,label", *pairs]))
    files = {
        f"{name}_file": str(tmp_path / f"{name}.csv") for name in ("jobs", "resumes", "labels")
    }
    params = {"01_data_rules": {"source": "files", "rule_names": []} | files, "02_contrastive": {}}
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.setattr(cli, "find_root", lambda: Path(__file__).parents[2])
    cli.check(tmp_path / "few.yaml")
    said = capsys.readouterr().out
    n_train = int(re.search(r"train: .* labels \((\d+) accepted\)", said)[1])
    assert (n_train >= MIN_TRAIN_PAIRS) == is_enough
    note = f"note: {n_train} accepted training pairs; 02_contrastive leaves its encoder untrained"
    assert (note in said) != is_enough and "ok: the data can be used" in said


def test_a_full_disk_is_told_although_the_log_breaks_off(tmp_path, monkeypatch):
    plan = plan_run({"run": "x", "01_data_rules": {}})
    monkeypatch.chdir(tmp_path)
    (plan.folder / "logs").mkdir(parents=True)
    (plan.folder / "logs" / "01_data_rules.txt").write_text(DEAD[:120])
    full = shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(failures.shutil, "disk_usage", lambda folder: full)
    told = failures.why_failed(plan, since=time.time())
    assert told == [
        "01_data_rules: its disk is full; free some space, and run it again (see "
        "reports/x/logs/01_data_rules.txt)"
    ]


@pytest.mark.parametrize(
    ("manifest", "needs"),
    [
        (None, {"mem_mb": 8_000, "runtime": 240}),
        ("{", {"mem_mb": 8_000, "runtime": 240}),
        ('{"seconds": null, "peak_memory_mb": null}', {"mem_mb": 8_000, "runtime": 240}),
        ('{"seconds": 3600.5, "peak_memory_mb": 3000}', {"mem_mb": 6_000, "runtime": 121}),
        ('{"seconds": 2, "peak_memory_mb": 600}', {"mem_mb": 2_000, "runtime": 10}),
    ],
)
def test_a_cluster_is_asked_for_twice_what_the_stage_last_took(manifest, needs, tmp_path):
    if manifest:
        (tmp_path / "manifest.json").write_text(manifest)
    stage = StagePlan("s", Path("notebooks/s.ipynb"), {"out_dir": str(tmp_path)}, [])
    assert stage.cluster_needs() == needs
