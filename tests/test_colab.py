"""The first cell of each notebook finds the project, with a stand-in for google.colab, and touches no torch."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from helpers import colab

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STAND_IN = "import sys, types; sys.modules.update({'google': types.ModuleType('google'), " \
           "'google.colab': types.ModuleType('google.colab')})\n"


def first_cell(path: Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    return "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])


def execute(folder: Path, repo_url: str = "", before: str = STAND_IN) -> subprocess.CompletedProcess:
    source = first_cell(NOTEBOOKS[0])
    assert source.count('REPO_URL = ""') == 1
    source = source.replace('REPO_URL = ""', f"REPO_URL = {repo_url!r}")
    source = before + source + "\nprint('project', project)"
    shell = ("from IPython.core.interactiveshell import InteractiveShell as Shell\n"  # as in a kernel
             f"done = Shell.instance().run_cell({source!r})\nraise SystemExit(not done.success)")
    return subprocess.run([sys.executable, "-c", shell], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of what the first cell needs, inside a folder as an archive from GitHub has one."""
    folder = tmp_path_factory.mktemp("source") / "study-main"
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", folder)
    return folder


def test_all_notebooks_begin_alike():
    assert len(NOTEBOOKS) >= 3 and len({first_cell(path) for path in NOTEBOOKS}) == 1


def test_cloned_from_the_address_asked_for(project, tmp_path):
    def git(*arguments: str, cwd: Path = project) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments], cwd=cwd, check=True,
                       capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all")
    git("clone", "-q", "--bare", str(project), str(tmp_path / "bare.git"))
    shutil.rmtree(project / ".git")
    (tmp_path / "content").mkdir()
    for _ in range(2):  # run again, the clone is found
        done = execute(tmp_path / "content", str(tmp_path / "bare.git"))
        assert done.returncode == 0, done.stderr
        assert f"project {tmp_path / 'content' / 'study'}" in done.stdout and "Device: " in done.stdout
        (tmp_path / "content" / "study" / "helpers" / "config.py").open("a").write("# a student's own line\n")
        assert "Installed" not in done.stdout, "all is there"


def test_uploaded_as_a_folder_or_as_a_zip(project, tmp_path):
    for name in ("folder", "zip"):
        (tmp_path / name).mkdir()
    shutil.copytree(project, tmp_path / "folder" / "study")
    assert f"project {tmp_path / 'folder' / 'study'}" in execute(tmp_path / "folder").stdout
    shutil.make_archive(str(tmp_path / "zip" / "upload"), "zip", project.parent, project.name)
    assert f"project {tmp_path / 'zip' / 'upload' / 'study-main'}" in execute(tmp_path / "zip").stdout


def test_what_was_uploaded_is_unpacked_once_and_damage_is_passed_over(project, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "upload"), "zip", project.parent, project.name))
    config = tmp_path / "upload" / "study-main" / "helpers" / "config.py"
    assert execute(tmp_path).returncode == 0 and config.is_file()
    config.write_text(config.read_text() + "# a student's own line\n")
    assert execute(tmp_path).returncode == 0 and config.read_text().endswith("own line\n")
    half = tmp_path / "half"
    half.mkdir()
    (half / "upload.zip").write_bytes(archive.read_bytes()[:-100])
    done = execute(half)
    assert done.returncode == 1 and "REPO_URL: not set" in done.stdout and "Traceback" not in done.stdout


@pytest.mark.parametrize(("repo_url", "before", "says"), [
    ("", STAND_IN, "REPO_URL: not set"), ("/no/such/repository", STAND_IN, "/no/such/repository"),
    ("", "", "start this notebook inside the project")])
def test_asks_in_one_line_where_the_project_is(tmp_path, repo_url, before, says):
    done = execute(tmp_path, repo_url, before)
    assert done.returncode == 1 and not done.stderr and not (tmp_path / "study").exists()
    (line,) = done.stdout.strip().splitlines()
    assert says in line


def test_only_what_is_missing_is_installed(monkeypatch):
    there = {"torch": "2.5.0", "pandas": "2.3.0", "scipy": "1.10.0"}

    def fake_version(name: str) -> str:
        if name not in there:
            raise PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(colab, "version", fake_version)
    text = "torch>=2.6\npandas>=2.1  # tables\nscipy>=1.11\n# note\ntorchsummary>=1.5\n# for the tests\npytest>=8\n"
    assert colab.missing_requirements(text) == ["scipy>=1.11", "torchsummary>=1.5"], "an older torch stays"


def test_pip_may_not_touch_torch(monkeypatch):
    seen = {}

    def fake_run(command, **_):
        seen.update(command=command, constraints=Path(command[command.index("-c") + 1]).read_text())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(colab.subprocess, "run", fake_run)
    colab.install(["papermill>=2.6"])
    assert seen["command"][1:4] == ["-m", "pip", "install"] and seen["command"][-1] == "papermill>=2.6"
    assert f"torch=={version('torch')}\n" in seen["constraints"]
    monkeypatch.setattr(colab.subprocess, "run",
                        lambda command, **_: subprocess.CompletedProcess(command, 1, "", "warning\nno network\n"))
    with pytest.raises(RuntimeError, match=r"^pip could not install papermill>=2.6: no network$"):
        colab.install(["papermill>=2.6"])
