"""Images made by a recipe: a script run once on a base, what it changed kept as one more layer.

The digest of such an image is made of everything that went in; see `building`.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from cooperbench.eval.backends import building
from cooperbench.eval.backends.base import Recipe, SandboxSpec
from cooperbench.eval.backends.local.engine import Engine
from cooperbench.eval.backends.local.images import Image
from cooperbench.eval.backends.local.sandbox import LocalSandbox
from cooperbench.eval.backends.local.sealing import seal

log = logging.getLogger(__name__)

_SECONDS = 3600.0
_CONTEXT = "/build"
_BINDS = (
    {"name": "build", "at": "build", "mode": 0o755},
    {"name": "tmp", "at": "tmp", "mode": 0o1777},
    {"name": "run", "at": "run", "mode": 0o755},
)
_DROPPED = ["build"]


def prepare(engine: Engine, name: str, recipe: Recipe) -> str:
    """The digest of the image this recipe makes, built now unless it is at hand; `name` stands for it from now on."""
    building.need_script(name, recipe)
    base = engine.images.find(recipe.base)
    digest = "sha256:" + building.key(base.digest or recipe.base, recipe)
    with engine.claims.using(digest):
        if not engine.images.has(digest):
            layer = digest[7:23]
            kept = [layer, *(below.removeprefix("layers/") for below in base.layers)]
            with engine.claims.wanted(kept), engine.state.locked(f"build-{layer}"):
                if not engine.images.has(digest):
                    _build(engine, name, recipe, base, digest)
        engine.images.name(name, digest)
    return digest


def _build(engine: Engine, name: str, recipe: Recipe, base: Image, digest: str) -> None:
    log.info("building image %s with %s on %s", name, recipe.script, recipe.base)
    layer = f"layers/{digest[7:23]}"

    def work(sandbox: LocalSandbox) -> None:
        sandbox.put_archive(_CONTEXT, building.archive(recipe))
        done = sandbox.run(["sh", "-eu", f"{_CONTEXT}/{recipe.script}"], timeout=_SECONDS)
        building.complain(name, recipe, done)

    spec = SandboxSpec(name, _SECONDS + 60, _CONTEXT, network=recipe.network, user="root")
    seal(engine, spec, base, layer, work, binds=_BINDS, dropped=_DROPPED)
    engine.images.add(replace(base, digest=digest, layers=(layer, *base.layers)), ())
