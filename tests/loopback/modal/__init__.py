"""Modal on loopback: a server that speaks the wire protocol of the installed client, and really executes.

It stands where Modal stands: the unmodified client library, with its own authentication, retries and streams, talks to
it over HTTP/2. `server` is the door; `control` the control plane; `router` the task command router, which commands go
to directly; `images` what sandboxes are made from; `boxes` sandboxes and their processes, isolated by the package's own
`local` backend; `faults` what can be made to go wrong; `tokens` who is let in.

Where its behaviour comes from is said where it is implemented: [client] read in modal 1.6.4, [docs] modal.com/docs,
[report] public issue threads, [ours] a choice, the stricter one, where nothing is known.
"""

from tests.loopback.modal.faults import Fault
from tests.loopback.modal.server import Cloud

__all__ = ["Cloud", "Fault"]
