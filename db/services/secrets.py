"""The random keys that this database signs and hashes with, by name: what was made with one ends with it.

Where it can be, a hash is made in SQL: a set of values costs no more statements than one, and the key never leaves the
database. Such a statement calls the row of the key `k`.
"""

from enum import StrEnum
from secrets import token_bytes
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.domain.field_limits import SECRET_BYTES
from db.models import Secret


class SecretName(StrEnum):
    """What a key is for."""

    AUDIT = "audit"
    """Hashes of the arguments of calls, in the audit log."""
    DASHBOARD = "dashboard"
    """Signatures of links and sessions of the dashboard."""
    ERASURE = "erasure"
    """Hashes of the addresses of people who were erased."""
    IDEMPOTENCY = "idempotency"
    """Hashes of the arguments of calls that have an idempotency key."""
    UNSUBSCRIBE = "unsubscribe"
    """Signatures of the links by which people unsubscribe."""


HASH: Final = "sha256(k.value || {value})"
"""Of bytes that are all of one length."""
# Nested, as in HMAC, so that a hash says nothing of one of a longer text.
ADDRESS_HASH: Final = HASH.format(value=HASH.format(value="convert_to(lower({address}), 'UTF8')"))
"""It stands for an address of somebody who was erased."""
ERASURE_KEY: Final = f"k AS MATERIALIZED (SELECT value FROM secrets WHERE name = '{SecretName.ERASURE}')"


def new_key() -> bytes:
    """Returns a key that stands nowhere yet."""
    return token_bytes(SECRET_BYTES)


def find(session: Session, *, name: SecretName) -> bytes | None:
    """Returns the key of that name; None where it was never made."""
    return session.scalar(select(Secret.value).where(Secret.name == name))


def make(session: Session, *, name: SecretName) -> None:
    """Makes the key of that name, unless there is one."""
    session.execute(insert(Secret).values(name=name, value=new_key()).on_conflict_do_nothing())


def obtain(session: Session, *, name: SecretName) -> bytes:
    """Returns the key of that name, made if there is none."""
    key = find(session, name=name)
    if key is None:
        make(session, name=name)
        key = find(session, name=name)
    assert key is not None, "it was made just now, or before"
    return key


def replace(session: Session, *, name: SecretName) -> None:
    """Replaces the key by a new one. What the old one signed is no longer valid."""
    session.execute(delete(Secret).where(Secret.name == name))
    make(session, name=name)
