"""The tables that readers see: names with units, rounded, as text."""

from collections.abc import Sequence
from dataclasses import asdict

import torch
from pandas import DataFrame, set_option
from torch import Tensor

from helpers.config import VARIANTS, RunConfig
from helpers.machine import environment
from helpers.model import BLOCKS, build_model, make_norm, num_parameters
from helpers.results.comparisons import MARGIN, SHORT, verdict_words
from helpers.results.frames import Records, environments_frame

# Readers see tables whole, however long and whatever their own settings.
set_option("display.max_rows", None, "display.max_columns", None, "display.max_colwidth", None)

WITH_UNITS = {"batch_size": "batch_size (images)", "l1_lambda": "l1_lambda (nats)",
              "rotation": "rotation (degrees)", "shift": "shift (pixels)"}
# What a block's norm learns, and how many means it computes, as formulas.
FORMULAS = {"layer": ("2CHW", "N"), "group": ("2C", "N·groups"), "batch": ("2C", "C")}


def recipe_table(configs: Sequence[RunConfig]) -> DataFrame:
    """Every value that the runs are trained with: one row a parameter, one column a variant."""
    columns = {}
    for config in configs:
        seeds = [str(other.seed) for other in configs if other.norm == config.norm]
        values = {"num_epochs": config.num_epochs, "seeds": ", ".join(seeds),
                  "num_groups": config.num_groups or "", **asdict(config.recipe)}
        columns[VARIANTS[config.norm].title] = {
            WITH_UNITS.get(name, name): f"{value:g}" if isinstance(value, float) else str(value)
            for name, value in values.items()}
    return DataFrame(columns).rename_axis("parameter")


def environment_table(device: str) -> DataFrame:
    """What this notebook runs on."""
    return DataFrame({"value": environment(device)}).rename_axis("environment")


def parameter_table(num_groups: int, batch_size: int) -> DataFrame:
    """For each block what a norm learns, and how many means it computes from a batch."""
    learned = {}
    means = {}
    for norm, variant in VARIANTS.items():
        formula, number = FORMULAS.get(norm, ("γ and β", "counted"))
        learned[f"{variant.bare} learns {formula}"] = [
            num_parameters(make_norm(norm, channels, size, num_groups)) for _, channels, size, _ in BLOCKS]
        means[f"{variant.bare}: means of {batch_size} images ({number})"] = [
            variant.means(batch_size, channels, num_groups) for _, channels, *_ in BLOCKS]
    counts = DataFrame(learned | means)
    counts.index = (counts.index + 1).map(str)
    counts.loc["all"] = counts.sum()
    table = counts.map("{:,}".format).rename_axis("block")
    table.insert(0, "C×H×W", [f"{channels}×{size}×{size}" for _, channels, size, _ in BLOCKS] + [""])
    return table


@torch.no_grad()
def mode_table(images: Tensor, num_groups: int) -> DataFrame:
    """How much the first image's logits change when it is read in a batch instead of alone, by mode.

    images: (N, 1, 28, 28), normalised. The networks are new: what is seen is the modes' own.
    """
    rows = {}
    for norm, variant in VARIANTS.items():
        changes = {}
        for mode, is_training in (("in training mode", True), ("in evaluation mode", False)):
            net = build_model(norm, num_groups, seed=0).train(is_training)
            changes[mode] = f"{(net(images)[0] - net(images[:1])[0]).abs().max():.4f}"
        rows[variant.bare] = changes
    return DataFrame(rows).T.rename_axis("largest change of a logit")


def final_table(final: DataFrame) -> DataFrame:
    """`final_frame` for readers: one column a variant."""
    digits = 1 if final.n.max() > 1 else 0
    columns = {}
    for row in final.itertuples():
        short = VARIANTS[row.norm].short
        columns[short] = {
            "parameters": f"{row.parameters:,}",
            "seeds": f"{row.n} ({row.published} published)" if row.published else f"{row.n}",
            "validation accuracy (%)": f"{row.val_accuracy:.2f}",
            "std over seeds (%)": f"{row.std:.2f}" if row.n > 1 else "one seed",
            "95 % interval (%)": f"{row.low:.2f} to {row.high:.2f}",
            "validation loss (nats)": f"{row.val_loss:.4f}", "wrong images": f"{row.errors:.{digits}f}",
            "training accuracy (%)": f"{row.train_accuracy:.2f}",
            "L1 penalty (nats)": f"{row.l1_penalty:.4f}"}
    return DataFrame(columns).rename_axis("last epoch")


def pairs_table(pairs: DataFrame) -> DataFrame:
    """`pairs_frame` for readers."""
    several = pairs.n.max() > 1
    digits = int(several)
    test = "paired t over seeds" if several else "McNemar, exact"
    if several and pairs.n.min() == 1:
        test += "; McNemar for one"
    rows = {}
    for pair in pairs.itertuples():
        difference = f"{pair.difference:+.{digits}f}"
        row = {
            "only the first is right (images)": f"{pair.only_a:.{digits}f}",
            "only the second is right (images)": f"{pair.only_b:.{digits}f}",
            "difference (images)": f"{difference} ± {pair.half_width:.1f}" if pair.n > 1 else difference,
            "seeds": f"{pair.n}", f"p ({test})": _p_value(pair.p), "p, Holm-corrected": _p_value(pair.p_holm)}
        if several:
            extremes = f"{_p_value(min(pair.mcnemar))} to {_p_value(max(pair.mcnemar))}"
            row["McNemar's p, smallest and largest of the seeds"] = extremes
            row[f"p of a difference of {MARGIN * pair.num_images:g} or more, Holm"] = _p_value(pair.p_equal_holm)
            row["on new images (images)"] = f"{difference} ± {pair.new_images:.1f}"
            row["verdict"] = verdict_words(pair)
        rows[f"{SHORT[pair.a]} against {SHORT[pair.b]}"] = row
    return DataFrame(rows).T.rename_axis("pair")


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def environments_table(records: Records) -> DataFrame:
    """What computed these runs, by kind of machine; times are of one process among several side by side."""
    table = environments_frame(records)
    table["minutes of training"] = (table.seconds / 60).map("{:.1f}".format)
    table["seconds an epoch (mean)"] = (table.seconds / table.epochs).map("{:.1f}".format)
    return table.drop(columns="seconds").astype(str).set_index("processor")
