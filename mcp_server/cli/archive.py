"""The file of a backup: a tar that begins with a manifest, which has the size and hash of each other file."""

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from db.domain.errors import InvalidInput

FORMAT: Final = 1
DUMP: Final = "sales.dump"
JOBS: Final = "jobs.db"

_MANIFEST: Final = "manifest.json"
_MANIFEST_BYTES: Final = 65_536
_CHUNK: Final = 1024 * 1024
_NO_BACKUP: Final = "This is not a backup of sales-automation-mcp. Name a file that `sales-automation-mcp backup` made."
_DAMAGED: Final = "The backup is cut short or damaged. Nothing was restored: take another one."


@dataclass(frozen=True, slots=True)
class Manifest:
    """schema: the revision; postgresql: its major version; taken_at: ISO 8601, in UTC."""

    program: str
    schema: str | None
    postgresql: int
    taken_at: str


@dataclass(frozen=True, slots=True)
class _Entry:
    bytes: int
    sha256: str


def write(target: BinaryIO, manifest: Manifest, files: Mapping[str, Path]) -> None:
    """Writes the manifest and the files, each under its name."""
    entries = {name: asdict(_entry(path)) for name, path in files.items()}
    head = json.dumps({"format": FORMAT, **asdict(manifest), "files": entries}, indent=2).encode()
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(_member(_MANIFEST, len(head)), io.BytesIO(head))
        for name, path in files.items():
            with path.open("rb") as file:
                tar.addfile(_member(name, entries[name]["bytes"]), file)


def read(source: BinaryIO, folder: Path) -> tuple[Manifest, dict[str, Path]]:
    """Unpacks a backup into the folder, and returns its content. InvalidInput if the file is not a backup, or not
    complete."""
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            manifest, entries = _manifest(tar)
            files = {name: _unpack(tar, name, entry, folder / name) for name, entry in entries.items()}
    except (tarfile.ReadError, EOFError):
        raise InvalidInput(_DAMAGED if (folder / DUMP).exists() else _NO_BACKUP) from None
    return manifest, files


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _entry(path: Path) -> _Entry:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return _Entry(path.stat().st_size, digest.hexdigest())


def _manifest(tar: tarfile.TarFile) -> tuple[Manifest, dict[str, _Entry]]:
    member = tar.next()
    if member is None or member.name != _MANIFEST or not member.isreg() or member.size > _MANIFEST_BYTES:
        raise InvalidInput(_NO_BACKUP)
    try:
        said = cast("dict[str, Any]", json.load(_content(tar, member)))
        if said["format"] != FORMAT:
            raise InvalidInput(
                f"The backup has the format {said['format']}, and this version knows {FORMAT}. Restore it with the "
                f"version that made it, {said['program']}, or a later one."
            )
        manifest = Manifest(*(said[name] for name in Manifest.__dataclass_fields__))
        return manifest, {name: _Entry(**said["files"][name]) for name in (DUMP, JOBS) if name in said["files"]}
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(_NO_BACKUP) from None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    content = tar.extractfile(member)
    if content is None:
        raise InvalidInput(_DAMAGED)
    return cast("BinaryIO", content)


def _unpack(tar: tarfile.TarFile, name: str, entry: _Entry, target: Path) -> Path:
    member = tar.next()
    if member is None or member.name != name or not member.isreg() or member.size != entry.bytes:
        raise InvalidInput(_DAMAGED)
    content, digest = _content(tar, member), sha256()
    target.touch(0o600, exist_ok=False)
    with target.open("wb") as file:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != entry.sha256:
        raise InvalidInput(_DAMAGED)
    return target
