"""What a run consists of: params files, the notebooks' parameters and inputs, stages and their
order."""

from __future__ import annotations

import ast
import base64
import difflib
import json
import math
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

import yaml

DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx")
"""Endings of files that a newcomer names in the place of a params file."""
MAX_NAME = 200
"""Characters of a run's or a stage's name: file systems allow 255, and files are named after stages
with an ending."""
FIRST_NEEDS = {"mem_mb": 8_000, "runtime": 240}
LEAST_NEEDS = {"mem_mb": 2_000, "runtime": 10}
"""What a stage asks a cluster for the first time, and at least: megabytes and minutes."""
MARGIN = 2
"""Times of what a stage took last time."""


class ParameterError(ValueError):
    """A params file or a parameter that cannot be used: where, what, and the remedy."""


@dataclass(frozen=True)
class StagePlan:
    """One run of one notebook: parameters are complete but for the notebook's defaults."""

    name: str
    notebook: Path
    parameters: dict[str, Any]
    inputs: list[str]

    @property
    def folder(self) -> str:
        return self.parameters["out_dir"]

    @property
    def command(self) -> str:
        """The papermill command; -b keeps types that -p and -y would turn into text."""
        encoded = base64.b64encode(yaml.safe_dump(self.parameters).encode()).decode()
        executed = f"{self.folder}/{self.name}.ipynb"
        return (
            f"{shlex.quote(sys.executable)} -m papermill {self.notebook} {executed} -b {encoded} "
            f"-k python3 --no-progress-bar --autosave-cell-every 0"
        )

    def cluster_needs(self) -> dict[str, int]:
        """What to ask a cluster for: mem_mb, and runtime in minutes. Twice what the stage took when
        it was last made, or FIRST_NEEDS."""
        try:
            last = json.loads(Path(self.folder, "manifest.json").read_text(encoding="utf-8"))
            used = {"mem_mb": last["peak_memory_mb"], "runtime": last["seconds"] / 60}
        except (OSError, ValueError, KeyError, TypeError):
            return dict(FIRST_NEEDS)
        return {
            name: max(LEAST_NEEDS[name], math.ceil(MARGIN * value)) for name, value in used.items()
        }


@dataclass(frozen=True)
class RunPlan:
    """A run: its name and stages, inputs before their users."""

    run: str
    stages: list[StagePlan]

    @property
    def folder(self) -> Path:
        return Path("reports") / self.run

    def count_waiting(self) -> dict[str, int]:
        """By folder, how many stages need this one, directly or through others."""
        needs = self._needs()
        return {own: sum(own in below for below in needs.values()) for own in needs}

    def count_beside(self) -> dict[str, int]:
        """By folder, how many stages may run at the same time as this one: neither needs the other."""
        waiting = self.count_waiting()
        return {
            own: len(self.stages) - 1 - len(below) - waiting[own]
            for own, below in self._needs().items()
        }

    def _needs(self) -> dict[str, set[str]]:
        needs: dict[str, set[str]] = {}
        for stage in self.stages:
            needs[stage.folder] = set(stage.inputs).union(*(needs[below] for below in stage.inputs))
        return needs


def rule_names(plan: RunPlan) -> list[str]:
    """A name for every stage's Snakemake rule: its own with _ for - and ., numbered where two would
    be alike."""
    names: list[str] = []
    for stage in plan.stages:
        stem = name = stage.name.replace("-", "_").replace(".", "_")
        number = 1
        while name in names:
            number += 1
            name = f"{stem}__{number}"
        names.append(name)
    return names


