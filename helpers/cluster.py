"""Runs side by side in the processes of a Dask cluster: one on this machine, or one that is already there."""

import contextlib
import errno
import hashlib
import importlib.resources
import json
import logging
import re
import shutil
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.config import ParameterError, RunConfig
from helpers.data import Dataset
from helpers.files import ROOT, write_atomically
from helpers.records import (
    Outcomes,
    locked,
    make_record,
    on_disk,
    record_or_none,
    torch_version,
    train_one,
    write_record,
)
from helpers.training import DivergedError, Progress, fit

if TYPE_CHECKING:
    import distributed


def train_side_by_side(todo: dict[str, RunConfig], data: Dataset, fingerprint: str, folder: Path, workers: int,
                        on_progress: Callable[[str, Progress], None], scheduler: str | None = None) -> Outcomes:
    """The runs' records, or what went wrong in one line, by run id, as they end.

    workers: processes of a cluster on this machine, gone when all is done; with a `scheduler`, its own are taken.
    """
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
                    with locked([folder / name]):
                        if record_or_none(folder / name) is None:  # the worker has no such folder
                            write_record(folder / name, outcome)
            except OSError as error:  # a full disk of one machine; the other runs go on
                outcome = on_disk(config, error)
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
            return make_record(name, config, data, fingerprint, fit(config, data, None, tell))
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
    return {"torch": torch_version(), "code": _CODE}


def _code() -> str:
    """A digest of this package's modules."""
    modules = sorted((file.name, file.read_bytes()) for file in importlib.resources.files("helpers").iterdir()
                     if file.name.endswith(".py"))
    return hashlib.sha256(repr(modules).encode()).hexdigest()[:12]


_CODE = _code()  # as it was imported: what lies on the disk may have changed since
