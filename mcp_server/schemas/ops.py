"""The server's health, and the audit log, as clients see them."""

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field

from db.domain.access import AuditOutcome
from db.domain.jobs import JobStatus
from mcp_server.process.telemetry import CallOutcome, DatabaseState
from mcp_server.schemas.base import Answer, Maybe, Second, is_nothing

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


_KINDS = ("enrollment", "campaign", "job", "template", "suppression", "contact", "action", "event")


def _most_telling(ids: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """One id: of a kind of which there is one, if there is such a kind."""
    kinds = sorted((kind for kind in _KINDS if kind in ids), key=lambda kind: len(ids[kind]) > 1)
    return {kind: ids[kind][:1] for kind in kinds[:1]}


class AuditList(Answer):
    records: list[AuditLine]
    next_cursor: Maybe[str] = None


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
    database: DatabaseState
    pool: Maybe[PoolOut] = None
    slow_queries: int
    retries: int
    orphans_waiting: Annotated[Maybe[int], Field(description="Events that wait for their enrollment.")] = None
    paused_campaigns: Annotated[
        dict[str, str],
        Field(exclude_if=is_nothing, description="Campaigns that the server paused: id -> why."),
    ] = {}
    jobs: Annotated[Maybe[dict[JobStatus, int]], Field(description="Jobs by status.")] = None
    calls: list[CallsOut]
    events: list[CountOut]
    webhooks: list[CountOut]
    refused_requests: Annotated[list[RefusedOut], Field(description="HTTP requests that were turned away.")]

    @classmethod
    def of(cls, facts: "Facts", telemetry: "Telemetry") -> Self:
        return cls(
            status="ok" if facts.database is DatabaseState.OK and facts.jobs is not None else "degraded",
            database=facts.database,
            pool=PoolOut(**facts.pool._asdict()) if facts.pool else None,
            slow_queries=facts.slow_queries,
            retries=facts.retries,
            orphans_waiting=facts.stored.orphans if facts.stored else None,
            paused_campaigns=dict(facts.stored.unreadable) if facts.stored else {},
            jobs=dict(facts.jobs) if facts.jobs is not None else None,
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
    matched: Annotated[int, Field(description="Events that had waited, and found their enrollment.")]
    expired: Annotated[int, Field(description="Events that have waited too long; kept to be looked at.")]
    deleted_orphans: Annotated[int, Field(description="Events that had expired long ago, and were deleted.")]
    idempotency_keys: Annotated[int, Field(description="Old keys and their answers that were forgotten.")]
    webhook_bodies: Annotated[int, Field(description="Old bodies of webhook requests that were deleted.")]
    audit_records: Annotated[int, Field(description="Old rows of the audit log that were deleted.")]
    jobs: Annotated[int, Field(description="Old finished jobs that were deleted.")]
    cache_entries: Annotated[int, Field(description="Cached values that had expired, and were deleted.")]
    recounted: Annotated[int, Field(description="Campaigns whose counters did not fit their rows, and were mended.")]
    respelled: Annotated[int, Field(description="Contacts whose addresses were put into their normal form.")]
    shared_addresses: Annotated[int, Field(description="Contacts that share one with another, in two spellings.")]
    warning: Maybe[str] = None
