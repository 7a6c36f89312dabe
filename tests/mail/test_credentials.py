"""The keys of credentials: made once, required of many servers, replaced."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from db.domain.errors import MailboxUnusable, Refused
from db.domain.mailboxes import MailServer, Security
from mcp_server.mail.credentials import KeyRing, Password
from mcp_server.process.settings import Settings

SERVER = MailServer("smtp.example.com", 465, Security.TLS)
ANN = "ann@example.com"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, database_url=None)


def test_a_key_is_made_once_and_for_its_user_alone(settings: Settings, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        opened = [threads.submit(KeyRing.open, settings, is_made=True) for _ in range(8)]
        rings = [ring.result() for ring in opened]
    stored = rings[0].encrypt(Password("secret"), server=SERVER, address=ANN)
    assert {ring.decrypt(stored, server=SERVER, address=ANN) for ring in rings} == {Password("secret")}
    assert [path.name for path in tmp_path.iterdir()] == ["mailbox.key"]
    assert (tmp_path / "mailbox.key").stat().st_mode & 0o777 == 0o600


def test_a_database_of_many_servers_needs_a_file_that_is_named(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=SecretStr("postgresql://u:p@db.example.com/sales"))
    with pytest.raises(Refused, match="SALES_AUTOMATION_MAILBOX_KEY_FILE"):
        KeyRing.open(settings, is_made=True)
    assert list(tmp_path.iterdir()) == []
    named = settings.model_copy(update={"mailbox_key_file": tmp_path / "shared.key"})
    assert KeyRing.open(named, is_made=True).path == tmp_path / "shared.key"


def test_a_key_that_is_missing_is_not_made_for_reading(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="mailboxes add"):
        KeyRing.open(settings, is_made=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff" * 40])
def test_a_file_without_keys_is_told(settings: Settings, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mailbox.key").write_bytes(content)
    with pytest.raises(Refused, match="can't be read"):
        KeyRing.open(settings, is_made=True)


def bound_elsewhere() -> list[tuple[MailServer, str]]:
    other_user = MailServer(SERVER.host, SERVER.port, SERVER.security, "bob")
    return [(MailServer("evil.example.com", 465, Security.TLS), ANN), (other_user, ANN), (SERVER, "bob@example.com")]


@pytest.mark.parametrize(("server", "address"), bound_elsewhere())
def test_a_credential_is_for_one_server_and_user(settings: Settings, server: MailServer, address: str) -> None:
    keys = KeyRing.open(settings, is_made=True)
    stored = keys.encrypt(Password("secret"), server=SERVER, address=ANN)
    with pytest.raises(MailboxUnusable, match="another server or user"):
        keys.decrypt(stored, server=server, address=address)


def test_another_port_needs_no_new_password(settings: Settings) -> None:
    keys = KeyRing.open(settings, is_made=True)
    stored = keys.encrypt(Password("secret"), server=SERVER, address=ANN)
    moved = MailServer("SMTP.example.com", 587, Security.STARTTLS)
    assert keys.decrypt(stored, server=moved, address=ANN) == Password("secret")


def test_a_former_key_opens_what_it_encrypted_until_the_next_but_one(
    settings: Settings, make_key: Callable[[], bytes]
) -> None:
    before = KeyRing.open(settings, is_made=True)
    stored = before.encrypt(Password("secret"), server=SERVER, address=ANN)
    both = before.with_new_key()
    # A server that is killed here opens both.
    assert KeyRing.open(settings, is_made=False).decrypt(stored, server=SERVER, address=ANN) == Password("secret")
    rotated = both.rotated(stored)
    kept = both.without_oldest()
    for credential in (stored, rotated):
        assert KeyRing.open(settings, is_made=False).decrypt(credential, server=SERVER, address=ANN)
    with pytest.raises(MailboxUnusable, match="encrypted with another key"):
        before.decrypt(rotated, server=SERVER, address=ANN)
    three = kept.with_new_key()
    assert three.decrypt(stored, server=SERVER, address=ANN)
    two = three.without_oldest()
    assert two.decrypt(rotated, server=SERVER, address=ANN)
    with pytest.raises(MailboxUnusable, match="encrypted with another key"):
        two.decrypt(stored, server=SERVER, address=ANN)
    with pytest.raises(MailboxUnusable, match="Nothing was changed"):
        KeyRing(two.path, [make_key()]).rotated(rotated)


def test_a_new_key_is_taken_back(settings: Settings, tmp_path: Path) -> None:
    before = KeyRing.open(settings, is_made=True)
    content = before.path.read_bytes()
    before.with_new_key()
    assert before.path.read_bytes() != content
    before.restore()
    assert before.path.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["mailbox.key"]


def test_a_file_that_can_not_be_written_is_told(settings: Settings) -> None:
    keys = KeyRing.open(settings, is_made=True)
    gone = KeyRing(keys.path.parent / "gone" / "mailbox.key", [Fernet.generate_key()])
    with pytest.raises(Refused, match="can't be written"):
        gone.with_new_key()


@pytest.mark.parametrize("is_made", [True, False])
def test_a_directory_that_is_missing_is_told(settings: Settings, tmp_path: Path, is_made: bool) -> None:
    named = settings.model_copy(update={"mailbox_key_file": tmp_path / "keys" / "mailbox.key"})
    with pytest.raises(Refused, match="directory of the file that SALES_AUTOMATION_MAILBOX_KEY_FILE names"):
        KeyRing.open(named, is_made=is_made)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def make_key() -> Callable[[], bytes]:
    return Fernet.generate_key
