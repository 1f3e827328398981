"""Progress where standard error is not a terminal: a line from time to time."""

from __future__ import annotations

import time

import pytest

from serotine.progress import progress_bar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with progress_bar(50_000_000, "Reading", enabled=True, unit="bytes") as bar:
        for second in range(1, 26):
            clock[0] = float(second)
            bar(1_000_000)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Reading: 10.0 of 50.0 MB (20%), 1.0 MB/s, 0:00:40 left",
        "Reading: 20.0 of 50.0 MB (40%), 1.0 MB/s, 0:00:30 left",
    ]


def test_steps_without_a_total_and_bars_that_are_off(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    for enabled in (True, False):
        with progress_bar(None, "Adding", enabled=enabled) as bar:
            clock[0] += 11
            bar(1_500)
    assert capsys.readouterr().err == "Adding: 1,500\n"


def test_the_total_may_become_known_later(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with progress_bar(None, "Encoding", enabled=True, unit="bytes") as bar:
        clock[0] = 10.0
        bar.reach(20_000, 80_000)
    assert capsys.readouterr().err == "Encoding: 0.0 of 0.1 MB (25%), 2.0 kB/s, 0:00:30 left\n"


def test_texts_show_their_rate_and_that_of_their_tokens(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with progress_bar(400, "Encoding", enabled=True) as bar:
        clock[0] = 10.0
        bar(100, tokens=9_500)
    assert capsys.readouterr().err == "Encoding: 100 of 400 (25%), 10.0 texts/s, 950 tokens/s, 0:00:30 left\n"
