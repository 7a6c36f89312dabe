"""What tests see of a file of people that was read."""

from typing import Any

from mcp_server.jobs.people_files import Table, read_table


def people(table: Table) -> list[dict[str, Any]]:
    """What is filled of each person."""
    return [
        {name: value for name, value in record.person.values().items() if value}
        for record in table.records
        if record.person is not None
    ]


def person(text: str, **options: Any) -> dict[str, Any]:
    """What is filled of the only person."""
    (found,) = people(read_table(text, **options))
    return found


def faults(table: Table) -> dict[int, str]:
    """Line -> why its row has no person."""
    return {record.line: record.reason for record in table.records if record.reason is not None}
