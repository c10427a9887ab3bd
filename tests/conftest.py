"""What holds for every test: the same examples each time, however slow the machine."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

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
