"""Where data sets come from: MNIST (LeCun, Cortes, Burges), found, verified or downloaded, and scikit-learn's digits
(Alpaydin, Kaynak)."""

import gzip
import hashlib
import itertools
import math
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from helpers.config import one_of
from helpers.data import DataError, Dataset
from helpers.files import ROOT, clear_debris, locked, shown, write_atomically
from helpers.mirrors import MNIST_FILES, NoMirror, download_from_mirrors

PLACES = ("*", "MNIST/raw/*", "*/*", "*/*/*", "*/*/*/*")  # in the data folder; the second is torchvision's
MOST_FILES = 20_000  # that are looked at: somebody may name a home folder


def load_dataset(dataset: str = "auto", data_dir: str | Path | None = None, holdout: int = 0) -> Dataset:
    """The verified data set. Raises DataError, in one line.

    dataset: a name in DATASETS, or "auto": MNIST, else the digits where no mirror answers. data_dir: where MNIST lies
    or is downloaded to; None means the environment's MNIST_DATA_DIR, else "data". holdout: see `Dataset.with_holdout`.
    """
    one_of("auto", *DATASETS).check("dataset", dataset)
    try:
        data = DATASETS["mnist" if dataset == "auto" else dataset](data_dir)
    except NoMirror as error:
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
        except NoMirror as error:
            if content:  # whoever has some of them wants MNIST, not a stand-in
                raise DataError(f"data_dir: {folder} lacks {', '.join(missing)}; {error}") from None
            names = {path.name for path in _paths_below(folder) if path.suffix not in ("", ".lock")}
            held = ", ".join(sorted(names)[:3]) or "nothing"
            raise NoMirror(f"dataset: MNIST is not in {shown(folder)} (there: {held}) and {error}") from None
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
                content |= download_from_mirrors(missing)
                raw.mkdir(parents=True, exist_ok=True)
                clear_debris(raw)
            for name in missing:
                write_atomically(raw / name, content[name])
            return content
    except OSError as error:
        raise DataError(f"data_dir: {folder} can't be written ({error.strerror or error})") from None
