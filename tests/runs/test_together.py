"""Seeds trained as one wider network have each the results of a run alone; here on the CPU, without the graph."""

import errno
from dataclasses import replace

import pytest
import torch
from support import without_clock
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.config import ALL_NORMS, VARIANTS
from helpers.runs import together
from helpers.runs.checkpoint import Checkpoint, fresh_state
from helpers.runs.one import fit
from helpers.runs.store import Store
from helpers.runs.together import train_together
from helpers.runs.wide import Updates, copy_states

pytestmark = pytest.mark.slow
SEEDS = (3, 0, 7)


@pytest.fixture
def make_runs(tiny_data, make_config, tmp_path):
    """Runs of all SEEDS in a folder of their own; keywords as those of make_config."""
    def make(folder="runs", **own):
        store = Store(tmp_path / folder, tiny_data)
        return [store.run(make_config(seed=seed, **own)) for seed in SEEDS]
    return make


def train(runs, on_progress=lambda *progress: None) -> list[dict]:
    """The records without the clock."""
    return [without_clock(outcome.record) for outcome in train_together(runs, on_progress)]


@pytest.mark.parametrize("norm", ALL_NORMS)
def test_wide_network_is_its_networks_side_by_side(norm, tiny_data, make_config):
    config = make_config(norm, ema_decay=0.0)
    states = [fresh_state(replace(config, seed=seed)) for seed in SEEDS]
    wide = Updates(config, tiny_data, 3).state
    copy_states(wide, states, into_wide=True)
    wide.net.double()
    images = torch.randn(8, 3, 28, 28, dtype=torch.float64)
    weights = torch.randn(8, 3, 10, dtype=torch.float64)
    for training in (True, False):
        logits = wide.net.train(training)(images).view(8, 3, 10)
        gradients = torch.autograd.grad((logits * weights).sum(), list(wide.net.parameters()))
        for index, state in enumerate(states):
            net = state.net.double().train(training)
            alone = net(images[:, index:index + 1])
            assert_close(logits[:, index], alone, rtol=1e-9, atol=1e-9)
            own = torch.autograd.grad((alone * weights[:, index]).sum(), list(net.parameters()))
            for whole, part in zip(gradients, own, strict=True):
                assert_close(whole.chunk(3)[index], part, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("norm", VARIANTS)
def test_results_are_those_of_runs_alone(norm, make_runs):
    """70 images in batches of 16: the last one is smaller, and its few images must weigh no more than others."""
    runs = make_runs(norm=norm, lr=0.02, l1_lambda=0.001, label_smoothing=0.1)
    records = train(runs)
    for run, record in zip(runs, records, strict=True):
        alone = fit(run.config, run.data)
        assert record == without_clock(run.read_record())
        assert record.keys() == run.make_record(alone).keys()
        tolerances = [2e-3, 2e-3] if norm != "batch" else [1e-2, 0.1]  # a batch of 6 images magnifies rounding
        for mine, other, tolerance in zip(record["history"], alone["history"], tolerances, strict=True):
            for name in ("lr", "train_loss", "l1_penalty", "val_loss"):
                assert mine[name] == pytest.approx(other[name], rel=tolerance, abs=1e-9), name
            most = 10 if norm == "batch" else 1.5
            assert mine["train_accuracy"] == pytest.approx(other["train_accuracy"], abs=most)
    assert len({record["history"][0]["train_loss"] for record in records}) == 3


class Inexact(Updates):
    """Its networks get the weights of their neighbours after an epoch."""

    def train_one_epoch(self, epoch, seeds):
        super().train_one_epoch(epoch, seeds)
        for parameter in self.state.net.parameters():
            parameter.data = torch.cat([*parameter.data.chunk(len(seeds))[1:], parameter.data.chunk(len(seeds))[0]])


class Broken(Updates):
    def train_one_epoch(self, epoch, seeds):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with ...")


@pytest.mark.parametrize(("kind", "says"), [
    (Inexact, r"is unlike a run alone: the first update of seed 3 is \d+% off$"),
    (Broken, r"fails \(CUDA error: operation not permitted when stream is capturing\)$")])
def test_a_wide_network_that_proves_wrong_is_not_used(make_runs, monkeypatch, kind, says):
    """With a line; the records are those of runs alone to the bit."""
    runs = make_runs(norm="batch", dropout=0.1)
    monkeypatch.setattr(together, "Updates", kind)
    with pytest.warns(UserWarning, match=f"^the seeds of batch train one by one: the wider network {says}"):
        records = train(runs)
    for run, record in zip(runs, records, strict=True):
        assert record["history"] == without_clock(fit(run.config, run.data))["history"]


def test_interrupted_and_resumed(make_runs):
    whole = train(make_runs("whole", num_epochs=3))
    runs = make_runs("cut", num_epochs=3)

    def interrupt(run_id, epoch, share, val_accuracy):
        if epoch == 2 and run_id == runs[-1].id:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(runs, interrupt)
    assert [len(run.checkpoint.load().history) for run in runs] == [2, 2, 2]
    assert train(runs) == whole
    for run in runs:
        (run.folder / "record.json").unlink()
    assert train(runs) == whole, "all epochs were in the checkpoints"
    assert train(runs[::-1]) == whole[::-1], "read, not trained"


def test_checkpoints_at_different_epochs_go_on_alone(make_runs):
    runs = make_runs(norm="layer")
    with runs[1].locked():
        fit(runs[1].config, runs[1].data, runs[1].checkpoint)
    for run, record in zip(runs, train(runs), strict=True):
        assert record["history"] == without_clock(fit(run.config, run.data))["history"]


def test_a_seed_that_fails_leaves_the_others_alone(make_runs, monkeypatch):
    """The first diverges, the second's disk is full; the third has its bits of before."""
    whole = train(make_runs("whole", norm="batch"))
    runs = make_runs("failing", norm="batch")
    save = Checkpoint.save

    def poison(wide, states, into_wide):
        copy_states(wide, states, into_wide)
        if into_wide:
            next(wide.net.parameters()).data[:16] = float("nan")  # the first seed's first convolution

    def save_or_fail(checkpoint, state):
        if checkpoint == runs[1].checkpoint:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(checkpoint, state)

    monkeypatch.setattr(together, "copy_states", poison)
    monkeypatch.setattr(together, "find_flaw", lambda *_: "")  # it would find the poison
    monkeypatch.setattr(Checkpoint, "save", save_or_fail)
    first, second, third = train_together(runs, lambda *progress: None)
    assert first.error.startswith("batch, seed 3: the loss is no longer a number in epoch 1")
    assert second.error.startswith("batch, seed 0: No space left on device; the next start goes on")
    assert without_clock(third.record) == whole[2]


def test_an_update_never_waits_for_the_host(tiny_data, make_config):
    """Nothing on the device is read by Python: such a read could not be recorded, and would stop a GPU."""
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            assert str(function) not in ("aten._local_scalar_dense.default", "aten.nonzero.default")
            return function(*arguments, **(named or {}))

    updates = Updates(make_config("batch", l1_lambda=0.001), tiny_data, 2)
    updates.train_one_epoch(1, (0, 1))
    with Watch():
        updates.train_one_epoch(2, (0, 1))
