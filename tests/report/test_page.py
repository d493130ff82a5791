"""The page of an executed notebook: what must be in it, and what must never be."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from support import ROOT

from helpers.files import FIGURE_MARK
from helpers.plots.style import described, render
from helpers.report.content import clean_html, to_inline_svg, to_mathml
from helpers.report.page import to_html

STYLE = ROOT / "helpers" / "report" / "template" / "style.css"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FRAME = """<div><style scoped>.dataframe td { color: red }</style><table border="1" class="dataframe">
<thead><tr style="text-align: right;"><th></th><th>accuracy</th><th>note</th></tr>
<tr><th>variant</th><th></th><th></th></tr></thead>
<tbody><tr><th>layer</th><td>99.51 ± 0.02</td><td>&lt;b&gt;</td></tr>
<tr><th>group</th><td>99.49</td><td>ok</td></tr></tbody></table></div>"""
WIDE = f"""<table><thead><tr><td></td></tr><tr><td></td></tr></thead>
<tr>{"".join(f"<td>column number {n}</td>" for n in range(20))}</tr></table>"""
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"1": {}}}}}
ALT = 'Loss "falls" & stays'
RESULTS = (
    "## Results\n\n$$y = \\frac{x - \\mu}{\\sqrt{\\sigma^2 + \\varepsilon}}$$\n\n```python\nprice = '$1$'\n```\n\n"
    "#### Too deep\n<details><summary>Solution</summary>\n\nBecause $a < b$.\n\n</details>\n\n"
    "![far](https://example.org/a.png) [link](https://example.org)")


def drawing() -> str:
    figure = Figure(figsize=(8, 3))
    figure.subplots().plot([1, 2], [3, 4], marker="o", gid="curve")
    figure.suptitle("A <title> & more")
    return render(described(figure, "svg", ALT), "svg").decode()


def display(kind: str, content: str, plain: str = "", alt: str = "", **more: str):
    data = {kind: content, "text/plain": plain, **more}
    return new_output("display_data", data=data, metadata={kind: {"alt": alt}})


def printed(text: str, name: str = "stdout"):
    return new_output("stream", text=text, name=name)


def code(source: str, *outputs):
    return new_code_cell(source, outputs=list(outputs))


def sample() -> list:
    """The cells of an executed notebook with one of everything."""
    ours = display("image/svg+xml", drawing(), "<Figure>", ALT, **{"image/png": PNG})
    theirs = display("image/svg+xml", "<svg><script/></svg>", "", "Somebody's", **{"image/png": PNG})
    return [
        new_markdown_cell("# Study <script>alert('title')</script>\n\nText with $x_i$ and `$HOME`, "
                          "<b>bold</b>, <i class='tex'>x</i>."),
        code("print('found')", printed("found\n")),
        new_markdown_cell("## In brief"),
        code("loop()", printed("UserWarning: debris\n 50%|#####     | 1/2", "stderr"),
             printed(" 10%|#\r 99%|##\rlast line\n"),
             display("application/vnd.jupyter.widget-view+json", {"model_id": "1"}, "widget debris"),
             display("text/markdown", "> **Notice.** $\\lambda = 10^{-5}$ <script>alert('markdown')</script>")),
        new_markdown_cell(RESULTS),
        code("# a comment\nframe", new_output("execute_result", data={"text/html": FRAME, "text/plain": "frame"})),
        code("wide", display("text/html", WIDE + "<img src=x onerror=alert(1)>")),
        code("plot()", ours, ours, display("image/png", PNG, alt="Ten digits"), theirs),
        code("x", printed("<script>alert('stdout')</script>" + "\n".rjust(300, "-")),
             display("application/javascript", "alert('js')", "no script")),
        new_markdown_cell("## Results"),
        new_markdown_cell("# Another title")]


def export(*cells, folder: Path = Path("nowhere")) -> BeautifulSoup:
    """The page of a notebook with these cells."""
    page = to_html(new_notebook(metadata=METADATA, cells=list(cells)), folder / "sample.ipynb")
    assert page.encode(), "it can be written"
    return BeautifulSoup(page, "html.parser")


@pytest.fixture(scope="module")
def soup() -> BeautifulSoup:
    return export(*sample())


def test_nothing_runs_and_nothing_is_fetched(soup):
    assert not soup.find_all(["script", "iframe", "link", "object", "embed"])
    assert not [name for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")]
    sources = [tag[name] for name in ("src", "srcset", "data") for tag in soup.find_all(attrs={name: True})]
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\((?!#figure)|@import", str(soup))
    assert "default-src 'none'" in soup.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    assert clean_html("<p>a &amp; b <em>c</em></p>") == "<p>a &amp; b <em>c</em></p>"
    assert "javascript" not in clean_html('<a href="javascript:alert(1)">x</a>')
    assert "<script" not in to_mathml(r"\text{<script>alert(1)</script>}")


def test_debris_is_dropped_and_results_stay(soup):
    assert not re.search(r"debris|50%\||99%\||UserWarning|alert\('js'\)", str(soup))
    for kept in ("found", "last line", "no script", "Notice.", "'title')", "alert('markdown')", "'stdout')"):
        assert kept in soup.get_text()


def test_headings_title_and_contents(soup):
    headings = soup.find_all(["h1", "h2", "h3", "h4", "h5", "h6"])
    assert [heading.name for heading in headings] == ["h1", "h2", "h2", "h3", "h2", "h2"], "one h1, no level left out"
    assert soup.html["lang"] == "en"
    assert soup.title.string == soup.h1.get_text() == "Study <script>alert('title')</script>"
    links = [link["href"][1:] for link in soup.nav.find_all("a")]
    assert links == [heading["id"] for heading in headings[1:]]
    counts = Counter(tag["id"] for tag in soup.find_all(id=True))
    assert max(counts.values()) == 1, "two sections with one name have two ids"
    assert soup.find("a", class_="skip")["href"] == "#" + soup.main["id"]
    order = [tag.get("id", "nav") for tag in soup.find_all(["h2", "nav"])]
    assert order[:3] == ["in-brief", "nav", "results"], "the contents come after what is in brief"
    untitled = export(code("no title"))
    assert untitled.h1.string == untitled.title.string == "sample"


def test_formulas_are_mathml_and_code_is_not(soup):
    formulas = soup.find_all("math")
    assert [formula["display"] for formula in formulas] == ["inline", "inline", "block", "inline"]
    assert formulas[2].find("mfrac") and not any("\\" in formula.get_text() for formula in formulas)
    assert soup.find("code", string="$HOME") and "'$1$'" in soup.get_text()
    assert soup.find("summary", string="Solution").parent.math.find("mo", string="<")


@pytest.mark.parametrize("tex", [
    r"\foo{x}", r"\frac{1", r"\binom{1}", r"\overset{a}", r"\begin{aligned} a &= b \end{aligned}", r"x^",
    "HOME/data_", " ", "{" * 2000])
def test_a_formula_without_mathml_is_shown_as_typed(tex, capsys):
    page = export(new_markdown_cell("# T"), new_markdown_cell(f"a ${tex}$ b"))
    assert f"${tex}$" in page.select_one(".text").get_text()
    assert capsys.readouterr().err.startswith("warning: cell 2: no MathML for $")


def test_what_the_exporter_meets_does_not_end_it():
    png = new_output("display_data", {"image/png": 'AA=="><meta http-equiv="refresh" content="0;url=http://e">'})
    cells = [new_markdown_cell("# T\n\n![gone](attachment:no.png) half \ud83d a character $\\href{javascript:x}{y}$"),
             code("png", png), new_markdown_cell("no heading", metadata={"tags": ["folded"]}),
             new_markdown_cell("## Same\n\n" * 500 + "## Same-2")]
    page = export(*cells)
    assert len(page.find_all("meta", {"http-equiv": True})) == 1 and "javascript" not in str(page)
    assert "gone half ? a character" in page.get_text()
    ids = [heading["id"] for heading in page.find_all("h2")]
    assert len(set(ids)) == len(ids) == 501


def test_a_section_that_few_need_is_folded_and_its_heading_stays():
    tags = {"tags": ["folded"]}
    page = export(
        new_markdown_cell("# T"), new_markdown_cell("## A\n\ntext", metadata=tags), code("inside"),
        new_markdown_cell("### A1\n\nmore"), new_markdown_cell("## B"), new_markdown_cell("### B1", metadata=tags),
        code("below"), new_markdown_cell("### B2\n\nopen"))
    folds = page.select("details.section")
    assert [fold.summary["aria-label"] for fold in folds] == ["Show: A", "Show: B1"]
    assert [heading.get_text() for heading in page.select("h2, h3") if heading.find_parent("details")] == ["A1"]
    assert "inside" in folds[0].get_text() and "more" in folds[0].get_text() and "below" in folds[1].get_text()
    assert not page.find(string="open").find_parent("details")


def test_tables(soup):
    frame, wide = soup.find_all("table")
    assert [cell.get_text(strip=True) for cell in frame.find_all(["th", "td"])] == [
        "variant", "accuracy", "note", "layer", "99.51 ± 0.02", "<b>", "group", "99.49", "ok"]
    assert len(frame.find_all("tr")) == 3
    assert [th["scope"] for th in frame.find_all("th")] == ["col", "col", "col", "row", "row"]
    assert [cell.get_text() for cell in frame.find_all(class_="number")] == ["accuracy", "99.51 ± 0.02", "99.49"]
    alone = export(code("wide", display("text/html", WIDE)), new_markdown_cell("# Below"))
    assert alone.table.parent["aria-label"] == "Table 1"
    assert frame.parent["aria-label"] != wide.parent["aria-label"]
    assert all(table.parent["role"] == "region" and table.parent["tabindex"] == "0" for table in (frame, wide))


def test_our_figures_are_text_and_shapes_and_all_have_alt_texts(soup):
    drawings = soup.select("figure svg")
    assert [drawing["aria-label"] for drawing in drawings] == [ALT, ALT]
    assert all(drawing["role"] == "img" and "A <title> & more" in drawing.get_text() for drawing in drawings)
    targets = re.findall(r'(?:href="|url\()#(figure[^")]+)', str(soup))
    assert targets and {tag["id"] for tag in soup.select("figure svg [id]")}.issuperset(targets)
    assert not soup.main.find("style"), "no rule that reaches the whole page"
    images = [(image["alt"], image["src"].partition(";")[0]) for image in soup.find_all("img")]
    assert images == [("Ten digits", "data:image/png"), ("Somebody's", "data:image/svg+xml")]


@pytest.mark.parametrize("inside", [
    '<g style="position: fixed"/>', "<g style='fill: image-set(\"http://e\")'/>", r'<g style="fill: u\72l(http://e)"/>',
    '<g style="fill: URL(http://e)"/>', '<a href="DATA:text/html,x"><g/></a>',
    "<script>alert(1)</script>", '<path onclick="alert(1)"/>', '<use href="https://example.org/a.svg#b"/>',
    '<use xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="data:x"/>', "<foreignObject/>",
    '<use xmlns:x="http://www.w3.org/1999/xlink" x:href="data:x"/>', "<a xmlns='http://www.w3.org/1999/xhtml'/>",
    '<path style="fill: url(https://example.org/a)"/>', "<image/>", "<not", "&undefined;"])
def test_a_foreign_drawing_stays_a_picture(inside):
    own = f'<svg xmlns="http://www.w3.org/2000/svg" data-from="{FIGURE_MARK}"><style>p {{color: red}}</style><g/></svg>'
    assert "<g" in to_inline_svg(own, 1, "") and "color" not in to_inline_svg(own, 1, "")
    assert not to_inline_svg(own.replace(FIGURE_MARK, "another program"), 1, "")
    assert not to_inline_svg(own.replace("<g/>", inside), 1, "")


def test_a_run_of_cells_without_output_is_one_fold_and_a_tagged_cell_has_none():
    tagged = code("tagged")
    tagged.metadata.tags = ["show-code"]
    cells = [code("first"), code("second"), code("third", printed("shown")), tagged, code("fourth"), code("fifth")]
    text = export(new_markdown_cell("# T"), *cells, new_markdown_cell("end"), code(" ")).select_one(".text")
    folded = [block.get_text().split() for block in text.select(".fold + .code")]
    assert folded == [["first", "second", "third"], ["fourth", "fifth"]]
    assert len(text.select(".fold")) == 2
    assert [block.get_text().strip() for block in text.select(".code:not(.fold + .code)")] == ["tagged"]


def test_of_all_fields_radio_buttons_alone_may_stand_in_an_output():
    switch = '<fieldset><legend>L</legend><input type="radio" name="switch-a" id="switch-b" checked></fieldset>'
    assert clean_html(switch) == switch
    assert clean_html('<label for="switch-b">B</label>') == '<label for="switch-b">B</label>'
    kept = clean_html('<input type="radio" name="n" id="main" value="v" onchange="alert(1)">')
    assert kept == '<input type="radio">', "ids of the page stay its own"
    for field in ("", "type=text name=switch-a", 'type="checkbox" id="switch-b"', "type=submit formaction=x"):
        assert clean_html(f"<input {field}>text") == "text"


def test_a_failed_run_says_so_at_the_top():
    cells = sample()
    cells.insert(5, code("boom", new_output("error", ename="ValueError", evalue="<b>no</b>", traceback=[])))
    soup = export(*cells)
    first = soup.select_one("main > .failure:first-child")
    assert first.get_text() == "This run failed in cell 3, section “Too deep”: ValueError: <b>no</b>"
    assert soup.find(id=first.a["href"][1:]) and soup.title.string.startswith("Failed: ")


def test_no_folder_of_this_machine_reaches_the_page():
    """Neither a folder that was asked for, nor one that an error names."""
    injected = code("# Parameters\nseeds = [0]\nruns_dir = '/home/me/runs'\ndata_dir = '/home/me/mnist'\n"
                    "scheduler = 'me:1'\noutput_dir = '/home/me/out'")
    injected.metadata.tags = ["injected-parameters"]
    error = new_output("error", ename="OSError", traceback=["File /home/me/study/helpers/data.py:12"],
                       evalue="'/home/me/my runs/a.json' and /home/me/b.csv and C:\\Users\\me\\study\\c.py, 1/2 a/b")
    page = str(export(new_markdown_cell("# T"), injected, code("load()", error)))
    assert "seeds" in page and "'a.json' and b.csv and c.py, 1/2 a/b" in page
    assert not re.search("/home|Users|my runs|me:1", page)


def test_links_to_files_lead_somewhere_or_are_text(tmp_path):
    """The page of another notebook stands beside it only where both are published."""
    text = new_markdown_cell("# T\n[theirs](https://example.org/a.ipynb) [more](more.ipynb) [none](none.csv) "
                             "[data](data:text/html,x) [down](#T)")
    (tmp_path / "more.html").touch()
    for folder, found in ((Path("nowhere"), []), (tmp_path, ["more.html"])):
        paragraph = export(text, folder=folder).select_one("p")
        assert [link["href"] for link in paragraph("a")] == ["https://example.org/a.ipynb", *found, "#t"]
        assert "more none data" in paragraph.get_text()


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio, from 1 to 21."""
    parts = np.array([[*bytes.fromhex(colour[1:])] for colour in (one, other)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ [0.2126, 0.7152, 0.0722])
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
