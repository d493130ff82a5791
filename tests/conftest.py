"""Fixtures that several tests share: small data, small configurations, the real archives where they are at hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from support import make_run_config, run  # noqa: E402

from helpers.data import Dataset  # noqa: E402

torch.set_num_threads(1)  # several tests start worker processes: don't fight them for cores


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a browser or a whole report is slow."""
    for item in items:
        if {"browser", "digits_report"} & set(item.fixturenames):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """A folder with the four real archives: MNIST_DATA_DIR, or ../shared/mnist beside the checkout."""
    for folder in (os.environ.get("MNIST_DATA_DIR"), ROOT.parent / "shared" / "mnist", ROOT / "data"):
        if folder and (Path(folder) / "train-images-idx3-ubyte.gz").is_file():
            return Path(folder).resolve()
    pytest.skip("the four MNIST archives are not on this machine (set MNIST_DATA_DIR)")


@pytest.fixture(scope="session")
def digits_report(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """`python -m helpers.report` on the digits, one epoch, two seeds: its folder (`out`, `runs`) and how it ended."""
    folder = tmp_path_factory.mktemp("report")
    done = run("helpers.report", "-p", "dataset", "digits", "-p", "num_epochs", "1", "-p", "seeds", "[0, 1]",
               "-p", "workers", "2", "-p", "runs_dir", str(folder / "runs"), "--output-dir", str(folder / "out"))
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture
def tiny_data() -> Dataset:
    """70 training and 30 validation images: each a bright square whose position tells its class."""
    labels = torch.arange(100) % 10
    images = torch.randint(0, 30, (100, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = 4 + 5 * (label // 4), 4 + 5 * (label % 4)
        image[row:row + 5, column:column + 5] = 255
    return Dataset("tiny", "tiny squares", "", images[:70], labels[:70], images[70:], labels[70:])


@pytest.fixture
def make_config():
    """A RunConfig of 2 epochs with batches of 16; keywords go to the recipe."""
    return make_run_config
