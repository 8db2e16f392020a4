import json
import logging
import os
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

from matchlib import stage as stage_module
from matchlib.pipeline import (
    ParameterError,
    RunPlan,
    StagePlan,
    notebook_inputs,
    notebook_parameters,
)
from matchlib.stage import (
    Finished,
    Stage,
    StageError,
    UnfinishedError,
    hash_sources,
    prepare_run,
    why_outdated,
)

DEFAULTS = {
    name: notebook_parameters(Path(f"notebooks/{name}.ipynb"))
    for name in ("01_data_rules", "02_contrastive")
}


@pytest.fixture(autouse=True)
def closed_locks():
    yield
    for lock in stage_module._OPEN.values():
        lock.close()
    stage_module._OPEN.clear()


def open_stage(tmp_path, name="01_data_rules", **changes):
    folder = tmp_path / "run" / name
    inputs = notebook_inputs(Path(f"notebooks/{name}.ipynb"))
    return Stage(name, {**DEFAULTS[name], "out_dir": str(folder), **changes}, inputs=inputs)


def finished(tmp_path):
    stage = open_stage(tmp_path)
    stage.write_table("jobs", pd.DataFrame({"job_id": ["007"], "text": ["NA"]}))
    logging.getLogger("matchlib").info("written at some time")
    stage.finish({"n": 1}, headline="one job")
    return stage.folder


def test_a_finished_stage_is_read_as_it_was_written(tmp_path):
    folder = finished(tmp_path)
    again = Finished(folder)
    assert again.table("jobs").to_dict("records") == [{"job_id": "007", "text": "NA"}]
    facts = again.manifest
    assert facts["headline"] == "one job" and facts["metrics"] == {"n": 1} and facts["run"] == "run"
    assert set(facts["files"]) == {"jobs.parquet", "log.txt"}
    assert facts["packages"]["torch"] and facts["code"]["hash"] and facts["peak_memory_mb"] > 0


def test_the_id_does_not_depend_on_when_or_how_fast(tmp_path):
    first = Finished(finished(tmp_path / "a")).manifest["id"]
    assert Finished(finished(tmp_path / "b")).manifest["id"] == first


def test_without_a_manifest_there_is_no_stage(tmp_path):
    stage = open_stage(tmp_path)
    stage.write_table("jobs", pd.DataFrame({"job_id": ["a"]}))
    with pytest.raises(
        StageError,
        match="not a finished stage; matchlib run writes to reports/<run>/<stage> only, so "
        "make this one with: mkdir -p .*papermill notebooks/01_data_rules.ipynb",
    ):
        Finished(stage.folder)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (
            lambda p: p.write_bytes(p.read_bytes()[:-1] + b"x"),
            "jobs.parquet is not the file .*copy it if the change",
        ),
        (lambda p: p.unlink(), "jobs.parquet, which 01_data_rules wrote, is missing"),
    ],
)
def test_a_damaged_file_stops_its_reader_by_name(tmp_path, harm, sentence):
    folder = finished(tmp_path)
    harm(folder / "jobs.parquet")
    with pytest.raises(StageError, match=sentence):
        Finished(folder)


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"files": {',
        "[]",
        '{"name": "another tool"}',
        "[" * 100_000,
        '{"parameters": {}, "inputs": {}, "files": ["a"]}',
        '{"parameters": null, "inputs": {}, "files": {}}',
        '{"parameters": {}, "inputs": {}, "files": {"jobs.parquet": 3}}',
    ],
)
def test_a_torn_manifest_is_a_sentence(tmp_path, content):
    """A manifest of zero bytes was a traceback for ever."""
    folder = finished(tmp_path)
    (folder / "manifest.json").write_text(content)
    with pytest.raises(
        UnfinishedError, match=r"manifest.json \(\d+ bytes\) is damaged or no manifest of a stage; "
    ):
        Finished(folder)
    assert finished(tmp_path) == folder and Finished(folder).has("jobs")


