"""Where data sets come from: MNIST (LeCun, Cortes, Burges), found, verified or downloaded, and scikit-learn's digits
(Alpaydin, Kaynak)."""

import gzip
import hashlib
import io
import itertools
import math
import os
import re
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from helpers.config import one_of
from helpers.data import DataError, Dataset
from helpers.files import ROOT, clear_debris, locked, shown, write_atomically

# name of the unpacked IDX file -> SHA-256 of its content, shape of what it holds
MNIST_FILES = {
    "train-images-idx3-ubyte": ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", (60_000, 28, 28)),
    "train-labels-idx1-ubyte": ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", (60_000,)),
    "t10k-images-idx3-ubyte": ("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", (10_000, 28, 28)),
    "t10k-labels-idx1-ubyte": ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", (10_000,)),
}
PLACES = ("*", "MNIST/raw/*", "*/*", "*/*/*", "*/*/*/*")  # in the data folder; the second is torchvision's
MOST_FILES = 20_000  # that are looked at: somebody may name a home folder
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
AGENT = "Mozilla/5.0 (compatible; normalisation study)"  # some mirrors refuse Python's own name
BUSY = (408, 429, 500, 502, 503, 504)  # answers of a mirror that may do better a moment later
PAUSES = (1.0, 2.0)    # seconds before a busy mirror is asked again
LEAST_RATE = 30_000    # bytes a second
STALL_SECONDS = 8.0    # that a mirror may fall behind that rate, then the next one is asked
WASTED_SECONDS = 15.0  # that all together may fall behind: `auto` must fall back within 20 s
ARCHIVE_BYTES = 11_594_722  # of the four archives
MOST_BYTES = 12_000_000     # of one


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
        reason = str(error).removeprefix("dataset: ").partition("; put its")[0]
        notice = f"MNIST could not be had, so this is **not MNIST** ({reason}). {digits.notice}"
        data = replace(digits, notice=notice)
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
    content = find_mnist(folder)
    missing = [name for name in MNIST_FILES if name not in content]
    if missing:
        try:
            content = _download(folder)
        except _NoMirror as error:
            if content:  # whoever has some of them wants MNIST, not a stand-in
                raise DataError(f"data_dir: {folder} lacks {', '.join(missing)}; {error}") from None
            names = {path.name for path in _paths_below(folder) if path.suffix not in ("", ".lock")}
            held = ", ".join(sorted(names)[:3]) or "nothing"
            raise _NoMirror(f"dataset: MNIST is not in {shown(folder)} (there: {held}) and {error}") from None
    tensors = []
    for name, (_, shape) in MNIST_FILES.items():
        values = torch.frombuffer(bytearray(content[name]), dtype=torch.uint8)[-math.prod(shape):]  # no header
        tensors.append(values.view(shape) if "images" in name else values.long())
    return Dataset("mnist", "MNIST", "", *tensors)


# A new data set is one entry here: a function of `data_dir` that returns a Dataset.
DATASETS = {"mnist": load_mnist, "digits": load_digits}


def _data_folder(data_dir: str | Path | None) -> Path:
    """Relative to the project's folder; from the environment, relative to where the user stands if it is there."""
    named = data_dir or os.environ.get("MNIST_DATA_DIR")
    parameter = "data_dir" if data_dir else "MNIST_DATA_DIR"
    try:
        folder = Path(named or "data").expanduser()
        if data_dir or not folder.is_dir():
            folder = ROOT / folder
        if named and not folder.is_dir():
            raise NotADirectoryError("to download MNIST into it, make it first")
    except (OSError, RuntimeError) as error:  # RuntimeError: "~name" where there is no such user
        raise DataError(f"{parameter}: got {str(named)!r}, which is no folder ({error})") from None
    return folder


def find_mnist(folder: Path) -> dict[str, bytes]:
    """The verified content of MNIST's files in and below `folder`, by their usual names; theirs may differ.

    Raises DataError when one is missing and a file that is not the published one has its name.
    """
    found = {}
    faults = []
    for path in _paths_below(folder):
        plain = re.sub(r"[._]", "-", path.name.lower().removesuffix(".gz"))
        is_named = plain in MNIST_FILES and path.parent in (folder, folder / "MNIST" / "raw")
        fault = f"is not MNIST's {plain} (its SHA-256 differs from the published one)"
        try:
            content = _read(path, is_named)
            digest = hashlib.sha256(content).hexdigest()
            found |= {name: content for name, (published, _) in MNIST_FILES.items() if published == digest}
        except (OSError, EOFError, zlib.error) as error:
            fault = f"can't be read ({error})"
        if is_named:
            faults.append((plain, f"{path} {fault}"))
        if len(found) == len(MNIST_FILES):
            return found
    texts = dict.fromkeys(text for name, text in faults if name not in found)
    if texts:
        hint = "delete it to download it again, or name another folder"
        raise DataError(f"data_dir: {'; '.join(texts)}; {hint}")
    return found


def _paths_below(folder: Path) -> Iterator[Path]:
    """What lies in and a few levels below a folder, the usual places first; some of it twice."""
    paths = itertools.chain.from_iterable(map(folder.glob, PLACES))
    return itertools.islice(paths, MOST_FILES)


