"""Opens and clicks of machines are told from those of people."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.domain.bots import labelled
from db.domain.events import EventType, NewEvent
from db.domain.states import Channel

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"
GOOGLE = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


def event(kind: EventType, *, seconds: float = 3_600, **metadata: Any) -> NewEvent:
    at = NOON + timedelta(seconds=seconds)
    return NewEvent(kind, Channel.EMAIL, at, provider_message_id="m", metadata=metadata)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (event(EventType.OPENED, user_agent="Barracuda Sentinel (EE)"), "scanner"),
        (event(EventType.CLICKED, useragent="python-requests/2.32"), "scanner"),
        (event(EventType.CLICKED, agent="Mozilla/5.0 (compatible; Proofpoint URL Defense)"), "scanner"),
        (event(EventType.OPENED, user_agent="Mozilla/5.0"), "privacy_proxy"),
        (event(EventType.OPENED, user_agent=f"{CHROME} Edge/12.246 Mozilla/5.0"), "prefetch"),
        (event(EventType.CLICKED, seconds=4.9, user_agent=CHROME), "haste"),
        (event(EventType.CLICKED, seconds=0), "haste"),
        (event(EventType.OPENED, sg_machine_open=True, user_agent=CHROME), "provider"),
        (event(EventType.CLICKED, bot="apple", user_agent=CHROME), "provider"),
    ],
)
def test_what_a_machine_does_is_kept_under_its_own_type_with_the_rule(given: NewEvent, rule: str) -> None:
    shown = labelled(given, NOON)
    assert shown.event_type.value == f"machine_{given.event_type}"
    assert shown.metadata == {**given.metadata, "machine_rule": rule}
    assert shown.stop is None


@pytest.mark.parametrize(
    "given",
    [
        event(EventType.OPENED, seconds=1, user_agent=CHROME),
        event(EventType.OPENED, sg_machine_open=False, bot="", user_agent=CHROME),
        event(EventType.OPENED, user_agent=GOOGLE),
        event(EventType.CLICKED, seconds=5, user_agent=CHROME),
        event(EventType.CLICKED, seconds=-60, user_agent=CHROME),
        event(EventType.CLICKED, user_agent="Mozilla/5.0"),
        event(EventType.CLICKED, user_agent=7),
        event(EventType.REPLIED, seconds=1, user_agent="curl/8"),
        event(EventType.UNSUBSCRIBED, seconds=0, user_agent="Mimecast"),
    ],
)
def test_what_may_be_a_person_is_left_alone(given: NewEvent) -> None:
    assert labelled(given, NOON) is given


def test_haste_needs_a_known_delivery() -> None:
    given = event(EventType.CLICKED, seconds=0)
    assert labelled(given, None) is given
