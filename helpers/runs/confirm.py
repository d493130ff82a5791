"""The confirmation that records/plan.md announces: its runs, trained as long as it takes, published as they come.

    python -m helpers.runs.confirm    (`make confirm`)
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.config import VARIANTS, OneLineError, RunConfig, Study
from helpers.data import Dataset
from helpers.datasets import load_dataset
from helpers.files import RECORDS
from helpers.machine import num_cores
from helpers.runs.store import Store, hardware_independent_id, publish_records, published_records
from helpers.runs.train_all import train_all

NAME = "confirmation"  # of the published file
SEEDS = tuple(range(100, 120))


def arms(study: Study, seeds: Sequence[int]) -> tuple[list[RunConfig], list[RunConfig]]:
    """The variants' runs with these seeds, and those of BatchNorm without its penalty."""
    study = replace(study, seeds=tuple(seeds), norms=tuple(VARIANTS))
    control = replace(study, norms=("batch",), changes={**study.changes, "l1_lambda": 0.0})
    return study.run_configs("cpu"), control.run_configs("cpu")


def announced_runs(study: Study, seeds: Sequence[int] = SEEDS) -> list[RunConfig]:
    variants, control = arms(study, seeds)
    return variants + control


@dataclass(frozen=True)
class Confirmation:
    """The published runs that answer a study's question with the confirmation's seeds."""

    records: list[dict]  # of the variants
    control: list[dict]  # of BatchNorm without its penalty
    num_runs: int        # announced

    @property
    def num_found(self) -> int:
        return len(self.records) + len(self.control)

    @property
    def is_complete(self) -> bool:
        return self.num_found == self.num_runs

    @property
    def state(self) -> str:
        """What a reader is told as long as it can't be analysed."""
        if not self.num_found:
            return "No confirmation was announced for this question."
        return (f"{self.num_found} of {self.num_runs} runs of the confirmation are there; they are not analysed "
                "before all are.")

    @classmethod
    def find(cls, study: Study, data: Dataset, seeds: Sequence[int] = SEEDS) -> "Confirmation":
        """Whatever device and precision the study asks for; empty where its question is another one."""
        published = published_records(whole=False)
        found = []
        for configs in arms(study, seeds):
            ids = [hardware_independent_id(config, data.fingerprint) for config in configs]
            found.append([published[one] for one in ids if one in published])
        records, control = found
        norms = {record["config"]["norm"] for record in records}
        if len(norms) < len(VARIANTS) or not control:  # a whole arm has other groups or another penalty
            records, control = [], []
        return cls(records, control, num_runs=4 * len(seeds))


def main(folder: Path = RECORDS) -> None:
    """Trains what is missing, on MNIST, some seeds at a time, and publishes after each of these rounds."""
    study = Study()
    store = Store(study.runs_dir, load_dataset("mnist"), published_records(folder))
    seeds_at_once = max(1, num_cores() // 2)  # four runs a seed: two processes for each core
    for first in range(0, len(SEEDS), seeds_at_once):
        _, failures = train_all(announced_runs(study, SEEDS[first:first + seeds_at_once]), store)
        announced = announced_runs(study, SEEDS)
        records = [record for record in map(store.find, announced) if record]
        publish_records(records, NAME, folder)
        print(f"{len(records)} of {len(announced)} runs are published", *failures, sep="\n")


if __name__ == "__main__":
    try:
        main()
    except OneLineError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from the last finished epoch")
