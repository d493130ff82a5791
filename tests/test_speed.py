"""The pipelines that are timed do the same work, and what is said of them is what was measured."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from helpers import speed
from helpers.config import RECIPES, VARIANTS
from helpers.data import augment, normalize
from helpers.model import build_model, num_parameters
from helpers.speed import (
    PilImages,
    epochs_table,
    flops_per_image,
    medians,
    memory_table,
    ordinary_model,
    plain_model,
    ratios,
    same_differences,
    same_findings,
    save_measurements,
    speed_findings,
    target_table,
)
from helpers.training import fit


@pytest.mark.parametrize("norm", VARIANTS)
def test_the_ordinary_network_is_ours_in_plain_layers(norm):
    """The same weights give the same loss and gradients in training mode: our layers are faster, not other ones."""
    ours, plain = build_model(norm, seed=0).double(), ordinary_model(norm, dropout=0.0).double()
    assert num_parameters(ours) == num_parameters(plain)
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), plain.parameters(), strict=True):
            other.copy_(mine)
    x, y = torch.randn(8, 1, 28, 28, dtype=torch.float64), torch.arange(8)
    gradients = []
    for net in (ours, plain):
        loss = F.cross_entropy(net(x), y)
        gradients.append([loss, *torch.autograd.grad(loss, list(net.parameters()))])
    for mine, other in zip(*gradients, strict=True):
        assert_close(mine, other, rtol=1e-8, atol=1e-10)


def test_the_ordinary_dropout_rates_are_the_recipes():
    rates = [m.p for m in ordinary_model("batch").modules() if isinstance(m, torch.nn.Dropout)]
    assert rates == [0.1] + 5 * [0.05]


def test_the_ordinary_images_are_ours_but_for_the_random_angle(tiny_data):
    from dataclasses import replace

    still = PilImages(tiny_data.train_images, tiny_data.train_labels, replace(speed.RECIPE, rotation=0.0))
    image, label = still[3]
    assert_close(image, normalize(tiny_data.train_images[3:4])[0], rtol=1e-5, atol=1e-5)
    assert label == tiny_data.train_labels[3]
    torch.manual_seed(0)
    blank = torch.zeros(40, 28, 28, dtype=torch.uint8)
    theirs = torch.stack([PilImages(blank, torch.zeros(40), speed.RECIPE)[i][0] for i in range(40)])
    angle = torch.tensor(7 * torch.pi / 180)
    theta = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]]).expand(1, 2, 3)
    most = augment(blank[:1], theta, RECIPES["original"])  # full ink in the corners at 7 degrees
    share, limit = (theirs > 1).float().mean((1, 2, 3)), (most > 1).float().mean()
    assert share.max() <= limit and share.max() > 0.8 * limit and share.min() < 0.2 * limit


def test_flops_are_those_of_the_convolutions():
    """Counted by torch's own counter on the plain network: forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    net = ordinary_model("batch", dropout=0.0)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(net(torch.randn(4, 1, 28, 28)), torch.arange(4)).backward()
    assert counter.get_total_flops() == 4 * flops_per_image()
    assert round(flops_per_image() / 1e6, 1) == 19.2


@pytest.fixture
def results() -> dict[str, pd.DataFrame]:
    """Made-up measurements: ordinary 80 and 70 s, ours 20 and 14 s, limit 10 s; the second repetition twice that."""
    rows = [(pipeline, norm, repetition, seconds * (1 + repetition % 2) * (3 if norm == "all" else 1))
            for repetition in range(3) for norm in [*VARIANTS, "all"]
            for pipeline, seconds in (("ordinary, 0 workers", 80.0), ("ordinary, 2 workers", 70.0),
                                      ("ours", 20.0), ("ours, bfloat16", 14.0), ("limit", 10.0))]
    return {"epochs": pd.DataFrame(rows, columns=["pipeline", "norm", "repetition", "seconds"]),
            "memory": pd.DataFrame([("ordinary", 900.0), ("ours", 300.0)], columns=["pipeline", "megabytes"]),
            "growth": pd.DataFrame([("images", 640, 0.5)], columns=["varied", "value", "seconds"]),
            "profile": pd.DataFrame([("layer", "dropout", 1.5)], columns=["norm", "kind", "milliseconds"]),
            "target": pd.DataFrame([("layer", 21.0, 700), ("batch", float("nan"), 1876)],
                                   columns=["norm", "seconds", "updates"])}


