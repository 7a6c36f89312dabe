"""A process that forks senders, each of which kills itself at a point that it is told, or is killed from outside.

Each line of its stdin is a point, or `none`. It answers with the process id of the sender, and with its exit code.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import IO, Any, cast

from mcp_server.__main__ import cli
from mcp_server.mail import once, readers, senders, smtp_line
from mcp_server.mail.clients import Smtp
from mcp_server.process.app import App

LOADED = (once, readers, senders)
"""What a sender needs, and would otherwise import itself."""
TRANSACTIONS = (
    "take a mailbox",
    "take a mailbox over",
    "claim mails",
    "begin a mail",
    "record a mail",
    "leave copies out",
    "give a mailbox back",
)
COMMANDS = ("mail", "rcpt", "docmd", "content")
"""Methods of the client; the last two tell the server of the mail."""
AROUND = ("connect", "ehlo", "starttls", "login", "noop", "rset", "quit")
"""Methods of the client that concern no mail, or end one."""
REPEATED = (*COMMANDS, "ehlo", "begin a mail", "record a mail")
"""What is done more than once in a run."""
POINTS = [
    *(f"{when} {name}" for name in TRANSACTIONS for when in ("within", "after")),
    *(f"{when} {name}" for name in COMMANDS for when in ("before", "after")),
    "amid content",
    "unanswered content",
]
AROUND_POINTS = [
    (f"{when} {name}", nth)
    for name, nth in (("connect", 1), ("ehlo", 1), ("starttls", 1), ("ehlo", 2), ("login", 1), ("noop", 1), ("quit", 1))
    for when in ("before", "after")
]
"""Points of a run over STARTTLS in which no mail is refused, each with the time at which it is meant."""
UNKNOWN = {
    "after begin a mail",
    "before docmd",
    "after docmd",
    "before content",
    "amid content",
    "unanswered content",
    "after content",
    "within record a mail",
}
"""The points at which nobody can know whether the mail went out."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, nth: int) -> None:
    """Makes this process kill itself at the point, when it comes to it for the nth time; the first time for what is
    done once."""
    when, _, name = point.partition(" ")
    left = [nth if name in REPEATED else 1]
    if name == "noop":
        # A connection is asked only after a while if it lives still.
        cast("Any", smtp_line)._FRESH_SECONDS = -1.0

    def is_now() -> bool:
        left[0] -= 1
        return left[0] == 0

    if name in (*COMMANDS, *AROUND):
        _arm_command(when, name, is_now)
    else:
        _arm_transaction(when, name, is_now)


def _arm_transaction(when: str, name: str, is_now: Callable[[], bool]) -> None:
    run = App.run

    def killed(self: App, description: str, work: Callable[[Any], Any], **more: Any) -> Any:
        if description != name or not is_now():
            return run(self, description, work, **more)

        def and_die(session: Any) -> Any:
            done = work(session)
            session.flush()
            if when == "within":
                _die()
            return done

        run(self, description, and_die, **more)
        return _die()

    App.run = killed  # type: ignore[method-assign]


def _arm_command(when: str, name: str, is_now: Callable[[], bool]) -> None:
    command: Callable[..., Any] = getattr(Smtp, name)

    def killed(self: Smtp, *args: Any, **more: Any) -> Any:
        if (name == "docmd" and args[0] != "DATA") or not is_now():
            return command(self, *args, **more)
        if when == "amid":
            self.send(args[0][: len(args[0]) // 2])
        elif when == "unanswered":
            raw = cast("Any", args[0])
            self.send(raw + b".\r\n")
        elif when == "after":
            command(self, *args, **more)
        return _die()

    setattr(Smtp, name, killed)


def main() -> None:
    for line in sys.stdin:
        point, nth = line.strip().rsplit(" ", 1)
        child = os.fork()
        if child == 0:
            if point != "none":
                arm(point, int(nth))
            os.dup2(2, 1)
            cli(["mail", "run", "--once", "--send"])
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


class KilledSenders:
    """The process that forks them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin: IO[str] = process.stdin
        self._stdout: IO[str] = process.stdout

    def begin(self, point: str = "none", nth: int = 1) -> int:
        """Starts one, and returns its process id."""
        self._stdin.write(f"{point} {nth}\n")
        self._stdin.flush()
        return int(self._stdout.readline())

    def end(self) -> int:
        """Waits for its end. Returns the exit code; that of a signal is negative."""
        return int(self._stdout.readline())

    def run(self, point: str = "none", nth: int = 1) -> int:
        """Runs one until its end."""
        self.begin(point, nth)
        return self.end()


@contextmanager
def killed_senders(env: dict[str, str], log: IO[bytes] | None = None) -> Generator[KilledSenders]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.killed_sender"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log or subprocess.DEVNULL,
        env=env,
        text=True,
    )
    with process:  # it ends with its stdin
        yield KilledSenders(process)


if __name__ == "__main__":
    main()
