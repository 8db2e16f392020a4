"""A run as an index page, and several runs side by side."""

import base64
import hashlib
import io
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode
from PIL import Image

from matchlib.manifest import read_manifest
from matchlib.reports.answer import find_key_figure, find_question
from matchlib.reports.page import show_value, write_page
from matchlib.reports.text import cut_line

THUMBNAIL_PIXELS = (480, 360)
SUMMARY_PIXELS = (1_600, 1_200)
MAX_IMAGE_PIXELS = 50_000_000
KEY_METRICS = 6


@dataclass(frozen=True)
class StageEntry:
    """One finished stage of a run as the index shows it."""

    name: str
    title: str
    link: str
    manifest: dict
    thumbnail: str | None
    question: str = ""
    differences: str = ""
    """What tells an arm from its notebook's own stage, "" for that stage itself."""

    @property
    def label(self) -> str:
        """The notebook's title, and for an arm what differs."""
        return f"{self.title} ({self.differences})" if self.differences else self.title

    @property
    def metrics(self) -> list[tuple[str, object]]:
        return list(self.manifest["metrics"].items())

    @property
    def key_metrics(self) -> list[tuple[str, object]]:
        return self.metrics[:KEY_METRICS]

    @property
    def more_metrics(self) -> list[tuple[str, object]]:
        return self.metrics[KEY_METRICS:]


@dataclass(frozen=True)
class Comparison:
    """One parameter or metric of one stage; values holds one entry a run, None where the run lacks
    it."""

    stage: str
    name: str
    values: list[object]
    is_shared: bool

    def change(self, position: int) -> float | None:
        """How far a number lies from the first run's."""
        first, value = self.values[0], self.values[position]
        if position == 0 or not (_is_number(first) and _is_number(value)):
            return None
        return value - first


def find_damage(run_dir: Path) -> list[str]:
    """One sentence on every file of a run that is not whole: manifests, executed notebooks, and
    what stages wrote."""
    damage = []
    for folder in _stage_folders(Path(run_dir)):
        try:
            manifest = read_manifest(folder)
        except (OSError, ValueError):
            size = (folder / "manifest.json").stat().st_size
            damage.append(
                f"{folder.name}: manifest.json ({size:,} bytes) is damaged, so the stage is left out; run "
                f"it again"
            )
            continue
        damage += [
            f"{folder.name}: {sentence}; run it again"
            for sentence in _damaged_files(folder, manifest)
        ]
        try:
            read_notebook(folder / f"{folder.name}.ipynb")
        except ValueError as problem:
            damage.append(f"{folder.name}: {problem}, so the stage has no page; run it again")
    return damage


def _damaged_files(folder: Path, manifest: dict) -> list[str]:
    """What is wrong with the files that a stage's manifest lists, by size first, then by content."""
    found = []
    for name, facts in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != facts["bytes"]:
            found.append(
                f"{name} has {path.stat().st_size:,} bytes, but the stage wrote {facts['bytes']:,}"
            )
        elif _file_hash(path) != facts["sha256"]:
            found.append(f"{name} is not the file that the stage wrote")
    return found


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_notebook(notebook: Path) -> nbformat.NotebookNode | None:
    """An executed notebook, None where there is none. Raises ValueError with its name and size if
    it is not whole."""
    # a stage may have been run from JupyterLab: finished, but without an executed copy beside it
    if not notebook.is_file():
        return None
    try:
        content = nbformat.read(notebook, as_version=4)
        for cell in content.cells:  # a notebook of valid JSON may still lack what every cell has
            _ = cell.cell_type, cell.source
    except Exception:  # nbformat raises whatever its checks stumble on
        raise ValueError(
            f"{notebook.name} ({notebook.stat().st_size:,} bytes) is damaged or no notebook"
        ) from None
    return content


def render_index(run_dir: Path) -> Path:
    """Write <run_dir>/index.html: every finished stage in name order, with answer, figures and
    picture.

    What is damaged is left out and listed.
    """
    run_dir = Path(run_dir)
    manifests = _manifests(run_dir)
    stages = [_stage_entry(run_dir / name, manifests) for name in manifests]
    seconds = [stage.manifest["seconds"] for stage in stages]
    return write_page(
        run_dir / "index.html",
        "index.html.j2",
        title=_run_name(run_dir),
        stages=stages,
        summary=_summary(run_dir, stages),
        damage=find_damage(run_dir),
        seconds=sum(value for value in seconds if _is_number(value)),
    )


