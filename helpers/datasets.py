"""Where data sets come from: MNIST (LeCun, Cortes, Burges), found, verified or downloaded, and scikit-learn's digits
(Alpaydin, Kaynak)."""

import gzip
import hashlib
import io
import math
import os
import threading
import time
import urllib.request
import zlib
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from filelock import FileLock

from helpers.config import one_of
from helpers.data import DataError, Dataset
from helpers.files import ROOT, clear_debris, write_atomically

# name of the unpacked IDX file -> SHA-256 of its content, shape of what it holds
MNIST_FILES = {
    "train-images-idx3-ubyte": ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", (60_000, 28, 28)),
    "train-labels-idx1-ubyte": ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", (60_000,)),
    "t10k-images-idx3-ubyte": ("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", (10_000, 28, 28)),
    "t10k-labels-idx1-ubyte": ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", (10_000,)),
}
PROBE_SECONDS = 10.0  # for a mirror to send the smallest file; `auto` must fall back within 20 s
STALL_SECONDS = 10.0  # without a byte, then the next mirror
DOWNLOAD_SECONDS = 900.0  # for one file, the largest of 10 MB: 11 kB a second
MOST_BYTES = 20_000_000


class _NoMirror(Exception):
    """The message says what each mirror did."""


def load_dataset(dataset: str = "auto", data_dir: str | Path | None = None, holdout: int = 0) -> Dataset:
    """The verified data set. Raises DataError, in one line.

    dataset: a name in DATASETS, or "auto": MNIST, else the digits where no mirror answers. data_dir: where MNIST lies
    or is downloaded to; None means the environment's MNIST_DATA_DIR, else "data". holdout: see `Dataset.with_holdout`.
    """
    one_of("auto", *DATASETS).check("dataset", dataset)
    try:
        data = DATASETS["mnist" if dataset == "auto" else dataset](data_dir)
    except _NoMirror as error:
        if dataset != "auto":
            raise DataError(str(error)) from None
        digits = load_digits()
        data = replace(digits, notice=f"MNIST could not be had, so this is **not MNIST**. {digits.notice}")
    return data.with_holdout(holdout) if holdout else data


def load_digits(_: object = None) -> Dataset:
    """The embedded digits, enlarged and placed like MNIST's: 1,437 for training and 360 for validation."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    digits = datasets.load_digits()
    ink = torch.from_numpy(digits.images).float().unsqueeze(1) / 16  # (1797, 1, 8, 8), 0 to 1
    ink = F.interpolate(ink, 20, mode="bicubic").clamp(0, 1)
    images = (255 * F.pad(ink, (4, 4, 4, 4))).round().to(torch.uint8).squeeze(1)  # (1797, 28, 28)
    labels = torch.from_numpy(digits.target).long()
    train, val = map(sorted, train_test_split(range(1797), test_size=360, stratify=digits.target, random_state=0))
    notice = ("The data are the **1,797 embedded digits** of scikit-learn, 8×8 pixels enlarged: a small stand-in. "
              "Nothing here says how a variant does on MNIST.")
    title = "embedded digits (not MNIST)"
    return Dataset("digits", title, notice, images[train], labels[train], images[val], labels[val])


def load_mnist(data_dir: str | Path | None) -> Dataset:
    """MNIST from `data_dir`, downloaded into it where it is missing, and checked against the published SHA-256."""
    folder = _data_folder(data_dir)
    content = {name: find_file(name, folder) for name in MNIST_FILES}
    missing = [name for name, found in content.items() if found is None]
    if missing:
        try:
            content = _download(folder)
        except _NoMirror as error:
            if len(missing) == len(MNIST_FILES):
                raise
            # whoever has some of them wants MNIST, not a stand-in
            raise DataError(f"data_dir: {folder} lacks {', '.join(missing)}; {error}") from None
    tensors = []
    for name, (_, shape) in MNIST_FILES.items():
        values = torch.frombuffer(bytearray(content[name]), dtype=torch.uint8)[-math.prod(shape):]  # no header
        tensors.append(values.view(shape) if "images" in name else values.long())
    return Dataset("mnist", "MNIST", "", *tensors)


# A new data set is one entry here: a function of `data_dir` that returns a Dataset.
DATASETS = {"mnist": load_mnist, "digits": load_digits}


def _data_folder(data_dir: str | Path | None) -> Path:
    """Relative to the project's folder; from the environment, relative to where the user stands if it is there."""
    named = os.environ.get("MNIST_DATA_DIR") if data_dir is None else None
    folder = Path(data_dir or named or "data")
    try:
        folder = folder.expanduser()
        return folder if named and folder.is_dir() else ROOT / folder
    except (OSError, RuntimeError) as error:  # RuntimeError: "~name" where there is no such user
        raise DataError(f"data_dir: got {str(folder)!r}, which is no folder ({error})") from None


