"""The index of a run and the comparison of runs."""

import hashlib
import json
import zipfile

import pytest
from bs4 import BeautifulSoup
from hostile_notebooks import png, write_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from matchlib.reports.overview import find_damage
from matchlib.reports.page import show_duration
from matchlib.reports.render import compare_runs, render_index, render_run, zip_pages


def finish_stage(run_dir, stage, *, metrics, parameters, **entries):
    """Write a stage folder with a manifest and an executed notebook with one large figure."""
    manifest = {
        "stage": stage,
        "run": run_dir.name,
        "metrics": metrics,
        "parameters": parameters,
        "inputs": {"data": {"stage": "01_data_rules"}},
        "files": {},
        "seconds": 30.0,
        **entries,
    }
    figure = new_output("display_data", data={"image/png": png(2000, 1500)})
    cells = [new_markdown_cell(f"# Title of {stage}"), new_code_cell("plot()", outputs=[figure])]
    write_notebook(run_dir / stage / f"{stage}.ipynb", cells)
    (run_dir / stage / "manifest.json").write_text(json.dumps(manifest))


def parse(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture
def demo(tmp_path):
    run_dir = tmp_path / "demo"
    finish_stage(
        run_dir,
        "02_train-shuffled",
        metrics={"ndcg": 0.12},
        parameters={"epochs": 3, "shuffle": True},
    )
    metrics = {
        "ndcg": 0.4123,
        "n": 1200,
        "verdict": "holds",
        "none": None,
        "a": 1,
        "b": 2,
        "seventh": 7,
    }
    finish_stage(
        run_dir,
        "02_train",
        metrics=metrics,
        parameters={"epochs": 3, "rate": 1e-5},
        headline="It helps.",
    )
    (run_dir / "03_unfinished").mkdir()
    (run_dir / "02_train.ckpt").mkdir()
    return run_dir


def test_index_lists_finished_stages_in_name_order(demo):
    index = parse(render_index(demo))
    assert [link.text for link in index.select(".stage h2 a")] == [
        "Title of 02_train",
        "Title of 02_train-shuffled (shuffle: true)",
    ]
    assert [link["href"] for link in index.select(".stage h2 a")] == [
        "02_train/02_train.html",
        "02_train-shuffled/02_train-shuffled.html",
    ]
    assert "03_unfinished" not in index.text
    assert "2 finished stages" in index.text and "1 min 00 s" in index.text


def test_index_shows_answer_figures_parameters_and_inputs(demo):
    entry = parse(render_index(demo)).select_one("article")
    assert entry.select_one(".headline").text == "It helps."
    shown = dict(
        zip(
            [name.text for name in entry.select("dt")],
            [value.text for value in entry.select("dd")],
            strict=True,
        )
    )
    assert shown == {
        "ndcg": "0.412",
        "n": "1,200",
        "verdict": "holds",
        "none": "–",
        "a": "1",
        "b": "2",
        "seventh": "7",
    }
    assert [name.text for name in entry.select("details dt")] == ["seventh"]
    assert "rate 1e-05" in entry.select_one("details table").get_text(" ", strip=True)
    assert "from 01_data_rules" in " ".join(entry.text.split())


def test_thumbnails_are_small(demo):
    index = render_index(demo)
    assert len(parse(index).select(".thumbnail img")) == 2
    assert index.stat().st_size < 60_000


def test_folder_names_need_not_be_utf8(tmp_path):
    stage = tmp_path / "01_data-\udcff"
    finish_stage(tmp_path, stage.name, metrics={}, parameters={})
    link = parse(render_index(tmp_path)).select_one(".stage h2 a")
    assert (
        link["href"] == "01_data-%FF/01_data-%FF.html"
        and link.text == "Title of 01_data-⟨U+DCFF⟩ (⟨U+DCFF⟩)"
    )


def test_long_names_and_titles_are_cut(tmp_path):
    long = "n" * 100_000
    for run in ("a", "b"):
        finish_stage(
            tmp_path / run, "01_data", metrics={long: 1}, parameters={long: 1}, headline=long
        )
        write_notebook(
            tmp_path / run / "01_data" / "01_data.ipynb", [new_markdown_cell(f"# {long}")]
        )
    for page in (
        render_index(tmp_path / "a"),
        compare_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "c.html"),
    ):
        assert page.stat().st_size < 40_000 and "(99,600 more characters)" in page.read_text()


