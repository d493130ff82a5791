"""The page of an executed notebook: what must be in it, and what must never be."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from support import ROOT

from helpers.files import FIGURE_MARK
from helpers.plots.style import described, render
from helpers.report.content import ReportError, clean_html, to_inline_svg, to_mathml
from helpers.report.page import to_html

STYLE = ROOT / "helpers" / "report" / "template" / "style.css"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FRAME = """<div><style scoped>.dataframe td { color: red }</style><table border="1" class="dataframe">
<thead><tr style="text-align: right;"><th></th><th>accuracy</th><th>note</th></tr><tr><th>variant</th><th></th><th></th>
</tr></thead><tbody><tr><th>layer</th><td>99.51 ± 0.02</td><td>&lt;b&gt;</td></tr>
<tr><th>group</th><td>99.49</td><td>ok</td></tr></tbody></table></div>"""
HEADLESS = "<thead><tr><td></td></tr><tr><td></td></tr></thead>"
WIDE = f"<table>{HEADLESS}<tr>{''.join(f'<td>column number {n}</td>' for n in range(20))}</tr></table>"
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"1": {}}}}}
ALT = 'Loss "falls" & stays'
HEADINGS = re.compile("^h[1-6]$")


def drawing() -> str:
    figure = Figure(figsize=(8, 3))
    figure.subplots().plot([1, 2], [3, 4], marker="o", gid="curve")
    figure.suptitle("A <title> & more")
    return render(described(figure, "svg", ALT), "svg").decode()


def display(data: dict, alt: str = ""):
    return new_output("display_data", data=data, metadata={next(iter(data)): {"alt": alt}})


def code(source: str, *outputs):
    return new_code_cell(source, outputs=list(outputs))


def sample() -> list:
    """The cells of an executed notebook with one of everything."""
    svg = {"image/svg+xml": drawing(), "image/png": PNG, "text/plain": "<Figure>"}
    return [
        new_markdown_cell("# Study <script>alert('title')</script>\n\nText with $x_i$ and `$HOME`, "
                          "<b>bold</b>, <i class='tex'>x</i>."),
        code("print('found')", new_output("stream", text="found\n")),
        new_markdown_cell("## In brief"),
        code("loop()", new_output("stream", name="stderr", text="UserWarning: debris\n 50%|#####     | 1/2"),
             new_output("stream", text=" 10%|#\r 99%|##\rlast line\n"),
             display({"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "widget debris"}),
             display({"text/markdown": "> **Notice.** $\\lambda = 10^{-5}$ <script>alert('markdown')</script>"})),
        new_markdown_cell("## Results\n\n$$y = \\frac{x - \\mu}{\\sqrt{\\sigma^2 + \\varepsilon}}$$\n\n"
                          "```python\nprice = '$1$'\n```\n\n#### Too deep\n\n<details><summary>Solution</summary>\n\n"
                          "Because $a < b$.\n\n</details>\n\n![far](https://example.org/a.png) [link](https://example.org)"),
        code("# a comment\nframe", new_output("execute_result", data={"text/html": FRAME, "text/plain": "frame"})),
        code("wide", display({"text/html": WIDE + "<img src=x onerror=alert(1)>"})),
        code("plot()", display(svg, ALT), display(svg, ALT), display({"image/png": PNG}, "Ten digits"),
             display({"image/svg+xml": "<svg><script/></svg>", "image/png": PNG}, "Somebody's")),
        code("x", new_output("stream", text="<script>alert('stdout')</script>" + 300 * "-" + "\n"),
             display({"application/javascript": "alert('js')", "text/plain": "no script"})),
        new_markdown_cell("## Results"),
        new_markdown_cell("# Another title")]


def export(*cells, folder: Path = Path("nowhere")) -> str:
    return to_html(new_notebook(metadata=METADATA, cells=list(cells)), folder / "sample.ipynb")


@pytest.fixture(scope="module")
def page() -> str:
    return export(*sample())


@pytest.fixture(scope="module")
def soup(page):
    return BeautifulSoup(page, "html.parser")


def test_nothing_runs_and_nothing_is_fetched(page, soup):
    assert not soup.find_all(["script", "iframe", "link", "object", "embed"])
    assert not [tag for tag in soup.find_all(True) if any(name.startswith("on") for name in tag.attrs)]
    sources = [tag[name] for name in ("src", "srcset", "data") for tag in soup.find_all(attrs={name: True})]
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\((?!#figure)|@import", page)
    assert "default-src 'none'" in soup.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    assert clean_html("<p>a &amp; b <em>c</em></p>") == "<p>a &amp; b <em>c</em></p>"
    assert "javascript" not in clean_html('<a href="javascript:alert(1)">x</a>')
    assert "<script" not in to_mathml(r"\text{<script>alert(1)</script>}")


def test_debris_is_dropped_and_results_stay(page, soup):
    text = soup.get_text()
    for gone in ("debris", "50%|", "99%|", "UserWarning", "alert('js')"):
        assert gone not in page
    for kept in ("found", "last line", "no script", "Notice.", "'title')", "alert('markdown')", "'stdout')"):
        assert kept in text


def test_headings_title_and_contents(soup):
    levels = [int(heading.name[1]) for heading in soup.find_all(HEADINGS)]
    assert levels == [1, 2, 2, 3, 2, 2]  # one h1, no level left out, a second title is a section
    assert soup.html["lang"] == "en"
    assert soup.title.string == soup.h1.get_text() == "Study <script>alert('title')</script>"
    links = [link["href"][1:] for link in soup.nav.find_all("a")]
    assert links == [heading["id"] for heading in soup.find_all(["h2", "h3"])]
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids)), "two sections with one name have two ids"
    assert soup.find("a", class_="skip")["href"] == "#" + soup.main["id"]
    order = [tag.get("id", "nav") for tag in soup.find_all(["h2", "nav"])]
    assert order[:3] == ["in-brief", "nav", "results"], "the contents come after what is in brief"
    untitled = BeautifulSoup(export(code("no title")), "html.parser")
    assert untitled.h1.string == untitled.title.string == "sample"


def test_formulas_are_mathml_and_code_is_not(soup):
    assert [m["display"] for m in soup.find_all("math")] == ["inline", "inline", "block", "inline"]
    assert soup.find("math", display="block").find("mfrac")
    assert "\\" not in "".join(m.get_text() for m in soup.find_all("math"))
    assert soup.find("code", string="$HOME") and "'$1$'" in soup.get_text()
    assert soup.find("summary", string="Solution").parent.math.find("mo", string="<")


@pytest.mark.parametrize("tex", [
    r"\foo{x}", r"\frac{1", r"\binom{1}", r"\overset{a}", r"\begin{aligned} a &= b \end{aligned}", r"x^"])
def test_a_formula_that_stays_tex_fails_the_export(tex):
    with pytest.raises(ReportError, match=re.escape(tex)):
        export(new_markdown_cell(f"# T\n\n${tex}$"))


def test_tables(soup):
    frame, wide = soup.find_all("table")
    assert [cell.get_text(strip=True) for cell in frame.find_all(["th", "td"])] == [
        "variant", "accuracy", "note", "layer", "99.51 ± 0.02", "<b>", "group", "99.49", "ok"]
    assert len(frame.find_all("tr")) == 3
    assert [th["scope"] for th in frame.find_all("th")] == ["col", "col", "col", "row", "row"]
    assert [cell.get_text() for cell in frame.find_all(class_="number")] == ["accuracy", "99.51 ± 0.02", "99.49"]
    assert 'aria-label="Table 1"' in export(code("wide", display({"text/html": WIDE})), new_markdown_cell("# Below"))
    assert frame.parent["aria-label"] != wide.parent["aria-label"]
    assert all(table.parent["role"] == "region" and table.parent["tabindex"] == "0" for table in (frame, wide))


def test_our_figures_are_text_and_shapes_and_all_have_alt_texts(page, soup):
    drawings = soup.select("figure svg")
    assert [drawing["aria-label"] for drawing in drawings] == [ALT, ALT]
    assert all(drawing["role"] == "img" and "A <title> & more" in drawing.get_text() for drawing in drawings)
    ids = [tag["id"] for drawing in drawings for tag in drawing.find_all(id=True)]
    targets = re.findall(r'(?:href="|url\()#(figure[^")]+)', page)
    assert targets and set(targets) <= set(ids)
    assert "<style" not in page[page.index("<svg"):], "no rule that reaches the whole page"
    images = [(image["alt"], image["src"].partition(";")[0]) for image in soup.find_all("img")]
    assert images == [("Ten digits", "data:image/png"), ("Somebody's", "data:image/svg+xml")]


@pytest.mark.parametrize("inside", [
    "<script>alert(1)</script>", '<path onclick="alert(1)"/>', '<use href="https://example.org/a.svg#b"/>',
    '<use xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="data:x"/>', "<foreignObject/>",
    '<use xmlns:x="http://www.w3.org/1999/xlink" x:href="data:x"/>', "<a xmlns='http://www.w3.org/1999/xhtml'/>",
    '<path style="fill: url(https://example.org/a)"/>', "<image/>", "<not", "&undefined;"])
def test_a_foreign_drawing_stays_a_picture(inside):
    own = f'<svg xmlns="http://www.w3.org/2000/svg" data-from="{FIGURE_MARK}"><style>p {{color: red}}</style><g/></svg>'
    assert "<g" in to_inline_svg(own, 1, "") and "color" not in to_inline_svg(own, 1, "")
    assert not to_inline_svg(own.replace(FIGURE_MARK, "another program"), 1, "")
    assert not to_inline_svg(own.replace("<g/>", inside), 1, "")


def test_code_is_folded_and_one_switch_unfolds_it(soup):
    folds = [fold for fold in soup.select("details.fold") if fold.summary.string == "Code"]
    assert len(folds) == 6 and all("open" not in fold.attrs for fold in folds)
    assert all("code" in fold.find_next_sibling()["class"] for fold in folds)
    assert soup.find("label", class_="switch").input["type"] == "checkbox"


def test_a_failed_run_says_so_at_the_top():
    cells = sample()
    cells.insert(5, code("boom", new_output("error", ename="ValueError", evalue="<b>no</b>", traceback=[])))
    soup = BeautifulSoup(export(*cells), "html.parser")
    first = soup.main.find(True)
    assert first["class"] == ["failure"]
    assert first.get_text() == "This run failed in cell 3, section “Too deep”: ValueError: <b>no</b>"
    assert soup.find(id=first.a["href"][1:]) and soup.title.string.startswith("Failed: ")


def test_no_folder_of_this_machine_reaches_the_page():
    """Neither a folder that was asked for, nor one that an error names."""
    injected = code("# Parameters\nseeds = [0]\nruns_dir = '/home/me/runs'\ndata_dir = '/home/me/mnist'\n"
                    "scheduler = 'tcp://me:1'\noutput_dir = '/home/me/out'")
    injected.metadata.tags = ["injected-parameters"]
    error = new_output("error", ename="OSError", traceback=["File /home/me/study/helpers/data.py:12"],
                       evalue="'/home/me/my runs/a.json' and /home/me/b.csv and C:\\Users\\me\\study\\c.py, 1/2 a/b")
    page = export(new_markdown_cell("# T"), injected, code("load()", error))
    assert "seeds" in page and "'a.json' and b.csv and c.py, 1/2 a/b" in page
    for folder in ("/home", "Users", "my runs", "tcp://me"):
        assert folder not in page, folder


def test_links_to_files_lead_somewhere_or_are_text(tmp_path):
    """The page of another notebook stands beside it only where both are published."""
    text = new_markdown_cell("# T\n[theirs](https://example.org/a.ipynb) [more](more.ipynb) [none](none.csv) "
                             "[data](data:text/html,x) [down](#T)")
    (tmp_path / "more.html").touch()
    for folder, found in ((Path("nowhere"), []), (tmp_path, ["more.html"])):
        paragraph = BeautifulSoup(export(text, folder=folder), "html.parser").select_one("p")
        assert [link["href"] for link in paragraph("a")] == ["https://example.org/a.ipynb", *found, "#T"]
        assert "more none data" in paragraph.get_text()


def luminance(colour: str) -> float:
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio, from 1 to 21."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_has_contrast(scheme):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    palette = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme]))
    texts = set(palette) - {"page", "panel", "line", "warn-text", "warn-panel"}
    assert len(texts) == 8
    pairs = [("warn-text", "warn-panel"), *((text, ground) for text in texts for ground in ("page", "panel"))]
    for text, ground in pairs:
        assert contrast(palette[text], palette[ground]) >= 4.5, f"{text} on {ground}"
