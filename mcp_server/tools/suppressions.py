"""Suppressions and exclusions: the addresses that nobody writes to, and those that one campaign leaves out."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from pydantic import Field

from db.domain.contacts import CONSENT, SuppressionTarget
from db.domain.errors import InvalidInput
from db.domain.field_limits import BATCH_MAX, EMAIL_MAX, PAGE_DEFAULT, PROVIDER_ID_MAX
from db.domain.states import SuppressionReason, SuppressionState, SuppressVerdict
from db.services.people import exclusions, suppression_lists, suppressions
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call
from mcp_server.schemas import undo
from mcp_server.schemas.base import Cursor, Limit, Line, Moment, Row, sort_out, spelled
from mcp_server.schemas.contacts import (
    Domain,
    Email,
    LinkedInUrl,
    SuppressAnswer,
    Suppressible,
    SuppressionList,
    SuppressionOut,
    SuppressRow,
    UnsuppressAnswer,
)

if TYPE_CHECKING:
    from db.models import CampaignExclusion, Suppression
    from db.services.paging import Page

_HELD_FOR_GOOD = "is suppressed for good, by the person's own wish or a bounce: leave expires_at out"


@toolsets.contacts.write("Suppress addresses", idempotent=True)
def suppress(
    call: Call,
    email: Email | None = None,
    domain: Domain | None = None,
    linkedin_url: LinkedInUrl | None = None,
    addresses: Annotated[list[Row[Suppressible]] | None, Field(min_length=1, max_length=BATCH_MAX)] = None,
    campaign_id: UUID | None = None,
    reason: SuppressionReason = SuppressionReason.MANUAL,
    source: Annotated[Line | None, Field(max_length=PROVIDER_ID_MAX, description="Who asked for it")] = None,
    expires_at: Moment | None = None,
) -> SuppressAnswer:
    """Never write again to an email, a domain (without its subdomains) or a LinkedIn profile: give one, or up to 10,000
    of any kind as addresses; with campaign_id, in that campaign alone.

    Running enrollments are stopped for good. results lists what was not taken. Undo: unsuppress.
    """
    if expires_at is not None and expires_at <= call.now:
        raise InvalidInput("expires_at must lie in the future. To end a suppression now call unsuppress.")
    if expires_at is not None and campaign_id is not None:
        raise InvalidInput(
            "expires_at does not go with campaign_id: a campaign leaves somebody out until unsuppress lifts it. Leave "
            "one of them out."
        )
    if addresses is None:
        return _one(call, _target(email, domain, linkedin_url), campaign_id, reason, source, expires_at)
    if any(value is not None for value in (email, domain, linkedin_url)):
        raise InvalidInput("Give addresses, or one of email, domain and linkedin_url, and not both.")
    targets, rejected = sort_out(addresses)
    distinct = dict.fromkeys(targets.values(), reason)
    if campaign_id is None:
        done = suppression_lists.suppress_all(call.session, reasons=distinct, source=source, expires_at=expires_at)
    else:
        done = exclusions.exclude_all(
            call.session, campaign_id=campaign_id, targets=distinct, reason=reason, source=source
        )
    verdicts = done.of_rows(targets)
    count = Counter(verdicts.values())
    rows = [SuppressRow(index=index, status="invalid", reason=why) for index, why in rejected.items()]
    rows += [
        SuppressRow(index=index, status=verdict, reason=_HELD_FOR_GOOD)
        for index, verdict in verdicts.items()
        if verdict is SuppressVerdict.REFUSED
    ]
    return SuppressAnswer(
        suppressed=count[SuppressVerdict.SUPPRESSED],
        already_suppressed=count[SuppressVerdict.ALREADY_SUPPRESSED],
        refused=count[SuppressVerdict.REFUSED],
        invalid=len(rejected),
        stopped_enrollments=done.stopped_enrollments,
        results=sorted(rows, key=lambda row: row.index),
        undo=None if reason in CONSENT else undo.calls(_lifts(done.verdicts, campaign_id)),
    )


def _lifts(verdicts: Mapping[SuppressionTarget, SuppressVerdict], campaign_id: UUID | None) -> Iterator[str]:
    """Yields the calls that lift what is new. What was suppressed before must stay so."""
    for target, verdict in verdicts.items():
        if verdict is SuppressVerdict.SUPPRESSED:
            yield _lift(target, campaign_id)


def _lift(target: SuppressionTarget, campaign_id: UUID | None) -> str:
    of_campaign = {} if campaign_id is None else {"campaign_id": campaign_id}
    return spelled("unsuppress", **{target.kind: target.value}, **of_campaign)


def _one(
    call: Call,
    target: SuppressionTarget,
    campaign_id: UUID | None,
    reason: SuppressionReason,
    source: str | None,
    expires_at: datetime | None,
) -> SuppressAnswer:
    row: Suppression | CampaignExclusion | None
    if campaign_id is None:
        is_new = suppressions.find(call.session, target=target) is None
        row, stopped = suppressions.suppress(
            call.session,
            email=target.email,
            domain=target.domain,
            linkedin_url=target.linkedin_url,
            reason=reason,
            source=source,
            expires_at=expires_at,
        )
    else:
        is_new = exclusions.find(call.session, campaign_id=campaign_id, target=target) is None
        done = exclusions.exclude_all(
            call.session, campaign_id=campaign_id, targets=[target], reason=reason, source=source
        )
        row = exclusions.find(call.session, campaign_id=campaign_id, target=target)
        # Of an erased person the address is not written down again.
        row, stopped = row or suppressions.find_erased(call.session, target), done.stopped_enrollments
    shown = None if row is None else SuppressionOut.model_validate(row)
    lifts = is_new and reason not in CONSENT and shown is not None and not shown.is_erased
    back = _lift(target, campaign_id) if lifts else None
    return SuppressAnswer(suppression=shown, stopped_enrollments=stopped, undo=back)


# Destructive: a record that somebody must not be written to is lost, so a host should ask before it calls this.
@toolsets.contacts.write("Lift a suppression", destructive=True, idempotent=True)
def unsuppress(
    call: Call,
    email: Email | None = None,
    domain: Domain | None = None,
    linkedin_url: LinkedInUrl | None = None,
    has_new_consent: Annotated[
        bool, Field(description="They asked to be written to again, and you hold the evidence")
    ] = False,
    campaign_id: UUID | None = None,
) -> UnsuppressAnswer:
    """Lift the suppression of one email, domain or LinkedIn profile; with campaign_id, that of a campaign.

    An unsubscribe or complaint is lifted only by the person's own later wish (has_new_consent), an erasure never.
    Stopped enrollments stay stopped.
    """
    target = _target(email, domain, linkedin_url)
    row: Suppression | CampaignExclusion
    of_campaign = {} if campaign_id is None else {"campaign_id": campaign_id}
    if campaign_id is None:
        row = suppressions.unsuppress(call.session, target=target, has_new_consent=has_new_consent, now=call.now)
    else:
        row = exclusions.lift(call.session, campaign_id=campaign_id, target=target, has_new_consent=has_new_consent)
    others = suppressions.still_holding(call.session, target=target, now=call.now)
    return UnsuppressAnswer(
        lifted=SuppressionOut.model_validate(row),
        still_suppressed_by=[SuppressionOut.model_validate(other) for other in others],
        undo=spelled("suppress", **{target.kind: target.value}, reason=row.reason, **of_campaign),
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
    campaign_id: UUID | None = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> SuppressionList:
    """List the addresses that are not written to, newest first, or those that contain search; with campaign_id, those
    that it alone leaves out. active leaves out expired ones. Erased people are listed without an address."""
    page: Page[Suppression] | Page[CampaignExclusion]
    if campaign_id is None:
        page = suppressions.list_(
            call.session, reason=reason, search=search, state=state, limit=limit, cursor=cursor, now=call.now
        )
    else:
        page = exclusions.list_(
            call.session, campaign_id=campaign_id, reason=reason, search=search, state=state, limit=limit, cursor=cursor
        )
    shown = [SuppressionOut.model_validate(row) for row in page.rows]
    return SuppressionList(suppressions=shown, next_cursor=page.next_cursor)
