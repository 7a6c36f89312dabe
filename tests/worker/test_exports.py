"""What programs export is read as it is."""

import pytest

from mcp_server.jobs.import_rows import targets_of
from mcp_server.jobs.people_files import read_table
from tests.support.people_files import people, person

ADA = {
    "email": "ada@example.com",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "company": "Example Ltd",
    "title": "CTO",
}
PROFILE = "https://www.linkedin.com/in/ada-l"
EXPORTS: dict[str, tuple[str, str]] = {
    "LinkedIn": (
        "First Name,Last Name,URL,Email Address,Company,Position,Connected On",
        f"Ada,Lovelace,{PROFILE},ada@example.com,Example Ltd,CTO,02 Nov 2026",
    ),
    "Sales Navigator by a tool": (
        "Full name,First name,Last name,Title,Company,Linkedin Company Url,Linkedin Url Unique,Email",
        f"Ada Lovelace,Ada,Lovelace,CTO,Example Ltd,linkedin.com/company/example,{PROFILE},ada@example.com",
    ),
    "HubSpot": (
        "ID,First Name,Last Name,Email,Job Title,Company Name,Time Zone,LinkedIn URL,Unsubscribed from all email",
        f"51,Ada,Lovelace,ada@example.com,CTO,Example Ltd,america_slash_new_york,{PROFILE},false",
    ),
    "HubSpot, by internal names": (
        "hs_object_id,firstname,lastname,email,jobtitle,company,hs_timezone,hs_linkedin_url",
        f"51,Ada,Lovelace,ada@example.com,CTO,Example Ltd,america_slash_new_york,{PROFILE}",
    ),
    "Apollo": (
        (
            "First Name,Last Name,Title,Company,Company Name for Emails,Email,Email Status,Person Linkedin Url,Website,"
            "Company Linkedin Url,Secondary Email,Stage"
        ),
        (
            f"Ada,Lovelace,CTO,Example Ltd,Example,ada@example.com,Verified,{PROFILE},https://example.com,"
            "https://www.linkedin.com/company/example,,Cold"
        ),
    ),
    "Salesforce": (
        "Salutation,First Name,Last Name,Title,Account Name,Mailing City,Email,Email Opt Out,Contact Owner",
        "Dr.,Ada,Lovelace,CTO,Example Ltd,London,ada@example.com,0,Bob Roe",
    ),
    "Salesforce, by the names of fields": (
        "Id,FirstName,LastName,Title,Company,Email,HasOptedOutOfEmail,TimeZoneSidKey",
        "003,Ada,Lovelace,CTO,Example Ltd,ada@example.com,false,America/New_York",
    ),
    "Pipedrive": (
        (
            "Person - Name,Person - First name,Person - Last name,Person - Organization,Person - Email - Work,"
            "Person - Email - Home,Person - Job title,Person - Marketing status"
        ),
        "Ada Lovelace,Ada,Lovelace,Example Ltd,ada@example.com,,CTO,No consent",
    ),
    "Outlook": (
        "Title,First Name,Middle Name,Last Name,Company,Job Title,E-mail Address,E-mail Type,E-mail 2 Address,Web Page",
        "Dr.,Ada,,Lovelace,Example Ltd,CTO,ada@example.com,SMTP,,",
    ),
    "Outlook, in German": (
        "Anrede;Vorname;Nachname;Firma;Position;E-Mail-Adresse;E-Mail-Typ",
        "Frau;Ada;Lovelace;Example Ltd;CTO;ada@example.com;SMTP",
    ),
    "Outlook, in French": (
        "Titre,Prénom,Nom,Société,Fonction,Adresse de messagerie",
        "Mme,Ada,Lovelace,Example Ltd,CTO,ada@example.com",
    ),
    "Outlook, in Spanish": (
        "Nombre,Segundo nombre,Apellidos,Organización,Cargo,Dirección de correo electrónico",
        "Ada,,Lovelace,Example Ltd,CTO,ada@example.com",
    ),
    "Google Contacts": (
        "First Name,Last Name,Organization Name,Organization Title,Labels,E-mail 1 - Label,E-mail 1 - Value",
        "Ada,Lovelace,Example Ltd,CTO,* myContacts,* Work,ada@example.com ::: ada.l@example.com",
    ),
    "Google Contacts, of before": (
        (
            "Name,Given Name,Additional Name,Family Name,Group Membership,E-mail 1 - Type,E-mail 1 - Value,"
            "Organization 1 - Name,Organization 1 - Title"
        ),
        "Ada Lovelace,Ada,,Lovelace,* myContacts,* Work,ada@example.com,Example Ltd,CTO",
    ),
    "Mailchimp": ("Email Address,FNAME,LNAME,Company,Job Title", "ada@example.com,Ada,Lovelace,Example Ltd,CTO"),
    "a sheet by hand": (
        "\ufeffFULL\u00a0NAME\tE\u2011Mail \tJOB-TITLE\tOrganisation",
        "Dr. Ada Lovelace\tada@example.com\tCTO\tExample Ltd",
    ),
}


