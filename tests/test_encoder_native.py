"""The native backend: every instruction set against float64, independence of the batch, files, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import encoder_reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import _core
from serotine.encoders.native import NativeBackend, TransformerWeights, read_weights, write_weights
from serotine.encoders.native.weights import Matrix, Norm, Words
from serotine.errors import EncoderError

COMPILED, SUPPORTED = _core.encoder_instruction_sets()


@pytest.fixture(params=COMPILED)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param not in SUPPORTED:
        pytest.skip(f"this processor has no {request.param}")
    before = _core.encoder_current()
    assert _core.encoder_use(request.param)
    yield request.param
    _core.encoder_use(before)


def texts_of(lengths: list[int], seed: int, vocabulary: int = 50) -> tuple[list[NDArray[np.int64]], list[NDArray[Any]]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, vocabulary, n) for n in lengths], [np.ones(n, dtype=bool) for n in lengths]


def assert_close(vectors: NDArray[np.float32], expected: NDArray[np.float64], cosine: float = 0.995) -> None:
    assert vectors.shape == expected.shape
    products = (vectors * expected).sum(axis=1)
    cosines = products / np.linalg.norm(vectors, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > cosine
    # Lengths too: normalization afterwards would hide them.
    assert np.abs(np.linalg.norm(vectors, axis=1) / np.linalg.norm(expected, axis=1) - 1).max() < 0.03


def check(weights: TransformerWeights, lengths: list[int], cosine: float = 0.995) -> None:
    ids, attention = texts_of(lengths, len(lengths))
    for vectors, text, attended in zip(NativeBackend("m", weights).run(ids, attention), ids, attention, strict=True):
        assert_close(vectors, encoder_reference.encode(weights, text, attended), cosine)


def test_the_processor_has_a_fast_path() -> None:
    assert SUPPORTED[0] == "portable"
    assert _core.encoder_current() == SUPPORTED[-1]
    assert not _core.encoder_use("unknown")


def test_embeddings_alone_are_exact(instruction_set: str) -> None:
    weights = encoder_reference.random_weights(1, layers=0)
    ids, attention = texts_of([1, 7, 40], 1)
    for vectors, text, attended in zip(NativeBackend("m", weights).run(ids, attention), ids, attention, strict=True):
        np.testing.assert_allclose(vectors, encoder_reference.encode(weights, text, attended), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("tanh", [False, True])
def test_vectors_equal_the_reference(instruction_set: str, tanh: bool) -> None:
    check(encoder_reference.random_weights(2, tanh=tanh), [1, 2, 3, 11, 12, 13, 24, 25, 31, 32, 33, 64, 65, 80])


def test_states_on_one_side_of_zero_use_all_levels(instruction_set: str) -> None:
    """The states of [CLS] and [SEP] have dimensions that are far from zero; levels around zero waste half."""
    weights = encoder_reference.random_weights(0, layers=1)
    for norm in (weights.embedding_norm, weights.layers[0].attention_norm, weights.layers[0].feed_norm):
        assert norm is not None
        assert norm.bias is not None
        norm.bias[::32] += 9
    ids, attention = texts_of([40], 0)
    (vectors,) = NativeBackend("m", weights).run(ids, attention)
    expected = encoder_reference.encode(weights, ids[0], attention[0])
    cosines = (vectors * expected).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(expected, axis=1)
    # 6e-6 with levels around zero.
    assert 1 - cosines.mean() < 4e-6


def test_wide_heads_and_many_layers(instruction_set: str) -> None:
    weights = encoder_reference.random_weights(3, hidden=128, heads=2, intermediate=160, layers=4, positions=520)
    check(weights, [1, 17, 512, 96], cosine=0.99)


def test_positions_that_start_later(instruction_set: str) -> None:
    weights = encoder_reference.random_weights(4, first_position=2)
    check(weights, [78, 5])
    with pytest.raises(EncoderError, match="a text must have at most 78 tokens, the model's positions, got 79"):
        NativeBackend("m", weights).run(*texts_of([79], 1))


def test_softmax_of_large_scores(instruction_set: str) -> None:
    """Attention scores of real text exceed 100; without the maximum subtracted, their powers overflow."""
    weights = encoder_reference.random_weights(5, spread=8.0, layers=1)
    ids, attention = texts_of([40], 5)
    (vectors,) = NativeBackend("m", weights).run(ids, attention)
    assert np.isfinite(vectors).all()
    expected = encoder_reference.encode(weights, ids[0], attention[0])
    # Nearly hard maxima: a rounding may choose another key for a few tokens.
    cosines = (vectors * expected).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(expected, axis=1)
    assert np.median(cosines) > 0.98


def test_tokens_that_are_not_attended_to(instruction_set: str) -> None:
    weights = encoder_reference.random_weights(6)
    ids, attention = texts_of([9, 40, 5], 6)
    attention[0][4:] = False
    attention[1][::3] = False
    attention[2][:] = False
    for vectors, text, attended in zip(NativeBackend("m", weights).run(ids, attention), ids, attention, strict=True):
        assert_close(vectors, encoder_reference.encode(weights, text, attended))
    changed = [ids[0].copy(), ids[1], ids[2]]
    changed[0][6] = (changed[0][6] + 1) % 50
    before, after = NativeBackend("m", weights).run(ids, attention), NativeBackend("m", weights).run(changed, attention)
    np.testing.assert_array_equal(before[0][:4], after[0][:4])


@pytest.mark.parametrize("activation", ["Identity", "ReLU", "GELU", "SiLU", "Tanh"])
@pytest.mark.parametrize("residual", [False, True])
def test_projections(instruction_set: str, activation: str, residual: bool) -> None:
    layers = ((64, activation, residual), (48, "Identity", residual), (33, activation, False))
    check(encoder_reference.random_weights(7, projections=layers), [1, 12, 13, 30], cosine=0.99)


def test_a_text_has_the_same_vectors_alone_in_a_batch_and_on_several_threads(instruction_set: str) -> None:
    weights = encoder_reference.random_weights(8, projections=((40, "GELU", True),), positions=200)
    ids, attention = texts_of([5, 1, 90, 33, 12, 150, 3, 64, 7, 7], 8)
    together = NativeBackend("m", weights, threads=1).run(ids, attention)
    threads = NativeBackend("m", weights, threads=2).run(ids, attention)
    backwards = NativeBackend("m", weights).run(ids[::-1], attention[::-1])[::-1]
    for i in range(len(ids)):
        (alone,) = NativeBackend("m", weights).run([ids[i]], [attention[i]])
        for vectors in (together[i], threads[i], backwards[i]):
            np.testing.assert_array_equal(vectors, alone)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_shape_equals_the_reference(data: st.DataObject) -> None:
    heads = data.draw(st.integers(1, 3))
    weights = encoder_reference.random_weights(
        data.draw(st.integers(0, 99)),
        hidden=heads * data.draw(st.sampled_from([32, 64])),
        heads=heads,
        intermediate=32 * data.draw(st.integers(1, 5)),
        layers=data.draw(st.integers(0, 3)),
        tanh=data.draw(st.booleans()),
        first_position=data.draw(st.integers(0, 3)),
        projections=data.draw(
            st.sampled_from([(), ((17, "Tanh", False),), ((32, "GELU", True), (8, "Identity", False))])
        ),
    )
    lengths = data.draw(st.lists(st.integers(1, 77), min_size=1, max_size=6))
    before = _core.encoder_current()
    try:
        _core.encoder_use(data.draw(st.sampled_from(SUPPORTED)))
        check(weights, lengths, cosine=0.98)
    finally:
        _core.encoder_use(before)


def test_huge_and_zero_weights_stay_finite(instruction_set: str) -> None:
    weights = encoder_reference.random_weights(9, layers=1)
    zero = replace(
        weights, words=Words.from_rows(np.zeros((50, 64), np.float32)), positions=np.zeros_like(weights.positions)
    )
    huge = replace(weights, positions=weights.positions * np.float32(1e15))
    for extreme in (zero, huge):
        assert all(np.isfinite(vectors).all() for vectors in NativeBackend("m", extreme).run(*texts_of([1, 40], 9)))


def test_a_file_gives_the_same_vectors(tmp_path: Path) -> None:
    weights = encoder_reference.random_weights(10, projections=((64, "GELU", True), (16, "Identity", False)))
    rounded = [
        tuple(None if array is None else array.astype(np.float16).astype(np.float32) for array in layer)
        for layer in weights.projections
    ]
    write_weights(tmp_path / "m.safetensors", replace(weights, projections=rounded))
    read = read_weights(tmp_path / "m.safetensors")
    # Nothing that is large was copied: the core gets the file's own pages, aligned to its loads.
    for array in (read.words.levels, *(layer.feed_in.panels for layer in read.layers)):
        base: Any = array
        while base.base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)
    assert all(layer.feed_in.panels.ctypes.data % 64 == 0 for layer in read.layers)
    ids, attention = texts_of([20, 3], 10)
    expected = NativeBackend("m", replace(weights, projections=rounded)).run(ids, attention)
    for vectors, same in zip(NativeBackend("m", read).run(ids, attention), expected, strict=True):
        np.testing.assert_allclose(vectors, same, rtol=0, atol=2e-3)


def test_damaged_files(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    weights = encoder_reference.random_weights(11)
    write_weights(file, weights)
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        file.write_bytes(content)
        with pytest.raises(EncoderError, match="not a complete"):
            read_weights(file)
    positions = weights.positions.copy()
    positions[3, 3] = np.nan
    write_weights(file, replace(weights, positions=positions))
    with pytest.raises(EncoderError, match="tensor 'positions' has values that are not finite"):
        read_weights(file)
    layer = weights.layers[1]
    narrow = Matrix(layer.feed_out.panels[:, :-1], layer.feed_out.scales, layer.feed_out.bias)
    for damaged, message in (
        (replace(weights, words=Words(weights.words.levels, weights.words.scales[:-1])), "words.scales"),
        (replace(weights, embedding_norm=Norm(np.ones(63, np.float32), np.ones(64, np.float32))), "norm.gain"),
        (replace(weights, layers=[layer, replace(layer, feed_out=narrow)]), "layers.1.feed_out.panels"),
    ):
        write_weights(file, damaged)
        with pytest.raises(EncoderError, match=f"tensor '{message}' must be .*, got .*; install the model again"):
            read_weights(file)


@pytest.mark.parametrize("stored", [False, True])
def test_word_vectors_in_blocks_of_4_bits(instruction_set: str, stored: bool, tmp_path: Path) -> None:
    weights = encoder_reference.random_weights(13, word_bits=4)
    assert weights.words.bits == 4
    assert weights.words.shape == (50, 64)
    if stored:
        write_weights(tmp_path / "m.safetensors", weights)
        weights = read_weights(tmp_path / "m.safetensors")
        assert weights.words.bits == 4
    check(weights, [1, 12, 40])
    check(encoder_reference.random_weights(13, word_bits=4, layers=0), [77], cosine=0.999999)


def test_a_largest_value_that_rounds_above_255_is_not_lost(instruction_set: str) -> None:
    """The zero point of the feed-forward states is rounded: the largest value may round to 256."""
    weights = encoder_reference.random_weights(3, hidden=128, heads=2, intermediate=160, layers=1, positions=520)
    ids, attention = texts_of([500], 4)
    (vectors,) = NativeBackend("m", weights).run(ids, attention)
    assert_close(vectors, encoder_reference.encode(weights, ids[0], attention[0]), cosine=0.9998)


def test_ids_outside_the_vocabulary(instruction_set: str) -> None:
    backend = NativeBackend("m", encoder_reference.random_weights(12))
    for id_ in (50, -1):
        with pytest.raises(EncoderError, match=f"token ids must be below 50, the size of the vocabulary, got {id_}"):
            backend.run([np.array([1, id_])], [np.ones(2, dtype=bool)])
    assert backend.run([], []) == []
