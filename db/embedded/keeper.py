"""The keeper: a detached process that owns the postmaster of one home for every server there.

It runs as `python -I -S -c COMMAND ROOT ORDER...`, without site-packages, so that it stays at about 11 MB however large
the server is. So this module and those that it imports, with their packages, import the standard library alone.
"""

import os
import signal
import sys
import time
from pathlib import Path

from db.embedded.locks import any_user, open_lock, try_lock, wait_until
from db.embedded.postmaster import Order, Postmaster, WindowsPostmaster

COMMAND = """
import sys
sys.path.append(sys.argv[1])
from db.embedded.keeper import main
sys.exit(main(sys.argv[2:]))
"""
"""Its first argument is the directory that holds the package `db`."""

TICK_SECONDS = 0.2
STABLE_SECONDS = 30.0  # after this long the start has succeeded, and earlier failures no longer count
START_ATTEMPTS = 5
LOG_BYTES = 10_000_000
GAVE_UP = b"PostgreSQL does not start"  # written into keeper.lock, so that a server can tell this end from a kill
_CLAIM_SECONDS = 1.0


class Keeper:
    """Keeps the postmaster alive while a server uses it, with a pause that doubles between failed starts."""

    def __init__(self, order: Order) -> None:
        self._home = Path(order.home)
        self._postmaster = WindowsPostmaster(order) if sys.platform == "win32" else Postmaster(order)
        self._terminated = False
        self._failures = 0
        self._spawned_at = 0.0

    def run(self) -> int:
        """Runs until the last server has stopped, or until SIGTERM. Returns 1 if PostgreSQL cannot be started."""
        signal.signal(signal.SIGTERM, self._terminate)
        while not self._terminated:
            if not self._postmaster.alive() and not self._revive():
                _say("PostgreSQL does not start")
                self._postmaster.stop()
                return 1
            if self._postmaster.alive() and not self._postmaster.reachable():
                _say("the socket has vanished: starting PostgreSQL again")
                self._postmaster.stop()
            if not any_user(self._home) and self.retire():
                return 0
            if os.fstat(sys.stderr.fileno()).st_size > LOG_BYTES:
                os.ftruncate(sys.stderr.fileno(), 0)  # all writers append, so they continue at the new end
            time.sleep(TICK_SECONDS)
        self._postmaster.stop()
        return 0

    def _terminate(self, _number: int, _frame: object) -> None:
        self._terminated = True

    def _revive(self) -> bool:
        """Starts the postmaster, or waits for the next attempt's time; False when the attempts are used up."""
        now = time.monotonic()
        if now - self._spawned_at > STABLE_SECONDS:
            self._failures = 0
        if self._failures == START_ATTEMPTS:
            return False
        if now - self._spawned_at < 0.1 * 2**self._failures:
            return True
        self._failures += 1
        self._spawned_at = now
        try:
            self._postmaster.spawn()
        except OSError as error:
            _say(str(error))
        return True

    def retire(self) -> bool:
        """Stops PostgreSQL, unless a server has registered meanwhile. Servers register under start.lock, which this
        holds while it stops.

        Returns whether PostgreSQL has ended.
        """
        try:
            descriptor = open_lock(self._home / "start.lock")
        except FileNotFoundError:  # somebody deleted the home, so no server can be using it
            self._postmaster.stop()
            return True
        try:
            if not try_lock(descriptor) or any_user(self._home):
                return False
            self._postmaster.stop()
            return True
        finally:
            os.close(descriptor)


def main(arguments: list[str]) -> int:
    """Takes keeper.lock, then detaches. When the launched process has returned 0, a keeper holds the lock."""
    order = Order.parse(arguments)
    descriptor = open_lock(Path(order.home, "keeper.lock"))
    # A process that checks whether it is locked holds it for an instant.
    if not wait_until(lambda: try_lock(descriptor), _CLAIM_SECONDS):
        return 1
    os.ftruncate(descriptor, 0)
    if sys.platform != "win32":
        os.umask(0o077)
        if os.fork() > 0:
            os._exit(0)
    status = Keeper(order).run()
    if status != 0:
        os.write(descriptor, GAVE_UP)
    return status


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())} [{os.getpid()}] KEEPER:  {text}\n")
    sys.stderr.flush()
