"""On Google Colab: installs what is missing there, never another torch, and says which device there is."""

import importlib
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from helpers.files import ROOT

KEPT = ("torch", "torchvision", "numpy")  # in use by the running kernel, and matched to Colab's drivers


def missing_requirements(text: str) -> list[str]:
    """Of a requirements.txt the lines that are not satisfied here; those behind "# for the tests" are not needed."""
    lines = (line.partition("#")[0].strip() for line in text.partition("# for the tests")[0].splitlines())
    return [line for line in lines if line and not _is_there(Requirement(line))]


def _is_there(requirement: Requirement) -> bool:
    try:
        there = requirement.name in KEPT or requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False
    extras = [Requirement(text) for text in requires(requirement.name) or ()] if requirement.extras else []
    return there and all(_is_there(more) for more in extras if more.marker and any(
        more.marker.evaluate({"extra": extra}) and not more.marker.evaluate({"extra": ""})
        for extra in requirement.extras))


def install(requirements: list[str]) -> None:
    """pip, with the versions of `KEPT` nailed down. Raises RuntimeError, in one line, when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{name}=={version(name)}\n" for name in KEPT))
        done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-c", str(constraints), *requirements],
                              capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pip could not install {', '.join(requirements)}: {done.stderr.strip().splitlines()[-1]}")
    importlib.invalidate_caches()


def prepare() -> None:
    """What the first cell of a notebook does on Colab once it has found the project."""
    import torch

    missing = missing_requirements((ROOT / "requirements.txt").read_text())
    if missing:
        install(missing)
        print("Installed " + ", ".join(missing) + ".")
    if torch.cuda.is_available():
        print(f"Device: {torch.cuda.get_device_name()}.")
    else:
        print("Device: CPU. A GPU trains faster: Runtime > Change runtime type.")
