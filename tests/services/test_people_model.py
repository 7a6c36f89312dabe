"""Random lives of a few people, against a small model of what a careful person would expect of whom may be written to.

The model knows people as sets of addresses. A wish stands at an address; whoever has or had an address with a wish is
not written to, and every address that joins the person, or leaves them, takes the wish along.
"""

from dataclasses import dataclass, field
from functools import partial
from itertools import count
from uuid import UUID

from hypothesis import HealthCheck, given, settings, strategies as st

from db.domain.contacts import ContactFields, ContactRef, SuppressionTarget
from db.domain.errors import NotFound, Refused
from db.domain.events import EventType
from db.domain.states import SuppressionReason
from db.postgres.database import Database
from db.services.dispatch import claims
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.people import contacts, suppressions
from tests.support.campaigns import NOW, event, new_scene, record

EMAILS = ["a", "b", "c"]
PROFILES = ["P", "Q", "R"]
_lives = count()


@dataclass
class Person:
    id: UUID
    email: str | None
    profile: str | None
    besides: set[str] = field(default_factory=set[str])

    @property
    def present(self) -> set[str]:
        return {address for address in (self.email, self.profile) if address}

    @property
    def addresses(self) -> set[str]:
        return self.present | self.besides


@dataclass
class Model:
    people: list[Person] = field(default_factory=list[Person])
    wishes: set[str] = field(default_factory=set[str])
    erased: set[str] = field(default_factory=set[str])

    def is_held(self, person: Person) -> bool:
        return bool(person.addresses & (self.wishes | self.erased))

    def owners(self, email: str | None, profile: str | None) -> list[Person]:
        return [person for person in self.people if person.present & {email, profile}]

    def take(self, person: Person, email: str | None, profile: str | None, *, overwrite: bool) -> None:
        """What a row says of somebody who is known."""
        before, present = person.addresses, person.present
        if overwrite:
            person.email, person.profile = email or person.email, profile or person.profile
        else:
            person.email, person.profile = person.email or email, person.profile or profile
        person.besides |= (present | {address for address in (email, profile) if address}) - person.present
        joined = person.present - present or person.addresses - before
        if joined and self.is_held(person):
            self.wishes |= person.addresses - self.erased

    def holders(self, address: str) -> list[Person]:
        return [person for person in self.people if address in person.addresses]

    def erase(self, address: str) -> bool:
        """Whether anything was known of them."""
        has = [person for person in self.people if address in person.present]
        had = sorted(self.holders(address), key=lambda each: each.id)
        person = has[0] if has else had[-1] if had else None
        gone = person.addresses | {address} if person else {address}
        known = person is not None or bool(gone & (self.wishes | self.erased))
        if known:
            self.wishes -= gone
            self.erased |= gone
            self.people = [other for other in self.people if other is not person]
            for other in self.people:
                if other.besides & gone:
                    other.besides -= gone
                    self.wishes |= other.addresses - self.erased
        return known


