"""Replaces the database of a home: whole or not at all, and never while it is in use.

The new one is made beside the old one. The rename of a folder to `restored` decides. Renames follow, and the next
server that starts finishes them if they are interrupted. The old files are kept in `replaced-...`.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from db import homes
from db.domain.errors import Conflict, StoreUnavailable
from db.embedded.dumps import has_database, load
from db.embedded.placing import RESTORED, place, stamp
from db.embedded.postmaster import read_pid_file
from db.embedded.scratch import scratch
from db.embedded.server import EmbeddedPostgres

_LOGIN: Final = "postgres.password"  # of a PostgreSQL on Windows


def refuse(home: Path, *, replaces: bool) -> None:
    """Raises Conflict if the home has a database that must not be replaced, and Busy if a server uses it."""
    homes.make(home)
    with EmbeddedPostgres(home).unused():
        _refuse_database(home, replaces=replaces)


def restore(
    home: Path,
    dump: Path,
    *,
    beside: dict[str, Path],
    replaces: bool,
    finish: Callable[[str], None],
    check: Callable[[], None],
) -> Path | None:
    """Makes a database from a dump, and moves it and other files into the home. Returns the folder that keeps the old
    ones; None if there were none.

    `beside`: name in the home -> the file that it will be. `finish` gets the URL of the new database before it is
    moved, and `check` is called when no server can start any more. If either raises, the home stays as it was. Errors:
    Conflict and Busy as `refuse`, StoreUnavailable, OSError.
    """
    refuse(home, replaces=replaces)
    with scratch(home, "restoring") as folder:
        new = folder / "home"
        with EmbeddedPostgres(new) as server:
            url = server.start()
            load(new, url, dump)
            finish(url)
        if read_pid_file(new / "postgres") is not None:
            raise StoreUnavailable(f"PostgreSQL in {new} did not end. Nothing was restored.", places=[new])
        ready = folder / RESTORED
        ready.mkdir(mode=0o700)
        (new / "postgres").rename(ready / "postgres")
        if (new / _LOGIN).exists():
            (new / _LOGIN).rename(ready / _LOGIN)
        for name, path in beside.items():
            path.rename(ready / name)
        with EmbeddedPostgres(home).unused():
            _refuse_database(home, replaces=replaces)
            check()
            _sync()
            ready.rename(home / RESTORED)
            return place(home, stamp())


def _refuse_database(home: Path, *, replaces: bool) -> None:
    if not replaces and has_database(home):
        raise Conflict(
            f"There is a database in {home} already. Name another directory with --home, or add --replace: it is kept "
            "beside the restored one."
        )


def _sync() -> None:
    """Syncs the new files to disk before the rename that decides."""
    if sys.platform != "win32":
        os.sync()