def test_broken_picture_leaves_no_thumbnail(tmp_path):
    finish_stage(tmp_path, "01_data", metrics={}, parameters={})
    figure = new_output("display_data", data={"image/png": "bm90IGEgcG5n"})
    write_notebook(tmp_path / "01_data" / "01_data.ipynb", [new_code_cell("1", outputs=[figure])])
    index = parse(render_index(tmp_path))
    assert not index.select("img") and index.select_one(".stage h2").text == "01_data"


def test_index_of_an_empty_run_says_so(tmp_path):
    assert "No finished stage yet." in parse(render_index(tmp_path)).text


def test_comparison_shows_differences_and_folds_the_rest(demo, tmp_path):
    trial = tmp_path / "trial"
    finish_stage(
        trial,
        "02_train",
        metrics={"ndcg": 0.4223, "n": 1200},
        parameters={"epochs": 5, "rate": 1e-5},
    )
    page = parse(compare_runs([demo, trial], tmp_path / "compare.html"))
    tables = {heading.text: heading.find_next("table") for heading in page.select("h2")}
    metrics = [row.get_text(" ", strip=True) for row in tables["Metrics"].select("tbody tr")]
    assert metrics[0] == "02_train ndcg 0.412 0.422 +0.010"
    assert "verdict holds –" in metrics and "02_train-shuffled ndcg 0.120 –" in metrics
    parameters = [row.get_text(" ", strip=True) for row in tables["Parameters"].select("tbody tr")]
    assert parameters == ["02_train epochs 3 5"]
    folded = page.select("details")
    assert "n 1,200 1,200" in folded[0].get_text(" ", strip=True)
    assert "rate 1e-05 1e-05" in folded[1].get_text(" ", strip=True)


def test_comparison_tells_apart_what_python_calls_equal(tmp_path):
    for run, flag in (("a", 1), ("b", True)):
        finish_stage(tmp_path / run, "01_data", metrics={}, parameters={"flag": flag})
    page = parse(compare_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "c.html"))
    assert "flag 1 true" in page.get_text(" ", strip=True)


def test_runs_of_one_name_are_told_apart(tmp_path):
    for parent in ("x", "y"):
        finish_stage(tmp_path / parent / "demo", "01_data", metrics={"n": 1}, parameters={})
    page = parse(
        compare_runs([tmp_path / "x" / "demo", tmp_path / "y" / "demo"], tmp_path / "c.html")
    )
    assert [name.text for name in page.select("header b")] == ["x/demo", "y/demo"]


def test_a_zip_holds_pages_at_the_places_that_the_index_links_to(demo):
    index = render_index(demo)
    linked = sorted({link["href"] for link in parse(index).select("a[href$='.html']")})
    pages = [demo / link for link in linked]
    for page in pages:
        page.write_text("a page")
    archive = zip_pages([index, *pages], demo.with_suffix(".zip"))
    with zipfile.ZipFile(archive) as opened:
        assert linked and set(opened.namelist()) == {
            f"{demo.name}/{name}" for name in ["index.html", *linked]
        }
    assert [path.name for path in demo.parent.iterdir()].count(archive.name) == 1


def test_comparison_refuses_a_run_without_stages(tmp_path):
    with pytest.raises(ValueError, match="no finished stage"):
        compare_runs([tmp_path], tmp_path / "c.html")


# ---- what is not whole ---------------------------------------------------------------------------------


@pytest.fixture
def written(demo):
    """The demo run with a table in 02_train, and its facts in the manifest."""
    stage = demo / "02_train"
    (stage / "scores.csv").write_text("job_id,score\na,1\n")
    facts = {"bytes": 17, "sha256": hashlib.sha256(b"job_id,score\na,1\n").hexdigest()}
    manifest = json.loads((stage / "manifest.json").read_text())
    (stage / "manifest.json").write_text(json.dumps(manifest | {"files": {"scores.csv": facts}}))
    assert find_damage(demo) == []
    return demo


