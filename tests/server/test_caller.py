"""Whose call it is: an HTTP request that no gate has looked at may do nothing."""

from typing import Any, cast

import pytest
from mcp.server.mcpserver import Context
from starlette.requests import Request

from db.domain.access import Caller, Scope
from mcp_server.calls import caller
from mcp_server.http.token_cache import DEFAULT


class Around:
    """What the SDK hands a tool, as far as it matters here."""

    def __init__(self, request: Request) -> None:
        self.request_context = self
        self.request = request


def of(scope: dict[str, Any]) -> caller.Invocation:
    request = Request({"type": "http", "headers": [], **scope})
    return caller.of_context(cast("Context[Any, Any]", Around(request)), {"a": 1}, caller.LOCAL)


def test_a_request_without_a_caller_has_no_scope() -> None:
    invocation = of({})
    assert invocation.caller.scopes == frozenset()
    for scope in Scope:
        assert caller.missing_scope(invocation.caller, scope, "it") is not None


def test_a_request_has_the_caller_that_the_gate_found() -> None:
    one = Caller("agent", frozenset({Scope.READ}), "1")
    assert of({caller.SCOPE_KEY: one}).caller is one


def test_without_http_it_is_whoever_has_the_pipes() -> None:
    assert caller.of_context(None, {}, caller.LOCAL).caller is caller.LOCAL


def test_the_current_call_ends_with_its_block() -> None:
    invocation = of({})
    with caller.invoked(invocation):
        assert caller.current() is invocation
    assert caller.current().caller is caller.LOCAL


@pytest.mark.parametrize("program", [caller.LOCAL, DEFAULT], ids=lambda known: known.name)
def test_nobody_may_approve_who_was_not_given_it(program: Caller) -> None:
    assert program.scopes == {Scope.READ, Scope.WRITE, Scope.OPS}
    told = caller.missing_scope(program, Scope.APPROVE, "approve_drafts")
    assert told is not None
    for way in ("drafts list", "drafts approve", "drafts reject", "sales-automation-mcp dashboard"):
        assert way in told
