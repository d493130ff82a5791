"""Many training runs: side by side where that is faster, each trained once, each with its live progress bar.

A run lives in `runs_dir/<run id>/`: `checkpoint.pt` after every epoch, `record.json` when it is done. The id is a
digest of the configuration, the data and the training code's version, so a run is found again by its content.
"""

import contextlib
import errno
import functools
import hashlib
import importlib.resources
import json
import logging
import os
import platform
import re
import shutil
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from filelock import FileLock

from helpers.config import ParameterError, RunConfig
from helpers.data import Dataset
from helpers.files import ROOT, clear_debris, writable_folder, write_atomically
from helpers.together import fit_together
from helpers.training import VERSION, DivergedError, Progress, check_batch_size, check_history, fit

if TYPE_CHECKING:
    import distributed

OnProgress = Callable[[Progress], None]
RECORDS = ROOT / "notebooks" / "records"
MOST_BARS = 30      # a bar for each run; more do not fit on a screen
MOST_TOGETHER = 20  # seeds in one wider network: 1 GB of a GPU's memory


def run_id(config: RunConfig, fingerprint: str) -> str:
    """The run's name: readable in front, a digest of its whole content behind."""
    content = json.dumps({"config": config.to_dict(), "data": fingerprint, "version": VERSION}, sort_keys=True)
    return f"{config.norm}-seed{config.seed}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def train_all(configs: Sequence[RunConfig], data: Dataset, runs_dir: str | Path, workers: int | None = None,
              published: Mapping[str, dict] = MappingProxyType({}), scheduler: str | None = None
              ) -> tuple[list[dict], list[str]]:
    """The records of all runs, in the order of `configs`, and one line for each run that failed.

    What is in `runs_dir`, or among the `published` records (see `published_records`), is read, not trained. Several
    runs on the CPU train in `workers` processes (None: two for each core, so that the last runs share the cores and
    none stands idle), one thread each; a single one in this process. The bits are the same either way. On CUDA the
    seeds of a variant train as one wider network, in this process: the same but for rounding (`helpers.together`).
    scheduler: the address of a Dask scheduler, or its file: the runs go to its workers, whatever the device.
    A relative `runs_dir` starts at the project's folder. Raises ParameterError, before any training, and DivergedError
    when not one run finishes.
    """
    for config in configs:
        check_batch_size(config.recipe, data)
    folder = writable_folder(runs_dir, "runs_dir")
    fingerprint = data.fingerprint
    ids = [run_id(config, fingerprint) for config in configs]
    records = {name: published.get(question(config, fingerprint)) or _readable_record(folder / name)
               for name, config in zip(ids, configs, strict=True)}
    todo = {name: config for name, config in zip(ids, configs, strict=True) if records[name] is None}
    failures = {}
    on_cpu = all(config.device == "cpu" for config in todo.values())
    workers = min(workers or 2 * num_cores(), len(todo)) if on_cpu else 1
    on_cuda = all(config.device == "cuda" for config in todo.values())
    if scheduler and todo:
        outcomes = functools.partial(_train_side_by_side, scheduler=scheduler)
    else:
        outcomes = _train_side_by_side if workers > 1 else _train_together if on_cuda else _train_here
    with _bars(todo) as on_progress:
        for name, record in outcomes(todo, data, fingerprint, folder, workers, on_progress):
            if isinstance(record, str):
                failures[name] = record
            else:
                records[name] = record
    if len(failures) == len(ids):
        raise DivergedError("no run finished: " + "; ".join(failures.values()))
    return [records[name] for name in ids if records[name]], list(failures.values())


def train_one(config: RunConfig, data: Dataset, fingerprint: str, folder: Path, on_progress: OnProgress) -> dict:
    """One run in `folder`/<run id>: its record, read or trained. Whoever asks for it meanwhile waits and reads."""
    place = folder / run_id(config, fingerprint)
    with _locked([place]):
        record = _record_or_none(place)
        if record is None:
            record = _keep(place, config, data, fingerprint, fit(config, data, place / "checkpoint.pt", on_progress))
    return record


