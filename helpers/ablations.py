"""The questions of the ablations: which runs answer each, and what their records say.

Every function `*_runs` gives the runs of one question, `*_table` one row for each of its records, `*_finding` the
sentence under its figure, computed from that table.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import stats

from helpers.config import CONTROLS, RECIPES, VARIANTS, Recipe, RunConfig
from helpers.data import Dataset, normalize
from helpers.intervals import LEVEL, half_width
from helpers.model import BLOCKS, Conv2d, Net, build_model
from helpers.records import RECORDS
from helpers.results import compare_pairs
from helpers.training import deterministic, make_optimizer, one_thread, train_one_epoch

LAMBDAS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2)
GROUPS = (1, 2, 4)
BATCH_SIZES = (2, 4, 8, 16, 64, 256)
NAMES = {norm: variant.short.removeprefix("L1 + ") for norm, variant in {**VARIANTS, **CONTROLS}.items()}


def run_config(norm: str, seed: int, num_epochs: int, recipe: Recipe, num_groups: int = 2) -> RunConfig:
    """One run of an ablation, on the CPU."""
    return RunConfig(norm, seed, num_epochs, recipe, num_groups if norm == "group" else None)


def few_images(data: Dataset, num_images: int) -> Dataset:
    """The first `num_images` training images, and all validation images."""
    if num_images >= len(data.train_labels):
        return data
    return replace(data, train_images=data.train_images[:num_images], train_labels=data.train_labels[:num_images])


def _frame(records: Sequence[Mapping], **columns) -> pd.DataFrame:
    """One row a record: norm, seed, the last epoch's accuracy in percent and loss, and `columns` made from it."""
    return pd.DataFrame([{
        "norm": record["config"]["norm"], "seed": record["config"]["seed"],
        "val_accuracy": record["history"][-1]["val_accuracy"], "val_loss": record["history"][-1]["val_loss"],
        **{name: make(record) for name, make in columns.items()}} for record in records])


TOO_FEW = "Too few of these runs are there to answer."


