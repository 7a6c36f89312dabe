"""Renders the texts of steps for one person, as strict Liquid. A variable without a value, or a filter that finds
nothing, stops the text and never leaves a hole in it, unless the text has a default for it or asks whether it is there
({% if company %}). Limits stop templates that loop or grow without end."""

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache, wraps
from typing import Any, cast

from liquid import BoundTemplate, Environment, FalsyStrictUndefined, Undefined
from liquid.exceptions import LiquidError, ResourceLimitError, TemplateNotFoundError, UndefinedError
from liquid.token import Token

from db.domain.errors import InvalidInput
from db.domain.texts import one_line, storable_part
from db.services.texts import liquid_sources, liquid_work


class OutOfBounds(InvalidInput):
    """The text loops or grows beyond the limits. Write one that is shorter when it is filled in."""


class BrokenText(InvalidInput):
    """The text is not a template, whoever it is filled in for."""


class MissingVariable(InvalidInput):
    """The person has no value for a variable of the text. Give one, or write {{ name | default: "..." }}.

    `what`: what is missing. `advice`: the calls that lift it.
    """

    def __init__(self, where: str, what: str, advice: str = "") -> None:
        super().__init__(f"missing_variable: {where}: {what}. {advice}".strip())
        self.what = what


class _Environment(Environment):
    template_class = liquid_work.Template
    loop_iteration_limit = liquid_work.ROUNDS_MAX
    output_stream_limit = liquid_work.LENGTH_MAX
    context_depth_limit = 20
    local_namespace_limit = 100_000

    def tokenizer(self) -> Callable[[str], Iterator[Token]]:
        read = super().tokenizer()

        def tokens(source: str) -> Iterator[Token]:
            liquid_sources.check(source)
            return read(source)

        return tokens


_ENVIRONMENT = _Environment(undefined=FalsyStrictUndefined)
# For the trial of a text on nobody, in whose words a filter may find nothing: it goes on to what comes after.
_TRIAL = _Environment(undefined=FalsyStrictUndefined)


# Compared by value: what `map` does not find is an object that equals None.
_NILS = (None,)


def _strict(name: str, work: Callable[..., object]) -> Callable[..., object]:
    """Returns the filter, made strict: what it does not find is missing, as a variable without a value is."""
    nothing = FalsyStrictUndefined(name, token=None, hint=f"the filter {name} finds nothing")

    @wraps(work)
    def call(left: object, *arguments: object, **more: object) -> object:
        if name == "compact" and isinstance(left, list):
            left = [item for item in cast("list[object]", left) if not isinstance(item, Undefined)]
        result = work(left, *arguments, **more)
        if isinstance(left, Undefined) and result == "":
            return left
        if name == "map" and isinstance(result, list):
            return [nothing if item in _NILS else item for item in cast("list[object]", result)]
        return nothing if result in _NILS else result

    return call


liquid_work.bound(_TRIAL)
liquid_work.bound(_ENVIRONMENT)
_ENVIRONMENT.filters.update(
    {name: _strict(name, work) for name, work in _ENVIRONMENT.filters.items() if name != "default"}
)


def check(text: str, where: str) -> None:
    """Raises InvalidInput, naming `where`, if `text` is no Liquid template, uses a filter or tag that does not exist,
    or loops or grows beyond the limits for any person."""
    template = _parse(text, where)
    try:
        unknown = sorted(set(template.analyze().filters) - set(_ENVIRONMENT.filters))
    except TemplateNotFoundError as error:
        raise InvalidInput(
            f"{where} includes {error.args[0]}, and a text can't include another. Write it out."
        ) from None
    except (LiquidError, RecursionError) as error:
        raise _invalid(where, error) from None
    if unknown:
        raise InvalidInput(
            f"{where} uses the filter {unknown[0]}, which does not exist. Words for whoever has no value are written "
            '{{ first_name | default: "there" }}.'
        )
    try:
        _render(_TRIAL.from_string(text), _somebody(template), where)
    except OutOfBounds:
        raise
    except InvalidInput:
        pass  # of this somebody, who has words where the text may count on numbers


def stops_without(text: str, name: str, where: str) -> bool:
    """Returns whether `text` can't be filled in for somebody who has all its variables but `name`. InvalidInput, naming
    `where`, if it is not a template."""
    variables = _somebody(_parse(text, where))
    return variables.pop(name, None) is not None and _stops(text, variables, where)


