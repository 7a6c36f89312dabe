"""`backup` and `restore`: one moment while servers work, whole or not at all, and never over a database in use."""

import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from db.domain.access import Scope
from db.domain.errors import Busy, InvalidInput
from db.domain.jobs import JobType
from db.domain.mailboxes import MailServer, Security
from db.embedded import EmbeddedPostgres
from db.embedded.dumps import has_database
from db.embedded.placing import RESTORED, place_if_waiting
from db.local.copies import refuse_used_jobs
from db.local.store import LocalStore
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from db.services.ops import tokens
from mcp_server.cli import archive
from mcp_server.cli.archive import Manifest
from migrations import HEAD
from migrations.runner import migrate
from tests.support.command_line import Cli
from tests.support.embedded import ask, end_everything

Factory = Callable[[Path], EmbeddedPostgres]

PEOPLE = 20_000
FILL = """
    INSERT INTO contacts (id, email, first_name, attributes)
        SELECT gen_random_uuid(), 'p' || n || '@example.com', 'Ää "' || n || E'"\\n', jsonb_build_object('n', n)
        FROM generate_series(1, :people) n;
    INSERT INTO campaign_templates (id, name, type, path_type) VALUES (gen_random_uuid(), 'T', 'email', 'structured');
    INSERT INTO campaign_instances (id, template_id, name) SELECT gen_random_uuid(), id, 'C' FROM campaign_templates;
    INSERT INTO campaign_enrollments (instance_id, id, contact_id, status)
        SELECT i.id, gen_random_uuid(), c.id, 'enrolled' FROM campaign_instances i, contacts c;
    INSERT INTO campaign_events (instance_id, id, enrollment_id, event_type, channel, occurred_at, provider_event_id)
        SELECT n.instance_id, gen_random_uuid(), n.id, type, 'email', now(), type || n.id
        FROM campaign_enrollments n, unnest(ARRAY['sent', 'delivered', 'opened']) type
"""
# What a server writes meanwhile, always two rows at once.
PAIR = """
    INSERT INTO suppressions (id, email, reason) SELECT gen_random_uuid(), :name || n || '@example.net', 'manual'
    FROM generate_series(1, 2) n
"""
CONTENT = """
    SELECT md5(string_agg(md5(t::text), '' ORDER BY id)) FROM campaign_events t
    UNION ALL SELECT md5(string_agg(md5(t::text), '' ORDER BY id)) FROM contacts t
    UNION ALL SELECT md5(string_agg(md5(t::text), '' ORDER BY id)) FROM campaign_enrollments t
    UNION ALL SELECT md5(string_agg(name || encode(value, 'hex'), '' ORDER BY name)) FROM secrets
"""


def command_line(home: Path) -> Cli:
    cli = Cli("", home)
    del cli.env["DATABASE_URL"]
    return cli


@pytest.fixture
def other_home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "other"
    yield home
    end_everything(home)


@pytest.fixture
def database(home: Path, server_of: Factory) -> Iterator[Database]:
    """The migrated database of a home that a server uses."""
    database = Database.open(DatabaseConfig(url=server_of(home).start(), statement_timeout=120))
    migrate(database.engine)
    yield database
    database.close()


def write(database: Database, statement: str, **values: object) -> None:
    with database.engine.begin() as connection:
        for part in statement.split(";"):
            connection.execute(text(part), values)


