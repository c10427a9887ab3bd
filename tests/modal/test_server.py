"""The server itself, driven by Modal's client alone: a lenient server would hide what a strict one refuses.

Where each behaviour is known from is said in `tests/loopback/modal/`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from grpclib import GRPCError
from grpclib.client import Channel
from modal.exception import (
    AlreadyExistsError,
    AuthError,
    Error,
    InvalidError,
    NotFoundError,
    ResourceExhaustedError,
    SandboxFilesystemNotADirectoryError,
    SandboxFilesystemNotFoundError,
    SandboxTimeoutError,
)
from modal_proto import task_command_router_pb2 as router_pb
from modal_proto.task_command_router_grpc import TaskCommandRouterStub

import modal
from tests.loopback.modal import Cloud, Fault, tokens
from tests.modal import cloud as clouds


@pytest.fixture(name="client")
def _client(cloud: Cloud) -> Iterator[Any]:
    with clouds.led_to(cloud):
        client = modal.Client.from_credentials(tokens.TOKEN_ID, tokens.TOKEN_SECRET)
        yield client
        client.close()


@pytest.fixture(name="app")
def _app(client: Any) -> Any:
    return modal.App.lookup("server-tests", create_if_missing=True, client=client)


@pytest.fixture(name="start")
def _start(app: Any, client: Any) -> Iterator[Any]:
    """``start(**wishes)``: a sandbox that sleeps."""
    image = modal.Image.from_registry(clouds.IMAGE).entrypoint([]).build(app)
    made: list[Any] = []

    def create(*command: str, **wishes: Any) -> Any:
        given = {"image": image, "timeout": 60, "block_network": True, **wishes}
        made.append(modal.Sandbox.create(*(command or ("sleep", "600")), app=app, client=client, **given))
        return made[-1]

    yield create
    for sandbox in made:
        sandbox.terminate()
        sandbox.detach()


def test_who_is_let_in(cloud: Cloud) -> None:
    with clouds.led_to(cloud):
        stranger = modal.Client.from_credentials("ak-other", "as-other")
        with pytest.raises(AuthError):
            modal.App.lookup("x", create_if_missing=True, client=stranger)
        stranger.close()
    assert cloud.desk.unauthenticated == ["AppGetOrCreate"]
    cloud.desk.unauthenticated.clear()


def test_tokens() -> None:
    good = tokens.issue(60, task="ta-1")
    claimed = tokens.claims(good)
    assert claimed is not None
    assert claimed["task"] == "ta-1"
    assert tokens.claims(tokens.issue(-1, task="ta-1")) is None, "expired"
    head, body, signature = good.split(".")
    assert tokens.claims(f"{head}.{body}.{signature[::-1]}") is None, "forged"
    assert tokens.claims("") is None


def test_a_token_is_for_one_sandbox(start: Any, cloud: Cloud) -> None:
    one, other = start(), start()
    token = cloud.access(cloud.boxes[one.object_id]).jwt

    async def poll(task: str) -> None:
        host, _, port = cloud.url.removeprefix("http://").partition(":")
        async with Channel(host, int(port)) as channel:
            stub = TaskCommandRouterStub(channel)
            asked = router_pb.TaskExecPollRequest(task_id=task, exec_id="x")
            await stub.TaskExecPoll(asked, metadata={"authorization": f"Bearer {token}"})

    with pytest.raises(GRPCError, match="another task"):
        asyncio.run(poll(cloud.boxes[other.object_id].task))
    with pytest.raises(GRPCError, match="no such exec"):
        asyncio.run(poll(cloud.boxes[one.object_id].task))


def test_a_call_it_does_not_know_is_refused_by_name(start: Any, cloud: Cloud) -> None:
    sandbox = start()
    with pytest.raises(Error, match="the loopback server has no SandboxGetTunnels"):
        sandbox.tunnels(timeout=1)
    assert cloud.desk.refused == ["SandboxGetTunnelsV2"]
    cloud.desk.refused.clear()


def test_apps_are_made_when_asked_for(client: Any) -> None:
    with pytest.raises(NotFoundError):
        modal.App.lookup("never-made", client=client)


def test_names_are_unique_among_the_living(start: Any) -> None:
    first = start(name="mine")
    with pytest.raises(AlreadyExistsError):
        start(name="mine")
    first.terminate(wait=True)
    start(name="mine")


def test_the_same_creation_twice_is_one(start: Any, cloud: Cloud) -> None:
    cloud.go_wrong(Fault("SandboxCreateV2", "lost", 2))
    sandbox = start()
    assert [box.id for box in cloud.alive] == [sandbox.object_id]
    keys = [call.idempotency_key for call in cloud.desk.calls if call.name == "SandboxCreateV2"]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_what_the_image_wants_is_run_unless_cleared(app: Any, start: Any, cloud: Cloud) -> None:
    configured = modal.Image.from_registry(clouds.CONFIGURED.image)
    sandbox = start(image=configured.entrypoint([]).build(app))
    script = f'printf %s "$BY_IMAGE"; test ! -e {clouds.CONFIGURED.marker}'
    done = sandbox.exec("sh", "-c", script)
    assert (done.stdout.read(), done.wait()) == (clouds.CONFIGURED.value, 0)
    assert start(image=configured.build(app)).wait() is None, "touch is done at once"
    assert cloud.boxes[list(cloud.boxes)[-1]].result.exitcode == 0


def test_layers_are_built_in_order(app: Any, start: Any) -> None:
    image = (
        modal.Image.from_registry(clouds.IMAGE)
        .entrypoint([])
        .run_commands("echo one >/srv/n", "echo two >>/srv/n")
        .env({"GIVEN": "a b"})
        .workdir("/srv")
    )
    done = start(image=image.build(app)).exec("sh", "-c", 'cat n; echo "$GIVEN"; pwd')
    assert done.stdout.read() == "one\ntwo\na b\n/srv\n"


def test_a_layer_that_fails(app: Any) -> None:
    image = modal.Image.from_registry(clouds.IMAGE).run_commands("echo so it goes >&2; exit 3")
    for _ in range(2):  # failing is not remembered
        with pytest.raises(Error, match="so it goes"):
            image.build(app)


def test_a_process_outlives_nothing_and_streams_outlive_it(start: Any) -> None:
    sandbox = start()
    begun = time.monotonic()
    process = sandbox.exec("sh", "-c", "sleep 3 & echo said", text=False)
    assert process.wait() == 0
    assert process.stdout.read() == b"said\n"
    assert time.monotonic() - begun >= 3, "the stream was held by what went on"


def test_input_is_streamed_and_ends(start: Any) -> None:
    process = start().exec("sh", "-c", "read line; echo got $line; cat", text=False)
    process.stdin.write(b"first\n")
    process.stdin.drain()
    assert next(iter(process.stdout)) == b"got first\n"
    process.stdin.write(b"rest")
    process.stdin.write_eof()
    process.stdin.drain()
    assert process.stdout.read() == b"rest"
    assert process.wait() == 0


def test_the_file_system_tool(start: Any) -> None:
    files = start().filesystem
    content = bytes(range(256)) * 4096
    files.write_bytes(content, "/srv/a b/c")
    assert files.read_bytes("/srv/a b/c") == content
    assert [(each.name, each.size) for each in files.list_files("/srv/a b")] == [("c", len(content))]
    assert files.stat("/srv/a b").type.value == "directory"
    files.make_directory("/srv/d/e")
    files.remove("/srv/d", recursive=True)
    with pytest.raises(SandboxFilesystemNotFoundError):
        files.read_bytes("/srv/d/e")
    with pytest.raises(SandboxFilesystemNotADirectoryError):
        files.list_files("/srv/a b/c")


def test_tags_and_lists(start: Any, app: Any, client: Any) -> None:
    sandboxes = [start(tags={"run": "r1"}) for _ in range(3)]
    other = start(tags={"run": "r2"})

    def found(**tags: str) -> set[str]:
        return {each.object_id for each in modal.Sandbox.list(app_id=app.app_id, tags=tags, client=client)}

    assert found(run="r1") == {each.object_id for each in sandboxes}
    assert found(run="r2") == {other.object_id}
    other.set_tags({"run": "r1", "more": "x"})
    assert other.get_tags() == {"run": "r1", "more": "x"}
    assert len(found(run="r1")) == 4
    sandboxes[0].terminate(wait=True)
    assert len(found(run="r1")) == 3
    with pytest.raises(InvalidError):
        other.set_tags({"run": "with blanks"})


def test_a_snapshot_has_what_was_written_and_removed(start: Any) -> None:
    sandbox = start()
    sandbox.exec("sh", "-c", "echo kept >/srv/f; rm -r /usr/local/bin; mkdir /srv/d; ln -s f /srv/l").wait()
    image = sandbox.snapshot_filesystem()
    sandbox.exec("sh", "-c", "echo later >/srv/f").wait()
    copy = start(image=image)
    done = copy.exec("sh", "-c", "cat /srv/l; ls -d /srv/d /usr/local/bin 2>/dev/null")
    assert done.stdout.read() == "kept\n/srv/d\n"


def test_ends(start: Any) -> None:
    gone = start()
    gone.terminate(wait=True)
    assert gone.poll() == 137
    gone.terminate()
    with pytest.raises(NotFoundError):
        gone.exec("true")
    failed = start("sh", "-c", "exit 5")
    failed.wait()
    assert failed.returncode == 5


def test_a_lifetime_ends_it(start: Any) -> None:
    sandbox = start(timeout=2)
    with pytest.raises(SandboxTimeoutError):
        sandbox.wait()
    assert sandbox.poll() == 124
    with pytest.raises(InvalidError, match="24 hours"):
        start(timeout=24 * 3600 + 1)


def test_idleness_ends_it_and_work_does_not(start: Any) -> None:
    idle, busy = start(idle_timeout=1), start(idle_timeout=4)
    process = busy.exec("sleep", "6")
    idle.wait(raise_on_termination=False)
    assert idle.poll() is not None
    assert busy.poll() is None
    assert process.wait() == 0


def test_commands_have_a_limit_of_the_servers(start: Any) -> None:
    process = start().exec("sh", "-c", "sleep 300", timeout=1)
    assert process.wait() in (-1, 137)


def test_the_network_is_what_was_asked_for(start: Any) -> None:
    blocked = start().exec("sh", "-c", "grep -c : /proc/net/dev")
    assert blocked.stdout.read() == "1\n", "loopback alone"


@pytest.mark.parametrize("policy", [True, False])
def test_the_rate_limit_with_and_without_a_word_on_when_to_come_back(policy: bool) -> None:
    with clouds.cloud(rate=0.5, policy=policy) as strict, clouds.led_to(strict):
        client = modal.Client.from_credentials(tokens.TOKEN_ID, tokens.TOKEN_SECRET)
        app = modal.App.lookup("rate", create_if_missing=True, client=client)
        image = modal.Image.from_registry(clouds.IMAGE).entrypoint([]).build(app)
        wishes: Any = {"app": app, "client": client, "image": image, "block_network": True}
        modal.Sandbox.create("sleep", "60", **wishes)
        strict.spend()
        if policy:
            modal.Sandbox.create("sleep", "60", **wishes)
            assert strict.desk.counted()["SandboxCreateV2"] > 2, "it was refused, and came back"
        else:
            with pytest.raises(ResourceExhaustedError):
                modal.Sandbox.create("sleep", "60", **wishes)
        client.close()


def test_figures_come_late(start: Any, cloud: Cloud) -> None:
    sandbox = start()
    assert sandbox._experimental_stats().cost is None
    cloud.stats = True
    try:
        assert sandbox._experimental_stats().cost > 0
    finally:
        cloud.stats = False
