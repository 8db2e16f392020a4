"""What a run consists of: params files, the notebooks' parameters, stages and their order, and code hashes."""

from __future__ import annotations

import ast
import base64
import difflib
import hashlib
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEMO = "reports/demo/"
"""A parameter whose default starts with this is an input: the folder of another stage. So is one whose name ends in
_stage (its default "" does without) or in _stages (a dict of name -> stage)."""


MAX_NAME = 200
"""Characters of a run's or a stage's name: file systems allow 255, and files are named after stages with an ending."""


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
        return (f"{shlex.quote(sys.executable)} -m papermill {self.notebook} {executed} -b {encoded} "
                f"-k python3 --no-progress-bar --autosave-cell-every 0")


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
        return {own: len(self.stages) - 1 - len(below) - waiting[own] for own, below in self._needs().items()}

    def _needs(self) -> dict[str, set[str]]:
        needs: dict[str, set[str]] = {}
        for stage in self.stages:
            needs[stage.folder] = set(stage.inputs).union(*(needs[below] for below in stage.inputs))
        return needs


def rule_names(plan: RunPlan) -> list[str]:
    """A name for every stage's Snakemake rule: its own with _ for - and ., numbered where two would be alike."""
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
    raise ParameterError(f"{Path.cwd()} is not inside the repository (no Snakefile above it); change into it first")


class _Loader(yaml.SafeLoader):
    """Plain YAML, in which a key that stands twice is an error: by default the last one silently wins."""

    def construct_mapping(self, node, deep=False):
        lines: dict[tuple[str, str], int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if (key.tag, key.value) in lines:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} stands in line {lines[key.tag, key.value]} and again in line {line}; "
                                f"keep one of the two")
            lines[key.tag, key.value] = line
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, where: str) -> Any:
    """What a YAML text holds. Raises ParameterError on broken YAML, a repeated key, or a value that holds itself."""
    try:
        value = yaml.load(text, _Loader)  # a SafeLoader
        json.dumps(value, default=str)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as problem:
        raise ParameterError(f"{where}: not valid YAML: {' '.join(str(problem).split())}") from None
    return value


def read_params(path: Path, *, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a params file.

    `base: other.yaml` fills in what the file leaves out, section by section: all sections of the base, or `only` some.
    above: the files that lead here by their `base`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ParameterError(f"{path} does not exist; the params files are {_list_params(path.parent)}") from None
    except UnicodeDecodeError as problem:
        raise ParameterError(f"{path}: not UTF-8 ({problem}); save it as UTF-8") from None
    except OSError as problem:
        raise ParameterError(f"{path} cannot be read: {problem.strerror}; name a params file, such as one of "
                             f"{_list_params(path)}") from None
    raw = parse_yaml(text, str(path))
    if not isinstance(raw, dict):
        raise ParameterError(f"{path}: expected sections such as 01_data_rules:, found {type(raw).__name__}")
    _check_form(raw, path)
    raw.setdefault("run", path.stem)
    if base := raw.pop("base", None):
        if (path.parent / base).resolve() in {file.resolve() for file in (path, *above)}:
            raise ParameterError(f"{path}: base {base!r} leads back to a file that is based on it; name another")
        below = read_params(path.parent / base, above=(path, *above))
        only = raw.pop("only", list(below))
        if unknown := [name for name in only if name not in below]:
            raise ParameterError(f"{path}: only names {unknown[0]!r}, which is no section of {base}")
        for key, value in below.items():
            if value is not None and not isinstance(value, dict):
                raw.setdefault(key, value)
            elif key in only or key in raw:
                raw[key] = {**(value or {}), **(raw.get(key) or {})}
    return raw


def _check_form(raw: Mapping[Any, Any], path: Path) -> None:
    """Raise ParameterError unless every section is a mapping and the other entries have their form."""
    forms = {"run": (str, int, float), "base": str, "only": list, "sweep": list}
    for key, value in raw.items():
        if not isinstance(key, str):
            raise ParameterError(f"{path}: the key {key!r} is a {type(key).__name__}; sections have names such as "
                                 f"01_data_rules")
        if not isinstance(value, forms.get(key, dict | None)) or isinstance(value, bool):
            wanted = {"run": "a name", "base": "the path of a params file", "only": "a list of sections",
                      "sweep": "a list of entries"}.get(key, "a mapping of parameters to values")
            raise ParameterError(f"{path}: {key} is {value!r}, a {type(value).__name__}; expected {wanted}")


def _list_params(folder: Path) -> str:
    return ", ".join(sorted(str(p) for p in folder.glob("*.yaml"))) or f"not in {folder}"


def plan_run(raw: Mapping[str, Any], *, source: str = "params") -> RunPlan:
    """Check a params dict against the notebooks and put its stages in order.

    Sections are named NN_notebook or, for a further arm that changes a few parameters, NN_notebook-arm.
    Raises ParameterError on an unknown section, an unknown parameter, a wrong type or a missing input.
    """
    run = str(raw.get("run", ""))
    for what, name in [("run", run), *(("section", str(key)) for key in raw if key != "run")]:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) or len(name) > MAX_NAME:
            shown = name if len(name) <= MAX_NAME else f"{name[:40]}... ({len(name)} characters)"
            remedy = "rename it" if what == "section" else "rename the file, or give the run another with --run"
            raise ParameterError(f"{source}: {what} {shown!r} must be a name of letters, digits, '_', '-' and '.', not "
                                 f"beginning with '-' or '.', of at most {MAX_NAME} characters, since it names a "
                                 f"folder; {remedy}")
    names = sorted(key for key in raw if key != "run")
    stages = [_plan_stage(name, raw, names, run, source) for name in names]
    ordered: list[StagePlan] = []
    while len(ordered) < len(stages):
        done = {stage.folder for stage in ordered}
        ready = [stage for stage in stages if stage not in ordered and set(stage.inputs) <= done]
        if not ready:
            raise ParameterError(f"{source}: the stages wait for each other; check which inputs they name")
        ordered += ready
    return RunPlan(run, ordered)


