"""The reports in Debian's Chromium, the network cut: what readers see, in both schemes, on a phone and on paper."""

from base64 import b64encode
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import Browser, Page
from support import NOTEBOOKS

from helpers.plots.style import blank, captioned, render, style
from helpers.report.page import to_html

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


@pytest.fixture
def figures_page(page) -> Page:
    """The page, if there are figures in it: the exercises have none."""
    if not page.locator("figure").count():
        pytest.skip("a page without figures")
    return page


def test_the_two_schemes_differ_and_figures_take_the_pages_ink_and_ground(figures_page):
    page = figures_page
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


@pytest.mark.parametrize("width", [320, 390, 800, 1300, 1400])
def test_it_fits_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    line = page.locator(".text p").first.bounding_box()["width"]
    assert line < 700 and (width < 400 or line > 350), "about 70 characters"
    beside = page.locator("nav.contents").bounding_box()
    assert (beside["x"] + beside["width"] <= page.locator("h1").bounding_box()["x"]) == (width > 1100)
    assert styles(page, ".table, pre", "overflowX") <= {"auto"}
    heights = page.locator("figure svg text").evaluate_all(
        "all => all.filter(e => e.textContent.trim()).map(e => e.getBoundingClientRect().height)")
    if not heights or page.locator('figure svg[width="576pt"]').count():
        return  # no figures, or drawn when they were twice as wide: they scroll in their frames
    assert min(heights) >= 11, "pixels; letters turned on their side are as wide as they are high"
    inside = page.locator("figure").evaluate_all(
        "all => all.every(figure => figure.scrollWidth <= figure.clientWidth && figure.clientWidth > 280)")
    assert inside, "a figure is as wide as its frame"


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


NORMS = ("layer", "group", "batch")
BUTTONS = "".join(f'<input type="radio" name="switch-norm" id="switch-{norm}"><label for="switch-{norm}">{norm}</label>'
                  for norm in NORMS).replace('id="switch-layer"', 'id="switch-layer" checked')
BLOCKS = "".join(f'<table class="for-{norm}"><tr><td>new values of {norm}</td></tr></table>' for norm in NORMS)
SWITCH = f"""<div class="example"><fieldset><legend>Method</legend>{BUTTONS}</fieldset>
<table><tr><td class="layer group">1</td><td class="layer">2</td><td class="batch">3</td><td>4</td></tr></table>
{BLOCKS}<p class="for-group">a block that is no table</p></div>"""
WIDE = "".join(f"<td>one of many words in cell {number}</td>" for number in range(9))
LONG_LINE = "print(" + ", ".join(map(str, range(60))) + ")"


@style()
def figures() -> list:
    """The outputs of a made-up drawing and of a made-up image grid."""
    outputs = []
    for file_format, kind in (("svg", "image/svg+xml"), ("png", "image/png")):
        figure = blank(2.5)
        figure.subplots().plot([1, 2], [3, 4])
        captioned(figure, file_format, "A headline that is long enough for two lines", "What is drawn")
        content = render(figure, file_format)
        content = content.decode() if file_format == "svg" else b64encode(content).decode()
        outputs.append(new_output("display_data", {kind: content}, metadata={kind: {"alt": figure.alt}}))
    return outputs


@pytest.fixture(scope="module")
def made_up(browser: Browser, tmp_path_factory):
    """A small page with a drawing, an image grid, a switch, a wide table, long lines and a long formula."""
    html = [new_output("display_data", {"text/html": source})
            for source in (SWITCH, f"<table><thead><tr><td></td></tr></thead><tr>{WIDE}</tr></table>")]
    cells = [
        new_markdown_cell("# Made up\n\nText.\n\n$$" + "+".join("abcdefghijklmnopqrstuvwxyz") + "$$"),
        new_code_cell("plot()", outputs=[*figures(), *html]),
        new_code_cell(LONG_LINE, metadata={"tags": ["show-code"]})]
    path = tmp_path_factory.mktemp("made_up") / "page.html"
    path.write_text(to_html(new_notebook(cells=cells), path), encoding="utf-8")
    page = browser.new_context(offline=True).new_page()
    page.goto(path.as_uri())
    yield page
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1300])
def test_a_made_up_page_fits(made_up, width, scheme):
    """Figures take a phone's width, and what is cut shows it."""
    made_up.emulate_media(color_scheme=scheme, media="screen")
    made_up.set_viewport_size({"width": width, "height": 844})
    assert made_up.evaluate("document.documentElement.scrollWidth") <= width
    boxes = made_up.locator("figure svg, figure img").evaluate_all(
        "all => all.map(e => [e.getBoundingClientRect().width, e.parentElement.clientWidth])")
    assert len(boxes) == 2
    for drawn, frame in boxes:
        assert drawn == pytest.approx(frame, abs=1) and frame == pytest.approx(min(width - 32, 544), abs=1)
    heights = made_up.locator("figure svg text").evaluate_all("all => all.map(e => e.getBoundingClientRect().height)")
    assert len(heights) > 5 and min(heights) >= 11
    wider = made_up.locator(".text *").evaluate_all("""all => all.filter(e => e.clientWidth
        && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX == "auto")
        .map(e => [e.tagName, getComputedStyle(e).backgroundImage.split("linear-gradient").length])""")
    assert all(layers == 5 for _, layers in wider), "a shadow at each edge"
    names = {name for name, _ in wider}
    assert "DIV" not in names if width == 1300 else {"DIV", "PRE"} <= names, "a table is whole on a wide screen"
    made_up.evaluate(AXE_FILE_PATH.read_text())
    found = made_up.evaluate("axe.run({resultTypes: ['violations']})")
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found["violations"]] == []


def test_a_drawing_and_an_image_grid_do_not_glare_in_the_dark(made_up):
    made_up.emulate_media(color_scheme="dark", media="screen")
    assert styles(made_up, "figure svg text", "fill") == styles(made_up, "p, .fold > summary", "color")
    ground = styles(made_up, "html", "backgroundColor")
    assert styles(made_up, "figure svg > g > g:first-child > path", "fill") == ground
    assert styles(made_up, "figure img", "filter") == {"brightness(0.85)"}
    made_up.emulate_media(color_scheme="dark", media="print")
    assert styles(made_up, "figure svg > g > g:first-child > path", "fill") == {"rgb(253, 253, 251)"}, "paper is light"


def test_the_switch_works_by_keyboard_and_print_shows_all(made_up):
    made_up.emulate_media(color_scheme="light", media="screen")
    made_up.locator("#switch-layer").focus()
    expected = {"layer": ["1", "2"], "group": ["1"], "batch": ["3"]}
    for norm in NORMS:
        assert made_up.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", "visible focus"
        blocks = made_up.locator(".example [class*='for-']:visible")
        assert {norm in block.get_attribute("class") for block in blocks.all()} == {True}
        marked = made_up.locator(".example td").evaluate_all(
            "all => all.filter(cell => getComputedStyle(cell).outlineStyle == 'solid').map(cell => cell.textContent)")
        assert marked == expected[norm]
        made_up.keyboard.press("ArrowRight")
    made_up.emulate_media(media="print")
    assert all(block.is_visible() for block in made_up.locator(".example [class*='for-']").all())


def test_tagged_code_stands_unfolded(made_up):
    made_up.emulate_media(media="screen")
    assert [block.is_visible() for block in made_up.locator(".code").all()] == [False, True]