def find_root() -> Path:
    """The repository's root: the nearest folder from here upwards that holds the Snakefile."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "Snakefile").exists() and (folder / "notebooks").is_dir():
            return folder
    raise ParameterError(
        f"{Path.cwd()} is not inside the repository (no Snakefile above it); change into it first"
    )


class _Loader(yaml.SafeLoader):
    """Plain YAML, in which a key that stands twice is an error: by default the last one silently
    wins."""

    def construct_mapping(self, node, deep=False):
        lines: dict[tuple[str, str], int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if (key.tag, key.value) in lines:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"{key.value!r} stands in line {lines[key.tag, key.value]} and again in line {line}; "
                    f"keep one of the two",
                )
            lines[key.tag, key.value] = line
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, where: str) -> Any:
    """What a YAML text holds. Raises ParameterError on broken YAML, a repeated key, or a value that
    holds itself."""
    try:
        value = yaml.load(text, _Loader)  # a SafeLoader
        json.dumps(value, default=str)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as problem:
        raise ParameterError(f"{where}: not valid YAML: {' '.join(str(problem).split())}") from None
    return value


def read_params(path: Path, *, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a params file.

    `base: other.yaml` fills in what the file leaves out, section by section: all sections of the
    base, or `only` some.
    above: the files that lead here by their `base`.
    """
    raw = parse_yaml(_read_params_text(path), str(path))
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else type(raw).__name__
        raise ParameterError(
            f"{path}: expected sections such as 01_data_rules:, found {found}; "
            f"params/own_data.yaml shows the form"
        )
    _check_form(raw, path)
    raw.setdefault("run", path.stem)
    if base := raw.pop("base", None):
        if (path.parent / base).resolve() in {file.resolve() for file in (path, *above)}:
            raise ParameterError(
                f"{path}: base {base!r} leads back to a file that is based on it; name another"
            )
        below = read_params(path.parent / base, above=(path, *above))
        _fill_from_base(raw, below, source=f"{path}: only names", base=base)
    return raw


def _read_params_text(path: Path) -> str:
    is_folder_of_data = path.is_dir() and not any(path.glob("*.yaml"))
    if is_folder_of_data or path.suffix.lower() in DATA_SUFFIXES:
        raise ParameterError(
            f"{path} is data, not a params file; name it in a copy of params/own_data.yaml, "
            f"or rank it without a params file: matchlib rank"
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ParameterError(
            f"{path} does not exist; params files are {_list_params(path.parent, path.stem)}"
        ) from None
    except UnicodeDecodeError as problem:
        raise ParameterError(f"{path}: not UTF-8 ({problem}); save it as UTF-8") from None
    except OSError as problem:
        raise ParameterError(
            f"{path} cannot be read: {problem.strerror}; params files are {_list_params(path)}"
        ) from None


def _fill_from_base(raw: dict[str, Any], below: dict[str, Any], *, source: str, base: str) -> None:
    """Add to `raw` what it leaves out of its base: whole sections, and parameters of its own ones."""
    only = raw.pop("only", list(below))
    if unknown := [name for name in only if name not in below]:
        raise ParameterError(f"{source} {unknown[0]!r}, which is no section of {base}")
    for key, value in below.items():
        if value is not None and not isinstance(value, dict):
            raw.setdefault(key, value)
        elif key in only or key in raw:
            raw[key] = {**(value or {}), **(raw.get(key) or {})}


def _check_form(raw: Mapping[Any, Any], path: Path) -> None:
    """Raise ParameterError unless every section is a mapping and the other entries have their form."""
    forms = {"run": (str, int, float), "base": str, "only": list, "sweep": list}
    for key, value in raw.items():
        if not isinstance(key, str):
            raise ParameterError(
                f"{path}: the key {key!r} is a {type(key).__name__}; sections have names such as "
                f"01_data_rules"
            )
        if not isinstance(value, forms.get(key, dict | None)) or isinstance(value, bool):
            wanted = {
                "run": "a name",
                "base": "the path of a params file",
                "only": "a list of sections",
                "sweep": "a list of entries",
            }.get(key, "a mapping of parameters to values")
            raise ParameterError(
                f"{path}: {key} is {value!r}, a {type(value).__name__}; expected {wanted}"
            )


def _list_params(folder: Path, name: str = "") -> str:
    """The params files of a folder that has any, or else of the repository; those with a name like
    this one alone, where there are any."""
    if folder == find_root() or not any(folder.glob("*.yaml")):
        folder = find_root() / "params"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    names = difflib.get_close_matches(name, names) or names
    return f"in {folder}, such as {', '.join(f'{name}.yaml' for name in names)}"


def plan_run(raw: Mapping[str, Any], *, source: str = "params") -> RunPlan:
    """Check a params dict against the notebooks and put its stages in order.

    Sections are named NN_notebook or, for a further arm that changes a few parameters,
    NN_notebook-arm.
    Raises ParameterError on an unknown section, an unknown parameter, a wrong type or a missing
    input.
    """
    run = str(raw.get("run", ""))
    for what, name in [("run", run), *(("section", str(key)) for key in raw if key != "run")]:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) or len(name) > MAX_NAME:
            shown = name if len(name) <= MAX_NAME else f"{name[:40]}... ({len(name)} characters)"
            remedy = (
                "rename it"
                if what == "section"
                else "rename the file, or give the run another with --run"
            )
            raise ParameterError(
                f"{source}: {what} {shown!r} must be a name of letters, digits, '_', '-' and '.', not "
                f"beginning with '-' or '.', of at most {MAX_NAME} characters, since it names a "
                f"folder; {remedy}"
            )
    names = sorted(key for key in raw if key != "run")
    stages = [_plan_stage(name, raw, names, run, source) for name in names]
    ordered: list[StagePlan] = []
    while len(ordered) < len(stages):
        done = {stage.folder for stage in ordered}
        ready = [stage for stage in stages if stage not in ordered and set(stage.inputs) <= done]
        if not ready:
            raise ParameterError(
                f"{source}: the stages wait for each other; check which inputs they name"
            )
        ordered += ready
    return RunPlan(run, ordered)


