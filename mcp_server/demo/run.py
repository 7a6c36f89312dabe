"""The demo: a real client drives the real server over stdio, on a database of its own, and checks what it answers."""

import csv
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent
from rich.console import Console
from rich.progress import Progress

from mcp_server.demo.report import print_funnel
from mcp_server.demo.stream import COUNTERS, Event, Expected, Person, Stream, disturb

_BATCH = 500
_SECOND_WAVE = 60
_SECONDS_TO_STOP = 20
_SEED = 20_261_102

EMAIL_STEPS = [
    {
        "step_number": 1,
        "a_b_variant": variant,
        "subject": subject,
        "body": "Hi {{ first_name }}, how does {{ company | default: 'your team' }} follow up on leads today?",
    }
    for variant, subject in (("A", "A question about {{ company }}"), ("B", "{{ first_name }}, two minutes?"))
] + [
    {
        "step_number": 3,
        "subject": "Once more",
        "body": "Hi {{ first_name }}, shall I send you an example, or leave it at that?",
        "delay_hours": 72,
    }
]
LINKEDIN_STEPS = [
    {
        "step_number": 2,
        "type": "connection_request",
        "message": "Hi {{ first_name }}, we wrote about follow-ups. Glad to connect.",
        "delay_hours": 48,
    }
]


class DemoFailed(Exception):
    """The server's answer is not what the demo's own counting says."""


async def run_demo(contacts: int) -> int:
    """Runs the demo with the first `contacts` rows of the bundled file. Returns the exit code."""
    console = Console()
    failure: DemoFailed | None = None
    # What the server logs would fall into the middle of what is shown here.
    with _home() as home, tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            async with Client(stdio_client(_server(home), errlog=log)) as client:
                try:
                    await _Demo(client, console).play(_rows()[:contacts])
                except DemoFailed as error:
                    # Kept for after the client has closed, which would wrap it.
                    failure = error
        except (MCPError, BaseExceptionGroup) as error:
            ended = error if isinstance(error, MCPError) else error.subgroup(MCPError)
            if ended is None:
                raise
            failure = DemoFailed("the server ended before its time. What it said:")
        if failure is not None:
            console.print(f"FAILED: {failure}", style="bold red", highlight=False)
            log.seek(0)
            sys.stderr.writelines(log)
            return 1
    console.print("Every number is what the stream of events implies.", style="green")
    console.print("To use the server in Claude Desktop: sales-automation-mcp claude-desktop install", highlight=False)
    return 0


@contextmanager
def _home() -> Generator[Path]:
    home = Path(tempfile.mkdtemp(prefix="sales-automation-demo-"))
    # The account that PostgreSQL runs under, when this is root, must pass through it.
    home.chmod(0o711)
    try:
        yield home
    finally:
        # A server that is slow to end is ended by its client, and its PostgreSQL stops a moment later.
        deadline = time.monotonic() + _SECONDS_TO_STOP
        while (home / "postgres" / "postmaster.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        shutil.rmtree(home, ignore_errors=True)


def _server(home: Path) -> StdioServerParameters:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "DATABASE_URL" and not name.startswith("SALES_AUTOMATION_")
    }
    env = {**kept, "SALES_AUTOMATION_HOME": str(home)}
    return StdioServerParameters(command=sys.executable, args=["-m", "mcp_server"], env=env)


def _rows() -> list[dict[str, str]]:
    text = resources.files("mcp_server.demo").joinpath("contacts.csv").read_text("utf-8")
    return [{name: value for name, value in row.items() if value} for row in csv.DictReader(text.splitlines())]


def looks_like_an_address(text: str) -> bool:
    """Returns whether the address looks valid, which is enough for the bundled file."""
    name, at, domain = text.partition("@")
    return bool(name and at and "." in domain.strip(".") and " " not in text)


