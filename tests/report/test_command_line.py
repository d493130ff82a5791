"""`python -m helpers.report`: what a run leaves, what is refused, and how each failure ends."""

import io
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from support import ROOT

from helpers.plots.style import blank, described, save_figure
from helpers.report import __main__ as command_line
from helpers.report.content import ReportError
from helpers.report.execute import LiveProgress, install, publish

METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python", "version": "3.12.1"}}
PARAMETERS = "# Parameters: for the test\nseeds = [0]  # one run each\ndataset = 'auto'\noutput_dir = None  # none"
CONFIG = "from helpers.config import ParameterError\nfrom pathlib import Path\nimport sys, json"
TRAIN = ("for percent in (0, 50, 100):\n    print(f'\\rlayer: {percent}%|##|', end='', file=sys.stderr)\n"
         "print(file=sys.stderr)\nprint(seeds, dataset)")
CLOSE = ("Path(output_dir, 'figures').mkdir()\nPath(output_dir, 'figures', 'a.svg').write_text('<svg/>')\n"
         "Path(output_dir, 'summary.json').write_text(json.dumps({'findings': ['all equal']}))")


def write_notebook(folder: Path, before: str = "") -> Path:
    path = folder / "project" / "notebooks" / "small.ipynb"
    path.parent.mkdir(parents=True)
    parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell("# Small"), parameters, new_code_cell(CONFIG), new_markdown_cell("## Training"),
             new_code_cell(before), new_code_cell(TRAIN), new_code_cell(CLOSE)]
    nbformat.write(new_notebook(metadata=METADATA, cells=cells), path)
    return path


@pytest.fixture
def no_start(monkeypatch):
    monkeypatch.setattr(command_line, "run", lambda *_: pytest.fail("it was started"))


def test_a_run_leaves_the_page_the_notebook_and_one_closing_line(digits_report):
    folder, done = digits_report
    out = folder / "out"
    summary = json.loads((out / "summary.json").read_text())
    assert done.stdout == f"{out / 'mnist_normalization.html'}: {summary['findings'][0]}\n"
    bars = done.stderr.splitlines()
    assert bars and len(bars) == len(set(bars)) and all("100%|" in bar for bar in bars), "each bar once, no warning"
    assert {path.name for path in out.iterdir()} == {"figures", "records", "results.csv", "summary.json",
                                                     "mnist_normalization.html", "mnist_normalization.ipynb"}
    cells = json.dumps(nbformat.read(out / "mnist_normalization.ipynb", as_version=4).cells)
    assert '# Parameters\\ndataset = \\"digits\\"' in cells and "100%|" not in cells
    for text in (cells, (out / "mnist_normalization.html").read_text()):
        assert tempfile.gettempdir() not in text, "neither the output folder nor the one that was filled before"


