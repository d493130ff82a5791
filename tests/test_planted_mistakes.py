"""Mistakes that were made in courses, planted in running code: the tests notice each of them."""

import os
import subprocess
import sys

import pytest
from mistakes import MISTAKES
from support import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_noticed(mistake):
    *_, file, which = MISTAKES[mistake]
    environment = {**os.environ, "MISTAKE": mistake, "PYTHONPATH": str(ROOT / "tests"),
                   "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-qx", "-p", "mistakes", "-p", "no:cacheprovider",
                           f"tests/test_{file}.py", "-k", which], cwd=ROOT, env=environment, capture_output=True,
                          text=True, timeout=280)
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout[-2000:] + done.stderr
