"""The server's health, and the audit log, as clients see them."""

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field

from db.domain.access import AuditOutcome
from db.domain.jobs import JobStatus
from db.domain.workspace import Colleagues
from mcp_server.process.telemetry import CallOutcome, DatabaseState
from mcp_server.schemas.base import Answer, Given, Maybe, NextCursor, Second, Undo, is_nothing, no_flag, untold
from mcp_server.schemas.mailboxes import MailboxHealth

if TYPE_CHECKING:
    from db.models import AuditRecord
    from mcp_server.process.health import Facts
    from mcp_server.process.telemetry import LabelledCounter, Latency, Telemetry


class AuditLine(Answer):
    at: Second
    actor: Annotated[
        str, Field(description="The name of the token; default for the one of the settings; stdio, local, worker.")
    ]
    tool: str
    outcome: AuditOutcome
    error: Annotated[Maybe[str], Field(description="Why it was refused, in a word.")] = None
    ids: Annotated[
        dict[str, list[str]], Field(description="Kind of thing -> ids, a single one; full: up to 20 of each.")
    ]
    is_cut: Annotated[bool, Field(description="The call concerned more than ids shows.")]
    request_id: Maybe[str] = None
    arguments_digest: Annotated[
        Maybe[str], Field(description="The same for the same arguments; tells nothing of them.")
    ] = None

    @classmethod
    def of(cls, record: "AuditRecord", detail: str) -> Self:
        is_full = detail == "full"
        ids = record.ids if is_full else _most_telling(record.ids)
        digest = record.arguments_digest if is_full else None
        return cls(
            at=record.at,
            actor=record.actor,
            tool=record.tool,
            outcome=AuditOutcome(record.outcome),
            error=record.error,
            ids=ids,
            is_cut=record.is_cut or ids != record.ids,
            request_id=record.request_id if is_full else None,
            arguments_digest=digest.hex() if digest else None,
        )


_KINDS = ("enrollment", "campaign", "job", "template", "mailbox", "suppression", "contact", "action", "event")


