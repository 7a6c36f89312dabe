"""No text that comes from a call reaches SQL: what is made into a statement is put together of constants alone."""

import ast
import builtins
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import db
import migrations

ROOT = Path(db.__path__[0])
MODULES = [
    *(path for part in ("services", "postgres", "embedded") for path in sorted((ROOT / part).rglob("*.py"))),
    Path(migrations.__file__).parent / "runner.py",
]

# What makes a statement of a text, and what runs one. SQLAlchemy's own execute takes no text, only what these made.
MAKERS = {
    "text",
    "literal_column",
    "DDL",
    "TextClause",
    "exec_driver_sql",
    "op",
    "with_hint",
    "prefix_with",
    "suffix_with",
}
RUNNERS = {"execute", "executemany", "scalar", "scalars"}
HARMLESS = {"join", "split", "format", "items", "keys", "values"}
BUILTINS = {"tuple", "list", "sorted", "str"} & set(dir(builtins))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST) -> Iterator[tuple[Function | None, ast.Call]]:
    """Every call, with the innermost function around it (None: it runs once, as the module is imported)."""

    def walk(node: ast.AST, around: Function | None) -> Iterator[tuple[Function | None, ast.Call]]:
        if isinstance(node, ast.Call):
            yield around, node
        inner = node if isinstance(node, Function) else around
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inner)

    return walk(tree, None)


