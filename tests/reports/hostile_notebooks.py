"""Notebooks and manifests that try to run, to call home, to hide or to flood."""

import base64
import io
import json
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, writes
from PIL import Image

# what a payload does when it runs; the browser test looks for both traces
RUN = "document.title='PWNED';document.body.appendChild(document.createElement('pwned'))"
REMOTE = "http://127.0.0.1:9"


def payloads(remote: str = REMOTE) -> list[str]:
    """HTML fragments that run or load something wherever they are trusted."""
    return [
        f"<script>{RUN}</script>",
        f"<script src='{remote}/script.js'></script>",
        f'<img src=x onerror="{RUN}">',
        f"<img src='{remote}/image.png'>",
        f"<img srcset='{remote}/set.png 1x'>",
        f'<a href="javascript:{RUN}">javascript link</a>',
        f"<a href='&#106;avascript:{RUN}'>encoded link</a>",
        f"<a href='data:text/html,<script>{RUN}</script>'>data link</a>",
        f'<svg onload="{RUN}"><image href="{remote}/svg.png"/></svg>',
        f'<svg><style><img src=x onerror="{RUN}"></style></svg>',
        f'<math><mtext><table><mglyph><style><img src=x onerror="{RUN}"></style></mglyph></table></math>',
        f"<p style='background:url({remote}/style.png)'>styled</p>",
        f"<style>@import '{remote}/style.css'; body {{ display: none }}</style>",
        f"<link rel=stylesheet href='{remote}/link.css'>",
        f"<iframe src='{remote}/frame.html'></iframe>",
        f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
        f"<meta http-equiv=refresh content='0;url={remote}/refresh'>",
        f"<form action='{remote}/form'><input autofocus onfocus=\"{RUN}\"><button>send</button></form>",
        f"<base href='{remote}/'>",
        f"<object data='{remote}/object'></object><embed src='{remote}/embed'>",
        f'<template><img src=x onerror="{RUN}"></template>',
        f'<details open ontoggle="{RUN}">toggle</details>',
        f"<video src='{remote}/video' autoplay></video><audio src='{remote}/audio'></audio>",
        f"<table background='{remote}/table.png'><td onmouseover=\"{RUN}\">cell</td></table>",
        f"<noscript><p title=\"</noscript><img src=x onerror='{RUN}'>\"></noscript>",
        f"<p title='</style><script>{RUN}</script><h2>'>mutated</p>",
        f'<input id=show-code onfocus="{RUN}" autofocus>',
        "<div id='top' class='sidebar' style='position:fixed;inset:0'>overlay</div>",
    ]


def hostile_notebook(path: Path, remote: str = REMOTE) -> Path:
    """Write a notebook with every payload in markdown, in rich outputs and in plain ones."""
    everything = "\n\n".join(payloads(remote))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><script>{RUN}</script></svg>'
    outputs = [_display({"text/html": payload, "text/plain": "plain"}) for payload in payloads(remote)]
    outputs += [
        _display({"image/svg+xml": svg}),
        _display(
            {"application/javascript": f"{RUN}; fetch('{remote}/js')", "text/plain": "<Javascript object>"}
        ),
        _display({"text/latex": "$\\href{javascript:1}{x}$", "text/plain": "latex"}),
        _display({"text/markdown": f"![]({remote}/markdown.png)"}),
        _display({"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "widget"}),
        _display({"image/png": f'x" onerror="{RUN}'}),
        new_output("stream", name="stdout", text=everything + "\u202egnirts\u202c \x1b[31mred\x1b[0m \ud800"),
        new_output("stream", name="stdout", text="\n" * 100_000),
        new_output("stream", name="stdout", text="x" * 1_000_000 + "\n\rdone"),
        new_output("stream", name="stderr", text=everything),
        new_output("error", ename="<b>Bad</b>", evalue="x", traceback=[everything]),
    ]
    code = new_code_cell(f"text = '''{everything}'''\n</style></pre>", outputs=outputs)
    parameters = new_code_cell("seed: int = 7  # <script>help</script>\nname = '<img src=x onerror=1>'")
    parameters.metadata.tags = ["parameters"]
    cells = [
        new_markdown_cell("# Résumé </title><script>document.title='PWNED'</script> report"),
        parameters,
        new_markdown_cell("## show-code\n\n" + everything + "\n\n" + "\n" * 100_000 + "legible \u202eend"),
        new_markdown_cell(f"## Links\n\n![remote]({remote}/md.png) [js](javascript:{RUN})"),
        *[new_markdown_cell(payload) for payload in payloads(remote)],
        code,
    ]
    return write_notebook(path, cells)


def hostile_manifest(stage_dir: Path, remote: str = REMOTE) -> None:
    """Write a manifest in which every text is a payload."""
    text = f"</title></style><script>{RUN}</script><img src='{remote}/manifest.png' onerror=\"{RUN}\">\u202e"
    manifest = {
        "stage": text,
        "run": text,
        "notebook": text,
        "parameters": {text: text, "list": [text]},
        "inputs": {text: {"stage": text, "path": text, "id": text}},
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
    # ascii JSON, because a lone surrogate has no UTF-8
    path.write_text(json.dumps(json.loads(writes(notebook))), encoding="utf-8")
    return path


def png(width: int = 640, height: int = 480) -> str:
    """A base64 png with a gradient, as matplotlib would leave one."""
    target = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(target, format="PNG")
    return base64.b64encode(target.getvalue()).decode()


def _display(data: dict) -> dict:
    return new_output("display_data", data=data)
