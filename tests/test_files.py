"""Files are written whole or not at all, and only the project's own are deleted."""

import errno
import json
import os
import stat
import threading

import pytest
from support import ROOT

from helpers import files
from helpers.config import ParameterError
from helpers.files import FIGURE_MARK, clear_results, locked, writable_folder, write_json


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """A power cut between the two would leave an empty file; one after them, no file at all."""
    done = []
    replace = os.replace

    def noted_replace(*paths):
        done.append("replace")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", lambda handle: done.append(stat.S_ISDIR(os.fstat(handle).st_mode)))
    monkeypatch.setattr(os, "replace", noted_replace)
    write_json(tmp_path / "record.json", {"text": "γ"})
    assert done == [False, "replace", True], "the file, its name, the folder"
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_bytes()) == {"text": "γ"}


@pytest.mark.skipif(os.name == "nt", reason="there are no modes")
@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664), (0, 0o666)])
def test_the_umask_says_who_may_read_and_lock(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "record.json", {})
        with locked(tmp_path / ".lock"):
            pass
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "record.json": mode, ".lock": mode}


def test_whoever_waits_for_a_lock_is_told(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    path = tmp_path / "run" / ".lock"
    path.parent.mkdir()
    holder = path.open("w")
    fcntl.flock(holder, fcntl.LOCK_EX)
    threading.Timer(0.5, holder.close).start()
    with pytest.warns(UserWarning, match=r"^run/\.lock is locked by another process; waiting"), locked(path):
        assert holder.closed


def test_a_lock_that_can_never_be_had_is_named(tmp_path, monkeypatch):
    """As on a file system without locks."""
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", refuse)
    with pytest.raises(OSError, match=r"No locks available: '.*\.lock'"), locked(tmp_path / ".lock"):
        pass


def test_a_folder_is_made_or_refused_in_one_line(tmp_path):
    assert writable_folder(tmp_path / "a" / "b", "runs_dir").is_dir()
    for folder in (__file__, "~nobody-of-this-name/runs", ROOT):
        with pytest.raises(ParameterError, match=r"^output_dir: got .*, takes a folder .*$"):
            writable_folder(folder, "output_dir")


def test_results_of_an_earlier_study_alone_are_cleared(tmp_path):
    (tmp_path / "figures").mkdir()
    for name in ("summary.json", "results.csv", "figures/loss.svg", "figures/samples.png"):
        (tmp_path / name).write_text(FIGURE_MARK)
    for name in ("notes.csv", "figures/holiday.png", "figures/notes.txt"):
        (tmp_path / name).write_text("somebody else's")
    clear_results(tmp_path)
    left = {path.name for path in tmp_path.rglob("*.*")}
    assert left == {"notes.csv", "holiday.png", "notes.txt"}
