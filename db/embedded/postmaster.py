"""The postmaster: its pid file, its sockets, and how it is started, watched and stopped. Part of the keeper."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

from db.embedded.locks import wait_until

SHUTDOWN_SECONDS = 30.0
_NEVER_A_PID = 2_147_483_646


class Order(NamedTuple):
    """What a server asks of the keeper. It is passed on the command line, with one argument for each field.

    name: the cluster_name, which is in the command line of each process of this PostgreSQL and of no other.
    sockets: the directory of the unix socket; empty on Windows.
    uid, gid: the account that runs PostgreSQL; -1 for the keeper's own.
    adopt: the pid of a living postmaster that lost its keeper; 0 to start one.
    """

    home: str
    bin: str
    name: str
    sockets: str
    port: int
    uid: int
    gid: int
    adopt: int

    @classmethod
    def parse(cls, arguments: list[str]) -> Self:
        """Returns the order from its fields as text, in order."""
        home, binaries, name, sockets, *numbers = arguments
        port, uid, gid, adopt = (int(number) for number in numbers)
        return cls(home, binaries, name, sockets, port, uid, gid, adopt)


class PidFile(NamedTuple):
    """postmaster.pid: pid (negative for a single-user backend, 0 for a broken file), port, socket directory, status."""

    pid: int
    port: int
    sockets: str
    status: str


def read_pid_file(cluster: Path) -> PidFile | None:
    """Returns the content of postmaster.pid; None if there is no file. The file of a killed postmaster stays.

    Source: src/include/utils/pidfile.h of PostgreSQL.
    """
    try:
        text = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
    lines = [*text.split("\n"), *[""] * 8]
    return PidFile(_number(lines[0]), _number(lines[3]), lines[4], lines[7].strip())


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def claim_directory(path: Path, uid: int) -> bool:
    """Makes this directory for uid alone, or accepts one that exists. Returns whether it is a directory of uid.

    Everyone can write to the temporary directory, so another user may have put a directory or a link at this path.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return False
    if status.st_uid == os.geteuid() != uid:
        os.chown(path, uid, -1, follow_symlinks=False)
        status = path.lstat()
    if status.st_uid != uid:
        return False
    path.chmod(0o700)
    return True


