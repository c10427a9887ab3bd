"""Which of an engine's networks a sandbox is on, and ours: there sandboxes reach each other, and nothing else."""

from __future__ import annotations

from typing import Any

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.docker import owner
from cooperbench.eval.backends.docker.config import Settings
from cooperbench.eval.backends.docker.engine import Engine, complaints

INTERNAL = "cooperbench-internal"
"""The engine's network of mode `internal`."""

_OURS = {owner.PRODUCT: "cooperbench"}

# The bridge must get no address: else all of the host's services are reached at it.
_DOCKER_NO_HOST = {"com.docker.network.bridge.inhibit_ipv4": "true"}
# Podman gives an internal network's bridge one as soon as it serves names there, which by Docker's API it always does.
_PODMANS_OWN = "/v4.0.0/libpod/networks/create"
_PODMAN_NO_HOST = {"internal": True, "dns_enabled": False, "options": {"isolate": "true"}}


def of(engine: Engine, settings: Settings, spec: SandboxSpec) -> str:
    """The network's name as the engine knows it; ours is made when it is not there.

    Raises:
        SandboxStartError: the one of that name lets through what ours does not.
    """
    wanted = spec.network or settings.network
    if wanted == "open":
        return settings.open_network or "default"
    if wanted == "internal":
        _make_internal(engine)
        return INTERNAL
    return wanted


def _make_internal(engine: Engine) -> None:
    """See that the network is there, and is ours: of another of its name nobody knows what it lets through."""
    with complaints(engine, f"making the network {INTERNAL}"):
        podman = any(part["Name"] == "Podman Engine" for part in engine.api.version().get("Components") or ())
        found = _find(engine)
        if found is None:
            found = _make(engine, podman)
    if found is not None and not _is_ours(found, podman):
        command = "podman" if podman else "docker"
        raise SandboxStartError(
            f"the network {INTERNAL} on {engine.name} is not as we make it: {command} network rm {INTERNAL}"
        )


def _find(engine: Engine) -> dict[str, Any] | None:
    found = engine.api.networks(names=[INTERNAL])  # names that begin so, too
    return next((dict(each) for each in found if each["Name"] == INTERNAL), None)


def _make(engine: Engine, podman: bool) -> dict[str, Any] | None:
    """The network as somebody else made it meanwhile; None if this did."""
    from docker.errors import APIError

    api = engine.api
    try:
        if podman:
            wanted = {"name": INTERNAL, "driver": "bridge", "labels": _OURS, **_PODMAN_NO_HOST}
            api._raise_for_status(api._post_json(f"{api.base_url}{_PODMANS_OWN}", data=wanted))
        else:
            wishes = {"driver": "bridge", "internal": True, "options": _DOCKER_NO_HOST, "labels": _OURS}
            api.create_network(INTERNAL, check_duplicate=True, **wishes)
    except APIError:
        if (made := _find(engine)) is None:
            raise
        return made
    return None


def _is_ours(network: dict[str, Any], podman: bool) -> bool:
    if not network.get("Internal") or not _OURS.items() <= (network.get("Labels") or {}).items():
        return False
    # Docker names a gateway that the bridge does not have; Podman writes down that there is none.
    gateways = {each.get("Gateway") or "<nil>" for each in network["IPAM"].get("Config") or ()}
    return not podman or gateways <= {"<nil>"}
