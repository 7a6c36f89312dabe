"""The MCPB bundle for desktop clients: `python -m release.bundle OUTPUT.mcpb`.

The client unpacks it and runs `uv run` in it, which installs Python and the pinned dependencies where they are missing.
The same sources give the same bytes: entries are sorted, and have one date and one mode. (`mcpb pack` stamps the time.)
"""

import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

ROOT = Path(__file__).parent.parent
PACKAGES = ("mcp_server", "db", "migrations")
FILES = ("pyproject.toml", "README.md", "LICENSE")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def contents() -> dict[str, bytes]:
    """path in the bundle -> bytes."""
    found = {"manifest.json": (ROOT / "release" / "manifest.json").read_bytes()}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and not path.name.startswith(".") and "__pycache__" not in path.parts:
                found[path.relative_to(ROOT).as_posix()] = path.read_bytes()
    found |= {name: (ROOT / name).read_bytes() for name in FILES}
    found["pyproject.toml"] += _pins().encode()
    return found


def _pins() -> str:
    """The versions that this release was tested with, as uv reads them."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").split()
    quoted = "".join(f'    "{line}",\n' for line in lines)
    return f"\n[tool.uv]\nconstraint-dependencies = [\n{quoted}]\n"


def write(target: Path) -> None:
    with ZipFile(target, "w", ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in sorted(contents().items()):
            entry = ZipInfo(name, _EPOCH)
            entry.compress_type = ZIP_DEFLATED
            entry.create_system = 3  # as on Unix, wherever it is built
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("Name the file to write: python -m release.bundle OUTPUT.mcpb")
    write(Path(sys.argv[1]))
