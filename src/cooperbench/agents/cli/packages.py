"""Programs from npm: fetched once per user and version on this machine, put once into each image that needs them.

The sandbox needs no network and no npm for it. The image with the program in it is the task's image with one more
layer, made by a recipe like any other; only agents work in it, never the judge.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cooperbench import atomic
from cooperbench.errors import AgentError, UsageError
from cooperbench.eval.backends.base import Recipe

ROOT = "/opt/cooperbench"
_SECONDS = 900
_CPUS = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_SCRIPT = """\
# Puts the program of this context into the image.
mkdir -p {target}
cp -R /build/files/. {target}/
"""


@dataclass(frozen=True, slots=True)
class Package:
    """A program on npm."""

    name: str
    version: str
    files: Mapping[str, str]
    """What of the installed package goes into the image: pattern below ``node_modules`` → place below its directory."""
    needs: str | None = None
    """Another package, with its version, that is installed with it; ``{cpu}`` is the machine's, as npm names it."""
    launcher: tuple[str, str] | None = None
    """A script of ours that starts it: its place below the directory, and its text."""

    @property
    def directory(self) -> str:
        """Where it is in a sandbox."""
        return f"{ROOT}/{_tidy(self.name)}-{self.version}"

    def image(self, base: str) -> str:
        """The name of `base` with the program in it."""
        return f"cooperbench-agents/{_tidy(self.name)}:{self.version}-{hashlib.sha256(base.encode()).hexdigest()[:12]}"

    def recipe(self, base: str) -> Recipe:
        """How that image is made; the package is fetched now unless it is at hand.

        Raises:
            UsageError: it cannot be fetched here.
        """
        return Recipe(base, self.fetched(), "install.sh")

    def fetched(self) -> Path:
        """A recipe's context with the program in it.

        Raises:
            UsageError: no npm, or it could not install the package.
        """
        from platformdirs import user_cache_path

        place = user_cache_path("cooperbench", appauthor=False) / "agents" / Path(self.directory).name
        if not place.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            with atomic.locked(place.with_name(f".{place.name}.lock"), ""):
                if not place.is_dir():
                    self._fetch(place)
        return place

    def _fetch(self, place: Path) -> None:
        if (npm := shutil.which("npm")) is None:
            raise UsageError(
                f"{self.name} comes from npm, which is not on this machine: install Node.js with npm "
                "(Debian: apt install npm), or put the program into the image and say so in --agent-config"
            )
        cpu = _CPUS.get(platform.machine().lower(), "x64")
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            command = [npm, "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts"]
            command += ["--os=linux", f"--cpu={cpu}", f"{self.name}@{self.version}"]
            command += [self.needs.format(cpu=cpu)] if self.needs else []
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired as problem:
                raise UsageError(
                    f"npm did not install {self.name}@{self.version} within {_SECONDS} s"
                ) from problem
            if done.returncode != 0:
                lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or [
                    done.stderr[-300:]
                ]
                raise UsageError(
                    f"npm cannot install {self.name}@{self.version}: {' '.join(lines[:3])[:400]}"
                )
            made = Path(folder) / "context"
            for pattern, target in self.files.items():
                self._gather(Path(folder) / "node_modules", pattern, made / "files" / target)
            if self.launcher is not None:
                script = made / "files" / self.launcher[0]
                script.write_text(self.launcher[1])
                script.chmod(0o755)
            (made / "install.sh").write_text(_SCRIPT.format(target=self.directory))
            os.rename(made, place)

    def _gather(self, modules: Path, pattern: str, target: Path) -> None:
        found = sorted(modules.glob(pattern))
        if not found:
            raise AgentError(
                f"{self.name}@{self.version} has no {pattern}: another version may, see --agent-config"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if found[0].is_dir():
            shutil.copytree(found[0], target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(found[0], target)


def version_of(text: object, where: str) -> str:
    """A version a user asked for.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(text, str) or re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,60}", text) is None:
        raise UsageError(f'{where}: version is a version of the package, as in "1.2.3", not {text!r}')
    return text


def _tidy(name: str) -> str:
    return name.lstrip("@").replace("/", "-")
