"""What the database can tell of its own health, and of the campaigns and events in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.ids import first_id
from db.domain.states import OrphanStatus
from db.models.campaigns import IN_QUEUE

MOST_DUE: Final = 10_000
"""Due steps are counted up to here."""

_SHOWN = 20
# Of each campaign; a share needs no more.
_COUNTED = 100_000
_MANY = 20
_UNUSUAL = 0.2


@dataclass(frozen=True, slots=True)
class ServerState:
    """`version` such as 18.1; `revision` is the schema's; `is_encrypted` concerns the connection that was asked."""

    version: str
    revision: str
    is_encrypted: bool


@dataclass(frozen=True, slots=True)
class SearchState:
    """is_indexed: whether an index finds people by any part of a name. can_be: whether the server has what it takes."""

    is_indexed: bool
    can_be: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """orphans: events that wait for their enrollment. unreadable: the first campaigns that the server has paused ->
    why. due: steps past their due time in active campaigns, whatever holds them, counted up to MOST_DUE; oldest_due:
    since when the first of them waits. sending_stopped_at: since when `mail stop` holds all mail."""

    orphans: int
    unreadable: Mapping[str, str]
    due: int
    oldest_due: datetime | None
    sending_stopped_at: datetime | None


@dataclass(frozen=True, slots=True)
class OrphanShare:
    """Of the events that came since some moment: how many still wait for their enrollment, and how many found it.

    A large share means that a webhook is set up wrongly.
    """

    waiting: int
    recorded: int

    @property
    def is_unusual(self) -> bool:
        """Returns whether more than a few wait, and more than every fifth."""
        return self.waiting >= _MANY and self.waiting > _UNUSUAL * (self.waiting + self.recorded)


_SERVER = text("""
    SELECT split_part(current_setting('server_version'), ' ', 1), (SELECT version_num FROM alembic_version),
           coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)
""")
_SEARCH = text("""
    SELECT EXISTS (
               SELECT FROM pg_index i JOIN pg_opclass o ON o.oid = ANY (i.indclass)
               WHERE i.indrelid = 'contacts'::regclass AND i.indisvalid AND o.opcname = 'gin_trgm_ops'),
           EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm')
""")
_PING = text("SELECT 1")
_UNREADABLE = text("""
    SELECT id, pause_reason FROM campaign_instances WHERE status = 'paused' AND pause_reason IS NOT NULL
    ORDER BY id LIMIT :shown
""")
# Ordered, because otherwise the planner reads the table from its start for the limit, past all that is not due.
_IS_DUE = "instance_id = i.id AND next_action_at <= :now"
_COUNTED_DUE = IN_QUEUE.format(condition=_IS_DUE, limit=":most", columns="next_action_at, id")
_FIRST_DUE = IN_QUEUE.format(condition=_IS_DUE, limit="1", columns="next_action_at, id")
_DUE = text(f"""
    WITH active AS MATERIALIZED (SELECT id FROM campaign_instances WHERE status = 'active')
    SELECT
        (SELECT count(*) FROM (SELECT FROM active i CROSS JOIN LATERAL
            {_COUNTED_DUE} due LIMIT :most) counted),
        (SELECT min(first.next_action_at) FROM active i CROSS JOIN LATERAL
            {_FIRST_DUE} first),
        (SELECT sending_stopped_at FROM settings)
""")
_WAITING = text("SELECT count(*) FROM orphaned_events WHERE status = :status")
_SHARE = text("""
    SELECT
        (SELECT count(*) FROM orphaned_events WHERE status = 'waiting' AND created_at >= :since),
        (SELECT count(*) FROM campaign_instances i CROSS JOIN LATERAL (
            SELECT FROM campaign_events WHERE instance_id = i.id AND id >= :first LIMIT :most) e)
""")


def server(session: Session) -> ServerState:
    """Returns what the database server says of itself. The database must have been migrated."""
    return ServerState(*session.execute(_SERVER).one())


def search(session: Session) -> SearchState:
    """Returns how people are found by a part of a name."""
    return SearchState(*session.execute(_SEARCH).one())


def ping(session: Session) -> None:
    """Goes to the server and back."""
    session.execute(_PING)


def stored(session: Session, *, now: datetime) -> Stored:
    """Returns the counts as they stand now. The time depends on how many campaigns are active, and not on how many
    people are in them."""
    unreadable = {str(id_): reason for id_, reason in session.execute(_UNREADABLE, {"shown": _SHOWN})}
    orphans = session.scalar(_WAITING, {"status": OrphanStatus.WAITING.value}) or 0
    due, oldest, stopped_at = session.execute(_DUE, {"now": now, "most": MOST_DUE}).one()
    return Stored(orphans, unreadable, due, oldest, stopped_at)


def orphan_share(session: Session, *, since: datetime) -> OrphanShare:
    """Returns what became of the events that came in since then."""
    values = {"since": since, "first": first_id(since), "most": _COUNTED}
    return OrphanShare(*session.execute(_SHARE, values).one())
