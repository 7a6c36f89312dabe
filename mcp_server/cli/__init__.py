"""The commands other than serve and demo. Each is a module that is imported when the command is called.

Before a command is imported, this checks that Python finds our own packages, since other programs have packages of the
same names.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

_PLACE = Path(__file__).resolve().parents[2]
_UNUSABLE = 2  # the same as session.UNUSABLE, which can't be imported yet


def _refuse_strangers() -> None:
    """Ends the program if Python finds the `db` or `migrations` of another program before ours."""
    for name in ("db", "migrations"):
        spec = find_spec(name)
        found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if found != _PLACE / name / "__init__.py":
            where = f"is not beside mcp_server in {_PLACE}" if found is None else f"is taken from {found}"
            sys.stderr.write(
                f"sales-automation-mcp: the package {name} {where}, and that is not the one of this program. Start it "
                "from another directory, take that place out of PYTHONPATH, or install this program in a virtual "
                "environment of its own.\n"
            )
            raise SystemExit(_UNUSABLE)


_refuse_strangers()
