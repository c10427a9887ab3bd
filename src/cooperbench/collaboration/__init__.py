"""The bus: what agents of one trial say to each other.

`bus` is the bus itself, in the harness's memory; `relay` connects a sandbox to it through `exec` alone; `coop.sh`
is the command agents call inside; `relay.sh` is its other half there.
"""

from cooperbench.collaboration.bus import (
    MESSAGE_LIMIT,
    Bus,
    BusMailbox,
    NoMailbox,
    Posting,
    RecipientFinishedError,
)
from cooperbench.collaboration.relay import Relay, client_files

__all__ = [
    "MESSAGE_LIMIT",
    "Bus",
    "BusMailbox",
    "NoMailbox",
    "Posting",
    "RecipientFinishedError",
    "Relay",
    "client_files",
]