def mark_rendered(run_dir: Path) -> None:
    """Note in <run_dir>/.report what the pages were made of, see `is_rendered`."""
    beside = Path(run_dir) / ".report.part"
    beside.write_text(_hash_of_report(Path(run_dir)), encoding="utf-8")
    beside.replace(Path(run_dir) / ".report")


def is_rendered(run_dir: Path) -> bool:
    """Whether the run's index was made of the manifests, notebooks and templates that are there
    now, by content."""
    mark = Path(run_dir) / ".report"
    if not mark.is_file() or not (Path(run_dir) / "index.html").is_file():
        return False
    return mark.read_bytes() == _hash_of_report(Path(run_dir)).encode()


def _hash_of_report(run_dir: Path) -> str:
    """Hash of this package's files, and of the manifests and executed notebooks of a run."""
    package = Path(__file__).parent
    files = [
        path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    for manifest in run_dir.glob("*/manifest.json"):
        files += [manifest, manifest.with_name(f"{manifest.parent.name}.ipynb")]
    digest = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file()):
        place = path.relative_to(package if path.is_relative_to(package) else run_dir)
        digest.update(
            f"{place}\0".encode("utf-8", "surrogateescape")
            + hashlib.sha256(path.read_bytes()).digest()
        )
    return digest.hexdigest()


def compare_runs(run_dirs: list[Path], html: Path) -> Path:
    """Write one page with the parameters and metrics of several runs in columns, shared ones
    folded."""
    run_dirs = [Path(run_dir) for run_dir in run_dirs]
    if not run_dirs:
        raise ValueError("compare_runs() got no run folder; name at least one")
    runs = [_manifests(run_dir) for run_dir in run_dirs]
    for run_dir, manifests in zip(run_dirs, runs, strict=True):
        if not manifests:
            raise ValueError(
                f"{run_dir}: no finished stage in it that is whole; run the notebooks first"
            )
    return write_page(
        html,
        "compare.html.j2",
        title="Comparison of runs",
        names=_distinct_names(run_dirs),
        runs=runs,
        damage=[
            f"{name}, {sentence}"
            for name, run_dir in zip(_distinct_names(run_dirs), run_dirs, strict=True)
            for sentence in find_damage(run_dir)
        ],
        stages=sorted(set().union(*runs)),
        # a stage that one run has not finished says nothing about parameters, but lacks results
        parameters=_side_by_side(runs, "parameters", needs_all_runs=False),
        metrics=_side_by_side(runs, "metrics", needs_all_runs=True),
    )


def zip_pages(pages: list[Path], out: Path) -> Path:
    """Write pages into one zip file to mail, at their places below its folder, so that their links
    still lead there."""
    out = Path(out)
    part = out.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for page in pages:
            archive.write(page, Path(page).relative_to(out.parent))
    return part.rename(out)


def _stage_folders(run_dir: Path) -> list[Path]:
    return sorted(path.parent for path in run_dir.glob("*/manifest.json"))


def _manifests(run_dir: Path) -> dict[str, dict]:
    """Stage folder name -> manifest, of the finished stages only; `find_damage` tells those that
    are not whole."""
    found = {}
    for folder in _stage_folders(run_dir):
        try:
            manifest = read_manifest(folder)
        except (OSError, ValueError):
            continue
        found[folder.name] = manifest
    return found


@dataclass(frozen=True)
class Summary:
    """What an index opens with: the stage that answers the run's question, and its figure."""

    stage: StageEntry
    figure: str | None
    alt: str


ANSWERING = ("12_ledger", "11_leaderboard")
"""Notebooks whose stage answers the question of a run, the first that a run has; else its last."""


def _summary(run_dir: Path, stages: list[StageEntry]) -> Summary | None:
    if not stages:
        return None
    by_notebook = {stage.name.split("-")[0]: stage for stage in reversed(stages)}
    answering = [by_notebook[name] for name in ANSWERING if name in by_notebook]
    stage = answering[0] if answering else stages[-1]
    figure = find_key_figure(_notebook_cells(run_dir / stage.name / f"{stage.name}.ipynb"))
    if figure is None:
        return Summary(stage, None, "")
    picture = _thumbnail(figure.body.rpartition(",")[2], pixels=SUMMARY_PIXELS)
    return Summary(stage, picture, figure.alt)


