"""k-means: nearest and means against NumPy, the same at any number of threads, and resumable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import _core, maxsim
from serotine.index import clustering, codebook, training
from serotine.index.arrays_file import ArraysFile


@pytest.fixture
def threads() -> Iterator[None]:
    before = maxsim.num_threads()
    yield
    maxsim.set_num_threads(before)


def blobs(points: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((40, dim))
    values = centres[rng.integers(0, 40, points)] + 0.3 * rng.standard_normal((points, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@given(
    points=st.integers(0, 200), dim=st.integers(1, 40), centroids=st.integers(1, 90), groups=st.integers(1, 6),
    seed=st.integers(0, 5),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_nearest_is_the_nearest_of_the_list(points: int, dim: int, centroids: int, groups: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((points, dim)).astype(np.float32)
    means = rng.standard_normal((centroids, dim)).astype(np.float32)
    cells = rng.integers(0, groups, points).astype(np.int32)
    lists = [np.sort(rng.permutation(centroids)[: rng.integers(1, centroids + 1)]) for _ in range(groups)]
    starts = np.concatenate([[0], np.cumsum([len(members) for members in lists])]).astype(np.int64)
    ids = clustering._in_lists(values, cells, means, np.concatenate(lists).astype(np.int64), starts)
    for point, cell, found in zip(values, cells, ids, strict=True):
        assert found in lists[cell]
        distances = ((means[lists[cell]] - point) ** 2).sum(axis=1)
        assert ((means[found] - point) ** 2).sum() <= distances.min() + 1e-4


def test_means_are_means_and_empty_clusters_stay() -> None:
    rng = np.random.default_rng(1)
    points, ids = rng.standard_normal((100, 7)).astype(np.float32), rng.integers(0, 5, 100).astype(np.int32)
    ids[ids == 3] = 2
    means, squares, sizes = np.full((6, 7), 9.0, np.float32), np.empty(6), np.empty(6, np.int64)
    _core.cluster_means(points, ids, means, squares, sizes)
    for cluster in (0, 1, 2, 4):
        own = points[ids == cluster].astype(np.float64)
        np.testing.assert_allclose(means[cluster], own.mean(axis=0), rtol=1e-5, atol=1e-6)
        assert squares[cluster] == pytest.approx(((own - own.mean(axis=0)) ** 2).sum())
        assert sizes[cluster] == len(own)
    assert (means[[3, 5]] == 9).all()
    assert sizes[[3, 5]].tolist() == [0, 0]


def trained(points: NDArray[np.float32], count: int) -> clustering.Clusters:
    clusters = clustering.begin(points, count, 7)
    while clusters.step < clustering.STEPS:
        clusters = clustering.advance(clusters, points, count, 7)
    return clusters


def test_training_is_the_same_at_any_number_of_threads(threads: None) -> None:
    points = blobs(3000, 24)
    found = []
    for count in (1, 2, 3):
        maxsim.set_num_threads(count)
        found.append(trained(points, 128).fine.tobytes())
    assert found[0] == found[1] == found[2]


def test_training_finds_clusters_that_routing_finds_again() -> None:
    points = blobs(20_000, 32)
    clusters = trained(points, 256)
    router = clustering.route(clusters.coarse, clusters.fine)
    routed, brute = router.assign(points), clustering.nearest(points, clusters.fine)
    assert (routed == brute).mean() > 0.9
    lost = ((points - clusters.fine[routed]) ** 2).sum() / ((points - clusters.fine[brute]) ** 2).sum()
    assert 1 <= lost < 1.05
    # As good as the centres the points were drawn around, which no 256 centroids could miss.
    assert ((points - clusters.fine[brute]) ** 2).sum(axis=1).mean() < 0.3


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(0, 300))
def test_every_cell_gets_its_share(sizes: list[int], extra: int) -> None:
    count = len(sizes) + extra
    given_ = clustering._share(np.array(sizes, dtype=np.int64), np.array(sizes, dtype=np.float64), count)
    assert given_.sum() == count
    assert given_.min() >= 1


def test_points_that_are_all_alike_can_be_clustered() -> None:
    clusters = trained(np.ones((64, 8), np.float32), 16)
    assert np.isfinite(clusters.fine).all()
    centroids, scales = codebook.quantise(clusters.fine, clusters.squares, clusters.sizes)
    np.testing.assert_allclose(centroids * scales[:, None], 1.0, rtol=0.02)
    zeros = trained(np.zeros((64, 8), np.float32), 16)
    codebook.Codebook(*codebook.quantise(zeros.fine, zeros.squares, zeros.sizes), zeros.coarse)


def test_training_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_WORTH_KEEPING", 4)
    (tmp_path / "segments").mkdir()
    points = blobs(2000, 16)
    how = {"centroids": 64, "tokens": 2000, "bits": 4}
    whole = training.train(tmp_path, tmp_path / "whole.codebook", points, **how, tick=lambda: None)  # type: ignore[arg-type]
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(tmp_path, tmp_path / "again.codebook", points, **how, tick=stop)  # type: ignore[arg-type]
    assert (tmp_path / "segments" / training.CHECKPOINT_FILE).exists()
    advanced = []
    real = clustering.advance
    monkeypatch.setattr(clustering, "advance", lambda *a: advanced.append(a[0].step) or real(*a))
    again = training.train(tmp_path, tmp_path / "again.codebook", points, **how, tick=lambda: None)  # type: ignore[arg-type]
    # The steps before were not done again.
    assert advanced == [2, 3]
    assert not (tmp_path / "segments" / training.CHECKPOINT_FILE).exists()
    files = [
        ArraysFile(tmp_path / f"{name}.codebook", r.file, "codebook")
        for name, r in (("whole", whole), ("again", again))
    ]
    for name, array in files[0].arrays.items():
        np.testing.assert_array_equal(array, files[1].arrays[name])
    # Another sample does not go on from it.
    calls = 0
    with pytest.raises(KeyboardInterrupt):
        training.train(tmp_path, tmp_path / "x.codebook", points, **how, tick=stop)  # type: ignore[arg-type]
    advanced.clear()
    training.train(tmp_path, tmp_path / "y.codebook", points[:-1], **how, tick=lambda: None)  # type: ignore[arg-type]
    assert advanced == [1, 2, 3]
