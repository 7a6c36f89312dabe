"""How long a test waits for what must happen. It is much longer than even a slow, crowded machine needs, so that only
what never happens fails; where all is well, nobody waits for so long."""

from typing import Final

PATIENCE: Final = 180.0
