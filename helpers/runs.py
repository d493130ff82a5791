"""Many training runs: side by side where that is faster, each trained once, each with its live progress bar."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from helpers.cluster import train_side_by_side
from helpers.config import RunConfig
from helpers.data import Dataset
from helpers.files import writable_folder
from helpers.progress import progress_bars
from helpers.records import (
    Outcomes,
    num_cores,
    on_disk,
    question,
    readable_record,
    run_id,
    train_one,
    train_seeds,
)
from helpers.training import DivergedError, Progress, check_batch_size

MOST_TOGETHER = 20  # seeds in one wider network: 1 GB of a GPU's memory


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
    records = {name: published.get(question(config, fingerprint)) or readable_record(folder / name)
               for name, config in zip(ids, configs, strict=True)}
    todo = {name: config for name, config in zip(ids, configs, strict=True) if records[name] is None}
    failures = {}
    on_cpu = all(config.device == "cpu" for config in todo.values())
    workers = min(workers or 2 * num_cores(), len(todo)) if on_cpu else 1
    on_cuda = all(config.device == "cuda" for config in todo.values())
    if scheduler and todo:
        outcomes = partial(train_side_by_side, scheduler=scheduler)
    else:
        outcomes = train_side_by_side if workers > 1 else _train_together if on_cuda else _train_here
    with progress_bars(todo) as on_progress:
        for name, record in outcomes(todo, data, fingerprint, folder, workers, on_progress):
            if isinstance(record, str):
                failures[name] = record
            else:
                records[name] = record
    if len(failures) == len(ids):
        raise DivergedError("no run finished: " + "; ".join(failures.values()))
    return [records[name] for name in ids if records[name]], list(failures.values())


def _train_here(todo: dict[str, RunConfig], data: Dataset, fingerprint: str, folder: Path, _: int,
                on_progress: Callable[[str, Progress], None]) -> Outcomes:
    for name, config in todo.items():
        try:
            yield name, train_one(config, data, fingerprint, folder, lambda p, name=name: on_progress(name, p))
        except DivergedError as error:
            yield name, str(error)
        except OSError as error:  # a full disk: what was computed stays, and the other runs go on
            yield name, on_disk(config, error)


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
                yield name, (on_disk(config, result) if isinstance(result, OSError) else
                             str(result) if isinstance(result, DivergedError) else result)
