"""A client of a Dask cluster: one on this machine, for its user alone, or one that is already there."""

import asyncio
import contextlib
import gc
import json
import logging
import re
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path

from helpers.config import ParameterError

SECONDS_TO_ANSWER = 10
IMPORTED_ONCE = ["distributed", "torch", "torch._dynamo", "pandas", "safetensors.torch"]  # of what a worker imports
NOTHING = logging.CRITICAL + 1  # what Dask logs, we tell in a line; of a client that goes it logs a critical error


@contextlib.contextmanager
def connect(workers: int, scheduler: str | None) -> Iterator:
    """A client of the Dask cluster at `scheduler`, or of one on this machine for as long as it is needed."""
    import dask
    from distributed import Client, LocalCluster
    from distributed.utils import get_mp_context

    logging.getLogger("distributed").setLevel(NOTHING)
    gc.collect()  # a client that failed earlier closes itself when collected; while another starts, that hangs both
    with contextlib.ExitStack() as stack:
        if scheduler is None:  # a site's settings are for its own clusters
            stack.enter_context(dask.config.set(dask.config.merge(*dask.config.defaults)))
        stack.enter_context(dask.config.set({
            "distributed.comm.timeouts.connect": f"{SECONDS_TO_ANSWER}s" if scheduler else "60s",
            # Dask's profiler looks at each worker 100 times a second: 5 to 15 % of the time of short runs
            "distributed.worker.profile.enabled": False}))
        if scheduler:
            yield _find(scheduler, stack)
            return
        if sys.platform == "linux":  # workers are copies of one process, which waits for the next cluster
            stack.enter_context(dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}))
            get_mp_context().set_forkserver_preload(IMPORTED_ONCE)
        stack.enter_context(_scripts_not_run_again())
        with _interrupts_held_back():
            # memory_limit=0: the nanny would pause a worker at 60 % of its share, and the data is small
            # security=True: keys of its own, or any user of this machine could run code on it
            cluster = stack.enter_context(LocalCluster(
                n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0",
                silence_logs=NOTHING, security=True))
        yield stack.enter_context(Client(cluster))


def _find(scheduler: str, stack: contextlib.ExitStack):
    """A client, closed by `stack`, of a scheduler that answers and has a worker. Raises ParameterError."""
    from distributed import Client

    try:
        address = _address(scheduler)
        with ThreadPoolExecutor(1) as pool:  # where this thread has a loop, a notebook's, it can't run another
            pool.submit(asyncio.run, _ask(address)).result()
        client = stack.enter_context(Client(address, timeout=SECONDS_TO_ANSWER))
        client.wait_for_workers(1, timeout=60)
    except ParameterError:
        raise
    except Exception as error:  # a file of anything, a protocol that is not installed, nobody there
        raise ParameterError(f"scheduler: got {scheduler!r}, but no Dask scheduler with a worker answers "
                             "there") from error
    return client


async def _ask(address: str) -> None:
    """Raises when nobody who speaks Dask's language answers: its client would wait for ever."""
    from distributed import Security
    from distributed.comm import connect

    options = Security().get_connection_args("client")
    comm = await asyncio.wait_for(connect(address, SECONDS_TO_ANSWER, **options), SECONDS_TO_ANSWER)
    await comm.close()


def _address(scheduler: str) -> str:
    if Path(scheduler).is_file():  # read here: given a file of anything, Dask's client waits for ever
        return str(json.loads(Path(scheduler).read_bytes())["address"])
    if not re.fullmatch(r"(\w+://)?[^/\s]+:\d+", scheduler):
        raise ParameterError(f"scheduler: got {scheduler!r}, takes an address such as 'tcp://10.0.0.1:8786', or a "
                             "scheduler file that is there")
    return scheduler


def has_workers(client) -> bool:
    """Whether the scheduler answers, and knows of a worker."""
    try:
        answer = asyncio.run_coroutine_threadsafe(client.scheduler.identity(), client.loop.asyncio_loop)
        return bool(answer.result(SECONDS_TO_ANSWER)["workers"])
    except Exception:  # a scheduler that is gone, or silent
        return False


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C waits until the end. Processes that start inside never get it: each would tell of it at length."""
    held_back = []
    before = None
    mask = None
    with contextlib.suppress(ValueError):  # another thread than the main one: it gets none
        before = signal.signal(signal.SIGINT, lambda *_: held_back.append(True))
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        resource_tracker.ensure_running()  # it would start with the first process, and unblock the signal again
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # threads and processes inherit it
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if before is not None:
            signal.signal(signal.SIGINT, before)
    if held_back:
        signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _scripts_not_run_again() -> Iterator[None]:
    """A process that starts inside does not import the script that started it, which would train once more."""
    main = vars(sys.modules["__main__"])
    hidden = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        main.update(hidden)
