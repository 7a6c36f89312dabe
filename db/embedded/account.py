"""The account that runs PostgreSQL. PostgreSQL refuses to run as root, so root starts it under another account."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from db.domain.errors import StoreUnavailable

_SERVICE_ACCOUNTS = ("postgres", "nobody")
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "SYSTEMDRIVE")


class Account(NamedTuple):
    """The ids of an account other than our own."""

    uid: int
    gid: int


if sys.platform == "win32":

    def _account(name: str) -> Account | None:  # noqa: ARG001 - there is no user database
        return None

    def _name(uid: int) -> str | None:  # noqa: ARG001 - there is no user database
        return None

else:
    import pwd

    def _account(name: str) -> Account | None:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
        return None

    def _name(uid: int) -> str | None:
        with suppress(KeyError):
            return pwd.getpwuid(uid).pw_name
        return None


def running_account(cluster: Path, names: Sequence[str] = _SERVICE_ACCOUNTS) -> Account | None:
    """Returns the account to run PostgreSQL as: None if this process can run it itself. Root gets the account that owns
    the cluster, or else a service account."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    if not Path("/proc/self/fd").is_dir():
        raise StoreUnavailable(
            "PostgreSQL does not run as root, and only Linux's /proc opens root's directory to another account. "
            "Run this as an ordinary user, or set DATABASE_URL."
        )
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in names:
        if account := _account(name):
            return account
    raise StoreUnavailable(
        "PostgreSQL does not run as root, and there is no account `postgres` or `nobody` to run it. "
        "Run this as an ordinary user, or set DATABASE_URL."
    )


def login_name() -> str:
    """Returns the name of the present user. Errors: StoreUnavailable, since PostgreSQL itself needs the name."""
    name = _name(os.geteuid())
    if name is None:
        raise StoreUnavailable(
            f"User id {os.geteuid()} has no name in the user database, and PostgreSQL does not run without one. "
            "Give it a name (in a container: a line in /etc/passwd), or set DATABASE_URL."
        )
    return name


def environment() -> dict[str, str]:
    """Returns the part of our environment that PostgreSQL gets. It has no secrets, since PostgreSQL outlives this
    process and may run under another account."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def run_as(
    account: Account | None,
    command: Sequence[str | Path],
    *,
    output: IO[bytes] | int,
    errors: IO[bytes] | int,
    timeout: float,
    text: str = "",
    descriptors: tuple[int, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end as this account. Errors: OSError, subprocess.TimeoutExpired."""
    return subprocess.run(  # noqa: S603 - programs that locate() found, with arguments of this package
        command,
        input=text,
        stdout=output,
        stderr=errors,
        timeout=timeout,
        encoding="utf-8",
        errors="replace",
        check=False,
        cwd="/",
        env=environment(),
        pass_fds=descriptors,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