@pytest.mark.parametrize("program", EXPORTS)
def test_the_export_of_a_program_is_read_as_it_is(program: str) -> None:
    heading, row = EXPORTS[program]
    table = read_table(f"{heading}\r\n{row}\r\n")
    (found,) = people(table)
    expected = {**ADA}
    expected |= {"linkedin_url": PROFILE} if PROFILE in row else {}
    expected |= {"timezone": "America/New_York"} if "new_york" in row.casefold() else {}
    assert {name: value for name, value in found.items() if name != "attributes"} == expected
    assert table.records[0].opt_out is None


def test_an_address_that_is_empty_is_stood_in_for_by_the_next_column() -> None:
    rows = ",home@example.com,A B\nwork@example.com,home2@example.com,C D\n"
    table = read_table(f"Person - Email - Work,Person - Email - Home,Name\n{rows}")
    assert [found["email"] for found in people(table)] == ["home@example.com", "work@example.com"]
    assert people(table)[1]["attributes"] == {"Person - Email - Home": "home2@example.com"}


@pytest.mark.parametrize(
    ("full", "first", "last", "is_kept"),
    [
        ("Ada Lovelace", "Ada", "Lovelace", False),
        ("Lovelace, Ada", "Ada", "Lovelace", True),
        ("Prof. Dr. Ada Lovelace", "Ada", "Lovelace", True),
        ("Ludwig van Beethoven", "Ludwig", "van Beethoven", False),
        ("Madonna", "Madonna", None, False),
        ("John Q. Public, PhD", "John", "Public", True),
    ],
)
def test_a_full_name_is_split_and_kept_where_that_loses_something(
    full: str, first: str, last: str | None, is_kept: bool
) -> None:
    found = person(f'email,Full Name\na@example.com,"{full}"\n')
    assert (found["first_name"], found.get("last_name")) == (first, last)
    assert found.get("attributes", {}) == ({"Full Name": full} if is_kept else {})


LISTS: dict[str, tuple[str, list[tuple[str, str | None]]]] = {
    "a list without headings": (
        "a@example.com\n@b.example\nc.example\nhttps://www.linkedin.com/in/dee\n",
        [("a@example.com", None), ("b.example", None), ("c.example", None), ("https://www.linkedin.com/in/dee", None)],
    ),
    "a list of domains": ("b.example\nc.example\n", [("b.example", None), ("c.example", None)]),
    "SendGrid": ("email,created\na@example.com,1790000000\n", [("a@example.com", None)]),
    "Postmark": (
        "EmailAddress,SuppressionReason\na@example.com,HardBounce\nb@example.com,SpamComplaint\nc@example.com,",
        [("a@example.com", "bounced"), ("b@example.com", "complained"), ("c@example.com", None)],
    ),
    "Mailgun": ("address,tags,created_at\na@example.com,*,x\n", [("a@example.com", None)]),
    "Mailchimp, cleaned": ("Email Address,CLEAN_TIME\na@example.com,2026-01-02\n", [("a@example.com", "bounced")]),
    "domains with a reason": ("Domain,Reason\nb.example,Customer\n", [("b.example", None)]),
}


@pytest.mark.parametrize("source", LISTS)
def test_a_list_of_suppressions_is_read_as_it_is(source: str) -> None:
    text, expected = LISTS[source]
    records = read_table(text, is_list_of_suppressions=True).records
    found = [
        (target.value, record.opt_out and str(record.opt_out.reason))
        for record in records
        for target in targets_of(record)
    ]
    assert found == expected
    assert [record.reason for record in records] == [None] * len(records)