def needed(text: str, where: str, has: Callable[[tuple[str, ...]], bool]) -> set[tuple[str, ...]] | None:
    """Returns the variables, each by its path, without which `text` can't be filled in; None if it can't be for
    anybody. `has`: whether there can be a value for a path. InvalidInput, naming `where`, if it is not a template."""
    template = _parse(text, where)
    paths = {path for path, _ in _variables(template)}
    lacking = {path for path in paths if not has(path)}
    if _stops(text, _without(template, lacking), where):
        return None
    return {path for path in paths - lacking if _stops(text, _without(template, {*lacking, path}), where)}


def _stops(text: str, variables: dict[str, Any], where: str) -> bool:
    try:
        _render(_TRIAL.from_string(text), variables, where)
    except MissingVariable:
        return True
    except InvalidInput:
        pass  # as in check
    return False


def _without(template: BoundTemplate, paths: Collection[tuple[str, ...]]) -> dict[str, Any]:
    variables = _somebody(template)
    for path in paths:
        at: object = variables
        for part in path[:-1]:
            at = cast("dict[str, object]", at).get(part) if isinstance(at, dict) else None
        if isinstance(at, dict):
            cast("dict[str, object]", at).pop(path[-1], None)
    return variables


def _somebody(template: BoundTemplate) -> dict[str, Any]:
    """Returns a word for every variable of the template."""
    made: dict[str, Any] = {}
    for path in sorted((path for path, _ in _variables(template)), key=len):
        at = made
        for part in path[:-1]:
            if not isinstance(at.get(part), dict):
                at[part] = {}
            at = at[part]
        at[path[-1]] = "word"
    return made


# Where a variable ends: at its first filter, or at the end of its tag.
_END = re.compile(r"\|\s*default\b|[|%}]")


def needs(text: str, where: str) -> set[tuple[str, ...]]:
    """Returns the variables that `text` has no default for, each by its path: ("attributes", "city"). InvalidInput,
    naming `where`, if it is not a template."""
    return {path for path, has_default in uses(text, where) if not has_default}


def uses(text: str, where: str) -> set[tuple[tuple[str, ...], bool]]:
    """Returns the variables of `text`, each by its path, with whether it has a default where it stands. InvalidInput,
    naming `where`, if it is not a template."""
    ends = [(found.start(), len(found[0]) > 1) for found in _END.finditer(text)]
    return {(path, _has_default(ends, index)) for path, index in _variables(_parse(text, where))}


def _has_default(ends: list[tuple[int, bool]], index: int) -> bool:
    at = bisect_left(ends, (index, False))
    return at < len(ends) and ends[at][1]


def _variables(template: BoundTemplate) -> Iterator[tuple[tuple[str, ...], int]]:
    """Returns (path, where it stands) of each variable."""
    for places in template.analyze().globals.values():
        for variable in places:
            yield tuple(str(part) for part in variable.segments), variable.span.index


def render(text: str, variables: Mapping[str, Any], where: str) -> str:
    """Returns `text` with `variables` filled in. MissingVariable or InvalidInput name `where` and what is wrong."""
    return _render(_parse(text, where), variables, where)


# What the library raises on values that it does not expect.
_FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def _render(template: BoundTemplate, variables: Mapping[str, Any], where: str) -> str:
    try:
        return template.render(**variables)
    except UndefinedError as error:
        raise MissingVariable(where, _reason(error)) from None
    except ResourceLimitError as error:
        raise OutOfBounds(
            f"{where} is too large or loops too long: {error.args[0]}. It may take {liquid_work.ROUNDS_MAX:,} rounds "
            f"of loops, make {liquid_work.LENGTH_MAX:,} characters, and go through {liquid_work.WORK_MAX:,} of them."
        ) from None
    except LiquidError as error:
        raise InvalidInput(f"{where} can't be rendered: {_reason(error)}.") from None
    except _FAULTS:
        raise InvalidInput(f"{where} can't be rendered: a filter or tag fails on the value it is given.") from None


def parse(text: str, where: str) -> None:
    """Raises BrokenText, naming `where`, if `text` is no Liquid template."""
    _parse(text, where)


def _parse(text: str, where: str) -> BoundTemplate:
    try:
        return _parsed(text)
    except LiquidError as error:
        raise _invalid(where, error) from None


@lru_cache(maxsize=512)
def _parsed(text: str) -> BoundTemplate:
    return _ENVIRONMENT.from_string(text)


def _invalid(where: str, error: LiquidError | RecursionError) -> BrokenText:
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return BrokenText(f"{where} is nested too deeply. Write it with fewer levels.")
    return BrokenText(f"{where} is not a valid Liquid template: {_reason(error)}.")


def _reason(error: LiquidError) -> str:
    """Returns what the library says, which may quote a value: cut, and in characters that can be kept."""
    return one_line(storable_part(str(error.args[0])[:_REASON_MAX]))


_REASON_MAX = 200
