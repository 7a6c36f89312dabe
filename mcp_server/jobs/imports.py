"""Imports contacts from a CSV, and optionally enrolls them, in chunks that are each done once."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import Field, ValidationError, model_validator
from pydantic_core import to_json

from db.domain.access import ACTOR_WORKER, Caller
from db.domain.errors import InvalidInput
from db.domain.jobs import MAX_PAYLOAD_BYTES
from db.domain.states import SuppressionReason
from db.services.ops import audit, idempotency
from mcp_server.calls.audit import entry_of
from mcp_server.calls.caller import Invocation
from mcp_server.jobs.base import Work
from mcp_server.jobs.import_rows import COUNTED, COUNTED_OF_LISTS, Answer, Verdict, suppress_rows, take_in
from mcp_server.jobs.people_files import Record, read_allowed, read_table
from mcp_server.mail import recipient_domains
from mcp_server.process.app import App
from mcp_server.schemas.base import Given
from mcp_server.schemas.faults import explain

if TYPE_CHECKING:
    from datetime import datetime

    from db.services import Session

Kind = Literal["contacts", "suppressions"]
CHUNK_ROWS: Final = 500
_ROOM_FOR_COUNTS: Final = 1_024


class ImportParameters(Given):
    """`csv` or `path`. `mapping`: contact field or name of an attribute -> heading or number of a column. `as` tells
    what the rows are: contacts, or suppressions for `reason` where no column gives one. The latter hold for the
    campaign alone if there is one."""

    csv: str | None = None
    path: str | None = None
    campaign_id: UUID | None = None
    mapping: dict[str, str | int] = {}
    suppress_where: list[str] = []
    kind: Annotated[Kind, Field(alias="as")] = "contacts"
    reason: SuppressionReason = SuppressionReason.MANUAL

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.csv is None) == (self.path is None):
            raise ValueError("give csv or path")
        return self

    def take(
        self,
        session: "Session",
        first: int,
        records: Sequence[Record],
        now: "datetime",
        *,
        without_mail: Collection[str],
    ) -> Answer:
        """Imports rows, with row numbers from `first`."""
        if self.kind == "suppressions":
            return suppress_rows(session, self.campaign_id, first, records, self.reason)
        return take_in(session, self.campaign_id, first, records, now, without_mail=without_mail)

    def without_mail(self, app: App, records: Sequence[Record]) -> frozenset[str]:
        """Returns the domains of people who are enrolled that take no mail: see recipient_domains."""
        if self.kind == "suppressions" or self.campaign_id is None:
            return frozenset()
        emails = {record.person.email for record in records if record.person and record.person.email}
        return recipient_domains.without_mail(app, campaign_id=self.campaign_id, emails=emails)

    @property
    def counted(self) -> tuple[str, ...]:
        """The names of the counts."""
        return COUNTED if self.kind == "contacts" else COUNTED_OF_LISTS


def import_contacts(work: Work) -> dict[str, Any]:
    """Imports a file. Returns counts, the mapping of the columns, and the verdicts on rows with a fault or a warning (1
    is the first row under the headings).

    A later attempt repeats every chunk. Chunks that are done return the answer stored under their idempotency key, so
    the counts are exact however the earlier attempt ended.
    """
    parameters = _parameters(work.job.parameters)
    content: bytes | str | None = parameters.csv
    if content is None:
        content = read_allowed(parameters.path or "", work.app.settings.import_directories)
    table = read_table(
        content,
        parameters.mapping,
        suppress_where=parameters.suppress_where,
        is_list_of_suppressions=parameters.kind == "suppressions",
        on_rows=lambda rows: work.beat({"rows_read": rows}),
    )
    records, total = table.records, Answer()
    for start in range(0, len(records), CHUNK_ROWS):
        total.add(_chunk(work, parameters, start, records[start : start + CHUNK_ROWS]))
        done = min(start + CHUNK_ROWS, len(records))
        work.beat({"rows_done": done, "rows_total": len(records), **_shown(total, parameters)})
    return _result({"rows_total": len(records), **_shown(total, parameters), **total.report(table.report())}, total)


def _parameters(given: object) -> ImportParameters:
    try:
        return ImportParameters.model_validate(given)
    except ValidationError as error:
        raise InvalidInput("parameters: " + "; ".join(explain(error))) from None


def _chunk(work: Work, parameters: ImportParameters, start: int, records: Sequence[Record]) -> Answer:
    # Job ids are unique only within a local store, and several local stores may share a database.
    key = f"import:{work.job.id}:{work.job.created_at.isoformat()}:{start}"
    campaign_id = parameters.campaign_id
    given = {"rows": [record.cells for record in records], "campaign_id": str(campaign_id)}
    now = work.app.clock()
    without_mail = parameters.without_mail(work.app, records)
    about = {"job_id": work.job.id, **({"campaign_id": campaign_id} if campaign_id else {})}
    invocation = Invocation(Caller(ACTOR_WORKER, frozenset()), about, work.job.id)

    def once(session: "Session") -> dict[str, Any]:
        request = idempotency.fingerprint(session, given)
        earlier = idempotency.replay(session, key=key, tool="import", request_hash=request)
        if earlier is not None:
            return earlier
        answer = parameters.take(session, start + 1, records, now, without_mail=without_mail).kept()
        idempotency.keep(session, key=key, response=answer)
        note(session, invocation, now)
        return answer

    return Answer.of(work.app.run("import chunk", once))


def note(session: "Session", invocation: Invocation, now: "datetime") -> None:
    """Writes the import of a chunk to the audit log, in the same transaction."""
    entry = entry_of(invocation, "import", {}, hashed=False, now=now)
    audit.write(session, entries=[entry])


def _shown(answer: Answer, parameters: ImportParameters) -> dict[str, int]:
    return {name: answer.counts[name] for name in parameters.counted}


def _result(told: dict[str, Any], answer: Answer) -> dict[str, Any]:
    room = MAX_PAYLOAD_BYTES - _ROOM_FOR_COUNTS - _size(told)
    kept: list[Verdict] = []
    for verdict in answer.rows:
        room -= _size(verdict) + 2
        if room < 0:
            break
        kept.append(verdict)
    left_out = len(answer.rows) - len(kept)
    return {**told, "rows": kept, "rows_left_out": left_out}


def _size(value: object) -> int:
    """Returns the length of a value as JSON in ASCII, the longest form that a store writes."""
    return len(ascii(to_json(value).decode()))
