"""The hyperparameter search, read here again with the standard library."""

import csv
from collections import defaultdict
from statistics import mean

from helpers.ablations import search
from helpers.files import RECORDS

NAMES = {"layer": "LayerNorm", "group": "GroupNorm", "batch": "BatchNorm"}
TEXT = (RECORDS / "search.csv").read_text()
RUNS = list(csv.DictReader(TEXT.splitlines()))


def test_search_table_reads_the_search():
    """Every run of the search is in it, several seeds as their mean; the chosen recipe has the lowest mean loss."""
    table = search.table(search.frame()).rename(columns={"L1 + BatchNorm": "BatchNorm"})
    cases = defaultdict(list)
    for run in RUNS:
        assert run["num_val"] == "10000", "on the hold-out"
        cases[tuple(v for k, v in run.items() if k not in ("seed", "val_loss", "val_correct"))].append(run)
    assert len(RUNS) >= 24
    for (norm, *_), runs in cases.items():
        loss, correct = (mean(float(run[key]) for run in runs) for key in ("val_loss", "val_correct"))
        text = f"{loss:.4f} ({correct:,.0f})" + (f", {len(runs)} seeds" if len(runs) > 1 else "")
        assert text in set(table[NAMES[norm]]), (norm, text)
    assert table.index[0] == "20 epochs, lr 0.2, rotation 10°, shift 2, scale and shear 0.1"
    assert table["λ"].iloc[0] == "1e-05 on weights"
    assert table["mean loss (nats)"].iloc[0] == f"{(0.018440 + 0.019875 + 0.017971) / 3:.4f}"
    assert sum("batch 128" in case for case in table.index) == 2


def test_search_finding_is_what_the_search_gave(tmp_path, monkeypatch):
    """Told apart from the chosen recipe here by hand: one that differs in the rate as well as in the batch is none."""
    usual = {"batch_size": "64", "lr": "0.2", "rotation": "10.0", "weight_decay": "0.0", "l1_lambda": "1e-05"}
    mine, others = defaultdict(list), defaultdict(list)
    for run in (run for run in RUNS if run["num_epochs"] == "20"):
        changed = {k: run[k] for k, v in usual.items() if run[k] != v} if run["norm"] == "batch" else {}
        (others[tuple(changed.items())] if changed else mine[run["norm"]]).append(run)
    own = {run["seed"]: run for run in mine["batch"]}

    def apart(column: str) -> list[float]:
        return [mean(float(run[column]) - float(own[run["seed"]][column]) for run in runs)
                for changed, runs in others.items() if len(changed) == 1]

    loss, right = apart("val_loss"), apart("val_correct")
    finding = search.finding(search.frame())
    for norm, name in NAMES.items():
        assert (f"{name} {mean(float(run['val_loss']) for run in mine[norm]):.4f} nats, "
                f"{mean(int(run['val_correct']) for run in mine[norm]):,.0f} of 10,000 right") in finding
    assert (f"{len(loss)} cases of BatchNorm that differ in one thing (λ, peak rate, augmentation, weight decay, "
            f"batch size) are, with the same seeds, {min(loss):+.4f} to {max(loss):+.4f} nats and {min(right):+.0f} to "
            f"{max(right):+.0f} images away: none with a lower loss, {sum(x > 0 for x in right)} with more") in finding
    worst = max((runs[0] for changed, runs in others.items() if len(changed) == 1), key=lambda run: run["val_loss"])
    (tmp_path / "search.csv").write_text(TEXT.replace(worst["val_loss"], "0.001"))
    monkeypatch.setattr(search, "RECORDS", tmp_path)
    assert "-0.0170 to" in search.finding(search.frame())
    assert "away: 1 with a lower loss" in search.finding(search.frame())
