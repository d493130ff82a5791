"""On Google Colab: installs what is missing there, never another torch, and names the device."""

import subprocess
import sys
from importlib import invalidate_caches
from importlib.metadata import PackageNotFoundError, requires, version

import torch
from packaging.requirements import Requirement

from helpers.files import ROOT

KEPT = ("torch", "torchvision", "numpy")  # the running kernel uses them; they match Colab's drivers


def missing_requirements(text: str) -> list[str]:
    """Returns the lines of a requirements.txt that are not satisfied."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and not is_satisfied(Requirement(line))]


def is_satisfied(requirement: Requirement) -> bool:
    """Whether a package, and what its extras need, is installed in a version asked for."""
    name = requirement.name
    try:
        is_new = name in KEPT or requirement.specifier.contains(version(name), prereleases=True)
    except PackageNotFoundError:
        return False
    needed = [part for extra in requirement.extras for part in map(Requirement, requires(name))
              if part.marker and part.marker.evaluate({"extra": extra})]
    return is_new and all(map(is_satisfied, needed))


def install(requirements: list[str]) -> None:
    """Runs pip, `KEPT` pinned. Raises RuntimeError, in one line, when it fails."""
    pip = [sys.executable, "-m", "pip", "install", "-q", *(f"{name}=={version(name)}" for name in KEPT)]
    done = subprocess.run([*pip, *requirements], capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        raise RuntimeError(f"pip could not install {', '.join(requirements)}: {reason}")
    invalidate_caches()


def prepare() -> None:
    """Makes Colab ready; the first cell of a notebook calls it once it has found the project."""
    missing = missing_requirements((ROOT / "requirements.txt").read_text())
    if missing:
        install(missing)
        print(f"Installed {', '.join(missing)}.")
    device = "CPU. A GPU trains faster: Runtime > Change runtime type"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    print(f"Device: {device}.")
