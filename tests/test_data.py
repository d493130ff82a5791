"""What is loaded is what was published, or there is one clear line; batches are what they say."""

import contextlib
import errno
import gzip
import http.server
import multiprocessing
import os
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from helpers import data as data_module
from helpers.config import RECIPES, Recipe
from helpers.data import (
    MEAN,
    MNIST_FILES,
    STD,
    DataError,
    Dataset,
    augment,
    batches,
    load_dataset,
    normalize,
    random_affine,
)

ARCHIVES = [f"{name}.gz" for name in MNIST_FILES]


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    monkeypatch.delenv("MNIST_DATA_DIR", raising=False)
    monkeypatch.setenv("MNIST_MIRRORS", "http://127.0.0.1:9/")  # nothing listens there: no test leaves this machine


@contextlib.contextmanager
def mirror(folder: Path, change=lambda name, content: content):
    """A loopback mirror; `change` gives the bytes to send, at once or by and by, a status, or None to say nothing."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rsplit("/", 1)[-1]
            asked.append(name)
            answer = change(name, (folder / name).read_bytes())
            if answer is None:
                time.sleep(3)
            elif isinstance(answer, Iterator):
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):  # who asked has left
                    for part in answer:
                        self.wfile.write(part)
            elif isinstance(answer, int):
                self.send_error(answer)
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        server.server_close()


# --- MNIST, found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["", "MNIST/raw"])
@pytest.mark.parametrize("unpacked", [False, True])
def test_mnist_is_found_in_every_layout(mnist_dir, tmp_path, layout, unpacked):
    folder = tmp_path / layout
    folder.mkdir(parents=True, exist_ok=True)
    for archive in ARCHIVES:
        if unpacked:
            (folder / archive[:-3]).write_bytes(gzip.decompress((mnist_dir / archive).read_bytes()))
        else:
            shutil.copy(mnist_dir / archive, folder)
    data = load_dataset("mnist", tmp_path)
    assert (data.name, data.title, data.notice) == ("mnist", "MNIST", "")
    assert data.train_images.shape == (60_000, 28, 28) and data.val_images.shape == (10_000, 28, 28)
    # published facts about MNIST: its first labels, class sizes, mean and standard deviation
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.val_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert torch.bincount(data.val_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    ink = data.train_images.double() / 255
    assert round(ink.mean().item(), 4) == MEAN and round(ink.std().item(), 4) == STD


def test_environment_names_the_folder(mnist_dir, monkeypatch):
    monkeypatch.setenv("MNIST_DATA_DIR", str(mnist_dir))
    assert load_dataset("auto").name == "mnist"


def test_relative_environment_folder_from_anywhere(mnist_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("MNIST_DATA_DIR", os.path.relpath(mnist_dir, data_module.ROOT))
    monkeypatch.chdir(tmp_path)
    assert load_dataset("mnist").name == "mnist"


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    raw = bytearray(gzip.decompress(content))
    raw[1000] ^= 1
    return gzip.compress(bytes(raw), 1)


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
@pytest.mark.parametrize("fault", [_cut, _flip, lambda c: b"<html>not found</html>", lambda c: b""])
def test_altered_file_is_one_clear_line(mnist_dir, tmp_path, dataset, fault):
    for archive in ARCHIVES:
        shutil.copy(mnist_dir / archive, tmp_path)
    broken = tmp_path / ARCHIVES[3]
    broken.chmod(0o644)
    broken.write_bytes(fault(broken.read_bytes()))
    with pytest.raises(DataError) as error:
        load_dataset(dataset, tmp_path)
    assert str(error.value).startswith("data_dir: ") and ARCHIVES[3] in str(error.value)
    assert "\n" not in str(error.value)


def test_swapped_files_are_noticed(mnist_dir, tmp_path):
    for archive in ARCHIVES:
        shutil.copy(mnist_dir / archive, tmp_path)
    shutil.copy(mnist_dir / "t10k-labels-idx1-ubyte.gz", tmp_path / "train-labels-idx1-ubyte.gz")
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz is not MNIST's"):
        load_dataset("mnist", tmp_path)


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_missing_file_is_named(mnist_dir, tmp_path, dataset):
    for archive in ARCHIVES[:3]:
        shutil.copy(mnist_dir / archive, tmp_path)
    with pytest.raises(DataError, match=r"data_dir: .* lacks t10k-labels-idx1-ubyte; .* no mirror delivers it"):
        load_dataset(dataset, tmp_path)


@pytest.mark.parametrize("data_dir", ["x" * 300, "~nobody-of-this-name/mnist"])
def test_impossible_folder_is_one_line(data_dir):
    with pytest.raises(DataError, match="data_dir: "):
        load_dataset("mnist", data_dir)


# --- MNIST, downloaded ----------------------------------------------------------------------------------------------


def test_download_from_a_mirror(mnist_dir, tmp_path, monkeypatch):
    with mirror(mnist_dir) as (url, asked):
        monkeypatch.setenv("MNIST_MIRRORS", url)
        data = load_dataset("auto", tmp_path / "new")
        assert data.name == "mnist" and set(asked) == set(ARCHIVES)
        count = len(asked)
        again = load_dataset("mnist", tmp_path / "new")
        assert len(asked) == count, "what is there is not downloaded again"
    assert again.fingerprint == data.fingerprint
    left = {path.name for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert left == {*MNIST_FILES, ".download.lock"}, "nothing half-done stays behind"


@pytest.mark.parametrize("fault", [
    lambda name, content: 404, lambda name, content: 500, lambda name, content: b"<html>hello</html>",
    lambda name, content: content if "labels" in name else _cut(content),
    lambda name, content: content if "t10k" in name else _flip(content),
])
def test_next_mirror_when_one_sends_rubbish(mnist_dir, tmp_path, monkeypatch, fault):
    with mirror(mnist_dir, fault) as (bad, _), mirror(mnist_dir) as (good, _):
        monkeypatch.setenv("MNIST_MIRRORS", f"{bad},{good}")
        assert load_dataset("mnist", tmp_path).name == "mnist"


def test_rubbish_from_all_mirrors_is_one_line_or_the_digits(mnist_dir, tmp_path, monkeypatch):
    with mirror(mnist_dir, lambda name, content: content if "labels" in name else _flip(content)) as (bad, _):
        monkeypatch.setenv("MNIST_MIRRORS", bad)
        with pytest.raises(DataError, match="no mirror delivers it") as error:
            load_dataset("mnist", tmp_path)
        assert "\n" not in str(error.value) and bad in str(error.value)
        assert load_dataset("auto", tmp_path).name == "digits"
    assert not any(path.name in MNIST_FILES for path in tmp_path.rglob("*"))


def test_silent_server_does_not_hold_us(mnist_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "PROBE_SECONDS", 0.5)
    with mirror(mnist_dir, lambda name, content: None) as (silent, _):
        monkeypatch.setenv("MNIST_MIRRORS", silent)
        data = load_dataset("auto", tmp_path)
    assert data.name == "digits" and "not MNIST" in data.notice


def test_falling_back_takes_less_than_20_seconds_by_its_own_limits():
    assert data_module.PROBE_SECONDS < 15, "the probe asks all mirrors at once, and nothing else waits for the network"


def test_download_leaves_the_socket_timeout_alone(mnist_dir, tmp_path, monkeypatch):
    before = socket.getdefaulttimeout()
    with pytest.raises(DataError):
        load_dataset("mnist", tmp_path)
    assert socket.getdefaulttimeout() == before


def test_data_dir_that_is_a_file(tmp_path, mnist_dir, monkeypatch):
    (tmp_path / "file").write_text("")
    with mirror(mnist_dir) as (url, _):
        monkeypatch.setenv("MNIST_MIRRORS", url)
        with pytest.raises(DataError, match=r"data_dir: .* can't be written"):
            load_dataset("mnist", tmp_path / "file")


def test_a_server_that_falls_silent_in_the_middle(mnist_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "STALL_SECONDS", 0.5)
    with (mirror(mnist_dir, lambda name, content: content if "labels" in name else None) as (silent, _),
          mirror(mnist_dir) as (good, _)):
        monkeypatch.setenv("MNIST_MIRRORS", f"{silent} {good}")
        assert load_dataset("mnist", tmp_path).name == "mnist"


def test_a_server_that_drips_or_never_ends(mnist_dir, tmp_path, monkeypatch):
    """Neither is ever silent. Each is left for the next mirror, after a time and a number of bytes."""
    monkeypatch.setattr(data_module, "DOWNLOAD_SECONDS", 1.0)

    def drip(content):
        for place in range(len(content)):
            yield content[place:place + 1]
            time.sleep(0.05)

    def flood(content):
        yield content
        for _ in range(3 * data_module.MOST_BYTES // 2**20):
            yield bytes(2**20)

    monkeypatch.setattr(urllib.request, "_opener", before := urllib.request.build_opener())
    for endless, fault in ((drip, "takes longer than 1 s"), (flood, "sends more than 20,000,000 bytes")):
        with mirror(mnist_dir, lambda name, content, endless=endless: endless(content)) as (bad, _):
            monkeypatch.setenv("MNIST_MIRRORS", bad)
            with pytest.raises(DataError, match=f"no mirror delivers it .*{fault}"):
                load_dataset("mnist", tmp_path)
    assert urllib.request._opener is before, "others download as they did"


def test_a_mirror_is_an_address(tmp_path, monkeypatch):
    for dataset in ("mnist", "auto"):
        monkeypatch.setenv("MNIST_MIRRORS", "file:///data/mnist")
        with pytest.raises(DataError, match="MNIST_MIRRORS: got 'file:///data/mnist', takes addresses that begin with"):
            load_dataset(dataset, tmp_path)


def test_a_mirror_with_a_swapped_pair(mnist_dir, tmp_path, monkeypatch):
    other = {"t10k-labels-idx1-ubyte.gz": "train-labels-idx1-ubyte.gz"}
    with mirror(mnist_dir, lambda name, content: (mnist_dir / other.get(name, name)).read_bytes()) as (swapped, _):
        monkeypatch.setenv("MNIST_MIRRORS", swapped)
        with pytest.raises(DataError, match="no mirror delivers it"):
            load_dataset("mnist", tmp_path)


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_a_disk_that_fills_up(mnist_dir, tmp_path, monkeypatch, dataset):
    """No file may grow beyond 1 MB: the images do not fit. Nothing half-done stays, and nothing wrong is trained on."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with mirror(mnist_dir) as (url, _):
        monkeypatch.setenv("MNIST_MIRRORS", url)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
        try:
            if dataset == "auto":
                data = load_dataset(dataset, tmp_path)
                assert data.name == "digits" and "not MNIST" in data.notice
            else:
                with pytest.raises(DataError, match="File too large") as error:
                    load_dataset(dataset, tmp_path)
                assert "\n" not in str(error.value)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".download.lock"]


