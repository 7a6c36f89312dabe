"""The means that several providers share: keyed hashes, shared secrets, and the age of a request."""

import base64
import binascii
import hmac
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from mcp_server.webhooks.base import DEFAULT_WINDOW, Forged, Headers, Stale


def header(headers: Headers, name: str) -> str:
    """Returns the header's value; Forged where it is missing."""
    value = headers.get(name, "").strip()
    if not value:
        raise Forged(f"The header {name} is missing.")
    return value


def check_age(seconds: str, now: datetime, window: timedelta = DEFAULT_WINDOW) -> None:
    """Raises Stale unless the Unix time `seconds` lies within `window` before `now`, give or take a clock."""
    try:
        signed_at = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        raise Forged("The timestamp of the signature is not one.") from None
    check_moment(signed_at, now, window)


def check_moment(signed_at: datetime, now: datetime, window: timedelta = DEFAULT_WINDOW) -> None:
    """Raises Stale unless `signed_at` lies within `window` before `now`, give or take a clock."""
    if not now - window <= signed_at <= now + DEFAULT_WINDOW:
        raise Stale("The request was signed too long ago, or one of the clocks is wrong.")


def decoded(text: str) -> bytes:
    """Returns the bytes of base64; raises Forged if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Forged("The signature is not base64.") from None


def keyed_hash(key: bytes, message: bytes) -> bytes:
    """Returns the HMAC-SHA256."""
    return hmac.new(key, message, sha256).digest()


def is_same(given: str, secret: str) -> bool:
    """Returns whether two texts are equal, in a time that does not tell how much of them is."""
    return hmac.compare_digest(
        sha256(given.encode("utf-8", "surrogatepass")).digest(), sha256(secret.encode()).digest()
    )


def check_shared_secret(body: bytes, headers: Headers, secret: str, now: datetime) -> None:  # noqa: ARG001  see Verify
    """Verifies requests of providers that sign nothing: basic auth (`secret` is user:password), a bearer token, or
    X-Webhook-Token."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    given = headers.get("x-webhook-token", "")
    if scheme.lower() == "basic":
        given = decoded(credentials.strip()).decode("utf-8", "replace")
    elif scheme.lower() == "bearer":
        given = credentials.strip()
    if not is_same(given, secret):
        raise Forged("The credentials are missing or wrong.")


def check_standard(prefix: str, body: bytes, headers: Headers, secret: str, now: datetime) -> None:
    """Verifies Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, in headers that start with `prefix`.

    `secret` is base64, with or without `whsec_`. One good signature of several is enough, so that a key can be changed.
    """
    id_ = header(headers, f"{prefix}-id")
    timestamp = header(headers, f"{prefix}-timestamp")
    given = header(headers, f"{prefix}-signature").split()
    expected = keyed_hash(standard_key(secret), f"{id_}.{timestamp}.".encode("utf-8", "surrogatepass") + body)
    signatures = [decoded(value) for version, _, value in (part.partition(",") for part in given) if version == "v1"]
    # All are compared, whichever is right, in the same time.
    if sum([hmac.compare_digest(signature, expected) for signature in signatures]) == 0:
        raise Forged("No signature is right.")
    check_age(timestamp, now)


def standard_key(secret: str) -> bytes:
    """Returns the key of a Standard Webhooks secret. ValueError where it is none."""
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
