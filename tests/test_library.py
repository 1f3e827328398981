"""libserotine: the C interface of the scoring core, called from Python and from a program in C."""

from __future__ import annotations

import ctypes
import itertools
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.native_build import ROOT, build, can_build
from numpy.typing import NDArray

import serotine
from serotine import maxsim

pytestmark = [
    pytest.mark.skipif(not can_build(), reason="needs cmake, ninja and a C++ compiler"),
    # Compilation of every instruction set, on a core that other tests share.
    pytest.mark.timeout(1200),
]
HEADER = (ROOT / "native/include/serotine.h").read_text("utf-8")
F32, F16, BF16, I8 = range(4)
RNG = np.random.default_rng(0)
DIM = 48
LENGTHS = [3, 0, 40, 1, 25, 7]
OFFSETS = np.concatenate([[0], np.cumsum(LENGTHS)]).astype(np.int64)
QUERY = RNG.standard_normal((17, DIM)).astype(np.float16).astype(np.float32)
DOCUMENTS = RNG.standard_normal((int(OFFSETS[-1]), DIM)).astype(np.float16).astype(np.float32)


def codes() -> dict[str, int]:
    """Return the codes of the header, by name."""
    return {name: int(value) for name, value in re.findall(r"^#define SEROTINE_(\w+) (\d+)", HEADER, re.MULTILINE)}


