"""Rendered reports: what may not be in them, what must be, and how large they get. No kernel, no browser."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from hostile_notebooks import hostile_parameters, png, write_notebook
from hostile_texts import PILED, payloads
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from matchlib.reports.cells import parameter_rows, shown_outputs
from matchlib.reports.clean import clean_html
from matchlib.reports.render import render_notebook
from matchlib.reports.text import cut_text, show_invisible


@pytest.mark.parametrize("payload", payloads())
def test_cleaner_is_idempotent(payload):
    once = clean_html(payload)
    assert clean_html(once) == once


def test_cleaner_keeps_what_tables_and_markdown_need():
    html = (
        '<table class="dataframe"><thead><tr><th scope="col">a</th></tr></thead><tbody><tr>'
        '<td class="number" colspan="2">1</td></tr></tbody></table><p><em>x</em> <code>y</code>'
        '<sup>2</sup> <a href="https://example.org/a?b=1&amp;c=2" rel="noopener noreferrer">z</a></p>'
    )
    assert clean_html(html) == html


@pytest.mark.parametrize(
    "address",
    [
        "javascript:1",
        " javascript:1",
        "JaVaScRiPt:1",
        "data:text/html,x",
        "file:///etc/passwd",
        "//example.org",
        "/local",
        "vbscript:1",
        "blob:x",
    ],
)
def test_cleaner_drops_addresses_it_does_not_know(address):
    assert "href" not in clean_html(f'<a href="{address}">x</a>')
    assert "src" not in clean_html(f'<img src="{address}">')


def test_deep_nesting_does_not_break_rendering(tmp_path):
    output = new_output("display_data", data={"text/html": "<div>" * 5_000 + "deep"})
    notebook = write_notebook(tmp_path / "deep.ipynb", [new_code_cell("1", outputs=[output])])
    assert "deep" in render_notebook(notebook, tmp_path / "deep.html").read_text(encoding="utf-8")


@pytest.fixture
def report(tmp_path):
    """An ordinary stage: title, parameters, a picture, a stream, sections."""
    stage = tmp_path / "02_contrastive"
    parameters = new_code_cell(
        'epochs: int = 3  # passes over "all" pairs\nrate = 2.0e-5  # step size\nkeep = True'
    )
    parameters.metadata.tags = ["parameters"]
    injected = new_code_cell("# Parameters\nepochs = 5\nrate = 0.00002\n")
    injected.metadata.tags = ["injected-parameters"]
    figure = new_output(
        "display_data", data={"image/png": png(), "text/plain": 'Figure. loss <b>"against" step'}
    )
    log = new_output("stream", name="stderr", text="a notice")
    notebook = write_notebook(
        stage / "02_contrastive.ipynb",
        [
            new_markdown_cell(
                "# Does *training* help?\n\nSee [the answer](#The-answer), cost $50 to $60."
            ),
            parameters,
            injected,
            new_markdown_cell("## Data\n\n| a | b |\n|:--|--:|\n| x | 1 |\n\n### Data"),
            new_code_cell("plot()", outputs=[figure, log]),
            new_markdown_cell("## The answer\n\nYes & no."),
        ],
    )
    manifest = {
        "stage": "02_contrastive",
        "run": "demo",
        "parameters": {},
        "inputs": {},
        "files": {},
        "finished_at": "2026-11-21T09:00:00+00:00",
        "seconds": 200,
        "device": "cpu",
        "code": {"version": "0.1.0", "commit": "abc", "dirty": True},
        "headline": "It helps.",
    }
    (stage / "manifest.json").write_text(json.dumps(manifest))
    html = render_notebook(notebook, stage / "02_contrastive.html")
    return BeautifulSoup(html.read_text(encoding="utf-8"), "html.parser")


def test_title_and_facts_head_the_page(report):
    assert report.title.text == "Does training help?"
    assert [heading.text for heading in report.select("h1")] == ["Does training help?"]
    header = report.select_one("header").get_text(" ", strip=True)
    for fact in (
        "It helps.",
        "demo",
        "02_contrastive",
        "2026-11-21 09:00 UTC",
        "3 min 20 s",
        "cpu",
        "matchlib 0.1.0, commit abc",
        "uncommitted changes",
    ):
        assert fact in header, fact


def test_contents_lead_to_headings(report):
    links = report.select(".sidebar ol a")
    assert [link.text for link in links] == ["Data", "Data", "The answer"]
    assert [link["href"] for link in links] == ["#Data", "#Data-2", "#The-answer"]
    assert all(report.find(id=link["href"][1:]).name in {"h2", "h3"} for link in links)
    assert len(report.select("details.contents a")) == 3
    assert report.find("a", string="the answer")["href"] == "#The-answer"


def test_parameters_are_a_table_with_defaults_and_help(report):
    rows = report.select(".parameters tbody tr")
    assert [[cell.get_text(" ", strip=True) for cell in row.select("td")] for row in rows] == [
        ["epochs", "5 default 3", 'passes over "all" pairs'],
        ["rate", "0.00002", "step size"],
        ["keep", "True", ""],
    ]


def test_code_and_messages_are_folded(report):
    assert len(report.select("details.code")) == 3
    assert report.select_one("details.messages pre").text == "a notice"
    assert not report.select("details[open]")


def test_table_columns_keep_their_side(report):
    assert [cell.get("align") for cell in report.select(".prose td")] == ["left", "right"]
    assert report.select_one(".prose .scroll > table")


def test_ordinary_report_is_small(report):
    assert len(str(report)) < 60_000
    assert report.select_one("figure img")["src"].startswith("data:image/png;base64,")
    assert report.select_one("figure img")["alt"] == 'Figure. loss <b>"against" step'


def test_notebook_without_manifest_says_so(tmp_path):
    notebook = write_notebook(tmp_path / "draft.ipynb", [new_markdown_cell("no heading")])
    html = render_notebook(notebook, tmp_path / "out" / "draft.html").read_text(encoding="utf-8")
    assert "No manifest beside this notebook" in html and "<title>draft</title>" in html
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["draft.html"], (
        "nothing half-written is left"
    )


def test_broken_manifest_stops_with_its_name(tmp_path):
    notebook = write_notebook(tmp_path / "s.ipynb", [])
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json: not readable as JSON"):
        render_notebook(notebook, tmp_path / "s.html")


def test_parameters_that_do_not_parse_are_left_to_the_code():
    cell = new_code_cell("%magic\nseed = ")
    cell.metadata.tags = ["parameters"]
    assert parameter_rows([cell]) == []


@pytest.mark.parametrize(
    "text", ["null \0", "lone \ud800", "(" * 300, "-" * 90_000 + "1", "{[]: 1}", "x" * 5_000_000]
)
def test_no_text_stops_the_parameters(text):
    for source in (f"a = {text}", f"a = 1  # {text}", f"a = '{text}'"):
        defaults, injected = hostile_parameters(["x"])
        defaults.source += f"\n{source}"
        injected.source += f"\n{source} "
        assert sum(len(str(row)) for row in parameter_rows([defaults, injected])) < 5_000


def test_progress_bar_leaves_its_last_state():
    streams = [
        new_output("stream", name="stdout", text=text) for text in ("10%\r50%", "\r100%\ndone\n")
    ]
    assert [output.body for output in shown_outputs(streams)] == ["100%\ndone"]


def test_a_page_names_no_place_of_the_machine_that_made_it():
    lines = [
        f"{sys.prefix}/lib/a.py",
        f"File {Path.cwd()}/reports/x.csv:1",
        f"{Path.home()}/data/b.csv",
        f"/elsewhere{Path.home()}/c and {Path.home()}body/d",
    ]
    stderr = {"output_type": "stream", "name": "stderr", "text": "\n".join(lines)}
    (shown,) = shown_outputs([stderr])
    assert shown.body.split("\n") == [
        "<environment>/lib/a.py",
        "File ./reports/x.csv:1",
        "~/data/b.csv",
        lines[3],
    ]


def test_empty_html_falls_back_to_plain_text():
    output = new_output(
        "display_data", data={"text/html": "<script>1</script>", "text/plain": "a frame"}
    )
    assert [(shown.kind, shown.body) for shown in shown_outputs([output])] == [("text", "a frame")]


@pytest.mark.parametrize("kind", ["text/latex", "application/javascript", "text/markdown"])
def test_outputs_without_plain_text_are_shown_as_written(kind):
    output = new_output("display_data", data={kind: "<b>x</b>"})
    assert [(shown.kind, shown.body) for shown in shown_outputs([output])] == [("text", "<b>x</b>")]


def test_json_is_shown_as_json():
    output = new_output("display_data", data={"application/json": {"a": ["é"]}})
    assert [shown.body for shown in shown_outputs([output])] == ['{"a": ["é"]}']


@pytest.mark.parametrize(
    ("kind", "size"),
    [("text/html", 400_001), ("image/png", 4_000_004), ("image/svg+xml", 5_000_000)],
)
def test_too_large_outputs_fall_back_and_say_so(kind, size):
    output = new_output("display_data", data={kind: "x" * size, "text/plain": "<object>"})
    expected = f"<object>\n… ({size:,} characters of {kind} left out)"
    assert [(shown.kind, shown.body) for shown in shown_outputs([output])] == [("text", expected)]


def test_long_prose_is_cut_with_a_note_even_inside_a_comment(tmp_path):
    notebook = write_notebook(
        tmp_path / "n.ipynb", [new_markdown_cell("begin <!--" + "x" * 5_000_000)]
    )
    html = render_notebook(notebook, tmp_path / "n.html").read_text(encoding="utf-8")
    assert len(html) < 60_000 and "(4,980,010 more characters)" in html


def test_hundreds_of_equal_headings_have_ids_of_their_own(tmp_path):
    cells = [new_markdown_cell("# Title"), *[new_markdown_cell("## a\n" * 300) for _ in range(2)]]
    html = render_notebook(
        write_notebook(tmp_path / "n.ipynb", cells), tmp_path / "n.html"
    ).read_text()
    page = BeautifulSoup(html, "html.parser")
    names = [heading["id"] for heading in page.select("h2")]
    assert len(names) == len(set(names)) == 600 and names[:3] == ["a", "a-2", "a-3"]


def test_long_titles_are_cut_in_head_and_contents(tmp_path):
    cells = [new_markdown_cell("# " + "T" * 10_000), new_markdown_cell("## " + "h" * 10_000)]
    html = render_notebook(
        write_notebook(tmp_path / "n.ipynb", cells), tmp_path / "n.html"
    ).read_text()
    page = BeautifulSoup(html, "html.parser")
    for element in page.select("title, h1, .sidebar a"):
        assert len(element.text) < 300 and "more characters" in element.text, element.name


def test_papermill_error_cells_stand_out(tmp_path):
    cell = new_markdown_cell(
        '<span id="papermill-error-cell" style="color:red">An Exception was encountered</span>'
    )
    cell.metadata.tags = ["papermill-error-cell-tag"]
    html = render_notebook(write_notebook(tmp_path / "e.ipynb", [cell]), tmp_path / "e.html")
    page = BeautifulSoup(html.read_text(encoding="utf-8"), "html.parser")
    assert (
        page.select_one("section.failed#papermill-error-cell").text.strip()
        == "An Exception was encountered"
    )


def test_cut_text_counts_what_it_leaves_out():
    assert cut_text("abcdef", max_characters=4, max_lines=9) == "abcd… (2 more characters)"
    assert cut_text("a\nb\nc", max_characters=9, max_lines=2) == "a\nb… (2 more characters)"
    assert cut_text("a\nb\n", max_characters=9, max_lines=3) == "a\nb\n"


def test_marks_without_width_do_not_pile_up():
    assert show_invisible(PILED) == "zalgo\u0301\u0336\u0489\u20dd⟨8,997 more marks⟩"
    for honest in ("Việt Nam", "ᾧ", "שָּׁלוֹם", "الْعَرَبِيَّة", "น้ำ", "👩\u200d❤️\u200d👨", "葛\U000e0100"):
        assert show_invisible(honest) == honest


def test_tables_import_neither_nbconvert_nor_science():
    program = (
        "import sys, matchlib.reports.tables; "
        "print([name for name in ('nbconvert', 'torch', 'IPython', 'matchlib.data', 'matchlib.retrieval',"
        " 'matchlib.learning') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_a_page_opens_with_headline_figure_and_limits(tmp_path):
    figure = new_output("display_data", data={"image/png": png(20, 10)})
    other = new_output("display_data", data={"image/png": png(30, 10)})
    key = new_code_cell("plot()", outputs=[figure])
    key.metadata["tags"] = ["key-figure"]
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("first()", outputs=[other]),
        key,
        new_markdown_cell("**Limits.** One run <script>alert(1)</script> only.\n\nMore."),
    ]
    write_notebook(tmp_path / "a.ipynb", cells)
    manifest = {"stage": "a", "parameters": {}, "inputs": {}, "files": {}, "headline": "It helps."}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    html = render_notebook(tmp_path / "a.ipynb", tmp_path / "a.html")
    page = BeautifulSoup(html.read_text(encoding="utf-8"), "html.parser")
    header = page.select_one("header")
    assert [tag for tag in ("headline", "key", "limits") if header.select_one(f".{tag}")] == [
        "headline",
        "key",
        "limits",
    ]
    assert header.select_one(".key img")["src"].endswith(png(20, 10))
    assert "One run" in header.select_one(".limits").text and not page.select("script")
    assert "More." not in header.text
