"""Encrypts the credentials of mailboxes with a key in a separate file, so that neither the database nor a backup of it
reveals them.

A credential is bound to the server and the user for which it was given. If somebody changes the server of a mailbox, by
a tool or by SQL, the password is not sent to the new server.
"""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from db import homes
from db.domain.errors import MailboxUnusable, Refused
from db.domain.mailboxes import MailServer, Service, variable_suffix
from mcp_server.process.settings import Settings

_KEY_FILE: Final = "mailbox.key"
_VARIABLE: Final = "SALES_AUTOMATION_MAILBOX_KEY_FILE"


@dataclass(frozen=True, slots=True)
class Password:
    """The password of a mailbox at one server."""

    text: str


@dataclass(frozen=True, slots=True)
class OAuthGrant:
    """The tokens that a provider gave instead of a password.

    provider: a name of mcp_server.mail.oauth. access_token: valid until `expires_at`; refresh_token: gets the next.
    """

    provider: str
    refresh_token: str
    access_token: str
    expires_at: datetime


Credential = Password | OAuthGrant


class KeyRing:
    """The keys in the file, newest first. The newest encrypts, and all of them decrypt."""

    def __init__(self, path: Path, keys: Sequence[bytes]) -> None:
        self.path = path
        self._keys = tuple(keys)
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    @classmethod
    def open(cls, settings: Settings, *, is_made: bool) -> Self:
        """Reads the keys. Makes a missing file if `is_made`.

        Raises an error if DATABASE_URL is set and no file is named, since several servers may use that database; and if
        the file or its directory is missing, or it can't be read, or has no keys.
        """
        path = _path_of(settings)
        if not path.parent.is_dir():
            raise Refused(
                f"The directory of the file that {_VARIABLE} names does not exist. Make or mount it, or correct the "
                "variable."
            )
        try:
            if is_made and not path.exists():
                _write(path, [Fernet.generate_key()], is_new=True)
            return cls(path, _read(path))
        except FileNotFoundError:
            raise Refused(
                "There is no key for the credentials of mailboxes. Run sales-automation-mcp mailboxes add, which makes "
                f"one, or name the file of one that there is in {_VARIABLE}."
            ) from None
        except (OSError, ValueError):
            raise Refused(
                f"The file of the key for the credentials of mailboxes can't be read. Check {_VARIABLE} and the rights "
                "of the file, or bring the file back from where you keep it."
            ) from None

    def encrypt(self, credential: Credential, *, server: MailServer, address: str) -> bytes:
        """Returns the credential in the stored form, bound to the server and its user."""
        kind = "password" if isinstance(credential, Password) else "oauth"
        plain: dict[str, Any] = {"for": _binding(server, address), "kind": kind, **asdict(credential)}
        return self._fernet.encrypt(json.dumps(plain, default=datetime.isoformat).encode())

    def decrypt(self, stored: bytes, *, server: MailServer, address: str) -> Credential:
        """Returns the decrypted credential. MailboxUnusable if it was encrypted with another key, or for another server
        or user."""
        try:
            plain: dict[str, Any] = json.loads(self._fernet.decrypt(stored))
        except (InvalidToken, ValueError):
            raise MailboxUnusable(
                f"The credentials of {address} were encrypted with another key. Give this server the right one "
                f"({_VARIABLE}), or give them again: sales-automation-mcp mailboxes add {address}."
            ) from None
        if plain["for"] != _binding(server, address):
            raise MailboxUnusable(
                f"The credentials of {address} were given for another server or user than {server.host} has now. Give "
                f"them again: sales-automation-mcp mailboxes add {address}."
            )
        if plain["kind"] == "password":
            return Password(plain["text"])
        return OAuthGrant(
            plain["provider"],
            plain["refresh_token"],
            plain["access_token"],
            datetime.fromisoformat(plain["expires_at"]),
        )

    def rotated(self, stored: bytes) -> bytes:
        """Returns the same credential, encrypted with the newest key. MailboxUnusable if no key of the file fits."""
        try:
            return self._fernet.rotate(stored)
        except InvalidToken:
            raise MailboxUnusable(
                "Credentials of a mailbox were encrypted with a key that is not in the file. Nothing was changed: "
                "bring that key back, or remove the mailbox and add it again."
            ) from None

    def with_new_key(self) -> "KeyRing":
        """Writes a new key in front of the others to the file, and returns all keys."""
        return self._rewritten([Fernet.generate_key(), *self._keys])

    def without_oldest(self) -> "KeyRing":
        """Removes the oldest key from the file if there are more than two, and returns the others. The caller has
        re-encrypted all credentials; the former key stays for a database that is restored from a backup."""
        return self._rewritten(self._keys[:-1]) if len(self._keys) > 2 else self

    def restore(self) -> None:
        """Writes these keys to the file again, as they were before with_new_key."""
        self._rewritten(self._keys)

    def _rewritten(self, keys: Sequence[bytes]) -> "KeyRing":
        try:
            _write(self.path, keys)
        except OSError:
            raise Refused(
                "The file of the key for the credentials of mailboxes can't be written. Make it and its directory "
                "writable for this user while you replace the key."
            ) from None
        return KeyRing(self.path, keys)


def from_environment(address: str, service: Service) -> Password | None:
    """Returns the password of this mailbox in a variable; None if no variable is set.

    SALES_AUTOMATION_MAILBOX_SMTP_PASSWORD_ANN_EXAMPLE_COM is only for SMTP, for relays with a password of their own;
    SALES_AUTOMATION_MAILBOX_PASSWORD_ANN_EXAMPLE_COM is for both.
    """
    names = [f"SALES_AUTOMATION_MAILBOX_PASSWORD_{variable_suffix(address)}"]
    if service is Service.SMTP:
        names.insert(0, f"SALES_AUTOMATION_MAILBOX_SMTP_PASSWORD_{variable_suffix(address)}")
    found = next((text for name in names if (text := os.environ.get(name))), None)
    return None if found is None else Password(found)


def _path_of(settings: Settings) -> Path:
    if settings.mailbox_key_file is not None:
        return settings.mailbox_key_file
    if settings.database_url is not None:
        raise Refused(
            f"With a database of your own, name the file of the key for the credentials of mailboxes in {_VARIABLE}: "
            "every server of the database needs the same. Nothing was changed."
        )
    homes.make(settings.home)
    return settings.home / _KEY_FILE


def _binding(server: MailServer, address: str) -> str:
    return f"{server.user(address)}@{server.host}".lower()


def _read(path: Path) -> list[bytes]:
    keys = path.read_bytes().split()
    if not keys:
        raise ValueError("it is empty")
    return keys


def _write(path: Path, keys: Sequence[bytes], *, is_new: bool = False) -> None:
    """Writes the file whole or not at all, accessible only to its user. `is_new`: keeps a file that another process has
    made meanwhile."""
    with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as file:
        beside = Path(file.name)  # the file is private from the start
        file.write(b"\n".join(keys) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        if is_new:
            with suppress(FileExistsError):
                path.hardlink_to(beside)
        else:
            beside.replace(path)
        _sync_directory(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    """Makes sure that a crash of the machine does not bring the former file back: the database may already hold what
    only the new one opens."""
    with suppress(OSError):  # not every system opens directories
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
