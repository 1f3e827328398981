"""Recipes with adapters (LoRA): what learns, what checkpoints hold, resuming, and adapters that do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "datasets", "datasketch", "sentence_transformers.multi_vector_encoder", "yaml"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from helpers import checkpoints  # noqa: E402
from helpers.training_cases import QUIET, losses, recipe  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

from serotine import Encoder  # noqa: E402
from serotine.errors import EncoderError, TrainingError  # noqa: E402
from serotine.training import load_recipe, train  # noqa: E402

pytestmark = QUIET
LORA = {"rank": 4, "alpha": 16, "target_modules": ["query", "value", "output.dense"]}
WORDS = "embeddings.word_embeddings.weight"


def run(workspace: Path, model: Path, **changes: Any) -> Path:
    file = recipe(workspace, model, **{"lora": LORA, **changes})
    train(load_recipe(file))
    return workspace / changes.get("output", "run")


def unfinished(folder: Path) -> None:
    """Make a finished run one that was killed after step 12."""
    for name in ("model", "1-pairs/model", "1-pairs/checkpoint-24"):
        shutil.rmtree(folder / name)
    (folder / "report.json").unlink()


@pytest.fixture(scope="module")
def peft() -> None:
    pytest.importorskip("peft", reason="peft is not installed")


@pytest.mark.usefixtures("peft")
def test_adapters_and_the_head_learn_and_are_merged(tiny: Path, workspace: Path) -> None:
    folder = run(workspace, tiny, averaging={"checkpoints": 2})
    curve = [loss for _, loss in losses(folder)]
    assert np.mean(curve[-6:]) < np.mean(curve[:6]) - 0.2
    before, after = (load_file(folder / name / "model.safetensors") for name in ("initial", "1-pairs/model"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {name.rpartition(".layer.")[2][2:] for name in changed} == {
        "attention.self.query.weight", "attention.self.value.weight", "attention.output.dense.weight",
        "output.dense.weight",
    }  # fmt: skip
    # A checkpoint has the adapters in PEFT's format and the head, not the model.
    checkpoint = folder / "1-pairs/checkpoint-24"
    stored = load_file(checkpoint / "adapter_model.safetensors")
    assert {name.rpartition(".lora_")[2] for name in stored} == {"A.weight", "B.weight"}
    assert json.loads((checkpoint / "adapter_config.json").read_text())["r"] == 4
    assert not (checkpoint / "model.safetensors").exists()
    assert (checkpoint / "optimizer.pt").stat().st_size < (folder / "initial/model.safetensors").stat().st_size / 10
    # The merged weights are those of the adapters, and the result is the mean of two merged models.
    name = "encoder.layer.1.attention.self.query.weight"
    merged = []
    for step in (18, 24):
        stored = load_file(folder / f"1-pairs/checkpoint-{step}/adapter_model.safetensors")
        first, second = (
            stored[f"base_model.model.{name.replace('.weight', f'.lora_{part}.weight')}"] for part in ("B", "A")
        )
        merged.append(before[name] + first @ second * 16 / 4)
    np.testing.assert_allclose(after[name], merged[1], rtol=1e-5, atol=1e-6)
    result = load_file(folder / "model/model.safetensors")[name]
    np.testing.assert_allclose(result, (merged[0] + merged[1]) / 2, rtol=1e-5, atol=1e-6)
    assert not (folder / "merged").exists()
    assert Encoder(folder / "model").dim == 16


@pytest.mark.usefixtures("peft")
def test_a_stopped_run_resumes_with_the_same_weights(tiny: Path, workspace: Path) -> None:
    stage = {"name": "pairs", "sources": ["animals"], "steps": 24, "batch_size": 8, "learning_rate": 2e-3}
    stage |= {"checkpoint_every": 12, "temperature": 0.1}
    options: dict[str, Any] = {"stages": [stage], "averaging": {"checkpoints": 2}, "gradient_checkpointing": True}
    options["lora"] = LORA | {"dropout": 0.1}
    folder = run(workspace, tiny, **options)
    curve = losses(folder)
    files = {file: file.read_bytes() for file in (folder / "model").rglob("*.safetensors")}
    shutil.copytree(folder, workspace / "kept")
    unfinished(folder)
    run(workspace, tiny, **options)
    assert losses(folder) == curve
    assert {file: file.read_bytes() for file in files} == files
    # Another rank is another recipe, and the message says so.
    with pytest.raises(TrainingError, match=r"holds a run of another recipe \(lora.rank was 4, is 8\); choose"):
        run(workspace, tiny, **options | {"lora": options["lora"] | {"rank": 8}})
    # Adapters of another backbone, under the same recipe.
    unfinished(folder)
    weights = load_file(folder / "initial/model.safetensors")
    weights[WORDS] += 1
    save(folder / "initial/model.safetensors", weights)
    with pytest.raises(TrainingError, match=r"checkpoint-12/adapter_model.safetensors: adapters of another backbone"):
        run(workspace, tiny, **options)
    # Adapters of other shapes.
    shutil.rmtree(folder)
    shutil.copytree(workspace / "kept", folder)
    unfinished(folder)
    file = folder / "1-pairs/checkpoint-12/adapter_model.safetensors"
    adapters = load_file(file)
    backbone = header(file)["backbone"]
    adapters[next(iter(adapters))] = np.zeros((9, 9), np.float32)
    save(file, adapters, backbone=backbone)
    with pytest.raises(TrainingError, match="tensors of another rank, or of other layers, than the recipe's; delete"):
        run(workspace, tiny, **options)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(TrainingError, match="checkpoint-12: its adapters cannot be read"):
        run(workspace, tiny, **options)


def save(file: Path, tensors: dict[str, Any], **metadata: str) -> None:
    from safetensors.numpy import save_file

    save_file(tensors, file, metadata={"format": "pt", **metadata})


def header(file: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        metadata: dict[str, str] = opened.metadata()
    return metadata


@pytest.mark.usefixtures("peft")
@pytest.mark.parametrize("kind", ["modernbert", "pplx"])
def test_any_backbone(kind: str, workspace: Path) -> None:
    """All linear layers get adapters; the second stage begins with new ones on the merged model."""
    model = checkpoints.sentence_transformers(workspace / "m", kind)
    stage = {"sources": ["animals"], "steps": 3, "batch_size": 8, "learning_rate": 5e-3}
    stages = [{"name": name, **stage} for name in ("first", "second")]
    folder = run(workspace, model, tokenization={}, head={}, lora={"rank": 2}, stages=stages)
    first, second = (load_file(folder / name / "model.safetensors") for name in ("1-first/model", "model"))
    linear = {name for name in first if first[name].ndim == 2 and "embed" not in name}
    assert {name for name in first if not np.array_equal(first[name], second[name])} == linear
    with pytest.raises(EncoderError, match="an adapter without its base model"):
        Encoder(folder / "1-first/checkpoint-3")


@pytest.mark.usefixtures("peft")
def test_a_target_that_is_no_linear_layer(tiny: Path, workspace: Path) -> None:
    message = r"lora.target_modules: 'q_proj' is not a linear layer of the backbone; valid names: dense, key, query"
    with pytest.raises(TrainingError, match=message):
        run(workspace, tiny, lora={"target_modules": ["query", "q_proj"]})
    assert not (workspace / "run/1-pairs").exists()


def test_without_peft(tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serotine.training.run.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"lora in a recipe needs the extra \[lora\]; run: pip install 'serotine"):
        run(workspace, tiny)
