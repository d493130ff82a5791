"""Verified MNIST, the embedded digits for machines without a network, and batches as one tensor operation.

Sources: LeCun, Cortes, Burges, "The MNIST database of handwritten digits"; Alpaydin, Kaynak, "Optical recognition of
handwritten digits" (the 1,797 images inside scikit-learn).
"""

import contextlib
import functools
import gzip
import hashlib
import io
import os
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock, Timeout
from torch import Tensor

from helpers.config import ParameterError, Recipe
from helpers.files import ROOT

MEAN, STD = 0.1307, 0.3081  # of MNIST's training pixels in [0, 1]; also used for the digits, so that one net fits both
NUM_CLASSES = 10

# name of the unpacked IDX file -> SHA-256 of its content, number of items, size of its header in bytes
MNIST_FILES = {
    "train-images-idx3-ubyte": ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 60_000, 16),
    "train-labels-idx1-ubyte": ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_000, 8),
    "t10k-images-idx3-ubyte": ("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 10_000, 16),
    "t10k-labels-idx1-ubyte": ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_000, 8),
}
PROBE_SECONDS = 10.0  # for a mirror to send its first bytes; `auto` must fall back within 20 s
STALL_SECONDS = 10.0  # without a byte, then the next mirror
DOWNLOAD_SECONDS = 900.0  # for one file, the largest of 10 MB: 11 kB a second
MOST_BYTES = 20_000_000


class DataError(ParameterError):
    """The data asked for can't be had or is not what it should be. One line, like every ParameterError."""

    def _render_traceback_(self) -> list[str]:
        return [f"DataError: {self}"]


@dataclass(frozen=True)
class Dataset:
    """Images as uint8 (N, 28, 28), labels as int64 (N,), both on the CPU; `val_*` in file order, never shuffled."""

    name: str         # "mnist" or "digits", with "-holdout" when validated on one: for files
    title: str        # for readers: in every figure's title
    notice: str       # what a reader must know about it before anything else; may be empty
    train_images: Tensor
    train_labels: Tensor
    val_images: Tensor
    val_labels: Tensor

    def __post_init__(self):
        for images, labels in ((self.train_images, self.train_labels), (self.val_images, self.val_labels)):
            if images.dtype != torch.uint8 or images.shape[1:] != (28, 28) or len(images) != len(labels):
                raise DataError(f"{self.title}: images {tuple(images.shape)} {images.dtype}, labels "
                                f"{tuple(labels.shape)}; expected uint8 (N, 28, 28) and (N,)")
            if len(labels) == 0 or labels.min() < 0 or labels.max() >= NUM_CLASSES:
                raise DataError(f"{self.title}: labels must be digits from 0 to 9")

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all images and labels, hexadecimal: what a run was trained and validated on."""
        digest = hashlib.sha256()
        for tensor in (self.train_images, self.train_labels, self.val_images, self.val_labels):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def with_holdout(self, num_images: int) -> "Dataset":
        """The same training images, the last `num_images` of them for validation instead of the test images.

        To choose hyperparameters without looking at the test images. Raises DataError when too few would be left.
        """
        left = len(self.train_images) - num_images
        if left < NUM_CLASSES:
            raise DataError(f"holdout: got {num_images}, takes at most {len(self.train_images) - NUM_CLASSES} of the "
                            f"{len(self.train_images):,} training images of {self.title}")
        return replace(
            self, name=f"{self.name}-holdout", title=f"{self.title} hold-out",
            notice=f"{self.notice} Validated on the last {num_images:,} training images, not on the test "
                   "images.".strip(),
            train_images=self.train_images[:left], train_labels=self.train_labels[:left],
            val_images=self.train_images[left:], val_labels=self.train_labels[left:])


def load_dataset(dataset: str = "auto", data_dir: str | Path | None = None, holdout: int = 0) -> Dataset:
    """The verified data set.

    dataset: "mnist" (from `data_dir`, else downloaded into it), "digits" (embedded in scikit-learn), or "auto"
    (MNIST, else the digits where no mirror answers). data_dir: None means the environment's MNIST_DATA_DIR, else
    "data". holdout: see `Dataset.with_holdout`. Raises DataError, in one line.
    """
    if dataset == "digits":
        data = _load_digits()
    else:
        try:
            data = _load_mnist(_data_folder(data_dir))
        except _NoMirror as error:
            if dataset == "mnist":
                raise DataError(str(error)) from None
            data = _load_digits("MNIST could not be had, so this is **not MNIST**. ")
    return data.with_holdout(holdout) if holdout else data


def _data_folder(data_dir: str | Path | None) -> Path:
    """Relative to the project's folder; from the environment, relative to where the user stands if it is there."""
    named = os.environ.get("MNIST_DATA_DIR") if data_dir is None else None
    try:
        if named and Path(named).expanduser().is_dir():
            return Path(named).expanduser()
        return ROOT / Path(data_dir or named or "data").expanduser()
    except (OSError, RuntimeError) as error:  # RuntimeError: "~name" where there is no such user
        raise DataError(f"data_dir: got {data_dir or named!r}, which is no folder ({error})") from None


