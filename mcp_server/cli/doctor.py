"""`doctor`: shows what is configured, what works, and how to mend what does not."""

from typing import TYPE_CHECKING

import typer

from mcp_server.cli.session import FAILED, AsJson, Home, wrong_settings
from mcp_server.process import logs
from mcp_server.process.app import App
from mcp_server.process.settings import Settings, unknown_variables

if TYPE_CHECKING:
    from pathlib import Path

    from mcp_server.cli.checks import Check

cli = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@cli.command("doctor", epilog="Exit codes: 0 all works (there may be warnings), 1 something does not.")
def doctor(as_json: AsJson = False, home: Home = None) -> None:
    """Show what is configured and what works, and what to do where it does not.

    Secrets are never shown. The embedded database is started, and made if there is none yet, as a server would; a
    database of your own is left as it is.
    """
    from mcp_server.cli.checks import Verdict  # noqa: PLC0415  `--help` needs none of it

    settings, checks = _examine(home)
    is_well = all(check.verdict is not Verdict.FAILED for check in checks)
    if as_json:
        from pydantic_core import to_json  # noqa: PLC0415  see above

        facts = {"ok": is_well, "settings": settings, "checks": [check.to_json() for check in checks]}
        typer.echo(to_json(facts, indent=2))
    else:
        _print(settings, checks)
    if not is_well:
        raise typer.Exit(FAILED)


def _examine(home: "Path | None") -> "tuple[list[dict[str, str]], list[Check]]":
    from pydantic import ValidationError  # noqa: PLC0415  see doctor

    from mcp_server.cli.checks import Check, Verdict, run_checks  # noqa: PLC0415  see doctor

    try:
        settings = Settings() if home is None else Settings(home=home)
    except ValidationError as error:
        wrong = wrong_settings(error, () if home is None else ("home",))
        advice = "Correct the variable; docs/settings.md lists what each may be."
        return [], [Check("settings", Verdict.FAILED, line, advice) for line in wrong]
    logs.configure("CRITICAL")  # the check reports a failure, so the log need not
    # An external database is only checked, and never migrated.
    app = App(settings.model_copy(update={"migrate": False}))
    try:
        checks = [*_check_names(), *run_checks(app)]
    finally:
        app.close()
    return settings.shown(), checks


def _check_names() -> "list[Check]":
    from mcp_server.cli.checks import Check, Verdict  # noqa: PLC0415  see doctor

    advice = "Nothing reads it. Correct its name, or unset it."
    return [Check("settings", Verdict.WARNING, f"{name} is not a setting", advice) for name in unknown_variables()]


def _print(settings: list[dict[str, str]], checks: "list[Check]") -> None:
    from mcp_server.cli.output import plain, print_table  # noqa: PLC0415  see doctor

    if settings:
        print_table(("Setting", "Value", "From"), ([row["name"], row["value"], row["source"]] for row in settings))
        typer.echo()
    for check in checks:
        typer.echo(f"{check.verdict:8}{plain(check.name)}: {plain(check.found)}")
        if check.advice:
            typer.echo(f"{'':8}  -> {plain(check.advice)}")
