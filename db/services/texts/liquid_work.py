"""The work that a text may take when it is filled in.

The limits of the library look at what is written or assigned, and at the rounds of loops that lie in each other.
Ranges, chains of filters and loops one after the other could take any time and memory before that. So all that is read,
made or repeated is counted, in characters and values, and a text ends where it has spent what one text may spend. The
count is the same on every machine; the time of the processor is looked at as well, for what the count does not foresee.
"""

import time
from collections.abc import Callable, Mapping, Sequence, Sized
from functools import wraps
from typing import Final, TextIO, cast

from liquid import BoundTemplate, Environment, RenderContext, TokenStream
from liquid.ast import BlockNode
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.tags.for_tag import ForNode, ForTag
from liquid.builtin.tags.tablerow_tag import TablerowNode, TablerowTag
from liquid.exceptions import ResourceLimitError
from liquid.filter import with_context
from liquid.token import Token
from liquid.undefined import UNDEFINED

from db.domain.field_limits import BODY_MAX

ROUNDS_MAX: Final = 1_000
LENGTH_MAX: Final = 4 * BODY_MAX
WORK_MAX: Final = 1_000_000
SECONDS_MAX: Final = 5.0
"""Of the processor, for one text: a busy machine stops nobody's."""

# What a value, a call of a filter and a round cost, beside the characters in them.
_VALUE: Final = 5
_CALL: Final = 20
_ROUND: Final = 20
# The time is looked at after so much work.
_BETWEEN_LOOKS: Final = 20_000
_BITS_MAX: Final = 4_096


class Work:
    """What a text has left to spend. `units`: characters and values; `clock`: seconds of work done by this thread."""

    def __init__(self, units: int = WORK_MAX, clock: Callable[[], float] = time.thread_time) -> None:
        self.left = units
        self._clock = clock
        self._deadline = clock() + SECONDS_MAX
        self._next_look = units - _BETWEEN_LOOKS

    def spend(self, units: int) -> None:
        """Raises ResourceLimitError if more is asked for than is left."""
        self.left -= units
        if self.left < 0:
            raise ResourceLimitError("it takes too much work", token=None)
        if self.left < self._next_look:
            self._next_look = self.left - _BETWEEN_LOOKS
            if self._clock() > self._deadline:
                raise ResourceLimitError("it takes too long", token=None)


class Context(RenderContext):
    """A context that counts each value that is read, and each assignment, which measures all that was assigned."""

    __slots__ = ("work",)

    def __init__(self, template: BoundTemplate, *, globals: Mapping[str, object] | None = None) -> None:
        super().__init__(template, globals=globals)
        self.work = Work()

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        found = super().get(path, token=token, default=default)
        self.work.spend(size(found, self.work.left))
        return found

    def assign(self, key: str, val: object) -> None:
        self.work.spend(_VALUE + len(self.locals))
        super().assign(key, val)


class Template(BoundTemplate):
    context_class = Context


def size(value: object, most: int) -> int:
    """Returns how much there is of a value, in it and below it, counted no further than about `most`."""
    if isinstance(value, str):
        return _VALUE + len(value)
    total = 0
    unread: list[object] = [value]
    while unread and total <= most:
        item = unread.pop()
        total += _VALUE
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, range):
            total += _VALUE * (item.stop - item.start)
        elif isinstance(item, dict):
            entries = cast("dict[object, object]", item)
            unread += entries.keys()
            unread += entries.values()
        elif isinstance(item, list | tuple):
            unread += cast("Sequence[object]", item)
    return total


class _Round(BlockNode):
    """What a loop repeats. A round takes no more work than its source is long, but for what is counted by itself."""

    __slots__ = ("length",)

    def __init__(self, block: BlockNode, length: int) -> None:
        super().__init__(block.token, block.nodes)
        self.length = length

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        assert isinstance(context, Context)
        context.work.spend(_ROUND + self.length)
        return super().render_to_output(context, buffer)


class _For(ForTag):
    def parse(self, stream: TokenStream) -> ForNode:
        begin = stream.current.start_index
        node = cast("ForNode", super().parse(stream))
        node.block = _Round(node.block, stream.current.start_index - begin)
        return node


class _Tablerow(TablerowTag):
    def parse(self, stream: TokenStream) -> TablerowNode:
        begin = stream.current.start_index
        node = super().parse(stream)
        node.block = _Round(node.block, stream.current.start_index - begin)
        return node


def bound(environment: Environment) -> None:
    """Makes the loops and filters of `environment`, whose templates are of `Template`, count their work."""
    environment.add_tag(_For)
    environment.add_tag(_Tablerow)
    environment.filters.update({name: _counted(name, work) for name, work in environment.filters.items()})


def _counted(name: str, work: Callable[..., object]) -> Callable[..., object]:
    """Returns the filter, made to spend what it is given and what it makes, and to make nothing too large."""

    @wraps(work)
    def call(left: object, *arguments: object, context: Context, **more: object) -> object:
        left_to_spend = context.work.left
        context.work.spend(_CALL + _cost(name, left, arguments, left_to_spend))
        if _growth(name, left, arguments) <= LENGTH_MAX:
            result = work(left, *arguments, **more)
            if not _is_too_large(result):
                context.work.spend(size(result, context.work.left))
                return result
        raise ResourceLimitError(f"the filter {name} makes too long a text", token=None)

    return with_context(call)


def _is_too_large(result: object) -> bool:
    if isinstance(result, str):
        return len(result) > LENGTH_MAX
    return isinstance(result, int) and result.bit_length() > _BITS_MAX


def _growth(name: str, left: object, arguments: Sequence[object]) -> int:
    """Returns how many characters come in by the filters that multiply; the others make little more than they are
    given."""
    if name == "replace" and len(arguments) > 1:
        return str(left).count(str(arguments[0])) * len(str(arguments[1]))
    if name == "join" and arguments and isinstance(left, Sized):
        return len(left) * len(str(arguments[0]))
    return 0


# How much more than others a filter takes for what it is given.
_TIMES: Final[Mapping[str, int]] = {"date": 30, "sort": 5, "sort_natural": 5}


def _cost(name: str, left: object, arguments: Sequence[object], most: int) -> int:
    given = size(left, most)
    added = size(arguments, most)
    if name == "uniq" and isinstance(left, Sized):  # compares each with each
        return given * (1 + len(left) // 10)
    if name == "strip_html":  # looks for the end of a tag from each beginning
        return given * (1 + given // 1_000)
    if name in ("remove_last", "replace_last"):  # searches backwards, for each character again
        return given * (1 + added // 50)
    return (given + added) * _TIMES.get(name, 1)


_unbounded_range = RangeLiteral.evaluate


def _bounded_range(self: RangeLiteral, context: RenderContext) -> range:
    made = _unbounded_range(self, context)
    if made.stop - made.start > ROUNDS_MAX:
        raise ResourceLimitError(f"a range has more than {ROUNDS_MAX:,} elements", token=self.token)
    return made


# The library has no other place at which every range passes by, in whatever tag or filter it stands.
RangeLiteral.evaluate = _bounded_range
