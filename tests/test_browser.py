"""The reports in Debian's Chromium, the network cut: what readers see, in both schemes, on a phone and on paper."""

import shutil
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PUBLISHED = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.html"))

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=["digits", *(path.stem for path in PUBLISHED)])
def path(request) -> Path:
    """A fresh report of a short run on the digits, and each published one."""
    if request.param == "digits":
        return request.getfixturevalue("digits_report")[0] / "out" / "mnist_normalization.html"
    return next(path for path in PUBLISHED if path.stem == request.param)


@pytest.fixture
def open_page(browser, path):
    """Opens the report in a window of its own, offline; what it asks for and complains of is in `asked`, `said`."""
    contexts = []

    def open_it(width: int = 1400, scheme: str = "light", scripts: bool = True) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True,
                                      java_script_enabled=scripts)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.said = [], []
        page.on("request", lambda request: page.asked.append(request.url[:80]))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(path.as_uri())
        return page

    yield open_it
    for context in contexts:
        context.close()


def test_nothing_is_fetched_and_nothing_complained_of(open_page, path):
    page = open_page()
    assert [url for url in page.asked if not url.startswith(("file:", "data:image/"))] == [] and page.said == []
    assert path.stat().st_size < 3_000_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page, scheme):
    """All of its rules, on the page as it opens and with the code unfolded."""
    page = open_page(scheme=scheme)
    page.evaluate(AXE_FILE_PATH.read_text())
    for unfold in (False, True):
        if unfold:
            page.check("#all-code")
        found = page.evaluate("axe.run()")
        assert len(found["passes"]) > 20, "axe ran"
        assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found["violations"]] == []


def test_the_two_schemes_differ_and_figures_stay_on_white(open_page):
    grounds = {}
    for scheme in ("light", "dark"):
        page = open_page(scheme=scheme)
        grounds[scheme] = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        figures = page.locator("figure > *")
        assert {figures.nth(i).evaluate("e => getComputedStyle(e).backgroundColor")
                for i in range(figures.count())} == {"rgb(255, 255, 255)"}
    assert grounds["light"] != grounds["dark"]


def test_contents_lead_where_they_say(open_page):
    page = open_page()
    links = page.locator("nav.contents a")
    assert links.count() >= 5
    for link in links.all():
        link.click()
        target = page.locator(f"[id='{link.get_attribute('href')[1:]}']")  # one that begins with a digit is no "#1"
        assert target.inner_text() == link.inner_text() and target.is_visible()
        assert -5 <= target.bounding_box()["y"] < 900, link.inner_text()


def test_every_figure_is_drawn_and_described(open_page):
    page = open_page()
    for image in page.locator("figure img").all():
        assert image.evaluate("e => e.complete && e.naturalWidth > 600") and len(image.get_attribute("alt")) > 40
    drawings = page.locator("figure svg")
    assert drawings.count() >= 3
    for drawing in drawings.all():
        assert len(drawing.get_attribute("aria-label")) > 40 and drawing.locator("text").count() > 5, "its text is text"
        # nothing sticks out of it, in the fonts of this machine
        assert drawing.evaluate("""svg => {
            const box = svg.getBoundingClientRect();
            return [...svg.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()])
              .filter(([_, own]) => own.left < box.left - 1 || own.right > box.right + 1
                                 || own.top < box.top - 1 || own.bottom > box.bottom + 1).map(([words]) => words);
        }""") == []


@pytest.mark.parametrize("width", [320, 800, 1400])
def test_it_fits_the_window(open_page, width):
    page = open_page(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    line = page.locator(".text p").first.bounding_box()["width"]
    assert line < 700 and (width == 320 or line > 400), "about 70 characters"
    beside = page.locator("nav.contents").bounding_box()
    assert (beside["x"] + beside["width"] <= page.locator("h1").bounding_box()["x"]) == (width == 1400)
    wide = page.locator(".table, pre")
    assert {wide.nth(i).evaluate("e => getComputedStyle(e).overflowX") for i in range(wide.count())} <= {"auto"}


@pytest.mark.parametrize("scripts", [True, False])
def test_one_switch_unfolds_all_code(open_page, scripts):
    page = open_page(scripts=scripts)
    code = page.locator("div.code")
    assert code.count() > 5 and not code.first.is_visible()
    page.locator("#all-code").check()
    assert code.first.is_visible() and code.last.is_visible()


def test_print_holds_all_code_and_breaks_no_figure(open_page, tmp_path):
    page = open_page()
    page.emulate_media(media="print")
    assert all(code.is_visible() for code in page.locator("div.code").all())
    assert not page.locator("nav.contents").is_visible() or page.locator("#all-code").is_hidden()
    assert {figure.evaluate("e => getComputedStyle(e).breakInside") for figure in page.locator("figure").all()} == {
        "avoid"}
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF") and pdf.count(b"/Type /Page\n") >= 5


def test_letters_in_figures_can_be_read_on_a_phone(open_page):
    page = open_page(360)
    heights = page.evaluate("""[...document.querySelectorAll("figure svg text")]
        .filter(text => text.textContent.trim()).map(text => text.getBoundingClientRect().height)""")
    assert min(heights) > 8, "pixels; letters turned on their side are as wide as they are high"
    figure = page.locator("figure").first
    assert figure.evaluate("e => e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX") == "auto"


def test_keyboard_shows_where_it_is(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip", "the first stop skips the contents"
    for _ in range(3):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
