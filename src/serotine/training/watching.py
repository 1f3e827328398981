"""What a run tells of itself: a line of JSON a step in a file, and a live view where a person looks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from serotine.training.judging import METRIC


class JsonlLog(TrainerCallback):
    """Appends what the trainer logs to a file: loss, learning rate, nDCG@10, seconds. Safe to follow while it runs.

    A resumed run repeats the steps after its checkpoint; what the file told of them is cut off first.

    Args:
        path: the file.
        stage: written on every line.
    """

    def __init__(self, path: Path, stage: str) -> None:
        self._path = path
        self._stage = stage
        self._began = time.perf_counter()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Cuts off the lines of this stage after the step it begins at."""
        if not state.is_world_process_zero or not self._path.exists():
            return
        kept = []
        for line in self._path.read_text("utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # a line that a kill cut short
                continue
            if record["stage"] != self._stage or record["step"] <= state.global_step:
                kept.append(line)
        scratch = self._path.with_name(f".{self._path.name}.tmp")
        scratch.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        scratch.replace(self._path)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Writes one line."""
        if not state.is_world_process_zero or not logs:
            return
        record: dict[str, Any] = {"stage": self._stage, "step": state.global_step}
        for key in ("loss", "learning_rate", "grad_norm"):
            if key in logs:
                record[key] = logs[key]
        if f"eval_{METRIC}" in logs:
            record[METRIC] = logs[f"eval_{METRIC}"]
        if len(record) == 2:
            return
        record["seconds"] = round(time.perf_counter() - self._began, 1)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


class LiveView(TrainerCallback):
    """A bar on standard error: steps, time left, loss, nDCG@10.

    Args:
        stage: its name.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._told = ""
        self._bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Draws it."""
        if not state.is_world_process_zero:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[told]}"), console=Console(stderr=True))
        self._bar.start()
        self._bar.add_task(self._stage, total=state.max_steps, completed=state.global_step, told="")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Moves it."""
        if self._bar is not None:
            self._bar.update(0, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Tells the newest numbers."""
        if self._bar is None or not logs:
            return
        if "loss" in logs:
            self._told = f"loss {logs['loss']:.4f}"
        judged = f"  nDCG@10 {logs[f'eval_{METRIC}']:.4f}" if f"eval_{METRIC}" in logs else ""
        self._bar.update(0, told=self._told + judged)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leaves it as it is."""
        self.close()

    def close(self) -> None:
        """Gives the terminal back, cursor and all, however training ended."""
        if self._bar is not None:
            self._bar.stop()
