"""Dumps of an embedded database: made while servers work, and read into a new one."""

import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from db.domain.errors import StoreUnavailable
from db.embedded.account import environment
from db.embedded.binaries import Binaries, locate
from db.embedded.cluster import cluster_major

_SHOWN: Final = 500


def has_database(home: Path) -> bool:
    """Returns whether there is a database in the home. StoreUnavailable if something else is at its path."""
    return cluster_major(home / "postgres") is not None


def dump(home: Path, url: str, target: Path) -> int:
    """Writes the whole database at one moment to `target`, in pg_dump's custom format. Returns the major version of
    its PostgreSQL. Errors: StoreUnavailable, OSError."""
    binaries = locate(None, major=cluster_major(home / "postgres"))
    _run(binaries, "pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
    return binaries.version[0]


def load(home: Path, url: str, source: Path) -> None:
    """Reads a dump into the database of the home, which is empty, and tells PostgreSQL's planner what is in it.
    Errors: StoreUnavailable, OSError."""
    binaries = locate(None, major=cluster_major(home / "postgres"))
    options = ("--no-owner", "--no-privileges", "--exit-on-error", "--clean", "--if-exists")
    _run(binaries, "pg_restore", url, *options, str(source))
    _run(binaries, "vacuumdb", url, "--analyze-only", "--quiet")


def newest_major() -> int:
    """Returns the major version of the PostgreSQL that a new database is made with. StoreUnavailable if there is
    none."""
    return locate(None).version[0]


def _run(binaries: Binaries, name: str, url: str, *arguments: str) -> None:
    program = binaries.program(name)
    if not program.exists():
        raise StoreUnavailable(f"PostgreSQL in {binaries.folder} has no {name}. Install its client programs.")
    where, password = _connection(url)
    done = subprocess.run(  # noqa: S603 - a program that locate() found, with arguments of this package
        [program, *where, "--no-password", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
        env={**environment(), **password},
    )
    if done.returncode != 0:
        said = next((line for line in done.stderr.splitlines() if "error:" in line), done.stderr)
        raise StoreUnavailable(f"{name} failed.", log=f" It says: {said.strip()[:_SHOWN]}")


def _connection(url: str) -> tuple[list[str], dict[str, str]]:
    """Returns the arguments that name the database, and the variable with its password. The password is not an
    argument, since all users of the machine see arguments."""
    parts = urlsplit(url)
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    host, port = asked.get("host") or parts.hostname or "", asked.get("port") or str(parts.port or 5432)
    arguments = [f"--host={host}", f"--port={port}", f"--username={parts.username}", f"--dbname={parts.path[1:]}"]
    return arguments, {"PGPASSWORD": unquote(parts.password)} if parts.password else {}
