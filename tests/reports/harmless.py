"""What may not be in any page, whatever it shows."""

import re

from bs4 import BeautifulSoup

from matchlib.reports.clean import TAGS
from matchlib.reports.text import show_invisible

# what our own templates use beyond the cleaner's tags
PAGE_TAGS = {
    "html",
    "head",
    "meta",
    "link",
    "title",
    "style",
    "body",
    "main",
    "nav",
    "header",
    "section",
    "input",
    "label",
    "article",
}
LOADING_ATTRIBUTES = {
    "src",
    "srcset",
    "data",
    "background",
    "poster",
    "action",
    "formaction",
    "ping",
    "style",
}


def assert_harmless(page: str) -> None:
    """Every tag known, no handler, no address that would load, no character that hides."""
    soup = BeautifulSoup(page, "html.parser")
    policy = soup.select_one("head > meta[http-equiv='Content-Security-Policy']")["content"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert len(soup.select("style")) == len(soup.select("link")) == len(soup.select("title")) == 1
    assert soup.select_one("link")["href"] == "data:,"
    for element in soup.find_all(True):
        assert element.name in TAGS | PAGE_TAGS, element.name
        for name, value in element.attrs.items():
            assert not name.startswith("on"), element
            if name in LOADING_ATTRIBUTES:
                assert element.name == "img" and value.startswith("data:image/"), element
            if name == "href" and element.name == "a":
                assert re.match(r"https?://|mailto:|#|[\w.~%-]+/[\w.~%-]+$", value), value
    assert show_invisible(page) == page
