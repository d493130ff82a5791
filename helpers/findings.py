"""The findings, as sentences computed from the results, and summary.json, which carries them.

A `*_reading` says under a figure what is seen in it. Nothing here is typed in that a run could contradict.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.config import VARIANTS, Study
from helpers.data import MEAN, STD, Dataset
from helpers.files import write_atomically
from helpers.intervals import LEVEL, half_width, prediction_half_width, wilson_interval
from helpers.records import publish_records
from helpers.results import compare_pairs, final_table, historical_table, history_table


def pair_sentence(pair, num_val: int) -> str:
    """What one row of `compare_pairs` says, in words."""
    a, b = VARIANTS[pair.a].short, VARIANTS[pair.b].short
    if pair.difference < 0:
        a, b = b, a
    difference, p = abs(pair.difference), p_text(pair.p_holm)
    if pair.n == 1:
        if difference == 0:
            return f"{a} and {b}: a tie; they get equally many of {num_val:,} images right (one seed)."
        verdict = ("a clear gap between these two networks, but one seed can't tell it from luck"
                   if pair.p_holm < 1 - LEVEL else "one seed can't tell them apart")
        return f"{a} gets {difference:.0f} of {num_val:,} images more right than {b} ({p}): {verdict}."
    if difference == 0:
        return f"{a} and {b}: a tie; they get equally many images right on average ({pair.n} seeds)."
    measured = f"by {difference:.1f} ± {pair.half_width:.1f} of {num_val:,} images ({p}, {pair.n} seeds)"
    if pair.p_holm < 1 - LEVEL:
        return f"{a} is better than {b} {measured}."
    return f"{a} and {b}: a tie; {a} leads {measured}."


def findings(records: Sequence[Mapping], study: Study, data: Dataset) -> list[str]:
    """The study's findings, most important first, each one sentence computed from the records."""
    final, pairs = final_table(records), compare_pairs(records)
    if final.empty:
        return ["No run finished, so there is nothing to report."]
    num_val, num_seeds = len(data.val_labels), int(final.n.max())
    best = final.loc[final.val_accuracy.idxmax()]
    clear = pairs[(pairs.p_holm < 1 - LEVEL) & (pairs.n > 1)]
    beaten = {pair.b if pair.difference > 0 else pair.a for pair in clear.itertuples()}
    unbeaten = [norm for norm in final.norm if norm not in beaten] or list(final.norm)
    if len(final) == 1:
        choice = f"On {data.title} {best.variant} alone was trained{' to the end' if len(study.norms) > 1 else ''}."
    elif num_seeds == 1:
        choice = f"On {data.title} one seed can't show which normalisation is best: run several before you choose."
    elif len(unbeaten) == 1:
        choice = f"On {data.title} choose {VARIANTS[unbeaten[0]].title}: no other variant reaches it."
    else:
        names = _and([VARIANTS[norm].short for norm in unbeaten])
        behind = [VARIANTS[norm].short for norm in final.norm if norm not in unbeaten]
        choice = (f"On {data.title} nothing shows a best normalisation: {names} are not told apart by "
                  f"{num_seeds} seeds and {num_val:,} images. Choose by cost"
                  + (f" between these; {behind[0]} is behind." if behind else "."))
    sentences, asked = [choice], len(study.norms) * len(study.seeds)
    if len(records) < asked:
        sentences.append(f"{asked - len(records)} of {asked} runs failed; what follows stands on the others.")
    scores = _and([f"{VARIANTS[row.norm].short} {row.val_accuracy:.2f} % ({row.low:.2f} to {row.high:.2f})"
                   for row in final.itertuples()])
    basis = ("one seed, interval from the images" if num_seeds == 1 else f"{num_seeds} seeds" if final.n.nunique() == 1
             else "the number of seeds differs, see the table")
    sentences.append(f"Validation accuracy on {data.title} after "
                     f"{_count(study.num_epochs, 'epoch')}: {scores} ({basis}).")
    sentences += [pair_sentence(pair, num_val) for pair in pairs.itertuples()]
    if len(final) > 1 and final.parameters.nunique() > 1:
        most, least = final.loc[final.parameters.idxmax()], final.loc[final.parameters.idxmin()]
        sentences.append(f"{VARIANTS[most.norm].short} learns {most.parameters:,} parameters, "
                         f"{most.parameters / least.parameters:.1f} times the {least.parameters:,} of "
                         f"{_and([VARIANTS[n].short for n in final.norm[final.parameters == least.parameters]])}.")
    return sentences + historical_findings(final, study, data)


