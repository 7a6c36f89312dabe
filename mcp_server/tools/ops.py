"""The server itself: how it is, who wrote what, and its upkeep."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from db.domain.errors import StoreUnavailable
from db.domain.field_limits import (
    DAYS_BETWEEN_MAX,
    PAGE_DEFAULT,
    RETENTION_DAYS_MAX,
    TOKEN_NAME_MAX,
    TOOL_NAME_MAX,
    TOUCHES_MAX,
)
from db.domain.workspace import Colleagues
from db.services.mail import mailboxes, progress
from db.services.ops import audit, settings
from db.services.state import conversation_rows
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call, Mode
from mcp_server.jobs.maintenance import maintain
from mcp_server.process import health
from mcp_server.schemas.base import Cursor, Detail, Limit, Line, Moment, check_range, given, no_flag, spelled
from mcp_server.schemas.mailboxes import MailboxHealth
from mcp_server.schemas.ops import (
    AuditLine,
    AuditList,
    GuardrailsIn,
    HealthAnswer,
    MaintenanceAnswer,
    SettingsAnswer,
    SettingsOut,
)
from mcp_server.schemas.zones import TimeZone

if TYPE_CHECKING:
    from db.services import Session


@toolsets.ops.read("Get the server's health", mode=Mode.APART)
def get_health(call: Call) -> HealthAnswer:
    """Show the state of the server: database, connections, calls, events, jobs, and what waits for a person. Counts
    began with this process. Works while the database is down, too."""
    facts = health.facts(call.app)
    return HealthAnswer.of(facts, call.app.telemetry, [] if facts.stored is None else _mailboxes(call))


def _mailboxes(call: Call) -> list[MailboxHealth]:
    def work(session: "Session") -> list[MailboxHealth]:
        rows = mailboxes.list_(session)
        reached = progress.of_mailboxes(session, rows=rows, now=call.now)
        return [MailboxHealth.of(row, reached[row.id]) for row in rows]

    try:
        return call.app.run("look how far mail is read", work, read_only=True)
    except StoreUnavailable:
        return []  # the database went away after it had answered


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
    """List who changed what, latest first: done or refused, with the most telling id; full adds the other ids, the
    request's id and a keyed hash of the arguments. Reads are not kept, nor is work on the queue and the cache (see
    get_job); imports stand under import."""
    check_range(since, until)
    page = audit.list_(call.session, since=since, until=until, tool=tool, actor=actor, limit=limit, cursor=cursor)
    return AuditList(records=[AuditLine.of(record, detail) for record in page.rows], next_cursor=page.next_cursor)


@toolsets.ops.write("Run maintenance", idempotent=True, mode=Mode.APART)
def run_maintenance(call: Call) -> MaintenanceAnswer:
    """Match waiting events, give up on old ones, and delete old answers and finished jobs: now, instead of within the
    hour. warning names what is unusual. Next: list_orphaned_events."""
    answer = MaintenanceAnswer.model_validate(maintain(call.app))
    call.app.run("audit", lambda session: call.note(session, answer.model_dump(mode="json")))
    return answer


@toolsets.ops.read("Get the settings")
def get_settings(call: Call) -> SettingsAnswer:
    """Show the settings that hold for all campaigns. Next: update_settings."""
    return SettingsAnswer(settings=SettingsOut.model_validate(settings.get(call.session)))


# Destructive: what is older than a shorter retention_days is deleted within the hour.
@toolsets.ops.write("Change the settings", destructive=True, idempotent=True)
def update_settings(
    call: Call,
    timezone: TimeZone | None = None,
    retention_days: Annotated[
        int | None, Field(ge=1, le=RETENTION_DAYS_MAX, description="Older words of messages are deleted"), no_flag
    ] = None,
    days_between_campaigns: Annotated[int | None, Field(ge=0, le=DAYS_BETWEEN_MAX), no_flag] = None,
    touches_per_week: Annotated[int | None, Field(ge=0, le=TOUCHES_MAX, description="0: any"), no_flag] = None,
    colleagues: Annotated[Colleagues | None, Field(description="What a reply does to them")] = None,
    guardrails: GuardrailsIn | None = None,
) -> SettingsAnswer:
    """Change the settings that hold for all campaigns; fields left out stay.

    Campaigns whose settings name no zone get timezone when they are made or changed. With fewer retention_days, what
    was sent before is deleted within the hour, for good.
    """
    before = settings.get(call.session)
    rates = guardrails.model_dump(exclude_none=True) if guardrails is not None else {}
    rules = given(days_between_campaigns=days_between_campaigns, touches_per_week=touches_per_week)
    plain = {**given(timezone=timezone, retention_days=retention_days, colleagues=colleagues), **rules}
    changed = settings.update(call.session, **plain, **rates)
    if rules:
        conversation_rows.wake_all(call.session)
    former = {name: getattr(before, name) for name in plain}
    former |= {"guardrails": {name: getattr(before.guardrails, name) for name in rates}} if rates else {}
    undo = spelled("update_settings", **former) if former else None
    return SettingsAnswer(settings=SettingsOut.model_validate(changed), undo=undo)
