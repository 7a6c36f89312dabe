"""Sending from 16 mailboxes without a pace, against a bare loop of smtplib over as many connections.

The server takes 50 ms for a mail, or answers at once. `python -m bench.sending [MAILS ROUNDS]`.
"""

import asyncio
import multiprocessing
import smtplib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

from pydantic import SecretStr

from bench.measure import alternate, machine, rate, ratio, report, verdict
from bench.postgres import database
from db.domain.templates import EmailStep
from mcp_server.mail.once import send_all
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.campaigns import NOW
from tests.support.sending import connect, enrolled

MAILS, ROUNDS, MAILBOXES = 1_600, 3, 16
SECONDS = 0.05
_ANSWERS = {b"EHLO": b"250-bench\r\n250 AUTH PLAIN\r\n", b"AUTH": b"235 OK\r\n", b"QUIT": b"221 bye\r\n"}
_BODY = "I saw what you build, and have a question on it. Would you have ten minutes this week?\n\n" * 8


async def _serve(pipe: Connection, seconds: float) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 bench\r\n")
        while line := await reader.readline():
            command = line[:4].upper()
            if command == b"DATA":
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                await asyncio.sleep(seconds)
                writer.write(b"250 taken\r\n")
            else:
                writer.write(_ANSWERS.get(command, b"250 OK\r\n"))
            if command == b"QUIT":
                break
        writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0, limit=2**20)
    pipe.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _in_process(pipe: Connection, seconds: float) -> None:
    asyncio.run(_serve(pipe, seconds))


class Scene:
    """Mailboxes at a server that takes so long for a mail."""

    def __init__(self, app: App, port: int, mails: int, tag: str) -> None:
        self.app, self.port, self.mails, self.tag = app, port, mails, tag
        self.turn = 0
        self.addresses = [f"box-{number}@{tag}.example.com" for number in range(MAILBOXES)]
        for address in self.addresses:
            connect(app, port, address=address, daily_limit=1_000_000)

    def ours(self) -> float:
        self.turn += 1
        people = [f"t{self.turn}-{number}@{self.tag}.example.net" for number in range(self.mails)]
        enrolled(self.app, people, *self.addresses, steps=[EmailStep(1, "A question", _BODY)])
        sent: list[int] = []
        figure = rate(self.mails, lambda: sent.extend(outcome.sent or 0 for outcome in send_all(self.app)))
        assert sum(sent) == self.mails, sent
        return figure

    def bare(self) -> float:
        return rate(self.mails, self._bare)

    def _bare(self) -> None:
        raw = f"Message-ID: <1@example.com>\r\nSubject: A question\r\n\r\n{_BODY * 2}".encode()

        def loop(number: int) -> None:
            with smtplib.SMTP("127.0.0.1", self.port, local_hostname="[127.0.0.1]") as connection:
                for _ in range(number):
                    connection.sendmail("ann@example.com", ["bob@example.org"], raw)

        with ThreadPoolExecutor(MAILBOXES) as pool:
            list(pool.map(loop, [self.mails // MAILBOXES] * MAILBOXES))


def measure(app: App, mails: int, rounds: int, seconds: float) -> None:
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_in_process, args=(there, seconds), daemon=True)
    server.start()
    scene = Scene(app, here.recv(), mails, f"s{int(seconds * 1000)}")
    scene.ours()  # warms up
    figures = alternate({"sent": scene.ours, "bare": scene.bare}, rounds)
    report(f"{mails:,} mails, {seconds * 1000:.0f} ms each at the server", figures, against="bare", unit="mails/s")
    if seconds:
        value = ratio(figures, "sent", "bare")
        verdict("sent, against a bare loop", value, ">= 0.9", met=value >= 0.9)
    server.terminate()
    server.join()


def main(mails: int = MAILS, rounds: int = ROUNDS) -> None:
    with database() as opened, tempfile.TemporaryDirectory() as home:
        settings = Settings(
            database_url=SecretStr(opened.config.url),
            home=Path(home),
            allow_private_hosts=True,
            mailbox_key_file=Path(home) / "mailbox.key",
            pool_size=20,
            pool_overflow=20,
        )
        app = App(settings, clock=lambda: NOW)
        print(machine())
        for seconds in (SECONDS, 0.0):
            measure(app, mails, rounds, seconds)
        app.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
