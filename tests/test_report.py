"""The page and the command line: what must be in a report, what must never be, and how each failure ends."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers import report
from helpers.drawing import blank, described, render, save_figure
from helpers.export import ReportError, clean_html, export, to_html, to_inline_svg, to_mathml
from helpers.files import ROOT

STYLE = ROOT / "helpers" / "templates" / "report" / "style.css"
PNG = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 5"><text id="figure_1" y="4">curve</text></svg>'
FRAME = """<div><style scoped>.dataframe td { color: red }</style><table border="1" class="dataframe">
<thead><tr style="text-align: right;"><th></th><th>accuracy</th><th>note</th></tr><tr><th>variant</th><th></th><th></th>
</tr></thead><tbody><tr><th>layer</th><td>99.51 ± 0.02</td><td>&lt;b&gt;</td></tr>
<tr><th>group</th><td>99.49</td><td>ok</td></tr></tbody></table></div>"""
WIDE = "".join(f"<td>column number {n}</td>" for n in range(20))
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python", "version": "3.12.1"}}


def display(data: dict, metadata: dict | None = None):
    return new_output("display_data", data=data, metadata=metadata or {})


def code(source: str, *outputs, tag: str | None = None):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": [tag]} if tag else {}, execution_count=1)


def sample():
    """An executed notebook with one of everything."""
    nb = new_notebook(metadata=METADATA, cells=[
        new_markdown_cell("# Study <script>alert('title')</script>\n\nText with $x_i$ and `$HOME`, <b>bold</b>."),
        code("print('found')", new_output("stream", name="stdout", text="found\n")),
        new_markdown_cell("## In brief"),
        code("loop()", new_output("stream", name="stderr", text="UserWarning: debris\n 50%|#####     | 1/2"),
             new_output("stream", name="stdout", text=" 10%|#\r 99%|##\rlast line\n"),
             display({"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "widget debris"}),
             display({"text/markdown": "> **Notice.** $\\lambda = 10^{-5}$ <script>alert('markdown')</script>"})),
        new_markdown_cell("## Results\n\n$$y = \\frac{x - \\mu}{\\sqrt{\\sigma^2 + \\varepsilon}}$$\n\n"
                          "```python\nprice = '$1$'\n```\n\n#### Too deep\n\n<details><summary>Solution</summary>\n\n"
                          "Because $a < b$.\n\n</details>\n\n![far](https://example.org/a.png) [link](https://example.org)"),
        code("# a comment\nframe", new_output("execute_result", data={"text/html": FRAME, "text/plain": "frame"})),
        code("wide", display({"text/html": f"<table><tr>{WIDE}</tr></table><img src=x onerror=alert(1)>"})),
        code("plot()", display({"image/svg+xml": SVG, "image/png": PNG, "text/plain": "<Figure>"},
                               {"image/svg+xml": {"alt": 'Loss "falls" & stays'}})),
        code("grid()", display({"image/png": PNG}, {"image/png": {"alt": "Ten digits"}})),
        code("x", new_output("stream", name="stdout", text="<script>alert('stdout')</script>" + 300 * "-" + "\n"),
             display({"application/javascript": "alert('js')", "text/plain": "no script"})),
        new_markdown_cell("## Results"),
        new_markdown_cell("# Another title"),
    ])
    nb.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": {"1": {}}}}
    return nb


@pytest.fixture(scope="module")
def page() -> str:
    return to_html(sample(), "sample")


@pytest.fixture(scope="module")
def soup(page):
    return BeautifulSoup(page, "html.parser")


# ------------------------------------------------------------------------------------------------------ the page

def test_nothing_runs_and_nothing_is_fetched(page, soup):
    assert not soup.find_all(["script", "iframe", "link", "object", "embed"])
    assert not [tag for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")]
    sources = [tag[name] for tag in soup.find_all(True) for name in ("src", "srcset", "data") if tag.get(name)]
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import", soup.style.string)
    assert "default-src 'none'" in soup.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    for text in ("alert('title')", "alert('markdown')", "alert('stdout')"):
        assert text in soup.get_text(), "it stays text"
    assert "alert('js')" not in page


def test_debris_is_dropped_and_results_stay(soup):
    text = soup.get_text()
    for gone in ("debris", "50%|", "99%|", "UserWarning"):
        assert gone not in text
    for kept in ("found", "last line", "no script", "Notice."):
        assert kept in text


def test_headings_title_and_contents(soup):
    levels = [int(heading.name[1]) for heading in soup.find_all(re.compile("^h[1-6]$"))]
    assert levels == [1, 2, 2, 3, 2, 2]  # one h1, no level left out, a second title is a section
    assert soup.html["lang"] == "en"
    assert soup.title.string == soup.h1.get_text() == "Study <script>alert('title')</script>"
    links = [a["href"][1:] for a in soup.nav.find_all("a")]
    assert links == [h["id"] for h in soup.find_all(["h2", "h3"])]
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids)), "two sections with one name have two ids"
    assert soup.find("a", class_="skip")["href"] == "#" + soup.main["id"]


def test_the_contents_come_after_what_is_in_brief(soup):
    order = [tag["id"] if tag.name == "h2" else "nav" for tag in soup.find_all(["h2", "nav"])]
    assert order[:3] == ["in-brief", "nav", "results"]


def test_formulas_are_mathml_and_code_is_not(soup):
    assert [m["display"] for m in soup.find_all("math")] == ["inline", "inline", "block", "inline"]
    assert soup.find("math", display="block").find("mfrac")
    assert "\\" not in "".join(m.get_text() for m in soup.find_all("math"))
    assert soup.find("code", string="$HOME") and "'$1$'" in soup.get_text()
    assert soup.find("summary", string="Solution").parent.math.find("mo", string="<")


@pytest.mark.parametrize("tex", [r"\foo{x}", r"\frac{1", r"\begin{aligned} a &= b \end{aligned}", r"x^"])
def test_a_formula_that_stays_tex_fails_the_export(tex, tmp_path):
    nbformat.write(new_notebook(cells=[new_markdown_cell(f"# T\n\n${tex}$")]), tmp_path / "a.ipynb")
    with pytest.raises(ReportError, match=re.escape(tex)):
        export(tmp_path / "a.ipynb", tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_a_formula_is_no_way_in_for_html():
    assert "<script" not in to_mathml(r"\text{<script>alert(1)</script>}")


def test_tables(soup):
    frame, wide = soup.find_all("table")
    assert [[cell.get_text(strip=True) for cell in row.find_all(["th", "td"])] for row in frame.find_all("tr")] == [
        ["variant", "accuracy", "note"], ["layer", "99.51 ± 0.02", "<b>"], ["group", "99.49", "ok"]]
    assert [th["scope"] for th in frame.find_all("th")] == ["col", "col", "col", "row", "row"]
    assert [cell.get_text() for cell in frame.find_all(class_="number")] == ["accuracy", "99.51 ± 0.02", "99.49"]
    names = [table.parent["aria-label"] for table in (frame, wide)]
    assert len(set(names)) == 2 and all(table.parent["role"] == "region" and table.parent["tabindex"] == "0"
                                        for table in (frame, wide))


def test_figures_have_their_alt_texts(soup):
    (drawing,), (second,) = soup.select("figure svg"), soup.select("figure img")
    assert drawing["role"] == "img" and drawing["aria-label"] == 'Loss "falls" & stays'
    assert second["src"].startswith("data:image/png") and second["alt"] == "Ten digits"
    assert not soup.find_all("img", alt=False)


def test_a_drawn_figure_stands_in_the_page_as_text_and_shapes():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3))
    figure.subplots().plot([1, 2], [3, 4], marker="o", gid="curve")
    figure.suptitle("A <title> & more")
    alt = 'A line "rises"'
    svg = render(described(figure, "svg", alt), "svg").decode()
    nb = new_notebook(metadata=METADATA, cells=[new_markdown_cell("# T"), *(
        code("plot()", display({"image/svg+xml": svg, "image/png": PNG}, {"image/png": {"alt": alt}}))
        for _ in range(2))])
    page = to_html(nb)
    drawings = BeautifulSoup(page, "html.parser").select("figure svg")
    assert len(drawings) == 2 and "data:image/png" not in page
    assert drawings[0]["aria-label"] == alt and "A <title> & more" in drawings[0].get_text()
    ids = [tag["id"] for drawing in drawings for tag in drawing.find_all(id=True)]
    assert len(ids) == len(set(ids)) > 4
    for target in re.findall(r'(?:href="|url\()#(figure[^")]+)', page):
        assert target in ids
    assert "viewBox" in page and "<style" not in page[page.index("<svg"):], "no rule that reaches the whole page"


@pytest.mark.parametrize("inside", [
    "<script>alert(1)</script>", '<path onclick="alert(1)"/>', '<use href="https://example.org/a.svg#b"/>',
    '<use xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="data:x"/>', "<foreignObject/>",
    '<path style="fill: url(https://example.org/a)"/>', "<style>p { color: red }</style>", "<not", "&undefined;"])
def test_a_foreign_drawing_stays_a_picture(inside):
    assert to_inline_svg('<svg xmlns="http://www.w3.org/2000/svg"><g></g></svg>', 1, "") is not None
    assert to_inline_svg(f'<svg xmlns="http://www.w3.org/2000/svg"><g>{inside}</g></svg>', 1, "") is None


def test_code_is_folded_and_one_switch_unfolds_it(soup):
    folds = [fold for fold in soup.select("details.fold") if fold.summary.string == "Code"]
    assert len(folds) == 7 and all("open" not in fold.attrs for fold in folds)
    assert all("code" in fold.find_next_sibling()["class"] for fold in folds)
    assert soup.find("label", class_="switch").input["type"] == "checkbox"


def test_a_failed_run_says_so_at_the_top():
    nb = sample()
    error = new_output("error", ename="ValueError", evalue="<b>no</b>", traceback=["/home/me/x.py"])
    nb.cells.insert(5, code("boom", error))
    soup = BeautifulSoup(to_html(nb), "html.parser")
    first = soup.main.find(True)
    assert first["class"] == ["failure"]
    assert first.get_text() == "This run failed in cell 3, section “Too deep”: ValueError: <b>no</b>"
    assert soup.find(id=first.a["href"][1:]) and soup.title.string.startswith("Failed: ")
    assert "/home/me" not in str(soup)


def test_no_place_on_this_machine_reaches_the_page():
    """Neither a folder that was asked for, nor one that an error names."""
    injected = new_code_cell("# Parameters\nseeds = [0]\nruns_dir = '/home/me/runs'\ndata_dir = '/home/me/mnist'\n"
                             "scheduler = 'tcp://me:1'\noutput_dir = '/home/me/out'",
                             metadata={"tags": ["injected-parameters"]})
    error = new_output("error", ename="OSError", traceback=["File /home/me/study/helpers/data.py:12"],
                       evalue="'/home/me/my runs/a.json' and /home/me/b.csv and C:\\Users\\me\\study\\c.py, 1/2 a/b")
    page = to_html(new_notebook(metadata=METADATA, cells=[
        new_markdown_cell("# T"), injected, new_code_cell("load()", outputs=[error])]))
    assert "seeds" in page and "'a.json' and b.csv and c.py, 1/2 a/b" in page
    for place in ("/home", "Users", "my runs", "tcp://me"):
        assert place not in page, place


def test_links_to_files_lead_somewhere_or_are_text(tmp_path):
    """The page of another notebook stands beside it only where both are published."""
    nb = new_notebook(metadata=METADATA, cells=[new_markdown_cell(
        "# T\n[theirs](https://example.org/a.ipynb) [more](more.ipynb) [none](none.csv) [down](#T)")])
    links = [link["href"] for link in BeautifulSoup(to_html(nb), "html.parser").select("p a")]
    assert links == ["https://example.org/a.ipynb", "#T"]
    (tmp_path / "more.html").touch()
    soup = BeautifulSoup(to_html(nb, folder=tmp_path), "html.parser")
    assert [link["href"] for link in soup.select("p a")] == ["https://example.org/a.ipynb", "more.html", "#T"]
    assert "none" in soup.p.get_text()


def test_clean_html_lets_text_through_unchanged():
    assert clean_html("<p>a &amp; b <em>c</em></p>") == "<p>a &amp; b <em>c</em></p>"
    assert "javascript" not in clean_html('<a href="javascript:alert(1)">x</a>')


# ---------------------------------------------------------------------------------------------------- the colours

def _palettes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    colours = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in (light, dark)]
    return {"light": colours[0], "dark": colours[1]}


def _luminance(colour: str) -> float:
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio, from 1 to 21."""
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(scheme):
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    palette = _palettes()[scheme]
    texts = set(palette) - {"page", "panel", "line", "warn-text", "warn-panel"}
    assert len(texts) == 8
    for ground in ("page", "panel"):
        for text in texts:
            assert _contrast(palette[text], palette[ground]) >= 4.5, f"{text} on {ground}"
    assert _contrast(palette["warn-text"], palette["warn-panel"]) >= 4.5


