"""Ids of requests, as clients write them whose JSON has no whole numbers."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from mcp_server.process.app import App
from mcp_server.process.request_ids import WrongId, with_whole_id
from tests.support.http_app import served
from tests.support.wire import ACCEPT, INITIALIZE

JSON = {**ACCEPT, "Content-Type": "application/json"}


def ping(id_: str) -> bytes:
    return b'{"jsonrpc":"2.0","method":"ping","id" : %s}' % id_.encode()


@pytest.mark.parametrize(("written", "read"), [("1.0", 1), ("-3.0", -3), ("2e3", 2000), ("0.0", 0)])
def test_a_whole_number_with_a_point_is_read_as_what_it_is(written: str, read: int) -> None:
    assert json.loads(with_whole_id(ping(written))) == {"jsonrpc": "2.0", "method": "ping", "id": read}


@pytest.mark.parametrize("kept", ["1", "-7", '"1.0"', "null", "123456789012345678901"])
def test_any_other_id_stays_as_it_is(kept: str) -> None:
    assert with_whole_id(ping(kept)) == ping(kept)


NO_REQUESTS = [
    b'{"jsonrpc":"2.0","id":1.0,"result":{}}',
    b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"id":1.5}}',
    b'{"id":1.5',
    b'[{"id":1.5,"method":"x"}]',
    b'{"id":' + b"[" * 100_000,
]


@pytest.mark.parametrize("message", NO_REQUESTS)
def test_what_is_no_request_with_such_an_id_stays_as_it_is(message: bytes) -> None:
    assert with_whole_id(message) == message


@pytest.mark.parametrize("wrong", ["1.5", "true", "[1]", '{"a":1}', "1e300", "NaN"])
def test_an_id_that_no_answer_could_name_is_refused(wrong: str) -> None:
    with pytest.raises(WrongId):
        with_whole_id(ping(wrong))


def test_over_http_such_ids_are_answered_or_refused_as_over_stdio(make_app: Callable[..., App]) -> None:
    def post(message: bytes, **headers: str) -> tuple[int, Any]:
        answer = client.post("/mcp", headers={**JSON, **headers}, content=message)
        return answer.status_code, answer.json()

    with served(make_app()) as client:
        status, welcome = post(json.dumps({**INITIALIZE, "id": 4.0}).encode())
        assert (status, welcome["id"]) == (200, 4)
        hello = client.post("/mcp", headers=ACCEPT, json=INITIALIZE)
        session = {"mcp-session-id": hello.headers["mcp-session-id"]}
        assert post(ping("9.0"), **session) == (200, {"jsonrpc": "2.0", "id": 9, "result": {}})
        status, refused = post(ping("1.5"), **session)
        assert (status, refused["id"], refused["error"]["code"]) == (400, None, -32600)
        assert "text or a whole number" in refused["error"]["message"]
        assert client.post("/messages/?session_id=0", content=ping("true")).json()["error"]["code"] == -32600


def test_a_body_that_is_too_long_or_in_parts_reaches_the_sdk_as_it_came(make_app: Callable[..., App]) -> None:
    with served(make_app()) as client:
        parts = (json.dumps({**INITIALIZE, "id": 5.0}).encode()[at : at + 7] for at in range(0, 400, 7))
        assert client.post("/mcp", headers=JSON, content=parts).json()["id"] == 5
        too_long = (b" " * 1024 * 1024 for _ in range(33))
        assert client.post("/mcp", headers=JSON, content=too_long).status_code == 413
