"""Runs side by side in the processes of a Dask cluster: one on this machine, or one that is already there."""

import copy
import errno
import hashlib
import importlib.resources
import os
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path

from helpers.config import ParameterError, RunConfig
from helpers.data import Dataset
from helpers.files import ROOT
from helpers.machine import torch_version
from helpers.runs.connect import connect, has_workers
from helpers.runs.one import Outcome, disk_failed, fit, train_one
from helpers.runs.progress import OnProgress
from helpers.runs.store import Run, run_id
from helpers.training import DivergedError

CHECK_SECONDS = 5   # between two looks at whether there are workers
TOLD_SECONDS = 60   # without any
END_SECONDS = 600


def train_side_by_side(todo: Sequence[Run], on_progress: OnProgress, workers: int = 1,
                       scheduler: str | None = None) -> Iterator[tuple[Run, Outcome]]:
    """The runs and their outcomes, as they end.

    workers: processes of a cluster on this machine, gone when all is done; with a `scheduler`, its own are taken.
    """
    with connect(workers, scheduler) as client:
        if scheduler:
            _send_code(client)
            client.run(check_software, software())
        client.subscribe_topic("progress", lambda event: on_progress(*event[1]))
        with warnings.catch_warnings():  # a task that holds the data can be repeated when a worker dies with its copy;
            warnings.filterwarnings("ignore", "Sending large graph")  # what is scattered would be lost
            data = client.submit(copy.copy, todo[0].data, pure=False)
        shared = (data, str(todo[0].folder.parent), software())
        runs = {client.submit(train_on_worker, run.config, *shared, key=run.id, retries=2): run for run in todo}
        waiting = set(runs)
        for future in _as_completed(client, runs):
            waiting.remove(future)
            yield runs[future], _outcome(future.result, runs[future])
        for run in map(runs.get, waiting):
            yield run, Outcome(error=f"{run.title}: there are no workers; the same command goes on")


def _as_completed(client, futures: Iterable) -> Iterator:
    """The futures as they end. A minute without any worker is told; ten minutes are the end."""
    from distributed import as_completed

    completed = as_completed(futures)
    last_seen = time.monotonic()
    is_told = False
    while completed.count():
        if completed.has_ready():
            yield next(completed)
            continue
        time.sleep(0.1)
        without = time.monotonic() - last_seen
        if without > CHECK_SECONDS and has_workers(client):
            last_seen = time.monotonic()
        elif without > END_SECONDS:
            return
        elif without > TOLD_SECONDS and not is_told:
            is_told = True
            warnings.warn(f"the scheduler has had no worker for {without:.0f} s; the runs go on when one comes, "
                          f"and end without one in {END_SECONDS - without:.0f} s", stacklevel=2)


def _outcome(get: Callable[[], Outcome], run: Run) -> Outcome:
    """What came of a run; its record is written here when the worker has no such folder."""
    from distributed import KilledWorker

    try:
        outcome = get()
        if outcome.record:
            _keep(run, outcome.record)
        return outcome
    except OSError as error:  # a full disk of one machine; the other runs go on
        return disk_failed(run, error)
    except KilledWorker:
        reason = "the workers that trained it died"
    except CancelledError:
        reason = "the scheduler is gone; the same command goes on from the last finished epoch"
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    return Outcome(error=f"{run.title}: {reason}")


def _keep(run: Run, record: dict) -> None:
    """Writes a record that the worker has not. What can't be written is this study's all the same."""
    try:
        with run.locked():
            if run.take_record() is None:
                run.write_record(record)
    except OSError as error:
        warnings.warn(f"{disk_failed(run, error).error}; the record is this study's alone", stacklevel=3)


def train_on_worker(config: RunConfig, data: Dataset, folder: str, expected: dict[str, str]) -> Outcome:
    """A run in a worker's process: in the client's folder of runs where the worker has one too, else in memory alone.

    On another machine it may be a folder of its own. What it finds there is this run's: it is known by its content.
    """
    from distributed import get_worker

    worker = get_worker()
    check_software(expected, worker)  # it may have come later than the others
    run = Run(Path(folder) / run_id(config, data.fingerprint), config, data)

    def tell(*progress) -> None:
        worker.log_event("progress", progress)

    try:
        with _ONE_AT_A_TIME:  # the random state is the process's: a worker with several threads trains one by one
            if os.path.isdir(folder):
                try:
                    return Outcome(train_one(run, tell))
                except OSError as error:
                    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):  # a folder to read, not to write
                        raise
            return Outcome(run.make_record(fit(config, data, on_progress=partial(tell, run.id))))
    except DivergedError as error:  # returned, not raised: Dask would try it again
        return Outcome(error=str(error))


_ONE_AT_A_TIME = threading.Lock()


def software() -> dict[str, str]:
    """What must be the same for the same bits."""
    return {"torch": torch_version(), "code": _CODE}


def check_software(expected: dict[str, str], dask_worker) -> None:
    """Refuses a worker whose software is not the `expected`. `Client.run` gives a `dask_worker` to a function."""
    found = software()
    for what, version in expected.items():
        if found[what] != version:
            raise ParameterError(f"scheduler: the worker at {dask_worker.address} has {what} {found[what]}, this "
                                 f"process has {version}; the results would differ")


def _modules(folder) -> Iterator[tuple[str, bytes]]:
    """The names and contents of all modules in a folder of a package, which may lie in a zip file."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _modules(entry)
        elif entry.name.endswith(".py"):
            yield entry.name, entry.read_bytes()


# A digest of the code as it was imported: what lies on the disk may have changed since.
_CODE = hashlib.sha256(repr(sorted(_modules(importlib.resources.files("helpers")))).encode()).hexdigest()[:12]


def _send_code(client) -> None:
    """Makes all workers run this code, however old they are, and those that come later.

    Unlike `client.upload_file` it replaces what was sent before: a later worker would unpack both into one file.
    """
    from distributed.diagnostics.plugin import SchedulerUploadFile, UploadFile

    def forget() -> None:  # a local function travels whole: it must not come from the modules that it forgets
        import sys
        import zipimport
        for name in [name for name in sys.modules if name.partition(".")[0] == "helpers"]:
            del sys.modules[name]
        sys.path_importer_cache.clear()
        zipimport._zip_directory_cache.clear()

    client.run(forget)
    client.run_on_scheduler(forget)  # it unpickles what it passes on
    with tempfile.TemporaryDirectory() as folder:
        archive = shutil.make_archive(f"{folder}/helpers", "zip", ROOT, "helpers")
        client.register_plugin(SchedulerUploadFile(archive), name="helpers, scheduler")
        client.register_plugin(UploadFile(archive), name="helpers")
