"""What the demo shows at its end: what came back, the inbox, a conversation and the funnel."""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from types import MappingProxyType
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from db.domain.mail.verdict import MailKind
from mcp_server.demo import checks
from mcp_server.demo.calls import Calls, check
from mcp_server.demo.people import Person
from mcp_server.demo.setting import MAILBOXES
from mcp_server.demo.stream import Expected

_COLUMNS: Final = ("sent", "delivered", "opened", "clicked", "replied", "accepted", "bounced", "unsubscribed")
_HEADINGS: Final = MappingProxyType({"delivered": "deliv.", "accepted": "accept.", "unsubscribed": "unsub."})
_RATES: Final = MappingProxyType(
    {
        "delivered": "delivery_rate",
        "opened": "open_rate",
        "clicked": "click_rate",
        "replied": "reply_rate",
        "accepted": "acceptance_rate",
    }
)
_FOLLOWS: Final = MappingProxyType(
    {
        MailKind.HUMAN: "stopped",
        MailKind.UNSUBSCRIBE: "stopped for good",
        MailKind.BOUNCE: "stopped for good",
        MailKind.ABSENCE: "held until back",
        MailKind.AUTO_REPLY: "goes on",
    }
)
_INBOX_SHOWN: Final = 4


class Report:
    """Asks the server, checks what it says, and prints it."""

    def __init__(self, calls: Calls, console: Console, campaign_id: str) -> None:
        self._call = calls
        self._console = console
        self._campaign_id = campaign_id

    async def enrollments(self) -> dict[str, dict[str, Any]]:
        """Returns the enrollment of each address."""
        rows = self._call.rows("list_enrollments", "enrollments", campaign_id=self._campaign_id)
        return {row["email"]: row async for row in rows}

    async def came_back(self, people: Mapping[str, Person]) -> None:
        """Shows each kind of mail that came back, what follows from it, and the first of each with its evidence."""
        counted = Counter(person.answer for person in people.values() if person.answer)
        table = _table("What came back", "kind", "mails", "what follows", "the first rests on the sentence")
        threads = {thread["contact"]["email"]: thread async for thread in self._threads()}
        found = Counter(thread.get("last_kind") for thread in threads.values())
        for kind, follows in _FOLLOWS.items():
            check(f"threads whose last answer is {kind}", found[kind], counted[kind])
            first = next(email for email, person in people.items() if person.answer is kind)
            table.add_row(kind, str(counted[kind]), follows, await self._evidence(threads[first]))
        self._console.print(table)

    async def inbox(self, needing: int) -> None:
        """Shows the threads that need an answer."""
        threads = [thread async for thread in self._threads(state="needs_answer")]
        check("threads that need an answer", len(threads), needing)
        table = _table(f"Inbox: {needing} threads need an answer, such as", "who", "kind", "rests on the sentence")
        for thread in threads[:_INBOX_SHOWN]:
            table.add_row(Text(_name(thread)), thread["last_kind"], await self._evidence(thread))
        self._console.print(table)

    async def conversation(self, email: str) -> None:
        """Shows the mails of a person's thread."""
        (thread,) = [thread async for thread in self._threads() if thread["contact"]["email"] == email]
        table = _table(f"A conversation: {thread['subject']}", "from", "kind", "says")
        for message in await self._messages(thread):
            is_ours = message["direction"] == "out"
            name = MAILBOXES[message["from"]] if is_ours else _name(thread)
            table.add_row(Text(name), "sent" if is_ours else message["kind"], Text(message["text"].strip()))
        self._console.print(table)

    async def funnel(self, expected: Expected) -> None:
        """Shows the numbers of the campaign."""
        by_step = await self._call("get_metrics", campaign_id=self._campaign_id, group_by="step")
        by_variant = await self._call("get_metrics", campaign_id=self._campaign_id, group_by="variant")
        print_funnel(self._console, by_step, by_variant)
        checks.metrics(by_step, by_variant, expected)

    def _threads(self, **arguments: object) -> AsyncGenerator[dict[str, Any]]:
        return self._call.rows("list_threads", "threads", campaign_id=self._campaign_id, **arguments)

    async def _messages(self, thread: Mapping[str, Any]) -> list[dict[str, Any]]:
        return (await self._call("get_thread", thread_id=thread["id"]))["messages"]

    async def _evidence(self, thread: Mapping[str, Any]) -> Text:
        """Returns the sentence that the verdict on the latest answer of a thread rests on. It is others' text, and no
        markup."""
        *_, last = [message for message in await self._messages(thread) if message["direction"] == "in"]
        return Text(last["evidence"])


def _name(thread: Mapping[str, Any]) -> str:
    return thread["contact"].get("name") or thread["contact"]["email"]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE, padding=(0, 1), pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column == "mails" else "left")
    return table


def print_funnel(console: Console, by_step: dict[str, Any], by_variant: dict[str, Any]) -> None:
    """One row for the whole campaign, one a step, one a variant, with the rates under the counts that have one."""
    table = Table(title="Funnel", title_justify="left", box=box.SIMPLE, padding=(0, 0))
    table.add_column("", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(_HEADINGS.get(column, column), justify="right")
    table.add_row(*_row("all", by_step), end_section=True)
    for group in by_step["groups"]:
        table.add_row(*_row(f"step {group['key']}", group))
    table.add_section()
    for group in by_variant["groups"]:
        if group["key"]:
            table.add_row(*_row(f"variant {group['key']}", group))
    console.print(table)
    statuses = ", ".join(f"{count} {status}" for status, count in by_step["enrollment_status"].items() if count)
    console.print(f"Enrollments: {statuses}.", highlight=False)


def _row(name: str, group: dict[str, Any]) -> list[str]:
    return [name, *(_cell(column, group) for column in _COLUMNS)]


def _cell(column: str, group: dict[str, Any]) -> str:
    count = str(group["totals"][column])
    rate = group["rates"].get(_RATES.get(column, ""))
    return count if not rate else f"{count}\n{rate:.0%}"
