"""A run's network, as it was validated: `weights.safetensors` in the run's folder, and published ones in records/."""

import hashlib
import json
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from helpers.config import RunConfig
from helpers.files import read_file, write_atomically
from helpers.model import Net, build_model

FILE_NAME = "weights.safetensors"


def write_weights(path: Path, net: nn.Module, run: dict) -> None:
    """Writes a network whole or not at all. run: its `identity`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    text = json.dumps(run, sort_keys=True)
    metadata = {"run": text, "seal": _seal(tensors, text)}
    write_atomically(path, safetensors.torch.save(tensors, metadata))


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict]:
    """A network's tensors and the identity of its run. Raises ValueError for a damaged file, and OSError."""
    written = read_file(path)
    if written is None:
        raise FileNotFoundError(f"{path.name} is not there")
    try:
        tensors = safetensors.torch.load(written)
        size = int.from_bytes(written[:8], "little")  # of the header, which `load` does not hand out
        metadata = json.loads(written[8:8 + size])["__metadata__"]
        run = json.loads(metadata["run"])
    except Exception as error:  # safetensors has an error type of its own
        raise ValueError(f"{path.name} holds no network ({error})") from error
    if metadata.get("seal") != _seal(tensors, metadata["run"]):
        raise ValueError(f"{path.name} is damaged")
    return tensors, run


def load_network(path: str | Path) -> Net:
    """The trained network of a weights file, in evaluation mode.

    `load_network("notebooks/records/layer.safetensors")` is the published one with LayerNorm. It takes images
    (N, 1, 28, 28) as `helpers.data.normalize` gives them. Raises ValueError for a damaged file, and OSError.
    """
    tensors, run = read_weights(Path(path))
    config = RunConfig.from_dict(run["config"])
    net = build_model(config.norm, config.num_groups or 2)
    net.load_state_dict(tensors)
    return net.eval()


def _seal(tensors: dict[str, Tensor], run: str) -> str:
    """A digest of all that the file says."""
    digest = hashlib.sha256(run.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