def name_of(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


class Module:
    """What is constant in one module: its own names that are put together of constants, and what it imports in upper
    case; and within a private function that is called at import alone, with constants alone, its arguments too."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.vocabularies = {name for name in self._imported() if name[:1].isupper()}
        self.modules = {name for name in self._imported() if name.islower()}
        self.constants = set(self.vocabularies)
        self.builders: dict[str, Function] = {}
        self._settle()

    def _imported(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("db.", "migrations")):
                yield from (alias.name for alias in node.names if alias.asname is None)

    def _settle(self) -> None:
        """Constants may be made of constants and by builders, and builders be called with constants: until it rests."""
        while True:
            before = (set(self.constants), set(self.builders))
            self.constants |= self._assigned(self.tree.body, self.constants, upper=True)
            self.builders = {name: function for name, function in self._functions() if self._is_builder(name)}
            if before == (self.constants, set(self.builders)):
                return

    def _functions(self) -> Iterator[tuple[str, Function]]:
        for node in self.tree.body:
            if isinstance(node, Function):
                yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from (
                    (node.name, function)
                    for function in node.body
                    if isinstance(function, Function) and function.name == "__init__"
                )

    def _is_builder(self, name: str) -> bool:
        made = [(around, call) for around, call in calls(self.tree) if name_of(call) == name]
        arguments = [
            argument for _, call in made for argument in (*call.args, *(keyword.value for keyword in call.keywords))
        ]
        at_import = all(around is None for around, _ in made)
        return name.startswith("_") and bool(made) and at_import and all(map(self.is_constant, arguments))

    def is_constant(self, node: ast.expr | None, local: Iterable[str] = ()) -> bool:
        """No name in the expression stands for anything but a constant."""
        known = self.constants | set(local)
        match node:
            case ast.Name():
                return node.id in known
            case ast.Attribute():
                return (
                    isinstance(node.value, ast.Name) and node.value.id in known | self.modules and node.attr.isupper()
                )
            case ast.Call():
                return self._is_constant_call(node, local)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
                return self._is_constant_comprehension(node, set(local))
            case None | ast.Constant():
                return True
            case _:
                parts = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
                is_plain = not isinstance(node, ast.Lambda | ast.Await | ast.NamedExpr)
                return is_plain and all(self.is_constant(part, local) for part in parts)

    def _is_constant_call(self, node: ast.Call, local: Iterable[str]) -> bool:
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        if not all(self.is_constant(argument, local) for argument in arguments):
            return False
        if isinstance(node.func, ast.Attribute):
            return node.func.attr in HARMLESS and self.is_constant(node.func.value, local)
        name = name_of(node)
        return name in BUILTINS or (name in self.builders and self._returns_constants(self.builders[name]))

    def _is_constant_comprehension(
        self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp, local: set[str]
    ) -> bool:
        for generator in node.generators:
            if not self.is_constant(generator.iter, local):
                return False
            local = local | names_in(generator.target)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        return all(self.is_constant(part, local) for part in parts)

    def _returns_constants(self, function: Function) -> bool:
        local = self.locals_of(function)
        returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
        return bool(returns) and all(self.is_constant(value, local) for value in returns)

    def locals_of(self, function: Function | None) -> set[str]:
        """The names in a function that stand for constants: the arguments of a builder, and what is made of them."""
        if function is None:
            return set()
        local: set[str] = set()
        if function in self.builders.values():
            arguments = function.args
            local = {argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)} - {"self"}
        while True:
            more = local | self._assigned(list(ast.walk(function)), local, upper=False)
            if more == local:
                return local
            local = more

    def _assigned(self, nodes: Iterable[ast.AST], local: set[str], *, upper: bool) -> set[str]:
        """Names of which every assignment gives a constant."""
        given: dict[str, list[ast.expr | None]] = {}
        for node in nodes:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                for target in targets:
                    root = target.value if isinstance(target, ast.Subscript) else target
                    if isinstance(root, ast.Name):
                        given.setdefault(root.id, []).append(node.value)
        return {
            name
            for name, values in given.items()
            if (name.isupper() or not upper) and all(self.is_constant(value, local) for value in values)
        }


def names_in(node: ast.AST) -> set[str]:
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}


def statements(module: Module) -> Iterator[tuple[Function | None, ast.expr]]:
    """Every text that is made into a statement, or handed to the database as one."""
    for around, call in calls(module.tree):
        if not call.args:
            continue
        first, name = call.args[0], name_of(call)
        is_text = name in RUNNERS and isinstance(first, ast.JoinedStr | ast.BinOp | ast.Constant)
        if name in MAKERS or is_text:
            yield around, first


def offences(source: str) -> list[str]:
    module = Module(ast.parse(source))
    return [
        ast.unparse(node)
        for around, node in statements(module)
        if not module.is_constant(node, module.locals_of(around))
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_statement_is_made_of_constants(path: Path) -> None:
    assert offences(path.read_text(encoding="utf-8")) == []


def test_the_rule_sees_the_statements() -> None:
    seen = {path.name: len(list(statements(Module(parsed(path))))) for path in MODULES}
    assert sum(seen.values()) >= 28
    expected = ("record.py", "counters.py", "contacts.py", "find.py", "runner.py")
    assert min(seen[name] for name in expected) >= 2


@pytest.mark.parametrize(
    "bad",
    [
        'def f(s, name): s.execute(text(f"SELECT {name}"))',
        'def f(s, name): s.execute(text("SELECT " + name))',
        'def f(s, name): s.execute(text("SELECT %s" % name))',
        'def f(s, name): s.execute(text("SELECT {}".format(name)))',
        'def f(s, names): s.execute(text("SELECT " + ", ".join(names)))',
        'def f(s, sort): s.execute(text("SELECT 1 ORDER BY {s}".replace("{s}", sort)))',
        'def f(s, event): s.execute(text(f"SELECT {event.name}"))',
        'def f(s, fields): s.execute(text("UPDATE t SET " + ", ".join(f"{name} = 1" for name in fields)))',
        "def f(s, sql):\n    statement = sql\n    s.execute(text(statement))",
        'def f(s, more):\n    sql = "SELECT 1"\n    sql += more\n    s.execute(text(sql))',
        'def f(s, name): s.execute(f"SELECT {name}")',
        'def f(c, name): c.exec_driver_sql("SELECT " + name)',
        "def f(s, name): s.execute(select(literal_column(name)))",
        "def f(column, name): return column.op(name)(1)",
        'def _sql(name): return f"SELECT {name}"\ndef f(s, name): s.execute(text(_sql(name)))',
        'def _sql(name): return f"SELECT {name}"\nX = text(_sql("a"))\ndef f(s, name): s.execute(text(_sql(name)))',
        'from db.services import state\nX = text(f"SELECT {state.columns}")',
        "import os\nX = text(os.environ['SQL'])",
        "import os\n_SQL = os.environ['SQL']\nX = text(_SQL)",
        'def sql(name): return text(f"SELECT {name}")\nX = sql("a")',
        'class Table:\n    def __init__(self, name): self.add = text(f"SELECT {name}")\ndef f(n): Table(n)',
    ],
)
def test_the_rule_finds_a_statement_that_is_made_of_an_argument(bad: str) -> None:
    assert offences(bad)


@pytest.mark.parametrize(
    "good",
    [
        'def f(s): s.execute(text("SELECT 1"))',
        '_COLUMNS = ("a", "b")\nX = text(f"SELECT {", ".join(_COLUMNS)}")'.replace('", ".join', "str().join"),
        'from db.domain.metrics import COUNTERS\nX = text("SELECT " + ", ".join(f"sum({c})" for c in COUNTERS))',
        'def _sql(name):\n    more = f"{name}, 1"\n    return f"SELECT {more}"\nX = text(_sql("a"))',
        'from db.services import state\nX = text(f"SELECT {state.COLUMNS}")',
        '_A = "SELECT {t}"\nX = text(_A.format(t="a"))',
        'class _T:\n    def __init__(self, name): self.add = text(f"SELECT {name}")\nX = _T("a")',
    ],
)
def test_the_rule_lets_constants_pass(good: str) -> None:
    assert offences(good) == []
