"""The ablations' figures show the numbers that they are given, on the canvas, with an alt text."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from ablation_records import made_up_frame

from helpers.ablations import affine, batch_size, groups, inside, penalty
from helpers.config import VARIANTS
from helpers.plots.style import render


def frame(question) -> pd.DataFrame:
    """Accuracy falls with λ, more so on all parameters, and with small batches; each seed is 0.01 better."""
    def accuracy(config) -> float:
        recipe = config.recipe
        fall = 500 * recipe.l1_lambda * (1 + (recipe.l1_target == "all")) + 1 / recipe.batch_size
        return 11.35 if config.norm == "instance" else 99.4 - fall + 0.01 * config.seed

    return made_up_frame(question, accuracy)


@pytest.fixture(scope="module")
def figures() -> dict:
    lambdas = frame(penalty)
    gaps = lambdas[(lambdas.seed == 0) & (lambdas.l1_lambda != 1e-4)]
    rows = [(norm, update, block, 0.1 * block, 1 / block, np.nan if update == 0 else 10.0 ** -block)
            for norm in (*VARIANTS, "none") for update in range(0, 1900, 100) for block in range(1, 7)]
    return {"penalty": penalty.plot(lambdas, "MNIST"), "affine": affine.plot(frame(affine), "MNIST"),
            "groups": groups.plot(frame(groups), "MNIST"),
            "batch size": batch_size.plot(frame(batch_size), "MNIST", 4), "gaps": penalty.plot(gaps, "digits"),
            "inside": inside.plot(pd.DataFrame(rows, columns=inside.COLUMNS), "MNIST")}


def marked(ax, gid: str) -> list:
    return [line for line in ax.lines if line.get_gid() == gid]


def test_on_the_canvas_legible_and_named(figures):
    for name, figure in figures.items():
        render(figure, "svg")
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()  # inches
        assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height, (name, drawn)
        assert min(text.get_size() for text in figure.findobj(mpl.text.Text) if text.get_text()) >= 9, name
        assert ("digits" if name == "gaps" else "MNIST") in figure.alt and figure.alt.endswith("."), name


def test_lines_are_the_means_and_dots_the_seeds(figures):
    weights, all_parameters, *_ = figures["penalty"].axes
    drawn = [line.get_ydata() for line in marked(weights, "mean")]  # BatchNorm, the first by name
    np.testing.assert_allclose(drawn[0], [99.41 - 1 / 64 - 500 * strength for strength in penalty.LAMBDAS])
    assert len(drawn) == 4 and weights.get_ylim() == all_parameters.get_ylim()
    heights = [weights.transData.transform((0, accuracy))[1] for accuracy in (98, 99, 99.5)]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], rel=0.01), "half the error"
    ax = figures["batch size"].axes[0]
    (crosses,) = marked(ax, "own batches")
    np.testing.assert_allclose(crosses.get_ydata(), 95)
    for dots in marked(ax, "seed"):
        expected = [99.4 - 1 / size + 0.01 * seed for size in batch_size.SIZES for seed in range(3)]
        np.testing.assert_allclose(dots.get_ydata(), expected)
    gaps = figures["gaps"].axes[0]
    gap = marked(gaps, "mean")[0].get_ydata()
    assert np.isnan(gap).tolist() == [strength == 1e-4 for strength in penalty.LAMBDAS], "no line across a gap"
    assert not marked(gaps, "seed") and len(marked(ax, "seed")) == 3, "of one seed the line is the seed"


def test_a_row_far_below_is_told_beside_the_axis(figures):
    axis = figures["groups"].axes[0]
    assert axis.get_xlim()[0] > 99
    assert {"← far below this axis", "11.35 % (11.35 to 11.35)"} <= {text.get_text() for text in axis.texts}


@pytest.mark.parametrize(("name", "text"), [
    ("penalty", "mean of 3 seeds"), ("penalty", "single seeds from 89.38 to 99.40 %. λ = 0.01, the strength"),
    ("affine", "75,080 parameters, 99.39 % (99.38 to 99.40)"), ("groups", "G = C, 11.35 % (11.35 to 11.35)"),
    ("batch size", "60,000 training images, 4 epochs"), ("batch size", "images a batch to 2: LayerNorm -0.48"),
    ("inside", "no norm 1 and 0.17 (one seed)")])
def test_alt_texts_hold_the_findings(figures, name, text):
    assert text in figures[name].alt
