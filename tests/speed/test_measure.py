"""The pipelines that are timed do the same work; how long they take is not asserted."""

import ast
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import nbformat
import pytest
import torch
from support import NOTEBOOKS
from torch.testing import assert_close

from helpers.config import VARIANTS
from helpers.data import augment, normalize
from helpers.model import BLOCKS
from helpers.speed import measure
from helpers.speed.measure import SpeedParameters, flops_per_image
from helpers.speed.ordinary import RECIPE, PilImages
from helpers.speed.ours import KINDS, time_to_accuracy


def test_notebooks_parameters_have_the_defaults_of_the_class():
    nb = nbformat.read(NOTEBOOKS / "speed.ipynb", as_version=4)
    (cell,) = [cell for cell in nb.cells if "parameters" in cell.metadata.get("tags", [])]
    nodes = ast.parse(cell.source).body
    given = {node.targets[0].id: ast.literal_eval(node.value) for node in nodes}
    assert list(given.items()) == list(asdict(SpeedParameters()).items())


def test_ordinary_images_are_ours_but_for_the_random_angle(tiny_data):
    still = PilImages(tiny_data.train_images, tiny_data.train_labels, replace(RECIPE, rotation=0.0))
    image, label = still[3]
    assert_close(image, normalize(tiny_data.train_images[3:4])[0], rtol=1e-5, atol=1e-5)
    assert label == tiny_data.train_labels[3] and len(still) == 70
    torch.manual_seed(0)
    turned = PilImages(torch.zeros(40, 28, 28, dtype=torch.uint8), torch.zeros(40), RECIPE)
    theirs = torch.stack([turned[i][0] for i in range(40)])
    angle = torch.tensor(7 * torch.pi / 180)
    theta = torch.tensor([[[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]]])
    most = augment(turned.images[:1], theta, RECIPE)  # full ink in the corners at 7 degrees
    share = (theirs > 1).float().mean((1, 2, 3))
    limit = (most > 1).float().mean()
    assert share.max() <= limit and share.max() > 0.8 * limit and share.min() < 0.2 * limit


def test_flops_are_those_of_the_convolutions():
    """torch's counter, and by hand: forward, two products backward, one for the first layer."""
    forward = [2 * 9 * c_in * c_out * size**2 for c_in, c_out, size, _ in BLOCKS]
    pointwise = 2 * 32 * 10 * 24**2 + 2 * 16 * 10
    assert flops_per_image() == 3 * (sum(forward) + pointwise) - forward[0] == 19_220_352


def test_training_stops_when_the_accuracy_is_reached(tiny_data):
    seconds, updates = time_to_accuracy(tiny_data, "batch", 101.0)
    assert math.isnan(seconds) and updates == 3 * 2
    images, labels = tiny_data.train_images.repeat(100, 1, 1), tiny_data.train_labels.repeat(100)
    many = replace(tiny_data, train_images=images, train_labels=labels)
    seconds, updates = time_to_accuracy(many, "batch", 0.0)
    assert seconds > 0 and updates == 100


def test_all_is_measured(tiny_data, monkeypatch):
    """In threads instead of processes, which would each import torch."""
    monkeypatch.setattr(measure, "num_cores", lambda: 1)
    monkeypatch.setattr(measure, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    results = measure.measure(tiny_data, 1, 1)
    epochs = results["epochs"].loc[0]
    assert list(epochs.index) == [*VARIANTS, "all"]
    assert {"ordinary, 0 workers", "ordinary, 2 workers", "ours", "limit"} <= set(epochs)
    assert epochs.limit["all"] == pytest.approx(3 * epochs.limit["layer"])
    profile = results["profile"]
    assert list(profile) == list(KINDS) and list(profile.index) == list(VARIANTS)
    assert (profile[["convolutions, backward", "dropout"]] > 0).all(axis=None)
    assert set(results["growth"].varied) == {"images", "batch size", "processes"}
    assert len(results["memory"]) == 2 and results["target"].empty, "the target needs MNIST"