def _read(path: Path, is_named: bool) -> bytes:
    """The content of a file, unpacked; empty for a folder, and where neither size nor name is MNIST's."""
    sizes = {math.prod(shape) + 4 + 4 * len(shape) for _, shape in MNIST_FILES.values()}  # with the header
    if not path.is_file():
        return b""
    with open(path, "rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        size = path.stat().st_size
        if is_packed:
            file.seek(-4, os.SEEK_END)
            size = int.from_bytes(file.read(), "little")  # as an archive's last bytes say
        if size not in sizes and not is_named:
            return b""
        file.seek(0)
        unpacked = gzip.GzipFile(fileobj=file) if is_packed else file
        return unpacked.read(max(sizes) + 1)  # no more, whatever it unpacks to


def _download(folder: Path) -> dict[str, bytes]:
    """The four files, those that are missing downloaded into `folder`/MNIST/raw; two processes download once."""
    raw = folder / "MNIST" / "raw"
    try:
        folder.mkdir(exist_ok=True)
        with locked(folder / ".download.lock"):
            content = find_mnist(folder)
            missing = [name for name in MNIST_FILES if name not in content]
            if missing:  # else another process was faster
                content |= _download_from_mirrors(missing)
                raw.mkdir(parents=True, exist_ok=True)
                clear_debris(raw)
            for name in missing:
                write_atomically(raw / name, content[name])
            return content
    except OSError as error:
        raise DataError(f"data_dir: {folder} can't be written ({error.strerror or error})") from None


def _download_from_mirrors(names: list[str]) -> dict[str, bytes]:
    """The files from the first mirrors that have them. Raises _NoMirror, with what each mirror did."""
    content = {}
    faults = []
    patience = WASTED_SECONDS
    for url in os.environ.get("MNIST_MIRRORS", "").replace(",", " ").split() or MIRRORS:
        if not url.startswith(("http://", "https://")):
            raise DataError(f"MNIST_MIRRORS: got {url!r}, takes addresses that begin with http:// or https://; "
                            "a folder goes into MNIST_DATA_DIR")
        transfer = _Transfer(url, [name for name in names if name not in content])
        patience -= _follow(transfer, min(patience, STALL_SECONDS))  # with none left, at once
        content |= transfer.content
        if len(content) == len(names):
            return content
        faults.append(f"{url}: {transfer.fault}")
    raise _NoMirror(f"no mirror delivers it ({'; '.join(faults)}); "
                    "put its four .gz archives there, or take dataset 'digits'")


class _Transfer(threading.Thread):
    """Files from one mirror. A thread: looking up a name, or a dripping header, outlasts any socket timeout."""

    def __init__(self, url: str, names: list[str]):
        super().__init__(daemon=True)
        self.url = url.rstrip("/")
        self.names = names
        self.content: dict[str, bytes] = {}
        self.received = 0  # bytes
        self.fault = ""    # why it ended early
        self.is_wanted = True
        self.start()

    def run(self) -> None:
        try:
            for name in self.names:
                archive = self.receive(f"{self.url}/{name}.gz")
                digest, shape = MNIST_FILES[name]
                unpacked = gzip.GzipFile(fileobj=io.BytesIO(archive))
                content = unpacked.read(math.prod(shape) + 17)  # a header has at most 16 bytes
                if hashlib.sha256(content).hexdigest() != digest:
                    raise OSError(f"sends another {name} than MNIST's (its SHA-256 differs)")
                self.content[name] = content
        except Exception as error:  # whatever a mirror sends, the next one is asked
            text = re.sub(r"[^\w .,:;()/'-]+", " ", str(error))  # a server's words: no escapes, no markup
            self.fault = " ".join(text.split())[:200] or type(error).__name__

    def receive(self, url: str) -> bytearray:
        """The bytes at an address, counted as they come. A busy server is asked again."""
        request = urllib.request.Request(url, headers={"User-Agent": AGENT})
        for pause in (*PAUSES, None):
            try:
                response = urllib.request.urlopen(request, timeout=2 * STALL_SECONDS)
                break
            except urllib.error.HTTPError as error:
                if error.code not in BUSY or pause is None:
                    raise
                time.sleep(pause)
        archive = bytearray()
        with response:
            while self.is_wanted and (chunk := response.read1(2**16)):  # read1 does not wait for all of it
                archive += chunk
                self.received += len(chunk)
                if len(archive) > MOST_BYTES:
                    raise OSError(f"sends more than {MOST_BYTES:,} bytes")
        return archive


def _follow(transfer: _Transfer, patience: float) -> float:
    """Waits, with a bar, until a transfer ends or is `patience` seconds behind; returns how far it is behind."""
    left = patience
    with tqdm(total=ARCHIVE_BYTES, desc="MNIST", unit="B", unit_scale=True, leave=False, delay=0.5) as bar:
        while transfer.is_alive() and left > 0:
            transfer.join(0.1)
            new = transfer.received - bar.n
            bar.update(new)
            left = min(patience, left - 0.1 + new / LEAST_RATE)
    if transfer.is_alive():
        transfer.is_wanted = False
        rate = f"less than {LEAST_RATE / 1000:g} kB a second" if transfer.received else "nothing"
        transfer.fault = f"sends {rate}"
    return patience - left
