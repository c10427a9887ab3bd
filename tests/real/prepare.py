"""Rebuilds two published tasks from source archives of the package index, in the published dataset's layout.

    python tests/real/prepare.py [DIRECTORY]        (default: .real in the checkout)

DIRECTORY/archives holds what was fetched (digests pinned in archives.txt), DIRECTORY/dataset the dataset:
features, tests and patches copied from the published one, and what each task's image is built of. Nothing
here builds the image: the backend does, from the recipe in dataset.toml.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
PUBLISHED = "COOPERBENCH_REAL_DATASET"

TASKS: Mapping[str, str] = {
    "pallets_click_task/task2956": "click-8.2.0.tar.gz",
    "pallets_jinja_task/task1465": "Jinja2-3.0.3.tar.gz",
}
"""Task directory → the source archive that all its patches apply to."""


class PreparationError(Exception):
    """Something this needs is not on this machine; the message is one line with the remedy."""


def published_dataset() -> Path:
    """The published dataset on this machine: named by the environment, else beside the checkout."""
    root = Path(os.environ.get(PUBLISHED) or CHECKOUT.parent / "shared" / "dataset")
    if missing := [task for task in TASKS if not (root / task).is_dir()]:
        raise PreparationError(
            f"no {missing[0]} in {root}; set {PUBLISHED} to a copy of the published dataset"
        )
    return root


def prepare(directory: Path, published: Path) -> Path:
    """Fetch what is missing and lay out the dataset afresh; returns the dataset's directory."""
    archives = fetch(directory / "archives")
    dataset = directory / "dataset"
    shutil.rmtree(dataset, ignore_errors=True)
    for task, source in TASKS.items():
        lay_out(published / task, dataset / task, archives, source)
    shutil.copyfile(HERE / "dataset.toml", dataset / "dataset.toml")
    return dataset


def fetch(directory: Path) -> dict[str, Path]:
    """The pinned archives by file name; asks the index only for what is not there with the right digest."""
    pins = HERE / "archives.txt"
    wanted = set(re.findall(r"sha256:([0-9a-f]{64})", pins.read_text()))
    if not wanted <= digests(directory).keys():
        shutil.rmtree(directory, ignore_errors=True)
        download(pins, directory)
    found = digests(directory)
    if missing := wanted - found.keys():
        raise PreparationError(
            f"{len(missing)} archives are missing from {directory}; remove it and try again"
        )
    return {found[digest].name: found[digest] for digest in wanted}


def download(pins: Path, directory: Path) -> None:
    """Have this interpreter's pip fetch them, by whatever index it is configured for."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--dest", str(directory), "--requirement", str(pins)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (
            [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        )[-1]
        raise PreparationError(
            f"pip could not fetch {pins.name}: {reason}; check the network or pip's settings"
        )


def digests(directory: Path) -> dict[str, Path]:
    """The files of a directory by their sha256."""
    files = sorted(directory.iterdir()) if directory.is_dir() else []
    return {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in files}


def lay_out(published: Path, task: Path, archives: Mapping[str, Path], source: str) -> None:
    """One task's directory: what the dataset publishes of it, and what its image is built of."""
    for file in [
        *published.glob("*.patch"),
        *published.glob("feature*/*.md"),
        *published.glob("feature*/*.patch"),
    ]:
        copy = task / file.relative_to(published)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    shutil.copyfile(archives[source], task / "source.tar.gz")
    (task / "wheels").mkdir()
    for name, archive in archives.items():
        if name not in TASKS.values():
            shutil.copyfile(archive, task / "wheels" / name)
    for script in ("build.sh", "runner.sh"):
        shutil.copyfile(HERE / "image" / script, task / script)


def main() -> None:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description="Rebuild two published tasks from source archives.")
    parser.add_argument("directory", nargs="?", type=Path, default=CHECKOUT / ".real")
    try:
        print(prepare(parser.parse_args().directory, published_dataset()))
    except PreparationError as problem:
        sys.exit(f"prepare.py: {problem}")


if __name__ == "__main__":
    main()
