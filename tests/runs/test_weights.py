"""The networks that runs leave: whole, sealed, and found for the study that they answer."""

import random

import pytest
import torch
from support import make_run_config

from helpers.files import RECORDS
from helpers.results.networks import find_weights
from helpers.runs.one import train_one
from helpers.runs.weights import FILE_NAME, load_network, read_weights
from helpers.training import evaluate


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_a_run_leaves_the_network_that_was_validated(store, norm):
    run = store.run(make_run_config(norm))
    record = train_one(run, lambda *progress: None)
    data = store.data
    again = evaluate(load_network(run.folder / FILE_NAME), data.val_images, data.val_labels)
    assert again.loss == pytest.approx(record["history"][-1]["val_loss"], rel=1e-5)
    assert again.correct == record["history"][-1]["val_correct"]


@pytest.mark.parametrize("part", ["header", "weights"])
def test_a_changed_weight_is_noticed(store, part):
    """Any flipped bit: in names, shapes, which run's it is, and the numbers themselves."""
    run = store.run(make_run_config(num_epochs=1))
    train_one(run, lambda *progress: None)
    path = run.folder / FILE_NAME
    content = path.read_bytes()
    end_of_header = 8 + int.from_bytes(content[:8], "little")
    positions = random.Random(0)
    for _ in range(300):
        damaged = bytearray(content)
        first, end = (0, end_of_header) if part == "header" else (end_of_header, len(content))
        damaged[positions.randrange(first, end)] ^= 1 << positions.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError):
            read_weights(path)


def test_the_first_seed_that_has_all_is_found(store):
    configs = [make_run_config(norm, seed, num_epochs=1) for seed in (0, 1) for norm in ("layer", "group")]
    assert find_weights(configs, store) == [], "the published networks were trained on other data"
    for config in (configs[0], *configs[2:]):
        train_one(store.run(config), lambda *progress: None)
    found = find_weights(configs, store)
    assert found == [store.run(config).folder / FILE_NAME for config in configs[2:]]


def test_published_networks_load_with_one_call():
    for norm, num_parameters in (("layer", 75_080), ("group", 10_832), ("batch", 10_832)):
        net = load_network(RECORDS / f"{norm}.safetensors")
        assert sum(parameter.numel() for parameter in net.parameters()) == num_parameters and not net.training
        assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert sum(path.stat().st_size for path in RECORDS.glob("*.safetensors")) < 500_000
