"""The data directory. initdb makes it in a folder of another name, so it is made whole or not at all."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from db.domain.errors import StoreUnavailable
from db.embedded.account import Account, login_name, run_as
from db.embedded.binaries import Binaries
from db.embedded.postmaster import data_argument

DATABASE = "sales"
ROLE = "postgres"
_INITDB_SECONDS = 300.0
_BUILTIN_LOCALE_MAJOR = 17
_SETTINGS = """
# What was said above holds, unless it is said again here. Statements and details of errors can carry personal data.
log_checkpoints = off
log_error_verbosity = terse
log_min_error_statement = panic
"""


def cluster_major(cluster: Path) -> int | None:
    """Returns the major version that made the cluster; None when there is no cluster yet.

    Errors: StoreUnavailable when something else is at its path.
    """
    if not cluster.exists() or not any(cluster.iterdir()):
        return None
    with suppress(FileNotFoundError, ValueError):
        return int((cluster / "PG_VERSION").read_text(encoding="ascii"))
    raise StoreUnavailable(
        f"{cluster} is not the data of a PostgreSQL. Move it away, or choose another directory.", places=[cluster]
    )


def create_cluster(home: Path, binaries: Binaries, account: Account | None, log: IO[bytes]) -> None:
    """Makes home/postgres with its database. The caller holds start.lock.

    The cluster is made in a folder of another name and renamed at the end, so a kill leaves either no cluster or a
    whole one. Errors: StoreUnavailable, OSError.
    """
    made = home / f"postgres.new-{os.urandom(6).hex()}"
    made.mkdir(mode=0o700)
    try:
        if account:
            os.chown(made, account.uid, account.gid)
        with data_argument(made, other_account=account is not None) as (data, descriptors):
            initdb = [binaries.program("initdb"), "-D", data, *_initdb_options(home, binaries)]
            _run(account, initdb, log=log, descriptors=descriptors)
            _configure(made)
            single = [binaries.program("postgres"), "--single", "-D", data, "-c", "exit_on_error=on", "-j", "postgres"]
            _run(account, single, log=log, descriptors=descriptors, text=f"CREATE DATABASE {DATABASE};\n")
        made.rename(home / "postgres")
        _sync(home)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def give_to(account: Account, cluster: Path) -> None:
    """Gives a cluster that root owns, such as a restored copy, to the account that runs it. The top folder changes
    last."""
    if cluster.stat().st_uid == 0:
        for path in (*cluster.rglob("*"), cluster):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)


def open_log(path: Path) -> IO[bytes]:
    """Opens the log (0600) for appending. The keeper truncates it in place, and processes that have it open append from
    there."""

    def private(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)

    return open(path, "ab", opener=private)


def log_tail(path: Path) -> str:
    """Returns the last lines of the log, as the end of an error's text."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()[-8:]
    except OSError:
        return ""
    return "\n".join([f" The end of {path}:", *lines])


def remove_leftovers(home: Path) -> None:
    """Removes what a killed initdb left. An initdb whose server was killed ends when its folder is gone."""
    for leftover in home.glob("postgres.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _initdb_options(home: Path, binaries: Binaries) -> list[str]:
    options = ["--encoding=UTF8", f"--username={ROLE}", "--data-checksums", "--locale=C", "--no-instructions"]
    if binaries.version[0] >= _BUILTIN_LOCALE_MAJOR:
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if sys.platform == "win32":
        return [*options, "--auth=scram-sha-256", f"--pwfile={make_password(home)}"]
    return [*options, "--auth-local=peer", "--auth-host=reject"]


def make_password(home: Path) -> Path:
    """Returns the file (0600) with the password of a PostgreSQL on loopback. Makes the file if it is missing."""
    path = home / "postgres.password"
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(os.urandom(24).hex())
    return path


def _run(
    account: Account | None, command: list[str | Path], *, log: IO[bytes], descriptors: tuple[int, ...], text: str = ""
) -> None:
    try:
        done = run_as(
            account,
            command,
            output=subprocess.DEVNULL,
            errors=log,
            timeout=_INITDB_SECONDS,
            text=text,
            descriptors=descriptors,
        )
    except subprocess.TimeoutExpired:
        raise StoreUnavailable(f"Making the database took longer than {_INITDB_SECONDS:.0f} s. Try again.") from None
    if done.returncode != 0:
        ending = f"was killed by signal {-done.returncode}" if done.returncode < 0 else "failed"
        raise StoreUnavailable(
            f"Making the database {ending}. Try again, or set DATABASE_URL.", log=log_tail(Path(log.name))
        )


def _configure(cluster: Path) -> None:
    """Allows only the present user and root to connect on Unix. The kernel tells who connects, so there is no
    password."""
    _write(cluster / "postgresql.conf", _SETTINGS, os.O_APPEND)
    if sys.platform != "win32":
        names = sorted({login_name(), "root"})
        _write(cluster / "pg_hba.conf", "local all all peer map=owner\n", os.O_TRUNC)
        _write(cluster / "pg_ident.conf", "".join(f'owner "{name}" {ROLE}\n' for name in names), os.O_TRUNC)


def _write(path: Path, text: str, how: int) -> None:
    """Writes into a file that initdb made. Under root another account owns the file, so links are not followed."""
    descriptor = os.open(path, os.O_WRONLY | how | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "a" if how == os.O_APPEND else "w", encoding="utf-8") as file:
        file.write(text)


def _sync(directory: Path) -> None:
    if sys.platform != "win32":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
