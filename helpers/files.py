"""Files written whole or not at all, read with care, locked; and the project's own folders."""

import contextlib
import json
import os
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from helpers.config import ParameterError

FIGURE_MARK = "normalisation study"  # in every figure that is written, so that no one else's is ever cleared away
ROOT = Path(__file__).resolve().parent.parent  # relative paths in parameters start here, wherever Python started
RECORDS = ROOT / "notebooks" / "records"
NETWORKS = "networks.safetensors"  # in the output folder: what the page needs to let a reader draw
MOST_BYTES = 256 * 1024**2  # of a file that is read: a checkpoint has 1 MB, a record of 100,000 epochs 30 MB
PATIENCE = 10.0  # seconds: who waits longer for a lock is told


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes `data` to `path`: a reader, or a crash at any moment, finds the old content or the new one.

    A temporary file beside it is synced, then renamed over `path`. The umask says who may read it. A folder in its
    way is set aside. Raises OSError, and leaves no debris then.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.is_dir():
            set_aside(path)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError:  # Windows opens no folder; elsewhere the rename survives a power cut
        return
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, content: dict) -> None:
    """Writes `content` as JSON that people can read, whole or not at all."""
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False).encode())


def read_file(path: Path) -> bytes | None:
    """The content of a file; None where nothing is. Empty for what is none of ours: a folder, a pipe, 20 GB.

    Raises OSError for a disk that can't be read.
    """
    if not os.path.lexists(path):
        return None
    is_ours = path.is_file() and path.stat().st_size <= MOST_BYTES
    return path.read_bytes() if is_ours else b""


def set_aside(path: Path) -> Path:
    """Renames what can't be used; returns its new path. An earlier file there is replaced, a folder is not."""
    aside = path.with_suffix(".damaged")
    if path.is_dir() or aside.is_dir():
        aside = path.with_suffix(f".{time.time_ns()}.damaged")
    os.replace(path, aside)
    return aside


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path`; who waits long for it is told. Raises OSError, with its name, if nobody can."""
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            warnings.warn(f"{shown(path)} is locked by another process; waiting for it", stacklevel=3)
            lock.acquire()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        yield
    finally:
        lock.release()


def shown(path: str | Path) -> str:
    """A path's last two parts: enough to find it, and not where this machine keeps it."""
    return "/".join(Path(path).parts[-2:])


def clear_debris(folder: Path) -> None:
    """Deletes what killed processes left of `write_atomically` in `folder`; its lock must be held."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):  # a folder of somebody else's
            path.unlink()


def writable_folder(folder: str | Path, parameter: str) -> Path:
    """`folder` (relative: to the project's), made if need be. Raises ParameterError when it can't be written."""
    try:
        path = ROOT / Path(folder).expanduser()
        if parameter == "output_dir" and path.resolve() == ROOT:
            raise ParameterError(f"output_dir: got {str(folder)!r}, takes a folder other than the project's own")
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: "~name" where there is no such user
        reason = getattr(error, "strerror", None) or error
        raise ParameterError(f"{parameter}: got {str(folder)!r}, takes a folder that can be written "
                             f"({reason})") from None
    return path


def clear_results(folder: Path) -> None:
    """Deletes what an earlier study left in its output folder, nothing else; summary.json first: it means success."""
    try:
        for path in (folder / "summary.json", folder / "results.csv", folder / NETWORKS):
            path.unlink(missing_ok=True)
        (folder / "figures").mkdir(exist_ok=True)
        for path in (folder / "figures").glob("*.[ps][nv]g"):
            if FIGURE_MARK.encode() in path.read_bytes():
                path.unlink()
    except OSError as error:
        raise ParameterError(f"output_dir: {error.filename} can't be replaced ({error.strerror})") from None
