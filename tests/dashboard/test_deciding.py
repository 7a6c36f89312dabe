"""Decisions by HTTP: only who may approve has them taken, and no page of another site can have one taken."""

from functools import partial
from typing import Any

import pytest
from starlette.testclient import TestClient

from db.domain.access import Scope
from db.models import ActionDraft
from db.postgres.database import Database
from mcp_server.http.app import build_dashboard_app
from mcp_server.http.sessions import link
from tests.support.dashboard_app import BASE, MakeApp, new_key, server, sign_in
from tests.support.drafts import asking, statuses, write
from tests.support.server import NOW
from tests.support.steps import claim, run_sql
from tests.support.tokens import bearer, new_token

APPROVE, REJECT = "/dashboard/api/approve", "/dashboard/api/reject"
STOP, START, HEALTH = (f"/dashboard/api/{name}" for name in ("stop", "start", "health"))


def approval(draft: ActionDraft) -> dict[str, Any]:
    return {"drafts": [{"draft_id": str(draft.id), "fingerprint": draft.fingerprint.hex()}]}


def rejection(draft: ActionDraft) -> dict[str, Any]:
    return {"draft_id": str(draft.id), "reason": "Too long", "then": "pause"}


@pytest.mark.parametrize("scopes", [[Scope.READ], [Scope.READ, Scope.WRITE, Scope.OPS], [Scope.APPROVE]])
def test_a_token_without_both_scopes_decides_nothing(
    make_app: MakeApp, database: Database, scopes: list[Scope]
) -> None:
    _, (one,) = asking(database)
    draft = write(database, one)
    token = new_token(database, "agent", *scopes)
    with server(make_app()) as client:
        for path, body in ((APPROVE, approval(draft)), (REJECT, rejection(draft))):
            assert client.post(path, json=body).status_code == 401
            for held in (token, "the token of the settings"):
                answer = client.post(path, json=body, headers=bearer(held))
                assert (answer.status_code, "needs the scope" in answer.json()["message"]) == (403, True)
    assert statuses(database, one) == [(1, "waiting")]


def test_this_machine_may_look_and_not_decide_where_no_token_is_asked_for(
    make_app: MakeApp, database: Database
) -> None:
    _, (one,) = asking(database)
    draft = write(database, one)
    with server(make_app(), token=None) as client:
        (shown,) = client.get("/dashboard/api/drafts").json()["drafts"]
        assert shown["id"] == str(draft.id)
        answer = client.post(APPROVE, json=approval(draft))
    assert answer.status_code == 403
    assert "sales-automation-mcp dashboard" in answer.json()["message"]
    assert statuses(database, one) == [(1, "waiting")]


def test_who_signed_in_by_a_link_decides_and_is_noted(make_app: MakeApp, database: Database) -> None:
    campaign_id, (one, two) = asking(database, people=2)
    first, second = write(database, one), write(database, two)
    key = new_key(database)
    with server(make_app()) as client:
        sign_in(client, key)
        answer = client.post(APPROVE, json=approval(first)).json()
        assert answer["results"] == [{"draft_id": str(first.id), "status": "approved"}]
        rejected = client.post(REJECT, json=rejection(second)).json()
        assert (rejected["draft"]["status"], rejected["draft"]["decided_by"]) == ("rejected", "dashboard")
        again = client.post(REJECT, json=rejection(second))
        assert (again.status_code, "rejected" in again.json()["message"]) == (400, True)
    assert [due.enrollment.id for due in claim(database, campaign_id)] == [one]
    noted = run_sql(database, "SELECT actor, tool, outcome FROM audit_log ORDER BY at").all()
    assert [tuple(row) for row in noted] == [
        ("dashboard", "approve_drafts", "ok"),
        ("dashboard", "reject_draft", "ok"),
        ("dashboard", "reject_draft", "refused"),
    ]


def test_the_dashboard_that_a_command_serves_takes_decisions_of_its_visitor(
    make_app: MakeApp, database: Database
) -> None:
    _, (one,) = asking(database)
    draft = write(database, one)
    key = b"k" * 32
    with TestClient(build_dashboard_app(make_app(), host="127.0.0.1", key=key), base_url=BASE) as client:
        assert client.post(APPROVE, json=approval(draft)).status_code == 401
        client.get(link("", key, NOW), follow_redirects=False)
        assert client.post(APPROVE, json=approval(draft)).status_code == 200
    assert statuses(database, one) == [(1, "approved")]


def test_no_other_page_can_have_anything_decided(make_app: MakeApp, database: Database) -> None:
    _, (one,) = asking(database)
    body = approval(write(database, one))
    key = new_key(database)
    with server(make_app()) as client:
        sign_in(client, key)
        post = partial(client.post, APPROVE)
        assert post(json=body, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert post(json=body, headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            assert post(content=b"{}", headers={"Content-Type": kind}).status_code == 415
        for wrong in (b"[]", b"{", b"\xff", b" " * 65_537):
            assert post(content=wrong, headers={"Content-Type": "application/json"}).status_code == 400
        assert "drafts" in post(json={}).json()["message"]
        assert client.post("/dashboard/api/campaigns", json={}).status_code == 404
        assert client.post("/dashboard/api/draft_action", json={}).status_code == 404
        assert client.get(APPROVE).status_code == 404
    assert statuses(database, one) == [(1, "waiting")]


def test_a_read_only_server_takes_no_decision(make_app: MakeApp, database: Database) -> None:
    _, (one,) = asking(database)
    draft = write(database, one)
    key = new_key(database)
    with server(make_app(read_only=True)) as client:
        sign_in(client, key)
        answer = client.post(APPROVE, json=approval(draft))
        assert (answer.status_code, answer.json()["error"]) == (403, "read_only")
    assert statuses(database, one) == [(1, "waiting")]


def test_who_signed_in_by_a_link_stops_all_sending_and_starts_it_and_nobody_else_does(
    make_app: MakeApp, database: Database
) -> None:
    key, token = new_key(database), new_token(database, "agent", Scope.READ, Scope.WRITE, Scope.OPS)
    with server(make_app()) as client:
        for path in (STOP, START):
            assert client.post(path, json={}).status_code == 401
            answer = client.post(path, json={}, headers=bearer(token))
            assert (answer.status_code, "needs the scope approve" in answer.json()["message"]) == (403, True)
        sign_in(client, key)
        assert client.post(STOP, json={}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.post(STOP, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
        assert "sending_stopped_at" not in client.get(HEALTH).json()
        stopped = client.post(STOP, json={})
        assert (stopped.status_code, stopped.json()["under_way"]) == (200, 0)
        assert client.get(HEALTH).json()["sending_stopped_at"]
        assert client.post(START, json={}).json() == {"under_way": 0}
        assert "sending_stopped_at" not in client.get(HEALTH).json()
    noted = run_sql(database, "SELECT actor, tool FROM audit_log ORDER BY at, id").all()
    assert [tuple(row) for row in noted] == [("dashboard", "stop_sending"), ("dashboard", "start_sending")]
