"""What was asked of the servers, and what goes wrong on purpose: one record and one set of faults for all of them.

An operation is named ``service.verb`` (``storage.insert``, ``batch.CreateJob``, ``oauth.token``); its subject is the
object, bucket or job it is about; the account is whose credentials it came with.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Call:
    """One request that reached a server."""

    operation: str
    subject: str
    account: str


@dataclass(slots=True)
class Fault:
    """Something that happens to the next `times` calls it fits, patterns as in a shell."""

    operation: str
    subject: str = "*"
    account: str = "*"
    times: int = 1
    status: int = 0
    """Refused with this HTTP status (gRPC: its equal) and nothing is done; 0: not refused."""
    message: str = "injected"
    lost: bool = False
    """Done, but the answer never arrives."""
    reached: threading.Event = field(default_factory=threading.Event)
    """Set when a call has come to it."""
    gate: threading.Event | None = None
    """The call waits here, after it was done, until somebody sets it."""

    def fits(self, call: Call) -> bool:
        """Whether it happens to this call."""
        patterns = (self.operation, self.subject, self.account)
        asked = (call.operation, call.subject, call.account)
        return self.times > 0 and all(map(fnmatchcase, asked, patterns))


class Traffic:
    """Calls recorded, faults waiting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.calls: list[Call] = []
        self.unknown: list[str] = []
        """Requests no server knew: a test that leaves one here has found a gap."""

    def add(self, fault: Fault) -> Fault:
        """Have it happen; ``fault.reached`` tells when."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def record(self, call: Call) -> Fault | None:
        """Note a call; what is to happen to it, if anything."""
        with self._lock:
            self.calls.append(call)
            for fault in self._faults:
                if fault.fits(call):
                    fault.times -= 1
                    fault.reached.set()
                    return fault
        return None

    def count(self, operation: str = "*", *, subject: str = "*", account: str = "*") -> int:
        """How many calls there were of this kind."""
        wanted = Fault(operation, subject, account)
        with self._lock:
            return sum(map(wanted.fits, self.calls))

    def forget(self) -> None:
        """Start counting anew; faults that have not happened are dropped."""
        with self._lock:
            self.calls.clear()
            self.unknown.clear()
            self._faults.clear()


GATE_SECONDS = 120.0
"""How long a call waits at most at a gate that nobody opens."""


def wait_at_gate(fault: Fault | None) -> None:
    """Where a fault holds a call up."""
    if fault and fault.gate:
        fault.gate.wait(GATE_SECONDS)
