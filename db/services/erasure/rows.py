"""The statements of an erasure that clean a person's enrollments: events, actions, messages, orphans.

Their parameters: `rows`, the person's enrollments ({instance_id, id}); `known`, their addresses ({address}).
CLEAN_ORPHANS also takes `mentioning`, the ids of orphans whose details mention the person.
"""

from sqlalchemy import text

from db.domain.events import BounceType
from db.services.secrets import ADDRESS_HASH, ERASURE_KEY
from db.services.state.enrollment_rows import ERASED

# The person's enrollments, and addresses, as the statements below read them.
_OF_PERSON = f"""
    {ERASURE_KEY},
    mine AS MATERIALIZED (
        SELECT instance_id, id FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e(instance_id uuid, id uuid)
    ),
    known AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:known AS jsonb)) AS a(address text)
    )
"""
_BOUNCE_TYPES = ", ".join(f"'{kind}'" for kind in BounceType)


# The part of an event's payload that decides how it counts.
_KEPT = f"""
    CASE WHEN {{row}}.metadata ->> 'bounce_type' IN ({_BOUNCE_TYPES})
    THEN jsonb_set('{{{{}}}}', '{{{{bounce_type}}}}', {{row}}.metadata -> 'bounce_type') ELSE '{{{{}}}}' END
"""
# Matches an address in an id, whatever it is joined to.
_MADE_OF = "EXISTS (SELECT FROM known WHERE position(address in lower({value})) > 0)"
# A provider's id, or its hash if it contains an address: still one id, and the same for the same. The hash is made in a
# separate part of the statement, because convert_to() is STABLE: a distributed PostgreSQL takes no such function of a
# column in an UPDATE.
_HASHED = f"(SELECT 'erased:' || encode({ADDRESS_HASH.format(address='{value}')}, 'hex') FROM k)"
_HIDDEN = f"CASE WHEN {_MADE_OF} THEN {{hashed}} ELSE {{value}} END"

