"""A process that has imported the product, and forks a process for each command that it is told.

To import the product takes two seconds, which most commands of a test take and nothing else. A forked command is a
process of its own all the same, with its arguments, environment, stdin, stdout, stderr, signals and exit code.

Run as `python -m tests.support.fork_server SOCKET`. It ends with its stdin.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
from typing import Any, Final, NoReturn

import db
import mcp_server

_REQUEST_MOST: Final = 2**20
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


def import_all() -> None:
    for package in (db, mcp_server):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__") and not module.name.startswith("mcp_server.demo."):  # an extra
                importlib.import_module(module.name)


def serve(listener: socket.socket) -> None:
    """Forks one process for each connection, which forks the command and tells its id and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for these
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in readable:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _attend(connection)
        connection.close()


def _attend(connection: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, fds, _, _ = socket.recv_fds(connection, _REQUEST_MOST, 3)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(json.loads(data), fds)
    for fd in fds:
        os.close(fd)
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(request: dict[str, Any], fds: list[int]) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
        os.close(fd)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["mcp_server", *request["arguments"]]
    runpy.run_module("mcp_server", run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    import_all()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as unix:
        serve(unix)
