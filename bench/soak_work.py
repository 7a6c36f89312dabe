"""The work of the soak: agents, a provider's webhooks, people who answer their mails, and what goes wrong meanwhile."""

import base64
import hmac
import json
import random
import resource
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.parser import BytesHeaderParser
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import anyio
import httpx2 as httpx
import imapclient  # pyright: ignore[reportMissingTypeStubs]  it has none
from aiosmtpd.smtp import Envelope
from mcp.client import Client

from tests.support.campaigns import NOW
from tests.support.reading import ANN, SECRET, letter
from tests.support.server import call, text_of

BEN: Final = "ben@example.org"
SPEED: Final = 168
"""Simulated seconds in a second: a week in an hour."""
STEPS: Final = (
    {
        "step_number": 1,
        "subject": "A question, {{ first_name }}",
        "body": "Have you ten minutes?",
    },
    {"step_number": 2, "body": "Did you see this?", "delay_hours": 2},
)
_KEY: Final = b"a key that was made for this run"
WEBHOOK_SECRET: Final = "whsec_" + base64.b64encode(_KEY).decode()
_IMPOSSIBLE: Final = "fault of the server"


class Clock:
    """The simulated time, in the file that the servers read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.now = NOW
        self.move(0)

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(self.now.isoformat())
        fresh.replace(self._path)

    async def run(self) -> None:
        while True:
            await anyio.sleep(0.5)
            self.move(0.5 * SPEED)


class People:
    """Those who get the mails: some answer, are away, or can't be reached. `answered`: how often, by kind."""

    def __init__(self, clock: Clock, imap_port: int, chance: random.Random) -> None:
        self._clock, self._port, self._chance = clock, imap_port, chance
        self.answered: Counter[str] = Counter()

    def get(self, envelope: Envelope) -> None:
        """Reads a mail that the SMTP server took. Called by its thread."""
        assert isinstance(envelope.content, bytes), "it is not decoded"
        header = BytesHeaderParser().parsebytes(envelope.content)
        kind = self._chance.choices(("nothing", "answer", "away", "stop", "spam"), (86, 8, 3, 1, 2))[0]
        self.answered[kind] += 1
        if kind == "nothing" or envelope.mail_from != ANN:
            return
        words = {
            "answer": "Yes, call me on Monday.",
            "away": "I am out of the office until further notice.",
            "stop": "Please remove me from your list.",
            "spam": "Win a prize today!",
        }[kind]
        answers = None if kind == "spam" else header["Message-ID"].strip("<> ")
        mail = letter(envelope.rcpt_tos[0], answers=answers, words=words, own_id=uuid4().hex, at=self._clock.now)
        if kind == "away":
            mail = b"Auto-Submitted: auto-replied\r\n" + mail
        client: Any = imapclient.IMAPClient("127.0.0.1", self._port, ssl=False)
        client.login(ANN, SECRET)
        client.append("INBOX", mail, (), self._clock.now)
        client.logout()


