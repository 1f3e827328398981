"""The files of the kernel repository: which modules it has, their relative imports, and their metadata."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import shutil
from pathlib import Path

from serotine import __version__, maxsim

NAME = "maxsim"
VERSION = 1
LICENSE = "Apache-2.0"
# A noarch variant is ``torch-<backend>``; `kernels` takes the one of the backend torch was built for.
BACKENDS = ("cpu", "cuda")

_HERE = Path(__file__).parent
_MAXSIM = Path(maxsim.__file__).parent
# Packages of Serotine that the kernel flattens into its own root.
_ROOTS = ("serotine.maxsim", "serotine.maxsim.torch", "serotine.maxsim.torch.hf_kernel")
# Modules that exist for the kernel alone: its root, and its scoring of CPU tensors.
_OWN_FILES = {"": "hf_kernel/__init__.py", "cpu": "hf_kernel/cpu.py"}


def write_kernel(output: Path) -> list[Path]:
    """Write the kernel repository: ``build/<variant>/`` to load, ``build.toml`` and ``torch-ext/`` as its source.

    Args:
        output: a folder that is new, empty, or holds an earlier kernel, whose generated files are replaced.

    Returns:
        The variant folders.

    Raises:
        FileExistsError: the folder holds something else.
        NotADirectoryError: `output` is a file.
    """
    _validate_output(output)
    modules = kernel_modules()
    for folder in ("build", "torch-ext"):
        shutil.rmtree(output / folder, ignore_errors=True)
    _write(output / "torch-ext" / NAME, modules)
    variants = []
    for backend in BACKENDS:
        variant = output / "build" / f"torch-{backend}"
        _write(variant, modules)
        _write(variant, {"metadata.json": json.dumps(metadata(backend, modules), indent=2) + "\n"})
        variants.append(variant)
    values = {
        "NAME": NAME,
        "KERNEL_VERSION": str(VERSION),
        "LICENSE": LICENSE,
        "BACKENDS": json.dumps(BACKENDS),
        "SEROTINE": __version__,
    }
    for template in (_HERE / "templates").iterdir():
        text = template.read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        _write(output, {template.name: text})
    return variants


def kernel_modules() -> dict[str, str]:
    """Return the source of every Python file of the kernel by its path there, following imports from its root."""
    files: dict[str, str] = {}
    pending = [""]
    while pending:
        module = pending.pop()
        if _file(module) in files:
            continue
        source, imported = _with_relative_imports(module, _source(module))
        files[_file(module)] = source
        pending += imported
        if "." in module:
            pending.append(module.rpartition(".")[0])
    return dict(sorted(files.items()))


def metadata(backend: str, modules: dict[str, str]) -> dict[str, object]:
    """Return the ``metadata.json`` of one variant; `kernels` needs every field but the digest to load it."""
    digests = {name: hashlib.sha256(source.encode()).digest() for name, source in modules.items()}
    # The id becomes the module's name: two kernels, or two states of one, must not share it.
    content = hashlib.sha256(b"".join(name.encode() + digest for name, digest in digests.items())).hexdigest()
    return {
        "id": f"_{NAME}_{backend}_{content[:12]}",
        "name": NAME,
        "version": VERSION,
        "license": LICENSE,
        "python-depends": [],
        "backend": {"type": backend},
        "digest": {
            "algorithm": "sha256",
            "files": {name: base64.b64encode(digest).decode() for name, digest in digests.items()},
        },
    }


def _validate_output(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"{output}: must be a folder, got a file; name a new or empty folder")
    if not output.exists() or not any(output.iterdir()):
        return
    config = output / "build.toml"
    if not config.is_file() or f'name = "{NAME}"' not in config.read_text(encoding="utf-8"):
        raise FileExistsError(f"{output}: holds something other than a {NAME} kernel; name a new or empty folder")


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def _file(module: str) -> str:
    """Return the path of a kernel module: "" is the root, ``triton`` a package, everything else a file."""
    if module in ("", "triton"):
        return f"{module}/__init__.py".lstrip("/")
    return module.replace(".", "/") + ".py"


def _source(module: str) -> str:
    """Return a kernel module's source, with Serotine's absolute imports."""
    if module == "_version":
        return f'"""The version of Serotine that wrote this kernel."""\n\n__version__ = "{__version__}"\n'
    in_triton = module.partition(".")[0] == "triton"
    path = (_MAXSIM if in_triton else _MAXSIM / "torch") / _OWN_FILES.get(module, _file(module))
    if not path.is_file():
        raise RuntimeError(f"{module}: module of the {NAME} kernel not found, expected at {path}")
    return path.read_text(encoding="utf-8")


def _with_relative_imports(module: str, source: str) -> tuple[str, list[str]]:
    """Return the source with relative imports, and the kernel modules it imports."""
    lines = source.splitlines(keepends=True)
    imported: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(name.name.partition(".")[0] == "serotine" for name in node.names):
            raise RuntimeError(f"{module}:{node.lineno}: cannot rewrite `import serotine`; use `from ... import ...`")
        if not isinstance(node, ast.ImportFrom) or (node.module or "").partition(".")[0] != "serotine":
            continue
        target = _target(node.module or "")
        imported += [target] if target else [name.name for name in node.names]
        line = lines[node.lineno - 1]
        lines[node.lineno - 1] = line.replace(f"from {node.module} ", f"from {_relative(module, target)} ", 1)
    return "".join(lines), imported


def _target(name: str) -> str:
    """Return the kernel's name for a module of Serotine; "" for its root."""
    if name == "serotine":
        return "_version"
    for root in sorted(_ROOTS, key=len, reverse=True):
        if name == root:
            return ""
        if name.startswith(root + "."):
            return name.removeprefix(root + ".")
    raise RuntimeError(f"{name}: not part of the {NAME} kernel; do not import it there")


def _relative(module: str, target: str) -> str:
    package = module.partition(".")[0] if module.partition(".")[0] == "triton" else ""
    if not package:
        return "." + target
    if target == package:
        return "."
    return "." + target.removeprefix(package + ".") if target.startswith(package + ".") else ".." + target
