"""A week in an hour: one server under all its work at once, and what it takes of the machine meanwhile.

Agents and a provider's webhooks at it, a mailbox that it reads and two that it sends from, jobs and a cache, a second
server that is killed again and again, a disk that is full at times, and a clock that runs 168 times as fast. At the end
all is counted again. `python -m bench.soak [MINUTES SEED]`: 60 minutes, or 3 as in the tests. It ends with 1 if a count
is wrong, or if the server's memory, files, threads or connections go on growing, which less than 10 minutes don't show.
"""

import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import anyio
from mcp.client import Client
from sqlalchemy import text

from bench.measure import machine, verdict
from bench.postgres import database
from bench.soak_work import BEN, WEBHOOK_SECRET, Agents, Clock, People, kill_again_and_again
from db.postgres.database import Database
from tests.support.campaigns import assert_counters_are_exact
from tests.support.mail_servers import SmtpServer, imap_server, smtp_server
from tests.support.processes import COMMAND, environment
from tests.support.reading import ANN, SECRET

AGENTS = 3
JUDGED_MINUTES = 10
"""In fewer, nobody can tell growth from a start."""
DRAIN_SECONDS = 60
"""How long what was taken may take to be recorded, once nobody asks for more."""
_SERVE = (*COMMAND, "serve", "--transport", "streamable-http", "--send", "--port", "0")

_BACKENDS = text("""
    SELECT count(*), coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0),
           max(query) FILTER (WHERE clock_timestamp() - xact_start > interval '3 seconds')
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
""")
_LOCKS = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
# By the statistics: the embedded server comes without pgstattuple.
_BLOAT = text("""
    SELECT relname, pg_relation_size(relid), n_live_tup, n_dead_tup, autovacuum_count FROM pg_stat_user_tables
    WHERE pg_relation_size(relid) > 8 * 1024 * 1024 ORDER BY n_dead_tup::float / (n_live_tup + 1) DESC LIMIT 5
""")
_EVENTS = text("""
    SELECT split_part(provider_event_id, ':', 1) FROM campaign_events WHERE provider = 'standard'
    UNION ALL SELECT split_part(provider_event_id, ':', 1) FROM orphaned_events WHERE provider = 'standard'
""")
_MAILS = text("""
    SELECT internet_message_id, status FROM messages
    WHERE direction = 'out' AND status IS NOT NULL AND mailbox_id IS NOT NULL
""")
_WAITING = text("SELECT count(*) FROM webhook_deliveries WHERE status = 'waiting'")


@dataclass
class Sample:
    """What the server holds at a moment. rss: MiB of memory. longest: seconds of the longest open transaction, and
    `statement` what it does, from three on."""

    rss: float
    files: int
    threads: int
    connections: int
    longest: float
    statement: str | None
    waiting: int


@dataclass
class Server:
    """The server that is measured. said: its lines."""

    process: subprocess.Popen[bytes]
    base: str
    said: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, env: dict[str, str]) -> "Server":
        process = subprocess.Popen(_SERVE, stderr=subprocess.PIPE, env=env)
        assert process.stderr is not None
        line = next(line for raw in process.stderr if "listening on" in (line := raw.decode()))
        started = cls(process, line.split("listening on ")[1].split(" ")[0])
        threading.Thread(target=started._listen, daemon=True).start()
        return started

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self.said += (line.decode() for line in self.process.stderr)

    def sample(self, opened: Database) -> Sample:
        of_process = Path(f"/proc/{self.process.pid}")
        values = dict(line.split(":", 1) for line in (of_process / "status").read_text().splitlines())
        with opened.transaction("sample", read_only=True) as session:
            connections, longest, statement = session.execute(_BACKENDS).one()
            waiting = session.scalars(_LOCKS).one()
        return Sample(
            int(values["VmRSS"].split()[0]) / 1024,
            len(list((of_process / "fd").iterdir())),
            int(values["Threads"]),
            connections,
            float(longest),
            statement,
            waiting,
        )


def _start_second(env: dict[str, str]) -> subprocess.Popen[bytes]:
    with Path(env["HOME"], "second.log").open("ab") as log:
        return subprocess.Popen(_SERVE, stderr=log, env={**env, "SALES_AUTOMATION_HOME": f"{env['HOME']}/second"})


async def soak(
    opened: Database,
    server: Server,
    env: dict[str, str],
    agents: Agents,
    clock: Clock,
    seconds: float,
    killed: Counter[str],
) -> list[Sample]:
    """Lets all work at once for as long. Returns a sample for each second."""
    samples: list[Sample] = []
    chance = random.Random(agents.chance.random())
    second = partial(_start_second, env)

    async with anyio.create_task_group() as group:
        for _ in range(AGENTS):
            group.start_soon(agents.work, f"{server.base}/mcp")
        group.start_soon(clock.run)
        group.start_soon(agents.send_webhooks, server.base)
        group.start_soon(agents.fill_the_disk, server.process.pid, max(20, seconds / 40))
        group.start_soon(kill_again_and_again, second, chance, killed)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            await anyio.sleep(1)
            samples.append(await anyio.to_thread.run_sync(server.sample, opened))
        group.cancel_scope.cancel()
    return samples


def drained(opened: Database, clock: Clock) -> bool:
    """Waits until each webhook that was taken is recorded."""
    ends = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < ends:
        with opened.transaction("drain", read_only=True) as session:
            if not session.scalars(_WAITING).one():
                return True
        clock.move(60)
        time.sleep(0.2)
    return False


