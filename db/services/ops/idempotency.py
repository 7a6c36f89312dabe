"""Answers to writes, kept under the caller's key in the transaction of the write itself."""

from datetime import datetime
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.domain import signing
from db.domain.errors import Conflict, Refused
from db.models import IdempotencyKey
from db.postgres.json import canonical
from db.services import secrets
from db.services.secrets import SecretName


def fingerprint(session: Session, arguments: dict[str, Any]) -> str:
    """Returns the same text for the same arguments, in any order. It can't be used to try whom they named."""
    return signing.keyed_hash(secrets.obtain(session, name=SecretName.IDEMPOTENCY), canonical(arguments)).hex()


def replay(session: Session, *, key: str, tool: str, request_hash: str) -> dict[str, Any] | None:
    """Returns the answer given under `key`, or None after taking the key for this transaction.

    Waits for a call with the same key that is under way. Conflict if the key was used for something else. Refused if
    the answer mentioned a person who was erased since: it is gone, and the call must not be repeated.
    """
    if _take(session, key, tool, request_hash):
        return None
    return find(session, key=key, tool=tool, request_hash=request_hash)


def _take(session: Session, key: str, tool: str, request_hash: str) -> bool:
    taken = insert(IdempotencyKey).values(key=key, tool=tool, request_hash=request_hash).on_conflict_do_nothing()
    return session.scalar(taken.returning(IdempotencyKey.key)) is not None


def find(session: Session, *, key: str, tool: str, request_hash: str) -> dict[str, Any] | None:
    """Does as `replay`, but does not take the key."""
    earlier = session.scalars(select(IdempotencyKey).where(IdempotencyKey.key == key)).one_or_none()
    if earlier is None:
        return None
    if earlier.response is None:
        raise Refused(
            f"The call of {earlier.tool} with this idempotency_key was done before, and its answer was deleted with "
            "the personal data of somebody who was erased since. Nothing was done now. Look up what you need; use a "
            "new key for a new call."
        )
    if (earlier.tool, earlier.request_hash) != (tool, request_hash):
        raise Conflict(
            f"idempotency_key was used for another call of {earlier.tool}, with other arguments. "
            "Use a new key for a new call."
        )
    return earlier.response


def keep_done(session: Session, *, key: str, tool: str, request_hash: str, response: dict[str, Any]) -> None:
    """Stores the answer to what was done in other transactions, unless another call has used the key meanwhile."""
    if _take(session, key, tool, request_hash):
        keep(session, key=key, response=response)


def keep(session: Session, *, key: str, response: dict[str, Any]) -> None:
    """Stores the answer with the key that this transaction took."""
    session.execute(update(IdempotencyKey).where(IdempotencyKey.key == key).values(response=response))


# An array, here and wherever a chunk is chosen: PostgreSQL plans `IN (SELECT ...)` as a join, which reads the whole
# table once a chunk.
_PRUNE = text("""
    DELETE FROM idempotency_keys WHERE key = ANY (ARRAY(
        SELECT key FROM idempotency_keys WHERE created_at < :before
        ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
    RETURNING key
""")


def prune_some(session: Session, *, before: datetime, limit: int) -> int:
    """Deletes up to `limit` keys from before that moment, with their answers. A call under such a key is new again."""
    return len(session.execute(_PRUNE, {"before": before, "limit": limit}).all())