# ----------------------------------------------------------------------------------------------- the command line

PARAMETERS = "# Parameters: for the test\nseeds = [0]  # one run each\ndataset = 'auto'\noutput_dir = None  # none"
CONFIG = "from helpers.config import ParameterError\nfrom pathlib import Path\nimport sys, json"
TRAIN = ("for percent in (0, 50, 100):\n    print(f'\\rlayer: {percent}%|##|', end='', file=sys.stderr)\n"
         "print(file=sys.stderr)\nprint(seeds, dataset)")
CLOSE = ("if output_dir:\n    Path(output_dir, 'figures').mkdir(exist_ok=True)\n"
         "    Path(output_dir, 'figures', 'a.svg').write_text('<svg/>')\n"
         "    Path(output_dir, 'summary.json').write_text(json.dumps({'findings': ['all equal']}))")


@pytest.fixture
def notebook(tmp_path) -> Path:
    return write_notebook(tmp_path)


def write_notebook(folder: Path, *extra: str) -> Path:
    path = folder / "project" / "notebooks" / "small.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(new_notebook(metadata=METADATA, cells=[
        new_markdown_cell("# Small"), new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        new_code_cell(CONFIG), new_markdown_cell("## Training"), *map(new_code_cell, (*extra, TRAIN, CLOSE))]), path)
    return path


