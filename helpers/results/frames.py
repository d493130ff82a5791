"""What the runs' records say, as numbers: histories, errors, last epochs, comparisons of pairs.

Accuracies are in percent, losses in nats, differences between variants in validation images.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from torch import Tensor

from helpers.config import VARIANTS
from helpers.data import NUM_CLASSES, Dataset
from helpers.files import RECORDS
from helpers.results import intervals

Records = Sequence[Mapping]

HISTORY = ["dataset", "norm", "seed", "epoch", "lr", "train_loss", "l1_penalty", "train_accuracy", "val_loss",
           "val_accuracy", "val_correct"]
WRONG = ["norm", "seed", "index", "label", "prediction", "confidence", "true_confidence"]
FINAL = ["norm", "variant", "parameters", "n", "val_accuracy", "std", "low", "high", "val_loss", "train_accuracy",
         "l1_penalty", "errors", "seconds_per_epoch"]
PAIRS = ["a", "b", "n", "only_a", "only_b", "difference", "half_width", "p", "mcnemar", "differences"]


def history_frame(records: Records) -> pd.DataFrame:
    """One row for each run and epoch, without the clock: the same runs give the same frame."""
    rows = []
    for record in records:
        run = {**record["config"], "dataset": record["dataset"]["name"]}
        rows += [run | epoch for epoch in record["history"]]
    return pd.DataFrame(rows, columns=HISTORY)


def wrong_frame(records: Records) -> pd.DataFrame:
    """One row for each run and misclassified validation image; confidences are probabilities."""
    rows = [(*_norm_seed(record), *row) for record in records for row in record["wrong"]]
    return pd.DataFrame(rows, columns=WRONG)


def historical_frame() -> pd.DataFrame:
    """The historical run, epoch by epoch: one seed, 10,000 test images. Source: see the README."""
    return pd.read_csv(RECORDS / "historical_curves.csv")


def historical_last() -> pd.DataFrame:
    """The historical run's last epochs; index: norm."""
    return historical_frame().groupby("variant").last().rename_axis("norm")


def historical_ends(data: Dataset) -> pd.DataFrame | None:
    """Where the historical run ended, by norm; None where it was not validated on `data`."""
    if data.name != "mnist":
        return None
    return historical_last().reset_index()


def final_frame(records: Records) -> pd.DataFrame:
    """One row a variant: its last epoch over the seeds and, on MNIST, the historical run's.

    low, high: the t-interval over seeds; of one seed Wilson's interval over the images, which says nothing of another.
    """
    rows = [_final_row(norm, group) for norm, group in _by_norm(records).items()]
    final = pd.DataFrame(rows, columns=FINAL)
    if any(record["dataset"]["name"] != "mnist" for record in records):
        return final
    ends = historical_last()[["epoch", "val_accuracy", "val_loss"]].add_prefix("historical_")
    return final.merge(ends, how="left", on="norm")


def _final_row(norm: str, group: Records) -> dict:
    """One variant's row from its records."""
    last = pd.DataFrame([record["history"][-1] for record in group])
    seconds = [epoch["seconds"] for record in group for epoch in record["history"]]
    if len(group) > 1:
        low, high = np.clip(intervals.t_interval(last.val_accuracy), 0, 100)
    else:
        num_val = group[0]["dataset"]["num_val"]
        low, high = intervals.wilson_interval(last.val_correct.item(), num_val)
    return {
        **last.mean(), "norm": norm, "variant": VARIANTS[norm].title, "parameters": group[0]["num_parameters"],
        "n": len(group), "std": last.val_accuracy.std(), "low": low, "high": high,
        "errors": np.mean([len(record["wrong"]) for record in group]), "seconds_per_epoch": np.median(seconds)}


def shown_runs(records: Records) -> tuple[list[str], int]:
    """The variants and the seed whose errors are shown: the first that most variants finished."""
    runs = [_norm_seed(record) for record in records]
    seeds = [seed for _, seed in runs]
    shown = max(seeds, key=seeds.count)
    return [norm for norm, seed in runs if seed == shown], shown


def confusion_matrices(records: Records, labels: Tensor) -> dict[str, np.ndarray]:
    """For each variant how often a digit (row) was read as each digit (column), over its seeds."""
    all_right = np.diag(np.bincount(labels, minlength=NUM_CLASSES))
    matrices = {}
    for norm, group in _by_norm(records).items():
        matrix = len(group) * all_right
        for row in wrong_frame(group).itertuples():
            matrix[row.label, row.label] -= 1
            matrix[row.label, row.prediction] += 1
        matrices[norm] = matrix
    return matrices


def overlap_counts(wrong: pd.DataFrame, norms: Sequence[str], seed: int) -> pd.Series:
    """For each set of variants, how many images exactly these get wrong with one seed."""
    def who_is_wrong(group: pd.Series) -> tuple[str, ...]:
        return tuple(norm for norm in norms if norm in set(group))

    images = wrong[wrong.seed == seed].groupby("index").norm
    counts = Counter(images.agg(who_is_wrong))
    sets = [each for size in range(len(norms), 0, -1) for each in combinations(norms, size)]
    index = pd.Index(sets, tupleize_cols=False)
    return pd.Series([counts[each] for each in sets], index, dtype=int)


def pairs_frame(records: Records) -> pd.DataFrame:
    """Each pair of variants on the same images with the same seeds.

    only_a, only_b: images that one alone gets right, mean over the common seeds. difference: images that a gets right
    more than b, mean; half_width: of its t-interval; differences: seed by seed. p: of the paired t-test over seeds,
    with one seed of McNemar's exact test; mcnemar: that p, seed by seed; p_holm: p corrected for the number of pairs.
    """
    wrong = {}
    for record in records:
        wrong[_norm_seed(record)] = {row[0] for row in record["wrong"]}
    rows = []
    for a, b in combinations(VARIANTS, 2):
        seeds = [seed for norm, seed in wrong if norm == a and (b, seed) in wrong]
        if not seeds:
            continue
        only_a = [len(wrong[b, seed] - wrong[a, seed]) for seed in seeds]
        only_b = [len(wrong[a, seed] - wrong[b, seed]) for seed in seeds]
        differences = np.subtract(only_a, only_b)
        mcnemar = list(map(intervals.mcnemar_p, only_a, only_b))
        p = intervals.paired_p(differences, mcnemar) if len(seeds) > 1 else mcnemar[0]
        rows.append((a, b, len(seeds), np.mean(only_a), np.mean(only_b), differences.mean(),
                     intervals.half_width(differences), p, mcnemar, differences.tolist()))
    pairs = pd.DataFrame(rows, columns=PAIRS)
    return pairs.assign(p_holm=intervals.holm(list(pairs.p)))


def _norm_seed(record: Mapping) -> tuple[str, int]:
    return record["config"]["norm"], record["config"]["seed"]


def _by_norm(records: Records) -> dict[str, list[Mapping]]:
    """The records of each variant that has any, in the order of VARIANTS."""
    groups = {}
    for norm in VARIANTS:
        group = [record for record in records if record["config"]["norm"] == norm]
        if group:
            groups[norm] = group
    return groups