def _plan_stage(name: str, raw: Mapping[str, Any], names: list[str], run: str, source: str) -> StagePlan:
    base = name.split("-")[0]
    notebook = Path("notebooks") / f"{base}.ipynb"
    if not (find_root() / notebook).exists():
        known = sorted(p.stem for p in (find_root() / "notebooks").glob("*.ipynb"))
        raise ParameterError(f"{source}: section {name!r} is no notebook; the notebooks are {', '.join(known)}")
    defaults = notebook_parameters(find_root() / notebook)
    given = {**(raw.get(base) or {}), **(raw[name] or {})}
    check_parameters(f"{source}: {name}", given, defaults)
    parameters = {**given, "out_dir": f"reports/{run}/{name}"}

    def folder(key: str, stage: str) -> str:
        if stage and stage not in names:
            raise ParameterError(f"{source}: {name} needs the stage {stage!r} as {key}, but the file has no such "
                                 f"section; add it, or set {key}: '' if the notebook can do without")
        return f"reports/{run}/{stage}" if stage else ""
    for key, stage in input_stages(given, defaults).items():
        parameters[key] = ({arm: folder(key, str(below)) for arm, below in stage.items()} if isinstance(stage, dict)
                           else folder(key, stage))
    return StagePlan(name, notebook, parameters, list(stage_inputs(parameters, defaults).values()))


def _is_input(key: str, default: Any) -> bool:
    return key != "out_dir" and (key.endswith(("_stage", "_stages"))
                                 or (isinstance(default, str) and default.startswith(DEMO)))


def named_files(key: str, value: Any) -> list[str]:
    """The files behind a parameter: those it names or, if it names data or a model, those of the folder it names."""
    if isinstance(value, list | dict):
        return [file for item in (value.values() if isinstance(value, dict) else value)
                for file in named_files(key, item)]
    if not isinstance(value, str) or not value:
        return []
    names_folder = key in ("path", "adapter", "reader", "judge", "model_name_or_path") or key.endswith("_model")
    try:
        if names_folder and Path(value).is_dir():
            return sorted(str(file) for file in Path(value).rglob("*") if file.is_file())
        return [value] if Path(value).is_file() else []
    except (OSError, ValueError):  # a text that is no path: too long, or with a null byte
        return []


def input_stages(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that name stages, as a params file does: by the name of their section, or a dict of such."""
    return {key: given.get(key, default.removeprefix(DEMO) if isinstance(default, str) else default)
            for key, default in defaults.items() if _is_input(key, default)}


def stage_inputs(parameters: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, str]:
    """The folders of other stages by parameter, leaving out empty ones; those of a dict by its keys."""
    found = {}
    for key in (key for key, default in defaults.items() if _is_input(key, default)):
        named = parameters[key] if isinstance(parameters[key], dict) else {key: parameters[key]}
        if twice := set(found) & set(named):
            raise ParameterError(f"{key}: the name {sorted(twice)[0]!r} is taken by another input; choose another name")
        found |= named
    return {key: folder for key, folder in found.items() if folder}


@cache
def notebook_parameters(notebook: Path) -> dict[str, Any]:
    """Names and default values of a notebook's parameters cell, which may hold literals only."""
    cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
             if "parameters" in cell["metadata"].get("tags", [])]
    if len(cells) != 1:
        raise ParameterError(f"{notebook}: {len(cells)} cells are tagged parameters; exactly one must be")
    found = {}
    for node in ast.parse("".join(cells[0]["source"])).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            raise ParameterError(f"{notebook}: line {node.lineno} of the parameters cell is not an assignment")
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        found[target.id] = ast.literal_eval(node.value)
    return found


