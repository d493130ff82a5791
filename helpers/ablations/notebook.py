"""The notebook of ablations: its parameters, its runs trained or found, its answers kept and written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from helpers.ablations import batch_size, inside
from helpers.ablations.common import TOO_FEW, split_by_penalty
from helpers.config import (
    BOOLEAN,
    DATA_DIR,
    DATASET,
    EPOCHS,
    OUTPUT_DIR,
    PATH,
    RECIPES,
    SEEDS,
    WORKERS,
    Parameters,
    RunConfig,
    integer,
    optional,
    parameter,
)
from helpers.data import Dataset
from helpers.datasets import load_dataset
from helpers.files import RECORDS, writable_folder, write_atomically
from helpers.plots.style import show
from helpers.results.findings import write_summary
from helpers.runs.store import Store, hardware_independent_id, publish_records, published_records
from helpers.runs.train_all import train_all

INSIDE = "ablations_inside.csv"
NUM_IMAGES = integer(max(batch_size.SIZES))
TRAIN_MISSING = optional(BOOLEAN, "True, but False where a part is published")

Runs = Callable[..., list[RunConfig]]
Records = Sequence[Mapping]


@dataclass(frozen=True)
class AblationParameters(Parameters):
    """What one execution of the notebook is asked for."""

    dataset: str = parameter("auto", DATASET)
    data_dir: str | None = parameter(None, DATA_DIR)
    seeds: tuple[int, ...] = parameter((0, 1, 2), SEEDS)
    num_epochs: int = parameter(5, EPOCHS)
    num_images: int = parameter(12000, NUM_IMAGES)  # of which the largest batch must be made
    study_seeds: tuple[int, ...] = parameter((0, 1, 2, 3, 4), SEEDS)
    study_epochs: int = parameter(20, EPOCHS)
    original_seeds: tuple[int, ...] = parameter((0, 1, 2), SEEDS)
    reuse_records: bool = parameter(True, BOOLEAN)
    train_missing: bool | None = parameter(None, TRAIN_MISSING)
    workers: int | None = parameter(None, WORKERS)
    runs_dir: str = parameter("runs", PATH)
    output_dir: str | None = parameter(None, OUTPUT_DIR)


class AblationNotebook:
    """The runs of all questions, trained or found, and the answers given so far."""

    def __init__(self, parameters: AblationParameters):
        """Raises ParameterError and DataError, in one line, before any training."""
        self.parameters = parameters
        self.output = None
        if parameters.output_dir:
            self.output = writable_folder(parameters.output_dir, "output_dir")
        self.data = load_dataset(parameters.dataset, parameters.data_dir)
        self.published = published_records(whole=False) if parameters.reuse_records else {}
        self.missing = ""  # says which runs of the question at hand are not there
        self.answers = {}
        self.frames = {}
        self.records = {}
        self.original = {}

    def train(self, runs: Runs, data: Dataset | None = None) -> list[dict]:
        """The records of one question's runs, on all training images or on fewer."""
        asked = self.parameters
        configs = runs(RECIPES["tuned"], asked.seeds, asked.num_epochs)
        records = self._train(configs, data or self.data)
        self.records |= _by_id(records)
        return records

    def train_study(self, runs: Runs) -> tuple[Records, Records]:
        """The records of the main study's runs, and of its BatchNorm without the penalty."""
        asked = self.parameters
        records = self._train(runs(RECIPES["tuned"], asked.study_seeds, asked.study_epochs), self.data)
        study, without_l1 = split_by_penalty(records)
        self.records |= _by_id(without_l1)  # the main notebook publishes the others
        return study, without_l1

    def train_original(self, runs: Runs) -> tuple[Records, Records]:
        """The same with the historical recipe."""
        asked = self.parameters
        records = self._train(runs(RECIPES["original"], asked.original_seeds, asked.study_epochs), self.data)
        self.original = _by_id(records)
        return split_by_penalty(records)

    def _train(self, configs: list[RunConfig], data: Dataset) -> list[dict]:
        store = Store(self.parameters.runs_dir, data, self.published)
        train_missing = self.parameters.train_missing
        if train_missing is None:
            ids = {hardware_independent_id(config, data.fingerprint) for config in configs}
            train_missing = not ids & set(self.published)
        if train_missing:
            records, _ = train_all(configs, store, self.parameters.workers)
        else:
            records = list(filter(None, map(store.find, configs)))
        self.missing = missing_runs(len(configs) - len(records), len(configs))
        return records

    def look_inside(self) -> pd.DataFrame:
        """`inside.watch` for each of its runs: as published, or looked at anew."""
        self.missing = ""
        published = RECORDS / INSIDE
        if self.parameters.reuse_records and published.is_file() and self.data.name == "mnist":
            return pd.read_csv(published)
        if self.parameters.train_missing is False:
            self.missing = "**These runs are not there yet.** "
            return pd.DataFrame()
        configs = inside.runs(RECIPES["tuned"])
        return pd.concat([inside.watch(config, self.data) for config in configs], ignore_index=True)

    def show(self, name: str, plot: Callable[..., Figure], frame: pd.DataFrame, *arguments) -> None:
        """A question's figure, `plot(frame, *arguments)`; nothing where not one of its runs is there."""
        if len(frame):
            show(plot(frame, *arguments), f"ablation_{name}", self.output)

    def show_table(self, table: Callable[..., pd.DataFrame], frame: pd.DataFrame, *arguments) -> None:
        """A question's table, `table(frame, *arguments)`; nothing where not one of its runs is there."""
        from IPython.display import display

        if len(frame):
            display(table(frame, *arguments))

    def tell(self, question: str, finding: Callable[..., str], frame: pd.DataFrame, *arguments) -> None:
        """Shows and keeps a question's finding, `finding(frame, *arguments)`, behind what is missing."""
        from IPython.display import Markdown, display

        answer = finding(frame, *arguments) if len(frame) else TOO_FEW
        self.answers[question] = self.missing + answer
        self.frames[question] = frame
        display(Markdown(self.answers[question]))

    def brief(self) -> str:
        """All findings so far, as a list."""
        lines = [f"- *{question.capitalize()}.* {answer}" for question, answer in self.answers.items()]
        if self.data.notice:
            lines = [f"> **Notice.** {self.data.notice}", "", *lines]
        return "\n".join(lines)

    def save(self) -> None:
        """Writes the runs' records, results.csv, then summary.json into the output folder, if there is one."""
        if not self.output:
            return
        folder = self.output / "records"
        if self.records:
            publish_records(list(self.records.values()), "ablations", folder, whole=False)
        if self.original:
            publish_records(list(self.original.values()), "original", folder)
        if "inside" in self.frames:
            content = self.frames["inside"].to_csv(index=False, lineterminator="\n")
            write_atomically(folder / INSIDE, content.encode())
        frames = [frame.assign(question=question) for question, frame in self.frames.items()]
        write_atomically(self.output / "results.csv", pd.concat(frames).to_csv(index=False).encode())
        write_summary(
            self.output, "What makes the difference?", self.data, list(self.answers.values()),
            seeds=self.parameters.seeds,
            num_epochs=self.parameters.num_epochs,
            num_runs=len(self.records) + len(self.original),
        )


def _by_id(records: Records) -> dict[str, Mapping]:
    return {record["run_id"]: record for record in records}


def missing_runs(num_missing: int, num_asked: int) -> str:
    """A sentence to stand before a finding; empty when all runs are there."""
    if not num_missing:
        return ""
    verb = "is" if num_missing == 1 else "are"
    return f"**{num_missing} of {num_asked} runs {verb} not there yet.** "