def historical_findings(final: pd.DataFrame, study: Study, data: Dataset) -> list[str]:
    """What becomes of the historical run's conclusion; nothing where the data are not MNIST's test images."""
    if data.name != "mnist":
        return []
    sentences, ends = [], historical_table().groupby("variant").last()
    low, high = wilson_interval(int(ends.val_correct["layer"]), len(data.val_labels))
    if low <= ends.val_accuracy["group"] <= high:
        gap = int(ends.val_correct["group"] - ends.val_correct["layer"])
        sentences.append(f"The historical run preferred GroupNorm to LayerNorm for {gap} of {len(data.val_labels):,} "
                         f"images and one seed: noise, since LayerNorm's own interval was {low:.2f} to {high:.2f} %.")
    recipe, batch = study.training_recipe(), final[final.norm == "batch"]
    if len(batch) and recipe.l1_lambda < 0.01 and batch.low.item() > ends.val_accuracy["batch"]:
        sentences.append(
            f"L1 + BatchNorm ended at {ends.val_accuracy['batch']:.2f} % in the historical run, with λ = 0.01 on all "
            f"parameters; here, with λ = {recipe.l1_lambda:g} on {_TARGETS[recipe.l1_target]}, it ends at "
            f"{batch.val_accuracy.item():.2f} %.")
    return sentences


_TARGETS = {"all": "all parameters", "weights": "the convolution weights"}


def findings_markdown(records: Sequence[Mapping], failures: Sequence[str], study: Study, data: Dataset) -> str:
    """The notice about the data, what failed, and the findings as a list, for the notebook's "In brief"."""
    lines = [f"> **Notice.** {data.notice}", ""] if data.notice else []
    lines += [f"> **A run failed.** {failure}\n" for failure in failures]
    lines += [f"**{_count(len(records), 'run')}** ({_count(len(study.norms), 'variant')} × "
              f"{_count(len(study.seeds), 'seed')}) of {_count(study.num_epochs, 'epoch')}, recipe `{study.recipe}`, "
              f"on {data.title}: {len(data.train_labels):,} training and {len(data.val_labels):,} validation images.",
              ""]
    return "\n".join(lines + [f"- {finding}" for finding in findings(records, study, data)])


def training_report(records: Sequence[Mapping], failures: Sequence[str], study: Study, data: Dataset) -> str:
    """What was trained, on how much, and how long it took."""
    seconds = [row["seconds"] for record in records for row in record["history"]] or [0]
    lines = [f"**{_count(len(records), 'training run')}** of {_count(study.num_epochs, 'epoch')} on the "
             f"{len(data.train_labels):,} training images of {data.title}, validated on "
             f"{len(data.val_labels):,}: {sum(seconds) / 60:.1f} minutes "
             f"of training in all, {np.median(seconds):.1f} s an epoch (median)."]
    if study.reuse_records:
        lines.append("As asked, runs that are among the published records were taken from there, not trained.")
    return "\n\n".join(lines + [f"**Failed:** {failure}." for failure in failures])


def pixel_statistics(data: Dataset) -> str:
    """The data set in one sentence: sizes, and its pixels beside the constants used for normalising."""
    pixels = data.train_images.double().div(255)
    return (f"**{data.title}**: {len(data.train_labels):,} training and {len(data.val_labels):,} validation images. "
            f"The training pixels have mean {pixels.mean():.4f} and standard deviation {pixels.std():.4f} in [0, 1]; "
            f"all images are normalised with MNIST's {MEAN} and {STD}.")