def test_opening_again_removes_what_the_stage_wrote(tmp_path):
    stage = open_stage(tmp_path)
    stage.path("stale/old.txt").write_text("x")
    (stage.folder / "manifest.json.part").write_text("killed")
    for finish in (True, False):
        if finish:
            stage.finish({}, headline="")
        (stage.folder / "01_data_rules.ipynb").write_text("papermill is writing this")
        (stage.folder / "01_data_rules.html").write_text("a report")
        (stage.folder / ".DS_Store").write_text("of the system")
        stage = open_stage(tmp_path)
        assert sorted(path.name for path in stage.folder.iterdir()) == [
            ".DS_Store",
            ".lock",
            ".stage",
            "01_data_rules.ipynb",
            "log.txt",
        ]
        stage.path("stale/old.txt").write_text("x")
    assert set(stage.finish({}, headline="")["files"]) == {"log.txt", "stale/old.txt"}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"01_data_rul"])
def test_a_torn_journal_is_no_traceback(tmp_path, content):
    """Of a finished stage the manifest tells what is its own; of another, the files are nobody's."""
    folder = finished(tmp_path)
    (folder / ".stage").write_bytes(content)
    assert finished(tmp_path) == folder
    stage = open_stage(tmp_path)
    stage.write_table("jobs", pd.DataFrame({"job_id": ["a"]}))
    (folder / ".stage").write_bytes(content)
    with pytest.raises(
        StageError,
        match="01_data_rules holds jobs.parquet, log.txt, which the stage 01_data_rules did",
    ):
        open_stage(tmp_path)


def test_a_file_in_the_runs_place_is_a_sentence(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StageError, match="01_data_rules cannot be written .*MATCHLIB_CACHE"):
        open_stage(tmp_path)


def strange_folder(folder):
    """A folder of somebody else's, of the name that a stage's must have."""
    folder.mkdir(parents=True)
    (folder / "thesis.docx").write_text("years of work")


def copy_of_another_stage(folder):
    shutil.copytree(finished(folder.parents[1] / "other"), folder)
    for name in (".stage", "manifest.json"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("01_data_rules", "01_data_rules-other"))


def own_folder_with_a_readers_file(folder):
    finished(folder.parents[1])
    (folder / "notes").mkdir()
    (folder / "notes" / "read.txt").write_text("what I thought of it")


def another_tools_manifest(folder):
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"name": "a browser extension"}')


def link_to_a_strange_folder(folder):
    strange_folder(folder.parents[1] / "elsewhere")
    folder.parent.mkdir()
    folder.symlink_to(folder.parents[1] / "elsewhere")


@pytest.mark.parametrize(
    "make",
    [
        strange_folder,
        copy_of_another_stage,
        own_folder_with_a_readers_file,
        another_tools_manifest,
        link_to_a_strange_folder,
    ],
)
def test_a_folder_with_files_of_somebody_else_is_refused_and_left_as_it_is(tmp_path, make):
    """A stage emptied any folder that was given as its own."""
    folder = tmp_path / "run" / "01_data_rules"
    make(folder)
    before = {path: path.read_bytes() for path in folder.resolve().rglob("*") if path.is_file()}
    with pytest.raises(
        StageError, match="which the stage 01_data_rules did not write, .* move that elsewhere"
    ):
        open_stage(tmp_path)
    assert {path: path.read_bytes() for path in before} == before


def test_a_stage_that_was_copied_without_hidden_files_is_made_anew(tmp_path):
    plan = plan_here(tmp_path)
    folder = finished(tmp_path)
    (folder / ".stage").unlink()
    prepare_run(plan)
    (folder / "manifest.json").unlink()  # as Snakemake does before it makes a stage anew
    assert finished(tmp_path) == folder and Finished(folder).has("jobs")


def plan_here(tmp_path, **parameters):
    """A plan with the one stage that `finished` makes, and its user."""
    folders = [str(tmp_path / "run" / name) for name in ("01_data_rules", "02_contrastive")]
    return RunPlan(
        "run",
        [
            StagePlan(
                "01_data_rules",
                Path("notebooks/01_data_rules.ipynb"),
                {**parameters, "out_dir": folders[0]},
                [],
            ),
            StagePlan(
                "02_contrastive",
                Path("notebooks/02_contrastive.ipynb"),
                {"data": folders[0], "out_dir": folders[1]},
                folders[:1],
            ),
        ],
    )