class Life:
    """The same in the database. Addresses are of this life alone."""

    def __init__(self, database: Database, life: int) -> None:
        self.database = database
        self.model = Model()
        self.enrolled: dict[UUID, list[UUID]] = {}
        self._life = life

    def real(self, address: str | None) -> str | None:
        if address is None:
            return None
        name = f"{address.lower()}{self._life}"
        return f"https://www.linkedin.com/in/{name}" if address.isupper() else f"{name}@life.example"

    def target(self, address: str) -> dict[str, str]:
        return {"linkedin_url" if address.isupper() else "email": self.real(address) or ""}

    def upsert(self, email: str | None, profile: str | None) -> None:
        fields = ContactFields(self.real(email), self.real(profile))
        found = self.database.run("u", partial(contacts.find_or_create, people={0: fields}, overwrite=True))[0]
        self._learn(found.contact_id, email, profile, overwrite=True)

    def enroll(self, email: str | None, profile: str | None) -> None:
        campaign = new_scene(self.database, 0).campaign_id
        people = {0: ContactRef(None, ContactFields(self.real(email), self.real(profile)))}
        work = partial(enrollments.enroll, campaign_id=campaign, people=people, start_at=None, now=NOW)
        answer = self.database.run("e", work)[0]
        person = self._learn(answer.contact_id, email, profile, overwrite=False)
        if person is None:
            assert str(answer.verdict) == "invalid"
            return
        assert str(answer.verdict) == ("suppressed" if self.model.is_held(person) else "enrolled")
        if answer.enrollment_id is not None:
            self.enrolled.setdefault(person.id, []).append(answer.enrollment_id)

    def _learn(self, id_: UUID | None, email: str | None, profile: str | None, *, overwrite: bool) -> Person | None:
        owners = self.model.owners(email, profile)
        if len(owners) > 1:
            assert id_ is None
            return None
        assert id_ is not None
        if owners:
            assert owners[0].id == id_
            self.model.take(owners[0], email, profile, overwrite=overwrite)
            return owners[0]
        self.model.people.append(Person(id_, email, profile))
        return self.model.people[-1]

    def suppress(self, address: str) -> None:
        reason = SuppressionReason.UNSUBSCRIBED
        self.database.run("s", partial(suppressions.suppress, **self.target(address), reason=reason, source=None))
        if address not in self.model.erased:
            self.model.wishes.add(address)
        for person in self.model.holders(address):
            self.model.wishes |= person.besides - person.present - self.model.erased

    def unsubscribe(self, which: int) -> None:
        known = [person for person in self.model.people if person.id in self.enrolled]
        if known:
            person = known[which % len(known)]
            record(self.database, event(EventType.UNSUBSCRIBED, self.enrolled[person.id][0], hours=1))
            self.model.wishes |= person.addresses - self.model.erased

    def lift(self, address: str) -> None:
        target = SuppressionTarget(**self.target(address))
        work = partial(suppressions.unsuppress, target=target, has_new_consent=True, now=NOW)
        try:
            self.database.run("l", work)
        except Refused:
            assert address in self.model.erased
        except NotFound:
            assert address not in self.model.wishes
        else:
            self.model.wishes.remove(address)

    def erase(self, address: str) -> None:
        work = partial(erasure.erase, target=SuppressionTarget(**self.target(address)), now=NOW)
        try:
            self.database.run("x", work)
        except NotFound:
            assert not self.model.erase(address)
        else:
            assert self.model.erase(address)

    def check(self) -> None:
        ids = [person.id for person in self.model.people]
        with self.database.transaction("look") as session:
            held = suppressions.of_contacts(session, contact_ids=ids, now=NOW)
        assert set(held) == {person.id for person in self.model.people if self.model.is_held(person)}

    def end(self) -> None:
        """Whatever is due by now, nobody who is held gets it."""
        work = partial(claims.claim, campaign_id=None, channel=None, limit=500, lease_seconds=60, now=NOW)
        free = {person.id for person in self.model.people if not self.model.is_held(person)}
        assert {due.contact.id for due in self.database.run("claim", work).actions} <= free


_email, _profile = st.sampled_from(EMAILS), st.sampled_from(PROFILES)
_address = st.one_of(_email, _profile)
_row = st.tuples(st.none() | _email, st.none() | _profile).filter(any)
_deed = st.one_of(
    st.tuples(st.just("upsert"), _row),
    st.tuples(st.just("enroll"), _row),
    st.tuples(st.sampled_from(["suppress", "erase", "lift"]), st.tuples(_address)),
    st.tuples(st.just("unsubscribe"), st.tuples(st.integers(0, 3))),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deeds=st.lists(_deed, min_size=4, max_size=12))
def test_nobody_is_written_to_who_asked_not_to_be(
    database: Database, deeds: list[tuple[str, tuple[object, ...]]]
) -> None:
    life = Life(database, next(_lives))
    for name, arguments in deeds:
        getattr(life, name)(*arguments)
        life.check()
    life.end()
