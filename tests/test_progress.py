"""Progress where standard error is not a terminal: a line from time to time."""

from __future__ import annotations

import time

import pytest

from serotine import progress
from serotine.progress import progress_bar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_first_second_gives_an_estimate_of_what_takes_long(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    for megabytes in (9, 50):
        with progress_bar(megabytes * 1_000_000, "Encoding", enabled=True, unit="bytes") as bar:
            started = clock[0]
            bar.reach(0, bar.total)
            for second in (0.5, 1.5, 2.5) if megabytes < 50 else (0.5, 1.5, 2.5, 12.0):
                clock[0] = started + second
                bar.reach(int(second * 1_000_000), bar.total)
    # What ends soon is silent.
    assert capsys.readouterr().err.splitlines() == [
        "Encoding: 1.5 of 50.0 MB (3%), 1.0 MB/s, 0:00:48 left",
        "Encoding: 12.0 of 50.0 MB (24%), 1.0 MB/s, 0:00:38 left",
    ]


def test_a_bar_estimates_from_its_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    display = progress._new_display()
    now = [0.0]
    monkeypatch.setattr(display, "get_time", lambda: now[0])
    bar = progress._Drawn(display, 110, "Encoding", "bytes", 10)
    now[0] = 2.0
    bar(10)
    bar.show("loss 1.5")
    console = Console(width=120)
    with console.capture() as capture:
        console.print(display.make_tasks_table(display.tasks))
    # Of a resumed operation, by the rate since then.
    assert "0:00:18 left loss 1.5" in capture.get()


def test_a_resumed_operation_has_the_rate_since_then_and_figures(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with progress_bar(280, "distil", enabled=True, completed=240) as bar:
        bar.show("loss 0.5")
        clock[0] = 20.0
        bar.reach(250, 280)
        clock[0] = 40.0
        bar.show("loss 0.4")
    assert capsys.readouterr().err.splitlines() == [
        "distil: 250 of 280 (89%), 0:01:00 left, loss 0.5",
        "distil: 250 of 280 (89%), 0:02:00 left, loss 0.4",
    ]


def test_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with progress_bar(50_000_000, "Reading", enabled=True, unit="bytes") as bar:
        for second in range(1, 26):
            clock[0] = float(second)
            bar(1_000_000)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Reading: 1.0 of 50.0 MB (2%), 1.0 MB/s, 0:00:49 left",
        "Reading: 11.0 of 50.0 MB (22%), 1.0 MB/s, 0:00:39 left",
        "Reading: 21.0 of 50.0 MB (42%), 1.0 MB/s, 0:00:29 left",
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
    assert capsys.readouterr().err == "Encoding: 20.0 of 80.0 kB (25%), 2.0 kB/s, 0:00:30 left\n"


def test_texts_show_their_rate_and_that_of_their_tokens(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with progress_bar(400, "Encoding", enabled=True) as bar:
        clock[0] = 10.0
        bar(100, tokens=9_500)
    assert capsys.readouterr().err == "Encoding: 100 of 400 (25%), 10.0 texts/s, 950 tokens/s, 0:00:30 left\n"