@contextmanager
def data_argument(cluster: Path, *, other_account: bool) -> Generator[tuple[str, tuple[int, ...]]]:
    """Returns the value for -D, and the descriptors to pass along.

    Another account may be unable to walk the path (/root is closed to it). Linux opens the link of a descriptor
    without walking, and each process that the postmaster forks inherits it.
    """
    if not other_account:
        yield str(cluster), ()
        return
    descriptor = os.open(cluster, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


class Postmaster:
    """The postmaster: a child of this process, or one that lost its keeper and is adopted by its pid."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._cluster = Path(order.home, "postgres")
        self._child: subprocess.Popen[bytes] | None = None
        self._adopted = order.adopt

    def alive(self) -> bool:
        """Returns whether it runs. For an adopted one, postmaster.pid must still name its pid."""
        if self._child is not None:
            return self._child.poll() is None
        return self._adopted > 0 and self._own_file() is not None and _runs(self._adopted)

    def _own_file(self) -> PidFile | None:
        """Returns the content of postmaster.pid; None while the file is that of an earlier postmaster."""
        pid_file = read_pid_file(self._cluster)
        return pid_file if pid_file is not None and pid_file.pid == self._pid() else None

    def _pid(self) -> int:
        return self._adopted if self._child is None else self._child.pid

    def reachable(self) -> bool:
        """Returns False if it says that it is ready but its socket is gone: somebody emptied the temporary
        directory."""
        pid_file = self._own_file()
        if pid_file is None or pid_file.status != "ready" or not pid_file.sockets:
            return True
        return Path(pid_file.sockets, f".s.PGSQL.{pid_file.port}").exists()

    def spawn(self) -> None:
        """Starts a postmaster, and first removes what a killed one left. Errors: OSError."""
        order = self._order
        self._adopted = 0
        if not claim_directory(Path(order.sockets), order.uid if order.uid >= 0 else os.geteuid()):
            raise PermissionError(f"{order.sockets} belongs to another user")
        kill_orphans(order.name)
        disown(self._cluster)
        self._remove_sockets()
        with data_argument(self._cluster, other_account=order.uid >= 0) as (data, descriptors):
            self._child = subprocess.Popen(  # noqa: S603 - the program that the server located
                [str(Path(order.bin, "postgres")), "-D", data, "-p", str(order.port), *self._settings()],
                stdin=subprocess.DEVNULL,
                cwd="/",
                pass_fds=descriptors,
                user=order.uid if order.uid >= 0 else None,
                group=order.gid if order.uid >= 0 else None,
                extra_groups=[] if order.uid >= 0 else None,
            )

    def _settings(self) -> list[str]:
        """Returns the options for each start. postgresql.conf cannot override them, so the settings that safety needs
        are here."""
        sockets = '"' + self._order.sockets.replace('"', '""') + '"'
        values = {
            "listen_addresses": "",
            "unix_socket_directories": sockets,
            "unix_socket_permissions": "0700",
            "cluster_name": self._order.name,
            "update_process_title": "on",
            "log_destination": "stderr",
            "logging_collector": "off",
        }
        return [part for name, value in values.items() for part in ("-c", f"{name}={value}")]

    def stop(self) -> None:
        """Does a fast shutdown and waits, then an immediate one if it does not end. Does nothing if it has ended."""
        for number, seconds in ((signal.SIGINT, SHUTDOWN_SECONDS), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)):
            if not self.alive():
                break
            with suppress(ProcessLookupError):
                os.kill(self._pid(), number)
            wait_until(lambda: not self.alive(), seconds)
        with suppress(OSError):
            self._remove_sockets()
            Path(self._order.sockets).rmdir()

    def _remove_sockets(self) -> None:
        """Removes the sockets of a killed postmaster. Only this home uses the directory."""
        for leftover in Path(self._order.sockets).glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    """Returns whether this process runs; a zombie does not. On Linux its command line tells, elsewhere the signal
    0."""
    try:
        if sys.platform == "linux":
            return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def kill_orphans(name: str) -> None:
    """Ends the backends of this cluster_name that outlived their postmaster (Linux; elsewhere they end by themselves).

    A backend in a long computation does not notice that its postmaster died, and while it holds the shared memory no
    other can start. For the data this is the same as the crash of the postmaster.
    """
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if command_line.read_bytes().startswith(f"postgres: {name}: ".encode()):
                os.kill(int(command_line.parent.name), signal.SIGKILL)


def disown(cluster: Path) -> None:
    """Replaces the pid in a dead postmaster's file by one that no process can have.

    PostgreSQL refuses to start while a process has that pid, though the pid may now belong to another program. The
    other lines stay: they name the shared memory, by which PostgreSQL sees whether backends of the dead postmaster
    still run. A broken file is removed.
    """
    path = cluster / "postmaster.pid"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "r+b") as file:
        first, newline, rest = file.read().partition(b"\n")
        if _number(first.decode("ascii", "replace")) != 0 and newline:
            file.seek(0)
            file.truncate()
            file.write(b"%d\n%s" % (_NEVER_A_PID, rest))
            return
    path.unlink()


class WindowsPostmaster:
    """The postmaster on Windows, started by pg_ctl, since only pg_ctl drops an administrator's rights before it starts
    one."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._asked = 0.0
        self._alive = False

    def _control(self, *arguments: str) -> int:
        command = [str(Path(self._order.bin, "pg_ctl.exe")), *arguments, "-D", str(Path(self._order.home, "postgres"))]
        silent = subprocess.DEVNULL
        return subprocess.run(command, stdin=silent, stdout=silent, check=False).returncode  # noqa: S603 - as located

    def alive(self) -> bool:
        """Returns whether it runs. Checks at most once in two seconds, since each check starts a process."""
        if time.monotonic() - self._asked > 2.0:
            self._asked, self._alive = time.monotonic(), self._control("status") == 0
        return self._alive

    def reachable(self) -> bool:
        """Returns True: it has no socket that could vanish."""
        return True

    def spawn(self) -> None:
        """Starts it on loopback, where clients need the password."""
        options = f"-p {self._order.port} -c listen_addresses=127.0.0.1 -c cluster_name={self._order.name}"
        log = str(Path(self._order.home, "postgres.log"))
        self._control("start", "-W", "-s", "-l", log, "-o", options)
        self._asked, self._alive = time.monotonic(), True

    def stop(self) -> None:
        """Shuts down fast, and waits."""
        self._control("stop", "-s", "-m", "fast", "-t", str(int(SHUTDOWN_SECONDS)))
