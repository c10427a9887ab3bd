"""A client of the bus other than `coop`, to be run inside a sandbox: `flood.py DEPTH`, requests on standard input.

Each line of the input is a JSON text: one request. Up to DEPTH of them are under way at once. Prints the answers,
one JSON text a line, in the order of the requests.
"""

import base64
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

SPOOL = "/var/spool/coop"


def ask(request):
    work = tempfile.mkdtemp(dir=SPOOL + "/work", prefix="")
    name = "".join(c for c in os.path.basename(work) if c.isalnum()).ljust(8, "x")
    os.rename(work, os.path.join(SPOOL, "work", name))
    work = os.path.join(SPOOL, "work", name)
    try:
        os.mkfifo(work + "/bell")
        bell = os.open(work + "/bell", os.O_RDWR)
        with open(work + "/pid", "w") as file:
            file.write(str(os.getpid()) + "\n")
        with open(work + "/request", "w") as file:
            file.write(name + " " + base64.b64encode(request.encode()).decode() + "\n")
        os.symlink(work + "/request", SPOOL + "/ready/" + name)
        ring = os.open(SPOOL + "/bell", os.O_RDWR)
        os.write(ring, b"1\n")
        os.close(ring)
        with os.fdopen(bell, "rb", buffering=0) as stream:
            answer = stream.readline().strip()
        if answer == b"file":
            with open(work + "/reply", "rb") as file:
                return file.read().decode()
        return base64.b64decode(answer).decode()
    finally:
        shutil.rmtree(work)


def main():
    requests = [json.loads(line) for line in sys.stdin]
    with ThreadPoolExecutor(int(sys.argv[1])) as pool:
        for answer in pool.map(ask, requests):
            print(json.dumps(answer))


if __name__ == "__main__":
    main()
