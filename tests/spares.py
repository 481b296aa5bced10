"""Spare processes: forks of a process of tests/processes.py in its first state, made before it does anything.

The ranks and the cells of a sweep that the process starts are these, its children like those that subprocess.Popen
starts cold, and 4 s of CPU cheaper each.
"""

import inspect
import json
import os
import runpy
import socket
import subprocess
import sys
from typing import Any

_spares: list[tuple[int, socket.socket]] = []


def become(asked: dict[str, Any]) -> None:
    """Does what `python -m lit_diffusion ARGUMENTS` does in the environment and the folder asked for."""
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.path[0] = asked["cwd"]
    sys.argv = ["lit_diffusion", *asked["arguments"]]
    runpy.run_module("lit_diffusion", run_name="__main__", alter_sys=True)


def send(connection: socket.socket, asked: dict[str, Any], fds: list[int]) -> None:
    """Sends what `receive` returns."""
    request = json.dumps(asked).encode()
    socket.send_fds(connection, [len(request).to_bytes(8, "little")], fds)
    connection.sendall(request)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next request and its file descriptors; None once the connection has been closed."""
    head, fds, _, _ = socket.recv_fds(connection, 8, 8)
    request = b""
    while head and len(request) < int.from_bytes(head, "little"):
        request += connection.recv(1 << 16)
    return (json.loads(request), fds) if head else None


def keep_spares(count: int) -> None:
    """The next `count` commands `python -m lit_diffusion` that this process starts are forks made now."""
    for _ in range(count):
        ours, theirs = socket.socketpair()
        if pid := os.fork():
            theirs.close()
            _spares.append((pid, ours))
        else:
            for _, other in [*_spares, (0, ours)]:
                other.close()
            _wait(theirs)
    subprocess.Popen = Popen  # type: ignore[misc]


def _wait(connection: socket.socket) -> None:
    """Until the spare is needed; ends with the process that has made it."""
    request = receive(connection)
    connection.close()
    if request is None:
        os._exit(0)
    asked, fds = request
    if asked.pop("start_new_session"):
        os.setsid()
    for standard, fd in enumerate(fds[:3]):
        os.dup2(fd, standard)
        os.close(fd)
    become(asked)
    sys.exit()


class Popen(subprocess.Popen):
    """Takes a spare, while there is one, for our own commands."""

    def _execute_child(self, *positional):
        asked = inspect.signature(super()._execute_child).bind(*positional).arguments
        command = [*asked["args"]]
        if not _spares or command[:2] != [sys.executable, "-m"] or not command[2].startswith("lit_diffusion"):
            super()._execute_child(*positional)
            return
        pipes = [asked[end] for end in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
        streams = [own if end == -1 else end for own, end in enumerate((pipes[0], pipes[3], pipes[5]))]
        self.pid, connection = _spares.pop()
        request = {"arguments": command[3:], "cwd": str(asked["cwd"] or os.getcwd())}
        request["env"] = dict(os.environ if asked["env"] is None else asked["env"])
        request["start_new_session"] = asked["start_new_session"]
        send(connection, request, [*streams, *asked["pass_fds"]])
        connection.close()
        self._child_created = True
        self._close_pipe_fds(*pipes)
