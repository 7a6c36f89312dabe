"""The time zone of each enrollment, in campaigns whose window is read in the zone of the person.

It is kept with the enrollment, so that the due queue can be read zone by zone, and it changes with the settings and the
person that it comes from.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.sending import Sending
from db.postgres.json import rows_parameter

# Large enough to make round trips cheap, and small enough to stay far from statement_timeout.
_CHUNK = 20_000

_OF_CAMPAIGN = text("""
    WITH picked AS MATERIALIZED (
        SELECT e.instance_id, e.id, e.contact_id FROM campaign_enrollments e
        WHERE e.instance_id = :campaign AND e.id > :after AND e.status IN ('enrolled', 'active', 'paused')
        ORDER BY e.id LIMIT :chunk FOR NO KEY UPDATE
    ), moved AS (
        UPDATE campaign_enrollments e
        SET zone = CASE WHEN CAST(:follows AS bool) THEN coalesce(c.timezone, :zone) END, updated_at = now()
        FROM picked p JOIN contacts c ON c.id = p.contact_id
        WHERE e.instance_id = p.instance_id AND e.id = p.id
          AND e.zone IS DISTINCT FROM (CASE WHEN CAST(:follows AS bool) THEN coalesce(c.timezone, :zone) END)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM moved), (SELECT id FROM picked ORDER BY id DESC LIMIT 1)
""")


def of_campaign(session: Session, *, campaign_id: UUID, sending: Sending) -> None:
    """Gives everybody who waits in a campaign, which the caller has locked, the zone that its settings ask for."""
    values = {"campaign": campaign_id, "follows": sending.follows_contact, "zone": sending.zone, "chunk": _CHUNK}
    after: UUID | None = UUID(int=0)
    while after is not None:
        _, after = session.execute(_OF_CAMPAIGN, {**values, "after": after}).one()


# A transaction that changes a campaign meanwhile is waited for, or waits: it has seen the person's new zone, or its
# change is seen here.
_LOCK_CAMPAIGNS = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM campaign_instances i
        WHERE i.id IN (
            SELECT e.instance_id FROM campaign_enrollments e
            WHERE e.contact_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
              AND e.status IN ('enrolled', 'active', 'paused')
        )
        ORDER BY i.id FOR SHARE
    ) locked
""")
_OF_PEOPLE = text("""
    WITH picked AS MATERIALIZED (
        SELECT e.instance_id, e.id, coalesce(c.timezone, i.settings ->> 'timezone', 'UTC') AS zone
        FROM campaign_enrollments e
        JOIN contacts c ON c.id = e.contact_id
        JOIN campaign_instances i ON i.id = e.instance_id
        WHERE e.contact_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
          AND e.status IN ('enrolled', 'active', 'paused') AND e.zone IS NOT NULL
        ORDER BY e.instance_id, e.id FOR NO KEY UPDATE OF e
    )
    UPDATE campaign_enrollments e SET zone = p.zone, updated_at = now()
    FROM picked p WHERE e.instance_id = p.instance_id AND e.id = p.id
""")


def of_people(session: Session, *, contact_ids: Collection[UUID]) -> None:
    """Updates the enrollments of these people, whom the caller has locked, after their time zones have changed."""
    if contact_ids:
        parameter = rows_parameter(list(contact_ids))
        session.execute(_LOCK_CAMPAIGNS, parameter)
        session.execute(_OF_PEOPLE, parameter)