def train_seeds(configs: Sequence[RunConfig], data: Dataset, fingerprint: str, folder: Path,
                on_progress: Callable[[str, Progress], None]) -> list[dict | DivergedError | OSError]:
    """Runs that differ in their seed alone, trained as one wider network: their records, or why there is none."""
    places = {config: folder / run_id(config, fingerprint) for config in configs}
    with _locked(list(places.values())):
        results = {config: _record_or_none(place) for config, place in places.items()}
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
def _locked(places: Sequence[Path]) -> Iterator[None]:
    """Makes the runs' folders and holds their locks: whoever else asks for one of them waits."""
    with contextlib.ExitStack() as stack:
        for place in sorted(places):  # in one order everywhere, so that no two wait for each other
            place.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(place / ".lock"))
            clear_debris(place)
        yield


def _keep(place: Path, config: RunConfig, data: Dataset, fingerprint: str, outcome: dict) -> dict:
    """The whole record of a run, written to its folder."""
    record = _record(place.name, config, data, fingerprint, outcome)
    _write(place, record)
    return record


def _write(place: Path, record: dict) -> None:
    write_atomically(place / "record.json", json.dumps(record).encode())


def _record(name: str, config: RunConfig, data: Dataset, fingerprint: str, outcome: dict) -> dict:
    return {
        "run_id": name, "version": VERSION, "config": config.to_dict(),
        "dataset": {"name": data.name, "title": data.title, "fingerprint": fingerprint,
                    "num_train": len(data.train_labels), "num_val": len(data.val_labels)},
        **outcome, "environment": environment(config.device)}


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


def _readable_record(place: Path) -> dict | None:
    """As `read_record`. A disk that fails is met again, and told, by whoever trains the run."""
    with contextlib.suppress(OSError):
        return read_record(place)
    return None


def _record_or_none(place: Path) -> dict | None:
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
        "python": platform.python_version(), "torch": _torch_version(),
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


# --- here, or side by side ------------------------------------------------------------------------------------------

Outcomes = Iterator[tuple[str, dict | str]]  # run id, its record or what went wrong in one line


def _on_disk(config: RunConfig, error: OSError) -> str:
    return (f"{config.norm}, seed {config.seed}: {error.strerror or error}; "
            "the next start goes on from the last finished epoch")


def _train_here(todo: dict[str, RunConfig], data: Dataset, fingerprint: str, folder: Path, _: int,
                on_progress: Callable[[str, Progress], None]) -> Outcomes:
    for name, config in todo.items():
        try:
            yield name, train_one(config, data, fingerprint, folder, lambda p, name=name: on_progress(name, p))
        except DivergedError as error:
            yield name, str(error)
        except OSError as error:  # a full disk: what was computed stays, and the other runs go on
            yield name, _on_disk(config, error)


def _train_together(todo: dict[str, RunConfig], data: Dataset, fingerprint: str, folder: Path, _: int,
                    on_progress: Callable[[str, Progress], None]) -> Outcomes:
    alike = {}
    for name, config in todo.items():
        alike.setdefault(replace(config, seed=0), []).append((name, config))
    for runs in alike.values():
        for start in range(0, len(runs), MOST_TOGETHER):
            names, configs = zip(*runs[start:start + MOST_TOGETHER], strict=True)
            try:
                results = train_seeds(configs, data, fingerprint, folder, on_progress)
            except OSError as error:
                results = [error] * len(configs)
            for name, config, result in zip(names, configs, results, strict=True):
                yield name, (_on_disk(config, result) if isinstance(result, OSError) else
                             str(result) if isinstance(result, DivergedError) else result)