def loss_reading(history: pd.DataFrame) -> str:
    """What the loss curves show: their lowest point and their end."""
    parts = []
    for norm, curve in _mean_curves(history, "val_loss").items():
        parts.append(f"{VARIANTS[norm].short} ends at {curve.iloc[-1]:.4f} nats (lowest: {curve.min():.4f} in epoch "
                     f"{curve.idxmin()})")
    return f"Validation loss{', mean over seeds' * (history.seed.nunique() > 1)}: {'; '.join(parts)}."


def accuracy_reading(history: pd.DataFrame) -> str:
    """What the accuracy curves show: when each variant gets within 0.1 points of its end, for good."""
    parts = []
    for norm, curve in _mean_curves(history, "val_accuracy").items():
        far = curve.index[(curve - curve.iloc[-1]).abs() > 0.1]
        settled = far.max() + 1 if len(far) else curve.index[0]
        parts.append(f"{VARIANTS[norm].short} ends at {curve.iloc[-1]:.2f} %"
                     + (f" and stays within 0.1 points of that from epoch {settled} on"
                        if settled < curve.index[-1] else ""))
    return f"{'; '.join(parts)}."


def historical_reading(history: pd.DataFrame, without_l1: pd.DataFrame | None = None) -> str:
    """Whether the historical run ends where one further seed of these runs would, for each variant; on MNIST alone.

    without_l1: the histories of the same BatchNorm without its penalty; what this changes, is told too.
    """
    if set(history.dataset) != {"mnist"}:
        return "The historical run was validated on MNIST's test images: these runs can't stand beside it."
    parts, historical = [], historical_table().set_index(["variant", "epoch"]).val_accuracy
    ends_of = {norm: mine[mine.epoch == historical[norm].index.max()].val_accuracy.tolist()  # after as many epochs
               for norm, mine in history.groupby("norm", sort=False)}
    checks = sum(len(ends) > 1 for ends in ends_of.values())
    for norm, ends in ends_of.items():
        old = historical[norm]
        if not ends:
            continue
        here, half = float(np.mean(ends)), prediction_half_width(ends, max(1, checks))
        verdict = "inside" if abs(old.iloc[-1] - here) <= half else "outside"
        parts.append(f"{VARIANTS[norm].short} {old.iloc[-1]:.2f} % there, {here:.2f} % here"
                     + f" ({max(0.0, here - half):.2f} to {min(100.0, here + half):.2f}: {verdict})" * (len(ends) > 1))
    if not parts:
        return "These runs are too short to stand beside the historical run's end."
    together = f", all {checks} at once," if checks > 1 else ""
    return ("At the historical run's last epoch: " + "; ".join(parts) + "."
            + f" In brackets the range in which one further seed ends{together} 95 times in 100." * bool(checks)
            + _without_penalty(history, without_l1))


def _without_penalty(history: pd.DataFrame, without_l1: pd.DataFrame | None) -> str:
    """What the penalty of the historical recipe costs, seed by seed, at the historical run's last epoch."""
    if without_l1 is None or not len(without_l1):
        return ""
    last = historical_table().query("variant == 'batch'").epoch.max()
    with_l1, free = (frame[(frame.norm == "batch") & (frame.epoch == last)].set_index("seed").val_accuracy
                     for frame in (history, without_l1))
    cost = (free - with_l1).dropna()
    if not len(cost):
        return ""
    return (f" Without its penalty, all else as it was, {VARIANTS['batch'].short.removeprefix('L1 + ')} is at "
            f"{free[cost.index].mean():.2f} % in epoch {last} instead of {with_l1[cost.index].mean():.2f} %: the "
            f"penalty cost {in_words(list(cost))} ({_count(len(cost), 'seed')}).")