class Agents:
    """What agents and a provider do with a server. calls: by tool; refused: answers that say no, by tool.

    is_disturbed: whether refusals are to be expected now. acknowledged: ids of events that a webhook took.
    """

    def __init__(self, clock: Clock, chance: random.Random) -> None:
        self.clock, self.chance = clock, chance
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.faults: list[str] = []
        self.is_disturbed = False
        self.acknowledged: set[str] = set()
        self.campaigns: dict[str, str] = {}
        self.enrolled: list[str] = []
        self._people = 0

    async def prepare(self, client: Client, smtp_port: int, imap_port: int) -> None:
        """Connects two mailboxes, and starts a campaign that the server sends and one that agents do."""
        smtp = {"host": "127.0.0.1", "port": smtp_port, "security": "none"}
        imap = {"host": "127.0.0.1", "port": imap_port, "security": "none"}
        pace = {"min_gap_seconds": 0, "daily_limit": 100_000}
        await call(client, "connect_mailbox", address=ANN, smtp=smtp, imap=imap, **pace)
        await call(client, "connect_mailbox", address=BEN, smtp=smtp, **pace)
        await call(client, "update_settings", guardrails={"bounce_rate": 0, "complaint_rate": 0})
        for name, settings in (("server", {"mailboxes": [ANN, BEN]}), ("agents", {})):
            template = await call(client, "create_template", name=name, type="email", email_steps=list(STEPS))
            made = await call(
                client,
                "create_campaign",
                name=name,
                template_id=template["template"]["id"],
                settings=settings,
            )
            self.campaigns[name] = made["campaign"]["id"]
            await call(client, "start_campaign", campaign_id=self.campaigns[name])

    async def work(self, url: str) -> None:
        """Works as an agent, with a connection of its own, until it is cancelled."""
        tasks = (self._enroll, self._send, self._send, self._report, self._look, self._do_job, self._cache)
        while True:
            async with Client(url) as client:
                for _ in range(200):
                    await self.chance.choice(tasks)(client)
                    await anyio.sleep(0.1)

    async def _call(self, client: Client, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        self.calls[tool] += 1
        result = await client.call_tool(tool, dict(arguments))
        if not result.is_error:
            return result.structured_content
        told = text_of(result)
        if _IMPOSSIBLE in told or not self.is_disturbed:
            self.faults.append(f"{tool}: {told}")
        self.refused[tool] += 1
        return None

    async def _enroll(self, client: Client) -> None:
        campaign_id = self.campaigns[self.chance.choice(("server", "agents"))]
        first = self._people
        self._people += 10
        contacts = [
            {"email": f"p{number}@soak.example.net", "first_name": f"Ann {number}"}
            for number in range(first, first + 10)
        ]
        found = await self._call(
            client, "enroll_contacts", {"campaign_id": campaign_id, "contacts": contacts, "detail": "full"}
        )
        self.enrolled += [row["enrollment_id"] for row in (found or {}).get("results", ())]

    async def _send(self, client: Client) -> None:
        found = await self._call(
            client,
            "claim_due_actions",
            {"campaign_id": self.campaigns["agents"], "limit": 10, "lease_seconds": 3_600},
        )
        reports = [
            {
                "action_id": action["action_id"],
                "lease_token": action["lease_token"],
                "outcome": self.chance.choices(("sent", "failed", "skipped"), (96, 2, 2))[0],
                "provider": "soak",
                "provider_message_id": uuid4().hex,
            }
            for action in (found or {}).get("actions", ())
        ]
        for report in reports:
            if report["outcome"] != "sent":
                del report["provider_message_id"]
        if reports:
            await self._call(client, "complete_actions", {"reports": reports})

    def _event(self) -> dict[str, Any]:
        return {
            "event_type": self.chance.choice(("delivered", "opened", "clicked")),
            "enrollment_id": self.chance.choice(self.enrolled),
            "step_number": 1,
            "occurred_at": self.clock.now.isoformat(),
        }

    async def _report(self, client: Client) -> None:
        if self.enrolled:
            events = [{**self._event(), "channel": "email"} for _ in range(20)]
            await self._call(client, "record_events", {"events": events})

    async def _look(self, client: Client) -> None:
        of_campaign = {"campaign_id": self.campaigns["server"]}
        looks: tuple[tuple[str, dict[str, Any]], ...] = (
            ("get_metrics", of_campaign),
            ("list_threads", {"state": "needs_answer"}),
            ("list_enrollments", of_campaign),
            ("explain_due", of_campaign),
            ("list_events", of_campaign),
            ("get_health", {}),
            ("find_contacts", {"search": "Ann 1"}),
            ("forecast", {"days": 3}),
        )
        tool, arguments = self.chance.choice(looks)
        await self._call(client, tool, arguments)

    async def _do_job(self, client: Client) -> None:
        await self._call(client, "create_job", {"type": "enrichment", "parameters": {"of": uuid4().hex}})
        wanted = {"worker_id": "soak", "types": ["enrichment"], "lease_seconds": 3_600}
        claimed = await self._call(client, "claim_job", wanted)
        job = (claimed or {}).get("job")
        if job is not None:
            await self._call(client, "complete_job", {"job_id": job["id"], "lease_token": job["lease_token"]})

    async def _cache(self, client: Client) -> None:
        key = f"k{self.chance.randrange(200)}"
        named = {"namespace": "soak", "key": key}
        await self._call(client, "cache_set", {**named, "value": "x" * 2_000, "ttl_seconds": 3_600})
        await self._call(client, "cache_get", named)

    async def send_webhooks(self, base: str) -> None:
        """Sends events as a provider does, each tenth of them twice, and notes which the server took."""
        async with httpx.AsyncClient(base_url=base, timeout=30) as http:
            while True:
                await anyio.sleep(0.05)
                if not self.enrolled:
                    continue
                id_, body = uuid4().hex, json.dumps({"data": self._event()}).encode()
                for _ in range(2 if self.chance.random() < 0.1 else 1):
                    stamp = str(int(self.clock.now.timestamp()))
                    signed = hmac.new(_KEY, f"{id_}.{stamp}.".encode() + body, sha256).digest()
                    headers = {
                        "webhook-id": id_,
                        "webhook-timestamp": stamp,
                        "webhook-signature": "v1," + base64.b64encode(signed).decode(),
                    }
                    answer = await http.post("/webhooks/standard", content=body, headers=headers)
                    if answer.is_success:
                        self.acknowledged.add(id_)

    async def fill_the_disk(self, pid: int, pause: float) -> None:
        """Lets no file of the server grow for three seconds, again and again."""
        while True:
            await anyio.sleep(pause)
            self.is_disturbed = True
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            await anyio.sleep(3)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await anyio.sleep(2)  # what was under way has its answer
            self.is_disturbed = False


async def kill_again_and_again(
    start: Callable[[], subprocess.Popen[bytes]], chance: random.Random, killed: Counter[str]
) -> None:
    """Starts a second server, and kills it a few seconds later, until it is cancelled."""
    while True:
        process = start()
        try:
            await anyio.sleep(chance.uniform(3, 12))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        killed["servers"] += 1
