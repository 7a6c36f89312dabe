"""Settings: the only reader of the environment. Every variable is named here, and nothing secret has a default."""

import base64
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, cast

from platformdirs import user_data_path
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, HttpUrl, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mcp_server.process.clock import FileClock, system_clock, time_in

# As SQLAlchemy reads it, which takes too long to import to be asked at start: a password may hold all but @.
_DATABASE_URL: Final = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://(?:[^:/]*(?::[^@]*)?@)?(?:\[[^/?]+\]|[^/:?@]+)?(?::(?P<port>\d{1,5}))?(?:/[^?]*)?(?:\?.*)?",
    re.DOTALL,
)

TOKEN_CHARACTERS_MIN: Final = 16
"""Of a token that is set, where others than this machine's can try it."""

_HOST: Final = re.compile(r"(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(?::(?:\d{1,5}|\*))?", re.ASCII | re.IGNORECASE)


_EMPTY: Final = "holds no secret, so anybody could sign with it; copy it from the provider as it is, or unset it"


def _default_home() -> Path:
    return user_data_path() / ".sales-automation"


def _base64(secret: SecretStr) -> SecretStr:
    try:
        key = base64.b64decode(secret.get_secret_value().strip().removeprefix("whsec_"), validate=True)
    except ValueError:
        raise ValueError("is not base64; copy it from the provider as it is") from None
    if not key:
        raise ValueError(_EMPTY)
    return secret


