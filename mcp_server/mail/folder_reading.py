"""Reads the folders of one mailbox over an open connection: new mails first, then older ones in batches.

The bytes of mails are committed together with how far their folder is read, and judged afterwards. So a process that is
killed at any moment loses no mail, and the next one reads none twice.
"""

import imaplib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

from db.domain.errors import MailboxUnusable
from db.services.mail import incoming, matching, reading, recording
from db.services.mail.incoming import FetchedMail, LeftMail
from db.services.mail.reading import FolderPosition, UnrelatedPlace
from db.services.outgoing import signs
from mcp_server.mail import fetching, folders, sent_mail
from mcp_server.mail.connections import Imap
from mcp_server.mail.fetch_failures import FAILURES, Content, Fetch, FetchFailures, Place, is_refusal
from mcp_server.mail.fetching import Body, Header
from mcp_server.mail.folders import Folder
from mcp_server.mail.lease_keeper import Lease
from mcp_server.mail.unknown_mails import UnknownMails
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session

_RECORDED_AT_ONCE: Final = 100
_LEFT_AT_ONCE: Final = 20
_DAY: Final = timedelta(days=1)
"""A server searches by days of its own time zone."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

logger = logging.getLogger(__name__)


class FolderReading:
    """The folders of a mailbox and how far each is read. What is written is written under the lease."""

    def __init__(
        self, app: App, client: Imap, mailbox_id: UUID, lease: Lease, unknown: UnknownMails, failures: FetchFailures
    ) -> None:
        self._app = app
        self._client = client
        self._mailbox_id = mailbox_id
        self._lease = lease
        self._positions: dict[str, FolderPosition] = {}
        self._older: dict[str, list[int]] = {}
        """Name of a folder -> the UIDs of older mails that are still to be read, oldest first."""
        self._since: datetime | None = None
        self._is_pending = True  # the process before may have left some
        self._unknown = unknown
        self._failures = failures
        self._looked_for: set[str] = set()
        self.folders: list[Folder] = []
        self.selected: str | None = None

    @property
    def inbox(self) -> Folder:
        """The folder where mail arrives."""
        return self.folders[0]

    def look_for_folders(self) -> None:
        """Asks the server for its folders, and forgets those that are gone. Looks how far back mails matter."""
        self.folders = folders.to_read([(flags, name) for flags, _, name in self._client.list_folders()])
        now = self._app.clock()
        since = now - timedelta(days=self._app.settings.read_back_days)

        def work(session: "Session") -> "tuple[dict[str, FolderPosition], datetime | None]":
            self._lease.hold(session)
            names = [folder.name for folder in self.folders]
            reading.forget_others(session, mailbox_id=self._mailbox_id, names=names)
            oldest = matching.oldest_sent(session, mailbox_id=self._mailbox_id, since=since)
            return dict(reading.positions(session, mailbox_id=self._mailbox_id)), oldest

        self._positions, self._since = self._app.run("look for folders", work)
        self._older = {name: uids for name, uids in self._older.items() if name in self._positions}

    def read_new(self, folder: Folder) -> None:
        """Reads the mails that came into a folder since it was read last."""
        next_uid = self._open(folder)
        if next_uid is None:
            return
        position = self._positions[folder.name]
        if next_uid > position.last_uid + 1:
            newer = self._client.search(["UID", f"{position.last_uid + 1}:*"])
            # The server names the last mail even if it is not newer.
            uids = sorted(uid for uid in newer if uid > position.last_uid)
            batches = [
                uids[start : start + fetching.HEADERS_MOST] for start in range(0, len(uids), fetching.HEADERS_MOST)
            ]
            for batch, next_ in zip(batches, [*batches[1:], []], strict=True):
                self._read(folder.name, batch, next_=next_)
            position = self._positions[folder.name]
            self._positions[folder.name] = position._replace(last_uid=max(position.last_uid, next_uid - 1))
        self._save(folder.name, is_read_now=True)
        self._record()

    def read_older(self) -> bool:
        """Reads a batch of older mails of the first folder that has some. Returns False if all are read."""
        for folder in self.folders:
            position = self._positions.get(folder.name)
            if position is None or self._since is None or self._since >= position.joined_back_to:
                continue
            if self.selected != folder.name and self._open(folder) is None:
                continue
            if folder.name not in self._older:
                self._older[folder.name] = self._search_older(self._positions[folder.name], self._since)
            self._read_older(folder, self._since)
            return True
        return False

    def _record(self) -> None:
        """Judges and records what is stored."""
        if not self._is_pending:
            return

        def work(session: "Session") -> int:
            self._lease.hold(session)
            now = self._app.clock()
            return recording.record_some(session, mailbox_id=self._mailbox_id, limit=_RECORDED_AT_ONCE, now=now)

        while self._app.run("record mail", work):
            self._lease.check()
        self._is_pending = False
        self._app.run("settle mail that was answered", self._settling(signs.settle, mailbox_id=self._mailbox_id))

    def has_unknown(self) -> bool:
        """Returns whether nobody knows of a mail of the mailbox whether it went out, and it was not looked for yet."""
        return not self._looked_for.issuperset(self._unknown.ids(self._mailbox_id))

    def look_for_unknown(self) -> None:
        """Looks for mails of which nobody knows whether they went out, where copies of sent mails are."""
        ids = self._unknown.ids(self._mailbox_id)
        for folder in self.folders:
            if ids and folder.role in sent_mail.ROLES and self._open(folder) is not None:
                found = [id_ for id_ in ids if sent_mail.is_in_selected(self._client, id_)]
                if found:
                    self._settle_found(found)
        self._looked_for = set(ids)

    def _settle_found(self, ids: Sequence[str]) -> None:
        """Notes that mails with these Message-IDs are in the mailbox, so our own of them went out."""
        self._app.run("settle copies", self._settling(signs.found, internet_message_ids=ids))

    def _settling(self, settle: Callable[..., int], **given: object) -> "Callable[[Session], int]":
        def work(session: "Session") -> int:
            self._lease.hold(session)
            return settle(session, now=self._app.clock(), **given)

        return work

    def _open(self, folder: Folder) -> int | None:
        """Selects a folder for reading alone. Returns the UID that its next mail gets; None if the folder is gone."""
        self.selected = None
        try:
            status = self._client.select_folder(folder.name, readonly=True)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            self._forget_if_gone(folder, error)
            return None
        self.selected = folder.name
        uidvalidity, given = int(status.get(b"UIDVALIDITY", 0)), status.get(b"UIDNEXT")
        next_uid = int(given or max(self._client.search(["ALL"]), default=0) + 1)
        position = self._positions.get(folder.name)
        is_known = position is not None and position.uidvalidity == uidvalidity
        if position is None or not is_known or (given and next_uid <= position.last_uid):
            # Its UIDs mean other mails than before. What is known of them is passed over when it is read again.
            self._older.pop(folder.name, None)
            now = self._app.clock()
            begun = FolderPosition(folder.name, folder.role, uidvalidity, next_uid - 1, next_uid, now)
            self._positions[folder.name] = begun
            self._save(folder.name)
        return next_uid

    def _forget_if_gone(self, folder: Folder, error: Exception) -> None:
        present = {name for _, _, name in self._client.list_folders()}
        if folder.name in present or folder not in self.folders:
            raise MailboxUnusable(
                f"The IMAP server refuses to open the folder {folder.name}. Look whether the mailbox's own program can "
                "open it, and ask its host."
            ) from error
        self.look_for_folders()

    def _search_older(self, position: FolderPosition, since: datetime) -> list[int]:
        if position.first_uid <= 1:
            return []
        day = since - _DAY
        date = f"{day.day}-{_MONTHS[day.month - 1]}-{day.year}"
        return sorted(self._client.search(["UID", f"1:{position.first_uid - 1}", "SINCE", date]))

    def _read_older(self, folder: Folder, since: datetime) -> None:
        older = self._older[folder.name]
        batch = older[-fetching.HEADERS_MOST :]
        del older[-fetching.HEADERS_MOST :]
        if batch:
            next_ = older[-fetching.HEADERS_MOST :]
            self._read(folder.name, batch[::-1], next_=next_[::-1], to_join=len(older))
        if not older:
            position = self._positions[folder.name]
            # Should older mails ever matter, all are searched again: UIDs need not follow the days.
            joined = position._replace(first_uid=position.last_uid + 1, joined_back_to=since, to_join=0)
            self._positions[folder.name] = joined
            del self._older[folder.name]
            self._save(folder.name)

    def _read(self, name: str, uids: Sequence[int], *, next_: Sequence[int] = (), to_join: int | None = None) -> bool:
        """Reads mails of the selected folder and stores those that matter, in the order of `uids`. next_: those that
        are read after them; to_join: how many older ones are left then. Returns whether the server gave all of them."""
        given, left = self._fetched(name, "headers", uids, self._headers)
        if not self._failures.is_any:  # else it is to be told which of the mails ends a connection
            fetching.headers_ahead(self._client, next_)
        found = [given[uid] for uid in uids if uid in given]
        envelopes = [header.envelope for header in found]
        ids = [envelope.internet_message_id for envelope in envelopes]

        def match(session: "Session") -> tuple[list[bool], bool]:
            are_unsettled = signs.are_unsettled(session, internet_message_ids=ids)
            return matching.wanted(session, envelopes=envelopes, now=self._app.clock()), are_unsettled

        wanted, are_unsettled = self._app.run("match mail", match, read_only=True)
        if are_unsettled:
            self._settle_found(ids)
        if left:
            self._app.run("leave mails for later", lambda session: self._leave(session, name, left))
        groups = list(fetching.groups(found, wanted))
        for group in groups:
            self._lease.check()
            is_last = group is groups[-1]
            reached = uids if is_last else [header.uid for header, _ in group]
            left = [*left, *self._store(name, group, reached, to_join if is_last else None)]
            self._record()
        if not groups:
            self._advance(name, uids, to_join)
            self._save(name)
        return not left

    def _store(
        self, name: str, group: Sequence[tuple[Header, bool]], reached: Sequence[int], to_join: int | None
    ) -> Sequence[int]:
        """Fetches the bodies that are wanted, and commits all of the group with how far the folder is read then:
        `reached` and `to_join`. Returns the UIDs of mails that the server did not give."""
        uids = [header.uid for header, is_wanted in group if is_wanted]
        found, left = self._fetched(name, "bodies", uids, self._bodies)
        before = self._positions[name]
        mails = [
            FetchedMail(
                raw=body.raw,
                hash=body.hash,
                folder=name,
                folder_role=before.role.value,
                uidvalidity=before.uidvalidity,
                uid=header.uid,
                received_at=header.received_at,
                is_cut=body.is_cut,
            )
            for header, _ in group
            if (body := found.get(header.uid)) is not None
        ]
        places = [
            UnrelatedPlace(name, before.uidvalidity, header.uid, header.hash)
            for header, is_wanted in group
            if not is_wanted
        ]
        hashes = [header.hash for header, _ in group if header.uid in found]
        self._advance(name, reached, to_join)

        def work(session: "Session") -> None:
            self._lease.hold(session)
            incoming.keep(session, mailbox_id=self._mailbox_id, mails=mails)
            reading.take_back(session, mailbox_id=self._mailbox_id, hashes=hashes)
            reading.pass_over(session, mailbox_id=self._mailbox_id, places=places)
            self._leave(session, name, left)
            reading.save(session, mailbox_id=self._mailbox_id, position=self._positions[name])

        self._app.run("store mail", work)
        self._is_pending = self._is_pending or bool(mails)
        return left

    def _fetched(
        self, name: str, part: str, uids: Sequence[int], fetch: Fetch[Content]
    ) -> tuple[dict[int, Content], Sequence[int]]:
        """Fetches a part of mails in the selected folder. Returns it, and the UIDs of mails that are left for later."""

        def gives_another() -> bool:
            others = set(self._client.search(["ALL"])).difference(uids)
            # The oldest: mails that a server can't give tend to come one after the other.
            return bool(others and fetch([min(others)]))

        place = Place(name, self._positions[name].uidvalidity, part)
        return self._failures.fetch(place, uids, fetch, gives_another)

    def _headers(self, uids: Sequence[int]) -> Mapping[int, Header]:
        return {header.uid: header for header in fetching.headers(self._client, uids)}

    def _bodies(self, uids: Sequence[int]) -> Mapping[int, Body]:
        return fetching.bodies(self._client, uids, keep_attachments=self._app.settings.keep_attachments)

    def _leave(self, session: "Session", name: str, uids: Sequence[int]) -> None:
        """Keeps where mails lie that the server does not give."""
        if uids:
            logger.warning("Mails can't be fetched, and are left for later", extra={"count": len(uids)})
            self._lease.hold(session)
            uidvalidity = self._positions[name].uidvalidity
            mails = [LeftMail(name, uidvalidity, uid) for uid in uids]
            incoming.leave(session, mailbox_id=self._mailbox_id, mails=mails, now=self._app.clock())

    def read_left(self) -> None:
        """Tries once more to fetch the mails that the server did not give."""
        rows = self._app.run(
            "look for mails that were left",
            partial(incoming.left, mailbox_id=self._mailbox_id, limit=_LEFT_AT_ONCE),
            read_only=True,
        )
        for message_id, mail in rows.items():
            if self._is_there(mail):
                self._failures.forget(mail.folder, mail.uid)
                self._app.run("try a mail again", partial(incoming.note_tried, message_id=message_id))
                try:
                    is_fetched = self._read(mail.folder, [mail.uid])
                except FAILURES as error:
                    logger.info("A mail can't be fetched still: %s", type(error).__name__)
                    if not is_refusal(error):
                        return  # the connection is gone
                    continue
                finally:
                    self._failures.forget(mail.folder, mail.uid)
                if not is_fetched:
                    continue
            self._app.run("forget that a mail was left", self._forgetting(message_id))

    def _is_there(self, mail: LeftMail) -> bool:
        """Returns whether a mail can be where it was; selects its folder then. If the folder's UIDs mean other mails
        now, all of them are read again."""
        folder = next((folder for folder in self.folders if folder.name == mail.folder), None)
        if folder is None or self._open(folder) is None:
            return False
        return self._positions[folder.name].uidvalidity == mail.uidvalidity

    def _forgetting(self, message_id: UUID) -> "Callable[[Session], None]":
        def work(session: "Session") -> None:
            self._lease.hold(session)
            recording.forget(session, message_ids=[message_id])

        return work

    def _advance(self, name: str, uids: Sequence[int], to_join: int | None) -> None:
        position = self._positions[name]
        self._positions[name] = position._replace(
            last_uid=max(position.last_uid, *uids),
            first_uid=min(position.first_uid, *uids),
            to_join=position.to_join if to_join is None else to_join,
        )

    def _save(self, name: str, *, is_read_now: bool = False) -> None:
        def work(session: "Session") -> None:
            self._lease.hold(session)
            reading.save(session, mailbox_id=self._mailbox_id, position=self._positions[name])
            if is_read_now:
                reading.note_read(session, mailbox_id=self._mailbox_id, name=name, now=self._app.clock())

        self._app.run("note how far mail is read", work)
