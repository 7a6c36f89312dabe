"""What `bench.large` calls: every tool that asks the database, the pages of the dashboard, type-ahead.

Left out are the tools of jobs and of the cache, which ask a store of their own, and check_mailbox and send_test, which
ask mail servers.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from bench.large_rows import BODY, Person
from bench.large_sides import Call, Prepared, Side
from db.services.reports import typeahead

_STEP: Final = {"step_number": 1, "subject": "Hello", "body": "Good morning, all"}


def _tool(name: str, arguments: Callable[[Side], dict[str, Any]] = lambda _: {}) -> Call:
    """A call of a tool with these arguments, which are made before."""
    return lambda side: partial(side.tool, name, **arguments(side))


def _waits(person: Person) -> bool:
    return person.fate.end is None


def _once(side: Side, low: float, high: float) -> Person:
    """Somebody of whom a call ends what there is, and nobody twice."""
    found = side.person(low=low, high=high, fits=lambda person: person.number not in side.used)
    side.used.add(found.number)
    return found


def _is_of_agents(person: Person) -> bool:
    return person.sender.mailbox_id is None


def _waits_for_agents(side: Side) -> Person:
    """Somebody whose next step an agent sends."""
    return side.person(low=0.4, fits=_is_of_agents)


def _has_thread(person: Person) -> bool:
    return person.thread is not None


def _answered(person: Person) -> bool:
    return person.fate.end == "replied" and _has_thread(person)


def _new_people(side: Side, count: int) -> list[dict[str, str]]:
    first = side.next()
    return [
        {
            "email": f"new.{first}.{n}@firm{side.dice.randrange(40_000)}.example",
            "first_name": "Nora",
            "last_name": "New",
        }
        for n in range(count)
    ]


def _template(side: Side) -> str:
    made = side.tool("create_template", name=f"T {side.next()}", type="email", email_steps=[_STEP])
    return made["template"]["id"]


def _template_in_use(side: Side) -> str:
    return side.tool("get_campaign", campaign_id=side.agents_campaign())["campaign"]["template_id"]


def _pause(side: Side) -> Prepared:
    _go_on(side)
    side.kept["paused"] = side.agents_campaign()
    return partial(side.tool, "pause_campaign", campaign_id=side.kept["paused"])


def _go_on(side: Side) -> None:
    paused = side.kept.pop("paused", None)
    if paused is not None:
        side.tool("start_campaign", campaign_id=paused)


def _start(side: Side) -> Prepared:
    _pause(side)()
    return partial(_go_on, side)


def _later(side: Side) -> dict[str, Any]:
    """Another delay for a step that a fifth of the people wait for."""
    step = {"step_number": 3, "subject": "A last word", "body": "Shall I close this?"}
    return {"template_id": _template_in_use(side), "email_steps": [{**step, "delay_hours": 48 + side.next() % 48}]}


def _claimed(side: Side, limit: int) -> list[dict[str, Any]]:
    """Steps that were just claimed."""
    found = side.tool("claim_due_actions", campaign_id=side.agents_campaign(), limit=limit, lease_seconds=60)
    return [{"action_id": due["action_id"], "lease_token": due["lease_token"]} for due in found["actions"]]


def _complete(side: Side) -> Prepared:
    return partial(side.tool, "complete_action", **_claimed(side, 1)[0], outcome="sent")


def _complete_some(side: Side) -> Prepared:
    reports = [{**one, "outcome": "sent"} for one in _claimed(side, 10)]
    return partial(side.tool, "complete_actions", reports=reports)


def _event(side: Side, person: Person) -> dict[str, Any]:
    return {
        "event_type": "opened", "channel": "email", "enrollment_id": person.enrollment, "step_number": 1,
        "provider": "bench", "provider_event_id": f"new-{side.next()}",
    }  # fmt: skip


def _events(side: Side, count: int) -> list[dict[str, Any]]:
    """Opens of people at random, of all campaigns."""
    return [_event(side, side.person(high=0.8)) for _ in range(count)]


def _csv(side: Side) -> dict[str, Any]:
    rows = [f"{row['email']},Nora,New" for row in _new_people(side, 500)]
    return {"csv": "\n".join(["email,first_name,last_name", *rows]), "campaign_id": side.agents_campaign()}


def _waiting_draft(side: Side) -> dict[str, Any]:
    return side.dice.choice(side.tool("list_drafts", limit=20)["drafts"])


def _approve(side: Side) -> Prepared:
    draft = _waiting_draft(side)
    given = [{"draft_id": draft["id"], "fingerprint": draft["fingerprint"]}]
    return partial(side.tool, "approve_drafts", drafts=given)


def _suppressed(side: Side) -> dict[str, Any]:
    email = f"former.{side.next()}@elsewhere.example"
    side.tool("suppress", email=email)
    return {"email": email}


def _complete_campaign(side: Side) -> Prepared:
    """A campaign in which a twentieth of all people are, another one each time."""
    number = side.kept["completed"] = side.kept.get("completed", 0) + 1
    return partial(side.tool, "complete_campaign", campaign_id=side.filled.agents[-number])


def _typed(text: Callable[[Side], str]) -> Call:
    """Enrollments that are proposed for what somebody has typed."""
    return lambda side: partial(
        side.app.run,
        "complete",
        partial(typeahead.enrollments, typed=text(side), limit=1_001),
        read_only=True,
    )


def _page(name: str, query: Callable[[Side], dict[str, str]] = lambda _: {}) -> Call:
    return lambda side: partial(side.page, f"/dashboard/api/{name}", **query(side))


def _of_campaign(side: Side) -> dict[str, Any]:
    return {"campaign_id": side.campaign()}


def _step(side: Side) -> dict[str, Any]:
    person = side.person()
    return {"campaign_id": person.sender.campaign_id, "step_number": 1, "contact_id": person.contact}


def _events_of(side: Side) -> dict[str, Any]:
    person = side.person()
    return {"campaign_id": person.sender.campaign_id, "enrollment_id": person.enrollment}


def _draft(side: Side) -> dict[str, Any]:
    return {"enrollment_id": _waits_for_agents(side).enrollment, "subject": "Hi", "body": BODY}


def _not_suppressed(side: Side) -> dict[str, Any]:
    return {"email": _once(side, 0.0, 0.8).email}


def _enrollment(side: Side) -> dict[str, Any]:
    return {"enrollment_id": side.person().enrollment}


def _thread(side: Side) -> dict[str, Any]:
    return {"thread_id": side.person(high=0.8, fits=_has_thread).thread}


READS: Final[Mapping[str, Call]] = {
    "get_template": _tool("get_template", lambda side: {"template_id": _template_in_use(side)}),
    "list_templates": _tool("list_templates"),
    "get_campaign": _tool("get_campaign", _of_campaign),
    "list_campaigns": _tool("list_campaigns", lambda _: {"status": "active"}),
    "find_overlaps, 1 person": _tool("find_overlaps", lambda side: {"contacts": [{"email": side.person().email}]}),
    "find_overlaps, 100 people": _tool(
        "find_overlaps", lambda side: {"contacts": [{"email": side.person().email} for _ in range(100)]}
    ),
    "list_enrollments of a campaign": _tool("list_enrollments", _of_campaign),
    "list_enrollments, unsubscribed": _tool(
        "list_enrollments", lambda side: {**_of_campaign(side), "status": "unsubscribed"}
    ),
    "list_enrollments, paused": _tool("list_enrollments", lambda side: {**_of_campaign(side), "status": "paused"}),
    "list_enrollments of a person": _tool(
        "list_enrollments", lambda side: {"contact_id": side.person().contact}
    ),
    "list_enrollments of a domain": _tool(
        "list_enrollments", lambda side: {"domain": side.person().email.partition("@")[2]}
    ),
    "get_enrollment": _tool("get_enrollment", _enrollment),
    "find_contacts by email": _tool("find_contacts", lambda side: {"email": side.person().email}),
    "find_contacts of a company": _tool(
        "find_contacts", lambda side: {"company": f"firm {side.person().number % 30_011} gmbh"}
    ),
    "find_contacts, a part of many names": _tool("find_contacts", lambda _: {"search": "stein"}),
    "find_contacts, a part of one address": _tool(
        "find_contacts", lambda side: {"search": side.person().email.partition(".")[2][2:24]}
    ),
    "find_contacts, first and last name": _tool(
        "find_contacts", lambda side: {"search": " ".join(side.person().email.split(".")[:2])}
    ),
    "find_contacts, a part of nothing": _tool("find_contacts", lambda side: {"search": f"qzx{side.next()}w"}),
    "list_suppressions": _tool("list_suppressions"),
    "list_suppressions, manual": _tool("list_suppressions", lambda _: {"reason": "manual"}),
    "list_suppressions, searched": _tool("list_suppressions", lambda side: {"search": f"qzx{side.next()}w"}),
    "preview_action": _tool("preview_action", _step),
    "forecast of a campaign": _tool("forecast", lambda side: {"campaign_id": side.agents_campaign(), "days": 14}),
    "forecast": _tool("forecast", lambda _: {"days": 14}),
    "explain_due of a campaign": _tool("explain_due", _of_campaign),
    "explain_due of a person": _tool("explain_due", lambda side: {"enrollment_id": side.person(low=0.4).enrollment}),
    "list_events": _tool("list_events", _of_campaign),
    "list_events, replied": _tool("list_events", lambda side: {**_of_campaign(side), "event_type": "replied"}),
    "list_events, complained": _tool("list_events", lambda side: {**_of_campaign(side), "event_type": "complained"}),
    "list_events of a person": _tool("list_events", _events_of),
    "list_orphaned_events": _tool("list_orphaned_events", lambda _: {"status": "waiting"}),
    "list_webhook_deliveries": _tool("list_webhook_deliveries"),
    "list_mailboxes": _tool("list_mailboxes"),
    "get_mailbox": _tool("get_mailbox", lambda _: {"mailbox": "box-0@example.com"}),
    "list_threads": _tool("list_threads", lambda _: {"state": "needs_answer"}),
    "list_threads of a kind": _tool("list_threads", lambda _: {"kind": "human"}),
    "list_threads, complaints": _tool("list_threads", lambda _: {"kind": "complaint"}),
    "list_threads of a campaign, answered": _tool(
        "list_threads", lambda side: {"campaign_id": side.filled.senders[0].campaign_id, "state": "answered"}
    ),
    "get_thread": _tool("get_thread", _thread),
    "list_drafts": _tool("list_drafts"),
    "list_drafts, rejected": _tool("list_drafts", lambda _: {"status": "rejected"}),
    **{
        f"get_metrics by {by}": _tool("get_metrics", lambda side, by=by: {**_of_campaign(side), "group_by": by})
        for by in ("total", "step", "variant", "channel", "day", "mailbox")
    },
    "get_metrics of a week by mailbox": _tool(
        "get_metrics", lambda side: {**_of_campaign(side), "group_by": "mailbox", "since": "2026-10-26"}
    ),
    "get_health": _tool("get_health"),
    "list_audit": _tool("list_audit"),
    "list_audit of a tool": _tool("list_audit", lambda _: {"tool": "erase_contact"}),
    "list_audit of somebody": _tool("list_audit", lambda _: {"actor": "nobody-of-that-name"}),
    "get_settings": _tool("get_settings"),
    "type-ahead, many": _typed(lambda _: "ann"),
    "type-ahead, few": _typed(lambda side: side.person().email[:16]),
    "type-ahead, nobody": _typed(lambda side: f"qzx{side.next()}"),
    "type-ahead, an id": _typed(lambda side: side.person().enrollment[:20]),
    "dashboard: waiting": _page("waiting"),
    "dashboard: waiting of a campaign": _page("waiting", _of_campaign),
    "dashboard: drafts": _page("drafts"),
    "dashboard: latest": _page("latest"),
    "dashboard: latest of a campaign": _page("latest", _of_campaign),
    "dashboard: find": _page("find", lambda _: {"typed": "Camp"}),
    "dashboard: campaigns": _page("campaigns"),
    "dashboard: campaign": _page("campaign", _of_campaign),
    "dashboard: metrics": _page("metrics", _of_campaign),
    "dashboard: explain": _page("explain", _of_campaign),
    "dashboard: enrollment": _page("enrollment", _enrollment),
    "dashboard: threads": _page("threads"),
    "dashboard: thread": _page("thread", _thread),
    "dashboard: orphans": _page("orphans"),
    "dashboard: suppressions": _page("suppressions"),
    "dashboard: health": _page("health"),
    "/metrics": lambda side: partial(side.page, "/metrics"),
}  # fmt: skip

WRITES: Final[Mapping[str, Call]] = {
    "create_template": _tool(
        "create_template", lambda side: {"name": f"N {side.next()}", "type": "email", "email_steps": [_STEP]}
    ),
    "archive_template": _tool("archive_template", lambda side: {"template_id": _template(side)}),
    "create_campaign": _tool(
        "create_campaign", lambda side: {"name": f"N {side.next()}", "template_id": _template(side)}
    ),
    "update_campaign": _tool(
        "update_campaign", lambda side: {"campaign_id": side.agents_campaign(), "name": f"Renamed {side.next()}"}
    ),
    "pause_campaign": _pause,
    "start_campaign, paused": _start,
    "enroll_contacts, 1 person": _tool(
        "enroll_contacts", lambda side: {"campaign_id": side.agents_campaign(), "contacts": _new_people(side, 1)}
    ),
    "enroll_contacts, 1,000 people": _tool(
        "enroll_contacts", lambda side: {"campaign_id": side.agents_campaign(), "contacts": _new_people(side, 1_000)}
    ),
    "upsert_contacts, 100 people": _tool(
        "upsert_contacts",
        lambda side: {"contacts": [{"email": side.person().email, "title": f"T{n}"} for n in range(100)]},
    ),
    "import_contacts, 500 rows": _tool("import_contacts", _csv),
    "update_enrollment, pause": _tool(
        "update_enrollment",
        lambda side: {"enrollment_id": _once(side, 0.8, 1.0).enrollment, "action": "pause"},
    ),
    "claim_due_actions of a campaign": _tool(
        "claim_due_actions", lambda side: {"campaign_id": side.agents_campaign(), "limit": 5, "lease_seconds": 60}
    ),
    "claim_due_actions": _tool("claim_due_actions", lambda _: {"limit": 5, "lease_seconds": 60}),
    "complete_action": _complete,
    "complete_actions, 10": _complete_some,
    "record_event": _tool("record_event", lambda side: {"event": _event(side, side.person(high=0.8))}),
    "record_events, 1,000": _tool("record_events", lambda side: {"events": _events(side, 1_000)}),
    "record_event, replied": _tool(
        "record_event",
        lambda side: {"event": {**_event(side, side.person(low=0.4, high=0.8, fits=_waits)), "event_type": "replied"}},
    ),
    "replay_events": _tool("replay_events", lambda _: {"provider": "postmark", "since": "2026-11-01T00:00:00Z"}),
    "update_mailbox": _tool(
        "update_mailbox", lambda side: {"mailbox": "box-0@example.com", "display_name": f"Ann {side.next()}"}
    ),
    "reply_in_thread": _tool(
        "reply_in_thread",
        lambda side: {"thread_id": side.person(high=0.4, fits=_answered).thread, "body": "Tuesday suits me."},
    ),
    "close_thread": _tool("close_thread", _thread),
    "sort_reply": _tool(
        "sort_reply",
        lambda side: {"message_id": side.person(high=0.4, fits=_answered).answer, "interest": "interested"},
    ),
    "draft_action": _tool("draft_action", _draft),
    "approve_drafts": _approve,
    "reject_draft": lambda side: partial(
        side.tool, "reject_draft", draft_id=_waiting_draft(side)["id"], reason="No.", then="pause"
    ),
    "update_settings": _tool("update_settings", lambda side: {"days_between_campaigns": side.next() % 30}),
    "suppress an address": _tool("suppress", lambda side: {"email": _once(side, 0.4, 1.0).email}),
    "suppress a domain": _tool("suppress", lambda side: {"domain": f"firm{side.person().number % 30_011}.example"}),
    "suppress 1,000 addresses": _tool(
        "suppress", lambda side: {"addresses": [row["email"] for row in _new_people(side, 1_000)]}
    ),
    "unsuppress": _tool("unsuppress", _suppressed),
    "erase_contact": _tool("erase_contact", _not_suppressed),
}  # fmt: skip


def _command(*arguments: str) -> Call:
    return lambda side: partial(side.command, *arguments)


def _export(what: str) -> Call:
    def prepared(side: Side) -> Prepared:
        campaign_id, file = side.filled.agents[0], str(side.home / f"{what}.csv")
        return partial(side.command, "export", "--campaign", campaign_id, "--what", what, "--output", file)

    return prepared


COMMANDS: Final[Mapping[str, Call]] = {
    "`doctor`": _command("doctor"),
    "`campaigns list`": _command("campaigns", "list"),
    "`drafts list`": _command("drafts", "list"),
    "`mailboxes list`": _command("mailboxes", "list"),
    "`export` of the people of a campaign": _export("enrollments"),
    "`export` of its messages": _export("messages"),
    "`export` of its events": _export("events"),
}
"""Each is a process. An export writes a twentieth of all rows."""

SLOW: Final[Mapping[str, Call]] = {
    "run_maintenance": _tool("run_maintenance"),
    "replay_mail": _tool("replay_mail", lambda _: {"since": "2026-11-01T00:00:00Z"}),
    "update_template, another delay": _tool("update_template", _later),
    "update_campaign, another window": _tool(
        "update_campaign",
        lambda side: {
            "campaign_id": side.agents_campaign(),
            "settings": {"sending_window": {"start": f"{side.next() % 9:02}:00", "end": "23:00"}},
        },
    ),
    "complete_campaign": _complete_campaign,
}
"""What is done rarely, and may grow with what it changes."""
