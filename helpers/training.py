"""One training run: reproducible to the bit, checkpointed every epoch. Neither prints nor plots."""

import contextlib
import copy
import ctypes
import hashlib
import io
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.config import ParameterError, Recipe, RunConfig
from helpers.data import Dataset, batches, normalize
from helpers.files import write_atomically
from helpers.model import build_model, num_parameters

VERSION = 3  # part of every run's identity: raise it when the same configuration would train to other bits


class DivergedError(RuntimeError):
    """The loss is no longer a number. One line: the epoch and the likely cause."""

    def _render_traceback_(self) -> list[str]:
        return [f"DivergedError: {self}"]


@dataclass(frozen=True)
class Evaluation:
    """What a network does on images: means over all of them, and one entry for each image, in file order."""

    loss: float               # mean cross-entropy, nats
    accuracy: float           # percent
    correct: int              # images
    predictions: Tensor       # (N,) int64
    confidence: Tensor        # (N,) float32, probability of the prediction
    true_confidence: Tensor   # (N,) float32, probability of the label


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever shows it."""

    epoch: int                # the one under way, from 1
    batch: int                # batches done in it
    num_batches: int          # of an epoch
    num_epochs: int
    val_accuracy: float | None  # percent, after the last whole epoch


def resolve_device(device: str) -> str:
    """"cuda", "mps" or "cpu": the best there is for "auto". Raises ParameterError when the one asked for is missing."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, available in there.items() if available)
    if not there[device]:
        raise ParameterError(f"device: got {device!r}, but this machine has none; takes 'auto' or "
                             + " or ".join(repr(name) for name, available in there.items() if available))
    return device


