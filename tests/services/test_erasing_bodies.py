"""Of an erasure, the bodies of requests that hold the person's address in an encoding of mail."""

import json
from base64 import b64encode, encodebytes, urlsafe_b64encode
from functools import partial
from quopri import encodestring
from urllib.parse import quote, quote_plus

import pytest
from sqlalchemy import text

from db.domain.contacts import SuppressionTarget
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.dispatch import claims
from tests.support.campaigns import NOW, enroll, make_campaign
from tests.support.traces import EMAIL, LINK, erase

PLAIN = "mia.moss@k.example"
MAIL = "From: a@b.example\r\nTo: {}\r\nSubject: A subject that is as long as those of most mails\r\n\r\nYes, do.\r\n"


def store(database: Database, bodies: list[bytes]) -> None:
    with database.transaction("store") as session:
        for number, body in enumerate(bodies):
            session.execute(
                text("""
                    INSERT INTO webhook_deliveries (id, provider, received_at, body, body_hash, status, recorded_at)
                    VALUES (gen_random_uuid(), 'ses', :now, :body, sha256(CAST(:n AS bytea)), 'recorded', :now)
                """),
                {"now": NOW, "body": body, "n": str(number).encode()},
            )


def left(database: Database) -> list[bytes]:
    with database.transaction("look") as session:
        return list(session.scalars(text("SELECT body FROM webhook_deliveries WHERE body IS NOT NULL ORDER BY id")))


def in_mail(address: str) -> dict[str, bytes]:
    mail = MAIL.format(address).encode()
    lines = encodebytes(b"x" * 50 + mail)
    quoted = encodestring(b"x" * 60 + f" {address}\r\n".encode()).decode()
    start = max(1, address.find("linkedin."))
    broken = [f"to {address[:at]}=\r\n{address[at:]}\n".encode() for at in range(start, len(address))]
    return {
        **{f"broken at {at}": text for at, text in enumerate(broken)},
        **{f"broken at {at} in base64": b64encode(text) for at, text in enumerate(broken)},
        "percent in base64": b64encode(f"?to={quote(address, safe='')}&x".encode()),
        **{
            f"base64 from place {n}": json.dumps({"raw": b64encode(b"x" * n + mail).decode()}).encode()
            for n in range(3)
        },
        "in capitals": b64encode(mail.upper()),
        "for URLs": urlsafe_b64encode(f"\u00ff\u00fe {address}".encode()).rstrip(b"="),
        "joined to a word": b"https://l.example/u-" + urlsafe_b64encode(address.encode()),
        "in lines": lines,
        "in lines of JSON": json.dumps({"content": lines.decode()}).replace("/", "\\/").encode(),
        "in a form": b"body-mime=" + quote_plus(lines).encode(),
        "quoted": quoted.encode(),
        "quoted in JSON": json.dumps({"mail": quoted}).encode(),
        "quoted in a form": b"body-mime=" + quote_plus(quoted).encode(),
        "quoted in base64": b64encode(quoted.encode()),
    }


def test_the_bodies_go_that_name_the_message_id_of_a_mail_to_the_person(database: Database) -> None:
    steps = [EmailStep(1, "Hello", "The first of all")]
    campaign_id = database.run("make", partial(make_campaign, email_steps=steps))
    enroll(database, campaign_id, [PLAIN, "ben@k.example"])
    claim = partial(claims.claim, campaign_id=campaign_id, channel=None, limit=2, lease_seconds=60, now=NOW)
    handed = database.run("claim", partial(claim, public_url="https://mail.example.org")).actions
    said = {due.contact.email: f'{{"smtp-id": "{(due.text.headers or {})["Message-ID"]}"}}'.encode() for due in handed}
    store(database, list(said.values()))
    erase(database, target=SuppressionTarget(email=PLAIN))
    assert left(database) == [said["ben@k.example"]]


@pytest.mark.parametrize("address", [PLAIN, EMAIL, LINK, "https://www.linkedin.com/in/zo\u00eb"])
def test_the_bodies_go_that_hold_the_address_in_an_encoding_of_mail(database: Database, address: str) -> None:
    other = in_mail(address.replace("m", "n").replace("z", "y"))
    store(database, [*in_mail(address).values(), *other.values()])
    target = SuppressionTarget(**{"linkedin_url" if address.startswith("https") else "email": address})
    done = erase(database, target=target, even_if_unknown=True)
    kept = set(left(database))
    assert [shape for shape, body in in_mail(address).items() if body in kept] == []
    assert [shape for shape, body in other.items() if body not in kept] == []
    assert done.webhook_bodies == len(other)
