"""Hostile text in every place of every page: shown as text, nothing runs, nothing is requested, nothing breaks."""

import html
import re

import pytest
from bs4 import BeautifulSoup
from harmless import assert_harmless
from hostile_notebooks import MANIFEST, MEANT, WRITTEN, hostile_notebook, hostile_run
from hostile_texts import LINE, floods, payloads
from listener import Listener
from markupsafe import Markup

from matchlib.reports.page import environment
from matchlib.reports.render import compare_runs, render_index, render_notebook
from matchlib.reports.text import show_invisible

NAMES = ["report", "index", "comparison", "headers", "flood", "flood index", "flood comparison"]
# a gallery shows one page a frame
PAGES = (
    "[document, ...Array.from(document.querySelectorAll('iframe'), frame => frame.contentDocument)]"
)
RAN = f"{PAGES}.some(page => page?.title === 'PWNED')"
# what a reader could do: unfold, touch, focus and press everything that does not openly lead to another page
PRESS = f"""
for (const page of {PAGES}) for (const element of page?.querySelectorAll('*') ?? []) {{
  if (element.matches('details')) element.open = true;
  for (const kind of ['mouseover', 'focus', 'focusin', 'pointerrawupdate', 'beforetoggle', 'animationstart'])
    element.dispatchEvent(new Event(kind));
  if (!element.matches('area, button, a') || /^(http|mailto|#)|html$/.test(element.getAttribute('href'))) continue;
  element.dispatchEvent(new MouseEvent('click', {{bubbles: true, cancelable: true, composed: true}}));
}}
document.getElementById('show-code')?.click();
"""
UNFOLD = f"for (const page of {PAGES}) page.querySelectorAll('details').forEach(element => element.open = true)"
LAYOUT = f"""
{PAGES}.filter(page => page.querySelector('h1')).map(page => {{
  page.documentElement.scrollTo(0, 0);
  const heading = page.querySelector('h1').getBoundingClientRect();
  return [
    page.documentElement.scrollWidth - page.documentElement.clientWidth,
    page.documentElement.scrollHeight,
    page.elementFromPoint(heading.left + 9, heading.top + 9)?.closest('h1') != null,
    [...page.querySelectorAll('main *')].every(element => getComputedStyle(element).position === 'static'),
  ];
}})
"""


@pytest.fixture(scope="module")
def listener():
    server = Listener()
    yield server
    server.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory, listener):
    """Every page that matchlib.reports makes, with every payload in every place; floods apart."""
    folder, texts = tmp_path_factory.mktemp("pages"), payloads(listener.address)
    runs = {
        "": hostile_run(folder / "run", texts),
        "flood ": hostile_run(folder / "floods", floods()),
    }
    found = {f"{name}index": render_index(run) for name, run in runs.items()}
    for name, run in runs.items():
        found[f"{name}comparison"] = compare_runs([run, run], folder / f"{name}comparison.html")
    for name, part in {"report": texts, "flood": floods()}.items():
        found[name] = render_notebook(
            hostile_notebook(folder / f"{name}.ipynb", part), folder / f"{name}.html"
        )
    headed = [
        render_notebook(stage / f"{stage.name}.ipynb", stage / "report.html")
        for run in runs.values()
        for stage in sorted(run.glob("*/"))
    ]
    return found | {
        "headers": gallery(folder / "headers.html", [page.read_text("utf-8") for page in headed])
    }


def gallery(path, documents):
    """Write a page that shows documents in frames of its own origin."""
    frames = [
        f'<iframe width=400 height=900 srcdoc="{html.escape(document)}"></iframe>'
        for document in documents
    ]
    path.write_text("<!DOCTYPE html><meta charset=utf-8>" + "".join(frames), "utf-8", "replace")
    return path


def documents_of(page):
    """The pages in a gallery, or the one page of any other file."""
    text = page.read_text("utf-8")
    return [frame["srcdoc"] for frame in BeautifulSoup(text, "html.parser").select("iframe")] or [
        text
    ]


def assert_nothing_happens(browser, listener, page):
    """Open a page, press everything on it, and see no trace of a payload."""
    listener.forget()
    browser.open(page)
    browser.evaluate(PRESS)
    assert browser.becomes(RAN, within_seconds=0.5) is False, "payloads run"
    assert browser.dialogs == []
    assert (listener.asked, listener.connections) == ([], 0), "requests made"
    own = ("data:", "about:", page.as_uri())
    assert [address for address in browser.requested if not address.startswith(own)] == []
    assert browser.evaluate("location.href.split('#')[0]") == page.as_uri()


