"""A run's state on disk: saved after every epoch, and loaded whole or not at all."""

import hashlib
import io
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from helpers.config import RunConfig
from helpers.data import Dataset
from helpers.fast_layers import fast_model
from helpers.files import write_atomically
from helpers.training import VERSION, State, start

HISTORY_COLUMNS = {"epoch", "lr", "train_loss", "l1_penalty", "train_accuracy", "val_loss", "val_accuracy",
                   "val_correct", "seconds"}


def fresh_state(config: RunConfig) -> State:
    """A run before its first update, on the fast layers."""
    return start(config, fast_model(config))


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint file of one run."""

    path: Path
    config: RunConfig
    data: Dataset

    def save(self, state: State) -> None:
        """Writes all that the next epoch needs. Random states are not part of it: each epoch seeds its own."""
        content = io.BytesIO()
        torch.save({
            "run": identity(self.config, self.data.fingerprint),
            "net": state.net.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "average": state.average.state_dict() if state.average is not None else None,
            "history": state.history}, content)
        # torch.load does not notice a flipped bit in a tensor: the last 32 bytes do
        write_atomically(self.path, content.getvalue() + hashlib.sha256(content.getbuffer()).digest())

    def load(self) -> State | None:
        """The state that was saved; None without a checkpoint.

        One that is damaged, or another run's, is set aside with a warning. Raises OSError.
        """
        if not self.path.exists():
            return None
        written = self.path.read_bytes()  # a disk that can't be read says nothing about what lies on it
        try:
            return self._restore(written)
        except Exception as error:  # whatever is wrong with it, the run can start again
            aside = self.path.with_suffix(".damaged")
            os.replace(self.path, aside)
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            warnings.warn(f"the checkpoint of {self.config.norm}, seed {self.config.seed} can't be used and stands "
                          f"aside as {aside.name}; the run starts again ({reason})", stacklevel=2)
            return None

    def _restore(self, written: bytes) -> State:
        if hashlib.sha256(written[:-32]).digest() != written[-32:]:
            raise ValueError("it is damaged")
        # weights_only: what is pickled in it is never run
        content = torch.load(io.BytesIO(written[:-32]), map_location=self.config.device, weights_only=True)
        if content["run"] != identity(self.config, self.data.fingerprint):
            raise ValueError("it is another run's")
        check_history(content["history"], self.config.num_epochs)
        state = fresh_state(self.config)
        state.net.load_state_dict(content["net"])
        if state.average is not None:
            state.average.load_state_dict(content["average"])
        _restore_momenta(state.optimizer, content["optimizer"]["state"])
        state.history = content["history"]
        return state


def identity(config: RunConfig, fingerprint: str) -> dict:
    """What a run is: the same identity never trains twice. fingerprint: of its data."""
    return {"config": config.to_dict(), "data": fingerprint, "version": VERSION}


def _restore_momenta(optimizer: torch.optim.Optimizer, saved: dict) -> None:
    """SGD's momenta, copied into tensors of our own: an optimizer would take any, and crash in its next step."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, parameter in enumerate(parameters):
        momentum = saved.get(index, {}).get("momentum_buffer")
        if momentum is None:
            continue
        if (momentum.shape, momentum.dtype) != (parameter.shape, parameter.dtype):
            raise ValueError("its momenta are not this network's")
        optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum).detach()


def check_history(history: object, num_epochs: int) -> None:
    """Raises ValueError when `history` can't be the rows of the first epochs of a run of `num_epochs`."""
    if not isinstance(history, list) or not 0 < len(history) <= num_epochs:
        raise ValueError("its history is not a run's")
    for epoch, row in enumerate(history, 1):
        if not isinstance(row, dict) or set(row) != HISTORY_COLUMNS or row["epoch"] != epoch:
            raise ValueError(f"its history is not a run's in epoch {epoch}")
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in row.values()):
            raise ValueError(f"its history is not a run's in epoch {epoch}")