def _train_side_by_side(todo: dict[str, RunConfig], data: Dataset, fingerprint: str, folder: Path, workers: int,
                        on_progress: Callable[[str, Progress], None], scheduler: str | None = None) -> Outcomes:
    from distributed import KilledWorker, as_completed

    with _client(workers, scheduler) as client:
        client.subscribe_topic("progress", lambda event: on_progress(event[1][0], Progress(**event[1][1])))
        with warnings.catch_warnings():  # a task that holds the data can be repeated when a worker dies with its copy;
            warnings.filterwarnings("ignore", "Sending large graph")  # what is scattered would be lost
            shared = client.submit(_as_it_is, data, pure=False)
        common = (shared, fingerprint, str(folder), _mark(folder), _software())
        futures = [client.submit(_train_on_worker, name, config, *common, key=name, retries=2)
                   for name, config in todo.items()]
        for future in as_completed(futures):
            name, config = future.key, todo[future.key]
            try:
                outcome = future.result()
                if isinstance(outcome, dict):
                    with _locked([folder / name]):
                        if _record_or_none(folder / name) is None:  # the worker has no such folder
                            _write(folder / name, outcome)
            except OSError as error:  # a full disk of one machine; the other runs go on
                outcome = _on_disk(config, error)
            except KilledWorker:
                outcome = f"{config.norm}, seed {config.seed}: the workers that trained it died"
            except CancelledError:
                outcome = (f"{config.norm}, seed {config.seed}: the scheduler is gone; the same command goes on from "
                           "the last finished epoch")
            except Exception as error:
                outcome = f"{config.norm}, seed {config.seed}: {' '.join(str(error).split()) or type(error).__name__}"
            yield name, outcome


def _train_on_worker(name: str, config: RunConfig, data: Dataset, fingerprint: str, folder: str, mark: str,
                     software: dict[str, str]) -> dict | str:
    """A run in a worker's process, in the client's folder if the worker finds its `mark` there, else in memory alone.

    software: the client's. A worker that came later than the others may have another one.
    """
    from distributed import get_worker

    worker, mine = get_worker(), _software()
    for what, version in software.items():
        if mine[what] != version:
            raise RuntimeError(f"the worker at {worker.address} has {what} {mine[what]}, who asks has {version}: "
                               "restart the older one, or the results would differ")

    def tell(progress: Progress) -> None:
        worker.log_event("progress", (name, vars(progress)))

    try:
        with _ONE_AT_A_TIME:  # the random state is the process's: a worker with several threads trains one by one
            if _read_mark(Path(folder)) == mark:
                try:
                    return train_one(config, data, fingerprint, Path(folder), tell)
                except OSError as error:
                    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):  # a folder to read, not to write
                        raise
            return _record(name, config, data, fingerprint, fit(config, data, None, tell))
    except DivergedError as error:  # told, not raised: it would be tried again
        return str(error)


_ONE_AT_A_TIME = threading.Lock()


def _as_it_is(data: Dataset) -> Dataset:
    return data


def _mark(folder: Path) -> str:
    """What tells this folder of runs from one of the same path on another machine."""
    if not _read_mark(folder):
        write_atomically(folder / ".id", uuid.uuid4().hex.encode())
    return _read_mark(folder)


def _read_mark(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / ".id").read_text()
    return ""


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator["distributed.Client"]:
    """A client of the Dask cluster at `scheduler`, or of one on this machine for as long as it is needed."""
    import dask
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        # Dask's profiler looks at each worker 100 times a second: 5 to 15 % of the processor with short runs
        stack.enter_context(dask.config.set({"distributed.comm.timeouts.connect": "60s" if scheduler is None else "10s",
                                             "distributed.admin.tick.limit": "1h",
                                             "distributed.worker.profile.enabled": False}))
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it logs, we tell in a line
        if scheduler is None:
            # memory_limit=0: the nanny would pause a worker at 60 % of its share, and the data is small
            cluster = stack.enter_context(LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, memory_limit=0,
                dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL))
            yield stack.enter_context(Client(cluster))
            return
        try:
            address = scheduler
            if Path(scheduler).is_file():  # read here: given a file of anything, Dask's client waits for ever
                address = json.loads(Path(scheduler).read_bytes())["address"]
            elif not re.fullmatch(r"(\w+://)?[^/\s]+:\d+", scheduler):
                raise ParameterError(f"scheduler: got {scheduler!r}, takes an address such as 'tcp://10.0.0.1:8786', "
                                     "or a scheduler file that is there")
            client = stack.enter_context(Client(str(address), timeout=10))
            client.wait_for_workers(1, timeout=60)
        except ParameterError:
            raise
        except Exception as error:  # a file of anything, a protocol that is not installed, nobody there
            raise ParameterError(f"scheduler: got {scheduler!r}, but no Dask scheduler with a worker answers "
                                 "there") from error
        _send_code(client)
        for address, software in client.run(_software).items():
            for what, version in _software().items():
                if software[what] != version:
                    raise ParameterError(f"scheduler: the worker at {address} has {what} {software[what]}, this "
                                         f"process has {version}; the results would differ")
        yield client


