"""Libraries that do more than define things when they are imported, imported so that they do not.

litellm reads a ``.env`` of the working directory and fetches a price list from the network; mini-swe-agent prints a
greeting, makes a directory for its settings, reads keys from there and takes over logging. None of it is ours to have
in a process that holds other people's keys.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

_lock = threading.RLock()


def quiet_litellm() -> Any:
    """The module `litellm`.

    Raises:
        ImportError: it is not installed.
    """
    with _environment({"LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}):
        litellm: Any = import_module("litellm")
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.CRITICAL)  # what goes wrong is raised, and told by us
    return litellm


def quiet_minisweagent() -> Any:
    """The module `minisweagent`; its parts can be imported as usual afterwards.

    Raises:
        ImportError: it is not installed.
    """
    quiet_litellm()
    with tempfile.TemporaryDirectory(prefix="cooperbench-") as nowhere:
        mood = {"MSWEA_SILENT_STARTUP": "1", "MSWEA_GLOBAL_CONFIG_DIR": nowhere}
        with _environment(mood):
            module = import_module("minisweagent")
            import_module("minisweagent.models.litellm_model")
    for name in ("minisweagent", "agent", "litellm_model"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.ERROR)
        logger.propagate = True
    return module


@contextlib.contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """These variables while an import lasts; everything the import changes in the environment is put back."""
    with _lock:
        before = dict(os.environ)
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
            os.environ.update(before)
