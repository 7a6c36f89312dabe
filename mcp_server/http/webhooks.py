"""POST /webhooks/{provider}: verify the raw bytes, store them, answer. What they mean is found out afterwards."""

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from hashlib import sha256
from typing import Final

import anyio
from anyio.to_thread import run_sync
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from db.domain.errors import StoreUnavailable
from db.domain.field_limits import PROVIDER_ID_MAX
from db.domain.states import DeliveryStatus
from db.domain.webhooks import NewDelivery, StoreVerdict
from mcp_server.process.app import App
from mcp_server.webhooks.base import Headers, Malformed, Provider, Refusal, Replayed, TooLarge
from mcp_server.webhooks.certificates import Fetch, download
from mcp_server.webhooks.parsing import parse
from mcp_server.webhooks.providers import providers
from mcp_server.webhooks.worker import Recorder

_RETRY_AFTER: Final = "5"
_SECRET: Final = b"[secret]"
# What takes well under a millisecond is done on the event loop: a thread would cost more.
_SMALL: Final = 64 * 1024
_THREADS: Final = 4
# Bytes of all bodies that are not verified and stored yet: whoever sends them may be a stranger.
_HELD_MOST: Final = 64 * 1024 * 1024

logger = logging.getLogger(__name__)


def webhooks(app: App, fetch: Fetch = download) -> tuple[Route, AbstractAsyncContextManager[object]]:
    """Returns the route, and what must run while it is served. Without any secret nothing runs, and nothing is
    found."""
    known = providers(fetch)
    is_on = not app.settings.read_only and any(app.settings.webhook_secret(name) for name in known)
    recorder = Recorder(app, known)
    endpoint = Endpoint(app, known if is_on else {}, recorder)
    return Route("/webhooks/{provider}", endpoint, methods=["POST"]), recorder if is_on else nullcontext()


class Endpoint:
    """Takes the requests of all providers. An ASGI app: to make Starlette's requests costs more than to store one."""

    def __init__(self, app: App, known: Mapping[str, Provider], recorder: Recorder) -> None:
        self._app = app
        self._known = known
        self._recorder = recorder
        self._memory = BodyMemory(_HELD_MOST)
        # Of its own: those of the tools must not all wait for a certificate.
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        answer = await self._receive(scope["path_params"]["provider"], headers, receive)
        await answer(scope, receive, send)

    async def _receive(self, name: str, headers: Headers, receive: Receive) -> Response:
        provider = self._known.get(name)
        secret = self._app.settings.webhook_secret(name) if provider else None
        if provider is None or secret is None:
            self._app.telemetry.webhooks.add(name if provider else "unknown", "off")
            return _answer(404, "There is no such webhook here, or it has no secret.")
        try:
            with self._memory.reserve() as hold:
                body = await read(headers, receive, self._app.settings.webhook_max_bytes, hold)
                verdict = await self._take(provider, secret, body, headers)
        except Full:
            answer = self._busy(provider)
            answer.headers["Connection"] = "close"  # else the rest of the body would have to be read
            return answer
        except Refusal as refusal:
            return self._refuse(provider, refusal)
        except StoreUnavailable:
            return self._busy(provider)
        except Exception as error:  # noqa: BLE001  a provider may drop what is answered with a 500
            logger.error("A webhook of %s failed: %s", name, type(error).__name__)  # noqa: TRY400  a trace may hold personal data
            return self._busy(provider)
        self._recorder.wake()
        self._app.telemetry.webhooks.add(name, verdict)
        return _ACCEPTED[verdict]

    async def _take(self, provider: Provider, secret: str, body: bytes, headers: Headers) -> str:
        """Verifies and stores a request. One that is stored already is answered as it was: its sender may have got no
        answer."""
        if provider.may_wait or len(body) > _SMALL:
            delivery = await run_sync(self._check, provider, secret, body, headers, limiter=self._threads)
        else:
            delivery = self._check(provider, secret, body, headers)
        stored = await self._app.deliveries.ask(delivery)
        if stored is StoreVerdict.REUSED:
            raise Replayed("The id or the token of this request belongs to another one.")
        if stored is StoreVerdict.STORED and delivery.status is DeliveryStatus.HELD:
            logger.warning(
                "A webhook of %s waits for an operator: see list_webhook_deliveries with status held", provider.name
            )
            return "held"
        return stored

    def _check(self, provider: Provider, secret: str, body: bytes, headers: Headers) -> NewDelivery:
        """Returns what is to be kept of a request that its signature lets in."""
        now = self._app.clock()
        provider.verify(body, headers, secret, now)
        payload = parse(body)
        delivery_id = provider.delivery_id(payload, headers)
        if delivery_id is not None and (len(delivery_id) > PROVIDER_ID_MAX or not delivery_id.isprintable()):
            raise Malformed("The id of the request is not one.")
        return NewDelivery(
            provider.name,
            body.replace(secret.encode(), _SECRET) if provider.has_secret_in_body else body,
            sha256(body).digest(),
            now,
            delivery_id,
            DeliveryStatus.HELD if provider.is_held(payload) else DeliveryStatus.WAITING,
        )

    def _refuse(self, provider: Provider, refusal: Refusal) -> Response:
        if refusal.status >= 500:
            logger.warning("A webhook of %s can't be verified: %s", provider.name, refusal)
            return self._busy(provider)
        self._app.telemetry.webhooks.add(provider.name, refusal.verdict)
        return _answer(refusal.status, str(refusal))

    def _busy(self, provider: Provider) -> Response:
        self._app.telemetry.webhooks.add(provider.name, "unavailable")
        answer = _answer(provider.busy_status, "Nothing can be taken now. Send it again later.")
        answer.headers["Retry-After"] = _RETRY_AFTER
        return answer


class Full(Exception):
    """The limit of held bytes is reached."""


class BodyMemory:
    """Limits the bytes of bodies that are held at once. Used on the event loop."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextmanager
    def reserve(self) -> Generator[Callable[[int], None]]:
        """Yields a function to call with each number of bytes that is held in addition, until the end of the block. It
        raises Full."""
        held = 0

        def hold(count: int) -> None:
            nonlocal held
            if count > self._left:
                raise Full
            held += count
            self._left -= count

        try:
            yield hold
        finally:
            self._left += held


async def read(headers: Headers, receive: Receive, limit: int, hold: Callable[[int], None]) -> bytes:
    """Returns the body; it is refused as soon as it is too large, not when it has been read. `hold`: see BodyMemory."""
    announced = headers.get("content-length", "0")
    if announced.isascii() and announced.isdecimal() and int(announced[:20]) > limit:
        raise TooLarge(f"At most {limit} bytes are taken.")
    body, is_whole = bytearray(), False
    while not is_whole:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("The body was cut off.")
        part = message.get("body", b"")
        if len(body) + len(part) > limit:
            raise TooLarge(f"At most {limit} bytes are taken.")
        hold(len(part))
        body += part
        is_whole = not message.get("more_body", False)
    return bytes(body)


def _answer(status: int, message: str) -> Response:
    headers = {"Connection": "close"} if status == 413 else {}
    return JSONResponse({"error": message}, status_code=status, headers=headers)


_ACCEPTED: Final = {verdict: JSONResponse({"status": verdict}) for verdict in ("stored", "known", "held")}
