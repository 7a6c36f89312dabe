"""The interface of a provider, and the refusals of its requests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from db.domain.webhooks import Normalised, StoredDelivery

DEFAULT_WINDOW: Final = timedelta(minutes=5)
"""How old a signed request may be where the provider signs each try again, and how far ahead its clock may be."""

Headers = Mapping[str, str]
"""Names in lower case."""

Json = Any
"""What JSON can say: providers are not trusted to send the shape that they document."""


class Refusal(Exception):
    """A refused request. Nothing of it is kept but a count under `verdict`."""

    status = 400
    verdict = "malformed"


class Malformed(Refusal):
    """Not what the provider sends: cut off, not UTF-8, not JSON."""


class Forged(Refusal):
    """Not signed by the holder of the secret."""

    status = 401
    verdict = "forged"


class Stale(Refusal):
    """Signed too long ago, or by a clock that is wrong."""

    verdict = "stale"


class Replayed(Refusal):
    """Its id or token belongs to another request."""

    status = 409
    verdict = "replayed"


class TooLarge(Refusal):
    """More bytes than are accepted."""

    status = 413
    verdict = "too_large"


class Unverifiable(Refusal):
    """What is needed to verify is not available now. The provider should try again."""

    status = 503
    verdict = "unavailable"


class Verify(Protocol):
    """Raises a Refusal unless the request was signed with `secret`, and not too long before `now`."""

    def __call__(self, body: bytes, headers: Headers, secret: str, now: datetime) -> None: ...


Read = Callable[[Json, StoredDelivery], Normalised]
"""(payload, the request it came in) -> its events. Raises nothing."""


def _no_id(payload: Json, headers: Headers) -> str | None:  # noqa: ARG001  the shape of Provider.delivery_id
    return None


def _never(payload: Json) -> bool:  # noqa: ARG001  the shape of Provider.is_held
    return False


@dataclass(frozen=True, slots=True)
class Provider:
    """One kind of webhook. `name` is in its URL, in its setting, and the `provider` of its events."""

    name: str
    verify: Verify
    normalise: Read
    delivery_id: Callable[[Json, Headers], str | None] = _no_id
    """The provider's own id of a request, which is the same when it tries again."""
    is_held: Callable[[Json], bool] = _never
    """Whether the request is for an operator, and holds no events."""
    signature_headers: tuple[str, ...] = ()
    """What makes this request another one than a later try of the same body."""
    busy_status: int = 503
    """What it is answered when nothing can be stored now. A provider that gives up after a 5xx gets 429."""
    may_wait: bool = False
    """Whether `verify` may have to fetch something first."""
    has_secret_in_body: bool = False
    """Whether the body carries the secret itself, which is not stored."""
