"""The `docker` command of a loopback VM: hands its arguments and its three streams to the VM's engine, exits as told.

As little as possible is imported: a task runs this hundreds of times.
"""

import _socket
import sys

arguments = b"\0".join(argument.encode("utf-8", "surrogateescape") for argument in sys.argv[1:])
connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
try:
    connection.connect("/mnt/docker.sock")
    descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    right = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)
    sent = connection.sendmsg([len(arguments).to_bytes(4, "big") + arguments], [right])
    rest = (len(arguments).to_bytes(4, "big") + arguments)[sent:]
    while rest:
        rest = rest[connection.send(rest) :]
    answer = connection.recv(1)
except OSError as error:
    sys.stderr.write(f"Cannot connect to the Docker daemon: {error}\n")
    sys.exit(1)
sys.exit(answer[0] if answer else 1)
