"""A server's share in the embedded PostgreSQL of one home directory."""

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from db import homes
from db.domain.errors import Busy, StoreUnavailable
from db.embedded.account import environment, running_account
from db.embedded.binaries import locate
from db.embedded.cluster import (
    DATABASE,
    ROLE,
    cluster_major,
    create_cluster,
    give_to,
    log_tail,
    make_password,
    open_log,
    remove_leftovers,
)
from db.embedded.keeper import COMMAND, GAVE_UP
from db.embedded.locks import any_user, is_locked, open_lock, try_lock, wait_until
from db.embedded.placing import is_waiting, place, stamp
from db.embedded.postmaster import Order, PidFile, claim_directory, read_pid_file

START_SECONDS = 60.0
STOP_SECONDS = 30.0
_LOCK_SECONDS = 360.0  # another server may be making the database
_LAUNCH_SECONDS = 30.0
_LAUNCHES = 3  # the first ones may have been killed
_GRACE_SECONDS = 10.0 if sys.platform == "win32" else 0.0  # there the keeper takes its lock after its launch
_SOCKET_FOLDER_BYTES = 88  # with "/.s.PGSQL.5432" it fits the shortest sun_path, 104 bytes on macOS


class EmbeddedPostgres:
    """PostgreSQL in `home`, shared with every other server that names the same directory.

    `start()` starts it, or uses the one that runs; `stop()` ends this use. It stops when its last user stops or dies.
    Not for use from several threads at once.
    """

    def __init__(self, home: Path) -> None:
        self.home = home.resolve()
        self._cluster = self.home / "postgres"
        self._log = self.home / "postgres.log"
        self._name = f"sales-automation-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]}"
        self._registered: tuple[int, Path, int] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> str:
        """Returns the URL (libpq's form) of the database `sales`, once it accepts connections.

        May be called again, and then starts a PostgreSQL that is not restarted by its keeper. Errors: StoreUnavailable,
        whose text says what an operator can do.
        """
        try:
            with ExitStack() as undo:
                undo.callback(self._leave)
                url = self._start()
                undo.pop_all()
                return url
        except (OSError, subprocess.SubprocessError) as error:
            # The traceback has the command and its path.
            reason = (error.strerror or error) if isinstance(error, OSError) else type(error).__name__
            raise StoreUnavailable(
                f"The embedded PostgreSQL in {self.home} can't be used: {reason}. Give this user the directory, name "
                "another with --home or SALES_AUTOMATION_HOME, or set DATABASE_URL.",
                places=[self.home],
            ) from error

    def stop(self) -> None:
        """Ends this server's use. For the last server it returns when PostgreSQL has ended (after 30 s at most).
        Idempotent."""
        if self._registered is None:
            return
        ours = self._registered[2] == os.getpid()
        self._leave()
        if ours:  # a forked child shares the lock of its parent, which still uses it
            with suppress(OSError, subprocess.SubprocessError, StoreUnavailable):
                self._await_end(time.monotonic() + STOP_SECONDS)

    def _start(self) -> str:
        homes.make(self.home)
        homes.refuse_link(self._cluster)
        with self._deciding():
            if is_waiting(self.home):
                place(self.home, stamp())
            self._register()
            return self._ensure_running()

    @contextmanager
    def unused(self) -> Generator[None]:
        """Lets no server start while the block runs. Busy if a server uses the database, or does not end its use."""
        keeper = self.home / "keeper.lock"
        wait_until(lambda: any_user(self.home) or not is_locked(keeper), STOP_SECONDS)
        with self._deciding():
            if any_user(self.home) or is_locked(keeper) or living_postmaster(self._cluster, self._name):
                raise Busy(
                    f"A server uses the database in {self.home}. Stop it, and run this again.", places=[self.home]
                )
            if is_waiting(self.home):
                place(self.home, stamp())
            yield

    @contextmanager
    def _deciding(self) -> Generator[None]:
        """Holds start.lock, so that only one server at a time checks and starts, and no keeper stops meanwhile."""
        lock = open_lock(self.home / "start.lock")
        try:
            if not wait_until(lambda: try_lock(lock), _LOCK_SECONDS):
                raise StoreUnavailable(
                    f"Another server has held {self.home / 'start.lock'} for {_LOCK_SECONDS:.0f} s while it starts "
                    "PostgreSQL. End it, or set DATABASE_URL.",
                    places=[self.home / "start.lock"],
                    log=log_tail(self._log),
                )
            yield
        finally:
            os.close(lock)

    def _register(self) -> None:
        if self._registered is not None:
            return
        users = self.home / "users"
        homes.refuse_link(users)
        users.mkdir(mode=0o700, exist_ok=True)
        for path in users.iterdir():
            if not is_locked(path):
                path.unlink(missing_ok=True)
        path = users / f"{os.getpid()}-{os.urandom(4).hex()}"
        lock = open_lock(path)
        self._registered = (lock, path, os.getpid())
        # A keeper that checks whether it is locked holds it for an instant.
        if not wait_until(lambda: try_lock(lock), 1.0):
            raise TimeoutError(f"{path} can't be locked")

    def _leave(self) -> None:
        if self._registered is None:
            return
        lock, path, pid = self._registered
        self._registered = None
        os.close(lock)
        if pid == os.getpid():
            path.unlink(missing_ok=True)

    def _ensure_running(self) -> str:
        launches, launched_at = 0, 0.0
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if is_locked(self.home / "keeper.lock"):
                pid_file = read_pid_file(self._cluster)
                if pid_file is not None and pid_file.status == "ready" and _listens(pid_file):
                    return self._url(pid_file)
            elif launches == 0 or time.monotonic() - launched_at > _GRACE_SECONDS:
                if launches == _LAUNCHES or (launches and self._gave_up()):
                    raise self._unavailable(f"PostgreSQL in {self.home} does not start.")
                launches, launched_at = launches + 1, self._launch()
                deadline = launched_at + START_SECONDS
            time.sleep(0.01)
        raise self._unavailable(f"PostgreSQL in {self.home} was not ready after {START_SECONDS:.0f} s.")

    def _unavailable(self, text: str) -> StoreUnavailable:
        """Returns the error with the end of PostgreSQL's log, for the operator."""
        return StoreUnavailable(text, places=[self.home], log=log_tail(self._log))

    def _gave_up(self) -> bool:
        """Returns whether the last keeper ended because PostgreSQL does not start, and not by a signal."""
        return (self.home / "keeper.lock").read_bytes() == GAVE_UP

    def _launch(self) -> float:
        """Starts a keeper, and returns the time. The caller holds start.lock, and no keeper runs."""
        account = running_account(self._cluster)
        remove_leftovers(self.home)
        with open_log(self._log) as log:
            major = cluster_major(self._cluster)
            binaries = locate(account, major=major)
            if major is None:
                create_cluster(self.home, binaries, account, log)
            if account:
                give_to(account, self._cluster)
            living = living_postmaster(self._cluster, self._name)
            if living < 0:
                raise StoreUnavailable(
                    f"Process {-living} uses {self._cluster} in single-user mode. End it first.", places=[self._cluster]
                )
            uid, gid = account or (-1, -1)
            sockets, port = self._address(uid)
            order = Order(str(self.home), str(binaries.folder), self._name, sockets, port, uid, gid, living)
            _launch_keeper(order, log)
        return time.monotonic()

    def _address(self, uid: int) -> tuple[str, int]:
        """Returns the directory of the socket, short enough for a socket's path, and the port."""
        if sys.platform == "win32":
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                return "", int(probe.getsockname()[1])
        owner = os.geteuid() if uid < 0 else uid
        shared = Path("/tmp")  # noqa: S108 - claim_directory checks whose directory it is
        place = shared if uid >= 0 else Path(tempfile.gettempdir())
        if len(os.fsencode(place / self._name)) > _SOCKET_FOLDER_BYTES:
            place = shared
        sockets = place / self._name
        if not claim_directory(sockets, owner):
            sockets = Path(tempfile.mkdtemp(prefix="sales-", dir=place))
            claim_directory(sockets, owner)
        return str(sockets), 5432

    def _url(self, pid_file: PidFile) -> str:
        if sys.platform == "win32":
            password = make_password(self.home).read_text(encoding="ascii")
            return f"postgresql://{ROLE}:{password}@127.0.0.1:{pid_file.port}/{DATABASE}"
        # The port is given, since PGPORT would change it otherwise.
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(pid_file.sockets, safe='')}&port={pid_file.port}"

    def _await_end(self, deadline: float) -> None:
        """Waits until the keeper has ended PostgreSQL, unless other servers use it. Starts a keeper if a postmaster has
        none."""
        while time.monotonic() < deadline and not any_user(self.home):
            if not is_locked(self.home / "keeper.lock") and not self._abandoned():
                return
            time.sleep(0.01)

    def _abandoned(self) -> bool:
        """Returns whether a postmaster still runs though its keeper was killed. A new keeper, which finds no users,
        then ends it."""
        if read_pid_file(self._cluster) is None:
            return False
        lock = open_lock(self.home / "start.lock")
        try:
            if not try_lock(lock):
                return True
            if is_locked(self.home / "keeper.lock"):
                return True
            if living_postmaster(self._cluster, self._name) <= 0:
                return False
            self._launch()
            return True
        finally:
            os.close(lock)


