"""What several questions share: configurations, frames of last epochs, changes in words, parts of figures."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from helpers.config import ALL_NORMS, Recipe, RunConfig
from helpers.plots.style import INK, LOOKS, blank, captioned, label_ends, limits, stretch
from helpers.results.frames import Records
from helpers.results.intervals import holm, paired_p
from helpers.results.words import in_words, p_text

TOO_FEW = "Too few of these runs are there to answer."
CROSSES = "×: BatchNorm on the statistics of its own batches"


def ablation_config(
    norm: str, seed: int, num_epochs: int, recipe: Recipe, num_groups: int = 2
) -> RunConfig:
    """One run on the CPU. num_groups: of GroupNorm; the others have none."""
    if norm != "group":
        num_groups = None
    return RunConfig(norm, seed, num_epochs, recipe, num_groups)


def last_epochs(records: Records, case: list[str], more: Sequence[str] = ()) -> pd.DataFrame:
    """One row a run: norm, seed, val_accuracy (percent), val_loss (nats), and columns `case` and `more`.

    case: the columns that tell the cases apart. The rows are of the seeds that were run for every case,
    so that means are of the same seeds; of all seeds where there is no such seed.
    """
    columns = ["norm", "seed", "val_accuracy", "val_loss", *case, *more]
    frame = pd.DataFrame(map(_row, records), columns=list(dict.fromkeys(columns)))
    num_runs = frame.groupby("seed").seed.transform("size")
    complete = frame[num_runs == frame.groupby(case).ngroups]
    return frame if complete.empty else complete.reset_index(drop=True)


def _row(record: Mapping) -> dict:
    """What a frame may tell of a run: its configuration, its recipe, its last epoch, and what follows.

    gamma: mean |γ| of the block where it is smallest; a mean over blocks would hide one that is shut.
    near_zero: share of the weights. train_mode: BatchNorm's accuracy on the statistics of its own
    validation batches, as in training (percent; nan for the others).
    """
    config = record["config"]
    own_batches = record.get("batch_statistics", {"val_correct": math.nan})
    return {
        **config["recipe"],
        **config,
        **record["history"][-1],
        "groups": str(config["num_groups"] or "C"),
        "parameters": record["num_parameters"],
        "num_images": record["dataset"]["num_train"],
        "near_zero": record["near_zero"],
        "gamma": min(record["gamma"], default=math.nan),
        "train_mode": 100 * own_batches["val_correct"] / record["dataset"]["num_val"],
    }


def by_seed(frame: pd.DataFrame, columns: str = "norm") -> pd.DataFrame:
    """Accuracies: one row a seed, one column for each value of `columns`."""
    return frame.pivot(index="seed", columns=columns, values="val_accuracy")


def means(frame: pd.DataFrame, case: str, column: str = "val_accuracy") -> pd.DataFrame:
    """Means of `column` over seeds: one row a case, one column a norm."""
    table = frame.pivot_table(column, case, "norm")
    return table[[norm for norm in LOOKS if norm in table]]


def is_blind(accuracies: pd.Series, labels: Tensor) -> bool:
    """Whether each accuracy (percent) is a digit's share of the labels: all images get one answer."""
    shares = 100 * np.bincount(labels) / len(labels)
    return all(np.abs(shares - accuracy).min() < 0.005 for accuracy in accuracies)


def changes_in_words(changes: Mapping[str, pd.Series]) -> dict[str, str]:
    """Each change over seeds, in points; from three seeds on with p, Holm-corrected for all of them."""
    texts = {}
    p_values = {}
    for name, change in changes.items():
        values = change.dropna().tolist()
        if values:
            texts[name] = in_words(values, sign="+")
        if len(values) > 2:
            p_values[name] = paired_p(values)
    for name, p in zip(p_values, holm(list(p_values.values())), strict=True):
        texts[name] += f" ({p_text(p)})"
    return texts


def subtitle(frame: pd.DataFrame, dataset_title: str) -> str:
    num_seeds = frame.seed.nunique()
    basis = f"mean of {num_seeds} seeds, pale dots: each" if num_seeds > 1 else "one seed"
    return f"{dataset_title}, last epoch, {basis}. The accuracy axis is stretched towards 100 %"


def plot_accuracies(ax: Axes, frame: pd.DataFrame, case: str, bounds: tuple[float, float]) -> None:
    """Accuracy by case on a stretched axis with these bounds: means, seeds, BatchNorm on its own batches."""
    stretch(ax, *bounds)
    if frame.seed.nunique() > 1:
        for norm, part in frame.groupby("norm"):
            ax.plot(part[case], part.val_accuracy, "o", color=LOOKS[norm].colour, alpha=0.3, markersize=4, gid="seed")
    crosses = frame.groupby(case).train_mode.mean().dropna()
    ax.plot(crosses, "x-", color=LOOKS["batch"].colour, linewidth=1, markersize=5, gid="own batches")
    plot_lines(ax, means(frame, case))


def plot_lines(ax: Axes, lines: pd.DataFrame) -> None:
    """A line for each norm; nan interrupts it. lines: as `means`."""
    for norm, line in lines.items():
        look = LOOKS[norm]
        ax.plot(line, color=look.colour, linestyle=look.line, marker=look.marker, markeredgecolor="white", gid="mean")


def label_lines(ax: Axes, lines: pd.DataFrame, form: str) -> None:
    """Labels the lines' ends. form: format of a number."""
    ends = {}
    for norm, line in lines.items():
        end = line.last_valid_index()
        ends[norm] = (end, line[end], f"{ALL_NORMS[norm].bare} {form.format(line[end])}")
    label_ends(ax, ends)


def describe_lines(name: str, lines: pd.DataFrame, form: str) -> list[str]:
    """The lines of a figure in words. form: format of a number."""
    facts = []
    for norm, line in lines.items():
        values = [f"{case:g}: {form.format(value)}" for case, value in line.dropna().items()]
        facts.append(f"{ALL_NORMS[norm].bare}, {name}: {', '.join(values)}")
    return facts


def plot_rows(frame: pd.DataFrame, title: str, dataset_title: str) -> Figure:
    """A row for each value of the column `row`: seeds as dots, the mean as a bar.

    Rows far below the others are told, not drawn.
    """
    rows = frame.groupby("row", sort=False).val_accuracy.agg(["mean", "min", "max"])
    height = 1.4 + 0.8 * len(rows)
    ax = blank(height).add_axes((0.25, 0.55 / height, 0.56, 1 - 1.35 / height))
    far = rows["max"] < rows["max"].max() / 2
    seen = frame[~frame.row.map(far)]
    stretch(ax, *limits(seen.val_accuracy), axis="x")
    ax.plot(frame.val_accuracy, frame.row, "o", color=LOOKS["layer"].colour, alpha=0.5)
    ax.plot(rows["mean"], rows.index, "|", color=INK, markersize=24, markeredgewidth=2)
    facts = []
    for name, mean, low, high in rows.itertuples():
        ax.text(1.03, name, f"{mean:.2f} %", weight="bold", va="center", transform=ax.get_yaxis_transform())
        facts.append(f"{name}: {mean:.2f} % (from {low:.2f} to {high:.2f})")
    for name in rows.index[far]:
        ax.text(0.02, name, "← far below this axis", va="center", transform=ax.get_yaxis_transform())
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy (%)")
    return captioned(ax.figure, "svg", title, subtitle(frame, dataset_title), *facts)