def test_a_run_leaves_the_page_the_notebook_and_one_closing_line(notebook, tmp_path, capfd):
    out = tmp_path / "out {x}"
    assert report.main([str(notebook), "-p", "seeds", "[0, 1]", "--output-dir", str(out)]) == 0
    captured = capfd.readouterr()
    assert captured.out == f"{out / 'small.html'}: all equal\n"
    assert captured.err == "layer: 100%|##|\n", "the bar, once, and no warning of papermill's or the kernel's"
    assert sorted(path.name for path in out.iterdir()) == ["figures", "small.html", "small.ipynb", "summary.json"]
    cells = json.dumps(nbformat.read(out / "small.ipynb", as_version=4).cells)
    assert "[0, 1] auto" in cells and "100%|" not in cells and str(out) not in cells
    assert str(out) not in (out / "small.html").read_text()


@pytest.mark.parametrize("arguments, expected", [
    (["-p", "sede", "3"], "sede: no such parameter; did you mean seeds?"),
    (["-p", "seeds", "[0, 0]"], "seeds: got [0, 0] (list), takes a list without repeats"),
    (["-p", "num_epochs", "2.5"], "num_epochs: got 2.5 (float), takes an integer"),
    (["-p", "lr", "nan"], "lr: got nan (float), takes a finite number above 0"),
    (["-p", "output_dir", "x"], "output_dir: give it as --output-dir"),
    (["--publish", "-p", "seeds", "[1]"], "--publish takes no parameters"),
    (["--output-dir", "FILE"], "output_dir: got 'FILE', takes a folder that can be written"),
    (["--output-dir", "FILE/below"], "output_dir: got 'FILE/below', takes a folder that can be written"),
    (["--output-dir", "NOTEBOOKS"], "the output folder is the notebook's own"),
])
def test_refused_in_one_line_before_a_kernel_starts(arguments, expected, notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "MAIN", notebook)
    monkeypatch.setattr(report, "run", lambda *_: pytest.fail("it was started"))
    (tmp_path / "file").touch()
    places = {"FILE": str(tmp_path / "file"), "NOTEBOOKS": str(notebook.parent)}
    for word, place in places.items():
        arguments, expected = [a.replace(word, place) for a in arguments], expected.replace(word, place)
    if "--output-dir" not in arguments:
        arguments = [*arguments, "--output-dir", str(tmp_path / "out")]
    assert report.main([str(notebook), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {expected}") and error.count("\n") == 1


@pytest.mark.parametrize("content", ["", "[]", "{}", "not json", '{"cells": 5}', '{"cells": [{}], "nbformat": 4}'])
def test_what_is_no_notebook_is_refused_in_one_line(content, tmp_path, capsys):
    path = tmp_path / "a.ipynb"
    path.write_text(content)
    assert report.main([str(path), "--output-dir", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path} can't be read as a notebook: ") and error.count("\n") == 1
    path.rename(tmp_path / "a.txt")
    assert report.main([str(tmp_path / "a.txt")]) == 2 and "takes an .ipynb file" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["", ".", "ROOT"])
def test_the_output_folder_is_not_the_projects_own(folder, monkeypatch, capsys):
    monkeypatch.setattr(report, "run", lambda *_: pytest.fail("it was started"))
    assert report.main(["--output-dir", folder.replace("ROOT", str(report.ROOT))]) == 2
    assert "takes a folder other than" in capsys.readouterr().err


def test_only_what_a_report_wrote_is_replaced(tmp_path):
    """Figures of an earlier report go, other people's files stay."""
    new, folder = tmp_path / "new", tmp_path / "out"
    drawing = described(blank(1.0), "svg", "a figure that is drawn for a test and says nothing")
    for place in (new, folder):
        (place / "records").mkdir(parents=True)
    save_figure(drawing, new / "figures", "now")
    drawing.file_format = "png"
    save_figure(drawing, folder / "figures", "earlier")
    drawing.file_format = "svg"
    save_figure(drawing, folder / "figures", "earlier")
    others = {"figures/chapter.png": b"theirs", "figures/chapter.svg": b"<svg>", "records/notes.txt": b"x", "a.md": b""}
    for name, content in others.items():
        (folder / name).write_bytes(content)
    (folder / "summary.json").write_text("{}")
    (new / "summary.json").write_text("[]")
    installed = report._install(new, folder)
    assert {str(path.relative_to(folder)) for path in installed} == {"figures/now.svg", "summary.json"}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == {*others, "figures/now.svg", "summary.json"}
    assert all((folder / name).read_bytes() == content for name, content in others.items())


@pytest.mark.parametrize("raised, status, line", [
    ("ParameterError('lr: got 0, takes more')", 2, "error: lr: got 0, takes more\n"),
    ("ValueError('one\\ntwo')", 1, "error: cell 3, section “Training”: ValueError: one two (see "),
    (None, 1, "error: cell 3, section “Training”: DeadKernelError: Kernel died"),
])
def test_a_failed_run_ends_in_one_line_and_a_page(raised, status, line, tmp_path, capfd):
    last_words = "import atexit, os\natexit.register(os.write, 2, b'a library complains at exit\\n')\n"
    notebook = write_notebook(tmp_path, last_words + (f"raise {raised}" if raised else "os.kill(os.getpid(), 9)"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "figures").mkdir()
    earlier = {out / "summary.json", out / "figures" / "old.svg", out / "results.csv", out / "small.html"}
    for path in earlier:
        path.write_text("earlier, of a normalisation study")
    assert report.main([str(notebook), "--output-dir", str(out)]) == status
    captured = capfd.readouterr()
    assert captured.err.startswith(line) and captured.err.count("\n") == 1 and captured.out == ""
    if status == 2:
        assert {path for path in out.rglob("*") if path.is_file()} == earlier, "what is refused changes nothing"
        assert all(path.read_text().startswith("earlier") for path in earlier)
    else:
        assert sorted(path.name for path in out.rglob("*")) == ["small.html", "small.ipynb"], "nothing of another run"
        assert "This run failed" in (out / "small.html").read_text()


def test_ctrl_c_ends_in_one_line(tmp_path):
    notebook = write_notebook(tmp_path, "import time\nprint('started', file=sys.stderr)\ntime.sleep(60)")
    command = [sys.executable, "-m", "helpers.report", str(notebook), "--output-dir", str(tmp_path / "out")]
    # a job that a shell put into the background ignores Ctrl-C, and hands that on to its children
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert process.stderr.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1].splitlines() == [
        "interrupted: the same command goes on from the last finished epoch"]
    assert process.returncode == 130


def test_publish_refreshes_what_is_committed(notebook, tmp_path, capfd):
    assert report.main(["--publish", str(notebook), "--output-dir", str(tmp_path / "out")]) == 0
    text = notebook.read_text()
    nb = nbformat.read(notebook, as_version=4)
    code_cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code_cells] == [1, 2, 3, 4]
    assert "[0] mnist" in code_cells[2].outputs[0].text and len(code_cells[2].outputs) == 1
    assert "papermill" not in text and str(tmp_path) not in text and "3.12.1" not in text
    assert nb.metadata.kernelspec.name == "python3" and code_cells[0].metadata.tags == ["parameters"]
    assert (notebook.parent.parent / "figures" / "a.svg").read_text() == "<svg/>"
    assert "[0] mnist" in notebook.with_suffix(".html").read_text()


def test_publish_refuses_a_path_of_this_machine(tmp_path):
    notebook = tmp_path / "notebooks" / "a.ipynb"
    notebook.parent.mkdir()
    executed = tmp_path / "executed.ipynb"
    nbformat.write(new_notebook(metadata=METADATA, cells=[
        code("x", new_output("stream", name="stdout", text=f"read {ROOT}/data"))]), executed)
    with pytest.raises(ReportError, match="output of cell 1 holds the path"):
        report.publish(executed, notebook, [])
    assert not notebook.exists() and not notebook.with_suffix(".html").exists()


def test_bars_redraw_on_a_terminal_and_come_once_in_a_file():
    class Stream(list):
        terminal = False
        isatty = lambda self: self.terminal  # noqa: E731
        write = list.append

    drawn = ["\rlayer:  50%|# |", "\n\rgroup:  50%|# |\x1b[A", "\rlayer: 100%|##| 1s", "\n\rgroup: 100%|##|\x1b[A",
             "\rlayer: 100%|##| 2s\n", "done\n"]
    file, terminal = Stream(), Stream()
    terminal.terminal = True
    for stream in (file, terminal):
        progress = report._Progress(stream)
        for text in drawn:
            progress.write(text)
    assert "".join(file) == "layer: 100%|##| 1s\ngroup: 100%|##|\ndone\n"
    assert list(terminal) == drawn


def test_help_explains_itself(capsys):
    with pytest.raises(SystemExit, match="0"):
        report.main(["--help"])
    text = capsys.readouterr().out
    assert all(word in text for word in ("-p seeds", "--publish", "runs/report", "summary.json", "exit status"))
