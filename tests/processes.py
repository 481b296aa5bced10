"""Processes of the command line that start in milliseconds: forks of one that has done the imports.

A cold `python -m lit_diffusion fit` spends 4 s of CPU on imports, seven eighths of what a toy run takes. `start` asks a
template, one for each pytest process, to fork instead. The child is what `python -m lit_diffusion ARGUMENTS` would be:
its own process, working folder, environment, standard streams, signal handlers and `__main__`. What it starts itself
(the other ranks of DDP, the cells of a sweep) is started cold, but for so many `spares`. Use `subprocess` where the
start itself is what is tested.
"""

import atexit
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.spares import become, keep_spares, receive, send

ROOT = Path(__file__).parent.parent


class Process:
    """Like subprocess.Popen with text pipes; `env` adds to the environment; errors join stdout unless `stderr`.

    spares: how many processes that it starts itself are forks as well.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        cwd: Path,
        env: dict[str, str] | None = None,
        stderr: bool = False,
        spares: int = 0,
    ):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(env or {})}
        reads, writes = zip(*(os.pipe() for _ in range(3 if stderr else 2)))
        self._status, *outputs = reads
        asked = {"arguments": [str(one) for one in arguments], "cwd": str(cwd), "env": env, "spares": spares}
        send(template(), asked, [writes[0], writes[1], writes[-1]])  # status, standard output, standard error
        for fd in writes:
            os.close(fd)
        self.pid = int(b"".join(iter(lambda: os.read(self._status, 1).strip(), b"")))
        self.returncode: int | None = None
        self.stdout, self.stderr = (*map(os.fdopen, outputs), None)[:2]

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired("lit_diffusion", timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(int(os.read(self._status, 32)))
            os.close(self._status)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str | None]:
        """Both outputs, once all processes that share them have closed them."""
        deadline = time.monotonic() + (timeout or 1e9)
        said: dict[object, bytes] = {file: b"" for file in (self.stdout, self.stderr) if file}
        with selectors.DefaultSelector() as selector:
            for file in said:
                selector.register(file, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(deadline - time.monotonic())
                if not ready:
                    raise subprocess.TimeoutExpired("lit_diffusion", timeout or 0)
                for key, _ in ready:
                    content = os.read(key.fd, 1 << 16)
                    said[key.fileobj] += content
                    if not content:
                        selector.unregister(key.fileobj)
        self.wait(max(0.0, deadline - time.monotonic()))
        out, errors = (said.get(file, b"").decode() for file in (self.stdout, self.stderr))
        return out, errors if self.stderr else None

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    arguments: Sequence[str], cwd: Path, env: dict[str, str] | None = None, timeout: float = 120, spares: int = 0
) -> subprocess.CompletedProcess:
    """Like subprocess.run with both outputs captured."""
    process = Process(arguments, cwd, env, stderr=True, spares=spares)
    out, errors = process.communicate(timeout)
    return subprocess.CompletedProcess(arguments, process.returncode, out, errors)


_template: socket.socket | None = None


def template() -> socket.socket:
    """The connection to the process that forks, started when it is first needed."""
    global _template
    if _template is None:
        _template, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
        for name in ("PL_GLOBAL_SEED", "LIT_DIFFUSION_RUN_FOLDER"):
            environment.pop(name, None)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        atexit.register(process.wait)  # after the connection has been closed, which ends it
        atexit.register(_template.close)
    return _template


def serve(connection: socket.socket) -> None:
    """Forks a child for each request until the connection closes."""
    import torch

    import lit_diffusion.cli.score_command
    import lit_diffusion.training.command  # noqa: F401

    torch.set_num_threads(1)
    while request := receive(connection):
        asked, fds = request
        keeper = os.fork()
        if keeper:
            for fd in fds:
                os.close(fd)
            os.waitpid(keeper, 0)
            continue
        # not a child of the template: what ends last does not matter to it
        if os.fork():
            os._exit(0)
        connection.close()
        child = os.fork()
        if child:
            os.write(fds[0], f"{child}\n".encode())
            for fd in (*fds[1:], 0, 1, 2):
                os.close(fd)
            status = os.waitpid(child, 0)[1]
            os.write(fds[0], str(status).encode())
            os._exit(0)
        os.dup2(fds[1], 1)
        os.dup2(fds[2], 2)
        for fd in fds:
            os.close(fd)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell starts in the background
        keep_spares(asked["spares"])
        become(asked)
        return


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