def test_there_are_enough_payloads_and_places():
    count, places = len(set(payloads())), len(MEANT + WRITTEN + MANIFEST)
    assert count >= 90 and len(floods()) >= 8 and places >= 40, (
        f"{count} payloads in {places} places"
    )


def test_payloads_work_where_nothing_stops_them(browser, listener, tmp_path):
    # without this control a mute payload, or a deaf listener, would pass for a safe page
    listener.forget()
    page = gallery(
        tmp_path / "raw.html",
        [f"<!DOCTYPE html><body>{text}" for text in payloads(listener.address)],
    )
    browser.open(page)
    browser.evaluate(PRESS)
    for _ in range(20):
        if len({path.split("/")[1] for path in listener.asked}) < 60:
            browser.becomes("false", within_seconds=0.5)
    ran = {path.split("/")[1] for path in listener.asked if path.endswith("/ran")}
    called = {path.split("/")[1] for path in listener.asked}
    silent = [text for n, text in enumerate(payloads()) if str(n) not in called]
    assert len(ran) >= 35 and len(called) >= 55, (
        f"only {len(ran)} ran and {len(called)} asked: {silent}"
    )
    assert listener.connections > 0 and browser.dialogs and browser.evaluate(RAN)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_and_nothing_is_requested(browser, listener, pages, name):
    assert_nothing_happens(browser, listener, pages[name])
    assert browser.evaluate(f"{PAGES}.every(page => page.scripts.length === 0)")


def test_cleaning_is_enough_without_the_policy(browser, listener, pages, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        pages["report"].read_text("utf-8").replace("Content-Security-Policy", "X-Nothing"), "utf-8"
    )
    assert_nothing_happens(browser, listener, page)


def test_policy_is_enough_without_cleaning(browser, listener, tmp_path):
    # a policy stops what runs and what is asked for; only cleaning stops a page that leaves for another,
    # and a browser that opens a connection before it asks the policy
    raw = [text for text in payloads(listener.address) if not re.search("refresh|preconnect", text)]
    report = environment().get_template("report.html.j2")
    shown = [
        report.render(title="raw", headings=[], body=Markup(text), manifest=None) for text in raw
    ]
    listener.forget()
    browser.open(gallery(tmp_path / "all.html", shown))
    assert browser.evaluate("frames.length") >= len(raw) > 90
    browser.evaluate(PRESS)
    assert browser.becomes(RAN, within_seconds=0.5) is False
    assert (listener.asked, browser.dialogs) == ([], [])


# a gallery's frames are narrow whatever the window
@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [
        (name, *case)
        for name in NAMES
        for case in ((400, False), (1400, True))
        if (name, case[1]) != ("headers", True)
    ],
)
def test_layout_holds(browser, pages, name, width, dark):
    browser.open(pages[name], width=width, dark=dark, settle_seconds=0)
    browser.evaluate(UNFOLD)
    layouts = browser.evaluate(LAYOUT)
    assert len(layouts) == (len(payloads() + floods()) if name == "headers" else 1)
    # a scrolling box ends at 10,000 px, a pre at 600; unbounded, one flood alone takes 300,000 to 2,000,000
    bound = {"headers": 12_000, "report": 2_500 * len(payloads())}.get(name, 150_000)
    for sideways, height, heading_is_seen, nothing_floats in layouts:
        assert sideways <= 0 and height < bound and heading_is_seen and nothing_floats, layouts


@pytest.mark.parametrize("name", NAMES)
def test_pages_are_harmless_and_bounded(pages, name):
    for document in documents_of(pages[name]):
        assert_harmless(document)
        assert len(document) < 4_000_000


def test_texts_stay_legible(pages, listener):
    shown = {
        name: "".join(BeautifulSoup(pages[name].read_text("utf-8"), "html.parser").text.split())
        for name in ("report", "index", "comparison")
    }
    for text in payloads(listener.address):
        # a long text is cut in a column's name and quoted in code; a terminal's colours are gone from streams
        written = "".join(show_invisible(text).split())
        if "\x1b" not in text:
            counts = {name: page.count(written) for name, page in shown.items()}
            assert counts["report"] >= 12 and counts["index"] >= 6 and counts["comparison"] >= 8, (
                written,
                counts,
            )


def test_floods_are_cut_with_a_note(pages):
    text = BeautifulSoup(pages["flood"].read_text("utf-8"), "html.parser").text
    notes = re.findall(r"\d,\d{3},\d{3} (?:more characters|characters of)", text)
    assert len(notes) >= len(WRITTEN), "every place says how much of the long line is missing"
    assert "x" * 100_000 not in text and len(LINE) > 5_000_000
