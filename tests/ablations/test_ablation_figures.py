"""The ablations' figures show the numbers that they are given, on the canvas, with a text for those who see none."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from ablation_records import TUNED, on_own_batches, record

from helpers.ablations import affine, batch_size, groups, inside, luck, penalty
from helpers.config import VARIANTS, RunConfig
from helpers.plots.style import render


def frame(question) -> pd.DataFrame:
    """Accuracy falls with λ, more so on all parameters, and with small batches; each seed is 0.01 better."""
    records = []
    for c in question.runs(TUNED, (0, 1, 2), 4):
        fall = 500 * c.recipe.l1_lambda * (1 + (c.recipe.l1_target == "all")) + 1 / c.recipe.batch_size
        own = on_own_batches(c, round(9800 - 500 / c.recipe.batch_size))
        records.append(record(c, 11.35 if c.norm == "instance" else 99.4 - fall + 0.01 * c.seed, **own))
    return question.frame(records)


PENALTY, BATCH = frame(penalty), frame(batch_size)
INSIDE = pd.DataFrame([(norm, update, block, 0.1 * block, 1 / block, np.nan if update == 0 else 10.0 ** -block)
                       for norm in (*VARIANTS, "none") for update in range(0, 1900, 100) for block in range(1, 7)],
                      columns=inside.COLUMNS)
RECORDS = [record(RunConfig(norm, seed, 1, TUNED, 2), 99.5 + 0.01 * index * (seed + 1))
           for index, norm in enumerate(VARIANTS) for seed in range(5)]
WITHOUT_L1 = [record(RunConfig("batch", seed, 1, TUNED), 99.6) for seed in range(5)]


@pytest.fixture(scope="module")
def figures() -> dict:
    gaps = PENALTY[(PENALTY.seed == 0) & (PENALTY.l1_lambda != 1e-4)]
    return {"penalty": penalty.plot(PENALTY, "MNIST"), "affine": affine.plot(frame(affine), "MNIST"),
            "groups": groups.plot(frame(groups), "MNIST"), "batch size": batch_size.plot(BATCH, "MNIST", 4),
            "inside": inside.plot(INSIDE, "MNIST"), "luck": luck.plot(luck.frame(RECORDS, WITHOUT_L1), "MNIST"),
            "one seed, gaps": penalty.plot(gaps, "digits")}


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
    weights, all_parameters, *_ = figures["penalty"].axes
    assert len(marked(weights, "mean")) == 4
    drawn = marked(weights, "mean")[0].get_ydata()  # BatchNorm, the first by name
    np.testing.assert_allclose(drawn, [99.41 - 1 / 64 - 500 * strength for strength in penalty.LAMBDAS])
    (crosses,) = marked(figures["batch size"].axes[0], "own batches")
    np.testing.assert_allclose(crosses.get_ydata(), [98 - 5 / size for size in batch_size.SIZES], atol=0.005)
    gap = marked(figures["one seed, gaps"].axes[0], "mean")[0].get_ydata()
    assert np.isnan(gap).tolist() == [strength == 1e-4 for strength in penalty.LAMBDAS], "no line across a gap"
    heights = [weights.transData.transform((0, accuracy))[1] for accuracy in (98, 99, 99.5)]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], rel=0.01), "half the error is as far"
    assert weights.get_ylim() == all_parameters.get_ylim()


def test_each_seed_is_a_dot(figures):
    for norm, dots in zip(sorted(VARIANTS), marked(figures["batch size"].axes[0], "seed"), strict=True):
        mine = BATCH[BATCH.norm == norm]
        np.testing.assert_array_equal(dots.get_xydata(), mine[["batch_size", "val_accuracy"]])
    assert not marked(figures["one seed, gaps"].axes[0], "seed"), "the line is the seed"
    axis = figures["groups"].axes[0]
    assert axis.get_xlim()[0] > 99, "G = C is told beside the axis"
    assert {"← far below this axis", "11.35 % (11.35 to 11.35)"} <= {text.get_text() for text in axis.texts}


def test_alt_texts_hold_the_numbers(figures):
    for name, text in [
        ("penalty", "λ on all parameters. BatchNorm, accuracy (%): 0: 99.39, 1e-05: 99.38"),
        ("penalty", "BatchNorm, on its own batches: 0: 97.92"),
        ("penalty", "BatchNorm, weights below 0.001 (share): 0: 0.25"),
        ("affine", "75,080 parameters: 99.39 % (99.38 to 99.40)"), ("groups", "G = C: 11.35 %"),
        ("batch size", "BatchNorm, accuracy (%): 2: 98.91"), ("batch size", "60,000 training images, 4 epochs"),
        ("batch size", "BatchNorm, on its own batches: 2: 95.5"), ("batch size", "mean of 3 seeds"),
        ("inside", "no norm, gradient norm of the first block and the last at the end: 0.1 and 1e-06"),
        ("luck", "LayerNorm against GroupNorm: -3.0 ± 2.0 images, single seeds from -5 to -1"),
        ("luck", "BatchNorm without the penalty: -4.0 ± 3.9 images, single seeds from -8 to +0"),
    ]:
        assert text in figures[name].alt
