"""The state directory of the killed, removed when all of them are dead."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.faults.driver import state_directory


@pytest.fixture(scope="package", autouse=True)
def _removed_at_the_end() -> Iterator[None]:
    yield
    shutil.rmtree(state_directory(), ignore_errors=True)
