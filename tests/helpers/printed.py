"""Printed lines beside those that a page shows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

_NUMBER = re.compile(r"\d+\.\d+")


def check_printed(printed: Sequence[str], shown: Sequence[str]) -> None:
    """Compare what a program printed with what a page shows.

    Numbers with a decimal point may differ by one in a hundred, as scores do between the arithmetic of processors.
    """
    assert [_NUMBER.sub("N", line) for line in printed] == [_NUMBER.sub("N", line) for line in shown]
    for line, expected in zip(printed, shown, strict=True):
        numbers = [float(number) for number in _NUMBER.findall(line)]
        assert numbers == pytest.approx([float(number) for number in _NUMBER.findall(expected)], rel=0.01), expected
