"""The kernel repository, loaded by Hugging Face's `kernels` without a network."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from serotine import __version__
from serotine.integrations.hf_kernels import write_kernel
from serotine.maxsim import reference

NAMES = [
    name + suffix
    for name in ("score_candidates_padded", "score_contrastive", "score_pairs_packed")
    for suffix in ("", "_with_argmax", "_train")
]

# The start of every program below: a machine without a network, and the model card's own lines.
OFFLINE = """
import os, socket, sys, warnings
from pathlib import Path
def no_network(*arguments): raise AssertionError("the network was used")
socket.socket.connect = socket.getaddrinfo = no_network
import kernels, torch
warnings.simplefilter("error")
folder = Path(os.environ["KERNEL"])
"""
CARD = """
queries_pad = torch.from_numpy(np.load(sys.argv[1]))
documents_pad = torch.from_numpy(np.load(sys.argv[2]))
query_lengths = torch.tensor([7], dtype=torch.int32)
doc_lengths = torch.tensor([[30, 1, 0, 19]], dtype=torch.int32)
scores = maxsim.score_candidates_padded(queries_pad, documents_pad, query_lengths, doc_lengths)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf") / "maxsim"
    command = [sys.executable, "-m", "serotine.integrations.hf_kernels", str(folder)]
    process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert process.stdout.split() == [str(folder / "build" / name) for name in ("torch-cpu", "torch-cuda")]
    return folder


@pytest.fixture(scope="module")
def needs_kernels() -> None:
    # In a child process: triton must not be imported here before the tests that use its interpreter.
    for name in ("torch", "kernels"):
        if subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, timeout=120).returncode:
            pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[float]]:
    """Return the model card's tensors as files, and their scores by the reference."""
    folder = tmp_path_factory.mktemp("card")
    rng = np.random.default_rng(3)
    queries = rng.standard_normal((1, 7, 128)).astype(np.float16)
    documents = rng.standard_normal((1, 4, 30, 128)).astype(np.float16)
    paths = [str(folder / "queries.npy"), str(folder / "documents.npy")]
    np.save(paths[0], queries)
    np.save(paths[1], documents)
    lengths = [30, 1, 0, 19]
    return paths, [reference.score(queries[0], documents[0, i, :length]) for i, length in enumerate(lengths)]


def run(kernel: Path, program: str, *arguments: str, **environment: str) -> str:
    env = {**os.environ, "KERNEL": str(kernel), "HF_HUB_OFFLINE": "1", **environment}
    command = [sys.executable, "-c", OFFLINE + "import numpy as np\n" + program, *arguments]
    process = subprocess.run(command, capture_output=True, text=True, timeout=200, env=env)
    assert process.returncode == 0, process.stderr
    return process.stdout


def check(output: str, expected: list[float]) -> None:
    np.testing.assert_allclose([float(number) for number in json.loads(output)], expected, rtol=1e-5, atol=1e-4)


PRINT = "import json; print(json.dumps([str(number) for number in scores.flatten().tolist()]))"
LOADS = {
    "get_local_kernel": "maxsim = kernels.get_local_kernel(folder)",
    # As in the model card: the environment variable alone redirects it to this folder.
    "LOCAL_KERNELS": 'maxsim = kernels.get_kernel("erikkaum/maxsim", version=1, trust_remote_code=True)',
}


@pytest.mark.usefixtures("needs_kernels")
@pytest.mark.parametrize("load", LOADS)
def test_the_model_card_runs_offline(kernel: Path, card: tuple[list[str], list[float]], load: str) -> None:
    program = (
        f"{LOADS[load]}\n{CARD}\n"
        f"missing = set({NAMES}) - set(dir(maxsim))\n"
        "assert not missing, missing\n"
        "assert Path(maxsim.__file__).is_relative_to(folder), maxsim.__file__\n"
        "assert maxsim.cpu_backend() == 'compiled'\n"
        "assert scores.dtype == torch.float32 and scores.shape == (1, 4)\n"
        "from serotine.maxsim import torch as installed\n"
        "assert torch.equal(scores, installed.score_candidates_padded(queries_pad, documents_pad, query_lengths, "
        f"doc_lengths))\n{PRINT}"
    )
    check(run(kernel, program, *card[0], LOCAL_KERNELS=f"erikkaum/maxsim={kernel}"), card[1])


UNAVAILABLE = {
    "not installed": ("sys.modules['serotine'] = None\n", "cannot be imported"),
    "another version": (
        "import types; sys.modules['serotine'] = types.ModuleType('serotine')\n"
        "sys.modules['serotine'].__version__ = '99.0'\n",
        "99.0 is installed",
    ),
}