def find_file(name: str, folder: Path) -> bytes | None:
    """The verified bytes of an IDX file of MNIST, or None. Raises DataError when no copy there is the published one."""
    faults = []
    raw = folder / "MNIST" / "raw"
    for path in (folder / name, folder / f"{name}.gz", raw / name, raw / f"{name}.gz"):
        opener = gzip.open if path.suffix == ".gz" else open
        try:
            if path.is_file():
                with opener(path, "rb") as file:
                    return _read_verified(name, file)
        except DataError as error:
            faults.append(f"{path} {error}")
        except (OSError, EOFError, zlib.error) as error:
            faults.append(f"{path} can't be read ({error})")
    if faults:
        raise DataError(f"data_dir: {'; '.join(faults)}; delete it to download it again, or name another folder")
    return None


def _read_verified(name: str, file) -> bytes:
    """The content of MNIST's file `name`. Raises DataError for any other content."""
    digest, shape = MNIST_FILES[name]
    content = file.read(math.prod(shape) + 17)  # a header has at most 16 bytes; no more, whatever it unpacks to
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"is not MNIST's {name} (its SHA-256 differs from the published one)")
    return content


def _download(folder: Path) -> dict[str, bytes]:
    """Downloads MNIST into `folder`/MNIST/raw and returns its four files; two processes download them once."""
    raw = folder / "MNIST" / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".download.lock"):
            clear_debris(raw)
            content = {name: find_file(name, raw) for name in MNIST_FILES}
            if None in content.values():  # else another process was faster
                content = _download_from_mirrors(folder)
                for name, unpacked in content.items():
                    write_atomically(raw / name, unpacked)
            return content
    except OSError as error:  # filelock's Timeout is one too
        raise DataError(f"data_dir: {folder} can't be written ({error.strerror or error})") from None


def _download_from_mirrors(folder: Path) -> dict[str, bytes]:
    faults = []
    for url, answer in _probe().items():
        try:
            if answer == "ok":
                return {name: _fetch(url, name) for name in MNIST_FILES}
        except Exception as error:  # whatever a mirror sends, the next one is asked
            answer = _one_line(error)
        faults.append(f"{url}: {answer}")
    raise _NoMirror(f"dataset: MNIST is not in {folder} and no mirror delivers it ({'; '.join(faults)}); "
                    "put its four .gz archives there, or take dataset 'digits'")


def _probe() -> dict[str, str]:
    """Asks all mirrors at once for the smallest file: "ok", or what went wrong, within PROBE_SECONDS.

    In threads, because looking up a name can outlast any socket timeout.
    """
    from torchvision.datasets import MNIST

    answers = {}
    for url in os.environ.get("MNIST_MIRRORS", "").replace(",", " ").split() or MNIST.mirrors:
        if not url.startswith(("http://", "https://")):
            raise DataError(f"MNIST_MIRRORS: got {url!r}, takes addresses that begin with http:// or https://; a "
                            "folder goes into MNIST_DATA_DIR")
        answers[url.rstrip("/") + "/"] = f"no answer within {PROBE_SECONDS:g} s"

    def ask(url: str) -> None:
        try:
            _fetch(url, "t10k-labels-idx1-ubyte")
            answers[url] = "ok"
        except Exception as error:  # a thread's fault is an answer too
            answers[url] = _one_line(error)

    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in answers]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PROBE_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return answers.copy()  # a late answer changes nothing


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _fetch(url: str, name: str) -> bytes:
    """One file of MNIST, unpacked. Raises for a server that stalls, drips, never ends or sends another file."""
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    archive = bytearray()
    with urllib.request.urlopen(f"{url}{name}.gz", timeout=STALL_SECONDS) as response:
        while chunk := response.read1(2**16):  # read1 returns at once; read blocks until all bytes arrive
            archive += chunk
            if len(archive) > MOST_BYTES:
                raise OSError(f"sends more than {MOST_BYTES:,} bytes")
            if time.monotonic() > deadline:
                raise OSError(f"takes longer than {DOWNLOAD_SECONDS:g} s for one file")
    return _read_verified(name, gzip.GzipFile(fileobj=io.BytesIO(archive)))