def _load(folder: str, queue) -> None:
    queue.put(load_dataset("mnist", folder).fingerprint)


def test_two_first_starts_download_once(mnist_dir, tmp_path, monkeypatch):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with mirror(mnist_dir) as (url, asked):
        monkeypatch.setenv("MNIST_MIRRORS", url)
        load_dataset("mnist", tmp_path / "one")
        once = len(asked)
        processes = [context.Process(target=_load, args=(str(tmp_path / "two"), queue)) for _ in range(2)]
        for process in processes:
            process.start()
        found = {queue.get(timeout=120) for _ in processes}
        for process in processes:
            process.join()
    assert len(found) == 1 and len(asked) == 2 * once


def test_what_a_killed_download_left_is_cleared(mnist_dir, tmp_path, monkeypatch):
    (tmp_path / ".download-abc" / "MNIST").mkdir(parents=True)
    with mirror(mnist_dir) as (url, _):
        monkeypatch.setenv("MNIST_MIRRORS", url)
        load_dataset("mnist", tmp_path)
    assert not (tmp_path / ".download-abc").exists()


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_a_folder_that_can_only_be_read(mnist_dir, tmp_path, monkeypatch, dataset):
    """What is there is read; what is not, is one line: whoever names a folder does not want the digits."""
    monkeypatch.setattr(data_module, "FileLock", lambda path: _refuse(path))
    for archive in ARCHIVES:
        shutil.copy(mnist_dir / archive, tmp_path)
    assert load_dataset(dataset, tmp_path).name == "mnist"
    with mirror(mnist_dir) as (url, _), pytest.raises(DataError, match=r"data_dir: .* can't be written \(Read-only"):
        monkeypatch.setenv("MNIST_MIRRORS", url)
        load_dataset(dataset, tmp_path / "other")


