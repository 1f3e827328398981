"""Checkpoint folders that are damaged or mean harm: nothing is run, and one line says what is wrong."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from helpers import checkpoints  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from serotine import Encoder  # noqa: E402
from serotine.errors import EncoderError, ZeroShotWarning  # noqa: E402


class Bomb:
    """Unpickled, it would leave a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("whole")
    return {
        "pylate": checkpoints.pylate(place / "pylate", layers=2),
        "stanford": checkpoints.stanford(place / "stanford"),
        "v6": checkpoints.sentence_transformers(place / "v6"),
        "dense": checkpoints.dense(place / "dense"),
        "pplx": checkpoints.pylate(place / "pplx", "pplx"),
    }


@pytest.fixture
def copy(whole: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def made(name: str) -> Path:
        return Path(shutil.copytree(whole[name], tmp_path / name))

    return made


def refused(folder: Path, words: str) -> None:
    with pytest.raises(EncoderError, match=words) as raised:
        Encoder(folder).encode_documents(["a bat"])
    assert "\n" not in str(raised.value)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change(folder: Path, **tensors: Any) -> None:
    """Replaces tensors of a safetensors file; None takes one away."""
    file = folder / "model.safetensors"
    held = load_file(file) | tensors
    save_file({name: value for name, value in held.items() if value is not None}, file)


def test_a_pickle_is_refused_with_the_way_out(copy: Callable[[str], Path], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for name, where in (("pylate", ""), ("v6", "1_Dense"), ("stanford", "")):
        folder = copy(name)
        (folder / where / "model.safetensors").unlink()
        (folder / where / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
        refused(folder, r"pytorch_model\.bin: pickles can run code.*weights_only=True.*model\.safetensors")
        shutil.rmtree(folder)
    assert not mark.exists()


def test_a_tensor_that_is_missing_left_over_or_misshapen_is_named(copy: Callable[[str], Path]) -> None:
    key = "encoder.layer.1.output.dense.weight"
    folder = copy("v6")
    change(folder, **{key: None})
    refused(folder, rf"'{key}' is missing; the checkpoint is incomplete")
    folder = copy("pylate")
    change(folder, **{"encoder.layer.7.extra.weight": torch.zeros(3)})
    refused(folder, r"'encoder\.layer\.7\.extra\.weight' is unexpected")
    folder = copy("stanford")
    change(folder, **{f"bert.{key}": torch.zeros(3, 5)})
    refused(folder, rf"tensor '.*{key}' must be 32x64 by config.json, got 3x5")
    folder = copy("pplx")
    change(folder, **{"layers.0.self_attn.q_norm.weight": None})
    refused(folder, r"'layers\.0\.self_attn\.q_norm\.weight' is missing; the checkpoint is incomplete")


def test_vectors_that_are_no_numbers(copy: Callable[[str], Path]) -> None:
    for value in (float("nan"), float("inf"), 3e38, 1e25):
        folder = copy("v6")
        change(folder / "1_Dense", **{"linear.weight": torch.full((16, 32), value)})
        refused(folder, "vectors are not finite")
        shutil.rmtree(folder)


def test_a_projection_that_is_not_what_it_says(copy: Callable[[str], Path]) -> None:
    folder = copy("v6")
    change(folder / "1_Dense", **{"linear.weight": torch.zeros(16, 31)})
    refused(folder, "tensor 'linear.weight' must be 16x32, got 16x31")
    change(folder / "1_Dense", **{"linear.weight": torch.zeros(16, 32), "linear.bias": torch.zeros(16)})
    refused(folder, "tensor 'linear.bias' is unexpected")
    edit(folder / "1_Dense/config.json", in_features=48)
    refused(folder, "'in_features' must be 32, the dimension of the layer before it, got 48")
    folder = copy("pylate")
    change(folder / "2_Dense", **{"residual.weight": None})
    refused(folder, "tensor 'residual.weight' is missing; it must be 16x48")
    folder = copy("stanford")
    change(folder, **{"linear.weight": None})
    refused(folder, "'linear.weight' is missing")


@pytest.mark.parametrize(
    ("name", "file", "changes", "words"),
    [
        ("v6", "1_Dense/config.json", {"activation_function": "os.system"}, "must be one of torch's Identity, Tanh"),
        ("v6", "1_Dense/config.json", {"activation_function": "torch.hub.load"}, "must be one of torch's"),
        ("v6", "config.json", {"model_type": "evil"}, "'evil' is unknown to transformers .* never run"),
        ("v6", "config.json", {"quantization_config": {"quant_method": "gptq"}}, "quantized weights are not supported"),
        ("v6", "config.json", {"hidden_size": "x"}, "'hidden_size' must be an integer"),
        (
            "v6",
            "config.json",
            {"hidden_size": 64},
            "'in_features' must be 64, .* got 32",
        ),
        ("v6", "config.json", {"num_attention_heads": 5}, "transformers cannot load it"),
        (
            "v6",
            "sentence_bert_config.json",
            {"query_expansion": {"strategy": "fixed"}},
            "'length' of 'query_expansion' is missing",
        ),
        ("v6", "sentence_bert_config.json", {"query_expansion": {"strategy": "odd"}}, "'strategy' must be 'fixed' or"),
        (
            "v6",
            "sentence_bert_config.json",
            {"document_length": 2},
            "document length must be above 2",
        ),
        (
            "v6",
            "sentence_bert_config.json",
            {"modality_config": {"image": {}}},
            "'modality_config' must have 'text', got image; this version",
        ),
        (
            "v6",
            "config_sentence_transformers.json",
            {"model_type": "CrossEncoder"},
            "got 'CrossEncoder'",
        ),
        ("v6", "config_sentence_transformers.json", {"prompts": {"query": 3}}, "'query' must be a string, got 3"),
        (
            "pylate",
            "config_sentence_transformers.json",
            {"query_length": True},
            "'query_length' must be an integer",
        ),
        ("pylate", "config_sentence_transformers.json", {"skiplist_words": "abc"}, "must be a list of strings"),
        (
            "v6",
            "config.json",
            {"num_hidden_layers": 10**7},
            "'num_hidden_layers' in config.json is 10000000, but the files have 39",
        ),
        ("v6", "config.json", {"intermediate_size": 10**11}, "config.json needs 13,000,000,990,752 weights"),
        ("v6", "config.json", {"model_type": "timm_backbone"}, "'timm_backbone' is not a text model"),
        (
            "v6",
            "config.json",
            {"position_embedding_type": "rotary"},
            "must be 'absolute', got 'rotary'; .* never run",
        ),
        (
            "pplx",
            "config.json",
            {"rope_parameters": {"rope_type": "yarn"}},
            "rope_type: must be 'default' .*'yarn'",
        ),
        ("pplx", "config.json", {"rope_parameters": {"rope_theta": "x"}}, "transformers cannot load it"),
        ("pplx", "config.json", {"rope_parameters": {"rope_theta": 0}}, "must be above 0, got 0"),
        (
            "pplx",
            "config.json",
            {"use_sliding_window": True, "sliding_window": 8},
            "must be false in .*, got True",
        ),
        (
            "pylate",
            "config_sentence_transformers.json",
            {"query_length": 10**11},
            "at most 32768 tokens, got 100000000000",
        ),
        ("stanford", "artifact.metadata", {"dim": 17}, "'dim' must be 16, the rows of tensor 'linear.weight', got 17"),
        ("stanford", "artifact.metadata", {"query_token_id": "[nonesuch]"}, r"no token '\[nonesuch\]', a marker"),
        ("dense", "1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "no pooling mode is set"),
    ],
)
def test_settings_that_cannot_be(
    copy: Callable[[str], Path], name: str, file: str, changes: dict[str, Any], words: str
) -> None:
    folder = copy(name)
    edit(folder / file, **changes)
    refused(folder, words)


def test_settings_that_would_only_change_how_a_model_answers(copy: Callable[[str], Path]) -> None:
    folder = copy("v6")
    expected = Encoder(folder).encode_documents(["a bat at night"])[0]
    answers = {"return_dict": False, "torchscript": True, "output_hidden_states": True}
    edit(folder / "config.json", **answers, chunk_size_feed_forward=5, num_labels=10**12)
    np.testing.assert_array_equal(Encoder(folder).encode_documents(["a bat at night"])[0], expected)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"type": "os.system", "path": ""}, "module must be one of .*, got 'os.system'"),
        ({"type": "custom_modeling.Transformer", "path": ""}, "never run"),
        (
            {"type": "sentence_transformers.models.Dense", "path": "../../etc"},
            "'path' must be inside the checkpoint",
        ),
        ({"type": "sentence_transformers.models.Dense", "path": "/etc"}, "'path' must be inside the checkpoint"),
        ({"type": "sentence_transformers.models.Dense"}, "needs a 'type' and a 'path'"),
        ({"type": "sentence_transformers.models.Transformer", "path": "x"}, "must list at most one Transformer, got 2"),
    ],
)
def test_modules_that_are_not_allowed(copy: Callable[[str], Path], entry: dict[str, str], words: str) -> None:
    folder = copy("v6")
    listed = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*listed, entry]))
    refused(folder, words)