@pytest.fixture
def made(tmp_path):
    """Two stages of a data folder and a list of files, and `outdated`, which tells what `matchlib run` would remake."""
    (tmp_path / "data").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "data" / name).write_text(f"{name}\n1\n")
    named = {"path": str(tmp_path / "data")}

    def make():
        stage = open_stage(tmp_path, **named)
        stage.write_table(
            "jobs", pd.DataFrame({"job_id": [(tmp_path / "data" / "a.csv").read_text()]})
        )
        stage.finish({}, headline="")
        open_stage(tmp_path, "02_contrastive", data=str(stage.folder)).finish({}, headline="")

    def outdated():
        return [Path(folder).name for folder in why_outdated(plan_here(tmp_path, **named))]

    make()
    assert outdated() == []
    return tmp_path, make, outdated


def test_content_and_not_dates_makes_a_stage_outdated(made):
    """Data restored with an old date reran nothing, and a date in the future ended every run."""
    folder, make, outdated = made
    file = folder / "data" / "a.csv"
    os.utime(file, (4e9, 4e9))
    os.utime(folder / "run" / "01_data_rules" / "manifest.json", (0, 0))
    assert outdated() == []
    file.write_text("a.csv\n2\n")
    os.utime(file, (0, 0))
    assert outdated() == ["01_data_rules"]
    make()
    assert outdated() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda data: (data / "c.csv").write_text("more"),
        lambda data: (data / "b.csv").unlink(),
        lambda data: (data / "b.csv").rename(data / "c.csv"),
        lambda data: [
            (data / "a.csv").rename(data / "x"),
            (data / "b.csv").rename(data / "a.csv"),
            (data / "x").rename(data / "b.csv"),
        ],
    ],
)
def test_a_data_folder_is_its_names_and_their_content(made, change):
    folder, _, outdated = made
    change(folder / "data")
    assert outdated() == ["01_data_rules"]


def test_an_input_that_was_made_again_is_a_reason_only_if_it_is_another(made):
    folder, make, outdated = made
    make()
    assert outdated() == []
    open_stage(folder, path=str(folder / "data")).finish({}, headline="")  # without its table
    assert outdated() == ["02_contrastive"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda stage: (stage / "manifest.json").write_text(""),
        lambda stage: (stage / "manifest.json").unlink(),
        lambda stage: (stage / "jobs.parquet").unlink(),
    ],
)
def test_what_is_torn_or_missing_is_made_again(made, harm):
    folder, make, outdated = made
    harm(folder / "run" / "01_data_rules")
    assert outdated()[0] == "01_data_rules"
    make()
    assert outdated() == []


def test_what_a_reader_changed_in_a_stage_is_not_overwritten_without_a_word(made):
    folder, _, outdated = made
    with (folder / "run" / "01_data_rules" / "jobs.parquet").open("ab") as file:
        file.write(b"filled in by hand")
    with pytest.raises(
        StageError, match="jobs.parquet is not the file that 01_data_rules wrote; copy it if"
    ):
        outdated()
    told = why_outdated(plan_here(folder, path=str(folder / "data")), stop=False)
    assert (
        len(told) == 2
        and "copy it if the change is yours" in told[str(folder / "run" / "01_data_rules")][0]
    )


def test_files_in_dicts_lists_and_model_folders_count(tmp_path):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "model.safetensors").write_text("weights")
    (tmp_path / "sheet.csv").write_text("x")
    parameters = {
        "model_name_or_path": str(tmp_path / "encoder"),
        "sheets": [str(tmp_path / "sheet.csv")],
        "by_name": {"a": str(tmp_path / "sheet.csv")},
        "language": "en",
        "long": "x" * 5000,
        "null": "a\0b",
    }
    before = hash_sources(parameters)
    assert set(before) == {"model_name_or_path", "sheets", "by_name"}
    (tmp_path / "encoder" / "model.safetensors").write_text("others")
    (tmp_path / "sheet.csv").write_text("y")
    after = hash_sources(parameters)
    assert all(before[key] != after[key] for key in before)


