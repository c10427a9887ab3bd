"""What Modal's file-system tool does in a sandbox, as a program for its python3.

The client runs ``/__modal/.bin/modal-sandbox-fs-tools JSON`` for every operation of `Sandbox.filesystem` and reads
errors as JSON from standard error [client: sandbox_fs_utils.py].
"""

from __future__ import annotations

PATH = "/__modal/.bin/modal-sandbox-fs-tools"

PROGRAM = r"""
import errno, json, os, shutil, stat, sys
KINDS = {errno.ENOENT: "NotFound", errno.EISDIR: "IsDirectory", errno.ENOTDIR: "NotDirectory",
         errno.EACCES: "PermissionDenied", errno.EEXIST: "PathAlreadyExists", errno.ENOTEMPTY: "DirectoryNotEmpty"}

def told(path):
    status = os.lstat(path)
    kind = "symlink" if stat.S_ISLNK(status.st_mode) else "directory" if stat.S_ISDIR(status.st_mode) else "file"
    about = dict(name=os.path.basename(path) or "/", path=path, type=kind, size=status.st_size, mode=status.st_mode,
                 permissions=stat.filemode(status.st_mode)[1:], owner=str(status.st_uid), group=str(status.st_gid),
                 modified_time=status.st_mtime)
    if kind == "symlink":
        about["symlink_target"] = os.readlink(path)
    return about

def done(name, asked):
    path = asked["path"]
    if name == "WriteFile":
        os.makedirs(os.path.dirname(path) or "/", exist_ok=True)
        with open(path, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    elif name == "ReadFile":
        with open(path, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
    elif name == "ListFiles":
        print(json.dumps([told(os.path.join(path, each)) for each in sorted(os.listdir(path))]))
    elif name == "Stat":
        print(json.dumps(told(path)))
    elif name == "MakeDirectory":
        os.makedirs(path, exist_ok=True) if asked.get("parents") else os.mkdir(path)
    elif name == "Remove":
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path) if asked.get("recursive") else os.rmdir(path)
        else:
            os.unlink(path)
    else:
        raise OSError("no such operation: " + name)

try:
    done(*next(iter(json.loads(sys.argv[1]).items())))
except OSError as problem:
    said = dict(error_kind=KINDS.get(problem.errno, "Other"), message=problem.strerror or str(problem), detail="")
    print(json.dumps(said), file=sys.stderr)
    sys.exit(1)
"""


def command(asked: str) -> list[str]:
    """What runs in the sandbox in its place."""
    return ["python3", "-I", "-S", "-c", PROGRAM, asked]
