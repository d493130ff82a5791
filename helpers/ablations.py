"""The questions of the ablations: which runs answer each, and what their records say.

Every function `*_runs` gives the runs of one question, `*_table` one row for each of its records, `*_finding` what
stands under its figure, computed from that table: a sentence to quote, and for some, after an empty line, the details.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import nn

from helpers.config import CONTROLS, RECIPES, VARIANTS, Recipe, RunConfig
from helpers.data import Dataset, normalize
from helpers.findings import in_words, p_text
from helpers.intervals import LEVEL, half_width, holm, paired_p
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


def _frame(records: Sequence[Mapping], case: Sequence[str], **columns) -> pd.DataFrame:
    """One row a record: norm, seed, the last epoch's accuracy in percent and loss, and `columns` made from it.

    Of the seeds that were run for every case (values of the columns `case`), so that means are of the same seeds; of
    all where none was.
    """
    table = pd.DataFrame([{
        "norm": record["config"]["norm"], "seed": record["config"]["seed"],
        "val_accuracy": record["history"][-1]["val_accuracy"], "val_loss": record["history"][-1]["val_loss"],
        **{name: make(record) for name, make in columns.items()}} for record in records])
    if not len(table):
        return table
    whole = table.groupby("seed").size() == table.groupby(list(case)).ngroups
    return table[table.seed.isin(whole.index[whole])].reset_index(drop=True) if whole.any() else table


def _train_mode(record: Mapping) -> float:
    """Accuracy of BatchNorm on the statistics of its own batches, as in training; nan for the others."""
    if "batch_statistics" not in record:
        return math.nan
    return 100 * record["batch_statistics"]["val_correct"] / record["dataset"]["num_val"]


TOO_FEW = "Too few of these runs are there to answer."


def _compare(named: Mapping[str, pd.Series], unit: str = "points") -> str:
    """Differences by seed, in words: mean and interval, and whether one is shown. unit: "points" or "images".

    By a paired t-test over seeds, p Holm-corrected for all of `named`. With two seeds, both; with one, no test.
    """
    named = {name: differences.dropna() for name, differences in named.items()}
    named = {name: differences for name, differences in named.items() if len(differences)}
    if not named:
        return "not known, for no seed was run with both"
    tested = [name for name, differences in named.items() if len(differences) > 2]
    p_values = holm([paired_p(list(named[name])) for name in tested])
    verdicts = {name: f"{p_text(p)}: {'a difference' if p < 1 - LEVEL else 'no difference shown'}"
                for name, p in zip(tested, p_values, strict=True)}
    counts = {_seeds(len(differences)) for differences in named.values()}
    parts = []
    for name, differences in named.items():
        notes = [verdicts.get(name), _seeds(len(differences)) if len(counts) > 1 else None]
        notes = ", ".join(filter(None, notes))
        parts.append(f"{name} {in_words(list(differences), unit, '+')}" + f" ({notes})" * bool(notes))
    return "; ".join(parts) + (f" ({counts.pop()})" if len(counts) == 1 else "")


def _answer(finding: str, details: Sequence[str]) -> str:
    """The sentence to quote and, after an empty line, the details, where there are any."""
    return "\n\n".join(filter(None, [finding, " ".join(filter(None, details))]))


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def _blind(accuracies: pd.Series, labels: torch.Tensor) -> bool:
    """Whether each accuracy (percent) is that of one answer for all images: the share of a digit."""
    shares = 100 * torch.bincount(labels).double() / len(labels)
    return all((shares - accuracy).abs().min() < 0.005 for accuracy in accuracies)


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
    """norm, seed, val_accuracy, val_loss, l1_lambda, l1_target, near_zero (share of weights), gamma, train_mode.

    gamma: mean |γ| of the block where it is smallest; a mean over the blocks would hide one that is shut. train_mode:
    accuracy with the batch's statistics, BatchNorm.
    """
    return _frame(records, ("norm", "l1_lambda", "l1_target"),
                  l1_lambda=lambda r: r["config"]["recipe"]["l1_lambda"],
                  l1_target=lambda r: r["config"]["recipe"]["l1_target"], near_zero=lambda r: r["near_zero"],
                  gamma=lambda r: min(r["gamma"]) if r["gamma"] else math.nan, train_mode=_train_mode)


TARGETS = {"weights": "the convolution weights", "all": "all parameters"}


def penalty_finding(table: pd.DataFrame, labels: torch.Tensor) -> str:
    """How far the penalty moves accuracy, beside how far the normalisation does. `labels`: of the validation images."""
    by_seed = table.pivot(index="seed", columns=["norm", "l1_lambda", "l1_target"], values="val_accuracy")
    strongest = max(LAMBDAS)
    free = {norm: by_seed[norm, 0.0, "weights"] for norm in VARIANTS if (norm, 0.0, "weights") in by_seed}
    strong = {norm: by_seed[norm, strongest, "all"] for norm in free if (norm, strongest, "all") in by_seed}
    both = pd.concat([*(free[norm] for norm in strong), *strong.values()], axis=1).dropna() if strong else ()
    if len(strong) < 2 or not len(both):
        return TOO_FEW
    free, strong = ({norm: values[both.index] for norm, values in part.items() if norm in strong}
                    for part in (free, strong))
    levels = [[values.mean() for values in part.values()] for part in (free, strong)]
    decides = min(np.subtract(*levels)) > 2 * max(map(np.ptp, levels))
    moves = ", ".join(f"{NAMES[norm]} from {free[norm].mean():.2f} to {_level(values)}"
                      for norm, values in strong.items())
    finding = (f"λ = {strongest:g} on {TARGETS['all']}, the strength of the historical run, at this recipe's peak rate "
               f"of {RECIPES['tuned'].lr:g}, takes {moves} ({_seeds(len(both))}): "
               + ("the penalty decides here, not the normalisation." if decides
                  else "penalty and normalisation are not told apart."))
    weights = {norm: by_seed[norm, strongest, "weights"] for norm in strong if (norm, strongest, "weights") in by_seed}
    details = [
        "Each of these ends is the share of one digit: all images get the same answer."
        * _blind(pd.concat(strong.values()), labels),
        f"On {TARGETS['weights']} alone it takes "
        f"{', '.join(f'{NAMES[norm]} to {_level(values)}' for norm, values in weights.items())}." * bool(weights),
        _running_averages(table), _losses(by_seed), _own(by_seed), _shrinking(table)]
    return _answer(finding, details)


def _level(accuracies: pd.Series) -> str:
    """The mean accuracy, and the seeds' range where they lie more than a point apart."""
    return f"{accuracies.mean():.2f} %" + (f" ({accuracies.min():.2f} to {accuracies.max():.2f})"
                                           * bool(np.ptp(accuracies) > 1))


