"""What the measurements say: medians, ratios, tables, sentences, files."""

import json
from pathlib import Path

import pandas as pd

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


def with_ordinary(epochs: pd.DataFrame) -> pd.DataFrame:
    """`epochs` with the column "ordinary": the number of loaders that is faster for all three."""
    medians = epochs.filter(like="ordinary").loc[:, "all", :].median()
    return epochs.assign(ordinary=epochs[medians.idxmin()])


def median_frame(epochs: pd.DataFrame) -> pd.DataFrame:
    """Median seconds an epoch: a row a norm, a column a pipeline."""
    return with_ordinary(epochs).groupby("norm", sort=False).median()


def ratio_frame(epochs: pd.DataFrame, ours: str = "ours") -> pd.DataFrame:
    """For each norm the median `gain`, ordinary to ours, and `distance`, ours to the limit.

    They are ratios of seconds within a repetition, so that a slow minute cancels. `least` and
    `most` are the gain's extremes.
    """
    epochs = with_ordinary(epochs)
    gain = (epochs.ordinary / epochs[ours]).groupby("norm", sort=False)
    distance = (epochs[ours] / epochs.limit).groupby("norm")
    return gain.agg(gain="median", least="min", most="max").assign(distance=distance.median())


def epochs_table(epochs: pd.DataFrame) -> pd.DataFrame:
    """Seconds an epoch of all pipelines, and their ratios."""
    table = median_frame(epochs)[epochs.columns].add_suffix(" (s)")
    ratios = ratio_frame(epochs)
    table["ordinary : ours"] = ratios.gain
    table["ours : limit"] = ratios.distance
    return table.map("{:.1f}".format).rename(SHORT).rename_axis("an epoch")


def memory_table(memory: pd.DataFrame) -> pd.DataFrame:
    """Peak memory of one training process."""
    megabytes = memory.set_index("pipeline").megabytes.map("{:.0f}".format)
    return megabytes.to_frame("peak memory above imports and data (MB)")


def target_table(target: pd.DataFrame) -> pd.DataFrame:
    """The time to 99 % validation accuracy; no rows without MNIST."""
    columns = {
        "variant": target.norm.map(TITLES),
        "seconds to 99 %": target.seconds.map("{:.1f}".format),
        "updates": target.updates.map("{:,}".format),
    }
    return pd.DataFrame(columns).set_index("variant")


# --- the same results? -------------------------------------------------------------------------


def same_frame(runs: pd.DataFrame) -> pd.DataFrame:
    """Each path beside ours in float32, by norm ("all": together): means over `n` pairs of runs.

    A pair has the same norm, seed and epochs. `difference` is in images, path minus ours, with the
    half width of its 95 % interval. runs: path, norm, seed, num_epochs, val_correct, num_val.
    """
    ours = runs[runs.path == "ours"]
    pairs = runs.merge(ours, on=["norm", "seed", "num_epochs", "num_val"], suffixes=("", "_ours"))
    pairs = pairs[pairs.path != "ours"]
    pairs = pd.concat([pairs, pairs.assign(norm="all")])
    pairs["path"] = pd.Categorical(pairs.path, list(PATHS))  # in this order
    pairs["norm"] = pd.Categorical(pairs.norm, list(TITLES))
    pairs["difference"] = pairs.val_correct - pairs.val_correct_ours
    groups = pairs.groupby(["path", "num_epochs", "norm"], observed=True)
    means = groups.mean(numeric_only=True)
    means["half_width"] = groups.difference.agg(half_width)
    means["n"] = groups.size()
    return means.reset_index()


