"""What several questions share: runs, frames of last epochs, changes in words, parts of figures."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series
from torch import Tensor

from helpers.config import ALL_NORMS, Recipe, RunConfig
from helpers.plots.style import INK, LOOKS, blank, captioned, label_ends, limits, stretch
from helpers.results.frames import Records
from helpers.results.intervals import holm, paired_p
from helpers.results.words import in_words, p_text

TOO_FEW = "Too few of these runs are there to answer."
CROSSES = "×: BatchNorm on the statistics of its own batches"

# A norm, its recipe, and GroupNorm's number of groups; the others have none.
Case = tuple[str, Recipe, int]


def ablation_configs(cases: Iterable[Case], seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """The runs of all cases with all seeds, on the CPU."""
    configs = []
    for norm, recipe, num_groups in cases:
        own_groups = num_groups if norm == "group" else None
        configs += [RunConfig(norm, seed, num_epochs, recipe, own_groups) for seed in seeds]
    return configs


def last_epochs(records: Records, case: list[str], more: Sequence[str] = ()) -> DataFrame:
    """One row a run: norm, seed, val_accuracy (percent), val_loss (nats), and columns `case` and `more`.

    case: the columns that tell the cases apart. The rows are of the seeds that were run for every case,
    so that means are of the same seeds; of all seeds where there is no such seed.
    """
    columns = ["norm", "seed", "val_accuracy", "val_loss", *case, *more]
    frame = DataFrame(map(_row, records), columns=list(dict.fromkeys(columns)))
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
        **record, **config, **config["recipe"], **record["history"][-1],
        "parameters": record["num_parameters"],
        "groups": str(config["num_groups"] or "C"),
        "num_images": record["dataset"]["num_train"],
        "gamma": min(record["gamma"], default=math.nan),
        "train_mode": 100 * own_batches["val_correct"] / record["dataset"]["num_val"],
    }


def by_seed(frame: DataFrame, columns: str = "norm") -> DataFrame:
    """Accuracies: one row a seed, one column for each value of `columns`."""
    return frame.pivot(index="seed", columns=columns, values="val_accuracy")


def means(frame: DataFrame, case: str, column: str = "val_accuracy") -> DataFrame:
    """Means of `column` over seeds: one row a case, one column a norm."""
    return frame.pivot_table(column, case, "norm")


def is_blind(accuracies: Series, labels: Tensor) -> bool:
    """Whether each accuracy (percent) is a digit's share of the labels: all images get one answer."""
    shares = 100 * np.bincount(labels) / len(labels)
    return all(np.abs(shares - accuracy).min() < 0.005 for accuracy in accuracies)


def changes_in_words(changes: Mapping[str, Series]) -> dict[str, str]:
    """Each change over seeds, in points; from three seeds on with p, Holm-corrected for all of them."""
    known = {name: change.dropna().tolist() for name, change in changes.items()}
    p_values = holm([paired_p(values) for values in known.values() if len(values) > 2])
    texts = {}
    for name, values in known.items():
        texts[name] = in_words(values, sign="+")
        if len(values) > 2:
            texts[name] += f" ({p_text(p_values.pop(0))})"
    return texts


def subtitle(frame: DataFrame, dataset_title: str) -> str:
    """What all figures of accuracies say below their title, without the final stop."""
    num_seeds = frame.seed.nunique()
    basis = f"mean of {num_seeds} seeds, pale dots: each" if num_seeds > 1 else "one seed"
    return f"{dataset_title}, last epoch, {basis}. The accuracy axis is stretched towards 100 %"


def stretch_for(ax: Axes, frame: DataFrame) -> None:
    """Makes a stretched axis on which all accuracies of `frame` lie."""
    stretch(ax, *limits(frame[["val_accuracy", "train_mode"]].stack()))


def plot_accuracies(ax: Axes, frame: DataFrame, case: str) -> list[str]:
    """Draws means as lines, seeds as pale dots, BatchNorm on its own batches as crosses.

    Returns what it draws in words.
    """
    if frame.seed.nunique() > 1:
        for norm, part in frame.groupby("norm"):
            ax.plot(part[case], part.val_accuracy, "o", color=LOOKS[norm].colour, alpha=0.3,
                    markersize=4, gid="seed")
    facts = plot_lines(ax, means(frame, case), "accuracy (%)")
    crosses = {"marker": "x", "linestyle": "-", "linewidth": 1, "gid": "own batches"}
    return facts + plot_lines(ax, means(frame, case, "train_mode"), "on its own batches", **crosses)


def plot_lines(ax: Axes, lines: DataFrame, name: str, **look) -> list[str]:
    """Draws a line for each norm, interrupted at a tick without a value; returns the lines in words.

    lines: as `means` returns them. look: replaces the norm's own.
    """
    facts = []
    for norm, line in lines.items():
        colour, marker, style = LOOKS[norm]
        own = {"color": colour, "marker": marker, "linestyle": style, "gid": "mean"}
        ax.plot(line.reindex(ax.get_xticks()), **own | look)
        values = [f"{case:g}: {value:.4g}" for case, value in line.dropna().items()]
        facts.append(f"{ALL_NORMS[norm].bare}, {name}: {', '.join(values)}")
    return facts


def label_lines(ax: Axes, lines: DataFrame, form: str = "{:.2f} %") -> None:
    """Labels the lines' ends. form: format of a number."""
    ends = {}
    for norm, line in lines.items():
        end = line.last_valid_index()
        ends[norm] = (end, line[end], f"{ALL_NORMS[norm].bare} {form.format(line[end])}")
    label_ends(ax, ends)


def plot_rows(rows: Mapping[str, Sequence[float]], notes: Mapping[str, str]) -> Axes:
    """New axes with a row for each name: its values as dots, their mean as a bar, its note at the right."""
    height = 1.3 + 0.75 * len(rows)
    ax = blank(height).add_axes((0.27, 0.55 / height, 0.46, 1 - 1.4 / height))
    for name, values in rows.items():
        ax.plot(values, [name] * len(values), "o", color=LOOKS["layer"].colour, alpha=0.5)
        ax.plot(np.mean(values), name, "|", color=INK, markersize=20, markeredgewidth=2)
        ax.text(1.03, name, notes[name], va="center", transform=ax.get_yaxis_transform())
    ax.set_ylim(len(rows) - 0.5, -0.5)
    return ax


def plot_accuracy_rows(frame: DataFrame, title: str, dataset_title: str) -> Figure:
    """Figure of the accuracies by the column `row`. Rows far below the others are told, not drawn."""
    rows = {}
    notes = {}
    for name, part in frame.groupby("row", sort=False):
        accuracies = part.val_accuracy
        rows[name] = accuracies
        notes[name] = f"{accuracies.mean():.2f} % ({accuracies.min():.2f} to {accuracies.max():.2f})"
    ax = plot_rows(rows, notes)
    far = frame.val_accuracy < frame.val_accuracy.max() / 2
    for name in set(frame.row[far]):
        ax.text(0.02, name, "← far below this axis", va="center", transform=ax.get_yaxis_transform())
    stretch(ax, *limits(frame.val_accuracy[~far]), axis="x")
    ax.set_xlabel("accuracy (%)")
    facts = [f"{name}: {note}" for name, note in notes.items()]
    return captioned(ax.figure, "svg", title, subtitle(frame, dataset_title), *facts)
