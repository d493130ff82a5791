"""A browser for the tests of the pages."""

import shutil

import pytest
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium. Tests that need it are skipped where there is none."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def open_offline(browser):
    """A function that opens a page without a network; `asked` and `said` hold what it asks for and complains of."""
    def open_page(path, **options):
        page = browser.new_context(offline=True, **options).new_page()
        page.asked = []
        page.said = []
        page.on("request", lambda request: page.asked.append(request.url[:80]))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(path.as_uri())
        return page

    return open_page
