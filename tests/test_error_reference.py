"""docs/reference/errors.md has every exception, warning and HTTP code, and its examples raise what it says."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import inspect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from serotine import errors
from serotine.wire import ERRORS, STATUS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/reference/errors.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
# Raised where libraries are missing or wanted, disks full, machines down or models dense, or within SQLite; or bases.
WITHOUT_EXAMPLE = {
    "IgnoredParameterWarning", "MaintenanceWarning", "MissingExtraError", "PartialResultWarning", "SerotineError",
    "SerotineWarning", "RefusedVectorsWarning", "ShardUnavailableError", "TrainingError", "UnfinishedUpdateWarning",
    "UnprovedWarning", "UntrainedProjectionWarning", "WaitingForClusterWarning", "ZeroShotWarning",
}  # fmt: skip


def public_classes() -> set[str]:
    return {name for name, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, Exception)}


def examples(text: str) -> str:
    return "".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))


def test_every_class_has_a_section() -> None:
    assert set(SECTIONS) == public_classes()
    assert {name for name, text in SECTIONS.items() if not examples(text)} == WITHOUT_EXAMPLE


def test_every_warning_is_of_serotine_errors() -> None:
    defined = {
        (source.name, name)
        for source in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"^class (\w+)\(\w*Warning\):", source.read_text("utf-8"), re.MULTILINE)
    }
    assert {file for file, _ in defined} == {"errors.py"}


def test_the_examples_raise_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    parser = doctest.DocTestParser()
    report: list[str] = []
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        for name, text in [("beginning", PAGE.partition("## Errors")[0]), *SECTIONS.items()]:
            if name == "RecipeError" and importlib.util.find_spec("yaml") is None:
                continue
            test = parser.get_doctest(examples(text), names, name, "errors.md", 0)
            test.globs = names
            runner.run(test, out=report.append, clear_globs=False)
            if name not in {"beginning", *WITHOUT_EXAMPLE}:
                assert any(name in (example.exc_msg or example.want) for example in test.examples), name
    assert not report, "".join(report)
    names["index"].close()  # type: ignore[attr-defined]


def server_codes() -> Iterator[tuple[str, int]]:
    """Yield the codes and statuses that the sources of the server name."""
    for source in (ROOT / "src/serotine/serving").rglob("*.py"):
        for call in ast.walk(ast.parse(source.read_text("utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            named = {keyword.arg: keyword.value for keyword in call.keywords}
            values = [named["status"], named["code"]] if {"status", "code"} <= named.keys() else call.args[:2]
            if len(values) == 2 and all(isinstance(value, ast.Constant) for value in values):
                status, code = (ast.literal_eval(value) for value in values)
                if isinstance(status, int) and isinstance(code, str) and 400 <= status < 600:
                    yield code, status


def test_every_http_code_has_a_row() -> None:
    rows = re.findall(r"^\| (`[^|]+) \| (\d{3}) \|", PAGE, re.MULTILINE)
    documented = {code: int(status) for cell, status in rows for code in re.findall(r"`(\w+)`", cell)}
    assert {code: documented.get(code) for code in ERRORS} == STATUS
    own = dict(server_codes())
    assert {"overloaded", "unauthorized", "too_large"} <= set(own)
    assert {code: documented.get(code) for code in own} == own
    # The framework's own, by the phrases of their statuses; a body that is not JSON; a fault without a class.
    assert set(documented) - set(own) - set(ERRORS) == {"bad_json", "not_found", "method_not_allowed", "server_error"}
