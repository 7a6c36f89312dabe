"""Bearer tokens: made, listed, revoked, and read all at once to check them."""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session

from db.domain.access import RESERVED_ACTORS, Scope
from db.domain.errors import Conflict, InvalidInput, NotFound
from db.domain.field_limits import TOKEN_NAME_MAX
from db.models import AccessToken
from db.postgres.json import rows_parameter

_TOKEN_BYTES = 32
# Makes a token recognisable if it turns up in a log or a repository.
_PREFIX = "sam_"


@dataclass(frozen=True, slots=True)
class ActiveToken:
    """What is needed to check a token, without the token."""

    id: UUID
    name: str
    scopes: frozenset[Scope]
    token_hash: bytes
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Tokens:
    """`is_used`: there is or was a token, so a caller without one stays out, even when the last one has expired."""

    active: tuple[ActiveToken, ...]
    is_used: bool


def hash_of(token: str) -> bytes:
    """Returns the hash that is stored of a token. No salt and no slow hash: 32 random bytes can't be found by
    trying."""
    return sha256(token.encode()).digest()


def create(
    session: Session, *, name: str, scopes: Collection[Scope], expires_at: datetime | None
) -> tuple[AccessToken, str]:
    """Makes a token. Returns its row and its text, which is stored nowhere. Conflict if a token of that name is
    valid."""
    if not name.strip() or len(name) > TOKEN_NAME_MAX or name in RESERVED_ACTORS:
        raise InvalidInput(f"name: give 1 to {TOKEN_NAME_MAX} characters, and none of {', '.join(RESERVED_ACTORS)}.")
    if not scopes:
        raise InvalidInput(f"scope: give at least one of {', '.join(Scope)}.")
    if session.scalar(select(AccessToken.id).where(AccessToken.name == name, AccessToken.revoked_at.is_(None))):
        raise Conflict(f"There is a token {name} already. Revoke it first, or choose another name.")
    plain = _PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    ordered = [scope.value for scope in Scope if scope in scopes]
    token = AccessToken(name=name, scopes=ordered, token_hash=hash_of(plain), expires_at=expires_at)
    session.add(token)
    session.flush()  # sets the row's created_at
    return token, plain


def list_(session: Session) -> list[AccessToken]:
    """Returns all tokens, the newest last, including revoked ones."""
    return list(session.scalars(select(AccessToken).order_by(AccessToken.id)))


def revoke(session: Session, *, name_or_id: str, now: datetime) -> AccessToken:
    """Revokes a token. NotFound if none of that name or id is valid."""
    matches = [AccessToken.name == name_or_id]
    id_ = _uuid(name_or_id)
    if id_ is not None:
        matches.append(AccessToken.id == id_)
    statement = select(AccessToken).where(or_(*matches), AccessToken.revoked_at.is_(None)).with_for_update()
    token = session.scalars(statement.order_by(AccessToken.id)).first()
    if token is None:
        raise NotFound("token", name_or_id, hint="`tokens list` shows those that there are.")
    token.revoked_at = now
    session.flush()  # raises a failure here
    return token


def load(session: Session, *, now: datetime) -> Tokens:
    """Returns every token that is valid at `now`."""
    rows = session.scalars(
        select(AccessToken).where(
            AccessToken.revoked_at.is_(None), or_(AccessToken.expires_at.is_(None), AccessToken.expires_at > now)
        )
    ).all()
    active = tuple(
        ActiveToken(row.id, row.name, frozenset(map(Scope, row.scopes)), row.token_hash, row.expires_at) for row in rows
    )
    return Tokens(active, bool(active) or session.scalar(select(func.count()).select_from(AccessToken)) != 0)


_USED = text("""
    UPDATE access_tokens t SET last_used_at = u.at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS u(id uuid, at timestamptz)
    WHERE t.id = u.id AND (t.last_used_at IS NULL OR t.last_used_at < u.at)
""")


def note_use(session: Session, *, used: Mapping[UUID, datetime]) -> None:
    """Stores when these tokens were used last, unless a later use is stored."""
    rows = [{"id": id_, "at": used[id_]} for id_ in sorted(used)]
    session.execute(_USED, rows_parameter(rows))


def _uuid(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:
        return None
