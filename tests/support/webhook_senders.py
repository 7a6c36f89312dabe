"""The providers as they send: payloads in the shapes that they document, signed with keys made here."""

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

AGENT = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15"

MESSAGE = "message-0123456789"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-events"
CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
SHARED = "hooks:a password made for this test"
MAILGUN_KEY = "key-made-for-this-test"
LEMLIST_SECRET = "lemlist secret made for this test"
SVIX_KEY = b"a key of thirty-two bytes, or so"
SVIX_SECRET = f"whsec_{base64.b64encode(SVIX_KEY).decode()}"


class Signed(NamedTuple):
    body: bytes
    headers: dict[str, str]


Attached = dict[str, Any]
"""What the sender attached to the message: sales_campaign_id and so on."""


@dataclass(frozen=True)
class Sender:
    """`opened` makes the payload of an opening, `sign` signs it. `id` is the provider's id of the request."""

    name: str
    secret: str
    opened: Callable[[datetime, Attached, str], Any]
    sign: Callable[..., Signed]
    has_timestamp: bool = True
    signs_bytes: bool = True
    """Whether the signature covers any bytes, not just JSON."""

    def request(self, at: datetime, *, attached: Attached | None = None, id: str = "1", email: str = "") -> Signed:
        return self.sign(self.opened(at, attached or {}, email or "person0@example.com"), at, id=id)


@cache
def sendgrid_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def sendgrid_secret() -> str:
    der = sendgrid_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def raw(payload: Any) -> bytes:
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


def sign_sendgrid(payload: Any, at: datetime, *, id: str = "1") -> Signed:
    body, timestamp = raw(payload), str(int(at.timestamp()))
    signature = sendgrid_key().sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    return Signed(
        body,
        {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        },
    )


def sign_shared(payload: Any, at: datetime, *, id: str = "1") -> Signed:
    return Signed(raw(payload), {"Authorization": f"Basic {base64.b64encode(SHARED.encode()).decode()}"})


def sign_mailgun(payload: Any, at: datetime, *, id: str = "1") -> Signed:
    timestamp, token = str(int(at.timestamp())), f"token-{id}"
    signature = hmac.new(MAILGUN_KEY.encode(), f"{timestamp}{token}".encode(), sha256).hexdigest()
    return Signed(raw({"signature": {"timestamp": timestamp, "token": token, "signature": signature}, **payload}), {})


def sign_svix(prefix: str) -> Callable[..., Signed]:
    def sign(payload: Any, at: datetime, *, id: str = "1") -> Signed:
        body, timestamp = raw(payload), str(int(at.timestamp()))
        signature = hmac.new(SVIX_KEY, f"msg_{id}.{timestamp}.".encode() + body, sha256).digest()
        return Signed(
            body,
            {
                f"{prefix}-id": f"msg_{id}",
                f"{prefix}-timestamp": timestamp,
                f"{prefix}-signature": f"v1,{base64.b64encode(signature).decode()} v1a,other",
            },
        )

    return sign


def sign_lemlist(payload: Any, at: datetime, *, id: str = "1") -> Signed:
    return Signed(raw({**payload, "secret": LEMLIST_SECRET}), {})


