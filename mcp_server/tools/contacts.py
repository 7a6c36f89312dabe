"""People: who they are, which campaigns they are in, and whom not to write to."""

from collections import Counter
from typing import Annotated
from uuid import UUID

from pydantic import Field

from db.domain.contacts import SuppressionTarget
from db.domain.errors import InvalidInput
from db.domain.field_limits import BATCH_MAX, EMAIL_MAX, PAGE_DEFAULT, PROVIDER_ID_MAX
from db.domain.states import (
    EnrollmentAction,
    EnrollmentStatus,
    EnrollVerdict,
    SuppressionReason,
    SuppressionState,
)
from db.services.campaigns import plans
from db.services.enrollments import enrollments
from db.services.people import suppressions
from db.services.people.contacts import find, find_or_create
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call, Mode
from mcp_server.jobs import erasure
from mcp_server.schemas.base import Cursor, Detail, Limit, Line, Moment, Row, Search, sort_out
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
    SuppressAnswer,
    SuppressionList,
    SuppressionOut,
    UnsuppressAnswer,
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
)


@toolsets.contacts.write("Enroll contacts", idempotent=True)
def enroll_contacts(
    call: Call,
    campaign_id: UUID,
    contacts: Annotated[list[Row[EnrollIn]], Field(min_length=1, max_length=BATCH_MAX)],
    start_at: Moment | None = None,
    all_or_nothing: bool = False,
) -> EnrollAnswer:
    """Enroll 1 to 10,000 people in a campaign; who is not known becomes a contact. Sends nothing.

    Each row is answered: enrolled, already_enrolled, suppressed or invalid (with the reason); the others are taken in
    all the same, unless all_or_nothing. start_at delays the first step; a draft's steps fall due when it starts. Next:
    start_campaign or list_enrollments.
    """
    people, rejected = sort_out(contacts)
    enrolled = enrollments.enroll(
        call.session,
        campaign_id=campaign_id,
        people={index: person.to_ref() for index, person in people.items()},
        start_at=start_at,
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
    rows.sort(key=lambda row: row.index)
    if all_or_nothing:
        _refuse_any_invalid(rows)
    count = Counter(row.status for row in rows)
    return EnrollAnswer(
        enrolled=count[EnrollVerdict.ENROLLED],
        already_enrolled=count[EnrollVerdict.ALREADY_ENROLLED],
        suppressed=count[EnrollVerdict.SUPPRESSED],
        invalid=count[EnrollVerdict.INVALID],
        results=rows,
        warnings=_without_steps(call, campaign_id) if count[EnrollVerdict.ENROLLED] else [],
    )


def _without_steps(call: Call, campaign_id: UUID) -> list[str]:
    if plans.of_campaign(call.session, instance_id=campaign_id).steps:
        return []
    return ["Every step of the campaign's template is out of use, so nothing is sent. update_template adds steps."]


def _refuse_any_invalid(rows: list[EnrollRow]) -> None:
    invalid = [row for row in rows if row.status == EnrollVerdict.INVALID]
    if invalid:
        first = f"contacts.{invalid[0].index}: {invalid[0].reason}"
        raise InvalidInput(
            f"{len(invalid)} of {len(rows)} contacts are invalid and all_or_nothing is set, so nobody was enrolled. "
            f"First: {first}. Correct them, or leave all_or_nothing out."
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
    """List who is enrolled in a campaign and how far, newest first; or the enrollments of a person, or of an email
    domain's people, in every campaign. Give campaign_id, contact_id or domain. Next: get_enrollment.
    """
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
    )
    lines = [
        EnrollmentLine.of(one.enrollment, one.contact, detail, names_campaign=campaign_id is None) for one in page.rows
    ]
    return EnrollmentList(enrollments=lines, next_cursor=page.next_cursor)


@toolsets.contacts.read("Get an enrollment")
def get_enrollment(call: Call, enrollment_id: UUID) -> EnrollmentAnswer:
    """Show one enrollment: the person, each step done, and the latest events."""
    return _answer(call, enrollment_id)


@toolsets.contacts.write("Change an enrollment")
def update_enrollment(call: Call, enrollment_id: UUID, action: EnrollmentAction) -> EnrollmentAnswer:
    """Change one enrollment. advance skips the next step. unsubscribe also suppresses the person and stops all their
    enrollments; it can't be undone.
    """
    enrollments.update(call.session, enrollment_id=enrollment_id, action=action, now=call.now)
    return _answer(call, enrollment_id)


def _answer(call: Call, enrollment_id: UUID) -> EnrollmentAnswer:
    details = enrollments.get(call.session, enrollment_id=enrollment_id)
    return EnrollmentAnswer(
        enrollment=EnrollmentDetail.of(details.enrollment, details.contact, details.actions, details.events)
    )


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
    """Find people by exact email or linkedin_url, by company, or by part of name, email, company or title; newest
    first. Of who was erased, contact_id shows when, and nothing else.
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
    call: Call, contacts: Annotated[list[Row[ContactIn]], Field(min_length=1, max_length=BATCH_MAX)]
) -> UpsertAnswer:
    """Create or change 1 to 10,000 people, found by email or linkedin_url. Fields left out stay; attributes merge.
    Rows about one person are merged in order. Enrolls nobody. Next: enroll_contacts.
    """
    people, rejected = sort_out(contacts)
    fields = {index: person.to_fields() for index, person in people.items()}
    rows = [UpsertRow(index=index, status="invalid", reason=reason) for index, reason in rejected.items()]
    for index, found in find_or_create(call.session, people=fields, overwrite=True).items():
        rows.append(
            UpsertRow(index=index, status=found.status, contact_id=found.contact_id, reason=found.reason or found.note)
        )
    rows.sort(key=lambda row: row.index)
    count = Counter(row.status for row in rows)
    return UpsertAnswer(
        created=count["created"],
        updated=count["updated"] + count["merged"],
        merged=count["merged"],
        invalid=count["invalid"],
        results=rows,
    )


@toolsets.contacts.write("Suppress an address", idempotent=True)
def suppress(
    call: Call,
    email: Email | None = None,
    domain: Domain | None = None,
    linkedin_url: LinkedInUrl | None = None,
    reason: SuppressionReason = SuppressionReason.MANUAL,
    source: Annotated[Line | None, Field(max_length=PROVIDER_ID_MAX, description="Who asked for it")] = None,
    expires_at: Moment | None = None,
) -> SuppressAnswer:
    """Never write again to an email address, a domain or a LinkedIn profile: give exactly one.

    Running enrollments it concerns are stopped in every campaign, and can't be enrolled again. A domain covers the
    addresses directly at it, not those at subdomains. expires_at ends a manual one; what was stopped stays stopped. An
    unsubscribe, complaint or bounce is never weakened. Undo: unsuppress.
    """
    target = _target(email, domain, linkedin_url)
    if expires_at is not None and expires_at <= call.now:
        raise InvalidInput("expires_at must lie in the future. To end a suppression now call unsuppress.")
    row, stopped = suppressions.suppress(
        call.session,
        email=target.email,
        domain=target.domain,
        linkedin_url=target.linkedin_url,
        reason=reason,
        source=source,
        expires_at=expires_at,
    )
    return SuppressAnswer(suppression=SuppressionOut.model_validate(row), stopped_enrollments=stopped)


# Destructive: a record that somebody must not be written to is lost, so a host should ask before it calls this.
@toolsets.contacts.write("Lift a suppression", destructive=True, idempotent=True)
def unsuppress(
    call: Call,
    email: Email | None = None,
    domain: Domain | None = None,
    linkedin_url: LinkedInUrl | None = None,
    has_new_consent: Annotated[
        bool, Field(description="They asked to be written to again since, and you hold the evidence")
    ] = False,
) -> UnsuppressAnswer:
    """Lift the suppression of one email address, domain or LinkedIn profile: give exactly one, as suppressed.

    Manual ones and bounces are lifted freely; an unsubscribe or complaint only by the person's own later wish
    (has_new_consent); an erased person never. Stopped enrollments stay stopped: enroll_contacts in another campaign.
    still_suppressed_by tells what else holds the person.
    """
    target = _target(email, domain, linkedin_url)
    row = suppressions.unsuppress(call.session, target=target, has_new_consent=has_new_consent, now=call.now)
    others = suppressions.still_holding(call.session, target=target, now=call.now)
    return UnsuppressAnswer(
        lifted=SuppressionOut.model_validate(row),
        still_suppressed_by=[SuppressionOut.model_validate(other) for other in others],
    )


def _target(email: str | None, domain: str | None, linkedin_url: str | None) -> SuppressionTarget:
    if sum(address is not None for address in (email, domain, linkedin_url)) != 1:
        raise InvalidInput("Give exactly one of email, domain and linkedin_url; call once for each address.")
    return SuppressionTarget(email, domain, linkedin_url)


@toolsets.contacts.read("List suppressions")
def list_suppressions(
    call: Call,
    reason: SuppressionReason | None = None,
    state: SuppressionState | None = None,
    search: Annotated[Line | None, Field(min_length=1, max_length=EMAIL_MAX)] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> SuppressionList:
    """List the addresses that are not written to, newest first, or those that contain search. active leaves out the
    expired. Erased people are listed without address.
    """
    page = suppressions.list_(
        call.session, reason=reason, search=search, state=state, limit=limit, cursor=cursor, now=call.now
    )
    shown = [SuppressionOut.model_validate(row) for row in page.rows]
    return SuppressionList(suppressions=shown, next_cursor=page.next_cursor)


@toolsets.contacts.write("Erase a person", destructive=True, idempotent=True, mode=Mode.APART)
def erase_contact(
    call: Call,
    contact_id: UUID | None = None,
    email: Email | None = None,
    linkedin_url: LinkedInUrl | None = None,
) -> EraseAnswer:
    """Delete all personal data of one person, for good: give exactly one argument. It can't be undone.

    It goes from contacts, suppressions, events, kept answers, jobs and the cache; running enrollments are stopped.
    Counts stay, and a hash keeps the addresses suppressed for ever. Erasing again is safe, and removes what came since.
    Not found is text that names the person without address or id, and what others keep, as backups.
    """
    if sum(one is not None for one in (contact_id, email, linkedin_url)) != 1:
        raise InvalidInput("Give exactly one of contact_id, email and linkedin_url.")
    target = None if contact_id is not None else _target(email, None, linkedin_url)
    return erasure.erase(call.app, contact_id=contact_id, target=target, now=call.now, note=call.note)
