"""What several questions share: runs, the frame of last epochs, parts of figures."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series
from torch import Tensor

from helpers.config import ALL_NORMS, Recipe, RunConfig
from helpers.plots.style import INK, LOOKS, blank, captioned, key, limits, stretch, style
from helpers.results.frames import Records
from helpers.results.intervals import LEVEL, holm, paired_p
from helpers.results.words import count_seeds, in_words, join_words, p_text

TOO_FEW = "Too few of these runs are there to answer."
BARE = {norm: variant.bare for norm, variant in ALL_NORMS.items()}
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


def level(accuracies: Series) -> str:
    """The mean, and the seeds' range where there are several."""
    text = f"{accuracies.mean():.2f} %"
    if len(accuracies) > 1:
        text += f" ({accuracies.min():.2f} to {accuracies.max():.2f})"
    return text


def compare(named: Mapping[str, Series]) -> DataFrame:
    """One row a name, from its differences by seed: number of seeds, p, the difference in points and in words.

    p: of the paired t-test over seeds, Holm-corrected for all of `named`; nan for fewer than three seeds.
    text: the difference and p, for a table.
    """
    rows = {}
    for name, values in named.items():
        known = values.dropna().tolist()
        if known:
            p = paired_p(known) if len(known) > 2 else math.nan
            rows[name] = {"num_seeds": len(known), "p": p, "points": in_words(known, "", "+").strip()}
    compared = DataFrame.from_dict(rows, "index", columns=["num_seeds", "p", "points"])
    tested = compared.p.notna()
    compared.loc[tested, "p"] = holm(compared.p[tested])
    with_p = compared.points + " (" + compared.p.map(p_text) + ")"
    compared["text"] = compared.points.where(~tested, with_p)
    return compared


def verdict(named: Mapping[str, Series]) -> str:
    """Which of the differences by seed are shown, with their numbers, and which are not."""
    compared = compare(named)
    if compared.empty:
        return "not known, for no seed was run with both"
    seeds = count_seeds(compared.num_seeds.min())
    if compared.p.isna().all():
        return f"{', '.join(compared.index + ' ' + compared.points)} points ({seeds}, no test)"
    shown = compared[compared.p < 1 - LEVEL]
    others = compared.drop(shown.index)
    if shown.empty:
        return f"no difference shown ({p_text(others.p.min()).replace('=', '≥')}, {seeds})"
    differences = join_words((shown.index + " " + shown.points).tolist())
    text = f"{differences} points ({p_text(shown.p.max()).replace('=', '≤')}, {seeds})"
    if len(others):
        text += f"; no difference shown for {join_words(others.index.tolist())}"
    return text


def is_blind(accuracies: Series, labels: Tensor) -> bool:
    """Whether each accuracy (percent) is a digit's share of the labels: all images get one answer."""
    shares = 100 * np.bincount(labels) / len(labels)
    return set(accuracies.round(2)) <= set(shares.round(2))


def subtitle(frame: DataFrame, dataset_title: str) -> str:
    """What line graphs of accuracies say below their title, without the final stop."""
    num_seeds = frame.seed.nunique()
    basis = f"means of {num_seeds} seeds (pale dots)" if num_seeds > 1 else "one seed"
    return f"{dataset_title}, last epoch, {basis}; axis stretched towards 100 %"


def plot_accuracies(ax: Axes, frame: DataFrame, index: str, whole: DataFrame) -> None:
    """Draws seeds, means and BatchNorm on its own batches, by the column `index`. whole: fits on the axis."""
    stretch(ax, *limits(whole[["val_accuracy", "train_mode"]].stack()))
    if frame.seed.nunique() > 1:
        for norm, part in frame.groupby("norm"):
            ax.plot(part[index], part.val_accuracy, "o", color=LOOKS[norm].colour, alpha=0.3, markersize=4,
                    gid="seed")
    plot_lines(ax, frame.pivot_table("val_accuracy", index, "norm"))
    own_batches = frame.pivot_table("train_mode", index, "norm").reindex(ax.get_xticks())
    ax.plot(own_batches, "x-", color=LOOKS["batch"].colour, linewidth=1, gid="own batches")


def plot_lines(ax: Axes, lines: DataFrame) -> None:
    """Draws a line for each norm, a column of `lines`; a tick without a value interrupts it."""
    for norm, line in lines.reindex(ax.get_xticks()).items():
        look = LOOKS[norm]
        ax.plot(line, color=look.colour, marker=look.marker, linestyle=look.line, gid="mean")


def captioned_lines(figure: Figure, title: str, subtitle: str, frame: DataFrame, finding: str) -> Figure:
    """The line graph with its key, headline and alt text; the numbers of each line stand in a table."""
    key(figure.axes[0], {norm: name for norm, name in BARE.items() if norm in set(frame.norm)})
    low, high = frame.val_accuracy.agg(["min", "max"])
    reading = f"Line graph; single seeds from {low:.2f} to {high:.2f} %. {finding.removesuffix('.')}"
    subtitle += ". ×: BatchNorm on its own batches"
    return captioned(figure, "svg", title, subtitle, reading)


@style()
def plot_rows(frame: DataFrame, title: str, dataset_title: str) -> Figure:
    """Figure of the accuracies by the column `row`, a name: seeds as dots, their mean as a bar and a number.

    Rows far below the others are told, not drawn.
    """
    rows = list(frame.groupby("row", sort=False))
    height = 0.5 + 0.6 * len(rows)  # inches
    ax = blank(height).add_axes((0.05, 0.55 / height, 0.72, 1 - 0.55 / height))
    facts = []
    for y, (name, row) in enumerate(rows):
        accuracies = row.val_accuracy
        ax.text(0, y - 0.42, name, va="center", weight="bold", transform=ax.get_yaxis_transform())
        ax.text(1.03, y, f"{accuracies.mean():.2f} %", va="center", transform=ax.get_yaxis_transform())
        if accuracies.max() < frame.val_accuracy.max() / 2:
            ax.text(0, y, "← far below this axis", va="center", transform=ax.get_yaxis_transform())
        else:
            ax.plot(accuracies, [y] * len(row), "o", color=LOOKS[row.norm.iloc[0]].colour, alpha=0.5)
            ax.plot(accuracies.mean(), y, "|", color=INK, markersize=16, markeredgewidth=2)
        facts.append(f"{name}, {level(accuracies)}")
    ax.set(xlabel="accuracy (%)", ylim=(len(rows) - 0.6, -0.75), yticks=[])
    ax.locator_params(axis="x", nbins=4)
    ax.margins(x=0.15)
    ax.grid(False)
    ax.spines["left"].set_visible(False)
    subtitle = f"{dataset_title}, last epoch. Dots: {count_seeds(frame.seed.nunique())}; bars and numbers: means"
    return captioned(ax.figure, "svg", title, subtitle, *facts)
