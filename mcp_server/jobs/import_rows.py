"""Writes the rows of a file of people to the database: contacts, opt-outs, enrollments."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from db.domain.addresses import PROFILE_PREFIX
from db.domain.contacts import ContactFields, ContactRef, SuppressionTarget, strength
from db.domain.role_addresses import warning
from db.domain.states import EnrollVerdict, SuppressionReason
from db.services.enrollments import enrollments
from db.services.people import contacts, exclusions, role_addresses, suppression_lists
from mcp_server.jobs.people_files import Record
from mcp_server.mail import recipient_domains

if TYPE_CHECKING:
    from datetime import datetime

    from db.services import Session

COUNTED: Final = ("created", "updated", "enrolled", "already_enrolled", "suppressed", "opted_out", "invalid")
"""opted_out: of the created and updated, those whom a column says not to write to."""
COUNTED_OF_LISTS: Final = ("suppressed", "already_suppressed", "stopped_enrollments", "invalid")
"""Of a list of suppressions: addresses that were and were not suppressed before, and what that stopped."""
ROLE_ADDRESS: Final = "role_address"
"""The count of people who were enrolled with the address of a role; it is told as a note."""
SOURCE: Final = "import"

Verdict = dict[str, Any]


@dataclass(slots=True)
class Answer:
    """Counts of the results, and the verdicts on rows with a fault or a warning: {"row", "line", "status",
    "contact_id"?, "reason"?, "warnings"?}. without_mail: domain that takes no mail -> how many people with an address
    there were enrolled."""

    counts: Counter[str] = field(default_factory=Counter[str])
    rows: list[Verdict] = field(default_factory=list[Verdict])
    without_mail: Counter[str] = field(default_factory=Counter[str])

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Self:
        return cls(Counter(kept["counts"]), kept["rows"], Counter(kept.get("without_mail")))

    def kept(self) -> dict[str, Any]:
        """Returns it in the form that is stored as JSON."""
        return {"counts": dict(self.counts), "rows": self.rows, "without_mail": dict(self.without_mail)}

    def report(self, of_table: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the report of the table, with notes on who was enrolled."""
        more = [*warning(self.counts[ROLE_ADDRESS]), *recipient_domains.warning([*self.without_mail.elements()])]
        return {**of_table, "notes": [*of_table.get("notes", ()), *more]} if more else dict(of_table)

    def add(self, other: "Answer") -> None:
        self.counts.update(other.counts)
        self.rows += other.rows
        self.without_mail.update(other.without_mail)


def take_in(
    session: "Session",
    campaign_id: UUID | None,
    first: int,
    records: Sequence[Record],
    now: "datetime",
    *,
    without_mail: Collection[str] = (),
) -> Answer:
    """Imports rows, with row numbers from `first`. Suppresses all people with an opt-out before it enrolls anybody.
    `without_mail`: domains that take none."""
    rows = dict(enumerate(records, first))
    verdicts = {row: _invalid(record.reason or "") for row, record in rows.items() if record.person is None}
    counts = Counter[str]()
    people = {row: record.person for row, record in rows.items() if record.person is not None}
    known: dict[int, ContactRef] = {}
    statuses: dict[int, str] = {}
    for row, found in contacts.find_or_create(session, people=people, overwrite=True).items():
        if found.contact_id is None:
            verdicts[row] = _invalid(found.reason or "")
            continue
        counts["created" if found.is_new else "updated"] += 1
        known[row] = ContactRef(found.contact_id, ContactFields())
        statuses[row] = found.status
        if found.note or (found.is_merged and campaign_id is None):
            verdicts[row] = {"status": found.status, "contact_id": str(found.contact_id)}
            verdicts[row] |= {"reason": found.note} if found.note else {}
    counts["invalid"] = len(rows) - len(known)
    _opt_out(session, {row: rows[row] for row in known}, known, counts, verdicts)
    if campaign_id is not None:
        statuses |= _enroll(session, campaign_id, known, now, counts, verdicts)
    for row, contact in known.items():
        if rows[row].warnings:
            verdict = verdicts.setdefault(row, {"status": statuses[row], "contact_id": str(contact.contact_id)})
            verdict["warnings"] = [*rows[row].warnings]
    answer = Answer(counts, [{"row": row, "line": rows[row].line, **verdicts[row]} for row in sorted(verdicts)])
    enrolled = [people[row].email for row in known if statuses[row] == EnrollVerdict.ENROLLED]
    domains = [recipient_domains.domain_of(email) for email in enrolled if email is not None]
    answer.without_mail.update(domain for domain in domains if domain in without_mail)
    return answer


