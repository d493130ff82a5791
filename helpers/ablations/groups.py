"""How many groups should GroupNorm have?"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from helpers.ablations import common
from helpers.config import Recipe, RunConfig
from helpers.plots.style import style
from helpers.results.frames import Records
from helpers.results.words import compare_in_words


def runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """1, 2 and 4 groups, and as many as channels."""
    own = recipe.without_l1()
    cases = [("group", 1), ("group", 2), ("group", 4), ("instance", 0)]
    return [common.ablation_config(norm, seed, num_epochs, own, groups) for norm, groups in cases for seed in seeds]


def frame(records: Records) -> pd.DataFrame:
    """norm, seed, val_accuracy, val_loss, groups ("1", "2", "4" or "C")."""
    return common.last_epochs(records, ["groups"])


def finding(frame: pd.DataFrame, labels: Tensor) -> str:
    """How much the number of groups matters until each channel is its own. labels: of the validation images."""
    accuracies = common.by_seed(frame, "groups")
    names = {"1": "1 group", "4": "4 groups"}  # beside the study's two
    others = {name: accuracies[groups] for groups, name in names.items() if groups in accuracies}
    if "2" not in accuracies or not others:
        return common.TOO_FEW
    changes = {name: accuracy - accuracies["2"] for name, accuracy in others.items()}
    sentence = f"Beside the study's 2 groups: {compare_in_words(changes)}."
    if "C" in accuracies:
        collapsed = accuracies["C"].dropna()
        levels = sorted({f"{accuracy:.2f} %" for accuracy in collapsed})
        sentence += f" With G = C it ends at {' or '.join(levels)}"
        blind = common.is_blind(collapsed, labels)
        sentence += ", the share of one digit: all images get the same answer." if blind else "."
    return sentence


@style()
def plot(frame: pd.DataFrame, dataset_title: str) -> Figure:
    """Accuracy by the number of groups, seed by seed."""
    return common.plot_rows(frame.assign(row="G = " + frame.groups), "How many groups?", dataset_title)
