"""The audit log: one row a write, in the transaction of the write."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain.access import AuditEntry
from db.domain.ids import new_ids
from db.models import AuditRecord
from db.postgres.json import canonical, rows_parameter
from db.services import secrets
from db.services.paging import Page, page
from db.services.secrets import HASH, SecretName


def digest(arguments: Mapping[str, Any]) -> bytes:
    """Returns the same 32 bytes for the same JSON, in any order of its keys."""
    return sha256(canonical(arguments)).digest()


# Keyed in the statement, so that the key never leaves the database: whoever reads the log alone can't try guesses.
_INSERT = text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS a(
            id uuid, at timestamptz, actor text, tool text, request_id text, digest text, ids jsonb, is_cut bool,
            outcome text, error text)
    )
    INSERT INTO audit_log (id, at, actor, tool, request_id, arguments_digest, ids, is_cut, outcome, error)
    SELECT a.id, a.at, a.actor, a.tool, a.request_id, {HASH.format(value="decode(a.digest, 'hex')")}, a.ids, a.is_cut,
           a.outcome, a.error
    FROM secrets k CROSS JOIN given a
    WHERE k.name = '{SecretName.AUDIT}'
    RETURNING audit_log.id
""")


def write(session: Session, *, entries: Sequence[AuditEntry]) -> None:
    """Adds a row for each entry, in one statement."""
    if not entries:
        return
    parameter = rows_parameter([_row(id_, entry) for id_, entry in zip(new_ids(len(entries)), entries, strict=True)])
    if session.execute(_INSERT, parameter).first() is None:
        secrets.make(session, name=SecretName.AUDIT)
        session.execute(_INSERT, parameter)


def _row(id_: UUID, entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": id_,
        "at": entry.at,
        "actor": entry.actor,
        "tool": entry.tool,
        "request_id": entry.request_id,
        "digest": entry.digest.hex() if entry.digest is not None else None,
        "ids": entry.ids,
        "is_cut": entry.is_cut,
        "outcome": entry.outcome,
        "error": entry.error,
    }


def list_(
    session: Session,
    *,
    since: datetime | None,
    until: datetime | None,
    tool: str | None,
    actor: str | None,
    limit: int,
    cursor: str | None,
) -> Page[AuditRecord]:
    """Returns writes, the latest first."""
    statement = select(AuditRecord)
    if since is not None:
        statement = statement.where(AuditRecord.at >= since)
    if until is not None:
        statement = statement.where(AuditRecord.at < until)
    if tool is not None:
        statement = statement.where(AuditRecord.tool == tool)
    if actor is not None:
        statement = statement.where(AuditRecord.actor == actor)
    by = [AuditRecord.at, AuditRecord.id]
    return page(session, statement, by=by, limit=limit, cursor=cursor, listing="audit")


_PRUNE = text("""
    DELETE FROM audit_log WHERE id = ANY (ARRAY(
        SELECT id FROM audit_log WHERE at < :before ORDER BY at, id LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
    RETURNING id
""")


def prune_some(session: Session, *, before: datetime, limit: int) -> int:
    """Deletes up to `limit` rows that were written before that moment. Returns how many."""
    return len(session.execute(_PRUNE, {"before": before, "limit": limit}).all())