def _invalid(reason: str) -> Verdict:
    return {"status": "invalid", "reason": reason}


def _opt_out(
    session: "Session",
    records: dict[int, Record],
    known: dict[int, ContactRef],
    counts: Counter[str],
    verdicts: dict[int, Verdict],
) -> None:
    """Suppresses the addresses in rows with an opt-out."""
    reasons: dict[SuppressionTarget, SuppressionReason] = {}
    for row, record in records.items():
        if record.opt_out is None:
            continue
        counts["opted_out"] += 1
        reason, heading = record.opt_out
        said = f'the column "{heading}" says that nobody may write to them ({reason})'
        verdicts[row] = {"status": "opted_out", "contact_id": str(known[row].contact_id), "reason": said}
        for target in targets_of(record):
            reasons[target] = max(reasons.get(target, reason), reason, key=strength)
    if reasons:
        suppression_lists.suppress_all(session, reasons=reasons, source=SOURCE)


def suppress_rows(
    session: "Session", campaign_id: UUID | None, first: int, records: Sequence[Record], reason: SuppressionReason
) -> Answer:
    """Suppresses the targets in the rows of a list, or excludes them from one campaign. Row numbers begin at `first`.
    The reason is that of the row's column, or else `reason`."""
    reasons: dict[SuppressionTarget, SuppressionReason] = {}
    answer = Answer()
    for row, record in enumerate(records, first):
        told = {"row": row, "line": record.line}
        why = reason if record.opt_out is None else record.opt_out.reason
        for target in targets_of(record):
            reasons[target] = max(reasons.get(target, why), why, key=strength)
        if record.reason is not None:
            answer.rows.append({**told, **_invalid(record.reason)})
        elif record.warnings:
            answer.rows.append({**told, "status": "suppressed", "warnings": [*record.warnings]})
    answer.counts["invalid"] = sum(record.reason is not None for record in records)
    for done in _suppressed(session, campaign_id, reasons):
        answer.counts["suppressed"] += done.added
        answer.counts["already_suppressed"] += done.known
        answer.counts["stopped_enrollments"] += done.stopped_enrollments
    return answer


def _suppressed(
    session: "Session", campaign_id: UUID | None, reasons: Mapping[SuppressionTarget, SuppressionReason]
) -> Iterator[suppression_lists.Suppressed]:
    if campaign_id is None:
        yield suppression_lists.suppress_all(session, reasons=reasons, source=SOURCE)
        return
    for reason in sorted(set(reasons.values()), key=strength):
        targets = [target for target in reasons if reasons[target] is reason]
        yield exclusions.exclude_all(session, campaign_id=campaign_id, targets=targets, reason=reason, source=SOURCE)


def targets_of(record: Record) -> list[SuppressionTarget]:
    """Returns all addresses of a row that its opt-out, or its place in a list of suppressions, concerns. A bounce
    concerns only the address that bounced, not the person's others."""
    if record.domain is not None:
        return [SuppressionTarget(domain=record.domain)]
    if record.person is None:
        return []
    given = (record.person.email, record.person.linkedin_url, *record.besides)
    if record.opt_out is not None and record.opt_out.reason is SuppressionReason.BOUNCED and record.person.email:
        given = (record.person.email,)
    return [
        SuppressionTarget(linkedin_url=address) if address.startswith(PROFILE_PREFIX) else SuppressionTarget(address)
        for address in given
        if address is not None
    ]


def _enroll(
    session: "Session",
    campaign_id: UUID,
    people: dict[int, ContactRef],
    now: "datetime",
    counts: Counter[str],
    verdicts: dict[int, Verdict],
) -> dict[int, str]:
    """Enrolls people, and returns the status of each row."""
    answers = enrollments.enroll(session, campaign_id=campaign_id, people=people, start_at=None, now=now)
    for row, one in answers.items():
        counts[str(one.verdict)] += 1
        if one.verdict != EnrollVerdict.ENROLLED:
            earlier = verdicts.get(row, {})
            is_told = one.reason is None or earlier.get("status") == "opted_out"
            reason = earlier.get("reason") if is_told else one.reason
            verdicts[row] = {"status": str(one.verdict), "contact_id": str(one.contact_id)}
            verdicts[row] |= {"reason": reason} if reason else {}
    taken = [one.contact_id for one in answers.values() if one.verdict is EnrollVerdict.ENROLLED and one.contact_id]
    counts[ROLE_ADDRESS] += role_addresses.how_many(session, contact_ids=taken)
    return {row: str(one.verdict) for row, one in answers.items()}