def _refuse(path):
    raise OSError(errno.EROFS, "Read-only file system")


# --- the embedded digits, hold-outs ---------------------------------------------------------------------------------


def test_digits_are_stratified_fixed_and_placed_like_mnist():
    from sklearn.datasets import load_digits

    data = load_dataset("digits")
    assert (len(data.train_labels), len(data.val_labels)) == (1437, 360)
    total = np.bincount(load_digits().target)
    shares = torch.bincount(data.val_labels).numpy() / total
    assert np.all(np.abs(shares - 360 / 1797) < 0.006)
    images = torch.cat([data.train_images, data.val_images])
    border = images.clone()
    border[:, 4:24, 4:24] = 0
    assert border.sum() == 0 and images.max() == 255 and images[:, 4:24, 4:24].float().mean() > 50
    assert load_dataset("digits").fingerprint == data.fingerprint
    assert "not MNIST" in data.title and "digits" in data.notice


def test_digits_are_the_embedded_images_enlarged():
    from sklearn.datasets import load_digits

    data = load_dataset("digits")
    small = torch.from_numpy(load_digits().images).float()
    shrunk = torch.nn.functional.adaptive_avg_pool2d(data.val_images[:, None, 4:24, 4:24].float() / 255 * 16, 8)
    distance = torch.cdist(shrunk.flatten(1), small.flatten(1))
    nearest = distance.argmin(1)
    assert torch.equal(torch.from_numpy(load_digits().target)[nearest].long(), data.val_labels)
    assert len(set(nearest.tolist())) > 350, "two images that are almost alike may meet, no more"


