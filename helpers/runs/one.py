"""One run: trained once, from its checkpoint if there is one, and what is kept of it."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from helpers.config import RunConfig
from helpers.data import Dataset
from helpers.files import shown
from helpers.machine import reproducible
from helpers.model import num_parameters
from helpers.runs.checkpoint import Checkpoint, fresh_state
from helpers.runs.progress import OnProgress
from helpers.runs.store import Run
from helpers.training import DivergedError, Evaluation, State, conv_weights, epochs, evaluate

NORM_LAYERS = nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d


@dataclass(frozen=True)
class Outcome:
    """How a run ended: with its record, or with one line that says why it has none."""

    record: dict | None = None
    error: str = ""


def disk_failed(run: Run, error: OSError) -> Outcome:
    """The outcome of a run whose disk failed, or in whose folder something is in the way."""
    reason = error.strerror or error
    if error.filename:
        path = shown(error.filename)
        return Outcome(error=f"{run.title}: {path}: {reason}; mend that, or name another runs_dir")
    return Outcome(error=f"{run.title}: {reason}; the next start goes on from the last finished epoch")


def train_one(run: Run, on_progress: OnProgress) -> dict:
    """The record of one run, read or trained. Whoever asks for it meanwhile waits and reads.

    Raises DivergedError and OSError.
    """
    with run.locked():
        return run.take_record() or train_locked(run, on_progress)


def train_locked(run: Run, on_progress: OnProgress) -> dict:
    """Trains a run whose lock is held; its record."""
    result = fit(run.config, run.data, run.checkpoint, partial(on_progress, run.id))
    return run.write_record(run.make_record(result))


def try_run(train: Callable[..., dict], run: Run, *arguments) -> Outcome:
    """What `train(run, ...)` comes to. A run that fails does not stop the others."""
    try:
        return Outcome(train(run, *arguments))
    except DivergedError as error:
        return Outcome(error=str(error))
    except OSError as error:
        return disk_failed(run, error)


def fit(config: RunConfig, data: Dataset, checkpoint: Checkpoint | None = None,
        on_progress: Callable[[int, float, float | None], None] = lambda *progress: None) -> dict:
    """Trains one run and returns its result: plain numbers.

    Uses one CPU thread whatever the machine has: the order of additions, and so the bits, depend on the number.
    Raises DivergedError, and ParameterError when batch_size exceeds the data.
    """
    num_batches = math.ceil(len(data.train_images) / config.recipe.batch_size)
    with reproducible(config.device):
        state = (checkpoint and checkpoint.load()) or fresh_state(config)

        def tell(epoch: int, batch: int) -> None:
            accuracy = state.history[-1]["val_accuracy"] if state.history else None
            on_progress(epoch, batch / num_batches, accuracy)

        clock = time.perf_counter()
        for _ in epochs(config, data, state, tell):
            state.history[-1]["seconds"] = round(time.perf_counter() - clock, 3)
            if checkpoint:
                checkpoint.save(state)
            tell(len(state.history), num_batches)
            clock = time.perf_counter()
        if checkpoint:
            checkpoint.save_network(state)
        return result_of(state, config, data)


def result_of(state: State, config: RunConfig, data: Dataset) -> dict:
    """What is kept of a finished run.

    wrong: [index, label, prediction, probability of the prediction, of the label] for each misclassified image;
    near_zero: share of the convolutions' weights below 0.001; gamma: mean |gamma| of each norm, top to bottom;
    batch_statistics: of BatchNorm alone, the validation with the statistics of batches, as in training.
    """
    net = copy.deepcopy(state.validated)  # the run's own does not change
    images, labels = data.val_images.to(config.device), data.val_labels.to(config.device)
    evaluation = state.evaluation or evaluate(net, images, labels)  # None: every epoch was in the checkpoint
    weights = torch.cat([weight.flatten() for weight in conv_weights(net)])
    norms = [layer for layer in net.modules() if isinstance(layer, NORM_LAYERS) and layer.weight is not None]
    result = {
        "num_parameters": num_parameters(net),
        "history": state.history,
        "wrong": _wrong_images(evaluation, data.val_labels),
        "near_zero": (weights.abs() < 1e-3).float().mean().item(),
        "gamma": [layer.weight.abs().mean().item() for layer in norms]}
    if config.norm == "batch":
        for layer in norms:  # without running statistics they use the batch's in either mode
            layer.track_running_stats = False
            layer.running_mean = layer.running_var = None
        inside = evaluate(net, images, labels, config.recipe.batch_size)
        result["batch_statistics"] = {"val_loss": inside.loss, "val_correct": inside.correct}
    return result


def _wrong_images(evaluation: Evaluation, labels: Tensor) -> list[list]:
    predictions = evaluation.predictions
    rows = []
    for index in (predictions != labels).nonzero().flatten().tolist():
        shares = [round(share[index].item(), 6) for share in (evaluation.confidence, evaluation.true_confidence)]
        rows.append([index, labels[index].item(), predictions[index].item(), *shares])
    return rows
