"""Run in a sandbox: every path of its file system as one JSON object, for `comparing` to hold against an engine's."""

import hashlib
import json
import os
import stat
import sys


def main(skipped: list[str]) -> None:
    found: dict[str, list[object]] = {}
    inodes: dict[int, str] = {}
    pending = ["/"]
    while pending:
        directory = pending.pop()
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if path in skipped:
                continue
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            told = ""
            if kind == stat.S_IFLNK:
                told = os.readlink(path)
            elif kind == stat.S_IFREG:
                with open(path, "rb") as file:
                    told = hashlib.sha256(file.read()).hexdigest()
            elif kind == stat.S_IFDIR:
                pending.append(path)
            same = (
                inodes.setdefault(status.st_ino, path) if kind == stat.S_IFREG and status.st_nlink > 1 else ""
            )
            attributes = [] if kind == stat.S_IFLNK else sorted(os.listxattr(path))
            found[path] = [
                kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, int(status.st_mtime),
                told, "" if same == path else same, [each for each in attributes if each.startswith("security.")],
            ]  # fmt: skip
    print(json.dumps(found))


main(sys.argv[1:])
