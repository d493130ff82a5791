"""Shared by the tests: small data, small configurations, and the real archives where they are at hand."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from helpers.config import RECIPES, RunConfig  # noqa: E402
from helpers.data import Dataset  # noqa: E402

torch.set_num_threads(1)  # several tests start worker processes: don't fight them for cores


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """A folder with the four real archives: MNIST_DATA_DIR, or ../shared/mnist beside the checkout."""
    for folder in (os.environ.get("MNIST_DATA_DIR"), ROOT.parent / "shared" / "mnist", ROOT / "data"):
        if folder and (Path(folder) / "train-images-idx3-ubyte.gz").is_file():
            return Path(folder).resolve()
    pytest.skip("the four MNIST archives are not on this machine (set MNIST_DATA_DIR)")


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """`python -m` ... as a user would, without MNIST and without a mirror that answers."""
    environment = {**os.environ, "MNIST_MIRRORS": "http://127.0.0.1:9/", "PYTHONPATH": ""}
    environment.pop("MNIST_DATA_DIR", None)
    return subprocess.run([sys.executable, "-m", *command], cwd=cwd, env=environment, capture_output=True, text=True,
                          timeout=280)


def without_clock(record: dict) -> dict:
    """A record without the seconds: what is left must be the same to the bit."""
    return {**record, "history": [{k: v for k, v in row.items() if k != "seconds"} for row in record["history"]]}


@pytest.fixture(scope="session")
def digits_report(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """`python -m helpers.report` on the digits, one epoch, two seeds: its folder (`out`, `runs`) and how it ended."""
    folder = tmp_path_factory.mktemp("report")
    done = run("helpers.report", "-p", "dataset", "digits", "-p", "num_epochs", "1", "-p", "seeds", "[0, 1]",
               "-p", "runs_dir", str(folder / "runs"), "--output-dir", str(folder / "out"))
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture
def tiny_data() -> Dataset:
    """70 training and 30 validation images: each a bright square whose place tells its class, so it can be learnt."""
    labels = torch.arange(100) % 10
    images = torch.randint(0, 30, (100, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = 4 + 5 * (label // 4), 4 + 5 * (label % 4)
        image[row:row + 5, column:column + 5] = 255
    return Dataset("tiny", "tiny squares", "", images[:70], labels[:70], images[70:], labels[70:])


@pytest.fixture
def make_config():
    """A RunConfig of 2 epochs with batches of 16; keywords go to the recipe, or to the RunConfig where it has them."""
    def make(norm: str = "group", seed: int = 0, num_epochs: int = 2, recipe: str = "tuned", **own) -> RunConfig:
        own = {"batch_size": 16, **own}
        return RunConfig(norm, seed, num_epochs, replace(RECIPES[recipe], **own), 2 if norm == "group" else None)
    return make
