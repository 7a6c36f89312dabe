"""Tickets: links and sessions of the dashboard, each used up once for all servers."""

from datetime import datetime, timedelta

from sqlalchemy import select

from db.models import UsedTicket
from db.postgres.database import Database
from db.services.ops import tickets
from db.services.ops.tickets import LIFETIMES, Kind
from tests.support.campaigns import NOW


def test_what_is_used_up_is_kept_for_as_long_as_it_would_hold(database: Database) -> None:
    key = database.run("key", tickets.make_key)
    session = tickets.read(key, Kind.SESSION, tickets.issue(key, Kind.SESSION, NOW), NOW)
    late = tickets.read(key, Kind.LINK, tickets.issue(key, Kind.LINK, NOW), NOW)
    assert session is not None
    assert late is not None

    def use_up(ticket: tickets.Ticket, now: datetime) -> bool:
        return database.run("use up", lambda open_: tickets.use_up(open_, ticket=ticket, now=now))

    def kept(now: datetime) -> frozenset[bytes]:
        return database.run("used up", lambda open_: tickets.used_up(open_, now=now))

    assert use_up(session, NOW) is True
    assert use_up(session, NOW) is False
    last = NOW + LIFETIMES[Kind.SESSION]
    soon = last - timedelta(minutes=30)
    early = tickets.read(key, Kind.LINK, tickets.issue(key, Kind.LINK, soon), soon)
    assert early is not None
    assert use_up(early, soon) is True
    assert use_up(session, soon) is False
    assert kept(last - timedelta(seconds=1)) == {session.id}
    assert kept(last) == frozenset()
    assert use_up(late, last) is True
    with database.transaction("count") as open_:
        assert open_.scalars(select(UsedTicket.id)).all() == [late.id]
