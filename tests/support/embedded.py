"""What the tests of the embedded PostgreSQL act with: homes, servers in processes of their own, and other accounts."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg

import db
from db.embedded.locks import wait_until
from db.embedded.postmaster import read_pid_file
from tests.support.patience import PATIENCE

ROOT = Path(next(iter(db.__path__))).parent
IS_ROOT = os.geteuid() == 0

_SERVER = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from db.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]))
print("loaded", flush=True)
sys.stdin.readline()
print(postgres.start(), flush=True)
sys.stdin.readline()
postgres.stop()
print("stopped", flush=True)
"""


def eventually(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Fail unless the condition comes true within this time."""
    assert wait_until(condition, seconds), f"not within {seconds} s: {what}"


def ask(url: str, statement: str) -> Any:
    """The first column of the first row, from a connection of its own; None when there is no row."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def answers(url: str) -> bool:
    """Whether the database answers now."""
    try:
        return ask(url, "SELECT 1") == 1
    except psycopg.OperationalError:
        return False


def socket_of(url: str) -> Path:
    """The unix socket that the URL leads to."""
    return Path(parse_qs(urlsplit(url).query)["host"][0], ".s.PGSQL.5432")


def postmaster_of(home: Path) -> psutil.Process:
    """The process that postmaster.pid names."""
    pid_file = read_pid_file(home / "postgres")
    assert pid_file is not None
    return psutil.Process(pid_file.pid)


def keepers_of(home: Path) -> list[psutil.Process]:
    """The living keepers of this home: there should never be two."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = process.cmdline()
            if str(home) in command and any("db.embedded.keeper" in part for part in command):
                found.append(process)
    return found


def nothing_runs(home: Path) -> bool:
    """Whether PostgreSQL has ended and its keeper with it."""
    return read_pid_file(home / "postgres") is None and not keepers_of(home)


def end_everything(home: Path) -> None:
    """For the end of a test, however it went: SIGKILL whatever still belongs to this home."""
    for keeper in keepers_of(home):
        keeper.kill()
    pid_file = read_pid_file(home / "postgres")
    if pid_file is not None:
        with suppress(psutil.Error):
            process = psutil.Process(pid_file.pid)
            if process.name() == "postgres":
                process.kill()
        if Path(pid_file.sockets).name.startswith("sales-automation-"):
            shutil.rmtree(pid_file.sockets, ignore_errors=True)


class Server:
    """A server in a process of its own, which starts and leaves when told."""

    def __init__(
        self, home: Path, command: Sequence[str] = (sys.executable,), paths: Sequence[Path] = (ROOT,), **options: Any
    ) -> None:
        self.process = subprocess.Popen(
            [*command, "-c", _SERVER, str(home), *map(str, paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        assert self._line() == "loaded"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def go(self) -> None:
        """Tell it to start, and do not wait for it."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def url(self) -> str:
        """The URL, once it has started."""
        return self._line()

    def start(self) -> str:
        """Start, and wait for it."""
        self.go()
        return self.url()

    def leave(self) -> None:
        """Leave in good order."""
        self.go()
        assert self._line() == "stopped"

    def kill(self) -> None:
        """SIGKILL: it gets no chance to leave."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream and not stream.closed:
                with suppress(BrokenPipeError):
                    stream.close()

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


def copy_cluster(template: Path, home: Path) -> Path:
    """A home with a copy of the template's cluster, its owners kept; an initdb would take ten times as long."""
    home.mkdir(parents=True, mode=0o700)
    subprocess.run(["cp", "-a", str(template / "postgres"), str(home)], check=True)
    return home


def run_as_user(name: str, command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as another account, which only root can."""
    entry = pwd.getpwnam(name)
    return subprocess.run(
        command,
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **options,
    )


def interpreter_for(name: str, place: Path) -> tuple[Path, dict[str, str]]:
    """A Python for this account, with its environment: ours, or a copy when ours lies in root's own folders."""
    ours = Path(sys.executable)
    try:
        if run_as_user(name, [ours, "-I", "-S", "-c", "import socket, subprocess"], env={}).returncode == 0:
            return ours, {}
    except PermissionError:
        pass
    real, library = ours.resolve(), Path(sysconfig.get_path("stdlib"))
    for folder in ("bin", "lib"):
        (place / folder).mkdir()
    shutil.copy2(real, place / "bin" / real.name)
    shared = Path(str(sysconfig.get_config_var("LIBDIR")), str(sysconfig.get_config_var("INSTSONAME")))
    if shared.suffix != ".a" and shared.exists():
        shutil.copy2(shared, place / "lib" / shared.name)
    left_out = shutil.ignore_patterns("site-packages", "test", "idlelib", "tkinter", "ensurepip", "lib2to3", "config-*")
    shutil.copytree(library, place / "lib" / library.name, ignore=left_out)
    return place / "bin" / real.name, {"LD_LIBRARY_PATH": str(place / "lib")}


def gone(process: psutil.Process) -> bool:
    """Whether it has ended, be it that its parent has not looked yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def killed(process: psutil.Process) -> None:
    """SIGKILL a process, and wait until it is gone."""
    process.send_signal(signal.SIGKILL)
    eventually(lambda: gone(process), "the killed one is gone")
