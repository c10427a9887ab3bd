"""Sandboxes and batches of judgements on Google Cloud: Batch runs the machines, Cloud Storage carries what is said.

`backend` is the door. `config` says what may be set, `machines` what machine types hold and cost, `clients` opens the
vendor's libraries, whose complaints `trouble` explains; `store` is the bucket, `jobs` the Batch service, `owner` whose
a job is. A sandbox is a lease on a slot of a machine (`slots`), spoken to through a `mailbox` (`sandbox`); on the
machine runs `agent/`, a shell program. `sweep` removes what others left.
"""

from cooperbench.eval.backends.gcp.backend import GCPBatchBackend
from cooperbench.eval.backends.gcp.sandbox import GCPSandbox

__all__ = ["GCPBatchBackend", "GCPSandbox"]
