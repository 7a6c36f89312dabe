"""The pipes of a stdio server: large messages, slow readers, and prints that must not reach the client."""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from sqlalchemy import text as sql

from db.postgres.database import Database
from mcp_server.process.stdio import Lines, Sink
from tests.support.patience import PATIENCE
from tests.support.processes import COMMAND, ERAS, environment
from tests.support.server import call, new_campaign
from tests.support.wire import INITIALIZE

pytestmark = pytest.mark.anyio


PRINTS = """
import subprocess, sys
from mcp_server.process import stdio
with stdio.claimed() as (lines, sink):
    print("a library", flush=True)
    subprocess.run(["echo", "a child"])
    assert sys.stdin.read() == ""
    sink._write_all(b"the protocol\\n")
print("afterwards")
"""


@pytest.fixture
def pipe() -> Generator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


@pytest.mark.parametrize("era", ERAS)
async def test_messages_of_any_size_cross_stdio(database_url: str, era: str) -> None:
    parameters = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=environment(database_url))
    contacts = [{"email": f"p{index}@example.com", "company": "Größe & Söhne 株式会社"} for index in range(3_000)]
    async with Client(stdio_client(parameters), mode=era) as client:
        scene = await new_campaign(client)
        answer = await call(
            client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=contacts, detail="full"
        )
        assert answer["enrolled"] == len(answer["results"]) == 3_000
        found = await call(client, "find_contacts", email="p2999@example.com")
        assert found["contacts"][0]["company"] == "Größe & Söhne 株式会社"


async def test_a_reader_that_lags_gets_every_text_in_order(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    texts = ["short", "ü" * 300_000, "last"]
    sink = Sink(writer)

    async def write() -> None:
        for text in texts:
            await sink.write(f"{text}\n")

    got: list[bytes] = []
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            async for line in Lines(reader):
                got.append(line)
                if len(got) == len(texts):
                    break
    assert [line.decode() for line in got] == texts


async def test_the_end_of_the_pipe_ends_the_last_line_too() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"one\n\xff\ntw")
    os.close(writer)
    with anyio.fail_after(PATIENCE):
        assert [line async for line in Lines(reader)] == [b"one", b"\xff", b"tw"]
    os.close(reader)


