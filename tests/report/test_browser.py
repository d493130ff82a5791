"""The reports in Debian's Chromium, the network cut: what readers see, in both schemes, on a phone and on paper."""

import shutil
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Page, sync_playwright
from support import NOTEBOOKS

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
REPORTS = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.html"))}

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine (Debian: apt-get install chromium)")


@pytest.fixture(scope="module", params=["digits", *REPORTS])
def path(request) -> Path:
    """A fresh report of a short run on the digits, and each published one."""
    if request.param == "digits":
        return request.getfixturevalue("digits_report")[0] / "out" / "mnist_normalization.html"
    return REPORTS[request.param]


@pytest.fixture(scope="module")
def window(path):
    """The report in a window, offline; `asked` and `said` hold what it asked for and complained of."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        page.asked = []
        page.said = []
        page.on("request", lambda request: page.asked.append(request.url[:80]))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(path.as_uri())
        yield page
        browser.close()


@pytest.fixture
def page(window) -> Page:
    """The window as it opened: wide, light, on a screen, at the top, code folded."""
    window.set_viewport_size({"width": 1400, "height": 900})
    window.emulate_media(color_scheme="light", media="screen")
    window.locator("#all-code").uncheck()
    window.evaluate("scrollTo(0, 0)")
    return window


def styles(page: Page, selector: str, name: str) -> set[str]:
    """The values that a property has on all elements of a kind."""
    script = "(elements, name) => elements.map(element => getComputedStyle(element)[name])"
    return set(page.locator(selector).evaluate_all(script, name))


def test_nothing_is_fetched_and_nothing_complained_of(page, path):
    assert page.asked and all(url.startswith(("file:", "data:image/")) for url in page.asked)
    assert page.said == []
    assert path.stat().st_size < 3_000_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, scheme):
    """All of its rules, on the page as it opens and with the code unfolded."""
    page.emulate_media(color_scheme=scheme)
    page.evaluate(AXE_FILE_PATH.read_text())
    for unfold in (False, True):
        page.locator("#all-code").set_checked(unfold)
        found = page.evaluate("axe.run({resultTypes: ['violations']})")  # all rules; other results are cut short
        assert len(found["passes"]) > 20, "axe ran"
        assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found["violations"]] == []


def test_the_two_schemes_differ_and_figures_take_the_pages_ink_and_ground(page):
    light = styles(page, "html", "backgroundColor")
    on_light = styles(page, "figure svg text", "fill")
    page.emulate_media(color_scheme="dark")
    assert styles(page, "html", "backgroundColor") != light
    ink, muted = (styles(page, element, "color") for element in ("p", ".fold > summary"))
    tile = {"rgb(17, 17, 17)"}  # stands on a coloured tile
    assert styles(page, "figure svg text", "fill") - tile == ink | muted != on_light - tile


def test_contents_lead_where_they_say(page):
    links = page.locator("nav.contents a")
    assert links.count() >= 5
    for link in links.all():
        link.click()
        target = page.locator(f"[id='{link.get_attribute('href')[1:]}']")  # one that begins with a digit is no "#1"
        assert target.inner_text() == link.inner_text() and target.is_visible()
        assert -5 <= target.bounding_box()["y"] < 900, link.inner_text()


def test_every_figure_is_drawn_and_described(page):
    images = page.locator("figure img").evaluate_all("all => all.map(e => [e.naturalWidth, e.alt.length])")
    assert all(width > 600 and length > 40 for width, length in images)
    drawings = page.locator("figure svg").evaluate_all("""all => all.map(svg => {
        const box = svg.getBoundingClientRect();
        const texts = [...svg.querySelectorAll("text")].map(text => text.getBoundingClientRect());
        const outside = texts.filter(own => own.left < box.left - 1 || own.right > box.right + 1
                                            || own.top < box.top - 1 || own.bottom > box.bottom + 1);
        return [svg.getAttribute("aria-label"), texts.length, outside.length];
    })""")
    assert len(drawings) >= 3
    for alt, num_texts, num_outside in drawings:
        assert len(alt) > 40 and num_texts > 5, "its text is text"
        assert num_outside == 0, f"nothing sticks out of it, in the fonts of this machine: {alt}"


@pytest.mark.parametrize("width", [320, 800, 1400])
def test_it_fits_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    line = page.locator(".text p").first.bounding_box()["width"]
    assert line < 700 and (width == 320 or line > 400), "about 70 characters"
    beside = page.locator("nav.contents").bounding_box()
    assert (beside["x"] + beside["width"] <= page.locator("h1").bounding_box()["x"]) == (width == 1400)
    assert styles(page, ".table, pre", "overflowX") <= {"auto"}
    heights = page.locator("figure svg text").evaluate_all(
        "all => all.filter(e => e.textContent.trim()).map(e => e.getBoundingClientRect().height)")
    if page.locator('figure svg[width="576pt"]').count():
        return  # drawn when figures were twice as wide; it scrolls in its frame
    assert min(heights) >= 11, "pixels; letters turned on their side are as wide as they are high"
    inside = page.locator("figure").evaluate_all(
        "all => all.every(figure => figure.scrollWidth <= figure.clientWidth && figure.clientWidth > 280)")
    assert inside, "a figure is as wide as its frame"


@pytest.mark.parametrize("width", [390, 1300])
def test_the_first_figure_stands_on_the_first_screen(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    if page.locator("#switch-layer").count():  # the main notebook's
        assert page.locator("figure").first.bounding_box()["y"] < 844


def test_the_worked_example_switches_by_keyboard(page):
    if page.locator("#switch-layer").count() == 0:
        return  # not the main notebook's page
    page.locator("#switch-layer").focus()
    for norm in ("layer", "group", "batch"):
        shown = [name for name in ("layer", "group", "batch") if page.locator(f".for-{name}").is_visible()]
        assert shown == [norm]
        marked = page.locator("table:not([class]) td").evaluate_all(
            "all => all.filter(cell => getComputedStyle(cell).outlineStyle == 'solid').map(cell => cell.className)")
        assert marked and all(norm in classes for classes in marked)
        page.keyboard.press("ArrowRight")


def test_one_switch_unfolds_all_code_and_print_holds_it(page):
    code = page.locator("div.code")
    assert code.count() > 5 and not code.first.is_visible()
    page.locator("#all-code").check()
    assert all(cell.is_visible() for cell in code.all())
    page.locator("#all-code").uncheck()
    page.emulate_media(media="print")
    assert all(cell.is_visible() for cell in code.all())
    assert not page.locator("nav.contents").is_visible() or page.locator("#all-code").is_hidden()
    assert styles(page, "figure", "breakInside") == {"avoid"}
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF") and pdf.count(b"/Type /Page\n") >= 5


def test_keyboard_shows_where_it_is(page):
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip", "the first stop skips the contents"
    for _ in range(3):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
