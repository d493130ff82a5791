"""The tables for readers say what the frames hold."""

import importlib

import numpy as np
import pandas as pd
import torch
from bs4 import BeautifulSoup
from planted import record
from torch import nn

from helpers.config import VARIANTS, Study
from helpers.results import tables, worked_example
from helpers.results.comparisons import pairs_frame
from helpers.results.frames import final_frame


def test_parameter_table_adds_up_to_the_norms_share():
    table = tables.parameter_table(2, 64)
    assert list(table.iloc[-1, 1:4]) == ["64,448", "200", "200"] and list(table.iloc[0, 4:]) == ["64", "128", "16"]


def test_batchnorm_alone_depends_on_the_neighbours():
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    table = tables.mode_table(images, 2).astype(float)
    assert table["in evaluation mode"].max() == 0 and list(table["in training mode"] > 0) == [False, False, True]


def test_the_worked_example_is_computed():
    """Golden numbers by hand: the 5 is 2 above a mean of 3, 1 above 4, 3 below 8."""
    assert worked_example.example_table()["5 becomes"].tolist() == [
        "(5 - 3) / sqrt(6.5) = 0.78", "(5 - 4) / sqrt(5) = 0.45", "(5 - 8) / sqrt(5) = -1.34"]
    page = BeautifulSoup(worked_example.example_switch(), "html.parser")
    assert [len(page.select(f"table:not([class]) td.{norm}")) for norm in VARIANTS] == [8, 4, 4]
    layers = {"layer": nn.LayerNorm([4, 1, 2]), "group": nn.GroupNorm(2, 4), "batch": nn.BatchNorm2d(4)}
    for norm, layer in layers.items():
        shown = [float(cell.get_text()) for cell in page.select(f".for-{norm} td") if cell.get_text()]
        np.testing.assert_allclose(shown, layer(worked_example.X).detach().flatten(), atol=0.0051)


def test_last_epochs_and_pairs_for_readers():
    digits = [record("layer", 0, [1, 2]), record("group", 0, [2])]
    shown = tables.final_table(final_frame(digits))
    assert list(shown.loc["std over seeds (%)"]) == ["one seed", "one seed"]
    pairs = tables.pairs_table(pairs_frame(digits))
    assert list(pairs.index) == ["LayerNorm against GroupNorm"] and "p (McNemar, exact)" in pairs
    assert tables.pairs_table(pairs_frame(digits[:1])).empty


def test_recipe_table_holds_every_run():
    table = tables.recipe_table(Study(seeds=(0, 1)).run_configs("cpu"))
    assert list(table.loc["l1_lambda (nats)"]) == ["0", "0", "1e-05"] and set(table.loc["seeds"]) == {"0, 1"}


def test_tables_are_shown_whole_whatever_was_set_before():
    with pd.option_context("display.max_columns", 2):
        importlib.reload(tables)
        shown = pd.DataFrame([["x" * 200] * 40] * 100).to_html()
        assert "..." not in shown and shown.count("x" * 200) == 4000