def _stage_entry(folder: Path, manifests: dict[str, dict]) -> StageEntry:
    name = folder.name
    cells = _notebook_cells(folder / f"{name}.ipynb")
    return StageEntry(
        name=name,
        title=cut_line(_first_heading(cells) or name),
        # a folder's name need not be UTF-8
        link="{0}/{0}.html".format(quote(os.fsencode(name))) if cells else "",
        manifest=manifests[name],
        thumbnail=_first_thumbnail(cells),
        question=find_question(cells),
        differences=_differences(name, manifests),
    )


MAX_DIFFERENCES = 3


def _differences(name: str, manifests: dict[str, dict]) -> str:
    """How an arm's parameters differ from those of its notebook's own stage in the run, in words.

    The arm's name where the run has no such stage, or nothing differs.
    """
    notebook, _, arm = name.partition("-")
    if not arm or notebook not in manifests:
        return arm
    own = manifests[notebook]["parameters"]
    found = []
    for key, value in manifests[name]["parameters"].items():
        if own.get(key) != value:
            shown = Path(value).name if isinstance(value, str) else show_value(value)
            found.append(f"{key}: {shown or 'none'}")
    more = f" and {len(found) - MAX_DIFFERENCES} more" if len(found) > MAX_DIFFERENCES else ""
    return cut_line(", ".join(found[:MAX_DIFFERENCES]) + more) or arm


def _notebook_cells(notebook: Path) -> list[NotebookNode]:
    try:
        content = read_notebook(notebook)
    except ValueError:
        return []
    return content.cells if content else []


def _first_heading(cells: list[NotebookNode]) -> str | None:
    for cell in cells:
        found = cell.cell_type == "markdown" and re.search(
            r"^#{1,6}[ \t]+(.+)$", cell.source, re.MULTILINE
        )
        if found:
            return found[1].strip(" #")
    return None


def _first_thumbnail(cells: list[dict]) -> str | None:
    for cell in cells:
        for output in cell.get("outputs", []):
            content = output.get("data", {}).get("image/png")
            if content:
                return _thumbnail(content)
    return None


def _thumbnail(content: str, *, pixels: tuple[int, int] = THUMBNAIL_PIXELS) -> str | None:
    """A base64 png scaled down to a data: address; None where it is no picture or a huge one."""
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(content)), formats=["PNG"])
        if picture.width * picture.height > MAX_IMAGE_PIXELS:
            return None
        picture = picture.convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError, SyntaxError):
        return None  # an index must not fail for an ornament
    flat = Image.new("RGB", picture.size, "white")
    flat.paste(picture, mask=picture.getchannel("A"))
    flat.thumbnail(pixels)
    small = io.BytesIO()
    flat.quantize(64).save(small, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"


def _run_name(run_dir: Path) -> str:
    return run_dir.resolve().name


def _distinct_names(run_dirs: list[Path]) -> list[str]:
    """Folder names, with the parent's in front where two are alike."""
    names = [_run_name(run_dir) for run_dir in run_dirs]
    return [
        f"{run_dir.resolve().parent.name}/{name}" if names.count(name) > 1 else name
        for run_dir, name in zip(run_dirs, names, strict=True)
    ]


def _side_by_side(
    runs: list[dict[str, dict]], section: str, *, needs_all_runs: bool
) -> list[Comparison]:
    """Every entry of a manifest section over all runs, by stage, in the order the manifests list
    them."""
    rows = []
    for stage in sorted(set().union(*runs)):
        entries = [run[stage][section] if stage in run else None for run in runs]
        finished = [entry for entry in entries if entry is not None]
        for name in dict.fromkeys(name for entry in finished for name in entry):
            # repr, because 1 == True and nan != nan; a run without the name counts as different
            kinds = {repr(entry[name]) if name in entry else None for entry in finished}
            is_shared = len(kinds) == 1 and (len(finished) == len(runs) or not needs_all_runs)
            values = [(entry or {}).get(name) for entry in entries]
            rows.append(Comparison(stage, name, values, is_shared))
    return rows


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
