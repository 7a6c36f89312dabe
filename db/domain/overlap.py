"""How somebody is in another campaign already."""

from enum import StrEnum


class OverlapKind(StrEnum):
    """Who is in the other campaign: the person, or somebody with an address at the same company."""

    PERSON = "person"
    COLLEAGUE = "colleague"
