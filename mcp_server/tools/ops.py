"""The server itself: how it is, who wrote what, and its upkeep."""

from typing import Annotated

from pydantic import Field

from db.domain.field_limits import PAGE_DEFAULT, TOKEN_NAME_MAX, TOOL_NAME_MAX
from db.services.ops import audit
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call, Mode
from mcp_server.jobs.maintenance import maintain
from mcp_server.process import health
from mcp_server.schemas.base import Cursor, Detail, Limit, Line, Moment, check_range
from mcp_server.schemas.ops import AuditLine, AuditList, HealthAnswer, MaintenanceAnswer


@toolsets.ops.read("Get the server's health", mode=Mode.APART)
def get_health(call: Call) -> HealthAnswer:
    """Show how the server is: database, connections, calls, events, jobs, and what waits for a person. Counts began
    with this process. Answers while the database is down, too.
    """
    return HealthAnswer.of(health.facts(call.app), call.app.telemetry)


@toolsets.ops.read("List the audit log")
def list_audit(
    call: Call,
    since: Moment | None = None,
    until: Moment | None = None,
    tool: Annotated[Line | None, Field(min_length=1, max_length=TOOL_NAME_MAX)] = None,
    actor: Annotated[
        Line | None,
        Field(min_length=1, max_length=TOKEN_NAME_MAX, description="Token's name, default, stdio, local or worker"),
    ] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    detail: Detail = "concise",
) -> AuditList:
    """List who wrote what, latest first: done or refused, with the id that tells most; full adds the others, the
    request's id and a keyed hash of the arguments. Reads are not kept, nor is work on the queue and the cache (see
    get_job); imports stand under import.
    """
    check_range(since, until)
    page = audit.list_(call.session, since=since, until=until, tool=tool, actor=actor, limit=limit, cursor=cursor)
    return AuditList(records=[AuditLine.of(record, detail) for record in page.rows], next_cursor=page.next_cursor)


@toolsets.ops.write("Run maintenance", idempotent=True, mode=Mode.APART)
def run_maintenance(call: Call) -> MaintenanceAnswer:
    """Match events that waited, give up on old ones, forget old answers and finished jobs: now, instead of within the
    hour. warning names what is unusual. Next: list_orphaned_events.
    """
    answer = MaintenanceAnswer.model_validate(maintain(call.app))
    call.app.run("audit", lambda session: call.note(session, answer.model_dump(mode="json")))
    return answer
