"""The families of the native backend: each against float64, in files, and what configurations it does not cover."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import encoder_reference
from numpy.typing import NDArray

from serotine import _core
from serotine.encoders.native import Architecture, NativeBackend, TransformerWeights, read_weights, write_weights
from serotine.encoders.native.families import Config, NotCoveredError, read_architecture
from serotine.errors import EncoderError

COMPILED, SUPPORTED = _core.encoder_instruction_sets()
ARCHITECTURES = {
    "bert": encoder_reference.bert(positions=300),
    "bert with rotary positions": encoder_reference.bert(positions=300, theta=10_000.0),
    "modernbert": encoder_reference.modernbert(),
    "modernbert with biases": encoder_reference.modernbert(norm_bias=True, attention_bias=True, feed_bias=True),
    "qwen3": encoder_reference.qwen3(),
}
QWEN3 = {
    "vocab_size": 151671, "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072, "hidden_act": "silu", "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000, "rope_scaling": None, "max_position_embeddings": 32768, "attention_bias": False,
    "use_sliding_window": False, "sliding_window": None, "tie_word_embeddings": True,
}  # fmt: skip
JINA = {
    "vocab_size": 250004, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
    "intermediate_size": 4096, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "max_position_embeddings": 8194,
    "position_embedding_type": "rotary", "type_vocab_size": 1, "pad_token_id": 1, "lora_adaptations": None,
}  # fmt: skip
MODERNBERT = {
    "vocab_size": 50370, "hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12,
    "intermediate_size": 1152, "hidden_activation": "gelu", "norm_eps": 1e-5, "norm_bias": False,
    "attention_bias": False, "mlp_bias": False, "local_attention": 128, "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "max_position_embeddings": 8192,
    "position_embedding_type": "absolute",
}  # fmt: skip


@pytest.fixture(params=COMPILED)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param not in SUPPORTED:
        pytest.skip(f"this processor has no {request.param}")
    before = _core.encoder_current()
    assert _core.encoder_use(request.param)
    yield request.param
    _core.encoder_use(before)


def texts(seed: int) -> tuple[list[NDArray[np.int64]], list[NDArray[np.bool_]]]:
    """Return texts shorter and longer than the windows; in some, a few tokens are not attended to."""
    random = np.random.default_rng(seed)
    ids = [random.integers(0, 50, tokens) for tokens in (1, 2, 7, 33, 64, 150, 300)]
    attention = [np.ones(len(text), dtype=bool) for text in ids]
    attention[3][20:] = False
    attention[4][::3] = False
    return ids, attention


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_vectors_equal_the_reference(name: str, instruction_set: str) -> None:
    weights = encoder_reference.random_weights(1, ARCHITECTURES[name], projections=((16, "Identity", False),))
    ids, attention = texts(1)
    reach = weights.architecture.reach or 300
    for text, attended, vectors in zip(ids, attention, NativeBackend("m", weights).run(ids, attention), strict=True):
        expected = encoder_reference.encode(weights, text, attended)
        products = (vectors * expected).sum(axis=1)
        cosines = products / np.linalg.norm(vectors, axis=1) / np.linalg.norm(expected, axis=1)
        # Which of equally bad keys a token without any attends to is not part of the contract.
        places = np.arange(len(text))
        meaningful = [attended[np.abs(places - place) <= reach].any() for place in places]
        assert cosines[meaningful].min() > 0.985
        assert cosines[meaningful].mean() > 0.998


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_file_gives_the_same_vectors(name: str, tmp_path: Path) -> None:
    weights = encoder_reference.random_weights(2, ARCHITECTURES[name])
    write_weights(tmp_path / "m.safetensors", weights)
    read = read_weights(tmp_path / "m.safetensors")
    assert read.architecture == weights.architecture
    ids, attention = texts(2)
    for one, other in zip(
        NativeBackend("m", read).run(ids, attention), NativeBackend("m", weights).run(ids, attention), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["modernbert with biases", "qwen3"])
def test_a_file_without_one_of_its_tensors_names_it(name: str, tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    write_weights(file, encoder_reference.random_weights(3, ARCHITECTURES[name]))
    header, _ = read_header(file)
    names = {
        "modernbert with biases": {
            "norm.bias", "final_norm.gain", "layers.0.feed_norm.gain", "layers.1.attention_norm.bias",
            "layers.2.feed_in.bias", "layers.3.attention_in.panels",
        },
        "qwen3": {"final_norm.gain", "layers.0.attention_norm.gain", "layers.1.query_gain", "layers.2.key_gain"},
    }[name]  # fmt: skip
    assert names <= header.keys()
    for missing in names:
        rename(file, missing, "other")
        with pytest.raises(EncoderError, match=f"tensor '{missing}' is missing; install the model again"):
            read_weights(file)
        rename(file, "other", missing)


@pytest.mark.parametrize("first_position", [0, 2])
def test_files_of_the_first_format_are_read(first_position: int, tmp_path: Path) -> None:
    """They had BERT only, in the same tensors with settings of their own."""
    file = tmp_path / "m.safetensors"
    weights = encoder_reference.random_weights(4, first_position=first_position, tanh=True)
    write_weights(file, weights)
    header, content = read_header(file)
    settings = {
        "heads": 2, "intermediate": 96, "epsilon": 1e-12, "tanh": True, "first_position": first_position,
        "activations": [], "layers": 2,
    }  # fmt: skip
    header["__metadata__"] = {"format": "serotine-bert-1", "settings": json.dumps(settings)}
    write_header(file, header, content)
    read = read_weights(file)
    assert read.architecture == weights.architecture
    ids = [np.arange(30)]
    attention = [np.ones(30, dtype=bool)]
    np.testing.assert_array_equal(
        NativeBackend("m", read).run(ids, attention)[0], NativeBackend("m", weights).run(ids, attention)[0]
    )


def read_header(file: Path) -> tuple[dict[str, Any], bytes]:
    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def write_header(file: Path, header: dict[str, Any], content: bytes) -> None:
    text = json.dumps(header).encode()
    text = text.ljust(-(-(8 + len(text)) // 64) * 64 - 8)
    file.write_bytes(struct.pack("<Q", len(text)) + text + content)


def rename(file: Path, name: str, other: str) -> None:
    header, content = read_header(file)
    header[other] = header.pop(name)
    write_header(file, header, content)


def test_the_published_configurations_are_covered() -> None:
    pplx = read_architecture(Config("bidirectional_pplx_qwen3", QWEN3))
    assert (pplx.heads, pplx.key_value_heads, pplx.head_dim, pplx.longest) == (16, 8, 128, 32768)
    assert (pplx.theta, pplx.query_key_norm, any(pplx.local_layers)) == (1e6, True, False)
    modernbert = read_architecture(Config("modernbert", MODERNBERT))
    assert (modernbert.reach, modernbert.theta, modernbert.local_theta) == (64, 160_000.0, 10_000.0)
    assert [i for i, local in enumerate(modernbert.local_layers) if not local] == list(range(0, 22, 3))
    # Ettin's, the base of mxbai-edge-colbert.
    ettin = read_architecture(Config("modernbert", MODERNBERT | {"position_embedding_type": "sans_pos"}))
    assert ettin == modernbert
    jina = read_architecture(Config("xlm-roberta", JINA))
    assert (jina.head_dim, jina.longest, jina.theta, jina.pre_norm, jina.gated) == (64, 8194, 10_000.0, False, False)
    # As transformers 5 writes the same.
    rope = {
        "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }
    kinds = ["sliding_attention" if local else "full_attention" for local in modernbert.local_layers]
    left = {key: value for key, value in MODERNBERT.items() if "rope" not in key and "every_n" not in key}
    assert read_architecture(Config("modernbert", left | {"rope_parameters": rope, "layer_types": kinds})) == modernbert
    rope_parameters = {"rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000}, "rope_theta": None}
    assert read_architecture(Config("bidirectional_pplx_qwen3", QWEN3 | rope_parameters)) == pplx


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope_scaling {'type': 'yarn', 'factor': 4.0}; "),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}, "rope_type 'yarn'; "),
        ({"rope_parameters": {"rope_theta": 1e6, "partial_rotary_factor": 0.5}}, "with 'partial_rotary_factor'; "),
        ({"rope_parameters": [1]}, r"rope_parameters \[1\]; "),
        ({"rope_theta": None}, "rope_theta None; the native backend needs a number above 0"),
        ({"rope_theta": -1}, "rope_theta -1; "),
        ({"use_sliding_window": True}, "use_sliding_window True; the native backend has False"),
        ({"layer_types": ["full_attention"] * 27 + ["sliding_attention"]}, "layer_types with 'sliding_attention'; "),
        ({"layer_types": ["linear_attention"] * 28}, "layer type 'linear_attention'; "),
        ({"layer_types": ["full_attention"]}, "needs one for each of 28 layers"),
        ({"is_causal": True}, "is_causal True; "),
        ({"is_decoder": True}, "a decoder; "),
        ({"hidden_act": "relu"}, "activation 'relu'; the native backend has silu, swish"),
        ({"num_key_value_heads": 3}, "16 heads share 3; "),
        ({"head_dim": 80}, "16 heads of 1024 dimensions; the native backend has heads of a multiple of 32, got 80"),
        ({"intermediate_size": 3000}, "intermediate_size 3000; "),
        ({"hidden_size": "1024"}, "hidden_size '1024'; the native backend needs an integer"),
        ({"vocab_size": None}, "vocab_size None; "),
        ({"max_position_embeddings": 10**12}, "1000000000000 positions; the native backend has at most 131072"),
        ({"attention_bias": 1}, "attention_bias 1; the native backend needs true or false"),
    ],
)
def test_configurations_of_qwen3_that_are_not_covered(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NotCoveredError, match=message):
        read_architecture(Config("bidirectional_pplx_qwen3", QWEN3 | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_activation": "relu"}, "activation 'relu'; "),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'; "),
        ({"head_dim": 32}, "head_dim 32; the native backend has 64"),
        ({"sliding_window": 128}, "sliding_window 128; the native backend has 64"),
        ({"local_attention": 0}, "local_attention 0; "),
        ({"global_attn_every_n_layers": 0}, "global_attn_every_n_layers 0; "),
        ({"layer_types": ["chunked_attention"] * 22}, "layer type 'chunked_attention'; "),
        ({"rope_parameters": {"other": {}}}, "rope_parameters .*; the native backend needs those of"),
        ({"rope_parameters": {"full_attention": {"rope_type": "linear"}}}, "rope_type 'linear'; "),
        ({"local_rope_theta": float("inf")}, "local_rope_theta inf; "),
        ({"norm_eps": 0}, "norm_eps 0; "),
        ({"num_attention_heads": 7}, "7 heads of 768 dimensions; "),
    ],
)
def test_configurations_of_modernbert_that_are_not_covered(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NotCoveredError, match=message):
        read_architecture(Config("modernbert", MODERNBERT | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position_embedding_type": "alibi"}, "position_embedding_type 'alibi'; the native backend has 'absolute', "),
        ({"rotary_emb_interleaved": True}, "rotary_emb_interleaved True: not supported with rotary positions"),
        ({"rotary_emb_scale_base": 512}, "rotary_emb_scale_base 512: not supported"),
        ({"rotary_emb_dim": 32}, "rotary_emb_dim 32: not supported"),
        ({"lora_adaptations": ["retrieval.query"]}, r"lora_adaptations \['retrieval.query'\]: not supported"),
        ({"rotary_emb_base": "x"}, "rotary_emb_base 'x': must be a number above 0"),
        ({"hidden_act": "relu"}, "activation 'relu'; "),
        ({"num_attention_heads": 24}, "24 heads of 1024 dimensions; "),
    ],
)
def test_configurations_of_rotary_xlm_roberta_that_are_not_covered(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NotCoveredError, match=message):
        read_architecture(Config("xlm-roberta", JINA | changes))


def test_rows_are_paired_and_back() -> None:
    architecture = encoder_reference.qwen3()
    order = architecture.order("attention_in")
    assert order is not None
    assert order[:4].tolist() == [0, 1, 2, 3]
    # Heads of 32: 16 of the first half, then 16 of the second, which is their own order.
    np.testing.assert_array_equal(order, np.arange(len(order)))
    wide: Architecture = encoder_reference.qwen3(head_dim=64)
    order = wide.order("attention_in")
    assert order is not None
    assert order[:64:16].tolist() == [0, 32, 16, 48]
    assert sorted(order.tolist()) == list(range((4 + 2 * 2) * 64))
    feed = architecture.order("feed_in")
    assert feed is not None
    assert feed[:64:16].tolist() == [0, 160, 16, 176]


def test_the_backend_rejects_weights_of_another_architecture() -> None:
    weights = encoder_reference.random_weights(5, ARCHITECTURES["qwen3"])
    narrow = TransformerWeights(
        encoder_reference.qwen3(intermediate=128), weights.words, None, None, weights.final_norm, weights.layers, [], []
    )
    with pytest.raises(EncoderError, match="the weights do not fit together"):
        NativeBackend("m", narrow)