def _means(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Mean accuracy over the seeds, the half width of its t-interval, and n, for each cell of `by`."""
    cells = table.groupby(by, sort=False).val_accuracy
    return cells.agg(val_accuracy="mean", half_width=lambda v: half_width(list(v)), n="count").reset_index()


# --- 1. the normalisation, or the penalty? ----------------------------------------------------------------------------


def penalty_runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """Each normalisation, and none, with each strength of the penalty, on all parameters and on weights alone.

    Without a norm the recipe's peak rate kills the network (`inside` shows how): it is trained at a tenth of it. There
    is nothing but weights to penalise then.
    """
    configs = []
    for norm in (*VARIANTS, "none"):
        own = recipe if norm != "none" else replace(recipe, lr=recipe.lr / 10)
        for strength in LAMBDAS:
            for target in ("weights", "all") if strength and norm != "none" else ("weights",):
                one = replace(own, l1_lambda=strength, l1_target=target)
                configs += [run_config(norm, seed, num_epochs, one) for seed in seeds]
    return configs


def penalty_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """norm, seed, val_accuracy, val_loss, l1_lambda, l1_target, near_zero (share of weights), gamma.

    gamma: mean |γ| of the block where it is smallest; a mean over the blocks would hide one that is shut.
    """
    return _frame(records, l1_lambda=lambda r: r["config"]["recipe"]["l1_lambda"],
                  l1_target=lambda r: r["config"]["recipe"]["l1_target"], near_zero=lambda r: r["near_zero"],
                  gamma=lambda r: min(r["gamma"]) if r["gamma"] else math.nan)


def penalty_finding(table: pd.DataFrame) -> str:
    """How far the penalty moves accuracy, beside how far the normalisation does."""
    cells = _means(table, ["norm", "l1_lambda", "l1_target"]).set_index(["norm", "l1_lambda", "l1_target"]).val_accuracy
    normalised = [norm for norm in VARIANTS
                  if (norm, 0.0, "weights") in cells.index and (norm, max(LAMBDAS), "all") in cells.index]
    if len(normalised) < 2:
        return TOO_FEW
    free = {norm: cells[norm, 0.0, "weights"] for norm in normalised}
    strongest = {norm: cells[norm, max(LAMBDAS), "all"] for norm in normalised}
    spread = max(free.values()) - min(free.values())
    falls = {norm: free[norm] - strongest[norm] for norm in normalised}
    words = ", ".join(f"{NAMES[norm]} {free[norm]:.2f} % to {strongest[norm]:.2f} %" for norm in normalised)
    sentence = (f"Without a penalty the normalisations lie within {spread:.2f} points of each other. "
                f"λ = {max(LAMBDAS):g} on all parameters takes {words}")
    verdict = ("the penalty, not the normalisation, makes the difference" if min(falls.values()) > 2 * spread
               else "the two effects are not told apart")
    return f"{sentence}: {verdict}.{_harmless(cells)}{_targets(cells)}{_shrinking(table)}"


def _harmless(cells: pd.Series) -> str:
    """The strongest penalty up to which nobody loses a tenth of a point, on either target."""
    losses = cells.drop(0.0, level="l1_lambda")
    losses = losses.rsub([cells.get((norm, 0.0, "weights"), math.nan) for norm, *_ in losses.index])
    worst = losses.groupby("l1_lambda").max()  # grows with λ, but for noise
    harmless = worst.index[(worst <= 0.1).cummin()]
    if not len(harmless):
        return ""
    most = worst[:harmless[-1]].max()
    return f" Up to λ = {harmless[-1]:g} nobody loses more than {max(0.0, most):.2f} points by it."


def _targets(cells: pd.Series) -> str:
    """BatchNorm's accuracy with the penalty on its weights alone, where that differs most from all parameters."""
    pairs = cells.unstack("l1_target").reindex(columns=["weights", "all"]).dropna()
    if "batch" not in pairs.index.get_level_values("norm"):
        return ""
    mine = pairs.loc["batch"]
    strength = (mine["weights"] - mine["all"]).abs().idxmax()
    return (f" At λ = {strength:g} BatchNorm is at {mine['weights'][strength]:.2f} % with its convolution weights "
            f"penalised and at {mine['all'][strength]:.2f} % with γ and β as well.")


def _shrinking(table: pd.DataFrame) -> str:
    """What the strongest penalty does to BatchNorm's weights and γ."""
    mine = table[(table.norm == "batch") & ((table.l1_lambda == 0) | (table.l1_target == "all"))]
    means = mine.groupby("l1_lambda")[["near_zero", "gamma"]].mean()
    if not {0.0, max(LAMBDAS)} <= set(means.index):
        return ""
    free, strong = means.loc[0.0], means.loc[max(LAMBDAS)]
    return (f" With λ = {max(LAMBDAS):g} on all parameters {100 * strong.near_zero:.1f} % of BatchNorm's convolution "
            f"weights lie below 0.001 instead of {100 * free.near_zero:.1f} %, and the mean |γ| of its weakest block "
            f"is {strong.gamma:.2g} instead of {free.gamma:.2g}.")


# --- 2. LayerNorm's parameters ----------------------------------------------------------------------------------------


def affine_runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """LayerNorm over (C, H, W), the same without γ and β, and GroupNorm(1, C): the same means, 2C parameters."""
    own = recipe.without_l1()
    return [run_config(norm, seed, num_epochs, own, num_groups=1)
            for norm in ("layer", "layer_plain", "group") for seed in seeds]


def affine_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """norm, seed, val_accuracy, val_loss, parameters."""
    return _frame(records, parameters=lambda r: r["num_parameters"])


def affine_finding(table: pd.DataFrame) -> str:
    """Whether a γ and a β for each place buys anything beside one for each channel."""
    by_norm = {norm: part.set_index("seed").val_accuracy for norm, part in table.groupby("norm")}
    if not {"layer", "layer_plain", "group"} <= set(by_norm):
        return TOO_FEW
    difference = (by_norm["layer"] - by_norm["group"]).dropna()
    extra = table[table.norm == "layer"].parameters.iloc[0] - table[table.norm == "group"].parameters.iloc[0]
    return (f"LayerNorm's {extra:,} further parameters beside GroupNorm(1, C) move its accuracy by "
            f"{_interval(difference)}. Without any γ and β it is at {by_norm['layer_plain'].mean():.2f} %.")


# --- 3. how many groups -----------------------------------------------------------------------------------------------


def group_runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """1, 2 and 4 groups, and as many as channels."""
    own = recipe.without_l1()
    cases = [*(("group", groups) for groups in GROUPS), ("instance", 0)]
    return [run_config(norm, seed, num_epochs, own, groups) for norm, groups in cases for seed in seeds]


def group_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """norm, seed, val_accuracy, val_loss, groups ("1", "2", "4" or "C")."""
    return _frame(records, groups=lambda r: str(r["config"]["num_groups"] or "C"))


def group_finding(table: pd.DataFrame, labels: torch.Tensor) -> str:
    """How much the number of groups matters until each channel is its own."""
    cells = _means(table, ["groups"]).set_index("groups").val_accuracy
    some = cells.drop("C", errors="ignore")
    if len(some) < 2:
        return TOO_FEW
    sentence = (f"Between {some.index[0]} and {some.index[-1]} groups accuracy moves by "
                f"{some.max() - some.min():.2f} points.")
    if "C" not in cells:
        return sentence
    share = 100 * torch.bincount(labels).max().item() / len(labels)
    blind = abs(cells["C"] - share) < 2
    return (f"{sentence} With G = C it falls to {cells['C']:.2f} %"
            + (f", the share of the most frequent digit ({share:.2f} %): the network does not see the image."
               if blind else f"; always naming the most frequent digit would give {share:.2f} %."))


# --- 4. how small may a batch be --------------------------------------------------------------------------------------


def batch_size_runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """Each normalisation with each batch size; the learning rate shrinks with the batch (Goyal et al. 2017), so that
    equal numbers of images take equally long steps in all. Beyond the recipe's batch it stays: four times its peak
    diverges. No penalty: it counts updates, not images."""
    free = recipe.without_l1()
    return [run_config(norm, seed, num_epochs, replace(
                free, batch_size=size, lr=free.lr * min(1.0, size / free.batch_size),
                ema_decay=free.ema_decay ** (size / free.batch_size)))
            for norm in VARIANTS for size in BATCH_SIZES for seed in seeds]


def batch_size_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """norm, seed, val_accuracy, val_loss, batch_size, train_mode (accuracy with the batch's statistics, BatchNorm)."""
    def train_mode(record: Mapping) -> float:
        if "batch_statistics" not in record:
            return math.nan
        return 100 * record["batch_statistics"]["val_correct"] / record["dataset"]["num_val"]

    return _frame(records, batch_size=lambda r: r["config"]["recipe"]["batch_size"], train_mode=train_mode)


def batch_size_finding(table: pd.DataFrame) -> str:
    """Who suffers from small batches."""
    cells = _means(table, ["norm", "batch_size"]).set_index(["norm", "batch_size"]).val_accuracy
    parts = []
    for norm in dict.fromkeys(table.norm):
        mine = cells[norm]
        parts.append(f"{NAMES[norm]} {mine[mine.index.min()]:.2f} % with {mine.index.min()} images a batch, "
                     f"{mine.max():.2f} % at its best ({mine.idxmax()})")
    sentence = "; ".join(parts) + "."
    inside = table[table.train_mode.notna()].groupby("batch_size")[["val_accuracy", "train_mode"]].mean()
    if len(inside):
        small = inside.index.min()
        sentence += (f" BatchNorm validated on the statistics of its own batches of {small} is at "
                     f"{inside.train_mode[small]:.2f} % instead of {inside.val_accuracy[small]:.2f} %.")
    return sentence


# --- 5. what happens inside -------------------------------------------------------------------------------------------


def inside(norm: str, data: Dataset, recipe: Recipe, num_epochs: int = 2, seed: int = 0) -> pd.DataFrame:
    """Trains a network and looks into it about twenty times: one row for each time (update) and block.

    mean, std: of what the block's convolution gives for 250 validation images, before ReLU and norm; gradient: norm of
    the loss's gradient for the convolution's weights, of the batch at hand.
    """
    config = run_config(norm, seed, num_epochs, recipe.without_l1())
    images, rows = normalize(data.val_images[:250]), []
    num_batches = math.ceil(len(data.train_images) / recipe.batch_size)
    every = max(20, num_batches * num_epochs // 400 * 20)  # progress is told every 20 batches
    with one_thread(), deterministic("cpu"):
        net = build_model(norm, 2, recipe.dropout, seed)
        optimizer = make_optimizer(net, config.recipe)

        def look(update: int) -> None:
            seen = []
            gradients = [math.nan if conv.weight.grad is None else conv.weight.grad.norm().item()
                         for conv in _block_convolutions(net)]
            watched = copy.deepcopy(net).eval()
            for conv in _block_convolutions(watched):
                conv.register_forward_hook(lambda _, __, y: seen.append((y.mean().item(), y.std().item())))
            with torch.no_grad():
                watched(images)
            rows.extend((norm, update, block, *moments, gradient)
                        for block, (moments, gradient) in enumerate(zip(seen, gradients, strict=True), 1))

        look(0)
        for epoch in range(1, num_epochs + 1):
            train_one_epoch(net, optimizer, data.train_images, data.train_labels, config, epoch, None,
                            lambda batch, epoch=epoch: look((epoch - 1) * num_batches + batch)
                            if batch % every == 0 else None)
            if num_batches % every:
                look(epoch * num_batches)
    return pd.DataFrame(rows, columns=["norm", "update", "block", "mean", "std", "gradient"])


def _block_convolutions(net: Net) -> list[Conv2d]:
    """The 3x3 convolution of each block, top to bottom."""
    return [m for m in net.modules() if isinstance(m, Conv2d) and m.kernel_size == (3, 3)]


def inside_finding(table: pd.DataFrame) -> str:
    """How far the gradients of the first and the last block lie apart, and which network died."""
    later = table[table["update"] > 0].pivot_table(index=["norm", "update"], columns="block", values="gradient",
                                                   sort=False)
    dead = later.sum(axis=1) == 0
    ends = [norm for norm in later.index.unique("norm") if dead[norm].iloc[-1]]
    ratio = (later[1] / later[len(BLOCKS)])[~dead].groupby("norm", sort=False).median().drop(ends, errors="ignore")
    sentences = []
    if len(ratio):
        sentences.append("Gradient norm of the first block's weights beside the last one's, median over the updates: "
                         + ", ".join(f"{NAMES[norm]} {value:.2f}" for norm, value in ratio.items()) + ".")
    for norm in ends:
        first, before = dead[norm].idxmax(), table[(table.norm == norm) & (table["update"] == 0)]["std"].max()
        there = table[(table.norm == norm) & (table["update"] == first)]["std"].max()
        sentences.append(f"Of the network with {NAMES[norm]} all gradients are 0 from update {first:,} on: the largest "
                         f"standard deviation of its activations has gone from {before:.2g} to {there:.3g}, and "
                         "behind it no unit answers any more.")
    return " ".join(sentences)


# --- 6. how much does luck weigh --------------------------------------------------------------------------------------


def luck_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """`compare_pairs`, and for each pair the standard deviation of its difference over seeds (images) and how many
    seeds would tell a difference of this size from zero (paired t-test, level 0.05, power 0.8)."""
    pairs = compare_pairs(records)
    pairs["std"] = [np.std(pair.differences, ddof=1) if pair.n > 1 else math.nan for pair in pairs.itertuples()]
    return pairs.assign(seeds_needed=[seeds_needed(pair.difference, pair.std) for pair in pairs.itertuples()])


def seeds_needed(difference: float, std: float, power: float = 0.8, most: int = 10_000) -> float:
    """The smallest number of seeds at which a paired t-test finds `difference` with that power; inf above `most`.

    From the noncentral t distribution (Cohen 1988, chapter 2).
    """
    if not std > 0:
        return math.nan
    for n in range(2, most + 1):
        critical = stats.t.ppf((1 + LEVEL) / 2, n - 1)
        shift = abs(difference) / std * n**0.5
        if stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift) >= power:
            return n
    return math.inf


def luck_finding(table: pd.DataFrame) -> str:
    """How many seeds it would take to tell the variants apart."""
    parts = [f"{VARIANTS[row.a].short} and {VARIANTS[row.b].short}: {abs(row.difference):.1f} images apart, spread "
             f"over seeds {row.std:.1f}, " + ("more than 10,000 seeds" if math.isinf(row.seeds_needed)
                                         else f"{row.seeds_needed:.0f} seeds")
             for row in table.itertuples() if not math.isnan(row.seeds_needed)]
    if not parts:
        return TOO_FEW
    return ("To tell a difference of the size seen from none, four times in five, takes: " + "; ".join(parts) + ".")


def _interval(differences: pd.Series) -> str:
    """Mean difference in points with the half width of its t-interval."""
    if len(differences) < 2:
        return f"{differences.mean():+.2f} points (one seed)"
    return f"{differences.mean():+.2f} ± {half_width(list(differences)):.2f} points ({len(differences)} seeds)"


# --- 8. how the recipe was chosen -------------------------------------------------------------------------------------

# a column of the search -> what a reader calls it
KNOBS = {"l1_lambda": "λ", "l1_target": "what it counts", "lr": "peak rate", "rotation": "augmentation",
         "shift": "augmentation", "scale": "augmentation", "shear": "augmentation", "weight_decay": "weight decay",
         "label_smoothing": "label smoothing", "ema_decay": "averaging of weights"}


def search_table() -> pd.DataFrame:
    """The hyperparameter search on the hold-out, for readers: a row for each case and penalty, lowest mean loss first.

    A cell: loss in nats, and images right of those held out, means over its seeds. The penalty is the third variant's
    alone, so the other two stand in every row of their case. The mean is of cases that all variants were tried with.
    """
    runs = pd.read_csv(RECORDS / "search.csv")
    runs["case"] = [_case(row) for row in runs.itertuples()]
    runs["penalty"] = ["" if not VARIANTS[row.norm].l1 else f"{row.l1_lambda:g} on {row.l1_target}" if row.l1_lambda
                       else "0" for row in runs.itertuples()]
    cells = runs.groupby(["case", "penalty", "norm"], sort=False).agg(
        loss=("val_loss", "mean"), correct=("val_correct", "mean"), seeds=("seed", "count")).reset_index()
    rows = []
    for case, part in cells.groupby("case", sort=False):
        for penalty in sorted(set(part.penalty) - {""}) or [""]:
            mine = part[part.penalty.isin(["", penalty])].set_index("norm")
            texts = {cell.Index: f"{cell.loss:.4f} ({cell.correct:,.0f})" + f", {cell.seeds} seeds" * (cell.seeds > 1)
                     for cell in mine.itertuples()}
            rows.append({"case": case, "λ": penalty,
                         **{variant.short: texts.get(norm, "not tried") for norm, variant in VARIANTS.items()},
                         "mean loss (nats)": mine.loss.reindex(list(VARIANTS)).mean(skipna=False)})
    table = pd.DataFrame(rows).set_index("case").sort_values("mean loss (nats)", kind="stable")
    table["mean loss (nats)"] = table["mean loss (nats)"].map("{:.4f}".format).replace("nan", "")
    return table


def search_finding() -> str:
    """How the chosen recipe did on the hold-out beside the runs as long as its own that differ in one thing."""
    runs, chosen = pd.read_csv(RECORDS / "search.csv"), RECIPES["tuned"]
    runs = runs[(runs.norm == "batch") & (runs.num_epochs == runs.num_epochs.max())].copy()
    runs["change"] = [", ".join({KNOBS[name]: "" for name in KNOBS if getattr(row, name) != getattr(chosen, name)})
                      for row in runs.itertuples()]
    own, others = runs[runs.change == ""], runs[runs.change != ""]
    if not len(own) or not len(others):
        return TOO_FEW
    lower, loss, right = int((others.val_loss < own.val_loss.mean()).sum()), others.val_loss, others.val_correct
    return (f"{NAMES['batch']} with the chosen recipe and {own.num_epochs.iloc[0]} epochs has a loss of "
            f"{own.val_loss.mean():.4f} nats and {own.val_correct.mean():,.0f} of {own.num_val.iloc[0]:,} held-out "
            f"images right. {len(others)} runs that differ in one thing ({', '.join(dict.fromkeys(others.change))}) "
            f"have {loss.min():.4f} to {loss.max():.4f} nats and {right.min():,} to {right.max():,} right: "
            f"{lower or 'none'} of them with a lower loss.")


def _case(row) -> str:
    """What a line of the search was tried with, but for the penalty."""
    words = [f"{row.num_epochs} epochs", f"lr {row.lr:g}", f"rotation {row.rotation:g}°", f"shift {row.shift:g}",
             f"scale and shear {row.scale:g}"]
    words += [f"label smoothing {row.label_smoothing:g}"] * bool(row.label_smoothing)
    words += [f"weight decay {row.weight_decay:g}"] * bool(row.weight_decay)
    return ", ".join(words)
