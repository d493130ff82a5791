"""A store that the tests of runs share."""

import pytest

from helpers.runs.store import Store


@pytest.fixture
def store(tiny_data, tmp_path) -> Store:
    """An empty one, on the small data."""
    return Store(tmp_path / "runs", tiny_data)
