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
for name in ("google", "google.colab", "torch"):  # the real torch takes seconds
    sys.modules[name] = types.ModuleType(name)
sys.modules["torch"].cuda = types.SimpleNamespace(is_available=lambda: False)
"""


def first_cell(path: Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    return "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])


def execute(folder: Path, repo_url: str = "", before: str = ON_COLAB) -> subprocess.CompletedProcess:
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


def test_all_notebooks_begin_alike():
    assert len(PATHS) >= 3
    assert len({first_cell(path) for path in PATHS}) == 1


def test_cloned_once_from_the_address_asked_for(project, tmp_path):
    """In the place of a folder that another address left."""
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=project, check=True, capture_output=True)
    study = tmp_path / "content" / "study"
    study.mkdir(parents=True)
    (study / "README.md").write_text("no helpers/ in it")
    for _ in range(2):
        done = execute(study.parent, project.as_uri())
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"Device: CPU. A GPU trains faster: Runtime > Change runtime type.\nproject {study}\n"
        (study / "helpers" / "config.py").open("a").write("# a student's own line\n")
    assert (study / "helpers" / "config.py").read_text().count("own line\n") == 2


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
    ("", ON_COLAB, "on Colab set REPO_URL"), ("/no/such/repository", ON_COLAB, "/no/such/repository"),
    ("", "", "start this notebook inside the project")])
def test_asks_in_one_line_where_the_project_is(tmp_path, repo_url, before, says):
    done = execute(tmp_path, repo_url, before)
    assert done.returncode == 1 and not done.stderr and not (tmp_path / "study").exists()
    (line,) = done.stdout.strip().splitlines()
    assert says in line


def test_vs_code_started_elsewhere_finds_the_project_by_the_notebooks_own_path(project, tmp_path):
    notebook = project / "notebooks" / "study.ipynb"
    assert f"project {project}" in execute(tmp_path, before=f"__vsc_ipynb_file__ = {str(notebook)!r}\n").stdout


def test_only_what_is_missing_is_installed(monkeypatch):
    installed = {"torch": "2.5.0", "pandas": "2.3.0", "scipy": "1.10.0", "bleach": "6.2.0", "tinycss2": "1.0.0"}

    def fake_version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(colab, "version", fake_version)
    text = "torch>=2.6\npandas>=2.1  # tables\nscipy>=1.11\n# note\nbleach[css]>=6.1\nbleach>=6.1\ntorchsummary>=1.5\n"
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