def content(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return list(connection.scalars(text(CONTENT)))


def test_what_is_backed_up_while_a_server_writes_is_restored_elsewhere(
    home: Path, other_home: Path, database: Database, server_of: Factory, tmp_path: Path
) -> None:
    write(database, FILL, people=PEOPLE)
    write(database, "INSERT INTO secrets (name, value) VALUES ('unsubscribe', decode(repeat('0a', 32), 'hex'))")
    (home / "mailbox.key").write_text("a key", encoding="ascii")
    with LocalStore.open(home) as local:
        job = local.jobs.create(type=JobType.ENRICHMENT, parameters={"a": 1}, now=datetime.now(UTC))
    done, numbers = threading.Event(), iter(range(10**9))

    def serve() -> None:
        while not done.is_set():
            write(database, PAIR, name=f"{next(numbers)}-")

    server = threading.Thread(target=serve)
    server.start()
    file = tmp_path / "sales.backup"
    try:
        made = command_line(home).run("backup", file)
    finally:
        done.set()
        server.join()
    assert (made.returncode, made.stdout) == (0, ""), made.stderr
    assert f"left out of {home}: mailbox.key." in made.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"a key" not in file.read_bytes()
    assert not [path.name for path in home.iterdir() if path.name.startswith("backup-")]

    restored = command_line(other_home).run("restore", file)
    assert restored.returncode == 0, restored.stderr
    assert "are due again" in restored.stderr
    assert sorted(path.name for path in other_home.iterdir() if path.is_dir()) == ["postgres"]
    there = Database.open(DatabaseConfig(url=server_of(other_home).start(), statement_timeout=120))
    try:
        assert content(there) == content(database)
        with there.engine.connect() as connection:
            pairs = connection.scalar(text("SELECT count(*) FROM suppressions")) or 0
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD
            counted = connection.scalar(text("SELECT reltuples FROM pg_class WHERE relname = 'contacts'"))
    finally:
        there.close()
    assert pairs % 2 == 0
    assert counted == PEOPLE  # so that the first plans are good ones
    with LocalStore.open(other_home) as local:
        assert local.jobs.get(job.id, now=datetime.now(UTC)).parameters == {"a": 1}


@pytest.mark.parametrize(("option", "status"), [((), "paused"), (("--keep-active",), "active")])
def test_campaigns_of_a_backup_are_paused_unless_nothing_was_sent_since(
    home: Path, other_home: Path, database: Database, server_of: Factory, tmp_path: Path, option: list[str], status: str
) -> None:
    write(database, FILL, people=1)
    write(database, "UPDATE campaign_instances SET status = 'active', started_at = now()")
    with database.transaction("make") as session:
        tokens.create(session, name="agent", scopes=[Scope.READ], expires_at=None)
        server = MailServer("smtp.example.com", 465, Security.TLS)
        mailboxes.connect(session, address="me@example.com", change=MailboxChange(smtp=server))
    assert command_line(home).run("backup", tmp_path / "b").returncode == 0
    database.run("revoke", lambda session: tokens.revoke(session, name_or_id="agent", now=datetime.now(UTC)))
    database.run("remove", lambda session: mailboxes.remove(session, mailbox="me@example.com"))
    done = command_line(other_home).run("restore", tmp_path / "b", *option)
    assert done.returncode == 0, done.stderr
    assert "these tokens are valid again, also if they were taken away since: agent." in done.stderr
    assert "these mailboxes are connected again, also if they were taken away since: me@example.com." in done.stderr
    assert ("Active campaigns are paused" in done.stderr) is (status == "paused")
    there = Database.open(DatabaseConfig(url=server_of(other_home).start()))
    try:
        with there.engine.connect() as connection:
            found, reason = connection.execute(text("SELECT status, pause_reason FROM campaign_instances")).one()
            noted = connection.scalar(text("SELECT count(*) FROM audit_log WHERE tool = 'pause_campaign'"))
    finally:
        there.close()
    assert (found, noted) == (status, int(status == "paused"))
    assert (reason is None) or reason.startswith("restored: what was sent after")


@pytest.fixture
def file(home: Path, database: Database, tmp_path: Path) -> Path:
    """A small backup, of one person."""
    write(database, "INSERT INTO contacts (id, email) VALUES (gen_random_uuid(), 'ann@example.com')")
    file = tmp_path / "small.backup"
    assert command_line(home).run("backup", file).returncode == 0
    return file


EMAILS = "SELECT string_agg(email, ' ' ORDER BY email) FROM contacts"


def test_a_database_in_use_is_left_alone_and_one_that_is_replaced_is_kept(
    home: Path, file: Path, database: Database, server_of: Factory
) -> None:
    write(database, "UPDATE contacts SET email = 'bob@example.com'")
    cli = command_line(home)
    for options in ((), ("--replace",)):
        refused = cli.run("restore", file, *options)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "A server uses the database" in refused.stderr
    database.close()
    server_of(home).stop()
    ended = EmbeddedPostgres(home)
    url = ended.start()
    assert ask(url, EMAILS) == "bob@example.com"
    ended.stop()


def test_a_database_is_replaced_only_when_told_and_the_former_one_is_kept(
    template: Path, home: Path, file: Path, other_home: Path, server_of: Factory
) -> None:
    """`other_home` has a database, in which nothing runs."""
    server = EmbeddedPostgres(other_home)
    ask(server.start(), "CREATE TABLE former AS SELECT 42 AS value")
    server.stop()
    cli = command_line(other_home)
    refused = cli.run("restore", file)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--replace" in refused.stderr
    broken = file.with_name("broken.backup")
    with broken.open("wb") as target, file.open("rb") as source:
        manifest, files = archive.read(source, make(broken.with_name("unpacked")))
        files[archive.DUMP].write_bytes(b"PGDMP and nothing more")
        archive.write(target, manifest, files)
    failed = cli.run("restore", broken, "--replace")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "pg_restore failed. It says: pg_restore: error:" in failed.stderr
    assert not [path.name for path in other_home.iterdir() if path.name.startswith(("restor", "unpack", "replaced"))]
    assert ask(server.start(), "SELECT value FROM former") == 42
    server.stop()
    done = cli.run("restore", file, "--replace")
    assert done.returncode == 0, done.stderr
    (kept,) = other_home.glob("replaced-*")
    assert str(kept) in done.stderr
    assert has_database(make(kept))
    assert ask(server_of(other_home).start(), EMAILS) == "ann@example.com"


def make(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_where_there_is_no_database_none_is_made_to_be_backed_up(tmp_path: Path) -> None:
    done = command_line(tmp_path / "none").run("backup", tmp_path / "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no database" in done.stderr
    assert not (tmp_path / "none").exists()
    for command in ("backup", "restore"):
        elsewhere = Cli("postgresql://ann@db.example.com/sales", tmp_path / "none").run(command, tmp_path / "x")
        assert elsewhere.returncode == 2
        assert "DATABASE_URL" in elsewhere.stderr


@pytest.mark.parametrize("renames", range(6))
def test_a_restore_that_was_cut_short_after_it_was_decided_is_ended_by_whoever_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    for name in ("postgres/old", "jobs.db", "jobs.db-wal", "restored/postgres/new", "restored/jobs.db"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="ascii")
    real, left = Path.rename, iter([True] * renames)

    def rename(path: Path, target: Path) -> Path:
        if not next(left, False):
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            place_if_waiting(tmp_path)
    place_if_waiting(tmp_path)
    place_if_waiting(tmp_path)
    (kept,) = tmp_path.glob("replaced-*")
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    former = {f"{kept.name}/{name}" for name in ("postgres/old", "jobs.db", "jobs.db-wal")}
    assert found == {"postgres/new", "jobs.db", "start.lock"} | former
    assert (tmp_path / "jobs.db").read_text() == "restored/jobs.db"
    assert not (tmp_path / RESTORED).exists()


def test_a_server_that_starts_ends_a_restore_that_was_cut_short(home: Path, server_of: Factory) -> None:
    (home / RESTORED).mkdir(0o700)
    (home / "postgres").rename(home / RESTORED / "postgres")
    assert ask(server_of(home).start(), "SELECT 1") == 1
    assert not (home / RESTORED).exists()


def test_a_queue_that_a_server_has_open_is_in_use(tmp_path: Path) -> None:
    with LocalStore.open(tmp_path), pytest.raises(Busy):
        refuse_used_jobs(tmp_path)
    refuse_used_jobs(tmp_path)
    with LocalStore.open(tmp_path) as local:
        assert local.jobs.stats(now=datetime.now(UTC)).ready == 0


MANIFEST = Manifest("0.1.0", HEAD, 18, "2026-11-30T12:00:00+00:00")


def packed(tmp_path: Path, manifest: Manifest = MANIFEST, dump: bytes = b"x" * 20_000) -> bytes:
    (tmp_path / "dump").write_bytes(dump)
    target = io.BytesIO()
    archive.write(target, manifest, {archive.DUMP: tmp_path / "dump"})
    return target.getvalue()


def of_members(*members: tuple[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return target.getvalue()


def test_a_backup_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest, files = archive.read(io.BytesIO(packed(tmp_path)), make(tmp_path / "to"))
    assert manifest == MANIFEST
    assert files[archive.DUMP].read_bytes() == b"x" * 20_000


@pytest.mark.parametrize("kept", [0, 1, 100, 512, 700, 1_024, 1_700, 2_048, 5_000, 20_000, 21_000])
def test_a_backup_that_is_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    with pytest.raises(InvalidInput, match=r"not a backup|cut short"):
        archive.read(io.BytesIO(packed(tmp_path)[:kept]), make(tmp_path / "to"))


def test_a_backup_in_which_a_bit_has_changed_is_refused(tmp_path: Path) -> None:
    whole = bytearray(packed(tmp_path))
    whole[whole.index(b"x" * 20_000) + 10_000] ^= 1
    with pytest.raises(InvalidInput, match="damaged"):
        archive.read(io.BytesIO(bytes(whole)), make(tmp_path / "to"))


ENTRY = {"bytes": 1, "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}  # of x
HEAD_OF_FILE = {"format": 1, "program": "1", "schema": "0001", "postgresql": 18, "taken_at": "now"}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"email,first_name\nann@example.com,Ann\n" * 100, "not a backup"),
        (of_members(("sales.dump", b"x")), "not a backup"),
        (of_members(("manifest.json", b"{")), "not a backup"),
        (of_members(("manifest.json", b"[]")), "not a backup"),
        (of_members(("manifest.json", b'{"format": 1}')), "not a backup"),
        (of_members(("manifest.json", b" " * 70_000)), "not a backup"),
        (of_members(("manifest.json", b'{"format": 2, "program": "9.1"}')), "version that made it, 9.1"),
        (
            of_members(
                ("manifest.json", json.dumps({**HEAD_OF_FILE, "files": {"sales.dump": ENTRY}}).encode()), ("../x", b"x")
            ),
            "damaged",
        ),
    ],
)
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        archive.read(io.BytesIO(content), make(tmp_path / "to"))
    assert {path.name for path in tmp_path.iterdir()} == {"to"}


def test_a_backup_of_a_newer_version_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    newer = tmp_path / "newer.backup"
    newer.write_bytes(packed(tmp_path, replace(MANIFEST, schema="9999", program="9.9.9")))
    done = command_line(tmp_path / "home").run("restore", newer)
    assert (done.returncode, done.stdout) == (2, "")
    assert "revision 9999" in done.stderr
    assert "9.9.9" in done.stderr
    assert not has_database(tmp_path / "home")
