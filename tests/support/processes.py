"""Servers and commands as processes of their own, over HTTP where they listen."""

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from tests.support import forks
from tests.support.forks import Forked
from tests.support.patience import PATIENCE

COMMAND = [sys.executable, "-m", "mcp_server"]
SERVE_HTTP = [*COMMAND, "serve", "--transport", "streamable-http"]
ERAS = ["auto", "legacy"]
TOKEN = "a-token-made-for-this-test"


def environment(database_url: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SALES_AUTOMATION_")}
    return {**kept, "DATABASE_URL": database_url, **more}


@contextmanager
def server_process(
    database_url: str, *arguments: str, command: Sequence[str] = SERVE_HTTP, is_read: bool = False, **more: str
) -> Generator[tuple[str, subprocess.Popen[str]]]:
    """The base URL of a server on a free port and its process, which is stopped at the end if it runs still. Where the
    test does not read what it says (`is_read`), that is thrown away: else the server stops at a full pipe."""
    command = [*command, "--port", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(database_url, **more), text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "listening on" in line)
        rest = Thread(target=deque, args=(process.stderr, 0), daemon=True)
        if not is_read:
            rest.start()
        yield line.split("listening on ")[1].split(" ")[0], process
        process.terminate()
        if not is_read:
            rest.join(PATIENCE)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@contextmanager
def http_server(database_url: str, *arguments: str, command: Sequence[str] = SERVE_HTTP, **more: str) -> Generator[str]:
    """The base URL of a server of which the process does not matter."""
    if command is not SERVE_HTTP:
        with server_process(database_url, *arguments, command=command, is_read=False, **more) as (base, _):
            yield base
        return
    options = [*SERVE_HTTP[len(COMMAND) :], "--port", "0", *arguments]
    reader, writer = os.pipe()
    with Path(os.devnull).open("r+b") as nothing, os.fdopen(reader) as lines, os.fdopen(writer, "wb") as stderr:
        env = environment(database_url, **more)
        with Forked(options, env=env, stdin=nothing, stdout=nothing, stderr=stderr) as process:
            stderr.close()
            line = next(line for line in lines if "listening on" in line)
            rest = Thread(target=deque, args=(lines, 0), daemon=True)
            rest.start()
            yield line.split("listening on ")[1].split(" ")[0]
            process.terminate()
            process.wait()
            rest.join(PATIENCE)


def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = forks.run(arguments, env=env)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def held_port() -> Generator[int]:
    """A port on which nobody listens, and which nobody else is given meanwhile; a server may be told to take it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # which servers set, too
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
