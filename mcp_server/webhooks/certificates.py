"""The certificates that Amazon SNS signs with: fetched from its own hosts alone, and kept."""

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.client import HTTPException, HTTPSConnection
from threading import Lock
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from mcp_server.webhooks.base import Forged, Unverifiable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

Fetch = Callable[[str, str], bytes]
"""(host, path) -> a certificate in PEM. Raises OSError or HTTPException."""

_PATH: Final = re.compile(r"/SimpleNotificationService-[0-9a-zA-Z]{1,64}\.pem")
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_TIMEOUT_SECONDS: Final = 5
_SIZE_MAX: Final = 64 * 1024
_KEPT_MAX: Final = 16
# SNS has one certificate at a time. Made-up addresses must not make this server request each of them.
_TRIES_MAX: Final = 5
_TRIES_WITHIN: Final = timedelta(minutes=1)


def download(host: str, path: str) -> bytes:
    """Downloads it over TLS, following no redirect, in at most a few seconds."""
    connection = HTTPSConnection(host, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context())
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != 200:
            raise HTTPException("The certificate is not there.")
        return response.read(_SIZE_MAX)
    finally:
        connection.close()


def check_host(url: str, region: str) -> SplitResult:
    """Returns `url` in parts; Forged unless its host is that of SNS in this region."""
    # China's regions have a domain of their own.
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Forged("The address is not one.") from None
    if not _REGION.fullmatch(region) or parts.scheme != "https" or parts.netloc != f"sns.{region}.{domain}":
        raise Forged("The address does not belong to Amazon SNS in the region of the topic.")
    return parts


@dataclass(slots=True)
class Certificates:
    """The public keys by address. Safe for many threads."""

    fetch: Fetch = download
    _keys: "dict[str, tuple[RSAPublicKey, datetime, datetime]]" = field(default_factory=dict, init=False)  # pyright: ignore[reportUnknownVariableType] - named before its library is imported
    _tries: list[datetime] = field(default_factory=list[datetime], init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def key(self, url: str, region: str, now: datetime) -> "RSAPublicKey":
        """Returns the key of the certificate at `url`, which is valid `now`. Forged or Unverifiable."""
        parts = check_host(url, region)
        if not _PATH.fullmatch(parts.path) or parts.query or parts.fragment:
            raise Forged("The address is not that of a certificate.")
        key, first, last = self._keys.get(url) or self._fetch_once(url, parts, now)
        if not first <= now <= last:
            raise Forged("The certificate is not valid now.")
        return key

    def _fetch_once(self, url: str, parts: SplitResult, now: datetime) -> "tuple[RSAPublicKey, datetime, datetime]":
        # One at a time, and nobody waits for long: telling a request to come again costs less than its thread.
        if not self._lock.acquire(timeout=_TIMEOUT_SECONDS):
            raise Unverifiable("The certificate of Amazon SNS is still being fetched.")
        try:
            if url not in self._keys:
                loaded = self._load(parts.netloc, parts.path, now)
                while len(self._keys) >= _KEPT_MAX:
                    self._keys.pop(next(iter(self._keys)))
                self._keys[url] = loaded
            return self._keys[url]
        finally:
            self._lock.release()

    def _load(self, host: str, path: str, now: datetime) -> "tuple[RSAPublicKey, datetime, datetime]":
        from cryptography import x509  # noqa: PLC0415  slow; few servers have it
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415  as above

        self._tries = [tried_at for tried_at in self._tries if now - tried_at < _TRIES_WITHIN]
        if len(self._tries) >= _TRIES_MAX:
            raise Unverifiable("Too many certificates were asked for.")
        self._tries.append(now)
        try:
            certificate = x509.load_pem_x509_certificate(self.fetch(host, path))
        except (OSError, HTTPException, ValueError):
            raise Unverifiable("The certificate of Amazon SNS could not be had.") from None
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            raise Forged("The certificate's key is not one of RSA.")
        return key, certificate.not_valid_before_utc, certificate.not_valid_after_utc
