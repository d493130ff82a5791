"""The tables for readers say what the frames hold."""

import importlib

import pandas as pd
from planted import DIGITS, MNIST, record

from helpers.config import Study
from helpers.results import tables
from helpers.results.comparisons import pairs_frame
from helpers.results.frames import final_frame


def test_parameter_table_adds_up_to_the_norms_share():
    table = tables.parameter_table(2, 64)
    assert list(table.iloc[-1, 1:4]) == ["64,448", "200", "200"] and list(table.iloc[0, 4:]) == ["64", "128", "16"]
    networks = tables.network_table(2)
    assert list(networks["parameters"]) == ["75,080", "10,832", "10,832"]
    assert list(networks["needs running averages"]) == ["no", "no", "yes"]


def test_last_epochs_and_pairs_for_readers():
    digits, mnist = ([record("layer", 0, [1, 2], data), record("group", 0, [2], data)] for data in (DIGITS, MNIST))
    shown = tables.final_table(final_frame(digits))
    assert list(shown.loc["std over seeds (%)"]) == ["one seed", "one seed"]
    assert "historical accuracy (%)" not in shown.index
    shown = tables.final_table(final_frame(mnist))
    assert list(shown.loc["historical accuracy (%)"]) == ["99.37 (epoch 20)", "99.40 (epoch 20)"]
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
