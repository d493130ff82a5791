"""A notebook's kernel: what is missing is named, on Google Colab installed, but never another torch.

Nothing is imported here that a bare kernel lacks.
"""

import subprocess
import sys
from importlib import invalidate_caches
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from helpers.parameters import OneLineError

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
KEPT = ("torch", "torchvision", "numpy")  # the running kernel uses them; they match Colab's drivers


class MissingError(OneLineError, RuntimeError):
    """Packages that are not there, and how they get there."""


def missing_requirements(text: str) -> list[str]:
    """Returns the lines of a requirements.txt that are not satisfied."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and not is_satisfied(Requirement(line))]


def is_satisfied(requirement: Requirement) -> bool:
    """Whether a package, and what its extras need, is installed in a version asked for."""
    name = requirement.name
    try:
        is_new = requirement.specifier.contains(version(name), prereleases=True) or name in KEPT
    except PackageNotFoundError:
        return False
    needed = [part for extra in requirement.extras for part in map(Requirement, requires(name))
              if part.marker and part.marker.evaluate({"extra": extra})]
    return is_new and all(map(is_satisfied, needed))


def install(requirements: list[str]) -> None:
    """Runs pip, `KEPT` pinned. Raises MissingError when it fails."""
    pip = [sys.executable, "-m", "pip", "install", "-q", *(f"{name}=={version(name)}" for name in KEPT)]
    done = subprocess.run([*pip, *requirements], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise MissingError(f"pip could not install {', '.join(requirements)}: {reason}")
    invalidate_caches()


def prepare() -> None:
    """Makes Colab ready; the first cell of a notebook calls it once it has found the project.

    Elsewhere it raises MissingError for a kernel without the packages.
    """
    missing = missing_requirements(REQUIREMENTS.read_text(encoding="utf-8"))
    on_colab = "google.colab" in sys.modules
    if missing and not on_colab:
        raise MissingError(f"this kernel lacks {', '.join(missing)}. Choose the kernel of the project's .venv "
                           f"(`make` builds it), or run this in a cell: %pip install -r \"{REQUIREMENTS}\"")
    if missing:
        install(missing)
        print(f"Installed {', '.join(missing)}.")
    if on_colab:
        print(f"Device: {device()}.")


def device() -> str:
    """What torch will train on, and how to get something faster."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "CPU. A GPU trains faster: Runtime > Change runtime type"
