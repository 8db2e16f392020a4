"""One headless browser for the tests of a file."""

import pytest
from browser import Browser, find_chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser with a fresh profile; where none is installed the test is skipped."""
    if find_chromium() is None:
        pytest.skip("no chromium or google-chrome on the PATH")
    browser = Browser(tmp_path_factory.mktemp("browser") / "profile")
    yield browser
    browser.close()
