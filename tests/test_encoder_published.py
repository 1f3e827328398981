"""Published late-interaction models: their settings and projections over random backbones of their kind.

Ids, masks and vectors are those of sentence-transformers, which reads the same checkpoints; the native backend gives
the same vectors in 8 bits, or says why not.
"""

from __future__ import annotations

import json
import logging
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from helpers import checkpoints
from helpers.checkpoints import TEXTS

from serotine import Encoder
from serotine.encoders.native import NativeBackend
from serotine.errors import EncoderError

pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass(frozen=True)
class Model:
    """Settings as published; the sizes are the least that the native backend covers, except where they are stated."""

    kind: str
    dense: list[tuple[int, bool]]
    settings: dict[str, Any]
    sizes: dict[str, Any] = field(default_factory=dict)
    lower_case: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    reason: str | None = None


def settings(query_length: int, document_length: int, *, expansion: bool, **changes: Any) -> dict[str, Any]:
    lengths = {"query_length": query_length, "document_length": document_length}
    return lengths | {"do_query_expansion": expansion} | changes


POSITIONS = {"max_position_embeddings": 8192}
MODERNBERT = checkpoints.NATIVE_SIZES["modernbert"] | POSITIONS
LATEON_HEAD = [(1536, True), (768, True), (128, False)]
MODELS = {
    "GTE-ModernColBERT": Model("modernbert", [(128, False)], settings(48, 300, expansion=False), MODERNBERT),
    "LateOn": Model("modernbert", LATEON_HEAD, settings(32, 300, expansion=False), MODERNBERT),
    # mmBERT: one base of rotary positions for all layers.
    "mLateOn": Model(
        "modernbert",
        LATEON_HEAD,
        settings(8192, 8192, expansion=False, skiplist_words=[]),
        {**MODERNBERT, "local_rope_theta": 160_000.0, "position_embedding_type": "sans_pos"},
    ),
    "ColBERT-Zero": Model(
        "modernbert",
        [(128, False)],
        settings(39, 519, expansion=False),
        MODERNBERT,
        prompts={"query": "search_query: ", "document": "search_document: "},
    ),
    "Reason-ModernColBERT": Model(
        "modernbert", [(128, False)], settings(128, 8192, expansion=False, skiplist_words=[]), MODERNBERT
    ),
    "Agent-ModernColBERT": Model("modernbert", [(128, False)], settings(8192, 4096, expansion=False), MODERNBERT),
    # Ettin in its own size.
    "mxbai-edge-colbert-v0-17m": Model(
        "modernbert",
        [(512, False), (48, False)],
        settings(32, 512, expansion=False),
        {"hidden_size": 256, "intermediate_size": 384, "num_attention_heads": 4, "num_hidden_layers": 7}
        | {"position_embedding_type": "sans_pos", "initializer_range": 0.08, **POSITIONS},
        lower_case=True,
    ),
    "LFM2-ColBERT-350M": Model(
        "lfm2", [(128, False)], settings(32, 512, expansion=True), reason="model type 'lfm2'; the native backend has"
    ),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def write(model: Model, folder: Path) -> Path:
    words = {"skiplist_words": list(string.punctuation), "prompts": model.prompts}
    checkpoints.pylate(folder, model.kind, dense=model.dense, sizes=model.sizes, **words | model.settings)
    limits = {"max_seq_length": 8192, "do_lower_case": model.lower_case}
    (folder / "sentence_bert_config.json").write_text(json.dumps(limits))
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_ids_masks_and_vectors_are_those_of_sentence_transformers(name: str, tmp_path: Path) -> None:
    from sentence_transformers import MultiVectorEncoder

    model = MODELS[name]
    folder = write(model, tmp_path / "c")
    theirs = MultiVectorEncoder(str(folder), device="cpu")
    ours = Encoder(folder, backend="torch", device="cpu", dtype="float32", marker_position="prepend")
    assert ours.dim == model.dense[-1][0]
    for task, side in (("query", ours.spec.query), ("document", ours.spec.document)):
        for text, tokens in zip(TEXTS, ours._tokenizer.encode(TEXTS, side), strict=True):
            features = theirs.preprocess([text], prompt=theirs.prompts.get(task), task=task)
            assert tokens.ids.tolist() == features["input_ids"][0].tolist(), (task, text)
            assert tokens.attention.astype(int).tolist() == features["attention_mask"][0].tolist(), (task, text)
    pairs = [
        (ours.encode_queries(TEXTS), theirs.encode_query(TEXTS, convert_to_numpy=True, batch_size=4)),
        (ours.encode_documents(TEXTS), theirs.encode_document(TEXTS, convert_to_numpy=True, batch_size=4)),
    ]
    for one, other in ((one, other) for side in pairs for one, other in zip(*side, strict=True)):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=2e-5)
    chosen = Encoder(folder, device="cpu", marker_position="prepend")
    assert chosen.backend_choice is not None
    if model.reason is not None:
        assert chosen.backend_choice.backend == "torch"
        assert model.reason in chosen.backend_choice.reason
        return
    assert isinstance(chosen.backend, NativeBackend)
    cosines = [np.einsum("ij,ij->i", *pair) for pair in zip(chosen.encode_documents(TEXTS), pairs[1][0], strict=True)]
    assert np.concatenate(cosines).mean() > 0.99


