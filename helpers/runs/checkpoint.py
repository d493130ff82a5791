"""A run's state on disk: saved after every epoch, and loaded whole or not at all."""

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from helpers.config import RunConfig
from helpers.data import Dataset
from helpers.fast_layers import accelerate
from helpers.files import read_file, set_aside, write_atomically
from helpers.model import build_model
from helpers.runs.weights import FILE_NAME, write_weights
from helpers.training import VERSION, State, start


def fresh_state(config: RunConfig) -> State:
    """A run before its first update, on the fast layers."""
    net = build_model(config.norm, config.num_groups or 2, config.recipe.dropout, config.seed)
    return start(config, accelerate(net, config.recipe.precision))


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint file of one run."""

    path: Path
    config: RunConfig
    data: Dataset

    def save(self, state: State) -> None:
        """Writes all that the next epoch needs. Random states are not part of it: each epoch seeds its own."""
        content = io.BytesIO()
        average = None if state.average is None else state.average.state_dict()
        torch.save({"run": identity(self.config, self.data.fingerprint), "net": state.net.state_dict(),
                    "optimizer": state.optimizer.state_dict(), "average": average, "history": state.history}, content)
        # torch.load does not notice a flipped bit in a tensor: the last 32 bytes do
        write_atomically(self.path, content.getvalue() + hashlib.sha256(content.getbuffer()).digest())

    def save_network(self, state: State) -> None:
        """Writes the network that was validated beside the checkpoint (`weights.py`)."""
        run = identity(self.config, self.data.fingerprint)
        write_weights(self.path.with_name(FILE_NAME), state.validated, run)

    def load(self) -> State | None:
        """The saved state; None without one. What can't be used is set aside with a warning. Raises OSError."""
        written = read_file(self.path)  # a disk that can't be read says nothing about what lies on it
        if written is None:
            return None
        try:
            return self._restore(written)
        except Exception as error:  # whatever is wrong with it, the run can start again
            aside = set_aside(self.path)
            reason = str(error).partition("\n")[0]
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
        state = fresh_state(self.config)
        state.net.load_state_dict(content["net"])
        if state.average is not None:
            state.average.load_state_dict(content["average"])
        for index, momentum in enumerate(momenta(state.optimizer)):
            momentum.copy_(content["optimizer"]["state"][index]["momentum_buffer"])
        state.history = content["history"]
        return state


def identity(config: RunConfig, fingerprint: str) -> dict:
    """What a run is: the same identity never trains twice. fingerprint: of its data."""
    return {"config": config.to_dict(), "data": fingerprint, "version": VERSION}


def momenta(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """SGD's momenta. Those that are not there yet are made, as zeros: that is where they start."""
    tensors = []
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            state = optimizer.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            tensors.append(state["momentum_buffer"])
    return tensors
