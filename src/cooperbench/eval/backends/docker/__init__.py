"""Sandboxes as containers of a Docker engine, or of Podman's service.

`backend` is the door. In the order a sandbox comes to be: `config` (what may be set), `engine` (finding it, talking to
it), `images` and `recipes` (what a sandbox is made from), `owner` (whose it is), `containers` (made and started),
`stream`, `listening` and `lane` (talking to the agent inside, ``lane.sh``), `sandbox`, `commands` and `archives` (what
is done with one), `sweep` (what others left) and `probe` (whether all this would work). The client library is imported
when an engine is looked for, not before.
"""

from cooperbench.eval.backends.docker.backend import DockerBackend
from cooperbench.eval.backends.docker.sandbox import DockerSandbox

__all__ = ["DockerBackend", "DockerSandbox"]
