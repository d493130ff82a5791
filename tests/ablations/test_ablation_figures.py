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
        assert min(text.get_size() for text in figure.findobj(mpl.text.Text) if text.get_text()) >= 11.5, name
        assert ("digits" if name == "gaps" else "MNIST") in figure.alt and figure.alt.endswith("."), name


def test_lines_are_the_means_and_dots_the_seeds(figures):
    weights, all_parameters = figures["penalty"].axes
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
    assert {"G = C", "← far below this axis", "11.35 %"} <= {text.get_text() for text in axis.texts}


def test_runs_at_chance_are_told_where_they_are():
    def accuracy(config) -> float:
        """One seed of the network with no norm ends at chance, with λ = 0.0001."""
        fails = config.norm == "none" and config.recipe.l1_lambda == 1e-4 and config.seed == 0
        return 9.8 if fails else 99.0

    for ax in penalty.plot(made_up_frame(penalty, accuracy), "MNIST").axes:
        texts = {text.get_text(): text for text in ax.texts}
        assert "10 %: chance" in texts
        assert texts["1 of 3\nat chance"].xy == (1e-4, pytest.approx((2 * 99 + 9.8) / 3))
    fine = penalty.plot(made_up_frame(penalty, lambda config: 99.0), "MNIST")
    assert [text.get_text() for ax in fine.axes for text in ax.texts] == ["historical λ "]


def test_inside_shows_two_networks_at_two_times(figures):
    before, after = figures["inside"].axes
    for ax, none in ((before, [1 / block for block in range(1, 7)]), (after, [10.0**-block for block in range(1, 7)])):
        batch, other = marked(ax, "mean")
        np.testing.assert_allclose(batch.get_ydata(), none)
        np.testing.assert_allclose(other.get_ydata(), none)
    assert after.get_ylabel() == "gradient norm\nat update 100"
    assert [text.get_text() for text in before.get_legend().get_texts()] == ["BatchNorm", "no norm"]


@pytest.mark.parametrize(("name", "title"), [
    ("penalty", "λ = 0.01 costs 10 to 10 points on all parameters, 5 to 5 points on weights alone."),
    ("affine", "64,248 more parameters give LayerNorm 0.00 ± 0.00 points."),
    ("groups", "1, 2, 4 groups are at most 0.00 points apart."),
    ("batch size", "BatchNorm loses 0.48 points with batches of 2 instead of 64."),
    ("inside", "With no norm the last block's activations are 1/6 of the first's.")])
def test_titles_say_what_is_seen(figures, name, title):
    assert figures[name].alt.startswith(title)


def test_titles_ask_where_nothing_can_be_told():
    for question, title, more in ((penalty, "Is it the normalisation", []), (affine, "What do LayerNorm's", []),
                                  (groups, "How many groups?", []), (batch_size, "How small may a batch be?", [4])):
        one = frame(question).head(1)
        assert question.plot(one, "MNIST", *more).alt.startswith(title)


@pytest.mark.parametrize(("name", "text"), [
    ("penalty", "means of 3 seeds"), ("penalty", "single seeds from 89.38 to 99.40 %. λ = 0.01 on all parameters"),
    ("affine", "75,080 parameters, 99.39 % (99.38 to 99.40)"), ("groups", "G = C, 11.35 % (11.35 to 11.35)"),
    ("batch size", "60,000 training images, 4 epochs"), ("batch size", "Batches of 2 beside 64: no difference"),
    ("inside", "from 1 to 0.17 in 6 blocks")])
def test_alt_texts_hold_the_findings(figures, name, text):
    assert text in figures[name].alt
