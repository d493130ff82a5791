"""Many runs: side by side where that is faster, each trained once, each with its live progress bar."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from helpers.config import OneLineError, RunConfig
from helpers.data import check_batch_size
from helpers.machine import most_workers
from helpers.runs.cluster import train_side_by_side
from helpers.runs.one import Outcome, train_one, try_run
from helpers.runs.progress import OnProgress, progress_bars
from helpers.runs.store import Run, Store
from helpers.runs.together import train_together
from helpers.training import DivergedError

MOST_TOGETHER = 20  # seeds in one wider network: 1 GB of a GPU's memory
SHORT_WORK = 100_000  # training images, each as often as it is seen: half a minute; a cluster starts in 6 s


class Stopped(OneLineError, KeyboardInterrupt):
    """The user stopped the training. IPython prints this line instead of a traceback."""


def train_all(configs: Sequence[RunConfig], store: Store, workers: int | None = None,
              scheduler: str | None = None) -> tuple[list[dict], list[str]]:
    """The records of all runs, in the order of `configs`, and one line for each run that failed.

    What the store has is read, not trained. Several runs on the CPU train in `workers` processes, one thread each
    (None: as many as this machine bears). A single one trains in this process, and so do several short ones. The bits
    are the same either way. On CUDA the seeds of a variant train as one wider network (`together.py`).
    scheduler: the address of a Dask scheduler, or its file: the runs go to its workers, whatever the device.
    Raises ParameterError before any training, DivergedError when not one run finishes, Stopped when interrupted.
    """
    for config in configs:
        check_batch_size(config.recipe, store.data)
    runs = [store.run(config) for config in configs]
    outcomes = {run.id: Outcome(store.find(run.config)) for run in runs}
    # Once, however often it is asked for.
    todo = list({run.id: run for run in runs if outcomes[run.id].record is None}.values())
    devices = {run.config.device for run in todo}
    if workers is None:
        num_images = sum(run.config.num_epochs for run in todo) * len(store.data.train_images)
        workers = most_workers() if num_images > SHORT_WORK else 1
    workers = min(workers, len(todo))
    if (todo and scheduler) or (devices == {"cpu"} and workers > 1):
        train = partial(train_side_by_side, workers=workers, scheduler=scheduler)
    else:
        train = _train_seeds_together if devices == {"cuda"} else _train_one_by_one
    try:
        with progress_bars(todo) as on_progress:
            for run, outcome in train(todo, on_progress):
                outcomes[run.id] = outcome
    except KeyboardInterrupt:
        raise Stopped("run this again: it goes on from the last finished epoch") from None
    failures = [outcome.error for outcome in outcomes.values() if outcome.error]
    if failures and len(failures) == len(outcomes):
        raise DivergedError("no run finished: " + "; ".join(failures))
    records = [outcomes[run.id].record for run in runs]
    return [record for record in records if record], failures


def _train_one_by_one(todo: Sequence[Run], on_progress: OnProgress) -> Iterator[tuple[Run, Outcome]]:
    for run in todo:
        yield run, try_run(train_one, run, on_progress)


def _train_seeds_together(todo: Sequence[Run], on_progress: OnProgress) -> Iterator[tuple[Run, Outcome]]:
    alike: dict[RunConfig, list[Run]] = {}
    for run in todo:
        alike.setdefault(replace(run.config, seed=0), []).append(run)
    for runs in alike.values():
        for first in range(0, len(runs), MOST_TOGETHER):
            part = runs[first:first + MOST_TOGETHER]
            yield from zip(part, train_together(part, on_progress), strict=True)
