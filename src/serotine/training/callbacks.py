"""Trainer callbacks: the log file and the progress bar."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from serotine.files import write_atomically
from serotine.progress import ProgressBar, progress_bar
from serotine.training.evaluator import METRIC


class JsonlLogger(TrainerCallback):
    """Append the trainer's figures to a file: step, loss, learning rate, gradient norm, nDCG@10, seconds.

    A resumed run repeats the steps after its checkpoint; their lines are removed first.

    Args:
        path: the log file.
        stage: name of the stage, written on every line.
    """

    def __init__(self, path: Path, stage: str) -> None:
        self._path = path
        self._stage = stage
        self._started = time.perf_counter()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remove this stage's lines after the step it resumes at."""
        if not state.is_world_process_zero or not self._path.exists():
            return
        lines = []
        for line in self._path.read_text("utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # truncated by a kill
                continue
            if record["stage"] != self._stage or record["step"] <= state.global_step:
                lines.append(line)
        write_atomically(self._path, "".join(f"{line}\n" for line in lines))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Append one line."""
        if not state.is_world_process_zero or not logs:
            return
        figures: dict[str, float] = {key: logs[key] for key in ("loss", "learning_rate", "grad_norm") if key in logs}
        if f"eval_{METRIC}" in logs:
            figures[METRIC] = logs[f"eval_{METRIC}"]
        if not figures:
            return
        seconds = round(time.perf_counter() - self._started, 1)
        record = {"stage": self._stage, "step": state.global_step, **figures, "seconds": seconds}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


class ProgressDisplay(TrainerCallback):
    """The progress of a stage on standard error: steps, time left, loss, learning rate, the last two values of nDCG@10.

    Args:
        stage: name of the stage.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._loss = ""
        self._ndcg: list[float] = []
        self._opened = ExitStack()
        self._bar: ProgressBar | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show the bar."""
        if state.is_world_process_zero:
            bar = progress_bar(state.max_steps, self._stage, enabled=True, completed=state.global_step)
            self._bar = self._opened.enter_context(bar)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Advance the bar to the current step."""
        if self._bar is not None:
            self._bar.reach(state.global_step, state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Show the newest figures."""
        if self._bar is None or not logs:
            return
        if "loss" in logs:
            self._loss = f"loss {logs['loss']:.4f}"
            if "learning_rate" in logs:
                self._loss += f"  lr {logs['learning_rate']:.2e}"
        if f"eval_{METRIC}" in logs:
            self._ndcg = [*self._ndcg[-1:], logs[f"eval_{METRIC}"]]
        ndcg = "nDCG@10 " + " -> ".join(f"{value:.4f}" for value in self._ndcg) if self._ndcg else ""
        self._bar.show("  ".join(filter(None, (self._loss, ndcg))))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the bar."""
        self.close()

    def close(self) -> None:
        """Stop the bar and restore the terminal's cursor; training may end without `on_train_end`."""
        self._opened.close()
