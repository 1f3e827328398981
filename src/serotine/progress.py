"""The progress of long operations on standard error: a bar on a terminal, elsewhere a line from time to time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from serotine.errors import check_flags

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID
    from rich.text import Text

Unit = Literal["steps", "bytes"]
Advance = Callable[[int], None]
# Seconds between two lines where standard error is not a terminal; and after which the first one says how long an
# operation takes that will take longer than that.
_INTERVAL = 10.0
_FIRST_ESTIMATE = 1.0
_MEGABYTE = 1e6


class ProgressBar:
    """The progress of one operation; call it with the number of steps since the last call.

    Attributes:
        completed: steps so far.
        total: all steps; None: unknown.
        tokens: tokens of the texts among them; 0 where steps are no texts.
        figures: results so far, shown behind the time left.
    """

    def __init__(self, total: int | None, completed: int = 0) -> None:
        self.completed = self._completed_before = completed
        self.tokens = 0
        self.total = total
        self.figures = ""

    def __call__(self, steps: int, *, tokens: int = 0) -> None:
        """Advance by `steps`, which are texts of so many `tokens` together where they are given."""
        self.tokens += tokens
        self.reach(self.completed + steps, self.total)

    def reach(self, completed: int, total: int | None) -> None:
        """Set the steps so far, and all steps."""
        self.completed, self.total = completed, total
        self._draw()

    def show(self, figures: str) -> None:
        """Set the figures behind the time left."""
        self.figures = figures
        self._draw()

    def _draw(self) -> None:
        """Show the new state; nothing unless overridden."""


@contextmanager
def progress_bar(
    total: int | None, description: str, *, enabled: bool, unit: Unit = "steps", completed: int = 0
) -> Iterator[ProgressBar]:
    """Show the progress of `total` steps (None: unknown), some of them `completed` before, and yield a bar to advance.

    On a terminal, bars that are open at the same time are drawn below each other, and one that is within another
    disappears when it ends. Elsewhere a line is written every ten seconds, and one after the first second, if it shows
    that the operation takes longer. Nothing is shown, and rich is not imported, unless `enabled`.
    """
    check_flags(show_progress=enabled)
    if not enabled:
        yield ProgressBar(total, completed)
    elif sys.stderr.isatty():
        with _display() as display:
            bar = _Drawn(display, total, description, unit, completed)
            try:
                yield bar
            finally:
                if len(display.tasks) > 1:
                    display.remove_task(bar.task)
    else:
        yield _Lines(total, description, unit, completed)


class _Lines(ProgressBar):
    """A line every ten seconds: ``Encoding: 12.3 of 50.0 MB (25%), 2.1 MB/s, 0:00:18 left``."""

    def __init__(self, total: int | None, description: str, unit: Unit, completed: int) -> None:
        super().__init__(total, completed)
        self._description = description
        self._unit = unit
        self._started = self._written = time.monotonic()

    def _draw(self) -> None:
        now = time.monotonic()
        if now - self._written < _INTERVAL and not (self._written == self._started and self._is_long(now)):
            return
        self._written = now
        sys.stderr.write(f"{self._description}: {self._state(now - self._started)}\n")
        sys.stderr.flush()

    def _is_long(self, now: float) -> bool:
        """Return whether what is done so far shows that more than one interval is left."""
        seconds = now - self._started
        left = self._seconds_left(seconds)
        return seconds >= _FIRST_ESTIMATE and left is not None and left > _INTERVAL

    def _state(self, seconds: float) -> str:
        rate = (self.completed - self._completed_before) / seconds
        is_bytes = self._unit == "bytes"
        most = self.completed if self.total is None else self.total
        size, unit = (_MEGABYTE, "MB") if most >= _MEGABYTE else (1000, "kB")
        done = f"{self.completed / size:,.1f}" if is_bytes else f"{self.completed:,}"
        if self.total is None:
            parts = [f"{done} {unit}" if is_bytes else done]
        else:
            of = f"{self.total / size:,.1f} {unit}" if is_bytes else f"{self.total:,}"
            parts = [f"{done} of {of}" + (f" ({self.completed / self.total:.0%})" if self.total else "")]
        if is_bytes:
            parts.append(f"{rate / _MEGABYTE:,.1f} MB/s" if rate >= _MEGABYTE / 10 else f"{rate / 1000:,.1f} kB/s")
        if self.tokens:
            parts.append(_speeds(self.completed, self.tokens, seconds))
        if (left := self._seconds_left(seconds)) is not None:
            parts.append(f"{_duration(left)} left")
        return ", ".join([*parts, *([self.figures] if self.figures else [])])

    def _seconds_left(self, seconds: float) -> float | None:
        before = self._completed_before
        return _seconds_left(self.completed - before, None if self.total is None else self.total - before, seconds)


class _Drawn(ProgressBar):
    """A bar of rich."""

    def __init__(self, display: Progress, total: int | None, description: str, unit: Unit, completed: int) -> None:
        super().__init__(total, completed)
        self._display = display
        self.task: TaskID = display.add_task(
            description, total=total, completed=completed, unit=unit, before=completed, tokens=0, figures=""
        )

    def _draw(self) -> None:
        self._display.update(
            self.task, completed=self.completed, total=self.total, tokens=self.tokens, figures=self.figures
        )


_display_lock = threading.Lock()
_displays: list[Progress] = []


@contextmanager
def _display() -> Iterator[Progress]:
    """Yield the one display of this process, opening it where there is none: two of rich's draw over each other."""
    with _display_lock:
        if _displays:
            opened = None
            display = _displays[0]
        else:
            opened = display = _new_display()
            _displays.append(display)
    if opened is None:
        yield display
        return
    try:
        with opened:
            yield opened
    finally:
        with _display_lock:
            _displays.clear()


def _new_display() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    class Amount(ProgressColumn):
        """Steps, or bytes with their rate."""

        counts, sizes, speeds = MofNCompleteColumn(), DownloadColumn(), TransferSpeedColumn()

        def render(self, task: Task) -> Text:
            if task.fields["unit"] == "steps":
                counts = self.counts.render(task)
                if not task.fields["tokens"] or not task.elapsed:
                    return counts
                return Text.assemble(counts, " ", _speeds(int(task.completed), task.fields["tokens"], task.elapsed))
            return Text.assemble(self.sizes.render(task), " ", self.speeds.render(task))

    class Left(ProgressColumn):
        """The time left, or taken."""

        elapsed, remaining = TimeElapsedColumn(), TimeRemainingColumn()

        def render(self, task: Task) -> Text:
            if task.finished or task.total is None:
                return self.elapsed.render(task)
            # rich estimates from the second step on; the first may take long.
            before = task.fields["before"]
            left = _seconds_left(task.completed - before, task.total - before, task.elapsed or 0.0)
            if task.time_remaining is None and left is not None:
                return Text(f"{_duration(left)} left", style="progress.remaining")
            return Text.assemble(self.remaining.render(task), " left")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        Amount(),
        Left(),
        TextColumn("{task.fields[figures]}"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=False, expand=True)


def _speeds(texts: int, tokens: int, seconds: float) -> str:
    return f"{texts / seconds:,.1f} texts/s, {tokens / seconds:,.0f} tokens/s"


def _seconds_left(completed: float, total: float | None, seconds: float) -> float | None:
    """Return the time left, given the time so far; None where nothing is done yet, or the total is unknown."""
    return None if not completed or total is None else seconds * (total - completed) / completed


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
