"""The house rules that a machine can hold: import direction, pins, notebook form."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

from matchlib.pipeline import ParameterError, notebook_parameters, plan_run, read_params

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "matchlib"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAY_IMPORT = {
    "data": set(),
    "documents": {"data"},
    "retrieval": {"data", "stats"},
    "language": {"data", "stats", "retrieval"},
    "learning": {"data", "stats", "retrieval"},
    "girl": {"data", "stats", "retrieval", "language", "learning", "extraction"},
    "tuning": {"data", "retrieval", "language", "learning", "girl"},
    "extraction": {"data", "retrieval"},
    "talent": {"data", "stats", "retrieval", "language", "extraction"},
    "hrtasks": {"data", "stats", "retrieval", "language", "learning", "extraction", "girl"},
    "analysis": {"data", "stats", "retrieval", "language", "learning", "extraction"},
    "ranking": {
        *("data", "documents", "retrieval", "learning", "extraction", "analysis", "talent"),
        *("hrtasks", "outputs", "stage"),
    },
    "reports": {"manifest"},
    "explore": {
        *("data", "documents", "retrieval", "extraction", "analysis", "ranking", "reports"),
        *("recipes", "stage"),
    },
}
INTERACTIVE = {"00_explore"}
"""Notebooks for reading and judging by hand: they write no stage, so no run can hold them."""


def imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
        )
        yield from (name.split(".")[1] for name in names if name.startswith("matchlib."))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package):
    files = list((PACKAGE / package).rglob("*.py"))
    assert files
    for path in files:
        assert set(imported_packages(path)) <= MAY_IMPORT[package] | {package}, path


def imported_modules(path):
    """Modules of the package that a file imports, inside functions too; not for type checkers alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            file = ROOT / (name.replace(".", "/") + ".py")
            if name.startswith("matchlib.") and file.exists():
                yield file


def test_no_imports_run_in_a_circle():
    graph = {path: set(imported_modules(path)) - {path} for path in PACKAGE.rglob("*.py")}
    assert sum(map(len, graph.values())) > 200
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert len(order) == len(graph)


def test_every_package_has_a_direction():
    assert {p.parent.name for p in PACKAGE.glob("*/__init__.py")} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    "module",
    [
        "matchlib.data.readers",
        "matchlib.data.market.simulation",
        "matchlib.reports.tables",
        "matchlib.stage",
        "matchlib.cli",
    ],
)
def test_light_imports_load_no_torch(module):
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_public_functions_have_docstrings():
    bare = [
        f"{path.name}: {node.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert bare == []


def normal(name):
    return name.lower().replace("_", "-")


def test_conda_environment_holds_the_same_pins():
    pins = {
        normal(name): version
        for name, version in (
            line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines()
        )
    }
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    named = {
        normal(name): version for name, version in (e.split("==") for e in listed if "==" in e)
    }
    assert named.items() <= pins.items()
    assert {"-c requirements.lock", "-e ."} <= set(listed)
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {normal(name) for name in needed} <= set(named)
    assert pins["torch"] and not [version for version in pins.values() if "+" in version]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_form(path):
    notebook = json.loads(path.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in code:
        source = "".join(cell["source"])
        assert not cell["outputs"] and cell["execution_count"] is None
        is_parameters = "parameters" in cell["metadata"].get("tags", [])
        assert not re.search(r"^\s*(def|class) ", source, re.MULTILINE)
        if is_parameters:
            assert all(re.search(r"\S  # \S", line) for line in source.splitlines()), (
                "each parameter needs # help"
            )
    texts = ["".join(cell["source"]) for cell in notebook["cells"] if cell not in code]
    assert not [text for text in texts if "$" in text], "pages show TeX as it is typed"
    defaults = notebook_parameters(path)
    if path.stem in INTERACTIVE:
        assert "out_dir" not in defaults
        with pytest.raises(ParameterError, match="0 cells open a Stage"):
            plan_run({"run": "x", path.stem: {}})
    else:
        assert defaults["out_dir"] == f"reports/demo/{path.stem}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "params").glob("*.yaml")), ids=lambda path: path.stem
)
def test_params_files_fit_the_notebooks(path):
    assert plan_run(read_params(path), source=path.name).stages


def test_no_secret_is_a_parameter():
    names = {name for path in NOTEBOOKS for name in notebook_parameters(path)}
    assert not [name for name in names if re.search("key|token$|secret|password", name)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_result_is_typed_into_a_notebook(path):
    """Figures of sweeps come from the ledger: a sentence that names a sweep, the LOG or markets holds none of its own.

    What papers published is cited beside the paper, what stands in a formula or a rule is none.
    """
    figure = re.compile(
        r"(?<![\w.@])\.\d\d|\d%|\b(?:fifths?|thirds?|quarters?|tenths?|half of the gap)\b"
    )
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "markdown":
            for sentence in re.split(r"(?<=[.:;]) |\n", "".join(cell["source"])):
                told = re.search(
                    r"sweeps?/|LOG\.md|\b(?:two|three|six|\d+) (?:markets|seeds|worlds)\b", sentence
                )
                assert not (told and figure.search(sentence)), sentence
