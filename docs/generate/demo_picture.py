"""Draws docs/images/demo.svg: the demo as a terminal shows it. `python -m docs.generate.demo_picture`."""

import os
import pty
import re
import subprocess
import sys
from io import StringIO

from rich.console import Console
from rich.text import Text

from docs.generate.regions import PAGES

_COLUMNS = 96
_FONT_FACES = re.compile(r"@font-face\s*\{.*?\}\s*", re.DOTALL)
_CREDIT = re.compile(r"\s*<!-- Generated with Rich.*?-->", re.DOTALL)
# After the numbers the demo says what to do next, which is not a part of what it shows.
_END = "To use the server"
# How a terminal is moved, but not how it is coloured.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-HJKST-Zaf-lnq-z]")


def main() -> int:
    """Run the demo and draw what it wrote. Returns its exit code."""
    code, written = _run([sys.executable, "-m", "mcp_server", "demo"])
    shown = written.replace("\r\n", "\n").partition(_END)[0]
    # Of a line that is drawn again and again, such as the progress bar, the last state stands.
    lines = [_CONTROL.sub("", line.rpartition("\r")[2]) for line in shown.split("\n")]
    console = Console(record=True, width=_COLUMNS, file=StringIO())
    console.print(Text("$ sales-automation-mcp demo"))
    console.print(Text.from_ansi("\n".join(lines).rstrip()))
    drawn = console.export_svg(title="sales-automation-mcp demo")
    # No font is fetched from elsewhere: the reader's own monospaced one does.
    drawn = _CREDIT.sub("", _FONT_FACES.sub("", drawn)).replace("Fira Code, ", "")
    (PAGES / "images" / "demo.svg").write_text(drawn, "utf-8")
    return code


def _run(command: list[str]) -> tuple[int, str]:
    """(exit code, what it wrote to a terminal)."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": str(_COLUMNS), "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    written = b""
    while chunk := _read(ours):
        written += chunk
    return process.wait(), written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that the other side is closed
        return b""


if __name__ == "__main__":
    raise SystemExit(main())
