"""Small numbers for the figures, one figure of each kind, and what stands in a figure."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch

from helpers.config import RECIPES, VARIANTS
from helpers.data import Dataset
from helpers.plots.axes import plot_normalization_axes
from helpers.plots.curves import plot_beside_historical, plot_validation_accuracy, plot_validation_loss
from helpers.plots.errors import plot_confusion, plot_overlap
from helpers.plots.images import plot_augmentation, plot_misclassified, plot_samples
from helpers.results.frames import historical_frame

NORMS = list(VARIANTS)
HISTORICAL = pd.DataFrame({"norm": ["batch", "group", "layer"], "epoch": [18, 20, 20],
                           "val_loss": [0.0996, 0.0205, 0.0214], "val_accuracy": [97.46, 99.40, 99.37]})


def history(norms=NORMS, seeds=(0,), epochs=20):
    """Curves that end at nearly the same value, so that their labels have to make way."""
    rows = []
    for number, norm in enumerate(norms):
        for seed in seeds:
            for epoch in range(1, epochs + 1):
                loss = 0.017 + 0.0001 * number + 0.001 * seed + 0.2 * np.exp(-epoch)
                accuracy = 99.5 - 0.01 * number - 0.1 * seed - 4 * np.exp(-epoch / 2)
                rows.append({"norm": norm, "seed": seed, "epoch": epoch, "val_loss": loss, "val_accuracy": accuracy})
    return pd.DataFrame(rows)


def dataset(title="MNIST", num_images=40):
    images = torch.randint(0, 256, (num_images, 28, 28), dtype=torch.uint8, generator=torch.manual_seed(0))
    labels = torch.arange(num_images) % 10
    return Dataset("mnist", title, "", images, labels, images, labels)


def wrong(count):
    return pd.DataFrame({"norm": "layer", "seed": 7, "index": range(3, 3 + count), "label": 4, "prediction": 9,
                         "confidence": np.linspace(0.5, 0.75, count), "true_confidence": 0.2})


def matrix(errors):
    """(true, predicted) -> count, on a diagonal of 90."""
    result = np.diag([90] * 10)
    for cell, count in errors.items():
        result[cell] = count
    return result


def counts(numbers):
    """Counts by tuples of norms, as `overlap_counts` returns them."""
    index = pd.Index(list(numbers), tupleize_cols=False)
    return pd.Series(list(numbers.values()), index, dtype=int)


def examples():
    data = dataset()
    return {
        "axes": plot_normalization_axes(), "samples": plot_samples(data),
        "augmentation": plot_augmentation(data, RECIPES["tuned"]),
        "loss": plot_validation_loss(history(seeds=(0, 1)), "MNIST", HISTORICAL),
        "accuracy": plot_validation_accuracy(history(), "MNIST", HISTORICAL),
        "beside": plot_beside_historical(history(seeds=(0, 1)), historical_frame(), "MNIST", history(["batch"])),
        "misclassified": plot_misclassified(wrong(12), data.val_images, "layer", "MNIST"),
        "confusion": plot_confusion({norm: matrix({(4, 9): 6}) for norm in NORMS}, "MNIST"),
        "overlap": plot_overlap(counts({("layer",): 4, ("layer", "group"): 3, tuple(NORMS): 20}), "MNIST"),
    }


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text())


def marked(figure, gid, kind=mpl.lines.Line2D):
    return [artist for artist in figure.findobj(kind) if artist.get_gid() == gid]
