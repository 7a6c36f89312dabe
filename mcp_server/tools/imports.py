"""Files of people, taken in without a model that types their rows again."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from db.domain.errors import InvalidInput
from db.domain.jobs import JobType
from db.services.campaigns import campaigns
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call
from mcp_server.jobs.import_rows import COUNTED, Answer as Taken, take_in
from mcp_server.jobs.people_files import Record, Table, read_allowed, read_table
from mcp_server.mail import recipient_domains
from mcp_server.process.app import App
from mcp_server.schemas.imports import Columns, Conditions, Csv, FilePath, ImportAnswer
from mcp_server.schemas.jobs import JobId

AT_ONCE_BYTES: Final = 524_288
"""A file up to this size, some thousand rows, is taken in by the call itself, and a larger one by a job."""
_CSV_BYTES: Final = 1_000_000
_ROWS: Final = 5_000


class _Read(NamedTuple):
    """A file, as it was read before the transaction. size: in bytes. table: None for one that a job takes in.
    without_mail: domains of its people that take no mail."""

    size: int
    table: Table | None = None
    without_mail: frozenset[str] = frozenset()


def _read(app: App, arguments: Mapping[str, Any]) -> _Read | None:
    """Returns None unless a file is given."""
    csv: str | None = arguments.get("csv")
    path: str | None = arguments.get("path")
    campaign_id: UUID | None = arguments.get("campaign_id")
    if (csv is None) == (path is None) or arguments.get("job_id") is not None:
        return None
    content = csv if csv is not None else read_allowed(path or "", app.settings.import_directories)
    size = len(content) if isinstance(content, bytes) else len(content.encode())
    if size > AT_ONCE_BYTES and not arguments.get("dry_run"):
        return _Read(size)
    mapping: dict[str, str | int] = arguments.get("mapping") or {}
    table = read_table(_first(content), mapping, suppress_where=arguments.get("suppress_where") or ())
    without_mail = frozenset[str]()
    if campaign_id is not None:
        emails = {record.person.email for record in table.records if record.person and record.person.email}
        without_mail = recipient_domains.without_mail(app, campaign_id=campaign_id, emails=emails)
    return _Read(size, table, without_mail)


@toolsets.contacts.write("Import contacts", idempotent=True, looks_up=_read)
def import_contacts(
    call: Call,
    csv: Csv = None,
    path: FilePath = None,
    campaign_id: UUID | None = None,
    mapping: Columns = None,
    suppress_where: Conditions = None,
    dry_run: bool = False,
    job_id: JobId | None = None,
) -> ImportAnswer:
    """Import the people in a CSV, given as text or by path, and with campaign_id enroll them.

    mapping wins over the headings; other columns become attributes. People who must not be written to are suppressed.
    dry_run keeps nothing. Returns counts, where the columns went, and rows with a problem; for a large file, a job_id.
    """
    read: _Read | None = call.looked_up
    if sum(value is not None for value in (csv, path, job_id)) != 1:
        raise InvalidInput("Give exactly one of csv, path and job_id.")
    if job_id is not None or read is None:
        return _of_job(call, job_id or "")
    if campaign_id is not None:
        campaigns.get(call.session, campaign_id=campaign_id)
    size, table = read.size, read.table
    if table is None:
        source: dict[str, object] = {"csv": csv} if path is None else {"path": path}
        if path is None and size > _CSV_BYTES:
            raise InvalidInput(
                f"csv: {size:,} bytes are more than a job can hold. Split it, or put the file into an import directory "
                "and give its path."
            )
        source |= {"mapping": mapping or {}, "suppress_where": suppress_where or []}
        source |= {"campaign_id": str(campaign_id)} if campaign_id is not None else {}
        return ImportAnswer.of_job(call.jobs.create(type=JobType.IMPORT, parameters=source, now=call.now))
    taken = (_tried if dry_run else _taken)(call, campaign_id, table.records, read.without_mail)
    told: dict[str, Any] = {"rows_total": len(table.records), **{name: taken.counts[name] for name in COUNTED}}
    told |= taken.report(table.report())
    if size > AT_ONCE_BYTES:
        told["notes"] = [*told.get("notes", ()), f"Only the first {AT_ONCE_BYTES:,} bytes of {size:,} were tried."]
    return ImportAnswer.of(told, taken.rows, dry_run=dry_run)


def _first(content: bytes | str) -> bytes | str:
    """Returns the content, or the rows in the first AT_ONCE_BYTES of a larger one."""
    if isinstance(content, str):
        encoded = content.encode()
        if len(encoded) <= AT_ONCE_BYTES:
            return content
        return encoded[:AT_ONCE_BYTES].decode(errors="ignore").rpartition("\n")[0]
    if len(content) <= AT_ONCE_BYTES:
        return content
    # Cut at whole characters of UTF-16, which is the widest that is read.
    return content[: (content.rfind(b"\n", 0, AT_ONCE_BYTES) + 1) // 2 * 2]


def _taken(call: Call, campaign_id: UUID | None, records: Sequence[Record], without_mail: Collection[str]) -> Taken:
    total = Taken()
    for start in range(0, len(records), _ROWS):
        rows = records[start : start + _ROWS]
        total.add(take_in(call.session, campaign_id, start + 1, rows, call.now, without_mail=without_mail))
    return total


def _tried(call: Call, campaign_id: UUID | None, records: Sequence[Record], without_mail: Collection[str]) -> Taken:
    """Returns what would become of the rows, and keeps nothing of it."""
    savepoint = call.session.begin_nested()
    try:
        return _taken(call, campaign_id, records, without_mail)
    finally:
        savepoint.rollback()


def _of_job(call: Call, job_id: str) -> ImportAnswer:
    job = call.jobs.get(job_id, now=call.now)
    if job.type is not JobType.IMPORT:
        raise InvalidInput(f"job_id: {job_id} is not an import. import_contacts gives the id of one for a large file.")
    return ImportAnswer.of_job(job)