def test_only_the_protocol_reaches_stdout() -> None:
    command = [sys.executable, "-c", PRINTS]
    done = subprocess.run(command, input="not for them", capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout == "the protocol\nafterwards\n"
    assert done.stderr == "a library\na child\n"


def test_a_server_without_a_stderr_serves_as_well(database_url: str) -> None:
    env = environment(database_url)
    command = ["sh", "-c", f"{' '.join(COMMAND)} serve --no-worker 2>&-"]
    request = json.dumps(INITIALIZE) + "\n"
    done = subprocess.run(command, input=request, capture_output=True, text=True, env=env, timeout=PATIENCE, check=True)
    assert json.loads(done.stdout)["result"]["serverInfo"]["name"] == "sales-automation-mcp"


def test_a_file_is_served_as_well(database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "requests"
    path.write_text(json.dumps(INITIALIZE) + "\n")
    with path.open() as requests:
        command = [*COMMAND, "serve", "--no-worker"]
        env = environment(database_url)
        done = subprocess.run(
            command, stdin=requests, capture_output=True, text=True, env=env, timeout=PATIENCE, check=True
        )
    assert json.loads(done.stdout)["result"]["serverInfo"]["name"] == "sales-automation-mcp"


PING = b'{"jsonrpc":"2.0","id":99,"method":"ping"}'
NO_JSON = {
    "words": b"garbage",
    "half of it": b'{"jsonrpc":"2.0","id":1,',
    "too deep": b"[" * 5_000,
}
NO_MESSAGE = {
    "a number": b"5",
    "a batch": b"[" + PING + b"]",
    "an object of another kind": b'{"hello":"world"}',
    "a result that fits nothing": b'{"jsonrpc":"2.0","id":3,"result":5}',
}


def answers(database_url: str, *lines: bytes) -> list[dict[str, Any]]:
    """What a server writes when it gets these lines through a pipe."""
    done = subprocess.run(
        [*COMMAND, "serve", "--no-worker"],
        input=b"".join(line + b"\n" for line in lines),
        capture_output=True,
        env=environment(database_url),
        timeout=PATIENCE,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        *(pytest.param(line, -32700, id=name) for name, line in NO_JSON.items()),
        *(pytest.param(line, -32600, id=name) for name, line in NO_MESSAGE.items()),
    ],
)
def test_a_line_that_is_no_message_is_answered_and_the_next_one_served(
    database_url: str, line: bytes, code: int
) -> None:
    refused, welcome = answers(database_url, line, json.dumps(INITIALIZE).encode())
    assert (refused["id"], refused["error"]["code"]) == (None, code)
    assert welcome["result"]["serverInfo"]["name"] == "sales-automation-mcp"


def test_a_broken_request_is_answered_under_its_id_as_far_as_that_can_be_read(database_url: str) -> None:
    hello = json.dumps(INITIALIZE).encode()
    wrong_method = b'{"jsonrpc":"2.0","id":7,"method":5}'
    latin_1 = b'{"jsonrpc":"2.0","id":"a","method":"ping","params":{"name":"J\xf6rg"}}'
    got = {answer["id"]: answer for answer in answers(database_url, hello, latin_1, wrong_method)}
    assert got["a"]["error"]["code"] == -32700
    assert got[7]["error"]["code"] == -32600
    assert "method" in got[7]["error"]["message"]


def test_empty_lines_are_no_messages_and_no_fault(database_url: str) -> None:
    assert [answer["id"] for answer in answers(database_url, b"", b" \r", json.dumps(INITIALIZE).encode(), b"")] == [1]


def test_what_is_no_message_in_a_file_is_answered_as_well(database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "requests"
    path.write_bytes(b"\n".join([b"garbage", *calls([2], "list_templates")]))
    with path.open() as requests:
        command = [*COMMAND, "serve", "--no-worker"]
        env = environment(database_url)
        done = subprocess.run(
            command, stdin=requests, capture_output=True, text=True, env=env, timeout=PATIENCE, check=True
        )
    refused, welcome, listed = map(json.loads, done.stdout.splitlines())
    assert (refused["id"], refused["error"]["code"]) == (None, -32700)
    assert welcome["id"] == 1
    assert listed["id"] == 2


def calls(ids: Sequence[object], tool: str = "create_template") -> list[bytes]:
    """A handshake, and calls of a tool under these ids."""
    started = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    arguments = {"name": "T", "type": "email"} if tool == "create_template" else {}
    made = [
        {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
        for id_ in ids
    ]
    return [json.dumps(message).encode() for message in (INITIALIZE, started, *made)]


def test_calls_under_way_are_done_and_answered_or_refused_when_stdin_closes(
    database_url: str, database: Database
) -> None:
    ids = [f"call {number}" for number in range(30)]
    hello, started, *creates = calls(ids)
    first = calls(["first"], "list_templates")[-1]
    command = [*COMMAND, "serve", "--no-worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(database_url)
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n".join([hello, started, first, b""]))
        process.stdin.flush()
        assert [json.loads(process.stdout.readline())["id"] for _ in range(2)] == [INITIALIZE["id"], "first"]
        out, _ = process.communicate(b"".join(line + b"\n" for line in creates), timeout=PATIENCE)
    got: dict[str, Any] = {answer["id"]: answer["result"] for answer in map(json.loads, out.splitlines())}
    assert sorted(got) == sorted(ids)
    made = {result["structuredContent"]["template"]["id"] for result in got.values() if not result.get("isError")}
    with database.transaction("look") as session:
        kept = {str(id_) for id_ in session.scalars(sql("SELECT id FROM campaign_templates"))}
    assert made
    assert made == kept


def test_nobody_waits_for_a_request_that_was_taken_back_or_never_ends(database_url: str) -> None:
    taken_back = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "7"}}
    lines = [*calls([7]), json.dumps(taken_back).encode(), *calls(["b"], "list_templates")[2:]]
    assert "b" in [answer["id"] for answer in answers(database_url, *lines)]


def test_an_id_with_a_point_is_answered_and_one_that_is_no_id_refused(database_url: str) -> None:
    wrong = [1.5, True, [1], {"id": 1}]
    got = answers(database_url, *calls([2.0, *wrong, 3], "list_templates"))
    assert sorted(answer["id"] for answer in got if "result" in answer) == [INITIALIZE["id"], 2, 3]
    assert [answer["error"]["code"] for answer in got if "error" in answer] == [-32600] * len(wrong)


HALVES = [r"\ud83d", r"\udc00\ud800", r"A\uD83D", r"\\\ud800", r"\u0000"]


async def test_half_of_a_character_is_refused_and_not_left_without_an_answer(database_url: str, tmp_path: Path) -> None:
    """JavaScript cuts emojis in two, and writes a half as an escape that JSON takes and Unicode does not."""
    calls = [
        f'{{"name": "suppress", "arguments": {{"email": "a@example.com", "source": "{half}"}}}}' for half in HALVES
    ]
    calls += [
        f'{{"name": "cache_set", "arguments": {{"namespace": "n", "key": "k", "value": [{{"{half}": 1}}]}}}}'
        for half in HALVES
    ]
    requests = [
        f'{{"jsonrpc": "2.0", "id": {number}, "method": "tools/call", "params": {each}}}'
        for number, each in enumerate(calls, 2)
    ]
    whole = r'{"name": "suppress", "arguments": {"email": "b@example.com", "source": "\ud83d\ude00 \\ud83d"}}'
    requests.append(f'{{"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": {whole}}}')
    started = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    lines = [json.dumps(INITIALIZE), json.dumps(started), *requests]
    its_own = environment(database_url, SALES_AUTOMATION_HOME=str(tmp_path))
    async with await anyio.open_process(COMMAND, env=its_own, stderr=None) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send("".join(f"{line}\n" for line in lines).encode())
        answers: dict[int, dict[str, Any]] = {}
        received = b""
        with anyio.fail_after(PATIENCE):
            while len(answers) < len(requests) + 1:
                received += await process.stdout.receive()
                *whole_lines, received = received.split(b"\n")
                answers |= {answer["id"]: answer for answer in map(json.loads, whole_lines) if "id" in answer}
        await process.stdin.aclose()
    for number in range(2, len(calls) + 2):
        result = answers[number]["result"]
        assert result["isError"]
        assert "holds a NUL or half of a surrogate pair" in result["content"][0]["text"]
    assert answers[99]["result"]["structuredContent"]["suppression"]["source"] == "\U0001f600 \\ud83d"
