"""The switch that holds all sending, as a person turns it: each turn has its row in the audit log."""

import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

from db.domain.access import AuditEntry
from db.services.mail import stopping
from db.services.ops import audit
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session

STOP: Final = "stop_sending"
START: Final = "start_sending"
"""Under these names the audit log has it, where tools have theirs."""
_LOOK_SECONDS: Final = 0.1


def stop(app: App, *, actor: str, request_id: str | None = None, patience: float = 0.0) -> int:
    """Stops all sending, in every server: no mail begins after this has returned. Returns how many have begun before,
    and have no answer of their mail servers after `patience` seconds."""
    now = app.clock()

    def work(session: "Session") -> None:
        stopping.stop(session, now=now)
        _note(session, STOP, actor, request_id, now)

    app.run("stop sending", work)
    app.run("wait for mails that begin", stopping.await_begun)
    ends = time.monotonic() + patience
    while (left := app.run("look for mails under way", stopping.under_way, read_only=True)) and time.monotonic() < ends:
        time.sleep(_LOOK_SECONDS)
    return left


def start(app: App, *, actor: str, request_id: str | None = None) -> None:
    """Lets servers send again."""
    now = app.clock()

    def work(session: "Session") -> None:
        stopping.start(session)
        _note(session, START, actor, request_id, now)

    app.run("start sending", work)


def _note(session: "Session", tool: str, actor: str, request_id: str | None, now: datetime) -> None:
    audit.write(session, entries=[AuditEntry.done(actor, tool, {}, now, request_id)])
