"""Settings that can't be used: every command ends at once, with one line that names the variable or the option."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from mcp_server.process.settings import Settings, variable
from tests.support.command_line import Cli

CAMPAIGN = "0199a1b2-0000-7000-8000-000000000001"
COMMANDS = [
    (),
    ("serve", "--transport", "streamable-http", "--port", "0"),
    ("migrate",),
    ("import", "-"),
    ("export", "--campaign", CAMPAIGN),
    ("jobs", "list"),
    ("tokens", "list"),
    ("dashboard", "--no-open"),
]
# One that can't be used, for each that has any.
WRONG = {
    "migrate": "perhaps",
    "home": "~nobody-of-this-name/here",
    "database_sslmode": "on",
    "database_sslrootcert": "~nobody-of-this-name/ca.pem",
    "pool_size": "many",
    "pool_overflow": "-1",
    "pool_timeout": "nan",
    "statement_timeout": "0.0001",  # rounded to milliseconds that would be 0, which is not a limit
    "lock_timeout": "0.0001",
    "slow_query_seconds": "-1",
    "start_attempts": "0",
    "local_synchronous": "OFF",
    "worker": "maybe",
    "import_directories": "/srv/imports",
    "orphan_days": "0",
    "orphan_keep_days": "0",
    "idempotency_key_days": "1.5",
    "job_days": "a month",
    "audit_days": "0",
    "read_only": "2",
    "token_file": "~nobody-of-this-name/token",
    "allowed_hosts": "mcp.example.com",
    "webhook_sendgrid": "!",
    "webhook_postmark": ":",
    "webhook_mailgun": " ",
    "webhook_brevo": "hooks: ",
    "webhook_lemlist": "\t",
    "webhook_ses": "topic",
    "webhook_resend": "whsec_!",
    "webhook_standard": "whsec_!",
    "webhook_max_bytes": "1",
    "webhook_body_days": "0",
    "public_url": "mail.example.com",
    "read_mail": "perhaps",
    "mail_poll_seconds": "0",
    "send": "perhaps",
    "send_retry_seconds": "0",
    "read_back_days": "0",
    "keep_attachments": "some",
    "dns_server": "resolver.example.com",
    "rate_limit": "-1",
    "failed_auth_limit": "-1",
    "unsubscribe_limit": "-1",
    "log_level": "LOUD",
    "clock_file": "~nobody-of-this-name/clock",
    "mailbox_key_file": "~nobody-of-this-name/mailbox.key",
    "allow_private_hosts": "perhaps",
    **{f"oauth_google_{kind}_url": "no address" for kind in ("authorize", "token")},
    **{f"oauth_microsoft_{kind}_url": "no address" for kind in ("authorize", "token", "device")},
}
ANY_TEXT = {
    "toolsets",
    "token",
    *(f"oauth_{name}_client_{part}" for name in ("google", "microsoft") for part in ("id", "secret")),
}
HOLLOW = [
    *((name, secret) for name in ("sendgrid", "resend", "standard") for secret in (" ", "whsec_", "whsec_ ")),
    *((name, secret) for name in ("postmark", "brevo") for secret in (" ", ":", "hooks:")),
]
WRONG_URLS = [
    "a-secret",
    "mysql://sales:a-secret@db.example.com/sales",
    "postgresql://sales:a-secret@db.example.com:port/sales",
    "postgresql://sales:a-secret@db.example.com:70000/sales",
    "postgresql:/sales:a-secret@db.example.com/sales",
    "postgresql://sales:pa@a-secret@db.example.com/sales",
    "postgresql://sales:a-secret@db.example.com:/sales",
]


def test_every_setting_has_a_case() -> None:
    assert {*WRONG, *ANY_TEXT, "database_url"} == set(Settings.model_fields)


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_cannot_be_used_is_named_by_its_variable(offline: Cli, name: str) -> None:
    done = offline.run_here("jobs", "list", **{variable(name): WRONG[name]})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"sales-automation-mcp: {variable(name)}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("provider", "secret"), HOLLOW)
def test_a_secret_with_nothing_in_it_is_refused(provider: str, secret: str) -> None:
    with pytest.raises(ValidationError, match="holds no secret"):
        Settings.model_validate({f"webhook_{provider}": secret})


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_ends_at_once_where_a_setting_is_wrong(offline: Cli, command: tuple[str, ...]) -> None:
    for name in ("allowed_hosts", "pool_size"):
        done = offline.run(*command, given=None, **{variable(name): WRONG[name]})
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.startswith(f"sales-automation-mcp: {variable(name)}: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("url", WRONG_URLS)
def test_an_address_that_is_none_of_a_postgresql_is_refused_and_not_repeated(offline: Cli, url: str) -> None:
    for command in ((), ("migrate",)):
        done = offline.run(*command, DATABASE_URL=url)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("sales-automation-mcp: DATABASE_URL: is not the URL of a PostgreSQL")
        assert "a-secret" not in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgres://sales@db.example.com",
        "postgresql:///sales?host=/run/postgresql",
        "postgresql://sales:p/#?:x@db.example.com:5432/sales?sslmode=require",
        "postgresql+psycopg://sales@[2001:db8::1]:5432/sales",
    ],
)
def test_addresses_that_can_be_used_are_taken(offline: Cli, url: str) -> None:
    assert offline.run("jobs", "list", DATABASE_URL=url).returncode == 0


@pytest.mark.parametrize(
    "host",
    [
        "https://mcp.example.com",
        "mcp.example.com/mcp",
        "*.example.com",
        "2001:db8::5",
        "m\u00fcller.example",
        "",
        " a",
        "a:b",
    ],
)
def test_a_host_that_no_request_could_name_is_refused_with_what_to_write(offline: Cli, host: str) -> None:
    done = offline.run("jobs", "list", given=None, SALES_AUTOMATION_ALLOWED_HOSTS=json.dumps(["mcp.example.com", host]))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sales-automation-mcp: SALES_AUTOMATION_ALLOWED_HOSTS: write each as a Host header")
    assert done.stderr.count("\n") == 1


def test_hosts_that_requests_can_name_are_taken(offline: Cli) -> None:
    hosts = [
        "Mcp.Example.com",
        "localhost",
        "mcp.example.com:8443",
        "my_host:*",
        "10.0.0.1",
        "[2001:DB8::5]:80",
        "a.example.",
    ]
    assert offline.run("jobs", "list", SALES_AUTOMATION_ALLOWED_HOSTS=json.dumps(hosts)).returncode == 0


def test_toolsets_that_do_not_exist_are_named_with_those_that_do(offline: Cli) -> None:
    for arguments, more in (((), {"SALES_AUTOMATION_TOOLSETS": "sales"}), (("serve", "--toolsets", "sales"), {})):
        done = offline.run(*arguments, given=None, **more)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(
            "sales-automation-mcp: --toolsets or SALES_AUTOMATION_TOOLSETS: No toolset sales."
        )
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [("jobs", "list"), ("migrate",), ("tokens", "list")], ids=" ".join)
def test_a_home_that_cannot_be_used_is_told_with_how_to_name_another(
    offline: Cli, command: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = offline.run(*command, "--home", file, DATABASE_URL="")
    assert (done.returncode, done.stdout) == (1, "")
    assert str(file) in done.stderr
    assert "--home or SALES_AUTOMATION_HOME" in done.stderr
    assert "Errno" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_option_is_named_as_it_was_given(offline: Cli) -> None:
    done = offline.run("jobs", "list", "--home", "~nobody-of-this-name/here")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sales-automation-mcp: --home: ")