@cache
def amazon_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def amazon_certificate(until: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder(name, name, amazon_key().public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(until)
    return builder.sign(amazon_key(), SHA256()).public_bytes(Encoding.PEM)


class Amazon:
    """Hands the certificate out, and notes who asked for what."""

    def __init__(self, certificate: bytes | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self._certificate = certificate

    def __call__(self, host: str, path: str) -> bytes:
        self.asked.append((host, path))
        return self._certificate or amazon_certificate()


def sign_envelope(envelope: dict[str, Any], *, version: str = "2") -> Signed:
    """As SNS documents it: names and values of some fields, a line each."""
    if envelope["Type"] == "Notification":
        names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    else:
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
    signature = amazon_key().sign(text.encode(), padding.PKCS1v15(), SHA1() if version == "1" else SHA256())
    signed = {
        **envelope,
        "SignatureVersion": version,
        "Signature": base64.b64encode(signature).decode(),
        "SigningCertURL": envelope.get("SigningCertURL", CERTIFICATE),
    }
    return Signed(raw(signed), {"x-amz-sns-message-type": envelope["Type"]})


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def notification(message: Any, at: datetime, *, id: str = "1", **changes: Any) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": f"22b80b92-fdea-4c2c-8f9d-{id:0>12}",
        "TopicArn": TOPIC,
        "Message": json.dumps(message),
        "Timestamp": stamp(at),
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
        **changes,
    }


def sign_ses(message: Any, at: datetime, *, id: str = "1") -> Signed:
    return sign_envelope(notification(message, at, id=id))


def confirmation(at: datetime, **changes: Any) -> dict[str, Any]:
    return {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37",
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe to the topic.",
        "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37",
        "Timestamp": stamp(at),
        **changes,
    }


def sendgrid_opened(at: datetime, attached: Attached, email: str) -> Any:
    return [
        {
            "email": email,
            "timestamp": int(at.timestamp()),
            "event": "open",
            "sg_machine_open": False,
            "sg_event_id": "c2dfZXZlbnRfaWQ",
            "sg_message_id": f"{MESSAGE}.filter001.16648.5515E0B88.0",
            "useragent": "Mozilla/4.0",
            "ip": "203.0.113.7",
            **attached,
        }
    ]


def postmark_opened(at: datetime, attached: Attached, email: str) -> Any:
    return {
        "RecordType": "Open",
        "MessageStream": "outbound",
        "Metadata": attached,
        "FirstOpen": True,
        "Recipient": email,
        "MessageID": MESSAGE,
        "ReceivedAt": at.strftime("%Y-%m-%dT%H:%M:%S.1234567Z"),
        "UserAgent": AGENT,
        "Geo": {"IP": "203.0.113.7"},
    }


def mailgun_opened(at: datetime, attached: Attached, email: str) -> Any:
    return {
        "event-data": {
            "event": "opened",
            "timestamp": at.timestamp() + 0.25,
            "id": "Ase7i2zsRYeDXztHGENqRA",
            "recipient": email,
            "ip": "203.0.113.7",
            "client-info": {"user-agent": AGENT, "bot": ""},
            "message": {"headers": {"message-id": MESSAGE}},
            "user-variables": attached,
        }
    }


def ses_mail(at: datetime, attached: Attached, *emails: str) -> dict[str, Any]:
    return {
        "timestamp": stamp(at),
        "messageId": MESSAGE,
        "destination": list(emails),
        "tags": {"ses:configuration-set": ["set"], **{name: [str(value)] for name, value in attached.items()}},
    }


def ses_opened(at: datetime, attached: Attached, email: str) -> Any:
    return {
        "eventType": "Open",
        "mail": ses_mail(at - timedelta(hours=1), attached, email),
        "open": {"timestamp": stamp(at), "userAgent": AGENT, "ipAddress": "203.0.113.7"},
    }


def resend_opened(at: datetime, attached: Attached, email: str) -> Any:
    return {
        "type": "email.opened",
        "created_at": stamp(at),
        "data": {"email_id": MESSAGE, "created_at": stamp(at), "to": [email], "subject": "Hello", "tags": attached},
    }


def brevo_opened(at: datetime, attached: Attached, email: str) -> Any:
    return {
        "event": "opened",
        "email": email,
        "id": 26224,
        "date": "2026-11-02 10:00:00",
        "ts": int(at.timestamp()),
        "message-id": f"<{MESSAGE}>",
        "ts_event": int(at.timestamp()),
        "subject": "Hello",
        "X-Mailin-custom": json.dumps(attached),
        "ts_epoch": int(at.timestamp() * 1000),
        "tags": ["sales"],
    }


def lemlist_opened(at: datetime, attached: Attached, email: str) -> Any:
    return {
        "_id": "act_A1B2C3D4E5F6G7H8",
        "type": "emailsOpened",
        "createdAt": stamp(at),
        "campaignId": "cam_A1B2C3D4E5F6G7H8",
        "leadId": "message",
        "stepId": "0123456789",
        "leadEmail": email,
        "isFirst": True,
        **attached,
    }


def standard_opened(at: datetime, attached: Attached, email: str) -> Any:
    return {
        "type": "email.opened",
        "timestamp": stamp(at),
        "data": {"provider_message_id": MESSAGE, **attached},
    }


def senders() -> dict[str, Sender]:
    all_ = [
        Sender("sendgrid", sendgrid_secret(), sendgrid_opened, sign_sendgrid),
        Sender("postmark", SHARED, postmark_opened, sign_shared, has_timestamp=False),
        Sender("mailgun", MAILGUN_KEY, mailgun_opened, sign_mailgun, signs_bytes=False),
        Sender("ses", TOPIC, ses_opened, sign_ses, signs_bytes=False),
        Sender("resend", SVIX_SECRET, resend_opened, sign_svix("svix")),
        Sender("brevo", SHARED, brevo_opened, sign_shared, has_timestamp=False),
        Sender("lemlist", LEMLIST_SECRET, lemlist_opened, sign_lemlist, has_timestamp=False, signs_bytes=False),
        Sender("standard", SVIX_SECRET, standard_opened, sign_svix("webhook")),
    ]
    return {sender.name: sender for sender in all_}
