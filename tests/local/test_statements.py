"""No text of a statement is put together: what reaches SQLite is a constant, or chosen from a table of constants."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import db.local

MODULES = sorted(Path(db.local.__path__[0]).glob("*.py"))
RUNNERS = {"execute", "executemany", "executescript", "change", "read_row"}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def calls_of_runners(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef | None, ast.Call]]:
    """Every call that hands a statement on, with the innermost function around it."""

    def walk(node: ast.AST, around: ast.FunctionDef | None) -> Iterator[tuple[ast.FunctionDef | None, ast.Call]]:
        if isinstance(node, ast.FunctionDef):
            around = node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RUNNERS:
            yield around, node
        for child in ast.iter_child_nodes(node):
            yield from walk(child, around)

    return walk(tree, None)


def literal_names(function: ast.FunctionDef | None, constants: set[str]) -> set[str]:
    """Names in the function that the type checker holds to literal strings, or that are chosen from constants."""
    if function is None:
        return set()
    arguments = [*function.args.args, *function.args.kwonlyargs]
    typed = {
        argument.arg
        for argument in arguments
        if argument.annotation is not None and ast.unparse(argument.annotation) in {"LiteralString", "Statements"}
    }
    for node in ast.walk(function):
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name) and is_constant(node.iter, constants, typed):
            typed.add(node.target.id)
    assigned = [node for node in ast.walk(function) if isinstance(node, ast.Assign)]
    chosen = {ast.unparse(node.targets[0]) for node in assigned if is_choice(node.value, constants)}
    return typed | (
        chosen - {ast.unparse(node.targets[0]) for node in assigned if not is_choice(node.value, constants)}
    )


def is_choice(node: ast.expr, constants: set[str]) -> bool:
    """One constant or another, by a condition."""
    return isinstance(node, ast.IfExp) and all(is_constant(arm, constants, set()) for arm in (node.body, node.orelse))


def is_constant(node: ast.expr, constants: set[str], literal: set[str]) -> bool:
    """A literal, an upper-case constant of a module, an entry of such a table, or a name held to literals."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.Name):
        return node.id in literal or node.id in constants
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id == "sql" and node.attr in constants
    if isinstance(node, ast.Subscript):
        return is_constant(node.value, constants, set())
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        return is_constant(node.func.value, constants, set()) and is_constant(node.args[1], constants, set())
    return False


def is_literal(node: ast.expr | None) -> bool:
    """A string, or a tuple or table of strings, written out; a name stands for another constant."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.Tuple):
        return all(is_literal(item) for item in node.elts)
    if isinstance(node, ast.Dict):
        return all(isinstance(item, ast.Name) or is_literal(item) for item in node.values)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "MappingProxyType":
        return is_literal(node.args[0])
    return False


def constants_of(tree: ast.Module) -> set[str]:
    """The module's names that are written out as literals and never assigned again."""
    found: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.AugAssign) and isinstance(node.target, ast.Name):
            found.setdefault(node.target.id, []).append(node.value)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
    return {name for name, values in found.items() if name.isupper() and len(values) == 1 and is_literal(values[0])}


CONSTANTS = {name for path in MODULES for name in constants_of(parsed(path))}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_every_statement_that_is_run_is_a_constant(path: Path) -> None:
    for function, call in calls_of_runners(parsed(path)):
        text = ast.unparse(call)
        assert call.args, text
        assert is_constant(call.args[0], CONSTANTS, literal_names(function, CONSTANTS)), f"{path.name}: {text}"


def test_the_rule_sees_the_statements_of_the_store() -> None:
    assert {"CLAIM", "INSERT", "GET", "PUT", "SET"} <= CONSTANTS
    assert sum(1 for path in MODULES for _ in calls_of_runners(parsed(path))) > 40


@pytest.mark.parametrize(
    "bad",
    [
        'def f(c, name): c.execute(f"SELECT {name}")',
        'def f(c, name): c.execute("SELECT " + name)',
        'def f(c, name): c.execute("SELECT %s" % name)',
        'def f(c, name): c.execute("SELECT {}".format(name))',
        "def f(c, sql): c.execute(sql)",
        "def f(c, sql: str): c.execute(sql)",
        'def f(c, sql: str):\n    c.execute(CLAIM.replace("a", sql))',
        "def f(c, more):\n    sql = CLAIM if more else INSERT\n    sql = sql + more\n    c.execute(sql)",
        "def f(c, many):\n    for sql in many: c.execute(sql)",
    ],
)
def test_the_rule_finds_a_statement_that_is_put_together(bad: str) -> None:
    ((function, call),) = calls_of_runners(ast.parse(bad))
    assert not is_constant(call.args[0], CONSTANTS, literal_names(function, CONSTANTS))


def test_the_type_checker_holds_what_is_handed_on_to_literal_strings() -> None:
    connection = next(path for path in MODULES if path.name == "connection.py").read_text(encoding="utf-8")
    assert "pyright: ignore" not in connection
    assert connection.count("sql: LiteralString") == 3
