"""The tables that readers see: names with units, rounded, as text; every one a DataFrame for the notebook to show."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pandas as pd
import torch

from helpers.config import VARIANTS, Recipe, RunConfig
from helpers.data import NUM_CLASSES, Dataset
from helpers.model import BLOCKS, build_model, num_parameters
from helpers.normalization import num_affine, num_statistics
from helpers.records import environment

_UNITS = {"rotation": "degrees", "shift": "pixels", "batch_size": "images", "l1_lambda": "nats"}


def recipe_table(configs: Sequence[RunConfig]) -> pd.DataFrame:
    """Every value that the runs are trained with: one row a parameter, one column a variant."""
    first = {config.norm: config for config in configs}  # the seeds of a variant differ in nothing else
    rows = {"num_epochs": [config.num_epochs for config in first.values()],
            "seeds": [", ".join(str(c.seed) for c in configs if c.norm == norm) for norm in first],
            "num_groups": [config.num_groups or "" for config in first.values()]}
    for field in fields(Recipe):
        name = f"{field.name} ({_UNITS[field.name]})" if field.name in _UNITS else field.name
        rows[name] = [getattr(config.recipe, field.name) for config in first.values()]
    table = pd.DataFrame(rows, index=[VARIANTS[norm].title for norm in first]).T
    return table.map(lambda v: f"{v:g}" if isinstance(v, float) else str(v)).rename_axis("parameter")


def environment_table(device: str) -> pd.DataFrame:
    """What this notebook runs on."""
    return pd.DataFrame({"value": environment(device)}).rename_axis("environment")


def label_counts(data: Dataset) -> pd.DataFrame:
    """Images of each class, in training and validation."""
    count = {"training": data.train_labels, "validation": data.val_labels}
    return pd.DataFrame({f"{name} images": torch.bincount(labels, minlength=NUM_CLASSES).numpy()
                         for name, labels in count.items()},
                        index=[str(digit) for digit in range(NUM_CLASSES)]).rename_axis("digit")


def parameter_table(num_groups: int, batch_size: int) -> pd.DataFrame:
    """For each block what a norm learns, and how many means it computes from a batch."""
    norms, rows = list(VARIANTS), []
    for number, (_, channels, size, _) in enumerate(BLOCKS, 1):
        learned = [num_affine(norm, channels, size, size) for norm in norms]
        means = [num_statistics(norm, batch_size, channels, num_groups) for norm in norms]
        rows.append([str(number), f"{channels}×{size}×{size}", *learned, *means])
    columns = ["block", "C×H×W"]
    columns += [f"{name} learns {formula}" for name, formula in
                zip(("LayerNorm", "GroupNorm", "BatchNorm"), ("2CHW", "2C", "2C"), strict=True)]
    columns += [f"{name}: means of {batch_size} images ({formula})" for name, formula in
                zip(("LayerNorm", "GroupNorm", "BatchNorm"), ("N", "N·groups", "C"), strict=True)]
    rows.append(["all", "", *[sum(row[i] for row in rows) for i in range(2, 8)]])
    table = pd.DataFrame(rows, columns=columns).set_index("block")
    return table.map(lambda v: f"{v:,}" if isinstance(v, int) else v)


def network_table(num_groups: int) -> pd.DataFrame:
    """The three networks side by side."""
    rows, groups = [], f"{num_groups} group{'s' * (num_groups > 1)}"
    for norm, variant in VARIANTS.items():
        net = build_model(norm, num_groups, seed=0)
        total = num_parameters(net)
        learned = sum(num_affine(norm, channels, size, size) for _, channels, size, _ in BLOCKS)
        rows.append({
            "variant": variant.title, "parameters": f"{total:,}", "in convolutions": f"{total - learned:,}",
            "in normalisation": f"{learned:,} ({100 * learned / total:.0f} %)",
            "one mean for each": {"layer": "image", "group": f"image and group ({groups})",
                                  "batch": "channel, over the batch"}[norm],
            "needs running averages": "yes" if any(True for _ in net.buffers()) else "no",
            "L1 penalty": "yes" if variant.l1 else "no"})
    return pd.DataFrame(rows).set_index("variant")


def display_final(final: pd.DataFrame) -> pd.DataFrame:
    """`results.final_table` as a reader wants it, the historical run's end beside ours."""
    table = pd.DataFrame({
        "variant": final.variant, "parameters": final.parameters.map("{:,}".format), "seeds": final.n.map(str),
        "validation accuracy (%)": final.val_accuracy.map("{:.2f}".format),
        "std over seeds (%)": final["std"].map(lambda s: "one seed" if np.isnan(s) else f"{s:.2f}"),
        "95 % interval (%)": [f"{row.low:.2f} to {row.high:.2f}" for row in final.itertuples()],
        "validation loss (nats)": final.val_loss.map("{:.4f}".format),
        "wrong images": final.errors.map("{:.1f}".format if final.n.max() > 1 else "{:.0f}".format),
        "training accuracy (%)": final.train_accuracy.map("{:.2f}".format),
        "L1 penalty (nats)": final.l1_penalty.map("{:.4f}".format),
    })
    if "historical_epoch" in final:
        table["historical accuracy (%)"] = [f"{row.historical_val_accuracy:.2f} (epoch {row.historical_epoch:.0f})"
                                            for row in final.itertuples()]
        table["historical loss (nats)"] = final.historical_val_loss.map("{:.4f}".format)
    return table.set_index("variant").T.rename_axis("last epoch").rename_axis(None, axis=1)


def display_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """`results.compare_pairs` as a reader wants it."""
    several = pairs.n.max() > 1 if len(pairs) else False
    test = ("McNemar, exact" if not several else "paired t over seeds" if pairs.n.min() > 1 else
            "paired t over seeds; McNemar for one")
    return pd.DataFrame({
        "pair": [f"{VARIANTS[pair.a].short} against {VARIANTS[pair.b].short}" for pair in pairs.itertuples()],
        "only the first is right (images)": pairs.only_a.map("{:.1f}".format if several else "{:.0f}".format),
        "only the second is right (images)": pairs.only_b.map("{:.1f}".format if several else "{:.0f}".format),
        "difference (images)": [f"{pair.difference:+.1f} ± {pair.half_width:.1f}" if pair.n > 1
                                else f"{pair.difference:+.0f}" for pair in pairs.itertuples()],
        "seeds": pairs.n.map(str),
        f"p ({test})": pairs.p.map(_p_value), "p, Holm-corrected": pairs.p_holm.map(_p_value),
        **({"McNemar's p, smallest and largest of the seeds": [
            " to ".join(map(_p_value, (min(values), max(values)))) for values in pairs.mcnemar]} if several else {}),
    }).set_index("pair")


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
