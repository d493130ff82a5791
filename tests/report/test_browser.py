"""The reports in Debian's Chromium, the network cut: what readers see, in both schemes, on a phone and on paper."""

from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Page
from support import NOTEBOOKS

REPORTS = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.html"))}


@pytest.fixture(scope="module", params=["digits", *REPORTS])
def path(request) -> Path:
    """A fresh report of a short run on the digits, and each published one."""
    if request.param == "digits":
        return request.getfixturevalue("digits_report")[0] / "out" / "mnist_normalization.html"
    return REPORTS[request.param]


@pytest.fixture(scope="module")
def window(open_offline, path):
    """The report in a window, offline."""
    page = open_offline(path)
    yield page
    page.context.close()


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


def test_axe_finds_nothing(page, path):
    """All of its rules, with the code unfolded: the fresh report in the dark on a phone, published ones in the light.

    axe can't judge the colours of code, which stands on a gradient: test_every_text_has_contrast does.
    """
    if path not in REPORTS.values():
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 320, "height": 900})
    page.locator("#all-code").check()
    page.evaluate(AXE_FILE_PATH.read_text())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")  # all rules; other results are cut short
    assert len(found["passes"]) > 20, "axe ran"
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found["violations"]] == []


@pytest.fixture
def figures_page(page) -> Page:
    """The page, if there are figures in it: the exercises have none."""
    if not page.locator("figure").count():
        pytest.skip("a page without figures")
    return page


def test_figures_take_the_pages_ink_and_ground(figures_page):
    """In either scheme; paper is light in both."""
    page = figures_page
    grounds = []
    for scheme, media in (("light", "screen"), ("dark", "screen"), ("dark", "print")):
        page.emulate_media(color_scheme=scheme, media=media)
        ink = styles(page, "p, .fold > summary", "color")
        tile = {"rgb(17, 17, 17)"}  # stands on a coloured tile
        assert styles(page, "figure svg text", "fill") - tile == ink
        grounds += styles(page, "figure svg > g > g:first-child > path", "fill")
        if media == "screen":
            assert styles(page, "html", "backgroundColor") == {grounds[-1]}
            glare = "none" if scheme == "light" else "brightness(0.85)"
            assert styles(page, "figure img", "filter") <= {glare}
    on_light, on_dark, on_paper = grounds
    assert on_light == on_paper != on_dark


def test_contents_lead_where_they_say(page):
    links = page.locator("nav.contents a")
    assert links.count() >= 5
    for link in links.all():
        link.click()
        target = page.locator(f"[id='{link.get_attribute('href')[1:]}']")  # one that begins with a digit is no "#1"
        assert target.inner_text() == link.inner_text() and target.is_visible()
        assert -5 <= target.bounding_box()["y"] < 900, link.inner_text()


def test_every_figure_is_drawn_and_described(figures_page):
    page = figures_page
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


@pytest.mark.parametrize("width", [320, 800, 1300])
def test_it_fits_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    line = page.locator(".text p").first.bounding_box()["width"]
    assert line < 700 and (width < 400 or line > 350), "about 70 characters"
    beside = page.locator("nav.contents").bounding_box()
    assert (beside["x"] + beside["width"] <= page.locator("h1").bounding_box()["x"]) == (width > 1100)
    assert styles(page, ".table, pre", "overflowX") <= {"auto"}
    shadows = page.locator(".table, pre, math[display=block]").evaluate_all("""all => all
        .filter(e => e.scrollWidth > e.clientWidth + 1)
        .map(e => getComputedStyle(e).backgroundImage.split("linear-gradient").length - 1)""")
    assert set(shadows) <= {4} and (shadows or width > 320), "what is cut shows it at each edge"
    heights = page.locator("figure svg text").evaluate_all(
        "all => all.filter(e => e.textContent.trim()).map(e => e.getBoundingClientRect().height)")
    if not heights or page.locator('figure svg[width="576pt"]').count():
        return  # no figures, or drawn when they were twice as wide: they scroll in their frames
    assert min(heights) >= 11, "pixels; letters turned on their side are as wide as they are high"
    boxes = page.locator("figure:visible").evaluate_all("all => all.map(e => [e.scrollWidth, e.clientWidth])")
    for drawn, frame in boxes:
        assert drawn == frame == pytest.approx(min(width - 32, 544), abs=1), "a figure is as wide as its frame"


@pytest.mark.parametrize("width", [390, 1300])
def test_the_first_figure_stands_on_the_first_screen(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    if page.locator("#switch-layer").count():  # the main notebook's
        assert page.locator("figure").first.bounding_box()["y"] < 844
        num_screens = page.evaluate("document.documentElement.scrollHeight") / 844
        assert width > 390 or num_screens <= 15


def test_one_switch_unfolds_all_code_and_print_holds_it(page):
    code = page.locator("div.code")
    assert code.count() > 5 and not code.first.is_visible()
    tagged = page.locator("div.code:not(.fold + .code, .section .code)")
    assert page.locator("div.code:visible").count() == tagged.count()
    page.locator("#all-code").check()
    assert all(cell.is_visible() for cell in code.all())
    page.locator("#all-code").uncheck()
    page.emulate_media(media="print")
    assert all(cell.is_visible() for cell in code.all())
    assert not page.locator("nav.contents").is_visible() or page.locator("#all-code").is_hidden()
    assert styles(page, "figure", "breakInside") <= {"avoid"}
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF") and pdf.count(b"/Type /Page\n") >= 5


def test_keyboard_shows_where_it_is(page):
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip", "the first stop skips the contents"
    for _ in range(3):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_the_switch_works_by_keyboard_and_print_shows_all(page):
    if not page.locator("#switch-layer").count():
        pytest.skip("the main notebook's")
    page.locator("#switch-layer").focus()
    blocks = page.locator(".example [class*='for-']")
    for norm in ("layer", "group", "batch"):
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", "visible focus"
        assert {block.is_visible() for block in page.locator(f".for-{norm}").all()} == {True}
        assert page.locator(f".example [class*='for-']:not(.for-{norm}):visible").count() == 0
        assert styles(page, f".example td.{norm}", "outlineStyle") == {"solid"}
        assert "solid" not in styles(page, f".example td:not(.{norm})", "outlineStyle")
        page.keyboard.press("ArrowRight")
    page.emulate_media(media="print")
    assert all(block.is_visible() for block in blocks.all())
