import json
import logging
from pathlib import Path

import pandas as pd
import pytest

from matchlib import stage as stage_module
from matchlib.pipeline import ParameterError, notebook_parameters
from matchlib.stage import Finished, Stage, StageError

DEFAULTS = {name: notebook_parameters(Path(f"notebooks/{name}.ipynb")) for name in
            ("01_data_rules", "02_contrastive")}


@pytest.fixture(autouse=True)
def closed_locks():
    yield
    for lock in stage_module._OPEN.values():
        lock.close()
    stage_module._OPEN.clear()


def open_stage(tmp_path, name="01_data_rules", **changes):
    folder = tmp_path / "run" / name
    return Stage(name, {**DEFAULTS[name], "out_dir": str(folder), **changes})


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
    with pytest.raises(StageError, match="not a finished stage; matchlib run writes to reports/<run>/<stage> only, so "
                                         "make this one with: mkdir -p .*papermill notebooks/01_data_rules.ipynb"):
        Finished(stage.folder)


@pytest.mark.parametrize("harm", [lambda p: p.write_bytes(p.read_bytes()[:-1] + b"x"), lambda p: p.unlink()])
def test_a_damaged_file_stops_its_reader_by_name(tmp_path, harm):
    folder = finished(tmp_path)
    harm(folder / "jobs.parquet")
    with pytest.raises(StageError, match="jobs.parquet is not the file"):
        Finished(folder)


def test_opening_again_removes_the_manifest_and_stale_files_first(tmp_path):
    folder = finished(tmp_path)
    (folder / "stale").mkdir()
    (folder / "stale" / "old.txt").write_text("x")
    (folder / f"{folder.name}.ipynb").write_text("papermill is writing this")
    open_stage(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "01_data_rules.ipynb", "log.txt"]


def test_a_file_of_the_reader_in_the_stages_own_folder_is_not_removed(tmp_path):
    own = tmp_path / "run" / "01_data_rules" / "filled.csv"
    own.parent.mkdir(parents=True)
    own.write_text("hours of work")
    with pytest.raises(StageError, match=r"path: .*filled.csv lies in the folder that this stage writes anew; copy it"):
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
    assert manifest["inputs"]["data"]["id"] == json.loads((folder / "manifest.json").read_text())["id"]


def test_a_missing_input_is_told_by_its_parameter_and_the_command_that_makes_it(tmp_path):
    with pytest.raises(StageError, match="^data: reports/none/01_data_rules is not a finished stage; make it with: "
                                         "matchlib run params/demo.yaml --run none"):
        open_stage(tmp_path, "02_contrastive", data="reports/none/01_data_rules")


def test_settings_name_no_folder_of_the_run(tmp_path):
    folder = finished(tmp_path)
    stage = open_stage(tmp_path, "02_contrastive", data=str(folder))
    assert set(stage.parameters) - set(stage.settings) == {"data", "mined_stage"}
    assert str(tmp_path) not in str(stage.settings) and stage.settings["epochs"] == stage.parameters["epochs"]


def test_checkpoints_belong_to_parameters(tmp_path):
    folder = finished(tmp_path)
    first = open_stage(tmp_path, "02_contrastive", data=str(folder)).checkpoints
    assert open_stage(tmp_path, "02_contrastive", data=str(folder)).checkpoints == first
    assert open_stage(tmp_path, "02_contrastive", data=str(folder), seed=2).checkpoints != first
