"""Runs that are killed, repeated, interrupted or distributed, and runs whose files changed."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "datasets", "datasketch", "sentence_transformers.multi_vector_encoder", "yaml"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from helpers.checkpoints import sentence_transformers  # noqa: E402
from helpers.training_cases import QUIET, losses, pairs, recipe  # noqa: E402

from serotine import Encoder, progress  # noqa: E402
from serotine.cli import main  # noqa: E402
from serotine.encoders import export_encoder  # noqa: E402
from serotine.errors import TrainingError  # noqa: E402
from serotine.training import load_recipe, saved_steps, stages, train  # noqa: E402
from serotine.training.evaluator import METRIC, NdcgEvaluator  # noqa: E402

pytestmark = QUIET


def killed_at(step: int, file: Path, before: str = "") -> None:
    """Run a recipe in a subprocess that is killed after a step."""
    script = (
        "import os\n"
        "from transformers import TrainerCallback\n"
        "from serotine.training import evaluator, load_recipe, stages, train\n"
        f"{before}\n"
        "class Killer(TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **_):\n"
        f"        if state.global_step == {step}: os.kill(os.getpid(), 9)\n"
        "before = stages._callbacks\n"
        "stages._callbacks = lambda *a, **k: [*before(*a, **k), Killer()]\n"
        f"train(load_recipe({str(file)!r}))\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert process.returncode == -9, process.stderr


def test_a_killed_run_resumes(tiny: Path, workspace: Path) -> None:
    """Killed after a checkpoint and resumed, it ends with exactly the weights of an uninterrupted run."""
    train(load_recipe(recipe(workspace, tiny, output="uninterrupted")))
    file = recipe(workspace, tiny, output="killed")
    killed_at(15, file)
    stage = workspace / "killed/1-pairs"
    assert sorted(path.name for path in stage.glob("checkpoint-*")) == ["checkpoint-12"]
    assert saved_steps(load_recipe(file)) == (12, 24)
    # As if the kill had interrupted the writing of the next checkpoint.
    (stage / "checkpoint-18").mkdir()
    (stage / "checkpoint-18/trainer_state.json").write_text('{"epoch": 0.')
    with (workspace / "killed/log.jsonl").open("a") as log:
        log.write('{"stage": "pairs", "ste')
    train(load_recipe(file))
    assert saved_steps(load_recipe(file)) == (24, 24)
    assert losses(workspace / "killed") == losses(workspace / "uninterrupted")
    for file in sorted((workspace / "uninterrupted/model").rglob("*.safetensors")):
        assert (
            file.read_bytes() == (workspace / "killed" / file.relative_to(workspace / "uninterrupted")).read_bytes()
        ), file


def test_patience_survives_a_kill(tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage without improvement stops after `patience` evaluations, whether it was killed or not."""
    judged = workspace / "judged"
    (judged / "qrels").mkdir(parents=True)
    (judged / "corpus.jsonl").write_text('{"_id": "d", "text": "an owl"}\n')
    (judged / "queries.jsonl").write_text('{"_id": "q", "text": "owl"}\n')
    (judged / "qrels/dev.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    evaluation = {"folder": "judged", "every": 4, "patience": 3}
    constant = "evaluator.NdcgEvaluator.__call__ = lambda *_, **__: {evaluator.METRIC: 0.5}"
    monkeypatch.setattr(NdcgEvaluator, "__call__", lambda *_, **__: {METRIC: 0.5})
    report = train(load_recipe(recipe(workspace, tiny, output="uninterrupted", evaluation=evaluation)))
    assert report.steps == {"pairs": 16}
    file = recipe(workspace, tiny, output="killed", evaluation=evaluation)
    killed_at(14, file, constant)
    assert train(load_recipe(file)).steps == {"pairs": 16}
    # Of equal models, the first is the best.
    for folder in ("uninterrupted", "killed"):
        weights = (workspace / folder / "model/model.safetensors").read_bytes()
        assert weights == (workspace / folder / "1-pairs/checkpoint-4/model.safetensors").read_bytes()


def test_killed_between_two_stages(tiny: Path, workspace: Path) -> None:
    """The folder of its model marks a stage as finished; everything else is written before."""
    file = recipe(workspace, tiny)
    train(load_recipe(file))
    run = workspace / "run"
    before = (run / "model/model.safetensors").read_bytes()
    for name in ("report.json", "1-pairs/model/model.safetensors"):
        (run / name).unlink()
    for path in (run / "1-pairs/model").iterdir():
        if path.is_file():
            path.unlink()
    (run / "1-pairs/model").rename(run / "1-pairs/.model-half")
    assert train(load_recipe(file)).steps == {"pairs": 24}
    assert (run / "model/model.safetensors").read_bytes() == before


def test_changed_files_are_rejected(tiny: Path, workspace: Path) -> None:
    file = recipe(workspace, tiny)
    train(load_recipe(file))
    pairs(workspace / "pairs.jsonl", range(161))
    with pytest.raises(TrainingError, match=r"pairs.jsonl: changed since the run in .*run started; restore the file"):
        train(load_recipe(file))
    pairs(workspace / "pairs.jsonl", range(160))
    assert train(load_recipe(file)).steps == {"pairs": 24}


def test_a_run_that_trained_nothing_does_not_block_the_next(tiny: Path, workspace: Path) -> None:
    file = recipe(workspace, tiny, stages=[{"name": "pairs", "sources": ["animals"], "steps": 4, "query_length": 500}])
    with pytest.raises(TrainingError):
        train(load_recipe(file))
    run = workspace / "run"
    assert (run / "initial").is_dir()
    # Other data, another recipe, the same folder: the model before training is built again from them.
    pairs(workspace / "pairs.jsonl", range(80))
    stale = (run / "initial/model.safetensors").stat().st_mtime_ns
    report = train(load_recipe(recipe(workspace, tiny, seed=9)))
    assert report.steps == {"pairs": 24}
    assert report.sources["animals"]["total"] == 80
    assert (run / "initial/model.safetensors").stat().st_mtime_ns != stale
    # From its first checkpoint on, a run is protected.
    with pytest.raises(TrainingError, match="holds a run of another recipe"):
        train(load_recipe(recipe(workspace, tiny, seed=10)))


@pytest.mark.filterwarnings("default")
def test_an_exported_encoder_is_trained_further(workspace: Path) -> None:
    pytest.importorskip("onnxscript")
    sentence_transformers(workspace / "source")
    export_encoder(workspace / "source", workspace / "export", precision="int8")
    file = recipe(workspace, workspace / "export", tokenization={}, head={})
    assert train(load_recipe(file)).steps == {"pairs": 24}
    curve = [loss for _, loss in losses(workspace / "run")]
    assert np.mean(curve[-6:]) < np.mean(curve[:6])
    assert Encoder(workspace / "run/model").spec.settings() == Encoder(workspace / "export").spec.settings()


def test_the_bar_has_loss_and_ndcg() -> None:
    from types import SimpleNamespace

    state = SimpleNamespace(is_world_process_zero=True, max_steps=10, global_step=0)
    display = stages.ProgressDisplay("pairs")
    display.on_train_begin(None, state, None)
    try:
        display.on_log(None, state, None, {f"eval_{METRIC}": 0.25})
        state.global_step = 5
        display.on_step_end(None, state, None)
        display.on_log(None, state, None, {f"eval_{METRIC}": 0.5})
        # The newest nDCG@10, and the one before it, stay beside the losses that follow.
        display.on_log(None, state, None, {"loss": 1.5, "learning_rate": 1e-5})
        assert display._bar is not None
        assert display._bar.figures == "loss 1.5000  lr 1.00e-05  nDCG@10 0.2500 -> 0.5000"
        assert display._bar.completed == 5
    finally:
        display.close()


def test_the_terminal_is_restored(
    tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also after Ctrl-C, which no callback sees."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    displays = []

    class RecordedDisplay(stages.ProgressDisplay):
        def on_train_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
            super().on_train_begin(args, state, control, **options)
            displays.append(self)

    monkeypatch.setattr(stages, "ProgressDisplay", RecordedDisplay)
    monkeypatch.setattr(stages.JsonlLogger, "on_log", interrupt)
    file = recipe(workspace, tiny)
    assert main(["train", str(file)]) == 130
    assert len(displays) == 1
    expected = f"interrupted; 0 of 24 steps saved in {workspace / 'run'}; run the same command again to continue: "
    assert f"{expected}serotine train {file}\n" in capsys.readouterr().err
    assert not progress._displays


@pytest.mark.timeout(300)
def test_two_processes_share_a_run(tiny: Path, workspace: Path) -> None:
    """One process cleans and builds for both; batches and the teacher's work are divided; one process reports."""
    sentence_transformers(workspace / "teacher")
    steps = {"sources": ["animals"], "steps": 4, "batch_size": 8, "learning_rate": 2e-3, "checkpoint_every": 2}
    two_stages = [
        {"name": "pairs", "gather_across_devices": True, **steps},
        {
            "name": "kd",
            "objective": "distillation",
            "teachers": [{"encoder": "teacher"}],
            "bm25_weight": 0.2,
            "topics": 3,
            **steps,
        },
    ]
    file = recipe(workspace, tiny, stages=two_stages, averaging={"checkpoints": 2})
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(port)]
    command += ["-m", "serotine", "train", str(file)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("model: done") == 1
    assert [step for step, _ in losses(workspace / "run")] == [1, 2, 3, 4] * 2
    assert Encoder(workspace / "run/model").dim == 16
    # One process alone accepts the run too.
    assert main(["train", str(file)]) == 0
