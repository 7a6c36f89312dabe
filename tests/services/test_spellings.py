"""Contacts that somebody has written in SQL, or an earlier version, in another spelling than the normal form."""

from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef, SuppressionTarget
from db.domain.ids import new_id
from db.domain.states import SuppressionReason
from db.postgres.database import Database
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.people import spellings, suppression_lists, suppressions
from db.services.people.spellings import Mended
from tests.support.campaigns import NOW, new_scene, state

IN = "https://www.linkedin.com/in/"
PUNYCODE, UMLAUT = "ann@xn--bcher-kva.example", "ann@bücher.example"
APART, COMPOSED = "jose\u0301@a.example", "josé@a.example"


def write(database: Database, email: str | None = None, linkedin_url: str | None = None) -> UUID:
    id_ = new_id()
    with database.transaction("by hand") as session:
        session.execute(
            text("INSERT INTO contacts (id, email, linkedin_url) VALUES (:id, :email, :linkedin_url)"),
            {"id": id_, "email": email, "linkedin_url": linkedin_url},
        )
    return id_


def suppress_in_sql(database: Database, reason: SuppressionReason, **address: str) -> None:
    ((column, value),) = address.items()
    with database.transaction("by hand") as session:
        session.execute(
            text(f"INSERT INTO suppressions (id, {column}, reason) VALUES (:id, :value, :reason)"),
            {"id": new_id(), "value": value, "reason": reason},
        )


def mend(database: Database, limit: int = 100) -> tuple[int, int]:
    """How many got the normal form, and how many share it with another contact."""
    start: UUID | None = UUID(int=0)
    done = [0, 0]
    while start is not None:
        mended: Mended = database.run("mend", partial(spellings.mend_some, start=start, limit=limit))
        done = [done[0] + mended.respelled, done[1] + mended.shared]
        start = mended.next
    return done[0], done[1]


def addresses(database: Database) -> dict[UUID, tuple[str | None, str | None]]:
    with database.transaction("look") as session:
        return {
            id_: (email, url)
            for id_, email, url in session.execute(text("SELECT id, email, linkedin_url FROM contacts"))
        }


def held(database: Database, *contact_ids: UUID) -> dict[UUID, SuppressionReason]:
    with database.transaction("look") as session:
        return suppressions.of_contacts(session, contact_ids=contact_ids, now=NOW)


@pytest.mark.parametrize(
    ("email", "linkedin_url", "normal"),
    [
        (PUNYCODE, None, (UMLAUT, None)),
        (APART, None, (COMPOSED, None)),
        (None, f"{IN}jos%C3%A9", (None, f"{IN}josé")),
        (None, f"{IN}jose\u0301", (None, f"{IN}josé")),
        (None, f"{IN}Jane-Doe/", (None, f"{IN}jane-doe")),
        (None, f"{IN}jane.", (None, f"{IN}jane")),
        (None, f"{IN}jane&trk=1", (None, f"{IN}jane")),
        (PUNYCODE, f"{IN}Jane", (UMLAUT, f"{IN}jane")),
    ],
)
def test_whoever_is_alone_gets_the_normal_form(
    database: Database, email: str | None, linkedin_url: str | None, normal: tuple[str | None, str | None]
) -> None:
    id_ = write(database, email, linkedin_url)
    assert mend(database) == (1, 0)
    assert addresses(database) == {id_: normal}
    had = {address.lower() for address in (email, linkedin_url) if address}
    with database.transaction("look") as session:
        besides = set(session.scalars(text("SELECT address FROM contact_addresses")))
    assert besides == had - set(normal)
    assert mend(database) == (0, 0)


@pytest.mark.parametrize(
    ("email", "linkedin_url"),
    [
        (UMLAUT, f"{IN}josé"),
        ("a.b+c@x-y.example", f"{IN}a-b_c.d"),
        (None, f"{IN}ACoAAB1x-_yZ"),
        (None, "https://www.linkedin.com/sales/lead/1"),
        ("ann@xn--\u00fc.example", None),
    ],
)
def test_what_has_no_other_normal_form_stays(database: Database, email: str | None, linkedin_url: str | None) -> None:
    id_ = write(database, email, linkedin_url)
    assert mend(database) == (0, 0)
    assert addresses(database) == {id_: (email, linkedin_url)}