def _send_code(client: "distributed.Client") -> None:
    """Makes the workers, and those that come later, run this code, wherever and whenever they were started."""
    def forget() -> None:  # a local function travels whole: it must not come from the modules that it forgets
        import sys
        import zipimport
        for name in [name for name in sys.modules if name.partition(".")[0] == "helpers"]:
            del sys.modules[name]
        sys.path_importer_cache.clear()
        zipimport._zip_directory_cache.clear()

    client.run(forget)
    with tempfile.TemporaryDirectory() as folder:
        client.upload_file(shutil.make_archive(f"{folder}/helpers", "zip", ROOT, "helpers"))


def _software() -> dict[str, str]:
    """What must be the same for the same bits."""
    return {"torch": _torch_version(), "code": _CODE}


def _code() -> str:
    """A digest of this package's modules."""
    modules = sorted((file.name, file.read_bytes()) for file in importlib.resources.files("helpers").iterdir()
                     if file.name.endswith(".py"))
    return hashlib.sha256(repr(modules).encode()).hexdigest()[:12]


_CODE = _code()  # as it was imported: what lies on the disk may have changed since


def _torch_version() -> str:
    return torch.__version__.split("+")[0]


# --- progress bars --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _bars(todo: dict[str, RunConfig]) -> Iterator[Callable[[str, Progress], None]]:
    """One bar for each run, or one for all where they are many; gone when all are done: a saved notebook holds none."""
    if not todo:
        yield lambda name, progress: None
        return
    bars = (_OneBar if len(todo) > MOST_BARS else _Bars)(todo)
    try:
        yield bars
    finally:
        bars.close()
        with contextlib.suppress(ImportError, NameError):
            get_ipython()  # noqa: F821 - defined inside a notebook alone
            from IPython.display import clear_output
            clear_output()


class _Bars:
    """A bar for each run."""

    def __init__(self, todo: dict[str, RunConfig]):
        self.bars = {name: _tqdm()(total=1, position=i, leave=False, mininterval=0.5,
                                   desc=f"{config.norm}, seed {config.seed}",
                                   bar_format="{desc}: {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]")
                     for i, (name, config) in enumerate(todo.items())}

    def __call__(self, name: str, progress: Progress) -> None:
        bar = self.bars[name]
        done = (progress.epoch - 1) * progress.num_batches + progress.batch
        if bar.total == 1:  # a resumed run starts where it stands, so that the time left is right
            bar.initial = done
        bar.total = progress.num_epochs * progress.num_batches
        accuracy = "" if progress.val_accuracy is None else f", {progress.val_accuracy:.2f} %"
        bar.set_postfix_str(f"epoch {progress.epoch}/{progress.num_epochs}{accuracy}", refresh=False)
        bar.update(done - bar.n)
        if done == bar.total:
            bar.refresh()  # a full bar is seen, however soon it closes

    def close(self) -> None:
        for bar in self.bars.values():
            bar.close()


class _OneBar:
    """A bar of epochs for many runs."""

    def __init__(self, todo: dict[str, RunConfig]):
        self.bar = _tqdm()(total=sum(config.num_epochs for config in todo.values()), leave=False, mininterval=0.5,
                           desc=f"{len(todo):,} runs", unit=" epochs")

    def __call__(self, name: str, progress: Progress) -> None:
        if progress.batch == progress.num_batches:
            self.bar.update()

    def close(self) -> None:
        self.bar.close()


def _tqdm() -> type:
    """Bars as widgets where a front-end draws them, as text on stderr elsewhere (a terminal, papermill)."""
    from tqdm import tqdm

    if any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG")):
        with contextlib.suppress(ImportError):
            import ipywidgets  # noqa: F401 - tqdm.notebook only warns when it is missing
            from tqdm.notebook import tqdm
    return tqdm