def test_code_and_kernels_a_configuration_names_are_not_fetched(copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy("v6")
    (folder / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})\n")
    edit(
        folder / "config.json",
        auto_map={"AutoModel": "evil.Model", "AutoConfig": "evil.Config"},
        attn_implementation="someone/kernel",
        _attn_implementation="someone/kernel",
        _attn_implementation_internal="someone/kernel",
        custom_pipelines={"x": {"impl": "evil.Pipeline"}},
    )
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})
    assert len(Encoder(folder).encode_documents(["a bat"])[0]) == 4
    assert not (tmp_path / "ran").exists()


def test_shards_are_read_and_must_be_there(copy: Callable[[str], Path]) -> None:
    folder = copy("pylate")
    expected = Encoder(folder).encode_documents(["a bat at night"])[0]
    held = load_file(folder / "model.safetensors")
    names = sorted(held)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: held[name] for name in part}, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors").unlink()
    where = {name: file for file, part in parts.items() for name in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    np.testing.assert_array_equal(Encoder(folder).encode_documents(["a bat at night"])[0], expected)
    (folder / "model-00002-of-00002.safetensors").unlink()
    refused(folder, "model-00002-of-00002.safetensors: is missing")
    index.write_text(json.dumps({"weight_map": {"x": "../../etc/passwd"}}))
    refused(folder, "'weight_map' must name files beside it")


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        # Faults for which the library panics: an exception that is no Exception.
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, "cannot be read as a tokenizer"),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "BAAAAP////8="}, "the tokenizer failed"),
        (
            "post_processor",
            {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "X", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [],
                "special_tokens": {},
            },
            "the tokenizer failed",
        ),
    ],
)
def test_a_tokenizer_that_panics_is_an_encoder_error(
    copy: Callable[[str], Path], part: str, value: dict[str, Any], words: str
) -> None:
    folder = copy("pylate")
    edit(folder / "tokenizer.json", **{part: value})
    with pytest.raises(EncoderError, match=words) as caught:
        Encoder(folder).encode_documents(["a bat"])
    assert str(folder / "tokenizer.json") in str(caught.value)


