"""The findings, as sentences computed from the results, and summary.json, which carries them.

Nothing here is typed in that a run could contradict.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from pandas import DataFrame

from helpers.config import Study
from helpers.data import Dataset
from helpers.files import write_atomically, write_json
from helpers.machine import environment
from helpers.results import comparisons, frames
from helpers.results.frames import Records
from helpers.results.intervals import mcnemar_p
from helpers.results.readings import beside_published, penalty_cost
from helpers.results.words import join_words, plural
from helpers.runs.confirm import Confirmation
from helpers.runs.store import publish_records

ANSWER = 3  # how many of the findings answer the study's question; the others are details


@dataclass(frozen=True)
class StudyResults:
    """What one execution of the main notebook came to."""

    study: Study
    data: Dataset
    records: Records
    failures: Sequence[str] = ()

    @cached_property
    def confirmation(self) -> Confirmation:
        return Confirmation.find(self.study, self.data)

    @property
    def decisive(self) -> Records:
        """The runs that the headline follows from: the confirmation's where there are any, else this notebook's."""
        return self.confirmation.records if self.confirmation.is_complete else self.records

    @cached_property
    def evidence(self) -> DataFrame:
        """See `evidence_frame`."""
        control = Confirmation.find(self.study, self.data, self.study.seeds).control
        return comparisons.evidence_frame(Confirmation(self.records, control, 0), self.confirmation)

    @cached_property
    def findings(self) -> list[str]:
        """What the decisive runs say, most important first, and what this notebook's say beside a confirmation."""
        final = frames.final_frame(self.decisive)
        pairs = comparisons.pairs_frame(self.decisive)
        setting = "On"
        choice = f"{final.variant[0]} alone was trained{' to the end' if len(self.study.norms) > 1 else ''}"
        basis = f"{final.n.max()} seeds"
        beside = ""
        verdicts = list(map(comparisons.pair_sentence, pairs.itertuples()))
        details = [self._failed(), *verdicts]
        if len(final) > 1:
            choice = comparisons.headline(pairs)
        if final.n.nunique() > 1:
            basis = "the number of seeds differs, see the table"
        elif final.n[0] == 1:
            basis = "one seed, interval from the images"
        if self.confirmation.is_complete:
            basis += ", announced before the first was run"
            beside = comparisons.against(pairs, self.evidence)
            beside_control = comparisons.pairs_frame(self.decisive, self.confirmation.control)
            details = [*verdicts, comparisons.cause(pairs, beside_control), self._failed()]
        elif self.confirmation.num_found:
            setting = "In exploratory runs on"
            beside = self.confirmation.state
        sentences = [
            f"{setting} {self.data.title} {choice}.",
            self._cost(),
            beside,
            f"{self._scores(final)} ({basis}).",
            *details]
        return [sentence for sentence in sentences if sentence]

    def _cost(self) -> str:
        """What decides where accuracy does not."""
        names = frames.final_frame(self.records).groupby("parameters").norm.agg(comparisons.names_of)
        least, most = names.index[[0, -1]]
        if least == most:
            return ""
        return (f"Where accuracy does not decide, choose by cost: {names[most]} learns {most:,} parameters, "
                f"{most / least:.1f} times the {least:,} of {names[least]}.")

    def _scores(self, final: DataFrame) -> str:
        scores = [f"{comparisons.SHORT[row.norm]} {row.val_accuracy:.2f} % ({row.low:.2f} to {row.high:.2f})"
                  for row in final.itertuples()]
        return (f"Validation accuracy on {self.data.title} after {plural(self.study.num_epochs, 'epoch')}: "
                f"{join_words(scores)}")

    def _failed(self) -> str:
        num_runs = len(self.study.norms) * len(self.study.seeds)
        failed = num_runs - len(self.records)
        return f"{failed} of {num_runs} runs failed; what this notebook says stands on the others." if failed else ""