def test_a_manifest_of_the_future_gets_a_date_that_snakemake_takes(made):
    folder, _, _ = made
    manifest = folder / "run" / "01_data_rules" / "manifest.json"
    os.utime(manifest, (4e9, 4e9))
    prepare_run(plan_here(folder))
    assert manifest.stat().st_mtime <= time.time()


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("# Parameters\nsead = 2\n", "unknown parameter 'sead'; did you mean 'seed'"),
        ("# Parameters\nseed = 2\nzzz = {'a': 1}\n", "unknown parameter 'zzz'"),
        (
            "# Parameters\nTrain_jobs = 5\n",
            "unknown parameter 'Train_jobs'; did you mean 'train_jobs'",
        ),
    ],
)
def test_a_parameter_that_papermill_put_in_and_no_notebook_has_is_refused(tmp_path, cell, sentence):
    """papermill only warns, and the stage ran with the default."""
    with pytest.raises(ParameterError, match=sentence):
        open_stage(tmp_path, In=["", "out_dir = 1", cell, "import pandas"], sead=2)
    assert not (tmp_path / "run").exists()


def test_names_of_ones_own_in_a_notebook_are_no_parameters(tmp_path):
    cells = [
        "",
        "# Parameters\nsead = 2\n",
        "# Parameters\nseed = 2\nPAPERMILL_INPUT_PATH = 'x'\n",
        "mine = 1",
    ]
    assert open_stage(tmp_path, In=cells, mine=1, seed=2).parameters["seed"] == 2


def test_a_file_of_the_reader_in_the_stages_own_folder_is_not_removed(tmp_path):
    own = tmp_path / "run" / "01_data_rules" / "filled.csv"
    own.parent.mkdir(parents=True)
    own.write_text("hours of work")
    with pytest.raises(
        StageError,
        match=r"path: .*filled.csv lies in the folder that this stage writes anew; copy it",
    ):
        open_stage(tmp_path, path=str(own))
    assert own.read_text() == "hours of work"


def test_two_processes_cannot_write_one_stage(tmp_path):
    import fcntl

    folder = finished(tmp_path)
    with (folder / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StageError, match="being written by another process"):
            open_stage(tmp_path)


def test_parameters_are_checked_by_name_and_type(tmp_path):
    with pytest.raises(ParameterError, match="train_jobs is '5'"):
        open_stage(tmp_path, train_jobs="5")
    with pytest.raises(ParameterError, match="must end in 01_data_rules"):
        open_stage(tmp_path, out_dir=str(tmp_path / "elsewhere"))


def test_inputs_are_loaded_by_their_manifests(tmp_path):
    folder = finished(tmp_path)
    stage = open_stage(tmp_path, "02_contrastive", data=str(folder))
    assert stage["data"].table("jobs").shape == (1, 2)
    manifest = stage.finish({}, headline="")
    assert manifest["inputs"]["data"]["stage"] == "01_data_rules"
    assert (
        manifest["inputs"]["data"]["id"] == json.loads((folder / "manifest.json").read_text())["id"]
    )


def test_a_missing_input_is_told_by_its_parameter_and_the_command_that_makes_it(tmp_path):
    with pytest.raises(
        StageError,
        match="^data: reports/none/01_data_rules is not a finished stage; make it with: "
        "matchlib run params/demo.yaml --run none",
    ):
        open_stage(tmp_path, "02_contrastive", data="reports/none/01_data_rules")


def test_settings_name_no_folder_of_the_run(tmp_path):
    folder = finished(tmp_path)
    stage = open_stage(tmp_path, "02_contrastive", data=str(folder))
    assert set(stage.parameters) - set(stage.settings) == {"data", "mined_stage"}
    assert (
        str(tmp_path) not in str(stage.settings)
        and stage.settings["num_train_epochs"] == stage.parameters["num_train_epochs"]
    )


def test_checkpoints_belong_to_parameters(tmp_path):
    folder = finished(tmp_path)
    first = open_stage(tmp_path, "02_contrastive", data=str(folder)).checkpoints
    assert open_stage(tmp_path, "02_contrastive", data=str(folder)).checkpoints == first
    assert open_stage(tmp_path, "02_contrastive", data=str(folder), seed=2).checkpoints != first