def same_table(same: pd.DataFrame) -> pd.DataFrame:
    """`same_frame` for readers."""
    percent = 100 / same.num_val
    columns = {
        "beside": same.path.map(PATHS).str.replace("`", ""),
        "variant": same.norm.map(TITLES),
        "epochs": same.num_epochs,
        "ours (%)": (percent * same.val_correct_ours).map("{:.3f}".format),
        "the other (%)": (percent * same.val_correct).map("{:.3f}".format),
        "the other − ours (images)": [_images(row) for row in same.itertuples()],
        "pairs of runs": same.n,
    }
    return pd.DataFrame(columns).set_index(["beside", "variant"])


def _images(row) -> str:
    return f"{row.difference:+.1f} ± {row.half_width:.1f}"


def same_findings(same: pd.DataFrame) -> list[str]:
    """A sentence for each path, from `same_frame`."""
    sentences = []
    for row in same[same.norm == "all"].itertuples():
        verdict = "within" if abs(row.difference) <= row.half_width else "more than"
        sentences.append(
            f"In {row.n} pairs of runs of {row.num_epochs} epochs, {PATHS[row.path]} gets "
            f"{_images(row)} images right beside ours in float32: {verdict} the noise of the "
            "seeds.")
    return sentences


# --- sentences and files -----------------------------------------------------------------------


def speed_findings(results: dict[str, pd.DataFrame], data: Dataset) -> list[str]:
    """The findings, each a sentence computed from the measurements."""
    seconds = median_frame(results["epochs"]).loc["all"]
    ratios = ratio_frame(results["epochs"]).loc["all"]
    ordinary, ours = results["memory"].megabytes
    sentences = [
        f"Three variants, one epoch each: {seconds.ours:.0f} s instead of "
        f"{seconds.ordinary:.0f} s, {ratios.gain:.1f} times as fast as the ordinary pipeline, "
        f"on {num_cores()} cores (medians; {ratios.least:.1f} to {ratios.most:.1f} times in "
        "single repetitions).",
        f"That is {ratios.distance:.1f} times the limit of {seconds.limit:.0f} s.",
        f"One training process needs {ours:.0f} MB at most beside its imports and data; the "
        f"ordinary one {ordinary:.0f} MB.",
    ]
    if "ours, bfloat16" in seconds:
        ratios = ratio_frame(results["epochs"], "ours, bfloat16").loc["all"]
        sentences.insert(2, (
            "With bfloat16 activations, which this processor has instructions for, it takes "
            f"{seconds['ours, bfloat16']:.0f} s: {ratios.gain:.1f} times as fast as the ordinary "
            f"pipeline, {ratios.distance:.1f} times the limit."))
    reached = results["target"].dropna()
    if len(reached):
        times = [f"{row.seconds:.0f} s ({SHORT[row.norm]})" for row in reached.itertuples()]
        sentences.append(
            f"99 % validation accuracy is reached after {', '.join(times)} of training on one "
            "thread.")
    sentences += same_findings(same_frame(pd.read_csv(SAME)))
    if data.name != "mnist":
        sentences.append(
            f"Measured on {data.title}, repeated to MNIST's size: the time of a batch does not "
            "depend on what is in it.")
    return sentences


def save_measurements(folder: Path, results: dict[str, pd.DataFrame], data: Dataset) -> None:
    """Writes `results.csv`, the seconds an epoch, then `summary.json`, everything."""
    tables = {
        **results,
        "epochs": _long(results["epochs"], "pipeline", "seconds"),
        "profile": _long(results["profile"], "kind", "milliseconds"),
    }
    write_atomically(folder / "results.csv", tables["epochs"].to_csv(index=False).encode())
    ratios = ratio_frame(results["epochs"]).unstack()
    more = {f"{norm}_{ratio}": value for (ratio, norm), value in ratios.items()}
    for name, table in tables.items():
        more[name] = json.loads(table.to_json(orient="records"))
    findings = speed_findings(results, data)
    write_summary(folder, "How fast is the training?", data, findings, **more)


def _long(frame: pd.DataFrame, column: str, value: str) -> pd.DataFrame:
    return frame.melt(var_name=column, value_name=value, ignore_index=False).reset_index()
