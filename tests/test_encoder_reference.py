"""The float64 reference against transformers, on checkpoints whose weights are already of 8 bits: all of the reader,
the order of the rows and the arithmetic, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from helpers import checkpoints, encoder_reference
from safetensors.torch import load_file, save_file

from serotine import Encoder
from serotine.encoders.int8 import quantize_rows
from serotine.encoders.native import read_checkpoint_weights
from serotine.encoders.torch.model import load_backbone

pytestmark = pytest.mark.filterwarnings("ignore")
FAMILIES: dict[str, list[dict[str, Any]]] = {
    "bert": [{}, {"hidden_act": "gelu_new"}],
    "xlm-roberta": [{}],
    "jina": [{}, {"rotary_emb_base": 500.0, "hidden_act": "gelu_new"}],
    "modernbert": [
        {},
        {"local_attention": 6, "global_attn_every_n_layers": 2},
        {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "hidden_activation": "silu"},
    ],
    "pplx": [{}, {"attention_bias": True, "num_key_value_heads": 4}],
}
CASES = [(kind, changes) for kind, all_changes in FAMILIES.items() for changes in all_changes]


def wide(kind: str, folder: Path, **changes: Any) -> Path:
    """Write a PyLate checkpoint that the native backend covers, of several layers."""
    return checkpoints.pylate(folder, kind, sizes={**checkpoints.NATIVE_SIZES.get(kind, {}), **changes})


def round_to_8_bits(folder: Path) -> None:
    """Round every matrix of the backbone to what the native backend makes of it."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    # Where positions are rotary, the token type's vector is added to those of the words first.
    types = tensors["embeddings.token_type_embeddings.weight"][0] if "emb_ln.weight" in tensors else torch.zeros(1)
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and "position" not in name and "token_type" not in name:
            shift = types if "word_embeddings" in name else torch.zeros(1)
            levels, scales = quantize_rows((tensor + shift).numpy())
            tensors[name] = torch.from_numpy(levels * scales[:, None]) - shift
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_states_after_every_layer_are_those_of_transformers(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    folder = wide(kind, tmp_path / "c", **changes)
    round_to_8_bits(folder)
    spec = Encoder(folder, backend="torch", device="cpu").spec
    model = load_backbone(spec).double()
    weights = read_checkpoint_weights(spec, 1)
    random = np.random.default_rng(1)
    for tokens in (1, 2, 5, 40):
        ids = random.integers(5, weights.words.shape[0], tokens)
        attended = random.random(tokens) > 0.2
        attended[0] = True
        expected = hidden_states(model, ids, attended)
        for number, states in enumerate(encoder_reference.layer_states(weights, ids, attended)):
            rows = slice(None)
            if weights.architecture.reach is not None:
                # A window without a token that may be attended to: transformers has no rule for it.
                rows = windows_with_tokens(attended, weights.architecture.reach)
            # transformers computes rotary positions and some normalizations in float32.
            np.testing.assert_allclose(states[rows], expected[number][rows], rtol=2e-4, atol=2e-4)


def windows_with_tokens(attended: np.ndarray, reach: int) -> np.ndarray:
    places = np.arange(len(attended))
    return np.array([attended[np.abs(places - place) <= reach].any() for place in places])


def hidden_states(model: Any, ids: np.ndarray, attended: np.ndarray) -> list[np.ndarray]:
    """Return what transformers has before every layer, and at the end."""
    seen: list[np.ndarray] = []
    layers = next(module for name, module in model.named_modules() if name.endswith(("layers", "encoder.layer")))
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().numpy()[0].copy()))
        for layer in layers
    ]
    with torch.inference_mode():
        last = model(
            input_ids=torch.from_numpy(ids)[None], attention_mask=torch.from_numpy(attended.astype(np.int64))[None]
        ).last_hidden_state
    for hook in hooks:
        hook.remove()
    return [*seen, last.numpy()[0]]
