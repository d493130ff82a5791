"""The trained networks and a few validation images in one file, for the page's section "Try it"."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from helpers.config import RunConfig
from helpers.data import MEAN, STD, Dataset
from helpers.files import NETWORKS, RECORDS, write_atomically
from helpers.results.comparisons import SHORT
from helpers.runs.checkpoint import identity
from helpers.runs.store import Store
from helpers.runs.weights import FILE_NAME, read_weights

NUM_EXAMPLES = 36  # validation images beside those that most runs get wrong


def find_weights(configs: Sequence[RunConfig], store: Store) -> list[Path]:
    """The weights files of one seed, one a variant: the first seed of these runs that has them all.

    Else the published ones, where they were trained in the same way on the same data; else an empty list.
    """
    alike = [config for config in configs if config.seed == configs[0].seed]
    for seed in dict.fromkeys(config.seed for config in configs):
        paths = [store.run(replace(config, seed=seed)).folder / FILE_NAME for config in alike]
        if _answer(paths, alike, store.data):
            return paths
    published = [RECORDS / f"{config.norm}.safetensors" for config in alike]
    return published if _answer(published, alike, store.data) else []


def _answer(paths: Sequence[Path], configs: Sequence[RunConfig], data: Dataset) -> bool:
    """Whether the files' networks were trained as `configs` say, whatever their seed."""
    for path, config in zip(paths, configs, strict=True):
        try:
            run = read_weights(path)[1]
            trained = RunConfig.from_dict(run["config"])
        except (OSError, ValueError):
            return False
        same = replace(trained, seed=config.seed, device=config.device)
        if identity(same, run["data"]) != identity(config, data.fingerprint):
            return False
    return True


def pack_networks(weights: Sequence[Path], data: Dataset, wrong: Sequence[int]) -> bytes:
    """A safetensors file: weights as float16, images as uint8 (N, 784), and what the page's script must know.

    weights: files of one seed, one a variant; of none nothing is packed. wrong: indices of validation images.
    """
    if not weights:
        return b""
    step = max(1, len(data.val_labels) // NUM_EXAMPLES)
    indices = [*range(0, len(data.val_labels), step)][:NUM_EXAMPLES]
    images = []
    for is_wrong, chosen in ((False, indices), (True, wrong)):
        for index in chosen:
            label = data.val_labels[index].item()
            images.append({"index": int(index), "label": label, "is_wrong": is_wrong})
    tensors: dict[str, Tensor] = {"images": data.val_images[[*indices, *wrong]].flatten(1)}
    names = {}
    num_groups = 2
    for path in weights:
        network, run = read_weights(path)
        config = run["config"]
        names[config["norm"]] = SHORT[config["norm"]]
        num_groups = config.get("num_groups") or num_groups
        for name, tensor in network.items():
            if tensor.dtype == torch.float32:  # BatchNorm's count of batches is not needed
                tensors[f"{config['norm']}.{name}"] = tensor.half()
    facts = {"names": names, "num_groups": num_groups, "mean": MEAN, "std": STD, "images": images}
    return safetensors.torch.save(tensors, {"facts": json.dumps(facts)})


def save_networks(folder: Path, weights: Sequence[Path], networks: bytes) -> None:
    """Writes what the page needs, and `records/<norm>.safetensors` as they are published."""
    if not networks:
        return
    write_atomically(folder / NETWORKS, networks)
    (folder / "records").mkdir(exist_ok=True)
    for path in weights:
        norm = read_weights(path)[1]["config"]["norm"]
        write_atomically(folder / "records" / f"{norm}.safetensors", path.read_bytes())
