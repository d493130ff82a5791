"""How the recipe was chosen: the hyperparameter search on the hold-out."""

from pandas import DataFrame, read_csv

from helpers.config import RECIPES, VARIANTS
from helpers.files import RECORDS
from helpers.results.intervals import half_width
from helpers.results.words import count_seeds

CHOSEN = RECIPES["tuned"]
CASE = "{num_epochs} epochs, lr {lr:g}, rotation {rotation:g}°, shift {shift:g}, scale and shear {scale:g}"
MORE = {"batch_size": ", batch {:g}", "label_smoothing": ", label smoothing {:g}",
        "weight_decay": ", weight decay {:g}"}

# A column of the search -> what a reader calls it.
KNOBS = {
    "l1_lambda": "λ", "l1_target": "what it counts", "lr": "peak rate", "rotation": "augmentation",
    "shift": "augmentation", "scale": "augmentation", "shear": "augmentation",
    "weight_decay": "weight decay", "label_smoothing": "label smoothing", "batch_size": "batch size",
}


def frame() -> DataFrame:
    """The search's runs as in search.csv, and three columns more.

    case: what was tried, but for the penalty. penalty: "" where the variant has none. changed: what differs
    from the chosen recipe, as a reader calls it.
    """
    rows = []
    for run in read_csv(RECORDS / "search.csv").to_dict("records"):
        variant = VARIANTS[run["norm"]]
        recipe = CHOSEN if variant.l1 else CHOSEN.without_l1()
        differing = [column for column in KNOBS if run[column] != getattr(recipe, column)]
        case = CASE.format(**run)
        for column in differing:
            case += MORE.get(column, "").format(run[column])
        penalty = f"{run['l1_lambda']:g}" if variant.l1 else ""
        if run["l1_lambda"]:
            penalty += f" on {run['l1_target']}"
        changed = {KNOBS[column] for column in differing}
        rows.append({**run, "case": case, "penalty": penalty, "changed": changed})
    return DataFrame(rows)


def table(frame: DataFrame) -> DataFrame:
    """A row for each case and penalty, for readers, the lowest mean loss first.

    A cell: loss in nats, and images right of those held out. Where all variants were tried, cells and their mean
    are of the seeds that all three share; a variant's further seeds are told behind. The penalty is the third
    variant's alone, so the other two stand in every row of their case.
    """
    rows = []
    for case, part in frame.groupby("case", sort=False):
        for penalty in sorted(set(part.penalty) - {""}) or [""]:
            mine = part[part.penalty.isin(["", penalty])]
            shared = mine[mine.groupby("seed").norm.transform("size") == len(VARIANTS)]
            cells = {}
            for norm, variant in VARIANTS.items():
                cells[variant.short] = _cell(mine[mine.norm == norm], shared[shared.norm == norm])
            rows.append({"case": case, "λ": penalty, **cells, "mean loss (nats)": shared.val_loss.mean(),
                         "seeds of the mean": shared.seed.nunique() or ""})
    table = DataFrame(rows).set_index("case").sort_values("mean loss (nats)", kind="stable")
    table["mean loss (nats)"] = table["mean loss (nats)"].map("{:.4f}".format).replace("nan", "")
    return table


def _cell(all_runs: DataFrame, shared: DataFrame) -> str:
    if all_runs.empty:
        return "not tried"
    if shared.empty or len(shared) == len(all_runs):
        return _means(all_runs)
    return f"{_means(shared)}; {count_seeds(len(all_runs))}: {_means(all_runs)}"


def _means(runs: DataFrame) -> str:
    return f"{runs.val_loss.mean():.4f} ({runs.val_correct.mean():,.0f})"


def finding(frame: DataFrame) -> str:
    """The chosen recipe on the hold-out, and cases as long that differ in one thing, with the same seeds."""
    runs = frame[frame.num_epochs == frame.num_epochs.max()]
    num_changes = runs.changed.map(len)
    chosen = runs[num_changes == 0]
    results = []
    for norm, variant in VARIANTS.items():
        mine = chosen[chosen.norm == norm]
        results.append(f"{variant.bare} {mine.val_loss.mean():.4f} nats, {mine.val_correct.mean():,.0f} of "
                       f"{frame.num_val[0]:,} right ({count_seeds(len(mine))})")
    others = runs[(num_changes == 1) & (runs.norm == "batch")]
    both = others.merge(chosen[chosen.norm == "batch"], on="seed", suffixes=("", "_chosen"))
    both["loss"] = both.val_loss - both.val_loss_chosen
    both["right"] = both.val_correct - both.val_correct_chosen
    cases = both.groupby(["case", "penalty"])
    means = cases[["loss", "right"]].mean()
    changed = set().union(*others.changed)
    things = [name for name in dict.fromkeys(KNOBS.values()) if name in changed]
    text = (f"The chosen recipe on the hold-out after {runs.num_epochs.iloc[0]} epochs: "
            f"{'; '.join(results)}. {len(cases)} cases of BatchNorm that differ in one thing "
            f"({', '.join(things)}) are, with the same seeds, {means.loss.min():+.4f} to {means.loss.max():+.4f} nats "
            f"and {means.right.min():+.0f} to {means.right.max():+.0f} images away.")
    for (_, penalty), loss in cases.loss:
        if len(loss) > 2:
            text += (f" λ = {penalty}: {loss.mean():+.4f} ± {half_width(loss):.4f} nats "
                     f"({count_seeds(len(loss))}).")
    return f"{text} The others stand on fewer than three seeds, which can't show a difference as small as theirs."
