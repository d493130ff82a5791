"""What happens inside a network, and when one dies."""

import math

import pandas as pd
import pytest

from helpers.ablations import inside
from helpers.config import RECIPES
from helpers.data import normalize
from helpers.model import build_model


def test_watch(tiny_data, make_config):
    frame = inside.watch(make_config("none", batch_size=3), tiny_data)  # 24 batches, told of after 20
    assert list(frame["update"].unique()) == [0, 20, 24, 44, 48] and list(frame.block.unique()) == [1, 2, 3, 4, 5, 6]
    assert frame[frame["update"] == 0].gradient.isna().all() and (frame[frame["update"] > 0].gradient > 0).all()
    first = build_model("none", seed=0).layers[0][0](normalize(tiny_data.val_images))
    assert frame.iloc[0][["mean", "std"]].tolist() == pytest.approx([first.mean().item(), first.std().item()], rel=1e-4)
    assert "no norm" in inside.finding(frame)
    assert [(run.norm, run.recipe.l1_lambda) for run in inside.runs(RECIPES["tuned"])] == [
        ("layer", 0), ("group", 0), ("batch", 0), ("none", 0)]


def frame(last_sign_of_life: int) -> pd.DataFrame:
    rows = []
    for norm in ("layer", "none"):
        for update in (0, 20, 40, 60):
            for block in range(1, 7):
                gradient = 0.5 if block == 1 else 2.0
                if update == 0:
                    gradient = math.nan
                elif norm == "none" and update > last_sign_of_life:
                    gradient = 0.0
                rows.append((norm, update, block, 0.0, (0.5 if update < 40 else 90.0) * block, gradient))
    return pd.DataFrame(rows, columns=inside.COLUMNS)


def test_a_dead_network_is_told():
    dead = frame(20)
    sentence = inside.finding(dead)
    assert "first block and last: LayerNorm 0.5 and 3, no norm 0.5 and 3 (one seed)." in sentence
    assert sentence.endswith("The network with no norm dies between updates 20 and 40: from then on all gradients are "
                             "0.")
    assert inside.table(dead).to_numpy().tolist() == [
        ["0.25", "3 at first, 540 by update 60"], ["all gradients 0 in the end", "3 at first, 540 by update 40"]]
    assert "dies between updates 40 and 60" in inside.finding(frame(40))
    assert "dies" not in inside.finding(frame(60)) and inside.table(dead.head(0)).empty
