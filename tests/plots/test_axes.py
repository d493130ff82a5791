"""The diagram numbers what shares one mean, and counts what torch's own layers learn."""

import matplotlib as mpl
import pytest
from plot_examples import marked, texts

from helpers.config import ParameterError
from helpers.plots.axes import plot_normalization_axes


@pytest.mark.parametrize(("num_groups", "group"), [(1, "111122223333"), (2, "112233445566"),
                                                   (4, "123456789101112")])
def test_normalization_axes_numbers_what_shares_a_mean(num_groups, group):
    figure = plot_normalization_axes(num_groups)
    for norm, expected in (("layer", "111122223333"), ("group", group), ("batch", "123412341234")):
        assert "".join(text.get_text() for text in marked(figure, norm, mpl.text.Text)) == expected
    for words in (texts(figure), figure.alt):
        assert "N = 3 means" in words and f"N·G = {3 * num_groups} means" in words and "C = 4 means" in words
        assert "2·C·H·W = 72 parameters" in words and words.count("2·C = 8 parameters") == 2
        assert f"G = {num_groups}" in words and "weight (4, 3, 3)" in words


def test_normalization_axes_refuses_other_groups():
    with pytest.raises(ParameterError, match="num_groups"):
        plot_normalization_axes(3)