def test_contacts_that_share_an_address_are_found_in_each_chunk(database: Database) -> None:
    odd = [write(database, f"n{number}@xn--bcher-kva.example") for number in range(7)]
    assert mend(database, limit=3) == (7, 0)
    assert {email for email, _ in addresses(database).values()} == {f"n{number}@bücher.example" for number in range(7)}
    assert len(odd) == 7


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("normal_is_first", [True, False])
@pytest.mark.parametrize(
    ("odd", "normal"),
    [
        ({"email": PUNYCODE}, {"email": UMLAUT}),
        ({"linkedin_url": f"{IN}jos%C3%A9"}, {"linkedin_url": f"{IN}josé"}),
    ],
)
@pytest.mark.parametrize("says_no", [0, 1])
def test_the_wish_of_one_who_shares_an_address_holds_the_other(
    database: Database,
    odd: dict[str, str],
    normal: dict[str, str],
    says_no: int,
    normal_is_first: bool,
    limit: int,
) -> None:
    one = {"email": "one@own.example", "linkedin_url": f"{IN}one", **odd}
    other = {"email": "other@own.example", "linkedin_url": f"{IN}other", **normal}
    pair = [other, one] if normal_is_first else [one, other]
    ids = [write(database, **fields) for fields in pair]
    before = addresses(database)
    assert mend(database, limit) == (0, 1)
    assert mend(database, limit) == (0, 1)
    assert addresses(database) == before
    assert held(database, *ids) == {}
    # One that no service has seen, so that nothing but the address itself tells of the wish.
    own = {column: value for column, value in pair[says_no].items() if "one" in value or "other" in value}
    suppress_in_sql(database, SuppressionReason.UNSUBSCRIBED, **own)
    assert set(held(database, *ids)) == set(ids)


def test_two_odd_spellings_of_one_address_share_it(database: Database) -> None:
    first, second = write(database, None, f"{IN}jos%C3%A9"), write(database, None, f"{IN}jose\u0301")
    assert mend(database) == (1, 1)
    assert addresses(database) == {first: (None, f"{IN}josé"), second: (None, f"{IN}jose\u0301")}
    suppress_in_sql(database, SuppressionReason.COMPLAINED, linkedin_url=f"{IN}josé")
    assert set(held(database, first, second)) == {first, second}


def test_a_wish_from_before_holds_each_address_of_both(database: Database) -> None:
    one, other = write(database, PUNYCODE, f"{IN}one"), write(database, UMLAUT, f"{IN}other")
    suppress_in_sql(database, SuppressionReason.UNSUBSCRIBED, linkedin_url=f"{IN}one")
    mend(database)
    assert set(held(database, one, other)) == {one, other}
    later = write(database, "later@own.example", None)
    with database.transaction("look") as session:
        known = set(session.scalars(text("SELECT coalesce(email, linkedin_url) FROM suppressions")))
    assert known == {PUNYCODE, UMLAUT, f"{IN}one", f"{IN}other"}
    assert held(database, later) == {}


@pytest.mark.parametrize("reason", list(SuppressionReason))
@pytest.mark.parametrize(
    ("contact", "suppressed"),
    [
        ({"email": PUNYCODE}, {"email": PUNYCODE}),
        ({"email": PUNYCODE}, {"domain": "xn--bcher-kva.example"}),
        ({"linkedin_url": f"{IN}jos%C3%A9"}, {"linkedin_url": f"{IN}JOS%c3%a9"}),
    ],
)
def test_whoever_was_suppressed_in_the_old_spelling_stays_so(
    database: Database, reason: SuppressionReason, contact: dict[str, str], suppressed: dict[str, str]
) -> None:
    id_ = write(database, **contact)
    suppress_in_sql(database, reason, **suppressed)
    assert held(database, id_) == {id_: reason}
    assert mend(database) == (1, 0)
    assert held(database, id_) == {id_: reason}
    assert mend(database) == (0, 0)


def test_a_suppression_of_the_normal_form_holds_whoever_gets_it(database: Database) -> None:
    id_ = write(database, PUNYCODE, f"{IN}ann")
    suppress_in_sql(database, SuppressionReason.UNSUBSCRIBED, email=UMLAUT)
    assert held(database, id_) == {}
    mend(database)
    assert held(database, id_) == {id_: SuppressionReason.UNSUBSCRIBED}


@pytest.mark.parametrize("by", [0, 1])
def test_an_erasure_of_one_who_shares_an_address_holds_and_erases_the_other(database: Database, by: int) -> None:
    ids = write(database, PUNYCODE, f"{IN}one"), write(database, UMLAUT, f"{IN}other")
    mend(database)
    database.run("erase", partial(erasure.erase, contact_id=ids[by], now=NOW))
    assert set(held(database, *ids)) == set(ids)
    mend(database)
    database.run("erase", partial(erasure.erase, target=SuppressionTarget(email=UMLAUT), now=NOW))
    assert addresses(database) == dict.fromkeys(ids, (None, None))


def test_the_turns_reach_everybody(database: Database) -> None:
    # Those of one millisecond come in any order.
    ids = sorted(write(database, f"n{number}@a.example") for number in range(10))
    starts = [
        database.run("turn", partial(spellings.start_of, turn=turn, limit=4), read_only=True) for turn in range(4)
    ]
    assert starts == [ids[0], ids[4], ids[8], ids[0]]


