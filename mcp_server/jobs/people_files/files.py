"""Files that an import may read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from db.domain.errors import InvalidInput

MAX_FILE_BYTES: Final = 67_108_864


def read_allowed(path: str, directories: Sequence[Path]) -> bytes:
    """Returns the content of a file under one of `directories`, after links are resolved. A relative path starts in one
    of them. InvalidInput says why it can't be read."""
    if not directories:
        raise InvalidInput("path: files are not read here. Give csv, or set SALES_AUTOMATION_IMPORT_DIRECTORIES.")
    try:
        below = (directory / path for directory in directories)
        real = next((file for file in below if file.is_file()), Path(path)).resolve()
        if not any(real.is_relative_to(directory.resolve()) for directory in directories):
            raise InvalidInput("path: outside the directories of SALES_AUTOMATION_IMPORT_DIRECTORIES.")
        if not real.is_file():
            raise InvalidInput("path: there is no such file.")
        if real.stat().st_size > MAX_FILE_BYTES:
            raise InvalidInput(f"path: the file is over {MAX_FILE_BYTES:,} bytes. Split it.")
        return real.read_bytes()
    except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL in the name, or no permission
        raise InvalidInput("path: the file can't be read.") from None
