"""`jobs`: shows and changes the job queue of the local store. It needs no database."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from db.domain.jobs import MAX_PAGE, JobStatus, JobType
from mcp_server.cli.output import plain, print_table
from mcp_server.cli.session import EXIT_CODES, AsJson, Home, opened, settings_of

if TYPE_CHECKING:
    from db.domain.jobs import Job, JobDetail

cli = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Look after the queue of jobs.",
    epilog=EXIT_CODES,
)

JobId = Annotated[str, typer.Argument(help="Such as job_17, as jobs list shows it.", metavar="JOB_ID")]


@cli.command("list", epilog=EXIT_CODES)
def list_(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs of this status.")] = None,
    type: Annotated[JobType | None, typer.Option(help="Only jobs of this type.")] = None,
    limit: Annotated[int, typer.Option(help="The latest jobs, as many as this.", min=1, max=MAX_PAGE)] = 50,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List jobs, newest first."""
    with opened(settings_of(home=home), database=False) as app:
        page = app.local().jobs.list(status=status, type=type, limit=limit, now=app.clock())
    if as_json:
        _print_json({"jobs": [_line(job) for job in page.jobs], "has_more": page.next_cursor is not None})
        return
    if not page.jobs:
        typer.echo("No jobs.")
        return
    columns = ("Id", "Type", "Status", "Priority", "Attempts", "Due", "Created", "Error")
    print_table(columns, (_cells(job) for job in page.jobs))
    if page.next_cursor is not None:
        typer.echo(f"... and older ones. --limit shows up to {MAX_PAGE:,}.")


@cli.command("show", epilog=EXIT_CODES)
def show(job_id: JobId, as_json: AsJson = False, home: Home = None) -> None:
    """Show one job with its parameters, result and failed attempts."""
    with opened(settings_of(home=home), database=False) as app:
        job = app.local().jobs.get(job_id, now=app.clock())
    if as_json:
        _print_json({"job": _detail(job)})
    else:
        print_table(("Field", "Value"), _detail_rows(job))


@cli.command("cancel", epilog=EXIT_CODES)
def cancel(job_id: JobId, as_json: AsJson = False, home: Home = None) -> None:
    """Cancel a pending job at once; the worker of one under way is told to stop."""
    with opened(settings_of(home=home), database=False) as app:
        job = app.local().jobs.cancel(job_id, now=app.clock())
    done = "was told to stop" if job.status is JobStatus.PROCESSING else f"is {job.status}"
    _answer(job, done, as_json=as_json)


@cli.command("retry", epilog=EXIT_CODES)
def retry(job_id: JobId, as_json: AsJson = False, home: Home = None) -> None:
    """Put a failed job back into the queue."""
    with opened(settings_of(home=home), database=False) as app:
        job = app.local().jobs.retry(job_id, now=app.clock())
    _answer(job, f"is {job.status}", as_json=as_json)


def _answer(job: "Job", done: str, *, as_json: bool) -> None:
    if as_json:
        _print_json({"job": _line(job)})
    else:
        typer.echo(f"{job.id} {done}.")


def _cells(job: "Job") -> tuple[object, ...]:
    attempts = f"{job.attempts}/{job.max_attempts}"
    error = None if job.error is None else plain(job.error)[:60]
    return (job.id, job.type, job.status, job.priority, attempts, _moment(job.run_at), _moment(job.created_at), error)


def _detail_rows(job: "JobDetail") -> list[tuple[str, object]]:
    from pydantic_core import to_json  # noqa: PLC0415  `--help` needs none of it

    shown: list[tuple[str, object]] = []
    for name, value in _detail(job).items():
        is_json = isinstance(value, dict | list)
        shown.append((name.replace("_", " "), to_json(value).decode() if is_json else value))
    return shown


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def _line(job: "Job") -> dict[str, Any]:
    from mcp_server.schemas.jobs import JobLine  # noqa: PLC0415  see _detail_rows

    return JobLine.model_validate(job).model_dump(mode="json")


def _detail(job: "JobDetail") -> dict[str, Any]:
    from mcp_server.schemas.jobs import JobOut  # noqa: PLC0415  see _detail_rows

    return JobOut.model_validate(job).model_dump(mode="json")


def _print_json(value: object) -> None:
    from pydantic_core import to_json  # noqa: PLC0415  see _detail_rows

    typer.echo(to_json(value))
