"""Seeds trained as one wider network have each the results of a run alone; here on the CPU, without the graph."""

import copy
import errno
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from helpers import records as kept
from helpers import runs, together
from helpers.config import VARIANTS
from helpers.model import Net, build_model
from helpers.runs import train_all
from helpers.together import Updates, fit_together
from helpers.training import DivergedError, evaluate, fit, train_one_epoch

SEEDS = (3, 0, 7)


def wide_and_narrow(config, seeds=SEEDS):
    """A wider network that holds one network for each seed, and those networks."""
    narrow = [together._Run(replace(config, seed=seed), None, torch.device("cpu"), None) for seed in seeds]
    wide = Net(config.norm, config.num_groups or 2, config.recipe.dropout, copies=len(seeds))
    return wide, narrow


@pytest.mark.parametrize("norm", VARIANTS)
def test_wide_network_is_its_networks_side_by_side(norm, tiny_data, make_config):
    config = make_config(norm, ema_decay=0.0)
    wide, narrow = wide_and_narrow(config)
    together._move(narrow, Updates(wide, None, config, tiny_data, 3), "into the wide network")
    for net in (wide, *(run.net for run in narrow)):
        net.double()
    images = torch.randn(8, 3, 28, 28, dtype=torch.float64)
    weights = torch.randn(8, 3, 10, dtype=torch.float64)
    for mode in (True, False):
        logits = wide.train(mode)(images).view(8, 3, 10)
        gradients = torch.autograd.grad((logits * weights).sum(), list(wide.parameters()))
        for place, run in enumerate(narrow):
            alone = run.net.train(mode)(images[:, place:place + 1])
            assert_close(logits[:, place], alone, rtol=1e-9, atol=1e-9)
            own = torch.autograd.grad((alone * weights[:, place]).sum(), list(run.net.parameters()))
            for all_of_them, mine in zip(gradients, own, strict=True):
                assert_close(all_of_them.chunk(3)[place], mine, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("norm", VARIANTS)
def test_results_are_those_of_runs_alone(norm, tiny_data, make_config):
    """70 images in batches of 16: the last one is smaller, and its few images must weigh no more than others."""
    configs = [make_config(norm, seed, lr=0.02, l1_lambda=0.001 if norm == "batch" else 0.0) for seed in SEEDS]
    for config, record in zip(configs, fit_together(configs, tiny_data, [None] * 3), strict=True):
        alone = fit(config, tiny_data)
        assert record["num_parameters"] == alone["num_parameters"]
        for mine, other in zip(record["history"], alone["history"], strict=True):
            assert mine.keys() == other.keys()
            for name in ("lr", "train_loss", "l1_penalty", "val_loss"):
                # BatchNorm's batch of 6 images magnifies rounding
                rel = 2e-3 if norm != "batch" else 1e-2 if mine["epoch"] == 1 else 0.1
                assert mine[name] == pytest.approx(other[name], rel=rel, abs=1e-9), name
            assert mine["train_accuracy"] == pytest.approx(other["train_accuracy"], abs=1.5 if norm != "batch" else 10)
    assert len({str(fit(config, tiny_data)["history"][0]["train_loss"]) for config in configs}) == 3


def test_two_seeds_do_not_see_each_other(tiny_data, make_config):
    """A seed's numbers are the same bits whatever the other seeds of the same wide network do."""
    one, two = make_config("batch", 1), make_config("batch", 2)
    beside_two = fit_together([one, two], tiny_data, [None] * 2)[0]
    beside_nine = fit_together([one, make_config("batch", 9)], tiny_data, [None] * 2)[0]
    for row, other in zip(beside_two["history"], beside_nine["history"], strict=True):
        assert {**row, "seconds": 0} == {**other, "seconds": 0}


def test_interrupted_and_resumed(tiny_data, make_config, tmp_path):
    configs = [make_config("group", seed, num_epochs=3) for seed in SEEDS]
    whole = fit_together(configs, tiny_data, [None] * 3)
    paths = [tmp_path / f"{config.seed}.pt" for config in configs]

    def interrupt(config, progress):
        if progress.epoch == 2 and config.seed == interrupted_at:
            raise KeyboardInterrupt

    for interrupted_at in (SEEDS[-1], None):
        if interrupted_at is None:
            resumed = fit_together(configs, tiny_data, paths, interrupt)
        else:
            with pytest.raises(KeyboardInterrupt):
                fit_together(configs, tiny_data, paths, interrupt)
    for record, other in zip(resumed, whole, strict=True):
        rows = [[{**row, "seconds": 0} for row in r["history"]] for r in (record, other)]
        assert rows[0] == rows[1] and record["wrong"] == other["wrong"]


def test_checkpoints_at_different_epochs_go_on_alone(tiny_data, make_config, tmp_path):
    configs = [make_config("layer", seed) for seed in SEEDS]
    paths = [tmp_path / f"{config.seed}.pt" for config in configs]
    fit(configs[1], tiny_data, paths[1])
    records = fit_together(configs, tiny_data, paths)
    for config, record in zip(configs, records, strict=True):
        assert [row["val_loss"] for row in record["history"]] == [
            row["val_loss"] for row in fit(config, tiny_data)["history"]]


def test_a_seed_that_diverges_leaves_the_others_alone(tiny_data, make_config, monkeypatch):
    configs = [make_config("batch", seed) for seed in SEEDS]
    expected = fit_together(configs, tiny_data, [None] * 3)
    real = together._move

    def poison(narrow, updates, direction):
        real(narrow, updates, direction)
        if direction == "into the wide network":
            with torch.no_grad():
                next(updates.net.parameters())[:16].fill_(float("nan"))  # the first seed's first convolution

    monkeypatch.setattr(together, "_move", poison)
    records = fit_together(configs, tiny_data, [None] * 3)
    assert isinstance(records[0], DivergedError) and "seed 3" in str(records[0])
    for record, other in zip(records[1:], expected[1:], strict=True):
        assert record["history"][-1]["val_loss"] == other["history"][-1]["val_loss"]


def test_a_full_disk_costs_one_seed(tiny_data, make_config, tmp_path, monkeypatch):
    """Of those that train together; and no error of the disk ends the study."""
    configs = [make_config("group", seed) for seed in SEEDS]
    paths = [tmp_path / f"{seed}.pt" for seed in SEEDS]
    real = together.save_checkpoint

    def save(path, *rest):
        if path == paths[1]:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, *rest)

    monkeypatch.setattr(together, "save_checkpoint", save)
    first, second, third = fit_together(configs, tiny_data, paths)
    assert isinstance(second, OSError) and first["history"] and third["history"]
    monkeypatch.setattr(runs, "train_seeds", lambda *_: [first, second, third])
    outcomes = dict(runs._train_together(dict(zip("abc", configs, strict=True)), tiny_data, "", tmp_path, 1, print))
    assert outcomes["b"].startswith(f"group, seed {SEEDS[1]}: No space left on device") and outcomes["a"] is first


