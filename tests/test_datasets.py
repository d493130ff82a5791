"""What is loaded is what was published, or there is one clear line."""

import contextlib
import gzip
import hashlib
import http.server
import math
import multiprocessing
import os
import re
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import ROOT

from helpers import datasets, mirrors
from helpers.config import ParameterError
from helpers.data import MEAN, STD, DataError
from helpers.datasets import DATASETS, MNIST_FILES, find_mnist, load_dataset

LABELS = "t10k-labels-idx1-ubyte"


@pytest.fixture
def archives(monkeypatch) -> dict[str, bytes]:
    """Four small archives, by name, that pass for the published ones."""
    monkeypatch.delenv("MNIST_DATA_DIR", raising=False)
    monkeypatch.setenv("MNIST_MIRRORS", "http://127.0.0.1:9/")  # nothing listens there
    packed = {}
    for name, (_, shape) in MNIST_FILES.items():
        shape = (shape[0] // 1000, *shape[1:])
        header = bytes(4 + 4 * len(shape))
        content = header + bytes(index % 10 for index in range(math.prod(shape)))
        monkeypatch.setitem(MNIST_FILES, name, (hashlib.sha256(content).hexdigest(), shape))
        packed[f"{name}.gz"] = gzip.compress(content)
    return packed


def put(archives: dict[str, bytes], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in archives.items():
        (folder / name).write_bytes(content)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def after(seconds, parts):
    """The parts, each of them late."""
    for part in parts:
        time.sleep(seconds)
        yield part


def flipped(archive):
    content = bytearray(gzip.decompress(archive))
    content[-5] ^= 1
    return gzip.compress(content)


# What arrives instead of an archive, part by part.
FAULTS = {
    "page": lambda archive: [b"<html>hello</html>"],
    "cut": lambda archive: [archive[:len(archive) // 2]],
    "flip": lambda archive: [flipped(archive)],
    "silence": lambda archive: after(1, [archive]),
    "drip": lambda archive: after(0.02, [bytes([byte]) for byte in archive]),
    "stall": lambda archive: after(1, [archive[:50], archive[50:]]),
    "flood": lambda archive: 100 * [archive + bytes(10_000)],
}


def test_mnist_is_what_was_published(mnist_dir):
    data = load_dataset("mnist", mnist_dir)
    assert (data.name, data.title, data.notice) == ("mnist", "MNIST", "")
    # published facts about MNIST: its first labels, class sizes, mean and standard deviation
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.val_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert torch.bincount(data.val_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    ink = data.train_images.double() / 255
    assert round(ink.mean().item(), 4) == MEAN and round(ink.std().item(), 4) == STD


def test_environment_names_the_folder(archives, tmp_path, monkeypatch):
    folder = tmp_path / "mnist"
    put(archives, folder)
    monkeypatch.chdir(tmp_path)
    for named in ("mnist", str(folder), os.path.relpath(folder, ROOT)):
        monkeypatch.setenv("MNIST_DATA_DIR", named)
        assert load_dataset("auto").name == "mnist"


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_altered_file_is_one_clear_line(archives, tmp_path, dataset):
    put(archives, tmp_path)
    for fault in ("page", "cut", "flip"):
        put({f"{LABELS}.gz": FAULTS[fault](archives[f"{LABELS}.gz"])[0]}, tmp_path)
        with pytest.raises(DataError, match=f"^data_dir: .*{LABELS}.gz .*; delete it .*$"):
            load_dataset(dataset, tmp_path)
    (tmp_path / f"{LABELS}.gz").unlink()
    with pytest.raises(DataError, match=f"^data_dir: .* lacks {LABELS}; no mirror delivers it"):
        load_dataset(dataset, tmp_path)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_an_altered_idx_file_is_one_line(archives, tmp_path, data):
    """Cut, flipped, repeated or random bytes, packed or not: never other labels than MNIST's."""
    archive = archives[f"{LABELS}.gz"]
    original = {f"{LABELS}.gz": archive, LABELS: gzip.decompress(archive)}
    name = data.draw(st.sampled_from([*original]))
    index = data.draw(st.integers(0, len(original[name]) - 1))
    head, tail = original[name][:index], original[name][index:]
    one_bit = head + bytes([tail[0] ^ 1]) + tail[1:]
    altered = st.sampled_from([head, tail, one_bit, head + tail + tail, b"\x1f\x8b" + tail])
    for path in tmp_path.iterdir():
        path.unlink()
    put({name: data.draw(altered | st.binary(max_size=60))}, tmp_path)
    try:
        found = find_mnist(tmp_path)
    except DataError as error:
        assert name in str(error) and "\n" not in str(error)
    else:
        assert found == {LABELS: original[LABELS]}, "a byte of gzip's header may say anything"


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(archives, tmp_path):
    put({f"{LABELS}.gz": gzip.compress(bytes(2**26))}, tmp_path)
    tracemalloc.start()
    with pytest.raises(DataError, match="SHA-256"):
        find_mnist(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2**21, "bytes, at the peak"
    tracemalloc.stop()


@pytest.fixture
def serve(archives, monkeypatch):
    """serve(fault, to) starts one more mirror; returns the names that it was asked for.

    `fault` is a status, or what it does to the files with `to` in their names. busy: requests that it turns away first.
    """
    servers = []

    def start(fault=lambda content: [content], to="", busy=0) -> list[str]:
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/")
                asked.append(name)
                status = fault if isinstance(fault, int) else 200
                if len(asked) <= busy:
                    status = 503
                if self.headers["User-Agent"].startswith("Python"):
                    status = 403
                self.send_response(status, "<b>\x1b[31m`Not` found")
                self.end_headers()
                parts = [archives[name]]
                if status != 200:
                    parts = []
                elif to in name:
                    parts = fault(archives[name])
                with contextlib.suppress(OSError):  # the client has left
                    self.wfile.writelines(parts)

            def log_message(self, *_):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        addresses = [f"http://127.0.0.1:{server.server_port}" for server in servers]
        monkeypatch.setenv("MNIST_MIRRORS", ",".join(addresses))
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_download_from_a_mirror(serve, archives, tmp_path):
    put({f".{LABELS}.abc.tmp": b"of a killed download"}, tmp_path / "MNIST" / "raw")
    asked = serve()
    data = load_dataset("auto", tmp_path)
    assert load_dataset("mnist", tmp_path).fingerprint == data.fingerprint
    assert sorted(asked) == sorted(archives), "each once"
    assert files_in(tmp_path) == {*MNIST_FILES, ".download.lock"}, "nothing half-done"


@pytest.mark.parametrize(("fault", "to", "says"), [
    (404, "ubyte", "HTTP Error 404: b 31m Not found"),  # plain words, whatever a server says
    ("page", "ubyte", "Not a gzipped file"),
    ("silence", "ubyte", "sends nothing"),
    ("silence", "t10k-labels", "sends less than 30 kB a second"),
    ("stall", "t10k-labels", "sends less than 30 kB a second"),
    ("drip", "ubyte", "sends less than 30 kB a second"),
    ("cut", "images", "Compressed file ended before"),
    ("flip", "images", ".*train-images-idx3-ubyte"),
    ("flood", "images", "sends more than 100,000 bytes"),
])
def test_next_mirror_when_one_sends_rubbish(serve, tmp_path, monkeypatch, fault, to, says):
    """From all mirrors it is one line, or the digits; before a good mirror it does not matter."""
    assert mirrors.WASTED_SECONDS < 18, "the digits are there within 20 s"
    monkeypatch.setattr(mirrors, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(mirrors, "WASTED_SECONDS", 0.6)
    monkeypatch.setattr(mirrors, "MOST_BYTES", 100_000)
    serve(FAULTS.get(fault, fault), to)
    with pytest.raises(DataError, match=rf"no mirror delivers it \(http://[^ ]*: {says}.*$"):
        load_dataset("mnist", tmp_path)
    stand_in = load_dataset("auto", tmp_path)
    assert stand_in.name == "digits" and "**not MNIST**" in stand_in.notice
    assert re.search(f"no mirror delivers it .*{says}", stand_in.notice), "why"
    assert files_in(tmp_path) == {".download.lock"}
    serve()
    assert load_dataset("mnist", tmp_path).name == "mnist"


def test_mirrors_that_stall_share_one_deadline(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(mirrors, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(mirrors, "WASTED_SECONDS", 0.6)
    for _ in range(5):
        serve(FAULTS["silence"], "ubyte")
    start = time.monotonic()
    assert load_dataset("auto", tmp_path).name == "digits"
    assert time.monotonic() - start < 1.5


def test_a_busy_mirror_is_asked_again_by_a_browsers_name(serve, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(mirrors, "PAUSES", (0.4, 0.4))
    asked = serve(busy=2)
    assert load_dataset("mnist", tmp_path).name == "mnist" and len(asked) == 2 + 4
    assert "MNIST: " in capfd.readouterr().err, "a bar"
    serve(busy=3)
    assert load_dataset("auto", tmp_path).name == "mnist", "it lies there now"


def test_what_is_no_address_of_a_mirror_is_one_line(archives, monkeypatch):
    monkeypatch.setenv("MNIST_MIRRORS", "file:///mnist")
    with pytest.raises(DataError, match="MNIST_MIRRORS: got 'file:///mnist', takes addresses"):
        load_dataset("auto")


@pytest.mark.parametrize("place", ["{}", "a/b/c/{}", "MNIST/raw/{}"])
def test_mnist_is_known_by_its_content(archives, tmp_path, place):
    """Under any name, packed or not, in any folder near; beside other data sets whose files have the same names."""
    put({name: gzip.compress(b"clothes") for name in archives}, tmp_path / "FashionMNIST" / "raw")
    for number, (name, archive) in enumerate(archives.items()):
        content = archive if number % 2 else gzip.decompress(archive)
        path = tmp_path / place.format([name.replace("-idx", ".idx"), f"{number}.bin"][number // 2])
        put({path.name: content}, path.parent)
    assert load_dataset("auto", tmp_path).name == "mnist"
    path.unlink()
    with pytest.raises(DataError, match=f"data_dir: .* lacks {LABELS}"):
        load_dataset("auto", tmp_path)


def test_what_lies_there_instead_is_named(archives, tmp_path):
    put({"mnist.npz": b"x", "notes.txt": b"x"}, tmp_path / "below")
    with pytest.raises(DataError, match=r"not in .* \(there: mnist.npz, notes.txt\) and no mirror"):
        load_dataset("mnist", tmp_path)


@pytest.mark.parametrize("named", [
    '"/no/such/mnist"', "no/such", "~/no/such", "~nobody-of-this-name/mnist", "x" * 300, __file__])
def test_a_named_folder_that_is_none_is_not_made(archives, tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "ROOT", tmp_path)
    for data_dir, parameter in ((named, "data_dir"), (None, "MNIST_DATA_DIR")):
        monkeypatch.setenv("MNIST_DATA_DIR", named)
        with pytest.raises(DataError, match=f"^{parameter}: got {re.escape(repr(named))}, which is no folder"):
            load_dataset("auto", data_dir)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
@pytest.mark.parametrize("fails", [(os, "fsync"), (datasets, "locked")])
def test_a_disk_that_fails_is_one_line(serve, archives, tmp_path, monkeypatch, dataset, fails):
    """Full or read-only: whoever names a folder wants no digits, and what is there is read."""
    def fail(*_):
        raise OSError(28, "No space left on device")

    serve()
    monkeypatch.setattr(*fails, fail)
    with pytest.raises(DataError, match=r"^data_dir: .* can't be written \(No space left on dev"):
        load_dataset(dataset, tmp_path)
    assert files_in(tmp_path) <= {".download.lock"}, "nothing half-done"
    put(archives, tmp_path)
    assert load_dataset(dataset, tmp_path).name == "mnist"


def load_at_once(barrier, folder: Path, files: dict, mirror: str, fingerprints) -> None:
    MNIST_FILES.update(files)
    os.environ["MNIST_MIRRORS"] = mirror
    barrier.wait()
    fingerprints.put(load_dataset("mnist", folder).fingerprint)


@pytest.mark.slow
def test_two_first_starts_download_once(serve, tmp_path):
    asked = serve(lambda archive: after(0.1, [archive]))
    context = multiprocessing.get_context("forkserver")
    fingerprints = context.Queue()
    arguments = (context.Barrier(2), tmp_path, dict(MNIST_FILES), os.environ["MNIST_MIRRORS"], fingerprints)
    for _ in range(2):
        context.Process(target=load_at_once, args=arguments).start()
    assert fingerprints.get(timeout=120) == fingerprints.get(timeout=120)
    assert len(asked) == 4


def test_digits_are_the_embedded_images_enlarged_and_placed_like_mnists():
    from sklearn.datasets import load_digits

    data = load_dataset("digits")
    assert len(data.train_labels) == 1437
    class_sizes = torch.bincount(data.val_labels)
    assert class_sizes.sum() == 360 and class_sizes.min() >= 34 and class_sizes.max() <= 37
    middle = data.val_images[:, 4:24, 4:24]
    assert middle.sum() == data.val_images.sum(), "paper around it"
    embedded = torch.from_numpy(load_digits().images).float() * 255 / 16
    shrunk = F.adaptive_avg_pool2d(middle.float(), 8)
    nearest = torch.cdist(shrunk.flatten(1), embedded.flatten(1)).argmin(1)
    assert torch.equal(torch.from_numpy(load_digits().target)[nearest], data.val_labels)
    assert len(nearest.unique()) > 350, "two images that are almost alike may meet, no more"
    assert load_dataset("digits").fingerprint == data.fingerprint
    assert "not MNIST" in data.title and "digits" in data.notice


def test_a_new_data_set_is_one_entry(tiny_data, monkeypatch):
    monkeypatch.setitem(DATASETS, "squares", lambda data_dir: tiny_data)
    assert load_dataset("squares") is tiny_data
    assert load_dataset("squares", holdout=20).name == "tiny-holdout"
    with pytest.raises(ParameterError, match=r"^dataset: got 'cifar10' .* 'digits', 'squares'"):
        load_dataset("cifar10")
