"""The pipelines that are timed do the same work; how long they take is not asserted."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from helpers.config import VARIANTS
from helpers.data import augment, normalize
from helpers.model import build_model
from helpers.speed import measure, pipelines
from helpers.speed.pipelines import KINDS, RECIPE, TRANSFORM, PilImages, time_to_accuracy


def test_ordinary_images_are_ours_but_for_the_random_angle(tiny_data, monkeypatch):
    torch.manual_seed(0)
    blank = torch.zeros(40, 28, 28, dtype=torch.uint8)
    theirs = [(image > 1).float().mean() for image, _ in PilImages(blank, torch.zeros(40))]
    cos, sin = math.cos(math.radians(7)), math.sin(math.radians(7))
    turned = augment(blank[:1], torch.tensor([[[cos, -sin, 0], [sin, cos, 0]]]), RECIPE)
    limit = (turned > 1).float().mean()  # full ink in the corners at 7 degrees
    assert 0.8 * limit < max(theirs) <= limit and min(theirs) < 0.2 * limit
    monkeypatch.setattr(TRANSFORM.transforms[1], "degrees", (0.0, 0.0))
    still = PilImages(tiny_data.train_images, tiny_data.train_labels)
    assert len(still) == 70 and still[3][1] == tiny_data.train_labels[3]
    assert_close(still[3][0], normalize(tiny_data.train_images[3:4])[0], rtol=1e-5, atol=1e-5)


def test_flops_are_those_that_torch_counts():
    with FlopCounterMode(display=False) as counter:
        build_model("batch")(torch.zeros(1, 1, 28, 28)).sum().backward()
    assert counter.get_total_flops() == measure.FLOPS


@pytest.mark.slow
def test_training_stops_when_the_accuracy_is_reached(tiny_data):
    norm, seconds, updates = time_to_accuracy(tiny_data, 101.0, "batch")
    assert norm == "batch" and math.isnan(seconds) and updates == 3 * 2
    many = replace(tiny_data, train_images=tiny_data.train_images.repeat(92, 1, 1),  # 101 batches, looked at after 100
                   train_labels=tiny_data.train_labels.repeat(92))
    _, seconds, updates = time_to_accuracy(many, 0.0, "batch")
    assert seconds > 0 and updates == 100


@pytest.mark.slow
def test_all_is_measured(tiny_data, monkeypatch, capsys):
    """In threads instead of processes, which would each import torch; one batch to warm up."""
    monkeypatch.setattr(pipelines, "WARM_UP", 1)
    monkeypatch.setattr(measure, "num_cores", lambda: 1)
    monkeypatch.setattr(measure, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    results = measure.measure(tiny_data, 1, 1)
    assert "measuring:  20%|" in capsys.readouterr().err
    epochs, profile = results["epochs"].loc[0], results["profile"]
    assert list(epochs.index) == [*VARIANTS, "all"]
    assert {"ordinary, 0 workers", "ordinary, 2 workers", "ours", "limit"} <= set(epochs)
    assert epochs.limit["all"] == pytest.approx(3 * epochs.limit["layer"])
    assert list(profile) == list(KINDS) and list(profile.index) == list(VARIANTS)
    assert (profile[["convolutions, backward", "dropout"]] > 0).all(axis=None)
    assert set(results["growth"].varied) == {"images", "batch size", "processes"}
    assert len(results["memory"]) == 2 and results["target"].empty, "the target needs MNIST"
