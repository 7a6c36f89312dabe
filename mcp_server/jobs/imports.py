"""Contacts from a CSV, and optionally their enrolment, in chunks that are each done once."""

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from pydantic import ValidationError, model_validator
from pydantic_core import to_json

from db.domain.access import ACTOR_WORKER, Caller
from db.domain.contacts import ContactFields, ContactRef
from db.domain.errors import InvalidInput
from db.domain.jobs import MAX_PAYLOAD_BYTES
from db.domain.states import EnrollVerdict
from db.services.enrollments import enrollments
from db.services.ops import audit, idempotency
from db.services.people import contacts
from mcp_server.calls.audit import entry_of
from mcp_server.calls.caller import Invocation
from mcp_server.jobs.base import Work
from mcp_server.jobs.csv_rows import parse, read_allowed
from mcp_server.schemas.base import Given
from mcp_server.schemas.contacts import ContactIn
from mcp_server.schemas.faults import explain

if TYPE_CHECKING:
    from datetime import datetime

    from db.services import Session

CHUNK_ROWS: Final = 500
_COUNTED: Final = ("created", "updated", "enrolled", "already_enrolled", "suppressed", "invalid")
_ROOM_FOR_COUNTS: Final = 1_024

Verdict = dict[str, Any]


class ImportParameters(Given):
    """`csv` or `path`; `mapping` is column -> contact field, or the name of an attribute."""

    csv: str | None = None
    path: str | None = None
    campaign_id: UUID | None = None
    mapping: dict[str, str] = {}

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.csv is None) == (self.path is None):
            raise ValueError("give csv or path")
        return self


def import_contacts(work: Work) -> dict[str, Any]:
    """Counts, and the verdicts on rows (1 is the first under the header) that are not plainly fine.

    A later attempt asks for every chunk again: those that are done answer from their idempotency key, so that the
    counts are exact however the earlier attempt ended.
    """
    parameters = _parameters(work.job.parameters)
    text = parameters.csv
    if text is None:
        text = read_allowed(parameters.path or "", work.app.settings.import_directories)
    rows = parse(text, parameters.mapping)
    counts = Counter[str]()
    verdicts: list[Verdict] = []
    for start in range(0, len(rows), CHUNK_ROWS):
        answer = _chunk(work, parameters.campaign_id, start, rows[start : start + CHUNK_ROWS])
        counts.update(answer["counts"])
        verdicts += answer["rows"]
        work.beat({"rows_done": min(start + CHUNK_ROWS, len(rows)), "rows_total": len(rows), **_shown(counts)})
    return _result(len(rows), counts, verdicts)


def _parameters(given: object) -> ImportParameters:
    try:
        return ImportParameters.model_validate(given)
    except ValidationError as error:
        raise InvalidInput("parameters: " + "; ".join(explain(error))) from None


def _chunk(work: Work, campaign_id: UUID | None, start: int, rows: list[dict[str, Any] | str]) -> dict[str, Any]:
    # Job ids are unique in one local store alone, and several may share a database.
    key = f"import:{work.job.id}:{work.job.created_at.isoformat()}:{start}"
    given = {"rows": rows, "campaign_id": str(campaign_id)}
    now = work.app.clock()
    about = {"job_id": work.job.id, **({"campaign_id": campaign_id} if campaign_id else {})}
    invocation = Invocation(Caller(ACTOR_WORKER, frozenset()), about, work.job.id)

    def once(session: "Session") -> dict[str, Any]:
        request = idempotency.fingerprint(session, given)
        earlier = idempotency.replay(session, key=key, tool="import", request_hash=request)
        if earlier is not None:
            return earlier
        answer = take_in(session, campaign_id, start + 1, rows, now)
        idempotency.keep(session, key=key, response=answer)
        note(session, invocation, now)
        return answer

    return work.app.run("import chunk", once)


def note(session: "Session", invocation: Invocation, now: "datetime") -> None:
    """Keeps in the audit log that a chunk was taken in, in the transaction that did it."""
    entry = entry_of(invocation, "import", {}, hashed=False, now=now)
    audit.write(session, entries=[entry])


def take_in(
    session: "Session", campaign_id: UUID | None, first: int, rows: list[dict[str, Any] | str], now: "datetime"
) -> dict[str, Any]:
    """Returns {"counts": how many of each, "rows": verdicts on the rows that are not plainly fine}; rows count from
    `first`."""
    people: dict[int, ContactFields] = {}
    counts = Counter[str]()
    verdicts: list[Verdict] = []
    for number, row in enumerate(rows, first):
        try:
            if isinstance(row, str):
                verdicts.append({"row": number, "status": "invalid", "reason": row})
            else:
                people[number] = ContactIn.model_validate(row).to_fields()
        except ValidationError as error:
            verdicts.append({"row": number, "status": "invalid", "reason": "; ".join(explain(error))})
    known: dict[int, ContactRef] = {}
    for number, found in contacts.find_or_create(session, people=people, overwrite=True).items():
        if found.contact_id is None:
            verdicts.append({"row": number, "status": "invalid", "reason": found.reason})
            continue
        counts["created" if found.is_new else "updated"] += 1
        if found.note or (found.is_merged and campaign_id is None):
            told = {"row": number, "status": found.status, "contact_id": str(found.contact_id)}
            verdicts.append({**told, "reason": found.note} if found.note else told)
        known[number] = ContactRef(found.contact_id, ContactFields())
    counts["invalid"] = sum(verdict["status"] == "invalid" for verdict in verdicts)
    if campaign_id is not None:
        _enroll(session, campaign_id, known, now, counts, verdicts)
    verdicts.sort(key=lambda verdict: verdict["row"])
    return {"counts": dict(counts), "rows": verdicts}


def _enroll(
    session: "Session",
    campaign_id: UUID,
    people: dict[int, ContactRef],
    now: "datetime",
    counts: Counter[str],
    verdicts: list[Verdict],
) -> None:
    answers = enrollments.enroll(session, campaign_id=campaign_id, people=people, start_at=None, now=now)
    for number, one in answers.items():
        counts[str(one.verdict)] += 1
        if one.verdict != EnrollVerdict.ENROLLED:
            verdict = {"row": number, "status": str(one.verdict), "contact_id": str(one.contact_id)}
            verdicts.append({**verdict, "reason": one.reason} if one.reason else verdict)


def _shown(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in _COUNTED}


def _result(total: int, counts: Counter[str], verdicts: list[Verdict]) -> dict[str, Any]:
    room = MAX_PAYLOAD_BYTES - _ROOM_FOR_COUNTS
    kept = 0
    for verdict in verdicts:
        # As ASCII, which is the longest that any store writes it.
        room -= len(ascii(to_json(verdict).decode())) + 2
        if room < 0:
            break
        kept += 1
    return {"rows_total": total, **_shown(counts), "rows": verdicts[:kept], "rows_left_out": len(verdicts) - kept}
