"""Recognises opens and clicks that no person made: by the name of their agent, or because they come too soon.

Mail servers fetch images and follow links before anybody reads a message. Such events are kept under a type of their
own, with the rule that matched, and count for nothing. The rules err on the side of people: what matches none is a
person's.
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

RULE_KEY: Final = "machine_rule"
"""Where in an event's metadata the rule stands that told."""

_HASTY: Final = "haste"
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
# Gmail fetches images before the mail is opened under this name, and under that of its proxy when it is.
_GMAIL_PREFETCH = "Edge/12.246 Mozilla/5.0"


def labelled(event: NewEvent, delivered_at: datetime | None) -> NewEvent:
    """Returns the event itself, or its bot counterpart with `machine_rule` in its metadata.

    delivered_at: when its step was delivered, as far as is known.
    """
    kind = _MACHINES.get(event.event_type)
    rule = _rule(event, delivered_at) if kind else None
    if kind is None or rule is None:
        return event
    return replace(event, event_type=kind, metadata={**event.metadata, RULE_KEY: rule})


def with_haste(event: NewEvent, delivered_at: datetime | None) -> NewEvent:
    """Returns a provider's click as it counts now that its step is known to be delivered at `delivered_at`: it may
    become a bot's because it came too soon, or a person's again."""
    if not event.from_provider:
        return event
    is_hasty = _is_hasty(event, delivered_at)
    if is_hasty and event.event_type is EventType.CLICKED:
        return replace(event, event_type=EventType.MACHINE_CLICKED, metadata={**event.metadata, RULE_KEY: _HASTY})
    if not is_hasty and event.event_type is EventType.MACHINE_CLICKED and event.metadata.get(RULE_KEY) == _HASTY:
        told = {key: value for key, value in event.metadata.items() if key != RULE_KEY}
        return replace(event, event_type=EventType.CLICKED, metadata=told)
    return event


def _is_hasty(event: NewEvent, delivered_at: datetime | None) -> bool:
    return delivered_at is not None and timedelta(0) <= event.occurred_at - delivered_at < HASTE


def _rule(event: NewEvent, delivered_at: datetime | None) -> str | None:
    if any(event.metadata.get(key) for key in TOLD_BY):
        return "provider"
    agent = next((event.metadata[key] for key in AGENT_KEYS if isinstance(event.metadata.get(key), str)), "")
    if _SCANNERS.search(agent):
        return "scanner"
    if agent.strip() == _PRIVACY_PROXY and event.event_type is EventType.OPENED:
        return "privacy_proxy"
    if agent.strip().endswith(_GMAIL_PREFETCH) and event.event_type is EventType.OPENED:
        return "prefetch"
    # Only a click: images are fetched at once by a mail program that is open.
    if event.event_type is EventType.CLICKED and _is_hasty(event, delivered_at):
        return _HASTY
    return None
