"""Commands as processes of their own that are forked by tests.support.fork_server, and so start at once."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Final, Self

from tests.support.patience import PATIENCE

_ROOT: Final = Path(__file__).resolve().parents[2]


class _Server:
    """The process that forks. One for a worker of pytest, ended with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="forks-")
        self._path = f"{self._folder.name}/socket"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(self._path)
            listener.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                cwd=_ROOT,
                pass_fds=[listener.fileno()],
            )
        atexit.register(self._end)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._folder.cleanup()


_server = cache(_Server)


class Forked:
    """A command that runs: `python -m mcp_server` with these arguments. It is killed where the block ends before it."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: IO[bytes],
        stdout: IO[bytes],
        stderr: IO[bytes],
    ) -> None:
        self._connection = _server().connect()
        request = json.dumps({"arguments": list(arguments), "env": dict(env), "cwd": str(Path.cwd())}).encode()
        socket.send_fds(self._connection, [request], [stdin.fileno(), stdout.fileno(), stderr.fileno()])
        self._told = self._connection.makefile("r")
        self.pid = int(self._told.readline())
        self._code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self._told.close()
        self._connection.close()

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """The exit code; less than 0 for a signal, as in subprocess."""
        if self._code is None:
            self._code = int(self._told.readline())
        return self._code


def run(arguments: Sequence[str], *, env: Mapping[str, str], given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The finished command, as of subprocess.run."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(given)
        stdin.seek(0)
        with Forked(arguments, env=env, stdin=stdin, stdout=out, stderr=err) as process:
            code = process.wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())
