"""Columns that say that a person must not be written to."""

import pytest

from db.domain.errors import InvalidInput
from mcp_server.jobs.people_files import read_table
from tests.support.people_files import faults


@pytest.mark.parametrize(
    ("heading", "cell", "reason"),
    [
        ("status", "unsubscribed", "unsubscribed"),
        ("Status", "Do Not Contact", "manual"),
        ("Stage", "Do Not Contact", "manual"),
        ("Lead Status", "Bounced", "bounced"),
        ("Unsubscribed", "TRUE", "unsubscribed"),
        ("Unsubscribed", "2026-01-02", "unsubscribed"),
        ("Unsubscribed from all email", "true", "unsubscribed"),
        ("Opted out of email: Marketing Information", "Yes", "unsubscribed"),
        ("Email Opt Out", "1", "unsubscribed"),
        ("HasOptedOutOfEmail", "true", "unsubscribed"),
        ("UNSUB_TIME", "2026-01-02 03:04:05", "unsubscribed"),
        ("Do Not Contact", "x", "manual"),
        ("DNC", "✓", "manual"),
        ("Do not allow Bulk Emails", "Do Not Allow", "manual"),
        ("Email Bounced", "TRUE", "bounced"),
        ("Email hard bounce reason", "550 5.1.1 no such user " * 20, "bounced"),
        ("Email Status", "Invalid", "bounced"),
        ("Email Status", "Unsubscribed by user", "unsubscribed"),
        ("Status", "Opted out on 2026-01-02", "unsubscribed"),
        ("Email Status", "Complained via ISP", "complained"),
        ("No Mailing", "1", "manual"),
        ("No Marketing", "true", "manual"),
        ("Keine Mailings", "ja", "manual"),
        ("Spam complaint", "1", "complained"),
        ("Labels", "vip, unsubscribed", "unsubscribed"),
        ("Abgemeldet", "ja", "unsubscribed"),
        ("Unsubscribed", "false", None),
        ("Email Status", "not unsubscribed", None),
        ("Lead source", "Unsubscribed by user", None),
        ("No Mailing", "0", None),
        ("Unsubscribed", "", None),
        ("Email Bounced", "No", None),
        ("Bounced", "soft", None),
        ("Bounce rate", "0.3", None),
        ("Unsubscribe link", "https://example.com/u", None),
        ("Do Not Call", "1", None),
        ("status", "subscribed", None),
        ("Type of case", "Complaint", None),
        ("Contact reason", "Complaint", None),
        ("Status", "Invalid", None),
        ("Status", "cleaned", "bounced"),
        ("Marketing status", "No consent", None),
    ],
)
def test_a_column_that_says_not_to_write_is_understood(heading: str, cell: str, reason: str | None) -> None:
    (record,) = read_table(f'email,{heading}\na@example.com,"{cell}"\n').records
    assert record.person is not None
    assert (record.opt_out and str(record.opt_out.reason)) == reason


@pytest.mark.parametrize(
    ("heading", "cell"), [("Subscribed", "no"), ("Unsubscribed lists", "News"), ("Opt-in", "false")]
)
def test_a_cell_that_may_say_not_to_write_is_asked_about(heading: str, cell: str) -> None:
    text = f"email,{heading}\na@example.com,{cell}\n"
    (reason,) = faults(read_table(text)).values()
    assert f'suppress_where "{heading}={cell}"' in reason
    (record,) = read_table(text, suppress_where=[f"{heading}={cell}"]).records
    assert record.opt_out is not None
    (record,) = read_table(text, ignored_opt_outs=[heading]).records
    assert (record.opt_out, record.reason) == (None, None)


def test_a_caller_says_which_cells_mean_not_to_write() -> None:
    table = read_table("email,Phase\na@example.com,gone\nb@example.com,here\n", suppress_where=["phase=Gone"])
    assert [record.opt_out is not None for record in table.records] == [True, False]
    assert table.report()["opt_outs"] == {"Phase": 1}
    with pytest.raises(InvalidInput, match="no column is called Fase"):
        read_table("email\n", suppress_where=["Fase=gone"])


def test_an_opt_out_names_the_other_addresses_of_the_row() -> None:
    (record,) = read_table('Email,Email 2,unsubscribed\n"a@example.com, b@example.com",c@example.com,1\n').records
    assert record.besides == ("b@example.com", "c@example.com")