def in_words(differences: Sequence[float], unit: str = "points", sign: str = "") -> str:
    """Differences over seeds: mean and interval from three seeds on, each seed's with fewer.

    unit: "points" (of percent, two decimals) or "images". sign: "+" writes that one too.
    """
    digits, several = 1 if unit == "images" else 2, len(differences) > 2
    shown = [np.mean(differences)] if several else differences
    text = " and ".join(f"{value:{sign}.{digits}f}" if round(value, digits) else f"{0:.{digits}f}" for value in shown)
    return text + f" ± {half_width(differences):.{digits}f}" * several + f" {unit}"


def confusion_reading(matrices: Mapping[str, np.ndarray], num_seeds: int = 1) -> str:
    """The most frequent confusion of each variant, all seeds together."""
    parts = []
    for norm, matrix in matrices.items():
        errors = matrix - np.diag(np.diag(matrix))
        true, predicted = np.unravel_index(errors.argmax(), errors.shape)
        parts.append(f"{VARIANTS[norm].short} most often reads {true} as {predicted} ({errors.max()} of its "
                     f"{_count(errors.sum(), 'error')})" if errors.any() else f"{VARIANTS[norm].short} makes no error")
    return f"Summed over {num_seeds} seeds: " * (num_seeds > 1) + f"{'; '.join(parts)}."


def overlap_reading(counts: pd.Series) -> str:
    """How many errors the variants share."""
    total, sizes = int(counts.sum()), {key: len(key) for key in counts.index}
    most = max(sizes.values())
    if most == 1 or total == 0:
        return f"{_count(total, 'image')} misclassified."
    together = int(sum(counts[key] for key in counts.index if sizes[key] == most))
    alone = int(sum(counts[key] for key in counts.index if sizes[key] == 1))
    return (f"At least one variant gets {_count(total, 'image')} wrong: {together} of them wrong for "
            f"{'both' if most == 2 else f'all {most}'} ({100 * together / total:.0f} %), {alone} for one alone "
            f"({100 * alone / total:.0f} %).")


def summary(records: Sequence[Mapping], failures: Sequence[str], study: Study, data: Dataset) -> dict:
    """What `summary.json` holds; written last, so that its presence means success."""
    final = final_table(records)
    return {
        "title": f"Three normalisations on {data.title}",
        "dataset": data.name, "dataset_title": data.title, "fingerprint": data.fingerprint,
        "num_train": len(data.train_labels), "num_val": len(data.val_labels),
        "recipe": study.recipe, "seeds": list(study.seeds), "num_epochs": study.num_epochs,
        "num_runs": len(records), "failures": list(failures), "findings": findings(records, study, data),
        "variants": [{key: None if isinstance(value, float) and np.isnan(value) else value
                      for key, value in row.items()} for row in final.astype(object).to_dict("records")],
        "runs": [{"run_id": record["run_id"], "seconds": sum(row["seconds"] for row in record["history"])}
                 for record in records],
        "environment": records[0]["environment"] if records else {},
    }


def save_results(folder: Path, records: Sequence[Mapping], failures: Sequence[str], study: Study,
                 data: Dataset) -> None:
    """Writes `results.csv`, `records/mnist_normalization.jsonl`, then `summary.json`, into `folder`."""
    publish_records(records, "mnist_normalization", folder / "records")
    write_atomically(folder / "results.csv", history_table(records).to_csv(index=False).encode())
    content = json.dumps(summary(records, failures, study, data), indent=1, ensure_ascii=False)
    write_atomically(folder / "summary.json", content.encode())


def _mean_curves(history: pd.DataFrame, column: str) -> dict[str, pd.Series]:
    """For each variant the mean over seeds, by epoch."""
    return {norm: history[history.norm == norm].groupby("epoch")[column].mean()
            for norm in VARIANTS if norm in set(history.norm)}


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _and(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def p_text(p: float) -> str:
    """A p-value as it stands in a sentence."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
