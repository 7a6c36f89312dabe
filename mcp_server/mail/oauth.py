"""Sign-in of mailboxes by OAuth: Google and Microsoft give tokens instead of a password.

A person agrees in a browser, which is redirected to a port of this machine (RFC 8252, with PKCE). With Microsoft, a
person can also agree on any device with a code (RFC 8628); Google grants no mail access that way.
"""

import math
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import MappingProxyType
from typing import Any, Final, Self, cast
from urllib.parse import parse_qs, urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError  # pyright: ignore[reportMissingTypeStubs]  it has none
from pydantic import SecretStr

from db.domain.errors import InvalidInput, MailboxUnusable
from mcp_server.mail.credentials import OAuthGrant
from mcp_server.process.settings import Settings, variable

LOGIN_SECONDS: Final = 300
_TIMEOUT: Final = 20.0
_LIFETIME: Final = 3600
"""Seconds, where a provider does not say how long a token is valid."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The endpoints of a provider. device_url: None if its device codes don't grant mail access."""

    authorize_url: str
    token_url: str
    device_url: str | None
    scope: str
    more: tuple[tuple[str, str], ...] = ()


PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType(
    {
        "google": Provider(
            "https://accounts.google.com/o/oauth2/v2/auth",
            "https://oauth2.googleapis.com/token",
            None,
            "https://mail.google.com/",
            (("access_type", "offline"), ("prompt", "consent")),
        ),
        "microsoft": Provider(
            "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
            "https://login.microsoftonline.com/common/oauth2/v2.0/token",
            "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
            "https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send offline_access",
        ),
    }
)


def check(settings: Settings, name: str, *, by_device: bool) -> None:
    """Raises InvalidInput if a mailbox can't be signed in by this provider: it is unknown, its app is not set, or it
    grants no mail access by a code for devices where that is asked for."""
    provider = _provider(settings, name)
    if by_device and provider.device_url is None:
        raise InvalidInput(f"{name} grants no mail by a code for devices. Leave --device out, and agree in a browser.")
    _client(settings, name).close()


def by_browser(
    settings: Settings, name: str, *, address: str, now: Callable[[], datetime], show: Callable[[str], object]
) -> OAuthGrant:
    """Waits until a person has agreed in a browser. `show` gets the address to open. MailboxUnusable if nobody agrees
    within five minutes, or the provider refuses."""
    with _Redirect() as redirect, _client(settings, name, redirect_uri=redirect.url) as client:
        provider, verifier = _provider(settings, name), secrets.token_urlsafe(48)
        url, state = client.create_authorization_url(
            provider.authorize_url, code_verifier=verifier, login_hint=address, **dict(provider.more)
        )
        show(url)
        code = redirect.code(state, address)
        return _grant(
            name, _fetch(client, provider, address, code=code, code_verifier=verifier), now(), address=address
        )


def by_device(
    settings: Settings,
    name: str,
    *,
    address: str,
    now: Callable[[], datetime],
    show: Callable[[str], object],
    wait: Callable[[float], object] = time.sleep,
) -> OAuthGrant:
    """Waits until a person has typed a code on another device. `show` gets the instructions. InvalidInput if the
    provider grants no mail access that way; MailboxUnusable if nobody types the code in time."""
    check(settings, name, by_device=True)
    provider = _provider(settings, name)
    with _client(settings, name) as client:
        asked = _device_code(client, provider, address)
        show(f"Open {asked['verification_uri']} on any device and type the code {asked['user_code']}.")
        step = _number(asked.get("interval"), 5)
        for _ in range(int(min(_number(asked.get("expires_in"), LOGIN_SECONDS), 900) / step) + 1):
            wait(step)
            answer = _post(client, provider.token_url, address, **_device_request(client, asked["device_code"]))
            if "access_token" in answer:
                return _grant(name, answer, now(), address=address)
            if answer.get("error") == "slow_down":
                step += 5
            elif answer.get("error") != "authorization_pending":
                break
    raise MailboxUnusable(f"Nobody agreed for {address} in time, or {name} refused. Run the command again.")


def refresh(settings: Settings, grant: OAuthGrant, *, address: str, now: datetime) -> OAuthGrant:
    """Returns the grant with a new access token. MailboxUnusable if the provider no longer accepts the grant."""
    provider = _provider(settings, grant.provider)
    with _client(settings, grant.provider) as client:
        try:
            token = client.refresh_token(provider.token_url, refresh_token=grant.refresh_token)
        except (AuthlibBaseError, httpx2.HTTPError, ValueError) as error:
            raise MailboxUnusable(_refusal(address, grant.provider, error)) from error
    return _grant(grant.provider, token, now, address=address, refresh_token=grant.refresh_token)


def _provider(settings: Settings, name: str) -> Provider:
    """Returns the provider, with the endpoints from the settings."""
    known = PROVIDERS.get(name)
    if known is None:
        raise InvalidInput(f"No OAuth provider {name}. There are: {', '.join(PROVIDERS)}.")

    def url(kind: str, usual: str | None) -> str | None:
        given = getattr(settings, f"oauth_{name}_{kind}_url", None)
        return usual if given is None else str(given)

    return Provider(
        url("authorize", known.authorize_url) or known.authorize_url,
        url("token", known.token_url) or known.token_url,
        url("device", known.device_url),
        known.scope,
        known.more,
    )