def batches(images: Tensor, labels: Tensor, recipe: Recipe,
            generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: shuffled, augmented, normalised batches, (N, 1, 28, 28) float32 and (N,) int64, on the images' device.

    The last batch holds what is left over. `generator` lives on the CPU, so that a seed means the same everywhere;
    all random numbers of the epoch are drawn at once.
    """
    order = torch.randperm(len(images), generator=generator).to(images.device)
    theta = random_affine(len(images), recipe, generator).to(images.device)  # (N, 2, 3)
    for index, matrix in zip(order.split(recipe.batch_size), theta.split(recipe.batch_size), strict=True):
        yield augment(images[index], matrix, recipe), labels[index]


def random_affine(num_images: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Random rotation, scale, shear and shift for each image: (N, 2, 3) matrices in affine_grid's coordinates.

    Each quantity is uniform within plus or minus the recipe's value.
    """
    angle, scale, shear, x, y = torch.rand(5, num_images, generator=generator).mul_(2).sub_(1)  # (N,) each, [-1, 1)
    angle = angle * (recipe.rotation * torch.pi / 180)
    scale, shear = 1 + scale * recipe.scale, shear * recipe.shear
    x, y = x * (recipe.shift / 14), y * (recipe.shift / 14)  # 28 pixels are 2 units wide
    cos, sin = angle.cos() / scale, angle.sin() / scale
    return torch.stack([cos, shear * cos - sin, x, sin, shear * sin + cos, y], dim=1).view(-1, 2, 3)


def augment(images: Tensor, theta: Tensor, recipe: Recipe) -> Tensor:
    """uint8 (N, 28, 28) moved by `theta` (N, 2, 3), then normalised: float32 (N, 1, 28, 28)."""
    ink = images.unsqueeze(1).float().div_(255)
    grid = _grid(theta)  # (N, 28, 28, 2)
    # grid_sample fills with zeros: sampling ink - fill and adding fill back fills with `fill`
    ink = F.grid_sample(ink - recipe.fill, grid, recipe.interpolation, "zeros", align_corners=False) + recipe.fill
    return ink.sub_(MEAN).div_(STD)


def _grid(theta: Tensor) -> Tensor:
    """F.affine_grid without aligned corners, (N, 2, 3) -> (N, 28, 28, 2): one matrix product, not N small ones."""
    place = (torch.arange(28, device=theta.device) * 2 + 1) / 28 - 1  # the middle of each pixel, from -1 to 1
    y, x = torch.meshgrid(place, place, indexing="ij")
    base = torch.stack([x, y, torch.ones_like(x)]).view(3, 784)
    return (theta.reshape(-1, 3) @ base).view(-1, 2, 28, 28).permute(0, 2, 3, 1)


def normalize(images: Tensor) -> Tensor:
    """uint8 (N, 28, 28) to float32 (N, 1, 28, 28) with MNIST's mean and standard deviation, not augmented."""
    return images.unsqueeze(1).float().div_(255).sub_(MEAN).div_(STD)


# --- the embedded digits -------------------------------------------------------------------------------------------


def _load_digits(why: str = "") -> Dataset:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    ink = torch.from_numpy(digits.images).float().unsqueeze(1) / 16  # (1797, 1, 8, 8), 0 to 1
    ink = F.interpolate(ink, size=(20, 20), mode="bicubic", align_corners=False).clamp_(0, 1)
    images = F.pad(ink, (4, 4, 4, 4)).mul_(255).round_().to(torch.uint8).squeeze(1)  # (1797, 28, 28)
    labels = torch.from_numpy(digits.target).long()
    train, val = train_test_split(np.arange(len(labels)), test_size=360, stratify=digits.target, random_state=0)
    train, val = torch.from_numpy(np.sort(train)), torch.from_numpy(np.sort(val))
    notice = (f"{why}The data are the **1,797 embedded digits** of scikit-learn, 8×8 pixels enlarged: a small "
              "stand-in. Nothing here says how a variant does on MNIST.")
    return Dataset("digits", "embedded digits (not MNIST)", notice,
                   images[train], labels[train], images[val], labels[val])


# --- MNIST: found, verified, downloaded -----------------------------------------------------------------------------


class _NoMirror(Exception):
    """No mirror delivered MNIST; the message says what each one did."""


def _load_mnist(data_dir: Path) -> Dataset:
    content = {name: _find(name, data_dir) for name in MNIST_FILES}
    missing = [name for name, found in content.items() if found is None]
    if missing:
        try:
            _download(data_dir)
        except _NoMirror as error:
            if len(missing) < len(MNIST_FILES):  # whoever has some of them wants MNIST, not a stand-in
                raise DataError(f"data_dir: {data_dir} lacks {', '.join(missing)}; {error}") from None
            raise
        content = {name: _find(name, data_dir) for name in MNIST_FILES}
    arrays = {}
    for name, (_, num_items, header) in MNIST_FILES.items():
        arrays[name] = torch.frombuffer(bytearray(content[name]), dtype=torch.uint8, offset=header)
        arrays[name] = arrays[name].view(num_items, 28, 28) if "images" in name else arrays[name].long()
    return Dataset("mnist", "MNIST", "", *arrays.values())


def _find(name: str, data_dir: Path) -> bytes | None:
    """The verified bytes of an unpacked IDX file, or None when it is nowhere.

    Raises DataError when it is there and no copy has the published SHA-256: it was cut, swapped or altered.
    """
    faults, (_, num_items, header) = [], MNIST_FILES[name]
    size = header + num_items * (784 if "images" in name else 1)  # bytes
    for folder in (data_dir, data_dir / "MNIST" / "raw"):
        for path in (folder / name, folder / f"{name}.gz"):
            try:
                if not path.is_file():
                    continue
                with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                    content = file.read(size + 1)  # no more, whatever it unpacks to
            except (OSError, EOFError, zlib.error) as error:
                faults.append(f"{path} can't be read ({error})")
                continue
            if hashlib.sha256(content).hexdigest() == MNIST_FILES[name][0]:
                return content
            faults.append(f"{path} is not MNIST's {name} (its SHA-256 differs from the published one)")
    if faults:
        raise DataError(f"data_dir: {'; '.join(faults)}; delete it to download it again, or name another folder")
    return None


def _mirrors() -> list[str]:
    from torchvision.datasets import MNIST

    own = os.environ.get("MNIST_MIRRORS", "").replace(",", " ").split()
    for url in own:
        if not url.startswith(("http://", "https://")):
            raise DataError(f"MNIST_MIRRORS: got {url!r}, takes addresses that begin with http:// or https://; a "
                            "folder goes into MNIST_DATA_DIR")
    return [url.rstrip("/") + "/" for url in own or MNIST.mirrors]


def _download(data_dir: Path) -> None:
    """Downloads the four archives through torchvision into `data_dir`/MNIST/raw; two processes download them once.

    Raises _NoMirror when no mirror delivers them, DataError when `data_dir` can't be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(data_dir / ".download.lock"):
            if all((data_dir / "MNIST" / "raw" / name).is_file() for name in MNIST_FILES):
                return  # another process was faster
            for debris in data_dir.glob(".download-*"):  # of a process that was killed
                shutil.rmtree(debris, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=data_dir, prefix=".download-") as temporary:
                source = _download_from_mirrors(Path(temporary))
                target = data_dir / "MNIST" / "raw"
                target.mkdir(parents=True, exist_ok=True)
                for name in MNIST_FILES:  # each whole, or not there at all
                    os.replace(source / name, target / name)
    except (OSError, Timeout) as error:
        raise DataError(f"data_dir: {data_dir} can't be written ({error.strerror or error})") from None


def _download_from_mirrors(folder: Path) -> Path:
    from torchvision.datasets import MNIST

    answers = _probe(_mirrors())
    faults = [f"{url}: {answer}" for url, answer in answers.items() if answer != "ok"]
    before, opener = socket.getdefaulttimeout(), urllib.request._opener
    socket.setdefaulttimeout(STALL_SECONDS)  # torchvision sets none: a silent server would hold us for ever
    urllib.request.install_opener(urllib.request.build_opener(_Limited))  # nor any other limit
    try:
        for url in (url for url, answer in answers.items() if answer == "ok"):
            # torchvision names the folder after the class, so this one is called MNIST too
            dataset = type("MNIST", (MNIST,), {"mirrors": [url]})
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    dataset(folder, download=True)
                raw = folder / "MNIST" / "raw"
                if all(_find(name, raw) is not None for name in MNIST_FILES):
                    return raw
            except Exception as error:  # whatever a mirror sends, the next one is asked
                faults.append(f"{url}: {_one_line(error)}")
            shutil.rmtree(folder / "MNIST", ignore_errors=True)
    finally:
        socket.setdefaulttimeout(before)
        urllib.request.install_opener(opener)
    raise _NoMirror(f"dataset: MNIST is not in {folder.parent} and no mirror delivers it ({'; '.join(faults)}); "
                    "put its four .gz archives there, or take dataset 'digits'")


class _Limited(urllib.request.BaseHandler):
    """Ends a download that drips, or never ends."""

    def http_response(self, request, response):
        deadline, left, read = time.monotonic() + DOWNLOAD_SECONDS, MOST_BYTES, response.read1

        def limited(size: int = -1) -> bytes:
            nonlocal left
            chunk = read(size)  # what has come so far: `read` would wait until there is as much as asked for
            left -= len(chunk)
            if left < 0:
                raise OSError(f"sends more than {MOST_BYTES:,} bytes")
            if time.monotonic() > deadline:
                raise OSError(f"takes longer than {DOWNLOAD_SECONDS:g} s for one file")
            return chunk

        response.read = limited
        return response

    https_response = http_response


def _probe(urls: list[str]) -> dict[str, str]:
    """Asks all mirrors at once for their first bytes: "ok", or what went wrong, within PROBE_SECONDS.

    In threads, because looking up a name can outlast any socket timeout.
    """
    answers = dict.fromkeys(urls, f"no answer within {PROBE_SECONDS:g} s")

    def ask(url: str) -> None:
        try:
            with urllib.request.urlopen(url + "t10k-labels-idx1-ubyte.gz", timeout=PROBE_SECONDS) as response:
                answers[url] = "ok" if response.read(2) == b"\x1f\x8b" else "sends no gzip archive"
        except Exception as error:  # a thread's fault is an answer too
            answers[url] = _one_line(error)

    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    deadline = time.monotonic() + PROBE_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(answers)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
