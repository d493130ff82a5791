"""The hyperparameter search, read here again with the standard library."""

import csv
from collections import defaultdict
from statistics import mean

from helpers.ablations import search
from helpers.config import VARIANTS
from helpers.files import RECORDS

TEXT = (RECORDS / "search.csv").read_text()


def test_search_table_reads_the_search():
    """Every run of the search is in it, several seeds as their mean; a row of all three is of the seeds they share."""
    table = search.table(search.frame())
    cases = defaultdict(list)
    for run in csv.DictReader(TEXT.splitlines()):
        cases[tuple(v for k, v in run.items() if k not in ("seed", "val_loss", "val_correct"))].append(run)
    assert sum(map(len, cases.values())) == 41 and TEXT.count(",10000\n") == 41, "on the hold-out"
    for (norm, *_), runs in cases.items():
        loss = mean(float(run["val_loss"]) for run in runs)
        text = f"{loss:.4f} ({mean(int(run['val_correct']) for run in runs):,.0f})"
        if len(runs) > 1:
            text = f"; {len(runs)} seeds: {text}"
        assert table[VARIANTS[norm].short].str.endswith(text).any(), (norm, text)
    first = table.iloc[0]
    assert first.name == "20 epochs, lr 0.2, rotation 10°, shift 2, scale and shear 0.1"
    assert first["λ"] == "1e-05 on weights" and table.index.str.contains("batch 128").sum() == 2
    assert first["L1 + BatchNorm"].startswith("0.0180 (9,948); 3 seeds: ") and first["seeds of the mean"] == 1
    assert first["mean loss (nats)"] == f"{(0.018440 + 0.019875 + 0.017971) / 3:.4f}"


def test_search_finding_is_what_the_search_gave(tmp_path, monkeypatch):
    """Counted by hand in search.csv: a case that differs in the rate and in the batch is none of the 8."""
    assert search.finding(search.frame()) == (
        "The chosen recipe on the hold-out after 20 epochs: LayerNorm 0.0184 nats, 9,951 of 10,000 right (one "
        "seed); GroupNorm 0.0199 nats, 9,946 of 10,000 right (one seed); BatchNorm 0.0193 nats, 9,948 of 10,000 "
        "right (3 seeds). 8 cases of BatchNorm that differ in one thing (λ, peak rate, augmentation, weight decay, "
        "batch size) are, with the same seeds, +0.0001 to +0.0042 nats and -6 to +6 images away. λ = 1e-06 on "
        "weights: +0.0001 ± 0.0030 nats (3 seeds). The others stand on fewer than three seeds, which can't show a "
        "difference as small as theirs.")
    (tmp_path / "search.csv").write_text(TEXT.replace("0.022127", "0.001"))  # one seed, 0.017971 as chosen
    monkeypatch.setattr(search, "RECORDS", tmp_path)
    changed = search.finding(search.frame())
    assert "-0.0170 to +0.0034 nats" in changed
