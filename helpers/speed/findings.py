"""What the measurements say: medians, ratios, tables, sentences, and the files of the output folder."""

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
    """For each norm the median ratio of seconds, ordinary to ours (`gain`) and ours to the limit (`distance`).

    `least` and `most` are the gain's extremes. A slow minute cancels within a repetition.
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
        "seconds to 99 %": target.seconds.map("{:.1f}".format),
        "updates": target.updates.map("{:,}".format),
        "variant": target.norm.map(TITLES),
    }
    return pd.DataFrame(columns).set_index("variant")


# --- the same results? -------------------------------------------------------------------------


def same_frame(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Each path beside ours in float32, by norm ("all": together): means over pairs of runs.

    A pair has the same norm, seed and epochs. Accuracies `ours` and `theirs` are in percent, their
    `difference` in images, with the half width of its 95 % interval; `n` counts the pairs.
    runs: path, norm, seed, num_epochs, val_correct, num_val; None takes the recorded ones.
    """
    if runs is None:
        runs = pd.read_csv(RECORDS / "same_results.csv")
    ours = runs[runs.path == "ours"]
    pairs = runs.merge(ours, on=["norm", "seed", "num_epochs"], suffixes=("", "_ours"))
    pairs = pd.concat([pairs, pairs.assign(norm="all")])
    pairs["path"] = pd.Categorical(pairs.path, list(PATHS))  # without "ours" itself
    pairs["norm"] = pd.Categorical(pairs.norm, list(TITLES))
    pairs["ours"] = 100 * pairs.val_correct_ours / pairs.num_val
    pairs["theirs"] = 100 * pairs.val_correct / pairs.num_val
    pairs["difference"] = pairs.val_correct - pairs.val_correct_ours
    return pairs.groupby(["path", "num_epochs", "norm"], observed=True).agg(
        ours=("ours", "mean"),
        theirs=("theirs", "mean"),
        difference=("difference", "mean"),
        half_width=("difference", half_width),
        n=("seed", "size"),
    ).reset_index()


def same_table(same: pd.DataFrame) -> pd.DataFrame:
    """`same_frame` for readers."""
    columns = {
        "beside": same.path.map(PATHS).str.replace("`", ""),
        "variant": same.norm.map(TITLES),
        "epochs": same.num_epochs,
        "ours (%)": same.ours.map("{:.3f}".format),
        "the other (%)": same.theirs.map("{:.3f}".format),
        "the other − ours (images)": [_images(row) for row in same.itertuples()],
        "pairs of runs": same.n,
    }
    return pd.DataFrame(columns).set_index(["beside", "variant"])


def _images(row) -> str:
    return f"{row.difference:+.1f} ± {row.half_width:.1f}"


def same_findings(same: pd.DataFrame) -> list[str]:
    """A sentence for each path."""
    sentences = []
    for row in same[same.norm == "all"].itertuples():
        verdict = "within" if abs(row.difference) <= row.half_width else "more than"
        sentences.append(
            f"In {row.n} pairs of runs of {row.num_epochs} epochs, {PATHS[row.path]} gets "
            f"{_images(row)} images right beside ours in float32: {verdict} the noise of the seeds.")
    return sentences


# --- sentences and files -----------------------------------------------------------------------


def speed_findings(results: dict[str, pd.DataFrame], data: Dataset) -> list[str]:
    """The findings, each a sentence computed from the measurements."""
    seconds = median_frame(results["epochs"]).loc["all"]
    ratios = ratio_frame(results["epochs"]).loc["all"]
    ordinary, ours = results["memory"].megabytes
    sentences = [
        f"Three variants, one epoch each: {seconds.ours:.0f} s instead of {seconds.ordinary:.0f} s, "
        f"{ratios.gain:.1f} times as fast as the ordinary pipeline, on {num_cores()} cores "
        f"(medians; {ratios.least:.1f} to {ratios.most:.1f} times in single repetitions).",
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
    sentences += same_findings(same_frame())
    if data.name != "mnist":
        sentences.append(
            f"Measured on {data.title}, repeated to MNIST's size: the time of a batch does not "
            "depend on what is in it.")
    return sentences


def save_measurements(folder: Path, results: dict[str, pd.DataFrame], data: Dataset) -> None:
    """Writes `results.csv`, the seconds an epoch, then `summary.json`, everything."""
    epochs = results["epochs"].stack().rename("seconds").reset_index()
    write_atomically(folder / "results.csv", epochs.to_csv(index=False).encode())
    more = {}
    for (ratio, norm), value in ratio_frame(results["epochs"]).unstack().items():
        more[f"{norm}_{ratio}"] = value
    for name, frame in {**results, "epochs": epochs}.items():
        more[name] = json.loads(frame.to_json(orient="records"))
    findings = speed_findings(results, data)
    write_summary(folder, "How fast is the training?", data, findings, **more)
