"""Files of people in a call, and the results of their rows."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self, cast

from pydantic import BeforeValidator, Field

from db.domain.jobs import Job, JobDetail, JobStatus
from mcp_server.schemas.base import Answer, Line, Maybe, Prose, is_nothing, untold

ROWS_SHOWN = 100
PATH_MAX = 4_096


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Csv = Annotated[Prose | None, Field(min_length=1, description="Text under a line of headings")]
FilePath = Annotated[
    Line | None, Field(min_length=1, max_length=PATH_MAX, description="File under the import directories")
]
Columns = Annotated[
    dict[str, Annotated[str, BeforeValidator(_number_as_text)]] | None,
    Field(max_length=1_000, description='Field to heading, as {"email": "Mail"}'),
]
Conditions = Annotated[list[Line] | None, Field(max_length=100, description="COLUMN=VALUE of those not to write to")]


class ImportJob(Answer):
    """The job that goes on with a large file. Once it is completed, the rest of the answer says what came of it."""

    id: str
    status: JobStatus
    progress: Maybe[Any] = None
    error: Maybe[str] = None


_Count = Annotated[Maybe[int], untold]


class ImportAnswer(Answer):
    """Counts of rows, where the columns went, and the rows with a reason or a warning, the first hundred of them. Rows
    are counted from 1 under the headings."""

    dry_run: Annotated[bool, Field(exclude_if=is_nothing), untold] = False
    rows_total: Annotated[Maybe[int], untold] = None
    created: _Count = None
    updated: _Count = None
    enrolled: _Count = None
    already_enrolled: _Count = None
    suppressed: _Count = None
    opted_out: _Count = None
    invalid: _Count = None
    mapping: Maybe[dict[str, Any]] = None
    attributes: Annotated[Maybe[list[str]], untold] = None
    stand_ins: Annotated[Maybe[dict[str, Any]], untold] = None
    opt_outs: Annotated[Maybe[dict[str, int]], untold] = None
    notes: Annotated[list[str], Field(exclude_if=is_nothing), untold] = []
    rows: Maybe[list[dict[str, Any]]] = None
    rows_left_out: Annotated[int, Field(exclude_if=is_nothing), untold] = 0
    job: Maybe[ImportJob] = None

    @classmethod
    def of(cls, told: Mapping[str, Any], verdicts: Sequence[Mapping[str, Any]], **more: object) -> Self:
        """`told`: counts and the report of the table. `verdicts`: the messages about rows."""
        shown = [dict(verdict) for verdict in verdicts if "reason" in verdict or "warnings" in verdict]
        known = {name: value for name, value in told.items() if name in cls.model_fields}
        left_out = max(len(shown) - ROWS_SHOWN, 0) + told.get("rows_left_out", 0)
        return cls.model_validate({**known, "rows": shown[:ROWS_SHOWN], **more, "rows_left_out": left_out})

    @classmethod
    def of_job(cls, job: Job | JobDetail) -> Self:
        shown = ImportJob.model_validate(job)
        if not isinstance(job, JobDetail) or not isinstance(job.result, dict):
            return cls(job=shown)
        result = cast("dict[str, Any]", job.result)
        return cls.of(result, result.get("rows", ()), job=shown)
