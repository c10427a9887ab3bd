"""A command against a loopback cloud: ``python -m tests.loopback.gcp cooperbench doctor gcp --image host``.

The registry has what the embedded backend has on this machine: `host`, and images made by datasets' recipes. What was
asked of the servers is told on standard error at the end.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from tests.loopback.gcp import loopback


def main(command: list[str]) -> int:
    """Run it; its exit code."""
    if not command:
        sys.exit(__doc__)
    with loopback() as cloud:
        code = subprocess.run(command, check=False).returncode
        for (account, operation), times in sorted(
            Counter((call.account.partition("@")[0], call.operation) for call in cloud.traffic.calls).items()
        ):
            print(f"{times:>7} {operation:<32}{account}", file=sys.stderr)
        for request in cloud.traffic.unknown:
            print(f"not served: {request}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