def _client(settings: Settings, name: str, redirect_uri: str | None = None) -> Any:  # noqa: ANN401  it has no types
    # Commands that need no OAuth would wait for its import.
    from authlib.integrations.httpx_client import (  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]  as above
        OAuth2Client,
    )

    provider = _provider(settings, name)
    client_id: str | None = getattr(settings, f"oauth_{name}_client_id")
    secret: SecretStr | None = getattr(settings, f"oauth_{name}_client_secret")
    if client_id is None:
        raise InvalidInput(
            f"Sign-in by {name} needs the id of an app that you registered there. Set "
            f"{variable(f'oauth_{name}_client_id')}, and {variable(f'oauth_{name}_client_secret')} where it has one."
        )
    return OAuth2Client(
        client_id,
        None if secret is None else secret.get_secret_value(),
        token_endpoint_auth_method="none" if secret is None else "client_secret_post",
        scope=provider.scope,
        redirect_uri=redirect_uri,
        code_challenge_method="S256",
        timeout=_TIMEOUT,
    )


def _fetch(client: Any, provider: Provider, address: str, **given: str) -> Mapping[str, Any]:  # noqa: ANN401  as above
    try:
        return client.fetch_token(provider.token_url, grant_type="authorization_code", **given)
    except (AuthlibBaseError, httpx2.HTTPError, ValueError) as error:
        raise MailboxUnusable(_refusal(address, "the provider", error)) from error


def _device_code(client: Any, provider: Provider, address: str) -> dict[str, Any]:  # noqa: ANN401  as above
    assert provider.device_url is not None, "by_device has checked it"
    asked = _post(client, provider.device_url, address, client_id=client.client_id, scope=provider.scope)
    if not {"device_code", "user_code", "verification_uri"} <= asked.keys():
        raise MailboxUnusable(f"The provider gave no code for {address}. Check the id of the app.")
    return asked


def _device_request(client: Any, code: str) -> dict[str, str]:  # noqa: ANN401  as above
    request = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": client.client_id,
        "device_code": code,
    }
    return request if client.client_secret is None else {**request, "client_secret": client.client_secret}


def _post(client: Any, url: str, address: str, **form: str) -> dict[str, Any]:  # noqa: ANN401  as above
    try:
        answer: object = client.request("POST", url, data=form, withhold_token=True).json()
    except (httpx2.HTTPError, ValueError) as error:
        raise MailboxUnusable(_refusal(address, "the provider", error)) from error
    return cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}


def _number(given: object, usual: float) -> float:
    """Returns a number of seconds that a provider gave, between 1 and a day; the usual one if it gave none."""
    try:
        seconds = float(str(given))
    except ValueError:
        return usual
    return usual if math.isnan(seconds) else min(max(seconds, 1.0), 86_400.0)


def _grant(
    name: str, token: Mapping[str, Any], now: datetime, *, address: str, refresh_token: str | None = None
) -> OAuthGrant:
    kept = token.get("refresh_token") or refresh_token
    if not kept or not token.get("access_token"):
        raise MailboxUnusable(
            f"{name} gave no token for {address} that lasts. Run mailboxes login again and agree to all."
        )
    seconds = _number(token.get("expires_in"), _LIFETIME)
    return OAuthGrant(name, kept, token["access_token"], now + timedelta(seconds=seconds))


def _refusal(address: str, name: str, error: Exception) -> str:
    if isinstance(error, httpx2.HTTPError):
        return f"{name} can't be reached to sign in {address}. Try again in a minute; check the way to it if it stays."
    return (
        f"{name} does not take the sign-in of {address} any more. Run: sales-automation-mcp mailboxes login {address}."
    )


class _Redirect:
    """A port of this machine to which the provider redirects the browser."""

    def __init__(self) -> None:
        self._answer = _Answer()
        self._server = HTTPServer(("127.0.0.1", 0), _handler(self._answer))
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def code(self, state: str, address: str) -> str:
        """Waits for the browser, and returns the code. MailboxUnusable if it does not come, or brings a refusal. What
        does not belong to this sign-in is passed over."""
        self._answer.state = state
        ends = time.monotonic() + LOGIN_SECONDS
        while self._answer.given is None and (left := ends - time.monotonic()) > 0:
            self._server.timeout = left
            self._server.handle_request()
        code = (self._answer.given or {}).get("code")
        if code is None:
            raise MailboxUnusable(
                f"Nobody agreed for {address} in time, or the provider refused. Run the command again."
            )
        return code


@dataclass(slots=True)
class _Answer:
    """What the browser brings. state: of the sign-in that it must belong to; given: None until it has come."""

    state: str = ""
    given: dict[str, str] | None = None


_DONE: Final = "You can close this window and go back to the terminal."
_REFUSED: Final = "The provider refused. Go back to the terminal, which says what to do."
_ELSEWHERE: Final = "This belongs to another sign-in. Open the address that the terminal shows, and agree there."


def _handler(answer: _Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            """Takes the code that the provider gave the browser; other requests, such as that for an icon, get 404."""
            given = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            if "state" not in given:
                self._say(404, "")
            elif not secrets.compare_digest(given["state"].encode(), answer.state.encode()):
                self._say(400, _ELSEWHERE)
            else:
                answer.given = given
                self._say(200, _DONE if "code" in given else _REFUSED)

        def _say(self, status: int, text: str) -> None:
            with suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.end_headers()
                self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401  as inherited
            """Logs nothing: the address holds the code."""

    return Handler
