"""`import serotine` is fast and pulls in nothing heavy."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import serotine

PROGRAM = """
import sys, time
started = time.perf_counter()
import serotine
spent = time.perf_counter() - started
serotine.maxsim, serotine.Index
libraries = ("torch", "triton", "onnxruntime", "transformers", "fsspec", "s3fs", "ray")
heavy = [name for name in libraries if name in sys.modules]
print(spent, *heavy)
"""


def test_import_is_fast_and_light() -> None:
    times = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
        spent, *heavy = done.stdout.split()
        assert heavy == []
        times.append(float(spent))
    assert statistics.median(times) < 0.5


def test_every_public_name_is_there() -> None:
    for name in serotine.__all__:
        assert getattr(serotine, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = serotine.Nothing  # type: ignore[attr-defined]
    for module, name, near in ((serotine, "Indx", "Index"), (serotine.maxsim, "scores", "score")):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; did you mean '{near}'$"):
            getattr(module, name)


def test_what_needs_torch_says_so() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from serotine import maxsim\n"
        "try:\n    maxsim.score_contrastive_train\nexcept ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'serotine[torch]'" in done.stdout


WITHOUT_ONNX = """
import sys
sys.modules["onnxruntime"] = sys.modules["onnx"] = None
from serotine import Encoder, Index
from serotine.cli import main
from serotine.errors import EncoderError
from pathlib import Path
from helpers.serving_cases import application

with Index.create("notes.serotine", encoder=Encoder()) as index:
    index.add(ids=["a", "b"], texts=["The serotine is a late bat.", "Heat transfer at a wall."])
assert main(["search", "notes.serotine", "bats at night"]) == 0
assert main(["info", "notes.serotine"]) == 0
with application(Path("state"), Path("notes.serotine")) as client:
    answer = client.post("/v1/indexes/notes/search", json={"query": "bats at night", "k": 1})
    assert answer.json()["hits"][0]["id"] == "a", answer.text
open("model.onnx", "wb").close()
try:
    Encoder(".")
except EncoderError as error:
    print(error)
"""


def test_the_default_encoder_needs_no_onnx_runtime(tmp_path: Path) -> None:
    pytest.importorskip("serotine_mini")
    pytest.importorskip("fastapi")
    (tmp_path / "serotine.json").write_text(
        '{"format": 2, "origin": "dense", "dim": 3, "query": {"length": 9}, "document": {"length": 9}}'
    )
    tokenizer = Path(serotine.Encoder().spec.tokenizer_file)
    (tmp_path / "tokenizer.json").symlink_to(tokenizer)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ONNX],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "The serotine is a late bat." in done.stdout
    assert "queries need the same. Vectors are from: native, int8." in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "model.onnx: an ONNX model needs the extra [onnx]; run: pip install 'serotine[onnx]'"
    )