def _plan_stage(
    name: str, raw: Mapping[str, Any], names: list[str], run: str, source: str
) -> StagePlan:
    base = name.split("-")[0]
    notebook = Path("notebooks") / f"{base}.ipynb"
    if not (find_root() / notebook).exists():
        known = sorted(p.stem for p in (find_root() / "notebooks").glob("*.ipynb"))
        near = difflib.get_close_matches(base, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the notebooks are {', '.join(known)}"
        raise ParameterError(f"{source}: section {name!r} is no notebook; {hint}")
    notebook_path = find_root() / notebook
    defaults = notebook_parameters(notebook_path)
    given = {**(raw.get(base) or {}), **(raw[name] or {})}
    check_parameters(f"{source}: {name}", given, defaults)
    parameters = {**given, "out_dir": f"reports/{run}/{name}"}

    def folder(key: str, stage: str) -> str:
        if stage and stage not in names:
            raise ParameterError(
                f"{source}: {name} needs the stage {stage!r} as {key}, but the file has no such "
                f"section; add it, or set {key}: '' if the notebook can do without"
            )
        return f"reports/{run}/{stage}" if stage else ""

    for key, stage in input_stages(given, notebook_path).items():
        parameters[key] = (
            {arm: folder(key, str(below)) for arm, below in stage.items()}
            if isinstance(stage, dict)
            else folder(key, stage)
        )
    return StagePlan(
        name, notebook, parameters, list(stage_inputs(parameters, notebook_path).values())
    )


def named_files(key: str, value: Any) -> list[str]:
    """The files behind a parameter: those it names or, if it names data or a model, those of the
    folder it names; of a folder of vectors the shards' manifests, which hold the others' hashes."""
    if isinstance(value, list | dict):
        return [
            file
            for item in (value.values() if isinstance(value, dict) else value)
            for file in named_files(key, item)
        ]
    if not isinstance(value, str) or not value:
        return []
    names_folder = key in (
        "path",
        "adapter",
        "judge",
        "model_name_or_path",
    ) or key.endswith("_model")
    try:
        if key.endswith("_vectors") and Path(value).is_dir():
            return sorted(str(file) for file in Path(value).glob("*/shard.json"))
        if names_folder and Path(value).is_dir():
            return sorted(str(file) for file in Path(value).rglob("*") if file.is_file())
        return [value] if Path(value).is_file() else []
    except (OSError, ValueError):  # a text that is no path: too long, or with a null byte
        return []


def input_stages(given: Mapping[str, Any], notebook: Path) -> dict[str, Any]:
    """The inputs of a notebook as a params file names them: by section, or a dict of name ->
    section.

    given: parameters of a params file; what it leaves out is the section that the notebook's
    default ends in.
    """
    defaults = notebook_parameters(notebook)
    stages = {}
    for key in notebook_inputs(notebook):
        default = defaults[key]
        if isinstance(default, str):
            default = Path(default).name
        stages[key] = given.get(key, default)
    return stages


def stage_inputs(parameters: Mapping[str, Any], notebook: Path) -> dict[str, str]:
    """The folders of a notebook's inputs by parameter, leaving out empty ones; those of a dict by
    its keys."""
    folders: dict[str, str] = {}
    for key in notebook_inputs(notebook):
        value = parameters[key]
        named = value if isinstance(value, dict) else {key: value}
        for name, folder in named.items():
            if name in folders:
                raise ParameterError(
                    f"{key}: the name {name!r} is taken by another input; choose another name"
                )
            folders[name] = folder
    return {name: folder for name, folder in folders.items() if folder}


@cache
def notebook_parameters(notebook: Path) -> dict[str, Any]:
    """Names and default values of a notebook's parameters cell, which may hold literals only."""
    cells = [
        cell
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        if "parameters" in cell["metadata"].get("tags", [])
    ]
    if len(cells) != 1:
        raise ParameterError(
            f"{notebook}: {len(cells)} cells are tagged parameters; exactly one must be"
        )
    found = {}
    for node in ast.parse("".join(cells[0]["source"])).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            raise ParameterError(
                f"{notebook}: line {node.lineno} of the parameters cell is not an assignment"
            )
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        if not isinstance(target, ast.Name) or node.value is None:
            raise ParameterError(
                f"{notebook}: line {node.lineno} of the parameters cell gives no name a value"
            )
        found[target.id] = ast.literal_eval(node.value)
    return found


@cache
def notebook_inputs(notebook: Path) -> tuple[str, ...]:
    """The parameters of a notebook that name stages which it reads, as it declares them: Stage(...,
    inputs=[...])."""
    calls = [node for node in ast.walk(ast.parse(code_cells(notebook))) if _is_stage_call(node)]
    if len(calls) != 1:
        raise ParameterError(f"{notebook}: {len(calls)} cells open a Stage; exactly one must")
    declared = [keyword.value for keyword in calls[0].keywords if keyword.arg == "inputs"]
    inputs = tuple(ast.literal_eval(declared[0])) if declared else ()
    for key in inputs:
        if not isinstance(notebook_parameters(notebook).get(key), str | dict):
            raise ParameterError(
                f"{notebook}: the input {key!r} is no parameter that names a stage or stages"
            )
    return inputs


def _is_stage_call(node: ast.AST) -> TypeGuard[ast.Call]:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Stage"
    )


