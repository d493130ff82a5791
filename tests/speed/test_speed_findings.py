"""What is said of the measurements is what was measured."""

import json

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
    findings.save_measurements(tmp_path, results, tiny_data)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(pd.read_csv(tmp_path / "results.csv")) == {"pipeline", "norm", "repetition", "seconds"}
    ratios = {f"{norm}_{name}": value for norm in (*VARIANTS, "all") for name, value in (
        ("gain", 3.5), ("least", 3.5), ("most", 3.5), ("distance", 2.0))}
    assert ratios.items() <= summary.items()
    assert len(summary["epochs"]) == 60 and summary["target"][1]["seconds"] is None
    assert set(summary["profile"][0]) == {"norm", "kind", "milliseconds"}
    for sentence, says in zip(summary["findings"], (
            "60 s instead of 210 s, 3.5 times as fast", "2.0 times the limit of 30 s",
            "takes 42 s: 5.0 times as fast as the ordinary pipeline, 1.4 times the limit", "300 MB",
            "after 21 s (LayerNorm) of"), strict=False):
        assert says in sentence


def test_tables_and_figures_show_them(results):
    assert findings.epochs_table(results["epochs"]).loc["all three", "ordinary : ours"] == "3.5"
    assert findings.memory_table(results["memory"]).loc["ours"].item() == "300"
    assert findings.target_table(results["target"])["seconds to 99 %"].tolist() == ["21.0", "nan"]
    speed = figures.plot_speed(findings.median_frame(results["epochs"]))
    assert "all three (ordinary: 210.0 s; ours: 60.0 s (3.5 times as fast); " in speed.alt
    assert "GroupNorm: 4.0 ms (dropout: 1.5; ReLU: 2.5)" in figures.plot_profile(results["profile"]).alt
    assert "by images trained on (6,400: 0.5)" in figures.plot_growth(results["growth"]).alt


@pytest.mark.parametrize(("difference", "says"), [(0, "within the noise of the seeds"), (-5, "more than the noise")])
def test_what_another_path_costs_has_its_interval(difference, says):
    """Three pairs of runs a path, whose differences are 1 image apart for bfloat16, 2 for the plain path."""
    rows = [(path, "group", seed, 5, 9950 + gain * (difference + seed - 1), 10_000)
            for path, gain in {"ours": 0, "bfloat16": 1, "plain": 2}.items() for seed in (0, 1, 2)]
    rows.append(("ours", "group", 0, 20, 9990, 10_000))  # nothing to stand beside
    runs = pd.DataFrame(rows, columns=["path", "norm", "seed", "num_epochs", "val_correct", "num_val"])
    same = findings.same_frame(runs)
    plain, bfloat16 = findings.same_findings(same)
    # half widths: 4.3027 / sqrt(3) for a standard deviation of 1 and 2 degrees of freedom, and twice that
    assert plain.startswith("In 3 pairs of runs of 5 epochs, the plain path of `torch.nn` layers gets "
                            f"{2 * difference:+.1f} ± 5.0 images right beside ours in float32: {says}")
    assert f"training in bfloat16 gets {difference:+.1f} ± 2.5 images" in bfloat16
    table = findings.same_table(same).reset_index()
    assert table.variant.tolist() == ["Group Normalization", "all"] * 2 and set(table["ours (%)"]) == {"99.500"}
    assert table["the other − ours (images)"].tolist() == [f"{2 * difference:+.1f} ± 5.0"] * 2 + [
        f"{difference:+.1f} ± 2.5"] * 2