FILES = (
    "config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "model.safetensors",
    "1_Dense/config.json",
    "1_Dense/model.safetensors",
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_file_overwritten_anywhere_loads_or_fails_with_one_line(
    data: Any, whole: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "fuzzed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole[data.draw(st.sampled_from(["pylate", "v6"]))], folder)
    file = folder / data.draw(st.sampled_from(FILES))
    held = bytearray(file.read_bytes())
    how = data.draw(st.sampled_from(["bytes", "cut", "value"]))
    if how == "cut":
        del held[data.draw(st.integers(0, len(held) - 1)) :]
    elif how == "bytes":
        # Where the structure is: the beginning.
        at = data.draw(st.integers(0, min(len(held), 4096) - 1))
        new = data.draw(st.binary(min_size=1, max_size=9))
        held[at : at + len(new)] = new
    if how == "value" and file.name not in ("tokenizer.json", "model.safetensors"):
        values = json.loads(held)
        target = values if isinstance(values, dict) else values[data.draw(st.integers(0, len(values) - 1))]
        key = data.draw(st.sampled_from(sorted(target)))
        odd = st.one_of(st.none(), st.booleans(), st.integers(-9, 99), st.text(max_size=5), st.just([]), st.just({}))
        target[key] = data.draw(odd)
        held = bytearray(json.dumps(values).encode())
    file.write_bytes(bytes(held))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZeroShotWarning)
        try:
            (vectors,) = Encoder(folder).encode_documents(["a bat at night"])
        except EncoderError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert vectors.ndim == 2