def test_medians_and_ratios(results):
    seconds = medians(results["epochs"]).set_index(["norm", "pipeline"]).seconds
    assert (seconds["layer", "ordinary"], seconds["all", "ours"], seconds["batch", "limit"]) == (70, 60, 10)
    ratio = ratios(results["epochs"])
    np.testing.assert_allclose(ratio.gain, 3.5)
    np.testing.assert_allclose(ratio.distance, 2.0)
    np.testing.assert_allclose(ratios(results["epochs"], "ours, bfloat16").gain, 5.0)
    assert epochs_table(results).loc["all three", "ordinary : ours"] == "3.5"
    assert memory_table(results).loc["ours"].item() == "300"
    assert target_table(results)["seconds to 99 %"].tolist() == ["21.0", "nan"]


def test_findings_are_computed(results, tiny_data, tmp_path):
    sentences = speed_findings(results, tiny_data)
    assert "60 s instead of 210 s, 3.5 times as fast" in sentences[0] and "2.0 times the limit of 30 s" in sentences[1]
    assert "it takes 42 s: 5.0 times as fast as the ordinary pipeline, 1.4 times the limit" in sentences[2]
    assert "300 MB" in sentences[3]
    assert "21 s (LayerNorm)" in sentences[4] and "BatchNorm" not in sentences[4]
    save_measurements(tmp_path, results, tiny_data)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["findings"] == sentences and summary["all_gain"] == 3.5 and len(summary["epochs"]) == 60


def same_rows(difference: int) -> pd.DataFrame:
    gains = {"ours": 0, "plain": 2, "bfloat16": 1}
    return pd.DataFrame([(path, "group", seed, 5, 9950 + seed + gain * (difference + seed), 10_000)
                         for path, gain in gains.items() for seed in (0, 1, 2)]
                        + [("ours", "group", 0, 20, 9990, 10_000)],  # nothing to stand beside
                        columns=["path", "norm", "seed", "num_epochs", "val_correct", "num_val"])


def test_what_another_path_costs_has_its_interval():
    table = same_differences(same_rows(-1))
    assert list(zip(table.path, table.norm, strict=True)) == [(path, norm) for path in ("plain", "bfloat16")
                                                              for norm in ("group", "all")]
    for row in table.itertuples():
        assert (row.ours, row.theirs, row.difference, row.n) == pytest.approx((99.51, 99.51, 0.0, 3))
        std = 2 if row.path == "plain" else 1  # of -2, 0, 2 and of -1, 0, 1
        assert row.half_width == pytest.approx(4.3027 * std / 3**0.5, rel=1e-4)  # t of 2 degrees of freedom
    plain, bfloat16 = same_findings(table)
    assert "the plain path of `torch.nn` layers gets +0.0 ± 5.0 images right beside ours in float32: within" in plain
    assert "training in bfloat16 gets +0.0 ± 2.5 images" in bfloat16
    assert plain.startswith("In 3 pairs of runs of 5 epochs, ")
    assert all("more than the noise" in sentence for sentence in same_findings(same_differences(same_rows(-6))))
    assert list(same_differences(same_rows(-1).query("path != 'plain'")).path.unique()) == ["bfloat16"]


@pytest.mark.parametrize("norm", VARIANTS)
def test_plain_path_starts_where_ours_starts(norm, tiny_data, make_config):
    ours, plain = build_model(norm, seed=4), plain_model(norm, seed=4)
    images = torch.randn(3, 1, 28, 28)
    assert_close(ours(images), plain(images), rtol=1e-3, atol=1e-4)
    config = make_config(norm, num_epochs=1, lr=0.01, dropout=0.0)
    losses = [fit(config, tiny_data, build=build)["history"][0]["train_loss"] for build in (build_model, plain_model)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-2 if norm == "batch" else 1e-3)


def test_measuring_a_few_batches(tiny_data):
    speed._set_up(tiny_data, 1)
    for norm in VARIANTS:
        assert 0 < speed.time_ours(norm, 2) < 60 and 0 < speed.time_ordinary(norm, 2, 0) < 60
    kinds = speed.profile_ours("layer", 2)
    assert set(kinds) == set(speed.KINDS) and kinds["convolutions, backward"] > 0 < kinds["dropout"]
    assert speed.time_limit(2) > 1e8
    seconds, updates = speed.time_to_accuracy("batch", 101.0, 1)
    assert np.isnan(seconds) and updates == 0
