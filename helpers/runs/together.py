"""Several seeds of one variant trained at once on a GPU, as one wider network (`wide.py`).

A network this small leaves a GPU idle: what costs is to start its hundreds of operations. So the seeds share them. Each
seed has its own images, weights and results. They are those of a run alone but for rounding: the sums of a wider
convolution are added in another order. (With dropout the masks differ too.)

Before any training the wide network proves itself on this machine: where its first update fails, or is not that of a
run alone, the seeds train one by one.
"""

import contextlib
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from helpers.config import RunConfig
from helpers.data import Dataset
from helpers.machine import deterministic
from helpers.runs.checkpoint import fresh_state
from helpers.runs.one import Outcome, disk_failed, result_of, train_locked, try_run
from helpers.runs.progress import OnProgress
from helpers.runs.store import Run
from helpers.runs.wide import Updates, copy_states
from helpers.training import State, history_row, train_one_epoch

MOST_DIFFERENT = 0.25  # of an update: rounding alone gives up to 0.03, most with BatchNorm


def train_together(runs: Sequence[Run], on_progress: OnProgress) -> list[Outcome]:
    """Reads or trains runs that differ in nothing but their seed. Their checkpoints are those of runs alone."""
    try:
        with contextlib.ExitStack() as locks:
            for run in sorted(runs, key=lambda run: run.id):  # one order everywhere: no two wait for each other
                locks.enter_context(run.locked())
            outcomes = {run.id: Outcome(run.take_record()) for run in runs}
            todo = [run for run in runs if outcomes[run.id].record is None]
            if todo:
                outcomes |= _train_locked(todo, on_progress)
            return [outcomes[run.id] for run in runs]
    except OSError as error:
        return [disk_failed(run, error) for run in runs]


def _train_locked(runs: Sequence[Run], on_progress: OnProgress) -> dict[str, Outcome]:
    """The outcomes by run id. Each goes on alone where the wide network has a flaw, or they stand at other epochs."""
    config = runs[0].config
    with deterministic(config.device):
        states = [run.checkpoint.load() or fresh_state(run.config) for run in runs]
        finished = {len(state.history) for state in states}
        together = len(finished) == 1
        if together:
            flaw = find_flaw(config, runs[0].data, [run.config.seed for run in runs])
            if flaw:
                warnings.warn(f"the seeds of {config.norm} train one by one: the wider network {flaw}", stacklevel=2)
                together = False
        if not together:
            return {run.id: try_run(train_locked, run, on_progress) for run in runs}
        updates = Updates(config, runs[0].data, len(runs))
        copy_states(updates.state, states, into_wide=True)
        outcomes = {run.id: Outcome() for run in runs}
        for epoch in range(finished.pop() + 1, config.num_epochs + 1):
            updates.train_one_epoch(epoch, [run.config.seed for run in runs])
            copy_states(updates.state, states, into_wide=False)
            for run, state, means in zip(runs, states, updates.means(), strict=True):
                if not outcomes[run.id].error:
                    outcomes[run.id] = try_run(_end_epoch, run, state, updates, means)
                if not outcomes[run.id].error:
                    on_progress(run.id, epoch, 1, state.evaluation.accuracy)
        for run, state in zip(runs, states, strict=True):
            if not outcomes[run.id].error:
                outcomes[run.id] = try_run(_keep, run, state, updates)
    return outcomes


def find_flaw(config: RunConfig, data: Dataset, seeds: Sequence[int]) -> str:
    """What is wrong with the wide network's first update on this machine; "" where it is the plain one."""
    # dropout's masks are others in a wider network; a tiny rate would be lost in rounding
    recipe = replace(config.recipe, dropout=0.0, lr=0.1, schedule="constant")
    config = replace(config, recipe=recipe)
    images, labels = data.train_images[:recipe.batch_size], data.train_labels[:recipe.batch_size]
    states = [fresh_state(replace(config, seed=seed)) for seed in seeds]
    try:
        updates = Updates(config, replace(data, train_images=images, train_labels=labels), len(seeds))
        copy_states(updates.state, states, into_wide=True)
        updates.train_one_epoch(1, seeds)
        copy_states(updates.state, states, into_wide=False)
    except RuntimeError as error:  # of CUDA: no memory, an operation that can't be recorded
        return f"fails ({str(error).partition(chr(10))[0]})"
    for seed, state in {seeds[0]: states[0], seeds[-1]: states[-1]}.items():
        alone = replace(config, seed=seed)
        plain = fresh_state(alone)
        before = _weights(plain)
        train_one_epoch(plain, images.to(config.device), labels.to(config.device), alone)
        after = _weights(plain)
        difference = (_weights(state) - after).norm() / (after - before).norm()
        if not difference < MOST_DIFFERENT:  # nan too
            return f"is unlike a run alone: the first update of seed {seed} is {difference:.0%} off"
    return ""


def _weights(state: State) -> Tensor:
    """The weights of a network and of its average, in one row."""
    tensors = [*state.net.parameters(), *state.validated.parameters()]
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _end_epoch(run: Run, state: State, updates: Updates, means: dict[str, float]) -> None:
    """Validates a seed's network and saves its state."""
    state.evaluation = updates.evaluate(state)
    row = history_row(run.config, len(state.history) + 1, updates.rate.item(), means, state.evaluation)
    state.history.append({**row, "seconds": round(time.perf_counter() - updates.clock, 3)})
    run.checkpoint.save(state)


def _keep(run: Run, state: State, updates: Updates) -> dict:
    run.checkpoint.save_network(state)
    state.evaluation = state.evaluation or updates.evaluate(state)  # None: every epoch was in the checkpoint
    return run.write_record(run.make_record(result_of(state, run.config, run.data)))