@pytest.mark.parametrize("arguments, expected", [
    ("-p sede 3", "sede: no such parameter; did you mean seeds?"),
    ("-p seeds [0,0]", "seeds: got [0, 0] (list), takes a list without repeats"),
    ("-p num_epochs 2.5", "num_epochs: got 2.5 (float), takes an integer"),
    ("-p lr nan", "lr: got nan (float), takes a finite number above 0"),
    ("-p output_dir x", "output_dir: give it as --output-dir"),
    ("--publish -p seeds [1]", "--publish takes no parameters"),
    ("--output-dir FILE", "output_dir: got 'FILE', takes a folder that can be written"),
    ("--output-dir FILE/below", "output_dir: got 'FILE/below', takes a folder that can be written"),
    ("--output-dir NOTEBOOKS", "the output folder is the notebook's own"),
])
def test_refused_in_one_line_before_a_kernel_starts(arguments, expected, tmp_path, monkeypatch, capsys, no_start):
    notebook = write_notebook(tmp_path)
    monkeypatch.setattr(command_line, "MAIN", notebook)
    (tmp_path / "file").touch()
    for word, path in (("FILE", tmp_path / "file"), ("NOTEBOOKS", notebook.parent)):
        arguments = arguments.replace(word, str(path))
        expected = expected.replace(word, str(path))
    arguments = ["--output-dir", str(tmp_path / "out"), *arguments.split()]
    assert command_line.main([str(notebook), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {expected}") and error.count("\n") == 1


@pytest.mark.parametrize("content", ["", "[]", "{}", "not json", '{"cells": 5}', '{"cells": [{}], "nbformat": 4}'])
def test_what_is_no_notebook_is_refused_in_one_line(content, tmp_path, capsys):
    path = tmp_path / "a.ipynb"
    path.write_text(content)
    assert command_line.main([str(path), "--output-dir", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path} can't be read as a notebook: ") and error.count("\n") == 1
    path.rename(tmp_path / "a.txt")
    assert command_line.main([str(tmp_path / "a.txt")]) == 2
    assert "takes an .ipynb file" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["", ".", str(ROOT)])
def test_the_output_folder_is_not_the_projects_own(folder, capsys, no_start):
    assert command_line.main(["--output-dir", folder]) == 2
    assert "takes a folder other than" in capsys.readouterr().err


def test_only_what_a_report_wrote_is_replaced(tmp_path):
    """Figures of an earlier report go, other people's files stay."""
    new = tmp_path / "new"
    folder = tmp_path / "out"
    figure = described(blank(1.0), "svg", "a figure that is drawn for a test and says nothing")
    save_figure(figure, new / "figures", "now")
    for file_format in ("png", "svg"):
        figure.file_format = file_format
        save_figure(figure, folder / "figures", "earlier")
    others = {"figures/chapter.png": b"theirs", "figures/chapter.svg": b"<svg>", "records/notes.txt": b"x", "a.md": b""}
    (folder / "records").mkdir()
    for name, content in others.items():
        (folder / name).write_bytes(content)
    (folder / "summary.json").write_text("{}")
    (new / "summary.json").write_text("[]")
    install(new, folder)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {*others, "figures/now.svg", "summary.json"}
    assert all((folder / name).read_bytes() == content for name, content in others.items())
    assert (folder / "summary.json").read_text() == "[]"


@pytest.mark.parametrize("raised, status, line", [
    ("raise ParameterError('lr: got 0, takes more')", 2, "error: lr: got 0, takes more\n"),
    ("raise ValueError('one\\ntwo')", 1, "error: cell 4, section “Training”: ValueError: one two (see "),
    ("os.kill(os.getpid(), 9)", 1, "error: cell 4, section “Training”: DeadKernelError: Kernel died"),
])
def test_a_failed_run_ends_in_one_line_and_a_page(raised, status, line, tmp_path, capfd):
    last_words = "import atexit, os\natexit.register(os.write, 2, b'a library complains at exit\\n')\n"
    notebook = write_notebook(tmp_path, last_words + "print(seeds)\n" + raised)
    out = tmp_path / "out {x}"
    (out / "figures").mkdir(parents=True)
    earlier = {out / "summary.json", out / "figures" / "old.svg", out / "results.csv", out / "small.html"}
    for path in earlier:
        path.write_text("earlier, of a normalisation study")
    assert command_line.main([str(notebook), "-p", "seeds", "[0, 1]", "--output-dir", str(out)]) == status
    captured = capfd.readouterr()
    assert captured.err.startswith(line) and captured.err.count("\n") == 1 and captured.out == ""
    if status == 2:
        assert {path for path in out.rglob("*") if path.is_file()} == earlier, "what is refused changes nothing"
        assert all(path.read_text().startswith("earlier") for path in earlier)
        return
    assert sorted(path.name for path in out.rglob("*")) == ["small.html", "small.ipynb"], "nothing of another run"
    page = (out / "small.html").read_text()
    assert "This run failed" in page and ("[0, 1]" in page or "DeadKernel" in page)


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
    assert process.returncode == 130 and not list((tmp_path / "out").iterdir())


def test_publish_refreshes_what_is_committed_or_nothing(tmp_path, capfd):
    notebook = write_notebook(tmp_path)
    out = tmp_path / "out {x}"
    assert command_line.main(["--publish", str(notebook), "--output-dir", str(out)]) == 0
    captured = capfd.readouterr()
    assert captured.out == f"{notebook.with_suffix('.html')}: all equal\n"
    assert captured.err == "layer: 100%|##|\n", "the bar, once, and no warning of papermill's or the kernel's"
    assert sorted(path.name for path in out.iterdir()) == ["figures", "small.html", "small.ipynb", "summary.json"]
    text = notebook.read_text()
    nb = nbformat.read(notebook, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4]
    assert "[0] mnist" in code[2].outputs[0].text and len(code[2].outputs) == 1
    assert "papermill" not in text and str(tmp_path) not in text and "3.12.1" not in text
    assert nb.metadata.kernelspec.name == "python3" and code[0].metadata.tags == ["parameters"]
    assert (notebook.parent.parent / "figures" / "a.svg").read_text() == "<svg/>"
    page = notebook.with_suffix(".html")
    assert "[0] mnist" in page.read_text()

    page.unlink()
    executed = out / "small.ipynb"
    executed.write_text(executed.read_text().replace("[0] mnist", f"read {ROOT}/data"))
    with pytest.raises(ReportError, match="output of cell 3 holds the path"):
        publish(out, notebook)
    assert notebook.read_text() == text and not page.exists()


def test_bars_redraw_on_a_terminal_and_come_once_in_a_file():
    drawn = ["\rlayer:  50%|# |", "\n\rgroup:  50%|# |\x1b[A", "\rlayer: 100%|##| 1s", "\n\rgroup: 100%|##|\x1b[A",
             "\rlayer: 100%|##| 2s\n", "done\n", "\rlast: 100%|##|"]
    for is_terminal, expected in (
            (True, "".join(drawn) + "\n"),
            (False, "layer: 100%|##| 1s\ngroup: 100%|##|\ndone\nlast: 100%|##|\n")):
        stream = io.StringIO()
        stream.isatty = lambda is_terminal=is_terminal: is_terminal
        progress = LiveProgress(stream)
        for text in drawn:
            progress.write(text)
        progress.close()
        assert stream.getvalue() == expected


def test_help_explains_itself(capsys):
    with pytest.raises(SystemExit, match="0"):
        command_line.main(["--help"])
    text = capsys.readouterr().out
    assert all(word in text for word in ("-p seeds", "--publish", "runs/report", "summary.json", "exit status"))
