"""The demo: a campaign from start to finish through the real server, with mail, and with every number checked.

It alone needs the packages of the extra `demo`.
"""

from importlib.util import find_spec


def is_installed() -> bool:
    """Returns whether the packages of the extra are there."""
    return all(find_spec(name) is not None for name in ("aiosmtpd", "pymap"))
