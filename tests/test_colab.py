"""The first cell of each notebook finds the project, with a stand-in for google.colab; never another torch."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from support import NOTEBOOKS, ROOT

from helpers import colab

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
ON_COLAB = """import sys, types
for name in ("google", "google.colab"):
    sys.modules[name] = types.ModuleType(name)
"""
QUICK = ON_COLAB + """sys.modules["torch"] = types.ModuleType("torch")  # the real one takes seconds
sys.modules["torch"].cuda = types.SimpleNamespace(is_available=lambda: False)
"""


def first_cell(path: Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    return "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])


def execute(folder: Path, repo_url: str = "", before: str = QUICK) -> subprocess.CompletedProcess:
    source = first_cell(PATHS[0])
    assert source.count('REPO_URL = ""') == 1
    source = before + source.replace('REPO_URL = ""', f"REPO_URL = {repo_url!r}") + "\nprint('project', project)"
    shell = ("from IPython.core.interactiveshell import InteractiveShell as Shell\n"  # as in a kernel
             f"done = Shell.instance().run_cell({source!r})\nraise SystemExit(not done.success)")
    return subprocess.run([sys.executable, "-c", shell], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of what the first cell needs, inside a folder as an archive from GitHub has one."""
    folder = tmp_path / "source" / "study-main"
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", folder)
    return folder


def commit(project: Path) -> None:
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=project, check=True, capture_output=True)


def test_all_notebooks_begin_alike():
    assert len(PATHS) >= 3
    assert len({first_cell(path) for path in PATHS}) == 1


def test_cloned_from_the_address_asked_for(project, tmp_path):
    commit(project)
    study = tmp_path / "content" / "study"
    study.parent.mkdir()
    for before in (ON_COLAB, QUICK):  # run again, the clone is found
        done = execute(study.parent, project.as_uri(), before)
        assert done.returncode == 0, done.stderr
        assert f"project {study}" in done.stdout and "Device: " in done.stdout
        assert "Installed" not in done.stdout, "all of it is installed"
        (study / "helpers" / "config.py").open("a").write("# a student's own line\n")


def test_uploaded_as_a_folder_or_as_a_zip_that_is_unpacked_once(project, tmp_path):
    assert f"project {project}" in execute(project.parent).stdout
    archive = Path(shutil.make_archive(str(tmp_path / "zip" / "upload"), "zip", project.parent, project.name))
    unpacked = tmp_path / "zip" / "upload" / "study-main"
    for _ in range(2):
        assert f"project {unpacked}" in execute(tmp_path / "zip").stdout
        (unpacked / "helpers" / "config.py").open("a").write("# a student's own line\n")
    assert (unpacked / "helpers" / "config.py").read_text().count("own line\n") == 2
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "upload.zip").write_bytes(archive.read_bytes()[:-100])
    done = execute(tmp_path / "half")
    assert done.returncode == 1 and "upload.zip: " in done.stdout and "BadZipFile" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("repo_url, before, says", [
    ("", QUICK, "on Colab set REPO_URL"), ("/no/such/repository", QUICK, "/no/such/repository"),
    ("", "", "start this notebook inside the project")])
def test_asks_in_one_line_where_the_project_is(tmp_path, repo_url, before, says):
    done = execute(tmp_path, repo_url, before)
    assert done.returncode == 1 and not done.stderr and not (tmp_path / "study").exists()
    (line,) = done.stdout.strip().splitlines()
    assert says in line


def test_a_folder_left_by_another_address_is_cloned_anew(project, tmp_path):
    (tmp_path / "content" / "study").mkdir(parents=True)
    (tmp_path / "content" / "study" / "README.md").write_text("no helpers/ in it")
    commit(project)
    done = execute(tmp_path / "content", project.as_uri())
    assert done.returncode == 0 and f"project {tmp_path / 'content' / 'study'}" in done.stdout


def test_vs_code_started_elsewhere_finds_the_project_by_the_notebooks_own_path(project, tmp_path):
    notebook = project / "notebooks" / "study.ipynb"
    before = QUICK.replace('"google", "google.colab"', "") + f"__vsc_ipynb_file__ = {str(notebook)!r}\n"
    assert f"project {project}" in execute(tmp_path, before=before).stdout


def test_only_what_is_missing_is_installed(monkeypatch):
    installed = {"torch": "2.5.0", "pandas": "2.3.0", "scipy": "1.10.0", "bleach": "6.2.0", "tinycss2": "1.0.0"}

    def fake_version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(colab, "version", fake_version)
    text = ("torch>=2.6\npandas>=2.1  # tables\nscipy>=1.11\n# note\nbleach[css]>=6.1\nbleach>=6.1\n"
            "torchsummary>=1.5\n")
    assert colab.missing_requirements(text) == ["scipy>=1.11", "bleach[css]>=6.1", "torchsummary>=1.5"]


def test_a_kernel_without_the_packages_is_told_the_line_that_installs(tmp_path):
    """A bare kernel has packaging, no torch; elsewhere than on Colab nothing is installed."""
    import packaging

    (tmp_path / "packaging").symlink_to(Path(packaging.__file__).parent)
    code = "import sys\nsys.path[:0] = sys.argv[1:]\nfrom helpers.colab import prepare\nprepare()"
    command = [sys.executable, "-S", "-c", code, ROOT, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    line = done.stderr.splitlines()[-1]
    assert "this kernel lacks torch>=" in line and f'%pip install -r "{ROOT / "requirements.txt"}"' in line


def test_pip_may_not_touch_torch(monkeypatch):
    codes = [1, 0]

    def fake_run(command, **_):
        assert command[1:4] == ["-m", "pip", "install"] and command[-1] == "papermill>=2.6"
        assert f"torch=={version('torch')}" in command
        return subprocess.CompletedProcess(command, codes.pop(), "", "warning\nno network\n")

    monkeypatch.setattr(colab.subprocess, "run", fake_run)
    colab.install(["papermill>=2.6"])
    with pytest.raises(RuntimeError, match=r"^pip could not install papermill>=2.6: no network$"):
        colab.install(["papermill>=2.6"])
