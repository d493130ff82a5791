"""The hyperparameter search, read here again with the standard library."""

import csv
import statistics
from collections import defaultdict

import pytest

from helpers.ablations import search
from helpers.config import RECIPES
from helpers.files import RECORDS

CHOSEN = RECIPES["tuned"]


@pytest.fixture
def runs() -> list[dict]:
    with open(RECORDS / "search.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_search_table_reads_the_search(runs):
    """Every run of the search is in it, several seeds as their mean; the chosen recipe has the lowest mean loss."""
    table = search.table(search.frame())
    cases = defaultdict(list)
    for row in runs:
        assert row["num_val"] == "10000", "on the hold-out"
        cases[tuple(v for k, v in row.items() if k not in ("seed", "val_loss", "val_correct"))].append(row)
    assert len(runs) >= 24
    columns = {"layer": "LayerNorm", "group": "GroupNorm", "batch": "L1 + BatchNorm"}
    for (norm, *_), rows in cases.items():
        loss, correct = (statistics.mean(float(row[key]) for row in rows) for key in ("val_loss", "val_correct"))
        text = f"{loss:.4f} ({correct:,.0f})" + (f", {len(rows)} seeds" if len(rows) > 1 else "")
        assert text in set(table[columns[norm]]), (norm, text)
    assert table.index[0] == (f"20 epochs, lr {CHOSEN.lr:g}, rotation {CHOSEN.rotation:g}°, shift {CHOSEN.shift:g}, "
                              f"scale and shear {CHOSEN.scale:g}") and CHOSEN.scale == CHOSEN.shear
    assert table.iloc[0]["λ"] == f"{CHOSEN.l1_lambda:g} on {CHOSEN.l1_target}"
    assert table.iloc[0]["mean loss (nats)"] == f"{(0.018440 + 0.019875 + 0.017971) / 3:.4f}"
    assert sum("batch 128" in case for case in table.index) == 2


def test_search_finding_is_what_the_search_gave(runs, tmp_path, monkeypatch):
    """Told apart from the chosen recipe here by hand: one that differs in the rate as well as in the batch is none."""
    rows = [row for row in runs if row["num_epochs"] == "20"]
    usual = {"batch_size": "64", "lr": "0.2", "rotation": "10.0", "weight_decay": "0.0", "l1_lambda": "1e-05"}
    others = defaultdict(list)
    own = {}
    for row in (row for row in rows if row["norm"] == "batch"):
        changed = {name: row[name] for name, value in usual.items() if row[name] != value}
        if not changed:
            own[row["seed"]] = row
        elif len(changed) == 1:
            others[tuple(changed.items())].append(row)
    apart = {key: [statistics.mean(float(row[column]) - float(own[row["seed"]][column]) for row in mine)
                   for column in ("val_loss", "val_correct")] for key, mine in others.items()}
    loss, right = zip(*apart.values(), strict=True)
    finding = search.finding(search.frame())
    for name, mine in (("LayerNorm", [row for row in rows if row["norm"] == "layer"]),
                       ("GroupNorm", [row for row in rows if row["norm"] == "group"]), ("BatchNorm", own.values())):
        assert (f"{name} {statistics.mean(float(row['val_loss']) for row in mine):.4f} nats, "
                f"{statistics.mean(int(row['val_correct']) for row in mine):,.0f} of 10,000 right") in finding
    assert (f"{len(others)} cases of BatchNorm that differ in one thing (λ, peak rate, augmentation, weight decay, "
            f"batch size) are, with the same seeds, {min(loss):+.4f} to {max(loss):+.4f} nats and {min(right):+.0f} to "
            f"{max(right):+.0f} images away: none with a lower loss, {sum(x > 0 for x in right)} with more") in finding
    (worst,) = (mine for key, mine in others.items() if apart[key][0] == max(loss))
    text = (RECORDS / "search.csv").read_text()
    (tmp_path / "search.csv").write_text(text.replace(worst[0]["val_loss"], "0.001"))
    monkeypatch.setattr(search, "RECORDS", tmp_path)
    changed = search.finding(search.frame())
    assert "-0.0170 to" in changed and "away: 1 with a lower loss" in changed
