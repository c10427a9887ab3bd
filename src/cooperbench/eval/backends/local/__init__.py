"""The embedded sandbox: real isolation on Linux from the kernel and the standard library alone.

`backend` is the door; `docs/local-sandbox.md` has the drawing. In the order a sandbox comes to be: `identity` (which
user ids), `probe` (which of them works here), `state` (where files live), `launcher` (the zygote's other end),
`images`, `hostimage` and `recipes` (what a sandbox is made from), `store/` (images from elsewhere), `network`, `engine`
(makes one), `sealing` (a layer of what one writes), `sandbox` and
`command` (the harness's end of it). `inside/` is what runs in the zygote and in the sandboxes.
"""

from cooperbench.eval.backends.local.backend import LocalBackend
from cooperbench.eval.backends.local.sandbox import LocalSandbox

__all__ = ["LocalBackend", "LocalSandbox"]
