"""Averages of trained models: `average_models` and `serotine train average`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from safetensors.numpy import load_file, save_file

from serotine.cli import main
from serotine.errors import TrainingError
from serotine.training import average_models
from serotine.training.averaging import average


def write_model(folder: Path, value: float, *, shape: tuple[int, int] = (2, 3), **settings: Any) -> Path:
    """Write a model of one matrix in two folders, as sentence-transformers lays them out."""
    (folder / "1_Dense").mkdir(parents=True)
    for name in ("model.safetensors", "1_Dense/model.safetensors"):
        save_file({"weight": np.full(shape, value, dtype=np.float32)}, folder / name)
    (folder / "config.json").write_text(json.dumps({"transformers_version": str(value), "layers": 6} | settings))
    return folder


def weights(folder: Path) -> list[float]:
    """Return the values of a model's two matrices."""
    files = (folder / "model.safetensors", folder / "1_Dense" / "model.safetensors")
    return [float(load_file(file)["weight"][1, 2]) for file in files]


def test_models_of_other_shapes_are_not_averaged(tmp_path: Path) -> None:
    models = [write_model(tmp_path / str(width), 1.0, shape=(2, width)) for width in (2, 3)]
    with pytest.raises(TrainingError, match="tensors differ from those of"):
        average(models, [1, 1], tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("options", "shares", "value"), [([], [0.5, 0.5], 3.0), (["--weight", "3", "--weight", "1"], [0.75, 0.25], 2.0)]
)
def test_all_tensors_are_averaged_by_weight(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], shares: list[float], value: float
) -> None:
    models = [str(write_model(tmp_path / name, v)) for name, v in (("a", 1.0), ("b", 5.0))]
    (tmp_path / "a" / "trainer_state.json").write_text("{}")
    assert main(["train", "average", *models, "-o", str(tmp_path / "mean"), *options, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["shares"] == shares
    assert weights(tmp_path / "mean") == [value, value]
    assert json.loads((tmp_path / "mean" / "config.json").read_text())["layers"] == 6
    assert not (tmp_path / "mean" / "trainer_state.json").exists()


def test_equal_integers_stay_and_others_are_refused(tmp_path: Path) -> None:
    models = [write_model(tmp_path / name, 1.0) for name in "abc"]
    for model in models:
        save_file({"position_ids": np.arange(512)}, model / "ids.safetensors")
    average_models(models, tmp_path / "mean")
    assert load_file(tmp_path / "mean/ids.safetensors")["position_ids"].tolist() == list(range(512))
    save_file({"position_ids": np.arange(512)[::-1].copy()}, models[2] / "ids.safetensors")
    with pytest.raises(TrainingError, match="the integers 'position_ids' differ from those of"):
        average_models(models, tmp_path / "other")


def test_a_run_is_averaged_with_its_start(tmp_path: Path) -> None:
    start, trained = write_model(tmp_path / "initial", 1.0), write_model(tmp_path / "model", 5.0)
    # A trainer leaves in the tokenizer how it padded and cut its last batch.
    for folder, last in ((start, None), (trained, {"max_length": 320})):
        tokenizer = {"padding": last, "truncation": last, "model": {"vocab": ["a"]}}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    average_models([start, trained], tmp_path / "mean")
    assert weights(tmp_path / "mean") == [3.0, 3.0]
    (trained / "tokenizer.json").write_text(json.dumps({"model": {"vocab": ["b"]}}))
    with pytest.raises(TrainingError, match=r"tokenizer.json: differs from that of"):
        average_models([start, trained], tmp_path / "other")


def test_what_cannot_be_averaged_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write_model(tmp_path / "a", 1.0), write_model(tmp_path / "b", 5.0)

    def copied(name: str, file: str, content: bytes | None) -> Path:
        """Return a copy of the first model with another content of a file, or without it."""
        folder = Path(shutil.copytree(a, tmp_path / name))
        if content is None:
            (folder / file).unlink()
        else:
            (folder / file).write_bytes(content)
        return folder

    half = copied("half", "README.md", b"# Another card")
    save_file({"weight": np.ones((2, 3), dtype=np.float16)}, half / "model.safetensors")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    cases = [
        ([a], [], 2, "folders: must be at least 2 models, got 1; add one"),
        ([a, a / "../a"], [], 2, "given twice; give every model once"),
        ([a, b], ["--weight", "1"], 2, "--weight: give one per model, 2 in all, got 1 weight"),
        ([a, b], ["--weight", "nan", "--weight", "1"], 2, "must be 2 positive numbers"),
        ([a, b], ["--weight", "1e308", "--weight", "1e308"], 2, "must be 2 positive numbers"),
        (
            [a, copied("missing", "config.json", None)],
            [],
            1,
            f"{tmp_path / 'missing/config.json'}: is missing, but {a}",
        ),
        (
            [a, copied("more", "vocab.txt", b"a")],
            [],
            1,
            f"{a / 'vocab.txt'}: is missing, but {tmp_path / 'more'} has it",
        ),
        (
            [a, copied("other", "config.json", b"{}")],
            [],
            1,
            f"{tmp_path / 'other/config.json'}: differs from that of {a}",
        ),
        (
            [a, copied("bin", "1_Dense/pytorch_model.bin", b"")],
            [],
            1,
            "weights must be safetensors; save the model again",
        ),
        ([a, copied("lora", "adapter_config.json", b"{}")], [], 1, "holds adapters, not a whole model"),
        ([a, tmp_path / "empty"], [], 1, "holds no *.safetensors file; give the folder model/ of a run"),
        (
            [a, copied("cut", "model.safetensors", b"\x08")],
            [],
            1,
            f"{tmp_path / 'cut/model.safetensors'}: cannot be read",
        ),
        ([a, half], [], 1, "tensors differ from those of"),
    ]
    for models, options, status, message in cases:
        assert main(["train", "average", *map(str, models), "-o", str(tmp_path / "mean"), *options]) == status
        assert message in capsys.readouterr().err
        assert not (tmp_path / "mean").exists()
    for output, status, message in (
        (b, 2, f"{b}: lies within {b}; give another folder"),
        (a / "mean", 2, f"lies within {a}; give another folder"),
        (tmp_path / "empty", 1, "already exists; give a new folder"),
        (tmp_path / "file/mean", 1, f"{tmp_path / 'file'}: is a file; give a folder"),
    ):
        assert main(["train", "average", str(a), str(b), "-o", str(output)]) == status
        assert message in capsys.readouterr().err
    assert weights(b) == [5.0, 5.0]
    assert not list(a.rglob("*.tmp"))


def test_a_negative_weight_is_refused(tmp_path: Path) -> None:
    models = [write_model(tmp_path / name, 1.0) for name in "ab"]
    with pytest.raises(ValueError, match="positive numbers"):
        average_models(models, tmp_path / "mean", weights=[1, -1])
