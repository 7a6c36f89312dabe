"""The commands `backup` and `restore`, for the embedded database and the job queue."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final, cast

import typer

from db.domain.errors import InvalidInput
from mcp_server import __version__
from mcp_server.cli.session import EXIT_CODES, Home, complain, failed, opened, settings_of, unusable

if TYPE_CHECKING:
    from db.postgres.database import Database
    from db.services import Session
    from mcp_server.cli.archive import Manifest
    from mcp_server.process.settings import Settings

_REMADE: Final = frozenset(
    {"postgres", "postgres.log", "postgres.password", "jobs.db", "cache.db", "users", "start.lock", "keeper.lock"}
    | {f"{name}.{end}" for name in ("jobs", "cache") for end in ("lock", "db-wal", "db-shm")}
)
"""What a home holds that is in the backup, or is made again. The rest is named, since nobody else keeps it."""
_OF_COMMANDS: Final = ("backup-", "restoring-", "unpacking-", "replaced-", "postgres.new-")

backup_cli = typer.Typer(add_completion=False, rich_markup_mode="markdown")
restore_cli = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@backup_cli.command("backup", epilog=EXIT_CODES)
def backup(
    file: Annotated[Path, typer.Argument(help="The file to make, for you alone; - writes to stdout.", allow_dash=True)],
    home: Home = None,
) -> None:
    """Back up the embedded database and the queue of jobs into one file, also while servers run.

    It holds the database at one moment, personal data and the table with its keys too: keep it as you keep the
    database. Files with secrets beside it, such as keys, are left out, and named. The cache is left out.
    """
    from db.embedded.dumps import has_database  # noqa: PLC0415  `--help` needs none of it

    settings = _embedded(settings_of(home=home), "pg_dump")
    if str(file) != "-" and file.exists():
        raise unusable(f"{file} is there already, and a backup overwrites nothing. Name another file.")
    if not has_database(settings.home):
        raise failed(f"There is no database in {settings.home} to back up. Name its directory with --home.")
    with opened(settings, prepare=_leave_as_it_is) as app:
        try:
            size = _write(settings.home, app.database(), file)
        except OSError as error:
            raise failed(f"{file} can't be written: {error.strerror}. Make room, or name another file.") from None
    complain(f"backed up {size / 1e6:,.1f} MB.")
    _name_left_out(settings.home)


@restore_cli.command("restore", epilog=EXIT_CODES)
def restore(
    file: Annotated[Path, typer.Argument(help="What `backup` made; - reads stdin.", allow_dash=True)],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of the database that is there, and keep that beside it.")
    ] = False,
    keep_active: Annotated[
        bool, typer.Option("--keep-active", help="Leave campaigns active: nothing was sent since the backup.")
    ] = False,
    home: Home = None,
) -> None:
    """Restore a backup into a directory in which no server runs. Its active campaigns are paused.

    The database is made beside the place that it takes in the end, in one step: what fails or is cut short before
    leaves everything as it was. It is brought to this version's schema.
    """
    from db.embedded.restoring import refuse  # noqa: PLC0415  see backup

    settings = _embedded(settings_of(home=home), "pg_restore")
    # The app must not start a database where one is to be restored.
    with opened(settings, database=False):
        try:
            refuse(settings.home, replaces=replace)
            _restore(settings.home, file, replaces=replace, keeps_active=keep_active)
        except InvalidInput as error:
            raise unusable(str(error)) from None
        except OSError as error:
            raise failed(f"It can't be restored: {error.strerror or error}. Nothing was changed.") from None


def _embedded(settings: "Settings", tool: str) -> "Settings":
    if settings.database_url is not None:
        raise unusable(
            "This is for the embedded database, and DATABASE_URL names another one: unset it, or use PostgreSQL's own "
            f"{tool}."
        )
    return settings


def _leave_as_it_is(_: "Database") -> None:
    """Does not migrate: a backup before an upgrade has the old schema."""


def _write(home: Path, database: "Database", file: Path) -> int:
    from datetime import UTC, datetime  # noqa: PLC0415  see backup

    from db.embedded import EmbeddedPostgres  # noqa: PLC0415  see backup
    from db.embedded.dumps import dump  # noqa: PLC0415  see backup
    from db.embedded.scratch import scratch  # noqa: PLC0415  see backup
    from db.local.copies import copy_jobs  # noqa: PLC0415  see backup
    from mcp_server.cli import archive  # noqa: PLC0415  see backup
    from migrations.runner import revision_of  # noqa: PLC0415  see backup

    with scratch(home, "backup") as folder, _made(file) as target:
        taken_at, schema = datetime.now(UTC), revision_of(database.engine)
        files = {archive.DUMP: folder / archive.DUMP}
        with EmbeddedPostgres(home) as server:
            major = dump(home, server.start(), files[archive.DUMP])
        if copy_jobs(home, folder / archive.JOBS):
            files[archive.JOBS] = folder / archive.JOBS
        archive.write(
            target, archive.Manifest(__version__, schema, major, taken_at.isoformat(timespec="seconds")), files
        )
        return sum(path.stat().st_size for path in files.values())


@contextmanager
def _made(file: Path) -> Generator[BinaryIO]:
    from mcp_server.cli.files import replacing  # noqa: PLC0415  see backup

    if str(file) == "-":
        yield cast("BinaryIO", sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        with replacing(file) as target:
            yield target


def _name_left_out(home: Path) -> None:
    names = sorted(path.name for path in home.iterdir() if path.name not in _REMADE)
    others = [name for name in names if not name.startswith(_OF_COMMANDS)]
    if others:
        complain(f"left out of {home}: {', '.join(others)}. Keep copies of keys and tokens apart from the backup.")
    complain("it holds personal data and the table secrets: keep it as you keep the database.")


def _restore(home: Path, file: Path, *, replaces: bool, keeps_active: bool) -> None:
    from db.embedded import restoring  # noqa: PLC0415  see backup
    from db.embedded.scratch import scratch  # noqa: PLC0415  see backup
    from db.local.copies import check_jobs, refuse_used_jobs  # noqa: PLC0415  see backup
    from mcp_server.cli import archive  # noqa: PLC0415  see backup

    with scratch(home, "unpacking") as folder:
        with _source(file) as source:
            manifest, files = archive.read(source, folder)
        _refuse_newer(manifest)
        dump = files.pop(archive.DUMP, None)
        if dump is None:
            raise InvalidInput("The backup holds no database.")
        for jobs in files.values():
            check_jobs(jobs)
        valid_again: list[str] = []
        kept = restoring.restore(
            home,
            dump,
            beside=files,
            replaces=replaces,
            finish=lambda url: valid_again.extend(_finish(url, None if keeps_active else manifest.taken_at)),
            check=lambda: refuse_used_jobs(home),
        )
    if kept is not None:
        complain(f"what was there before is kept in {kept}; delete it when you need it no more.")
    complain(
        f"steps that were sent after {manifest.taken_at} are due again, and opt-outs and erasures since then are not "
        "known. " + ("" if keeps_active else "Active campaigns are paused: see what is due, then start_campaign.")
    )
    for told in valid_again:
        complain(told)
    typer.echo(f"The database of {manifest.taken_at} is restored in {home}.")


@contextmanager
def _source(file: Path) -> Generator[BinaryIO]:
    if str(file) == "-":
        yield cast("BinaryIO", sys.stdin.buffer)
        return
    try:
        opened_file = file.open("rb")
    except OSError as error:
        raise unusable(f"{file} can't be read: {error.strerror}.") from None
    with opened_file:
        yield opened_file


def _refuse_newer(manifest: "Manifest") -> None:
    from db.embedded.dumps import newest_major  # noqa: PLC0415  see backup
    from migrations import HEAD  # noqa: PLC0415  see backup

    if manifest.schema is not None and manifest.schema > HEAD:
        raise InvalidInput(
            f"The backup's schema is newer than this program: it stands at revision {manifest.schema}, and this "
            f"version knows those up to {HEAD}. Restore it with version {manifest.program}, or a later one."
        )
    major = newest_major()
    if manifest.postgresql > major:
        raise InvalidInput(
            f"The backup is of PostgreSQL {manifest.postgresql}, and the newest here is {major}. Install PostgreSQL "
            f"{manifest.postgresql}."
        )


def _finish(url: str, taken_at: str | None) -> list[str]:
    """Brings the database to this version's schema and, where the moment of its backup is given, pauses its active
    campaigns: what was sent since then is not known to it, and would be sent again. Returns what may have been taken
    away since then and is back."""
    from datetime import UTC, datetime  # noqa: PLC0415  see backup

    from db.postgres.config import DatabaseConfig  # noqa: PLC0415  see backup
    from db.postgres.database import Database  # noqa: PLC0415  see backup
    from db.services.campaigns import campaigns  # noqa: PLC0415  see backup
    from migrations.runner import ensure_current  # noqa: PLC0415  see backup

    database = Database.open(DatabaseConfig(url=url))
    try:
        ensure_current(database.engine, upgrade=True)
        if taken_at is not None:
            reason = f"restored: what was sent after {taken_at} is not known. See what is due, then start_campaign."
            database.run("pause", lambda session: campaigns.pause_all(session, reason=reason, now=datetime.now(UTC)))
        return database.run("look", _back_again, read_only=True)
    finally:
        database.close()


def _back_again(session: "Session") -> list[str]:
    """Returns which tokens are valid and which mailboxes are connected, with what takes them away again."""
    from datetime import UTC, datetime  # noqa: PLC0415  see backup

    from db.services.mail import mailboxes  # noqa: PLC0415  see backup
    from db.services.ops import tokens  # noqa: PLC0415  see backup

    names = sorted(token.name for token in tokens.load(session, now=datetime.now(UTC)).active)
    addresses = [mailbox.address for mailbox in mailboxes.list_(session)]
    found = (("tokens are valid", names, "tokens revoke"), ("mailboxes are connected", addresses, "mailboxes remove"))
    return [
        f"these {what} again, also if they were taken away since: {', '.join(named)}. `{command}` takes them away."
        for what, named, command in found
        if named
    ]
