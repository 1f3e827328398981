"""k-means: nearest centroids and means agree with NumPy at any number of threads, and training resumes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import _core, maxsim
from serotine.index.files import CHECKPOINT_FILE, codebook, router
from serotine.index.files.arrays import ArraysFile
from serotine.index.growth import codebook_training, kmeans


@pytest.fixture
def threads() -> Iterator[None]:
    before = maxsim.num_threads()
    yield
    maxsim.set_num_threads(before)


def blobs(points: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((40, dim))
    values = centers[rng.integers(0, 40, points)] + 0.3 * rng.standard_normal((points, dim))
    unit_vectors: NDArray[np.float32] = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return unit_vectors


@given(
    points=st.integers(0, 200), dim=st.integers(1, 40), centroids=st.integers(1, 90), groups=st.integers(1, 6),
    seed=st.integers(0, 5),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_nearest_member_of_a_cell_is_found(points: int, dim: int, centroids: int, groups: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((points, dim)).astype(np.float32)
    means = rng.standard_normal((centroids, dim)).astype(np.float32)
    cells = rng.integers(0, groups, points).astype(np.int32)
    lists = [np.sort(rng.permutation(centroids)[: rng.integers(1, centroids + 1)]) for _ in range(groups)]
    starts = np.concatenate([[0], np.cumsum([len(members) for members in lists])]).astype(np.int64)
    ids = router.nearest_member(values, cells, means, np.concatenate(lists).astype(np.int64), starts)
    for point, cell, id_ in zip(values, cells, ids, strict=True):
        assert id_ in lists[cell]
        distances = np.sqrt(((means[lists[cell]] - point) ** 2).sum(axis=1))
        assert np.linalg.norm(means[id_] - point) <= distances.min() + rounding(values, means)


def rounding(points: NDArray[np.float32], centroids: NDArray[np.float32]) -> float:
    """Return the largest difference of two distances that rounding to int8 may swap: that of both ends of both."""
    mean = centroids.mean(axis=0)
    largest = float(np.abs(points - mean).max(initial=0.0)) + float(np.abs(centroids - mean).max())
    return 1.001 * np.sqrt(points.shape[1]) * largest / 127


def squared_distances(points: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return squared distances, float64 (points, centroids)."""
    differences = points[:, None].astype(np.float64) - centroids[None].astype(np.float64)
    distances: NDArray[np.float64] = np.einsum("ijk,ijk->ij", differences, differences)
    return distances


@pytest.mark.parametrize("dim", [1, 7, 33, 128])
@pytest.mark.parametrize("similar", [True, False])
def test_every_path_finds_the_nearest(path: str, dim: int, similar: bool) -> None:
    """More points than one parallel task handles, in groups of every size, shuffled.

    Of similar size they are compared in 8 bits: nearly always the nearest, and nearly as near. Others exactly.
    """
    rng = np.random.default_rng(dim)
    points = rng.standard_normal((4500, dim)).astype(np.float32)
    if similar:
        points /= np.abs(points).max(axis=1, keepdims=True)
    else:
        points[::7] *= 1e-3
    centroids = rng.standard_normal((130, dim)).astype(np.float32)
    order = rng.permutation(len(points)).astype(np.int64)
    # Groups 0, 2 and the last have no points; 2 has no centroids either.
    group_starts = np.array([0, 0, 2100, 2100, 2101, 4500, 4500], dtype=np.int64)
    lists = [rng.choice(130, size, replace=False) for size in (3, 130, 0, 1, 64, 9)]
    list_starts = np.concatenate([[0], np.cumsum([len(members) for members in lists])]).astype(np.int64)
    ids = np.full(len(points), -1, np.int32)
    all_members = np.concatenate(lists).astype(np.int64)
    _core.nearest(points, order, group_starts, centroids, all_members, list_starts, ids)
    for group, (first, last) in enumerate(itertools.pairwise(group_starts)):
        if first == last:
            continue
        group_points = order[first:last]
        least = squared_distances(points[group_points], centroids[lists[group]]).min(axis=1)
        assert np.isin(ids[group_points], lists[group]).all()
        returned = squared_distances(points[group_points], centroids)[np.arange(len(group_points)), ids[group_points]]
        if similar:
            assert (np.sqrt(returned) <= np.sqrt(least) + rounding(points, centroids)).all()
            assert returned.mean() <= 1.001 * least.mean() + 1e-4
            assert (returned <= least + 1e-5 * dim).mean() > 0.95
        else:
            assert (returned <= least + 1e-5 * dim).all()


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30, np.inf, np.nan])
def test_points_outside_the_range_of_8_bits_have_a_centroid(path: str, value: float) -> None:
    """Beside others, in the points and in the centroids."""
    rng = np.random.default_rng(3)
    points = rng.standard_normal((100, 5)).astype(np.float32)
    centroids = rng.standard_normal((9, 5)).astype(np.float32)
    exact = squared_distances(points, centroids).argmin(axis=1)
    extreme = points.copy()
    extreme[64] = value
    assert (np.delete(router.nearest(extreme, centroids), 64) == np.delete(exact, 64)).mean() > 0.95
    ids = router.nearest(points, np.concatenate([centroids, np.full((1, 5), value, np.float32)]))
    assert ((ids >= 0) & (ids < 10)).all()