def test_holdout_comes_from_the_training_images_alone():
    data = load_dataset("digits")
    cut = load_dataset("digits", holdout=200)
    assert torch.equal(cut.val_images, data.train_images[-200:]) and len(cut.train_labels) == 1237
    assert torch.equal(cut.train_images, data.train_images[:-200])
    assert "hold-out" in cut.title and cut.name == "digits-holdout" and cut.fingerprint != data.fingerprint
    with pytest.raises(DataError, match="holdout: got 1437"):
        load_dataset("digits", holdout=1437)


def test_dataset_refuses_wrong_shapes_and_labels(tiny_data):
    good = [tiny_data.train_images, tiny_data.train_labels, tiny_data.val_images, tiny_data.val_labels]
    for place, wrong in ((0, good[0].float()), (0, good[0][:, :27]), (1, good[1][:-1]), (3, good[3] + 1),
                         (3, good[3] - 1)):
        with pytest.raises(DataError):
            Dataset("x", "x", "", *[wrong if i == place else part for i, part in enumerate(good)])


def test_fingerprint_sees_one_bit(tiny_data):
    from dataclasses import replace

    images = tiny_data.train_images.clone()
    images[3, 3, 3] ^= 1
    assert replace(tiny_data, train_images=images).fingerprint != tiny_data.fingerprint


# --- batches and augmentation ---------------------------------------------------------------------------------------

STILL = Recipe(rotation=0.0, shift=0.0, scale=0.0, shear=0.0, batch_size=16)


