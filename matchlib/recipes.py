"""Which command makes a stage: what an error says about an input that is not there."""

from __future__ import annotations

import difflib
import shlex
from dataclasses import dataclass
from pathlib import Path

from matchlib.pipeline import ParameterError, find_root, read_params
from matchlib.sweep import unfold


@dataclass(frozen=True)
class Recipe:
    """A params file: path from the root, the run that it makes unless told otherwise, its sections
    once unfolded."""

    path: Path
    run: str
    sections: frozenset[str]
    is_sweep: bool

    def command(self, run: str) -> str:
        """The command that makes the run of that name."""
        verb = "sweep" if self.is_sweep else "run"
        return f"matchlib {verb} {self.path}" + (f" --run {run}" if run != self.run else "")


def read_recipes(root: Path) -> list[Recipe]:
    """Every params file that can be read: the demo first, then the others, then the sweeps."""
    found = []
    for path in sorted((root / "params").rglob("*.yaml")):
        try:
            raw = read_params(path)
            sections = unfold(raw, source=str(path)).keys() - {"run"}
        except (ParameterError, AttributeError, KeyError, TypeError, ValueError):
            continue  # a broken params file is an error of its own, told by the command that runs it
        found.append(
            Recipe(
                path.relative_to(root), str(raw["run"]), frozenset(sections), bool(raw.get("sweep"))
            )
        )
    return sorted(found, key=lambda recipe: (recipe.is_sweep, recipe.run != "demo"))


def how_to_make(folder: Path) -> str:
    """What to do where the stage in a folder is missing, in a clause such as "make it with:
    matchlib run ...".

    The command is of the params file that has a section for the stage: the file of the folder's
    run; else the one that an earlier `matchlib run` left in reports/<run>; else, for a run that is
    no file's, any with --run. Another file is never run into a run that has its own, whose stages
    it would make anew with other parameters. Where no file has the section, the clause says how to
    add it, and which stages of the notebook there are.
    """
    try:
        root = find_root()
    except ParameterError:
        return "change into the repository and make it with: matchlib run params/<file>.yaml"
    stage, run = folder.name, folder.parent.name
    notebooks = {path.stem for path in (root / "notebooks").glob("*.ipynb")}
    notebook = stage.split("-")[0]
    if notebook not in notebooks:
        return f"{notebook} is no notebook, so nothing makes it; check the path{_near(notebook, notebooks)}"
    if folder.resolve().parent.parent != (root / "reports").resolve():
        at = shlex.quote(str(folder))
        return (
            f"matchlib run writes to reports/<run>/<stage> only, so make this one with: mkdir -p {at} && papermill "
            f"notebooks/{notebook}.ipynb {at}/{stage}.ipynb -p out_dir {at}"
        )
    recipes = read_recipes(root)
    homes = [recipe for recipe in recipes if recipe.run == run] + _left_by_the_run(root, run)
    for home in homes:
        if stage in home.sections:
            return f"make it with: {home.command(run)}"
    fitting = [recipe for recipe in recipes if stage in recipe.sections]
    if fitting and not homes:
        first, *others = fitting
        beside = f" (or by {', '.join(str(other.path) for other in others[:3])})" if others else ""
        return f"make it with: {first.command(run)}{beside}"
    if not homes + recipes:
        return (
            f"there is no params file that can be read; write params/{run}.yaml with a section {stage}: and run: "
            f"matchlib run params/{run}.yaml"
        )
    home = (homes + recipes)[0]
    add = f"add a section {stage}: with its parameters to {home.path} and run: {home.command(run)}"
    if fitting:
        other = fitting[0]
        return (
            f"{home.path} has no section {stage}, but {other.path} has: make it with: {other.command(other.run)} "
            f"and name reports/{other.run}/{stage}; or {add}"
        )
    finished = sorted(
        str(path.parent.relative_to(root))
        for path in (root / "reports").glob(f"*/{notebook}*/manifest.json")
    )
    instead = f"; or name a finished stage: {', '.join(finished[:5])}" if finished else ""
    return f"no params file has a section {stage}{_near(stage, home.sections)}: {add}{instead}"


def _left_by_the_run(root: Path, run: str) -> list[Recipe]:
    """The params file that `matchlib run` left in the run's folder, which holds what was set beside
    its file, too."""
    path = root / "reports" / run / "params.yaml"
    try:
        return [Recipe(path.relative_to(root), run, frozenset(read_params(path)), is_sweep=False)]
    except ParameterError:
        return []


def _near(name: str, known: set[str] | frozenset[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