def test_what_all_vectors_have_in_common_costs_no_precision(path: str) -> None:
    """Vectors of length 1 with noise of a hundredth: rounded as they are, they would be 9% farther from centroids."""
    rng = np.random.default_rng(5)
    values = rng.standard_normal(32) + 0.01 * rng.standard_normal((3000, 32))
    values = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    points, centroids = values[:2800], values[2800:]
    distances = squared_distances(points, centroids)
    returned = distances[np.arange(len(points)), router.nearest(points, centroids)]
    assert returned.mean() < 1.005 * distances.min(axis=1).mean()


def test_another_instruction_set_may_be_chosen_meanwhile() -> None:
    points, centroids = blobs(20_000, 31), blobs(300, 31, seed=1)
    expected = squared_distances(points[:500], centroids).min(axis=1)
    names, done = maxsim.capabilities().supported, threading.Event()

    def choose() -> None:
        while not done.is_set():
            for name in names:
                maxsim.use(name)

    chooser = threading.Thread(target=choose)
    chooser.start()
    try:
        for _ in range(20):
            ids = router.nearest(points, centroids)
            returned = squared_distances(points[:500], centroids)[np.arange(500), ids[:500]]
            assert returned.mean() < 1.01 * expected.mean()
    finally:
        done.set()
        chooser.join()
        maxsim.use("auto")


def test_ties_go_to_the_first_in_the_list(path: str) -> None:
    points = np.zeros((70, 5), np.float32)
    centroids = np.concatenate([np.ones((9, 5)), -np.ones((9, 5))]).astype(np.float32)
    members = np.array([17, 3, 0, 11], dtype=np.int64)
    ids = np.empty(70, np.int32)
    _core.nearest(points, np.arange(70), np.array([0, 70]), centroids, members, np.array([0, 4]), ids)
    assert (ids == 17).all()


def test_more_groups_than_points() -> None:
    points, centroids = np.array([[0.9], [0.1]], np.float32), np.array([[0.0], [1.0]], np.float32)
    cells = np.array([40, 7], np.int32)
    members = np.tile(np.array([0, 1], dtype=np.int64), 50)
    ids = router.nearest_member(points, cells, centroids, members, np.arange(51, dtype=np.int64) * 2)
    assert ids.tolist() == [1, 0]


