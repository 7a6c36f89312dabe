"""`mailboxes` as people run it, against real servers."""

import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.support.command_line import Cli
from tests.support.dns import dns_server
from tests.support.mail_servers import imap_server, oauth_server, smtp_server

ANN = "ann@example.com"
KINDS = ("authorize", "token", "device")


@pytest.fixture
def key(cli: Cli, tmp_path: Path) -> Path:
    """The file of the key, of a command line that may use servers on loopback."""
    cli.env["SALES_AUTOMATION_ALLOW_PRIVATE_HOSTS"] = "1"
    cli.env["SALES_AUTOMATION_MAILBOX_KEY_FILE"] = str(tmp_path / "mailbox.key")
    return tmp_path / "mailbox.key"


def servers(smtp_port: int, imap_port: int) -> list[str]:
    smtp = ["--smtp-host", "127.0.0.1", "--smtp-port", str(smtp_port), "--smtp-security", "none"]
    return [*smtp, "--imap-host", "127.0.0.1", "--imap-port", str(imap_port), "--imap-security", "none"]


def test_a_mailbox_is_added_listed_checked_rekeyed_and_removed(cli: Cli, key: Path) -> None:
    with smtp_server({ANN: "secret"}) as smtp, imap_server(ANN, "secret") as imap, dns_server() as resolver:
        resolver.mail_hosts["example.com"] = ["mx.example.com"]
        asking = {"SALES_AUTOMATION_DNS_SERVER": f"127.0.0.1:{resolver.port}"}
        added = cli.run("mailboxes", "add", "Ann@Example.com", *servers(smtp.port, imap.port), given=b"secret\n")
        assert added.returncode == 0, added.stderr
        assert f"The credentials of {ANN} are kept, encrypted." in added.stdout
        assert "ok      smtp_login" in added.stdout
        assert "ok      imap_login" in added.stdout
        listed = json.loads(cli.run("mailboxes", "list", "--json").stdout)
        assert [(row["address"], row["credentials"]) for row in listed["mailboxes"]] == [(ANN, "given")]
        before = key.read_bytes()
        rekeyed = cli.run("mailboxes", "rekey")
        assert rekeyed.stdout == "The credentials of 1 mailboxes are encrypted with a new key.\n"
        assert key.read_bytes() != before
        assert len(key.read_bytes().split()) == 2
        checked = cli.run("mailboxes", "check", ANN, "--json", given=None, **asking)
        assert [check["status"] for check in json.loads(checked.stdout)["checks"][:4]] == ["ok", "ok", "warning", "ok"]
        smtp.passwords[ANN] = "changed"
        failed = cli.run("mailboxes", "check", ANN, given=None, **asking)
        assert failed.returncode == 1
        assert "refuses the credentials" in failed.stdout
        again = cli.run("mailboxes", "add", ANN, "--own-smtp-password", given=b"secret\nchanged\n")
        assert again.returncode == 0, again.stdout
    gone = cli.run("mailboxes", "remove", ANN)
    assert gone.stdout == f"{ANN} is removed, with its credentials.\n"
    assert cli.run("mailboxes", "list").stdout == "No mailboxes. `mailboxes add` connects one.\n"


@pytest.mark.parametrize(
    ("arguments", "given", "told"),
    [
        (["add", "nobody"], b"x\n", "is not an email address"),
        (["add", ANN], b"x\n", "name its servers with --preset, or --smtp-host and --imap-host"),
        (["add", ANN, "--preset", "aol"], b"x\n", "There is no preset aol. Choose one of google"),
        (["add", ANN, "--smtp-host", "10.0.0.8"], b"x\n", "is a private address"),
        (["add", ANN, "--preset", "fastmail"], b"", "No password was given"),
        (["add", ANN, "--smtp-host", "smtp://x"], b"x\n", "--smtp-host: must be a host name"),
        (["add", ANN, "--smtp-host", "localhost", "--smtp-port", "0"], b"x\n", "--smtp-port: "),
        (["add", ANN, "--preset", "fastmail", "--imap-username", "a\nb"], b"x\n", "name the host as well"),
        (["add", ANN, "--imap-host", "localhost", "--imap-username", "a\nb"], b"x\n", "--imap-username: "),
        (["check", ANN], b"", "mailboxes list on the command line"),
        (["login", ANN, "--provider", "google"], b"", "SALES_AUTOMATION_OAUTH_GOOGLE_CLIENT_ID"),
        (["login", ANN, "--provider", "yahoo"], b"", "No OAuth provider yahoo"),
        (["login", ANN, "--provider", "google", "--device"], b"", "Leave --device out"),
    ],
)
def test_what_a_command_lacks_is_told(cli: Cli, tmp_path: Path, arguments: list[str], given: bytes, told: str) -> None:
    key = str(tmp_path / "mailbox.key")
    done = cli.run("mailboxes", *arguments, given=given, SALES_AUTOMATION_MAILBOX_KEY_FILE=key)
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert cli.run("mailboxes", "list").stdout.startswith("No mailboxes")


def test_a_key_that_does_not_fit_leaves_the_file_as_it_is(cli: Cli, key: Path) -> None:
    with smtp_server({ANN: "secret"}) as smtp:
        added = cli.run("mailboxes", "add", ANN, *servers(smtp.port, 1)[:6], given=b"secret\n")
        assert added.returncode == 0, added.stderr
    key.write_bytes(Fernet.generate_key())
    before = key.read_bytes()
    refused = cli.run("mailboxes", "rekey")
    assert (refused.returncode, "Nothing was changed" in refused.stderr) == (1, True)
    assert key.read_bytes().strip() == before


def test_a_password_that_is_not_given_changes_no_servers(cli: Cli, key: Path) -> None:
    with smtp_server({ANN: "secret"}) as smtp, imap_server(ANN, "secret") as imap:
        assert cli.run("mailboxes", "add", ANN, *servers(smtp.port, imap.port), given=b"secret\n").returncode == 0
        before = cli.run("mailboxes", "list").stdout
        refused = cli.run("mailboxes", "add", ANN, "--smtp-host", "localhost", given=b"\n")
        assert (refused.returncode, "No password was given" in refused.stderr) == (2, True)
        assert cli.run("mailboxes", "list").stdout == before
        assert "given" in before


def test_a_sign_in_that_nobody_ends_leaves_no_mailbox(cli: Cli, key: Path) -> None:
    with oauth_server() as provider:
        provider.is_revoked = True
        variables = {f"SALES_AUTOMATION_OAUTH_MICROSOFT_{kind.upper()}_URL": f"{provider.url}/{kind}" for kind in KINDS}
        variables["SALES_AUTOMATION_OAUTH_MICROSOFT_CLIENT_ID"] = "app"
        refused = cli.run("mailboxes", "login", ANN, "--provider", "microsoft", "--device", given=b"", **variables)
        assert (refused.returncode, "Nobody agreed" in refused.stderr) == (1, True)
    assert cli.run("mailboxes", "list").stdout.startswith("No mailboxes")
