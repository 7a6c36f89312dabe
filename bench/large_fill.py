"""Databases of people, enrollments, events and messages for `bench.large`, filled by COPY."""

import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString
from urllib.parse import urlsplit
from uuid import UUID

from psycopg import Connection, Copy, connect, sql
from sqlalchemy import text
from sqlalchemy.orm import Session

from bench.large_rows import COLUMNS, Rows, Sender
from bench.postgres import NOW
from db.domain.mailboxes import MailServer, Security
from db.domain.states import PathType, TemplateType
from db.domain.templates import EmailStep
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from db.services.state import recount
from migrations.runner import migrate

CAMPAIGNS: Final = 20
_POOLS: Final = 8
"""So many of the campaigns send from a mailbox each, the last of them after an approval. Agents send the others."""
_STEPS: Final = [
    EmailStep(1, "A question, {{ first_name }}", "Hello {{ first_name }}, may I ask you one?", a_b_variant="A"),
    EmailStep(1, "Hello, {{ first_name }}", "Hello {{ first_name }}, may I ask you one?", a_b_variant="B"),
    EmailStep(2, None, "Did my last mail reach you?", delay_hours=48),
    EmailStep(3, None, "Shall I close this?", delay_hours=48),
]
_USAGE = text("""
    INSERT INTO campaign_usage (instance_id, quarter, backend, used, last_at)
    SELECT instance_id, date_bin('15 minutes', reserved_at, 'epoch'), 1, count(*), max(reserved_at)
    FROM campaign_actions WHERE reserved_at > CAST(:now AS timestamptz) - interval '3 days' GROUP BY 1, 2
""")
_SENDER_USAGE = text("""
    INSERT INTO sender_usage (channel, account, quarter, backend, used, last_at)
    SELECT channel, sender, date_bin('15 minutes', reserved_at, 'epoch'), 1, count(*), max(reserved_at)
    FROM campaign_actions
    WHERE reserved_at > CAST(:now AS timestamptz) - interval '3 days' AND sender IS NOT NULL GROUP BY 1, 2, 3
""")
# A reply is refused while nobody would send it.
_SENDERS_RUN = text("""
    INSERT INTO mailbox_leases (mailbox_id, role, holder, token, renewed_at, expires_at)
    SELECT id, 'sender', 'bench', gen_random_uuid(), now(), now() + interval '1 day' FROM mailboxes
""")
_INDEXES: LiteralString = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index i
    WHERE indrelid = ANY (CAST(%s AS regclass[])) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


@dataclass(slots=True)
class Filled:
    """A database with so many people, and what calls name of it. seconds: how long it took."""

    people: int
    url: str
    senders: list[Sender] = field(default_factory=list[Sender])
    seconds: float = 0.0

    @property
    def agents(self) -> list[str]:
        """The campaigns whose steps agents send."""
        return [sender.campaign_id for sender in self.senders if sender.mailbox_id is None]


def create(url: str, name: str) -> str:
    """Makes an empty database beside that of the URL. Returns its URL."""
    with connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def fill(url: str, people: int) -> Filled:
    """Fills an empty database."""
    start = time.perf_counter()
    filled = Filled(people, url)
    opened = Database.open(DatabaseConfig(url=filled.url, statement_timeout=0))
    migrate(opened.engine)
    filled.senders = opened.run("campaigns", _campaigns)
    with connect(filled.url, autocommit=True) as connection, _without_indexes(connection):
        _copy(filled.url, Rows(people, filled.senders))
    with opened.transaction("counts") as session:
        for kind in (recount.METRICS, recount.STATUSES):
            recount.recount(session, kind, campaign_ids=[UUID(sender.campaign_id) for sender in filled.senders])
        session.execute(_USAGE, {"now": NOW})
        session.execute(_SENDER_USAGE, {"now": NOW})
        session.execute(_SENDERS_RUN)
    with opened.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))
    opened.close()
    filled.seconds = time.perf_counter() - start
    return filled


def _campaigns(session: Session) -> list[Sender]:
    """Campaigns that have been started, each with a template of its own."""
    made: list[Sender] = []
    for number in range(CAMPAIGNS):
        mailbox_id, address, settings = None, None, dict[str, Any]()
        if number < _POOLS:
            address = f"box-{number}@example.com"
            smtp = MailServer("smtp.example.com", 587, Security.STARTTLS)
            mailbox_id = str(mailboxes.connect(session, address=address, change=MailboxChange(smtp=smtp)).id)
            settings["mailboxes"] = [address]
        has_drafts = number == _POOLS - 1
        if has_drafts:
            settings["approval"] = "first_step"
        template = templates.create(
            session,
            name=f"Template {number}",
            type=TemplateType.EMAIL,
            path_type=PathType.STRUCTURED,
            description=None,
            settings={},
            email_steps=_STEPS,
            linkedin_steps=[],
        )
        campaign = campaigns.create(
            session, name=f"Campaign {number}", template_id=template.id, settings=settings, provider_config={}
        )
        campaigns.start(session, campaign_id=campaign.id, now=NOW)
        made.append(Sender(str(campaign.id), mailbox_id, address, has_drafts))
    return made


@contextmanager
def _without_indexes(connection: Connection[Any]) -> Generator[None]:
    """The tables have no index but those of their constraints meanwhile: all at once are built in a third of the
    time."""
    connection.execute("SET maintenance_work_mem = '512MB'")
    indexes = connection.execute(_INDEXES, [list(COLUMNS)]).fetchall()
    for name, _ in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.SQL(name)))
    yield
    for _, definition in indexes:
        connection.execute(definition)


def _copy(url: str, rows: Rows) -> None:
    """Copies into all tables at the same time. Foreign keys are not looked up: the rows name one another."""
    with ExitStack() as stack:
        streams = {table: stack.enter_context(_stream(url, table, columns)) for table, columns in COLUMNS.items()}
        for chunk in rows.chunks():
            for table, lines in chunk.items():
                if lines:
                    streams[table].write("".join(lines))


@contextmanager
def _stream(url: str, table: LiteralString, columns: LiteralString) -> Generator[Copy]:
    names: Iterable[LiteralString] = columns.split()
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET statement_timeout = 0")
        with connection.cursor().copy(statement) as copy:
            yield copy
