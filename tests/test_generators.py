"""Generators never leave the state of the process or of the context changed while their caller works."""

from __future__ import annotations

import ast
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest
from helpers.fakes import WordEncoder

from serotine.index.text_vectors import encode_documents
from serotine.ingest import Fields
from serotine.ingest.readers.xlsx import read_xlsx_rows
from serotine.issued_warnings import warnings_wanted

ROOT = Path(__file__).parents[1]
# Context managers that set a context variable, or what the whole process has.
SETTERS = {
    "applied",
    "catch_warnings",
    "collected_warnings",
    "errstate",
    "fork_rng",
    "limit_threads",
    "localcontext",
    "muted_warnings",
    "on_command_line",
    "over_http",
}


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one, except those of functions within it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.GeneratorExp)):
            yield child
            yield from own_nodes(child)


def called(expression: ast.expr) -> str:
    function = expression.func if isinstance(expression, ast.Call) else expression
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def is_context_manager(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return bool({"contextmanager", "asynccontextmanager"} & set(map(called, function.decorator_list)))


def yields_within(setters: set[str], tree: ast.AST) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """Yield the generators that yield with the state changed, and the lines where they change it."""
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for block in own_nodes(function):
                if (
                    isinstance(block, (ast.With, ast.AsyncWith))
                    and setters & {called(item.context_expr) for item in block.items}
                    and any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in own_nodes(block))
                ):
                    yield function, block.lineno


def places(trees: dict[str, ast.AST]) -> set[str]:
    """Return where a generator works for its caller with the state changed, directly or by a context manager's call.

    Context managers themselves do that on purpose.
    """
    setters, before = set(SETTERS), set[str]()
    while setters != before:
        before = set(setters)
        for tree in trees.values():
            setters |= {function.name for function, _ in yields_within(before, tree) if is_context_manager(function)}
    return {
        f"{name}:{line}"
        for name, tree in trees.items()
        for function, line in yields_within(setters, tree)
        if not is_context_manager(function)
    }


def test_the_check_finds_what_it_looks_for() -> None:
    body = "    with warnings.catch_warnings():\n        yield 1\n"
    manager = f"@contextmanager\ndef quiet():\n{body}"
    assert places({"a": ast.parse(f"def numbers():\n{body}")}) == {"a:2"}
    assert places({"a": ast.parse(manager)}) == set()
    user = "def letters():\n    with quiet():\n        yield 'a'\n"
    assert places({"a": ast.parse(manager), "b": ast.parse(user)}) == {"b:2"}


def test_no_generator_yields_with_changed_state() -> None:
    files = [path for folder in ("src", "benchmarks", "models", "release") for path in (ROOT / folder).rglob("*.py")]
    trees: dict[str, ast.AST] = {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in files}
    # CPython 3.11 may crash where the garbage collector closes such a generator while a context variable is set.
    assert places(trees) == set()


def test_who_takes_encoded_documents_is_not_muted() -> None:
    rows = encode_documents(WordEncoder(), ["one", "two"], WordEncoder().dim, show_progress=False)
    assert [warnings_wanted() for _ in rows] == [True, True]


def test_who_takes_rows_of_a_spreadsheet_hears_warnings(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.append(["text", "when"])
    workbook.active.append(["owls", 1e9])
    workbook.active["B2"].number_format = "yyyy-mm-dd"
    workbook.active.append(["bats", 2])
    written = io.BytesIO()
    workbook.save(written)
    path = tmp_path / "table.xlsx"
    path.write_bytes(written.getvalue())
    texts = []
    for row in read_xlsx_rows(path, path.name, Fields()):
        # As an error, as all warnings are here.
        with pytest.raises(UserWarning, match="heard"):
            warnings.warn("heard", stacklevel=1)
        texts.append(row)
    # openpyxl's own warning, of a date beyond its limits, is not: it would be an error here.
    assert len(texts) == 2
