"""A new layer out of what a sandbox writes: how every image that is built here comes about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cooperbench.errors import BackendError, SandboxStartError
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.local.engine import Engine, Extras
from cooperbench.eval.backends.local.images import Image
from cooperbench.eval.backends.local.sandbox import LocalSandbox


def seal(
    engine: Engine,
    spec: SandboxSpec,
    base: Image,
    layer: str,
    work: Callable[[LocalSandbox], None],
    *,
    binds: Sequence[Mapping[str, Any]] = (),
    dropped: Sequence[str] = (),
) -> None:
    """Do `work` in a sandbox of `base`; what it changed becomes `layer`.

    Args:
        spec: its `image` names what is made, in complaints.
        layer: path relative to the state directory.
        binds: directories mounted over the image that are no part of the layer, see `engine.Extras`.
        dropped: paths that are no part of the layer either.

    Raises:
        SandboxStartError: the work, or keeping what came of it, failed.
    """
    sandbox = engine.create(spec, base, Extras(binds=binds, build=True))
    upper = engine.state.upper(sandbox.number)
    try:
        try:
            work(sandbox)
            if not engine.disk:
                sandbox.export(upper)
        except SandboxStartError:
            raise
        except BackendError as error:
            raise SandboxStartError(f"image {spec.image!r}: building it failed: {error}") from error
        finally:
            sandbox.terminate()
        engine.state.discard(layer)  # of a build that died between making its layer and recording its image
        places = [place["at"] for place in engine.places(base)]
        engine.launcher.ask("seal", upper=upper, target=layer, host_places=places, dropped=list(dropped))
    finally:
        engine.bury(upper)