def _running_averages(table: pd.DataFrame) -> str:
    """Where BatchNorm does better on its own batches' statistics than on its running averages, by more than a point."""
    means = table[table.norm == "batch"].groupby(["l1_lambda", "l1_target"])[["val_accuracy", "train_mode"]].mean()
    apart = means[(means.train_mode - means.val_accuracy > 1) & (means.index.get_level_values("l1_lambda") > 0)]
    parts = [f"{row.train_mode:.2f} % instead of {row.val_accuracy:.2f} % (λ = {strength:g} on {TARGETS[target]})"
             for (strength, target), row in apart.iterrows()]
    return ("Part of BatchNorm's fall lies in its running averages: on the statistics of its own batches it is at "
            f"{', '.join(parts)}.") if parts else ""


def _losses(by_seed: pd.DataFrame) -> str:
    """The most that each strength costs a normalised network, on either target."""
    losses = {strength: [(by_seed[norm, 0.0, "weights"] - by_seed[norm, strength, target]).mean()
                         for norm in VARIANTS for target in TARGETS
                         if (norm, 0.0, "weights") in by_seed and (norm, strength, target) in by_seed]
              for strength in LAMBDAS[1:-1]}
    losses = {strength: [loss for loss in values if not math.isnan(loss)] for strength, values in losses.items()}
    parts = [f"{max(0.0, *values):.2f} points at λ = {strength:g}" for strength, values in losses.items() if values]
    return f"The most that a weaker one costs any of the three: {', '.join(parts)}." if parts else ""


