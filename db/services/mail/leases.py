"""Leases: one process at a time reads a mailbox, and one sends from it. Times are the database's own, since the
processes' clocks may differ."""

from collections.abc import Collection, Mapping
from typing import Final, Protocol
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.errors import LeaseLost
from db.domain.field_limits import LEASE_HOLDER_MAX
from db.domain.mailboxes import LeaseRole
from db.postgres.json import rows_parameter


class HeldLease(Protocol):
    """The right of a process to read a mailbox, or to send from it."""

    @property
    def mailbox_id(self) -> UUID: ...
    @property
    def token(self) -> UUID: ...


LEASE_SECONDS: Final = 15
RENEW_SECONDS: Final = 5.0

_LOST: Final = "Another process uses this mailbox now. Nothing was written."

_TAKE = text(f"""
    INSERT INTO mailbox_leases (mailbox_id, role, holder, token, renewed_at, expires_at)
    SELECT id, :role, :holder, :token, now(), now() + interval '{LEASE_SECONDS} seconds'
    FROM mailboxes WHERE id = :mailbox_id
    ON CONFLICT (mailbox_id, role) DO UPDATE
    SET holder = excluded.holder, token = excluded.token, renewed_at = excluded.renewed_at,
        expires_at = excluded.expires_at
    WHERE mailbox_leases.expires_at <= excluded.renewed_at
    RETURNING token
""")
_HOLD = text(f"""
    UPDATE mailbox_leases SET renewed_at = now(), expires_at = now() + interval '{LEASE_SECONDS} seconds'
    WHERE mailbox_id = :mailbox_id AND role = :role AND token = :token
    RETURNING token
""")
# In one order, since who stops all sending waits for the leases of all.
_HOLD_ALL = text(f"""
    WITH held AS MATERIALIZED (
        SELECT l.mailbox_id, l.role FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(mailbox_id uuid, token uuid)
        JOIN mailbox_leases l ON l.mailbox_id = w.mailbox_id AND l.role = :role AND l.token = w.token
        ORDER BY l.mailbox_id FOR NO KEY UPDATE OF l
    )
    UPDATE mailbox_leases l SET renewed_at = now(), expires_at = now() + interval '{LEASE_SECONDS} seconds'
    FROM held h WHERE l.mailbox_id = h.mailbox_id AND l.role = h.role
    RETURNING l.token
""")
# A row that is locked is in use by its own holder, who renews it.
_RENEW = text(f"""
    UPDATE mailbox_leases SET renewed_at = now(), expires_at = now() + interval '{LEASE_SECONDS} seconds'
    WHERE (mailbox_id, role) IN (
        SELECT mailbox_id, role FROM mailbox_leases
        WHERE token = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
        FOR UPDATE SKIP LOCKED
    )
""")
_HELD = text("""
    SELECT token FROM mailbox_leases
    WHERE token = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
""")
_GIVE_BACK = text("DELETE FROM mailbox_leases WHERE mailbox_id = :mailbox_id AND role = :role AND token = :token")
_HOLDERS = text("SELECT mailbox_id, role, holder FROM mailbox_leases WHERE expires_at > now()")


def take(session: Session, *, mailbox_id: UUID, role: LeaseRole, holder: str) -> UUID | None:
    """Returns the token of a new lease of 15 seconds; None while another holds it, or if there is no such mailbox.
    `holder`: what people are told of it."""
    values = {"mailbox_id": mailbox_id, "role": role.value, "holder": holder[:LEASE_HOLDER_MAX], "token": uuid4()}
    return session.scalar(_TAKE, values)


def hold(session: Session, *, mailbox_id: UUID, role: LeaseRole, token: UUID) -> None:
    """Locks the lease for this transaction and renews it. LeaseLost if another has it: nothing may be written then.

    Every transaction that writes for a mailbox begins with it.
    """
    if session.scalar(_HOLD, {"mailbox_id": mailbox_id, "role": role.value, "token": token}) is None:
        raise LeaseLost(_LOST)


def hold_all(session: Session, *, leases: Collection[HeldLease], role: LeaseRole) -> None:
    """Locks and renews several leases of one role in the same way. LeaseLost if another process has one of them."""
    rows = [{"mailbox_id": lease.mailbox_id, "token": lease.token} for lease in leases]
    held = set(session.scalars(_HOLD_ALL, {**rows_parameter(rows), "role": role.value}))
    if not held.issuperset(lease.token for lease in leases):
        raise LeaseLost(_LOST)


def renew(session: Session, *, tokens: Collection[UUID]) -> Collection[UUID]:
    """Renews leases. Returns the tokens of those that are still held; the others belong to somebody else now."""
    if not tokens:
        return ()
    given = rows_parameter(sorted(tokens))
    session.execute(_RENEW, given)
    return set(session.scalars(_HELD, given))


def give_back(session: Session, *, mailbox_id: UUID, role: LeaseRole, token: UUID) -> None:
    """Ends a lease, so that another can take it at once. Does nothing if it is lost already."""
    session.execute(_GIVE_BACK, {"mailbox_id": mailbox_id, "role": role.value, "token": token})


def holders(session: Session) -> Mapping[tuple[UUID, LeaseRole], str]:
    """Returns who holds the lease of each mailbox, by mailbox and role."""
    return {(mailbox_id, LeaseRole(role)): holder for mailbox_id, role, holder in session.execute(_HOLDERS)}
