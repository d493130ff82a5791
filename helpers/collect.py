"""Many studies in one table, one figure and one page: what varied, and what came out.

    python -m helpers.collect out-*             into runs/collected/: collected.csv, collected.svg, collected.html

Each folder is an output folder of the main notebook. From its results.csv the last epoch of each run is taken.
"""

import argparse
import sys
from pathlib import Path

from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pandas import DataFrame, concat, read_csv

from helpers.config import VARIANTS, OneLineError, ParameterError
from helpers.files import writable_folder, write_atomically
from helpers.plots.style import LOOKS, blank, captioned, render, style
from helpers.report.page import to_html
from helpers.results.frames import IDENTITY
from helpers.results.intervals import half_width
from helpers.results.words import join_words, plural


def read_runs(folders: list[Path]) -> DataFrame:
    """The last epoch of each run of these output folders, once however often it is there. Raises ParameterError."""
    frames = []
    for folder in folders:
        path = folder / "results.csv"
        if not path.is_file():
            raise ParameterError(f"{folder}: no results.csv; takes output folders of the main notebook")
        frame = read_csv(path)
        missing = [name for name in [*IDENTITY, "epoch", "val_accuracy"] if name not in frame]
        if missing:
            raise ParameterError(f"{path}: has no column {missing[0]}; it is no table of the main notebook")
        frames.append(frame)
    runs = concat(frames).drop_duplicates([*IDENTITY, "epoch"])
    return runs[runs.epoch == runs.num_epochs].reset_index(drop=True)


def what_varies(runs: DataFrame) -> list[str]:
    """The parameters that differ between runs of one variant; seeds are repetitions."""
    numbers = runs.groupby("norm")[IDENTITY].nunique(dropna=False).max()
    return [name for name in IDENTITY if name not in ("norm", "seed") and numbers[name] > 1]


def settings(runs: DataFrame) -> dict[str, DataFrame]:
    """The runs of each variant and setting, by a label that names what varied."""
    groups = {}
    for norm, variant in VARIANTS.items():
        own = runs[runs.norm == norm]
        names = what_varies(own)
        for values, group in own.groupby(names or ["norm"], dropna=False):
            label = [variant.short]
            for name, value in zip(names, values, strict=False):
                label.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
            groups[", ".join(label)] = group
    return groups


def collected_table(runs: DataFrame) -> DataFrame:
    """A row for each variant and setting: seeds, accuracy in percent with half of its 95 % interval, loss in nats."""
    rows = {}
    for label, group in settings(runs).items():
        several = len(group) > 1
        rows[label] = {
            "seeds": len(group), "accuracy (%)": f"{group.val_accuracy.mean():.2f}",
            "± (95 %)": f"{half_width(group.val_accuracy):.2f}" if several else "one seed",
            "loss (nats)": f"{group.val_loss.mean():.4f}"}
    return DataFrame(rows).T.rename_axis("setting")


@style()
def plot_collected(runs: DataFrame) -> Figure:
    """A row for each variant and setting: its seeds, their mean and its 95 % interval."""
    groups = settings(runs)
    height = 0.6 + 0.5 * len(groups)
    ax = blank(height).add_axes((0.04, 0.5 / height, 0.92, 1 - 0.52 / height))
    facts = []
    for row, (label, group) in enumerate(groups.items()):
        look = LOOKS[group.norm.iloc[0]]
        mean = group.val_accuracy.mean()
        half = half_width(group.val_accuracy) if len(group) > 1 else 0
        ax.plot(group.val_accuracy, [row] * len(group), "o", color=look.colour, alpha=0.35, markersize=5)
        ax.errorbar(mean, row, xerr=half, color=look.colour, fmt=look.marker, capsize=4)
        facts.append(f"{label}: {mean:.2f} %")
        ax.text(0, row - 0.35, facts[-1], va="center", transform=ax.get_yaxis_transform())
    ax.set(ylim=(len(groups) - 0.6, -0.7), yticks=[], xlabel="validation accuracy (%)")
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, 0), min(high, 100))
    title = f"{plural(len(runs), 'run')}, {plural(len(groups), 'setting')}"
    subtitle = "Validation accuracy after the last epoch. Dots: seeds; marks: mean and its 95 % interval over seeds"
    return captioned(ax.figure, "svg", title, subtitle, *facts)


def collect(folders: list[Path], folder: Path) -> str:
    """Writes table, figure and page into `folder`; returns what varied, in words."""
    runs = read_runs(folders)
    varied = what_varies(runs)
    said = f"What varied: {join_words(varied)}." if varied else "Nothing varied but the seeds."
    figure = plot_collected(runs)
    svg = render(figure, "svg")
    outputs = [
        new_output("display_data", {"image/svg+xml": svg.decode()}, metadata={"image/svg+xml": {"alt": figure.alt}}),
        new_output("display_data", {"text/html": collected_table(runs).to_html()})]
    sources = "\n".join(f"- {path.name}" for path in folders)
    page = new_notebook(cells=[
        new_markdown_cell(f"# {plural(len(runs), 'run')} of {plural(len(folders), 'output folder')}\n\n{said}"),
        new_code_cell("", outputs=outputs), new_markdown_cell(f"## Where from\n\n{sources}")])
    write_atomically(folder / "collected.csv", runs.to_csv(index=False).encode())
    write_atomically(folder / "collected.svg", svg)
    write_atomically(folder / "collected.html", to_html(page, folder / "collected.html").encode())
    return said


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    description, _, epilog = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser("python -m helpers.collect", description=description, epilog=epilog,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="output folders of the main notebook")
    parser.add_argument("--output-dir", default="runs/collected", help="default: runs/collected")
    options = parser.parse_args(arguments)
    try:
        folder = writable_folder(options.output_dir, "output_dir")
        said = collect(options.folders, folder)
    except OneLineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{folder / 'collected.html'}: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
