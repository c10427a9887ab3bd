"""What must be known of a batch to take it up again: written before anything of it exists in the cloud."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cooperbench.errors import BackendError


@dataclass(frozen=True, slots=True)
class Record:
    """One submission."""

    job_id: str
    request_id: str
    """With the job's id it makes submitting again free."""
    project: str
    region: str
    bucket: str
    machine_type: str
    keys: tuple[str, ...]
    """The works, in the order their numbers count."""
    slots: int
    together: int
    seconds: float
    spot: bool
    labels: Mapping[str, str]
    submitted: bool = False
    """Whether the service is known to have had it."""
    account: Mapping[str, Any] = field(default_factory=dict)
    """What it came to, once that is known: when the job is gone nobody else can say."""

    def to_json(self) -> dict[str, Any]:
        """As a ledger keeps it."""
        return {"backend": "gcp", **asdict(self), "keys": list(self.keys), "labels": dict(self.labels)}


def new_identity() -> tuple[str, str]:
    """A job's id and a request's."""
    return f"cb-{secrets.token_hex(8)}", str(uuid.uuid4())


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "job_id": str,
    "request_id": str,
    "project": str,
    "region": str,
    "bucket": str,
    "machine_type": str,
    "keys": list,
    "slots": int,
    "together": int,
    "seconds": (int, float),
    "spot": bool,
    "labels": dict,
    "submitted": bool,
}


def from_json(found: Mapping[str, Any]) -> Record:
    """A record out of a ledger.

    Raises:
        BackendError: it is not one of ours; what it stands for may still be running.
    """
    for name, kind in _TYPES.items():
        if not isinstance(found.get(name), kind):
            raise BackendError(
                f"the run's record of a batch cannot be read ({name}); look for jobs with the label "
                "product=cooperbench in the Google Cloud console, then remove batch.json from the run's directory"
            )
    values = {name: found[name] for name in _TYPES}
    account = found.get("account")
    known = account if isinstance(account, dict) else {}
    return Record(**{**values, "keys": tuple(map(str, values["keys"])), "account": known})
