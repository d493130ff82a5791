"""What is said of the measurements is what was measured."""

import json

import numpy as np
import pandas as pd
import pytest

from helpers.config import VARIANTS
from helpers.speed import figures, findings


@pytest.fixture
def results() -> dict[str, pd.DataFrame]:
    """Ordinary 80 and 70 s, ours 20 and 14 s, limit 10 s; the second repetition twice that."""
    one = pd.DataFrame({"ordinary, 0 workers": 80.0, "ordinary, 2 workers": 70.0, "ours": 20.0,
                        "ours, bfloat16": 14.0, "limit": 10.0}, [*VARIANTS, "all"])
    one.loc["all"] *= 3
    target = {"norm": ["layer", "batch"], "seconds": [21.0, None], "updates": [700, 1876]}
    growth = {"varied": list(figures.GROWTH), "value": [6400, 16, 1], "seconds": [0.5, 9.0, 7.0]}
    return {
        "epochs": pd.concat({0: one, 1: 2 * one, 2: one}, names=["repetition", "norm"]),
        "memory": pd.DataFrame({"pipeline": ["ordinary", "ours"], "megabytes": [900.0, 300.0]}),
        "growth": pd.DataFrame(growth), "target": pd.DataFrame(target),
        "profile": pd.DataFrame({"dropout": 1.5, "ReLU": 2.5}, pd.Index(VARIANTS, name="norm"))}


def test_findings_are_computed(results, tiny_data, tmp_path):
    ratios = findings.median_frame(results["epochs"])[["gain", "least", "most", "distance"]]
    assert (ratios == [3.5, 3.5, 3.5, 2.0]).all(axis=None) and len(ratios) == 4
    assert findings.epochs_table(results["epochs"]).loc["all three", "ordinary : ours"] == "3.5"
    assert findings.memory_table(results["memory"]).loc["ours"].item() == "300"
    assert findings.target_table(results["target"])["seconds to 99 %"].tolist() == ["21.0", "nan"]
    sentences = findings.speed_findings(results, tiny_data)
    for sentence, says in zip(sentences, (
            "60 s instead of 210 s, 3.5 times as fast", "2.0 times the limit of 30 s",
            "takes 42 s: 5.0 times as fast as the ordinary pipeline, 1.4 times the limit", "300 MB",
            "after 21 s (LayerNorm) of"), strict=False):
        assert says in sentence
    findings.save_measurements(tmp_path, results, tiny_data)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["findings"] == sentences and summary["all_gain"] == 3.5
    assert len(summary["epochs"]) == 60 and summary["target"][1]["seconds"] is None
    assert set(summary["profile"][0]) == {"norm", "kind", "milliseconds"}
    assert set(pd.read_csv(tmp_path / "results.csv")) == {"pipeline", "norm", "repetition", "seconds"}


def test_figures_say_what_they_show(results):
    speed = figures.plot_speed(findings.median_frame(results["epochs"]))
    assert "all three (ordinary: 210.0 s; ours: 60.0 s (3.5 times as fast); " in speed.alt
    assert "GroupNorm: 4.0 ms (dropout: 1.5; ReLU: 2.5)" in figures.plot_profile(results["profile"]).alt
    assert "by images trained on (6,400: 0.5)" in figures.plot_growth(results["growth"]).alt


def same_runs(difference: int) -> pd.DataFrame:
    """Three pairs of runs a path; for a difference of -1 they gain -2, 0, 2 and -1, 0, 1 images."""
    rows = [(path, "group", seed, 5, 9950 + seed + gain * (difference + seed), 10_000)
            for path, gain in {"ours": 0, "bfloat16": 1, "plain": 2}.items() for seed in (0, 1, 2)]
    rows.append(("ours", "group", 0, 20, 9990, 10_000))  # nothing to stand beside
    return pd.DataFrame(rows, columns=["path", "norm", "seed", "num_epochs", "val_correct", "num_val"])


def test_what_another_path_costs_has_its_interval():
    same = findings.same_frame(same_runs(-1))
    assert list(zip(same.path, same.norm, strict=True)) == [
        (path, norm) for path in ("plain", "bfloat16") for norm in ("group", "all")]
    assert set(same.difference) == {0} and set(same.n) == {3}
    half_width = 4.3027 / 3**0.5  # t of 2 degrees of freedom, for a standard deviation of 1
    np.testing.assert_allclose(same.half_width, half_width * np.array([2, 2, 1, 1]), rtol=1e-4)
    table = findings.same_table(same)
    assert set(table["ours (%)"]) == set(table["the other (%)"]) == {"99.510"}
    plain, bfloat16 = findings.same_findings(same)
    assert plain == ("In 3 pairs of runs of 5 epochs, the plain path of `torch.nn` layers gets +0.0 ± 5.0 "
                     "images right beside ours in float32: within the noise of the seeds.")
    assert "training in bfloat16 gets +0.0 ± 2.5 images" in bfloat16
    for sentence in findings.same_findings(findings.same_frame(same_runs(-6))):
        assert "more than the noise" in sentence