def _listens(pid_file: PidFile) -> bool:
    """Returns whether the postmaster answers. Its file proves nothing: a killed postmaster leaves one that says it is
    ready."""
    if sys.platform == "win32":
        family, address = socket.AF_INET, ("127.0.0.1", pid_file.port)
    else:
        family, address = socket.AF_UNIX, f"{pid_file.sockets}/.s.PGSQL.{pid_file.port}"
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except (ConnectionError, FileNotFoundError, TimeoutError):
            return False
    return True


def living_postmaster(cluster: Path, name: str) -> int:
    """Returns the pid in postmaster.pid if that process is the PostgreSQL of this cluster, else 0.

    Negative for a single-user backend. Another process may have got the pid of a dead postmaster.
    """
    pid_file = read_pid_file(cluster)
    if pid_file is None or pid_file.pid == 0:
        return 0
    import psutil  # noqa: PLC0415 - 30 ms that only a start without a keeper has to pay

    try:
        process = psutil.Process(abs(pid_file.pid))
        if not process.name().startswith("postgres"):
            return 0
        command = " ".join(process.cmdline())
        if name in command or str(cluster) in command or Path(process.cwd()).samefile(cluster):
            return pid_file.pid
    except (psutil.Error, OSError):
        return 0
    return 0


def _launch_keeper(order: Order, log: IO[bytes]) -> None:
    """Runs the keeper in a session of its own. When this returns, the keeper holds keeper.lock or has ended."""
    if not sys.executable:
        raise StoreUnavailable("This program has no Python interpreter to run beside PostgreSQL: set DATABASE_URL.")
    command = [sys.executable, "-I", "-S", "-c", COMMAND, str(Path(__file__).parents[2]), *map(str, order)]
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment(), creationflags=flags
        )
        process.returncode = 0  # it outlives this process, which does not wait for it
        return
    subprocess.run(  # noqa: S603 - our own module
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        env=environment(),
        start_new_session=True,
        timeout=_LAUNCH_SECONDS,
        check=False,
    )
