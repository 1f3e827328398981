"""The `>>>` examples of public docstrings run, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
from typing import Any

import numpy as np
import pytest

import serotine
import serotine.maxsim

ROOMS = ("serotine", "serotine.maxsim", "serotine.evaluation")
# The base of errors; a client of a server that would have to run.
WITHOUT_EXAMPLE = {"SerotineError", "Client"}


def public_objects() -> list[tuple[str, Any]]:
    """Return every public class and function, by its full name."""
    objects = []
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            if room == "serotine.maxsim" and name in maxsim_of_torch():
                continue
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isroutine(value):
                objects.append((f"{room}.{name}", value))
    return objects


def examples(value: Any) -> list[doctest.DocTest]:
    """Return the examples in the docstrings of an object and its methods.

    They assume what the documentation imports: NumPy as `np` and the public names.
    """
    names = {"np": np, **{name: getattr(serotine, name) for name in serotine.__all__}}
    for room in ROOMS[1:]:
        module = importlib.import_module(room)
        names |= {name: getattr(module, name) for name in module.__all__ if name not in maxsim_of_torch()}
    values = [value]
    if inspect.isclass(value):
        # The finder leaves out inherited methods.
        values += [base for base in value.__mro__[1:] if base.__module__.startswith("serotine.")]
    return [test for item in values for test in doctest.DocTestFinder().find(item, globs=names) if test.examples]


def maxsim_of_torch() -> frozenset[str]:
    """Return the names of `serotine.maxsim` that need torch, where torch is not installed."""
    if importlib.util.find_spec("torch") is not None:
        return frozenset()
    return serotine.maxsim._TORCH_ONLY


@pytest.mark.parametrize(("name", "value"), public_objects(), ids=lambda value: value if isinstance(value, str) else "")
def test_public_docstrings_have_examples_that_run(
    name: str, value: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.rsplit(".", 1)[1] in WITHOUT_EXAMPLE:
        pytest.skip("needs no example")
    tests = examples(value)
    assert tests, f"{name}: its docstring has no >>> example"
    if any("import torch" in example.source for test in tests for example in test.examples):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path_factory.mktemp("examples"))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    for test in tests:
        runner.run(test, out=report.append, clear_globs=True)
    assert not runner.summarize(verbose=False).failed, "".join(report)
