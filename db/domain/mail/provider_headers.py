"""Header fields in which a provider takes what belongs to a mail, and gives it back in its webhooks."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from uuid import UUID

CAMPAIGN: Final = "sales_campaign_id"
ENROLLMENT: Final = "sales_enrollment_id"
STEP: Final = "sales_step"
"""The names under which a sender attaches these to a mail, so that its events can be matched."""

_Values = Mapping[str, str]


def _mailgun(values: _Values) -> dict[str, str]:
    return {"X-Mailgun-Variables": json.dumps(values)}


def _sendgrid(values: _Values) -> dict[str, str]:
    return {"X-SMTPAPI": json.dumps({"unique_args": values})}


def _postmark(values: _Values) -> dict[str, str]:
    return {f"X-PM-Metadata-{name}": value for name, value in values.items()}


def _ses(values: _Values) -> dict[str, str]:
    return {"X-SES-MESSAGE-TAGS": ", ".join(f"{name}={value}" for name, value in values.items())}


def _brevo(values: _Values) -> dict[str, str]:
    return {"X-Mailin-custom": json.dumps(values)}


_BY_DOMAIN: Final[Mapping[str, Callable[[_Values], dict[str, str]]]] = MappingProxyType(
    {
        "mailgun.org": _mailgun,
        "sendgrid.net": _sendgrid,
        "postmarkapp.com": _postmark,
        "amazonaws.com": _ses,
        "brevo.com": _brevo,
        "sendinblue.com": _brevo,
    }
)
"""The domain of a provider's SMTP hosts -> what makes its fields, as the provider's own help says."""


def of_host(host: str, *, campaign_id: UUID, enrollment_id: UUID, step_number: int) -> dict[str, str]:
    """Returns the fields for a mail that goes out by this SMTP host; none if it is not of a known provider."""
    domain = ".".join(host.lower().rstrip(".").rsplit(".", 2)[-2:])
    make = _BY_DOMAIN.get(domain)
    values = {CAMPAIGN: str(campaign_id), ENROLLMENT: str(enrollment_id), STEP: str(step_number)}
    return {} if make is None else make(values)
