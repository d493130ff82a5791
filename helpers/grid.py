"""One notebook of ablations: its parameters, its runs trained or found, its answers kept and written."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from helpers.ablations import BATCH_SIZES, TOO_FEW, inside
from helpers.config import RECIPES, VARIANTS, ParameterError, RunConfig, Study, check, parse_list
from helpers.data import Dataset, load_dataset
from helpers.drawing import show
from helpers.files import writable_folder, write_atomically
from helpers.records import RECORDS, environment, publish_records, published_records, question, readable_record, run_id
from helpers.runs import train_all

PARAMETERS = ("dataset", "data_dir", "seeds", "num_epochs", "num_images", "study_seeds", "study_epochs",
              "original_seeds", "reuse_records", "train_missing", "workers", "runs_dir", "output_dir")
INSIDE = RECORDS / "ablations_inside.csv"


def setup(namespace: Mapping) -> "Grid":
    """The grid that a notebook's parameters ask for. Raises ParameterError, in one line, before any training."""
    values = {name: namespace[name] for name in PARAMETERS}
    for name in ("seeds", "study_seeds", "original_seeds"):  # papermill's -p hands a list on as text
        values[name] = parse_list(values[name])
    for name, value in values.items():
        check(name, value)
    if values["num_images"] < max(BATCH_SIZES):
        raise ParameterError(f"num_images: got {values['num_images']}, takes at least {max(BATCH_SIZES)}, the largest "
                             "batch that is tried")
    return Grid(values)


def gaps(records: Sequence[Mapping], configs: Sequence[RunConfig]) -> str:
    """A sentence that says how many runs are missing, to stand before a finding; empty when all are there."""
    missing = len(configs) - len(records)
    be = "is" if missing == 1 else "are"
    return f"**{missing} of {len(configs)} runs {be} not there yet.** " if missing else ""


class Grid:
    """The runs of all questions with the same seeds and epochs, and the answers given so far."""

    def __init__(self, values: Mapping):
        self.output = writable_folder(values["output_dir"], "output_dir") if values["output_dir"] else None
        writable_folder(values["runs_dir"], "runs_dir")
        self.data = load_dataset(values["dataset"], values["data_dir"])
        self.values, self.recipe = values, RECIPES["tuned"]
        self.published = published_records(whole=False) if values["reuse_records"] else {}
        self.answers, self.tables, self.missing = {}, [], ""
        self.records, self.original = {}, {}

    def train(self, runs_of: Callable[..., list[RunConfig]], data: Dataset | None = None) -> list[dict]:
        """The records of one question's runs, on all training images or on fewer."""
        records = self._train(runs_of(self.recipe, self.values["seeds"], self.values["num_epochs"]), data or self.data)
        self.records.update({record["run_id"]: record for record in records})
        return records

    def train_study(self) -> tuple[list[dict], list[dict]]:
        """The records of the main study's runs, and of its BatchNorm without the penalty."""
        study = Study(seeds=tuple(self.values["study_seeds"]), num_epochs=self.values["study_epochs"])
        as_it_is, without = self._with_and_without_l1(study)
        self.records.update({record["run_id"]: record for record in without})
        return as_it_is, without

    def train_original(self) -> tuple[list[dict], list[dict]]:
        """The same with the historical recipe."""
        study = Study(recipe="original", seeds=tuple(self.values["original_seeds"]),
                      num_epochs=self.values["study_epochs"])
        as_it_was, without = self._with_and_without_l1(study)
        self.original = {record["run_id"]: record for record in (*as_it_was, *without)}
        return as_it_was, without

    def _with_and_without_l1(self, study: Study) -> tuple[list[dict], list[dict]]:
        free = replace(study, norms=("batch",), l1_lambda=0.0)
        records = self._train([*study.run_configs("cpu"), *free.run_configs("cpu")], self.data)
        as_it_is, without = [], []
        for record in records:
            bare = VARIANTS[record["config"]["norm"]].l1 and not record["config"]["recipe"]["l1_lambda"]
            (without if bare else as_it_is).append(record)
        return as_it_is, without

    def _train(self, configs: list[RunConfig], data: Dataset) -> list[dict]:
        folder, fingerprint = writable_folder(self.values["runs_dir"], "runs_dir"), data.fingerprint
        published = [config for config in configs if question(config, fingerprint) in self.published]
        train, asked = self.values["train_missing"], configs
        if not (train if train is not None else not published):  # a grid under way shows its gaps
            configs = [config for config in configs if config in published
                       or readable_record(folder / run_id(config, fingerprint))]
        records = train_all(configs, data, self.values["runs_dir"], self.values["workers"],
                            self.published)[0] if configs else []
        self.missing = gaps(records, asked)
        return records

    def look_inside(self) -> pd.DataFrame:
        """`inside` for the three variants and no norm, two epochs each: as published, or looked at anew."""
        self.missing = ""
        if self.values["reuse_records"] and INSIDE.is_file() and self.data.name == "mnist":
            return pd.read_csv(INSIDE)
        if self.values["train_missing"] is False:
            self.missing = "**These runs are not there yet.** "
            return pd.DataFrame()
        return pd.concat([inside(norm, self.data, self.recipe) for norm in (*VARIANTS, "none")], ignore_index=True)

    def show(self, name: str, plot: Callable[..., Figure], table: pd.DataFrame, *arguments) -> None:
        """A question's figure, `plot(table, *arguments)`; nothing where not one of its runs is there."""
        if len(table):
            show(plot(table, *arguments), f"ablation_{name}", self.output)

    def tell(self, question: str, finding: Callable[..., str], table: pd.DataFrame, *arguments) -> None:
        """Shows a question's finding, `finding(table, *arguments)`, and keeps its first paragraph with its table.

        Where runs of the last grid trained are missing, that stands before it.
        """
        from IPython.display import Markdown, display

        answer = self.missing + (finding(table, *arguments) if len(table) else TOO_FEW)
        self.answers[question] = answer.split("\n\n")[0]
        self.tables.append(table.assign(question=question))
        display(Markdown(answer))

    def brief(self) -> str:
        """All findings so far, as a list."""
        lines = [f"> **Notice.** {self.data.notice}", ""] if self.data.notice else []
        return "\n".join(lines + [f"- *{name.capitalize()}.* {answer}" for name, answer in self.answers.items()])

    def save(self) -> None:
        """Writes the runs' records, results.csv and summary.json into the output folder, if there is one."""
        if not self.output:
            return
        for name, records, whole in (("ablations", self.records, False), ("original", self.original, True)):
            if records:
                publish_records(list(records.values()), name, self.output / "records", whole)
        for table in self.tables:
            if "inside" in set(table.question):
                content = table.drop(columns="question").to_csv(index=False, lineterminator="\n")
                write_atomically(self.output / "records" / INSIDE.name, content.encode())
        write_atomically(self.output / "results.csv", pd.concat(self.tables).to_csv(index=False).encode())
        summary = {"title": "What makes the difference?", "dataset": self.data.name,
                   "dataset_title": self.data.title, "seeds": list(self.values["seeds"]),
                   "num_epochs": self.values["num_epochs"], "num_runs": len(self.records) + len(self.original),
                   "findings": list(self.answers.values()), "environment": environment("cpu")}
        write_atomically(self.output / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False).encode())
