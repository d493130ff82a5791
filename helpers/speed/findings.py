"""What the measurements say: medians, ratios, tables, sentences, files."""

import json
from pathlib import Path

from pandas import DataFrame, concat, read_csv

from helpers.config import VARIANTS
from helpers.data import Dataset
from helpers.files import RECORDS, write_atomically
from helpers.machine import num_cores
from helpers.results.findings import write_summary
from helpers.results.intervals import half_width

SHORT = {norm: variant.short for norm, variant in VARIANTS.items()} | {"all": "all three"}
TITLES = {norm: variant.title for norm, variant in VARIANTS.items()} | {"all": "all"}
SAME = RECORDS / "same_results.csv"
# What ours in float32 is compared with.
PATHS = {"plain": "the plain path of `torch.nn` layers", "bfloat16": "training in bfloat16"}


def median_frame(epochs: DataFrame) -> DataFrame:
    """Medians for each norm: seconds an epoch of each pipeline, `gain` and `distance`.

    `ordinary` has the number of loaders that is faster for all three. `gain` is ordinary to ours, `distance` ours
    to the limit: ratios of these medians, so that bars, table and sentences agree. `least` and `most`: the gain
    within single repetitions.
    """
    fastest = epochs.filter(like="ordinary").loc[:, "all", :].median().idxmin()
    epochs = epochs.assign(ordinary=epochs[fastest])
    medians = epochs.groupby("norm", sort=False).median()
    single = (epochs.ordinary / epochs.ours).groupby("norm", sort=False)
    return medians.assign(gain=medians.ordinary / medians.ours, distance=medians.ours / medians.limit,
                          least=single.min(), most=single.max())


def epochs_table(epochs: DataFrame) -> DataFrame:
    """Seconds an epoch of all pipelines, and their ratios."""
    medians = median_frame(epochs)
    table = medians[epochs.columns].add_suffix(" (s)")
    table["ordinary : ours"] = medians.gain
    table["ours : limit"] = medians.distance
    return table.map("{:.1f}".format).rename(SHORT).rename_axis("an epoch")


def memory_table(memory: DataFrame) -> DataFrame:
    """Peak memory of one training process."""
    megabytes = memory.set_index("pipeline").megabytes.map("{:.0f}".format)
    return megabytes.to_frame("peak memory above imports and data (MB)")


def target_table(target: DataFrame) -> DataFrame:
    """The time to 99 % validation accuracy; no rows without MNIST."""
    seconds = target.seconds.map("{:.1f}".format)
    updates = target.updates.map("{:,}".format)
    table = DataFrame({"seconds to 99 %": seconds, "updates": updates})
    return table.set_index(target.norm.map(TITLES).rename("variant"))


def same_frame(runs: DataFrame) -> DataFrame:
    """Each path beside ours in float32, by norm ("all": together): means over `n` pairs of runs.

    A pair has the same norm, seed and epochs. `difference` is in images, path minus ours, with the
    half width of its 95 % interval. runs: path, norm, seed, num_epochs, val_correct, num_val.
    """
    ours = runs[runs.path == "ours"]
    pairs = runs[runs.path != "ours"].merge(ours, on=["norm", "seed", "num_epochs"], suffixes=("", "_ours"))
    # backwards: the plain path comes first
    pairs = concat([pairs, pairs.assign(norm="all")]).sort_values("path", ascending=False, kind="stable")
    pairs["difference"] = pairs.val_correct - pairs.val_correct_ours
    groups = pairs.groupby(["path", "num_epochs", "norm"], sort=False)
    means = groups.mean(numeric_only=True)
    means["half_width"] = groups.difference.agg(half_width)
    means["n"] = groups.size()
    return means.reset_index()


def same_table(same: DataFrame) -> DataFrame:
    """`same_frame` for readers."""
    percent = 100 / same.num_val
    half_widths = same.half_width.map(" ± {:.1f}".format)
    return DataFrame({
        "beside": same.path.map(PATHS).str.replace("`", ""),
        "variant": same.norm.map(TITLES),
        "epochs": same.num_epochs,
        "ours (%)": (percent * same.val_correct_ours).map("{:.3f}".format),
        "the other (%)": (percent * same.val_correct).map("{:.3f}".format),
        "the other − ours (images)": same.difference.map("{:+.1f}".format) + half_widths,
        "pairs of runs": same.n,
    }).set_index(["beside", "variant"])


def same_findings(same: DataFrame) -> list[str]:
    """A sentence for each path, from `same_frame`."""
    sentences = []
    for row in same[same.norm == "all"].itertuples():
        verdict = "within" if abs(row.difference) <= row.half_width else "more than"
        sentences.append(
            f"In {row.n} pairs of runs of {row.num_epochs} epochs, {PATHS[row.path]} gets "
            f"{row.difference:+.1f} ± {row.half_width:.1f} images right beside ours in float32: "
            f"{verdict} the noise of the seeds.")
    return sentences


def speed_findings(results: dict[str, DataFrame], data: Dataset) -> list[str]:
    """The findings, each a sentence computed from the measurements."""
    epochs = results["epochs"]
    seconds = median_frame(epochs).loc["all"]
    sentences = [
        f"Three variants, one epoch each: {seconds.ours:.0f} s instead of {seconds.ordinary:.0f} s, "
        f"{seconds.gain:.1f} times as fast as the ordinary pipeline, on {num_cores()} cores (medians; "
        f"{seconds.least:.1f} to {seconds.most:.1f} times in single repetitions).",
        f"That is {seconds.distance:.1f} times the limit of {seconds.limit:.0f} s.",
    ]
    if "ours, bfloat16" in epochs:
        seconds = median_frame(epochs.assign(ours=epochs["ours, bfloat16"])).loc["all"]
        sentences.append(
            f"With bfloat16 activations, which this processor has instructions for, it takes "
            f"{seconds.ours:.0f} s: {seconds.gain:.1f} times as fast as the ordinary pipeline, "
            f"{seconds.distance:.1f} times the limit.")
    ordinary, ours = results["memory"].megabytes
    sentences.append(f"One training process needs {ours:.0f} MB at most beside its imports and data; "
                     f"the ordinary one {ordinary:.0f} MB.")
    reached = results["target"].dropna()
    if len(reached):
        times = [f"{row.seconds:.0f} s ({SHORT[row.norm]})" for row in reached.itertuples()]
        sentences.append(
            f"99 % validation accuracy is reached after {', '.join(times)} of training on one thread.")
    sentences += same_findings(same_frame(read_csv(SAME)))
    if data.name != "mnist":
        sentences.append(f"Measured on {data.title}, repeated to MNIST's size: "
                         "the time of a batch does not depend on what is in it.")
    return sentences


def save_measurements(folder: Path, results: dict[str, DataFrame], data: Dataset) -> None:
    """Writes `results.csv`, the seconds an epoch, then `summary.json`, everything."""
    tables = dict(results)
    for name, column, value in (("epochs", "pipeline", "seconds"), ("profile", "kind", "milliseconds")):
        long = results[name].melt(var_name=column, value_name=value, ignore_index=False)
        tables[name] = long.reset_index()
    write_atomically(folder / "results.csv", tables["epochs"].to_csv(index=False).encode())
    ratios = median_frame(results["epochs"])[["gain", "least", "most", "distance"]].unstack()
    more = {f"{norm}_{ratio}": value for (ratio, norm), value in ratios.items()}
    for name, table in tables.items():
        more[name] = json.loads(table.to_json(orient="records"))
    write_summary(folder, "How fast is the training?", data, speed_findings(results, data), **more)
