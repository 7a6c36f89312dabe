"""The end of stdin: what is not answered by then is refused, and the wait is bounded."""

from threading import Event

import anyio
import pytest
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from mcp_server.process.unanswered import Unanswered
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.anyio


def request(id_: int | str, method: str = "tools/call") -> SessionMessage:
    return SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=id_, method=method))


def result(id_: int | str) -> SessionMessage:
    return SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=id_, result={}))


async def test_what_is_answered_in_time_is_not_refused() -> None:
    refused = Event()
    unanswered = Unanswered(refused.set, seconds=PATIENCE)
    unanswered.read(request(1))
    unanswered.read(request("b"))
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(unanswered.end)
            await anyio.lowlevel.checkpoint()
            unanswered.written(result("b"))
            unanswered.written(SessionMessage(JSONRPCError(jsonrpc="2.0", id=1, error=ErrorData(code=1, message="no"))))
    assert not refused.is_set()


async def test_what_takes_longer_is_refused_and_the_end_comes_with_the_refusal() -> None:
    asked, told = Event(), anyio.Event()
    unanswered = Unanswered(asked.set, seconds=0)
    unanswered.read(request(1))

    async def end() -> None:
        await unanswered.end()
        told.set()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end)
            await anyio.to_thread.run_sync(asked.wait)
            assert not told.is_set()
            unanswered.written(result(1))
            await told.wait()


async def test_nobody_waits_for_what_never_ends_or_was_taken_back() -> None:
    refused = Event()
    unanswered = Unanswered(refused.set, seconds=0)
    unanswered.read(request(1, "subscriptions/listen"))
    unanswered.read(request(2))
    params = {"requestId": "2"}
    unanswered.read(SessionMessage(JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=params)))
    await unanswered.end()
    assert not refused.is_set()