def _own(by_seed: pd.DataFrame) -> str:
    """What the penalty of the recipe does to the variant that has it."""
    strength, target = RECIPES["tuned"].l1_lambda, RECIPES["tuned"].l1_target
    if not {("batch", 0.0, "weights"), ("batch", strength, target)} <= set(by_seed.columns):
        return ""
    change = by_seed["batch", strength, target] - by_seed["batch", 0.0, "weights"]
    if change.isna().all():
        return ""
    moved = _compare({"": change}).strip()
    return f"The third variant's own, λ = {strength:g} on {TARGETS[target]}, moves BatchNorm by {moved}."


def _shrinking(table: pd.DataFrame) -> str:
    """What the strongest penalty does to BatchNorm's weights and γ."""
    mine = table[(table.norm == "batch") & ((table.l1_lambda == 0) | (table.l1_target == "all"))]
    means = mine.groupby("l1_lambda")[["near_zero", "gamma"]].mean()
    if not {0.0, max(LAMBDAS)} <= set(means.index):
        return ""
    free, strong = means.loc[0.0], means.loc[max(LAMBDAS)]
    return (f"With λ = {max(LAMBDAS):g} on all parameters {100 * strong.near_zero:.1f} % of BatchNorm's convolution "
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
    return _frame(records, ("norm",), parameters=lambda r: r["num_parameters"])


def affine_finding(table: pd.DataFrame) -> str:
    """Whether a γ and a β for each place buys anything beside one for each channel, and beside none."""
    by_seed = table.pivot(index="seed", columns="norm", values="val_accuracy")
    if not {"layer", "layer_plain", "group"} <= set(by_seed) or not len(by_seed.dropna()):
        return TOO_FEW
    parameters = table.groupby("norm").parameters.first()
    return "LayerNorm " + _compare({
        f"beside GroupNorm(1, C), with {parameters['layer'] - parameters['group']:,} parameters more:":
            by_seed["layer"] - by_seed["group"],
        f"beside itself without γ and β, with {parameters['layer'] - parameters['layer_plain']:,} more:":
            by_seed["layer"] - by_seed["layer_plain"]}) + "."


# --- 3. how many groups -----------------------------------------------------------------------------------------------


def group_runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """1, 2 and 4 groups, and as many as channels."""
    own = recipe.without_l1()
    cases = [*(("group", groups) for groups in GROUPS), ("instance", 0)]
    return [run_config(norm, seed, num_epochs, own, groups) for norm, groups in cases for seed in seeds]


def group_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """norm, seed, val_accuracy, val_loss, groups ("1", "2", "4" or "C")."""
    return _frame(records, ("groups",), groups=lambda r: str(r["config"]["num_groups"] or "C"))


def group_finding(table: pd.DataFrame, labels: torch.Tensor) -> str:
    """How much the number of groups matters until each channel is its own. `labels`: of the validation images."""
    by_seed = table.pivot(index="seed", columns="groups", values="val_accuracy")
    own = str(GROUPS[1])  # the study's
    others = [groups for groups in map(str, GROUPS) if groups in by_seed and groups != own]
    if own not in by_seed or not others:
        return TOO_FEW
    sentence = (f"Beside the study's {own} groups: " + _compare({
        f"{groups} {'group' if groups == '1' else 'groups'}": by_seed[groups] - by_seed[own] for groups in others})
        + ".")
    if "C" not in by_seed:
        return sentence
    collapsed = by_seed["C"].dropna()
    levels = " or ".join(sorted({f"{accuracy:.2f} %" for accuracy in collapsed}))
    return (f"{sentence} With G = C it ends at {levels}"
            + (", the share of one digit: all images get the same answer." if _blind(collapsed, labels) else "."))


# --- 4. how small may a batch be --------------------------------------------------------------------------------------


def batch_size_runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """Each normalisation with each batch size; the learning rate shrinks with the batch (Goyal et al. 2017), so that
    equal numbers of images take equally long steps in all. Beyond the recipe's batch it stays. No penalty: it counts
    updates, not images."""
    free = recipe.without_l1()
    return [run_config(norm, seed, num_epochs, replace(
                free, batch_size=size, lr=free.lr * min(1.0, size / free.batch_size),
                ema_decay=free.ema_decay ** (size / free.batch_size)))
            for norm in VARIANTS for size in BATCH_SIZES for seed in seeds]


def batch_size_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """norm, seed, val_accuracy, val_loss, batch_size, num_images (for training), train_mode (accuracy with the batch's
    statistics, BatchNorm)."""
    return _frame(records, ("norm", "batch_size"), batch_size=lambda r: r["config"]["recipe"]["batch_size"],
                  num_images=lambda r: r["dataset"]["num_train"], train_mode=_train_mode)


def batch_size_finding(table: pd.DataFrame) -> str:
    """What smaller and larger batches than the recipe's do to each normalisation."""
    usual, sizes = RECIPES["tuned"].batch_size, sorted(set(table.batch_size))
    by_seed = table.pivot(index="seed", columns=["norm", "batch_size"], values="val_accuracy")
    sentences = []
    for size, where, why in ((sizes[0], f"With {table.num_images.iloc[0]:,} training images, from", ""),
                             (sizes[-1], "From", " That is fewer updates at the same rate." * (sizes[-1] > usual))):
        moved = {NAMES[norm]: by_seed[norm, size] - by_seed[norm, usual] for norm in VARIANTS
                 if {(norm, size), (norm, usual)} <= set(by_seed.columns)}
        if size != usual and any(len(differences.dropna()) for differences in moved.values()):
            sentences.append(f"{where} {usual} images a batch to {size}: {_compare(moved)}.{why}")
    inside = table[table.train_mode.notna()].groupby("batch_size")[["val_accuracy", "train_mode"]].mean()
    if len(inside):
        small = inside.index.min()
        sentences.append(f"BatchNorm validated on the statistics of its own batches of {small} is at "
                         f"{inside.train_mode[small]:.2f} % instead of {inside.val_accuracy[small]:.2f} %.")
    return _answer(sentences[0], sentences[1:]) if sentences else TOO_FEW


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
            for module in watched.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.train()  # as it is trained; its running averages are of nothing yet
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
    """What depth does to activations before training and to gradients in it, and which network died."""
    start = table[table["update"] == 0].pivot_table(index="norm", columns="block", values="std", sort=False)
    later = table[table["update"] > 0].pivot_table(index=["norm", "update"], columns="block", values="gradient",
                                                   sort=False)
    dead = later.sum(axis=1) == 0
    ends = [norm for norm in later.index.unique("norm") if dead[norm].iloc[-1]]
    ratio = (later[1] / later[len(BLOCKS)])[~dead].groupby("norm", sort=False).median().drop(ends, errors="ignore")
    stds = ", ".join(f"{NAMES[norm]} {row.iloc[0]:.2g} and {row.iloc[-1]:.2g}" for norm, row in start.iterrows())
    finding = f"Standard deviation of the activations before training, first block and last: {stds} (one seed)."
    details = ["Gradient norm of the first block's weights beside the last one's, median over the updates: "
               + ", ".join(f"{NAMES[norm]} {value:.2f}" for norm, value in ratio.items()) + "."] if len(ratio) else []
    for norm in ends:
        mine, largest = dead[norm], table[table.norm == norm].groupby("update")["std"].max()
        alive = max([0, *mine.index[~mine]])  # the last look at which a gradient was not 0
        first = mine.index[mine.index > alive].min()
        finding += (f" The network with {NAMES[norm]} dies between updates {alive:,} and {first:,}: from then on all "
                    "gradients are 0.")
        details.append(f"In the network with {NAMES[norm]} the largest standard deviation of the activations has gone "
                       f"from {largest[0]:.2g} to {largest[first]:.3g} by update {first:,}, and behind it no unit "
                       "answers any more.")
    return _answer(finding, details)


# --- 6. how much does luck weigh --------------------------------------------------------------------------------------


FREE, FREE_NAME = "free", f"{NAMES['batch']} without the penalty"  # stands beside the variants


def luck_table(records: Sequence[Mapping], without_l1: Sequence[Mapping] = ()) -> pd.DataFrame:
    """`compare_pairs`, and each variant beside BatchNorm without its penalty (b is FREE; the columns of `compare_pairs`
    that need the single images are empty there). Three columns more: the standard deviation of a pair's difference over
    seeds (images), and how many seeds would tell a difference of this size from zero (paired t-test, level 0.05, power
    0.8): as large as seen, and as small as its interval leaves it (seeds_at_least, seeds_at_most; inf above 10,000)."""
    pairs, free, beside = compare_pairs(records), _correct(without_l1), []
    for norm in VARIANTS if free else ():
        mine = _correct([record for record in records if record["config"]["norm"] == norm])
        if differences := [mine[seed] - free[seed] for seed in mine if seed in free]:
            beside.append({"a": norm, "b": FREE, "n": len(differences), "difference": np.mean(differences),
                           "half_width": half_width(differences), "differences": differences})
    pairs = pd.DataFrame([*pairs.to_dict("records"), *beside], columns=pairs.columns)
    pairs["std"] = [np.std(pair.differences, ddof=1) if pair.n > 1 else math.nan for pair in pairs.itertuples()]
    return pairs.assign(
        seeds_at_least=[seeds_needed(pair.difference, pair.std) for pair in pairs.itertuples()],
        seeds_at_most=[seeds_needed(max(0.0, abs(pair.difference) - pair.half_width), pair.std)
                       for pair in pairs.itertuples()])


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


def _correct(records: Sequence[Mapping]) -> dict[int, int]:
    """Images right in the last epoch, by seed."""
    return {record["config"]["seed"]: record["history"][-1]["val_correct"] for record in records}


def luck_finding(table: pd.DataFrame) -> str:
    """How many seeds it would take to tell the variants apart."""
    def count(seeds: float) -> str:
        return "more than 10,000" if math.isinf(seeds) else f"{seeds:,.0f}"

    parts = [f"{VARIANTS[row.a].short} and {VARIANTS[row.b].short}, {abs(row.difference):.1f} images apart with a "
             f"spread over seeds of {row.std:.1f}: {count(row.seeds_at_least)} seeds"
             + f", or {count(row.seeds_at_most)} if the difference is as small as its interval allows" * (
                 not math.isinf(row.seeds_at_least))
             for row in table.itertuples() if row.b != FREE and not math.isnan(row.seeds_at_least)]
    if not parts:
        return TOO_FEW
    return ("To show the difference seen, four times in five and each pair tested alone, it takes: "
            + "; ".join(parts) + ".")


def own_penalty_finding(table: pd.DataFrame, without_l1: Sequence[Mapping]) -> str:
    """Whether the third variant's gap in the main study is its penalty's: each beside BatchNorm without it."""
    beside = {VARIANTS[row.a].short: pd.Series(row.differences) for row in table.itertuples() if row.b == FREE}
    if not beside:
        return TOO_FEW
    right = list(_correct(without_l1).values())
    return (f"{FREE_NAME} gets {np.mean(right):,.1f} of {without_l1[0]['dataset']['num_val']:,} images right "
            f"({_seeds(len(right))}). Beside it: {_compare(beside, 'images')}.")


# --- 8. how the recipe was chosen -------------------------------------------------------------------------------------

# a column of the search -> what a reader calls it
KNOBS = {"l1_lambda": "λ", "l1_target": "what it counts", "lr": "peak rate", "rotation": "augmentation",
         "shift": "augmentation", "scale": "augmentation", "shear": "augmentation", "weight_decay": "weight decay",
         "label_smoothing": "label smoothing", "batch_size": "batch size"}


def search_table() -> pd.DataFrame:
    """The hyperparameter search on the hold-out, for readers: a row for each case and penalty, lowest mean loss first.

    A cell: loss in nats, and images right of those held out, means over its seeds. The penalty is the third variant's
    alone, so the other two stand in every row of their case. The mean is over the seeds that all variants were tried
    with.
    """
    runs = pd.read_csv(RECORDS / "search.csv")
    runs["case"] = [_case(row) for row in runs.itertuples()]
    runs["penalty"] = ["" if not VARIANTS[row.norm].l1 else f"{row.l1_lambda:g} on {row.l1_target}" if row.l1_lambda
                       else "0" for row in runs.itertuples()]
    rows = []
    for case, part in runs.groupby("case", sort=False):
        for penalty in sorted(set(part.penalty) - {""}) or [""]:
            mine = part[part.penalty.isin(["", penalty])]
            texts = {norm: f"{cell.val_loss.mean():.4f} ({cell.val_correct.mean():,.0f})"
                     + f", {len(cell)} seeds" * (len(cell) > 1) for norm, cell in mine.groupby("norm")}
            losses = mine.pivot(index="seed", columns="norm", values="val_loss").reindex(columns=list(VARIANTS))
            rows.append({"case": case, "λ": penalty,
                         **{variant.short: texts.get(norm, "not tried") for norm, variant in VARIANTS.items()},
                         "mean loss (nats)": losses.dropna().to_numpy().mean() if len(losses.dropna()) else math.nan})
    table = pd.DataFrame(rows).set_index("case").sort_values("mean loss (nats)", kind="stable")
    table["mean loss (nats)"] = table["mean loss (nats)"].map("{:.4f}".format).replace("nan", "")
    return table


def search_finding() -> str:
    """The chosen recipe on the hold-out, and cases as long as its own that differ in one thing, with the same seeds."""
    runs, chosen = pd.read_csv(RECORDS / "search.csv"), RECIPES["tuned"]
    recipes = {norm: chosen if variant.l1 else chosen.without_l1() for norm, variant in VARIANTS.items()}
    runs = runs[runs.num_epochs == runs.num_epochs.max()]
    changes = pd.Series([{called for name, called in KNOBS.items()
                          if getattr(run, name) != getattr(recipes[run.norm], name)} for run in runs.itertuples()],
                        runs.index)
    number, batch = changes.map(len), runs.norm == "batch"
    results = [f"{NAMES[norm]} {mine.val_loss.mean():.4f} nats, {mine.val_correct.mean():,.0f} of "
               f"{mine.num_val.iloc[0]:,} right ({_seeds(len(mine))})"
               for norm in VARIANTS if len(mine := runs[(number == 0) & (runs.norm == norm)])]
    own, others = (runs[batch & (number == changed)].set_index("seed") for changed in (0, 1))
    others = others[others.index.isin(own.index)]
    if not len(others):
        return TOO_FEW
    cases = others.assign(loss=others.val_loss - own.val_loss[others.index],
                          right=others.val_correct - own.val_correct[others.index]).groupby(list(KNOBS))
    loss, right, seeds = cases.loss.mean(), cases.right.mean(), cases.size()
    things = ", ".join(name for name in dict.fromkeys(KNOBS.values()) if {name} in changes[batch].tolist())
    return (f"The chosen recipe on the hold-out after {runs.num_epochs.iloc[0]} epochs: {'; '.join(results)}. "
            f"{len(cases)} cases of {NAMES['batch']} that differ in one thing ({things}) are, with the same seeds, "
            f"{loss.min():+.4f} to {loss.max():+.4f} nats and {right.min():+.0f} to {right.max():+.0f} images away: "
            f"{int((loss < 0).sum()) or 'none'} with a lower loss, {int((right > 0).sum()) or 'none'} with more right. "
            f"With {seeds.min()} to {seeds.max()} seeds a case, differences as small as these say little.")


def _case(row) -> str:
    """What a line of the search was tried with, but for the penalty."""
    words = [f"{row.num_epochs} epochs", f"lr {row.lr:g}", f"rotation {row.rotation:g}°", f"shift {row.shift:g}",
             f"scale and shear {row.scale:g}"]
    words += [f"batch {row.batch_size}"] * (row.batch_size != RECIPES["tuned"].batch_size)
    words += [f"label smoothing {row.label_smoothing:g}"] * bool(row.label_smoothing)
    words += [f"weight decay {row.weight_decay:g}"] * bool(row.weight_decay)
    return ", ".join(words)
