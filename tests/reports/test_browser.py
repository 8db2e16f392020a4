"""Hostile reports in a real browser: nothing runs, nothing is requested, nothing overflows."""

import http.server
import threading

import pytest
from browser import Browser, find_chromium
from hostile_notebooks import hostile_manifest, hostile_notebook, payloads
from markupsafe import Markup

from matchlib.reports.page import write_page
from matchlib.reports.render import compare_runs, render_index, render_notebook

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no chromium or google-chrome on the PATH")

RAN = "document.title.includes('PWNED') || document.querySelector('pwned') !== null"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser") / "profile")
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def listener():
    """A local server that notes what it is asked for; payloads point at it."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def pages(tmp_path_factory, listener):
    """A hostile report, its index and a comparison."""
    run_dir = tmp_path_factory.mktemp("runs") / "hostile"
    stage = run_dir / "stage"
    hostile_manifest(stage, listener[0])
    report = render_notebook(hostile_notebook(stage / "stage.ipynb", listener[0]), stage / "stage.html")
    comparison = compare_runs([run_dir, run_dir], run_dir.parent / "compare.html")
    return {"report": report, "index": render_index(run_dir), "comparison": comparison}


def test_payloads_work_where_nothing_stops_them(browser, listener, tmp_path):
    # without this control a mute payload would pass for a safe page
    remote, asked = listener
    asked.clear()
    for name, fragments in {"handler": payloads(remote)[2:4], "script": payloads(remote)[:1]}.items():
        page = tmp_path / f"{name}.html"
        page.write_text("<!DOCTYPE html><body>" + "".join(fragments), encoding="utf-8")
        browser.open(page)
        assert browser.evaluate(RAN), name
    assert "/image.png" in asked
    asked.clear()


@pytest.mark.parametrize("name", ["report", "index", "comparison"])
def test_nothing_runs_and_nothing_is_requested(browser, listener, pages, name):
    asked = listener[1]
    asked.clear()
    browser.open(pages[name])
    # what a reader would do: unfold everything, press what can be pressed
    browser.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    browser.evaluate(
        "document.querySelectorAll('main a:not([href*=\".html\"])').forEach(link => link.focus())"
    )
    browser.evaluate("document.getElementById('show-code')?.click()")
    assert browser.evaluate(RAN) is False
    assert browser.evaluate("document.scripts.length") == 0
    assert [url for url in browser.requested if not url.startswith(("data:", pages[name].as_uri()))] == []
    assert asked == []


def test_cleaning_is_enough_without_the_policy(browser, listener, pages, tmp_path):
    asked = listener[1]
    asked.clear()
    page = tmp_path / "report.html"
    html = pages["report"].read_text(encoding="utf-8")
    page.write_text(html.replace("Content-Security-Policy", "X-Nothing"), encoding="utf-8")
    browser.open(page)
    assert browser.evaluate(RAN) is False
    assert asked == []


def test_policy_is_enough_without_cleaning(browser, listener, tmp_path):
    remote, asked = listener
    asked.clear()
    # a policy stops what loads and runs; only cleaning stops a page from leaving for another
    raw = Markup("\n".join(payload for payload in payloads(remote) if "refresh" not in payload))
    page = write_page(
        tmp_path / "raw.html", "report.html.j2", title="raw", headings=[], body=raw, manifest=None
    )
    browser.open(page)
    assert browser.evaluate(RAN) is False
    assert asked == []


@pytest.mark.parametrize("name", ["report", "index", "comparison"])
@pytest.mark.parametrize("width", [400, 1400])
def test_page_does_not_overflow_sideways(browser, pages, name, width):
    browser.open(pages[name], width=width, settle_seconds=0)
    browser.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_own_style_passes_the_policy_and_follows_the_scheme(browser, pages):
    background = "getComputedStyle(document.body).backgroundColor"
    browser.open(pages["report"], settle_seconds=0)
    light = browser.evaluate(background)
    browser.open(pages["report"], dark=True, settle_seconds=0)
    assert (light, browser.evaluate(background)) == ("rgb(255, 255, 255)", "rgb(20, 23, 27)")


def test_contents_stand_beside_wide_pages_and_fold_on_narrow_ones(browser, pages):
    visible = (
        "['.sidebar', '.contents']"
        ".map(name => getComputedStyle(document.querySelector(name)).display != 'none')"
    )
    for width, expected in ((1400, [True, False]), (400, [False, True])):
        browser.open(pages["report"], width=width, settle_seconds=0)
        assert browser.evaluate(visible) == expected


def test_one_switch_shows_all_code(browser, pages):
    browser.open(pages["report"], settle_seconds=0)
    shown = "document.querySelector('details.code pre').checkVisibility({contentVisibilityAuto: true})"
    assert browser.evaluate(shown) is False
    browser.evaluate("document.getElementById('show-code').click()")
    assert browser.becomes(shown)