def test_a_marker_and_a_prompt_are_both_there(tmp_path: Path) -> None:
    """PyLate's layout: [CLS], the marker, the prompt, the text."""
    encoder = Encoder(write(MODELS["ColBERT-Zero"], tmp_path / "c"), device="cpu")
    for query, marker, prompt in ((True, "[Q] ", "search_query: "), (False, "[D] ", "search_document: ")):
        tokens = [encoder._tokenizer.piece(id_) for id_ in encoder.token_ids("a bat", query=query)]
        assert tokens[:2] == ["[CLS]", marker]
        assert "".join(tokens[2:-1]).replace("\u0120", " ") == f"{prompt}a bat"


def test_a_bidirectional_model_under_a_causal_model_type_is_refused(tmp_path: Path) -> None:
    """As LFM2.5-ColBERT's, whose own code changes the attention: transformers would load it as causal."""
    folder = checkpoints.pylate(tmp_path / "c", "lfm2")
    checkpoints.configure(folder, architectures=["Lfm2BidirectionalModel"], num_attention_heads=4)
    with pytest.raises(EncoderError, match="'Lfm2BidirectionalModel', whose own code makes the causal 'lfm2' bidir"):
        Encoder(folder)


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_rotary_positions_with_unknown_settings_are_refused(backend: Any, tmp_path: Path) -> None:
    folder = checkpoints.stanford(tmp_path / "c", "jina", sizes=checkpoints.NATIVE_SIZES["jina"])
    checkpoints.configure(folder, num_attention_heads=2, rotary_emb_interleaved=True)
    with pytest.raises(EncoderError, match="rotary_emb_interleaved True: not supported with rotary positions"):
        Encoder(folder, backend=backend, device="cpu")


def test_a_saved_checkpoint_with_rotary_positions_is_read_again(tmp_path: Path) -> None:
    from serotine.encoders import save_checkpoint

    folder = checkpoints.stanford(tmp_path / "c", "jina", sizes=checkpoints.NATIVE_SIZES["jina"])
    source = Encoder(folder, backend="torch", device="cpu", dtype="float32")
    save_checkpoint(source, tmp_path / "saved")
    for backend, least in (("torch", 0.99999), ("native", 0.99)):
        saved = Encoder(tmp_path / "saved", backend=backend, device="cpu")
        pairs = zip(saved.encode_documents(TEXTS), source.encode_documents(TEXTS), strict=True)
        assert np.concatenate([np.einsum("ij,ij->i", *pair) for pair in pairs]).mean() > least
