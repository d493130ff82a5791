"""How the recipe was chosen: the hyperparameter search on the hold-out."""

import pandas as pd

from helpers.ablations.common import TOO_FEW
from helpers.config import RECIPES, VARIANTS
from helpers.files import RECORDS
from helpers.results.words import count_seeds

CHOSEN = RECIPES["tuned"]

# A column of the search -> what a reader calls it.
KNOBS = {
    "l1_lambda": "λ", "l1_target": "what it counts", "lr": "peak rate", "rotation": "augmentation",
    "shift": "augmentation", "scale": "augmentation", "shear": "augmentation",
    "weight_decay": "weight decay", "label_smoothing": "label smoothing", "batch_size": "batch size",
}


def frame() -> pd.DataFrame:
    """The search's runs: the columns of search.csv, and "case": what was tried, but for the penalty."""
    runs = pd.read_csv(RECORDS / "search.csv")
    return runs.assign(case=[_case(run) for run in runs.itertuples()])


def _case(run) -> str:
    words = [
        f"{run.num_epochs} epochs", f"lr {run.lr:g}", f"rotation {run.rotation:g}°",
        f"shift {run.shift:g}", f"scale and shear {run.scale:g}",
    ]
    if run.batch_size != CHOSEN.batch_size:
        words.append(f"batch {run.batch_size}")
    if run.label_smoothing:
        words.append(f"label smoothing {run.label_smoothing:g}")
    if run.weight_decay:
        words.append(f"weight decay {run.weight_decay:g}")
    return ", ".join(words)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each case and penalty, for readers, the lowest mean loss first.

    A cell: loss in nats, and images right of those held out, means over its seeds. The penalty is the
    third variant's alone, so the other two stand in every row of their case. The mean loss is over the
    seeds that all variants were tried with.
    """
    is_l1 = frame.norm.map(lambda norm: VARIANTS[norm].l1)
    penalty = frame.l1_lambda.map("{:g}".format) + (" on " + frame.l1_target).where(frame.l1_lambda > 0, "")
    frame = frame.assign(penalty=penalty.where(is_l1, ""))
    rows = []
    for case, part in frame.groupby("case", sort=False):
        for penalty in sorted(set(part.penalty) - {""}) or [""]:
            mine = part[part.penalty.isin(["", penalty])]
            rows.append({"case": case, "λ": penalty, **_cells(mine)})
    table = pd.DataFrame(rows).set_index("case").sort_values("mean loss (nats)", kind="stable")
    losses = table["mean loss (nats)"].map("{:.4f}".format).replace("nan", "")
    return table.assign(**{"mean loss (nats)": losses})


def _cells(runs: pd.DataFrame) -> dict:
    """One row's results: each variant's in words, and the mean loss."""
    cells = {}
    for norm, variant in VARIANTS.items():
        mine = runs[runs.norm == norm]
        cells[variant.short] = "not tried"
        if len(mine):
            cells[variant.short] = f"{mine.val_loss.mean():.4f} ({mine.val_correct.mean():,.0f})"
        if len(mine) > 1:
            cells[variant.short] += f", {len(mine)} seeds"
    losses = runs.pivot(index="seed", columns="norm", values="val_loss").reindex(columns=list(VARIANTS))
    cells["mean loss (nats)"] = losses.dropna().stack().mean()
    return cells


def finding(frame: pd.DataFrame) -> str:
    """The chosen recipe on the hold-out, and cases as long that differ in one thing, with the same seeds."""
    runs = frame[frame.num_epochs == frame.num_epochs.max()]
    changes = pd.Series([_changes(run) for run in runs.itertuples()], runs.index)
    chosen = runs[changes.map(len) == 0]
    results = []
    for norm, mine in chosen.groupby("norm", sort=False):
        results.append(f"{VARIANTS[norm].bare} {mine.val_loss.mean():.4f} nats, {mine.val_correct.mean():,.0f} of "
                       f"{mine.num_val.iloc[0]:,} right ({count_seeds(len(mine))})")
    others = runs[(runs.norm == "batch") & (changes.map(len) == 1)]
    both = others.merge(chosen[chosen.norm == "batch"], on="seed", suffixes=("", "_chosen"))
    if both.empty:
        return TOO_FEW
    both["loss"] = both.val_loss - both.val_loss_chosen
    both["right"] = both.val_correct - both.val_correct_chosen
    cases = both.groupby(list(KNOBS))
    loss = cases.loss.mean()
    right = cases.right.mean()
    num_seeds = cases.size()
    changed = set().union(*changes[others.index])
    things = [name for name in dict.fromkeys(KNOBS.values()) if name in changed]
    return (f"The chosen recipe on the hold-out after {runs.num_epochs.iloc[0]} epochs: {'; '.join(results)}. "
            f"{len(cases)} cases of {VARIANTS['batch'].bare} that differ in one thing ({', '.join(things)}) are, with "
            f"the same seeds, {loss.min():+.4f} to {loss.max():+.4f} nats and {right.min():+.0f} to "
            f"{right.max():+.0f} images away: {sum(loss < 0) or 'none'} with a lower loss, "
            f"{sum(right > 0) or 'none'} with more right. With {num_seeds.min()} to {num_seeds.max()} seeds a case, "
            "differences as small as these say little.")


def _changes(run) -> set[str]:
    """What a run does otherwise than the chosen recipe, as a reader calls it."""
    recipe = CHOSEN if VARIANTS[run.norm].l1 else CHOSEN.without_l1()
    return {name for column, name in KNOBS.items() if getattr(run, column) != getattr(recipe, column)}
