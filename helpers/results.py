"""What the runs' records say, as data frames: histories, errors, last epochs, comparisons of pairs.

Accuracies are in percent, losses in nats, differences between variants in images of the validation set.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch

from helpers.config import VARIANTS
from helpers.data import NUM_CLASSES, Dataset
from helpers.files import ROOT
from helpers.intervals import half_width, holm, mcnemar_p, paired_p, t_interval, wilson_interval

HISTORICAL = ROOT / "notebooks" / "records" / "historical_curves.csv"


def history_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """One row for each variant, seed and epoch. Nothing that depends on the clock: the same runs, the same table."""
    columns = ["epoch", "lr", "train_loss", "l1_penalty", "train_accuracy", "val_loss", "val_accuracy", "val_correct"]
    rows = [{"dataset": record["dataset"]["name"], "norm": record["config"]["norm"], "seed": record["config"]["seed"],
             **{column: row[column] for column in columns}} for record in records for row in record["history"]]
    return pd.DataFrame(rows, columns=["dataset", "norm", "seed", *columns])


def wrong_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """One row for each misclassified validation image of each run, in file order; confidences are probabilities."""
    columns = ["norm", "seed", "index", "label", "prediction", "confidence", "true_confidence"]
    return pd.DataFrame([(record["config"]["norm"], record["config"]["seed"], *row)
                         for record in records for row in record["wrong"]], columns=columns)


def historical_table() -> pd.DataFrame:
    """The historical run, epoch by epoch: one seed, 10,000 test images. Source: see the README."""
    return pd.read_csv(HISTORICAL)


def historical_ends(data: Dataset) -> pd.DataFrame | None:
    """Where the historical run ended, by norm; None where `data` are not the images that it was validated on."""
    if data.name != "mnist":
        return None
    return historical_table().groupby("variant").last().rename_axis("norm").reset_index()


def final_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """One row a variant: the last epoch over its seeds, and where the historical run ended.

    The interval is the t-interval over seeds; of one seed, Wilson's interval over the images: it says how sure that
    one network's accuracy is, and nothing about another seed.
    """
    rows = []
    for norm, group in _by_norm(records).items():
        last = [record["history"][-1] for record in group]
        accuracy = np.array([row["val_accuracy"] for row in last])
        if len(group) > 1:
            low, high = np.clip(t_interval(accuracy), 0, 100)
        else:
            low, high = wilson_interval(last[0]["val_correct"], group[0]["dataset"]["num_val"])
        rows.append({
            "norm": norm, "variant": VARIANTS[norm].title, "parameters": group[0]["num_parameters"], "n": len(group),
            "val_accuracy": accuracy.mean(), "std": accuracy.std(ddof=1) if len(group) > 1 else np.nan,
            "low": low, "high": high, "val_loss": np.mean([row["val_loss"] for row in last]),
            "train_accuracy": np.mean([row["train_accuracy"] for row in last]),
            "l1_penalty": np.mean([row["l1_penalty"] for row in last]),
            "errors": np.mean([len(record["wrong"]) for record in group]),
            "seconds_per_epoch": np.median([row["seconds"] for record in group for row in record["history"]])})
    columns = ["norm", "variant", "parameters", "n", "val_accuracy", "std", "low", "high", "val_loss", "train_accuracy",
               "l1_penalty", "errors", "seconds_per_epoch"]
    final = pd.DataFrame(rows, columns=columns)
    if any(record["dataset"]["name"] != "mnist" for record in records):
        return final  # the historical run was validated on MNIST's test images: no comparison with others
    ends = historical_table().groupby("variant").last().rename_axis("norm")
    return final.merge(ends[["epoch", "val_accuracy", "val_loss"]].add_prefix("historical_"), how="left", on="norm")


def shown_runs(records: Sequence[Mapping]) -> tuple[list[str], int]:
    """The variants, and the seed, whose errors are shown image by image: the first seed that most variants finished."""
    seeds = [record["config"]["seed"] for record in records]
    seed = max(seeds, key=seeds.count)  # of equals the first
    return [record["config"]["norm"] for record in records if record["config"]["seed"] == seed], seed


def confusion_matrices(records: Sequence[Mapping], labels: torch.Tensor) -> dict[str, np.ndarray]:
    """For each variant how often each true digit (row) was read as each digit (column), summed over its seeds."""
    from sklearn.metrics import confusion_matrix

    matrices = {}
    for norm, group in _by_norm(records).items():
        matrices[norm] = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=int)
        for record in group:
            predictions = labels.clone()
            for index, _, prediction, *_ in record["wrong"]:
                predictions[index] = prediction
            matrices[norm] += confusion_matrix(labels, predictions, labels=range(NUM_CLASSES))
    return matrices


def overlap_counts(wrong: pd.DataFrame, norms: Sequence[str], seed: int) -> pd.Series:
    """For each set of variants how many images exactly these get wrong, with one seed; every set has an entry."""
    sets = [c for size in range(len(norms), 0, -1) for c in combinations(norms, size)]
    by_image = wrong[wrong.seed == seed].groupby("index").norm.agg(lambda g: tuple(n for n in norms if n in set(g)))
    counts = by_image.value_counts()
    return pd.Series([int(counts.get(c, 0)) for c in sets], index=pd.Index(sets, tupleize_cols=False), dtype=int)


def compare_pairs(records: Sequence[Mapping]) -> pd.DataFrame:
    """Each pair of variants on the same images with the same seeds.

    difference: images that a gets right more than b, mean over the common seeds; half_width: of its t-interval;
    p: paired t-test over seeds, with one seed McNemar's exact test; p_holm: corrected for the number of pairs;
    only_a, only_b: images that one alone gets right, mean over seeds; differences: in images, seed by seed.
    """
    wrong = {norm: {r["config"]["seed"]: {row[0] for row in r["wrong"]} for r in group}
             for norm, group in _by_norm(records).items()}
    rows = []
    for a, b in combinations(wrong, 2):
        seeds = [seed for seed in wrong[a] if seed in wrong[b]]
        if not seeds:
            continue
        only_a = np.array([len(wrong[b][seed] - wrong[a][seed]) for seed in seeds])
        only_b = np.array([len(wrong[a][seed] - wrong[b][seed]) for seed in seeds])
        mcnemar = [mcnemar_p(int(x), int(y)) for x, y in zip(only_a, only_b, strict=True)]
        rows.append({
            "a": a, "b": b, "n": len(seeds), "only_a": only_a.mean(), "only_b": only_b.mean(),
            "difference": (only_a - only_b).mean(), "half_width": half_width(only_a - only_b),
            "p": paired_p(only_a - only_b, mcnemar) if len(seeds) > 1 else mcnemar[0], "mcnemar": mcnemar,
            "differences": (only_a - only_b).tolist()})
    pairs = pd.DataFrame(rows, columns=["a", "b", "n", "only_a", "only_b", "difference", "half_width", "p", "mcnemar",
                                        "differences"])
    return pairs.assign(p_holm=holm(list(pairs.p)))


def _by_norm(records: Sequence[Mapping]) -> dict[str, list[Mapping]]:
    groups = {norm: [r for r in records if r["config"]["norm"] == norm] for norm in VARIANTS}
    return {norm: group for norm, group in groups.items() if group}
