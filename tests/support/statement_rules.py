"""Rules that statements keep for a distributed PostgreSQL, checked on what PostgreSQL itself makes of a statement.

A parser outside of the server knows no types: to add an interval is STABLE for a timestamptz and IMMUTABLE for a
timestamp, and a date becomes text by a STABLE function that nobody names. So a statement becomes the body of an SQL
function here, which PostgreSQL keeps analysed (pg_proc.prosqlbody): each call, operator and cast by its oid. pg_proc
tells which of these are IMMUTABLE.
"""

import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final, Self, TypeAlias, cast

import psycopg
from psycopg.abc import Query
from sqlalchemy import Engine, TextClause, TextualSelect, event
from sqlalchemy.dialects import postgresql

from db import services

ROOT: Final = Path(__file__).resolve().parents[2]
PRODUCT: Final = ("db", "mcp_server")

Node: TypeAlias = dict[str, list[Any]]
"""A node of PostgreSQL's tree: its fields, and under "" its name. A value is a text, a Node or a list of values."""

_PARAMETER = re.compile(r"%%|%\((\w+)\)s")
# A list that SQLAlchemy has written out: a parameter for each value, more than a function may have.
_LIST = re.compile(r"(%\(\w+_)\d+(\)s[\w:]*)(?:, \1\d+\2)+")
_TOKEN = re.compile(r"[(){}]|(?:\\.|[^\s(){}\\])+", re.DOTALL)
_CHANGE = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE)

_TABLE, _FUNCTION, _CTE = "0", "3", "6"
_UPDATE, _INSERT, _DELETE, _MERGE = "2", "3", "4", "5"
_IS_MATERIALIZED = "1"
_BOOL = 16
_TYPE_FIELDS = (
    "vartype",
    "consttype",
    "paramtype",
    "funcresulttype",
    "opresulttype",
    "resulttype",
    "coalescetype",
    "casetype",
    "minmaxtype",
    "aggtype",
    "wintype",
    "array_typeid",
    "refrestype",
    "type",
)
# Their volatility is that of no function in pg_proc.
_ALWAYS_MUTABLE = {"SQLVALUEFUNCTION", "NEXTVALUEEXPR", "JSONCONSTRUCTOREXPR"}


class Rules:
    """Checks statements in a migrated database, over a connection of its own. Nothing of it stays there."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        self._mutable = dict(self._rows("SELECT oid::int, proname FROM pg_proc WHERE provolatile <> 'i'"))
        self._code = dict(self._rows("SELECT oid::int, oprcode::oid::int FROM pg_operator"))
        types = self._rows("SELECT oid::int, typinput::oid::int, typoutput::oid::int FROM pg_type")
        self._reads, self._writes = ({row[0]: row[column] for row in types} for column in (1, 2))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _rows(self, sql: Query) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    def offences(self, statement: str) -> list[str]:
        """What a distributed PostgreSQL would refuse in a statement as the driver takes it (%(name)s)."""
        if not _CHANGE.search(statement):
            return []
        tree = self._analysed(statement)
        queries = [node for node in nodes(tree) if node[""] == ["QUERY"]]
        changes = [query for query in queries if query["commandType"][0] in (_UPDATE, _INSERT, _DELETE, _MERGE)]
        if not changes:
            return []
        choices = [node for node in nodes(tree) if node[""][0] in ("CASEEXPR", "COALESCEEXPR")]
        found = [f"{name}() in CASE or COALESCE" for name in self._called(choices)]
        for query in changes:
            found += [f"{name}() in ON CONFLICT" for name in self._called(query["onConflict"])]
            found += [f"{name}() in RETURNING" for name in self._called(query["returningList"])]
            if query["commandType"] != [_INSERT]:
                found += [f"{name}() of a column in UPDATE or DELETE" for name in self._called_with_columns(query)]
            if query["commandType"] == [_INSERT] and {_TABLE, _FUNCTION} <= _sources(query["rtable"], queries):
                found.append("a function joined with a table in INSERT ... SELECT")
        return found

    def _analysed(self, statement: str) -> list[Any]:
        names: list[str] = []

        def number(match: re.Match[str]) -> str:
            if match[0] == "%%":
                return "%"
            if match[1] not in names:
                names.append(match[1])
            return f"${names.index(match[1]) + 1}"

        sql = _PARAMETER.sub(number, _LIST.sub(r"\g<1>1\2", statement))
        with self._connection.transaction(force_rollback=True):
            self._connection.execute(f"PREPARE checked AS {sql}".encode())
            ((types,),) = self._rows("SELECT parameter_types::text[] FROM pg_prepared_statements")
            self._connection.execute("DEALLOCATE checked")
            made = f"CREATE FUNCTION checked({', '.join(types)}) RETURNS void BEGIN ATOMIC {sql}; END"
            self._connection.execute(made.encode())
            ((tree,),) = self._rows("SELECT prosqlbody::text FROM pg_proc WHERE proname = 'checked'")
        return read(tree)

    def _called(self, value: object) -> Iterator[str]:
        """The names of what is not IMMUTABLE in there."""
        for node in nodes(value):
            yield from (self._mutable[oid] for oid in self._functions(node) if oid in self._mutable)
            if node[""][0] in _ALWAYS_MUTABLE:
                yield node[""][0].lower()

    def _called_with_columns(self, query: Node) -> Iterator[str]:
        for node in nodes([query["targetList"], query["jointree"]]):
            names = [self._mutable[oid] for oid in self._functions(node) if oid in self._mutable]
            if names and any(inner[""] == ["VAR"] for inner in nodes(node)):
                yield from names

    def _functions(self, node: Node) -> Iterator[int]:
        """The oids of the functions that a node calls itself."""
        yield from (int(node[field][0]) for field in ("funcid", "aggfnoid", "winfnoid") if field in node)
        if "opno" in node:
            yield self._code[int(node["opno"][0])]
        if node[""] == ["ROWCOMPAREEXPR"]:
            yield from (self._code[int(oid)] for oid in node["opnos"][0][1:])
        if node[""] == ["COERCEVIAIO"]:
            yield self._writes[_type(node["arg"][0])]
            yield self._reads[int(node["resulttype"][0])]


def _type(node: Node) -> int:
    """The oid of the type of an expression."""
    if node[""] == ["SUBLINK"]:
        return _type(node["subselect"][0]["targetList"][0][0]["expr"][0])
    return next((int(node[field][0]) for field in _TYPE_FIELDS if field in node), _BOOL)


def _sources(value: object, queries: list[Node]) -> set[str]:
    """What the queries in there read from: _TABLE, _FUNCTION. A part that is materialized is read for itself."""
    parts = {part["ctename"][0]: part for query in queries for part in nodes(query["cteList"]) if "ctequery" in part}
    found = set[str]()
    for query in (node for node in nodes(value) if node[""] == ["QUERY"]):
        for entry in nodes(query["rtable"]):
            kind = entry.get("rtekind", [""])[0]
            part = parts.get(entry["ctename"][0]) if kind == _CTE else None
            if part is not None and part["ctematerialized"] != [_IS_MATERIALIZED]:
                found |= _sources(part["ctequery"], queries)
            found.add(kind)
    return found


def read(text: str) -> list[Any]:
    """PostgreSQL's text of a tree: {NAME :field value ...}, (values), texts."""
    stack: list[list[Any]] = [[]]
    for token in _TOKEN.findall(text):
        if token in "({":
            stack.append([])
        elif token in ")}":
            values = stack.pop()
            stack[-1].append(values if token == ")" else _node(values))
        else:
            stack[-1].append(token)
    return stack[0]


