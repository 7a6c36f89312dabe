"""How far the folders of a mailbox are read, and where unrelated mail was seen."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain.mailboxes import FolderRole
from db.models import MailboxFolder
from db.postgres.json import rows_parameter


class FolderPosition(NamedTuple):
    """How far a folder is read: the fields of the model MailboxFolder."""

    name: str
    role: FolderRole
    uidvalidity: int
    last_uid: int
    first_uid: int
    joined_back_to: datetime
    to_join: int = 0


class UnrelatedPlace(NamedTuple):
    """Where an unrelated mail was read, and the hash that tells it from others."""

    folder: str
    uidvalidity: int
    uid: int
    hash: bytes


_SAVE = text("""
    INSERT INTO mailbox_folders (mailbox_id, name, role, uidvalidity, last_uid, first_uid, joined_back_to, to_join)
    VALUES (:mailbox_id, :name, :role, :uidvalidity, :last_uid, :first_uid, :joined_back_to, :to_join)
    ON CONFLICT (mailbox_id, name) DO UPDATE
    SET role = excluded.role, uidvalidity = excluded.uidvalidity, last_uid = excluded.last_uid,
        first_uid = excluded.first_uid, joined_back_to = excluded.joined_back_to, to_join = excluded.to_join,
        updated_at = excluded.updated_at
""")
_FORGET = text("""
    DELETE FROM mailbox_folders
    WHERE mailbox_id = :mailbox_id
      AND name NOT IN (SELECT jsonb_array_elements_text(CAST(:rows AS jsonb)))
""")
_READ = text("""
    UPDATE mailbox_folders SET last_read_at = :now, updated_at = now()
    WHERE mailbox_id = :mailbox_id AND name = :name
""")
_PASS_OVER = text("""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS g(folder text, uidvalidity bigint, uid bigint, hash text)
    )
    INSERT INTO unrelated_mails (mailbox_id, hash, folder, uidvalidity, uid)
    SELECT :mailbox_id, decode(hash, 'hex'), folder, uidvalidity, uid FROM given
    ON CONFLICT (mailbox_id, hash) DO NOTHING
""")
_TAKE_BACK = text("""
    DELETE FROM unrelated_mails
    WHERE mailbox_id = :mailbox_id
      AND hash = ANY (ARRAY(SELECT decode(jsonb_array_elements_text(CAST(:rows AS jsonb)), 'hex')))
""")


def positions(session: Session, *, mailbox_id: UUID) -> Mapping[str, FolderPosition]:
    """Returns how far each folder of a mailbox is read, by its name."""
    found = session.scalars(select(MailboxFolder).where(MailboxFolder.mailbox_id == mailbox_id))
    return {
        row.name: FolderPosition(
            row.name,
            FolderRole(row.role),
            row.uidvalidity,
            row.last_uid,
            row.first_uid,
            row.joined_back_to,
            row.to_join,
        )
        for row in found
    }


def save(session: Session, *, mailbox_id: UUID, position: FolderPosition) -> None:
    """Keeps how far a folder is read, in the transaction that keeps its mails."""
    session.execute(_SAVE, {"mailbox_id": mailbox_id, **position._asdict(), "role": position.role.value})


def forget_others(session: Session, *, mailbox_id: UUID, names: Collection[str]) -> None:
    """Forgets the folders that the server no longer has: all but `names`. What was read in them stays."""
    session.execute(_FORGET, {"mailbox_id": mailbox_id, **rows_parameter(sorted(names))})


def note_read(session: Session, *, mailbox_id: UUID, name: str, now: datetime) -> None:
    """Notes that all that is in a folder was read at that moment."""
    session.execute(_READ, {"mailbox_id": mailbox_id, "name": name, "now": now})


def pass_over(session: Session, *, mailbox_id: UUID, places: Sequence[UnrelatedPlace]) -> None:
    """Keeps where unrelated mails were read. A mail that is known by its hash is passed over."""
    if places:
        rows = [{**place._asdict(), "hash": place.hash.hex()} for place in places]
        session.execute(_PASS_OVER, {"mailbox_id": mailbox_id, **rows_parameter(rows)})


def take_back(session: Session, *, mailbox_id: UUID, hashes: Collection[bytes]) -> None:
    """Forgets that mails were unrelated: one of them turned out to concern somebody, in another folder."""
    if hashes:
        rows = rows_parameter([hash_.hex() for hash_ in sorted(hashes)])
        session.execute(_TAKE_BACK, {"mailbox_id": mailbox_id, **rows})
