"""Shared by the tests: small data, small configurations, and the real archives where they are at hand."""

import os
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
