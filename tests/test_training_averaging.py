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


def test_what_cannot_be_averaged_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write_model(tmp_path / "a", 1.0), write_model(tmp_path / "b", 5.0)
    other = write_model(tmp_path / "other", 5.0, layers=12)
    missing = Path(shutil.copytree(a, tmp_path / "missing"))
    (missing / "config.json").unlink()
    (tmp_path / "empty").mkdir()
    cut = Path(shutil.copytree(a, tmp_path / "cut"))
    (cut / "model.safetensors").write_bytes(b"\x08")
    for models, options, status, message in [
        ([a], [], 2, "needs at least 2 models, got 1"),
        ([a, b], ["--weight", "1"], 2, "must be 2 positive numbers, one per model, got [1.0]"),
        ([a, b], ["--weight", "nan", "--weight", "1"], 2, "must be 2 positive numbers"),
        ([a, other], [], 1, f"{other / 'config.json'}: differs from that of {a}"),
        ([a, missing], [], 1, f"{missing / 'config.json'}: differs from that of {a}"),
        ([a, tmp_path / "empty"], [], 1, "has no model"),
        ([a, cut], [], 1, "cannot be read"),
    ]:
        assert main(["train", "average", *map(str, models), "-o", str(tmp_path / "mean"), *options]) == status
        assert message in capsys.readouterr().err
        assert not (tmp_path / "mean").exists()
    assert main(["train", "average", str(a), str(b), "-o", str(b)]) == 1
    assert "already exists; give a new folder" in capsys.readouterr().err
    assert weights(b) == [5.0, 5.0]


def test_a_negative_weight_is_refused(tmp_path: Path) -> None:
    models = [write_model(tmp_path / name, 1.0) for name in "ab"]
    with pytest.raises(ValueError, match="positive numbers"):
        average_models(models, tmp_path / "mean", weights=[1, -1])
