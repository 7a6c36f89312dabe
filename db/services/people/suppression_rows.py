"""The rows of suppressions, written by one statement for each kind of address.

A row is never weakened: a stronger reason stays, and a person's own wish stays as it was recorded. What a stronger one
replaces is kept beside it, and so is what others say of an address that a mail has suppressed: the mail may be sorted
again, and its suppression lifted.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.contacts import CONSENT, SuppressionTarget
from db.domain.ids import new_ids
from db.domain.mail.effects import PROVIDER
from db.domain.states import SuppressionReason, SuppressVerdict
from db.postgres.json import rows_parameter
from db.services.secrets import ADDRESS_HASH, ERASURE_KEY

OWN_WISH = "reason IN ({})".format(", ".join(f"'{reason}'" for reason in sorted(CONSENT)))
"""Of a suppression: whether it is the person's own wish."""

# db.domain.contacts.strength, of a row.
STRENGTH = f"""
    CASE WHEN {{row}}.{OWN_WISH} THEN 2 WHEN {{row}}.reason = '{SuppressionReason.BOUNCED}' THEN 1 ELSE 0 END
"""
_STRENGTH_OF_REPLACED = f"""
    CASE WHEN known.replaced_{OWN_WISH} THEN 2 WHEN known.replaced_reason = '{SuppressionReason.BOUNCED}' THEN 1
         WHEN known.replaced_reason IS NOT NULL THEN 0 ELSE -1 END
"""
_TAKES_OVER = f"""
    ({STRENGTH.format(row="excluded")} > {STRENGTH.format(row="known")}
     OR ({STRENGTH.format(row="excluded")} = {STRENGTH.format(row="known")} AND NOT known.{OWN_WISH}))
"""
_IS_KEPT = f"""
    (known.source = '{PROVIDER}' AND excluded.source IS DISTINCT FROM known.source AND excluded.expires_at IS NULL
     AND {STRENGTH.format(row="excluded")} > {_STRENGTH_OF_REPLACED})
"""
# Of what one source says again and again, that which stood before is kept.
_IS_AGAIN = "known.source IS NOT DISTINCT FROM excluded.source"

# The address of an erased person stays a hash, and is not stored again.
_INSERT = f"""
    WITH {ERASURE_KEY},
    hashed AS MATERIALIZED (
        SELECT n.id, n.address, n.reason, {ADDRESS_HASH.format(address="n.address")} AS hash
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(id uuid, address text, reason text) LEFT JOIN k ON TRUE
    ), given AS MATERIALIZED (
        SELECT DISTINCT ON ({{key}}) n.id, n.address, n.reason FROM hashed n
        WHERE NOT EXISTS (SELECT FROM suppressions s WHERE s.address_hash = n.hash)
        ORDER BY {{key}}, {STRENGTH.format(row="n")} DESC, n.id
    )
    INSERT INTO suppressions AS known (id, {{target}}, reason, source, expires_at)
    SELECT id, address, reason, :source, CAST(:expires_at AS timestamptz) FROM given
    ON CONFLICT ({{key_of}}) WHERE {{target}} IS NOT NULL DO UPDATE
    SET reason = CASE WHEN {_TAKES_OVER} THEN excluded.reason ELSE known.reason END,
        source = CASE WHEN {_TAKES_OVER} THEN excluded.source ELSE known.source END,
        expires_at = CASE WHEN {_TAKES_OVER} THEN excluded.expires_at ELSE known.expires_at END,
        replaced_reason = CASE WHEN NOT {_TAKES_OVER} THEN excluded.reason
                               WHEN {_IS_AGAIN} THEN known.replaced_reason ELSE known.reason END,
        replaced_source = CASE WHEN NOT {_TAKES_OVER} THEN excluded.source
                               WHEN {_IS_AGAIN} THEN known.replaced_source ELSE known.source END,
        replaced_expires_at = CASE WHEN NOT {_TAKES_OVER} THEN NULL
                                   WHEN {_IS_AGAIN} THEN known.replaced_expires_at ELSE known.expires_at END
    WHERE {_TAKES_OVER} OR {_IS_KEPT}
    RETURNING id, lower({{target}})
"""
_INSERTS = {
    "email": text(_INSERT.format(target="email", key="n.address", key_of="email")),
    "domain": text(_INSERT.format(target="domain", key="n.address", key_of="domain")),
    "linkedin_url": text(_INSERT.format(target="linkedin_url", key="lower(n.address)", key_of="lower(linkedin_url)")),
}


def write(
    session: Session,
    *,
    reasons: Mapping[SuppressionTarget, SuppressionReason],
    source: str | None,
    expires_at: datetime | None,
) -> dict[SuppressionTarget, SuppressVerdict]:
    """Writes the suppressions. Returns the result for each: refused is one that should get an end, of an address that
    is suppressed for good. An address in several spellings gets the strongest of their reasons."""
    ids = dict(zip(reasons, new_ids(len(reasons)), strict=True))
    verdicts: dict[SuppressionTarget, SuppressVerdict] = {}
    for kind, statement in _INSERTS.items():
        targets = [target for target in reasons if target.kind == kind]
        if not targets:
            continue
        rows = [{"id": ids[target], "address": target.value, "reason": reasons[target]} for target in targets]
        values = {**rows_parameter(rows), "source": source, "expires_at": expires_at}
        written = {address: id_ for id_, address in session.execute(statement, values)}
        for target in targets:
            id_ = written.get(target.value.lower())
            kept = SuppressVerdict.ALREADY_SUPPRESSED if id_ or expires_at is None else SuppressVerdict.REFUSED
            verdicts[target] = SuppressVerdict.SUPPRESSED if id_ == ids[target] else kept
    return verdicts