def test_an_epoch_holds_every_image_once_in_seeded_order(tiny_data):
    def epoch(seed):
        generator = torch.Generator().manual_seed(seed)
        return list(batches(tiny_data.train_images, tiny_data.train_labels, STILL, generator))

    parts = epoch(0)
    assert [len(y) for _, y in parts] == [16, 16, 16, 16, 6]
    x, y = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
    assert x.shape == (70, 1, 28, 28) and x.dtype == torch.float32
    expected = normalize(tiny_data.train_images)
    place = torch.cdist(x.flatten(1), expected.flatten(1)).argmin(1)
    assert sorted(place.tolist()) == list(range(70)) and place.tolist() != list(range(70))
    assert torch.equal(tiny_data.train_labels[place], y)
    assert_close(x, expected[place], rtol=1e-4, atol=1e-4)
    assert all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(parts, epoch(0), strict=True))
    assert not torch.equal(parts[0][0], epoch(1)[0][0])


def test_normalisation_is_mnists():
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(3, 1, 1).expand(3, 28, 28)
    values = normalize(images)[:, 0, 0, 0]
    assert_close(values, (torch.tensor([0.0, 1.0, 0.2]) - 0.1307) / 0.3081)


@pytest.mark.parametrize(("field", "limit"), [("rotation", 30.0), ("shift", 5.0), ("scale", 0.3), ("shear", 0.4)])
def test_each_image_gets_its_own_random_amount_within_the_limit(field, limit):
    from dataclasses import replace

    theta = random_affine(4000, replace(STILL, **{field: limit}), torch.Generator().manual_seed(0)).double()
    a, b, x, c, d, y = theta.flatten(1).T
    amounts = {"rotation": torch.atan2(c, a) * 180 / torch.pi, "shift": x * 14,
               "scale": 1 / (a**2 + c**2).sqrt() - 1, "shear": (a * b + c * d) / (a**2 + c**2)}
    for name, amount in amounts.items():
        if name == field:
            assert amount.abs().max() <= limit * (1 + 1e-5) and len(amount.unique()) > 3900
            # uniform: mean 0, standard deviation limit / sqrt(3), within five standard errors
            assert abs(amount.mean()) < 5 * limit / 3**0.5 / 4000**0.5
            assert abs(amount.std() / (limit / 3**0.5) - 1) < 0.05
        else:
            assert amount.abs().max() < 1e-4
    assert field != "shift" or (y * 14).abs().max() > 0.9 * limit


def test_the_grid_is_torchs():
    theta = random_affine(5, Recipe(), torch.Generator().manual_seed(0))
    assert_close(data_module._grid(theta), F.affine_grid(theta, (5, 1, 28, 28), align_corners=False), rtol=0, atol=1e-6)


def test_a_quarter_turn_is_numpys():
    images = torch.randint(0, 256, (2, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0]]).expand(2, 2, 3)  # samples at 90 degrees
    turned = (augment(images, turn, STILL) * STD + MEAN).mul(255).round().to(torch.uint8).squeeze(1).numpy()
    assert any(np.array_equal(turned, np.rot90(images.numpy(), k, axes=(1, 2))) for k in (1, 3))


def test_a_shift_by_whole_pixels_moves_whole_pixels():
    images = torch.randint(1, 256, (1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    move = torch.tensor([[[1.0, 0, 2 / 14], [0, 1, 0]]])  # looks two pixels to the right
    moved = (augment(images, move, STILL) * STD + MEAN).mul(255).round().to(torch.uint8)[0, 0]
    assert torch.equal(moved[:, :26], images[0, :, 2:]) and moved[:, 26:].sum() == 0


def test_original_recipe_fills_turned_corners_with_full_ink():
    blank = torch.zeros(1, 28, 28, dtype=torch.uint8)
    angle = torch.tensor(7 * torch.pi / 180)
    theta = torch.stack([angle.cos(), -angle.sin(), torch.zeros(()), angle.sin(), angle.cos(), torch.zeros(())])
    turned = augment(blank, theta.view(1, 2, 3), RECIPES["original"]) * STD + MEAN
    assert_close(turned[0, 0, 0, 0], torch.tensor(1.0)) and turned[0, 0, 14, 14].abs() < 1e-6
    assert_close(augment(blank, theta.view(1, 2, 3), RECIPES["tuned"]), normalize(blank))