def test_an_update_never_waits_for_the_host(tiny_data, make_config):
    """Nothing on the device is read by Python: such a read could not be recorded, and would stop a GPU."""
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            aten = torch.ops.aten
            assert function not in (aten._local_scalar_dense.default, aten.nonzero.default), function
            return function(*args, **(kwargs or {}))

    config = make_config("batch", l1_lambda=0.001)
    wide = Net("batch", copies=2)
    updates = Updates(wide, copy.deepcopy(wide), config, tiny_data, 2)
    updates.start(1, (0, 1))
    updates()
    with Watch():
        updates()
        updates.rest()


def test_one_copy_is_the_ordinary_epoch(tiny_data, make_config):
    config = make_config("layer", label_smoothing=0.1)
    net, other = build_model("layer", seed=0), build_model("layer", seed=0)
    updates = Updates(net, None, config, tiny_data, 1)
    updates.start(1, [0])
    for _ in range(updates.whole):
        updates()
    updates.rest()
    row = train_one_epoch(other, together.make_optimizer(other, config.recipe), tiny_data.train_images,
                          tiny_data.train_labels, config, 1)
    assert updates.means()[0] == pytest.approx(row, rel=1e-4)
    losses = [F.nll_loss(evaluate(n, tiny_data.val_images, tiny_data.val_labels).true_confidence.log()[:, None],
                         torch.zeros(30, dtype=torch.int64)) for n in (net, other)]
    assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)


def test_runs_on_cuda_are_grouped_by_all_but_their_seed(tiny_data, make_config, tmp_path, monkeypatch):
    """The device's name is the only difference to a real GPU: the work goes to the CPU."""
    asked = []

    def on_cpu(configs, data, checkpoints, on_progress):
        asked.append([(config.norm, config.seed) for config in configs])
        return fit_together([replace(config, device="cpu") for config in configs], data, checkpoints,
                            lambda config, progress: on_progress(replace(config, device="cuda"), progress))

    monkeypatch.setattr(kept, "fit_together", on_cpu)
    monkeypatch.setattr(kept, "environment", lambda device: {})
    monkeypatch.setattr(runs, "MOST_TOGETHER", 2)
    configs = [replace(make_config(norm, seed), device="cuda")
               for norm in ("layer", "batch") for seed in (0, 1, 2)]
    records, failures = train_all(configs, tiny_data, tmp_path)
    assert not failures and [(r["config"]["norm"], r["config"]["seed"]) for r in records] == [
        (config.norm, config.seed) for config in configs]
    assert asked == [[("layer", 0), ("layer", 1)], [("layer", 2)], [("batch", 0), ("batch", 1)], [("batch", 2)]]
    again, _ = train_all(configs, tiny_data, tmp_path)
    assert again == records and len(asked) == 4
