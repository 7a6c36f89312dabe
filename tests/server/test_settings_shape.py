"""The schema of settings and the shape that the database is held to are one."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError
from sqlalchemy import text

from db.domain import campaign_settings
from db.postgres.database import Database
from mcp_server.schemas.campaigns import CampaignSettings

sender = st.fixed_dictionaries(
    {"account": st.sampled_from(["ann@example.com", "A"])},
    optional={"daily_limit": st.integers(1, 1_000_000), "min_gap_seconds": st.integers(0, 86_400)},
)
shapes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "timezone": st.sampled_from(["UTC", "Europe/Berlin"]),
        "use_contact_timezone": st.booleans(),
        "sending_window": st.fixed_dictionaries(
            {"start": st.sampled_from(["00:00", "23:59"]), "end": st.sampled_from(["09:30", "24:00"])},
            optional={"days": st.lists(st.sampled_from(["mon", "sun"]), max_size=7)},
        ),
        "holidays": st.lists(st.dates().filter(lambda day: 1970 <= day.year <= 2200).map(str), max_size=3),
        "daily_limit": st.integers(1, 1_000_000),
        "min_gap_seconds": st.integers(0, 86_400),
        "ramp_up": st.fixed_dictionaries({"start": st.integers(1, 9), "increase": st.integers(1, 9)}),
        "senders": st.fixed_dictionaries({}, optional={"email": sender, "linkedin": sender}),
        "primary_rate": st.sampled_from(["reply_rate", "open_rate"]),
        "variables": st.dictionaries(
            st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,63}", fullmatch=True),
            st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(-1e9, 1e9) | st.just("a trial"),
            max_size=3,
        ),
    },
)
_FITS = " AND ".join(f"({rule})" for rule in campaign_settings.checks("CAST(:given AS jsonb)").values())


def test_every_field_of_the_schema_has_a_shape() -> None:
    assert list(CampaignSettings.model_fields) == list(campaign_settings.FIELDS)


def test_emails_come_from_mailboxes_or_from_an_account_and_not_from_both() -> None:
    account = {"account": "ann@example.com"}
    with pytest.raises(ValidationError, match="give one of them"):
        CampaignSettings.model_validate({"mailboxes": ["ann@example.com"], "senders": {"email": account}})
    CampaignSettings.model_validate({"mailboxes": ["ann@example.com"], "senders": {"linkedin": account}})


@settings(max_examples=60)
@given(shapes)
def test_what_the_schema_takes_fits_the_shape_and_the_database(migrated: Database, given: dict[str, Any]) -> None:
    kept = CampaignSettings.model_validate(given).to_json()
    assert campaign_settings.problem(kept) is None
    with migrated.transaction("look") as session:
        assert session.scalar(text(f"SELECT {_FITS}"), {"given": json.dumps(kept)})
