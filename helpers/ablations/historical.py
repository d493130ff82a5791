"""Does the historical run replicate, and what did its penalty cost?"""

from matplotlib.figure import Figure
from pandas import DataFrame

from helpers.ablations import luck
from helpers.plots.curves import plot_beside_historical
from helpers.results.frames import historical_frame, history_frame
from helpers.results.readings import historical_reading

runs = luck.runs  # with the recipe `original`
frame = history_frame
finding = historical_reading


def plot(frame: DataFrame, dataset_title: str, without_l1: DataFrame) -> Figure:
    """These runs, BatchNorm without its penalty, and the historical run; for MNIST alone."""
    return plot_beside_historical(frame, historical_frame(), dataset_title, without_l1)
