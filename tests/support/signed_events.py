"""Events as a sender of Standard Webhooks signs them."""

import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256

KINDS = ("sent", "delivered", "opened", "clicked")
KEY = b"a key that was made for this test"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def signed(number: int, enrollment_id: str, kind: str) -> tuple[bytes, dict[str, str]]:
    """One event as its sender signs it."""
    at = START + timedelta(hours=KINDS.index(kind), seconds=number)
    event = {"event_type": kind, "enrollment_id": enrollment_id, "step_number": 1, "occurred_at": at.isoformat()}
    body = json.dumps({"data": event}).encode()
    id_, now = f"msg-{number}", str(int(time.time()))
    signature = hmac.new(KEY, f"{id_}.{now}.".encode() + body, sha256).digest()
    headers = {"webhook-id": id_, "webhook-timestamp": now}
    return body, {**headers, "webhook-signature": "v1," + base64.b64encode(signature).decode()}
