"""Over stdio the person is asked, where the client can ask: in both protocol eras, and with no transaction open."""

from typing import Any

import pytest
from anyio import sleep_forever, to_thread
from mcp.client import Client, ClientRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequestParams, ElicitResult, InputRequiredResult, InputResponses

from db.postgres.database import Database
from tests.support.drafts import asking, write
from tests.support.outbox import unknown_mail
from tests.support.processes import ERAS
from tests.support.replying import new_talk
from tests.support.server import MakeApp, call, refusal, stdio_server
from tests.support.steps import run_sql

pytestmark = pytest.mark.anyio

_OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"


class Person:
    """Who sits at the client: what they were asked, and what they say to it."""

    def __init__(self, database: Database, action: str = "accept", **content: Any) -> None:
        self.database = database
        self.answer = ElicitResult.model_validate({"action": action, "content": content or None})
        self.asked: list[str] = []
        self.waited: list[int] = []

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:  # noqa: ARG002
        self.asked.append(params.message)
        self.waited.append(await to_thread.run_sync(lambda: run_sql(self.database, _OPEN).scalar_one()))
        return self.answer


def scene(database: Database, people: int = 1) -> list[dict[str, Any]]:
    _, enrollments = asking(database, people=people)
    drafts = [write(database, one, f"Words \u202efor {number}") for number, one in enumerate(enrollments)]
    return [{"draft_id": str(draft.id), "fingerprint": draft.fingerprint.hex()} for draft in drafts]


def found(database: Database) -> list[str]:
    return list(run_sql(database, "SELECT status FROM action_drafts ORDER BY id").scalars())


