"""The kernels compile to machine code for Ampere and Hopper without a GPU: the interpreter accepts more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from helpers import triton_device  # noqa: F401  (skips where torch or triton is missing)

PROGRAM = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from serotine.maxsim.triton.gather import _gather_rows
from serotine.maxsim.triton.tile import score_tiles

def build(kernel, architecture, vectors, **constants):
    types = {"queries": vectors, "documents": vectors, "source": vectors, "out": vectors}
    types |= dict.fromkeys(["scores", "weights"], "*fp32")
    types |= dict.fromkeys(["winners", "flags", "query_bounds", "document_bounds"], "*i32")
    types |= dict.fromkeys(["pair_query_ids", "pair_document_ids"], "*i32")
    types |= dict.fromkeys(["source_rows", "offsets"], "*i64")
    signature = {
        name: "constexpr" if name in constants else types.get(name, "i32") for name in kernel.arg_names
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32)).asm["ptx"]

tile = dict(block_l=32, block_k=128, resident=True, with_argmax=True, check_finite=True, block_d=64)
layout, architecture = int(sys.argv[1]), int(sys.argv[2])
group = 2 if layout == 1 else 1
ptx = build(score_tiles.fn, architecture, "*bf16", layout=layout, group=group, precision="tf32", **tile)
assert ("wgmma.mma_async" if architecture == 90 else "mma.sync") in ptx, "bf16 must reach the tensor cores"
if layout == 0:
    strips = tile | dict(block_k=32, resident=False)
    ptx = build(score_tiles.fn, architecture, "*fp32", layout=0, group=1, precision="ieee", **strips)
    assert "tf32" not in ptx and "mma" not in ptx, "fp32 must stay fp32"
    build(_gather_rows, architecture, "*fp16", block_e=16, block_k=128)
"""


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("layout", [0, 1, 2])
def test_kernels_compile(layout: int, architecture: int) -> None:
    environment = {**os.environ, "TRITON_DEFAULT_FP_FUSION": "1"}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-c", PROGRAM, str(layout), str(architecture)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
