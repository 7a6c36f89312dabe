"""What the server answers, held against the demo's own counting. DemoFailed where they disagree."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from mcp_server.demo.calls import DemoFailed, check
from mcp_server.demo.mail_host import Taken
from mcp_server.demo.people import Person
from mcp_server.demo.stream import COUNTERS, Expected


def each_once(mails: Sequence[Taken], people: Collection[str]) -> None:
    """Checks that each of these people got one of the mails, and nobody else any."""
    got = Counter(mail.recipient for mail in mails)
    check("people who were written to", len(got.keys() & set(people)), len(people))
    check("strangers who were written to", len(got.keys() - set(people)), 0)
    check("emails sent twice", len(mails) - len(got), 0)


def in_their_threads(mails: Iterable[Taken], first: Mapping[str, Taken]) -> None:
    """Checks that follow-ups come from the mailbox of the first email, as answers to it."""
    strays = [
        mail
        for mail in mails
        if mail.sender != first[mail.recipient].sender or mail.subject != f"Re: {first[mail.recipient].subject}"
    ]
    check("follow-ups outside their threads", len(strays), 0)


def copies(filed: Sequence[str], mails: Sequence[Taken]) -> None:
    """Checks that each mail has one copy in Sent. filed: their Message-IDs."""
    check("copies in Sent", len(filed), len(mails))
    check("emails with a copy", len({mail.message_id for mail in mails} & set(filed)), len(mails))


def ends(enrollments: Mapping[str, Mapping[str, Any]], people: Iterable[Person]) -> None:
    """Checks how the enrollment of each person ends, and why. enrollments: by address."""
    for person in people:
        found = enrollments[person.email]
        answered, counted = (found["status"], found.get("stop_reason")), (person.status, person.stop_reason)
        if answered != counted:
            raise DemoFailed(f"the enrollment of {person.email}: the server says {answered}, and the demo {counted}.")


def metrics(by_step: dict[str, Any], by_variant: dict[str, Any], expected: Expected) -> None:
    """Checks every counter of the report, by step, by variant and in total."""
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
