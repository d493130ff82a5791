"""Runs in their folders, found again by their content; their records, written whole and sealed; published ones.

A run lives in `runs_dir/<run id>/`: `checkpoint.pt` after every epoch, `record.json` when it is done. The id is a
digest of the configuration, the data and the training code's version. A record's last entry is its seal: a digest of
the others.
"""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.config import ParameterError, RunConfig, Study
from helpers.data import Dataset
from helpers.files import RECORDS, clear_debris, locked, read_file, set_aside, writable_folder, write_atomically
from helpers.machine import environment
from helpers.runs.checkpoint import Checkpoint, identity
from helpers.training import VERSION

SEAL = ', "sha256": "'  # what a sealed line ends in, with the digest of all before it


def seal(record: Mapping) -> str:
    """A record as a line of JSON that shows any change."""
    text = json.dumps(record)[:-1]
    return f'{text}{SEAL}{hashlib.sha256(text.encode()).hexdigest()}"}}'


def unseal(line: str) -> dict:
    """The record of a sealed line. Raises ValueError when the line is not as it was written."""
    text, _, digest = line.rpartition(SEAL)
    if digest != hashlib.sha256(text.encode()).hexdigest() + '"}':
        raise ValueError("it was changed after it was written")
    return json.loads(text + "}")


def run_id(config: RunConfig, fingerprint: str) -> str:
    """The run's name: readable in front, a digest of its whole content behind."""
    content = json.dumps(identity(config, fingerprint), sort_keys=True)
    return f"{config.norm}-seed{config.seed}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def hardware_independent_id(config: RunConfig, fingerprint: str) -> str:
    """As `run_id`, of all of the run's content but the device and its precision."""
    recipe = replace(config.recipe, precision="float32")
    return run_id(replace(config, device="cpu", recipe=recipe), fingerprint)


@dataclass(frozen=True)
class Run:
    """One training run and its folder."""

    folder: Path
    config: RunConfig
    data: Dataset

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def title(self) -> str:
        """For readers: in bars and in messages."""
        return f"{self.config.norm}, seed {self.config.seed}"

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.folder / "checkpoint.pt", self.config, self.data)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the run's folder and holds its lock: whoever else asks for the run waits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / ".lock"):
            clear_debris(self.folder)
            yield

    def read_record(self) -> dict | None:
        """The finished record; None when there is none that is this run's. Raises OSError."""
        written = read_file(self.folder / "record.json") or b""
        with contextlib.suppress(ValueError):  # whatever is wrong with it, it is no record
            record = unseal(written.decode())
            if record["run_id"] == self.id:
                return record
        return None

    def take_record(self) -> dict | None:
        """As `read_record`; one that can't be used is set aside. The run's lock must be held."""
        record = self.read_record()
        path = self.folder / "record.json"
        if record is None and os.path.lexists(path):
            set_aside(path)
        return record

    def make_record(self, result: dict) -> dict:
        """The whole record: what the run is, its `result`, what computed it."""
        data = self.data
        return {
            "run_id": self.id, "version": VERSION, "config": self.config.to_dict(),
            "dataset": {"name": data.name, "title": data.title, "fingerprint": data.fingerprint,
                        "num_train": len(data.train_labels), "num_val": len(data.val_labels)},
            **result, "environment": environment(self.config.device)}

    def write_record(self, record: dict) -> dict:
        """The same record, written."""
        write_atomically(self.folder / "record.json", seal(record).encode())
        return record


class Store:
    """The runs on one data set: in a folder, or published (see `published_records`)."""

    def __init__(self, runs_dir: str | Path, data: Dataset, published: Mapping[str, dict] | None = None):
        """A relative `runs_dir` starts at the project's folder. Raises ParameterError when it can't be written."""
        self.folder = writable_folder(runs_dir, "runs_dir")
        self.data = data
        self.published = published or {}

    def run(self, config: RunConfig) -> Run:
        return Run(self.folder / run_id(config, self.data.fingerprint), config, self.data)

    def find(self, config: RunConfig) -> dict | None:
        """The record of a run that is published or finished."""
        published = self.published.get(hardware_independent_id(config, self.data.fingerprint))
        with contextlib.suppress(OSError):  # a disk that fails is met again, and told, by whoever trains the run
            return published or self.run(config).read_record()
        return None


def _check_record(record: dict) -> str:
    """Its hardware-independent id. Raises when it is not whole or not its configuration's."""
    config = RunConfig.from_dict(record["config"])
    fingerprint = record["dataset"]["fingerprint"]
    if len(record["history"]) != config.num_epochs or record["run_id"] != run_id(config, fingerprint):
        raise ValueError("the record is not this run's")
    return hardware_independent_id(config, fingerprint)


def published_records(folder: Path = RECORDS, whole: bool = True) -> dict[str, dict]:
    """The published runs, one line each in `folder`/*.jsonl, by their hardware-independent id.

    Those of another version of the training code are left out. whole: also those without their misclassified images.
    """
    records = {}
    for path in sorted(folder.glob("*.jsonl")):
        state = path.stat()
        found = _read_published(path, (state.st_ino, state.st_mtime_ns))
        records |= {name: record for name, record in found.items() if "wrong" in record or not whole}
    return records


@functools.cache
def _read_published(path: Path, state: tuple[int, int]) -> dict[str, dict]:
    """The records of one file, read once for each `state` of it: a notebook asks for them in many cells."""
    records = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = unseal(line.decode())
            if record["version"] == VERSION:
                records[_check_record(record)] = record
        except Exception as error:
            raise ParameterError(f"reuse_records: line {number} of {path.name} is no published run ({error}); "
                                 "take the file as it was published, or reuse_records = False") from error
    return records


def reusable_records(study: Study) -> dict[str, dict]:
    """The published runs that a study takes instead of training them, marked as published."""
    if study.reuse_records is False:
        return {}
    trained = study.seeds[:1] if study.reuse_records == "rest" else ()
    return {name: {**record, "published": True} for name, record in published_records().items()
            if record["config"]["seed"] not in trained}


def publish_records(records: Sequence[Mapping], name: str, folder: Path = RECORDS, whole: bool = True) -> None:
    """Writes `folder`/`name`.jsonl, sealed, by run id. whole: with the misclassified images."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for record in sorted(records, key=lambda record: record["run_id"]):
        left_out = {"published"} if whole else {"published", "wrong"}
        kept = {key: value for key, value in record.items() if key not in left_out}
        lines.append(seal(kept) + "\n")
    write_atomically(folder / f"{name}.jsonl", "".join(lines).encode())