class Vectors(ctypes.Structure):
    _fields_ = (
        ("values", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("tokens", ctypes.c_size_t),
        ("dim", ctypes.c_size_t),
        ("dtype", ctypes.c_int32),
    )


def vectors(array: NDArray[Any], dtype: int = F32, scales: NDArray[np.float32] | None = None) -> Vectors:
    """Return what the library takes; the caller keeps the arrays."""
    return Vectors(array.ctypes.data, None if scales is None else scales.ctypes.data, *array.shape, dtype)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library")
    options = ("-DSEROTINE_LIBRARY=ON", "-DCMAKE_BUILD_TYPE=Release", "-DSEROTINE_KERNEL_OPT=-O1")
    build(path, *options, targets=("serotine",))
    return path / "library"


@pytest.fixture(scope="module")
def library(folder: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(folder / "libserotine.so"))
    for name in ("serotine_version", "serotine_instruction_set", "serotine_message"):
        getattr(loaded, name).restype = ctypes.c_char_p
    loaded.serotine_threads.restype = ctypes.c_size_t
    loaded.serotine_set_threads.argtypes = [ctypes.c_size_t]
    return loaded


def packed(library: ctypes.CDLL, query: Vectors, documents: Vectors, offsets: NDArray[np.int64] = OFFSETS) -> Any:
    scores = np.full(len(offsets) - 1, np.nan, np.float32)
    code = library.serotine_maxsim_packed(
        ctypes.byref(query), ctypes.byref(documents), offsets.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(len(offsets) - 1), scores.ctypes.data_as(ctypes.c_void_p),
    )  # fmt: skip
    return code, scores


def reference(query: NDArray[Any], documents: NDArray[Any]) -> NDArray[np.float64]:
    similarities = query.astype(np.float64) @ documents.astype(np.float64).T
    return np.array([similarities[:, a:b].max(axis=1, initial=-np.inf).sum() for a, b in itertools.pairwise(OFFSETS)])


def test_scores_of_every_dtype_are_maxsim(library: ctypes.CDLL) -> None:
    expected = reference(QUERY, DOCUMENTS)
    halves = DOCUMENTS.astype(np.float16)
    bits = (DOCUMENTS.view(np.uint32) >> 16).astype(np.uint16)
    widened = (bits.astype(np.uint32) << 16).view(np.float32)
    int8_query, query_scales = maxsim.quantize(QUERY)
    int8_documents, scales = maxsim.quantize(DOCUMENTS)
    cases = [
        (vectors(QUERY), vectors(DOCUMENTS), expected),
        (vectors(QUERY), vectors(halves, F16), expected),
        (vectors(QUERY), vectors(bits, BF16), reference(QUERY, widened)),
        (
            vectors(int8_query, I8, query_scales), vectors(int8_documents, I8, scales),
            reference(int8_query * query_scales[:, None], int8_documents * scales[:, None]),
        ),
    ]  # fmt: skip
    for query, documents, truth in cases:
        code, scores = packed(library, query, documents)
        assert code == 0
        np.testing.assert_allclose(scores, truth, rtol=1e-5, atol=1e-4)
        single = np.zeros(len(LENGTHS), np.float32)
        many = (Vectors * len(LENGTHS))()
        for number, (begin, length) in enumerate(zip(OFFSETS, LENGTHS, strict=False)):
            size = {F32: 4, F16: 2, BF16: 2, I8: 1}[documents.dtype]
            first = int(begin) * DIM * size
            own_scales = None if documents.scales is None else documents.scales + 4 * int(begin)
            many[number] = Vectors((documents.values or 0) + first, own_scales, length, DIM, documents.dtype)
            one = single[number:].ctypes.data_as(ctypes.c_void_p)
            assert library.serotine_maxsim(ctypes.byref(query), ctypes.byref(many[number]), one) == 0
        assert single.tolist() == scores.tolist()
        single[:] = 0
        assert (
            library.serotine_maxsim_many(
                ctypes.byref(query), many, ctypes.c_size_t(len(many)), single.ctypes.data_as(ctypes.c_void_p)
            )
            == 0
        )
        assert single.tolist() == scores.tolist()


def test_the_best_documents(library: ctypes.CDLL) -> None:
    truth = reference(QUERY, DOCUMENTS)
    keep = np.array([1, 1, 0, 1, 1, 1], np.uint8)
    query, documents = vectors(QUERY), vectors(DOCUMENTS)
    for mask, k, count in ((None, 3, 3), (keep, 3, 3), (keep, 9, 5)):
        scores, numbers, found = np.zeros(k, np.float32), np.zeros(k, np.int64), ctypes.c_size_t()
        arguments = (
            ctypes.byref(query), ctypes.byref(documents), OFFSETS.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(6),
            None if mask is None else mask.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(k),
            scores.ctypes.data_as(ctypes.c_void_p), numbers.ctypes.data_as(ctypes.c_void_p), ctypes.byref(found),
        )  # fmt: skip
        assert library.serotine_top_k(*arguments) == 0
        assert found.value == count
        order = [n for n in np.argsort(-truth, kind="stable") if mask is None or mask[n]][:count]
        assert numbers[:count].tolist() == order
        np.testing.assert_allclose(scores[:count], truth[order], rtol=1e-5)


def test_scores_have_the_bits_of_the_python_package(library: ctypes.CDLL) -> None:
    name = maxsim.capabilities().current.encode()
    assert library.serotine_set_instruction_set(name) == 0
    _, scores = packed(library, vectors(QUERY), vectors(DOCUMENTS))
    assert scores.tolist() == maxsim.score(QUERY, DOCUMENTS, OFFSETS).tolist()


def test_every_code_is_returned_and_explained(library: ctypes.CDLL) -> None:
    code = codes()
    fine, documents = vectors(QUERY), vectors(DOCUMENTS)
    int8, scales = maxsim.quantize(DOCUMENTS)
    wide = np.zeros((1, 70_000), np.int8)
    unaligned = Vectors(DOCUMENTS.ctypes.data + 1, None, 2, DIM, F32)
    bad = DOCUMENTS.copy()
    bad[5, 3] = np.nan
    found = {
        packed(library, fine, Vectors(None, None, 2, DIM, F32))[0]: "NULL_POINTER",
        packed(library, fine, vectors(int8, I8, scales))[0]: "BAD_DTYPE",
        packed(library, fine, vectors(DOCUMENTS[:, :8].copy()))[0]: "BAD_DIM",
        packed(library, fine, documents, OFFSETS[::-1].copy())[0]: "BAD_OFFSETS",
        packed(library, fine, unaligned, OFFSETS[:1])[0]: "UNALIGNED",
        packed(library, fine, vectors(bad))[0]: "NOT_FINITE",
        library.serotine_set_instruction_set(b"no such set"): "BAD_INSTRUCTION_SET",
        library.serotine_set_threads(0): "BAD_THREADS",
        library.serotine_top_k(
            ctypes.byref(fine), ctypes.byref(documents), OFFSETS.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(6),
            None, ctypes.c_size_t(0), None, None, None,
        ): "BAD_K",
    }  # fmt: skip
    assert found == {code[name]: name for name in found.values()}
    assert packed(library, fine, Vectors(DOCUMENTS.ctypes.data, None, 2, DIM, 7))[0] == code["BAD_DTYPE"]
    assert packed(library, fine, documents, OFFSETS + 1)[0] == code["BAD_OFFSETS"]
    assert packed(library, fine, vectors(int8, I8))[0] == code["NULL_POINTER"]
    assert packed(library, vectors(wide, I8, scales), vectors(wide, I8, scales), OFFSETS[:1])[0] == code["BAD_DIM"]
    assert library.serotine_maxsim(None, ctypes.byref(documents), None) == code["NULL_POINTER"]
    assert library.serotine_set_threads(1025) == code["BAD_THREADS"]
    results = [name for name in code if name not in ("FLOAT32", "FLOAT16", "BFLOAT16", "INT8", "ABI_VERSION")]
    messages = [library.serotine_message(code[name]) for name in results]
    assert len(set(messages)) == len(results) == 12
    assert library.serotine_message(99) == b"unknown code"


def test_a_value_that_is_not_finite_never_wins(library: ctypes.CDLL) -> None:
    bad = DOCUMENTS.copy()
    bad[int(OFFSETS[2]) + 1] = np.nan
    _, scores = packed(library, vectors(QUERY), vectors(bad))
    np.testing.assert_allclose(scores, maxsim.score(QUERY, bad, OFFSETS, allow_nonfinite=True), rtol=1e-5)


def test_versions_and_threads(library: ctypes.CDLL) -> None:
    assert library.serotine_version() == serotine.__version__.encode()
    assert library.serotine_abi_version() == codes()["ABI_VERSION"] == 1
    assert library.serotine_instruction_set().decode() in maxsim.capabilities().supported
    assert library.serotine_set_threads(3) == 0
    assert library.serotine_threads() == 3
    expected = packed(library, vectors(QUERY), vectors(DOCUMENTS))[1].tolist()
    found: list[list[float]] = []

    def score() -> None:
        found.extend(packed(library, vectors(QUERY), vectors(DOCUMENTS))[1].tolist() for _ in range(50))

    threads = [threading.Thread(target=score) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 200
    assert all(scores == expected for scores in found)


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("nm") is None, reason="needs Linux and binutils")
def test_only_the_names_of_the_header_are_exported(folder: Path) -> None:
    command = ["nm", "-D", "--defined-only", str(folder / "libserotine.so")]
    listing = subprocess.check_output(command, text=True)
    exported = {line.split()[2].partition("@")[0] for line in listing.splitlines() if line.split()[1] != "A"}
    declared = set(re.findall(r"^SEROTINE_API .*?(serotine_\w+)\(", HEADER, re.MULTILINE))
    assert exported == declared
    assert len(declared) > 9


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_example_in_c_prints_the_best_documents(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "rerank"
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'native/include'}"]
    linked = [f"-L{folder}", "-lserotine", f"-Wl,-rpath,{folder}"]
    compile_c = ["cc", "-std=c99", *strict, str(ROOT / "examples/rerank.c"), "-o", str(program), *linked]
    subprocess.run(compile_c, check=True)
    # The header is one of C++ too.
    compile_header = ["c++", "-std=c++11", *strict, "-fsyntax-only", "-x", "c++", "-"]
    subprocess.run(compile_header, input='#include "serotine.h"\n', text=True, check=True)
    QUERY.tofile(tmp_path / "query.f32")
    DOCUMENTS.astype(np.float16).tofile(tmp_path / "documents.f16")
    OFFSETS.tofile(tmp_path / "offsets.i64")
    files = [str(tmp_path / name) for name in ("query.f32", "documents.f16", "offsets.i64")]
    lines = subprocess.check_output([program, str(DIM), "4", *files], text=True).splitlines()
    numbers, scores = zip(*(line.split() for line in lines), strict=True)
    truth = reference(QUERY, DOCUMENTS)
    assert [int(number) for number in numbers] == np.argsort(-truth, kind="stable")[:4].tolist()
    np.testing.assert_allclose([float(score) for score in scores], np.sort(truth)[::-1][:4], rtol=1e-5)
    (OFFSETS + 1).tofile(tmp_path / "offsets.i64")
    refused = subprocess.run([program, str(DIM), "4", *files], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr == "offsets: must not decrease, and must be between 0 and the number of tokens\n"
