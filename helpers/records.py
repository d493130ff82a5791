"""One run in its folder: found again by its content, trained once, its record written whole; published records.

A run lives in `runs_dir/<run id>/`: `checkpoint.pt` after every epoch, `record.json` when it is done. The id is a
digest of the configuration, the data and the training code's version.
"""

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock

from helpers.config import ParameterError, RunConfig
from helpers.data import Dataset
from helpers.files import ROOT, clear_debris, write_atomically
from helpers.together import fit_together
from helpers.training import VERSION, DivergedError, Progress, check_history, fit

OnProgress = Callable[[Progress], None]
Outcomes = Iterator[tuple[str, dict | str]]  # of many runs: run id, its record or what went wrong in one line
RECORDS = ROOT / "notebooks" / "records"


def run_id(config: RunConfig, fingerprint: str) -> str:
    """The run's name: readable in front, a digest of its whole content behind."""
    content = json.dumps({"config": config.to_dict(), "data": fingerprint, "version": VERSION}, sort_keys=True)
    return f"{config.norm}-seed{config.seed}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def train_one(config: RunConfig, data: Dataset, fingerprint: str, folder: Path, on_progress: OnProgress) -> dict:
    """One run in `folder`/<run id>: its record, read or trained. Whoever asks for it meanwhile waits and reads."""
    place = folder / run_id(config, fingerprint)
    with locked([place]):
        record = record_or_none(place)
        if record is None:
            record = _keep(place, config, data, fingerprint, fit(config, data, place / "checkpoint.pt", on_progress))
    return record


def train_seeds(configs: Sequence[RunConfig], data: Dataset, fingerprint: str, folder: Path,
                on_progress: Callable[[str, Progress], None]) -> list[dict | DivergedError | OSError]:
    """Runs that differ in their seed alone, trained as one wider network: their records, or why there is none."""
    places = {config: folder / run_id(config, fingerprint) for config in configs}
    with locked(list(places.values())):
        results = {config: record_or_none(place) for config, place in places.items()}
        todo = [config for config, record in results.items() if record is None]
        outcomes = fit_together(todo, data, [places[config] / "checkpoint.pt" for config in todo],
                                lambda config, progress: on_progress(places[config].name, progress)) if todo else []
        for config, outcome in zip(todo, outcomes, strict=True):
            try:
                results[config] = outcome if isinstance(outcome, Exception) else _keep(
                    places[config], config, data, fingerprint, outcome)
            except OSError as error:
                results[config] = error
    return [results[config] for config in configs]


@contextlib.contextmanager
def locked(places: Sequence[Path]) -> Iterator[None]:
    """Makes the runs' folders and holds their locks: whoever else asks for one of them waits."""
    with contextlib.ExitStack() as stack:
        for place in sorted(places):  # in one order everywhere, so that no two wait for each other
            place.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(place / ".lock"))
            clear_debris(place)
        yield


def _keep(place: Path, config: RunConfig, data: Dataset, fingerprint: str, outcome: dict) -> dict:
    """The whole record of a run, written to its folder."""
    record = make_record(place.name, config, data, fingerprint, outcome)
    write_record(place, record)
    return record


def write_record(place: Path, record: dict) -> None:
    write_atomically(place / "record.json", json.dumps(record).encode())


def make_record(name: str, config: RunConfig, data: Dataset, fingerprint: str, outcome: dict) -> dict:
    return {
        "run_id": name, "version": VERSION, "config": config.to_dict(),
        "dataset": {"name": data.name, "title": data.title, "fingerprint": fingerprint,
                    "num_train": len(data.train_labels), "num_val": len(data.val_labels)},
        **outcome, "environment": environment(config.device)}


def on_disk(config: RunConfig, error: OSError) -> str:
    """What a disk that failed comes to, in one line."""
    return (f"{config.norm}, seed {config.seed}: {error.strerror or error}; "
            "the next start goes on from the last finished epoch")


def read_record(place: Path) -> dict | None:
    """The finished record in a run's folder; None when there is none that is this run's. Raises OSError."""
    try:
        record = json.loads((place / "record.json").read_bytes())
        _check_record(record)
        if record["run_id"] == place.name and "wrong" in record:
            return record
    except OSError as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        pass
    return None


def _check_record(record: dict) -> None:
    """Raises ValueError, or whatever comes of reading it, when a record is not whole or not its configuration's."""
    config, dataset = RunConfig.from_dict(record["config"]), record["dataset"]
    check_history(record["history"], config.num_epochs)
    if len(record["history"]) < config.num_epochs or record["run_id"] != run_id(config, dataset["fingerprint"]):
        raise ValueError("the record is not this run's")
    wrong = dataset["num_val"] - record["history"][-1]["val_correct"]
    if "wrong" in record and [len([float(value) for value in row]) for row in record["wrong"]] != [5] * wrong:
        raise ValueError("the record's misclassified images are not this run's")
    if not (isinstance(record["num_parameters"], int) and isinstance(record["environment"], dict)
            and all(isinstance(dataset[key], str) for key in ("name", "title"))):
        raise ValueError("the record does not tell of its network, data or machine")


def readable_record(place: Path) -> dict | None:
    """As `read_record`. A disk that fails is met again, and told, by whoever trains the run."""
    with contextlib.suppress(OSError):
        return read_record(place)
    return None


def record_or_none(place: Path) -> dict | None:
    """As `read_record`, and a record that can't be used is set aside; the run's lock must be held."""
    record = read_record(place)
    if record is None and (place / "record.json").exists():
        os.replace(place / "record.json", place / "record.damaged")
    return record


def question(config: RunConfig, fingerprint: str) -> str:
    """What a run asks, whatever computes the answer: all of its content but the device and its precision."""
    recipe = replace(config.recipe, precision="float32")
    return run_id(replace(config, device="cpu", recipe=recipe), fingerprint)


def published_records(folder: Path = RECORDS, whole: bool = True) -> dict[str, dict]:
    """The published runs, one line each in `folder`/*.jsonl, by what they ask: they need no training anywhere.

    Those of another version of the training code are left out; of the `whole` ones alone, those without their
    misclassified images (`publish_records`) too.
    """
    records = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                if record["version"] == VERSION:
                    _check_record(record)
                    if "wrong" in record or not whole:
                        config = RunConfig.from_dict(record["config"])
                        records[question(config, record["dataset"]["fingerprint"])] = record
            except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                raise ParameterError(f"reuse_records: line {number} of {path.name} is no published run ({error}); "
                                     "take the file as it was published, or reuse_records = False") from error
    return records


def publish_records(records: Sequence[dict], name: str, folder: Path = RECORDS, whole: bool = True) -> None:
    """Writes `folder`/`name`.jsonl, one record a line, in the order of their run ids.

    whole: with the misclassified images, which are most of a record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({key: value for key, value in record.items() if whole or key != "wrong"}, ensure_ascii=False)
             for record in sorted(records, key=lambda r: r["run_id"])]
    write_atomically(folder / f"{name}.jsonl", ("\n".join(lines) + "\n").encode())


def environment(device: str = "cpu") -> dict[str, str]:
    """What a run was computed with. No path, user or host name: records are published."""
    return {
        "python": platform.python_version(), "torch": torch_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "processor": _processor(), "cores": str(num_cores()),
    }


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def torch_version() -> str:
    """Without the build behind the "+"."""
    return torch.__version__.split("+")[0]
