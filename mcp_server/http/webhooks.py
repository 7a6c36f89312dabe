"""POST /webhooks/{provider}: verify the raw bytes, store them, answer. What they mean is found out afterwards."""

import logging
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from hashlib import sha256
from threading import Lock
from typing import Final

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from db.domain.errors import StoreUnavailable
from db.domain.rules import PROVIDER_ID_MAX
from db.domain.states import DeliveryStatus
from db.domain.webhooks import NewDelivery, StoreVerdict
from mcp_server.app import App
from mcp_server.webhooks.base import Malformed, Provider, Refusal, Replayed, TooLarge, TooSlow
from mcp_server.webhooks.certificates import Fetch, download
from mcp_server.webhooks.parsing import parse
from mcp_server.webhooks.recorder import Recorder
from mcp_server.webhooks.table import providers

_BODY_SECONDS: Final = 20.0
_RETRY_AFTER: Final = "5"
_REMEMBERED: Final = 50_000
_SECRET: Final = b"[secret]"

logger = logging.getLogger(__name__)


def webhooks(app: App, fetch: Fetch = download) -> tuple[Route, AbstractAsyncContextManager[object]]:
    """The route, and what must run while it is served. Without any secret nothing runs, and nothing is found."""
    known = providers(fetch)
    is_on = not app.settings.read_only and any(app.settings.webhook_secret(name) for name in known)
    recorder = Recorder(app, known)
    endpoint = Endpoint(app, known if is_on else {}, recorder)
    return Route("/webhooks/{provider}", endpoint.receive, methods=["POST"]), recorder if is_on else nullcontext()


class Endpoint:
    """Takes the requests of all providers."""

    def __init__(self, app: App, known: Mapping[str, Provider], recorder: Recorder) -> None:
        self._app = app
        self._known = known
        self._recorder = recorder
        self._acknowledged = Acknowledged()

    async def receive(self, request: Request) -> Response:
        name = request.path_params["provider"]
        provider = self._known.get(name)
        secret = self._app.settings.webhook_secret(name) if provider else None
        if provider is None or secret is None:
            self._app.telemetry.webhooks.add(name if provider else "unknown", "off")
            return _answer(404, "There is no such webhook here, or it has no secret.")
        try:
            body = await _read(request, self._app.settings.webhook_max_bytes)
            verdict, identity = await run_in_threadpool(self._take, provider, secret, body, request)
        except Refusal as refusal:
            return self._refuse(provider, refusal)
        except StoreUnavailable:
            return self._busy(provider)
        except Exception as error:  # noqa: BLE001  a provider may drop what is answered with a 500
            logger.error("A webhook of %s failed: %s", name, type(error).__name__)  # noqa: TRY400  a trace may hold personal data
            return self._busy(provider)
        self._recorder.wake()
        if not await request.is_disconnected():
            self._acknowledged.add(identity)
        self._app.telemetry.webhooks.add(name, verdict)
        return JSONResponse({"status": verdict})

    def _take(self, provider: Provider, secret: str, body: bytes, request: Request) -> tuple[str, bytes]:
        """Verify and store. Returns the verdict, and what tells this request from all others."""
        headers = {key.lower(): value for key, value in request.headers.items()}
        now = self._app.clock()
        provider.verify(body, headers, secret, now)
        signed = [headers.get(each, "") for each in provider.signature_headers]
        identity = sha256("\n".join([provider.name, *signed]).encode() + b"\n" + body).digest()
        if identity in self._acknowledged:
            raise Replayed("This request was acknowledged before.")
        payload = parse(body)
        delivery_id = provider.delivery_id(payload, headers)
        if delivery_id is not None and (len(delivery_id) > PROVIDER_ID_MAX or not delivery_id.isprintable()):
            raise Malformed("The id of the request is not one.")
        is_held = provider.is_held(payload)
        delivery = NewDelivery(
            provider.name,
            body.replace(secret.encode(), _SECRET) if provider.has_secret_in_body else body,
            sha256(body).digest(),
            now,
            delivery_id,
            DeliveryStatus.HELD if is_held else DeliveryStatus.WAITING,
        )
        stored = self._app.deliveries.submit(delivery)
        if stored is StoreVerdict.REUSED:
            raise Replayed("The id or the token of this request belongs to another one.")
        if stored is StoreVerdict.STORED and is_held:
            logger.warning(
                "A webhook of %s waits for an operator: see list_webhook_deliveries with status held", provider.name
            )
            return "held", identity
        return stored, identity

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


class Acknowledged:
    """The latest requests that were answered with success, so that nobody can send one of them again.

    Only a sender that has got no answer has a reason to repeat a request: after a crash of this server, which forgets
    them, or when the connection was lost, in which case it is not added. Such a repetition is known by its row.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def add(self, identity: bytes) -> None:
        with self._lock:
            self._known[identity] = None
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def __contains__(self, identity: bytes) -> bool:
        return identity in self._known


async def _read(request: Request, limit: int) -> bytes:
    """The body; it is refused as soon as it is too large, not when it has been read, or when it takes too long."""
    announced = request.headers.get("content-length", "0")
    if announced.isascii() and announced.isdecimal() and int(announced[:20]) > limit:
        raise TooLarge(f"At most {limit} bytes are taken.")
    body = bytearray()
    try:
        with anyio.fail_after(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise TooLarge(f"At most {limit} bytes are taken.")
    except TimeoutError:
        raise TooSlow("The body did not arrive in time.") from None
    except ClientDisconnect:
        raise Malformed("The body was cut off.") from None
    return bytes(body)


def _answer(status: int, message: str) -> Response:
    headers = {"Connection": "close"} if status in (408, 413) else {}
    return JSONResponse({"error": message}, status_code=status, headers=headers)
