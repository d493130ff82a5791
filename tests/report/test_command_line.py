"""`python -m helpers.report`: what a run leaves, what is refused, and how each failure ends."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from support import ROOT

from helpers.plots.style import blank, described, show
from helpers.report import __main__ as command_line
from helpers.report import execute
from helpers.report.content import ReportError
from helpers.report.execute import LiveProgress, install, publish

METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python", "version": "3.12.1"}}
PARAMETERS = "# Parameters: for the test\nseeds = [0]  # one run each\ndataset = 'auto'\noutput_dir = None  # none"
CONFIG = "from helpers.config import ParameterError\nfrom pathlib import Path\nimport sys, json"
TRAIN = r"""print('\rlayer:  50%|# |', '\rlayer: 100%|##|', sep='', file=sys.stderr)
print(seeds, dataset)"""
CLOSE = """Path(output_dir, 'figures').mkdir()
Path(output_dir, 'figures', 'a.svg').write_text('<svg/>')
Path(output_dir, 'summary.json').write_text(json.dumps({'findings': ['all equal']}))"""


def write_notebook(folder: Path, before: str = "", after: str = "", metadata: dict = METADATA) -> Path:
    path = folder / "project" / "notebooks" / "small.ipynb"
    path.parent.mkdir(parents=True)
    parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell("# Small"), parameters, new_code_cell(CONFIG), new_markdown_cell("## Training"),
             *map(new_code_cell, (before, TRAIN, CLOSE, after))]
    nbformat.write(new_notebook(metadata=metadata, cells=cells), path)
    return path


@pytest.fixture
def refused(monkeypatch, capsys):
    """A function that runs the command line; nothing may be started; returns the one line of the refusal."""
    monkeypatch.setattr(command_line, "run", lambda *_: pytest.fail("it was started"))

    def run(*arguments) -> str:
        assert command_line.main([str(argument) for argument in arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        return error.removeprefix("error: ")

    return run


@pytest.mark.parametrize("arguments, expected", [
    ("-p sede 3", "sede: no such parameter; did you mean seeds?"),
    ("-p seeds [0,0]", "seeds: got [0, 0] (list), takes a list without repeats"),
    ("-p num_epochs 2.5", "num_epochs: got 2.5 (float), takes an integer"),
    ("-p lr nan", "lr: got nan (float), takes a finite number of at least 1e-12"),
    ("-p output_dir x", "output_dir: give it as --output-dir"),
    ("--publish -p seeds [1]", "--publish takes no parameters"),
    ("--output-dir HERE/file", "output_dir: got 'HERE/file', takes a folder that can be written"),
    ("--output-dir HERE/file/below", "output_dir: got 'HERE/file/below', takes a folder that can be written"),
    ("--output-dir HERE/project/notebooks", "the output folder is the notebook's own"),
    ("--output-dir=", "output_dir: takes a folder other than"),
    ("--output-dir .", "output_dir: takes a folder other than"),
    (f"--output-dir {ROOT}", f"output_dir: got '{ROOT}', takes a folder other than"),
])
def test_refused_in_one_line_before_a_kernel_starts(arguments, expected, tmp_path, monkeypatch, refused):
    notebook = write_notebook(tmp_path)
    monkeypatch.setattr(command_line, "MAIN", notebook)
    (tmp_path / "file").touch()
    arguments = arguments.replace("HERE", str(tmp_path)).split()
    error = refused(notebook, "--output-dir", tmp_path / "out", *arguments)
    assert error.startswith(expected.replace("HERE", str(tmp_path)))


@pytest.mark.parametrize("content", ["", "[]", "{}", "not json", '{"cells": 5}', '{"cells": [{}], "nbformat": 4}'])
def test_what_is_no_notebook_is_refused_in_one_line(content, tmp_path, refused):
    path = tmp_path / "a.ipynb"
    path.write_text(content)
    assert refused(path, "--output-dir", tmp_path / "out").startswith(f"{path} can't be read as a notebook: ")
    assert "takes an .ipynb file" in refused(path.rename(tmp_path / "a.txt"))


def test_only_what_a_report_wrote_is_replaced(tmp_path):
    """Figures of an earlier report go, other people's files stay."""
    new = tmp_path / "new"
    folder = tmp_path / "out"
    figure = described(blank(1.0), "svg", "a figure that is drawn for a test and says nothing")
    show(figure, "now", new)
    for file_format in ("png", "svg"):
        figure.file_format = file_format
        show(figure, "earlier", folder)
    others = {"figures/chapter.png": b"theirs", "figures/chapter.svg": b"<svg>", "records/notes.txt": b"x", "a.md": b""}
    (folder / "records").mkdir()
    for name, content in {**others, "summary.json": b"{}"}.items():
        (folder / name).write_bytes(content)
    (new / "summary.json").write_text("[]")
    install(new, folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    assert found.pop("figures/now.svg") and found == {**others, "summary.json": b"[]"}


@pytest.mark.parametrize("cells, status, line", [
    (("raise ParameterError('lr: got 0, takes more')", ""), 2, "error: lr: got 0, takes more\n"),
    (("raise ValueError('one\\ntwo')", ""), 1, "error: cell 4, section “Training”: ValueError: one two (see "),
    (("os.kill(os.getpid(), 9)", ""), 1, "error: cell 4, section “Training”: KernelError: Kernel died"),
    (("", "1 / 0"), 1, "error: cell 7, section “Training”: ZeroDivisionError: division by zero (see "),
])
def test_a_failed_run_ends_in_one_line_and_a_page(cells, status, line, tmp_path, capfd):
    last_words = "import atexit, os\natexit.register(os.write, 2, b'a library complains at exit\\n')\nprint(seeds)\n"
    before, after = cells
    notebook = write_notebook(tmp_path, last_words + before, after)
    out = tmp_path / "out {x}"
    (out / "figures").mkdir(parents=True)
    earlier = {out / "summary.json", out / "figures" / "old.svg", out / "results.csv", out / "small.html"}
    for path in earlier:
        path.write_text("earlier, of a normalisation study")
    assert command_line.main([str(notebook), "-p", "seeds", "[0, 1]", "--output-dir", str(out)]) == status
    captured = capfd.readouterr()
    assert captured.err.removeprefix("layer: 100%|##|\n").startswith(line) and captured.out == ""
    assert captured.err.removeprefix("layer: 100%|##|\n").count("\n") == 1
    files = {path for path in out.rglob("*") if path.is_file()}
    if status == 2:
        assert files == earlier, "what is refused changes nothing"
        assert all(path.read_text().startswith("earlier") for path in earlier)
        return
    figures = {out / "figures" / "a.svg"} if after else set()
    assert files == {out / "small.html", out / "small.ipynb", *figures}, "nothing of another run, no summary"
    page = (out / "small.html").read_text()
    assert "This run failed" in page and ("[0, 1]" in page or "KernelError" in page)


@pytest.mark.slow
def test_an_executed_notebook_keeps_its_values(tmp_path, capsys):
    """-p wins over them. The path has braces, and the notebook names no kernel."""
    notebook = write_notebook(tmp_path / "{x}", metadata={})
    first = tmp_path / "{}" / "one"
    again = [str(first / "small.ipynb"), "--output-dir", str(tmp_path / "two")]
    parameters = ["-p", "seeds", "[3]", "-p", "dataset", "digits"]
    assert command_line.main([str(notebook), *parameters, "--output-dir", str(first)]) == 0
    for asked, dataset in (([], "digits"), (["-p", "dataset", "mnist"], "mnist")):
        assert command_line.main([*again, *asked]) == 0, capsys.readouterr().err
        assert f"[3] {dataset}" in (tmp_path / "two" / "small.html").read_text()
    assert command_line.main(["--publish", *again]) == 2
    assert "--publish takes no notebook that papermill gave" in capsys.readouterr().err


def test_what_the_exporter_cannot_show_costs_the_page_alone(tmp_path, monkeypatch, capsys):
    def to_html(nb, *_):
        if any("last" in cell.source for cell in nb.cells):
            raise RecursionError("too\ndeep")

    monkeypatch.setattr(execute, "to_html", to_html)
    out = tmp_path / "out"
    out.mkdir()
    (out / "small.html").write_text("of an earlier run")
    notebook = write_notebook(tmp_path, after="3  # the last")
    notebook.write_text(notebook.read_text().replace("# Small", "# Half a pair: \\ud800"))
    assert command_line.main([str(notebook), "--output-dir", str(out)]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    executed = out / "small.ipynb"
    assert line.endswith(f": the code cell “3 # the last”: RecursionError: too deep (see {executed})")
    assert {path.name for path in out.iterdir()} == {"figures", "small.ipynb"}, "no page, no summary"
    assert "[0] auto" in executed.read_text() and "Half a pair: ?" in executed.read_text()


def test_settings_of_the_reader_do_not_reach_the_report(tmp_path, monkeypatch, capsys):
    """Another environment's kernel of the same name, a startup file, and IPython's and Python's own settings."""
    spec = {"argv": ["false"], "display_name": "other", "language": "python"}
    startup = tmp_path / "ipython" / "profile_default" / "startup" / "a.py"
    theirs = {tmp_path / "kernels" / "python3" / "kernel.json": json.dumps(spec),
              startup.parent.parent / "ipython_config.py": "c.InteractiveShell.ast_node_interactivity = 'all'",
              startup: "seen = 1", tmp_path / "python.py": "seen = 1"}
    for path, content in theirs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "python.py"))
    notebook = write_notebook(tmp_path, after="'one'\n'seen' in globals(), sys.executable")
    assert command_line.main([str(notebook), "--output-dir", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    (output,) = nbformat.read(tmp_path / "out" / "small.ipynb", 4).cells[-1].outputs
    assert output.data["text/plain"] == str((False, sys.executable))


@pytest.mark.slow
@pytest.mark.parametrize("stdout", ["/dev/full", None])
def test_the_closing_line_decides_nothing(stdout, tmp_path):
    """Whether all is written, and in whatever encoding, stdout may be full, closed or without umlauts."""
    notebook = write_notebook(tmp_path, TRAIN, "Path(output_dir, 'summary.json').write_text('{\"findings\": [\"γ\"]}')")
    command = [sys.executable, "-m", "helpers.report", str(notebook), "--output-dir", str(tmp_path / "out")]
    posix = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(open(stdout, "w")) if stdout else None
        done = subprocess.run(command, cwd=ROOT, stdout=where, stderr=subprocess.PIPE, env={**os.environ, **posix},
                              preexec_fn=None if stdout else lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, b"layer: 100%|##|\n")


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line(tmp_path):
    notebook = write_notebook(tmp_path, "import time\nprint('started', file=sys.stderr)\ntime.sleep(60)")
    command = [sys.executable, "-m", "helpers.report", str(notebook), "--output-dir", str(tmp_path / "out")]
    # a job that a shell put into the background ignores Ctrl-C, and hands that on to its children
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert process.stderr.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=30)[1]
    assert error == "interrupted: the same command goes on from the last finished epoch\n"
    assert process.returncode == 130 and not list((tmp_path / "out").iterdir())


def test_publish_refreshes_what_is_committed_or_nothing(tmp_path, capfd):
    notebook = write_notebook(tmp_path)
    page = notebook.with_suffix(".html")
    out = tmp_path / "out {x}"
    assert command_line.main(["--publish", str(notebook), "--output-dir", str(out)]) == 0
    captured = capfd.readouterr()
    assert captured.out == f"{page}: all equal\n"
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
    assert "[0] mnist" in page.read_text()

    page.unlink()
    executed = out / "small.ipynb"
    executed.write_text(executed.read_text().replace("[0] mnist", f"read {ROOT}/data"))
    with pytest.raises(ReportError, match="output of cell 3 holds the path"):
        publish(out, notebook)
    assert notebook.read_text() == text and not page.exists()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_bars_redraw_on_a_terminal_and_come_once_in_a_file(is_terminal):
    drawn = ["\rlayer:  50%|# |", "\n\rgroup:  50%|# |\x1b[A", "\rlayer: 100%|##| 1s", "\n\rgroup: 100%|##|\x1b[A",
             "\rlayer: 100%|##| 2s\n", "done\n", "\rlast: 100%|##|"]
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    progress = LiveProgress(stream)
    for text in drawn:
        progress.write(text)
    progress.close()
    once = "layer: 100%|##| 1s\ngroup: 100%|##|\ndone\nlast: 100%|##|\n"
    assert stream.getvalue() == ("".join(drawn) + "\n" if is_terminal else once)


def test_help_explains_itself(capsys):
    with pytest.raises(SystemExit, match="0"):
        command_line.main(["--help"])
    text = capsys.readouterr().out
    assert all(word in text for word in ("-p seeds", "--publish", "runs/report", "summary.json", "exit status"))
