"""Turns the time zone names of programs into IANA names.

CLDR, read with babel, has the names of Windows and Outlook (`W. Europe Standard Time`) and those that people use
(`Eastern Time`, `Mitteleuropäische Zeit`, `PST`).
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, cast

from mcp_server.schemas.zones import zone_names

_LONGEST: Final = 200
_LANGUAGES: Final = ("en", "en_GB", "en_AU", "de", "fr", "es", "it", "nl", "pt")
_IANA: Final = re.compile(r"[A-Za-z]+(?:/[A-Za-z0-9_+-]+){1,2}")
_OFFSET: Final = re.compile(r"\(?(?:GMT|UTC)?\s*([+\-\u2212])\s*(\d{1,2})(?::?([0-5]\d))?\b\)?", re.IGNORECASE)
_BRACKETS_AHEAD: Final = re.compile(r"\([^()]*\)")
_IN_BRACKETS: Final = re.compile(r"\([^()]*\)")
_BETWEEN_NAMES: Final = re.compile("[,:;]")
_SUMMER: Final = re.compile(r"\b(daylight|summer)\b", re.IGNORECASE)
# Zones whose offset from UTC is not whole hours: for each offset, one that has it all year.
_ODD_OFFSETS: Final[Mapping[int, str]] = {
    -570: "Pacific/Marquesas",
    -210: "America/St_Johns",
    210: "Asia/Tehran",
    270: "Asia/Kabul",
    330: "Asia/Kolkata",
    345: "Asia/Kathmandu",
    390: "Asia/Yangon",
    525: "Australia/Eucla",
    570: "Australia/Darwin",
    630: "Australia/Lord_Howe",
    765: "Pacific/Chatham",
}
# Groups that Windows names differently from CLDR.
_STANDING: Final[Mapping[str, str]] = {"Australia_Eastern": "Australia/Sydney", "Europe_Central": "Europe/Berlin"}
# IANA has these for old programs, without summer time. A CRM means today's zone.
_SAID: Final[Mapping[str, str]] = {"est": "America/New_York", "mst": "America/Denver"}


def zone_of(text: str) -> str | None:
    """Returns the IANA name of a time zone as any program writes it; None if it is unknown.

    It knows IANA names in any case and with `_slash_` (HubSpot), names of Windows and CLDR, cities of the IANA list,
    offsets (`GMT+9`, without summer time), and an offset before any of these, as in `(GMT-05:00) Eastern Time (US &
    Canada)`.
    """
    text = " ".join(text.split())
    if not text or len(text) > _LONGEST:
        return None
    found = _by_name().get(_key(text.replace("_slash_", "/")))
    return found or next((_iana()[name] for name in _names_in(text) if name in _iana()), None) or _described(text)


def _names_in(text: str) -> Iterator[str]:
    return (_key(found[0]) for found in _IANA.finditer(text))


def _described(text: str) -> str | None:
    """Returns the zone of the name after an offset, or that of the offset if there is no name."""
    offset = _OFFSET.match(text)
    ahead = offset or _BRACKETS_AHEAD.match(text)
    rest = text[ahead.end() :].strip(" -:") if ahead else text
    plain = _SUMMER.sub("standard", _IN_BRACKETS.sub("", rest)).strip()
    for name in (rest, plain, *(part.strip() for part in _BETWEEN_NAMES.split(plain))):
        if name and _key(name) in _by_name():
            return _by_name()[_key(name)]
    return _at_offset(offset) if offset else None


def _at_offset(offset: re.Match[str]) -> str | None:
    minutes = int(offset[2]) * 60 + int(offset[3] or 0)
    minutes = minutes if offset[1] == "+" else -minutes
    if minutes % 60:
        return _ODD_OFFSETS.get(minutes)
    # Etc/GMT-9 is nine hours ahead of UTC: POSIX reverses the sign.
    return _iana().get(_key(f"Etc/GMT{-minutes // 60:+d}")) if minutes else "UTC"


def _key(name: str) -> str:
    return name.casefold().replace("_", " ").replace(".", "").strip()


@cache
def _iana() -> dict[str, str]:
    return {_key(name): name for name in sorted(zone_names())}


@cache
def _by_name() -> dict[str, str]:
    """Returns the zone of each name. If a name has several meanings, IANA's has priority, then that of Windows, then
    CLDR's."""
    cities = {_key(name.rpartition("/")[2]): name for name in _iana().values() if not name.startswith("Etc/")}
    return {**cities, **_spoken(), **_windows(), "z": "UTC", **_iana(), **_SAID}


def _windows() -> dict[str, str]:
    from babel.core import get_global  # noqa: PLC0415  needed for such cells alone

    named = cast("Mapping[str, str]", get_global("windows_zone_mapping"))
    return {_key(name): _iana()[_key(zone)] for name, zone in named.items() if _key(zone) in _iana()}


def _groups(language: str) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """Returns CLDR's names of the groups of zones that share one: group -> long or short -> kind -> name."""
    from babel.core import Locale  # noqa: PLC0415  as above

    return cast("Mapping[str, Mapping[str, Mapping[str, str]]]", Locale.parse(language).meta_zones)


def _spoken() -> dict[str, str]:
    """Returns the names that people use for zones, in several languages."""
    zones = _zones_of_groups()
    spoken: dict[str, str] = {}
    for language in _LANGUAGES:
        for group, widths in _groups(language).items():
            for name in (name for width in ("long", "short") for name in widths.get(width, {}).values()):
                if group in zones and len(name) > 1:
                    spoken.setdefault(_key(name), zones[group])
    return spoken


def _zones_of_groups() -> dict[str, str]:
    """Returns one zone for each group of zones that share a name: the zone that Windows has for the name, or that of
    the first large city in the group."""
    from babel.core import get_global  # noqa: PLC0415  as above

    windows = _windows()
    group_of = cast("Mapping[str, str]", get_global("meta_zones"))
    zones = dict(_STANDING)
    for group, widths in _groups("en").items():
        zone = windows.get(_key(widths.get("long", {}).get("standard", "")))
        if zone is not None and group_of.get(zone) == group:
            zones.setdefault(group, zone)
    for zone in (*windows.values(), *_iana().values()):
        if zone in group_of:
            zones.setdefault(group_of[zone], zone)
    return zones
