"""Which command makes a stage that is missing, checked by planning what the command would run."""

import re
import shlex
from pathlib import Path

import pytest

from matchlib.pipeline import notebook_inputs, notebook_parameters
from matchlib.recipes import how_to_make, read_recipes
from matchlib.runs import load_plan

NOTEBOOKS = sorted(
    path for path in Path("notebooks").glob("*.ipynb") if "out_dir" in notebook_parameters(path)
)
PARAMS = sorted(Path("params").rglob("*.yaml"))


def folders_made_by(command):
    """The stages' folders that a `matchlib run|sweep FILE [--run NAME]` makes."""
    name, verb, file, *rest = shlex.split(command)
    assert name == "matchlib" and (verb == "sweep") == bool(is_sweep(file)), command
    assert not rest or rest[0] == "--run"
    return {stage.folder for stage in load_plan(Path(file), rest[1] if rest else "").stages}


def is_sweep(file):
    return re.search("^sweep:", Path(file).read_text(), re.MULTILINE)


def told(folder):
    found = re.search(r"make it with: (matchlib \w+ \S+(?: --run \S+)?)", how_to_make(Path(folder)))
    assert found, how_to_make(Path(folder))
    return found[1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_demo_makes_every_notebooks_default_inputs(path):
    """Notebook 04's was reports/demo/02_contrastive-plain, which no params file of the demo makes."""
    made = {stage.folder for stage in load_plan(Path("params/demo.yaml")).stages}
    defaults = notebook_parameters(path)
    inputs = {defaults[key] for key in notebook_inputs(path) if isinstance(defaults[key], str)} - {
        ""
    }
    assert inputs <= made
    for folder in inputs:
        assert told(folder) == "matchlib run params/demo.yaml"


@pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.stem)
def test_the_command_makes_the_stage_of_every_params_file(path, monkeypatch):
    plan = load_plan(path)
    verb = "sweep" if is_sweep(path) else "run"
    recipes = read_recipes(Path.cwd())
    monkeypatch.setattr(
        "matchlib.recipes.read_recipes", lambda root: recipes
    )  # read once for all stages
    for stage in plan.stages:
        assert told(stage.folder) == f"matchlib {verb} {path}"
    assert {stage.folder for stage in plan.stages} == folders_made_by(told(plan.stages[0].folder))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A root with the notebooks, and no params file but those that a test writes."""
    (tmp_path / "Snakefile").touch()
    (tmp_path / "notebooks").symlink_to(Path("notebooks").resolve())
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


BANDS = """base: ../demo.yaml
02_contrastive-plain: {hard_negatives: 0}
04_runner_up_mining: {encoder: 02_contrastive-plain}
sweep:
- stages: [04_runner_up_mining]
  over: [{top: {04_runner_up_mining: {low: 0.0}}, band: {}}]
"""


@pytest.fixture
def two_files(repository):
    """params/demo.yaml with 01 and 02, and params/sweeps/bands.yaml over it with an encoder and a sweep of its own."""
    (repository / "params" / "sweeps").mkdir()
    (repository / "params" / "demo.yaml").write_text(
        "01_data_rules: {seed: 1}\n02_contrastive: {}\n"
    )
    (repository / "params" / "sweeps" / "bands.yaml").write_text(BANDS)
    return repository


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("reports/demo/02_contrastive", "matchlib run params/demo.yaml"),
        ("reports/seed2/02_contrastive", "matchlib run params/demo.yaml --run seed2"),
        ("reports/bands/02_contrastive-plain", "matchlib sweep params/sweeps/bands.yaml"),
        ("reports/bands/04_runner_up_mining-top", "matchlib sweep params/sweeps/bands.yaml"),
        (
            "reports/mine/04_runner_up_mining-top",
            "matchlib sweep params/sweeps/bands.yaml --run mine",
        ),
    ],
)
def test_the_command_is_of_the_file_and_of_the_run(two_files, folder, command):
    assert told(folder) == command and folder in folders_made_by(command)


def test_another_file_is_never_run_into_a_run_that_has_its_own(two_files):
    """`matchlib run params/sweeps/ablation.yaml --run demo` would make the demo's tables anew, with more jobs."""
    assert how_to_make(Path("reports/demo/02_contrastive-plain")) == (
        "params/demo.yaml has no section 02_contrastive-plain, but params/sweeps/bands.yaml has: make it with: "
        "matchlib sweep params/sweeps/bands.yaml and name reports/bands/02_contrastive-plain; or add a section "
        "02_contrastive-plain: with its parameters to params/demo.yaml and run: matchlib run params/demo.yaml"
    )
    assert "reports/bands/02_contrastive-plain" in folders_made_by(
        "matchlib sweep params/sweeps/bands.yaml"
    )


def test_a_stage_that_no_file_makes_is_said_to_be_such_with_the_section_to_add(two_files):
    assert how_to_make(Path("reports/demo/02_contrastive-plane")) == (
        "no params file has a section 02_contrastive-plane (did you mean 02_contrastive?): add a section "
        "02_contrastive-plane: with its parameters to params/demo.yaml and run: matchlib run params/demo.yaml"
    )
    assert how_to_make(Path("reports/demo/2_contrastive")) == (
        "2_contrastive is no notebook, so nothing makes it; check the path (did you mean 02_contrastive?)"
    )
    finished = two_files / "reports" / "other" / "02_contrastive-x"
    finished.mkdir(parents=True)
    (finished / "manifest.json").write_text("{}")
    assert how_to_make(Path("reports/demo/02_contrastive-plane")).endswith(
        "; or name a finished stage: reports/other/02_contrastive-x"
    )


def test_the_params_that_a_run_left_are_what_makes_its_stages(repository):
    (repository / "params" / "demo.yaml").write_text("01_data_rules: {}\n")
    (repository / "reports" / "mine").mkdir(parents=True)
    (repository / "reports" / "mine" / "params.yaml").write_text(
        "run: mine\n01_data_rules: {seed: 2}\n"
    )
    assert told("reports/mine/01_data_rules") == "matchlib run reports/mine/params.yaml"
    assert "add a section 03_hyre: with its parameters to reports/mine/params.yaml" in how_to_make(
        Path("reports/mine/03_hyre")
    )


def test_a_broken_params_file_does_not_hide_the_error_about_the_stage(repository):
    for name, text in {
        "a": "x: [",
        "b": "- x",
        "c": "base: none.yaml",
        "d": "01_data_rules: 3\nsweep: {a: 1}",
        "e": "sweep: [{stages: 1, over: 2}]",
    }.items():
        (repository / "params" / f"{name}.yaml").write_text(text)
    assert "params/" in how_to_make(Path("reports/x/01_data_rules"))
    for path in (repository / "params").iterdir():
        path.unlink()
    assert how_to_make(Path("reports/x/01_data_rules")) == (
        "there is no params file that can be read; write params/x.yaml with a section 01_data_rules: and run: matchlib "
        "run params/x.yaml"
    )
