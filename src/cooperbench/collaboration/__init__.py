"""The bus: how agents of one trial work together.

`bus` is the bus itself, in the harness's memory: messages, `tasklist`, `scratchpad`, `branches`, all in the one
order that `journal` keeps; `mailbox` is one agent's end of it. `relay` connects a sandbox to it through `exec` alone;
`coop.sh` is the command agents call inside, `relay.sh` its other half there.
"""

from cooperbench.collaboration.bus import Bus, Posting, RecipientFinishedError
from cooperbench.collaboration.journal import TEXT_LIMIT, Entry
from cooperbench.collaboration.mailbox import BusMailbox, NoMailbox
from cooperbench.collaboration.relay import Relay, client_files

__all__ = [
    "TEXT_LIMIT",
    "Bus",
    "BusMailbox",
    "Entry",
    "NoMailbox",
    "Posting",
    "RecipientFinishedError",
    "Relay",
    "client_files",
]
