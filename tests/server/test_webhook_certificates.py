"""Amazon signs for all of its customers: whose topic it is, and where its certificate comes from, is looked at."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from db.postgres.database import Database
from mcp_server.process.app import App
from tests.support.server import NOW
from tests.support.webhook_senders import (
    CERTIFICATE,
    TOPIC,
    Amazon,
    amazon_certificate,
    confirmation,
    notification,
    ses_opened,
    sign_envelope,
)
from tests.support.webhooks import hooks, rows

pytestmark = pytest.mark.anyio

MakeApp = Callable[..., App]


async def test_both_versions_of_amazons_signature_are_taken_with_one_look_at_the_certificate(
    make_app: MakeApp, database: Database
) -> None:
    server = hooks(make_app)
    message = ses_opened(NOW, {}, "person0@example.com")
    for number, version in ((1, "1"), (2, "2")):
        signed = sign_envelope(notification(message, NOW, id=str(number), Subject="Hello"), version=version)
        assert (await server.post("ses", *signed)).status_code == 200
    assert len(server.amazon.asked) == 1
    assert len(rows(database)) == 2


ELSEWHERE = [
    "https://sns.eu-west-1.amazonaws.com.evil.example.com/SimpleNotificationService-01.pem",
    "https://evil.example.com/SimpleNotificationService-01.pem",
    "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
    "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem",
    "https://user@sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
    "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-01.pem",
    "https://sns.eu-west-1.amazonaws.com/other/SimpleNotificationService-01.pem",
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem?x",
    "https://s3.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
    "file:///etc/passwd",
    "https://[::1",
]


@pytest.mark.parametrize("url", ELSEWHERE)
async def test_a_certificate_is_fetched_from_amazons_own_host_alone(
    make_app: MakeApp, database: Database, url: str
) -> None:
    server = hooks(make_app)
    signed = sign_envelope(notification(ses_opened(NOW, {}, "a@example.com"), NOW, SigningCertURL=url))
    assert (await server.post("ses", *signed)).status_code == 401
    assert server.amazon.asked == []
    assert rows(database) == []


async def test_amazon_signs_for_anybody_so_another_topic_is_refused(make_app: MakeApp, database: Database) -> None:
    server = hooks(make_app)
    for topic in (TOPIC + "2", "arn:aws:sns:eu-west-1:999999999999:ses-events", ""):
        for envelope in (notification({}, NOW, TopicArn=topic), confirmation(NOW, TopicArn=topic)):
            assert (await server.post("ses", *sign_envelope(envelope))).status_code == 401
    assert (server.amazon.asked, rows(database)) == ([], [])


async def test_a_certificate_that_has_expired_or_is_none_does_not_serve(make_app: MakeApp, database: Database) -> None:
    signed = sign_envelope(notification({}, NOW))
    expired = hooks(make_app, Amazon(amazon_certificate(datetime(2026, 1, 1, tzinfo=UTC))))
    assert (await expired.post("ses", *signed)).status_code == 401
    broken = hooks(make_app, Amazon(b"-----BEGIN NOTHING"))
    answers = [await broken.post("ses", *signed) for _ in range(9)]
    assert {answer.status_code for answer in answers} == {503}
    assert len(broken.amazon.asked) == 5  # then it asks no more for a while
    assert rows(database) == []
    assert CERTIFICATE.endswith(broken.amazon.asked[0][1])
