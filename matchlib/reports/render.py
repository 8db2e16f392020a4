"""Executed notebook -> one HTML file that can be mailed: no script, no request, nothing beside it."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bs4 import BeautifulSoup
from bs4.element import Tag
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html

from matchlib.manifest import MANIFEST, read_manifest
from matchlib.reports.answer import find_key_figure, find_limits
from matchlib.reports.cells import has_tag, parameter_rows, shown_outputs
from matchlib.reports.clean import clean_html
from matchlib.reports.overview import (
    compare_runs,
    find_damage,
    mark_rendered,
    read_notebook,
    render_index,
    zip_pages,
)
from matchlib.reports.page import environment, write_page
from matchlib.reports.text import cut_line, cut_text

__all__ = [
    "compare_runs",
    "mark_rendered",
    "render_index",
    "render_notebook",
    "render_run",
    "zip_pages",
]

MAX_CODE_CHARACTERS = 30_000
MAX_PROSE_CHARACTERS = 20_000
# ids the page itself uses; a heading must not take them
_PAGE_IDS = frozenset({"top", "show-code", "papermill-error-cell"})


@dataclass(frozen=True)
class Heading:
    """One line of the table of contents; level 2 is a section, 3 its part."""

    level: int
    address: str
    text: str


class ReportExporter(HTMLExporter):
    """nbconvert with our cells template, our cleaner for every piece of HTML, and autoescape for
    the rest."""

    def __init__(self, **options):
        super().__init__(sanitize_html=True, exclude_anchor_links=True, **options)
        self.template_paths = []
        self.template_file = "cells.html.j2"

    def _create_environment(self):
        templates = environment().overlay()
        # overlay() shares these two with the pages' environment, which must not get nbconvert's
        # filters
        templates.filters = dict(templates.filters)
        templates.globals = dict(templates.globals)
        for name, function in self.default_filters():
            self._register_filter(templates, name, function)
        templates.filters["clean_html"] = clean_html
        templates.filters["shown_outputs"] = shown_outputs
        templates.filters["cut_code"] = _cut_code
        templates.globals["max_prose"] = MAX_PROSE_CHARACTERS
        templates.tests["tagged"] = has_tag
        return templates


def render_run(run_dir: Path) -> tuple[list[Path], list[str]]:
    """Render all executed notebooks of a run that are whole, and its index.

    Returns the pages, the index first, and a sentence on everything that has no page or is damaged.
    """
    run_dir = Path(run_dir)
    pages, notes = [], find_damage(run_dir)
    for manifest in sorted(run_dir.glob("*/manifest.json")):
        notebook = manifest.parent / f"{manifest.parent.name}.ipynb"
        if not notebook.exists():
            notes.append(
                f"{notebook.parent.name}: no executed {notebook.name}, so the index shows its figures without "
                f"a page"
            )
            continue
        try:
            pages.append(render_notebook(notebook, notebook.with_suffix(".html")))
        except ValueError as problem:
            notebook.with_suffix(".html").unlink(
                missing_ok=True
            )  # the page of what was there before
            if not any(note.startswith(f"{notebook.stem}: ") for note in notes):
                notes.append(
                    f"{notebook.stem}: {cut_line(str(problem))}, so the stage has no page; run it again"
                )
    index = render_index(run_dir)
    mark_rendered(run_dir)
    return [index, *pages], notes


def render_notebook(notebook: Path, html: Path) -> Path:
    """Render an executed notebook, with the manifest beside it where there is one, to one HTML
    file.

    Raises ValueError if the notebook or the manifest is damaged.
    """
    notebook = Path(notebook)
    content = read_notebook(notebook)
    if content is None:
        raise FileNotFoundError(f"there is no notebook {notebook}; run the stage first")
    rows = parameter_rows(content.cells)
    has_manifest = (notebook.parent / MANIFEST).is_file()
    body, _ = ReportExporter().from_notebook_node(content, resources={"parameter_rows": rows})
    title, headings, body = _outline(body)
    return write_page(
        html,
        "report.html.j2",
        title=title or notebook.stem,
        headings=headings,
        body=body,
        key_figure=find_key_figure(content.cells),
        limits=_inline_html(find_limits(content.cells)),
        manifest=read_manifest(notebook.parent) if has_manifest else None,
    )


def _inline_html(markdown: str) -> Markup:
    """One paragraph of Markdown as HTML, cleaned."""
    return clean_html(markdown2html(markdown[:MAX_PROSE_CHARACTERS])) if markdown else Markup("")


def _cut_code(source: str) -> str:
    return cut_text(source, max_characters=MAX_CODE_CHARACTERS, max_lines=1_000)


def _outline(body: str) -> tuple[str | None, list[Heading], Markup]:
    """Take the title out of the body, give headings their ids and tables their scrolling box."""
    soup = BeautifulSoup(body, features="html.parser")
    found = soup.select(".prose h1, .prose h2, .prose h3")
    title = found.pop(0) if found else None
    taken = Counter(_PAGE_IDS)
    headings = [_address(heading, taken) for heading in found if heading.get_text(strip=True)]
    for table in soup.select(".prose table"):
        table.wrap(soup.new_tag("div", attrs={"class": "scroll"}))
    if title:
        title.extract()
    # the soup was cleaned piece by piece on its way in, and is written out escaped
    return cut_line(title.get_text(" ")) if title else None, headings, Markup(str(soup))


def _address(heading: Tag, taken: Counter[str]) -> Heading:
    """Give a heading the id JupyterLab would, so that links inside the notebook still lead
    somewhere."""
    name = base = re.sub(r"\s", "-", heading.get_text().strip())[:100]
    while name in taken:
        taken[base] += 1
        name = f"{base}-{taken[base]}"
    taken[name] += 1
    heading["id"] = name
    return Heading(max(2, int(heading.name[1])), f"#{quote(name)}", cut_line(heading.get_text(" ")))
