"""Files written whole or not at all, and the project's own folders."""

import json
import os
import tempfile
from pathlib import Path

from helpers.config import ParameterError

FIGURE_MARK = "normalisation study"  # in every figure that is written, so that no one else's is ever cleared away
ROOT = Path(__file__).resolve().parent.parent  # relative paths in parameters start here, wherever Python started
RECORDS = ROOT / "notebooks" / "records"
NETWORKS = "networks.safetensors"  # in the output folder: what the page needs to let a reader draw


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes `data` to `path`: a reader, or a crash at any moment, finds the old content or the new one.

    A temporary file beside it is synced, then renamed over `path`. Raises OSError, and leaves no debris then.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide results from the others on a cluster
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
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


def clear_debris(folder: Path) -> None:
    """Deletes what killed processes left of `write_atomically` in `folder`; its lock must be held."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


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