@pytest.mark.parametrize("era", ERAS)
async def test_who_agrees_approves_what_they_saw(make_app: MakeApp, database: Database, era: str) -> None:
    drafts = await to_thread.run_sync(scene, database, 2)
    person = Person(database, agreed=True)
    async with Client(stdio_server(make_app()), mode=era, elicitation_callback=person) as client:
        answer = await call(client, "approve_drafts", drafts=drafts)
        assert [row["status"] for row in answer["results"]] == ["approved", "approved"]
        (record,) = (await call(client, "list_audit", tool="approve_drafts"))["records"]
    assert record["actor"] == "stdio"
    (question,) = person.asked
    for part in (
        "Let these 2 go out as they are?",
        "To: p0@example.com",
        "Subject: One you",
        "Words for 1",
        "! hidden",
    ):
        assert part in question
    assert person.waited == [0]
    assert found(database) == ["approved", "approved"]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("action", "content"),
    [("accept", {"agreed": False}), ("decline", {}), ("cancel", {})],
)
async def test_who_does_not_agree_has_nothing_done(
    make_app: MakeApp, database: Database, era: str, action: str, content: dict[str, Any]
) -> None:
    drafts = await to_thread.run_sync(scene, database)
    person = Person(database, action, **content)
    async with Client(stdio_server(make_app()), mode=era, elicitation_callback=person) as client:
        said = await refusal(client, "approve_drafts", drafts=drafts)
    assert "did not agree" in said
    assert "drafts approve" in said
    assert found(database) == ["waiting"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_rejection_is_asked_about_with_its_reason(make_app: MakeApp, database: Database, era: str) -> None:
    ((draft),) = await to_thread.run_sync(scene, database)
    person = Person(database, agreed=True)
    async with Client(stdio_server(make_app()), mode=era, elicitation_callback=person) as client:
        rejected = {"draft_id": draft["draft_id"], "reason": "Too long", "then": "skip"}
        answer = await call(client, "reject_draft", **rejected)
    assert answer["draft"]["status"] == "rejected"
    assert person.asked[0].startswith("Reject this draft, and skip its step? Reason: Too long\n\nTo: p0@example.com")


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_can_not_ask_is_told_where_to_decide(
    make_app: MakeApp, database: Database, era: str
) -> None:
    drafts = await to_thread.run_sync(scene, database)
    async with Client(stdio_server(make_app()), mode=era) as client:
        said = await refusal(client, "approve_drafts", drafts=drafts)
    assert "needs the scope approve" in said
    assert found(database) == ["waiting"]


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_client_that_brings_no_answer_is_told_where_to_decide(
    make_app: MakeApp, database: Database, monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    monkeypatch.setattr("mcp_server.calls.questions.ANSWER_SECONDS", 0.05 if is_late else 600)

    async def ask(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        if is_late:
            await sleep_forever()
        raise RuntimeError("a fault of the client")

    drafts = await to_thread.run_sync(scene, database)
    async with Client(stdio_server(make_app()), mode=ERAS[1], elicitation_callback=ask) as client:
        said = await refusal(client, "approve_drafts", drafts=drafts)
    assert "did not bring an answer" in said
    assert "drafts approve" in said
    assert "dashboard" in said
    assert found(database) == ["waiting"]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("outcome", ["sent", "not_sent"])
async def test_who_settles_a_mail_is_asked_about_it(
    make_app: MakeApp, database: Database, era: str, outcome: str
) -> None:
    mail = await to_thread.run_sync(unknown_mail, database)
    person = Person(database, agreed=True)
    async with Client(stdio_server(make_app()), mode=era, elicitation_callback=person) as client:
        answer = await call(client, "settle_message", message_id=str(mail.message_id), outcome=outcome)
    assert answer["message"]["status"] == outcome
    (question,) = person.asked
    for part in ("To: eve@example.com", "From: cleo@other.example", mail.subject, mail.internet_message_id):
        assert part in question
    assert person.waited == [0]


@pytest.mark.parametrize("era", ERAS)
async def test_who_withdraws_a_reply_is_asked_about_it(make_app: MakeApp, database: Database, era: str) -> None:
    made = await to_thread.run_sync(lambda: new_talk(database).queued())
    person = Person(database, agreed=True)
    async with Client(stdio_server(make_app()), mode=era, elicitation_callback=person) as client:
        answer = await call(client, "settle_message", message_id=str(made.id), outcome="not_sent")
    assert answer["message"]["status"] == "not_sent"
    (question,) = person.asked
    for part in ("Withdraw this reply?", "To: bob@example.com", "Written: ", "Re: Mail 1"):
        assert part in question


@pytest.mark.parametrize("era", ERAS)
async def test_a_campaign_asks_for_less_once_the_person_agrees(make_app: MakeApp, database: Database, era: str) -> None:
    campaign_id, _ = await to_thread.run_sync(asking, database)
    person = Person(database, agreed=True)
    async with Client(stdio_server(make_app()), mode=era, elicitation_callback=person) as client:

        async def sets(**settings: Any) -> dict[str, Any]:
            return (await call(client, "update_campaign", campaign_id=str(campaign_id), settings=settings))["campaign"]

        assert (await sets(daily_limit=5))["settings"]["approval"] == "all"
        await sets(approval="all")
        assert person.asked == []
        assert (await sets(approval="first_step"))["settings"]["approval"] == "first_step"
        person.answer = ElicitResult(action="decline")
        unwanted = {"campaign_id": str(campaign_id), "settings": {"approval": "none"}}
        assert "did not agree" in await refusal(client, "update_campaign", **unwanted)
        assert (await sets(daily_limit=6))["settings"]["approval"] == "first_step"
    assert [question.partition("? ")[2] for question in person.asked] == [
        "Now the words of every step wait for approval; from then on the first words to each person wait for approval.",
        "Now the first words to each person wait for approval; from then on nothing waits for a person.",
    ]


async def test_nobody_is_asked_about_more_than_they_can_read_or_about_what_is_not_there(
    make_app: MakeApp, database: Database
) -> None:
    drafts = await to_thread.run_sync(scene, database, 11)
    person = Person(database, agreed=True)
    async with Client(stdio_server(make_app()), elicitation_callback=person) as client:
        assert "at most 10" in await refusal(client, "approve_drafts", drafts=drafts)
        other = [{**drafts[0], "fingerprint": "0" * 64}]
        assert "needs the scope approve" in await refusal(client, "approve_drafts", drafts=other)
        assert "drafts" in await refusal(client, "approve_drafts", drafts="all")
    assert person.asked == []
    assert set(found(database)) == {"waiting"}


async def test_an_answer_counts_once_and_for_its_own_question(make_app: MakeApp, database: Database) -> None:
    first, second = await to_thread.run_sync(scene, database, 2)
    answers: InputResponses = {"decision": ElicitResult(action="accept", content={"agreed": True})}
    async with Client(stdio_server(make_app()), elicitation_callback=Person(database)) as client:

        async def asked(draft: dict[str, Any], state: str | None) -> str | None:
            """The state of the question that this call is answered with; None where it is done."""
            answer = await client.session.call_tool(
                "approve_drafts",
                {"drafts": [draft]},
                input_responses=None if state is None else answers,
                request_state=state,
                allow_input_required=True,
            )
            return answer.request_state if isinstance(answer, InputRequiredResult) else None

        state = await asked(first, None)
        assert state is not None
        for draft, given in ((second, state), (first, "made up")):
            with pytest.raises(MCPError):
                await asked(draft, given)
        assert found(database) == ["waiting", "waiting"]
        assert await asked(first, state) is None
        assert await asked(first, state) is not None
    assert found(database) == ["approved", "waiting"]