def injected_names(namespace: Mapping[str, Any]) -> list[str]:
    """Names that papermill assigned in the cell that it puts below the parameters cell, known to the notebook or not.

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

    papermill only warns on an unknown name, and YAML reads 1e-5 as text: both would silently keep a default.
    """
    for key, value in given.items():
        if key not in defaults:
            near = difflib.get_close_matches(str(key), defaults, n=1)
            raise ParameterError(f"{where}: unknown parameter {key!r}"
                                 + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(defaults)}"))
        default = defaults[key]
        wanted = (int, float) if isinstance(default, float) else type(default)
        if isinstance(value, bool) != isinstance(default, bool) or not isinstance(value, wanted):
            hint = "; write floats as 1.0e-5" if isinstance(default, float) and isinstance(value, str) else ""
            raise ParameterError(f"{where}: {key} is {value!r}, a {type(value).__name__}; "
                                 f"expected a {type(default).__name__} like {default!r}{hint}")
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
    if isinstance(value, list) and default and all(isinstance(item, str) for item in default) and not all(
            isinstance(item, str) for item in value):
        return "its items are names; write each as a text, in quotes where YAML takes it for something else"
    if isinstance(value, dict) and not all(isinstance(name, str) for name in value):
        return "its keys are names; put those that YAML takes for numbers or yes and no in quotes"
    if isinstance(value, dict) and key.endswith("_columns"):
        names = [name for columns in value.values() for name in (columns if isinstance(columns, list) else [columns])]
        if not all(isinstance(name, str) for name in names):
            return "its values are names of columns; write each as a text, or a list of such"
    return ""


@cache
def code_hash(notebook: Path) -> str:
    """Hash of a notebook's code cells and of every matchlib module they import, directly or not.

    Outputs, execution counts and text cells do not count, so saving in JupyterLab reruns nothing.
    """
    root = find_root()
    cells = json.loads((root / notebook).read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    digest = hashlib.sha256(source.encode())
    for module in sorted(_imported(source, root, set())):
        digest.update(module.read_bytes())
        for data in sorted([*module.parent.glob("*.json"), *module.parent.glob("*.toml"),
                            *module.parent.glob("*.csv")]):
            digest.update(data.read_bytes())
    return digest.hexdigest()


def _imported(source: str, root: Path, seen: set[Path]) -> set[Path]:
    """Files of the matchlib modules that a source imports, followed through; not reports: looks rerun no science."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            path = root / (name.replace(".", "/") + ".py")
            ours = name.startswith("matchlib.") and not name.startswith("matchlib.reports")
            if ours and path.exists() and path not in seen:
                seen.add(path)
                _imported(path.read_text(encoding="utf-8"), root, seen)
    return seen


KILLED = ("DeadKernelError", "Kernel died")
"""What nbclient says when a kernel ends by itself or is killed, which leaves no error in the notebook."""
FULL_DISK = 1_000_000
"""Bytes: a disk with less room is full."""
LOG_TAIL = 20_000
"""Bytes of a log's end that are looked at."""


def why_failed(plan: RunPlan, *, since: float) -> list[str]:
    """One sentence on every stage that ran and did not finish: the notebook's own error, else what its log ends with.

    since: time at which the run began, in seconds since 1970; older logs are of earlier runs.
    """
    found = []
    for stage in plan.stages:
        log = plan.folder / "logs" / f"{stage.name}.txt"
        is_of_this_run = log.is_file() and log.stat().st_mtime >= since - 2  # file systems round times
        if (Path(stage.folder) / "manifest.json").exists() or not is_of_this_run:
            continue
        errors = _notebook_errors(Path(stage.folder) / f"{stage.name}.ipynb")
        found += [f"{stage.name}: {error}" for error in errors or [_how_the_log_ends(log)]]
    return found


def _notebook_errors(executed: Path) -> list[str]:
    """The errors in a notebook's outputs; none where it is missing or torn."""
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        return [f"{output['ename']}: {output['evalue']}" for output in outputs if output["output_type"] == "error"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _how_the_log_ends(log: Path) -> str:
    """What became of a stage whose notebook holds no error: a killed kernel, a killed papermill, or its last words."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL))
        text = file.read().decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if shutil.disk_usage(log.parent).free < FULL_DISK:
        # the log, on the same disk, does not get to the end of what went wrong
        return f"its disk is full; free some space, and run it again (see {log})"
    if any(sign in line for line in lines for sign in KILLED):
        return (f"its kernel was killed, most often because memory ran out; see {log}, and give the stage more memory: "
                f"fewer stages at a time (--cores 1), a smaller batch, or less data")
    if "Traceback (most recent call last):" in text:
        return f"{lines[-1][:300]} (see {log})"
    return (f"it ended without an error, so it was killed, perhaps because memory ran out or the machine went down; "
            f"see {log}, and run it again")


def git_state() -> tuple[str | None, bool | None]:
    """(commit, whether tracked files have uncommitted changes) of the repository; (None, None) outside git.

    Untracked files do not count: logs, downloads and tables of one's own change no code, and `code_hash` sees every
    module that a notebook imports, tracked or not.
    """
    def git(*args: str) -> str:
        return subprocess.run(["git", *args], capture_output=True, text=True, check=True, cwd=find_root(),
                              env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"}).stdout.strip()
    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None, None