CLEAN_EVENTS = text(f"""
    WITH {_OF_PERSON}, about AS MATERIALIZED (
        SELECT e.instance_id, e.id, {_HASHED.format(value="e.provider_event_id")} AS event_hash,
               {_HASHED.format(value="e.provider_message_id")} AS message_hash
        FROM campaign_events e JOIN mine ON e.instance_id = mine.instance_id AND e.enrollment_id = mine.id
        WHERE e.metadata <> {_KEPT.format(row="e")} OR {_MADE_OF.format(value="e.provider_event_id")}
           OR {_MADE_OF.format(value="e.provider_message_id")}
    )
    UPDATE campaign_events e
    SET metadata = {_KEPT.format(row="e")},
        provider_event_id = {_HIDDEN.format(value="e.provider_event_id", hashed="about.event_hash")},
        provider_message_id = {_HIDDEN.format(value="e.provider_message_id", hashed="about.message_hash")}
    FROM about WHERE e.instance_id = about.instance_id AND e.id = about.id
    RETURNING e.id
""")
CLEAN_ACTIONS = text(f"""
    WITH {_OF_PERSON}, about AS MATERIALIZED (
        SELECT a.instance_id, a.id, {_HASHED.format(value="a.provider_message_id")} AS message_hash
        FROM campaign_actions a JOIN mine ON a.instance_id = mine.instance_id AND a.enrollment_id = mine.id
        WHERE num_nonnulls(a.error, a.sent_to) > 0 OR {_MADE_OF.format(value="a.provider_message_id")}
    )
    UPDATE campaign_actions a
    SET error = NULL, sent_to = NULL, updated_at = now(),
        provider_message_id = {_HIDDEN.format(value="a.provider_message_id", hashed="about.message_hash")}
    FROM about WHERE a.instance_id = about.instance_id AND a.id = about.id
    RETURNING a.id
""")
CLEAN_MESSAGES = text(f"""
    WITH {_OF_PERSON}, about AS MATERIALIZED (
        SELECT m.instance_id, m.enrollment_id, m.provider_message_id AS told,
               {_HASHED.format(value="m.provider_message_id")} AS message_hash
        FROM campaign_messages m JOIN mine ON m.instance_id = mine.instance_id AND m.enrollment_id = mine.id
        WHERE {_MADE_OF.format(value="m.provider_message_id")}
    )
    UPDATE campaign_messages m SET provider_message_id = about.message_hash
    FROM about WHERE (m.instance_id, m.enrollment_id, m.provider_message_id)
        = (about.instance_id, about.enrollment_id, about.told)
    RETURNING m.enrollment_id
""")
DROP_WORDS = text(f"""
    WITH {_OF_PERSON}
    DELETE FROM messages m USING mine WHERE m.instance_id = mine.instance_id AND m.enrollment_id = mine.id
    RETURNING m.id
""")
DROP_DRAFTS = text(f"""
    WITH {_OF_PERSON}
    DELETE FROM action_drafts d WHERE d.enrollment_id = ANY (ARRAY(SELECT id FROM mine))
    RETURNING d.id
""")
# A mail of theirs that waits to be recorded belongs to no enrollment yet.
DROP_PENDING = text(f"""
    WITH {_OF_PERSON}
    DELETE FROM messages m WHERE m.enrollment_id IS NULL AND m.sender IN (SELECT address FROM known)
    RETURNING m.id
""")
# Copies of replies to others that go to the person. A mail that named them loses its bytes.
_COPIES = f"""
    WITH {_OF_PERSON}, copied AS MATERIALIZED (
        SELECT r.id, ARRAY(
            SELECT copy FROM unnest(r.cc) WITH ORDINALITY AS kept(copy, place)
            WHERE copy NOT IN (SELECT address FROM known) ORDER BY place
        ) AS cc
        FROM {{table}} r
        WHERE r.cc <> '{{{{}}}}' AND EXISTS (SELECT FROM known WHERE address = ANY (r.cc))
    )
"""
CLEAN_COPIES = text(f"""
    {_COPIES.format(table="messages")}, bodies AS (
        UPDATE message_bodies b SET raw = NULL FROM copied WHERE b.message_id = copied.id
    )
    UPDATE messages m SET cc = copied.cc, updated_at = now() FROM copied WHERE m.id = copied.id
    RETURNING m.id
""")
CLEAN_DRAFT_COPIES = text(f"""
    {_COPIES.format(table="action_drafts")}
    UPDATE action_drafts d SET cc = copied.cc, updated_at = now() FROM copied WHERE d.id = copied.id
    RETURNING d.id
""")
DROP_THREADS = text(f"""
    WITH {_OF_PERSON}
    DELETE FROM threads t WHERE t.enrollment_id = ANY (ARRAY(SELECT id FROM mine))
    RETURNING t.id
""")
CLEAN_ENROLLMENTS = text(f"""
    WITH {_OF_PERSON}
    UPDATE campaign_enrollments e SET metadata = jsonb_build_object('{ERASED}', true), updated_at = now()
    FROM mine WHERE e.instance_id = mine.instance_id AND e.id = mine.id
      AND e.metadata <> jsonb_build_object('{ERASED}', true)
    RETURNING e.id
""")
# An event that waits for the address alone can never be matched again, because nobody is enrolled under it any more.
# One that can be matched by one of our ids or a provider's still counts then, so it stays, without what it tells of the
# person.
DROP_ORPHANS = text(f"""
    WITH {_OF_PERSON}
    DELETE FROM orphaned_events o
    WHERE (o.enrollment_id IS NULL AND o.provider_message_id IS NULL AND o.email IN (SELECT address FROM known))
       OR {_MADE_OF.format(value="o.provider_message_id")}
    RETURNING o.id
""")
CLEAN_ORPHANS = text(f"""
    WITH {_OF_PERSON}, about AS MATERIALIZED (
        SELECT o.id, {_HASHED.format(value="o.provider_event_id")} AS event_hash FROM orphaned_events o
        WHERE o.enrollment_id IN (SELECT id FROM mine)
           OR o.provider_message_id IN (
               SELECT a.provider_message_id FROM campaign_actions a JOIN mine
               ON a.instance_id = mine.instance_id AND a.enrollment_id = mine.id
               UNION ALL
               SELECT m.provider_message_id FROM campaign_messages m JOIN mine
               ON m.instance_id = mine.instance_id AND m.enrollment_id = mine.id)
           OR o.email IN (SELECT address FROM known)
           OR o.id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:mentioning AS jsonb)) AS uuid)))
           OR {_MADE_OF.format(value="o.provider_event_id")}
    )
    UPDATE orphaned_events o
    SET email = CASE WHEN o.email IN (SELECT address FROM known) THEN NULL ELSE o.email END,
        metadata = {_KEPT.format(row="o")},
        provider_event_id = {_HIDDEN.format(value="o.provider_event_id", hashed="about.event_hash")}
    FROM about WHERE o.id = about.id
    RETURNING o.id
""")
