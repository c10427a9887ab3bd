"""An image, made by a real engine, with everything that a layer can say."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from tests.docker import engines
from tests.images.comparing import docker

CAPABILITY = "0100000200040000" + "0" * 24
DOCKERFILE = f"""FROM {engines.IMAGE}
RUN mkdir -p /data/opaque /data/dir && echo a >/data/opaque/old && echo b >/data/dir/f1 \\
 && echo c >/data/dir/f2 && ln /data/dir/f1 /data/hard && echo gone >/data/gone && cp /usr/bin/env /data/capable
RUN rm /data/gone && rm -r /data/opaque && mkdir /data/opaque && echo new >/data/opaque/new \\
 && chmod 700 /data/opaque && rm -r /usr/share || true
RUN cp /usr/bin/env /data/suid && chmod 6755 /data/suid && chown 1000:2000 /data/dir/f2 \\
 && ln -s /etc/passwd /data/absolute && ln -s ../../../x /data/climbs && mkfifo /data/fifo \\
 && touch -d 2001-02-03T04:05:06 /data/dir/f1 && touch -h -d 2001-02-03T04:05:06 /data/climbs \\
 && truncate -s 30M /data/sparse && chmod 1777 /data/dir && echo x >'/data/nämé with  blank' \\
 && mkdir /data/group && chgrp 50 /data/group && chmod 2755 /data/group && echo y >/data/group/y \\
 && python3 -c "import os; os.setxattr('/data/capable', 'security.capability', bytes.fromhex('{CAPABILITY}'))"
ENV FOO="a 'b' \\$c"
WORKDIR /data/work
"""


@contextlib.contextmanager
def tricky_image(context: Path) -> Iterator[str]:
    """Its name on the machine's engine."""
    (context / "Dockerfile").write_text(DOCKERFILE)
    name = f"cooperbench-test/tricky:{secrets.token_hex(4)}"
    with engines.docker(network="none"):
        docker("build", "-q", "-t", name, str(context))
        try:
            yield name
        finally:
            docker("rmi", "-f", name)