class _Demo:
    def __init__(self, client: Client, console: Console) -> None:
        self._client = client
        self._console = console
        self._recorded: Counter[str] = Counter()

    async def play(self, rows: Sequence[dict[str, str]]) -> None:
        campaign_id = await self._campaign()
        first, second = rows[:-_SECOND_WAVE], rows[-_SECOND_WAVE:]
        enrolled = await self._enroll(campaign_id, first, known=set())
        await self._call("start_campaign", campaign_id=campaign_id)
        people = [Person({"enrollment_id": enrollment_id}) for enrollment_id in enrolled.values()]
        start = datetime.now(UTC) - timedelta(days=14)
        stream = Stream(start, _SEED)
        stream.play(people)
        early_start = len(stream.events)
        late = _late_people(campaign_id, second, set(enrolled))
        stream.play(late.values())
        events = disturb(stream.events, _SEED)
        await self._deliver(events)
        # Nobody of the second wave is enrolled yet: their events wait, and are counted now.
        joined = await self._enroll(campaign_id, second, known=set(enrolled))
        variants = await self._variants(campaign_id)
        for enrollment_id, person in zip(enrolled.values(), people, strict=True):
            person.variant = variants[enrollment_id]
        for email, person in late.items():
            person.variant = variants[joined[email]]
        check("recorded", self._recorded["recorded"], early_start)
        check("orphaned", self._recorded["orphaned"], len(stream.events) - early_start)
        check("invalid", self._recorded["invalid"], 0)
        check("duplicates", self._recorded["duplicates"], len(events) - len(stream.events))
        await self._report(campaign_id, stream.expected())

    async def _call(self, tool: str, **arguments: object) -> dict[str, Any]:
        result = await self._client.call_tool(tool, arguments)
        if result.is_error or result.structured_content is None:
            texts = [block.text for block in result.content if isinstance(block, TextContent)]
            raise DemoFailed(" ".join(texts))
        return result.structured_content

    async def _campaign(self) -> str:
        template = await self._call(
            "create_template",
            name="Follow-ups",
            type="multi_channel",
            email_steps=EMAIL_STEPS,
            linkedin_steps=LINKEDIN_STEPS,
        )
        campaign = await self._call("create_campaign", name="Demo", template_id=template["template"]["id"])
        return campaign["campaign"]["id"]

    async def _enroll(self, campaign_id: str, rows: Sequence[dict[str, str]], known: set[str]) -> dict[str, str]:
        """Returns email -> enrollment of the enrolled; checks the answer against the rows."""
        answer = await self._call("enroll_contacts", campaign_id=campaign_id, contacts=rows, detail="full")
        good = [row["email"].lower() for row in rows if looks_like_an_address(row["email"])]
        new = set(good) - known
        check("enrolled", answer["enrolled"], len(new))
        check("already_enrolled", answer["already_enrolled"], len(good) - len(new))
        check("invalid", answer["invalid"], len(rows) - len(good))
        self._console.print(
            f"Enrolled {answer['enrolled']} of {len(rows)} rows "
            f"({answer['already_enrolled']} twice in the file, {answer['invalid']} with a broken address)."
        )
        emails = [row["email"].lower() for row in rows]
        taken = [row for row in answer["results"] if row["status"] == "enrolled"]
        return {emails[row["index"]]: row["enrollment_id"] for row in taken}

    async def _deliver(self, events: Sequence[Event]) -> None:
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("Provider events", total=len(events))
            for at in range(0, len(events), _BATCH):
                batch = events[at : at + _BATCH]
                answer = await self._call("record_events", events=batch)
                self._recorded.update(
                    {name: answer[name] for name in ("recorded", "duplicates", "orphaned", "invalid")}
                )
                progress.advance(task, len(batch))

    async def _variants(self, campaign_id: str) -> dict[str, str]:
        variants: dict[str, str] = {}
        cursor: str | None = None
        while True:
            page = await self._call("list_enrollments", campaign_id=campaign_id, limit=500, cursor=cursor)
            variants.update({row["id"]: row["a_b_variant"] for row in page["enrollments"]})
            cursor = page.get("next_cursor")
            if cursor is None:
                return variants

    async def _report(self, campaign_id: str, expected: Expected) -> None:
        by_step = await self._call("get_metrics", campaign_id=campaign_id, group_by="step")
        by_variant = await self._call("get_metrics", campaign_id=campaign_id, group_by="variant")
        print_funnel(self._console, by_step, by_variant)
        check_metrics(by_step, by_variant, expected)


def _late_people(campaign_id: str, rows: Sequence[dict[str, str]], known: set[str]) -> dict[str, Person]:
    emails = {row["email"].lower() for row in rows if looks_like_an_address(row["email"])} - known
    return {email: Person({"campaign_id": campaign_id, "email": email}) for email in sorted(emails)}


def check(what: str, answered: int, counted: int) -> None:
    """Raises DemoFailed if the server and the demo's own counting disagree."""
    if answered != counted:
        raise DemoFailed(f"{what}: the server says {answered}, and the stream implies {counted}.")


def check_metrics(by_step: dict[str, Any], by_variant: dict[str, Any], expected: Expected) -> None:
    """Holds every counter of the report, by step, by variant and in total, against the demo's own counts."""
    for name, report, counted in (("step", by_step, expected.by_step), ("variant", by_variant, expected.by_variant)):
        totals = {group["key"]: group["totals"] for group in report["groups"]}
        check(f"number of {name}s", len(totals), len({key for key, _ in counted}))
        for key, counters in totals.items():
            for counter in COUNTERS:
                check(f"{counter} of {name} {key or 'without'}", counters[counter], counted[key, counter])
    for counter in COUNTERS:
        total = sum(count for (_, named), count in expected.by_step.items() if named == counter)
        check(f"{counter} in total", by_step["totals"][counter], total)
    for status, count in by_step["enrollment_status"].items():
        check(f"enrollments {status}", count, expected.statuses[status])
    check("enrolled in total", by_step["enrolled"], expected.statuses.total())