def truncate(path, n_bytes):
    path.write_bytes(path.read_bytes()[:n_bytes])


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (
            lambda stage: truncate(stage / "manifest.json", 0),
            "manifest.json (0 bytes) is damaged, so the stage",
        ),
        (
            lambda stage: truncate(stage / "manifest.json", 60),
            "manifest.json (60 bytes) is damaged, so the stage is",
        ),
        (
            lambda stage: (stage / "manifest.json").write_text("[1]"),
            "manifest.json (3 bytes) is damaged",
        ),
        (
            lambda stage: (stage / "manifest.json").write_bytes(b"\xff\xfe"),
            "manifest.json (2 bytes) is damaged",
        ),
        (
            lambda stage: truncate(stage / "02_train.ipynb", 0),
            "02_train.ipynb (0 bytes) is damaged or no notebook",
        ),
        (
            lambda stage: truncate(stage / "02_train.ipynb", 500),
            "02_train.ipynb (500 bytes) is damaged or no notebook",
        ),
        (
            lambda stage: (stage / "02_train.ipynb").write_text("{}"),
            "02_train.ipynb (2 bytes) is damaged",
        ),
        (
            lambda stage: (stage / "02_train.ipynb").write_text('{"cells": [3], "nbformat": 4}'),
            "is damaged or no",
        ),
        (
            lambda stage: truncate(stage / "scores.csv", 9),
            "scores.csv has 9 bytes, but the stage wrote 17",
        ),
        (lambda stage: (stage / "scores.csv").unlink(), "scores.csv is missing"),
        (
            lambda stage: (stage / "scores.csv").write_text("job_id,score\na,9\n"),
            "scores.csv is not the file that",
        ),
    ],
)
def test_the_report_is_made_of_what_is_whole_and_lists_the_rest(written, harm, sentence):
    """A torn notebook or manifest of one stage was a traceback, and the run had no report at all."""
    (written / "02_train" / "02_train.html").write_text("the page of an earlier run")
    harm(written / "02_train")
    pages, notes = render_run(written)
    assert (
        pages[0] == written / "index.html"
        and written / "02_train-shuffled" / "02_train-shuffled.html" in pages
    )
    assert len(notes) == 1 and notes[0].startswith("02_train: ") and sentence in notes[0]
    assert notes[0].endswith("; run it again") and str(written) not in notes[0]
    index = parse(pages[0])
    assert sentence in index.select_one(".damage").text
    titles = [link.text for link in index.select(".stage h2 a")]
    assert any(title.startswith("Title of 02_train-shuffled (") for title in titles)
    has_page = "scores.csv" in sentence
    assert (written / "02_train" / "02_train.html").exists() == has_page
    assert ("Title of 02_train" in [link.text for link in index.select(".stage h2 a")]) == has_page
    page = compare_runs([written, written], written.parent / "compare.html")
    assert sentence in parse(page).select_one(".damage").text


def test_a_whole_run_lists_no_damage(written):
    pages, notes = render_run(written)
    assert notes == [] and not parse(pages[0]).select(".damage")


def test_a_stage_without_an_executed_notebook_is_told(written):
    (written / "02_train" / "02_train.ipynb").unlink()
    _, notes = render_run(written)
    assert notes == [
        "02_train: no executed 02_train.ipynb, so the index shows its figures without a page"
    ]


def test_a_comparison_of_runs_of_which_one_is_wholly_torn_is_refused(written):
    for stage in ("02_train", "02_train-shuffled"):
        truncate(written / stage / "manifest.json", 0)
    with pytest.raises(ValueError, match="no finished stage in it that is whole"):
        compare_runs([written], written.parent / "compare.html")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (8.44, "8.4 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.9, "1 h 00 min"),
        (None, "–"),
        (float("nan"), "–"),
        ("soon", "–"),
    ],
)
def test_durations_read_well(seconds, text):
    assert show_duration(seconds) == text


def test_the_index_opens_with_question_answer_and_figure(demo):
    finish_stage(demo, "11_leaderboard", metrics={}, parameters={}, headline="It ranks better.")
    figure = new_output("display_data", data={"image/png": png(900, 600)})
    cells = [
        new_markdown_cell("# 11 · Leaderboard\n\n**Question.** Does training help?"),
        new_code_cell("plot()", outputs=[figure]),
    ]
    write_notebook(demo / "11_leaderboard" / "11_leaderboard.ipynb", cells)
    index = parse(render_index(demo))
    header = index.select_one("header")
    assert header.select_one(".question").text == "Does training help?"
    assert header.select_one(".headline").text == "It ranks better."
    assert header.select_one(".key img")["alt"] == "Figure of 11 · Leaderboard"
    rows = [[cell.text for cell in row.select("td")] for row in index.select(".stages tbody tr")]
    assert rows[0] == ["Title of 02_train", "It helps.", "30 s"]
    assert rows[1][0] == "Title of 02_train-shuffled (shuffle: true)"
