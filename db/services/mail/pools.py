"""The mailboxes of campaigns: each person is written to from one of them, the same all along."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db.domain.enrollment import Enrollment
from db.domain.errors import Refused
from db.domain.mailboxes import MailboxStatus, sending_of
from db.domain.pools import PoolMailbox, Pools
from db.domain.scheduling import Plan
from db.domain.sending_domains import SendingDomain
from db.domain.states import Channel, EnrollmentStatus
from db.models import CampaignInstance
from db.postgres.json import rows_parameter, to_text
from db.postgres.results import named

_READ = text("""
    SELECT m.id, m.address, m.status, m.problem, m.settings, m.sends_since, m.smtp_host, m.imap_host IS NOT NULL,
           d.domain, d.looked_at, d.absent_since, d.absent_until, d.signed_at
    FROM mailboxes m LEFT JOIN sending_domains d ON d.domain = split_part(m.address, '@', 2)
    WHERE m.address = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:addresses AS jsonb))))
       OR m.id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:ids AS jsonb)) AS uuid)))
    ORDER BY m.id
""").columns(
    *named("id", "address", "status", "problem", "settings", "sends_since", "smtp_host", "is_read"),
    *named("domain", "looked_at", "absent_since", "absent_until", "signed_at"),
)


def of_plans(
    session: Session, *, plans: Mapping[UUID, Plan], mailbox_ids: Collection[UUID] = (), asking: UUID | None = None
) -> Pools:
    """Returns the mailboxes that the campaigns name, as a pool or as an account, and those of these ids. `asking`: see
    Pools."""
    emails = [plan.sending.senders[Channel.EMAIL] for plan in plans.values() if Channel.EMAIL in plan.sending.senders]
    addresses = {address for plan in plans.values() for address in plan.sending.mailboxes}
    addresses |= {sender.account.strip().lower() for sender in emails}
    ids = {*mailbox_ids, *([asking] if asking is not None else [])}
    if not (addresses or ids):
        return Pools()
    values = {"addresses": to_text(sorted(addresses)), "ids": to_text(sorted(ids))}
    found = {
        id_: PoolMailbox(
            id_,
            address,
            sending_of(settings),
            host,
            is_read,
            MailboxStatus(status),
            problem,
            since,
            SendingDomain(*seen) if seen[0] is not None else None,
        )
        for id_, address, status, problem, settings, since, host, is_read, *seen in session.execute(_READ, values)
    }
    by_address = {mailbox.address: mailbox.id for mailbox in found.values()}
    of_campaign = {
        campaign_id: [by_address[address] for address in plan.sending.mailboxes if address in by_address]
        for campaign_id, plan in plans.items()
        if plan.sending.mailboxes
    }
    return Pools(found, of_campaign, asking=asking)


_PEOPLE = text("""
    SELECT w.instance_id, w.mailbox_id, (
        SELECT count(*) FROM campaign_enrollments e WHERE e.mailbox_id = w.mailbox_id AND e.instance_id = w.instance_id
    )
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(instance_id uuid, mailbox_id uuid)
""")


def people(session: Session, *, pools: Pools, campaigns: Collection[UUID]) -> Counter[tuple[UUID, UUID]]:
    """Returns (campaign, mailbox) -> how many people the mailbox writes to, or has written to."""
    rows = [
        {"instance_id": campaign_id, "mailbox_id": mailbox.id}
        for campaign_id in campaigns
        for mailbox in pools.pool(campaign_id)
    ]
    found = session.execute(_PEOPLE, rows_parameter(rows)) if rows else ()
    return Counter({(campaign_id, mailbox_id): count for campaign_id, mailbox_id, count in found})


_MAILS = text(f"""
    SELECT w.mailbox_id, (
        SELECT count(*) FROM campaign_enrollments e
        WHERE e.mailbox_id = w.mailbox_id AND e.status IN ('{EnrollmentStatus.ACTIVE}', '{EnrollmentStatus.PAUSED}')
          AND e.next_action_at <= :until
    )
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(mailbox_id uuid)
""")


def mails(session: Session, *, pools: Pools, until: datetime) -> Counter[UUID]:
    """Returns mailbox -> how many of its people wait for a step that is due by then, in any campaign."""
    rows = [{"mailbox_id": id_} for id_ in sorted(pools.mailboxes)]
    found = session.execute(_MAILS, rows_parameter(rows) | {"until": until}) if rows else ()
    return Counter(dict(tuple(row) for row in found))


_BEGIN = text("""
    UPDATE mailboxes SET sends_since = :now
    WHERE sends_since IS NULL AND id IN (
        SELECT id FROM mailboxes
        WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
        ORDER BY id FOR NO KEY UPDATE
    )
