"""Sandboxes in Modal's cloud, by Modal's own client library.

`backend` is the door. In the order a sandbox comes to be: `config` (what may be set), `credentials` (whether there are
any), `connection` (the library's client, and an event loop to talk to it on), `images` and `recipes` (what a sandbox is
made from), `limiter` (how fast they may be made), `creating`, `sandbox`, `commands` (what is done with one, with
``begin.sh`` and ``kill.sh`` at the other end), `sweep` (what others left), `prices` (what it may cost), `probe`
(whether all this would work). The client library is imported when it is first talked to, not before.
"""

from cooperbench.eval.backends.modal.backend import ModalBackend
from cooperbench.eval.backends.modal.sandbox import ModalSandbox

__all__ = ["ModalBackend", "ModalSandbox"]
