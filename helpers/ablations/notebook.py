"""The notebook of ablations: its parameters, its runs trained or found, its answers kept and written."""

from collections.abc import Callable
from dataclasses import dataclass

from IPython.display import Markdown, display
from pandas import DataFrame, concat, read_csv

from helpers.ablations import batch_size, inside
from helpers.ablations.common import TOO_FEW, last_epochs
from helpers.config import BOOLEAN, DATA_DIR, DATASET, EPOCHS, OUTPUT_DIR, PATH, RECIPES, SEEDS, WORKERS, Study
from helpers.data import Dataset
from helpers.datasets import load_dataset
from helpers.files import RECORDS, writable_folder, write_atomically
from helpers.parameters import Parameters, integer, optional, parameter
from helpers.plots.style import show
from helpers.results.findings import write_summary
from helpers.runs.confirm import arms
from helpers.runs.store import Store, hardware_independent_id, publish_records, published_records, run_id
from helpers.runs.train_all import train_all

INSIDE = "ablations_inside.csv"


@dataclass(frozen=True)
class AblationParameters(Parameters):
    """What one execution of the notebook is asked for."""

    dataset: str = parameter("auto", DATASET)
    data_dir: str | None = parameter(None, DATA_DIR)
    seeds: tuple[int, ...] = parameter((0, 1, 2), SEEDS)
    num_epochs: int = parameter(5, EPOCHS)
    num_images: int = parameter(12000, integer(max(batch_size.SIZES)))
    original_seeds: tuple[int, ...] = parameter((0, 1, 2), SEEDS)
    original_epochs: int = parameter(20, EPOCHS)
    reuse_records: bool = parameter(True, BOOLEAN)
    train_missing: bool | None = parameter(None, optional(BOOLEAN, "True, but False where a part is published"))
    workers: int | None = parameter(None, WORKERS)
    runs_dir: str = parameter("runs", PATH)
    output_dir: str | None = parameter(None, OUTPUT_DIR)


class AblationNotebook:
    """Trains or finds the runs of each question; keeps and writes the answers."""

    def __init__(self, parameters: AblationParameters):
        """Raises ParameterError and DataError, in one line, before any training."""
        self.asked = parameters
        self.output = None
        if parameters.output_dir:
            self.output = writable_folder(parameters.output_dir, "output_dir")
        self.data = load_dataset(parameters.dataset, parameters.data_dir)
        self.published = {}
        if parameters.reuse_records:
            self.published = published_records(whole=False)
        self.records = {"ablations": {}, "original": {}}  # by the file that they are published in, and by run
        self.answers = {}
        self.frames = {}
        self.missing = ""  # says which runs of the question at hand are not there

    def train(self, runs: Callable, data: Dataset | None = None) -> DataFrame:
        """The last epochs of one question's runs, on all training images or on fewer."""
        configs = runs(RECIPES["tuned"], self.asked.seeds, self.asked.num_epochs)
        return last_epochs(self._train(configs, data or self.data, "ablations"))

    def train_original(self) -> tuple[list, list]:
        """The records of the historical recipe's runs, and of its BatchNorm without the penalty."""
        study = Study(recipe="original", num_epochs=self.asked.original_epochs)
        configs, control = arms(study, self.asked.original_seeds)
        records = self._train(configs + control, self.data, "original")
        ids = [run_id(config, self.data.fingerprint) for config in control]
        without_l1 = [record for record in records if record["run_id"] in ids]
        return [record for record in records if record not in without_l1], without_l1

    def _train(self, configs: list, data: Dataset, name: str) -> list[dict]:
        """The runs' records, kept for the file of that `name`."""
        store = Store(self.asked.runs_dir, data, self.published)
        train_missing = self.asked.train_missing
        if train_missing is None:
            ids = {hardware_independent_id(config, data.fingerprint) for config in configs}
            train_missing = ids.isdisjoint(self.published)
        if train_missing:
            records, _ = train_all(configs, store, self.asked.workers)
        else:
            records = [record for record in map(store.find, configs) if record]
        self.records[name] |= {record["run_id"]: record for record in records}
        self.missing = ""
        missing = len(configs) - len(records)
        if missing:
            verb = "is" if missing == 1 else "are"
            self.missing = f"**{missing} of {len(configs)} runs {verb} not there yet.** "
        return records

    def look_inside(self) -> DataFrame:
        """`inside.watch` for each of its runs, one seed and two epochs: as published, or looked at anew."""
        self.missing = ""
        published = RECORDS / INSIDE
        if self.asked.reuse_records and published.is_file() and self.data.name == "mnist":
            return read_csv(published)
        if self.asked.train_missing is False:
            self.missing = "**These runs are not there yet.** "
            return DataFrame(columns=inside.COLUMNS)
        return concat([inside.watch(config, self.data) for config in inside.runs(RECIPES["tuned"], [0], 2)])

    def show(self, name: str, plot: Callable, frame: DataFrame, *arguments) -> None:
        """A question's figure, `plot(frame, *arguments)`; nothing where not one of its runs is there."""
        if len(frame):
            show(plot(frame, *arguments), f"ablation_{name}", self.output)

    def tell(self, question: str, finding: Callable, frame: DataFrame, *arguments) -> None:
        """Shows and keeps a question's finding, `finding(frame, *arguments)`, behind what is missing."""
        answer = TOO_FEW
        if len(frame):
            answer = finding(frame, *arguments)
        self.frames[question] = frame
        self.answers[question] = self.missing + answer
        display(Markdown(self.answers[question]))

    def brief(self) -> str:
        """The first paragraph of each finding so far, as a list."""
        lines = []
        if self.data.notice:
            lines = [f"> **Notice.** {self.data.notice}", ""]
        for question, answer in self.answers.items():
            first, *_ = answer.split("\n\n")
            lines.append(f"- *{question.capitalize()}.* {first}")
        return "\n".join(lines)

    def save(self) -> None:
        """Writes records, results.csv, then summary.json into the output folder, if there is one."""
        if not self.output:
            return
        folder = self.output / "records"
        folder.mkdir(exist_ok=True)
        num_runs = sum(map(len, self.records.values()))
        for name, records in self.records.items():
            if records:
                publish_records(records.values(), name, folder, whole=name == "original")
        if "inside" in self.frames:
            content = self.frames["inside"].to_csv(index=False, lineterminator="\n")
            write_atomically(folder / INSIDE, content.encode())
        results = concat([frame.assign(question=name) for name, frame in self.frames.items()])
        write_atomically(self.output / "results.csv", results.to_csv(index=False).encode())
        write_summary(self.output, "What makes the difference?", self.data, list(self.answers.values()),
                      seeds=self.asked.seeds, num_epochs=self.asked.num_epochs, num_runs=num_runs)