@given(
    points=st.integers(0, 300), dim=st.integers(1, 40), clusters=st.integers(1, 50),
    size=st.sampled_from([1e-3, 1.0, 1e6]), seed=st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_means_match_numpy(points: int, dim: int, clusters: int, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal((points, dim)) * size).astype(np.float32)
    ids = rng.integers(0, clusters, points).astype(np.int32)
    means = np.full((clusters, dim), 9.0, np.float32)
    squares, sizes = np.empty(clusters), np.empty(clusters, np.int64)
    _core.cluster_means(values, ids, means, squares, sizes)
    for cluster in range(clusters):
        cluster_points = values[ids == cluster].astype(np.float64)
        assert sizes[cluster] == len(cluster_points)
        expected = cluster_points.mean(axis=0) if len(cluster_points) else np.full(dim, 9.0)
        np.testing.assert_allclose(means[cluster], expected, rtol=1e-6, atol=1e-9 * size)
        spread = ((cluster_points - expected) ** 2).sum() if len(cluster_points) else 0.0
        # Rounding of a difference of float64 sums.
        assert squares[cluster] == pytest.approx(spread, rel=1e-9, abs=1e-11 * size * size * dim)


def test_corrupt_posting_lists_are_rejected() -> None:
    points, centroids = np.ones((4, 3), np.float32), np.ones((5, 3), np.float32)
    valid: dict[str, Any] = {
        "points": points,
        "order": np.arange(4),
        "group_starts": np.array([0, 1, 4]),
        "centroids": centroids,
        "members": np.arange(5),
        "list_starts": np.array([0, 2, 5]),
        "ids": np.empty(4, np.int32),
    }
    _core.nearest(**valid)
    for name, value, message in (
        ("points", np.ones((4, 2), np.float32), "dimensions differ"),
        ("ids", np.empty(3, np.int32), "one id per point"),
        ("list_starts", np.array([0, 5]), "differ in length"),
        ("group_starts", np.array([0, 5, 4]), "starts must not decrease"),
        ("group_starts", np.array([1, 2, 4]), "from 0 to the end"),
        ("group_starts", np.array([0, 2, 3]), "from 0 to the end"),
        ("list_starts", np.array([0, -1, 5]), "starts must not decrease"),
        ("list_starts", np.array([0, 0, 5]), "a group with points has an empty list"),
        ("order", np.array([0, 1, 2, 4]), "a member is out of range"),
        ("order", np.array([0, 1, 2, -1]), "a member is out of range"),
        ("members", np.array([0, 1, 2, 3, 5]), "a member is out of range"),
        ("members", np.array([0, 1, 2, 3, -5]), "a member is out of range"),
        ("group_starts", np.empty(0, np.int64), "differ in length"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.nearest(**(valid | {name: value}))
    means = (np.zeros((2, 3), np.float32), np.empty(2), np.empty(2, np.int64))
    ids = np.zeros(4, np.int32)
    for arguments, message in (
        ((points, ids[:3], *means), "one id per point"),
        ((points, ids + 2, *means), "a centroid id is out of range"),
        ((points, ids - 1, *means), "a centroid id is out of range"),
        ((points[:, :2].copy(), ids, *means), "dimensions differ"),
        ((points, ids, means[0], np.empty(3), means[2]), "one entry per cluster"),
        ((points, ids, means[0], means[1], np.empty(1, np.int64)), "one entry per cluster"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.cluster_means(*arguments)
    # An output of another dtype would be converted, and the results written to the copy.
    with pytest.raises(TypeError):
        _core.cluster_means(points, ids, means[0].astype(np.float64), means[1], means[2])


def test_means_are_means_and_empty_clusters_stay() -> None:
    rng = np.random.default_rng(1)
    points, ids = rng.standard_normal((100, 7)).astype(np.float32), rng.integers(0, 5, 100).astype(np.int32)
    ids[ids == 3] = 2
    means, squares, sizes = np.full((6, 7), 9.0, np.float32), np.empty(6), np.empty(6, np.int64)
    _core.cluster_means(points, ids, means, squares, sizes)
    for cluster in (0, 1, 2, 4):
        cluster_points = points[ids == cluster].astype(np.float64)
        np.testing.assert_allclose(means[cluster], cluster_points.mean(axis=0), rtol=1e-5, atol=1e-6)
        assert squares[cluster] == pytest.approx(((cluster_points - cluster_points.mean(axis=0)) ** 2).sum())
        assert sizes[cluster] == len(cluster_points)
    assert (means[[3, 5]] == 9).all()
    assert sizes[[3, 5]].tolist() == [0, 0]


def trained(points: NDArray[np.float32], count: int) -> kmeans.Clusters:
    clusters = kmeans.train_coarse(points, count, 7)
    while clusters.step < kmeans.STEPS:
        clusters = kmeans.advance(clusters, points, count, 7)
    return clusters


def test_training_is_the_same_at_any_number_of_threads(threads: None) -> None:
    points = blobs(3000, 24)
    codebooks = []
    for count in (1, 2, 3):
        maxsim.set_num_threads(count)
        codebooks.append(trained(points, 128).fine.tobytes())
    assert codebooks[0] == codebooks[1] == codebooks[2]
    # Another seed gives another codebook.
    other = kmeans.train_coarse(points, 128, 8).coarse
    assert other.tobytes() != kmeans.train_coarse(points, 128, 7).coarse.tobytes()


def test_means_and_nearest_are_the_same_at_any_number_of_threads(threads: None) -> None:
    points = blobs(9000, 33)
    centroids = points[::70].copy()
    results = []
    for count in (1, 2, 5):
        maxsim.set_num_threads(count)
        ids = router.nearest(points, centroids)
        means, squares, sizes = centroids.copy(), np.empty(len(centroids)), np.empty(len(centroids), np.int64)
        _core.cluster_means(points, ids, means, squares, sizes)
        results.append((ids.tobytes(), means.tobytes(), squares.tobytes(), sizes.tobytes()))
    assert results[0] == results[1] == results[2]


def test_routing_agrees_with_brute_force() -> None:
    points = blobs(20_000, 32)
    clusters = trained(points, 256)
    routes = router.route(clusters.coarse, clusters.fine)
    routed = routes.assign(points)
    brute = (points @ clusters.fine.T - 0.5 * np.square(clusters.fine).sum(axis=1)).argmax(axis=1)
    assert (routed == brute).mean() > 0.9
    error_ratio = ((points - clusters.fine[routed]) ** 2).sum() / ((points - clusters.fine[brute]) ** 2).sum()
    assert 1 <= error_ratio < 1.05
    # 256 centroids represent the points at least as well as the 40 centers they were drawn around.
    assert ((points - clusters.fine[brute]) ** 2).sum(axis=1).mean() < 0.3


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(0, 300))
def test_every_cell_gets_its_share(sizes: list[int], extra: int) -> None:
    count = len(sizes) + extra
    counts = kmeans._fine_counts(np.array(sizes, dtype=np.int64), np.array(sizes, dtype=np.float64), count)
    assert counts.sum() == count
    assert counts.min() >= 1


def test_a_centroid_knows_the_spread_of_its_tokens() -> None:
    """The room that its int8 scale has for residuals says how wide they spread."""
    rng = np.random.default_rng(5)
    centers, widths = rng.standard_normal((8, 64)).astype(np.float32), np.linspace(0.05, 0.4, 8)
    clusters = trained(np.repeat(centers, 200, axis=0), 8)
    squares = widths[np.argmin(((clusters.fine[:, None] - centers) ** 2).sum(axis=2), axis=1)] ** 2 * 64 * 200
    centroids, scales = codebook.quantize(clusters.fine, squares, np.full(8, 200))
    expected = np.sqrt(squares / 200 / 64)
    np.testing.assert_allclose(codebook.spreads(centroids, scales), expected, atol=0.01)


def test_identical_unit_vectors_can_be_clustered() -> None:
    clusters = trained(np.ones((64, 8), np.float32), 16)
    assert np.isfinite(clusters.fine).all()
    centroids, scales = codebook.quantize(clusters.fine, clusters.squares, clusters.sizes)
    np.testing.assert_allclose(centroids * scales[:, None], 1.0, rtol=0.02)
    zeros = trained(np.zeros((64, 8), np.float32), 16)
    codebook.Codebook(*codebook.quantize(zeros.fine, zeros.squares, zeros.sizes), zeros.coarse)


def test_interrupted_training_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codebook_training, "_MIN_CHECKPOINT", 4)
    (tmp_path / "segments").mkdir()
    points = blobs(2000, 16)
    options: dict[str, Any] = {"centroids": 64, "tokens": 2000, "bits": 4}
    whole = codebook_training.train(tmp_path, tmp_path / "whole.codebook", points, **options, tick=lambda: None)
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        codebook_training.train(tmp_path, tmp_path / "resumed.codebook", points, **options, tick=stop)
    assert (tmp_path / "segments" / CHECKPOINT_FILE).exists()
    advanced = []
    real = kmeans.advance

    def advance(clusters: kmeans.Clusters, *rest: Any) -> kmeans.Clusters:
        advanced.append(clusters.step)
        return real(clusters, *rest)

    monkeypatch.setattr(kmeans, "advance", advance)
    resumed = codebook_training.train(tmp_path, tmp_path / "resumed.codebook", points, **options, tick=lambda: None)
    # Completed steps are not repeated.
    assert advanced == [2, 3]
    assert not (tmp_path / "segments" / CHECKPOINT_FILE).exists()
    files = [
        ArraysFile(tmp_path / f"{name}.codebook", r.file, "codebook")
        for name, r in (("whole", whole), ("resumed", resumed))
    ]
    for name, array in files[0].arrays.items():
        np.testing.assert_array_equal(array, files[1].arrays[name])
    assert files[0].attributes == files[1].attributes
    assert (tmp_path / "whole.codebook").read_bytes() == (tmp_path / "resumed.codebook").read_bytes()
    # Another sample does not resume from it.
    calls = 0
    with pytest.raises(KeyboardInterrupt):
        codebook_training.train(tmp_path, tmp_path / "x.codebook", points, **options, tick=stop)
    advanced.clear()
    codebook_training.train(tmp_path, tmp_path / "y.codebook", points[:-1], **options, tick=lambda: None)
    assert advanced == [1, 2, 3]
