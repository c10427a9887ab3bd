"""The gateway: every call of an agent to its model passes here.

The harness holds the key; an agent has a token that is good for its own trial. What a call costs is counted here, the
same way for every framework, and calls can be recorded and replayed.

`calls` is what passes, `line` one agent's way through, `upstream` and `translated` where calls go, `recording` where
they go in a replay, `server` the door for frameworks in the harness's process. The door for programs inside a sandbox
is `cooperbench.agents.bridge`.
"""

from cooperbench.gateway.access import ModelAccess, Source
from cooperbench.gateway.calls import Call, Dialect, Reply
from cooperbench.gateway.gateway import Gateway
from cooperbench.gateway.line import Line

__all__ = ["Call", "Dialect", "Gateway", "Line", "ModelAccess", "Reply", "Source"]