def grown(samples: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    """Returns the median of the last quarter by that of the second."""
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    return median(map(of, last)) / max(median(map(of, second)), 1e-9)


def judge(samples: Sequence[Sample]) -> bool:
    """Prints what the server held in its second and its last quarter. Returns whether nothing grew."""
    measures: tuple[tuple[str, Callable[[Sample], float], float], ...] = (
        ("memory, last quarter / second", lambda sample: sample.rss, 1.05),
        ("open files", lambda sample: sample.files, 1.1),
        ("threads", lambda sample: sample.threads, 1.1),
        ("connections", lambda sample: sample.connections, 1.1),
    )
    good = True
    for name, of, most in measures:
        value = grown(samples, of)
        good &= value <= most
        verdict(name, value, f"at most {most}", met=value <= most)
    longest = max(samples, key=lambda sample: sample.longest)
    print(f"memory {samples[-1].rss:.0f} MiB, longest transaction {longest.longest:.1f} s, ", end="")
    print(f"most locks waited for {max(sample.waiting for sample in samples)}")
    if longest.statement is not None:
        print(f"     the longest was in: {' '.join(longest.statement.split())[:200]}")
    return good


def check(opened: Database, server: Server, agents: Agents, smtp: SmtpServer) -> bool:
    """Counts all again. Returns whether every count is right."""
    accepted = Counter(header_id(envelope.content) for envelope in smtp.taken)
    with opened.transaction("check") as session:
        kept = dict(tuple(row) for row in session.execute(_MAILS))
        events = Counter(session.scalars(_EVENTS))
        bloat = session.execute(_BLOAT).all()
    statuses = Counter(kept.values())
    sent = {id_ for id_, status in kept.items() if status == "sent"}
    faults = [line for line in server.said if "fault" in line.lower() or "Traceback" in line]
    checks = {
        "no mail went out twice": not [id_ for id_, count in accepted.items() if count > 1],
        "what is sent was accepted": sent <= set(accepted),
        "what was accepted is known": set(accepted) <= set(kept),
        "each webhook that was taken counts": agents.acknowledged <= set(events),
        "no webhook counts twice": events.total() == len(events),
        "no call met a fault": not agents.faults,
        "the log tells of no fault": not faults,
    }
    print(f"{len(smtp.taken):,} mails accepted: {dict(statuses)}")
    print(f"{len(events):,} webhooks, {len(agents.enrolled):,} people")
    print(f"{sum(agents.calls.values()):,} calls, {sum(agents.refused.values()):,} refused while the disk was full")
    for name, length, live, dead, vacuumed in bloat:
        print(f"{name}: {length / 2**20:.0f} MiB, {live:,} rows, {dead:,} dead ones, vacuumed {vacuumed} times")
    for name, met in checks.items():
        print(f"{'yes' if met else 'NO '}  {name}")
    for line in [*agents.faults[:5], *faults[:5]]:
        print(f"     {line.strip()[:300]}")
    assert_counters_are_exact(opened)
    print("yes  counters equal a recount")
    return all(checks.values())


def header_id(raw: bytes | str | None) -> str:
    """Returns the Message-ID of a mail, without brackets."""
    assert isinstance(raw, bytes), "it is not decoded"
    (line,) = [line for line in raw.split(b"\r\n\r\n")[0].split(b"\r\n") if line.lower().startswith(b"message-id:")]
    return line.partition(b":")[2].strip(b" <>").decode()


async def run(opened: Database, home: Path, minutes: float, seed: int) -> bool:
    clock = Clock(home / "clock")
    agents, killed = Agents(clock, random.Random(seed)), Counter[str]()
    env = environment(
        opened.config.url,
        HOME=str(home),
        SALES_AUTOMATION_HOME=str(home / "first"),
        SALES_AUTOMATION_CLOCK_FILE=str(home / "clock"),
        SALES_AUTOMATION_MAILBOX_KEY_FILE=str(home / "mailbox.key"),
        SALES_AUTOMATION_ALLOW_PRIVATE_HOSTS="true",
        SALES_AUTOMATION_MAIL_POLL_SECONDS="2",
        SALES_AUTOMATION_WEBHOOK_STANDARD=WEBHOOK_SECRET,
        SALES_AUTOMATION_MAILBOX_PASSWORD_ANN_EXAMPLE_COM=SECRET,
        SALES_AUTOMATION_MAILBOX_PASSWORD_BEN_EXAMPLE_ORG=SECRET,
    )
    (home / "first").mkdir()
    with smtp_server({ANN: SECRET, BEN: SECRET}) as smtp, imap_server(ANN, SECRET) as imap:
        people = People(clock, imap.port, random.Random(seed + 1))
        smtp.when_taken = people.get
        server = Server.start(env)
        try:
            async with Client(f"{server.base}/mcp") as client:
                await agents.prepare(client, smtp.port, imap.port)
            samples = await soak(opened, server, env, agents, clock, minutes * 60, killed)
            print(f"people {dict(people.answered)}; {killed['servers']:,} kills; {clock.now:%Y-%m-%d %H:%M} simulated")
            is_drained = await anyio.to_thread.run_sync(partial(drained, opened, clock))
            print(f"{'yes' if is_drained else 'NO '}  all webhooks are recorded in the end")
        finally:
            server.process.terminate()
            server.process.wait()
        is_right, is_steady = check(opened, server, agents, smtp), judge(samples)
        return is_drained and is_right and (is_steady or minutes < JUDGED_MINUTES)


def main(minutes: float = 60, seed: int = 1) -> int:
    print(machine())
    with database() as opened, tempfile.TemporaryDirectory() as home:
        return 0 if anyio.run(run, opened, Path(home), minutes, seed) else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