def test_nobody_has_no_turn(database: Database) -> None:
    assert database.run("turn", partial(spellings.start_of, turn=3, limit=4), read_only=True) is None


@pytest.fixture(params=["email", "linkedin_url"])
def shared(request: pytest.FixtureRequest, database: Database) -> tuple[UUID, UUID, dict[str, str], dict[str, str]]:
    """Two contacts with one address in two spellings: both, and the address of each."""
    odd, normal = {
        "email": ({"email": PUNYCODE}, {"email": UMLAUT}),
        "linkedin_url": ({"linkedin_url": f"{IN}jos%C3%A9"}, {"linkedin_url": f"{IN}josé"}),
    }[request.param]
    one = write(database, **{"email": "one@own.example", "linkedin_url": f"{IN}one", **odd})
    other = write(database, **{"email": "other@own.example", "linkedin_url": f"{IN}other", **normal})
    mend(database)
    return one, other, odd, normal


MANUAL, BOUNCED = SuppressionReason.MANUAL, SuppressionReason.BOUNCED


@pytest.mark.parametrize("index", [2, 3])
@pytest.mark.parametrize("reason", [MANUAL, BOUNCED])
def test_what_holds_one_spelling_of_an_address_holds_both_who_have_it(
    database: Database,
    shared: tuple[UUID, UUID, dict[str, str], dict[str, str]],
    reason: SuppressionReason,
    index: int,
) -> None:
    one, other, *spelled = shared
    suppress_in_sql(database, reason, **spelled[index - 2])
    assert held(database, one, other) == {one: reason, other: reason}
    lift = partial(suppressions.unsuppress, target=SuppressionTarget(**spelled[1]), has_new_consent=False)
    database.run("lift", lift)
    assert held(database, one, other) == {}


def test_the_other_addresses_of_two_who_share_one_hold_themselves_alone(
    database: Database, shared: tuple[UUID, UUID, dict[str, str], dict[str, str]]
) -> None:
    one, other, odd, _ = shared
    own = {"email": "one@own.example"} if "linkedin_url" in odd else {"linkedin_url": f"{IN}one"}
    suppress_in_sql(database, MANUAL, **own)
    assert held(database, one, other) == {one: MANUAL}


def test_who_has_another_address_since_is_held_no_more_by_the_one_that_was_shared(
    database: Database, shared: tuple[UUID, UUID, dict[str, str], dict[str, str]]
) -> None:
    one, other, _, normal = shared
    with database.transaction("by hand") as session:
        statement = "UPDATE contacts SET email = 'new@own.example', linkedin_url = :url WHERE id = :id"
        session.execute(text(statement), {"url": f"{IN}new", "id": one})
    suppress_in_sql(database, MANUAL, **normal)
    assert held(database, one, other) == {other: MANUAL}


@pytest.mark.parametrize("at_once", [False, True])
def test_what_runs_of_both_who_share_an_address_is_stopped_by_hand(
    database: Database, shared: tuple[UUID, UUID, dict[str, str], dict[str, str]], at_once: bool
) -> None:
    one, other, _, normal = shared
    scene = new_scene(database, 0)
    people = {0: ContactRef(one, ContactFields()), 1: ContactRef(other, ContactFields())}
    work = partial(enrollments.enroll, campaign_id=scene.campaign_id, people=people, start_at=None, now=NOW)
    made = [answer.enrollment_id for answer in database.run("enroll", work).values()]
    if at_once:
        given = {SuppressionTarget(**normal): MANUAL}
        database.run("suppress", partial(suppression_lists.suppress_all, reasons=given, source="me"))
    else:
        database.run("suppress", partial(suppressions.suppress, **normal, reason=MANUAL, source="me"))
    assert [state(database, id_)["stop_reason"] for id_ in made if id_] == ["suppressed", "suppressed"]


@pytest.mark.parametrize("by_id", [False, True])
def test_who_shares_an_address_with_somebody_erased_is_erased_too(
    database: Database, shared: tuple[UUID, UUID, dict[str, str], dict[str, str]], by_id: bool
) -> None:
    """One mailbox, or one profile, is one person."""
    one, _, _, normal = shared
    asked = (
        partial(erasure.erase, contact_id=one) if by_id else partial(erasure.erase, target=SuppressionTarget(**normal))
    )
    done = database.run("erase", partial(asked, now=NOW))
    assert {f"{IN}one", f"{IN}other"} & done.addresses or {"one@own.example", "other@own.example"} <= done.addresses
    assert set(addresses(database).values()) == {(None, None)}
    again = database.run("erase", partial(asked, now=NOW))
    assert again.was_erased_before