def findings(results: StudyResults) -> list[str]:
    """The study's findings, most important first: each is one sentence, computed from the records."""
    if not results.records:
        return ["No run finished, so there is nothing to report."]
    return results.findings + historical_findings(results)


def historical_findings(results: StudyResults) -> list[str]:
    """What becomes of the historical run's conclusions; none where the data are not its images."""
    ends = frames.historical_ends(results.data)
    if ends is None:
        return []
    _, group, layer = ends.itertuples()
    gap = group.val_correct - layer.val_correct
    sentences = [
        f"The historical run preferred GroupNorm to LayerNorm for {gap} of {len(results.data.val_labels):,} images "
        f"and one seed. With {gap} images McNemar's exact p can't be below {mcnemar_p(gap, 0):.2f}."]
    original = Confirmation.find(Study(recipe="original"), results.data, seeds=range(10))
    cost = penalty_cost(frames.history_frame(original.records), frames.history_frame(original.control))
    return [*sentences, cost] if cost else sentences


def training_report(results: StudyResults) -> str:
    """What was trained, and what failed."""
    study = results.study
    data = results.data
    parts = [f"**{plural(len(results.records), 'training run')}** of {plural(study.num_epochs, 'epoch')} on the "
             f"{len(data.train_labels):,} training images of {data.title}, validated on {len(data.val_labels):,}."]
    if any(record.get("published") for record in results.records):
        parts.append(beside_published(results.records))
    parts += [f"**Failed:** {failure}." for failure in results.failures]
    return "\n\n".join(parts)


def answer_markdown(results: StudyResults) -> str:
    """For the top of the notebook: the data's notice, what failed, and the findings that answer the question."""
    lines = [f"> **Notice.** {results.data.notice}\n"] if results.data.notice else []
    lines += [f"> **A run failed.** {failure}\n" for failure in results.failures]
    headline, *more = findings(results)[:ANSWER]
    return "\n".join([*lines, f"**{headline}** {' '.join(more)}"])


def findings_markdown(results: StudyResults) -> str:
    """The study's other findings, as a list; what becomes of the historical run's stands with it."""
    return "\n".join(f"- {finding}" for finding in results.findings[ANSWER:])


def save_results(folder: Path, results: StudyResults) -> None:
    """Writes `results.csv`, `records/mnist_normalization.jsonl`, then `summary.json`."""
    records = results.records
    study = results.study
    data = results.data
    publish_records(records, "mnist_normalization", folder / "records")
    write_atomically(folder / "results.csv", frames.history_frame(records).to_csv(index=False).encode())
    confirmed = results.confirmation.records if results.confirmation.is_complete else []
    runs = [{"run_id": record["run_id"], "seconds": sum(frames.epoch_seconds([record]))} for record in records]
    write_summary(
        folder, f"Three normalisations on {data.title}", data, findings(results),
        fingerprint=data.fingerprint, num_train=len(data.train_labels), num_val=len(data.val_labels),
        recipe=study.recipe, num_groups=study.num_groups, norms=study.norms, device=study.device,
        training=asdict(study.training_recipe()), seeds=study.seeds, num_epochs=study.num_epochs, num_runs=len(records),
        failures=results.failures, variants=_rows(frames.final_frame(records)), runs=runs,
        confirmation=_rows(frames.final_frame(confirmed)), pairs=_rows(comparisons.pairs_frame(confirmed)),
        environments=_rows(frames.environments_frame(records)))


def _rows(frame: DataFrame) -> list[dict]:
    """For JSON, which knows no NaN."""
    return json.loads(frame.to_json(orient="records"))


def write_summary(folder: Path, title: str, data: Dataset, findings: Sequence[str], **more) -> None:
    """Writes a notebook's `summary.json`. Called last: the file's presence means success."""
    write_json(folder / "summary.json", {
        "title": title, "dataset": data.name, "dataset_title": data.title, "findings": findings,
        "environment": environment(), **more})
