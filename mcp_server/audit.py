"""What is kept of a call that writes: one row in the audit log, in the transaction of the write if there is one."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from db import services
from db.domain.access import AuditEntry, AuditOutcome, Ids
from db.domain.errors import StoreUnavailable
from mcp_server.app import App
from mcp_server.caller import Invocation

logger = logging.getLogger(__name__)


def refused(app: App, *, invocation: Invocation, tool: str, hashed: bool, error: str) -> None:
    """Note a write that was refused, in a transaction of its own. Where there is none to be had, it is logged."""
    refusal = entry(invocation, tool, {}, hashed, error, app.clock())
    try:
        app.run("audit", lambda session: services.audit.write(session, entries=[refusal]))
    except StoreUnavailable:
        facts = {"tool": tool, "actor": refusal.actor, "request_id": refusal.request_id, "error": error}
        logger.warning("a refusal is missing in the audit log", extra=facts)


def entry(
    invocation: Invocation, tool: str, answer: Mapping[str, Any], hashed: bool, error: str | None, now: datetime
) -> AuditEntry:
    """What the log says of a call. `hashed`: with a hash of the arguments; `error`: the word for why it was refused."""
    arguments = {name: value for name, value in invocation.arguments.items() if name != "idempotency_key"}
    ids = Ids()
    ids.look_at(arguments)
    ids.look_at(answer)
    return AuditEntry(
        at=now,
        actor=invocation.caller.name,
        tool=tool,
        request_id=invocation.request_id,
        digest=services.audit.digest(arguments) if hashed else None,
        ids={kind: found for kind, found in ids.found.items() if found},
        is_cut=ids.is_cut,
        outcome=AuditOutcome.OK if error is None else AuditOutcome.REFUSED,
        error=error,
    )