""")


def note_first(session: Session, *, pools: Pools, addresses: Collection[str], now: datetime) -> None:
    """Notes of mailboxes that have sent nothing before that they send from now on: their ramp-up begins."""
    new = [mailbox.id for mailbox in pools.mailboxes.values() if mailbox.since is None and mailbox.address in addresses]
    if new:
        session.execute(_BEGIN, {**rows_parameter(sorted(new)), "now": now})


_ADDRESSES = text("""
    SELECT id, address FROM mailboxes
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
""")


def kept(session: Session, *, enrollments: Sequence[Enrollment], plans: Mapping[UUID, Plan]) -> dict[UUID, str]:
    """Returns enrollment -> the address of the mailbox that its person has, in campaigns that name none any more."""
    of = {
        enrollment.id: enrollment.mailbox_id
        for enrollment in enrollments
        if enrollment.mailbox_id is not None and not plans[enrollment.campaign_id].sending.mailboxes
    }
    rows = rows_parameter(sorted(set(of.values())))
    addresses = dict(tuple(row) for row in session.execute(_ADDRESSES, rows)) if of else {}
    return {enrollment_id: addresses[id_] for enrollment_id, id_ in of.items() if id_ in addresses}


_OF_PERSON = text("""
    SELECT id, address FROM mailboxes
    WHERE id = :mailbox OR (CAST(:mailbox AS uuid) IS NULL
          AND address = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:rows AS jsonb)))))
""")


def addresses(session: Session, *, mailbox_id: UUID | None, named: Sequence[str]) -> dict[UUID, str]:
    """Returns the mailboxes that may write to a person: the one that does already, or those that a campaign names."""
    rows = session.execute(_OF_PERSON, {"mailbox": mailbox_id, **rows_parameter(list(named))})
    return dict(tuple(row) for row in rows)


_MOVE = text("""
    UPDATE campaign_enrollments SET mailbox_id = CAST(:to AS uuid), updated_at = now() WHERE mailbox_id = :mailbox
    RETURNING id
""")
_BOUND = text("SELECT count(*) FROM campaign_enrollments WHERE mailbox_id = :mailbox")


def bound(session: Session, *, mailbox_id: UUID) -> int:
    """Returns how many people a mailbox writes to, or has written to."""
    return session.scalars(_BOUND, {"mailbox": mailbox_id}).one()


def move(session: Session, *, mailbox_id: UUID, address: str, to: tuple[UUID, str]) -> int:
    """Lets another mailbox (its id and address) write to all the people of one, and take its place in campaigns.
    Returns how many people. Their next mails begin new threads."""
    naming = select(CampaignInstance).where(CampaignInstance.settings["mailboxes"].contains([address]))
    for campaign in session.scalars(naming.order_by(CampaignInstance.id).with_for_update()):
        pool = [to[1] if other == address else other for other in campaign.settings["mailboxes"]]
        campaign.settings = {**campaign.settings, "mailboxes": list(dict.fromkeys(pool))}
    session.flush()
    return len(session.execute(_MOVE, {"mailbox": mailbox_id, "to": to[0]}).all())


def check_unused(session: Session, *, mailbox_id: UUID, address: str) -> None:
    """Refused if people are written to from a mailbox, or campaigns name it."""
    people = bound(session, mailbox_id=mailbox_id)
    naming = select(func.count()).where(CampaignInstance.settings["mailboxes"].contains([address]))
    campaigns = session.scalars(naming).one()
    if people or campaigns:
        raise Refused(
            f"{address} writes to {people:,} people, and {campaigns:,} campaigns name it. Give --move-to with the "
            "address of another mailbox, which then writes to them in new threads."
        )
