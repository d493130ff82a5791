"""Small numbers for the figures, one figure of each kind, and what stands in a figure."""

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch

from helpers.config import RECIPES, VARIANTS
from helpers.data import Dataset
from helpers.plots import axes, comparisons, curves, errors, images
from helpers.results.frames import historical_frame

NORMS = list(VARIANTS)
SHARED = pd.DataFrame(np.arange(9.0).reshape(3, 3) + 20, NORMS, NORMS)


def history(norms=NORMS, seeds=(0,), epochs=20):
    """Curves that end at nearly the same value, so that their labels have to make way."""
    frame = pd.DataFrame(itertools.product(norms, seeds, range(1, epochs + 1)), columns=["norm", "seed", "epoch"])
    row = frame["norm"].map(NORMS.index)
    frame["ema_decay"] = 0.999
    frame["val_loss"] = 0.017 + 0.0001 * row + 0.001 * frame.seed + 0.2 * np.exp(-frame.epoch)
    frame["val_accuracy"] = 99.5 - 0.01 * row - 0.1 * frame.seed - 4 * np.exp(-frame.epoch / 2)
    return frame


def evidence():
    """One pair in two sets of runs, and one with BatchNorm without L1; images of 10,000."""
    rows = [("layer", "batch", "hold-out", [0], [-3], -3.0, np.nan), ("layer", "batch", "confirmation", [100, 101, 102],
            [4, 6, 8], 6.0, 5.0), ("batch", "free", "confirmation", [100, 101], [-1, -3], -2.0, 12.7)]
    columns = ["a", "b", "source", "seeds", "differences", "difference", "half_width"]
    return pd.DataFrame(rows, columns=columns).assign(num_images=10_000)


def dataset(num_images=40):
    pixels = torch.tensor(np.random.default_rng(0).integers(0, 256, (num_images, 28, 28), dtype=np.uint8))
    labels = torch.arange(num_images) % 10
    return Dataset("mnist", "MNIST", "", pixels, labels, pixels, labels)


def wrong(count):
    """As many images that one run of LayerNorm gets wrong; one of them its other run and GroupNorm, too."""
    first = pd.DataFrame({"norm": "layer", "seed": 7, "index": range(3, 3 + count), "label": 4, "prediction": 9})
    more = pd.DataFrame({"norm": ["layer", "group"], "seed": 8, "index": 5, "label": 4, "prediction": [9, 7]})
    return pd.concat([first, more]) if count > 2 else first


def examples():
    data, runs = dataset(), history(seeds=(0, 1))
    return {
        "axes": axes.plot_normalization_axes(), "samples": images.plot_samples(data),
        "augmentation": images.plot_augmentation(data, RECIPES["tuned"]),
        "loss": curves.plot_validation_loss(runs, "MNIST"),
        "accuracy": curves.plot_validation_accuracy(history(), "MNIST"),
        "answer": comparisons.plot_answer(runs, "MNIST", "LayerNorm is best, and it is well known to be so"),
        "dying": curves.plot_dying({"none": [2.3] * 30, "batch": [1.0] * 30}, "MNIST"),
        "beside": curves.plot_beside_historical(runs, historical_frame(), "MNIST", history(["batch"])),
        "misclassified": images.plot_misclassified(wrong(12), data.val_images, "MNIST", dict.fromkeys(NORMS, 20)),
        "confusion": errors.plot_confusion(dict.fromkeys(NORMS, np.full((10, 10), 26)), "MNIST"),
        "shared": errors.plot_shared(SHARED, "MNIST", "Two runs share 20 wrong images."),
        "comparisons": comparisons.plot_comparisons(evidence(), "MNIST: one is behind"),
    }


def texts(figure, gid=None):
    found = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
    return [text.get_text() for text in found if gid is None or text.get_gid() == gid]


def lines(figure, gid):
    return [line for line in figure.findobj(mpl.lines.Line2D) if line.get_gid() == gid]
