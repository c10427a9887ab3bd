"""Where the runs of a test are kept."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"
