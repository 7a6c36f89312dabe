"""The texts of steps, filled in for one person. Liquid, strict: a variable without a value, or a filter that finds
nothing, stops the text, and never leaves a hole in it, unless the text has a default for it or asks whether it is there
({% if company %}); limits stop templates that loop or grow without end."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from functools import lru_cache, wraps
from typing import Any, cast

from liquid import BoundTemplate, Environment, FalsyStrictUndefined, Undefined
from liquid.exceptions import LiquidError, ResourceLimitError, TemplateNotFoundError, UndefinedError

from db.domain.errors import InvalidInput
from db.domain.rules import BODY_MAX


class OutOfBounds(InvalidInput):
    """The text loops or grows beyond the limits. Write one that is shorter when it is filled in."""


class MissingVariable(InvalidInput):
    """The person has no value for a variable of the text. Give one, or write {{ name | default: "..." }}.

    `what`: what is missing. `advice`: the calls that lift it.
    """

    def __init__(self, where: str, what: str, advice: str = "") -> None:
        super().__init__(f"missing_variable: {where}: {what}. {advice}".strip())
        self.what = what


_ROUNDS_MAX = 1_000
_LENGTH_MAX = 4 * BODY_MAX


class _Environment(Environment):
    loop_iteration_limit = _ROUNDS_MAX
    output_stream_limit = _LENGTH_MAX
    context_depth_limit = 20
    local_namespace_limit = 100_000


_ENVIRONMENT = _Environment(undefined=FalsyStrictUndefined)
# For the trial of a text on nobody, in whose words a filter may find nothing: it goes on to what comes after.
_TRIAL = _Environment(undefined=FalsyStrictUndefined)


def _bounded(name: str, work: Callable[..., object]) -> Callable[..., object]:
    """The filter, held to the same length: the limits of the environment look at what is written or assigned, and a
    chain of filters could take any memory before that."""

    @wraps(work)
    def call(left: object, *arguments: object, **more: object) -> object:
        if _growth(name, left, arguments) <= _LENGTH_MAX:
            result = work(left, *arguments, **more)
            if not isinstance(result, str) or len(result) <= _LENGTH_MAX:
                return result
        raise ResourceLimitError(f"the filter {name} makes too long a text", token=None)

    return call


def _growth(name: str, left: object, arguments: Sequence[object]) -> int:
    """How many characters come in by the filters that multiply; the others make little more than they are given."""
    if name == "replace" and len(arguments) > 1:
        return str(left).count(str(arguments[0])) * len(str(arguments[1]))
    if name == "join" and arguments and isinstance(left, Sized):
        return len(left) * len(str(arguments[0]))
    return 0


# Compared by value: what `map` does not find is an object that equals None.
_NILS = (None,)


def _strict(name: str, work: Callable[..., object]) -> Callable[..., object]:
    """The filter, which makes no text of nothing: what it does not find is missing, as a variable without a value."""
    nothing = FalsyStrictUndefined(name, token=None, hint=f"the filter {name} finds nothing")

    @wraps(work)
    def call(left: object, *arguments: object, **more: object) -> object:
        if name == "compact" and isinstance(left, list):
            left = [each for each in cast("list[object]", left) if not isinstance(each, Undefined)]
        result = work(left, *arguments, **more)
        if isinstance(left, Undefined) and result == "":
            return left
        if name == "map" and isinstance(result, list):
            return [nothing if each in _NILS else each for each in cast("list[object]", result)]
        return nothing if result in _NILS else result

    return call


_TRIAL.filters.update({name: _bounded(name, work) for name, work in _TRIAL.filters.items()})
_ENVIRONMENT.filters.update(
    {name: work if name == "default" else _strict(name, work) for name, work in _TRIAL.filters.items()}
)


def check(text: str, where: str) -> None:
    """InvalidInput, naming `where`, if `text` is no Liquid template, uses a filter or tag that does not exist, or loops
    or grows beyond the limits whoever it is for."""
    try:
        template = _parse(text)
        unknown = sorted(set(template.analyze().filters) - set(_ENVIRONMENT.filters))
    except TemplateNotFoundError as error:
        raise InvalidInput(
            f"{where} includes {error.args[0]}, and a text can't include another. Write it out."
        ) from None
    except LiquidError as error:
        raise InvalidInput(f"{where} is not a valid Liquid template: {error.args[0]}.") from None
    if unknown:
        raise InvalidInput(f"{where} uses the filter {unknown[0]}, which does not exist.")
    try:
        _render(_TRIAL.from_string(text), _somebody(text), where)
    except OutOfBounds:
        raise
    except InvalidInput:
        pass  # of this somebody, who has words where the text may count on numbers


def _somebody(text: str) -> dict[str, Any]:
    """A word for every variable of a valid `text`."""
    made: dict[str, Any] = {}
    for path in sorted((path for path, _ in _variables(text)), key=len):
        at = made
        for part in path[:-1]:
            if not isinstance(at.get(part), dict):
                at[part] = {}
            at = at[part]
        at[path[-1]] = "word"
    return made


_HAS_DEFAULT = re.compile(r"[^|%}]*\|\s*default\b")


def needs(text: str) -> set[tuple[str, ...]]:
    """The variables that a valid `text` has no default for, each by its path: ("attributes", "city")."""
    return {path for path, index in _variables(text) if not _HAS_DEFAULT.match(text, index)}


def _variables(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """(path, where it stands) of each variable."""
    for places in _parse(text).analyze().globals.values():
        for variable in places:
            yield tuple(str(part) for part in variable.segments), variable.span.index


def render(text: str, variables: Mapping[str, Any], where: str) -> str:
    """`text` with `variables` filled in. MissingVariable or InvalidInput name `where` and what is wrong."""
    return _render(_parse(text), variables, where)


def _render(template: BoundTemplate, variables: Mapping[str, Any], where: str) -> str:
    try:
        return template.render(**variables)
    except UndefinedError as error:
        raise MissingVariable(where, error.args[0]) from None
    except ResourceLimitError as error:
        raise OutOfBounds(
            f"{where} is too large or loops too long: {error.args[0]}. It may take {_ROUNDS_MAX:,} rounds of "
            f"loops and make {_LENGTH_MAX:,} characters."
        ) from None
    except LiquidError as error:
        raise InvalidInput(f"{where} can't be rendered: {error.args[0]}.") from None
    except (ArithmeticError, LookupError, TypeError, ValueError):  # of the library, on values that it does not expect
        raise InvalidInput(f"{where} can't be rendered: a filter or tag fails on the value it is given.") from None


@lru_cache(maxsize=512)
def _parse(text: str) -> BoundTemplate:
    return _ENVIRONMENT.from_string(text)
