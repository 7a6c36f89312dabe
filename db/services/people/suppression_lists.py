"""Writes many suppressions in one call, with few statements: an imported list, or the opt-outs of a file of people."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.contacts import CONSENT, SuppressionTarget, strength
from db.domain.errors import InvalidInput
from db.domain.states import SuppressionReason, SuppressVerdict
from db.models import DOMAIN_BACKWARDS
from db.postgres.json import rows_parameter
from db.services.people import suppression_rows
from db.services.people.opt_outs import ANOTHER_ADDRESS, IS_SHARED, add_for_contacts
from db.services.people.suppressions import stop_enrollments


class Suppressed(NamedTuple):
    """What became of each address, and how many running enrollments were stopped. An address is refused if it should
    get an end but is already suppressed for good."""

    verdicts: Mapping[SuppressionTarget, SuppressVerdict]
    stopped_enrollments: int

    @property
    def added(self) -> int:
        """How many suppressions are new."""
        return sum(verdict is SuppressVerdict.SUPPRESSED for verdict in self.verdicts.values())

    @property
    def known(self) -> int:
        """How many addresses were suppressed before."""
        return len(self.verdicts) - self.added

    def of_rows(self, targets: Mapping[int, SuppressionTarget]) -> dict[int, SuppressVerdict]:
        """Returns the verdict on each row of a call. If several rows have the same address, the first one adds the
        suppression."""
        seen = set[SuppressionTarget]()
        verdicts: dict[int, SuppressVerdict] = {}
        for row, target in targets.items():
            verdict = self.verdicts[target]
            is_repeated = verdict is SuppressVerdict.SUPPRESSED and target in seen
            verdicts[row] = SuppressVerdict.ALREADY_SUPPRESSED if is_repeated else verdict
            seen.add(target)
        return verdicts


def suppress_all(
    session: Session,
    *,
    reasons: Mapping[SuppressionTarget, SuppressionReason],
    source: str | None,
    expires_at: datetime | None = None,
) -> Suppressed:
    """Suppresses each of these addresses (normalised) and stops the running enrollments of their owners.

    As with suppressions.suppress, nothing is weakened: a stronger reason stays, and a person's wish stays as it was
    recorded. `expires_at` is the end of manual suppressions; InvalidInput with another reason.
    """
    if expires_at is not None and set(reasons.values()) - {SuppressionReason.MANUAL}:
        raise InvalidInput(
            "expires_at goes with reason manual alone: no other suppression ends by itself. Leave it out."
        )
    # The people are locked before the rows are written, so that an enrollment at the same time either sees the rows or
    # is stopped here.
    people = lock_concerned(session, reasons)
    verdicts = suppression_rows.write(session, reasons=reasons, source=source, expires_at=expires_at)
    wishes = {contact_id: reason for contact_id, reason in people.items() if reason in CONSENT}
    add_for_contacts(session, reasons=wishes, source=ANOTHER_ADDRESS, besides_only=True)
    return Suppressed(verdicts, stop_enrollments(session, [*people]))


_CONCERNED = text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
            n int, email text, domain text, linkedin_url text, is_wish boolean)
    )
    SELECT g.n, contacts.id FROM given g JOIN contacts ON lower(contacts.email) = g.email
    UNION SELECT g.n, contacts.id FROM given g
        JOIN contacts ON {DOMAIN_BACKWARDS.format(row="contacts")} = reverse(g.domain)
    UNION SELECT g.n, contacts.id FROM given g JOIN contacts ON lower(contacts.linkedin_url) = lower(g.linkedin_url)
    UNION SELECT g.n, a.contact_id FROM given g JOIN contact_addresses a
        ON a.address = lower(coalesce(g.email, g.linkedin_url)) WHERE g.is_wish OR ({IS_SHARED})
""")
_LOCK = text("""
    SELECT id FROM contacts
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))) ORDER BY id FOR UPDATE
""")


def lock_concerned(
    session: Session, reasons: Mapping[SuppressionTarget, SuppressionReason]
) -> dict[UUID, SuppressionReason]:
    """Returns the people whom the addresses concern, as in suppressions.suppress, with the strongest reason. Their rows
    stay locked."""
    targets = list(reasons)
    rows = [
        {"n": n, target.kind: target.value, "is_wish": reasons[target] in CONSENT} for n, target in enumerate(targets)
    ]
    people: dict[UUID, SuppressionReason] = {}
    for number, contact_id in session.execute(_CONCERNED, rows_parameter(rows)):
        reason = reasons[targets[number]]
        people[contact_id] = max(people.get(contact_id, reason), reason, key=strength)
    session.execute(_LOCK, rows_parameter(list(people)))
    return people
