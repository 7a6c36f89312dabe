"""Exclusions: addresses to which one campaign must not write. Other campaigns are not affected.

An exclusion is for an email, a LinkedIn profile, or every email of one domain, as a suppression is. It holds for
everybody who has or had the address, and has no end. db.services.people.suppressions reads it for enrollment and for
claims.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Select, false, select, text
from sqlalchemy.orm import Session

from db.domain.contacts import CONSENT, SuppressionTarget
from db.domain.errors import NotFound, Refused
from db.domain.ids import new_ids
from db.domain.states import SuppressionReason, SuppressionState, SuppressVerdict
from db.models import CampaignExclusion
from db.postgres.json import rows_parameter
from db.services.campaigns import campaigns
from db.services.paging import Page, page
from db.services.people.suppression_lists import Suppressed, lock_concerned
from db.services.people.suppression_rows import OWN_WISH, STRENGTH
from db.services.people.suppressions import stop_enrollments
from db.services.secrets import ADDRESS_HASH, ERASURE_KEY

_EXCLUDE = text(f"""
    WITH {ERASURE_KEY},
    hashed AS MATERIALIZED (
        SELECT n.id, n.address, {ADDRESS_HASH.format(address="n.address")} AS hash
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(id uuid, address text) LEFT JOIN k ON TRUE
    ), given AS MATERIALIZED (
        SELECT n.id, n.address FROM hashed n
        WHERE NOT EXISTS (SELECT FROM suppressions s WHERE s.address_hash = n.hash) ORDER BY n.address
    )
    INSERT INTO campaign_exclusions AS known (instance_id, id, address, reason, source)
    SELECT :campaign, id, address, :reason, :source FROM given
    ON CONFLICT (instance_id, address) DO UPDATE SET reason = excluded.reason, source = excluded.source
    WHERE {STRENGTH.format(row="excluded")} > {STRENGTH.format(row="known")}
       OR ({STRENGTH.format(row="excluded")} = {STRENGTH.format(row="known")} AND NOT known.{OWN_WISH})
    RETURNING id
""")


def address_of(target: SuppressionTarget) -> str:
    """Returns the target in the form that an exclusion stores: in lower case; a domain begins with an @."""
    return f"@{target.value}".lower() if target.domain is not None else target.value.lower()


def exclude_all(
    session: Session,
    *,
    campaign_id: UUID,
    targets: Collection[SuppressionTarget],
    reason: SuppressionReason,
    source: str | None,
) -> Suppressed:
    """Excludes addresses (normalised) from one campaign, and stops the enrollments there of their people.

    Excluding again replaces reason and source, but never weakens a person's own wish. NotFound if there is no such
    campaign. The address of an erased person is not stored again, since it is suppressed for ever.
    """
    campaigns.get(session, campaign_id=campaign_id)
    # An exclusion also holds for former owners of an address, as a wish does.
    people = lock_concerned(session, dict.fromkeys(targets, SuppressionReason.UNSUBSCRIBED))
    addresses = {address_of(target): target for target in reversed([*targets])}
    ids = dict(zip(new_ids(len(addresses)), addresses, strict=True))
    rows = [{"id": id_, "address": address} for id_, address in ids.items()]
    values = {**rows_parameter(rows), "campaign": campaign_id, "reason": reason, "source": source}
    written: list[UUID] = [*session.scalars(_EXCLUDE, values)] if rows else []
    made = {addresses[ids[id_]] for id_ in written if id_ in ids}
    verdicts = {
        target: SuppressVerdict.SUPPRESSED if target in made else SuppressVerdict.ALREADY_SUPPRESSED
        for target in targets
    }
    return Suppressed(verdicts, stop_enrollments(session, [*people], campaign_id=campaign_id))


def _of(campaign_id: UUID, target: SuppressionTarget) -> Select[CampaignExclusion]:
    return select(CampaignExclusion).filter_by(campaign_id=campaign_id, address=address_of(target))


def find(session: Session, *, campaign_id: UUID, target: SuppressionTarget) -> CampaignExclusion | None:
    """Returns the exclusion of exactly this address; None if there is none. Erased people have none."""
    return session.scalars(_of(campaign_id, target).execution_options(populate_existing=True)).one_or_none()


def lift(session: Session, *, campaign_id: UUID, target: SuppressionTarget, has_new_consent: bool) -> CampaignExclusion:
    """Lifts the exclusion of exactly this address, and returns it. Enrollments that it stopped stay stopped.

    NotFound if there is none. Refused for a person's own wish unless `has_new_consent`.
    """
    row = session.scalars(_of(campaign_id, target).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(
            "exclusion of this",
            target.kind,
            hint="list_suppressions with campaign_id shows those there are; without it, those of all campaigns.",
        )
    if row.reason in CONSENT and not has_new_consent:
        raise Refused(
            f"The person asked for no more of this campaign (reason {row.reason}, recorded {row.created_at:%Y-%m-%d}), "
            "so nothing was lifted. If they asked for it again since, and you hold the evidence, call unsuppress again "
            "with has_new_consent=true; if not, leave it."
        )
    session.delete(row)
    session.flush()
    return row


def list_(
    session: Session,
    *,
    campaign_id: UUID,
    reason: SuppressionReason | None,
    search: str | None,
    state: SuppressionState | None = None,
    limit: int,
    cursor: str | None,
) -> Page[CampaignExclusion]:
    """Returns the exclusions of one campaign, newest first. Filters: one reason, addresses that contain `search`. No
    exclusion expires."""
    campaigns.get(session, campaign_id=campaign_id)
    statement = select(CampaignExclusion).filter_by(campaign_id=campaign_id)
    if state is SuppressionState.EXPIRED:
        statement = statement.where(false())
    if reason is not None:
        statement = statement.where(CampaignExclusion.reason == reason)
    if search is not None:
        statement = statement.where(CampaignExclusion.address.contains(search.lower(), autoescape=True))
    return page(session, statement, by=[CampaignExclusion.id], limit=limit, cursor=cursor, listing="exclusions")