def code_cells(notebook: Path) -> str:
    """The sources of a notebook's code cells, one after the other."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def injected_names(namespace: Mapping[str, Any]) -> list[str]:
    """Names that papermill assigned in the cell that it puts below the parameters cell, known to
    the notebook or not.

    namespace: the notebook's globals(), where IPython keeps the source of every cell as `In`.
    """
    cells = [source for source in namespace.get("In", []) if source.startswith("# Parameters\n")]
    if not cells:
        return []
    nodes = [node for node in ast.parse(cells[-1]).body if isinstance(node, ast.Assign)]
    names = [target.id for node in nodes for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("PAPERMILL_")]  # its --inject-paths


def check_parameters(where: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise ParameterError if a name is not a parameter or a value is not of its default's type.

    papermill only warns on an unknown name, and YAML reads 1e-5 as text: both would silently keep a
    default.
    """
    for key, value in given.items():
        if key not in defaults:
            near = difflib.get_close_matches(str(key), defaults, n=1)
            raise ParameterError(
                f"{where}: unknown parameter {key!r}"
                + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(defaults)}")
            )
        default = defaults[key]
        wanted = (int, float) if isinstance(default, float) else type(default)
        if isinstance(value, bool) != isinstance(default, bool) or not isinstance(value, wanted):
            hint = (
                "; write floats as 1.0e-5"
                if isinstance(default, float) and isinstance(value, str)
                else ""
            )
            raise ParameterError(
                f"{where}: {key} is {value!r}, a {type(value).__name__}; "
                f"expected a {type(default).__name__} like {default!r}{hint}"
            )
        if problem := _wrong_content(key, value, default):
            raise ParameterError(f"{where}: {key} is {value!r}; {problem}")


def _wrong_content(key: str, value: Any, default: Any) -> str:
    """What is wrong with a value of the right type, and what to write instead; "" if nothing is."""
    if key == "seed" and not 0 <= value < 2**32:
        return "a seed is a whole number from 0 to 4294967295"
    if isinstance(value, float) and not math.isfinite(value):
        return "write a finite number"
    if isinstance(value, list) and any(isinstance(item, list) for item in value):
        return "its items are lists themselves; write one flat list"
    if (
        isinstance(value, list)
        and default
        and all(isinstance(item, str) for item in default)
        and not all(isinstance(item, str) for item in value)
    ):
        return "its items are names; write each as a text, in quotes where YAML takes it for something else"
    if isinstance(value, dict) and not all(isinstance(name, str) for name in value):
        return "its keys are names; put those that YAML takes for numbers or yes and no in quotes"
    if isinstance(value, dict) and key.endswith("_columns"):
        names = [
            name
            for columns in value.values()
            for name in (columns if isinstance(columns, list) else [columns])
        ]
        if not all(isinstance(name, str) for name in names):
            return "its values are names of columns; write each as a text, or a list of such"
    return ""