def _node(values: list[Any]) -> Node:
    node: Node = {"": values[:1]}
    field = ""
    for value in values[1:]:
        if isinstance(value, str) and value.startswith(":"):
            field = value[1:]
            node[field] = []
        else:
            node[field].append(value)
    return node


def nodes(value: object) -> Iterator[Node]:
    """Every node in there, each before those in it."""
    if isinstance(value, dict):
        node = cast("Node", value)
        yield node
        yield from nodes(list(node.values()))
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from nodes(item)


def constants() -> dict[str, str]:
    """Every statement that the services hold: its name -> as the driver takes it."""
    found: dict[str, str] = {}
    dialect = postgresql.psycopg.dialect()
    for module in pkgutil.walk_packages(services.__path__, f"{services.__name__}."):
        values = vars(importlib.import_module(module.name))
        for name, statement in _statements(values.items(), module.name, set()):
            sql = str(statement.compile(dialect=dialect))
            if sql not in found.values():
                found[name] = sql
    return found


def _statements(
    values: Iterable[tuple[object, object]], owner: str, seen: set[int]
) -> Iterator[tuple[str, TextClause | TextualSelect]]:
    """Of what names stand for: statements, those in tables of them, and those that objects hold."""
    for key, value in values:
        if id(value) in seen:
            continue
        seen.add(id(value))
        name = f"{owner}.{key}"
        if isinstance(value, TextClause | TextualSelect):
            yield name, value
        elif isinstance(value, dict):
            yield from _statements(cast("dict[object, object]", value).items(), name, seen)
        elif isinstance(value, tuple):
            yield from _statements(enumerate(cast("tuple[object, ...]", value)), name, seen)
        elif type(value).__module__.startswith(services.__name__) and not isinstance(value, Enum | type):
            yield from _statements(getattr(value, "__dict__", {}).items(), name, seen)


class Executed:
    """The statements that the code of the product has executed in this process, and have not been checked yet."""

    def __init__(self) -> None:
        self._checked = set[str]()
        self._new: dict[str, str] = {}
        event.listen(Engine, "before_cursor_execute", self._note)

    def _note(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement not in self._checked and statement not in self._new:
            caller = _caller()
            if caller is not None:
                self._new[statement] = f"{caller}, in {os.environ.get('PYTEST_CURRENT_TEST', 'no test')}"

    def check(self, url: str) -> None:
        """AssertionError that names each new statement which breaks a rule, who executes it, and in which test."""
        new, self._new = self._new, {}
        self._checked |= new.keys()
        if new:
            with Rules(url) as rules:
                found = {f"{who}: {sql}": told for sql, who in new.items() if (told := rules.offences(sql))}
            assert not found, found


def _caller() -> str | None:
    """The line of the product that executes a statement; None where a test or a migration does."""
    frame = inspect.currentframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        # A virtual environment may lie in the checkout, and the driver's own lines with it.
        if path.is_relative_to(ROOT) and not path.is_relative_to(sys.prefix) and path != Path(__file__):
            inside = path.relative_to(ROOT)
            return f"{inside}:{frame.f_lineno}" if inside.parts[0] in PRODUCT else None
        frame = frame.f_back
    return None