def resolve_precision(precision: str, device: str) -> str:
    """"float32" or "bfloat16": for "auto" bfloat16 on a CPU with instructions for it. Raises ParameterError."""
    if precision == "bfloat16" and device != "cpu":
        raise ParameterError(f"precision: got 'bfloat16' on {device!r}, takes 'auto' or 'float32' there")
    if precision != "auto":
        return precision
    with contextlib.suppress(OSError):  # other systems than Linux have no such file
        flags = Path("/proc/cpuinfo").read_text() if device == "cpu" else ""
        if "avx512_bf16" in flags or "amx_bf16" in flags:
            return "bfloat16"
    return "float32"


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, num_epochs: int) -> float:
    """The learning rate of update `step` (from 0): a function of the step alone, so that resuming needs no state.

    "step" divides by 10 every 6 epochs (torch's StepLR(6, 0.1)); "one_cycle" rises from lr / 25 to lr in 30 % of the
    steps and falls to lr / 250,000, both along a cosine (torch's OneCycleLR; Smith and Topin, arXiv:1708.07120).
    """
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "step":
        return recipe.lr * 0.1 ** (step // steps_per_epoch // 6)
    last = steps_per_epoch * num_epochs - 1
    low, lowest, peak_step = recipe.lr / 25, recipe.lr / 25 / 1e4, 0.3 * (last + 1) - 1
    if step <= peak_step:
        start, end, share = low, recipe.lr, step / peak_step
    else:
        start, end, share = recipe.lr, lowest, (step - peak_step) / (last - peak_step)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def l1_penalty(net: nn.Module, recipe: Recipe) -> Tensor:
    """lambda * sum |p|, a scalar: over "all" parameters, or the convolutions' "weights" alone."""
    return recipe.l1_lambda * torch.cat([p.flatten() for p in penalized(net, recipe.l1_target)]).abs().sum()


def penalized(net: nn.Module, target: str) -> list[nn.Parameter]:
    """The parameters that the L1 penalty counts: "all", or the convolutions' "weights"."""
    return list(net.parameters()) if target == "all" else conv_weights(net)


def conv_weights(net: nn.Module) -> list[nn.Parameter]:
    """The weights of the convolutions, top to bottom."""
    return [m.weight for m in net.modules() if isinstance(m, nn.Conv2d)]


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD; weight decay on the convolutions alone, since a norm's weight near zero would only scale its block away."""
    convs = conv_weights(net)
    others = [p for p in net.parameters() if not any(p is conv for conv in convs)]
    groups = [{"params": convs, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    nesterov = recipe.nesterov and recipe.momentum > 0  # torch refuses Nesterov without momentum
    one_kernel = {"foreach": True} if next(net.parameters()).device.type == "mps" else {"fused": True}
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, **one_kernel)


def average_decay(decay: float, step: int) -> float:
    """The running average's decay at update `step` (from 0).

    It grows to its full value with the steps, so that a short run's average is not its random start.
    """
    return min(decay, (1 + step) / (10 + step))


def update_average(average: nn.Module, net: nn.Module, decay: float, step: int) -> None:
    """Moves the running average of weights and norm statistics towards `net`, after update `step` (from 0)."""
    decay = average_decay(decay, step)
    mine = [t for t in average.state_dict().values() if t.is_floating_point()]
    theirs = [t for t in net.state_dict().values() if t.is_floating_point()]
    torch._foreach_lerp_(mine, theirs, 1 - decay)


def train_one_epoch(net: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, config: RunConfig,
                    epoch: int, average: nn.Module | None = None,
                    on_batch: Callable[[int], None] = lambda batch: None) -> dict[str, float]:
    """One pass over the training images; `epoch` counts from 1.

    Returns sample-weighted means over the epoch: train_loss (nats, without the penalty), l1_penalty (nats),
    train_accuracy (percent; of augmented images and moving weights, so usually below the validation accuracy).
    """
    recipe, num_images = config.recipe, len(images)
    generator = torch.Generator().manual_seed(epoch_seed(config.seed, epoch))
    torch.manual_seed(epoch_seed(config.seed, epoch) + 500_000)  # for dropout, and not the same numbers again
    num_batches = math.ceil(num_images / recipe.batch_size)
    sums = torch.zeros(3, device=images.device)  # kept on the device: reading them out would stop it every batch
    net.train()
    for batch, (x, y) in enumerate(batches(images, labels, recipe, generator)):  # (N, 1, 28, 28), (N,)
        step = (epoch - 1) * num_batches + batch
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step, num_batches, config.num_epochs)
        logits = net(x)  # (N, 10)
        loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
        penalty = l1_penalty(net, recipe) if recipe.l1_lambda else loss.new_zeros(())
        optimizer.zero_grad(set_to_none=True)
        (loss + penalty).backward()
        optimizer.step()
        if average is not None:
            update_average(average, net, recipe.ema_decay, step)
        with torch.no_grad():
            sums += len(y) * torch.stack([loss, penalty, (logits.argmax(1) == y).float().mean()])
        if (batch + 1) % 20 == 0:  # about once a second
            on_batch(batch + 1)
    loss, penalty, accuracy = (sums.cpu().double() / num_images).tolist()
    return {"train_loss": loss, "l1_penalty": penalty, "train_accuracy": 100 * accuracy}


def epoch_seed(seed: int, epoch: int) -> int:
    """All randomness of an epoch starts here: an epoch is the same whether the ones before it ran now or yesterday."""
    return seed * 1_000_003 + epoch


@torch.no_grad()
def evaluate(net: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500) -> Evaluation:
    """The network in eval mode on uint8 images (N, 28, 28) in file order; its mode is restored.

    Every image weighs the same, so the batch size, and a smaller last batch, change nothing but rounding.
    """
    training = net.training
    net.eval()
    try:
        logits = torch.cat([net(normalize(part)) for part in images.split(batch_size)]).cpu()  # (N, 10)
    finally:
        net.train(training)
    labels, log_probabilities = labels.cpu(), F.log_softmax(logits, dim=1)  # on the CPU: MPS has no float64
    log_true = log_probabilities.gather(1, labels[:, None]).squeeze(1)  # (N,)
    confidence, predictions = log_probabilities.exp().max(1)
    correct = int((predictions == labels).sum())
    return Evaluation(-log_true.double().mean().item(), 100 * correct / len(labels), correct,
                      predictions, confidence, log_true.exp())


def fit(config: RunConfig, data: Dataset, checkpoint: Path | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        build: Callable[..., nn.Module] = build_model) -> dict:
    """Trains one run, from its checkpoint if there is one, and returns its record: plain numbers and strings.

    Uses one CPU thread whatever the machine has: the order of additions, and so the bits, depend on the number.
    `build` makes the network from the arguments of `build_model`.
    Raises DivergedError, and ParameterError when batch_size exceeds the data.
    """
    check_batch_size(config.recipe, data)
    device = torch.device(config.device)
    with one_thread(), deterministic(config.device):
        keep_freed_memory()
        net, optimizer, average, history = prepare(config, data, device, checkpoint, build)
        images, labels = data.train_images.to(device), data.train_labels.to(device)
        val_images, val_labels = data.val_images.to(device), data.val_labels.to(device)
        num_batches = math.ceil(len(images) / config.recipe.batch_size)
        evaluation = None
        for epoch in range(len(history) + 1, config.num_epochs + 1):
            accuracy = history[-1]["val_accuracy"] if history else None

            def on_batch(batch, epoch=epoch, accuracy=accuracy):
                on_progress(Progress(epoch, batch, num_batches, config.num_epochs, accuracy))

            start = time.perf_counter()
            means = train_one_epoch(net, optimizer, images, labels, config, epoch, average, on_batch)
            evaluation = evaluate(average or net, val_images, val_labels)
            history.append(history_row(config, epoch, optimizer.param_groups[0]["lr"], means, evaluation, start))
            save_checkpoint(checkpoint, config, data, net, optimizer, average, history)
            on_progress(Progress(epoch, num_batches, num_batches, config.num_epochs, evaluation.accuracy))
        if evaluation is None:  # every epoch was in the checkpoint
            evaluation = evaluate(average or net, val_images, val_labels)
    return outcome(average or net, config, history, evaluation, data)


def prepare(config: RunConfig, data: Dataset, device: torch.device, checkpoint: Path | None,
            build: Callable[..., nn.Module] = build_model
            ) -> tuple[nn.Module, torch.optim.Optimizer, nn.Module | None, list[dict]]:
    """A run's network, optimizer, running average and history, as they start or as its checkpoint left them."""
    recipe = config.recipe
    net = build(config.norm, config.num_groups or 2, recipe.dropout, config.seed, recipe.precision).to(device)
    optimizer = make_optimizer(net, recipe)
    average = copy.deepcopy(net) if recipe.ema_decay else None
    return net, optimizer, average, load_checkpoint(checkpoint, config, data, net, optimizer, average, device)


HISTORY = {"epoch", "lr", "train_loss", "l1_penalty", "train_accuracy", "val_loss", "val_accuracy", "val_correct",
           "seconds"}


def history_row(config: RunConfig, epoch: int, lr: float, means: dict[str, float], evaluation: Evaluation,
                start: float) -> dict:
    """What is kept of an epoch that began at `start` on the clock. Raises DivergedError."""
    if not (math.isfinite(means["train_loss"]) and math.isfinite(evaluation.loss)):
        cause = f"the learning rate ({config.recipe.lr:g})"
        if config.recipe.l1_lambda:
            cause += f" or l1_lambda ({config.recipe.l1_lambda:g})"
        raise DivergedError(f"{config.norm}, seed {config.seed}: the loss is no longer a number in epoch "
                            f"{epoch}; {cause} is probably too high")
    return {"epoch": epoch, "lr": lr, **means, "val_loss": evaluation.loss, "val_accuracy": evaluation.accuracy,
            "val_correct": evaluation.correct, "seconds": round(time.perf_counter() - start, 3)}


def outcome(net: nn.Module, config: RunConfig, history: list[dict], evaluation: Evaluation, data: Dataset) -> dict:
    """A run's record: plain numbers. `net` is the network that `evaluation` is of.

    near_zero: share of the convolutions' weights below 0.001; gamma: mean |gamma| of each norm, top to bottom;
    batch_statistics: of BatchNorm alone, the validation in train mode, with the statistics of batches as in training.
    """
    wrong = (evaluation.predictions != data.val_labels).nonzero().squeeze(1)
    weights = torch.cat([weight.detach().flatten() for weight in conv_weights(net)])
    record = {
        "num_parameters": num_parameters(net),
        "history": history,
        "wrong": [[i, int(data.val_labels[i]), int(evaluation.predictions[i]),  # index, label, prediction, and
                   round(float(evaluation.confidence[i]), 6),                   # the probabilities of the prediction
                   round(float(evaluation.true_confidence[i]), 6)]              # and of the label
                  for i in wrong.tolist()],
        "near_zero": (weights.abs() < 1e-3).float().mean().item(),
        "gamma": [norm.weight.detach().abs().mean().item() for norm in net.modules()
                  if isinstance(norm, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d) and norm.weight is not None],
    }
    if config.norm == "batch":
        device = next(net.parameters()).device
        inside = evaluate_on_batch_statistics(net, data.val_images.to(device), data.val_labels.to(device),
                                        config.recipe.batch_size)
        record["batch_statistics"] = {"val_loss": inside.loss, "val_correct": inside.correct}
    return record


def evaluate_on_batch_statistics(net: nn.Module, images: Tensor, labels: Tensor, batch_size: int) -> Evaluation:
    """As `evaluate`, but BatchNorm takes its statistics from the batch at hand; nothing of `net` changes."""
    net = copy.deepcopy(net)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # without running statistics it uses the batch's in either mode
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    return evaluate(net, images, labels, batch_size)


def check_batch_size(recipe: Recipe, data: Dataset) -> None:
    """Raises ParameterError when a batch would hold more than the training images."""
    num_images = len(data.train_images)
    if recipe.batch_size > num_images:
        raise ParameterError(f"batch_size: got {recipe.batch_size}, takes at most the {num_images:,} training images "
                             f"of {data.title}")


# --- the state of a run on disk -------------------------------------------------------------------------------------


def save_checkpoint(path: Path | None, config: RunConfig, data: Dataset, net: nn.Module, optimizer,
                    average: nn.Module | None, history: list) -> None:
    """Everything that the next epoch needs; random states are not among it, since each epoch seeds its own."""
    if path is None:
        return
    content = io.BytesIO()
    torch.save({"run": _identity(config, data), "net": net.state_dict(), "optimizer": optimizer.state_dict(),
                "average": average.state_dict() if average is not None else None, "history": history}, content)
    # torch.load does not notice a flipped bit in a tensor: the last 32 bytes do
    write_atomically(path, content.getvalue() + hashlib.sha256(content.getbuffer()).digest())


def load_checkpoint(path: Path | None, config: RunConfig, data: Dataset, net: nn.Module, optimizer,
                    average: nn.Module | None, device) -> list:
    """Restores what `save_checkpoint` wrote and returns the history so far.

    One that is damaged, or another run's, is set aside with a warning, and nothing of it is loaded. Raises OSError.
    """
    if path is None or not path.exists():
        return []
    written = path.read_bytes()  # a disk that can't be read says nothing about what lies on it
    before = [copy.deepcopy(part.state_dict()) for part in (net, optimizer)]
    try:
        if hashlib.sha256(written[:-32]).digest() != written[-32:]:
            raise ValueError("it is damaged")
        # weights_only: what is pickled in it is never run
        content = torch.load(io.BytesIO(written[:-32]), map_location=device, weights_only=True)
        if content["run"] != _identity(config, data):
            raise ValueError("it is another run's")
        check_history(content["history"], config.num_epochs)
        optimizer.load_state_dict({**before[1], "state": _momenta(content["optimizer"]["state"], optimizer)})
        net.load_state_dict(content["net"])
        if average is not None:
            average.load_state_dict(content["average"])
        return content["history"]
    except Exception as error:  # whatever is wrong with it, the run can start again
        aside = path.with_suffix(".damaged")
        os.replace(path, aside)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(f"the checkpoint of {config.norm}, seed {config.seed} can't be used and stands aside as "
                      f"{aside.name}; the run starts again ({reason})", stacklevel=2)
        net.load_state_dict(before[0])
        optimizer.load_state_dict(before[1])
        if average is not None:
            average.load_state_dict(before[0])
        return []


def _identity(config: RunConfig, data: Dataset) -> dict:
    return {"config": config.to_dict(), "data": data.fingerprint, "version": VERSION}


def _momenta(state: dict, optimizer: torch.optim.Optimizer) -> dict:
    """SGD's momenta as they were saved; an optimizer would take tensors of any shape, and crash in its next step."""
    for place, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        momentum = state.get(place, {}).get("momentum_buffer")
        if momentum is not None and (momentum.shape, momentum.dtype) != (parameter.shape, parameter.dtype):
            raise ValueError("its momenta are not this network's")
    return {place: {"momentum_buffer": values.get("momentum_buffer")} for place, values in state.items()}


def check_history(history: object, num_epochs: int) -> None:
    """Raises ValueError when `history` can't be the rows of the first epochs of a run of `num_epochs`."""
    if not (isinstance(history, list) and 0 < len(history) <= num_epochs):
        raise ValueError("its history is not a run's")
    for epoch, row in enumerate(history, 1):
        if not (isinstance(row, dict) and set(row) == HISTORY and row["epoch"] == epoch
                and all(isinstance(value, int | float) and math.isfinite(value) for value in row.values())):
            raise ValueError(f"its history is not a run's in epoch {epoch}")


# --- the machine ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread inside: runs side by side don't fight for cores, and a run alone gives the same bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def deterministic(device: str) -> Iterator[None]:
    """The same bits every time inside, and the caller's random state and settings restored after.

    One CPU thread adds in one order by itself; CUDA must be told, and the debugging aid that then writes every new
    tensor twice be switched off.
    """
    on_cuda = device == "cuda"
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it is first used
    torch.use_deterministic_algorithms(on_cuda, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_cuda else []):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]


def keep_freed_memory() -> None:
    """Tells glibc to keep freed activations for the next step instead of returning them to the kernel (20 % faster).

    Elsewhere (macOS, Windows, musl) it does nothing.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(-3, 32 * 1024**2)  # M_MMAP_THRESHOLD: blocks up to 32 MiB come from the heap
        mallopt(-1, 1024**3)       # M_TRIM_THRESHOLD: up to 1 GiB stays with the process
