"""The ablations' figures show the numbers that they are given, on the canvas, with a text for those who see none."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from helpers.ablations import affine, batch_size, groups, inside, luck, penalty
from helpers.config import VARIANTS
from helpers.plots.style import render

SEEDS = (0, 1, 2)
ALL = (*VARIANTS, "none")


def frame(columns: str, rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


PENALTY = frame("norm seed val_accuracy l1_lambda l1_target near_zero gamma train_mode", [
    (norm, seed, 99.4 - 500 * strength * (1 + (target == "all")) + 0.01 * seed, strength, target, 0.05 + 50 * strength,
     np.nan if norm == "none" else 1 - 80 * strength, 99 - 10 * strength if norm == "batch" else np.nan)
    for norm in ALL for strength in penalty.LAMBDAS for seed in SEEDS
    for target in (("weights", "all") if strength and norm != "none" else ("weights",))])
AFFINE = frame("norm seed val_accuracy parameters", [
    (norm, seed, 99.3 + 0.05 * seed, parameters) for seed in SEEDS
    for norm, parameters in (("layer", 75_080), ("layer_plain", 10_632), ("group", 10_832))])
GROUPS = frame("seed val_accuracy groups", [(seed, 11.35 if groups == "C" else 99.3 + 0.05 * seed, groups)
                                            for groups in "124C" for seed in SEEDS])
BATCH = frame("norm seed val_accuracy batch_size num_images train_mode", [
    (norm, seed, 99 - 1 / size, size, 12_000, 98 - 5 / size if norm == "batch" else np.nan)
    for norm in VARIANTS for size in batch_size.SIZES for seed in SEEDS])
INSIDE = frame(" ".join(inside.COLUMNS), [
    (norm, update, block, 0.1 * block, 1 / block, np.nan if update == 0 else 10.0 ** -block)
    for norm in ALL for update in range(0, 1900, 100) for block in range(1, 7)])
RECORDS = [{"config": {"norm": norm, "seed": seed}, "wrong": [[i] for i in range(50 - index * (seed + 1))],
            "history": [{"val_correct": 9950 + index * (seed + 1)}]}
           for index, norm in enumerate(VARIANTS) for seed in range(5)]
WITHOUT_L1 = [{"config": {"norm": "batch", "seed": seed}, "history": [{"val_correct": 9960}]} for seed in range(5)]


@pytest.fixture(scope="module")
def figures() -> dict:
    return {"penalty": penalty.plot(PENALTY, "MNIST"), "affine": affine.plot(AFFINE, "MNIST"),
            "groups": groups.plot(GROUPS, "MNIST"), "batch size": batch_size.plot(BATCH, "MNIST", 4),
            "inside": inside.plot(INSIDE, "MNIST"), "luck": luck.plot(luck.frame(RECORDS, WITHOUT_L1), "MNIST"),
            "one seed, gaps": penalty.plot(PENALTY[(PENALTY.seed == 0) & (PENALTY.l1_lambda != 1e-4)], "digits")}


def marked(ax, gid: str) -> list:
    return [line for line in ax.lines if line.get_gid() == gid]


def test_on_the_canvas_legible_and_named(figures):
    for name, figure in figures.items():
        render(figure, "svg")
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()  # inches
        assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height, (name, drawn)
        assert min(text.get_size() for text in figure.findobj(mpl.text.Text) if text.get_text()) >= 9, name
        assert "digits" in figure.alt if "gaps" in name else figure.alt.endswith("."), name


def test_lines_are_the_means(figures):
    weights = figures["penalty"].axes[0]
    drawn = {tuple(np.round(line.get_ydata(), 6)) for line in marked(weights, "mean")}
    part = PENALTY[(PENALTY.norm == "batch") & (PENALTY.l1_target == "weights")]
    assert tuple(part.groupby("l1_lambda").val_accuracy.mean().round(6)) in drawn and len(marked(weights, "mean")) == 4
    (inside,) = marked(weights, "own batches")
    np.testing.assert_allclose(inside.get_ydata(), [99 - 10 * strength for strength in penalty.LAMBDAS])
    (inside,) = marked(figures["batch size"].axes[0], "own batches")
    np.testing.assert_allclose(inside.get_ydata(), [98 - 5 / size for size in batch_size.SIZES])
    gap = marked(figures["one seed, gaps"].axes[0], "mean")[0].get_ydata()
    assert np.isnan(gap).tolist() == [strength == 1e-4 for strength in penalty.LAMBDAS], "no line across a gap"


def test_each_seed_is_a_dot(figures):
    for norm, dots in zip(sorted(VARIANTS), marked(figures["batch size"].axes[0], "seed"), strict=True):
        mine = BATCH[BATCH.norm == norm]
        np.testing.assert_array_equal(dots.get_xydata(), mine[["batch_size", "val_accuracy"]])
    dots = marked(figures["penalty"].axes[1], "seed")[0]
    mine = PENALTY[(PENALTY.norm == "batch") & ((PENALTY.l1_target == "all") | (PENALTY.l1_lambda == 0))]
    np.testing.assert_array_equal(sorted(dots.get_ydata()), sorted(mine.val_accuracy))
    assert not marked(figures["one seed, gaps"].axes[0], "seed"), "the line is the seed"
    axis = figures["groups"].axes[0]
    assert axis.get_xlim()[0] > 99, "G = C is told beside the axis"
    assert {"← far below this axis", "11.35 % (11.35 to 11.35)"} <= {text.get_text() for text in axis.texts}


def test_alt_texts_hold_the_numbers(figures):
    assert "λ on all parameters. BatchNorm, accuracy (%): 0: 99.41, 1e-05: 99.4" in figures["penalty"].alt
    assert "75,080 parameters: 99.35 % (99.30 to 99.40)" in figures["affine"].alt
    assert "G = C: 11.35 %" in figures["groups"].alt
    assert "BatchNorm, weights below 0.001 (share): 0: 0.05" in figures["penalty"].alt
    assert "BatchNorm, on its own batches: 0: 99, 1e-05: 99" in figures["penalty"].alt
    assert "BatchNorm, accuracy (%): 2: 98.5" in figures["batch size"].alt
    assert "mean of 3 seeds" in figures["batch size"].alt and "12,000 training images" in figures["batch size"].alt
    assert "BatchNorm, on its own batches: 2: 95.5" in figures["batch size"].alt
    assert "no norm, gradient norm of the first block and the last at the end: 0.1 and 1e-06" in figures["inside"].alt
    assert "LayerNorm against GroupNorm: -3.0 ± 2.0 images, single seeds from -5 to -1" in figures["luck"].alt
    assert ("L1 + BatchNorm against BatchNorm without the penalty: -4.0 ± 3.9 images, single seeds from -8 to +0"
            in figures["luck"].alt)


def test_half_the_error_is_always_as_far(figures):
    axis = figures["penalty"].axes[0]
    heights = [axis.transData.transform((0, accuracy))[1] for accuracy in (98, 99, 99.5)]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], rel=0.01)