def _filled(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError(_EMPTY)
    return secret


def _credentials(secret: SecretStr) -> SecretStr:
    """user:password, or a token: with an empty password anybody signs who knows the user."""
    if not secret.get_secret_value().strip().rpartition(":")[2].strip():
        raise ValueError(_EMPTY)
    return secret


def _topic(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip().startswith(("arn:aws:sns:", "arn:aws-cn:sns:", "arn:aws-us-gov:sns:")):
        raise ValueError("is not the ARN of an SNS topic")
    return secret


def _database_url(secret: SecretStr) -> SecretStr:
    match = _DATABASE_URL.fullmatch(secret.get_secret_value())
    if match is None or int(match["port"] or 0) > 65_535:
        raise ValueError(
            "is not the URL of a PostgreSQL; write postgresql://USER:PASSWORD@HOST:5432/NAME, with %40 for an @ in the "
            "password"
        )
    return secret


def _resolver(text: str) -> str:
    _address_and_port(text)
    return text


def _address_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        address = None
    if address is None or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError("is not an address and port; write 9.9.9.9:53, or [2620:fe::fe]:53")
    return str(address), int(port)


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("the user after ~ has no home directory here; write the whole path") from None


def _json_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    with suppress(ValueError):
        decoded: object = json.loads(value)
        if isinstance(decoded, list):
            return cast("list[object]", decoded)
    raise ValueError('is not a JSON list; write it as ["one", "two"], in quotes for the shell')


def _hosts(hosts: list[str]) -> list[str]:
    """Returns them in lower case, as they are compared."""
    if not all(_HOST.fullmatch(host) for host in hosts):
        raise ValueError(
            'write each as a Host header names it, such as "mcp.example.com" or "[2001:db8::5]", with a port where no '
            "other is to be accepted: no scheme, no path, no wildcard, and other letters in their xn-- form"
        )
    return [host.lower().removesuffix(":*") for host in hosts]


def _clock_file(path: Path) -> Path:
    time_in(path)
    return path


_DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
_Path = Annotated[Path, AfterValidator(_expanded)]
_JsonList = BeforeValidator(_json_list)
_Base64 = Annotated[SecretStr, AfterValidator(_base64)]
_Topic = Annotated[SecretStr, AfterValidator(_topic)]
_Filled = Annotated[SecretStr, AfterValidator(_filled)]
_Credentials = Annotated[SecretStr, AfterValidator(_credentials)]


def _base_url(url: HttpUrl) -> HttpUrl:
    if url.query or url.fragment or url.username or url.password:
        raise ValueError("give scheme, host and path alone, such as https://mail.example.com")
    return url


WEBHOOKS_WITH_SECRETS: Final = ("postmark", "mailgun", "resend", "brevo", "lemlist", "standard")
"""Those of the other providers hold a public key, or an address."""


class Settings(BaseSettings):
    """Read from SALES_AUTOMATION_* (and DATABASE_URL). Arguments of the command line win over the environment."""

    model_config = SettingsConfigDict(
        env_prefix="SALES_AUTOMATION_",
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        validate_by_name=True,
    )

    database_url: _DatabaseUrl | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL", "SALES_AUTOMATION_DATABASE_URL"),
        description="PostgreSQL 15 or later: postgresql://USER:PASSWORD@HOST:5432/NAME. Unset: the embedded one runs.",
    )
    home: _Path = Field(
        default_factory=_default_home, description="Directory of the embedded database and of the local store."
    )
    migrate: bool = Field(default=False, description="Bring an external database to this version's schema at start.")
    database_sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = Field(
        default=None, description="TLS of the connection to the database, as libpq's sslmode."
    )
    database_sslrootcert: _Path | None = Field(
        default=None, description="Certificate authority for verify-ca and verify-full."
    )
    pool_size: int = Field(default=5, ge=1, le=200, description="Connections that are kept open.")
    pool_overflow: int = Field(default=10, ge=0, le=200, description="Connections beyond pool_size under load.")
    pool_timeout: float = Field(default=10, gt=0, le=300, description="Seconds to wait for a connection.")
    statement_timeout: float = Field(
        default=10, ge=0.001, le=3600, description="Seconds before a statement is stopped."
    )
    lock_timeout: float = Field(default=5, ge=0.001, le=3600, description="Seconds to wait for a row lock.")
    slow_query_seconds: float = Field(default=1, ge=0, description="Statements that take as long are logged.")
    start_attempts: int = Field(default=5, ge=1, le=100, description="Tries to reach the database at start.")
    local_synchronous: Literal["NORMAL", "FULL"] = Field(
        default="NORMAL", description="FULL: jobs and cache survive a power cut to the last write, at a cost in speed."
    )
    toolsets: str = Field(default="all", description="Comma-separated toolsets to offer, outreach or all.")
    worker: bool = Field(default=True, description="Do import jobs in this process.")
    import_directories: Annotated[list[_Path], NoDecode, _JsonList] = Field(
        default=[],
        description="Directories that imports may read files from, as a JSON list. Empty: files are refused.",
    )
    orphan_days: int = Field(
        default=30, ge=1, le=3650, description="Days for which an event may wait for its enrollment."
    )
    orphan_keep_days: int = Field(
        default=90, ge=1, le=3650, description="Days for which an event that has waited too long is kept."
    )
    idempotency_key_days: int = Field(
        default=30, ge=1, le=3650, description="Days for which the answers under idempotency keys are kept."
    )
    job_days: int = Field(default=30, ge=1, le=3650, description="Days for which finished jobs are kept.")
    audit_days: int = Field(default=365, ge=1, le=36_500, description="Days for which the audit log is kept.")
    read_only: bool = Field(default=False, description="Offer no tool that writes, and open read-only transactions.")
    token: SecretStr | None = Field(default=None, description="Bearer token that HTTP clients must send.")
    token_file: _Path | None = Field(default=None, description="File with the bearer token on its first line.")
    allowed_hosts: Annotated[list[str], NoDecode, _JsonList, AfterValidator(_hosts)] = Field(
        default=[], description='Further Host headers to accept over HTTP, as a JSON list, such as ["mcp.example.com"].'
    )
    webhook_sendgrid: _Base64 | None = Field(default=None, description="Verification key of SendGrid's Event Webhook.")
    webhook_postmark: _Credentials | None = Field(default=None, description="user:password of basic auth, or a token.")
    webhook_mailgun: _Filled | None = Field(default=None, description="Mailgun's HTTP webhook signing key.")
    webhook_ses: _Topic | None = Field(default=None, description="ARN of the SNS topic that SES publishes to.")
    webhook_resend: _Base64 | None = Field(default=None, description="Signing secret of Resend's webhook, whsec_...")
    webhook_brevo: _Credentials | None = Field(default=None, description="user:password of basic auth, or a token.")
    webhook_lemlist: _Filled | None = Field(default=None, description="The secret that lemlist's webhook was given.")
    webhook_standard: _Base64 | None = Field(default=None, description="Secret of Standard Webhooks, whsec_...")
    webhook_max_bytes: int = Field(
        default=1024 * 1024, ge=1024, le=16 * 1024 * 1024, description="Largest webhook request that is taken."
    )
    webhook_body_days: int = Field(
        default=90, ge=1, le=3650, description="Days for which the bodies of webhook requests are kept for a replay."
    )
    public_url: Annotated[HttpUrl, AfterValidator(_base_url)] | None = Field(
        default=None,
        description="Where people reach this server's /unsubscribe, such as https://mail.example.com. Unset: emails "
        "get no links to unsubscribe, and {{ unsubscribe_url }} has no value.",
    )
    mailbox_key_file: _Path | None = Field(
        default=None,
        description="File of the key that the credentials of mailboxes are encrypted with; needed with DATABASE_URL. "
        "Unset: mailbox.key in home.",
    )
    allow_private_hosts: bool = Field(
        default=False, description="Let mailboxes live on servers at private and loopback addresses."
    )
    read_mail: bool = Field(default=True, description="Read the mailboxes that have an IMAP server, in this process.")
    send: bool = Field(
        default=False, description="Send the emails of campaigns with mailboxes from these, in this process."
    )
    send_retry_seconds: float | None = Field(
        default=None,
        ge=1,
        le=86_400,
        description="Seconds until a mail is tried again that its mail server did not take yet. Unset: 60, 300, 900, "
        "then 3600.",
    )
    mail_poll_seconds: float | None = Field(
        default=None,
        ge=1,
        le=86_400,
        description="Seconds between two looks into each folder. Unset: 60 for INBOX, unless the server tells of new "
        "mail by itself, and 300 for others.",
    )
    read_back_days: int = Field(
        default=90,
        ge=1,
        le=3650,
        description="Days whose sent mail is looked for answers when a mailbox is first read.",
    )
    dns_server: Annotated[str, AfterValidator(_resolver)] | None = Field(
        default=None,
        description="Resolver that check_mailbox and enroll_contacts ask, as 9.9.9.9:53. Unset: the machine's own.",
    )
    keep_attachments: bool = Field(default=False, description="Keep the attachments of mails that are read.")
    oauth_google_client_id: str | None = Field(default=None, description="Id of the app that signs in at Google.")
    oauth_google_client_secret: SecretStr | None = Field(default=None, description="Secret of that app.")
    oauth_google_authorize_url: HttpUrl | None = Field(default=None, description="Another address than Google's own.")
    oauth_google_token_url: HttpUrl | None = Field(default=None, description="As above, for tokens.")
    oauth_microsoft_client_id: str | None = Field(
        default=None, description="Id of the app that signs in at Microsoft; it must allow public clients for codes."
    )
    oauth_microsoft_client_secret: SecretStr | None = Field(default=None, description="Secret of that app, if any.")
    oauth_microsoft_authorize_url: HttpUrl | None = Field(
        default=None, description="Another address than Microsoft's own, as that of a single tenant."
    )
    oauth_microsoft_token_url: HttpUrl | None = Field(default=None, description="As above, for tokens.")
    oauth_microsoft_device_url: HttpUrl | None = Field(default=None, description="As above, for codes of devices.")
    rate_limit: float = Field(
        default=200, ge=0, le=1_000_000, description="HTTP requests a second for each token; 0 for no limit."
    )
    failed_auth_limit: float = Field(
        default=30,
        ge=0,
        le=1_000_000,
        description="Wrong tokens and forged unsubscribe links a minute from each address; 0 for no limit.",
    )
    unsubscribe_limit: float = Field(
        default=30, ge=0, le=1_000_000, description="Uses of one unsubscribe link a minute; 0 for no limit."
    )
    clock_file: Annotated[_Path, AfterValidator(_clock_file)] | None = Field(
        default=None,
        description="For simulations: file with the time (ISO 8601) to go by instead of the machine's. Mail then goes "
        "to, and is read from, servers at loopback addresses alone.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="WARNING", description="Least severity that is logged on stderr."
    )

    @property
    def public_base(self) -> str | None:
        """public_url without a slash at its end."""
        return None if self.public_url is None else str(self.public_url).rstrip("/")

    def clock(self) -> Callable[[], datetime]:
        """Returns what tells the time: the machine, or the file of the settings."""
        return system_clock if self.clock_file is None else FileClock(self.clock_file)

    @property
    def resolver(self) -> tuple[str, int] | None:
        """The address and the port of dns_server."""
        return None if self.dns_server is None else _address_and_port(self.dns_server)

    def bearer_token(self) -> str | None:
        """Returns the token from the setting or its file; None where neither is set. OSError when the file can't be
        read; ValueError where there is no token in what is set, for nobody who set it wants a server that asks for
        none."""
        if self.token is not None:
            given = self.token.get_secret_value()
        elif self.token_file is not None:
            given = self.token_file.read_text("utf-8-sig").partition("\n")[0]
        else:
            return None
        if not given.strip():
            raise ValueError("there is no token in it")
        return given.strip()

    def webhook_secret(self, provider: str) -> str | None:
        """Returns the secret of a provider's webhook; None where it is unset, which turns the webhook off."""
        secret = getattr(self, f"webhook_{provider}", None)
        return secret.get_secret_value().strip() or None if isinstance(secret, SecretStr) else None

    @property
    def hears_webhooks(self) -> bool:
        """Whether the webhook of any provider is set up."""
        names = (name for name in type(self).model_fields if name.startswith("webhook_"))
        return any(self.webhook_secret(name.removeprefix("webhook_")) for name in names)

    def webhook_secret_length(self, provider: str) -> int | None:
        """Returns how many bytes or characters of one of WEBHOOKS_WITH_SECRETS are to be guessed; None where it is
        unset."""
        secret = self.webhook_secret(provider)
        if secret is None:
            return None
        if provider in ("resend", "standard"):
            return len(base64.b64decode(secret.removeprefix("whsec_")))
        return len(secret.rpartition(":")[2] if provider in ("postmark", "brevo") else secret)

    def shown(self) -> list[dict[str, str]]:
        """Returns each setting as name, value and source ("default" or "given"), for people. Of a secret, only whether
        it is set."""
        return [
            {
                "name": variable(name),
                "value": _shown(getattr(self, name)),
                "source": "given" if name in self.model_fields_set else "default",
            }
            for name in type(self).model_fields
        ]


_PASSWORDS: Final = ("SALES_AUTOMATION_MAILBOX_PASSWORD_", "SALES_AUTOMATION_MAILBOX_SMTP_PASSWORD_")
"""How the variables begin that hold the passwords of mailboxes; db.domain.mailboxes.variable_suffix ends them."""


def variable(name: str) -> str:
    """Returns the variable that a setting is read from."""
    return "DATABASE_URL" if name == "database_url" else f"SALES_AUTOMATION_{name.upper()}"


def unknown_variables() -> list[str]:
    """Returns variables that look like settings and are none, such as misspelt ones."""
    known = {variable(name) for name in Settings.model_fields} | {"SALES_AUTOMATION_DATABASE_URL"}
    return sorted(
        name
        for name in os.environ
        if name.startswith("SALES_AUTOMATION_") and name.upper() not in known and not name.startswith(_PASSWORDS)
    )


def _shown(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, SecretStr):
        return "set"
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value))) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