def _most_telling(ids: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Returns one id: if possible, of a kind that has only one."""
    kinds = sorted((kind for kind in _KINDS if kind in ids), key=lambda kind: len(ids[kind]) > 1)
    return {kind: ids[kind][:1] for kind in kinds[:1]}


class AuditList(Answer):
    records: list[AuditLine]
    next_cursor: NextCursor = None


class PoolOut(Answer):
    in_use: int
    idle: int
    limit: int
    waiting: Annotated[int, Field(description="Callers who wait for a connection.")]


class CallsOut(Answer):
    tool: str
    outcome: CallOutcome
    calls: int
    seconds: Annotated[float, Field(description="All of them together.")]
    p95_seconds: Annotated[Maybe[float], Field(description="95 of 100 took at most as long; left out over 10 s.")] = (
        None
    )


class CountOut(Answer):
    provider: str
    verdict: str
    count: int


class RefusedOut(Answer):
    part: str
    reason: str
    count: int


class HealthAnswer(Answer):
    status: Annotated[str, Field(description="ok, or degraded where the database or the local store is not to be had.")]
    simulated_time: Annotated[
        Maybe[Second], Field(description="The time that all goes by, if a file simulates it."), untold
    ] = None
    database: DatabaseState
    pool: Maybe[PoolOut] = None
    slow_queries: Annotated[int, untold]
    retries: Annotated[int, untold]
    orphans_waiting: Annotated[Maybe[int], Field(description="Events that wait for their enrollment."), untold] = None
    due_steps: Annotated[
        Maybe[int], Field(description="Past their due time, whatever holds them; 10,000 for as many or more.")
    ] = None
    oldest_due_seconds: Annotated[
        Maybe[int], Field(description="For how long the first of them has waited."), untold
    ] = None
    paused_campaigns: Annotated[
        dict[str, str],
        Field(exclude_if=is_nothing, description="Campaigns that the server paused: id -> why."),
    ] = {}
    jobs: Annotated[Maybe[dict[JobStatus, int]], Field(description="Jobs by status.")] = None
    sending_stopped_at: Annotated[Maybe[Second], Field(description="Since when `mail stop` holds all mail.")] = None
    mailboxes: Annotated[
        list[MailboxHealth], Field(exclude_if=is_nothing, description="How far each is read, and who works on it.")
    ] = []
    calls: Annotated[list[CallsOut], untold]
    events: Annotated[list[CountOut], untold]
    webhooks: Annotated[list[CountOut], untold]
    refused_requests: Annotated[list[RefusedOut], Field(description="HTTP requests that were turned away."), untold]

    @classmethod
    def of(cls, facts: "Facts", telemetry: "Telemetry", mailboxes: "list[MailboxHealth]") -> Self:
        return cls(
            status="ok" if facts.database is DatabaseState.OK and facts.jobs is not None else "degraded",
            simulated_time=facts.simulated_time,
            database=facts.database,
            pool=PoolOut(**facts.pool._asdict()) if facts.pool else None,
            slow_queries=facts.slow_queries,
            retries=facts.retries,
            orphans_waiting=facts.stored.orphans if facts.stored else None,
            due_steps=facts.stored.due if facts.stored else None,
            oldest_due_seconds=None if facts.due_age is None else int(facts.due_age),
            paused_campaigns=dict(facts.stored.unreadable) if facts.stored else {},
            jobs=dict(facts.jobs) if facts.jobs is not None else None,
            sending_stopped_at=facts.stored.sending_stopped_at if facts.stored else None,
            mailboxes=mailboxes,
            calls=[_calls(tool, outcome, latency) for (tool, outcome), latency in sorted(telemetry.calls().items())],
            events=_counts(telemetry.events),
            webhooks=_counts(telemetry.webhooks),
            refused_requests=[
                RefusedOut(part=part, reason=reason, count=count)
                for (part, reason), count in sorted(telemetry.refused_requests.counts().items())
            ],
        )


def _counts(tally: "LabelledCounter") -> list[CountOut]:
    counts = sorted(tally.counts().items())
    return [CountOut(provider=name, verdict=verdict, count=count) for (name, verdict), count in counts]


def _calls(tool: str, outcome: CallOutcome, latency: "Latency") -> CallsOut:
    p95 = next(bound for bound, passed in latency.passed if passed >= 0.95 * latency.calls)
    return CallsOut(
        tool=tool,
        outcome=outcome,
        calls=latency.calls,
        seconds=round(latency.seconds, 6),
        p95_seconds=p95 if isfinite(p95) else None,
    )


class MaintenanceAnswer(Answer):
    matched: Annotated[int, Field(description="Events that had waited, and found their enrollment."), untold]
    expired: Annotated[int, Field(description="Events that have waited too long; kept to be looked at."), untold]
    deleted_orphans: Annotated[int, Field(description="Events that had expired long ago, and were deleted."), untold]
    idempotency_keys: Annotated[int, Field(description="Old keys and their answers that were forgotten."), untold]
    webhook_bodies: Annotated[int, Field(description="Old bodies of webhook requests that were deleted."), untold]
    audit_records: Annotated[int, Field(description="Old rows of the audit log that were deleted."), untold]
    messages: Annotated[int, Field(description="Words older than retention_days that were deleted."), untold]
    jobs: Annotated[int, Field(description="Old finished jobs that were deleted."), untold]
    cache_entries: Annotated[int, Field(description="Cached values that had expired, and were deleted."), untold]
    recounted: Annotated[int, Field(description="Campaigns whose counters did not fit, and were mended."), untold]
    respelled: Annotated[int, Field(description="Contacts whose addresses were put into their normal form."), untold]
    shared_addresses: Annotated[int, Field(description="Contacts that share one, in two spellings."), untold]
    warning: Maybe[str] = None


Share = Annotated[float, Field(ge=0, le=1), no_flag]


class GuardrailsIn(Given):
    """Shares of 7 days' mails (0 to 1) that pause a campaign or mailbox; 0: off"""

    bounce_rate: Share | None = None
    complaint_rate: Share | None = None


class GuardrailsOut(Answer):
    """Shares of the mails of 7 days that pause a campaign or a mailbox; 0 is off."""

    bounce_rate: Annotated[float, Field(description="Of at least 50 mails, and 3 that came back.")]
    complaint_rate: Annotated[float, Field(description="Of at least 500 mails, and 2 complaints.")]


class SettingsOut(Answer):
    timezone: Annotated[str, Field(description="Of new campaigns that name none.")]
    retention_days: Annotated[int, Field(description="How long the words of messages are kept.")]
    days_between_campaigns: Annotated[int, Field(description="From a person's last step to another campaign.")]
    touches_per_week: Annotated[int, Field(description="What a person gets at most; 0: any number.")]
    colleagues: Annotated[Colleagues, Field(description="What a reply does to others at the same company.")]
    guardrails: GuardrailsOut


class SettingsAnswer(Answer):
    settings: SettingsOut
    undo: Undo = None
