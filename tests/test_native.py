"""The C++ self-test, built without Python: under the sanitizers, for ARM under an emulator, for Windows under wine."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.native_build import build, fixed_addresses, sanitized

# Compilation of every instruction set, on a core that other tests share.
pytestmark = pytest.mark.timeout(1200)


def run(command: list[str]) -> str:
    completed = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert completed.returncode == 0, completed.stdout[-3000:] + completed.stderr[-3000:]
    return completed.stdout


@pytest.mark.slow
def test_every_path_is_clean_under_address_and_undefined_behavior_sanitizers() -> None:
    programs = sanitized("address,undefined")
    names = ["selftest", "search_test", "encoder_test", "amx_test"]
    # Only compilers that know AMX build it, and where AVX-512 BF16 is missing it is skipped.
    names += ["encoder_amx_test"] if (programs / "encoder_amx_test").exists() else []
    outputs = {name: run([*fixed_addresses(), str(programs / name)]) for name in names}
    assert all(" 0 failed" in output or output.startswith("skipped") for output in outputs.values())
    # In the encoding of AVX-512: few processors have both that and AVX-VNNI's own.
    assert ("avx512_vnni: ok" in outputs["encoder_test"]) == ("avx_vnni: ok" in outputs["encoder_test"])
    # More seeds, and those of ThreadSanitizer, are what the attack `native` of tests/torture runs every night.
    assert " 0 failed" in run([*fixed_addresses(), str(programs / "search_test"), "1"])


def test_search_and_the_thread_pool_are_clean_under_thread_sanitizer() -> None:
    programs = sanitized("thread", "search_test", "thread_pool_test")
    assert " 0 failed" in run([*fixed_addresses(), str(programs / "thread_pool_test")])
    assert " 0 failed" in run([*fixed_addresses(), str(programs / "search_test"), "1"])


@pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("objdump") is None, reason="needs an x86 processor and binutils"
)
def test_avx_vnni_needs_no_avx512(tmp_path: Path) -> None:
    compiled = "encoder/CMakeFiles/serotine_encoder.dir/avx_vnni.cpp.o"
    build(tmp_path, "-DCMAKE_BUILD_TYPE=Release", targets=(compiled,))
    listing = run(["objdump", "--disassemble", str(tmp_path / compiled)])
    instructions = [line.split("\t")[1:] for line in listing.splitlines() if line.count("\t") == 2]
    dot_products = [code for code, text in instructions if "vpdpbusd" in text]
    # c4 begins the three-byte VEX encoding, 62 that of AVX-512.
    assert dot_products
    assert all(code.startswith("c4 ") for code in dot_products)
    assert not [text for code, text in instructions if code.startswith("62 ")]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("aarch64-linux-gnu-g++") is None or shutil.which("qemu-aarch64") is None,
    reason="needs the AArch64 cross compiler and qemu-user (Debian: g++-aarch64-linux-gnu qemu-user)",
)
def test_neon_paths_under_emulation(tmp_path: Path) -> None:
    programs = build(
        tmp_path,
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
        "-DCMAKE_BUILD_TYPE=Release",
    )
    for name in ("selftest", "search_test"):
        output = run(["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", str(programs / name)])
        assert "neon: ok" in output
        assert "neon_dotprod: ok" in output
    output = run(["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", str(programs / "encoder_test")])
    assert "neon_dotprod: ok" in output
    assert "neon_i8mm: ok" in output


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("x86_64-w64-mingw32-g++-posix") is None or shutil.which("wine") is None,
    reason="needs the Windows cross compiler and wine (Debian: g++-mingw-w64-x86-64-posix wine64 wine)",
)
def test_windows_paths_under_wine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = build(
        tmp_path / "build",
        "-DCMAKE_SYSTEM_NAME=Windows",
        "-DCMAKE_SYSTEM_PROCESSOR=x86_64",
        "-DCMAKE_CXX_COMPILER=x86_64-w64-mingw32-g++-posix",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
        "-DCMAKE_BUILD_TYPE=None",
        "-DCMAKE_CXX_FLAGS=-O1",
        "-DSEROTINE_KERNEL_OPT=-O1",
    )
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "wine"))
    monkeypatch.setenv("WINEDEBUG", "-all")
    for name in ("thread_pool_test", "selftest", "search_test", "encoder_test"):
        assert " 0 failed" in run(["wine", str(programs / f"{name}.exe")])
