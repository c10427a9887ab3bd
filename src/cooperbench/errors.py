"""Every exception the package raises on purpose, in one tree.

    CooperBenchError
    ├── UsageError            bad input: unknown name, impossible selection, unreadable file (CLI: exit code 2)
    │   ├── DatasetError      the dataset is missing, incomplete or malformed
    │   ├── RunConflict       a run name re-used with other settings, or a run another process holds
    │   └── MissingExtra      an optional dependency is not installed; names the pip extra
    ├── BackendError          the infrastructure failed: recorded as `error`, retried, never a failed test
    │   ├── SandboxStartError a sandbox could not be created
    │   ├── SandboxLost       the sandbox is gone (terminated, died, its host vanished)
    │   ├── SandboxTimeout    the sandbox outlived its own lifetime and was ended
    │   └── JudgeError        the judge's program left no usable facts
    └── AgentError            an agent framework could not do its work (set-up, credentials, crash)

What the agents did wrong is never here: that is a Verdict. A message is one line that says what is wrong, where,
and what to do about it; the command line prints it as it is.
"""

from __future__ import annotations


class CooperBenchError(Exception):
    """Root of the tree; catch it to catch everything this package raises on purpose."""


class UsageError(CooperBenchError, ValueError):
    """The caller asked for something that does not exist or makes no sense.

    Also a ``ValueError``: scripts written for earlier releases catch that.
    """


class DatasetError(UsageError):
    """A dataset (or a file of one) is missing, incomplete or malformed."""


class RunConflict(UsageError):
    """A run name is re-used with other settings, or another process is at work on that run."""


class MissingExtra(UsageError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: pip install 'cooperbench[{extra}]'")
        self.extra = extra


class BackendError(CooperBenchError, RuntimeError):
    """The infrastructure failed; says nothing about the patches under judgement."""


class SandboxStartError(BackendError):
    """A sandbox could not be created."""


class SandboxLost(BackendError):
    """The sandbox is gone: terminated, killed, or its host vanished."""


class SandboxTimeout(SandboxLost):
    """The sandbox reached the end of the lifetime it was created with."""


class JudgeError(BackendError):
    """The judge's program ended without leaving the facts a verdict needs."""


class AgentError(CooperBenchError, RuntimeError):
    """An agent framework could not do its work: set-up, credentials, a crash of its own."""
