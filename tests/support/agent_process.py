"""An agent in a process of its own: it claims what is due, and reports each step as sent, until it is told to stop.

Arguments: the URL, the file it writes to, the start of time and how many seconds of it pass in one second. It writes a
line of JSON before each claim, after it, and after each report; so a kill leaves what was done until then.
"""

import json
import select
import sys
import time
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from db.domain.errors import LeaseLost
from db.domain.states import ActionOutcome
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from db.services.dispatch import actions, claims

LEASE_SECONDS = 3_600
_IDLE = 0.02


class Clock:
    """Time that runs faster, and in step in every process: the monotonic clock is the machine's."""

    def __init__(self, start: datetime, origin: float, speed: float) -> None:
        self._start, self._origin, self._speed = start, origin, speed

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=(time.monotonic() - self._origin) * self._speed)


def work(database: Database, clock: Clock, log: TextIO) -> bool:
    """One claim and its reports; whether there was anything to do."""
    began = time.monotonic()
    claim = database.run(
        "claim",
        partial(claims.claim, campaign_id=None, channel=None, limit=20, lease_seconds=LEASE_SECONDS, now=clock()),
    )
    tell(log, claimed=[str(due.enrollment.id) for due in claim.actions], began=began, ended=time.monotonic())
    for due in claim.actions:
        report = partial(
            actions.complete,
            action_id=due.action_id,
            lease_token=due.lease_token,
            outcome=ActionOutcome.SENT,
            provider="mail",
            provider_message_id=f"m-{due.action_id}",
            error=None,
            now=clock(),
        )
        try:
            database.run("complete", report)
        except LeaseLost:
            continue
        tell(log, sent=[str(due.enrollment.id), due.step.step_number])
    return bool(claim.actions)


def tell(log: TextIO, **facts: Any) -> None:
    log.write(json.dumps(facts) + "\n")
    log.flush()


def main() -> None:
    url, path, start, origin, speed = sys.argv[1:]
    database = Database.open(DatabaseConfig(url=url, max_attempts=10))
    clock = Clock(datetime.fromisoformat(start), float(origin), float(speed))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with Path(path).open("w", encoding="utf-8") as log:
        # End of input is the sign to stop.
        while not select.select([sys.stdin], [], [], 0)[0]:
            if not work(database, clock, log):
                select.select([sys.stdin], [], [], _IDLE)
    database.close()


if __name__ == "__main__":
    main()
