"""The keyed hash that stands for an address of somebody who was erased.

It is made in SQL, so that a set of addresses costs no more statements than one, and the key never leaves the database.
"""

import secrets

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.domain.rules import SECRET_BYTES
from db.models import Secret

SECRET_NAME = "erasure"  # noqa: S105  the name of a row, not what stands in it

# k is the row of the secret. Nested, as in HMAC, so that a hash says nothing of one of a longer text.
HASH_OF = "sha256(k.value || sha256(k.value || convert_to(lower({address}), 'UTF8')))"


def make_secret(session: Session, name: str = SECRET_NAME) -> None:
    """Make the key of that name, unless there is one. It is made once, and all hashes depend on it."""
    values = {"name": name, "value": secrets.token_bytes(SECRET_BYTES)}
    session.execute(insert(Secret).values(values).on_conflict_do_nothing())
