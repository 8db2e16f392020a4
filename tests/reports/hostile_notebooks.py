"""Runs in which a hostile text stands in every place that a report shows."""

import base64
import io
import json
from pathlib import Path

import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from matchlib.reports.tables import text_table
from matchlib.reports.text import show_invisible

# where a report shows a text: the first as what it means, the others letter for letter
MEANT = ("markdown", "heading", "list", "html", "svg", "png")
WRITTEN = (
    "plain", "markdown output", "latex", "javascript", "widget", "stdout", "stderr", "traceback", "error",
    "code", "parameter", "default", "help", "json", "cell", "index", "column", "caption", "table without html",
)  # fmt: skip
MANIFEST = (
    "run", "stage", "headline", "device", "finished_at", "seconds", "version", "commit",
    "input", "parameter name", "parameter", "metric name", "metric", "notebook heading", "folder",
)  # fmt: skip


def hostile_cells(text: str) -> list[dict]:
    """A text in prose, in code and in outputs of every kind."""
    html, plain = _table(text)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10">{text}</svg>'
    outputs = [
        _display({"text/html": text}),
        _display({"image/svg+xml": text if text.startswith("<svg xmlns") else svg}),
        _display({"image/png": text}),
        _display({"text/plain": text}),
        _display({"text/markdown": text}),
        _display({"text/latex": text}),
        _display({"application/javascript": text}),
        _display({"application/json": {text: [text]}}),
        _display(
            {"application/vnd.jupyter.widget-view+json": {"model_id": text}, "text/plain": text}
        ),
        new_output("stream", name="stdout", text=text),
        new_output("stream", name="stderr", text=text),
        new_output("error", ename=text, evalue=text, traceback=[]),
        new_output("error", ename="Bad", evalue="x", traceback=[text]),
        _display({"text/html": html, "text/plain": plain}),
        _display({"text/plain": plain}),
    ]
    prose = [new_markdown_cell(prefix + text) for prefix in ("", "## ", "- ")]
    return [*prose, new_code_cell(text, outputs=outputs)]


def hostile_parameters(texts: list[str]) -> list[dict]:
    """The parameters cell of a notebook and the injected one, with texts as values, defaults and help."""
    lines = [
        f"p{n} = {text!r}  # {' '.join(show_invisible(text).split())}"
        for n, text in enumerate(texts)
    ]
    defaults = new_code_cell("\n".join(lines))
    defaults.metadata.tags = ["parameters"]
    injected = new_code_cell("\n".join(f"p{n} = {text + '!'!r}" for n, text in enumerate(texts)))
    injected.metadata.tags = ["injected-parameters"]
    return [defaults, injected]


def hostile_notebook(path: Path, texts: list[str]) -> Path:
    """Write a notebook with every text in every place of one."""
    cells = [new_markdown_cell("# Résumé </title><script>document.title='PWNED'</script> report")]
    cells += hostile_parameters(texts)
    cells += [cell for text in texts for cell in hostile_cells(text)]
    return write_notebook(path, cells)


def hostile_run(run_dir: Path, texts: list[str]) -> Path:
    """Write a run with a stage a text: in the folder's name, in every entry of its manifest, in its heading."""
    for number, text in enumerate(texts):
        name = (
            text.replace("/", "")
            .replace("\0", "")
            .encode("utf-8", "ignore")[:120]
            .decode("utf-8", "ignore")
        )
        stage = run_dir / f"{number:02d}{name}"
        hostile_manifest(stage, text)
        figure = _display({"image/png": png(16, 12)})
        cells = [new_markdown_cell(f"# {text}"), new_code_cell("1", outputs=[figure])]
        write_notebook(stage / f"{stage.name}.ipynb", cells)
    return run_dir


def hostile_manifest(stage_dir: Path, text: str) -> None:
    """Write a manifest in which every text is this one."""
    manifest = {
        "stage": text,
        "run": text,
        "notebook": text,
        "parameters": {text: text, "list": [text]},
        "inputs": {text: {"stage": text, "path": text, "id": text}},
        "files": {},
        "metrics": {text: text, "score": 0.5},
        "code": {"version": text, "commit": text, "dirty": True},
        "device": text,
        "seconds": text,
        "finished_at": text,
        "headline": text,
    }
    stage_dir.mkdir(parents=True, exist_ok=True)
    (stage_dir / "manifest.json").write_text(json.dumps(manifest))


def write_notebook(path: Path, cells: list) -> Path:
    """Write cells as an executed notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})
    path.write_text(json.dumps(notebook))  # ascii, because a lone surrogate has no UTF-8
    return path


def png(width: int = 640, height: int = 480) -> str:
    """A base64 png with a gradient, as matplotlib would leave one."""
    target = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(target, format="PNG")
    return base64.b64encode(target.getvalue()).decode()


def _table(text: str) -> tuple[str, str]:
    """A table with a text in its cell, its index, its column's name and its caption."""
    names, columns = (pd.Index([text], name=name, dtype=object) for name in ("of", None))
    table = text_table(pd.DataFrame([[text]], names, columns, dtype=object), caption=text)
    return table.html, table.plain


def _display(data: dict) -> dict:
    return new_output("display_data", data=data)
