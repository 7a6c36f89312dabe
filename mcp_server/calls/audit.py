"""The audit entry of a call that writes: one row in the audit log, in the transaction of the write if there is one."""

import logging
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from db.domain.access import AuditEntry, AuditOutcome, Ids
from db.domain.errors import StoreUnavailable
from mcp_server.calls.caller import Invocation
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session

logger = logging.getLogger(__name__)


def write_apart(app: App, entry: AuditEntry) -> None:
    """Writes it in a transaction of its own. Where there is none to be had, it is logged."""
    facts = {"tool": entry.tool, "actor": entry.actor, "request_id": entry.request_id, "error": entry.error}
    if app.open_database is None:  # the local store must work without the database
        logger.info("a call is missing in the audit log: the database is not up", extra=facts)
        return
    try:
        app.run("audit", partial(_write, entry=entry))
    except StoreUnavailable:
        logger.warning("a call is missing in the audit log", extra=facts)


def _write(session: "Session", entry: AuditEntry) -> None:
    from db.services.ops import audit  # noqa: PLC0415  a client is answered without it

    audit.write(session, entries=[entry])


def entry_of(
    invocation: Invocation,
    tool: str,
    answer: Mapping[str, Any],
    *,
    hashed: bool,
    now: datetime,
    error: str | None = None,
) -> AuditEntry:
    """Returns what is kept of a call. `error`: the kind of its refusal; None if it was done."""
    from db.services.ops import audit  # noqa: PLC0415  a client is answered without it

    arguments = {name: value for name, value in invocation.arguments.items() if name != "idempotency_key"}
    ids = Ids()
    ids.look_at(arguments)
    ids.look_at(answer)
    return AuditEntry(
        at=now,
        actor=invocation.caller.name,
        tool=tool,
        request_id=invocation.request_id,
        digest=audit.digest(arguments) if hashed else None,
        ids={kind: found for kind, found in ids.found.items() if found},
        is_cut=ids.is_cut,
        outcome=AuditOutcome.OK if error is None else AuditOutcome.REFUSED,
        error=error,
    )
