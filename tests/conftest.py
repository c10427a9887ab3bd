"""What holds for every test: the same examples each time, however slow the machine; what several packages share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.judging.parity import Cases

# A property test that draws other examples each time, or that watches the clock, fails where nothing has changed.
# HYPOTHESIS_PROFILE=explore draws new ones.
settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(scope="session")
def parity_cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    """The Jobs on which every backend is compared with the embedded sandbox."""
    from tests.judging.parity import Cases

    made = Cases(tmp_path_factory.mktemp("parity"))
    yield made
    made.local.close()
