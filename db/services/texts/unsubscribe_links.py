"""Links by which people unsubscribe: signed, so that nobody can make one up, and telling nothing of the person."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.signing import Codec
from db.services import secrets
from db.services.secrets import SecretName

_ID_BYTES, _STEP_BYTES = 16, 2
_CODEC = Codec(_ID_BYTES + _STEP_BYTES, signature_size=16)


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says: whose mail it was in."""

    enrollment_id: UUID
    step_number: int


@dataclass(frozen=True, slots=True)
class Links:
    """Makes links under `base`, the public address of this server."""

    base: str
    key: bytes

    def url(self, enrollment_id: UUID, step_number: int) -> str:
        """Returns the link of one mail."""
        return f"{self.base}/unsubscribe/{sign(self.key, Link(enrollment_id, step_number))}"


def headers(url: str) -> dict[str, str]:
    """Returns the header fields of a mail that let mail programs unsubscribe with one click (RFC 2369, RFC 8058)."""
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def sign(key: bytes, link: Link) -> str:
    """Returns the token of a link: 46 characters of the URL-safe alphabet. It never ends."""
    return _CODEC.sign(key, link.enrollment_id.bytes + link.step_number.to_bytes(_STEP_BYTES))


def read(key: bytes, token: str) -> Link | None:
    """Returns what the token says; None if this key has not signed it."""
    said = _CODEC.read(key, token)
    return None if said is None else Link(UUID(bytes=said[:_ID_BYTES]), int.from_bytes(said[_ID_BYTES:]))


def make_key(session: Session) -> bytes:
    """Returns the key of all links, made if there is none. Without it no link that was sent works any more."""
    return secrets.obtain(session, name=SecretName.UNSUBSCRIBE)


def links(session: Session, *, base: str | None) -> Links | None:
    """Returns what makes links under `base`; None where there is no such address, or the key was never made."""
    key = secrets.find(session, name=SecretName.UNSUBSCRIBE) if base is not None else None
    return None if base is None or key is None else Links(base, key)