@pytest.mark.usefixtures("needs_kernels")
@pytest.mark.parametrize("case", UNAVAILABLE)
def test_without_the_installed_package_it_runs_and_warns_once(
    kernel: Path, card: tuple[list[str], list[float]], case: str
) -> None:
    prelude, message = UNAVAILABLE[case]
    program = (
        f"{prelude}maxsim = kernels.get_local_kernel(folder)\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        + CARD.replace("\n", "\n    ")
        + "scores = maxsim.score_candidates_padded(queries_pad, documents_pad, query_lengths, doc_lengths)\n"
        "messages = [str(item.message) for item in caught if item.category is RuntimeWarning]\n"
        f"assert len(messages) == 1 and {message!r} in messages[0], messages\n"
        f"assert 'pip install serotine=={__version__}' in messages[0], messages\n"
        "assert maxsim.cpu_backend() == 'torch'\n"
        "assert not [name for name in sys.modules if name.startswith('serotine.')]\n"
        f"{PRINT}"
    )
    check(run(kernel, program, *card[0]), card[1])


@pytest.mark.usefixtures("needs_kernels")
def test_plain_torch_follows_the_contract(kernel: Path) -> None:
    program = """
sys.modules["serotine"] = None
warnings.simplefilter("ignore")
maxsim = kernels.get_local_kernel(folder)
torch.manual_seed(1)
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    # All dot products negative: padding that leaks into a score would win.
    queries, documents = torch.rand(3, 6, 20).to(dtype), -torch.rand(3, 4, 9, 20).to(dtype)
    lengths = torch.tensor([6, 0, 2]), torch.tensor([[9, 0, 1, 4], [3, 0, 9, 1], [0, 5, 9, 2]])
    scores = maxsim.score_candidates_padded(queries, documents, *lengths)
    scores_with_argmax, winners = maxsim.score_candidates_padded_with_argmax(queries, documents, *lengths)
    assert torch.equal(scores, scores_with_argmax)
    assert (scores[1] == 0).all() and scores[0, 1] == scores[2, 0] == -torch.inf
    assert (winners[1] == -1).all() and (winners[2, :, 2:] == -1).all()
    alone = maxsim.score_candidates_padded(queries[2:], documents[2:, 3:, :2], lengths[0][2:], lengths[1][2:, 3:])
    assert torch.equal(alone, scores[2:, 3:])
    documents[0, 3, 4:] = torch.nan  # beyond the length: never read
    assert torch.equal(maxsim.score_candidates_padded(queries, documents, *lengths), scores)
    documents[0, 3, 1] = torch.nan
    for function in (maxsim.score_candidates_padded, maxsim.score_candidates_padded_with_argmax):
        try:
            function(queries, documents, *lengths)
        except ValueError as error:
            assert "NaN" in str(error)
        else:
            raise AssertionError("NaN was accepted")
    allowed = maxsim.score_candidates_padded(queries, documents, *lengths, allow_nonfinite=True)
    assert allowed.isfinite().sum() == scores.isfinite().sum()
    assert torch.equal(
        allowed, maxsim.score_candidates_padded_with_argmax(queries, documents, *lengths, allow_nonfinite=True)[0]
    )
"""
    run(kernel, program)


GRADIENT = """
torch.manual_seed(0)
queries = torch.randn(2, 5, 16, dtype=DTYPE, requires_grad=True)
documents = torch.randn(11, 16, dtype=DTYPE, requires_grad=True)
offsets = torch.tensor([0, 4, 4, 11])
scores = maxsim.score_contrastive_train(queries, documents, offsets)
weights = torch.tensor([[1.0, 0.0, -2.0], [0.5, 0.0, 3.0]])
# The empty document scores -inf; its weight must not turn the sum into NaN.
scores[:, [0, 2]].mul(weights[:, [0, 2]]).sum().backward()
q, d = queries.detach().double().requires_grad_(), documents.detach().double().requires_grad_()
total = sum(
    weights[i, n] * (q[i] @ d[offsets[n]:offsets[n + 1]].T).amax(1).sum() for i in range(2) for n in (0, 2)
)
total.backward()
torch.testing.assert_close(queries.grad.double(), q.grad, rtol=2e-3, atol=TOLERANCE)
torch.testing.assert_close(documents.grad.double(), d.grad, rtol=2e-3, atol=TOLERANCE)
packed = maxsim.score_pairs_packed_train(
    queries.reshape(10, 16), torch.tensor([0, 5, 10]), documents, offsets, torch.tensor([1, 0]), torch.tensor([2, 0])
)
assert packed.requires_grad and torch.equal(packed, torch.stack([scores[1, 2], scores[0, 0]]))
"""


