"""How long `coop` takes between sandboxes: from the call to its answer, and from one agent's message to the other.

    python bench/bus.py [--backend local] [--rounds 20] [--image IMAGE] [--storm N] [--json FILE]

`call` is one `coop who`: into the harness and back. `bare` is the same exec of nothing, for what the backend itself
takes. `delivery` is from the start of `coop send` to the end of the teammate's waiting `coop inbox`. The aim is a
median delivery of at most 300 ms beyond two bare execs on `local` and `docker`. `--storm N` also has two agents send
each other N messages with `coop` itself, four at once, and counts what arrives.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cooperbench.collaboration import Bus, BusMailbox, Relay, client_files
from cooperbench.collaboration.bus import EVERYTHING
from cooperbench.eval import backends
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Closable, Completed, EvalBackend, Sandbox, SandboxSpec, offers

AIM_MS = 300
AGENTS = ("agent1", "agent2")
IMAGES = {"local": "host"}


def main() -> None:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description="Latency of the bus.")
    parser.add_argument("--backend", default="local")
    parser.add_argument("--image", help="default: host on local, else debian:bookworm-slim")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--storm", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    backend = backends.get_backend(arguments.backend)
    image = arguments.image or IMAGES.get(arguments.backend, "debian:bookworm-slim")
    with pair(backend, image) as (bus, boxes):
        figures = measure(boxes, arguments.rounds)
        if arguments.storm:
            figures |= storm(bus, boxes, arguments.storm)
    for name, value in figures.items():
        print(f"{name:<34}{value:>10.1f}")
    beyond = figures["delivery, median ms"] - 2 * figures["bare exec, median ms"]
    print(f"delivery beyond two bare execs: {beyond:.1f} ms (aim: at most {AIM_MS})")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


@contextmanager
def pair(backend: EvalBackend, image: str) -> Iterator[tuple[Bus, dict[str, Sandbox]]]:
    """Two sandboxes on a bus."""
    bus = Bus(AGENTS)
    boxes: dict[str, Sandbox] = {}
    try:
        for agent in AGENTS:
            boxes[agent] = shell.create(backend, SandboxSpec(image, 1800))
            shell.put_files(boxes[agent], client_files(EVERYTHING))
            Relay(boxes[agent], BusMailbox(bus, agent)).start()
        yield bus, boxes
    finally:
        for box in boxes.values():
            shell.terminate(box)
        if offers(backend, Closable):
            backend.close()


def measure(boxes: dict[str, Sandbox], rounds: int) -> dict[str, float]:
    """Medians and the worst, in milliseconds; rounds are interleaved."""
    first, second = (boxes[agent] for agent in AGENTS)
    taken: dict[str, list[float]] = {"bare exec": [], "call": [], "delivery": []}
    for number in range(rounds):
        taken["bare exec"].append(timed(lambda: shell.run(first, ["true"])))
        taken["call"].append(timed(lambda: coop(first, "who")))
        taken["delivery"].append(delivery(first, second, f"message {number}"))
    return {
        f"{name}, {what} ms": value
        for name, times in taken.items()
        for what, value in (("median", statistics.median(times)), ("worst", max(times)))
    }


def delivery(first: Sandbox, second: Sandbox, text: str) -> float:
    """Milliseconds from `send` to the end of a waiting `inbox`."""
    arrived: list[float] = []

    def wait() -> None:
        assert text in coop(second, "inbox", "--wait", "60").stdout_read()
        arrived.append(time.perf_counter())

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.5)  # until it waits
    begun = time.perf_counter()
    coop(first, "send", "agent2", text)
    waiter.join()
    return (arrived[0] - begun) * 1000


def storm(bus: Bus, boxes: dict[str, Sandbox], count: int) -> dict[str, float]:
    """Two agents send each other `count` messages, and read them all."""
    script = (
        'n=0; while [ $n -lt "$2" ]; do for _ in 1 2 3 4; do n=$((n + 1)); coop send "$1" "$n" >/dev/null & done; '
        "wait; done; coop inbox | grep -c ^from"
    )
    before = len(bus.timeline())
    begun = time.perf_counter()
    threads = [
        threading.Thread(target=shell.run, args=(boxes[agent], ["sh", "-c", script, "sh", other, str(count)]))
        for agent, other in zip(AGENTS, reversed(AGENTS), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    for agent in AGENTS:
        BusMailbox(bus, agent).receive()
    entries = bus.timeline()[before:]
    read = sum(entry.details["messages"] for entry in entries if entry.kind == "read")
    distinct = len({(entry.agent, entry.details["text"]) for entry in entries if entry.kind == "message"})
    return {"storm: sent once": distinct, "storm: read": read, "storm: messages a second": distinct / seconds}


def coop(box: Sandbox, *argv: str) -> Completed:
    """One call, which must succeed."""
    done = shell.run(box, ["coop", *argv], timeout=120)
    if done.returncode != 0:
        raise SystemExit(f"coop {argv[0]}: {done.stderr_read()}")
    return done


def timed(function: Callable[[], object]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    function()
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    main()
