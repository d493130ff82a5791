"""The section in which a reader draws: torch's own answers, from any pointer or key, and nothing gets out or in."""

import json

import pytest
import torch
from drawn_digits import DRAWINGS
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import Page

from helpers.data import normalize
from helpers.datasets import load_dataset
from helpers.files import RECORDS
from helpers.report.page import to_html
from helpers.report.try_it import frame
from helpers.results.networks import pack_networks
from helpers.runs.weights import load_network

NORMS = ("layer", "group", "batch")
HOSTILE = """<script>window.hacked = 1</script><img src="x" onerror="window.hacked = 1">
<section class="try-it"><div class="networks">AAAA</div></section>"""


@pytest.fixture(scope="module")
def networks() -> bytes:
    """The published networks, with images of the embedded digits."""
    return pack_networks([RECORDS / f"{norm}.safetensors" for norm in NORMS], load_dataset("digits"), [3, 7])


@pytest.fixture(scope="module")
def path(networks, tmp_path_factory):
    outputs = [new_output("display_data", {"text/html": HOSTILE})]
    cells = [new_markdown_cell("# A page"), new_code_cell("hostile()", outputs=outputs),
             new_code_cell("frame(networks)", outputs=outputs, metadata={"tags": ["try-it"]})]
    path = tmp_path_factory.mktemp("try_it") / "page.html"
    path.write_text(to_html(new_notebook(cells=cells), path, networks), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def window(open_offline, path):
    """The page on a phone of 320 pixels, with a finger."""
    page = open_offline(path, has_touch=True, viewport={"width": 320, "height": 900})
    yield page
    page.context.close()


@pytest.fixture
def page(window) -> Page:
    """The window with an empty sheet."""
    window.locator(".clear").click()
    return window


def answers(page: Page) -> list[str]:
    """What the networks read, once what was drawn is shown."""
    page.evaluate("new Promise(shown => requestAnimationFrame(() => requestAnimationFrame(shown)))")
    return page.locator("table.answers tbody tr:first-child td").all_text_contents()


# Events of a pen as a page's own script would send them: no pointer to capture. Points: shares of the paper's width.
PEN = """strokes => {
    const paper = document.querySelector(".paper");
    const box = paper.getBoundingClientRect();
    const send = (type, pointerId, [x, y]) => paper.dispatchEvent(new PointerEvent(type, {
        pointerId, pointerType: "pen", bubbles: true,
        clientX: box.left + box.width * x, clientY: box.top + box.width * y}));
    for (const stroke of strokes) {
        send("pointerdown", 7, stroke[0]);
        send("pointerdown", 8, [0.1, 0.5]);
        for (const point of stroke) {
            send("pointermove", 7, point);
            send("pointermove", 8, [point[1], point[0]]);
        }
        send("pointerup", 7, stroke.at(-1));
        send("pointermove", 7, [0.9, 0.9]);
    }
}"""


@pytest.mark.parametrize("norm", NORMS)
def test_logits_are_torchs(page, norm):
    """With the page's float16 weights within 0.001, and no other answer than with the full ones."""
    images = load_dataset("digits").val_images[:60]
    full = load_network(RECORDS / f"{norm}.safetensors")
    rounded = load_network(RECORDS / f"{norm}.safetensors").half().float()
    call = "([norm, images]) => images.map(image => [...study.logits(norm, Uint8Array.from(image))])"
    logits = torch.tensor(page.evaluate(call, [norm, images.flatten(1).tolist()]))
    with torch.no_grad():
        torch.testing.assert_close(logits, rounded(normalize(images)), atol=1e-3, rtol=0)
        assert torch.equal(logits.argmax(1), full(normalize(images)).argmax(1))


@pytest.mark.parametrize("left, top, size", [(0.2, 0.1, 0.8), (0.1, 0.6, 0.3)], ids=["thin", "thick"])
def test_drawn_digits_are_read(page, left, top, size):
    """By a pen, beside which a second pointer draws nothing: 9 of 10, by at least two networks."""
    num_read = 0
    for digit, strokes in enumerate(DRAWINGS):
        page.locator(".clear").click()
        page.evaluate(PEN, [[(left + size * x, top + size * y) for x, y in stroke] for stroke in strokes])
        num_read += answers(page).count(str(digit)) >= 2
    assert num_read >= 9
    assert page.said == []


def test_a_mouse_draws(page):
    box = page.locator(".paper").bounding_box()
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(middle, box["y"] + 0.8 * box["height"], steps=6)
    page.mouse.up()
    assert answers(page).count("1") >= 2


def test_a_finger_draws_and_does_not_scroll(page):
    box = page.locator(".paper").bounding_box()
    before = page.evaluate("scrollY")
    touch = page.context.new_cdp_session(page)
    points = [{"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] * step / 10} for step in range(2, 9)]
    for number, point in enumerate(points):
        kind = "touchMove" if number else "touchStart"
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert answers(page).count("1") >= 2
    assert page.evaluate("scrollY") == before


def test_keys_draw_and_undo(page):
    assert answers(page) == ["–", "–", "–"]
    assert page.locator(".verdict").text_content().startswith("Draw a digit")
    page.locator(".paper").focus()
    for key in [*["ArrowUp"] * 8, " ", *["ArrowDown"] * 18, " ", "ArrowLeft"]:
        page.keyboard.press(key)
    assert answers(page).count("1") >= 2
    assert page.locator(".verdict").text_content().count("reads") == 3
    page.locator(".undo").press("Enter")
    assert answers(page) == ["–", "–", "–"]


def test_examples_open_by_click_and_by_key(page):
    data = load_dataset("digits")
    page.locator(".wrong button").last.press("Enter")
    assert page.locator(".verdict").text_content().startswith(f"Test image 7, labelled {data.val_labels[7]}.")
    page.locator(".next").click()  # after the last comes the first
    assert page.locator(".verdict").text_content().startswith(f"Test image 0, labelled {data.val_labels[0]}.")
    seen = "() => [...document.querySelector('.seen').getContext('2d').getImageData(0, 0, 28, 28).data]"
    assert page.evaluate(seen)[::4] == (255 - data.val_images[0].flatten()).tolist()


@pytest.mark.parametrize("ground, ink", [("white", "black"), ("#123", "#fff"), (None, "black")])
def test_a_drawing_is_prepared_as_mnist_was(page, ground, ink):
    """A bar of 30 × 120 in a corner: 20 high, 5 wide, its centre of mass in the middle, as dark as ink gets."""
    pixels = torch.tensor(page.evaluate("""([ground, ink]) => {
        const context = new OffscreenCanvas(280, 200).getContext("2d");
        if (ground) { context.fillStyle = ground; context.fillRect(0, 0, 280, 200); }
        context.fillStyle = ink;
        context.fillRect(240, 10, 30, 120);
        return [...study.prepare(context.getImageData(0, 0, 280, 200))];
    }""", [ground, ink])).view(28, 28).float()
    rows, columns = (pixels > 127).nonzero().T
    assert (rows.min(), rows.max()) == (4, 23) and columns.max() - columns.min() + 1 in (4, 5, 6)
    assert pixels.max() == 255
    places = torch.arange(28) + 0.5
    assert (pixels.sum(1) @ places / pixels.sum()).item() == pytest.approx(14, abs=0.1)
    assert (pixels.sum(0) @ places / pixels.sum()).item() == pytest.approx(14, abs=0.1)


def test_norms_are_shown_and_layernorm_standardizes(page):
    """After LayerNorm's first block: γ and β aside, mean 0 and standard deviation 1."""
    page.locator(".next").click()
    rows = page.locator("table.norms tbody tr")
    assert rows.count() == 6
    after = rows.first.locator("td.layer span").last.text_content()
    mean, std = map(float, after.split(" ± "))
    assert abs(mean) < 0.5 and 0.5 < std < 1.5
    before = rows.first.locator("td.layer span").first.text_content()
    page.locator(".next").click()
    assert rows.first.locator("td.layer span").first.text_content() != before, "it moves with the image"


def test_nothing_gets_in_or_out(open_offline, path):
    page = open_offline(path)
    assert page.asked == [path.as_uri()] and page.said == []
    assert page.evaluate("window.hacked") is None
    page.evaluate("""() => { const script = document.createElement("script"); script.textContent = "window.hacked = 1";
        document.body.append(script); fetch("data:,x").catch(() => {}); }""")
    assert page.evaluate("window.hacked") is None and "Content Security Policy" in page.said[0]
    assert path.stat().st_size < 3e6
    page.context.close()


def test_without_javascript_it_says_so(browser, path):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(path.as_uri())
    assert page.locator(".without").is_visible() and not page.locator(".paper").is_visible()
    page.context.close()


def test_without_networks_it_says_so(tmp_path):
    cell = new_code_cell("frame(networks)", outputs=[new_output("stream", text="x")], metadata={"tags": ["try-it"]})
    text = to_html(new_notebook(cells=[cell]), tmp_path / "page.html")
    assert "were not kept" in text and "<script" not in text and "script-src" not in text
    assert "were not kept" in frame(b"").data


def test_in_jupyter_it_lives_in_a_frame(browser, networks):
    page = browser.new_context(offline=True).new_page()
    page.set_content(frame(networks)._repr_html_())
    inner = page.frames[1]
    inner.locator(".next").click()
    assert inner.locator(".verdict").text_content().startswith("Test image")
    assert len(json.loads(inner.evaluate("JSON.stringify([...study.logits('group', new Uint8Array(784))])"))) == 10
    page.context.close()
