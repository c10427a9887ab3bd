"""The same Jobs on the embedded sandbox and on Modal: the same Verdicts."""

from __future__ import annotations

import pytest

from cooperbench.eval.backends.modal import ModalBackend
from tests.judging import parity


@pytest.mark.parametrize("name", parity.NAMES)
def test_the_same_verdict(name: str, shared: ModalBackend, parity_cases: parity.Cases) -> None:
    parity_cases.compare(shared, name)
