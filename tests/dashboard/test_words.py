"""The dashboard's scripts know the words of the domain, all of them and no others."""

import re
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

import pytest

import mcp_server.web
from db.domain.events import EventType
from db.domain.holds import HoldReason
from db.domain.jobs import JobStatus
from db.domain.mail import Finding, MailKind
from db.domain.metrics import COUNTERS, MILESTONES
from db.domain.states import (
    ActionStatus,
    CampaignStatus,
    DeliveryStatus,
    EnrollmentStatus,
    OrphanStatus,
    ThreadState,
)
from mcp_server.process.telemetry import DatabaseState

WEB = Path(mcp_server.web.__file__).parent


def words_of(script: str, name: str) -> list[str]:
    """The words of `const NAME = [...]`, or the keys of `const NAME = {...}`."""
    source = (WEB / script).read_text("utf-8")
    found = re.search(rf"^(?:export )?const {name} = ([\[{{])(.*?)[\]}}];$", source, re.DOTALL | re.MULTILINE)
    assert found is not None, f"{script} has no {name}"
    return re.findall(r'"(\w+)"' if found[1] == "[" else r"(\w+):", found[2])


@pytest.mark.parametrize(
    ("script", "name", "vocabulary"),
    [
        ("events.js", "TYPES", EventType),
        ("jobs.js", "STATES", JobStatus),
        ("parts.js", "ORDER", EnrollmentStatus),
        ("enrollment.js", "MOMENTS", MILESTONES),
    ],
)
def test_a_list_of_words_is_whole(script: str, name: str, vocabulary: Collection[str]) -> None:
    assert sorted(words_of(script, name)) == sorted(vocabulary)


STATES: tuple[type[StrEnum], ...] = (
    ActionStatus,
    CampaignStatus,
    DatabaseState,
    DeliveryStatus,
    EnrollmentStatus,
    EventType,
    JobStatus,
    MailKind,
    OrphanStatus,
    ThreadState,
)


# Of get_health as a whole.
HEALTH = ("ok", "degraded")


@pytest.mark.parametrize(
    ("script", "name", "vocabulary"),
    [
        ("charts.js", "EMAIL", COUNTERS),
        ("charts.js", "LINKEDIN", COUNTERS),
        ("charts.js", "LOSSES", COUNTERS),
        ("charts.js", "NESTED", COUNTERS),
        ("campaigns.js", "SHORT", HoldReason),
        ("parts.js", "TONES", [*HEALTH, *Finding, *(word for states in STATES for word in states)]),
    ],
)
def test_a_choice_of_words_has_no_word_that_there_is_not(script: str, name: str, vocabulary: Collection[str]) -> None:
    chosen = words_of(script, name)
    assert chosen
    assert set(chosen) <= {str(word) for word in vocabulary}
