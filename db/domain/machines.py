"""Opens and clicks that no person made: by the name of the agent that made them, and by their haste.

Mail servers fetch images and follow links before anybody reads a message. Such events are kept under a type of their
own, with the rule that told, and count for nothing. Rules err on the side of people: what matches none is a person's.
"""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from db.domain.events import EventType, NewEvent

HASTE: Final = timedelta(seconds=5)
"""A click sooner after delivery than anybody reads."""

AGENT_KEYS: Final = ("user_agent", "useragent", "agent")
"""Where in an event's metadata the name of the agent stands."""

TOLD_BY: Final = ("sg_machine_open", "bot")
"""What providers themselves say of a machine."""

_MACHINES = {EventType.OPENED: EventType.MACHINE_OPENED, EventType.CLICKED: EventType.MACHINE_CLICKED}

# Security scanners and link checkers say who they are, or use a library's default name. Google's image proxy is not
# among them: it fetches when a person opens. Apple's privacy proxy fetches everything, under the bare name Mozilla/5.0.
_SCANNERS = re.compile(
    r"barracuda|proofpoint|mimecast|symantec|messagelabs|fireeye|forcepoint|sophos|trend ?micro|cloudmark|ironport"
    r"|safelinks|defender|headless|phantomjs|python|urllib|curl/|wget/|go-http-client|okhttp|libwww|java/|axios"
    r"|\bbot\b|bot/|crawler|spider|scanner|preview",
    re.IGNORECASE,
)
_PRIVACY_PROXY = "Mozilla/5.0"


def labelled(event: NewEvent, delivered_at: datetime | None) -> NewEvent:
    """The event itself, or its machine's counterpart with `machine_rule` in its metadata.

    delivered_at: when the step that it is about was delivered, as far as is known.
    """
    kind = _MACHINES.get(event.event_type)
    rule = _rule(event, delivered_at) if kind else None
    if kind is None or rule is None:
        return event
    return replace(event, event_type=kind, metadata={**event.metadata, "machine_rule": rule})


def _rule(event: NewEvent, delivered_at: datetime | None) -> str | None:
    if any(event.metadata.get(key) for key in TOLD_BY):
        return "provider"
    agent = next((event.metadata[key] for key in AGENT_KEYS if isinstance(event.metadata.get(key), str)), "")
    if _SCANNERS.search(agent):
        return "scanner"
    if agent.strip() == _PRIVACY_PROXY and event.event_type is EventType.OPENED:
        return "privacy_proxy"
    # Only a click: images are fetched at once by a mail program that is open.
    if event.event_type is EventType.CLICKED and delivered_at is not None:
        return "haste" if timedelta(0) <= event.occurred_at - delivered_at < HASTE else None
    return None
