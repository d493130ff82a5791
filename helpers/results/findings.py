"""The findings, as sentences computed from the results, and summary.json, which carries them.

Nothing here is typed in that a run could contradict.
"""

from collections.abc import Sequence
from pathlib import Path

from pandas import DataFrame

from helpers.config import TARGET_NAMES, VARIANTS, Study
from helpers.data import Dataset
from helpers.files import write_atomically, write_json
from helpers.machine import environment
from helpers.results import frames
from helpers.results.frames import Records
from helpers.results.intervals import LEVEL, wilson_interval
from helpers.results.words import join_words, p_text, plural
from helpers.runs.store import publish_records


def pair_sentence(pair, num_val: int) -> str:
    """What one row of `pairs_frame` says; num_val: how many images there are."""
    a = VARIANTS[pair.a].short
    b = VARIANTS[pair.b].short
    if pair.difference == 0:
        right = f"images right on average ({pair.n} seeds)"
        if pair.n == 1:
            right = f"of {num_val:,} images right (one seed)"
        return f"{a} and {b}: a tie; they get equally many {right}."
    if pair.difference < 0:
        a, b = b, a
    more = abs(pair.difference)
    clear = pair.p_holm < 1 - LEVEL
    p = p_text(pair.p_holm)
    if pair.n == 1:
        verdict = "one seed can't tell them apart"
        if clear:
            verdict = "a clear gap between these two networks, but one seed can't tell it from luck"
        return f"{a} gets {more:.0f} of {num_val:,} images more right than {b} ({p}): {verdict}."
    lead = f"by {more:.1f} ± {pair.half_width:.1f} of {num_val:,} images ({p}, {pair.n} seeds)."
    return f"{a} is better than {b} {lead}" if clear else f"{a} and {b}: a tie; {a} leads {lead}"


def findings(records: Records, study: Study, data: Dataset) -> list[str]:
    """The study's findings, most important first, each one sentence computed from the records."""
    final = frames.final_frame(records)
    if final.empty:
        return ["No run finished, so there is nothing to report."]
    pairs = frames.pairs_frame(records)
    num_val = len(data.val_labels)
    sentences = [f"On {data.title} {_choice(final, pairs, study, num_val)}."]
    num_runs = len(study.norms) * len(study.seeds)
    failed = num_runs - len(records)
    if failed > 0:
        sentences.append(f"{failed} of {num_runs} runs failed; what follows stands on the others.")
    basis = f"{final.n.max()} seeds"
    if final.n.nunique() > 1:
        basis = "the number of seeds differs, see the table"
    elif final.n[0] == 1:
        basis = "one seed, interval from the images"
    scores = [f"{VARIANTS[row.norm].short} {row.val_accuracy:.2f} % ({row.low:.2f} to {row.high:.2f})"
              for row in final.itertuples()]
    sentences.append(f"Validation accuracy on {data.title} after {plural(study.num_epochs, 'epoch')}: "
                     f"{join_words(scores)} ({basis}).")
    sentences += [pair_sentence(pair, num_val) for pair in pairs.itertuples()]
    names = final.groupby("parameters").norm.agg(_names)
    least, most = names.index[[0, -1]]
    if least < most:
        sentences.append(f"{names[most]} learns {most:,} parameters, {most / least:.1f} times the "
                         f"{least:,} of {names[least]}.")
    return sentences + historical_findings(final, study, data)


def _choice(final: DataFrame, pairs: DataFrame, study: Study, num_val: int) -> str:
    """Which normalisation to choose."""
    num_seeds = final.n.max()
    if len(final) == 1:
        return f"{final.variant[0]} alone was trained{' to the end' if len(study.norms) > 1 else ''}"
    if num_seeds == 1:
        return "one seed can't show which normalisation is best: run several before you choose"
    clear = pairs[(pairs.p_holm < 1 - LEVEL) & (pairs.n > 1)]
    beaten = final.norm.isin(clear.b.where(clear.difference > 0, clear.a))
    if beaten.all():
        beaten = ~beaten
    best = final[~beaten]
    if len(best) == 1:
        return f"choose {best.variant.item()}: no other variant reaches it"
    behind = f" between these; {_names(final.norm[beaten])} is behind" if beaten.any() else ""
    return (f"nothing shows a best normalisation: {_names(best.norm)} are not told apart by {num_seeds} seeds "
            f"and {num_val:,} images. Choose by cost{behind}")


