"""An ordinary report in a real browser: its own style, its contents, its switch."""

import pytest
from hostile_notebooks import write_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell

from matchlib.reports.render import render_notebook


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    cells = [new_markdown_cell("# Title"), new_code_cell("1 + 1"), new_markdown_cell("## Section")]
    return render_notebook(write_notebook(folder / "report.ipynb", cells), folder / "report.html")


def test_own_style_passes_the_policy_and_follows_the_scheme(browser, report):
    background = "getComputedStyle(document.body).backgroundColor"
    browser.open(report, settle_seconds=0)
    light = browser.evaluate(background)
    browser.open(report, dark=True, settle_seconds=0)
    assert (light, browser.evaluate(background)) == ("rgb(255, 255, 255)", "rgb(20, 23, 27)")


def test_contents_stand_beside_wide_pages_and_fold_on_narrow_ones(browser, report):
    visible = (
        "['.sidebar', '.contents']"
        ".map(name => getComputedStyle(document.querySelector(name)).display != 'none')"
    )
    for width, expected in ((1400, [True, False]), (400, [False, True])):
        browser.open(report, width=width, settle_seconds=0)
        assert browser.evaluate(visible) == expected


def test_one_switch_shows_all_code(browser, report):
    browser.open(report, settle_seconds=0)
    shown = (
        "document.querySelector('details.code pre').checkVisibility({contentVisibilityAuto: true})"
    )
    assert browser.evaluate(shown) is False
    browser.evaluate("document.getElementById('show-code').click()")
    assert browser.becomes(shown)
