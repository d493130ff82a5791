"""The tables that readers see: names with units, rounded, as text."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from helpers.config import VARIANTS, RunConfig
from helpers.data import NUM_CLASSES, Dataset
from helpers.machine import environment
from helpers.model import BLOCKS, build_model, make_norm, num_parameters
from helpers.results.words import plural

WITH_UNITS = {"batch_size": "batch_size (images)", "l1_lambda": "l1_lambda (nats)", "rotation": "rotation (degrees)",
              "shift": "shift (pixels)"}
# What a block's norm learns, and how many means it computes, as formulas.
FORMULAS = {"layer": ("2CHW", "N"), "group": ("2C", "N·groups"), "batch": ("2C", "C")}


def recipe_table(configs: Sequence[RunConfig]) -> pd.DataFrame:
    """Every value that the runs are trained with: one row a parameter, one column a variant."""
    columns = {}
    for config in configs:
        seeds = [str(other.seed) for other in configs if other.norm == config.norm]
        columns[VARIANTS[config.norm].title] = {
            "num_epochs": config.num_epochs, "seeds": ", ".join(seeds), "num_groups": config.num_groups or "",
            **asdict(config.recipe)}
    table = pd.DataFrame(columns, dtype=object).rename(index=WITH_UNITS)
    return table.map(_plain).rename_axis("parameter")


def _plain(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def environment_table(device: str) -> pd.DataFrame:
    """What this notebook runs on."""
    return pd.DataFrame({"value": environment(device)}).rename_axis("environment")


def label_table(data: Dataset) -> pd.DataFrame:
    """Images of each class, in training and validation."""
    table = pd.DataFrame({"training images": np.bincount(data.train_labels, minlength=NUM_CLASSES),
                          "validation images": np.bincount(data.val_labels, minlength=NUM_CLASSES)})
    return table.rename(index=str).rename_axis("digit")


def parameter_table(num_groups: int, batch_size: int) -> pd.DataFrame:
    """For each block what a norm learns, and how many means it computes from a batch."""
    learned = {}
    means = {}
    for norm, variant in VARIANTS.items():
        size, number = FORMULAS.get(norm, ("γ and β", "counted"))
        learned[f"{variant.bare} learns {size}"] = _with_sum(_learned(norm, num_groups))
        counts = [variant.means(batch_size, block[1], num_groups) for block in BLOCKS]
        means[f"{variant.bare}: means of {batch_size} images ({number})"] = _with_sum(counts)
    shapes = [f"{channels}×{size}×{size}" for _, channels, size, _ in BLOCKS]
    table = pd.DataFrame({"C×H×W": [*shapes, ""], **learned, **means})
    blocks = [str(number + 1) for number in range(len(BLOCKS))]
    return table.set_index(pd.Index([*blocks, "all"], name="block"))


def _learned(norm: str, num_groups: int) -> list[int]:
    """How many numbers the norm of each block learns."""
    norms = [make_norm(norm, channels, size, num_groups) for _, channels, size, _ in BLOCKS]
    return [num_parameters(layer) for layer in norms]


def _with_sum(counts: Sequence[int]) -> list[str]:
    return [f"{count:,}" for count in [*counts, sum(counts)]]


def network_table(num_groups: int) -> pd.DataFrame:
    """The three networks side by side."""
    rows = {}
    for norm, variant in VARIANTS.items():
        net = build_model(norm, num_groups, seed=0)
        total = num_parameters(net)
        learned = sum(_learned(norm, num_groups))
        mean_of = variant.mean_of
        if norm == "group":
            mean_of += f" ({plural(num_groups, 'group')})"
        rows[variant.title] = {
            "parameters": f"{total:,}",
            "in convolutions": f"{total - learned:,}",
            "in normalisation": f"{learned:,} ({100 * learned / total:.0f} %)",
            "one mean for each": mean_of,
            "needs running averages": "yes" if list(net.buffers()) else "no",
            "L1 penalty": "yes" if variant.l1 else "no"}
    return pd.DataFrame.from_dict(rows, "index").rename_axis("variant")


def final_table(final: pd.DataFrame) -> pd.DataFrame:
    """`final_frame` for readers: one column a variant, the historical run's end below ours."""
    digits = 1 if final.n.max() > 1 else 0
    columns = {}
    for row in final.itertuples():
        values = {
            "parameters": f"{row.parameters:,}",
            "seeds": f"{row.n}",
            "validation accuracy (%)": f"{row.val_accuracy:.2f}",
            "std over seeds (%)": "one seed" if np.isnan(row.std) else f"{row.std:.2f}",
            "95 % interval (%)": f"{row.low:.2f} to {row.high:.2f}",
            "validation loss (nats)": f"{row.val_loss:.4f}",
            "wrong images": f"{row.errors:.{digits}f}",
            "training accuracy (%)": f"{row.train_accuracy:.2f}",
            "L1 penalty (nats)": f"{row.l1_penalty:.4f}"}
        if "historical_epoch" in final:
            accuracy = f"{row.historical_val_accuracy:.2f} (epoch {row.historical_epoch:.0f})"
            values["historical accuracy (%)"] = accuracy
            values["historical loss (nats)"] = f"{row.historical_val_loss:.4f}"
        columns[row.variant] = values
    return pd.DataFrame(columns).rename_axis("last epoch")


def pairs_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """`pairs_frame` for readers."""
    several = pairs.n.max() > 1
    images = "{:.1f}" if several else "{:.0f}"
    test = "paired t over seeds" if several else "McNemar, exact"
    if several and pairs.n.min() == 1:
        test += "; McNemar for one"
    names = [f"{VARIANTS[pair.a].short} against {VARIANTS[pair.b].short}" for pair in pairs.itertuples()]
    differences = [f"{pair.difference:+.0f}" if pair.n == 1 else f"{pair.difference:+.1f} ± {pair.half_width:.1f}"
                   for pair in pairs.itertuples()]
    table = pd.DataFrame({
        "only the first is right (images)": pairs.only_a.map(images.format),
        "only the second is right (images)": pairs.only_b.map(images.format),
        "difference (images)": differences,
        "seeds": pairs.n.map(str),
        f"p ({test})": pairs.p.map(_p_value),
        "p, Holm-corrected": pairs.p_holm.map(_p_value)})
    if several:
        extremes = [f"{_p_value(min(ps))} to {_p_value(max(ps))}" for ps in pairs.mcnemar]
        table["McNemar's p, smallest and largest of the seeds"] = extremes
    return table.set_index(pd.Index(names, name="pair"))


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
