"""Tickets that let somebody look at the dashboard: signed with a key of this database, so that nobody can make one up
or change one.

A link is a ticket that is good for minutes and for one use. A session is what a browser gets for it, until it is used
up by signing out. Neither is a bearer token. `replace_key` ends them all.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from secrets import token_bytes

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.domain.field_limits import TICKET_BYTES
from db.domain.signing import Codec
from db.models import UsedTicket
from db.services import secrets
from db.services.secrets import SecretName

_EPOCH = datetime.fromtimestamp(0, UTC)
_TIME_BYTES = 6
_CODEC = Codec(1 + _TIME_BYTES + TICKET_BYTES, signature_size=32)


class Kind(IntEnum):
    """What a ticket is good for; the first byte of what is signed."""

    LINK = 1
    SESSION = 2


LIFETIMES: dict[Kind, timedelta] = {Kind.LINK: timedelta(minutes=5), Kind.SESSION: timedelta(hours=12)}
# Tolerates the difference between the clocks of two machines.
_SKEW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Ticket:
    """`id` distinguishes it from all others, so that it can be used up."""

    kind: Kind
    issued_at: datetime
    id: bytes

    @property
    def expires_at(self) -> datetime:
        """The first moment at which it is no longer valid."""
        return self.issued_at + LIFETIMES[self.kind]


def issue(key: bytes, kind: Kind, now: datetime) -> str:
    """Returns a new ticket: 74 characters of the URL-safe alphabet."""
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)
    return _CODEC.sign(key, bytes([kind]) + milliseconds.to_bytes(_TIME_BYTES) + token_bytes(TICKET_BYTES))


def read(key: bytes, kind: Kind, text: str, now: datetime) -> Ticket | None:
    """Returns what the ticket says; None if this key has not signed it, it is of another kind, or it has expired."""
    said = _CODEC.read(key, text)
    if said is None or said[0] != kind:
        return None
    issued_at = _EPOCH + timedelta(milliseconds=int.from_bytes(said[1 : 1 + _TIME_BYTES]))
    return Ticket(kind, issued_at, said[1 + _TIME_BYTES :]) if -_SKEW <= now - issued_at < LIFETIMES[kind] else None


def use_up(session: Session, *, ticket: Ticket, now: datetime) -> bool:
    """Uses up the ticket for all servers; returns False if it was used up before. Deletes expired ones."""
    session.execute(delete(UsedTicket).where(UsedTicket.expires_at <= now))
    added = insert(UsedTicket).values(id=ticket.id, expires_at=ticket.expires_at).on_conflict_do_nothing()
    return session.scalar(added.returning(UsedTicket.id)) is not None


def used_up(session: Session, *, now: datetime) -> frozenset[bytes]:
    """Returns the ids of the tickets that are used up and would be valid otherwise."""
    return frozenset(session.scalars(select(UsedTicket.id).where(UsedTicket.expires_at > now)))


def make_key(session: Session) -> bytes:
    """Returns the key of all tickets, and makes it if there is none."""
    return secrets.obtain(session, name=SecretName.DASHBOARD)


def get_key(session: Session) -> bytes | None:
    """Returns the key of all tickets; None if it was never made."""
    return secrets.find(session, name=SecretName.DASHBOARD)


def replace_key(session: Session) -> None:
    """Ends every link and every session."""
    secrets.replace(session, name=SecretName.DASHBOARD)