@pytest.mark.usefixtures("needs_kernels")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", "1e-5"), ("float16", "1e-2")])
@pytest.mark.parametrize("prelude", ["", "warnings.simplefilter('ignore'); sys.modules['serotine'] = None\n"])
def test_gradients_flow(kernel: Path, prelude: str, dtype: str, tolerance: str) -> None:
    program = GRADIENT.replace("DTYPE", f"torch.{dtype}").replace("TOLERANCE", tolerance)
    run(kernel, f"{prelude}maxsim = kernels.get_local_kernel(folder)\n{program}")


@pytest.mark.usefixtures("needs_kernels")
def test_the_triton_variant_scores_and_trains(kernel: Path, card: tuple[list[str], list[float]]) -> None:
    if subprocess.run([sys.executable, "-c", "import triton"], capture_output=True, timeout=120).returncode:
        pytest.skip("triton is not installed")
    program = (
        # A variant's own folder loads on any build of torch; the interpreter replaces the GPU.
        "maxsim = kernels.get_local_kernel(folder / 'build' / 'torch-cuda')\n"
        "sys.modules['serotine'] = None\n"
        "sys.modules[maxsim.__name__ + '.backend'].of = lambda tensor: 'cuda'\n"
        f"{CARD}\n{PRINT}\n" + GRADIENT.replace("DTYPE", "torch.float32").replace("TOLERANCE", "1e-5")
    )
    check(run(kernel, program, *card[0], TRITON_INTERPRET="1"), card[1])


@pytest.mark.usefixtures("needs_kernels")
def test_kernels_accepts_every_metadata_file(kernel: Path) -> None:
    program = """
from kernels._rust import Build, Digest, DigestAlgorithm, Metadata
from kernels.backends import CPU, CUDA
from kernels.variants import _resolve_variant_for_system, get_variants_local
from packaging.version import Version
assert [str(backend).lower() for backend in Build.open(folder).general.backends] == ["cpu", "cuda"]
variants = get_variants_local(folder / "build")
for backend, expected in ((CPU(), "torch-cpu"), (CUDA(version=Version("12.8")), "torch-cuda")):
    accepted, _ = _resolve_variant_for_system(variants, backend, "x86_64", "linux", Version("2.13"), True, None)
    assert [variant.variant_str for variant in accepted] == [expected], accepted
    variant = folder / "build" / expected
    metadata = Metadata.read_from_file(variant / "metadata.json")
    assert str(metadata.backend.backend_type).lower() == expected.partition("-")[2], metadata.backend
    metadata.digest.validate(Digest.hash_variant(DigestAlgorithm.SHA256, variant))
"""
    run(kernel, program)


def test_contents_of_the_metadata_files(kernel: Path) -> None:
    built = {path.name: json.loads((path / "metadata.json").read_text()) for path in (kernel / "build").iterdir()}
    assert sorted(built) == ["torch-cpu", "torch-cuda"]
    assert len({metadata["id"] for metadata in built.values()}) == 2
    for name, metadata in built.items():
        assert metadata["id"].isidentifier()
        assert name == f"torch-{metadata['backend']['type']}"
        assert (metadata["name"], metadata["version"], metadata["license"]) == ("maxsim", 1, "Apache-2.0")
    config = tomllib.loads((kernel / "build.toml").read_text())
    assert config["general"]["edition"] == 5
    assert sorted(f"torch-{backend}" for backend in config["general"]["backends"]) == sorted(built)
    assert "@" not in (kernel / "README.md").read_text()
    source = {path.relative_to(kernel / "torch-ext" / "maxsim") for path in (kernel / "torch-ext").rglob("*.py")}
    for variant in (kernel / "build").iterdir():
        assert {path.relative_to(variant) for path in variant.rglob("*.py")} == source


def test_the_kernel_imports_only_itself_torch_and_triton(kernel: Path) -> None:
    allowed = {*sys.stdlib_module_names, "torch", "triton", "late_interaction_kernels"}
    for path in (kernel / "torch-ext").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {name.name.partition(".")[0] for name in node.names} <= allowed, path
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").partition(".")[0] in allowed, path


def test_writing_again_replaces_the_kernel_and_nothing_else(tmp_path: Path) -> None:
    variants = write_kernel(tmp_path / "kernel")
    metadata = (variants[0] / "metadata.json").read_bytes()
    (variants[0] / "stale.py").touch()
    assert write_kernel(tmp_path / "kernel") == variants
    assert not (variants[0] / "stale.py").exists()
    assert (variants[0] / "metadata.json").read_bytes() == metadata
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    for output, error in (
        (tmp_path / "other", FileExistsError),
        (tmp_path / "other" / "notes.txt", NotADirectoryError),
    ):
        with pytest.raises(error, match=output.name):
            write_kernel(output)
        command = [sys.executable, "-m", "serotine.integrations.hf_kernels", str(output)]
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert process.returncode == 1
        assert process.stderr.startswith("Error: ")
        assert len(process.stderr.splitlines()) == 1
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["notes.txt"]
