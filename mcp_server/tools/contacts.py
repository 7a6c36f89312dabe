"""People: who they are, and which campaigns they are in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field

from db.domain.contacts import SuppressionTarget
from db.domain.errors import InvalidInput
from db.domain.field_limits import BATCH_MAX, PAGE_DEFAULT
from db.domain.overlap import OverlapKind
from db.domain.role_addresses import warning
from db.domain.states import (
    EnrollmentAction,
    EnrollmentStatus,
    EnrollVerdict,
)
from db.services.campaigns import plans
from db.services.enrollments import enrollments, moving, overlaps
from db.services.enrollments.enrollments import Former
from db.services.people import role_addresses
from db.services.people.contacts import emails_of, find, find_or_create
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call, Mode
from mcp_server.jobs import erasure
from mcp_server.mail import recipient_domains
from mcp_server.process.app import App
from mcp_server.schemas import undo
from mcp_server.schemas.base import Cursor, Detail, Limit, Moment, Row, Search, shown_rows, sort_out, spelled, told_in
from mcp_server.schemas.contacts import (
    CompanyName,
    ContactIn,
    ContactList,
    ContactOut,
    Domain,
    Email,
    EnrollIn,
    EraseAnswer,
    LinkedInUrl,
    UpsertAnswer,
    UpsertRow,
)
from mcp_server.schemas.enrollments import (
    EnrollAnswer,
    EnrollmentAnswer,
    EnrollmentDetail,
    EnrollmentLine,
    EnrollmentList,
    EnrollRow,
    OverlapList,
    OverlapOut,
)


def _domains_without_mail(app: App, arguments: Mapping[str, Any]) -> frozenset[str]:
    people, _ = sort_out(arguments["contacts"])
    campaign_id = arguments["campaign_id"]
    emails = {person.email for person in people.values() if person.email is not None}
    known = [person.contact_id for person in people.values() if person.contact_id is not None]
    if known and recipient_domains.is_to_ask(app, campaign_id):
        emails |= {*app.run("look for addresses", partial(emails_of, contact_ids=known), read_only=True)}
    return recipient_domains.without_mail(app, campaign_id=campaign_id, emails=emails)


@toolsets.contacts.write("Enroll contacts", idempotent=True, looks_up=_domains_without_mail)
def enroll_contacts(
    call: Call,
    campaign_id: UUID,
    contacts: Annotated[list[Row[EnrollIn]], Field(min_length=1, max_length=BATCH_MAX)],
    start_at: Moment | None = None,
    all_or_nothing: bool = False,
    detail: Detail = "concise",
) -> EnrollAnswer:
    """Enroll 1 to 10,000 people in a campaign; unknown ones become contacts. Sends nothing.

    results lists rows with a reason; with full, all. reopened had ended here without an answer. A bad row fails no
    other, unless all_or_nothing. start_at delays the first step. Next: start_campaign.
    """
    people, rejected = sort_out(contacts)
    enrolled = enrollments.enroll(
        call.session,
        campaign_id=campaign_id,
        people={index: person.to_ref() for index, person in people.items()},
        start_at=start_at,
        reopens=True,
        now=call.now,
    )
    rows = [EnrollRow(index=index, status=EnrollVerdict.INVALID, reason=reason) for index, reason in rejected.items()]
    rows += [
        EnrollRow(
            index=index,
            status=one.verdict,
            enrollment_id=one.enrollment_id,
            contact_id=one.contact_id,
            reason=one.reason,
        )
        for index, one in enrolled.items()
    ]
    if all_or_nothing:
        _refuse_any_invalid(rows)
    count = Counter(row.status for row in rows)
    chosen = [row.contact_id for row in rows if row.status in _GOING_ON and row.contact_id is not None]
    busy = overlaps.how_many(call.session, contact_ids=chosen, campaign_id=campaign_id)
    of_roles = warning(role_addresses.how_many(call.session, contact_ids=chosen))
    taken = [row.enrollment_id for row in rows if row.status in _GOING_ON]
    end = {"action": EnrollmentAction.COMPLETE}
    return EnrollAnswer(
        enrolled=count[EnrollVerdict.ENROLLED],
        reopened=count[EnrollVerdict.REOPENED],
        already_enrolled=count[EnrollVerdict.ALREADY_ENROLLED],
        suppressed=count[EnrollVerdict.SUPPRESSED],
        invalid=count[EnrollVerdict.INVALID],
        busy_elsewhere=busy,
        results=shown_rows(rows, detail),
        warnings=[
            *(_without_steps(call, campaign_id) if count[EnrollVerdict.ENROLLED] else []),
            *_told(busy),
            *of_roles,
            *recipient_domains.warning(_unreachable(call, chosen)),
        ],
        undo=undo.calls(spelled("update_enrollment", enrollment_id=id_, **end) for id_ in taken),
    )


_GOING_ON: Final = (EnrollVerdict.ENROLLED, EnrollVerdict.REOPENED)


def _unreachable(call: Call, contact_ids: Sequence[UUID]) -> list[str]:
    """Returns the domain of each of these people whose domain takes no mail."""
    emails: Sequence[str] = emails_of(call.session, contact_ids=contact_ids) if call.looked_up else ()
    return [domain for domain in map(recipient_domains.domain_of, emails) if domain in call.looked_up]


def _told(busy: int) -> list[str]:
    who = "1 of them is in another campaign that goes on" if busy == 1 else f"{busy:,} of them are in other campaigns"
    return [f"{who}. find_overlaps says in which."] if busy else []


def _without_steps(call: Call, campaign_id: UUID) -> list[str]:
    if plans.of_campaign(call.session, campaign_id=campaign_id).steps:
        return []
    return ["Every step of the campaign's template is out of use, so nothing is sent. update_template adds steps."]


def _refuse_any_invalid(rows: list[EnrollRow]) -> None:
    invalid = [row for row in rows if row.status == EnrollVerdict.INVALID]
    if invalid:
        one = min(invalid, key=lambda row: row.index)
        first = f"contacts.{one.index}: {one.reason}"
        raise InvalidInput(
            f"{len(invalid)} of {len(rows)} contacts are invalid and all_or_nothing is set, so nobody was enrolled. "
            f"First: {first}. Correct them, or leave all_or_nothing out."
        )


@toolsets.contacts.read("Find overlaps")
def find_overlaps(
    call: Call,
    contacts: Annotated[
        list[Row[EnrollIn]], Field(min_length=1, max_length=BATCH_MAX), told_in("contacts of enroll_contacts")
    ],
    campaign_id: UUID | None = None,
) -> OverlapList:
    """List which of these people, up to 200, are in other campaigns that go on, or have colleagues who are."""
    people, _ = sort_out(contacts)
    found = overlaps.find(
        call.session, people={index: person.to_ref() for index, person in people.items()}, campaign_id=campaign_id
    )
    count = Counter(kind for kind, _ in {(overlap.kind, overlap.contact_id) for overlap in found})
    return OverlapList(
        people=count[OverlapKind.PERSON],
        colleagues=count[OverlapKind.COLLEAGUE],
        overlaps=[OverlapOut.model_validate(overlap) for overlap in found],
    )


@toolsets.contacts.read("List enrollments")
def list_enrollments(
    call: Call,
    campaign_id: UUID | None = None,
    status: EnrollmentStatus | None = None,
    contact_id: UUID | None = None,
    domain: Domain | None = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    detail: Detail = "concise",
) -> EnrollmentList:
    """List who is enrolled in a campaign and how far, newest first; or, with contact_id or domain, which campaigns a
    person or the people of an email domain are in. Next: get_enrollment."""
    if campaign_id is None and contact_id is None and domain is None:
        raise InvalidInput("Give campaign_id, contact_id or domain. list_campaigns shows the campaigns.")
    page = enrollments.list_(
        call.session,
        campaign_id=campaign_id,
        status=status,
        contact_id=contact_id,
        domain=domain,
        limit=limit,
        cursor=cursor,
        now=call.now,
    )
    lines = [
        EnrollmentLine.of(row.enrollment, row.contact, detail, names_campaign=campaign_id is None) for row in page.rows
    ]
    return EnrollmentList(enrollments=lines, next_cursor=page.next_cursor)


@toolsets.contacts.read("Get an enrollment")
def get_enrollment(call: Call, enrollment_id: UUID) -> EnrollmentAnswer:
    """Show one enrollment: the person, each step done with its words as they were sent, and the latest events."""
    return _answer(call, enrollment_id)


# Destructive: an unsubscribe and a step that is passed over can't be taken back.
@toolsets.contacts.write("Change an enrollment", destructive=True)
def update_enrollment(
    call: Call,
    enrollment_id: UUID,
    action: EnrollmentAction,
    campaign_id: Annotated[UUID | None, Field(description="move: to this one")] = None,
    until: Annotated[Moment | None, Field(description="pause: ends then")] = None,
) -> EnrollmentAnswer:
    """Change one enrollment. resume also reopens one that has ended, at the next step that was never sent. advance
    skips the next step. move ends it and enrolls the person in another campaign. unsubscribe suppresses the person
    everywhere; it can't be undone.
    """
    if (campaign_id is not None) != (action is EnrollmentAction.MOVE):
        raise InvalidInput("Give campaign_id with action move, and with no other. list_campaigns shows the campaigns.")
    if until is not None:
        _check_until(action, until, call.now)
    if campaign_id is not None:
        moved = moving.move(call.session, enrollment_id=enrollment_id, campaign_id=campaign_id, now=call.now)
        back = spelled(
            "update_enrollment", enrollment_id=moved.enrollment_id, action=action, campaign_id=moved.from_campaign
        )
        return _answer(call, moved.enrollment_id, back)
    former = enrollments.update(call.session, enrollment_id=enrollment_id, action=action, until=until, now=call.now)
    return _answer(call, enrollment_id, _undo(enrollment_id, action, former))


_PAUSE_MAX: Final = timedelta(days=2 * 366)


def _check_until(action: EnrollmentAction, until: datetime, now: datetime) -> None:
    if action is not EnrollmentAction.PAUSE:
        raise InvalidInput("until is for action pause alone. Leave it out.")
    if until <= now:
        raise InvalidInput("until is in the past. Give a later moment, or leave it out to pause until action resume.")
    if until - now > _PAUSE_MAX:
        raise InvalidInput("until is more than two years ahead. Leave it out to pause until action resume.")


def _undo(enrollment_id: UUID, action: EnrollmentAction, former: Former) -> str | None:
    opposite = _OPPOSITES.get((action, former.status))
    if opposite is None:
        return None
    until = {"until": former.paused_until.isoformat()} if former.paused_until is not None else {}
    return spelled("update_enrollment", enrollment_id=enrollment_id, action=opposite, **until)


# (what was done, the status before) -> what takes it back. Nothing does where it would start somebody who was paused.
_OPPOSITES = {
    (EnrollmentAction.PAUSE, EnrollmentStatus.ENROLLED): EnrollmentAction.RESUME,
    (EnrollmentAction.PAUSE, EnrollmentStatus.ACTIVE): EnrollmentAction.RESUME,
    (EnrollmentAction.PAUSE, EnrollmentStatus.PAUSED): EnrollmentAction.PAUSE,
    (EnrollmentAction.COMPLETE, EnrollmentStatus.ENROLLED): EnrollmentAction.RESUME,
    (EnrollmentAction.COMPLETE, EnrollmentStatus.ACTIVE): EnrollmentAction.RESUME,
    (EnrollmentAction.RESUME, EnrollmentStatus.PAUSED): EnrollmentAction.PAUSE,
    (EnrollmentAction.RESUME, EnrollmentStatus.COMPLETED): EnrollmentAction.COMPLETE,
    (EnrollmentAction.RESUME, EnrollmentStatus.BOUNCED): EnrollmentAction.COMPLETE,
}


def _answer(call: Call, enrollment_id: UUID, back: str | None = None) -> EnrollmentAnswer:
    details = enrollments.get(call.session, enrollment_id=enrollment_id, now=call.now)
    return EnrollmentAnswer(enrollment=EnrollmentDetail.of(details), undo=back)


@toolsets.contacts.read("Find contacts")
def find_contacts(
    call: Call,
    search: Search = None,
    email: Email | None = None,
    company: CompanyName | None = None,
    contact_id: UUID | None = None,
    linkedin_url: LinkedInUrl | None = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    detail: Detail = "concise",
) -> ContactList:
    """Find people by exact email or linkedin_url, by company, or by words that are each part of name, email, company or
    title; newest first.
    """
    page = find(
        call.session,
        search=search,
        email=email,
        company=company,
        contact_id=contact_id,
        linkedin_url=linkedin_url,
        limit=limit,
        cursor=cursor,
    )
    among_many = email is None and contact_id is None and linkedin_url is None
    people = [ContactOut.of(row, detail, among_many=among_many) for row in page.rows]
    return ContactList(contacts=people, next_cursor=page.next_cursor)


@toolsets.contacts.write("Create or change contacts", idempotent=True)
def upsert_contacts(
    call: Call,
    contacts: Annotated[
        list[Row[ContactIn]],
        Field(min_length=1, max_length=BATCH_MAX),
        told_in("contacts of enroll_contacts; clear: fields to empty"),
    ],
    detail: Detail = "concise",
) -> UpsertAnswer:
    """Create or change 1 to 10,000 people, found by email or linkedin_url. Fields left out stay; attributes merge.
    results lists rows with a reason; with full, all. Enrolls nobody."""
    people, rejected = sort_out(contacts)
    fields = {index: person.to_fields() for index, person in people.items()}
    rows = [UpsertRow(index=index, status="invalid", reason=reason) for index, reason in rejected.items()]
    for index, found in find_or_create(call.session, people=fields, overwrite=True).items():
        rows.append(
            UpsertRow(index=index, status=found.status, contact_id=found.contact_id, reason=found.reason or found.note)
        )
    count = Counter(row.status for row in rows)
    return UpsertAnswer(
        created=count["created"],
        updated=count["updated"] + count["merged"],
        merged=count["merged"],
        invalid=count["invalid"],
        results=shown_rows(rows, detail),
    )


@toolsets.contacts.write("Erase a person", destructive=True, idempotent=True, mode=Mode.APART)
def erase_contact(
    call: Call,
    contact_id: UUID | None = None,
    email: Email | None = None,
    linkedin_url: LinkedInUrl | None = None,
) -> EraseAnswer:
    """Delete all personal data of one person, for good; give exactly one argument.

    Running enrollments are stopped. Counts stay, and a hash keeps the addresses suppressed. Erasing again
    removes what came in since. Text that names the person without an address or id is not found, nor are backups.
    """
    if sum(value is not None for value in (contact_id, email, linkedin_url)) != 1:
        raise InvalidInput("Give exactly one of contact_id, email and linkedin_url.")
    target = None if contact_id is not None else SuppressionTarget(email, None, linkedin_url)
    return erasure.erase(call.app, contact_id=contact_id, target=target, now=call.now, note=call.note)
