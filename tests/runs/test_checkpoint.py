"""A checkpoint is loaded whole or not at all, and nothing in it is run."""

import hashlib
import io
import random
from dataclasses import replace

import pytest
import torch
from support import without_clock

from helpers.runs.checkpoint import Checkpoint, momenta
from helpers.runs.one import fit

pytestmark = pytest.mark.filterwarnings("ignore:the checkpoint of")


@pytest.fixture
def checkpoint(tiny_data, make_config, tmp_path) -> Checkpoint:
    """That of a whole run of two epochs."""
    saved = Checkpoint(tmp_path / "checkpoint.pt", make_config("batch"), tiny_data)
    fit(saved.config, tiny_data, saved)
    return saved


def seal(content: object) -> bytes:
    """A checkpoint file of anything, with a digest that is right."""
    pickled = io.BytesIO()
    torch.save(content, pickled)
    return pickled.getvalue() + hashlib.sha256(pickled.getvalue()).digest()


def test_another_runs_checkpoint_is_not_loaded(tiny_data, make_config, tmp_path):
    mine = Checkpoint(tmp_path / "checkpoint.pt", make_config(), tiny_data)
    alone = without_clock(fit(mine.config, tiny_data))
    other_data = replace(tiny_data, train_labels=tiny_data.train_labels.flip(0))
    others = [(make_config("layer"), tiny_data), (make_config(seed=1), tiny_data), (mine.config, other_data)]
    for config, data in others:
        mine.path.unlink(missing_ok=True)
        fit(config, data, Checkpoint(mine.path, config, data))
        with pytest.warns(UserWarning, match=r"of group, seed 0 .* stands aside .* \(it is another run's\)"):
            assert without_clock(fit(mine.config, tiny_data, mine)) == alone


def test_checkpoint_with_code_in_it_is_not_run(checkpoint, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "pwned"), "w")

    checkpoint.path.write_bytes(seal({"net": Evil()}))
    assert checkpoint.load() is None
    assert not (tmp_path / "pwned").exists()


def test_a_checkpoint_with_a_flipped_bit_is_not_used(checkpoint):
    content = checkpoint.path.read_bytes()
    positions = random.Random(0)
    assert len(checkpoint.load().history) == 2
    for _ in range(100):
        damaged = bytearray(content)
        damaged[positions.randrange(len(damaged))] ^= 1 << positions.randrange(8)
        checkpoint.path.write_bytes(damaged)
        assert checkpoint.load() is None, "never loaded half"


def first_momentum(content) -> dict:
    return content["optimizer"]["state"][0]


DAMAGES = {
    "no momentum": lambda c: first_momentum(c).clear(),
    "a weight less": lambda c: c["net"].popitem(),
    "no average": lambda c: c.update(average=None),
    "no run": lambda c: c.pop("run")}


def test_damaged_checkpoint_is_set_aside(checkpoint):
    """Not a file of ours at all; or its digest is right, and what is in it is not."""
    right = checkpoint.path.read_bytes()
    contents = {"nothing": b"", "text": b"not a checkpoint"}
    for name, damage in DAMAGES.items():
        content = torch.load(io.BytesIO(right[:-32]), weights_only=True)
        damage(content)
        contents[name] = seal(content)
    for name, content in contents.items():
        checkpoint.path.write_bytes(content)
        with pytest.warns(UserWarning, match=r"stands aside as checkpoint\.damaged; the run starts again"):
            assert checkpoint.load() is None, name
        assert not checkpoint.path.exists()
        assert checkpoint.path.with_suffix(".damaged").read_bytes() == content


def test_tensors_are_copied_not_taken_over(checkpoint, tiny_data):
    """One number that stands for a whole tensor would be written to by the next update, far outside its memory."""
    right = checkpoint.path.read_bytes()
    content = torch.load(io.BytesIO(right[:-32]), weights_only=True)
    content["history"].pop()
    for tensors in (first_momentum(content), content["net"], content["average"]):
        for name, tensor in tensors.items():
            tensors[name] = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
    checkpoint.path.write_bytes(seal(content))
    state = checkpoint.load()
    for tensor in (*state.net.state_dict().values(), *state.average.state_dict().values(), *momenta(state.optimizer)):
        assert 0 not in tensor.stride()
    assert len(fit(checkpoint.config, tiny_data, checkpoint)["history"]) == 2
