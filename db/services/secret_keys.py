"""The random keys that this database signs and hashes with, by name: what was made with one ends with it."""

import secrets

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.domain.field_limits import SECRET_BYTES
from db.models import Secret


def new_key() -> bytes:
    """A key that stands nowhere yet."""
    return secrets.token_bytes(SECRET_BYTES)


def find(session: Session, *, name: str) -> bytes | None:
    """The key of that name; None where it was never made."""
    return session.scalar(select(Secret.value).where(Secret.name == name))


def make(session: Session, *, name: str) -> None:
    """Make the key of that name, unless there is one."""
    session.execute(insert(Secret).values(name=name, value=new_key()).on_conflict_do_nothing())


def obtain(session: Session, *, name: str) -> bytes:
    """The key of that name, made if there is none."""
    key = find(session, name=name)
    if key is None:
        make(session, name=name)
        key = find(session, name=name)
    assert key is not None, "it was made just now, or before"
    return key


def replace(session: Session, *, name: str) -> None:
    """A new key in the place of the old one: what that one signed holds no more."""
    session.execute(delete(Secret).where(Secret.name == name))
    make(session, name=name)
