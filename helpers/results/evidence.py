"""Every comparison that was ever run, beside the confirmation."""

from dataclasses import asdict
from itertools import combinations

import numpy as np
from pandas import DataFrame, Series, concat, read_csv

from helpers.config import RECIPES, VARIANTS
from helpers.files import RECORDS
from helpers.results.comparisons import FREE, in_order
from helpers.results.frames import history_frame
from helpers.results.intervals import half_width
from helpers.results.words import join_words
from helpers.runs.confirm import Confirmation

CONFIRMATION = "confirmation"


def evidence_frame(own: Confirmation, confirmation: Confirmation) -> DataFrame:
    """Each pair in each set of runs, the confirmation last: differences by seed, their mean and half width.

    Pairs of variants, and of each with BatchNorm without its penalty. own: the runs of the main notebook.
    """
    sources = {"this notebook": _counts(own), **_published(), CONFIRMATION: _counts(confirmation)}
    rows = []
    for a, b in [*combinations(VARIANTS, 2), *((norm, FREE) for norm in VARIANTS)]:
        for source, runs in sources.items():
            correct = runs.groupby(["seed", "norm"]).val_correct.last().unstack()
            differences = correct.reindex(columns=[a, b]).diff(-1, axis=1)[a].dropna()
            if len(differences):
                rows.append({"a": a, "b": b, "source": source, "seeds": differences.index.tolist(),
                             "differences": differences.tolist(), "difference": differences.mean(),
                             "half_width": half_width(differences),
                             "num_images": confirmation.records[0]["dataset"]["num_val"]})
    return DataFrame(rows)


def _counts(runs: Confirmation) -> DataFrame:
    control = history_frame(runs.control).assign(norm=FREE)
    return concat([history_frame(runs.records), control])


def _published() -> dict[str, DataFrame]:
    """Runs of the recipe that are kept as numbers alone: norm, seed, val_correct."""
    same = read_csv(RECORDS / "same_results.csv")
    search = read_csv(RECORDS / "search.csv")
    recipe = asdict(RECIPES["tuned"])
    shared = [name for name in search if name in recipe and not name.startswith("l1_")]
    penalty = np.where(search.norm == "batch", recipe["l1_lambda"], 0.0)
    chosen = (search[shared] == Series(recipe)[shared]).all(axis=1) & (search.l1_lambda == penalty)
    return {"bfloat16": same[(same.path == "bfloat16") & (same.num_epochs == 20)],
            "hold-out": search[chosen & (search.num_epochs == 20)]}


def against(pairs: DataFrame, evidence: DataFrame) -> str:
    """Which other runs have the other sign than the confirmation; pairs: of the confirmation."""
    others = evidence[evidence.source != CONFIRMATION]
    parts = []
    for pair in pairs.itertuples():
        mine = others[(others.a == pair.a) & (others.b == pair.b)]
        contrary = mine[np.sign(mine.difference) == -np.sign(pair.difference)]
        for row in contrary.itertuples():
            ahead, behind = in_order(row)
            seeds = "one seed" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds"
            parts.append(f"{row.source} ({ahead} {abs(row.difference):.1f} images ahead of {behind}, {seeds})")
    if not parts:
        return "No earlier runs of this recipe point the other way."
    return f"Earlier runs that point another way: {join_words(parts)}."
