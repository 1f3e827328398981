"""Every regular expression of the package takes time proportional to its input, also on the worst one."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import serotine

# The parser of regular expressions has no public name.
from re import _constants as ops  # type: ignore[attr-defined] # isort: skip
from re import _parser as parser  # type: ignore[attr-defined] # isort: skip

Pattern = re.Pattern[Any]
_CATEGORIES = {ops.CATEGORY_SPACE: " ", ops.CATEGORY_WORD: "a", ops.CATEGORY_DIGIT: "1", ops.CATEGORY_NOT_SPACE: "x"}
_CHARACTERS = 8
_TRIAL, _LENGTH = 1_000, 8_000
# Inputs that the generator below does not reach.
_CASES = {
    "serotine.nesting._STRING": [('"', '\\"', "")],
    "serotine.ingest.readers.front_matter._KEY": [("", "#", "\n!")],
    "serotine.ingest.readers.code._REST": [("", "//namespace", "!"), ("", "#endif", "!")],
    "serotine.ingest.readers.html._CHARSET": [("<meta charset=", " ", "!")],
}


def _modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(serotine.__path__, "serotine."):
        # What torch and Triton code matches are names of its own parameters.
        if not re.search(r"\.(torch|triton|_core|__main__)\b", module.name):
            yield module.name


def _patterns() -> Iterator[tuple[str, Pattern, bool]]:
    """Yield every pattern with its name, and whether it is searched for at every position."""
    for name in _modules():
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        if "re." not in source:
            continue
        for attribute, value in vars(importlib.import_module(name)).items():
            if isinstance(value, re.Pattern):
                anchored = re.search(rf"\b{attribute}\.(match|fullmatch)\(", source)
                scanned = re.search(rf"\b{attribute}\.(sub|subn|split|search|finditer|findall)\(", source)
                yield f"{name}.{attribute}", value, bool(scanned or not anchored)
        for node in ast.walk(ast.parse(source)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            function, pattern = node.func.attr, node.args[0]
            if ast.unparse(node.func.value) == "re" and function != "compile" and isinstance(pattern, ast.Constant):
                yield f"{name}:{function}({pattern.value!r})", re.compile(pattern.value), "match" not in function


def _pieces(pattern: Pattern) -> tuple[list[str], list[str]]:
    """Return a character of every class of a pattern, and its literal words."""
    characters: dict[str, None] = {}
    words: dict[str, None] = {}

    def visit(tree: Any) -> None:
        word = ""
        for op, value in tree:
            if op is ops.LITERAL:
                word += chr(value)
                continue
            if len(word) > 1:
                words[word] = None
            characters.update(dict.fromkeys(word))
            word = ""
            if op is ops.IN:
                for kind, member in value[:4]:
                    if kind is ops.CATEGORY:
                        characters[_CATEGORIES.get(member, "-")] = None
                    elif kind is not ops.NEGATE:
                        characters[chr(member[0] if kind is ops.RANGE else member)] = None
                    else:
                        characters["z"] = None
            elif op in (ops.ANY, ops.NOT_LITERAL):
                characters["z"] = None
            for child in value if isinstance(value, (list, tuple)) else [value]:
                for branch in child if isinstance(child, list) else [child]:
                    if isinstance(branch, parser.SubPattern):
                        visit(branch)
        if len(word) > 1:
            words[word] = None
        characters.update(dict.fromkeys(word))

    visit(parser.parse(pattern.pattern, pattern.flags))
    some = list(characters)
    return random.Random(0).sample(some, min(len(some), _CHARACTERS)), list(words)[:_CHARACTERS]


def _inputs(name: str, pattern: Pattern) -> Iterator[tuple[str, str, str]]:
    """Yield (beginning, repeated text, end)."""
    yield from _CASES.get(name, [])
    characters, words = _pieces(pattern)
    repeated = [*characters, *words, *(a + b for a in characters for b in characters if a != b)]
    repeated += [word + a for word in words for a in characters]
    for beginning in ("", *characters, *words):
        for text in repeated:
            yield beginning, text, "\0"


def _runner(pattern: Pattern, *, scanned: bool) -> Callable[[tuple[str, str, str], int], float]:
    def run(case: tuple[str, str, str], length: int) -> float:
        beginning, repeated, end = case
        text: Any = beginning + repeated * (length // len(repeated)) + end
        if isinstance(pattern.pattern, bytes):
            text = text.encode("latin-1", "replace")
        start = time.thread_time()
        if scanned:
            for _ in pattern.finditer(text):
                pass
        else:
            pattern.fullmatch(text)
            pattern.match(text)
        return time.thread_time() - start

    return run


PATTERNS = {name: (pattern, scanned) for name, pattern, scanned in _patterns()}


@pytest.mark.parametrize("name", PATTERNS)
def test_twice_the_text_takes_twice_the_time(name: str) -> None:
    pattern, scanned = PATTERNS[name]
    run = _runner(pattern, scanned=scanned)
    # An exponential one never ends on more.
    for case in _CASES.get(name, []):
        assert run(case, 26 * len(case[1])) < 0.1, f"{case} takes exponential time"
    worst = max(_inputs(name, pattern), key=lambda case: run(case, _TRIAL))
    single, double = (min(run(worst, length) for _ in range(3)) for length in (_LENGTH, 2 * _LENGTH))
    # Twice the time in theory, four times for a quadratic one. Half a millisecond is below what can be measured.
    assert double < 3 * single + 5e-4, f"{worst}: {single * 1e3:.1f} ms, then {double * 1e3:.1f} ms"


def test_the_patterns_are_all_here() -> None:
    assert len(PATTERNS) > 60
