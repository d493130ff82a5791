"""What several questions share: runs, the frame of last epochs, parts of figures."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series
from torch import Tensor

from helpers.config import ALL_NORMS, Recipe, RunConfig
from helpers.plots.style import INK, LOOKS, blank, captioned, limits, stretch, style
from helpers.results.frames import Records

TOO_FEW = "Too few of these runs are there to answer."
CASE = ["norm", "groups", "batch_size", "l1_lambda", "l1_target"]
COLUMNS = [*CASE, "seed", "val_accuracy", "val_loss", "parameters", "num_images", "near_zero", "gamma",
           "train_mode"]


def for_each_seed(cases: Callable) -> Callable:
    """Turns a question's cases(recipe), each (norm, recipe, GroupNorm's number of groups), into its runs."""
    def runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
        configs = []
        for norm, own_recipe, num_groups in cases(recipe):
            own_groups = num_groups if norm == "group" else None
            configs += [RunConfig(norm, seed, num_epochs, own_recipe, own_groups) for seed in seeds]
        return configs
    return runs


def last_epochs(records: Records) -> DataFrame:
    """One row a run: COLUMNS, accuracies in percent, the loss in nats.

    Only seeds that were run for every case, so that means are of the same seeds; all where there is none.
    """
    frame = DataFrame(map(_row, records), columns=COLUMNS)
    num_runs = frame.groupby("seed").seed.transform("size")
    complete = frame[num_runs == frame.groupby(CASE).ngroups]
    return frame if complete.empty else complete.reset_index(drop=True)


def _row(record: Mapping) -> dict:
    """gamma: mean |γ| of the block where it is smallest; a mean over blocks would hide one that is shut.

    near_zero: share of the weights. train_mode: BatchNorm's accuracy on the statistics of its own validation
    batches, as in training (percent; nan for the others).
    """
    config = record["config"]
    own_batches = record.get("batch_statistics", {"val_correct": math.nan})
    return {
        **record, **config, **config["recipe"], **record["history"][-1],
        "parameters": record["num_parameters"],
        "groups": str(config["num_groups"] or "C"),
        "num_images": record["dataset"]["num_train"],
        "gamma": min(record["gamma"], default=math.nan),
        "train_mode": 100 * own_batches["val_correct"] / record["dataset"]["num_val"],
    }


def means(frame: DataFrame, index: str, column: str = "val_accuracy", columns: str = "norm") -> DataFrame:
    """Means of `column`: one row for each value of `index`, one column for each of `columns`."""
    return frame.pivot_table(column, index, columns)


def is_blind(accuracies: Series, labels: Tensor) -> bool:
    """Whether each accuracy (percent) is a digit's share of the labels: all images get one answer."""
    shares = 100 * np.bincount(labels) / len(labels)
    return set(accuracies.round(2)) <= set(shares.round(2))


def subtitle(frame: DataFrame, dataset_title: str) -> str:
    """What all figures of accuracies say below their title, without the final stop."""
    num_seeds = frame.seed.nunique()
    basis = f"mean of {num_seeds} seeds, pale dots: each" if num_seeds > 1 else "one seed"
    return f"{dataset_title}, last epoch, {basis}. The accuracy axis is stretched towards 100 %"


def plot_accuracies(ax: Axes, frame: DataFrame, index: str, whole: DataFrame) -> DataFrame:
    """Draws seeds, means and BatchNorm on its own batches; returns the means. whole: fits on the axis."""
    stretch(ax, *limits(whole[["val_accuracy", "train_mode"]].stack()))
    if frame.seed.nunique() > 1:
        for norm, part in frame.groupby("norm"):
            ax.plot(part[index], part.val_accuracy, "o", color=LOOKS[norm].colour, alpha=0.3, markersize=4,
                    gid="seed")
    lines = means(frame, index)
    plot_lines(ax, lines)
    own_batches = means(frame, index, "train_mode").reindex(ax.get_xticks())
    ax.plot(own_batches, "x-", color=LOOKS["batch"].colour, linewidth=1, gid="own batches")
    return lines


def plot_lines(ax: Axes, lines: DataFrame) -> None:
    """Draws a line for each norm, as `means` returns them; a tick without a value interrupts it."""
    for norm, line in lines.reindex(ax.get_xticks()).items():
        look = LOOKS[norm]
        ax.plot(line, color=look.colour, marker=look.marker, linestyle=look.line, gid="mean")


def label_lines(ax: Axes, lines: DataFrame, form: str = "{:.2f} %") -> None:
    """Labels the lines' ends. form: format of a number."""
    ends = {}
    for norm, line in lines.items():
        end = line.last_valid_index()
        ends[norm] = (end, line[end], f"{ALL_NORMS[norm].bare} {form.format(line[end])}")
    label_ends(ax, ends)


def captioned_lines(figure: Figure, title: str, subtitle: str, frame: DataFrame, finding: str) -> Figure:
    """The line graph with its headline and an alt text; the numbers of each line stand in a table."""
    low, high = frame.val_accuracy.agg(["min", "max"])
    reading = f"Line graph; single seeds from {low:.2f} to {high:.2f} %. {finding.removesuffix('.')}"
    subtitle += " ×: BatchNorm on the statistics of its own batches"
    return captioned(figure, "svg", title, subtitle, reading)


def plot_rows(rows: Mapping[str, tuple], title: str, subtitle: str) -> Axes:
    """Axes of a new figure. rows: name -> (values, drawn as dots and their mean as a bar, and a note)."""
    height = 1.3 + 0.75 * len(rows)
    ax = blank(height).add_axes((0.27, 0.55 / height, 0.46, 1 - 1.4 / height))
    facts = []
    for name, (values, note) in rows.items():
        ax.plot(values, [name] * len(values), "o", color=LOOKS["layer"].colour, alpha=0.5)
        ax.plot(np.mean(values), name, "|", color=INK, markersize=20, markeredgewidth=2)
        ax.text(1.03, name, note, va="center", transform=ax.get_yaxis_transform())
        facts.append(", ".join([name, *note.splitlines()]))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    captioned(ax.figure, "svg", title, subtitle, *facts)
    return ax


@style()
def plot_accuracy_rows(frame: DataFrame, title: str, dataset_title: str) -> Figure:
    """Figure of the accuracies by the column `row`. Rows far below the others are told, not drawn."""
    rows = {}
    for name, row in frame.groupby("row", sort=False).val_accuracy:
        rows[name] = (row, f"{row.mean():.2f} % ({row.min():.2f} to {row.max():.2f})")
    ax = plot_rows(rows, title, subtitle(frame, dataset_title))
    far = frame.val_accuracy < frame.val_accuracy.max() / 2
    for name in set(frame.row[far]):
        ax.text(0.02, name, "← far below this axis", va="center", transform=ax.get_yaxis_transform())
    stretch(ax, *limits(frame.val_accuracy[~far]), axis="x")
    ax.set_xlabel("accuracy (%)")
    return ax.figure