def _names(norms: Sequence[str]) -> str:
    return join_words([VARIANTS[norm].short for norm in norms])


def historical_findings(final: DataFrame, study: Study, data: Dataset) -> list[str]:
    """What becomes of the historical run's conclusions; none where `data` are not its images."""
    ends = frames.historical_ends(data)
    if ends is None:
        return []
    num_val = len(data.val_labels)
    batch, group, layer = ends.itertuples()
    low, high = wilson_interval(layer.val_correct, num_val)
    gap = group.val_correct - layer.val_correct
    sentences = [f"The historical run preferred GroupNorm to LayerNorm for {gap} of {num_val:,} images and one "
                 f"seed: noise, since LayerNorm's own interval was {low:.2f} to {high:.2f} %."]
    recipe = study.training_recipe()
    for row in final[final.norm == "batch"].itertuples():
        if recipe.l1_lambda < 0.01 and row.low > batch.val_accuracy:
            sentences.append(
                f"L1 + BatchNorm ended at {batch.val_accuracy:.2f} % in the historical run, with λ = 0.01 on "
                f"all parameters; here, with λ = {recipe.l1_lambda:g} on {TARGET_NAMES[recipe.l1_target]}, "
                f"it ends at {row.val_accuracy:.2f} %.")
    return sentences


def findings_markdown(records: Records, failures: Sequence[str], study: Study, data: Dataset) -> str:
    """For the notebook's "In brief": the data's notice, what failed, and the findings as a list."""
    lines = [f"> **Notice.** {data.notice}\n"] if data.notice else []
    lines += [f"> **A run failed.** {failure}\n" for failure in failures]
    lines.append(
        f"**{plural(len(records), 'run')}** ({plural(len(study.norms), 'variant')} × "
        f"{plural(len(study.seeds), 'seed')}) of {plural(study.num_epochs, 'epoch')}, recipe `{study.recipe}`, "
        f"on {data.title}: {len(data.train_labels):,} training and {len(data.val_labels):,} validation images.\n")
    lines += [f"- {finding}" for finding in findings(records, study, data)]
    return "\n".join(lines)


def save_results(folder: Path, records: Records, failures: list[str], study: Study, data: Dataset) -> None:
    """Writes `results.csv`, `records/mnist_normalization.jsonl`, then `summary.json`."""
    publish_records(records, "mnist_normalization", folder / "records")
    write_atomically(folder / "results.csv", frames.history_frame(records).to_csv(index=False).encode())
    variants = frames.final_frame(records).replace({float("nan"): None}).to_dict("records")
    runs = [{"run_id": record["run_id"], "seconds": sum(frames.epoch_seconds([record]))} for record in records]
    write_summary(
        folder, f"Three normalisations on {data.title}", data, findings(records, study, data),
        fingerprint=data.fingerprint, num_train=len(data.train_labels), num_val=len(data.val_labels),
        recipe=study.recipe, seeds=study.seeds, num_epochs=study.num_epochs, num_runs=len(records),
        failures=failures, variants=variants, runs=runs,
        environment=records[0]["environment"] if records else {})


def write_summary(folder: Path, title: str, data: Dataset, findings: Sequence[str], **more) -> None:
    """Writes a notebook's `summary.json`. Called last: the file's presence means success."""
    write_json(folder / "summary.json", {
        "title": title, "dataset": data.name, "dataset_title": data.title, "findings": findings,
        "environment": environment(), **more})
