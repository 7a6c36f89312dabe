"""Role addresses: those that belong to a function, such as info@, and not to one person. They come back more often, and
those who read them complain more often."""

from typing import Final

ROLES: Final = frozenset(
    {
        "abuse", "accounting", "accounts", "admin", "administrator", "billing", "booking", "bookings", "buchhaltung",
        "careers", "compliance", "contact", "contacto", "customerservice", "enquiries", "everyone", "feedback",
        "finance", "help", "helpdesk", "hello", "hostmaster", "hr", "info", "information", "inquiries", "investors",
        "invoices", "jobs", "kontakt", "legal", "marketing", "media", "newsletter", "no-reply", "noc", "noreply",
        "office", "orders", "postmaster", "press", "privacy", "purchasing", "reception", "recruiting", "root", "sales",
        "security", "sekretariat", "service", "shop", "staff", "support", "team", "tech", "vertrieb", "webmaster",
        "welcome",
    }
)  # fmt: skip
"""The names before the @, in lower case: those of RFC 2142, and those that companies use."""


def warning(count: int) -> list[str]:
    """Returns what is said of as many people with such an address; nothing for none."""
    who = "1 of them has" if count == 1 else f"{count:,} of them have"
    told = f"role_address: {who} an address of a role, such as info@, which more often comes back or complains."
    return [told] if count else []
