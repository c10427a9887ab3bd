"""What holds for all tests."""

from __future__ import annotations

import hypothesis

# Times are for benchmarks: on a busy machine any example can take long.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
